"""Three real devices: what one wrote reaches all, whoever is away, gone, trimmed or unpaired."""

from __future__ import annotations

import pytest

from tests.end_to_end.lab import needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import Remote, pair, wait_equal, wait_trimmed
from tests.end_to_end.shipped import check_file, query_file

pytestmark = needs_namespaces()

SMALL = 64
"""A `max_history` that a few hundred writes exceed."""


def write_many(device: Remote, name: str, count: int = 200) -> None:
    """Write an object with `count` members, an op each."""
    device.call("fill", name=name, count=count, size=4)


def assert_has(device: Remote, name: str, count: int = 200) -> None:
    """Look at what `write_many` wrote, wherever it has come to."""
    values = device.query(f"$.{name}[*]")
    assert sorted(values) == [f"{number:08d}xxxx" for number in range(count)], name


def test_a_device_that_joins_after_history_was_trimmed_gets_all_and_keeps_its_own(
    network: Network,
) -> None:
    """The newcomer adopts what is left of the past; what it wrote before is put on top."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    write_many(laptop, "early")
    wait_equal(laptop, phone)
    write_many(phone, "later")
    wait_equal(laptop, phone)
    wait_trimmed(laptop)
    tablet = network.device("tablet")
    write_many(tablet, "own", 20)
    tablet.dispatch("Set", "$.list", ["of the tablet"])
    pair(tablet, laptop)
    wait_equal(laptop, phone, tablet)
    for device in (laptop, phone, tablet):
        assert_has(device, "early")
        assert_has(device, "later")
        assert_has(device, "own", 20)
        assert device.query("$.list[*]") == ["of the tablet"]
        assert device.meta("$.failures[*]") == []
        device.call("check")
    tablet.dispatch("Set", "$.after", 1)
    phone.wait("$.after", 1)
    laptop.wait("$.after", 1)


def test_two_devices_meet_though_no_packet_passes_between_them(network: Network) -> None:
    """The one in the middle hands on what each of the others writes."""
    left, middle, right = (network.device(name) for name in ("left", "middle", "right"))
    network.cables["left"].isolate()
    network.cables["right"].isolate()
    pair(left, middle)
    pair(middle, right)
    left.dispatch("Set", "$.left", [1])
    right.wait("$.left[*]", 1)
    right.dispatch("InsertAfter", "$.left[0]", 2)
    left.wait("$.left[*]", 1, 2)
    wait_equal(left, middle, right)
    # Each knows of the other through the middle, and cannot reach it.
    path = f"$.peers[?@.id == '{right.peer_id}' && @.connected == true]"
    assert left.meta(path) == []
    middle.kill()
    check_file(middle.file)
    left.dispatch("Set", "$.while", "the middle is away")
    right.dispatch("Set", "$.likewise", True)
    middle.start()
    right.wait("$.while", "the middle is away")
    left.wait("$.likewise", True)
    wait_equal(left, middle, right)


def test_unpairing_stops_sync_at_once_and_for_good(network: Network) -> None:
    """Neither restarts of both nor their heartbeats bring a pairing back; doing it again does."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.dispatch("Set", "$.shared", 1)
    phone.wait("$.shared", 1)
    laptop.dispatch("Unpair", {"id": phone.peer_id})
    assert laptop.meta("$.pairings[*]") == []
    phone.event("unpaired", peer_id=laptop.peer_id)
    laptop.dispatch("Set", "$.secret", "of the laptop")
    assert phone.meta("$.pairings[*]") == []
    for device in (laptop, phone):
        device.kill()
        check_file(device.file)
        device.start()
    laptop.wait_visible(phone)
    phone.wait_visible(laptop)
    assert laptop.meta("$.pairings[*]") == phone.meta("$.pairings[*]") == []
    assert phone.query("$.secret") == []
    pair(phone, laptop)
    phone.wait("$.secret", "of the laptop")


def test_an_unpaired_device_is_not_brought_back_by_a_third(network: Network) -> None:
    """The refusal travels to all devices of the user, and is there after restarts."""
    laptop, phone, tablet = (network.device(name) for name in ("laptop", "phone", "tablet"))
    pair(laptop, phone)
    pair(laptop, tablet)
    # Who is paired with the laptop is paired with its other devices, too.
    phone.wait_connected(tablet)
    wait_equal(laptop, phone, tablet)
    laptop.dispatch("Unpair", {"id": phone.peer_id})
    phone.event("unpaired", peer_id=laptop.peer_id)
    tablet.event("unpaired", peer_id=phone.peer_id)
    laptop.dispatch("Set", "$.secret", 1)
    tablet.wait("$.secret", 1)
    for device in (tablet, laptop, phone):
        device.close()
        device.start()
    laptop.wait_connected(tablet)
    for device in (laptop, tablet):
        device.wait_visible(phone)
        assert phone.peer_id not in device.meta("$.pairings[*].id")
    tablet.dispatch("Set", "$.secret", 2)
    laptop.wait("$.secret", 2)
    assert phone.query("$.secret") == []


@pytest.mark.parametrize("third", ["was paired and away", "is a newcomer"])
def test_writes_of_a_destroyed_device_survive_where_they_were_and_reach_the_third(
    network: Network, third: str
) -> None:
    """Author killed, its file deleted, history trimmed: nothing of it is lost."""
    author, keeper, other = (
        network.device(name, max_history=SMALL) for name in ("author", "keeper", "other")
    )
    pair(author, keeper)
    if third == "was paired and away":
        pair(author, other)
        wait_equal(author, keeper, other)
    network.cables["other"].drop()
    write_many(author, "last")
    author.dispatch("Set", "$.list", ["of the author"])
    keeper.wait("$.list[*]", "of the author")
    write_many(other, "apart")
    other.dispatch("Set", "$.away", "of the other")
    for device in (author, keeper, other):
        wait_trimmed(device)
    author.kill()
    check_file(author.file)
    for path in author.file.parent.glob("author.cytosol*"):
        path.unlink()
    network.cables["other"].deliver()
    if third == "is a newcomer":
        pair(keeper, other)
    other.wait("$.list[*]", "of the author")
    wait_equal(keeper, other)
    for device in (keeper, other):
        assert_has(device, "last")
        assert_has(device, "apart")
        assert device.query("$.away") == ["of the other"]
        assert device.meta("$.failures[*]") == []
        device.call("check")


def test_a_destroyed_device_that_told_each_of_the_others_something_else_loses_nothing(
    network: Network,
) -> None:
    """Two devices that hold different last words of it, both trimmed, put them together."""
    author, first, second = (
        network.device(name, max_history=SMALL) for name in ("author", "first", "second")
    )
    network.cables["first"].isolate()
    network.cables["second"].isolate()
    pair(author, first)
    pair(author, second)
    wait_equal(author, first, second)
    network.cables["second"].drop()
    write_many(author, "for_first")
    wait_equal(author, first)
    network.cables["first"].drop()
    network.cables["second"].deliver()
    write_many(author, "for_both")
    write_many(first, "by_first")
    write_many(second, "by_second")
    wait_equal(author, second)
    for device in (author, first, second):
        wait_trimmed(device)
    author.kill()
    author.file.unlink()
    for name in ("first", "second"):
        network.cables[name].isolate(False)
    network.cables["first"].deliver()
    wait_equal(first, second)
    for name in ("for_first", "for_both", "by_first", "by_second"):
        assert_has(first, name)
    assert first.meta("$.failures[*]") == []


def test_a_device_that_was_away_too_long_keeps_what_it_wrote_meanwhile(network: Network) -> None:
    """What it lacks was trimmed everywhere; it adopts the others' history, and adds its own."""
    laptop = network.device("laptop", max_history=SMALL)
    phone = network.device("phone", max_history=SMALL)
    pair(laptop, phone)
    laptop.dispatch("Set", "$.list", ["first"])
    laptop.dispatch("Set", "$.count", 0)
    phone.wait("$.count", 0)
    network.cables["phone"].drop()
    write_many(laptop, "meanwhile")
    laptop.dispatch("InsertAfter", "$.list[0]", "of the laptop")
    laptop.dispatch("Add", "$.count", 1)
    wait_trimmed(laptop)
    phone.dispatch("InsertAfter", "$.list[0]", "of the phone")
    phone.dispatch("Add", "$.count", 1)
    network.cables["phone"].deliver()
    phone.wait("$.count", 2)
    wait_equal(laptop, phone)
    assert sorted(phone.query("$.list[*]")) == ["first", "of the laptop", "of the phone"]
    assert_has(phone, "meanwhile")
    phone.close()
    check_file(phone.file)
    assert query_file(phone.file, "$.count") == [2]
