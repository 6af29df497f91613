"""One thread that owns an event loop, for programs that have none of their own.

uvloop is used where it is installed; it is imported here and nowhere else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

from cytosol.errors import NetworkError

__all__ = ["BackgroundLoop"]

T = TypeVar("T")

ALIVE_CHECK_S: Final = 0.5  # only a loop that is being stopped leaves a call unanswered
SIGNAL_CHECK_S: Final = 0.5  # a Ctrl-C that nobody noticed waits so long


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class BackgroundLoop:
    """A daemon thread with an event loop; `run` and `call` work from every other thread."""

    def __init__(self, name: str) -> None:
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Tell whether the caller is this very thread."""
        return threading.get_ident() == self._thread.ident

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs: not in a forked child, where there is none."""
        return self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for its result; not from the loop's thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        # A wait notices no Ctrl-C that came as it began: only when it is over.
        while not wait([future], timeout=SIGNAL_CHECK_S).done:
            pass
        return future.result()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the loop's thread and wait for it; from that thread, at once.

        Raises what the function raises, NetworkError when the loop is stopped meanwhile.
        """
        if self.is_current:
            return function()
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # whatever it is, it belongs to the caller
                future.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        while not wait([future], timeout=ALIVE_CHECK_S).done:
            if not self._thread.is_alive():
                raise NetworkError("the network was stopped meanwhile")
        return future.result()

    def post(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop's thread soon; nothing happens after `stop`."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def stop(self) -> None:
        """End the loop and wait for the thread, unless it is the caller."""
        self.post(self._loop.stop)
        if not self.is_current and self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
