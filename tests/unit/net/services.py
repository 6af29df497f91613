"""Network services over loopback, and waiting for what they tell, without sleeping."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.model.ids import format_id
from cytosol.net.service import NetworkService
from cytosol.protocol.events import PairRequest, PeerConnected
from tests.simulation.machine_fakes import MemoryPairings, NumbersReplica, TinySync

PATIENCE_S = 30.0  # a bound for a broken test, not a time that passes


class TestDevice:
    """One service with what it needs; `wait_for` returns as soon as something is so."""

    __test__ = False  # not a collection of tests

    def __init__(self, app_id: bytes, name: str, **options: Any) -> None:
        self.app_id, self.name, self.options = app_id, name, options
        self.keys = make_key_pair(os.urandom(32))
        self.peer_id = peer_id_for_key(self.keys.public)
        self.id = format_id(self.peer_id)
        self.pairings = MemoryPairings()
        self.replica = NumbersReplica(self.peer_id)
        self.events: list[object] = []
        self.on_event: Callable[[object], None] = lambda event: None
        self._changed = threading.Condition()
        self.service: NetworkService
        self.renew()

    def renew(self) -> None:
        """Make a fresh service with the same identity."""
        settings: dict[str, Any] = {
            "visible_to_peers": True,
            "sync_enabled": True,
            "trust_shared_peers": True,
            "loopback": True,
            "sync_factory": TinySync,
            **self.options,
        }
        self.service = NetworkService(
            app_id=self.app_id,
            peer_id=self.peer_id,
            peer_name=self.name,
            key_pair=self.keys,
            replica=self.replica,
            pairings=self.pairings,
            emit=self._emit,
            **settings,
        )

    def _emit(self, event: object) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        self.on_event(event)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that changes with an event only."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), f"{self.name}: {self.events}"

    def told(self, kind: type, **fields: Any) -> list[Any]:
        return [
            event
            for event in list(self.events)
            if isinstance(event, kind)
            and all(getattr(event, key) == value for key, value in fields.items())
        ]

    def wait_told(self, kind: type, count: int = 1, **fields: Any) -> Any:
        """Wait for the n-th event of a kind and return it."""
        self.wait_for(lambda: len(self.told(kind, **fields)) >= count)
        return self.told(kind, **fields)[count - 1]

    def row(self, other: TestDevice) -> dict[str, Any] | None:
        return next((row for row in self.service.peers() if row["id"] == other.id), None)

    def pair_with(self, other: TestDevice, code: str | None = None) -> None:
        """Pair by hand and wait for the connection."""
        code = code or os.urandom(4).hex()  # each is good for one attempt
        self.wait_for(lambda: self.row(other) is not None)
        self.service.command("request_pair", other.id, code)
        other.wait_told(PairRequest, peer_id=self.id)
        other.service.command("accept_pair", self.id, code)
        self.wait_told(PeerConnected, peer_id=other.id)
        other.wait_told(PeerConnected, peer_id=self.id)


@contextmanager
def devices(*names: str, **options: Any) -> Iterator[list[TestDevice]]:
    """Start devices of one fresh app, and stop them at the end."""
    app_id = os.urandom(16)
    started = [TestDevice(app_id, name, **options) for name in names]
    try:
        for device in started:
            device.service.start()
        yield started
    finally:
        for device in started:
            device.service.stop()
