"""zstandard with a bound on what comes out (RFC 8878): of messages, batches of ops, snapshots.

A frame of 3 kB can claim 100 MiB. So the content size must be written in the head of the zstd
frame, it must be within the bound, and exactly that much must come out.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

if sys.version_info >= (3, 14):  # pragma: no cover - each Python has one of the two
    from compression import zstd
else:  # pragma: no cover - see above
    from backports import zstd

__all__ = ["UnpackError", "list_length", "pack", "unpack", "zstd"]

_LEVEL: Final = 3
_WINDOW_LOG_MIN: Final = 10  # RFC 8878, 3.1.1.1.2


class UnpackError(ValueError):
    """Says what is wrong with packed bytes, as the rest of a sentence about them."""

    def __init__(self, what: str, *, is_too_large: bool = False) -> None:
        super().__init__(what)
        self.is_too_large = is_too_large


def pack(data: bytes) -> bytes:
    """Return one zstd frame that holds `data` and says how long it is."""
    return zstd.compress(data, _LEVEL)


def unpack(data: bytes | memoryview, size_max: int) -> bytes:
    """Return what one zstd frame holds, at most `size_max` bytes.

    Memory grows with what really comes out. Raises UnpackError.
    """
    try:
        size = zstd.get_frame_info(data).decompressed_size
    except zstd.ZstdError:
        raise UnpackError("is not zstandard") from None
    if size is None:
        raise UnpackError("does not say how large its content is")
    if size > size_max:
        raise UnpackError(
            f"announces {size} bytes; at most {size_max} are taken", is_too_large=True
        )
    window_log = max(_WINDOW_LOG_MIN, (size_max - 1).bit_length())
    options = {int(zstd.DecompressionParameter.window_log_max): window_log}
    decompressor = zstd.ZstdDecompressor(options=options)
    try:
        # One byte more than announced: room to see that there is too much, and to reach the end.
        content = decompressor.decompress(data, size + 1)
    except zstd.ZstdError:
        raise UnpackError("is damaged") from None
    if not decompressor.eof or decompressor.unused_data or len(content) != size:
        raise UnpackError("is cut short, or is longer than it says")
    return content


def list_length(value: msgspec.Raw) -> int:
    """Return how many entries a list in MessagePack announces, 0 for what is no list."""
    head = bytes(memoryview(value)[:5])
    if 0x90 <= head[0] <= 0x9F:
        return head[0] & 0x0F
    if head[0] == 0xDC:
        return int.from_bytes(head[1:3], "big")
    return int.from_bytes(head[1:5], "big") if head[0] == 0xDD else 0
