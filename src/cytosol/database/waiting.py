"""Waiting in an asyncio program: for changes, for a peer, until the database closes.

Reads never wait, so there is nothing else to await. Callbacks come from other threads and hand
over to the loop of whoever waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from cytosol.document.subscriptions import Subscription
from cytosol.errors import ActionError, DatabaseClosedError, PeerTimeoutError
from cytosol.model.json import JsonValue, brief

__all__ = ["Closing", "checked_timeout", "wait_for", "watch"]

_TIMEOUT_MAX_S: Final = 1e9  # some thirty years; a larger integer need not fit into a float

Subscribe = Callable[[Callable[[list[JsonValue]], None]], Subscription]


class Closing:
    """Tells those who wait that the database closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Callable[[], None]] | None = set()

    def add(self, call: Callable[[], None]) -> None:
        """Have a call made when the database closes; raises DatabaseClosedError if it has."""
        with self._lock:
            if self._calls is None:
                raise DatabaseClosedError("the database is closed; open it again to use it")
            self._calls.add(call)

    def discard(self, call: Callable[[], None]) -> None:
        """Take a call back."""
        with self._lock:
            if self._calls is not None:
                self._calls.discard(call)

    def close(self) -> None:
        """Make all calls; again is harmless."""
        with self._lock:
            calls, self._calls = self._calls, None
        for call in calls or ():
            call()


async def watch(subscribe: Subscribe, closing: Closing) -> AsyncIterator[list[JsonValue]]:
    """Yield the lists of a subscription until the database closes."""
    lists: asyncio.Queue[list[JsonValue] | None] = asyncio.Queue()
    put = _in_this_loop(lists.put_nowait)

    def end() -> None:
        put(None)

    closing.add(end)
    try:
        with subscribe(put):
            while (values := await lists.get()) is not None:
                yield values
    finally:
        closing.discard(end)


def checked_timeout(timeout: object) -> float | None:
    """Return a number of seconds that the loop can wait; raises ActionError for what is none."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout != timeout:
        raise ActionError(f"the timeout is a number of seconds, or None, not {brief(timeout)}")
    return float(min(timeout, _TIMEOUT_MAX_S))


async def wait_for(
    wanted: str, subscribe: Subscribe, closing: Closing, timeout_s: float | None
) -> None:
    """Return as soon as `wanted` is in the list of a subscription.

    Raises PeerTimeoutError, and DatabaseClosedError when the database is closed meanwhile.
    """
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def finish(is_there: bool) -> None:
        if not done.done():
            done.set_result(is_there)

    tell = _in_this_loop(finish)

    def look(connected: list[JsonValue]) -> None:
        if wanted in connected:
            tell(True)

    def end() -> None:
        tell(False)

    closing.add(end)
    try:
        with subscribe(look):
            is_there = await asyncio.wait_for(done, timeout_s)
    except TimeoutError:
        raise PeerTimeoutError(
            f"the peer {wanted} was not connected within {timeout_s} s"
        ) from None
    finally:
        closing.discard(end)
    if not is_there:
        raise DatabaseClosedError("the database was closed while a peer was waited for")


def _in_this_loop(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a function for any thread that has another one called in the running loop."""
    loop = asyncio.get_running_loop()

    def call(value: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(function, value)

    return call
