"""The framing of TCP streams (seed: Discovery), without any I/O.

Each side first sends its 16-byte peer id in the clear, then frames:

```text
length (4, big-endian, signed) | nonce (24) | body (abs(length)): MAC (16), ciphertext
```

A negative length says that the plaintext is compressed. Laws: buffers grow with what has arrived,
never with what was announced; nothing is looked at before it is authenticated; both directions
share a key, so nonces carry a first part that tells them, and each connection, apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from cytosol.crypto.primitives import MAC_BYTES, NONCE_BYTES, open_sealed, seal
from cytosol.errors import DecryptionError, FrameError, LocalProtocolError
from cytosol.limits import (
    COMPRESS_ABOVE_BYTES,
    FRAME_BYTES_MAX,
    GATEWAY_FRAME_BYTES_MAX,
    RPC_MESSAGE_BYTES_MAX,
)
from cytosol.model.ids import PeerId
from cytosol.wire.compression import Compressor, decompress
from cytosol.wire.jsonrpc import ErrorCode

__all__ = [
    "CONNECTION",
    "GATEWAY",
    "NONCE_PREFIX_BYTES",
    "PEER_ID_BYTES",
    "Frame",
    "FrameReader",
    "FramingLimits",
    "Opener",
    "Sealer",
]

PEER_ID_BYTES: Final = 16
NONCE_PREFIX_BYTES: Final = NONCE_BYTES - 8  # an 8-byte counter follows
_HEAD: Final = Struct(">i24s")
_LENGTH: Final = Struct(">i")


@dataclass(frozen=True, slots=True)
class FramingLimits:
    """What a stream takes: `frame_bytes` bounds abs(length), `unpacked_bytes` the plaintext."""

    frame_bytes: int
    unpacked_bytes: int
    compression: bool


GATEWAY: Final = FramingLimits(GATEWAY_FRAME_BYTES_MAX, GATEWAY_FRAME_BYTES_MAX, False)
"""The Gateway Service, which strangers may call: small frames, never compressed."""

CONNECTION: Final = FramingLimits(FRAME_BYTES_MAX, RPC_MESSAGE_BYTES_MAX, True)
"""A connection between paired peers."""


class Frame(NamedTuple):
    """One frame as it came, still sealed."""

    compressed: bool
    nonce: bytes
    body: bytes


class FrameReader:
    """Cut a stream into the peer id and frames, whatever the pieces in which it arrives."""

    __slots__ = ("_buffer", "_failure", "_limits", "peer_id")

    def __init__(self, limits: FramingLimits) -> None:
        self.peer_id: PeerId | None = None
        """What the peer claims to be, once its first 16 bytes have arrived."""
        self._limits = limits
        self._buffer = bytearray()
        self._failure: FrameError | None = None

    @property
    def waiting_bytes(self) -> int:
        """How many bytes have arrived of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next piece of the stream and return the frames that it completes.

        Raises FrameError as soon as a head is seen that no honest peer sends; the frames of the
        same piece are dropped, and every further call raises again.
        """
        if self._failure is not None:
            raise self._failure
        buffer = self._buffer
        buffer += data
        position = 0
        if self.peer_id is None:
            if len(buffer) < PEER_ID_BYTES:
                return []
            self.peer_id = bytes(buffer[:PEER_ID_BYTES])
            position = PEER_ID_BYTES
        frames = []
        available = len(buffer)
        while available - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, position)
            self._check_length(length)
            start = position + _HEAD.size
            end = start + abs(length)
            if end > available:
                break
            nonce = bytes(buffer[position + _LENGTH.size : start])
            with memoryview(buffer) as view:  # a slice of the buffer would be one more copy
                frames.append(Frame(length < 0, nonce, bytes(view[start:end])))
            position = end
        del buffer[:position]
        return frames

    def _check_length(self, length: int) -> None:
        """Refuse a frame by its head, before anything of it is kept."""
        limits = self._limits
        if abs(length) < MAC_BYTES:
            self._failure = FrameError(
                f"a frame announces {abs(length)} bytes; its MAC alone has {MAC_BYTES}",
                ErrorCode.DECRYPTION_FAILED,
            )
        elif abs(length) > limits.frame_bytes:
            self._failure = FrameError(
                f"a frame announces {abs(length)} bytes; at most {limits.frame_bytes} are taken",
                ErrorCode.TOO_LARGE,
            )
        elif length < 0 and not limits.compression:
            self._failure = FrameError(
                "a frame is compressed, which is not allowed here",
                ErrorCode.COMPRESSION_NOT_ALLOWED,
            )
        if self._failure is not None:
            self._buffer.clear()
            raise self._failure


class Sealer:
    """Make the frames of one direction of one connection."""

    __slots__ = ("_compressor", "_counter", "_key", "_limits", "_prefix")

    def __init__(self, key: bytes, prefix: bytes, limits: FramingLimits) -> None:
        if len(prefix) != NONCE_PREFIX_BYTES:
            raise ValueError(
                f"a nonce prefix has {NONCE_PREFIX_BYTES} random bytes, not {len(prefix)}"
            )
        self._key = key
        self._prefix = prefix
        self._limits = limits
        self._counter = 0
        self._compressor: Compressor | None = None  # made when first needed: it is large

    def seal(self, message: bytes) -> bytes:
        """Return the frame of one message, compressed where that is allowed and pays.

        Frames may be joined before they are sent. Raises LocalProtocolError for a message that
        the other side would refuse as too large.
        """
        limits = self._limits
        if len(message) > limits.unpacked_bytes:
            raise LocalProtocolError(
                f"a message has {len(message)} bytes, and peers take {limits.unpacked_bytes}"
            )
        packed = self._packed(message)
        compressed = packed is not message
        length = len(packed) + MAC_BYTES
        if length > limits.frame_bytes:
            raise LocalProtocolError(
                f"a frame would have {length} bytes, and peers take {limits.frame_bytes}"
            )
        nonce = self._prefix + self._counter.to_bytes(8, "big")
        self._counter += 1
        return _HEAD.pack(-length if compressed else length, nonce) + seal(self._key, nonce, packed)

    def _packed(self, message: bytes) -> bytes:
        """Return the message compressed, or the very same object if it stays as it is."""
        if not self._limits.compression or len(message) <= COMPRESS_ABOVE_BYTES:
            return message
        if self._compressor is None:
            self._compressor = Compressor()
        packed = self._compressor.compress(message)
        return packed if len(packed) < len(message) else message


class Opener:
    """Open the frames of one direction of one connection, each once and in their order."""

    __slots__ = ("_counter", "_key", "_limits", "_own_prefix", "_prefix")

    def __init__(self, key: bytes, own_prefix: bytes, limits: FramingLimits) -> None:
        self._key = key
        self._own_prefix = own_prefix
        self._limits = limits
        self._prefix: bytes | None = None  # the peer's, known from its first authentic frame
        self._counter = -1

    @property
    def is_authentic(self) -> bool:
        """Whether a frame sealed with our key has arrived."""
        return self._prefix is not None

    def open(self, frame: Frame) -> bytes:
        """Return the message in a frame.

        Raises FrameError with the code to answer with: -32000 for what is not authentic, or was
        replayed, reordered or reflected; -32001 to -32003 as `cytosol.wire.compression` says.
        """
        prefix = frame.nonce[:NONCE_PREFIX_BYTES]
        counter = int.from_bytes(frame.nonce[NONCE_PREFIX_BYTES:], "big")
        self._check_nonce(prefix, counter)
        try:
            message = open_sealed(self._key, frame.nonce, frame.body)
        except DecryptionError as error:
            raise FrameError(str(error), ErrorCode.DECRYPTION_FAILED) from None
        self._prefix = prefix
        self._counter = counter
        limits = self._limits
        if frame.compressed:
            if not limits.compression:
                raise FrameError(
                    "a message is compressed, which is not allowed here",
                    ErrorCode.COMPRESSION_NOT_ALLOWED,
                )
            return decompress(message, limits.unpacked_bytes)
        return message

    def _check_nonce(self, prefix: bytes, counter: int) -> None:
        """Refuse what the peer did not send now, in this direction, after all before."""
        if prefix == self._own_prefix:
            reason = "carries our own nonce: it was reflected"
        elif self._prefix is not None and prefix != self._prefix:
            reason = "belongs to another connection"
        elif counter <= self._counter:
            reason = "was sent before: replayed or out of order"
        else:
            return
        raise FrameError(f"a frame {reason}", ErrorCode.DECRYPTION_FAILED)
