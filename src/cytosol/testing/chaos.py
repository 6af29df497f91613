"""Random histories of whole worlds: an app that writes, while everything that can fail does.

`run_world(seed)` is one history with the faults of one climate, checked all along and at its end;
the same seed makes the same history.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cytosol.database.network_actions import SetSyncEnabled, SetVisibleToPeers
from cytosol.testing.device import Backup, Device
from cytosol.testing.disk import PowerCut
from cytosol.testing.files import FILE_KINDS, FileKind
from cytosol.testing.invariants import check_equal
from cytosol.testing.laws import Moments, check_merging
from cytosol.testing.workload import MarkedApp, Workload
from cytosol.testing.world import SETTLE_S, World

__all__ = [
    "CLIMATES",
    "NAMED",
    "OPEN",
    "Climate",
    "FileChoice",
    "Outcome",
    "replay_command",
    "run_world",
]

FileChoice = Literal["virtual"] | FileKind
Switch = SetVisibleToPeers | SetSyncEnabled

STREAMS_MAX: Final = 64  # of one device, to and from all others

GAPS_S: Final = (0.0, 0.0, 0.01, 0.2, 1.0, 5.0, 20.0, 60.0, 240.0)


@dataclass(frozen=True, slots=True)
class Climate:
    """Which faults there are, and how many devices. A fault stands as often as it is likely."""

    name: str
    faults: tuple[str, ...]
    devices: tuple[int, ...] = (2, 2, 3)
    one_copy_at_a_time: bool = True
    """True: all devices meet before another is restored or moved, and older backups are gone."""
    min_history: int = 0
    max_history: tuple[int, ...] = (32_768,)
    counts: bool = True
    """False: additions may be re-issued as sums (see the known issues), so they are not counted."""


_NETWORK: Final = ("partition", "partition", "one_way", "weather", "heal", "heal", "night")
_DISK: Final = (
    "power_cut",
    "cut_in_write",
    "kill",
    "full_disk",
    "bad_flush",
    "start",
    "start",
    "start",
)

_DISK_ONLY: Final = ("power_cut", "cut_in_write", "full_disk", "bad_flush")
"""What only a virtual disk can do; who has real files is killed instead."""

_COPIES: Final = ("backup", "backup", "restore", "partition", "heal", "night")
_CROSSING: Final = (*_COPIES, "clone")

CLIMATES: Final = (
    Climate("network", _NETWORK, devices=(2, 2, 3, 4)),
    Climate("disk", (*_DISK, "partition", "heal")),
    Climate("clocks", ("clock", "clock", "address", "partition", "heal", "kill", "start")),
    Climate("copies", (*_COPIES, "move"), devices=(2,), min_history=-1),
    Climate("crossing copies", _CROSSING, one_copy_at_a_time=False, min_history=-1),
    Climate(
        "short history",
        ("partition", "partition", "heal", "night", "kill", "start"),
        max_history=(16, 32, 100),
        counts=False,
    ),
    Climate("everything", (*_NETWORK, *_DISK, "clock", "address"), devices=(2, 3)),
)
"""The climates that seeds choose from, in turn."""
NAMED: Final = (
    Climate(
        "switches",
        (*_NETWORK, "hide", "hide", "pause", "pause", "kill", "power_cut", "start", "start"),
        devices=(3, 4),
    ),
)
"""Climates that come only if they are asked for."""
OPEN: Final = (Climate("trimmed copies", _CROSSING, one_copy_at_a_time=False, counts=False),)
"""Climates of which it is known that they break something (see the known issues)."""


@dataclass(slots=True)
class Outcome:
    """What one world went through."""

    seed: int
    climate: str
    files: FileKind | None = None
    hours: float = 0.0
    devices: int = 0
    writes: int = 0
    events: int = 0
    settled_s: float = 0.0
    rounds: int = 0
    """Of the pair that needed most of them in the end."""
    joins: int = 0
    """How many joins of former states were compared."""
    fingerprint: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def climate_of(seed: int, name: str | None = None) -> Climate:
    """Return the climate of a seed, or the one of a name; raises KeyError for an unknown one."""
    if name is None:
        return CLIMATES[seed % len(CLIMATES)]
    return {climate.name: climate for climate in (*CLIMATES, *NAMED, *OPEN)}[name]


def files_of(seed: int) -> FileKind | None:
    """Return the kind of files in the world of a seed: real ones in every fifth."""
    if seed % 5 != 3:
        return None
    return FILE_KINDS[(seed // 5 + seed // 30) % len(FILE_KINDS)]


def replay_command(
    seed: int, hours: float, climate: str | None = None, files: FileChoice | None = None
) -> str:
    """Return the command that runs one world again."""
    chosen = f" --climate '{climate}'" if climate is not None else ""
    kept = files or files_of(seed)
    chosen += f" --files {kept}" if kept is not None else ""
    return f"python -m cytosol.testing.soak --seeds 1 --seed {seed} --hours {hours:g}{chosen}"


def run_world(
    seed: int, hours: float = 1.0, climate: str | None = None, files: FileChoice | None = None
) -> Outcome:
    """Run the world of a seed for so many simulated hours.

    `climate` and `files` are chosen by the seed unless they are given. Raises AssertionError, with
    the command that replays it, when something does not hold.
    """
    kind = files_of(seed) if files is None else None if files == "virtual" else files
    chaos = Chaos(seed, climate_of(seed, climate), kind)
    try:
        return chaos.run(hours)
    except Exception as error:
        raise AssertionError(
            f"seed {seed} ({chaos.climate.name}), {chaos.world.now:.1f} s after the world began: "
            f"{error}\nreplay: {replay_command(seed, hours, climate, files)}"
        ) from error
    finally:
        chaos.world.close()


class Chaos:
    """One world, what its climate does to it, and what it does meanwhile."""

    def __init__(self, seed: int, climate: Climate, files: FileKind | None = None) -> None:
        self.world = World(seed, files=files)
        self.chance = random.Random(seed * 7919 + 1)
        self.looking = random.Random(seed)  # of its own: looking changes nothing that happens
        self.moments = Moments(self.looking)
        self.climate = climate
        self.workload = Workload(self.world, self.chance)
        self.backups: dict[str, Backup] = {}
        self.faults: Counter[str] = Counter()
        self.stranger: Device | None = None
        self._is_forked = False
        self._can: dict[str, Callable[[Device], None]] = {
            "partition": self._partition,
            "one_way": self._one_way,
            "weather": self._weather,
            "heal": lambda device: self.world.heal(),
            "night": self._night,
            "power_cut": lambda device: device.crash(),
            "cut_in_write": lambda device: device.cut_power_at_write(self.chance.randrange(1, 8)),
            "kill": lambda device: device.crash(power=False),
            "full_disk": lambda device: device.fill_disk(self.chance.randrange(2_000)),
            "bad_flush": self._bad_flush,
            "start": self._start,
            "clock": self._clock,
            "address": lambda device: device.move_to(),
            "hide": lambda device: self._switch(device, SetVisibleToPeers, 0.7),
            "pause": lambda device: self._switch(device, SetSyncEnabled, 0.8),
            "backup": self._backup,
            "restore": self._restore,
            "clone": self._clone,
            "move": self._move,
        }

    # --- The story -----------------------------------------------------------------------

    def run(self, hours: float) -> Outcome:
        """Let it all happen, then let the world settle and look at what is left."""
        world, chance = self.world, self.chance
        end = hours * 3600
        self._begin()
        actions = 0
        sleep_at = world.now + end * chance.uniform(0.2, 0.6)
        while world.now < end:
            if world.now >= sleep_at:
                sleep_at = end
                self._sleep(end / 3)
            actions += 1
            try:
                self._act()
            except PowerCut as cut:
                world.died(cut)
            world.run(min(chance.choice(GAPS_S), max(0.0, end - world.now)))
            self.check(thorough=actions % 25 == 0)
        settled_s, joins = self._finish()
        return Outcome(
            world.seed,
            self.climate.name,
            files=world.files,
            hours=world.now / 3600,
            devices=len(world.all),
            writes=sum(device.writes for device in world.all),
            events=world.clock.events,
            settled_s=settled_s,
            rounds=world.last_rounds,
            joins=joins,
            fingerprint=world.network.fingerprint,
            faults=self.faults,
        )

    def _begin(self) -> None:
        chance, climate = self.chance, self.climate
        count = chance.choice(climate.devices)
        history = chance.choice(climate.max_history)
        options: dict[str, Any] = {"min_history": climate.min_history, "max_history": history}
        if climate.min_history < 0:
            options["max_history"] = -1
        first = self.world.device(app=MarkedApp, **options)
        self.workload.prepare(first)
        for _ in range(count - 1):
            other = self.world.device(app=MarkedApp, **options)
            self.world.pair(first, other)
        self.world.settle()
        for device in self.world.all:
            self.backups[device.name] = device.backup()
        if chance.random() < 0.25:
            self.stranger = self.world.device("stranger")
            self.stranger.dispatch({"action": "Set", "path": "$.own", "payload": "secret"})

    def members(self) -> list[Device]:
        """Return the devices that are paired."""
        return [device for device in self.world.all if device is not self.stranger]

    def _act(self) -> None:
        up = [device for device in self.members() if device.is_up]
        if up and self.chance.random() < 0.72:
            for _ in range(self.chance.choice([1, 1, 1, 3, 12])):
                device = self.chance.choice(up)
                if device.is_up:
                    self.workload.write(device)
            return
        name = self.chance.choice(self.climate.faults)
        device = self.chance.choice(self.members())
        if name in _DISK_ONLY and device.has_real_files:
            name = "kill"
        self.faults[name] += 1
        self._can[name](device)

    # --- Faults --------------------------------------------------------------------------

    def _partition(self, device: Device) -> None:
        others = [each for each in self.world.all if each is not device]
        cut = self.chance.sample(others, self.chance.randrange(1, len(others) + 1))
        self.world.partition(device, cut)

    def _one_way(self, device: Device) -> None:
        other = self.chance.choice([each for each in self.world.all if each is not device])
        self.world.partition(device, other, one_way=True)

    def _weather(self, device: Device) -> None:
        conditions, chance = self.world.conditions, self.chance
        conditions.loss = chance.choice([0.0, 0.02, 0.1, 0.3])
        conditions.duplicates = chance.choice([0.0, 0.2])
        conditions.delay_s = chance.choice([0.001, 0.05, 0.4])
        conditions.jitter_s = chance.choice([0.001, 0.1, 1.5])
        conditions.broadcast = chance.random() < 0.8

    def _night(self, device: Device) -> None:
        """Have most devices sleep for some while, in which one of them goes on."""
        for each in self.members():
            if each is not device and self.chance.random() < 0.8:
                each.stop()
        self.world.run(self.chance.choice([60.0, 300.0, 900.0]))
        for each in self.members():
            each.start()

    def _sleep(self, seconds: float) -> None:
        """Have all devices sleep, as every night: addresses, prompts and pauses grow old."""
        for each in self.members():
            each.stop()
        self.world.run(seconds)
        for each in self.members():
            each.start()

    def _bad_flush(self, device: Device) -> None:
        """After a failed flush nothing is acknowledged until the database is opened again."""
        disk = device.virtual_disk
        disk.flush_fails = True
        try:
            if device.is_up:
                self.workload.write(device)
        finally:
            disk.flush_fails = False
        device.crash(power=self.chance.random() < 0.5)
        device.start()

    def _start(self, device: Device) -> None:
        device.free_disk()
        device.start()

    def _clock(self, device: Device) -> None:
        device.move_clock(self.chance.choice([-1e8, -3600.0, -1.0, 1.0, 3600.0, 86_400.0, 1e8]))

    def _switch(self, device: Device, action: type[Switch], likely: float) -> None:
        """Let the user switch something on or off."""
        if device.is_up:
            device.dispatch(action(self.chance.random() < likely))

    def _backup(self, device: Device) -> None:
        if not (self._is_forked and self.climate.one_copy_at_a_time):
            self.backups[device.name] = device.backup()

    def _restore(self, device: Device) -> None:
        if self.climate.one_copy_at_a_time:
            self._end_faults()
            self._meet()
            if self._is_forked:
                self._is_forked = False
                self.backups = {each.name: each.backup() for each in self.members()}
                return
        self._is_forked = True
        device.restore(self.backups[device.name])

    def _clone(self, device: Device) -> None:
        if len(self.world.all) < 4:
            twin = device.clone()
            self.backups[twin.name] = twin.backup()

    def _move(self, device: Device) -> None:
        """Go on with a copy of the file on another machine; the old one is not used again."""
        self._end_faults()
        self._meet()
        twin = device.clone()
        twin.name = device.name  # what it writes is numbered on
        twin.writes = device.writes
        device.stop()
        self.world.check()  # what is removed is not looked at any more
        self.world.remove(device)

    # --- What must hold ------------------------------------------------------------------

    def check(self, *, thorough: bool = False) -> None:
        """Check what must hold after every event; `thorough` reads all files anew, and folds what
        one device has in another order.
        """
        self.world.check()
        self.moments.look(self.members())
        up = [device for device in self.members() if device.is_up]
        if thorough and up:
            check_merging(self.looking.choice(up), self.looking)
        for device in self.members():
            if device.is_up:
                device.app.check()
                streams = device.open_streams()
                assert streams <= STREAMS_MAX, f"{device.name} has {streams} streams"
                if thorough:
                    device.check()
        if self.stranger is not None:
            stranger = self.stranger.ip_address
            for (sender, receiver), count in self.world.network.stream_bytes.items():
                assert stranger not in (sender, receiver), (
                    f"{count} bytes went from {sender} to {receiver}, one of which is a stranger"
                )
            assert self.stranger.document == {"own": "secret"}, "a stranger got data"
            for device in self.members():
                if device.is_up:
                    assert device.get("own") is None, "a stranger gave data"

    def _finish(self) -> tuple[float, int]:
        """End all faults, let everybody meet, and look for what was lost."""
        self._end_faults()
        settled_s = self._meet()
        members = self.members()
        check_equal(members, "after everybody has met")
        self.check(thorough=True)
        joins = check_merging(members[0], self.looking, self.moments.held)
        for device in members:
            self.workload.check(device)
            if self.climate.counts:
                self.workload.check_counters(device)
        before = [(device.document, device.failures, device.state_hash()) for device in members]
        for device in members:
            device.restart()
        after = [(device.document, device.failures, device.state_hash()) for device in members]
        assert before == after, "a restart changes what a device shows"
        self.world.check()  # what they have left when they ended, too
        return settled_s, joins

    def _end_faults(self) -> None:
        self.world.heal()
        for device in self.members():
            device.mend_disk()
            device.start()
            self._switch_on(device)

    def _switch_on(self, device: Device) -> None:
        if "hide" in self.climate.faults:
            device.dispatch(SetVisibleToPeers(True))
            device.dispatch(SetSyncEnabled(True))

    def _meet(self) -> float:
        """Let all devices meet. Of clones, which are one device to all others, one at a time."""
        names: dict[str, list[Device]] = {}
        for device in self.members():
            names.setdefault(device.peer_id, []).append(device)
        twins = [group for group in names.values() if len(group) > 1]
        if not twins:
            return self.world.settle()
        longest = 0.0
        for _ in range(4):
            for awake in itertools.product(*twins):
                for device in itertools.chain(*twins):
                    if device in awake:
                        device.start()
                    else:
                        device.stop()
                longest = max(longest, self.world.settle(SETTLE_S))
            for device in self.members():
                device.start()
            if len({device.state_hash() for device in self.members()}) == 1:
                break
        return longest
