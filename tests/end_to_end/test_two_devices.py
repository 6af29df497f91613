"""Two real devices on one network: they find each other, pair, sync, part and meet again."""

from __future__ import annotations

from tests.end_to_end.lab import needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import pair, wait_equal

pytestmark = needs_namespaces()


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
