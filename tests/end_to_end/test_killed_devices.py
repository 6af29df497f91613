"""Devices that are killed with SIGKILL while they sync: nothing is lost, nothing is half."""

from __future__ import annotations

import pytest

from tests.end_to_end.lab import needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import Remote, pair, wait_equal, wait_trimmed
from tests.end_to_end.shipped import check_file, query_file

pytestmark = needs_namespaces()

OPS = 20_000
TEXT = 200  # characters in each value, so that the whole is about 5 MB


def fill(device: Remote) -> None:
    """Write a big document, an op for each value."""
    device.call("fill", name="big", count=OPS, size=TEXT)


def assert_prefix(device: Remote) -> int:
    """Look at a killed device's file with the command line; return how many values it has.

    Of each author a device holds a prefix, so no value may be missing before the last one.
    """
    check_file(device.file)
    values = query_file(device.file, "$.big[*]")
    assert sorted(value[:8] for value in values) == [f"{n:08d}" for n in range(len(values))]
    return len(values)


def pair_only(first: Remote, second: Remote) -> None:
    """Pair without waiting for what comes of it."""
    first.wait_visible(second)
    first.dispatch("RequestPair", {"id": second.peer_id, "secret": "123456"})
    second.event("pair_request", peer_id=first.peer_id)
    second.dispatch("AcceptPair", {"id": first.peer_id, "secret": "123456"})


def test_a_receiver_killed_in_the_middle_of_a_sync_goes_on_where_it_was(network: Network) -> None:
    """What had arrived is in its file, and the rest comes after the restart."""
    laptop, phone = network.device("laptop", durability="relaxed"), network.device("phone")
    fill(laptop)
    phone.dispatch("Set", "$.mine", "of the phone")
    phone.call("die_at", path="$.big.k0")
    pair_only(laptop, phone)
    phone.died()
    count = assert_prefix(phone)
    assert count < OPS, "the sync was over before the kill"
    assert query_file(phone.file, "$.mine") == ["of the phone"]
    phone.start()
    phone.wait(f"$.big.k{OPS - 1}", f"{OPS - 1:08d}" + "x" * TEXT)
    wait_equal(laptop, phone)
    assert laptop.query("$.mine") == ["of the phone"]


def test_a_sender_killed_in_the_middle_of_a_sync_finishes_after_its_restart(
    network: Network,
) -> None:
    """The receiver keeps what it has and gets the rest when the sender is back."""
    laptop, phone = network.device("laptop", durability="relaxed"), network.device("phone")
    fill(laptop)
    phone.call("stop_at", path="$.big.k0")
    pair_only(laptop, phone)
    phone.event("standing still")  # so that the laptop cannot get further than a few batches
    laptop.kill()
    phone.go_on()
    assert assert_prefix(laptop) == OPS
    count = len(phone.query("$.big[*]"))
    assert count < OPS, "the sync was over before the kill"
    laptop.start()
    phone.wait(f"$.big.k{OPS - 1}", f"{OPS - 1:08d}" + "x" * TEXT)
    wait_equal(laptop, phone)


@pytest.mark.long
def test_both_devices_killed_again_and_again_finish_their_sync(network: Network) -> None:
    """Each restart goes on from the files, whoever was killed."""
    laptop, phone = network.device("laptop", durability="relaxed"), network.device("phone")
    fill(laptop)
    pair_only(laptop, phone)
    for round_number in range(6):
        victim = (laptop, phone)[round_number % 2]
        phone.event("peer_connected")
        victim.kill()
        check_file(victim.file)
        victim.start()
        victim.dispatch("Set", f"$.round{round_number}", victim.name)
    phone.wait(f"$.big.k{OPS - 1}", f"{OPS - 1:08d}" + "x" * TEXT)
    wait_equal(laptop, phone)
    assert laptop.query("$['round0','round1','round4','round5']") == ["laptop", "phone"] * 2


def test_what_a_killed_device_had_acknowledged_is_in_its_file(network: Network) -> None:
    """Every dispatch that returned before the kill is there, and its partner gets it later."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    network.cables["phone"].drop()
    laptop.dispatch("InitObject", "$.acknowledged")
    for number in range(50):
        laptop.dispatch("Set", f"$.acknowledged.k{number}", number)
    laptop.kill()
    check_file(laptop.file)
    assert len(query_file(laptop.file, "$.acknowledged[*]")) == 50
    network.cables["phone"].deliver()
    laptop.start()
    phone.wait("$.acknowledged.k49", 49)
    wait_equal(laptop, phone)


@pytest.mark.parametrize("victim_name", ["newcomer", "winner"])
def test_a_device_killed_while_one_adopts_the_others_history_loses_nothing(
    network: Network, victim_name: str
) -> None:
    """Either side's file holds a whole history: the old one, or the adopted one with its own."""
    laptop = network.device("laptop", max_history=64)
    laptop.call("fill", name="past", count=400, size=2000)
    wait_trimmed(laptop)
    phone = network.device("phone")
    phone.call("fill", name="own", count=100, size=20)
    victim = phone if victim_name == "newcomer" else laptop
    victim.call("die_on", event="history_adopted")
    pair_only(laptop, phone)
    victim.died()
    check_file(victim.file)
    if victim is phone:
        assert len(query_file(phone.file, "$.own[*]")) == 100
    victim.start()
    phone.wait("$.past.k399", "00000399" + "x" * 2000)
    wait_equal(laptop, phone)
    for device in (laptop, phone):
        assert len(device.query("$.past[*]")) == 400
        assert len(device.query("$.own[*]")) == 100
        assert device.meta("$.failures[*]") == []
        device.close()
        check_file(device.file)
