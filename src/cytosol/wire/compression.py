"""zstandard with a bound on what comes out (seed: Discovery; RFC 8878).

A frame of 3 kB can claim 100 MiB. So the content size must be written in the head of the zstd
frame, it must be within the bound, and exactly that much must come out.
"""

from __future__ import annotations

import sys
from typing import Final

from cytosol.errors import FrameError
from cytosol.wire.jsonrpc import ErrorCode

if sys.version_info >= (3, 14):  # pragma: no cover - each Python has one of the two
    from compression import zstd
else:  # pragma: no cover - see above
    from backports import zstd

__all__ = ["Compressor", "decompress"]

# Messages are JSON: higher levels cost much time and save little.
_LEVEL: Final = 1
_WINDOW_LOG_MIN: Final = 10  # RFC 8878, 3.1.1.1.2


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
        size = zstd.get_frame_info(data).decompressed_size
    except zstd.ZstdError:
        raise _broken("is not zstandard") from None
    if size is None:
        raise _broken("does not say how large its content is")
    if size > size_max:
        raise FrameError(
            f"a compressed message announces {size} bytes; at most {size_max} are taken",
            ErrorCode.TOO_LARGE,
        )
    window_log = max(_WINDOW_LOG_MIN, (size_max - 1).bit_length())
    options = {int(zstd.DecompressionParameter.window_log_max): window_log}
    decompressor = zstd.ZstdDecompressor(options=options)
    try:
        # One byte more than announced: room to see that there is too much, and to reach the end.
        content = decompressor.decompress(data, size + 1)
    except zstd.ZstdError:
        raise _broken("is damaged") from None
    if not decompressor.eof or decompressor.unused_data or len(content) != size:
        raise _broken("is cut short, or is longer than it says")
    return content


def _broken(what: str) -> FrameError:
    return FrameError(f"a compressed message {what}", ErrorCode.DECOMPRESSION_FAILED)
