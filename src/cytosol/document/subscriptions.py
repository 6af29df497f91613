"""Subscriptions: callbacks that hear of every change to what their query selects.

Changes are found with the document's lock held (`touch`), callbacks are called without it
(`deliver`). In between lies a queue of finished results, so that a callback sees the list as
it was after its dispatch or merge, however much has happened since.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from itertools import takewhile
from types import TracebackType
from typing import Any

from cytosol.document.delivery import Deliveries
from cytosol.document.frozen import freeze, is_same, thaw
from cytosol.document.interest import Interest, Location
from cytosol.document.patch import list_patch
from cytosol.model.json import JsonValue
from cytosol.path import Query

__all__ = ["Subscription", "Subscriptions"]

QUIET_MAX = 1024


class Subscription:
    """One callback that hears of changes, until it is cancelled; also a context manager."""

    __slots__ = ("_callback", "_deltas", "_last", "_owner", "_query")

    def __init__(
        self, owner: Subscriptions, query: Query, callback: Callable[..., None], deltas: bool
    ) -> None:
        self._owner = owner
        self._query = query
        self._deltas = deltas
        self._callback: Callable[..., None] | None = callback
        self._last = b""  # the list as it was delivered, or queued, last

    def cancel(self) -> None:
        """End the subscription: the callback is not called again.

        May be called from any thread and inside the callback, and more than once. A call that
        another thread has begun is not waited for.
        """
        self._callback = None  # at once, also for what is queued
        self._owner._remove(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<Subscription, {'cancelled' if self._callback is None else 'active'}>"


class Subscriptions:
    """All live subscriptions on one JSON root: the document's, or the metadata's.

    `read` returns the values of a query (they are copied before the lock is let go), `report`
    hears of what callbacks raise, `lock` is the document's own, which must be re-entrant.
    """

    __slots__ = (
        "_cancelled", "_deliveries", "_interest", "_lock", "_looking", "_next", "_read", "_report",
        "live", "quiet",
    )  # fmt: skip

    def __init__(
        self,
        read: Callable[[Query], list[JsonValue]],
        report: Callable[[Exception], None],
        lock: AbstractContextManager[Any],
    ) -> None:
        self._read = read
        self._report = report
        self._lock = lock
        self.live: dict[Subscription, int] = {}
        """All that are not cancelled, to when they came: the order of calls. To be looked at."""
        self.quiet: set[Hashable] = set()
        """Containers in which no change concerns anybody, as far as is noted."""
        self._next = 0
        self._looking = 0  # who is cancelled meanwhile, as by the garbage collector, waits
        self._cancelled: list[Subscription] = []
        self._interest: Interest[Subscription] = Interest()
        self._deliveries = Deliveries()

    def __len__(self) -> int:
        return len(self.live)

    def subscribe(
        self, query: Query, callback: Callable[..., None], deltas: bool = False
    ) -> Subscription:
        """Call back with the current list, then return; afterwards whenever the list changes.

        With `deltas` the callback gets `(list, patch)`: the RFC 6902 operations from the list
        before, None the first time. Everything it gets is its own. What it raises is reported;
        a KeyboardInterrupt meanwhile goes to the caller and ends the subscription. Raises
        PathLimitError when the query takes too many steps.
        """
        subscription = Subscription(self, query, callback, deltas)
        with self._lock:
            subscription._last = first = freeze(self._read(query))
            # Changes from now on are queued, but must not be heard of before the first list.
            self._deliveries.hold(subscription)
            self._looking += 1
            try:
                self.live[subscription] = self._next
                self._next += 1
                self._interest.add(subscription, query)
                self.quiet.clear()
            finally:
                self._looking -= 1  # without a call: Ctrl-C must not come before it
                self._forget_cancelled()
        try:
            try:
                self._call(subscription, first, None)
            finally:
                self._deliveries.release(subscription)
            self.deliver()
        except BaseException:
            subscription.cancel()  # the caller does not get what it would have to cancel
            raise
        return subscription

    @property
    def is_due(self) -> bool:
        """Whether callbacks wait for being called."""
        return bool(self._deliveries.queue)

    def note_quiet(self, container: Hashable, location: Location) -> None:
        """Note a container as one in which changes concern nobody, if that is so.

        A caller forgets what is noted (`quiet`) when containers may have come, gone or moved; a
        new subscription forgets it, too. Call it with the lock held.
        """
        # Indexes change without notice: only the keys before them may decide.
        keys = tuple(takewhile(lambda step: type(step) is str, location))
        if self._interest.is_quiet(keys):
            if len(self.quiet) >= QUIET_MAX:
                self.quiet.clear()
            self.quiet.add(container)

    def touch(self, locations: Iterable[Location]) -> None:
        """Queue deliveries to all whose list has changed; call with the lock held.

        Call it once after each dispatch or merge, with the places at or below which anything
        has changed; for insertions and deletions in an array that is the array itself.
        """
        self._looking += 1
        try:
            concerned = self._interest.concerned(locations)
            if concerned:
                self._refresh(sorted(concerned, key=self.live.__getitem__))
        finally:
            self._looking -= 1  # as above
            self._forget_cancelled()

    def touch_all(self) -> None:
        """Queue deliveries to all whose list has changed, anywhere; call with the lock held."""
        self._looking += 1
        try:
            self._refresh(list(self.live))
        finally:
            self._looking -= 1  # as above
            self._forget_cancelled()

    def deliver(self) -> None:
        """Call the callbacks that are due, in order; call it without the lock.

        Returns at once if another thread or an outer frame is delivering: it goes on with
        these. A KeyboardInterrupt in a callback goes to the caller, and what was due behind it
        is delivered the next time.
        """
        if self._deliveries.queue:
            self._deliveries.run()

    def _refresh(self, subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            try:
                values = self._read(subscription._query)
                frozen = freeze(values)
            except Exception as error:  # a write must not fail because a query grew too dear
                self._deliveries.put(subscription, partial(self._report, error))
                continue
            last = subscription._last
            if frozen == last:
                continue
            subscription._last = frozen
            # Different bytes may say the same: 1 and 1.0, or members in another order.
            if not is_same(thaw(last), values):
                self._deliveries.put(subscription, partial(self._call, subscription, frozen, last))

    def _call(self, subscription: Subscription, frozen: bytes, last: bytes | None) -> None:
        """Call one callback with a list, unless the subscription was cancelled meanwhile."""
        callback = subscription._callback
        if callback is None:
            return
        try:
            if not subscription._deltas:
                callback(thaw(frozen))
            elif last is None:
                callback(thaw(frozen), None)
            else:
                callback(thaw(frozen), list_patch(thaw(last), thaw(frozen)))
        except Exception as error:
            self._report(error)

    def _remove(self, subscription: Subscription) -> None:
        """Forget a subscription; nothing happens when that was done before."""
        with self._lock:
            if self._looking:
                self._cancelled.append(subscription)
            elif self.live.pop(subscription, None) is not None:
                self._interest.discard(subscription, subscription._query)
                subscription._last = b""

    def _forget_cancelled(self) -> None:
        while self._cancelled and not self._looking:
            self._remove(self._cancelled.pop())
