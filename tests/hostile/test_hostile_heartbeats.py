"""What heartbeats from anywhere must not do: crowd out, impersonate, or start storms."""

from __future__ import annotations

import pytest

from cytosol.crypto.keys import make_key_pair
from cytosol.limits import VISIBLE_PEERS_MAX
from cytosol.protocol.effects import SendDatagram
from tests.hostile.cases import case
from tests.hostile.raw_peer import RawPeer
from tests.simulation.peer_machines import PeerWorld, SimPeer


def answers_of(world: PeerWorld) -> list[tuple[float, tuple[str, int]]]:
    """Collect the unicast heartbeats that peers send from now on."""
    answers: list[tuple[float, tuple[str, int]]] = []

    def spy(peer: SimPeer, effect: SendDatagram) -> None:
        if effect.address is not None:
            answers.append((world.now, effect.address))

    world.spy = spy
    return answers


@case("heartbeat flooding", "VISIBLE_PEERS_MAX")
def test_a_flood_fills_the_table_and_no_more() -> None:
    """256 visible peers; who floods pushes out its own inventions, not others."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(1.0)
    for _ in range(2 * VISIBLE_PEERS_MAX):
        RawPeer(world, "10.0.6.6").appear_to(alice)
    assert VISIBLE_PEERS_MAX == len(alice.machine.peers())
    assert alice.sees(bob)


@case("heartbeat flooding", "VISIBLE_PEERS_MAX")
def test_a_flood_from_many_addresses_does_not_evict_paired_devices() -> None:
    """Paired devices stay, and new ones find room."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    late = RawPeer(world)
    late.pair_with(alice)
    for number in range(2 * VISIBLE_PEERS_MAX):
        RawPeer(world, f"10.1.{number // 250}.{number % 250}").appear_to(alice)
    late.appear_to(alice)
    assert alice.sees(bob)
    assert late.id in {row["id"] for row in alice.machine.peers()}
    assert VISIBLE_PEERS_MAX == len(alice.machine.peers())


@case("answer storms", "HEARTBEAT_ANSWERS_PER_S", "HEARTBEAT_ANSWERS_WAITING_MAX")
def test_answers_do_not_become_a_storm() -> None:
    """A hundred strangers at once: one answer a second, and every one gets its own."""
    world = PeerWorld()
    alice = world.add_peer("Alice", start=False)
    alice.restart()
    world.run(10.0)
    answers = answers_of(world)
    strangers = [RawPeer(world, f"10.1.0.{number}") for number in range(100)]
    for stranger in strangers:
        stranger.appear_to(alice)
    since = world.now
    world.run(3.5)
    assert 4 == len(answers)
    world.run(100.0)
    assert {stranger.ip_address for stranger in strangers} == {ip for _, (ip, _) in answers}
    assert 100 == len(answers)
    assert all(now - since >= number for number, (now, _) in enumerate(answers))


@case("answer storms")
def test_known_peers_are_not_answered_again() -> None:
    """The same heartbeat a hundred times is answered once."""
    world = PeerWorld()
    alice = world.add_peer("Alice")
    answers = answers_of(world)
    stranger = RawPeer(world)
    for _ in range(100):
        stranger.appear_to(alice)
    world.run(30.0)
    assert 1 == len(answers)


@case("heartbeat spoofing")
def test_another_key_for_a_visible_id_is_ignored() -> None:
    """The first claim stays while it is visible (seed: Discovery)."""
    world = PeerWorld()
    alice, stranger = world.add_peer("Alice"), RawPeer(world)
    stranger.peer_id = bytes(range(16))  # an id that certifies nothing
    stranger.appear_to(alice)
    impostor = make_key_pair(world.random_bytes(32)).public
    world.datagram(alice, stranger.heartbeat("Impostor", impostor), ("10.0.6.6", 50_000))
    assert ["Mallory"] == [row["name"] for row in alice.machine.peers()]
    world.run(181.0)
    world.datagram(alice, stranger.heartbeat("Heir", impostor), ("10.0.6.6", 50_000))
    assert ["Heir"] == [row["name"] for row in alice.machine.peers()]


@case("heartbeat spoofing")
def test_an_id_that_certifies_its_key_beats_an_earlier_claim() -> None:
    """Who squats on an id that is made from a key has to go when the key's owner comes."""
    world = PeerWorld()
    alice, owner = world.add_peer("Alice"), RawPeer(world)
    squatter = make_key_pair(world.random_bytes(32)).public
    world.datagram(alice, owner.heartbeat("Squatter", squatter), ("10.0.6.6", 50_000))
    owner.appear_to(alice)
    assert ["Mallory"] == [row["name"] for row in alice.machine.peers()]
    world.datagram(alice, owner.heartbeat("Squatter", squatter), ("10.0.6.6", 50_000))
    assert ["Mallory"] == [row["name"] for row in alice.machine.peers()]


@case("key swap", "heartbeat spoofing")
def test_a_paired_id_keeps_its_pinned_key() -> None:
    """Heartbeats of a paired id with another key count for nothing."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    bob.crash()
    world.run(200.0)
    thief = RawPeer(world, "10.0.6.6")
    thief.peer_id = bob.peer_id
    thief.appear_to(alice)
    assert not alice.sees(bob)
    stream = thief.dial(alice)
    stream.send(method="osmosis.net.connect", params={}, id=1)
    assert not stream.is_open
    assert [] == stream.messages


@case("heartbeat spoofing", "CANDIDATES_MAX")
def test_a_spoofed_address_costs_one_dial_and_no_more() -> None:
    """Copies of a real heartbeat from elsewhere are further candidates besides the real one."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    bob.crash()
    alice.crash()
    copy = RawPeer(world, "10.0.6.6")
    copy.keys, copy.peer_id = bob.keys, bob.peer_id
    bob.restart()
    alice.restart()
    for number in range(20):
        copy.ip_address = f"10.0.6.{number}"
        copy.appear_to(alice)
    world.connect(alice, bob)


@case("malformed messages", "HEARTBEAT_BYTES_MAX")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05\x4d\x05\x15",
        bytes(71),
        b"\x05\x4d\x05\x15" + bytes(67),
        b"\x05\x4d\x05\x15" + b"\xff" * 400,
        b"\x05\x4d\x05\x15" + b"\xff" * 322,
    ],
    ids=["empty", "magic only", "zeros", "weak key", "too long", "bad name"],
)
def test_what_is_no_heartbeat_is_dropped(data: bytes) -> None:
    """Nothing is sent, nobody appears."""
    world = PeerWorld()
    alice = world.add_peer("Alice")
    answers = answers_of(world)
    world.datagram(alice, data, ("10.0.6.6", 50_000))
    assert [] == alice.machine.peers()
    assert [] == answers


@case("heartbeat spoofing")
def test_heartbeats_of_other_apps_and_our_own_are_dropped() -> None:
    """Only others with the same app id are peers."""
    world = PeerWorld()
    alice, stranger = world.add_peer("Alice"), RawPeer(world)
    app_id, world.app_id = world.app_id, world.random_bytes(16)
    foreign = stranger.heartbeat()
    world.app_id = app_id
    world.datagram(alice, foreign, ("10.0.6.6", 50_000))
    stranger.peer_id, stranger.keys = alice.peer_id, alice.keys
    stranger.appear_to(alice)
    assert [] == alice.machine.peers()


@case("answer storms")
def test_two_hidden_peers_do_not_answer_each_other_for_ever() -> None:
    """Hidden peers live by answers; an answer to an answer must end somewhere."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    for peer in (alice, bob):
        peer.crash()
        peer.options.update(visible_to_peers=False, sync_enabled=False)
        peer.restart()
    answers = answers_of(world)
    world.run(600.0)
    assert alice.sees(bob)
    assert len(answers) < 120
