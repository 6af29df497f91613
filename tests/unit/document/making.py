"""Documents for tests: without clock and randomness, on any save state."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from cytosol.document.document import Document
from cytosol.savestates import SaveState

AUTHOR = b"\x11" * 16
OTHER = b"\x22" * 16


class Made:
    """A document, what was reported to the app, and how often something was written."""

    def __init__(self, document: Document, errors: list[Exception], writes: list[None]) -> None:
        self.document = document
        self.errors = errors
        self.writes = writes


def make_document(
    state: SaveState | None = None,
    author: bytes = AUTHOR,
    min_history: int = 0,
    max_history: int = 32_768,
) -> Made:
    """Open a document on a closed save state."""
    errors: list[Exception] = []
    writes: list[None] = []
    times = itertools.count(1_000)
    numbers = itertools.count(1)
    document = Document(
        state,
        now_ms=lambda: next(times),
        random_bytes=lambda count: next(numbers).to_bytes(count, "big"),
        report=errors.append,
        after_write=lambda: writes.append(None),
        min_history=min_history,
        max_history=max_history,
    )
    document.journal.open()
    document.set_sources({})
    document.load(author)
    return Made(document, errors, writes)


def open_document(state: SaveState | None = None, **options: Any) -> Document:
    """Open a document whose reports do not matter."""
    return make_document(state, **options).document


def reopened(document: Document, state: SaveState, **options: Any) -> Document:
    """Close a document and open what it has saved."""
    document.close()
    return open_document(state, **options)


class Background:
    """Calls that run in threads of their own; `join` returns what each returned or raised."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._results: list[Any] = []

    def start(self, call: Callable[[], Any]) -> None:
        """Run a call in a new thread."""
        at = len(self._results)
        self._results.append(None)

        def run() -> None:
            try:
                self._results[at] = call()
            except Exception as error:
                self._results[at] = error

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> list[Any]:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a call hangs"
        return self._results
