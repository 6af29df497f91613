"""Whatever arrives, the parsers of the wire return a value or raise a declared error.

Each function returns an attempt, which lets out what is a finding, and how inputs are made.
"""

import random
from typing import Any

from cytosol.crypto.pake import MESSAGE_BYTES, Pake, Role
from cytosol.crypto.primitives import open_sealed, seal
from cytosol.errors import DecryptionError, FrameError, RemoteProtocolError
from cytosol.wire.compression import Compressor, decompress
from cytosol.wire.framing import CONNECTION, GATEWAY, FrameReader, FramingLimits, Opener, Sealer
from cytosol.wire.heartbeat import (
    Heartbeat,
    clean_peer_name,
    encode_heartbeat,
    parse_heartbeat,
)
from cytosol.wire.jsonrpc import encode_error, encode_request, encode_response, parse_message
from cytosol.wire.methods import METHODS, parse_params, parse_result
from tests.fuzz.mutation import bytes_or_noise, mutate_bytes, mutate_json
from tests.fuzz.target import Target, target
from tests.unit.wire.message_examples import PARAMS, RESULTS

KEY = b"k" * 32

HEARTBEATS = [
    encode_heartbeat(Heartbeat(b"a" * 16, b"p" * 16, b"k" * 32, 50000, name))
    for name in ("", "Laptop", "Büro 💻" * 10)
]
MESSAGES = [
    *(encode_request(1, params.METHOD, text) for params, text in PARAMS),
    *(encode_response("id", text) for _, _, text in RESULTS),
    encode_error(None, -32700, "no", {"why": [1, 2.5, None]}),
    encode_request(1, "m", {"a": [[{"b": '\\":\u2028'}]] * 40}),
]


def answered(error: RemoteProtocolError, *codes: int) -> None:
    """Expect an error to be answered with one of these codes."""
    assert error.code in codes


@target("heartbeats")
def heartbeats() -> Target:
    """What is taken is sane: a port that may be used, a clean name."""

    def attempt(data: bytes) -> None:
        try:
            heartbeat = parse_heartbeat(data)
        except RemoteProtocolError:
            return
        assert heartbeat.port > 1024
        assert heartbeat.name == clean_peer_name(heartbeat.name)
        assert len(data) <= 326

    return Target(attempt, bytes_or_noise, HEARTBEATS)


@target("RPC messages")
def rpc_messages() -> Target:
    """Errors say with which code to answer."""

    def attempt(data: bytes) -> None:
        try:
            parse_message(data)
        except RemoteProtocolError as error:
            answered(error, -32700, -32600)

    return Target(attempt, bytes_or_noise, MESSAGES)


@target("RPC params")
def params() -> Target:
    """Params that are JSON but not what the method takes."""

    def attempt(case: tuple[str, Any]) -> None:
        method, value = case
        try:
            params: Any = parse_params(method, value, METHODS[method].place)
        except RemoteProtocolError as error:
            answered(error, -32602)
            return
        assert params == parse_params(method, params.to_json(), METHODS[method].place)

    def make(rng: random.Random, case: tuple[str, Any]) -> tuple[str, Any]:
        return case[0], mutate_json(rng, case[1])

    return Target(attempt, make, [(params.METHOD, text) for params, text in PARAMS])


@target("RPC results")
def results() -> Target:
    """Results from a peer that we called."""

    def attempt(case: tuple[str, Any]) -> None:
        method, value = case
        try:
            result: Any = parse_result(method, value)
        except RemoteProtocolError as error:
            answered(error, -32602)
            return
        assert result == parse_result(method, result.to_json())

    def make(rng: random.Random, case: tuple[str, Any]) -> tuple[str, Any]:
        return case[0], mutate_json(rng, case[1])

    return Target(attempt, make, [(method, text) for method, _, text in RESULTS])


def _streams(limits: FramingLimits) -> Target:
    """A changed stream gives what was sent, in order and perhaps with gaps, or an error."""
    messages = [b"one", b"two" * 20, bytes(2000), b""]
    sealer = Sealer(KEY, b"t" * 16, limits)
    stream = b"i" * 16 + b"".join(map(sealer.seal, messages))

    def attempt(data: bytes) -> None:
        reader, opener = FrameReader(limits), Opener(KEY, b"o" * 16, limits)
        received = []
        try:
            for start in range(0, len(data), 50):
                received += [opener.open(frame) for frame in reader.feed(data[start : start + 50])]
        except FrameError as error:
            answered(error, -32000, -32001, -32002, -32003)
        assert reader.waiting_bytes <= len(data)
        wanted = iter(messages)
        assert all(message in wanted for message in received), "in order, nothing invented"

    return Target(attempt, bytes_or_noise, [stream])


@target("compressed messages")
def compressed_messages() -> Target:
    """A peer that knows the key can send any bytes as zstandard."""
    compressor = Compressor()
    corpus = [compressor.compress(data) for data in (b"", b"abc" * 3000, bytes(range(256)) * 9)]

    def attempt(data: bytes) -> None:
        try:
            content = decompress(data, 9_000)
        except FrameError as error:
            answered(error, -32001, -32003)
        else:
            assert len(content) <= 9_000

    return Target(attempt, bytes_or_noise, corpus)


@target("streams of the gateway")
def gateway_streams() -> Target:
    """Small frames, never compressed."""
    return _streams(GATEWAY)


@target("streams of connections")
def connection_streams() -> Target:
    """Large frames, compressed."""
    return _streams(CONNECTION)


@target("sealed bodies")
def sealed_bodies() -> Target:
    """No changed body is ever taken for the one that was sealed."""
    nonce = bytes(24)
    body = seal(KEY, nonce, b"secret text")

    def attempt(data: bytes) -> None:
        try:
            text = open_sealed(KEY, nonce, data)
        except DecryptionError:
            assert data != body
        else:
            assert text == b"secret text"
            assert data == body

    return Target(attempt, bytes_or_noise, [body])


@target("pairing messages")
def pairing_messages() -> Target:
    """Points that are none, or not of the group (slow: pure Python arithmetic)."""

    def pake(role: Role) -> Pake:
        return Pake.start(
            role,
            "123456",
            bytes(32),
            app_id=b"a" * 16,
            own_id=b"o" * 16,
            own_key=b"k" * 32,
            peer_id=b"p" * 16,
        )

    def attempt(data: bytes) -> None:
        one = pake(Role.REQUESTER)
        try:
            one.receive(data, b"K" * 32)
        except RemoteProtocolError:
            return
        assert len(data) == MESSAGE_BYTES
        assert not one.check(bytes(32))

    def make(rng: random.Random, data: bytes) -> bytes:
        changed = bytearray(data)
        changed[rng.randrange(1, len(changed))] = rng.randrange(256)
        return bytes(changed) if rng.random() < 0.9 else mutate_bytes(rng, data)

    return Target(attempt, make, [pake(Role.RESPONDER).message])
