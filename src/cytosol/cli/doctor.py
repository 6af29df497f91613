"""Tell why devices do not see each other, and what to do about it."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cytosol.cli import exits
from cytosol.cli.exits import FOUND, OK, CommandError
from cytosol.cli.files import find_app_id, open_offline
from cytosol.cli.text import count_of, json_text, printable
from cytosol.database.causes import Cause
from cytosol.database.diagnosis import Diagnosis
from cytosol.database.doctor import FileFault, examine, examine_without_file, file_faults
from cytosol.errors import (
    CytosolError,
    DatabaseCorruptError,
    DatabaseError,
    DatabaseLockedError,
)
from cytosol.model.ids import format_id, parse_id

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
    console = Console(stderr=True)
    if console.is_terminal and not as_json:
        with console.status(f"looking and listening, for up to {wait_s:.0f} s"):
            diagnosis = _examine(file, app, peers, wait_s, loopback)
    else:
        diagnosis = _examine(file, app, peers, wait_s, loopback)
    if as_json:
        click.echo(json_text(diagnosis.to_json()))
    else:
        for line in _lines(diagnosis):
            click.echo(line)
    return OK if diagnosis.is_healthy else FOUND


def _examine(
    file: Path | None, app: bytes | None, peers: tuple[str, ...], wait_s: float, loopback: bool
) -> Diagnosis:
    options: dict[str, Any] = {"wait_s": wait_s, "addresses": peers}
    if file is None:
        return examine_without_file(app, (), loopback=loopback, **options)
    faults = file_faults(file)
    if any(cause is Cause.FILE_MISSING for cause, _ in faults):
        return examine_without_file(app, faults, loopback=loopback, **options)
    with ExitStack() as stack:
        try:
            stored = find_app_id(file)
            if stored is not None and app is not None and stored != format_id(app):
                faults.append((Cause.FILE_OF_OTHER_APP, f"{stored}, not {format_id(app)}"))
            database = stack.enter_context(open_offline(file))
        except (CommandError, CytosolError) as error:
            faults = _faults_of(error, faults)
        else:
            database._options.loopback = loopback  # the probes' option, not the closed network's
            others = [each for each in faults if each[0] is Cause.FILE_OF_OTHER_APP]
            return examine(database, faults=others, is_offline=True, **options)
    return examine_without_file(app, faults, loopback=loopback, **options)


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
        lines += ["", "devices", *(f"  {printable(each)}" for each in diagnosis.peers)]
    return lines
