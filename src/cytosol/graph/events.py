"""Callbacks of one node, graph or group, by the name of the event."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cytosol.errors import GraphError

__all__ = ["Listeners", "Subscription"]

Callback = Callable[..., Any]


class Subscription:
    """One registered callback; `cancel()` ends it, more than once does no harm."""

    __slots__ = ("_callbacks", "callback")

    def __init__(self, callbacks: list[Subscription], callback: Callback) -> None:
        self._callbacks = callbacks
        self.callback = callback
        callbacks.append(self)

    def cancel(self) -> None:
        """Take the callback out; it is not called any more, not even by an event under way."""
        if self in self._callbacks:
            self._callbacks.remove(self)


class Listeners:
    """The callbacks of the events `names`, called in the order in which they came."""

    __slots__ = ("_by_name",)

    def __init__(self, *names: str) -> None:
        self._by_name: dict[str, list[Subscription]] = {name: [] for name in names}

    def on(self, event: str, callback: Callback) -> Subscription:
        """Register `callback`. Raises GraphError for an unknown event, or for no plain function."""
        callbacks = self._by_name.get(event) if isinstance(event, str) else None
        if callbacks is None:
            known = " and ".join(f'"{name}"' for name in self._by_name)
            raise GraphError(f"there is no event {event!r}; the events are {known}")
        if not callable(callback):
            raise GraphError(f"a callback for {event!r} must be callable, not {callback!r}")
        if inspect.iscoroutinefunction(callback):
            raise GraphError(
                f"{callback!r} is an async function and would never run: give a plain function, "
                "which may put what it hears into an asyncio.Queue"
            )
        return Subscription(callbacks, callback)

    def emit(self, event: str, *payload: Any) -> list[Exception]:
        """Call the callbacks of `event`; return what they raised, all are called anyhow."""
        errors: list[Exception] = []
        callbacks = self._by_name[event]
        for subscription in tuple(callbacks):
            if subscription in callbacks:
                try:
                    subscription.callback(*payload)
                except Exception as error:  # every callback gets the event, whatever others do
                    errors.append(error)
        return errors

    def __bool__(self) -> bool:
        """Tell whether anybody listens."""
        return any(self._by_name.values())
