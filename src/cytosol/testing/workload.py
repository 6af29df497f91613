"""An app whose writes can be looked for: it writes, follows its own data, and notes what it breaks.

Each write leaves a mark of its own, so that the ledger can say what has become of it.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from cytosol.crdt.actions import (
    Add,
    DataAction,
    Delete,
    InitArray,
    InitObject,
    InsertAfter,
    InsertBefore,
    InsertUnique,
    Set,
    Transaction,
)
from cytosol.database.database import Database
from cytosol.errors import ActionError, FailureError, SaveError
from cytosol.protocol.events import PeerConnected, PeerDisconnected
from cytosol.testing.actions import RandomActions
from cytosol.testing.disk import PowerCut
from cytosol.testing.ledger import Write

if TYPE_CHECKING:
    from cytosol.testing.device import Device
    from cytosol.testing.world import World

__all__ = ["MarkedApp", "Workload"]

FOLLOWED = ["$.keys", "$.list", "$.count.*", "$.last", "$.free..a", "$.tags[?@ > 2]"]


class MarkedApp:
    """What runs on a device: subscriptions whose last list must be what a query says now.

    A callback that hears what must not be raises: the device keeps that longer than it keeps us.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self._last: dict[str, list[Any]] = {}
        self._connected: set[str] = set()
        for path in FOLLOWED:
            db.subscribe(path, lambda values, path=path: self._last.update({path: values}))
        db.subscribe("$.pair", self._see_pair)
        db.on("peer_connected", self._see_connected)
        db.on("peer_disconnected", self._see_disconnected)

    def _see_pair(self, values: list[Any]) -> None:
        """Transactions write both halves alike, so nobody may ever see them differ."""
        for pair in values:
            is_whole = pair.get("left") == pair.get("right")
            assert is_whole, f"a subscriber saw half a transaction: {pair}"

    def _see_connected(self, event: PeerConnected) -> None:
        """Connected and disconnected take turns: nobody ever has two connections to one device."""
        assert event.peer_id not in self._connected, f"{event.peer_id} was connected twice"
        self._connected.add(event.peer_id)

    def _see_disconnected(self, event: PeerDisconnected) -> None:
        is_known = event.peer_id in self._connected
        assert is_known, f"{event.peer_id} was disconnected and not connected"
        self._connected.discard(event.peer_id)

    def check(self) -> None:
        """Check that the last callback is what a query says."""
        self._see_pair(self.db.query_once("$.pair"))
        for path in FOLLOWED:
            now = self.db.query_once(path)
            assert self._last[path] == now, (
                f"the last callback for {path} got {self._last[path]}, and a query says {now}"
            )


class Workload:
    """Random writes of the devices of a world, each noted in its ledger."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._pen = RandomActions(chance, "$.free")
        self.refused = 0

    def prepare(self, device: Device) -> None:
        """Make the places that all others will write to."""
        for key in ("keys", "last", "count", "pair", "free"):
            device.dispatch(InitObject(f"$.{key}"))
        for key in ("list", "tags"):
            device.dispatch(InitArray(f"$.{key}"))
        for key in ("a", "b"):
            device.dispatch(Set(f"$.count.{key}", 0))

    def write(self, device: Device) -> None:
        """Let a device write something; it may die of it (PowerCut)."""
        chance = self._chance
        pick = chance.randrange(100)
        mark = f"{device.name}:{device.writes + 1}"
        document = device.db.get
        if pick < 20:
            self._noted(device, "keep", "keys", mark, Set(f"$.keys['{mark}']", mark))
        elif pick < 40:
            length = len(document("list", default=[]) or [])
            kind = chance.choice([InsertBefore, InsertAfter])
            action = kind(f"$.list[{chance.randrange(length + 1)}]", mark)
            self._noted(device, "keep", "list", mark, action)
        elif pick < 52:
            key = chance.choice("xyz")
            before = document("last", key)
            seen = frozenset() if before is None else frozenset([before])
            self._noted(device, "register", key, mark, Set(f"$.last.{key}", mark), seen)
        elif pick < 64:
            key = chance.choice("ab")
            self._noted(device, "add", key, 1, Add(f"$.count.{key}", 1))
        elif pick < 72:
            halves = [Set("$.pair.left", mark), Set("$.pair.right", mark)]
            self._free(device, Transaction(halves))
        elif pick < 78:
            self._free(device, InsertUnique("$.tags", chance.randrange(8)))
        elif pick < 80:
            self._free(device, Delete("$.tags[0]"))
        else:
            self._scribble(device)

    def _noted(
        self,
        device: Device,
        kind: Any,
        place: str,
        value: Any,
        action: DataAction,
        seen: frozenset[Any] = frozenset(),
    ) -> None:
        device.writes += 1

        def note(is_certain: bool) -> None:
            write = Write(kind, device.name, device.writes, place, value, seen, is_certain)
            self._world.ledger.note(write)

        try:
            self._dispatch(device, action)
        except PowerCut:
            note(False)
            raise
        except SaveError:
            # What a failing disk refused may be there after all once it is read again.
            self.refused += 1
            note(False)
        else:
            note(True)

    def _dispatch(self, device: Device, action: Any) -> None:
        """Dispatch while the world stands still: no dispatch may wait for the network."""
        with self._world.clock.standing_still("a dispatch"):
            device.dispatch(action)

    def _free(self, device: Device, action: Any) -> None:
        """Do something that may be refused, and then leaves no trace."""
        before = device.state_hash(), device.document
        try:
            self._dispatch(device, action)
        except (FailureError, ActionError, SaveError):
            self.refused += 1
            assert before == (device.state_hash(), device.document), "a refusal left a trace"

    def _scribble(self, device: Device) -> None:
        """Do anything at all below `$.free`, or make it again."""
        inside = device.get("free")
        if type(inside) is not dict:
            self._free(device, InitObject("$.free"))
        else:
            self._free(device, self._pen.action(inside))

    def check(self, device: Device) -> None:
        """Look in a device that has met all others for every write of the ledger."""
        document, ledger = device.document, self._world.ledger
        failed = json.dumps([each.failures for each in self._world.all if each.is_up])
        found = {"keys": set(document["keys"]), "list": document["list"]}
        complaints = ledger.missing_kept(found, failed)
        complaints += ledger.wrong_registers(document["last"], failed)
        assert not complaints, "\n".join(complaints)
        twice = [each for each in document["list"] if document["list"].count(each) > 1]
        assert not twice, f"what was inserted once is there twice: {twice}"

    def check_counters(self, device: Device) -> None:
        """Check that every acknowledged Add counts, once."""
        for place, (least, most) in self._world.ledger.counter_bounds().items():
            count = device.get("count", place)
            assert isinstance(count, int), f"$.count.{place} is {count!r}"
            assert least <= count <= most, (
                f"{least} to {most} concurrent additions of 1 make {count} at $.count.{place}"
            )
