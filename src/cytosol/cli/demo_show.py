"""What the demo shows: its steps with their times, and documents side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from cytosol.cli.text import json_text, size_text
from cytosol.model.json import JsonValue

__all__ = ["DemoShow", "Step"]


@dataclass(slots=True)
class Step:
    """A step under way; set `detail` to add a line, call `progress` as it goes on."""

    _progress: Progress
    _task: TaskID
    detail: str = ""

    def progress(self, done: int, total: int) -> None:
        """Move the progress bar."""
        self._progress.update(self._task, completed=done, total=total)


class DemoShow:
    """Writes to one console, in colour and with a spinner where that is possible."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while it goes on, and how long it took; nothing if it raises."""
        began = time.monotonic()
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as progress:
            step = Step(progress, progress.add_task(title, total=None))
            yield step
        seconds = f"{time.monotonic() - began:6.2f} s  "
        line = Text.assemble((" ok ", "bold green"), (seconds, "dim"), title)
        self._console.print(line, soft_wrap=True)
        if step.detail:
            self._console.print(Text(f"{'':14}{step.detail}", style="dim"), soft_wrap=True)

    def note(self, text: str) -> None:
        """Show a remark."""
        self._console.print(Text(text, style="yellow"), soft_wrap=True)

    def failed(self, why: str) -> None:
        """Show where the demo ended."""
        line = Text.assemble((" NO ", "bold red"), f"          {why}")
        self._console.print(line, soft_wrap=True)

    def side_by_side(self, title: str, documents: Sequence[tuple[str, JsonValue]]) -> None:
        """Show parts of documents beside each other."""
        table = Table(title=f"{title}: $.trip", title_justify="left", padding=(0, 2))
        for name, _ in documents:
            table.add_column(name)
        table.add_row(*(Text(json_text(value, indent=2)) for _, value in documents))
        self._console.print(table)

    def summary(
        self, names: Sequence[str], stats: Sequence[dict[str, JsonValue]], seconds: float
    ) -> None:
        """Show that both are equal, and what it took."""
        table = Table(title="Both devices at the end", title_justify="left", padding=(0, 2))
        table.add_column("")
        for name in names:
            table.add_column(name)
        rows = (
            ("values", [f"{each['values']:,}" for each in stats]),
            ("JSON", [size_text(each["jsonBytes"]) for each in stats]),
            ("file", [size_text(each["fileBytes"]) for each in stats]),
            ("ops so far", [f"{each['ops'] + each['trimmedOps']:,}" for each in stats]),
            ("ops still kept", [f"{each['ops']:,}" for each in stats]),
            ("authors", [str(each["authors"]) for each in stats]),
        )
        for label, cells in rows:
            table.add_row(label, *cells)
        self._console.print(table)
        for name, each in zip(names, stats, strict=True):
            line = f"{name} has the state hash {each['stateHash']}"
            self._console.print(Text(line), soft_wrap=True)
        line = f"Equal documents, equal state hashes; the whole demo took {seconds:.1f} s."
        self._console.print(Text(line, style="bold green"), soft_wrap=True)
