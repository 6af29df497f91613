"""Frames of any size over a channel whose messages must be small, as a WebRTC data channel.

A short frame goes as it is, as text. A long one goes as binary messages, each a byte (0: more
follow, 1: the last) and a piece of its UTF-8. The channel must keep messages in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cytosol.errors import GraphError
from cytosol.graph.transports.link import FRAME_BYTES_MAX

__all__ = ["PIECE_BYTES", "Assembler", "pieces"]

PIECE_BYTES: Final = 16 * 1024  # larger ones some ends cannot take (RFC 8831, 6.6)
_MORE, _LAST = b"\x00", b"\x01"


def pieces(frame: str) -> Iterator[str | bytes]:
    """Cut a frame into what one message of the channel can carry, in order."""
    if len(frame) <= PIECE_BYTES // 4:  # cheap, and sure: UTF-8 has at most 4 bytes each
        yield frame
        return
    data = frame.encode()
    if len(data) <= PIECE_BYTES:
        yield frame
        return
    step = PIECE_BYTES - 1
    for start in range(0, len(data), step):
        end = start + step
        yield (_MORE if end < len(data) else _LAST) + data[start:end]


class Assembler:
    """Put the pieces together again; never holds more than one frame of the greatest size."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: bytearray | None = None  # one buffer: tiny pieces must not cost more

    def feed(self, message: str | bytes) -> str | bytes | None:
        """Return the frame that a message of the channel completes, None if more must follow.

        Raises GraphError if no honest end sends such a message.
        """
        if isinstance(message, str):
            if self._begun is not None:
                raise GraphError("a frame came before the last piece of the one before it")
            return message
        mark, begun = message[:1], self._begun
        if mark not in (_MORE, _LAST):
            raise GraphError("a piece of a frame must begin with the byte 0 or 1")
        size = len(message) - 1 + (0 if begun is None else len(begun))
        if size > FRAME_BYTES_MAX:
            raise GraphError(f"a frame has {size} bytes, {FRAME_BYTES_MAX} are allowed")
        if begun is None:
            begun = self._begun = bytearray()
        begun += message[1:]
        if mark == _MORE:
            return None
        self._begun = None
        return bytes(begun)
