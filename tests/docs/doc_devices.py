"""What the pages use behind the scenes: devices that meet when the page says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

import cytosol
from cytosol import AcceptPair, RequestPair, Set, SetSyncEnabled
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.model.json import canonical_bytes

PATIENCE_S = 30.0


class Device:
    """A document without file and network; `number` orders its writes among equal ones."""

    def __init__(self, number: int) -> None:
        self.replica = Replica(bytes([number]) * 16)
        self._compiler = Compiler(self.replica)

    def dispatch(self, action: cytosol.crdt.actions.DataAction) -> None:
        self._compiler.dispatch(action, 0)

    @property
    def failures(self) -> list[tuple[list[str | int], str]]:
        """Path and message of what could not be applied."""
        return list(self.replica.failures.values())


def devices(document: Mapping[str, Any], count: int = 2) -> list[Device]:
    """Return devices that hold this document; of equal writes the first device's are earlier."""
    made = [Device(number + 1) for number in range(count)]
    for key, value in document.items():
        made[0].dispatch(Set("$[{0}]", value, vars=[key]))
    meet(*made)
    return made


def meet(*those: Device) -> Any:
    """Sync devices; return the document that all of them hold then, keys sorted."""
    for giver in those:
        log = giver.replica.log
        ops = [log.op(row) for row in range(len(log))]
        for taker in those:
            taker.replica.merge(ops)
    first = those[0].replica
    for other in those[1:]:
        assert other.replica.state_hash() == first.state_hash()
        assert other.replica.document == first.document
        assert len(other.failures) == len(those[0].failures)
    return msgspec.json.decode(canonical_bytes(first.document))


def pair(asker: cytosol.Database, answerer: cytosol.Database) -> None:
    """Pair two open databases and wait until they are connected and hold the same."""
    code = cytosol.new_pairing_code()
    visible = threading.Event()

    def accept(request: cytosol.PairRequest) -> None:
        answerer.dispatch(AcceptPair(request.peer_id, code))

    listener = answerer.on("pair_request", accept)
    with asker.subscribe_meta(
        "$.peers[*].id", lambda ids: answerer.peer_id in ids and visible.set()
    ):
        assert visible.wait(PATIENCE_S)
    asker.dispatch(RequestPair(answerer.peer_id, code))
    wait_until_same(asker, answerer)
    listener.cancel()


def part(*those: cytosol.Database) -> None:
    """Take databases off the net."""
    for database in those:
        database.dispatch(SetSyncEnabled(False))


def reunite(first: cytosol.Database, second: cytosol.Database) -> None:
    """Let two databases sync again, and wait until they hold the same."""
    for database in (first, second):
        database.dispatch(SetSyncEnabled(True))
    wait_until_same(first, second)


def wait_until_same(first: cytosol.Database, second: cytosol.Database) -> None:
    """Wait until two databases are connected and have the same history."""
    same = threading.Event()

    def look(_: object) -> None:
        connected = first.query_once_meta("$.peers[?@.connected == true].id")
        if second.peer_id in connected and first.state_hash() == second.state_hash():
            same.set()

    with (
        first.subscribe_meta("$.peers", look),
        first.subscribe_meta("$.actions", look),
        second.subscribe_meta("$.actions", look),
    ):
        assert same.wait(PATIENCE_S), "the two databases did not sync"
