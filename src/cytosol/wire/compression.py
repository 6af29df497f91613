"""zstandard for messages (seed: Discovery; RFC 8878)."""

from __future__ import annotations

from typing import Final

from cytosol.errors import FrameError
from cytosol.model.packed import UnpackError, unpack, zstd
from cytosol.wire.jsonrpc import ErrorCode

__all__ = ["Compressor", "decompress"]

# Messages are JSON: higher levels cost much time and save little.
_LEVEL: Final = 1


class Compressor:
    """Compress messages one by one; keeps the library's tables, which are costly to make."""

    __slots__ = ("_zstd",)

    def __init__(self) -> None:
        self._zstd = zstd.ZstdCompressor(level=_LEVEL)

    def compress(self, data: bytes) -> bytes:
        """Return one zstd frame that holds `data` and says how long it is."""
        self._zstd.set_pledged_input_size(len(data))
        return self._zstd.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(data: bytes, size_max: int) -> bytes:
    """Return what one zstd frame holds, at most `size_max` bytes.

    Memory grows with what really comes out. Raises FrameError: -32003 for a greater content
    size, -32001 for anything else that is wrong.
    """
    try:
        return unpack(data, size_max)
    except UnpackError as error:
        code = ErrorCode.TOO_LARGE if error.is_too_large else ErrorCode.DECOMPRESSION_FAILED
        raise FrameError(f"a compressed message {error}", code) from None
