"""The framing is the seed's, in whatever pieces it arrives, and every breach has its code."""

import pytest

from cytosol.crypto.primitives import seal
from cytosol.errors import FrameError, LocalProtocolError
from cytosol.limits import (
    COMPRESS_ABOVE_BYTES,
    FRAME_BYTES_MAX,
    GATEWAY_FRAME_BYTES_MAX,
    RPC_MESSAGE_BYTES_MAX,
)
from cytosol.wire.compression import Compressor
from cytosol.wire.framing import (
    CONNECTION,
    GATEWAY,
    Frame,
    FrameReader,
    FramingLimits,
    Opener,
    Sealer,
)
from cytosol.wire.jsonrpc import ErrorCode

KEY = bytes.fromhex("5c473e682845f716fcefb486fbdcf9a87cd79af7db438e2a7d218c82e2741c01")
PEER_ID = b"i" * 16
OURS, THEIRS = b"o" * 16, b"t" * 16
TEXT = b'{"jsonrpc":"2.0","method":"x","id":0}'


def reader(limits: FramingLimits = CONNECTION) -> FrameReader:
    """Return a reader that has seen the peer id."""
    new = FrameReader(limits)
    assert [] == new.feed(PEER_ID)
    return new


def head(length: int) -> bytes:
    """Return the first 28 bytes of a frame."""
    return length.to_bytes(4, "big", signed=True) + bytes(24)


def frames_of(*messages: bytes, limits: FramingLimits = CONNECTION) -> list[Frame]:
    """Seal messages as the peer does, and read them."""
    sealer = Sealer(KEY, THEIRS, limits)
    return reader(limits).feed(b"".join(map(sealer.seal, messages)))


def opener(limits: FramingLimits = CONNECTION) -> Opener:
    """Return our side of what the peer sends."""
    return Opener(KEY, OURS, limits)


def test_a_frame_is_length_nonce_and_body() -> None:
    """The body is the worked value (spec: network)."""
    body = bytes.fromhex(
        "2bff450101ff8caf75fc3dc5a6d88f423b5809e032884ca4fac22728d44a70c7059a266490358600"
        "fa3897f48d30bbe3e2be0233e0"
    )
    stream = len(body).to_bytes(4, "big") + bytes(range(24)) + body
    (frame,) = reader().feed(stream)
    assert Frame(False, bytes(range(24)), body) == frame
    assert TEXT == opener().open(frame)


def test_a_sealed_message_has_the_layout_of_the_seed() -> None:
    """Length counts MAC and ciphertext; the nonce is our prefix and a counter."""
    sealer = Sealer(KEY, THEIRS, CONNECTION)
    for counter in range(3):
        nonce = THEIRS + counter.to_bytes(8, "big")
        expected = (len(TEXT) + 16).to_bytes(4, "big") + nonce + seal(KEY, nonce, TEXT)
        assert expected == sealer.seal(TEXT)


def test_the_peer_id_comes_first() -> None:
    """16 raw bytes, known as soon as they are there."""
    new = FrameReader(GATEWAY)
    assert [] == new.feed(PEER_ID[:15])
    assert new.peer_id is None
    assert [] == new.feed(PEER_ID[15:])
    assert PEER_ID == new.peer_id


def test_frames_arrive_in_any_pieces() -> None:
    """Byte by byte, and all at once together with the peer id."""
    messages = [b"", b"one", b"two" * 1000]
    sealer = Sealer(KEY, THEIRS, CONNECTION)
    stream = PEER_ID + b"".join(map(sealer.seal, messages))
    slow, fast = FrameReader(CONNECTION), FrameReader(CONNECTION)
    collected = [frame for byte in stream for frame in slow.feed(bytes([byte]))]
    assert collected == fast.feed(stream)
    receiving = opener()
    assert messages == [receiving.open(frame) for frame in collected]
    assert 0 == slow.waiting_bytes == fast.waiting_bytes


def test_buffers_hold_what_has_arrived_and_not_what_was_announced() -> None:
    """A head that announces 16 MiB costs its own 28 bytes."""
    waiting = reader()
    assert [] == waiting.feed(head(FRAME_BYTES_MAX) + b"x")
    assert 29 == waiting.waiting_bytes


@pytest.mark.parametrize("length", [0, 1, 15, -1, -15])
def test_a_frame_shorter_than_its_mac_is_refused(length: int) -> None:
    """16 <= abs(length)."""
    with pytest.raises(FrameError, match="its MAC alone has 16") as caught:
        reader().feed(head(length))
    assert ErrorCode.DECRYPTION_FAILED == caught.value.code


@pytest.mark.parametrize("length", [FRAME_BYTES_MAX + 1, -FRAME_BYTES_MAX - 1, -(2**31), 2**31 - 1])
def test_frame_bytes_max_on_a_connection(length: int) -> None:
    """FRAME_BYTES_MAX, positive and negative; four bytes are enough to refuse."""
    with pytest.raises(FrameError, match=f"at most {FRAME_BYTES_MAX}") as caught:
        reader().feed(head(length)[:4])
    assert ErrorCode.TOO_LARGE == caught.value.code
    assert [] == reader().feed(head(FRAME_BYTES_MAX))
    assert [] == reader().feed(head(-FRAME_BYTES_MAX))


def test_gateway_frame_bytes_max() -> None:
    """GATEWAY_FRAME_BYTES_MAX."""
    assert [] == reader(GATEWAY).feed(head(GATEWAY_FRAME_BYTES_MAX))
    with pytest.raises(FrameError, match=f"at most {GATEWAY_FRAME_BYTES_MAX}") as caught:
        reader(GATEWAY).feed(head(GATEWAY_FRAME_BYTES_MAX + 1))
    assert ErrorCode.TOO_LARGE == caught.value.code


def test_no_compression_on_the_gateway() -> None:
    """A negative length is refused by the reader, before anything is unpacked."""
    with pytest.raises(FrameError, match="compressed, which is not allowed") as caught:
        reader(GATEWAY).feed(head(-20))
    assert ErrorCode.COMPRESSION_NOT_ALLOWED == caught.value.code


def test_no_compression_in_an_opener_that_forbids_it() -> None:
    """The opener does not rely on the reader."""
    nonce = THEIRS + bytes(8)
    frame = Frame(True, nonce, seal(KEY, nonce, Compressor().compress(TEXT)))
    assert TEXT == opener(CONNECTION).open(frame)
    with pytest.raises(FrameError) as caught:
        opener(GATEWAY).open(frame)
    assert ErrorCode.COMPRESSION_NOT_ALLOWED == caught.value.code


def test_a_broken_stream_stays_broken() -> None:
    """Nothing after a bad head is taken for a frame, and nothing is kept of it."""
    broken = reader()
    good = Sealer(KEY, THEIRS, CONNECTION).seal(TEXT)
    with pytest.raises(FrameError):
        broken.feed(good + head(0) + good)
    assert 0 == broken.waiting_bytes
    with pytest.raises(FrameError):
        broken.feed(good)


def test_small_messages_are_not_compressed() -> None:
    """COMPRESS_ABOVE_BYTES itself is still small."""
    (small,) = frames_of(b"a" * COMPRESS_ABOVE_BYTES)
    (large,) = frames_of(b"a" * (COMPRESS_ABOVE_BYTES + 1))
    assert not small.compressed
    assert large.compressed
    assert len(large.body) < 100
    assert b"a" * (COMPRESS_ABOVE_BYTES + 1) == opener().open(large)


def test_what_does_not_get_smaller_is_not_compressed() -> None:
    """Random bytes, say."""
    noise = seal(KEY, bytes(24), bytes(5000))
    (frame,) = frames_of(noise)
    assert not frame.compressed
    assert noise == opener().open(frame)


def test_the_gateway_never_compresses() -> None:
    """Also not what is large."""
    (frame,) = frames_of(b"a" * 5000, limits=GATEWAY)
    assert not frame.compressed


def test_many_compressed_messages_follow_each_other() -> None:
    """The compressor is used again, each frame stands alone."""
    messages = [bytes([letter]) * 2000 for letter in b"abc"]
    receiving = opener()
    assert messages == [receiving.open(frame) for frame in frames_of(*messages)]


def test_a_message_too_large_to_be_taken_is_not_sent() -> None:
    """Both bounds: of the frame and of what it unpacks to."""
    with pytest.raises(LocalProtocolError, match="a frame would have 65552 bytes"):
        Sealer(KEY, THEIRS, GATEWAY).seal(bytes(GATEWAY_FRAME_BYTES_MAX))
    Sealer(KEY, THEIRS, GATEWAY).seal(bytes(GATEWAY_FRAME_BYTES_MAX - 16))
    with pytest.raises(LocalProtocolError, match=f"peers take {RPC_MESSAGE_BYTES_MAX}"):
        Sealer(KEY, THEIRS, CONNECTION).seal(bytes(RPC_MESSAGE_BYTES_MAX + 1))


def test_unpacked_bytes_max() -> None:
    """RPC_MESSAGE_BYTES_MAX is taken, one byte more is not, however small its frame."""
    packed = Compressor().compress(bytes(RPC_MESSAGE_BYTES_MAX + 1))
    nonce = THEIRS + bytes(8)
    with pytest.raises(FrameError) as caught:
        opener().open(Frame(True, nonce, seal(KEY, nonce, packed)))
    assert ErrorCode.TOO_LARGE == caught.value.code
    (frame,) = frames_of(bytes(RPC_MESSAGE_BYTES_MAX))
    assert len(frame.body) < FRAME_BYTES_MAX
    assert RPC_MESSAGE_BYTES_MAX == len(opener().open(frame))


def test_a_bad_compressed_message_has_its_own_code() -> None:
    """It was authentic, so it is the peer's own mistake."""
    nonce = THEIRS + bytes(8)
    with pytest.raises(FrameError) as caught:
        opener().open(Frame(True, nonce, seal(KEY, nonce, b"no zstandard")))
    assert ErrorCode.DECOMPRESSION_FAILED == caught.value.code


def refusal_of(receiving: Opener, frame: Frame) -> str:
    """Return the sentence with which a frame is refused as not authentic."""
    with pytest.raises(FrameError) as caught:
        receiving.open(frame)
    assert ErrorCode.DECRYPTION_FAILED == caught.value.code
    return str(caught.value)


def test_a_frame_sealed_with_another_key_is_refused() -> None:
    """An unpaired peer gets no further."""
    (frame,) = frames_of(TEXT)
    receiving = Opener(b"\1" * 32, OURS, CONNECTION)
    assert "not sealed with the key" in refusal_of(receiving, frame)
    assert not receiving.is_authentic


def test_a_connection_is_authentic_after_its_first_good_frame() -> None:
    """That is what half-open connections wait for."""
    receiving = opener()
    assert not receiving.is_authentic
    receiving.open(frames_of(TEXT)[0])
    assert receiving.is_authentic


def test_a_replayed_frame_is_refused() -> None:
    """The same counter twice."""
    receiving = opener()
    (frame,) = frames_of(TEXT)
    receiving.open(frame)
    assert "replayed" in refusal_of(receiving, frame)


def test_reordered_frames_are_refused() -> None:
    """A counter that falls."""
    receiving = opener()
    first, second = frames_of(b"first", b"second")
    assert b"second" == receiving.open(second)
    assert "out of order" in refusal_of(receiving, first)


def test_a_reflected_frame_is_refused() -> None:
    """Both directions share a key, but not the first part of the nonce."""
    (own,) = reader().feed(Sealer(KEY, OURS, CONNECTION).seal(TEXT))
    assert "reflected" in refusal_of(opener(), own)


def test_a_frame_of_another_connection_is_refused() -> None:
    """The gateway uses one key for every connection between two peers."""
    receiving = opener()
    receiving.open(frames_of(TEXT)[0])
    (other,) = reader().feed(Sealer(KEY, b"x" * 16, CONNECTION).seal(TEXT))
    assert "another connection" in refusal_of(receiving, other)


def test_a_forged_frame_does_not_fix_the_prefix() -> None:
    """Only an authentic frame decides which prefix is the peer's."""
    receiving = opener()
    assert "not sealed" in refusal_of(receiving, Frame(False, b"x" * 24, bytes(40)))
    assert TEXT == receiving.open(frames_of(TEXT)[0])


def test_a_nonce_prefix_has_16_bytes() -> None:
    """Our own mistake otherwise."""
    with pytest.raises(ValueError, match="16 random bytes, not 8"):
        Sealer(KEY, bytes(8), GATEWAY)
