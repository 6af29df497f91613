"""Tell why devices do not see each other, and what to do about it."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cytosol.cli import exits
from cytosol.cli.exits import FOUND, OK, CommandError
from cytosol.cli.files import find_app_id, open_offline
from cytosol.cli.text import count_of, json_text, printable
from cytosol.database.causes import Cause
from cytosol.database.database import Database
from cytosol.database.diagnosis import Diagnosis
from cytosol.database.doctor import FileFault, examine, examine_without_file, file_faults
from cytosol.errors import (
    CytosolError,
    DatabaseCorruptError,
    DatabaseError,
    DatabaseLockedError,
    SealError,
)
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import JsonValue

__all__ = ["see_doctor"]


def see_doctor(
    file: Path | None,
    app_id: str | None,
    peers: tuple[str, ...],
    wait_s: float,
    loopback: bool,
    as_json: bool,
) -> int:
    """Examine, print what was found, return the exit code."""
    app = None if app_id is None else parse_id(app_id)
    options: dict[str, Any] = {"wait_s": wait_s, "addresses": peers}
    faults: list[FileFault] = []
    with ExitStack() as stack:
        database = None
        if file is not None:
            database, faults = _open(file, app, stack)
        if not as_json:
            stack.enter_context(_saying_so(wait_s))
        if database is not None:
            database._options.loopback = loopback  # the probes' option, not the closed network's
            diagnosis = examine(database, faults=faults, is_offline=True, **options)
        else:
            diagnosis = examine_without_file(app, faults, loopback=loopback, **options)
    if as_json:
        click.echo(json_text(diagnosis.to_json()))
    else:
        for line in _lines(diagnosis):
            click.echo(line)
    return OK if diagnosis.is_healthy else FOUND


def _saying_so(wait_s: float) -> AbstractContextManager[object]:
    """Tell somebody who watches why nothing happens."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    return console.status(f"looking and listening, for {wait_s:.0f} s and a bit at most")


def _open(
    file: Path, app: bytes | None, stack: ExitStack
) -> tuple[Database | None, list[FileFault]]:
    """Return the database in a file if it can be opened, and what is wrong with the file."""
    faults = file_faults(file)
    if any(cause is Cause.FILE_MISSING for cause, _ in faults):
        return None, faults
    try:
        stored = find_app_id(file)
        if stored is not None and app is not None and stored != format_id(app):
            faults.append((Cause.FILE_OF_OTHER_APP, f"{stored}, not {format_id(app)}"))
        database = stack.enter_context(open_offline(file))
    except SealError:
        raise  # a wrong passphrase is no fault of the file
    except (CommandError, CytosolError) as error:
        return None, _faults_of(error, faults)
    # What shows without opening is looked at again.
    return database, [each for each in faults if each[0] is Cause.FILE_OF_OTHER_APP]


def _faults_of(error: Exception, faults: list[FileFault]) -> list[FileFault]:
    """Return the faults of a file that could not be opened; raises what is no fault of it."""
    match error:
        case DatabaseLockedError():
            cause = Cause.FILE_IN_USE
        case DatabaseCorruptError():
            cause = Cause.FILE_DAMAGED
        case DatabaseError() | CommandError(code=exits.NO_FILE) if any(
            each is Cause.DISK_FULL for each, _ in faults
        ):
            return faults
        case DatabaseError() | CommandError(code=exits.NO_FILE):
            cause = Cause.FILE_NOT_WRITABLE
        case _:
            raise error
    return [*faults, (cause, str(error))]


def _lines(diagnosis: Diagnosis) -> list[str]:
    lines = []
    if diagnosis.is_healthy:
        lines.append("healthy: nothing keeps devices from seeing each other")
    else:
        lines.append(f"found {count_of(len(diagnosis.findings), 'cause')}:")
    for finding in diagnosis.findings:
        lines.append("")
        lines.append(f"  {finding.code}")
        for text in (finding.cause, f"What to do: {finding.advice}"):
            lines += textwrap.wrap(
                printable(text), 92, initial_indent="    ", subsequent_indent="    "
            )
    if diagnosis.peers:
        lines += ["", "devices", *map(_device_line, diagnosis.peers)]
    return lines


def _device_line(peer: dict[str, JsonValue]) -> str:
    state = "connected" if peer["connected"] else "heard" if peer["heard"] else "not heard"
    where = "" if peer["address"] is None else f" at {peer['address']}"
    relation = "paired" if peer["paired"] else "not paired"
    return f"  {printable(repr(peer['name']))} {peer['id']}{where}: {relation}, {state}"
