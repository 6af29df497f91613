"""What callers of the gateway must not do: hold it, crash it, or get anything out of it."""

from __future__ import annotations

import json

import pytest

from cytosol.limits import GATEWAY_FRAME_BYTES_MAX, HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX
from cytosol.protocol.events import PairRequest
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION, GATEWAY, Sealer
from tests.hostile.cases import case
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.peer_machines import PeerWorld, SimPeer


def check_alive(world: PeerWorld, alice: SimPeer) -> None:
    """Check that a new peer can still pair with Alice."""
    bob = world.add_peer("Bob")
    world.pair(alice, bob)
    assert alice.is_paired(bob)


@case("unpaired peer")
def test_an_unknown_caller_gets_our_id_and_no_other_byte(world: PeerWorld, alice: SimPeer) -> None:
    """Who was not heard is closed at once."""
    stream = RawPeer(world, "10.0.9.2").dial(alice)
    assert not stream.is_open
    assert alice.peer_id == bytes(stream.end.received)


@case("reflected frames")
def test_a_caller_with_our_own_id_is_closed(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Nothing of ours can be reflected into a session with ourselves."""
    mallory.peer_id = alice.peer_id
    stream = mallory.dial(alice)
    assert not stream.is_open
    assert alice.peer_id == bytes(stream.end.received)


@case("half-open floods", "HALF_OPEN_PER_ADDRESS_MAX", "FIRST_FRAME_TIMEOUT_S")
def test_an_address_gets_four_half_open_connections(world: PeerWorld, alice: SimPeer) -> None:
    """The fifth is closed at once, the others after five seconds."""
    ends = [world.dial_raw(alice, "10.0.6.6") for _ in range(HALF_OPEN_PER_ADDRESS_MAX + 1)]
    world.run(0.1)
    assert [True] * HALF_OPEN_PER_ADDRESS_MAX + [False] == [end.is_open for end in ends]
    world.run(4.8)
    assert ends[0].is_open
    world.run(0.2)
    assert [False] * len(ends) == [end.is_open for end in ends]
    check_alive(world, alice)


@case("half-open floods", "HALF_OPEN_MAX")
def test_sixteen_half_open_connections_in_all(world: PeerWorld, alice: SimPeer) -> None:
    """A newcomer finds room; the oldest of the greediest address goes."""
    ends = [
        world.dial_raw(alice, f"10.0.6.{number // HALF_OPEN_PER_ADDRESS_MAX}")
        for number in range(HALF_OPEN_MAX)
    ]
    world.run(0.1)
    assert all(end.is_open for end in ends)
    newcomer = world.dial_raw(alice, "10.0.7.7")
    world.run(0.1)
    assert newcomer.is_open
    assert HALF_OPEN_MAX - 1 == sum(end.is_open for end in ends)
    check_alive(world, alice)


@case("slow senders", "FIRST_FRAME_TIMEOUT_S")
def test_slow_senders_have_five_seconds(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """A byte now and then extends nothing."""
    stream = mallory.dial(alice)
    params = mallory.params(stream)
    frame = stream.sealer.seal(json.dumps({"jsonrpc": "2.0", "method": "x", **params}).encode())
    for number in range(10):
        if stream.is_open:
            stream.send_bytes(frame[number : number + 1])
        world.run(0.6)
    assert not stream.is_open


@case("call floods")
def test_an_authentic_caller_who_wants_nothing_has_to_go(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Sessions without a request end, and one peer has four at most."""
    streams = []
    for _ in range(6):
        stream = mallory.dial(alice)
        assert stream.call("nonsense", mallory.params(stream)) is not None
        assert not stream.is_open
        stream = mallory.dial(alice)
        params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
        assert stream.call("osmosis.net.connect", params) is not None
        assert stream.is_open
        streams.append(stream)
    assert 4 == sum(stream.is_open for stream in streams)
    world.run(6.0)
    assert 0 == sum(stream.is_open for stream in streams)


@case("oversize frames", "negative frames", "tiny frames")
@pytest.mark.parametrize(
    "length",
    [GATEWAY_FRAME_BYTES_MAX + 1, 2**31 - 1, -40, -(2**31), 0, 15, -15],
)
def test_frames_of_impossible_length_close_the_stream(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer, length: int
) -> None:
    """Too large, compressed, or without room for the MAC: closed by the head alone."""
    stream = mallory.dial(alice)
    stream.send_bytes(length.to_bytes(4, "big", signed=True))
    assert not stream.is_open
    check_alive(world, alice)


@case("oversize frames", "GATEWAY_FRAME_BYTES_MAX")
def test_the_largest_frame_is_taken_and_one_byte_more_is_not(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """64 KiB is the bound of a gateway frame, MAC included."""
    room = GATEWAY_FRAME_BYTES_MAX - 16
    stream = mallory.dial(alice)
    text = json.dumps({"jsonrpc": "2.0", "method": "x", "id": 7, "params": {"p": ""}})
    text = text.replace('""', '"' + "x" * (room - len(text)) + '"')
    assert room == len(text)
    stream.send_text(text.encode())
    answer = stream.answer()
    assert answer is not None
    assert -32601 == answer["error"]["code"]


@case("truncated frames")
def test_a_truncated_frame_is_waited_for_and_then_given_up(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The end of the stream in the middle of a frame is just the end."""
    stream = mallory.dial(alice)
    stream.send_bytes(stream.sealer.seal(b"{}")[:-3])
    assert stream.is_open
    stream.close()
    check_alive(world, alice)


@case("malformed messages")
def test_garbage_is_closed_without_an_answer(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Who has proved nothing is told nothing."""
    stream = mallory.dial(alice)
    known = len(stream.end.received)
    stream.send_bytes((60).to_bytes(4, "big") + world.random_bytes(84))
    assert not stream.is_open
    assert known == len(stream.end.received)


@case("replayed frames", "recorded requests")
def test_recorded_frames_cannot_be_replayed(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """On a new stream the old challenge is wrong, on the same one the nonce is old."""
    stream = mallory.dial(alice)
    params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
    stream.call("osmosis.net.connect", params)
    recorded = stream.sent[0]
    stream.send_bytes(recorded)
    assert not stream.is_open
    again = mallory.dial(alice)
    again.send_bytes(recorded)
    answer = again.answer()
    assert answer is not None
    assert "challenge" in answer["error"]["message"]
    assert not again.is_open


@case("reflected frames")
def test_reflected_frames_are_refused(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """Alice's own greeting, sent back to her, proves nothing."""
    stream = mallory.dial(alice)
    greeting = bytes(stream.end.received[16:])
    stream.send_bytes(greeting)
    assert not stream.is_open
    assert 1 == len(stream.messages)


@case("replayed frames", "nonces")
def test_frames_out_of_order_are_refused(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """A counter that goes back closes the stream."""
    stream = mallory.dial(alice)
    public_key = encode_base64(mallory.keys.public)
    first, second = (
        stream.sealer.seal(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "method": "osmosis.net.connect",
                    "params": mallory.params(stream, publicKey=public_key),
                    "id": call_id,
                }
            ).encode()
        )
        for call_id in (1, 2)
    )
    stream.send_bytes(second)
    assert stream.is_open
    stream.send_bytes(first)
    assert not stream.is_open
    assert stream.answer(1) is None


@case("recorded requests")
def test_a_request_without_the_challenge_is_refused(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Every request on the gateway carries it."""
    stream = mallory.dial(alice)
    params = {"publicKey": encode_base64(mallory.keys.public)}
    answer = stream.call("osmosis.net.connect", params)
    assert answer is not None
    assert -32602 == answer["error"]["code"]
    assert not stream.is_open


@case("unpaired peer")
def test_an_unpaired_peer_gets_no_connection_and_no_data(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """202 to connect; methods of a connection do not exist on the gateway."""
    alice.write()
    stream = mallory.dial(alice)
    params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
    answer = stream.call("osmosis.net.connect", params)
    assert answer is not None
    assert 202 == answer["error"]["code"]
    for number, method in enumerate(
        ("osmosis.sync.stateSummary", "osmosis.sync.liveUpdate", "osmosis.net.unpair", "x")
    ):
        stream = mallory.dial(alice)
        answer = stream.call(method, mallory.params(stream), number)
        assert answer is not None
        assert -32601 == answer["error"]["code"]
        assert not stream.is_open


@case("unpaired peer")
def test_who_was_not_heard_lately_is_told_so(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """201 when the heartbeat has expired between greeting and request."""
    world.run(178.0)
    stream = mallory.dial(alice)
    world.run(3.0)
    params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
    answer = stream.call("osmosis.net.connect", params)
    assert answer is not None
    assert 201 == answer["error"]["code"]


@case("coming back")
def test_a_refused_device_is_told_that_it_was_unpaired(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Its own code, so that it stops calling; and still no data."""
    mallory.pair_with(alice)
    alice.command("unpair", mallory.id)
    stream = mallory.dial(alice)
    params = mallory.params(stream, publicKey=encode_base64(mallory.keys.public))
    answer = stream.call("osmosis.net.connect", params)
    assert answer is not None
    assert 203 == answer["error"]["code"]


@case("deep JSON", "malformed messages", "DEPTH_MAX")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 60_000,
        b'{"jsonrpc":"2.0","method":"x","id":1,"params":' + b"[" * 129 + b"]" * 129 + b"}",
        b'{"jsonrpc":"1.0","method":"x","id":1}',
        b'{"jsonrpc":"2.0","method":7,"id":1}',
        b'{"jsonrpc":"2.0","method":"x","id":[1]}',
        b'{"jsonrpc":"2.0","result":1,"id":12345}',
        b'{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":"y"}',
        b'{"jsonrpc":"2.0","method":"x","id":1e400}',
        b'{"jsonrpc":"2.0","method":"x","params":{"a":NaN},"id":1}',
        b'[{"jsonrpc":"2.0","method":"x","id":1}]',
    ],
)
def test_what_is_no_message_is_refused(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer, text: bytes
) -> None:
    """Deep, broken, or of another shape: an error at most, and the end."""
    stream = mallory.dial(alice)
    stream.send_text(text)
    assert not stream.is_open
    check_alive(world, alice)


@case("malformed messages")
def test_notifications_do_not_belong_on_the_gateway(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Callers ask; they do not announce."""
    stream = mallory.dial(alice)
    stream.send(method="osmosis.net.pair", params=mallory.params(stream))
    assert not stream.is_open
    assert [] == alice.told(PairRequest)


@case("negative frames", "compression bombs")
def test_a_compressed_frame_is_refused_on_the_gateway(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Its content is never unpacked, though it is authentic."""
    stream = mallory.dial(alice)
    compressing = Sealer(stream.sealer._key, world.random_bytes(16), CONNECTION)
    stream.send_bytes(compressing.seal(b"x" * 10_000))
    assert not stream.is_open


@case("unpaired peer")
def test_a_hidden_peer_greets_no_stranger(world: PeerWorld, alice: SimPeer) -> None:
    """visible_to_peers=False: who is not paired learns nothing on the gateway either."""
    alice.command("set_visible", False)
    mallory = RawPeer(world)
    mallory.appear_to(alice)
    stream = mallory.dial(alice)
    assert not stream.is_open
    assert [] == stream.messages


@case("malformed messages")
def test_streams_between_strangers_share_nothing(world: PeerWorld, alice: SimPeer) -> None:
    """One broken caller does not end the session of another."""
    honest, broken = RawPeer(world, "10.0.9.3"), RawPeer(world, "10.0.9.4")
    for peer in (honest, broken):
        peer.appear_to(alice)
    good: RawStream = honest.dial(alice)
    bad = broken.dial(alice)
    bad.send_bytes(b"\x00" * 64)
    assert not bad.is_open
    params = honest.params(good, publicKey=encode_base64(honest.keys.public))
    assert good.call("osmosis.net.connect", params) is not None


@case("key swap")
def test_sealing_with_another_key_proves_nothing(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """A frame under a key of one's own choice is garbage."""
    stream = mallory.dial(alice)
    forged = Sealer(bytes(32), world.random_bytes(16), GATEWAY)
    stream.send_bytes(forged.seal(b'{"jsonrpc":"2.0","method":"x","id":1}'))
    assert not stream.is_open
