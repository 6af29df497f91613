"""A thread that runs an app's callbacks, so that the network never waits for one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Worker"]


class Worker:
    """Runs calls one after the other in a thread of its own, in the order given."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Have a call run soon; it must not raise."""
        self._calls.put(call)

    def stop(self) -> None:
        """Run what was posted, then end the thread; from inside a call it ends afterwards."""
        self._calls.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
