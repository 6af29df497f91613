"""A world of real documents, joined by real SyncMachines over the virtual network of sync_world.

Devices write, meet, trim, restart, are put back to a backup and are cloned, all from one seed. A
ledger outside knows every write that was acknowledged, and looks for it in the end.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from cytosol.crdt.actions import InitArray, InitObject, InsertAfter, InsertBefore, Set
from cytosol.database.joins import PeerReplica
from cytosol.document.document import Document
from cytosol.errors import FailureError
from cytosol.model.ids import format_id, parse_id
from cytosol.protocol.sync import SyncMachine
from cytosol.savestates import InMemorySaveState
from tests.property.histories import History
from tests.simulation.sync_world import World, peer

__all__ = ["Device", "DocumentWorld", "random_step"]


class Device:
    """One document, its save state, and what its app was told is safe."""

    def __init__(self, world: DocumentWorld, number: int, max_history: int) -> None:
        self.world = world
        self.number = number
        self.max_history = max_history
        self.state = InMemorySaveState()
        self.writes = 0
        self.events: list[object] = []
        self.paired: set[bytes] = set()
        self.open(peer(number + 1))

    def open(self, author: bytes) -> None:
        """Open the document in the save state; `author` counts if it is new."""
        document = Document(
            self.state,
            now_ms=lambda: int(self.world.now * 1000),
            random_bytes=self.world.random.randbytes,
            report=self._report,
            max_history=self.max_history,
        )
        document.journal.open()
        found = document.journal.get_meta("author")
        document.load(author if found is None else parse_id(found))
        document.journal.put_meta(author=format_id(document.replica.author))
        self.document = document
        document.history.set_paired(self.paired)

    def _report(self, error: Exception) -> None:
        raise error

    def pair(self, other: Device) -> None:
        """Know another device as paired, from now on."""
        self.paired.add(peer(other.number + 1))
        self.document.history.set_paired(self.paired)

    def seam(self, other: int) -> PeerReplica:
        """Return the document as the sync with another device sees it."""
        return PeerReplica(self.document, peer(other + 1), lambda: None, self.events.append)

    def restart(self) -> None:
        """Close and open again, with the same file."""
        self.document.close()
        self.open(peer(self.number + 1))

    def backup(self) -> tuple[InMemorySaveState, int]:
        """Return a copy of the file, and how much the ledger had from here by then."""
        state = InMemorySaveState()
        state._records = copy.deepcopy(self.state._records)
        return state, self.writes

    def put_back(self, backup: tuple[InMemorySaveState, int]) -> None:
        """Go on with an older copy of the file: nobody promised what came after it."""
        self.document.close()
        self.state, writes = backup
        self.world.forget(self.number, writes)
        self.open(peer(self.number + 1))

    def trim(self, count: int) -> None:
        """Drop up to `count` ops, whoever still needs them."""
        from cytosol.crdt.retention import clean_cut

        document = self.document
        count = clean_cut(document.replica, min(count, len(document.replica.log)))
        if count:
            document.history._trim_to(count)

    # --- writing

    def dispatch(self, action: Any) -> bool:
        """Dispatch an action; a refusal is fine."""
        try:
            self.document.dispatch(action)
        except FailureError:
            return False
        self.world.changed(self.number)
        return True

    def write(self) -> None:
        """Write something that the ledger looks for in the end."""
        world, random = self.world, self.world.random
        self.writes += 1
        mark = f"{self.number}-{self.writes}"
        pick = random.randrange(4)
        if pick == 0:
            assert self.dispatch(Set(f"$.keys['{mark}']", mark))
            world.ledger.add(("keys", mark))
        elif pick == 1:
            assert self.dispatch(Set(f"$.last['{self.number}']", mark))
            world.last[self.number] = mark
        else:
            length = len(self.document.get(("list",), []) or [])
            kind = random.choice([InsertBefore, InsertAfter])
            assert self.dispatch(kind(f"$.list[{random.randrange(length + 1)}]", mark))
            world.ledger.add(("list", mark))

    def scribble(self) -> None:
        """Do anything below `$.free`."""
        pen = self.world.pen
        inside = self.document.get(("free",), {})
        action = pen.action(inside)
        message = json.loads(json.dumps(action.to_message()).replace('"$', '"$.free'))
        self.dispatch(message)


class DocumentWorld(World):
    """Devices, the connections between them, and the ledger."""

    def __init__(self, count: int, seed: int = 0, max_history: int = 1 << 20) -> None:
        super().__init__(0, seed)
        self.pen = History(seed)
        self.ledger: set[tuple[str, str]] = set()
        self.last: dict[int, str] = {}
        self.devices = [Device(self, number, max_history) for number in range(count)]
        self.replicas = self.devices  # type: ignore[assignment]  # World only counts them
        for device in self.devices:
            for action in (
                InitObject("$.keys"),
                InitObject("$.last"),
                InitArray("$.list"),
                InitObject("$.free"),
            ):
                device.dispatch(action)

    def connect(self, one: int, other: int) -> None:
        """Connect two devices; their machines see each other's documents."""
        self._epoch += 1
        for a, b in ((one, other), (other, one)):
            cache = self.caches.setdefault((a, b), {})
            machine = SyncMachine(self.devices[a].seam(b), peer(a + 1), peer(b + 1), cache)
            machine.epoch = self._epoch  # type: ignore[attr-defined]  # which connection it is
            machine.calls = {}  # type: ignore[attr-defined]  # which method a request was
            self.machines[a, b] = machine
            self._arrival.pop((a, b), None)
        for a, b in ((one, other), (other, one)):
            if (a, b) in self.machines:
                self.machines[a, b].start(self.now)
                self._obey(a, b)

    def disconnect_device(self, number: int) -> None:
        """Lose all connections of a device."""
        for a, b in list(self.machines):
            if number in (a, b):
                self.machines.pop((a, b), None)

    def settle_all(self) -> None:
        """Connect everybody and run until nothing is left to say."""
        for a in self.devices:
            for b in self.devices:
                if a is not b:
                    a.pair(b)
        for _ in range(6):
            self.connect_all()
            self.settle()
            if self.all_equal():
                return
            self.now += 1_000

    def all_equal(self) -> bool:
        """Tell whether all devices hold the same document and state hash."""
        return (
            len(
                {
                    (
                        json.dumps(d.document.replica.document, sort_keys=True),
                        d.document.replica.state_hash(),
                    )
                    for d in self.devices
                }
            )
            == 1
        )

    def forget(self, number: int, writes: int) -> None:
        """Strike what a device wrote after its first `writes` off the ledger."""
        gone = {f"{number}-{n}" for n in range(writes + 1, self.devices[number].writes + 1)}
        self.ledger = {item for item in self.ledger if item[1] not in gone}
        if self.last.get(number) in gone:
            del self.last[number]

    # --- what must hold

    def lost(self) -> list[tuple[str, str]]:
        """Return the acknowledged writes that are neither in the document nor a failure."""
        document = self.devices[0].document.replica.document
        failed = json.dumps([d.document.history.failures() for d in self.devices])
        found = {("keys", key) for key in document.get("keys", {})}
        found |= {("list", item) for item in document.get("list", []) if type(item) is str}
        lost = {item for item in self.ledger if item not in found and f'"{item[1]}"' not in failed}
        for number, mark in self.last.items():
            if document["last"].get(str(number)) != mark and f'"{mark}"' not in failed:
                lost.add(("last", mark))
        return sorted(lost)

    def check(self, ledger: bool = True) -> None:
        """Check all that must hold once everybody has met everybody."""
        for device in self.devices:
            device.document.check()
        first = self.devices[0].document.history.summary()
        for device in self.devices[1:]:
            summary = device.document.history.summary()
            assert first.latest == summary.latest
            assert first.state_hash == summary.state_hash
        assert self.all_equal(), "documents differ"
        assert self.failures == []
        if ledger:
            assert self.lost() == []
        document = self.devices[0].document.replica.document
        assert len(document["list"]) == len(set(document["list"])), "an insert came twice"
        self.check_idle()
        for device in self.devices:
            listed, shown = device.document.history.failures(), device.document.replica.document
            device.restart()
            assert device.document.history.failures() == listed, "failures outlive the program"
            assert device.document.replica.document == shown


def random_step(
    world: DocumentWorld, backups: dict[int, tuple[InMemorySaveState, int]], what: str
) -> None:
    """Do one random thing; `what` names the kinds of trouble: t(rim), r(estart), b(ackup)."""
    random = world.random
    device = random.choice(world.devices)
    other = random.choice([d for d in world.devices if d is not device])
    pick = random.randrange(100)
    if pick < 45:
        device.write()
    elif pick < 65:
        device.scribble()
    elif pick < 75:
        if (device.number, other.number) not in world.machines:
            device.pair(other)
            other.pair(device)
            world.connect(device.number, other.number)
    elif pick < 82:
        world.disconnect(device.number, other.number)
    elif pick < 90:
        world.run(random.choice([0.005, 0.05, 1.0, 20.0]))
    elif pick < 94 and "t" in what:
        device.trim(random.randrange(1, 40))
    elif pick < 96 and "r" in what:
        world.disconnect_device(device.number)
        device.restart()
    elif pick < 98 and "b" in what:
        if device.number in backups:
            world.disconnect_device(device.number)
            device.put_back(backups.pop(device.number))
        else:
            backups[device.number] = device.backup()
