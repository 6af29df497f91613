"""zstandard: what was compressed comes back, and nothing comes out that was not announced."""

import pytest

from cytosol.errors import FrameError
from cytosol.model.packed import zstd
from cytosol.wire.compression import Compressor, decompress
from cytosol.wire.jsonrpc import ErrorCode

MIB = 1024 * 1024


def frame(data: bytes, pledged: int | None = None) -> bytes:
    """Compress like a peer that announces `pledged` bytes, or nothing."""
    compressor = zstd.ZstdCompressor()
    if pledged is None:
        return compressor.compress(data) + compressor.flush()
    compressor.set_pledged_input_size(pledged)
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def test_a_compressor_serves_many_messages() -> None:
    """Each is a frame of its own, with its size."""
    compressor = Compressor()
    for data in (b"", b"a", b"ab" * 5000, bytes(100)):
        packed = compressor.compress(data)
        assert len(data) == zstd.get_frame_info(packed).decompressed_size
        assert data == decompress(packed, 10_000)


def test_a_zstd_bomb_is_refused_before_it_unpacks() -> None:
    """3 kB that claim 100 MiB: the announced size is enough to refuse."""
    bomb = frame(bytes(100 * MIB), 100 * MIB)
    assert len(bomb) < 16 * 1024
    with pytest.raises(FrameError, match="announces 104857600 bytes") as caught:
        decompress(bomb, 64 * MIB)
    assert ErrorCode.TOO_LARGE == caught.value.code


def test_a_content_of_exactly_the_bound_is_taken() -> None:
    """The bound itself is allowed."""
    assert bytes(MIB) == decompress(frame(bytes(MIB), MIB), MIB)
    with pytest.raises(FrameError):
        decompress(frame(bytes(MIB + 1), MIB + 1), MIB)


def lying(data: bytes, claim: int) -> bytes:
    """Return a frame of `data` (300 .. 65,535 bytes) whose head claims another size."""
    honest = bytearray(frame(data, len(data)))
    assert honest[4] >> 6 == 1, "the size is written in two bytes, less 256 (RFC 8878, 3.1.1.1)"
    assert honest[4] & 0x20, "there is no window byte before it"
    honest[5:7] = (claim - 256).to_bytes(2, "little")
    return bytes(honest)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zstandard at all",
        frame(b"a" * 5000),
        frame(b"a" * 5000, 5000)[:-1],
        frame(b"a" * 5000, 5000) + b"x",
        frame(b"a" * 5000, 5000) + frame(bytes(MIB), MIB),
        frame(b"a" * 5000, 5000)[:5],
        lying(b"a" * 5000, 4000),
        lying(b"a" * 5000, 6000),
        bytes.fromhex("28b52ffd") + b"\xff" * 40,
    ],
    ids=[
        "empty",
        "noise",
        "no size",
        "cut short",
        "a byte more",
        "a second frame",
        "head only",
        "more than announced",
        "less than announced",
        "reserved bits",
    ],
)
def test_damaged_content_is_refused(data: bytes) -> None:
    """Every way to be wrong has the same code."""
    with pytest.raises(FrameError, match="a compressed message") as caught:
        decompress(data, 64 * MIB)
    assert ErrorCode.DECOMPRESSION_FAILED == caught.value.code


def test_a_large_window_is_refused() -> None:
    """A tiny message could ask for a window of gigabytes."""
    head = bytes.fromhex("28b52ffd") + bytes([0b0100_0000]) + b"\xff" + (0).to_bytes(2, "little")
    raw_block = (1 | 256 << 3).to_bytes(3, "little") + b"a" * 256
    with pytest.raises(FrameError):
        decompress(head + raw_block, 64 * MIB)
    small_window = bytes.fromhex("28b52ffd") + bytes([0b0100_0000]) + b"\0" + bytes(2)
    assert b"a" * 256 == decompress(small_window + raw_block, 64 * MIB)
