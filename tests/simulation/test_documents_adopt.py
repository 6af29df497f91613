"""Devices that trim by force, restart, are restored and meet again: all become equal.

Replay one: `python -m tests.simulation.test_documents_adopt SEED HOURS DEVICES KINDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from cytosol import Add, Delete, Set, Transaction
from cytosol.testing import Device, World, check_equal
from cytosol.testing.chaos import Chaos, Climate
from cytosol.testing.workload import MarkedApp
from tests.simulation.forced_trimming import trim

KINDS = {"t": ("trim",), "r": ("restart",), "b": ("backup", "restore")}
MEETINGS = ("pair", "pair", "partition", "heal")


class Strangers(Chaos):
    """Devices that were used before they met, and pair one by one; `kinds` of `KINDS` befall them.

    They trim what others still need, which a device does only when its history is full.
    """

    def __init__(self, seed: int, devices: int, kinds: str) -> None:
        faults = [fault for kind in kinds for fault in KINDS[kind] * 3]
        climate = Climate(
            f"strangers {kinds}",
            (*MEETINGS, *faults),
            devices=(devices,),
            one_copy_at_a_time=False,
            counts=False,
        )
        super().__init__(seed, climate)
        self.has_backups = "b" in kinds
        self._can["trim"] = self._trim
        self._can["restart"] = lambda device: device.restart() and None
        self._can["pair"] = self._pair

    def _begin(self) -> None:
        for _ in range(self.climate.devices[0]):
            device = self.world.device(app=MarkedApp, trust_shared_peers=False)
            self.workload.prepare(device)
        if self.has_backups:  # one from before it was paired would know nobody
            self._meet_all()
        self.backups = {device.name: device.backup() for device in self.members()}

    def _trim(self, device: Device) -> None:
        trim(device, self.chance.randrange(1, 40))

    def _pair(self, device: Device) -> None:
        other = self.chance.choice([each for each in self.members() if each is not device])
        if not device.is_paired(other) and not other.is_paired(device):
            self._end_faults()
            self.world.pair(device, other)

    def _finish(self) -> tuple[float, int]:
        if not self.has_backups:
            self._meet_all()
            return super()._finish()
        settled_s = self._meet_all()
        check_equal(self.members(), "after everybody has met")
        self.check(thorough=True)
        return settled_s, 0

    def _meet_all(self) -> float:
        self._end_faults()
        for one in self.members():
            for other in self.members():
                if one is not other and not one.is_paired(other):
                    self.world.pair(one, other)
        return self.world.settle()


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=7) as world:
        yield world


def run_strangers(seed: int, hours: float, devices: int, kinds: str) -> Strangers:
    """Let random things happen, let everybody meet, and look for what was lost."""
    chaos = Strangers(seed, devices, kinds)
    with chaos.world:
        chaos.run(hours)
    return chaos


def seeds(quick: range, long: range) -> list[object]:
    return [*quick, *(pytest.param(seed, marks=pytest.mark.long) for seed in long)]


@pytest.mark.parametrize("kinds", ["", "r", "t", "tr"])
@pytest.mark.parametrize("seed", seeds(range(2), range(2, 12)))
def test_documents_become_equal_and_nothing_acknowledged_is_lost(seed: int, kinds: str) -> None:
    """Devices used before they met, restarted, trimmed while others were away."""
    chaos = run_strangers(seed, 1.0, 3, kinds)
    for kind in kinds:
        assert all(chaos.faults[fault] for fault in KINDS[kind])


@pytest.mark.long
@pytest.mark.parametrize("kinds", ["", "r", "t", "tr"])
@pytest.mark.parametrize("seed", range(200, 220))
def test_four_documents_become_equal_and_nothing_is_lost(seed: int, kinds: str) -> None:
    """The same with one device more."""
    run_strangers(seed, 1.0, 4, kinds)


@pytest.mark.parametrize("kinds", ["rb", "trb"])
@pytest.mark.parametrize("seed", seeds(range(2), range(2, 8)))
def test_documents_become_equal_after_backups_were_put_back(seed: int, kinds: str) -> None:
    """Two contents under one id are told apart, and in the end all hold the same."""
    run_strangers(seed, 1.0, 3, kinds)


def test_values_that_one_op_made_survive_when_their_history_was_trimmed(world: World) -> None:
    """They are brought along one by one, by whoever takes the history of another device."""
    laptop, winner = world.device("laptop"), world.device("winner")
    laptop.dispatch(Set("$.settings", {"name": "Ada", "sizes": [1, {"x": 2}]}))
    laptop.dispatch(Transaction([Set("$.left", 1), Set("$.right", 1)]))
    trim(laptop, 100)
    for number in range(50):
        winner.dispatch(Set("$.count", number))
    trim(winner, 100)
    held = {**winner.document, **laptop.document}
    world.pair(laptop, winner)
    world.settle()
    assert held == laptop.document == winner.document


def test_devices_that_are_equal_have_nothing_to_say(world: World) -> None:
    """After two of them have adopted the history of a third, no full sync begins any more."""
    devices = world.devices(3)
    world.partition(*devices)
    for number, device in enumerate(devices):
        for index in range(10 * (number + 1)):
            device.dispatch(Set(f"$['{device.name} {index}']", index))
        trim(device, 100)
    world.heal()
    world.settle()
    world.run(60)  # what has met anew looks whether anything is missing, once
    mark = world.rounds.mark()
    carried = sum(world.network.stream_bytes.values())
    world.run(600)
    assert 0 == world.rounds.most_since(mark)
    pings = sum(world.network.stream_bytes.values()) - carried
    world.run(600)
    assert sum(world.network.stream_bytes.values()) - carried <= 2.1 * pings
    assert pings < 200_000


def test_failures_that_were_trimmed_outlive_an_adoption_and_a_restart(world: World) -> None:
    """The winner's base does not know them, so they are kept beside it."""
    laptop, winner, phone = (world.device(name) for name in ("laptop", "winner", "phone"))
    laptop.dispatch(Set("$.number", 1))
    world.pair(laptop, phone)
    world.settle()
    world.partition(laptop, phone)
    laptop.dispatch(Delete("$.number"))
    for _ in range(3):
        phone.dispatch(Add("$.number", 1))
    world.heal()
    world.settle()
    failures = laptop.failures
    assert [1, 1, 1] == [failure["payload"] for failure in failures]  # type: ignore[index, call-overload]  # JSON
    phone.stop()
    trim(laptop, 100)
    assert 0 == len(laptop.db._document.replica.log)
    laptop.dispatch(Set("$.kept", True))
    for number in range(50):
        winner.dispatch(Set("$.count", number))
    trim(winner, 100)
    world.pair(laptop, winner)
    world.settle()
    theirs = winner.db._document.replica.trim
    assert theirs == laptop.db._document.replica.trim, "the laptop has adopted"
    assert failures == laptop.failures
    laptop.restart()
    assert failures == laptop.failures


if __name__ == "__main__":
    run_strangers(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:]))
    print("equal, and nothing lost")
