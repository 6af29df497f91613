"""Three devices through many rounds of cuts, kills and restarts, told by a seed."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.end_to_end.lab import needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import Remote, pair, wait_equal
from tests.end_to_end.shipped import check_file

pytestmark = [*needs_namespaces(), pytest.mark.long]

SEEDS = (1, 2)
ROUNDS = 12
SMALL = 50
"""A `max_history` that makes devices trim what others have not seen, and adopt each other's."""
NAMES = ("laptop", "phone", "tablet")


class Week:
    """What happens to the devices, and what each of them has acknowledged."""

    def __init__(self, network: Network, seed: int, max_history: int) -> None:
        self.random = random.Random(seed)
        self.network = network
        self.devices = [network.device(name, max_history=max_history) for name in NAMES]
        self.written: list[str] = []
        self.cut: set[str] = set()
        self.added = 0

    def write(self, device: Remote) -> None:
        """Write into the list, the object and the number that all share."""
        for _ in range(self.random.randint(1, 30)):
            word = f"{device.name} {len(self.written)}"
            length = len(device.query("$.list[*]"))
            at = self.random.randrange(length)
            device.dispatch("InsertAfter", f"$.list[{at}]", word)
            device.dispatch("Set", f"$.object['{word}']", at)
            self.written.append(word)
        device.dispatch("Add", "$.count", 1)
        self.added += 1

    def happen(self) -> None:
        """Have one thing happen to one device, then let some of them write."""
        device = self.random.choice(self.devices)
        cable = self.network.cables[device.name]
        match self.random.randrange(4):
            case 0:
                device.kill()
                check_file(device.file)
                device.start()
            case 1:
                device.close()
                device.start()
            case 2 if device.name not in self.cut:
                cable.drop()
                self.cut.add(device.name)
            case _:
                cable.deliver()
                self.cut.discard(device.name)
        for each in self.devices:
            if self.random.random() < 0.7:
                self.write(each)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("max_history", [SMALL, 32_768])
def test_nothing_that_was_acknowledged_is_lost_in_a_bad_week(
    network: Network, seed: int, max_history: int
) -> None:
    """In the end all are equal and hold every word of everybody."""
    week = Week(network, seed, max_history)
    laptop, phone, tablet = week.devices
    for path, value in (("$.list", ["first"]), ("$.object", {}), ("$.count", 0)):
        laptop.dispatch("Set", path, value)
    pair(laptop, phone)
    pair(laptop, tablet)
    wait_equal(laptop, phone, tablet)
    for _ in range(ROUNDS):
        week.happen()
    for name in NAMES:
        network.cables[name].deliver()
    wait_equal(*week.devices)
    found, expected = Counter(phone.query("$.list[*]")), Counter(["first", *week.written])
    assert found == expected, f"lost {expected - found}, twice {found - expected}"
    assert set(tablet.query("$.object")[0]) == set(week.written)
    if max_history > SMALL:
        # What was trimmed before a device adopts another history is re-issued as what it came to:
        # a number as a `Set` (document: Adoption). While ops are there, additions add up.
        assert laptop.query("$.count") == [week.added]
    for device in week.devices:
        assert device.meta("$.failures[*]") == []
        device.close()
        check_file(device.file)
