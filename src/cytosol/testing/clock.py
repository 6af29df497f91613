"""A clock that moves only when it is told to, and the queue of all that will happen.

What is due at one moment happens in the order in which it was asked for, so that a world which
asks in the same order has the same history.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["EPOCH_S", "Timer", "VirtualClock"]

EPOCH_S = 1_700_000_000.0
"""The wall-clock second at which every world begins."""


class Timer:
    """One call that is due at a time; `cancel` takes it back."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at = at
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not make the call; again is harmless."""
        self.call = None


class VirtualClock:
    """Time in seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        """How many calls were made so far."""
        self.standing = ""
        """What has to be over before anything else may happen, if there is such a thing."""
        self._queue: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def call_at(self, at: float, call: Callable[[], object]) -> Timer:
        """Have a call made at a time; one that has passed is as good as now."""
        timer = Timer(max(at, self.now), call)
        heapq.heappush(self._queue, (timer.at, next(self._order), timer))
        return timer

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Have a call made some seconds from now."""
        return self.call_at(self.now + delay_s, call)

    def next_at(self) -> float | None:
        """Return when the next call is due, None if none is."""
        while self._queue and self._queue[0][2].call is None:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    @contextmanager
    def standing_still(self, what: str) -> Iterator[None]:
        """Let no time pass, and nobody use the network, in something that must not need either."""
        before, self.standing = self.standing, what
        try:
            yield
        finally:
            self.standing = before

    def check_running(self) -> None:
        """Raise AssertionError inside of `standing_still`."""
        assert not self.standing, f"{self.standing} waits for the network, or uses it"

    def step(self, end: float) -> bool:
        """Make the next call if it is due by `end`; tell whether there was one."""
        self.check_running()
        at = self.next_at()
        if at is None or at > end:
            return False
        timer = heapq.heappop(self._queue)[2]
        self.now = at
        self.events += 1
        call, timer.call = timer.call, None
        assert call is not None, "next_at drops what was cancelled"
        call()
        return True
