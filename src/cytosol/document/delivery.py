"""Deliveries: calls that wait in one queue and are made in order, by one thread at a time.

No lock is held during a call. Whoever comes while another thread, or an outer frame of the
same thread, is delivering leaves its calls to that one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeAlias

__all__ = ["Deliveries"]

_Call: TypeAlias = tuple[Hashable, Callable[[], None]]


class Deliveries:
    """A queue of calls, each for one receiver; a receiver can be put on hold.

    `queue` is to be looked at only, to tell whether `run` has anything to do.
    """

    __slots__ = ("_gate", "_held", "_runner", "queue")

    def __init__(self) -> None:
        self.queue: deque[_Call] = deque()
        self._held: dict[Hashable, list[_Call]] = {}
        self._gate = Lock()  # over whose turn it is, taking, and what is held; never while calling
        self._runner: object = None  # a mark of the one who delivers; nobody waits for it

    def put(self, receiver: Hashable, call: Callable[[], None]) -> None:
        """Queue a call for `receiver`; callers agree on the order among themselves."""
        self.queue.append((receiver, call))

    def hold(self, receiver: Hashable) -> None:
        """Keep back the calls for `receiver` until `release`; calls for others go on."""
        with self._gate:
            self._held[receiver] = []

    def release(self, receiver: Hashable) -> None:
        """Let the calls for `receiver` that were kept back go first, in their order."""
        with self._gate:
            # What was kept back is older than all that still waits, so it goes in front.
            self.queue.extendleft(reversed(self._held.pop(receiver)))

    def run(self) -> None:
        """Make all calls in order, unless somebody is at it: then that one makes ours too.

        Whatever a call raises goes to the caller; the calls behind it stay for the next `run`.
        """
        # Calls that came while we gave the turn back found it taken, hence the outer loop.
        while self.queue:
            mark = object()
            try:
                with self._gate:
                    if self._runner is not None:
                        return
                    self._runner = mark
                while (call := self._take()) is not None:
                    call()
            finally:
                if self._runner is mark:  # without a call: Ctrl-C must not come before it
                    self._runner = None

    def _take(self) -> Callable[[], None] | None:
        """Take the first call whose receiver is not on hold out of the queue."""
        with self._gate:
            while self.queue:
                receiver, call = waiting = self.queue.popleft()
                held = self._held.get(receiver)
                if held is None:
                    return call
                held.append(waiting)
        return None
