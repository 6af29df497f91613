"""A world of whole devices in one thread, driven by one seed.

```python
world = World(seed=1)
a, b = world.devices(2)            # paired and connected
world.partition(a, b)
a.dispatch({"action": "Set", "path": "$.title", "payload": "Hello"})
world.heal()
world.settle()
assert a.document == b.document
```

Each device is a real database with the real network machine; only the network, the clock, chance
and, unless `files` says otherwise, the disk are virtual. Time passes in `run`, `run_until` and
`settle` only, and no other time than that: a write costs none, and no test waits. The same seed and
the same calls make the same history.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from cytosol.database.database import Database
from cytosol.database.network_actions import AcceptPair, RequestPair
from cytosol.protocol.events import PairRequest, PairResponse
from cytosol.testing.clock import VirtualClock
from cytosol.testing.device import Device
from cytosol.testing.disk import PowerCut, VirtualDisk
from cytosol.testing.files import FileKind, RealFiles
from cytosol.testing.invariants import Watcher, check_equal
from cytosol.testing.ledger import Ledger
from cytosol.testing.network import Conditions, VirtualNetwork
from cytosol.testing.rounds import ROUNDS_MAX, Rounds

__all__ = ["SETTLE_S", "World"]

SETTLE_S = 300.0
"""In how much simulated time all devices are equal after the last fault; a promise of ours.

A device that gave up calling tries again within a minute, a dead connection is noticed within 15 s,
and what a session missed is sent by the next one, within another minute.
"""

MEMORY_FREE_MIN: Final = 1 << 30
"""So much must be free in memory for the real files of a world to be there."""


class World:
    """Devices, the network between them, and the time."""

    def __init__(
        self, seed: int = 0, *, app_id: str | None = None, files: FileKind | None = None
    ) -> None:
        """Make an empty world.

        With `files` devices have real files, "sqlite", "json" or "relaxed" (SQLite, too) ones, in
        a folder that `close` removes, in memory if that can be; otherwise a virtual disk each.
        """
        self.seed = seed
        self.files = files
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, random.Random(self.chance.getrandbits(64)))
        self.ledger = Ledger()
        self.rounds = Rounds()
        self.app_id = app_id or str(uuid.UUID(bytes=self.chance.randbytes(16), version=4))
        self.all: list[Device] = []
        self.last_rounds = 0
        """How many rounds of a full sync the last `settle` took, of the pair that needed most."""
        self._folder: Path | None = None
        self._addresses = itertools.count(1)
        self._codes = itertools.count(100_000)
        self._watcher = Watcher()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all devices, and remove their files."""
        for device in self.all:
            device._abandon()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def conditions(self) -> Conditions:
        """How well the network works: loss, duplicates, delays; change it at any time."""
        return self.network.conditions

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now

    # --- Devices -------------------------------------------------------------------------

    def device(
        self,
        name: str | None = None,
        *,
        app: Callable[[Database], Any] | None = None,
        **options: Any,
    ) -> Device:
        """Add a device and start it; it is paired with nobody.

        `app` is called with the database at each start, and `device.app` is what it returns.
        `options` are those of `cytosol.open`: `max_history`, `sync_enabled` and so on.
        """
        name = name or f"device-{len(self.all) + 1}"
        disk = VirtualDisk() if self.files is None else RealFiles(self.files, self._new_folder)
        device = Device(self, name, self.free_address(), disk, app, options)
        self.all.append(device)
        return device.start()

    def devices(
        self, count: int, *, app: Callable[[Database], Any] | None = None, **options: Any
    ) -> list[Device]:
        """Add some devices, all paired with each other and connected."""
        added = [self.device(app=app, **options) for _ in range(count)]
        for one in added[1:]:
            self.pair(added[0], one)
        self.run_until(lambda: _all_connected(added), what="all are connected")
        return added

    def free_address(self) -> str:
        """Return an address that nobody has."""
        number = next(self._addresses)
        return f"10.0.{number // 250}.{number % 250 + 1}"

    def _new_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cytosol-world-", dir=_memory()))
        folder = self._folder / str(len(list(self._folder.iterdir())))
        folder.mkdir()
        return folder

    def _clone(self, device: Device, name: str | None) -> Device:
        name = name or f"{device.name}-clone-{len(self.all)}"
        disk = device.disk.copy()
        self._watcher.has_copies = True
        twin = Device(self, name, self.free_address(), disk, device._app_factory, device._options)
        self.all.append(twin)
        return twin.start()

    def remove(self, device: Device) -> None:
        """Take a device out of the world, for good."""
        device._abandon()
        self.all.remove(device)

    def pair(self, one: Device, other: Device) -> None:
        """Pair two devices that see each other, as their users would with a code.

        Whoever could not reach the other one, which has restarted elsewhere meanwhile, asks again
        as soon as it is heard.
        """
        if one is other or not {one, other} <= set(self.all):
            raise ValueError("two different devices of this world can be paired")
        code = str(next(self._codes))
        self.run_until(lambda: one.sees(other), what=f"{one.name} sees {other.name}")
        asked: list[PairRequest] = []
        refused: list[PairResponse] = []
        listeners = other.on("pair_request", asked.append), one.on("pair_response", refused.append)
        called = one.address_of(other)
        one.dispatch(RequestPair(other.peer_id, code))

        def is_asked() -> bool:
            nonlocal called, code
            heard = one.address_of(other)
            if refused and heard not in (called, None):
                called = heard
                refused.clear()
                code = str(next(self._codes))  # each is good for one attempt
                one.dispatch(RequestPair(other.peer_id, code))
            return any(request.peer_id == one.peer_id for request in asked)

        self.run_until(is_asked, what=f"{one.name} asks {other.name} to pair")
        for listener in listeners:
            listener.cancel()
        other.dispatch(AcceptPair(one.peer_id, code))
        self.run_until(
            lambda: one.is_paired(other) and other.is_paired(one),
            what=f"{one.name} and {other.name} are paired",
        )

    # --- Faults --------------------------------------------------------------------------

    def partition(self, *groups: Device | Iterable[Device], one_way: bool = False) -> None:
        """Let nothing pass between groups of devices; with `one_way` only not from earlier groups
        to later ones. A single group is parted from all other devices.
        """
        sides = [[each] if isinstance(each, Device) else list(each) for each in groups]
        if not all(isinstance(each, Device) for side in sides for each in side):
            raise TypeError("what is parted are devices, and lists of them; not their names")
        if len(sides) == 1:
            sides.append([each for each in self.all if each not in sides[0]])
        for first, second in itertools.combinations(sides, 2):
            for a, b in itertools.product(first, second):
                self.network.block(a.ip_address, b.ip_address)
                if not one_way:
                    self.network.block(b.ip_address, a.ip_address)

    def heal(self) -> None:
        """End all partitions, and let the network lose, double and delay nothing more."""
        self.network.heal()
        self.network.conditions = Conditions()

    # --- Time ----------------------------------------------------------------------------

    def step(self, end: float) -> bool:
        """Let the next thing happen if it is due by `end`; tell whether there was one."""
        try:
            return self.clock.step(end)
        except PowerCut as cut:
            self.died(cut)
            return True

    def died(self, cut: PowerCut) -> None:
        """Let the device whose disk lost its power be down."""
        for device in self.all:
            if device.disk is cut.disk:
                device.crash()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.now + seconds
        while self.step(end):
            pass
        self.clock.now = end

    def run_until(
        self, condition: Callable[[], bool], seconds: float = 120.0, *, what: str = ""
    ) -> None:
        """Let time pass until something is so; raises AssertionError if it does not come to be.

        `what` says it in words.
        """
        end = self.clock.now + seconds
        while not condition():
            if not self.step(end):
                came = f"it did not happen that {what}" if what else "this did not come to be"
                raise AssertionError(
                    f"{came} within {seconds:g} simulated seconds (seed {self.seed}, "
                    f"{self.clock.now:.1f} s after the world began{self._what_disturbs()})"
                )

    def settle(self, seconds: float = SETTLE_S) -> float:
        """Let time pass until all devices that are up and paired hold the same; returns how long.

        Raises AssertionError, which says what differs, if that takes too long, and if a callback of
        the app has raised something that `device.callback_errors` still holds. Where no packet gets
        lost, it also raises if a pair needs more than three rounds of a full sync.
        """
        start, mark = self.clock.now, self.rounds.mark()
        is_calm = self.network.is_calm
        groups = self._groups()
        while not all(_is_settled(group) for group in groups):
            if self.clock.now - start >= seconds:
                for group in groups:
                    check_equal(
                        group, f"after {seconds:g} s (seed {self.seed}{self._what_disturbs()})"
                    )
                raise AssertionError(
                    f"devices that hold the same are not connected after {seconds:g} simulated "
                    f"seconds (seed {self.seed}{self._what_disturbs()})"
                )
            self.run(0.5)
        self.last_rounds = self.rounds.most_since(mark)
        assert not is_calm or self.last_rounds <= ROUNDS_MAX, (
            f"devices needed {self.last_rounds} rounds of a full sync until they were equal "
            f"(seed {self.seed})"
        )
        self.run(0.5)  # callbacks come after what they tell of
        self._check_callbacks()
        return self.clock.now - start

    def _what_disturbs(self) -> str:
        """Return words for a failure that the network explains."""
        conditions = self.network.conditions
        if self.network.is_parted:
            return "; a partition stands: heal() ends it"
        if conditions.loss:
            return f"; of all packets {conditions.loss:.0%} get lost"
        return ""

    def _groups(self) -> list[list[Device]]:
        """Return the devices that are up, those together that are paired, directly or not."""
        left = [device for device in self.all if device.is_up]
        groups = []
        while left:
            group = [left.pop(0)]
            for member in group:
                near = [each for each in left if member.is_paired(each) or each.is_paired(member)]
                group += near
                left = [each for each in left if each not in near]
            groups.append(group)
        return groups

    # --- What must hold ------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold at every moment; raises AssertionError or DatabaseCorruptError."""
        self._watcher.check(self.all)
        self._check_callbacks()
        assert not self.rounds.complaints, self.rounds.complaints

    def _check_callbacks(self) -> None:
        for device in self.all:
            for error in device.callback_errors:
                raise AssertionError(
                    f"a callback of the app on {device.name} raised {error!r} (seed {self.seed})"
                ) from error

    def started(self, device: Device) -> None:
        """Take note that a device has started."""
        self._watcher.started(device)

    def ending(self, device: Device) -> None:
        """Take note that a device that was up is about to be down."""
        self._watcher.ending(device)

    def restored(self, device: Device, writes: int) -> None:
        """Take note that a device goes on with an older copy of its disk."""
        self.ledger.restored(device.name, writes)
        self._watcher.has_copies = True

    def written(self, device: Device) -> None:
        """Take note that a write of a device is durable."""
        self._watcher.written(device)


def _memory() -> Path | None:
    """Return a folder that is in memory, if there is one with room: no power fails for real here,
    so that all that a disk would add is waiting.
    """
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK):
        return None
    return folder if shutil.disk_usage(folder).free >= MEMORY_FREE_MIN else None


def _all_connected(devices: list[Device]) -> bool:
    return all(a.is_connected(b) for a in devices for b in devices if a is not b)


def _is_settled(group: list[Device]) -> bool:
    """Tell whether devices hold the same, and those that can be are connected."""
    first = group[0].state_hash()
    if any(device.state_hash() != first for device in group[1:]):
        return False
    for one, other in itertools.combinations(group, 2):
        is_paired = one.is_paired(other) and one.peer_id != other.peer_id
        if is_paired and not (one.is_connected(other) and other.is_connected(one)):
            return False
    return True
