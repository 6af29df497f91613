"""Each rule of the doctor, shown the evidence for it: facts in, names of causes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cytosol.database.causes import WORDS, Cause
from cytosol.database.diagnosis import DeviceSeen, Diagnosis, diagnose
from cytosol.net.evidence import (
    InterfaceSeen,
    Knock,
    NetworkSeen,
    PeerSeen,
    Reach,
    Reply,
    RouteSeen,
)

NOW = 1_780_000_000.0
DEVICE = DeviceSeen(now_s=NOW, paired=1)
LO = InterfaceSeen("lo", True, True, True, False, ("127.0.0.1",), ("127.0.0.0/8",))
ETH = InterfaceSeen("eth0", True, True, False, True, ("10.0.0.1",), ("10.0.0.0/24",))
TUN = InterfaceSeen("tun0", True, True, False, False, ("10.9.0.2",), ())
ADDRESS = ("10.0.0.2", 5000)
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "devices-do-not-see-each-other.md"


def friend(**changes: Any) -> PeerSeen:
    """Return a paired peer with which all is well, but for the changes."""
    peer = PeerSeen(
        bytes(15) + b"p",
        "phone",
        is_paired=True,
        addresses=[ADDRESS],
        noticed={Knock.BROADCAST},
        has_dialled=True,
        reach=Reach.OPEN,
        is_greeted=True,
        reply=Reply.WELCOME,
        takes_large=True,
        dials=16,
    )
    for name, value in changes.items():
        setattr(peer, name, value)
    return peer


def deaf(**changes: Any) -> PeerSeen:
    """Return a paired peer that noticed nothing and said nothing."""
    silent: dict[str, Any] = {
        "noticed": set(),
        "has_dialled": False,
        "reach": Reach.SILENT,
        "is_greeted": False,
        "reply": None,
        "takes_large": None,
        "dials": 0,
    }
    return friend(**{**silent, **changes})


def stranger(**changes: Any) -> PeerSeen:
    """Return a peer that is not paired, and answered."""
    return deaf(is_paired=False, noticed={Knock.BROADCAST}, reach=None, **changes)


def network(*peers: PeerSeen, **changes: Any) -> NetworkSeen:
    """Return a network with these peers, on which all is well but for the changes."""
    seen = NetworkSeen(65154, interfaces=(ETH, LO))
    for number, peer in enumerate(peers):
        peer.peer_id = bytes([*bytes(15), number])
        seen.peers[peer.peer_id] = peer
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


def codes(seen: NetworkSeen | None, device: DeviceSeen = DEVICE, **changes: Any) -> set[str]:
    """Return the names of what is found."""
    return set(diagnose(replace(device, **changes), seen).codes)


def test_nothing_is_found_where_all_is_well() -> None:
    """One paired peer that hears, greets, takes large messages and dials."""
    found = diagnose(DEVICE, network(friend()))
    assert found.is_healthy
    assert "healthy" in str(found)
    assert {"healthy": True, "codes": [], "findings": []}.items() <= found.to_json().items()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"is_network_on": False}, {"network_off"}),
        ({"is_visible": False}, {"hidden"}),
        ({"is_sync_enabled": False}, {"sync_off"}),
        ({"wrong_codes": 2, "wrong_code_s": NOW}, set()),
        ({"wrong_codes": 3, "wrong_code_s": NOW - 299}, {"pairing_paused"}),
        ({"wrong_codes": 3, "wrong_code_s": NOW - 301}, set()),
        ({"wrong_codes": 9, "wrong_code_s": NOW + 9999}, {"pairing_paused"}),
        ({"wrong_codes": 10, "wrong_code_s": 0.0}, {"pairing_stopped"}),
        ({"latest_note_s": NOW + 599}, set()),
        ({"latest_note_s": NOW + 601}, {"clock_wrong"}),
        ({"now_s": 86_400.0}, {"clock_wrong"}),
        ({"file_faults": ((Cause.DISK_FULL, "'x'"),)}, {"disk_full"}),
    ],
)
def test_what_this_device_knows_of_itself(changes: dict[str, Any], expected: set[str]) -> None:
    """Settings, counts and the clock, with or without a network to look at."""
    assert expected == codes(network(friend()), **changes)
    assert expected == codes(None, **changes)


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ([], "no_interface"),
        ([LO], "no_interface"),
        ([TUN], "no_broadcast_interface"),
        ([replace(TUN, has_carrier=False)], "no_interface"),
        ([replace(ETH, is_up=False, has_carrier=False, networks=())], "interface_down"),
        ([replace(ETH, has_carrier=False, networks=())], "no_carrier"),
        ([replace(ETH, addresses=(), networks=())], "no_ipv4_address"),
        ([replace(ETH, networks=())], "no_broadcast_interface"),
        # A VPN does not make up for the cable that is out.
        ([TUN, replace(ETH, has_carrier=False, networks=())], "no_carrier"),
    ],
)
def test_a_device_that_is_offline(interfaces: list[InterfaceSeen], expected: str) -> None:
    """One cause, and not a word about peers that cannot be heard."""
    seen = network(deaf(), interfaces=(*interfaces, LO), problems=())
    assert {expected} == codes(seen)
    assert {expected, "port_taken"} == codes(replace(seen, port_error="EADDRINUSE"))


def test_loopback_is_enough_where_it_was_asked_for() -> None:
    """As in tests with two devices on one machine."""
    assert set() == codes(network(friend(), interfaces=(LO,), is_loopback_enough=True))


TUNNEL = (RouteSeen("eth0", "10.0.0.2", "tun0"),)
SELF_ASSIGNED = replace(ETH, addresses=("169.254.1.1",), networks=("169.254.0.0/16",))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"broadcast_errors": {"10.0.0.1": "EPERM"}}, {"broadcast_blocked"}),
        (
            {
                "broadcast_errors": {"10.0.0.1": "EACCES"},
                "direct_errors": {"10.0.0.2": "EPERM"},
            },
            {"sending_blocked"},
        ),
        (
            {
                "broadcast_errors": {"10.0.0.1": "EPERM"},
                "direct_errors": {"10.0.0.2": "EHOSTUNREACH"},
            },
            {"broadcast_blocked"},
        ),
        ({"broadcast_errors": {"10.0.0.1": "ENETUNREACH"}}, {"no_route"}),
        ({"detours": TUNNEL}, {"route_into_tunnel"}),
        ({"detours": TUNNEL, "unheard_broadcasts": {"10.0.0.1"}}, {"route_into_tunnel"}),
        ({"interfaces": (SELF_ASSIGNED, LO)}, {"self_assigned_address"}),
        ({"unheard_broadcasts": {"10.0.0.1"}}, {"udp_in_blocked"}),
        (
            {"unheard_broadcasts": {"10.0.0.1"}, "unheard_answers": {"10.0.0.1"}},
            {"udp_in_blocked"},
        ),
        ({"unheard_answers": {"10.0.0.1"}}, {"answers_blocked"}),
    ],
)
def test_what_keeps_this_device_from_others(changes: dict[str, Any], expected: set[str]) -> None:
    """It explains why the paired peer is silent, and why nobody is heard."""
    if expected != {"broadcast_blocked"}:
        assert expected == codes(network(deaf(reach=Reach.NO_ROUTE), **changes))
    assert expected == codes(network(**changes), paired=0)


def test_a_port_that_is_taken_does_not_keep_answers_from_coming() -> None:
    """So that peers are judged all the same; who has it is named."""
    seen = network(deaf(), port_error="EADDRINUSE", port_holder="'nc' (process 7)")
    found = diagnose(DEVICE, seen)
    assert ("port_taken", "peer_silent") == found.codes
    assert "'nc' (process 7)" in str(found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"noticed": {Knock.DIRECT}}, {"broadcasts_lost"}),
        ({"noticed": {Knock.DIRECT}, "is_near": False}, {"other_subnet"}),
        ({"noticed": {Knock.DIRECT, Knock.LIMITED}}, {"netmask_mismatch"}),
        ({"noticed": {Knock.LIMITED}}, {"netmask_mismatch"}),
        ({"takes_large": False}, {"mtu_black_hole"}),
        ({"takes_large": False, "is_greeted": False}, set()),
        ({"slow_dials": 3}, set()),
        ({"slow_dials": 4}, {"packet_loss"}),
        ({"slow_dials": 4, "noticed": {Knock.DIRECT}, "takes_large": False}, {"packet_loss"}),
        ({"slow_dials": 16, "reach": Reach.SILENT}, {"peer_tcp_blocked"}),
        ({"reach": Reach.NO_HOST}, {"peer_tcp_blocked"}),
        ({"reach": Reach.REFUSED, "has_dialled": False}, {"peer_tcp_refused"}),
        ({"reach": Reach.STRANGE}, {"strange_gateway"}),
        ({"has_dialled": False}, {"tcp_in_blocked"}),
        ({"has_dialled": False, "reply": None}, set()),
        ({"has_dialled": False, "reply": Reply.SYNC_OFF}, {"peer_sync_off"}),
        ({"has_dialled": False, "reply": Reply.NOT_PAIRED}, {"peer_not_paired"}),
        ({"has_dialled": False, "reply": Reply.UNPAIRED}, {"peer_unpaired_us"}),
        (
            {"has_dialled": False, "noticed": {Knock.DIRECT}},
            {"tcp_in_blocked", "broadcasts_lost"},
        ),
        ({"is_connected": True, "noticed": set(), "has_dialled": False, "reply": None}, set()),
        ({"has_other_key": True}, {"peer_key_changed"}),
    ],
)
def test_a_paired_peer_that_noticed_us(changes: dict[str, Any], expected: set[str]) -> None:
    """By which heartbeats, and how far a visit came."""
    assert expected == codes(network(friend(**changes)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"peer_silent"}),
        ({"addresses": []}, {"peer_silent"}),
        ({"reach": Reach.NO_HOST}, {"peer_gone"}),
        ({"reach": Reach.NO_ROUTE}, {"no_route"}),
        ({"is_near": False}, {"other_subnet"}),
        ({"is_near": False, "reach": Reach.NO_ROUTE}, {"no_route"}),
        ({"reach": Reach.REFUSED, "port_is_closed": True}, {"peer_not_running"}),
        ({"reach": Reach.OPEN}, {"peer_udp_blocked"}),
        ({"heard_broadcast": True}, {"client_isolation"}),
        ({"heard_broadcast": True, "reach": Reach.NO_HOST}, {"client_isolation"}),
        ({"heard_broadcast": True, "heard_direct": True}, {"peer_firewall"}),
        ({"heard_direct": True, "reach": Reach.OPEN}, {"peer_udp_blocked"}),
    ],
)
def test_a_paired_peer_that_noticed_nothing(changes: dict[str, Any], expected: set[str]) -> None:
    """What was heard of it, and whether it can be dialled."""
    assert expected == codes(network(deaf(**changes)))


def test_a_broadcast_that_was_refused_was_not_lost() -> None:
    """The firewall here explains why the peer noticed the direct heartbeat only."""
    seen = network(friend(noticed={Knock.DIRECT}), broadcast_errors={"10.0.0.1": "EPERM"})
    assert {"broadcast_blocked"} == codes(seen)


def test_strangers() -> None:
    """One who is here and could be paired; not beside a paired one, unless it was named."""
    assert {"not_paired"} == codes(network(stranger()), paired=0)
    assert {"peer_refused"} == codes(network(stranger(is_refused=True)), paired=0)
    assert set() == codes(network(friend(), stranger()))
    assert {"not_paired"} == codes(network(friend(), stranger(is_named=True)))
    assert set() == codes(network(stranger()), paired=0, has_identity=False)


def test_nobody_is_heard() -> None:
    """Unless it is not known of which app anybody should be."""
    assert {"nobody_heard"} == codes(network(), paired=0)
    assert set() == codes(network(), paired=0, is_app_known=False, has_identity=False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reach": Reach.REFUSED}, {"peer_hidden"}),
        ({"reach": Reach.REFUSED, "port_is_closed": True}, {"peer_not_running"}),
        ({"reach": Reach.NO_HOST}, {"peer_gone"}),
        ({"reach": Reach.NO_ROUTE}, {"no_route"}),
        ({"reach": Reach.SILENT}, {"peer_silent"}),
        ({"reach": Reach.SILENT, "is_near": False}, {"other_subnet"}),
    ],
)
def test_an_address_that_the_user_gave(changes: dict[str, Any], expected: set[str]) -> None:
    """Nobody was heard from there; nothing else is said about nobody being heard."""
    unknown = deaf(is_paired=False, is_named=True, **changes)
    unknown.peer_id = b""
    found = diagnose(replace(DEVICE, paired=0), network(unknown=[unknown]))
    assert expected == set(found.codes)
    assert found.findings[0].peer_id is None
    assert expected == codes(network(friend(), unknown=[unknown]))
    assert {"route_into_tunnel"} == codes(network(unknown=[unknown], detours=TUNNEL), paired=0)


def test_devices_of_another_app() -> None:
    """They matter where nobody of ours is heard, and explain a paired peer that is silent."""
    others = {"10.0.0.2": "another-app"}
    assert {"other_app_id"} == codes(network(other_apps=others), paired=0)
    assert {"other_app_id"} == codes(network(deaf(), other_apps=others))
    assert {"other_app_id"} == codes(network(friend(addresses=[]), deaf(), other_apps=others))
    assert set() == codes(network(friend(), other_apps=others))


def test_devices_of_another_version() -> None:
    """They explain a paired peer at their address, and why nobody is heard."""
    others = {"10.0.0.2"}
    assert {"other_version"} == codes(network(other_versions=others), paired=0)
    assert {"other_version"} == codes(network(deaf(), other_versions=others))
    assert {"other_version"} == codes(network(friend(reply=Reply.OTHER_VERSION)))
    assert set() == codes(network(friend(), other_versions=others))


def test_two_devices_with_one_address() -> None:
    """Whatever becomes of a peer there: it may have been the other one."""
    doubled = {"10.0.0.2"}
    assert {"address_conflict"} == codes(network(friend(), doubled=doubled))
    assert {"address_conflict"} == codes(network(friend(reach=Reach.REFUSED), doubled=doubled))
    assert {"address_conflict"} == codes(network(deaf(), doubled=doubled))
    assert {"address_conflict", "peer_sync_off"} == codes(
        network(friend(reply=Reply.SYNC_OFF), doubled=doubled)
    )
    elsewhere = friend(reach=Reach.REFUSED, addresses=[("10.0.0.3", 5000)])
    assert {"address_conflict", "peer_tcp_refused"} == codes(network(elsewhere, doubled=doubled))


def test_a_clone_takes_the_blame_for_a_peer_that_does_not_dial() -> None:
    """It may have dialled the clone."""
    seen = network(friend(has_dialled=False), clones={"10.0.0.9"})
    assert {"clone"} == codes(seen)


def test_mistakes_inside_the_program_are_told() -> None:
    """The latest one."""
    found = diagnose(DEVICE, network(friend(), problems=("first", "second")))
    assert ("internal_error",) == found.codes
    assert "second" in found.findings[0].cause


def test_each_peer_has_findings_of_its_own() -> None:
    """Two peers, one silent: the finding says which, and the codes name each cause once."""
    silent, also_silent = deaf(name="tablet"), deaf(name="tv")
    found = diagnose(DEVICE, network(friend(), silent, also_silent))
    assert ("peer_silent",) == found.codes
    assert ["'tablet'" in each.cause for each in found.findings] == [True, False]
    assert [False, True] == ["'tv'" in each.cause for each in found.findings]
    assert found.findings[0].peer_id != found.findings[1].peer_id
    assert 3 == len(found.peers)
    assert {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "tablet",
        "address": "10.0.0.2",
        "paired": True,
        "connected": False,
        "heard": False,
    } == found.peers[1]
    assert list(found.peers) == found.to_json()["peers"]


def test_every_cause_has_words_and_stands_on_the_page() -> None:
    """A sentence, something to do, and a row in the table; at least twenty of them."""
    assert set(Cause) == set(WORDS)
    assert 20 <= len(Cause)
    page = PAGE.read_text(encoding="utf-8")
    for cause, (text, advice) in WORDS.items():
        assert f"| `{cause.value}` |" in page
        for words in (text, advice):
            assert len(words) > 10
            assert not words.endswith(".")
            assert words[0].islower() or words[0] == "{"


def test_a_report_says_what_to_do() -> None:
    """As text and as JSON."""
    found = diagnose(DEVICE, network(deaf()))
    assert isinstance(found, Diagnosis)
    (finding,) = found.to_json()["findings"]  # type: ignore[misc]  # a list of one object
    assert {"code", "cause", "advice", "peerId"} == set(finding)
    assert "10.0.0.2" in str(found)
    assert found.findings[0].advice in str(found)
