"""Check a database file and report what is in it, or write down what is left of a damaged one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cytosol.cli.exits import DAMAGED, OK, CommandError, exit_code, sentence
from cytosol.cli.files import open_offline
from cytosol.cli.text import count_of, json_text, printable, size_text
from cytosol.database.checking import file_sections
from cytosol.database.report import Report, describe
from cytosol.document.checkreport import CheckOutcome, CheckReport, CheckSection
from cytosol.errors import CytosolError, DatabaseCorruptError

__all__ = ["check_file"]

_FROM_OUTSIDE = {"permissions", "leftovers", "log"}


def check_file(file: Path, as_json: bool) -> int:
    """Check and print a report; raises what is wrong, with the exit code for it."""
    outside = list(file_sections(file, is_open=False)) if file.exists() else []
    facts: Report | None = None
    error: Exception | None = None
    sections = outside
    try:
        facts, found = _check(file)
        # What was seen before opening counts: opening tidies up.
        inside = [each for each in found.sections if each.name not in _FROM_OUTSIDE]
        sections = outside + inside
        if not found.is_whole:
            error = CommandError(f"'{file}' is damaged: {found.damaged[0].detail}", DAMAGED)
    except (CommandError, CytosolError) as refusal:
        error = refusal
        if not isinstance(refusal, DatabaseCorruptError):
            sections = []  # it says nothing about the file
        else:
            sections = [*outside, CheckSection("opening", CheckOutcome.DAMAGED, sentence(refusal))]
    report = CheckReport(str(file), tuple(sections))
    if as_json:
        click.echo(json_text(_for_programs(report, facts, error)))
    elif sections:
        for line in _lines(report, facts):
            click.echo(line)
    if error is not None:
        raise error
    return OK


def _check(file: Path) -> tuple[Report, CheckReport]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("opening", total=1.0)

        def show(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done)

        bar.stop()  # opening may ask for a passphrase
        with open_offline(file) as database:
            bar.start()
            found = database.check(show, raises=False)
            return describe(database), found


def _for_programs(
    report: CheckReport, facts: Report | None, error: Exception | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"ok": error is None}
    if error is not None:
        found |= {"code": exit_code(error), "message": sentence(error)}
    if facts is not None:
        found |= facts.to_json()
    sections = report.to_json()
    assert isinstance(sections, dict)
    return {**found, "sections": sections["sections"]}


def _lines(report: CheckReport, facts: Report | None) -> list[str]:
    verdict, *sections = _printable_lines(str(report))
    if facts is None:
        return [verdict, *sections]
    trimmed = "nothing trimmed"
    if facts.trimmed_ops:
        trimmed = f"{facts.trimmed_ops:,} older ones trimmed, up to number {facts.trim_index}"
    failures = facts.failures + facts.forgotten_failures
    return [
        verdict,
        f"  app        {facts.app_id}",
        f"  device     {facts.peer_id}",
        f"  document   {count_of(facts.values, 'value')}, {size_text(facts.json_bytes)} of JSON",
        f"  history    {count_of(facts.ops, 'op')}, {trimmed}",
        f"  authors    {facts.authors}",
        f"  failures   {failures}" + (" (see --meta '$.failures')" if failures else ""),
        f"  pairings   {facts.pairings}",
        f"  file       {size_text(facts.file_bytes)}",
        f"  state      {facts.state_hash}",
        "What was checked:",
        *sections,
    ]


def _printable_lines(text: str) -> list[str]:
    """Return the lines of a text, safe for a terminal: damaged files hold anything."""
    return [printable(line) for line in text.split("\n")]
