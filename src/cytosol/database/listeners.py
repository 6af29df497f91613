"""Events and who listens for them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from cytosol.document.events import CallbackError, HistoryAdopted, IdentityRenewed
from cytosol.errors import ActionError
from cytosol.model.json import brief
from cytosol.protocol.events import (
    PairCancelled,
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    SyncDone,
    SyncFailed,
    SyncProgress,
    Unpaired,
)

__all__ = ["Listener", "Listeners"]

EVENTS: Final[dict[str, type]] = {
    "pair_request": PairRequest,
    "pair_response": PairResponse,
    "pair_cancelled": PairCancelled,
    "unpaired": Unpaired,
    "peer_connected": PeerConnected,
    "peer_disconnected": PeerDisconnected,
    "sync_progress": SyncProgress,
    "sync_done": SyncDone,
    "sync_failed": SyncFailed,
    "identity_renewed": IdentityRenewed,
    "history_adopted": HistoryAdopted,
    "callback_error": CallbackError,
}
NAMES: Final = {kind: name for name, kind in EVENTS.items()}
KEPT: Final = frozenset({"identity_renewed", "history_adopted"})
"""What happened to the data itself: kept for the first listener, for it happens in `open`, too."""
KEPT_MAX: Final = 100

_log = logging.getLogger("cytosol")


class Listener:
    """Something that listens for events until `cancel` is called."""

    __slots__ = ("_callback", "_forget")

    def __init__(self, callback: Callable[[Any], None], forget: Callable[[Listener], None]) -> None:
        self._callback: Callable[[Any], None] | None = callback
        self._forget = forget

    def cancel(self) -> None:
        """Stop listening; again is harmless."""
        self._callback = None
        self._forget(self)

    def __repr__(self) -> str:
        return f"<Listener, {'cancelled' if self._callback is None else 'active'}>"


class Listeners:
    """Who listens for which event. Callbacks are called without any lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: dict[str, list[Listener]] = {name: [] for name in EVENTS}
        self._kept: deque[tuple[str, object]] = deque(maxlen=KEPT_MAX)

    def add(self, event: str, callback: Callable[[Any], None]) -> Listener:
        """Call back for every event of a kind, first for those that were kept.

        Raises ActionError for an unknown event.
        """
        listening = self._listening.get(event) if isinstance(event, str) else None
        if listening is None:
            raise ActionError(f"{brief(event)} is not an event; there are {', '.join(EVENTS)}")
        if not callable(callback):
            raise ActionError(f"the callback for {event} cannot be called: {brief(callback)}")
        listener = Listener(callback, lambda each: self._remove(event, each))
        with self._lock:
            listening.append(listener)
            missed = [kept for name, kept in self._kept if name == event]
            if missed:
                self._kept = deque(
                    (item for item in self._kept if item[0] != event), maxlen=KEPT_MAX
                )
        for kept in missed:
            self._call(listener, event, kept)
        return listener

    def _remove(self, event: str, listener: Listener) -> None:
        with self._lock:
            if listener in self._listening[event]:
                self._listening[event].remove(listener)

    def emit(self, event: object) -> None:
        """Call the listeners of an event; what they raise becomes a `callback_error`."""
        name = NAMES.get(type(event))
        if name is None:
            return
        with self._lock:
            listening = list(self._listening[name])
            if not listening and name in KEPT:
                self._kept.append((name, event))
        for listener in listening:
            self._call(listener, name, event)
        if not listening and isinstance(event, CallbackError):
            _tell_in_the_log(event.error)

    def _call(self, listener: Listener, name: str, event: object) -> None:
        callback = listener._callback
        if callback is None:
            return
        try:
            callback(event)
        except Exception as error:
            if name == "callback_error":
                _tell_in_the_log(error)
            else:
                self.emit(CallbackError(error))


def _tell_in_the_log(error: Exception) -> None:
    """Tell of a mistake of the app that nobody listens for; silence would hide it."""
    _log.error(
        "a callback raised %s; listen for 'callback_error' to handle this",
        type(error).__name__,
        exc_info=error,
    )
