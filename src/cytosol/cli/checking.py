"""Check a database file and report what is in it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cytosol.cli.exits import DAMAGED, OK, CommandError, exit_code, sentence
from cytosol.cli.files import advising, existing_save_state, open_offline
from cytosol.cli.text import count_of, json_text, size_text
from cytosol.database.report import Report, describe
from cytosol.errors import CytosolError

__all__ = ["check_file"]


def check_file(file: Path, as_json: bool) -> int:
    """Check and print a report; raises what is wrong, with the exit code for it."""
    try:
        report = _check(file)
    except (CommandError, CytosolError) as error:
        if as_json:
            problem = {"ok": False, "code": exit_code(error), "message": sentence(error)}
            click.echo(json_text(problem))
        raise
    if as_json:
        click.echo(json_text({"ok": True, **report.to_json()}))
    else:
        for line in _lines(file, report):
            click.echo(line)
    return OK


def _check(file: Path) -> Report:
    state = existing_save_state(file)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("reading every record", total=None)
        with advising(file):
            state.open()
        try:
            total = state.size_bytes()
            progress.update(task, total=2 * total)
            for _, value in state.scan(""):
                if isinstance(value, bytes):
                    progress.advance(task, len(value))
        finally:
            state.close()
        progress.update(task, description="rebuilding the document", completed=total)
        with open_offline(file) as database:
            progress.update(
                task, description="comparing document and history", completed=total * 3 // 2
            )
            try:
                database.check()
            except AssertionError as error:
                raise CommandError(
                    f"the document in '{file}' contradicts itself ({error}); keep a copy of the "
                    "file and report it, then start with a new file and sync from another device",
                    DAMAGED,
                ) from None
            return describe(database)


def _lines(file: Path, report: Report) -> list[str]:
    trimmed = "nothing trimmed"
    if report.trimmed_ops:
        trimmed = f"{report.trimmed_ops:,} older ones trimmed, up to number {report.trim_index}"
    failures = report.failures + report.forgotten_failures
    return [
        f"{file} is whole",
        f"  app        {report.app_id}",
        f"  device     {report.peer_id}",
        f"  document   {count_of(report.values, 'value')}, {size_text(report.json_bytes)} of JSON",
        f"  history    {count_of(report.ops, 'op')}, {trimmed}",
        f"  authors    {report.authors}",
        f"  failures   {failures}" + (" (see --meta '$.failures')" if failures else ""),
        f"  pairings   {report.pairings}",
        f"  file       {size_text(report.file_bytes)}",
        f"  state      {report.state_hash}",
    ]
