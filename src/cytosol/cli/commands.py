"""The commands of `cytosol` and their options; what they do stands in modules of their own."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import cytosol
from cytosol.cli.exits import NETWORK, OK, REFUSED, CommandError, Program
from cytosol.cli.files import find_app_id, open_offline, save_state_for
from cytosol.cli.progress import opening_bar
from cytosol.cli.prompt import Prompt
from cytosol.cli.screen import JsonScreen, PlainScreen, Screen, TerminalScreen
from cytosol.cli.secrets import Given
from cytosol.cli.stops import stop_on_signals
from cytosol.cli.text import json_text, parse_json
from cytosol.database.network_actions import NETWORK_ACTIONS
from cytosol.limits import HISTORY_DEFAULT_MAX
from cytosol.model.json import JsonValue

__all__ = ["program"]


class _FileName(click.Path):
    """A path; the empty name would mean the current folder."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # as click declares it
        if value == "":
            self.fail("it is empty; give the name of a file", param, ctx)
        return super().convert(value, param, ctx)


FILE_NAME = _FileName(path_type=Path)
FILE = click.argument("file", type=FILE_NAME)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(cytosol.__version__, prog_name="cytosol")
@click.option(
    "--passphrase-file",
    type=FILE_NAME,
    help="A file whose first line is the passphrase of the sealed FILE.",
)
@click.option("--keyring", metavar="NAME", help="The key of the sealed FILE in the keyring.")
@click.pass_context
def program(context: click.Context, passphrase_file: Path | None, keyring: str | None) -> None:
    """One JSON document on several devices, without a server.

    A sealed FILE is opened with the secret of the two options; without them its passphrase is
    asked for. They also seal the file that `run` begins.

    Exit codes: 0 done, 1 refused, 2 damaged file, 3 file in use, 4 no such file or the disk
    refuses, 5 network, 6 the doctor found something, 7 a sealed file and no right passphrase, 64
    wrong usage.
    """
    if passphrase_file is not None and keyring is not None:
        raise click.UsageError("--passphrase-file and --keyring exclude each other")
    context.obj = Given(passphrase_file, keyring)


@program.command()
@click.argument("file", required=False, type=FILE_NAME)
def demo(file: Path | None) -> int:
    """Show two devices on this machine that find each other, pair and sync.

    FILE is a JSON file to import instead of the sample. Ends with 0 only if all went well.
    """
    from cytosol.cli.demo import run_demo  # asyncio and subprocesses: only this command needs them

    return run_demo(file)


@program.command()
@FILE
@click.option("--app-id", help="The app, a UUID; a file that exists knows its own.")
@click.option("--new", is_flag=True, help="Begin a new app, and print its id.")
@click.option("--name", help="What other devices show; the host's name if not given.")
@click.option("--loopback", is_flag=True, help="Also find devices on this machine.")
@click.option("--no-sync", is_flag=True, help="Begin with sync switched off.")
@click.option("--hidden", is_flag=True, help="Begin invisible to devices that are not paired.")
@click.option("--min-history", default=0, show_default=True, help="Changes to keep; -1: all.")
@click.option(
    "--max-history",
    default=HISTORY_DEFAULT_MAX,
    show_default=True,
    help="Changes to keep for devices that are away; -1: no limit.",
)
@click.option("--relaxed", is_flag=True, help="Faster: a power cut may lose the last moments.")
@click.option("--json", "as_json", is_flag=True, help="Speak JSON lines, for programs.")
def run(
    file: Path,
    app_id: str | None,
    new: bool,
    name: str | None,
    loopback: bool,
    no_sync: bool,
    hidden: bool,
    min_history: int,
    max_history: int,
    relaxed: bool,
    as_json: bool,
) -> int:
    """Run a device in the terminal, with a prompt: type help there."""
    found = find_app_id(file)
    if new and found is not None:
        raise CommandError(f"'{file}' belongs to the app {found} already; leave --new away")
    chosen = app_id or found or (str(uuid.uuid4()) if new else None)
    if chosen is None:
        raise CommandError(
            f"'{file}' knows no app yet; give --app-id with the app's UUID, or --new for a new app"
        )
    screen: Screen
    if as_json:
        screen = JsonScreen()
    elif sys.stdin.isatty() and sys.stdout.isatty():
        screen = TerminalScreen()
    else:
        screen = PlainScreen()
    state = save_state_for(file, "relaxed" if relaxed else "full")
    with stop_on_signals(), ExitStack() as stack:
        with opening_bar(file) as progress:
            database = stack.enter_context(
                cytosol.open(
                    state,
                    app_id=chosen,
                    peer_name=name,
                    loopback=loopback,
                    sync_enabled=not no_sync,
                    visible_to_peers=not hidden,
                    min_history=min_history,
                    max_history=max_history,
                    progress=progress,
                )
            )
        own_name = database.query_once_meta("$.config.peerName")[0]
        ready = {"peerId": database.peer_id, "peerName": own_name, "appId": chosen}
        if new:  # the only id that anybody copies from here: no other stands beside it
            joining = f"cytosol run FILE --app-id {chosen}"
            line = f"{own_name!r} begins a new app; on another device join it with: {joining}"
        else:
            line = f"{own_name!r} of the app {chosen}; this device is {database.peer_id}"
        screen.event("ready", line, ready)
        is_good = Prompt(database, screen).run(screen.lines())
    return OK if is_good or isinstance(screen, TerminalScreen) else REFUSED


@program.command()
@FILE
@click.argument("path")
@click.option("--var", "variables", multiple=True, metavar="NAME=JSON", help="For {NAME} in PATH.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of all values.")
@click.option("--meta", is_flag=True, help="Query the metadata: $.actions, $.failures ...")
def query(file: Path, path: str, variables: tuple[str, ...], as_json: bool, meta: bool) -> None:
    """Print what the JSONPath PATH selects in the database FILE, one value a line."""
    named = dict(map(_variable, variables))
    with open_offline(file) as database:
        ask: Callable[..., list[JsonValue]]
        ask = database.query_once_meta if meta else database.query_once
        values = ask(path, named)
    if as_json:
        click.echo(json_text(values))
        return
    for value in values:
        click.echo(json_text(value, indent=2 if sys.stdout.isatty() else None))


def _variable(text: str) -> tuple[str, JsonValue]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--var is NAME=JSON, such as --var year=1999, not {text!r}")
    return name, parse_json(value, f"the variable {name}")


def _stdin_text() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError("the action on stdin is no UTF-8 text") from None


@program.command()
@FILE
@click.argument("action")
@click.option("--json", "as_json", is_flag=True, help="Print what happened as JSON.")
def dispatch(file: Path, action: str, as_json: bool) -> int:
    """Do the action ACTION, a JSON object (or - for stdin), in the database FILE.

    Other devices get it when the app, or `cytosol run`, is connected next.
    """
    message = parse_json(_stdin_text() if action == "-" else action, "the action")
    name = message.get("action") if isinstance(message, dict) else None
    if name in [kind.__name__ for kind in NETWORK_ACTIONS]:
        raise CommandError(
            f"{name} needs the network, and `cytosol dispatch` does data actions only; "
            f"start the device with: cytosol run {shlex.quote(str(file))} and type help there",
            NETWORK,
        )
    with open_offline(file) as database:
        before = database.state_hash()
        failures = database.dispatch(message, return_failures=True) or []
        is_changed = database.state_hash() != before
    if as_json:
        click.echo(json_text({"changed": is_changed, "failures": failures}))
    if failures:
        raise cytosol.FailureError(failures)
    if not as_json:
        click.echo("done" if is_changed else "there was nothing to do", err=True)
    return OK


@program.command()
@FILE
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--salvage",
    type=FILE_NAME,
    metavar="OUT",
    help="Write what can still be read of a damaged FILE as JSON to the new file OUT.",
)
def check(file: Path, as_json: bool, salvage: Path | None) -> int:
    """Check the database FILE and tell what is in it.

    Exit codes: 0 all is well, 2 damaged, 3 in use, 4 no such file, 7 a sealed file and no right
    passphrase. With --salvage FILE is only read, and 2 means that something is missing in OUT.
    """
    if salvage is not None:
        from cytosol.cli.salvaging import salvage_to

        return salvage_to(file, salvage, as_json)
    from cytosol.cli.checking import check_file

    return check_file(file, as_json)


@program.command()
@click.argument("file", required=False, type=FILE_NAME)
@click.option("--app-id", help="The app, a UUID; a file that exists knows its own.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="ADDRESS",
    help="The IPv4 address of a device that ought to be seen; may be repeated.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=12.0,
    show_default=True,
    help="Seconds to wait for devices that keep silent; 80 hears every one by its heartbeats.",
)
@click.option("--loopback", is_flag=True, help="Also look for devices on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(
    file: Path | None,
    app_id: str | None,
    peers: tuple[str, ...],
    wait_s: float,
    loopback: bool,
    as_json: bool,
) -> int:
    """Find out why this device and others do not see each other, and what to do.

    FILE is this device's database, which no other program may have open; without it only the
    network is examined, for the app of --app-id. Exit codes: 0 healthy, 6 a cause was found.
    """
    from cytosol.cli.doctor import see_doctor

    return see_doctor(file, app_id, peers, wait_s, loopback, as_json)


@program.command()
@FILE
def seal(file: Path) -> int:
    """Encrypt the database FILE, so that nobody reads it without the passphrase or key.

    The secret is that of --passphrase-file or --keyring, or is asked for. There is no way back
    into the file without it.
    """
    from cytosol.cli.sealing import seal_file

    return seal_file(file)


@program.command()
@FILE
def unseal(file: Path) -> int:
    """Write the sealed database FILE in the clear."""
    from cytosol.cli.sealing import unseal_file

    return unseal_file(file)


@program.command()
@FILE
@click.option("--new-passphrase-file", type=FILE_NAME, help="Its first line is the new one.")
@click.option("--new-keyring", metavar="NAME", help="The new key in the keyring.")
@click.option("--keep-data-key", is_flag=True, help="Quick, but old copies stay dangerous.")
def rekey(
    file: Path, new_passphrase_file: Path | None, new_keyring: str | None, keep_data_key: bool
) -> int:
    """Seal the database FILE with another passphrase or key, everything encrypted anew."""
    from cytosol.cli.sealing import rekey_file

    if new_passphrase_file is not None and new_keyring is not None:
        raise click.UsageError("--new-passphrase-file and --new-keyring exclude each other")
    return rekey_file(file, new_passphrase_file, new_keyring, keep_data_key)
