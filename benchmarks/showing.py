"""Say how far something is that takes long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["showing"]

EVERY_S = 2.0


@contextmanager
def showing(what: str, how_far: Callable[[], str]) -> Iterator[None]:
    """Say on the standard error every two seconds how far something is that takes long."""
    finished = threading.Event()

    def show() -> None:
        while not finished.wait(EVERY_S):
            print(f"  {what}: {how_far()}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
