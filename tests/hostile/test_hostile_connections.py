"""Strangers who race for a connection, and paired devices that have gone mad on theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cytosol.crypto.keys import make_key_pair
from cytosol.crypto.primitives import seal, shared_key
from cytosol.limits import (
    FRAME_BYTES_MAX,
    PAIRINGS_MAX,
    PAIRINGS_OF_ONE_MAX,
    UNPACKED_BYTES_MAX,
)
from cytosol.model.ids import format_id
from cytosol.protocol.events import PeerConnected, PeerDisconnected, Unpaired
from cytosol.wire.compression import Compressor
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION
from tests.hostile.cases import case
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.peer_machines import PeerWorld, SimPeer


@pytest.fixture
def mallory(world: PeerWorld, alice: SimPeer) -> RawPeer:
    """A device that Alice is paired with, driven by hand."""
    mallory = RawPeer(world)
    mallory.pair_with(alice)
    return mallory


def check_alive(world: PeerWorld, alice: SimPeer) -> None:
    """Check that others still can sync with Alice."""
    bob = world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    alice.write()
    world.run(1.0)
    assert alice.replica.counts == bob.replica.counts


def test_a_raw_peer_can_connect(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """The tests below differ from this one in one point each."""
    stream = mallory.connect(alice)
    assert 1 == len(alice.told(PeerConnected))
    assert ["osmosis.net.sharePeers"] == [each["method"] for each in stream.messages[:1]]
    answer = stream.call("cytosol.net.ping", {})
    assert answer is not None
    assert {} == answer["result"]


@case("half-open floods", "key swap")
def test_strangers_at_the_port_do_not_keep_the_peer_out(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The listener stays until the first frame that opens, whoever comes before."""
    port, fresh, their_key = mallory.ask_to_connect(alice)
    squatter = world.dial_raw(alice, "10.0.6.1", port)
    liar = world.dial_raw(alice, "10.0.6.2", port)
    world.send_raw(liar, mallory.peer_id + (60).to_bytes(4, "big") + world.random_bytes(84))
    other = world.dial_raw(alice, "10.0.6.3", port)
    world.send_raw(other, world.random_bytes(16))
    world.run(0.1)
    assert (True, False, False) == (squatter.is_open, liar.is_open, other.is_open)
    assert alice.peer_id == bytes(liar.received)
    assert [] == alice.told(PeerConnected)
    stream = RawStream(
        world,
        world.dial_raw(alice, mallory.ip_address, port),
        shared_key(fresh.secret, their_key),
        CONNECTION,
        world.random_bytes(16),
    )
    stream.send_bytes(mallory.peer_id)
    stream.send(method="osmosis.net.sharePeers", params=[])
    assert 1 == len(alice.told(PeerConnected))
    world.run(0.1)
    assert not squatter.is_open
    assert port not in alice.listeners


@case("half-open floods", "FIRST_FRAME_TIMEOUT_S")
def test_a_listener_closes_when_nobody_comes(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Five seconds, also for who only sits there."""
    port, _, _ = mallory.ask_to_connect(alice)
    squatter = world.dial_raw(alice, "10.0.6.1", port)
    world.run(5.2)
    assert port not in alice.listeners
    assert not squatter.is_open


@case("replayed frames")
def test_old_keys_open_nothing(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """A frame recorded from one connection is garbage on the next."""
    first = mallory.connect(alice)
    recorded = first.sent[0]
    port, _, _ = mallory.ask_to_connect(alice)
    end = world.dial_raw(alice, mallory.ip_address, port)
    world.send_raw(end, mallory.peer_id + recorded)
    world.run(0.1)
    assert not end.is_open
    assert 1 == len(alice.told(PeerConnected))
    assert first.is_open


@case("call floods")
def test_many_calls_leave_one_listener(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """Each call for a connection replaces the one before."""
    for _ in range(50):
        mallory.ask_to_connect(alice)
    assert 2 == len(alice.listeners)


@case("call floods")
def test_a_newer_connection_replaces_the_older(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """One connection per pair of peers."""
    first = mallory.connect(alice)
    second = mallory.connect(alice)
    first.settle()
    assert (False, True) == (first.is_open, second.is_open)
    assert 1 == alice.connections()


@case("remote unpairing")
def test_unpairing_needs_an_authentic_frame(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Neither a stranger, nor a replay, nor another paired device can unpair a device."""
    stream = mallory.connect(alice)
    frame = stream.sealer.seal(
        json.dumps(
            {"jsonrpc": "2.0", "method": "osmosis.net.unpair", "params": {}, "id": 1}
        ).encode()
    )
    other = RawPeer(world, "10.0.9.2")
    other.pair_with(alice)
    wrong_stream = other.connect(alice)
    wrong_stream.send_bytes(frame)
    assert not wrong_stream.is_open
    assert {mallory.peer_id, other.peer_id} == set(alice.pairings.paired())
    stream.send_bytes(frame)
    assert {other.peer_id} == set(alice.pairings.paired())
    assert [mallory.id] == [each.peer_id for each in alice.told(Unpaired)]


@case("coming back")
def test_an_unpaired_device_does_not_come_back(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Not by calling, and not because another device names it, with whatever time."""
    stream = mallory.connect(alice)
    alice.command("unpair", mallory.id)
    world.run(3.0)
    assert not stream.is_open
    friend = RawPeer(world, "10.0.9.2")
    friend.pair_with(alice)
    entry = {
        "peerId": mallory.id,
        "peerName": "Mallory",
        "publicKey": encode_base64(mallory.keys.public),
        "sinceMs": 2**50,
    }
    through = friend.connect(alice)
    through.send(method="osmosis.net.sharePeers", params=[entry])
    assert through.is_open
    assert {friend.peer_id} == set(alice.pairings.paired())


@case("coming back")
def test_a_last_word_after_unpair_is_not_heard(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Between Unpair and the end of the stream nothing of the device is taken."""
    stream = mallory.connect(alice)
    alice.command("unpair", mallory.id)
    counts = {mallory.peer_id.hex(): 99}
    answer = stream.call("osmosis.sync.liveUpdate", {"counts": counts})
    assert answer is None or "error" in answer
    assert {} == alice.replica.counts


@case("malformed messages", "PAIRINGS_MAX")
@pytest.mark.parametrize(
    "params",
    [
        {},
        [1],
        [{"peerId": "x"}],
        [{"peerId": "0" * 36, "peerName": "x", "publicKey": ""}],
        [{}] * (PAIRINGS_MAX + 1),
    ],
)
def test_malformed_shared_peers_end_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer, params: Any
) -> None:
    """A clean refusal, and nobody else suffers."""
    stream = mallory.connect(alice)
    stream.send(method="osmosis.net.sharePeers", params=params)
    assert not stream.is_open
    assert {mallory.peer_id} == set(alice.pairings.paired())
    check_alive(world, alice)


@case("remote unpairing", "key swap")
def test_shared_peers_cannot_name_us_or_change_a_pinned_key(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Entries for ourselves, the sender, and known devices with other keys are void."""
    stream = mallory.connect(alice)
    friend = RawPeer(world, "10.0.9.2")
    friend.pair_with(alice)
    other_key = encode_base64(make_key_pair(world.random_bytes(32)).public)
    entries = [
        {"peerId": peer_id, "peerName": "x", "publicKey": other_key}
        for peer_id in (alice.id, mallory.id, friend.id)
    ]
    stream.send(method="osmosis.net.sharePeers", params=entries)
    refusals = [{**entry, "refused": True} for entry in entries]
    stream.send(method="osmosis.net.sharePeers", params=refusals)
    assert stream.is_open
    assert {
        mallory.peer_id: mallory.keys.public,
        friend.peer_id: friend.keys.public,
    } == {peer_id: peer.public_key for peer_id, peer in alice.pairings.paired().items()}


@case("invented devices", "PAIRINGS_OF_ONE_MAX")
def test_shared_peers_are_bounded(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """Thousands of invented devices fill the share of whoever invents them and no more."""
    stream = mallory.connect(alice)
    for _ in range(3):
        entries = []
        for _ in range(600):
            key = make_key_pair(world.random_bytes(32)).public
            entries.append(
                {
                    "peerId": format_id(world.random_bytes(16)),
                    "peerName": "x",
                    "publicKey": encode_base64(key),
                }
            )
        stream.send(method="osmosis.net.sharePeers", params=entries)
        refusals = [
            {**entry, "refused": True, "peerId": format_id(world.random_bytes(16))}
            for entry in entries[:200]
        ]
        stream.send(method="osmosis.net.sharePeers", params=refusals)
    assert stream.is_open
    assert PAIRINGS_OF_ONE_MAX == len(alice.pairings.paired()) - 1  # the one is Mallory
    assert PAIRINGS_OF_ONE_MAX == len(alice.pairings.refused())


@case("malformed messages")
def test_unknown_methods_are_refused_and_unknown_notifications_ignored(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Later versions may say more than we know."""
    stream = mallory.connect(alice)
    answer = stream.call("osmosis.net.connect", {})
    assert answer is not None
    assert -32601 == answer["error"]["code"]
    stream.send(method="cytosol.future.thing", params={})
    assert stream.is_open


@case("oversize frames", "tiny frames", "FRAME_BYTES_MAX")
@pytest.mark.parametrize(
    "length", [FRAME_BYTES_MAX + 1, -FRAME_BYTES_MAX - 1, 2**31 - 1, -(2**31), 0, -1, 15]
)
def test_frames_of_impossible_length_end_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer, length: int
) -> None:
    """By the head alone; a proved peer is told why."""
    stream = mallory.connect(alice)
    stream.send_bytes(length.to_bytes(4, "big", signed=True))
    assert not stream.is_open
    assert stream.messages[-1]["error"]["code"] in (-32000, -32003)
    assert 1 == len(alice.told(PeerDisconnected))
    check_alive(world, alice)


@case("compression bombs", "UNPACKED_BYTES_MAX", "RPC_MESSAGE_BYTES_MAX")
def test_a_compression_bomb_is_not_unpacked(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """A small frame that claims more than 64 MiB is refused by its head."""
    stream = mallory.connect(alice)
    bomb = Compressor().compress(bytes(UNPACKED_BYTES_MAX + 1))
    assert len(bomb) < 64 * 1024
    sealer = stream.sealer
    nonce = sealer._prefix + (1_000).to_bytes(8, "big")
    body = seal(sealer._key, nonce, bomb)
    stream.send_bytes((-len(body)).to_bytes(4, "big", signed=True) + nonce + body)
    assert not stream.is_open
    assert -32003 == stream.messages[-1]["error"]["code"]


@case("compression bombs")
def test_a_frame_that_does_not_unpack_ends_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """-32001."""
    stream = mallory.connect(alice)
    sealer = stream.sealer
    nonce = sealer._prefix + (1_000).to_bytes(8, "big")
    body = seal(sealer._key, nonce, b"this is not zstandard")
    stream.send_bytes((-len(body)).to_bytes(4, "big", signed=True) + nonce + body)
    assert not stream.is_open
    assert -32001 == stream.messages[-1]["error"]["code"]


@case("call floods")
def test_answers_to_calls_never_made_end_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """An honest peer answers what it was asked."""
    stream = mallory.connect(alice)
    stream.send(id=2**40, result={})
    assert not stream.is_open


@case("call floods")
def test_one_id_for_two_calls_ends_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """While the first is not answered; Alice's sync keeps it waiting here."""
    stream = mallory.connect(alice)
    alice.syncs[-1].receive_request = lambda *args: None
    stream.send(method="osmosis.sync.liveUpdate", params={}, id=5)
    assert stream.is_open
    stream.send(method="osmosis.sync.liveUpdate", params={}, id=5)
    assert not stream.is_open


@case("call floods", "CALLS_WAITING_MAX")
def test_calls_that_pile_up_end_the_connection(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """1,024 may wait for an answer."""
    stream = mallory.connect(alice)
    alice.syncs[-1].receive_request = lambda *args: None
    data = b"".join(
        stream.sealer.seal(
            json.dumps(
                {"jsonrpc": "2.0", "method": "osmosis.sync.liveUpdate", "params": {}, "id": call_id}
            ).encode()
        )
        for call_id in range(1_025)
    )
    stream.send_bytes(data)
    assert not stream.is_open


@case("slow senders", "KEEP_ALIVE_TIMEOUT_S", "CALL_TIMEOUT_S")
def test_a_silent_peer_is_pinged_and_then_given_up(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Who does not answer is gone within 20 seconds; who answers may be silent otherwise."""
    stream = mallory.connect(alice)
    since = world.now
    world.run_until(lambda: not stream.is_open)
    assert world.now - since <= 20.0
    stream = mallory.connect(alice)
    stream.stay(60.0)
    assert stream.is_open


def test_a_call_while_syncing_is_off_is_refused(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """204: try later."""
    alice.command("set_sync_enabled", False)
    stream = mallory.dial(alice)
    params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
    answer = stream.call("osmosis.net.connect", params)
    assert answer is not None
    assert 204 == answer["error"]["code"]


@case("malformed messages", "GATEWAY_PORT_MIN")
def test_a_responder_with_a_bad_answer_is_tried_later(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Privileged ports, weak keys, missing fields: nothing is dialled."""
    mallory.open_gateway()
    mallory.appear_to(alice)
    for result in ({}, {"port": 22, "publicKey": encode_base64(mallory.keys.public)}):
        world.run_until(lambda: bool(world.raw_hosts[mallory.ip_address]))
        stream = mallory.take_caller(alice)
        call = stream.messages[-1]
        assert "osmosis.net.connect" == call["method"]
        stream.send(id=call["id"], result=result)
        assert not stream.is_open
    assert [] == alice.told(PeerConnected)


@case("malformed messages", "slow senders")
def test_a_gateway_that_misbehaves_is_left(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """No greeting, a broken one, two of them, a request, or another id than was dialled."""
    mallory.open_gateway()
    mallory.appear_to(alice)

    def next_stream(*, greet: bool) -> RawStream:
        world.run_until(lambda: bool(world.raw_hosts[mallory.ip_address]))
        return mallory.take_caller(alice, greet=greet)

    silent = next_stream(greet=False)
    world.run_until(lambda: not silent.is_open, 6.0)
    for message in (
        {"method": "cytosol.net.hello", "params": {}},
        {"method": "something.else", "params": {}},
        {"method": "osmosis.net.connect", "params": {}, "id": 1},
    ):
        stream = next_stream(greet=False)
        stream.send(**message)
        assert not stream.is_open
    twice = next_stream(greet=True)
    twice.send(method="cytosol.net.hello", params={"challenge": encode_base64(bytes(16))})
    assert not twice.is_open
    mallory.peer_id, honest_id = world.random_bytes(16), mallory.peer_id
    stream = next_stream(greet=False)
    assert not stream.is_open
    mallory.peer_id = honest_id
    assert [] == alice.told(PeerConnected)
