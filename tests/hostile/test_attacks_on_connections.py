"""Paired devices gone mad, connected to a real process; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import json
import os
import struct

from cytosol.crypto.keys import make_key_pair
from cytosol.crypto.primitives import seal
from cytosol.limits import (
    CALLS_WAITING_MAX,
    FRAME_BYTES_MAX,
    GRAPH_PIECE_LENGTH_MAX,
    GRAPH_PIECES_WAITING_MAX,
    PAIRINGS_OF_ONE_MAX,
    RPC_MESSAGE_BYTES_MAX,
    RPC_VALUES_MAX,
    UNPACKED_BYTES_MAX,
)
from cytosol.model.ids import format_id
from cytosol.model.packed import zstd
from cytosol.wire.compression import Compressor
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION, FramingLimits, Sealer
from tests.hostile.cases import case
from tests.hostile.real_devices import Field, Wire

PING = "cytosol.net.ping"


def send_packed(wire: Wire, packed: bytes, number: int = 10_000) -> None:
    """Seal bytes as they are and call them compressed."""
    nonce = wire.prefix + number.to_bytes(8, "big")
    body = seal(wire.key, nonce, packed)
    wire.send_bytes(struct.pack(">i", -len(body)) + nonce + body)


def compressed(content: bytes) -> bytes:
    """Return a frame of zstandard with its content size."""
    return Compressor().compress(content)


# --- Frames -----------------------------------------------------------------------------------


@case("oversize frames", "FRAME_BYTES_MAX")
def test_a_paired_device_announces_too_much(field: Field) -> None:
    """Oversize frames: more than 16 MiB is refused by the head, with the reason."""
    mallory = field.paired()
    for length in (FRAME_BYTES_MAX + 1, -FRAME_BYTES_MAX - 1, 2**31 - 1, -(2**31)):
        wire = mallory.connect()
        wire.send_bytes(struct.pack(">i", length))
        wire.wait_closed()
        assert wire.refusals()[-1] in (-32003, -32000)


@case("tiny frames", "negative frames")
def test_a_paired_device_sends_frames_without_mac(field: Field) -> None:
    """Tiny frames: also of a paired device they are no frames."""
    mallory = field.paired()
    for length in (0, 1, 15, -1, -15):
        wire = mallory.connect()
        wire.send_bytes(struct.pack(">i", length) + bytes(64))
        wire.wait_closed()


@case("truncated frames", "slow senders", "oversize frames")
def test_a_frame_of_sixteen_megabytes_that_never_ends(field: Field) -> None:
    """Truncated frames: memory grows with what has come, and the rest is waited for politely."""
    wires = [field.paired().connect() for _ in range(3)]
    for wire in wires:
        wire.send_bytes(struct.pack(">i", FRAME_BYTES_MAX) + bytes(24))
        for _ in range(8):
            wire.send_bytes(bytes(128 * 1024))
    for wire in wires:
        wire.close()


@case("oversize frames", "FRAME_BYTES_MAX")
def test_a_frame_of_the_greatest_size(field: Field) -> None:
    """Oversize frames: 16 MiB of one meaningless string are taken, refused and forgotten."""
    text = b'{"jsonrpc":"2.0","method":"x","id":1,"params":["' + b"x" * (FRAME_BYTES_MAX - 80)
    wire = field.paired().connect()
    plain = FramingLimits(FRAME_BYTES_MAX, FRAME_BYTES_MAX, False)
    sealer = Sealer(wire.key, wire.prefix, plain)
    sealer.seal(b"{}")  # the first number was used by the first frame
    wire.send_bytes(sealer.seal(text + b'"]}'))
    answer = wire.wait_for(lambda message: "error" in message)
    assert answer is None or answer["error"]["code"] in (-32601, -32600, -32003)


@case("compression bombs", "UNPACKED_BYTES_MAX")
def test_a_bomb_that_says_what_it_is(field: Field) -> None:
    """Compression bombs: a frame that announces more than 64 MiB is refused by its head."""
    mallory = field.paired()
    bomb = compressed(bytes(UNPACKED_BYTES_MAX + 1))
    for _ in range(3):
        wire = mallory.connect()
        send_packed(wire, bomb)
        wire.wait_closed()
        assert -32003 == wire.refusals()[-1]


@case("compression bombs", "UNPACKED_BYTES_MAX")
def test_a_bomb_that_lies_about_its_size(field: Field) -> None:
    """Compression bombs: no size, a smaller one, several frames, garbage."""
    mallory = field.paired()
    without_size = zstd.ZstdCompressor(
        options={int(zstd.CompressionParameter.content_size_flag): 0}
    )
    bombs = [
        without_size.compress(bytes(2**28)) + without_size.flush(),
        compressed(b"{}") * 1_000,
        compressed(bytes(5_000))[:-3],
        b"\x28\xb5\x2f\xfd" + os.urandom(500),
        b"",
    ]
    for bomb in bombs:
        wire = mallory.connect()
        send_packed(wire, bomb)
        wire.wait_closed()
        assert wire.refusals()[-1] in (-32001, -32003)


@case("compression bombs", "RPC_PLAIN_ABOVE_BYTES", "RPC_MESSAGE_BYTES_MAX", "huge JSON")
def test_bombs_just_within_the_bound(field: Field) -> None:
    """Compression bombs: 21 MiB and 63 MiB of spaces, of one string, of zeros."""
    start = b'{"jsonrpc":"2.0","method":"x","id":1,"params":'
    for size in (RPC_MESSAGE_BYTES_MAX - 2**20, UNPACKED_BYTES_MAX - 2**20):
        for content in (
            b" " * size,
            start + b'["' + b"x" * (size - 60) + b'"]}',
            start + b'["' + "é".encode() * (size // 2 - 40) + "💻".encode() + b'"]}',
            bytes(size),
        ):
            wire = field.paired().connect()
            send_packed(wire, compressed(content))
            wire.call(PING, {})
            wire.close()


# --- JSON -------------------------------------------------------------------------------------


@case("deep JSON", "DEPTH_MAX", "compression bombs")
def test_millions_of_brackets(field: Field) -> None:
    """Deep JSON: a small frame with millions of levels is refused before anything is built."""
    for content in (b"[" * 2**24, b'{"a":' * 2**21, b"[" * 2**20 + b"]" * 2**20):
        wire = field.paired().connect()
        send_packed(wire, compressed(content))
        wire.wait_closed()


@case("huge JSON", "RPC_VALUES_MAX", "compression bombs")
def test_millions_of_values(field: Field) -> None:
    """Huge JSON: small frames with as many values as are taken, and with more."""
    start = b'{"jsonrpc":"2.0","method":"x","id":1,"params":['
    for value in (b"0", b"[]", b'{"a":{}}', b'"\xc3\xa9"'):
        for count in (RPC_VALUES_MAX // 3, 2 * RPC_VALUES_MAX):
            wire = field.paired().connect()
            text = start + (value + b",") * count + b"0]}"
            send_packed(wire, compressed(text[: UNPACKED_BYTES_MAX - 10]))
            wire.call(PING, {})
            wire.close()


@case("huge JSON")
def test_objects_with_very_many_keys(field: Field) -> None:
    """Huge JSON: keys that collide, keys that repeat, keys of a megabyte."""
    for keys in (
        [f"k{number}" for number in range(100_000)],
        [f"k{number % 7}" for number in range(100_000)],
        ["k" * 2**20, "k" * 2**20 + "l"],
    ):
        wire = field.paired().connect()
        members = ",".join(f'"{key}":0' for key in keys)
        wire.send_text(f'{{"jsonrpc":"2.0","method":"x","id":1,"params":{{{members}}}}}'.encode())
        wire.read_all()
        wire.close()


@case("malformed messages")
def test_a_paired_device_sends_no_messages(field: Field) -> None:
    """Malformed messages: batches, bare values, broken text end the connection, not the service."""
    mallory = field.paired()
    for text in (
        b"",
        b"[]",
        b"7",
        b"\xff",
        b'[{"jsonrpc":"2.0","method":"cytosol.net.ping","id":1}]',
        b'{"jsonrpc":"2.0","method":"cytosol.net.ping","id":{}}',
        b'{"jsonrpc":"2.0","method":"cytosol.net.ping","id":1,"id":2}',
        b'{"jsonrpc":"2.0","method":"cytosol.net.ping","id":1e309}',
    ):
        wire = mallory.connect()
        wire.send_text(text)
        wire.wait_closed()


# --- Nonces -----------------------------------------------------------------------------------


@case("replayed frames", "reflected frames", "nonces")
def test_frames_of_a_connection_again(field: Field) -> None:
    """Replayed frames: again on the same connection, on the next one, and back to their sender."""
    mallory = field.paired()
    first = mallory.connect()
    recorded = first.sent[0]
    first.send_bytes(recorded)
    first.wait_closed()
    second = mallory.connect()
    second.send_bytes(recorded)
    second.wait_closed()
    third = mallory.connect()
    third.send_bytes(bytes(third.raw[16:]))
    third.wait_closed()


@case("nonces")
def test_nonces_that_jump(field: Field) -> None:
    """Nonces: a counter may jump to its end, and then there is nothing after it."""
    mallory = field.paired()
    wire = mallory.connect()
    text = json.dumps({"jsonrpc": "2.0", "method": PING, "params": {}, "id": 1}).encode()
    for counter in (2**64 - 1, 2**63):
        nonce = wire.prefix + counter.to_bytes(8, "big")
        body = seal(wire.key, nonce, text)
        wire.send_bytes(struct.pack(">i", len(body)) + nonce + body)
        if counter == 2**64 - 1:
            assert wire.wait_for(lambda message: message.get("id") == 1) is not None
    wire.wait_closed()


# --- Calls ------------------------------------------------------------------------------------


@case("call floods")
def test_pings_without_end(field: Field) -> None:
    """Call floods: 5,000 pings in one breath are answered or refused, one by one."""
    wire = field.paired().connect()
    frames = [
        wire.sealer.seal(
            json.dumps({"jsonrpc": "2.0", "method": PING, "params": {}, "id": number}).encode()
        )
        for number in range(5_000)
    ]
    wire.send_bytes(b"".join(frames))
    wire.call(PING, {})


@case("call floods")
def test_a_device_that_asks_and_never_reads(field: Field) -> None:
    """Call floods: answers that nobody fetches pile up to a bound, and then the connection ends."""
    wire = field.paired().connect()
    method = "m" * 128
    wire.sock.settimeout(5.0)
    for start in range(0, 12_000, 500):
        frames = [
            wire.sealer.seal(
                json.dumps(
                    {"jsonrpc": "2.0", "method": method, "id": f"{number}" + "i" * 250}
                ).encode()
            )
            for number in range(start, start + 500)
        ]
        try:
            wire.sock.sendall(b"".join(frames))
        except OSError:
            break
    wire.close()


@case("call floods", "CALLS_WAITING_MAX")
def test_one_id_for_many_calls(field: Field) -> None:
    """Call floods: ids of all kinds, the same id again and again, and ids that are no ids."""
    mallory = field.paired()
    wire = mallory.connect()
    for call_id in (0, -1, 2**63, "", "é", "7", 7, 1):
        answer = wire.call("unknown.method", {}, call_id)
        assert answer is not None
    for number in range(2 * CALLS_WAITING_MAX):
        wire.send(method=PING, params={}, id=number % 3)
    wire.call(PING, {})  # answered, or the connection has ended
    assert mallory.connect().call(PING, {}) is not None


@case("call floods", "malformed messages")
def test_answers_flood_a_connection(field: Field) -> None:
    """Call floods: results and errors for calls that were never made, or are long over."""
    for message in (
        {"result": {}, "id": 2**40},
        {"result": {}, "id": "x"},
        {"error": {"code": 1, "message": "x"}, "id": -1},
    ):
        wire = field.paired().connect()
        wire.send(**message)
        wire.wait_closed()
    wire = field.paired().connect()
    for _ in range(3_000):
        wire.send(error={"code": -32700, "message": "x" * 100}, id=None)
    assert wire.call(PING, {}) is not None


@case("call floods")
def test_notifications_without_end(field: Field) -> None:
    """Call floods: 2,000 notifications of methods that do not exist, or end what never began."""
    wire = field.paired().connect()
    for number in range(1_000):
        wire.send(method="cytosol.future.thing", params={"n": number})
        wire.send(method="osmosis.sync.endSession", params={"session": f"none/{number}"})
    assert wire.call(PING, {}) is not None


@case("call floods", "half-open floods")
def test_a_storm_of_reconnections(field: Field) -> None:
    """Call floods: a device that connects 25 times holds one connection in the end."""
    mallory = field.paired()
    wires = [mallory.connect() for _ in range(25)]
    for wire in wires[:-1]:
        wire.wait_closed()
    assert wires[-1].call(PING, {}) is not None


@case("half-open floods", "FIRST_FRAME_TIMEOUT_S")
def test_listeners_that_nobody_comes_to(field: Field) -> None:
    """Half-open floods: 100 calls of `connect` without coming leave one port open at most."""
    mallory = field.paired()
    ports = [mallory.ask_to_connect()[0] for _ in range(100)]
    open_ports = 0
    for port in set(ports):  # a system may give a number that has come free again
        try:
            field.connect_to(mallory.ip_address, port).close()
            open_ports += 1
        except ConnectionError:
            pass
    assert open_ports <= 1


@case("key swap", "half-open floods")
def test_strangers_at_the_port_of_a_connection(field: Field) -> None:
    """Key swap: who comes to the port before the right one takes nothing from it."""
    mallory = field.paired()
    port, key = mallory.ask_to_connect()
    for _ in range(3):
        thief = field.stranger(heard=False)
        sock = field.connect_to(thief.ip_address, port)
        sock.sendall(mallory.peer_id + (60).to_bytes(4, "big") + os.urandom(84))
        sock.close()
    wire = Wire(field.connect_to(mallory.ip_address, port), key, CONNECTION, os.urandom(16))
    wire.send_bytes(mallory.peer_id)
    wire.send(method="osmosis.net.sharePeers", params=[])
    assert wire.call(PING, {}) is not None


@case("call floods", "GRAPH_PIECE_LENGTH_MAX", "GRAPH_PIECES_WAITING_MAX")
def test_messages_of_graphs_that_nobody_listens_to(field: Field) -> None:
    """Call floods: pieces for no channel, too long ones, listeners without end."""
    wire = field.paired().connect()
    for number in range(500):
        wire.send(method="cytosol.graph.listen", params={"channel": number})
        piece = {"channel": 1 + number % 3, "text": "x" * 1_000, "more": True}
        wire.send(method="cytosol.graph.message", params=piece, id=number)
    piece = {"channel": 1, "text": "x" * (GRAPH_PIECE_LENGTH_MAX + 1), "more": False}
    wire.call("cytosol.graph.message", piece)
    many = field.paired().connect()
    for number in range(GRAPH_PIECES_WAITING_MAX + 50):
        many.send(method="cytosol.graph.message", params={**piece, "text": "["}, id=number)
    many.call(PING, {})


# --- Pairings ---------------------------------------------------------------------------------


def entry(**changes: object) -> dict[str, object]:
    """Return an invented device."""
    key = make_key_pair(os.urandom(32)).public
    return {
        "peerId": format_id(os.urandom(16)),
        "peerName": "Invented",
        "publicKey": encode_base64(key),
        **changes,
    }


@case("invented devices", "PAIRINGS_OF_ONE_MAX")
def test_pairings_without_end_are_shared(fresh_field: Field) -> None:
    """Invented devices: 4,000 are shared, and 256 are kept."""
    field = fresh_field
    wire = field.paired().connect()
    for _ in range(5):
        wire.send(method="osmosis.net.sharePeers", params=[entry() for _ in range(800)])
        wire.send(method="osmosis.net.sharePeers", params=[entry(refused=True) for _ in range(200)])
    assert wire.call(PING, {}) is not None
    count = len(field.victim.ask("meta", path="$.pairings[?@.sharedBy != null].id"))
    assert 0 < count <= PAIRINGS_OF_ONE_MAX
    assert field.knows(field.victim, field.witness)


@case("remote unpairing", "key swap", "invented devices")
def test_pairings_of_others_are_rewritten(field: Field) -> None:
    """Remote unpairing: other keys for the witness, refusals under them, our own id."""
    mallory = field.paired()
    wire = mallory.connect()
    for peer_id in (field.witness.id, field.victim.id, mallory.id):
        for change in ({}, {"refused": True}, {"refused": True, "ageMs": 0}):
            wire.send(method="osmosis.net.sharePeers", params=[entry(peerId=peer_id, **change)])
    assert wire.call(PING, {}) is not None
    assert field.knows(field.victim, field.witness)
    keys = field.victim.ask("meta", path=f"$.pairings[?@.id == '{field.witness.id}'].publicKey")
    assert [encode_base64(field.witness.key)] == keys


@case("remote unpairing")
def test_unpair_is_sent_by_another_one(field: Field) -> None:
    """Remote unpairing: a frame of one connection does not unpair on another one."""
    one, other = field.paired(), field.paired()
    wire, wrong = one.connect(), other.connect()
    text = b'{"jsonrpc":"2.0","method":"osmosis.net.unpair","params":{},"id":1}'
    wrong.send_bytes(wire.sealer.seal(text))
    wrong.wait_closed()
    for attacker in (one, other):
        path = f"$.pairings[?@.id == '{attacker.id}'].id"
        assert [attacker.id] == field.victim.ask("meta", path=path)


@case("coming back", "remote unpairing")
def test_an_unpaired_device_knocks_again_and_again(field: Field) -> None:
    """Coming back: not by calling, not by heartbeats, not by a friend who names it."""
    lost, friend = field.paired(), field.paired()
    wire = lost.connect()
    field.victim.ask("dispatch", action={"action": "Unpair", "payload": lost.id})
    wire.wait_closed()
    through = friend.connect()
    name = entry(peerId=lost.id, publicKey=encode_base64(lost.keys.public), sinceMs=2**53 - 1)
    for _ in range(20):
        through.send(method="osmosis.net.sharePeers", params=[name])
        lost.appear()
        knock = lost.dial()
        answer = lost.ask(knock, "osmosis.net.connect", publicKey=encode_base64(lost.keys.public))
        assert answer is not None
        assert 203 == answer["error"]["code"]
        knock.close()
    assert through.call(PING, {}) is not None
    assert [] == field.victim.ask("meta", path=f"$.pairings[?@.id == '{lost.id}'].id")
