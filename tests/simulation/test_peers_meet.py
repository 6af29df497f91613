"""Whole peers in virtual time: they find each other, pair, connect, and do so again."""

from __future__ import annotations

import pytest

from cytosol.errors import PairingError
from cytosol.protocol.events import (
    PairCancelled,
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    Unpaired,
)
from tests.simulation.peer_machines import PeerWorld, SimPeer


def paired_world(seed: int = 0) -> tuple[PeerWorld, SimPeer, SimPeer]:
    """Return a world with two connected peers."""
    world = PeerWorld(seed)
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    return world, alice, bob


def test_peers_find_each_other_at_once() -> None:
    """The first heartbeat and its answer are enough."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    assert alice.sees(bob)
    assert bob.sees(alice)


@pytest.mark.parametrize("seed", range(8))
def test_a_right_code_pairs_and_connects(seed: int) -> None:
    """Both store the other, hear of it, and have one connection, soon."""
    world = PeerWorld(seed)
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    assert alice.is_paired(bob)
    assert bob.is_paired(alice)
    assert [PairResponse(bob.id, "Bob", True)] == alice.told(PairResponse)
    assert [PairResponse(alice.id, "Alice", True)] == bob.told(PairResponse)
    world.run(1.0)
    assert alice.is_connected(bob)
    assert bob.is_connected(alice)
    assert 1 == alice.connections() == bob.connections()


def test_a_wrong_code_pairs_nobody() -> None:
    """Both are told at once, nobody stores anything, and both count it, once."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "123456")
    world.run_until(lambda: bool(bob.told(PairRequest)))
    bob.command("accept_pair", alice.id, "654321")
    world.run(0.1)  # a few times the way there and back
    assert not alice.is_paired(bob)
    assert not bob.is_paired(alice)
    assert [False] == [each.accepted for each in alice.told(PairResponse)]
    assert [False] == [each.accepted for each in bob.told(PairResponse)]
    assert 1 == alice.pairings.wrong_codes()[0] == bob.pairings.wrong_codes()[0]
    world.run(30.0)
    assert 1 == alice.pairings.wrong_codes()[0] == bob.pairings.wrong_codes()[0]
    assert 1 == len(alice.told(PairResponse)) == len(bob.told(PairResponse))


def test_ops_reach_a_connected_peer() -> None:
    """What one writes the other has."""
    world, alice, bob = paired_world()
    alice.write()
    world.run(0.1)
    assert alice.replica.counts == bob.replica.counts


def test_a_peer_that_stops_is_noticed_and_found_again() -> None:
    """Both sides hear of the end; after a restart they connect without anybody's help."""
    world, alice, bob = paired_world()
    alice.stop()
    world.run(0.1)
    assert 1 == len(bob.told(PeerDisconnected))
    world.run(30.0)
    alice.restart()
    world.connect(alice, bob)
    assert 2 == len(bob.told(PeerConnected))


def test_a_crash_without_a_word_is_noticed_within_twenty_seconds() -> None:
    """Silence is enough to tell."""
    world, alice, bob = paired_world()
    world.run(7.0)
    alice.crash(silently=True)
    since = world.now
    world.run_until(lambda: bool(bob.told(PeerDisconnected)))
    assert world.now - since <= 20.0


def test_a_restarted_peer_replaces_its_dead_connection_at_once() -> None:
    """Nobody waits for the time-out of the old one."""
    world, alice, bob = paired_world()
    alice.crash(silently=True)
    alice.restart()
    since = world.now
    world.run_until(lambda: alice.is_connected(bob))
    assert world.now - since < 3.0
    assert bob.is_connected(alice)


def test_a_quiet_connection_stays() -> None:
    """An hour without a word changes nothing."""
    world, alice, bob = paired_world()
    world.run(3600.0)
    assert [] == alice.told(PeerDisconnected)
    assert alice.is_connected(bob)


def test_a_partition_heals() -> None:
    """Both notice it, and connect again when it is over."""
    world, alice, bob = paired_world()
    world.block(alice, bob)
    world.run(25.0)
    assert alice.told(PeerDisconnected)
    assert bob.told(PeerDisconnected)
    world.run(600.0)
    assert not alice.sees(bob)
    world.unblock(alice, bob)
    alice.write()
    world.connect(alice, bob)
    world.run(1.0)
    assert alice.replica.counts == bob.replica.counts


@pytest.mark.parametrize("seed", range(6))
def test_peers_that_start_together_open_one_connection(seed: int) -> None:
    """Both call; the call of the smaller id wins and no second one appears."""
    world, alice, bob = paired_world(seed)
    for _ in range(5):
        alice.crash()
        bob.crash()
        alice.restart()
        bob.restart()
        alice.events.clear()
        bob.events.clear()
        world.connect(alice, bob)
        world.run(20.0)
        assert 1 == alice.connections() == bob.connections()
        assert [] == alice.told(PeerDisconnected)


def test_lossy_networks_only_delay() -> None:
    """A third of the datagrams lost and some doubled: peers still meet and pair."""
    world = PeerWorld(5)
    world.loss, world.duplicates = 0.33, 0.2
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)


def test_devices_of_a_device_are_paired_too() -> None:
    """A knows B, B knows C: A and C become paired and connect, and hear each other's ops."""
    world = PeerWorld()
    alice, bob, carol = (world.add_peer(name) for name in ("Alice", "Bob", "Carol"))
    world.pair(alice, bob)
    world.pair(bob, carol)
    world.connect(alice, carol)
    carol.write()
    world.run(1.0)
    assert carol.replica.counts == alice.replica.counts


def test_ops_are_relayed() -> None:
    """A and C, who cannot reach each other, meet through B."""
    world = PeerWorld()
    alice, bob, carol = (world.add_peer(name) for name in ("Alice", "Bob", "Carol"))
    world.block(alice, carol)
    world.pair(alice, bob)
    world.pair(bob, carol)
    world.connect(alice, bob)
    world.connect(bob, carol)
    alice.write()
    world.run(1.0)
    assert alice.replica.counts == carol.replica.counts


def test_without_trust_shared_devices_stay_strangers() -> None:
    """trust_shared_peers=False: only what was paired by hand is paired."""
    world = PeerWorld()
    alice = world.add_peer("Alice", trust_shared_peers=False)
    bob, carol = world.add_peer("Bob"), world.add_peer("Carol")
    world.pair(alice, bob)
    world.pair(bob, carol)
    world.run(60.0)
    assert not alice.is_paired(carol)
    assert not alice.is_connected(carol)


def test_unpair_tells_the_other_side() -> None:
    """Both are unpaired at once and do not connect again."""
    world, alice, bob = paired_world()
    alice.command("unpair", bob.id)
    world.run(0.5)
    assert [Unpaired(bob.id, "Bob")] == alice.told(Unpaired)
    assert [Unpaired(alice.id, "Alice")] == bob.told(Unpaired)
    world.run(300.0)
    assert not bob.is_paired(alice)
    assert 1 == len(alice.told(PeerConnected))


def test_who_was_away_hears_of_the_unpairing_later() -> None:
    """The gateway of the one tells the other when it calls."""
    world, alice, bob = paired_world()
    bob.crash()
    world.run(1.0)
    alice.command("unpair", bob.id)
    bob.restart()
    world.run_until(lambda: not bob.is_paired(alice))
    assert [Unpaired(alice.id, "Alice")] == bob.told(Unpaired)


def test_a_refused_device_is_brought_back_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unpairs C; B, who was away, drops C too, and does not bring it back to A for a moment."""
    world = PeerWorld()
    alice, bob, carol = (world.add_peer(name) for name in ("Alice", "Bob", "Carol"))
    world.pair(alice, bob)
    world.pair(bob, carol)
    world.connect(alice, carol)
    bob.crash()
    world.run(1.0)
    alice.command("unpair", carol.id)
    world.run(5.0)
    brought: list[object] = []
    monkeypatch.setattr(alice.pairings, "add", lambda *peer: brought.append(peer))
    bob.restart()
    world.connect(alice, bob)
    world.run(60.0)
    assert [] == brought
    assert not bob.is_paired(carol)
    assert not carol.is_paired(bob)
    assert not alice.is_paired(carol)
    assert alice.is_paired(bob)


def test_a_new_pairing_by_hand_lifts_a_refusal_and_lasts() -> None:
    """After unpairing everywhere, C pairs with A again, and B's older refusal does not undo it."""
    world = PeerWorld()
    alice, bob, carol = (world.add_peer(name) for name in ("Alice", "Bob", "Carol"))
    world.pair(alice, bob)
    world.pair(bob, carol)
    world.connect(alice, carol)
    alice.command("unpair", carol.id)
    world.run(10.0)
    assert not bob.is_paired(carol)
    world.pair(alice, carol)
    world.run(10.0)
    assert alice.is_paired(carol)
    assert not bob.is_paired(carol)
    bob.crash()
    bob.restart()
    world.connect(alice, bob)
    world.run(10.0)
    assert alice.is_paired(carol)
    assert alice.is_connected(carol)


def test_a_hidden_peer_meets_paired_devices_only() -> None:
    """Strangers do not see it; a paired device does and connects."""
    world, alice, bob = paired_world()
    bob.crash()
    bob.options["visible_to_peers"] = False
    bob.restart()
    carol = world.add_peer("Carol")
    world.connect(alice, bob)
    world.run(400.0)
    assert not carol.sees(bob)
    assert bob.sees(carol)
    assert alice.is_connected(bob)


def test_two_hidden_peers_meet_where_they_met_before() -> None:
    """Their last known addresses are enough, if the hosts have not changed."""
    world, alice, bob = paired_world()
    for peer in (alice, bob):
        peer.crash()
        peer.options["visible_to_peers"] = False
    for peer in (alice, bob):
        peer.restart()
    world.connect(alice, bob)


def test_blocked_broadcasts_do_not_part_paired_devices() -> None:
    """Heartbeats also go to where paired devices were last."""
    world, alice, bob = paired_world()
    world.broadcast_works = False
    alice.crash()
    bob.crash()
    alice.restart()
    bob.restart()
    world.connect(alice, bob)


def test_switching_sync_off_closes_and_on_connects() -> None:
    """sync_enabled=False keeps discovery and pairing, but no connection."""
    world, alice, bob = paired_world()
    alice.command("set_sync_enabled", False)
    world.run(120.0)
    assert not alice.is_connected(bob)
    assert alice.sees(bob)
    assert not bob.is_connected(alice)
    alice.command("set_sync_enabled", True)
    world.connect(alice, bob)


def test_switching_visibility_off_and_on() -> None:
    """A stranger loses sight of us and finds us again."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(1.0)
    alice.command("set_visible", False)
    world.run(200.0)
    assert not bob.sees(alice)
    alice.command("set_visible", True)
    world.run(1.0)
    assert bob.sees(alice)


def test_a_withdrawn_request_takes_its_prompt_away() -> None:
    """The requester stops before the code was typed."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "123456")
    world.run_until(lambda: bool(bob.told(PairRequest)))
    alice.command("reject_pair", bob.id)
    world.run(1.0)
    assert [PairCancelled(alice.id, "Alice")] == bob.told(PairCancelled)
    assert [False] == [each.accepted for each in alice.told(PairResponse)]
    with pytest.raises(PairingError, match="no pair request"):
        bob.command("accept_pair", alice.id, "123456")


def test_a_rejected_request_says_so() -> None:
    """The requester hears that the user said no."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "123456")
    world.run_until(lambda: bool(bob.told(PairRequest)))
    bob.command("reject_pair", alice.id)
    world.run(1.0)
    (response,) = alice.told(PairResponse)
    assert not response.accepted
    assert "rejected" in response.reason


def test_a_prompt_that_nobody_answers_ends() -> None:
    """After two minutes the prompt goes away and the requester is told."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "123456")
    world.run(130.0)
    assert 1 == len(bob.told(PairCancelled))
    assert [False] == [each.accepted for each in alice.told(PairResponse)]


def test_both_may_ask_at_once() -> None:
    """Requests that cross: the one answered first pairs, and nobody is told twice."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "123456")
    bob.command("request_pair", alice.id, "777777")
    world.run_until(lambda: bool(bob.told(PairRequest)) and bool(alice.told(PairRequest)))
    bob.command("accept_pair", alice.id, "123456")
    world.connect(alice, bob)
    assert [True] == [each.accepted for each in alice.told(PairResponse)]
    assert [True] == [each.accepted for each in bob.told(PairResponse)]
    assert 1 == len(alice.told(PairCancelled))
    assert alice.is_paired(bob)
    assert bob.is_paired(alice)


def test_the_app_hears_why_it_cannot_pair() -> None:
    """Every misuse is a sentence, at once."""
    world, alice, bob = paired_world()
    carol = world.add_peer("Carol")
    world.run(1.0)
    with pytest.raises(PairingError, match="already paired"):
        alice.command("request_pair", bob.id, "123456")
    with pytest.raises(PairingError, match="this device itself"):
        alice.command("request_pair", alice.id, "123456")
    with pytest.raises(PairingError, match="is visible"):
        alice.command("request_pair", "00000000-0000-4000-8000-000000000000", "123456")
    with pytest.raises(PairingError, match="at least 6"):
        alice.command("request_pair", carol.id, "12345")
    with pytest.raises(PairingError, match="is not paired"):
        alice.command("unpair", carol.id)
    with pytest.raises(PairingError, match="no pair request"):
        alice.command("reject_pair", carol.id)
    alice.command("request_pair", carol.id, "123456")
    with pytest.raises(PairingError, match="already under way"):
        alice.command("request_pair", carol.id, "123456")
