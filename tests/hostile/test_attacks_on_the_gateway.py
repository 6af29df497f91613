"""Attacks by strangers on the gateway of a real process; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import json
import os
import socket
import struct

from cytosol.crypto.primitives import shared_key
from cytosol.limits import (
    GATEWAY_FRAME_BYTES_MAX,
    HALF_OPEN_MAX,
    HALF_OPEN_PER_ADDRESS_MAX,
    RPC_ID_LENGTH_MAX,
    RPC_METHOD_LENGTH_MAX,
)
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION, GATEWAY, Sealer
from tests.hostile.cases import case
from tests.hostile.real_devices import Field, Wire

CONNECT = "osmosis.net.connect"


def head(length: int) -> bytes:
    """Return the length of a frame."""
    return length.to_bytes(4, "big", signed=True)


# --- Connections that prove nothing -----------------------------------------------------------


@case("half-open floods", "HALF_OPEN_PER_ADDRESS_MAX")
def test_one_address_opens_dozens_of_streams(field: Field) -> None:
    """Half-open floods: of 40 silent streams of one address at most four are kept."""
    stranger = field.stranger(heard=False)
    streams = [field.connect_to(stranger.ip_address, field.victim.port) for _ in range(40)]
    other = field.stranger()
    other.dial().close()  # by now all before has been looked at
    assert count_kept(streams) <= HALF_OPEN_PER_ADDRESS_MAX


def count_kept(streams: list[socket.socket]) -> int:
    """Close streams and return how many the victim had left open."""
    kept = 0
    for stream in streams:
        stream.settimeout(0.01)
        try:
            stream.recv(1)
        except TimeoutError:
            kept += 1
        except OSError:
            pass
        stream.close()
    return kept


@case("half-open floods", "HALF_OPEN_MAX")
def test_thirty_addresses_open_streams(field: Field) -> None:
    """Half-open floods: 60 streams of 30 addresses, and a stranger who speaks gets through."""
    streams = []
    for _ in range(30):
        address = field.stranger(heard=False).ip_address
        streams += [field.connect_to(address, field.victim.port) for _ in range(2)]
    stranger = field.stranger()
    wire = stranger.dial()
    answer = stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
    assert answer is not None
    assert count_kept(streams) <= HALF_OPEN_MAX


@case("half-open floods")
def test_streams_that_are_reset_at_once(field: Field) -> None:
    """Half-open floods: 60 connections that end with RST leave nothing behind."""
    stranger = field.stranger(heard=False)
    for number in range(60):
        stream = field.connect_to(stranger.ip_address, field.victim.port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if number % 2:
            stream.sendall(stranger.peer_id)
        stream.close()
    stranger.appear()
    stranger.dial().close()


@case("slow senders", "FIRST_FRAME_TIMEOUT_S", "truncated frames")
def test_streams_that_drip(field: Field) -> None:
    """Slow senders: frames that come byte by byte are closed by the one who waits for them."""
    stranger = field.stranger()
    wires = [stranger.dial() for _ in range(4)]
    frame = wires[0].sealer.seal(b"x" * 60_000)
    at = 0
    while any(not wire.is_closed for wire in wires):
        for wire in wires:
            wire.send_bytes(frame[at : at + 1])
            wire.read(0.05)
        at += 1
        assert at < len(frame)


@case("call floods")
def test_authentic_streams_that_want_nothing(field: Field) -> None:
    """Call floods: one peer that hoards sessions on the gateway has four at most."""
    stranger = field.stranger()
    wires = []
    for _ in range(30):
        wire = stranger.dial()
        stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
        wires.append(wire)
    closed = 0
    for wire in wires:
        wire.read(0.02)
        closed += wire.is_closed
    assert closed >= 26


# --- Frames -----------------------------------------------------------------------------------


@case("oversize frames", "GATEWAY_FRAME_BYTES_MAX")
def test_frames_that_announce_too_much(field: Field) -> None:
    """Oversize frames: closed by the head alone, whatever follows."""
    stranger = field.stranger()
    for length in (GATEWAY_FRAME_BYTES_MAX + 1, 2**24, 2**31 - 1) * 2:
        wire = stranger.dial()
        wire.send_bytes(head(length) + os.urandom(300_000))
        wire.wait_closed()


@case("negative frames", "compression bombs")
def test_compressed_frames_on_the_gateway(field: Field) -> None:
    """Negative frames: compression is refused on the gateway, though the frame is authentic."""
    stranger = field.stranger()
    for length in (-40, -60_000, -(2**31)):
        wire = stranger.dial()
        wire.send_bytes(head(length))
        wire.wait_closed()
    wire = stranger.dial()
    wire.send_bytes(Sealer(wire.key, os.urandom(16), CONNECTION).seal(b"x" * 2**22))
    wire.wait_closed()


@case("tiny frames")
def test_frames_without_room_for_a_mac(field: Field) -> None:
    """Tiny frames: 0 to 15 bytes are no frame."""
    stranger = field.stranger()
    for length in range(-15, 16):
        wire = stranger.dial()
        wire.send_bytes(head(length) + os.urandom(64))
        wire.wait_closed()


@case("truncated frames")
def test_frames_that_end_in_the_middle(field: Field) -> None:
    """Truncated frames: the end of the stream is the end, wherever it comes."""
    stranger = field.stranger()
    for number in range(60):
        wire = stranger.dial()
        frame = wire.sealer.seal(b'{"jsonrpc":"2.0","method":"x","id":1}')
        wire.send_bytes(frame[: 1 + number % (len(frame) - 1)])
        wire.close()


@case("malformed messages")
def test_garbage_of_all_sizes(field: Field) -> None:
    """Malformed frames: random bytes prove nothing, and get no answer."""
    stranger = field.stranger()
    for size in (0, 1, 15, 16, 100, 4_000, 60_000) * 4:
        wire = stranger.dial()
        known = len(wire.raw)
        wire.send_bytes(head(16 + size) + os.urandom(24 + 16 + size))
        wire.wait_closed()
        assert known == len(wire.raw)


@case("replayed frames", "recorded requests")
def test_recorded_requests_on_new_streams(field: Field) -> None:
    """Recorded requests: without the stream's own challenge they ask for nothing."""
    stranger = field.stranger()
    wire = stranger.dial()
    stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
    recorded = wire.sent[0]
    for _ in range(20):
        again = stranger.dial()
        again.send_bytes(recorded)
        again.wait_closed()
        assert all("result" not in message for message in again.messages)


@case("replayed frames", "nonces")
def test_frames_sent_twice_on_one_stream(field: Field) -> None:
    """Replayed frames: the counter of the nonce must grow."""
    stranger = field.stranger()
    for _ in range(10):
        wire = stranger.dial()
        stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
        wire.send_bytes(wire.sent[0])
        wire.wait_closed()


@case("reflected frames", "nonces")
def test_the_greeting_is_sent_back(field: Field) -> None:
    """Reflected frames: what carries our own nonce prefix is refused."""
    stranger = field.stranger()
    for _ in range(10):
        wire = stranger.dial()
        wire.send_bytes(bytes(wire.raw[16:]))
        wire.wait_closed()


@case("nonces")
def test_the_prefix_of_our_nonces_is_used(field: Field) -> None:
    """Nonces: an authentic frame under the victim's own prefix is refused as a reflection."""
    stranger = field.stranger()
    for _ in range(10):
        wire = stranger.dial()
        prefix = bytes(wire.raw[16 + 4 : 16 + 4 + 16])
        wire.send_bytes(Sealer(wire.key, prefix, GATEWAY).seal(b'{"jsonrpc":"2.0","method":"x"}'))
        wire.wait_closed()


@case("nonces")
def test_the_prefix_of_nonces_changes_on_the_way(field: Field) -> None:
    """Nonces: one stream has one prefix, even if both are sealed with the right key."""
    stranger = field.stranger()
    for _ in range(10):
        wire = stranger.dial()
        stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
        other = Sealer(wire.key, os.urandom(16), GATEWAY)
        wire.send_bytes(other.seal(b'{"jsonrpc":"2.0","method":"x","id":9}'))
        wire.wait_closed()


@case("key swap")
def test_a_stranger_with_the_id_of_the_paired_device(field: Field) -> None:
    """Key swap: without the pinned key no frame opens, and the witness keeps its connection."""
    thief = field.stranger(heard=False)
    for key in (None, bytes(32), shared_key(thief.keys.secret, field.witness.key)):
        wire = thief.dial(claim=field.witness.peer_id, key=key)
        wire.send(method=CONNECT, params={}, id=1)
        wire.wait_closed()
    assert field.knows(field.victim, field.witness)


@case("reflected frames", "key swap")
def test_a_caller_with_the_id_of_the_victim(field: Field) -> None:
    """Reflected frames: nobody is connected with himself."""
    thief = field.stranger(heard=False)
    for _ in range(10):
        wire = thief.dial(claim=field.victim.peer_id)
        wire.wait_closed()
        assert field.victim.peer_id == bytes(wire.raw)


# --- Messages ---------------------------------------------------------------------------------


def refused(field: Field, texts: list[bytes]) -> None:
    """Send each text on a stream of its own, which must be closed without a result."""
    stranger = field.stranger()
    for text in texts:
        wire = stranger.dial()
        wire.send_text(text)
        wire.wait_closed()
        assert all("result" not in message for message in wire.messages), text[:80]


@case("deep JSON", "DEPTH_MAX")
def test_deep_messages(field: Field) -> None:
    """Deep JSON: 129 levels are too many, thirty thousand as well."""
    call = b'{"jsonrpc":"2.0","method":"x","id":1,"params":'
    refused(
        field,
        [
            call + b"[" * 128 + b"]" * 128 + b"}",
            call + b'{"a":' * 128 + b"1" + b"}" * 129,
            b"[" * 60_000,
            b'{"a":' * 12_000,
            call + b"[" * 30_000 + b"]" * 30_000 + b"}",
        ],
    )


@case("huge JSON")
def test_messages_of_very_many_values(field: Field) -> None:
    """Huge JSON: a gateway frame full of values, and numbers without end."""
    call = b'{"jsonrpc":"2.0","method":"x","id":1,"params":'
    refused(
        field,
        [
            call + b"[" + b"0," * 30_000 + b"0]}",
            call + b"[" + b"[]," * 20_000 + b"0]}",
            call + b"[" + b"9" * 60_000 + b"]}",
            call + b"[1e" + b"9" * 60_000 + b"]}",
            call + b"{" + b",".join(b'"%d":1' % each for each in range(6_000)) + b"}}",
        ],
    )


@case("huge JSON", "RPC_ID_LENGTH_MAX", "RPC_METHOD_LENGTH_MAX")
def test_long_ids_and_names(field: Field) -> None:
    """Huge JSON: an id is echoed and a method is named, so both are short."""
    long_id = "i" * (RPC_ID_LENGTH_MAX + 1)
    long_method = "m" * (RPC_METHOD_LENGTH_MAX + 1)
    refused(
        field,
        [
            json.dumps({"jsonrpc": "2.0", "method": "x", "id": long_id}).encode(),
            json.dumps({"jsonrpc": "2.0", "method": long_method, "id": 1}).encode(),
            json.dumps({"jsonrpc": "2.0", "method": "", "id": 1}).encode(),
            b'{"jsonrpc":"2.0","method":"x","id":' + b"9" * 50_000 + b"}",
        ],
    )


@case("malformed messages")
def test_batches_and_other_shapes(field: Field) -> None:
    """Malformed messages: batches, bare values, wrong versions, repeated keys, broken Unicode."""
    refused(
        field,
        [
            b"[]",
            b'[{"jsonrpc":"2.0","method":"x","id":1}]',
            b"[" + b",".join([b'{"jsonrpc":"2.0","method":"x","id":1}'] * 1_500) + b"]",
            b"null",
            b"7",
            b'""',
            b"",
            b"\xff\xfe\x00",
            b'{"jsonrpc":"2.0","method":"\xed\xa0\x80","id":1}',
            b'{"jsonrpc":"2.0","method":"\\ud800","id":1}',
            b'{"jsonrpc":"1.0","method":"x","id":1}',
            b'{"jsonrpc":"2.0","method":"x","method":"osmosis.net.pair","id":1}',
            b'{"jsonrpc":"2.0","method":"x","params":[NaN,Infinity],"id":1}',
            b'{"jsonrpc":"2.0","method":"x","params":"text","id":1}',
            b'{"jsonrpc":"2.0","method":"x","result":1,"id":1}',
            b'{"jsonrpc":"2.0"}',
        ],
    )


@case("malformed messages")
def test_methods_that_do_not_exist(field: Field) -> None:
    """Malformed messages: unknown methods, and those of other places, are refused by their code."""
    stranger = field.stranger()
    for method in ("x", "__init__", "cytosol.net.ping", "rpc.discover", "osmosis.net.sharePeers"):
        wire = stranger.dial()
        answer = stranger.ask(wire, method)
        assert answer is not None
        assert -32601 == answer["error"]["code"]
        wire.wait_closed()


@case("malformed messages", "call floods")
def test_answers_to_questions_never_asked(field: Field) -> None:
    """Malformed messages: results and errors for invented calls end the stream."""
    refused(
        field,
        [
            b'{"jsonrpc":"2.0","result":{},"id":1}',
            b'{"jsonrpc":"2.0","result":{},"id":"x"}',
            b'{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":99}',
            b'{"jsonrpc":"2.0","error":{"code":1e99,"message":7},"id":1}',
            b'{"jsonrpc":"2.0","method":"osmosis.net.pair","params":{}}',
        ],
    )


@case("unpaired peer")
def test_an_unpaired_peer_asks_for_everything(field: Field) -> None:
    """Unpaired peer: no connection, no method of syncing, no byte of the document."""
    field.victim.ask(
        "dispatch", action={"action": "Set", "path": "$.secret", "payload": "tell-nobody"}
    )
    stranger = field.stranger()
    wire = stranger.dial()
    answer = stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
    assert answer is not None
    assert 202 == answer["error"]["code"]
    for method in ("stateSummary", "sessionUpdate", "findLastSharedHistory", "liveUpdate"):
        other = stranger.dial()
        answer = stranger.ask(other, f"osmosis.sync.{method}", session="x")
        assert answer is not None
        assert -32601 == answer["error"]["code"]
        assert b"tell-nobody" not in other.raw


@case("unpaired peer")
def test_a_caller_who_was_never_heard(field: Field) -> None:
    """Unpaired peer: who sent no heartbeat gets our id, which heartbeats show, and the end."""
    for _ in range(20):
        stranger = field.stranger(heard=False)
        wire = Wire(
            field.connect_to(stranger.ip_address, field.victim.port),
            shared_key(stranger.keys.secret, field.victim.key),
            GATEWAY,
            os.urandom(16),
        )
        wire.send_bytes(stranger.peer_id)
        wire.wait_closed()
        assert field.victim.peer_id == bytes(wire.raw)


@case("remote unpairing", "unpaired peer")
def test_a_stranger_unpairs_others(field: Field) -> None:
    """Remote unpairing: on the gateway there is no such method, whoever asks."""
    stranger = field.stranger()
    for method in ("osmosis.net.unpair", "osmosis.net.sharePeers"):
        wire = stranger.dial()
        refused_entry = {"peerId": field.witness.id, "refused": True}
        answer = stranger.ask(wire, method, peers=[refused_entry])
        assert answer is not None
        assert "error" in answer
    assert field.knows(field.victim, field.witness)


@case("call floods")
def test_the_gateway_is_called_without_end(field: Field) -> None:
    """Call floods: 100 sessions, one after the other, each with its answer."""
    stranger = field.stranger()
    for _ in range(100):
        wire = stranger.dial()
        answer = stranger.ask(wire, CONNECT, publicKey=encode_base64(stranger.keys.public))
        assert answer is not None
        assert 202 == answer["error"]["code"]
        wire.close()
