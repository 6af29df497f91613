"""Show on a terminal how far the opening of a large file is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cytosol.savestates.files import file_size

__all__ = ["opening_bar"]

LARGE_BYTES: Final = 1024 * 1024  # smaller files are open before anybody could read a bar


@contextmanager
def opening_bar(
    file: Path, console: Console | None = None
) -> Iterator[Callable[[str, float], None] | None]:
    """Yield the `progress` of `cytosol.open`; None for a small file, or where nobody looks.

    The bar appears with the first call, because opening may ask for a passphrase before.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal or file_size(file) < LARGE_BYTES:
        yield None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(f"opening {file.name}", total=1.0)

    def show(what: str, done: float) -> None:
        bar.start()
        bar.update(task, completed=done)

    try:
        yield show
    finally:
        bar.stop()
