"""Two real devices on one network: they find each other, pair, sync, part and meet again."""

from __future__ import annotations

import pytest

from tests.end_to_end.lab import Cable, Lab, needs_namespaces, run
from tests.end_to_end.network import Network
from tests.end_to_end.remote import Remote, pair, wait_equal
from tests.end_to_end.shipped import check_file

pytestmark = needs_namespaces()

KEEP_ALIVE_S = 20.0  # a dead peer is noticed within this time (network: Connections)
AT_ONCE_S = 15.0  # on a busy machine; waiting for a time-out or a heartbeat would take longer


def test_devices_find_each_other_by_broadcast_pair_and_sync_live(network: Network) -> None:
    """What each writes, before and after pairing, reaches the other."""
    laptop, phone = network.device("laptop"), network.device("phone")
    laptop.dispatch("Set", "$.before", "pairing")
    laptop.wait_visible(phone)
    phone.wait_visible(laptop)
    pair(laptop, phone)
    phone.wait("$.before", "pairing")
    laptop.dispatch("Set", "$.list", [1])
    phone.wait("$.list[*]", 1)
    phone.dispatch("InsertAfter", "$.list[0]", 2)
    laptop.wait("$.list[*]", 1, 2)
    wait_equal(laptop, phone)
    laptop.call("check")
    phone.call("check")
    laptop.close()
    phone.close()


def test_a_wrong_code_is_refused_and_the_right_one_then_pairs(network: Network) -> None:
    """After a wrong code nobody is paired and nothing has travelled."""
    laptop, phone = network.device("laptop"), network.device("phone")
    laptop.dispatch("Set", "$.secret", "of the laptop")
    laptop.wait_visible(phone)
    laptop.dispatch("RequestPair", {"id": phone.peer_id, "secret": "123456"})
    request = phone.event("pair_request", peer_id=laptop.peer_id)
    assert request["peer_name"] == "laptop"
    phone.dispatch("AcceptPair", {"id": laptop.peer_id, "secret": "654321"})
    for device in (laptop, phone):
        response = device.event("pair_response")
        assert not response["accepted"]
        assert response["reason"]
        assert device.meta("$.pairings[*]") == []
    assert phone.query("$.secret") == []
    pair(laptop, phone, "246810")
    phone.wait("$.secret", "of the laptop")


def test_a_rejected_request_pairs_nobody(network: Network) -> None:
    """Who asks is told of the refusal."""
    laptop, phone = network.device("laptop"), network.device("phone")
    laptop.wait_visible(phone)
    laptop.dispatch("RequestPair", {"id": phone.peer_id, "secret": "123456"})
    phone.event("pair_request", peer_id=laptop.peer_id)
    phone.dispatch("RejectPair", {"id": laptop.peer_id})
    assert not laptop.event("pair_response", peer_id=phone.peer_id)["accepted"]
    assert laptop.meta("$.pairings[*]") == phone.meta("$.pairings[*]") == []


def edit_offline(laptop: Remote, phone: Remote) -> None:
    """Have both change the same list and the same object while they are apart."""
    for device, other in ((laptop, phone), (phone, laptop)):
        name = device.name
        device.dispatch("InsertAfter", "$.list[0]", f"{name} 1")
        device.dispatch("InsertAfter", "$.list[1]", f"{name} 2")
        device.dispatch("Set", f"$.object.{name}", True)
        device.dispatch("Set", "$.object.both", name)
        device.dispatch("Add", "$.object.count", 1)
        device.dispatch("Delete", "$.list[-1]")
        assert device.query(f"$.object.{other.name}") == []
    assert laptop.state() != phone.state()


def assert_merged(laptop: Remote, phone: Remote) -> None:
    """Look at what has become of the edits of `edit_offline`."""
    wait_equal(laptop, phone)
    found = laptop.query("$.list")[0]
    blocks = [["laptop 1", "laptop 2"], ["phone 1", "phone 2"]]
    # The last element was deleted by both: once.
    assert found in (["first", *blocks[0], *blocks[1]], ["first", *blocks[1], *blocks[0]])
    members = laptop.query("$.object")[0]
    assert members.pop("both") in ("laptop", "phone")
    assert members == {"laptop": True, "phone": True, "count": 2}


@pytest.mark.long  # it takes 20 s to notice that nothing comes any more
@pytest.mark.parametrize("how", ["packets dropped", "cable pulled"])
def test_offline_edits_of_both_meet_when_the_network_is_back(network: Network, how: str) -> None:
    """Both devices change the same list and object while apart, and end up equal."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.dispatch("Set", "$.list", ["first", "last"])
    laptop.dispatch("Set", "$.object", {"count": 0})
    phone.wait("$.object.count", 0)
    cable = network.cables["phone"]
    (cable.drop if how == "packets dropped" else cable.pull)()
    edit_offline(laptop, phone)
    for device in (laptop, phone):
        device.event("peer_disconnected", deadline=2 * KEEP_ALIVE_S)
    (cable.deliver if how == "packets dropped" else cable.put_back)()
    assert_merged(laptop, phone)
    # And live again.
    phone.dispatch("Set", "$.after", "all that")
    laptop.wait("$.after", "all that")


def test_a_short_interruption_loses_nothing_that_was_written_meanwhile(network: Network) -> None:
    """The network is back before anybody has missed it: what was sent then is delivered."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    network.cables["laptop"].drop()
    laptop.dispatch("Set", "$.a", 1)
    phone.dispatch("Set", "$.b", 2)
    network.cables["laptop"].deliver()
    laptop.wait("$.b", 2)
    phone.wait("$.a", 1)
    wait_equal(laptop, phone)


def test_an_interface_that_appears_later_is_used(network: Network) -> None:
    """A device that was started offline is found when it gets its first interface."""
    laptop = network.device("laptop")
    offline = network.lab.host("phone")
    phone = network.device("phone", offline)
    phone.dispatch("Set", "$.written", "offline")
    assert phone.meta("$.peers[*]") == []
    Cable(offline, "eth0", network.switch, "10.77.0.9/24")
    pair(laptop, phone)
    laptop.wait("$.written", "offline")


def test_a_restarted_device_is_found_again_at_once(network: Network) -> None:
    """Neither a clean restart nor a kill leaves the others waiting for time-outs."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    for number, end in enumerate((phone.close, phone.kill, phone.kill)):
        end()
        check_file(phone.file)
        laptop.dispatch("Set", "$.number", number)
        phone.start()
        phone.wait("$.number", number, deadline=AT_ONCE_S)
        phone.dispatch("Set", "$.answer", number)
        laptop.wait("$.answer", number, deadline=AT_ONCE_S)


def test_pairing_and_document_survive_when_both_are_restarted(network: Network) -> None:
    """Two devices that were both off meet again without any pairing."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.dispatch("Set", "$.a", 1)
    phone.wait("$.a", 1)
    laptop.close()
    phone.close()
    phone.start()
    phone.dispatch("Set", "$.b", 2)
    laptop.start()
    laptop.wait("$.b", 2)
    wait_equal(laptop, phone)


@pytest.mark.long
def test_two_devices_with_two_networks_between_them_use_the_one_that_works(
    network: Network,
) -> None:
    """Of two networks that connect the same devices either may fail."""
    second = network.lab.switch("second")
    laptop, phone = network.device("laptop"), network.device("phone")
    others = {
        "laptop": Cable(laptop.host, "eth1", second, "10.78.0.1/24"),
        "phone": Cable(phone.host, "eth1", second, "10.78.0.2/24"),
    }
    laptop.close()
    phone.close()
    laptop.start()
    phone.start()
    pair(laptop, phone)
    addresses = [*laptop.meta("$.peers[*].ipAddress"), *phone.meta("$.peers[*].ipAddress")]
    assert {address[:5] for address in addresses} <= {"10.77", "10.78"}
    for number, cables in enumerate((network.cables, others)):
        for cable in cables.values():
            cable.drop()
        laptop.dispatch("Set", "$.laptop", number)
        phone.dispatch("Set", "$.phone", number)
        phone.wait("$.laptop", number)
        laptop.wait("$.phone", number)
        for cable in cables.values():
            cable.deliver()
    wait_equal(laptop, phone)


def test_devices_of_two_separate_networks_meet_through_one_that_is_in_both(
    lab: Lab, network: Network
) -> None:
    """The middle device has two interfaces and hands on what each side writes."""
    other = lab.switch("other")
    middle = network.device("middle")
    Cable(middle.host, "eth1", other, "10.78.0.1/24")
    laptop = network.device("laptop")
    far = lab.host("phone")
    Cable(far, "eth0", other, "10.78.0.2/24")
    phone = network.device("phone", far)
    pair(middle, laptop)
    pair(middle, phone)
    laptop.dispatch("Set", "$.a", "from one side")
    phone.dispatch("Set", "$.b", "from the other")
    phone.wait("$.a", "from one side")
    laptop.wait("$.b", "from the other")
    wait_equal(middle, laptop, phone)


def test_paired_devices_meet_where_broadcasts_are_blocked(network: Network) -> None:
    """As in many guest networks: they try the addresses at which they last met."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.close()
    phone.close()
    for name, other in (("laptop", "phone"), ("phone", "laptop")):
        network.cables[name].block_broadcasts(network.cables[other])
    laptop.start()
    phone.start()
    laptop.dispatch("Set", "$.a", 1)
    phone.wait("$.a", 1)
    phone.dispatch("Set", "$.b", 2)
    laptop.wait("$.b", 2)


def test_a_device_that_moved_behind_a_router_finds_its_partner_again(
    lab: Lab, network: Network
) -> None:
    """As through a VPN: no broadcast comes through, and the address is another one."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    phone.close()
    away, router = lab.switch("away"), network.host("router")
    Cable(router, "eth1", away, "10.78.0.1/24")
    run(*router.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
    laptop.host.ip("route", "add", "default", "via", network.cables["router"].address)
    phone.host = lab.host("phone-away")
    Cable(phone.host, "eth0", away, "10.78.0.2/24")
    phone.host.ip("route", "add", "default", "via", "10.78.0.1")
    laptop.dispatch("Set", "$.a", 1)
    phone.start()
    phone.wait("$.a", 1)
    phone.dispatch("Set", "$.b", 2)
    laptop.wait("$.b", 2)
