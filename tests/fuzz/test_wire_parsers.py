"""Whatever arrives, the parsers of the wire return a value or raise a declared error."""

import random
from typing import Any

import pytest

from cytosol.crypto.pake import MESSAGE_BYTES, Pake, Role
from cytosol.crypto.primitives import open_sealed, seal
from cytosol.errors import DecryptionError, FrameError, RemoteProtocolError
from cytosol.wire.compression import Compressor, decompress
from cytosol.wire.framing import CONNECTION, GATEWAY, FrameReader, Opener, Sealer
from cytosol.wire.heartbeat import (
    Heartbeat,
    clean_peer_name,
    encode_heartbeat,
    parse_heartbeat,
)
from cytosol.wire.jsonrpc import encode_error, encode_request, encode_response, parse_message
from cytosol.wire.methods import METHODS, parse_params, parse_result
from tests.fuzz.mutation import fuzz, mutate_bytes, mutate_json, random_bytes
from tests.unit.wire.message_examples import PARAMS, RESULTS

KEY = b"k" * 32
COUNTS = [pytest.param(2_000, id="quick"), pytest.param(200_000, id="long", marks=pytest.mark.long)]

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


def bytes_or_noise(rng: random.Random, data: bytes) -> bytes:
    """Mutate mostly; now and then make something of nothing."""
    return random_bytes(rng) if rng.random() < 0.1 else mutate_bytes(rng, data)


def answered(error: RemoteProtocolError, *codes: int) -> None:
    """Expect an error to be answered with one of these codes."""
    assert error.code in codes


@pytest.mark.parametrize("count", COUNTS)
def test_heartbeats(count: int) -> None:
    """What is taken is sane: a port that may be used, a clean name."""

    def attempt(data: bytes) -> None:
        try:
            heartbeat = parse_heartbeat(data)
        except RemoteProtocolError:
            return
        assert heartbeat.port > 1024
        assert heartbeat.name == clean_peer_name(heartbeat.name)
        assert len(data) <= 326

    fuzz(attempt, bytes_or_noise, HEARTBEATS, 1, count)


@pytest.mark.parametrize("count", COUNTS)
def test_rpc_messages(count: int) -> None:
    """Errors say with which code to answer."""

    def attempt(data: bytes) -> None:
        try:
            parse_message(data)
        except RemoteProtocolError as error:
            answered(error, -32700, -32600)

    fuzz(attempt, bytes_or_noise, MESSAGES, 2, count)


@pytest.mark.parametrize("count", COUNTS)
def test_params(count: int) -> None:
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

    fuzz(attempt, make, [(params.METHOD, text) for params, text in PARAMS], 3, count)


@pytest.mark.parametrize("count", COUNTS)
def test_results(count: int) -> None:
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

    fuzz(attempt, make, [(method, text) for method, _, text in RESULTS], 4, count)


@pytest.mark.parametrize("limits", [GATEWAY, CONNECTION], ids=["gateway", "connection"])
@pytest.mark.parametrize("count", COUNTS)
def test_streams(count: int, limits: Any) -> None:
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

    fuzz(attempt, bytes_or_noise, [stream], 5, count)


@pytest.mark.parametrize("count", COUNTS)
def test_compressed_messages(count: int) -> None:
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

    fuzz(attempt, bytes_or_noise, corpus, 6, count)


@pytest.mark.parametrize("count", COUNTS)
def test_sealed_bodies(count: int) -> None:
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

    fuzz(attempt, bytes_or_noise, [body], 7, count)


@pytest.mark.parametrize(
    "count", [pytest.param(40, id="quick"), pytest.param(4_000, id="long", marks=pytest.mark.long)]
)
def test_pairing_messages(count: int) -> None:
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

    fuzz(attempt, make, [pake(Role.RESPONDER).message], 8, count)
