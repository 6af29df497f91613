"""One TCP stream as a channel of messages: peer ids in the clear, then sealed frames.

The claimed peer id only says which key to try; a peer is whom its first frame proves it to be,
by having been sealed with the key that both sides share (seed: Discovery; spec: network,
Connections).
"""

from __future__ import annotations

from collections.abc import Iterator

from cytosol.crypto.primitives import shared_key
from cytosol.errors import RemoteProtocolError
from cytosol.model.ids import PeerId, format_id
from cytosol.wire.framing import Frame, FrameReader, FramingLimits, Opener, Sealer

__all__ = ["Channel"]


class Channel:
    """Both directions of one stream; the owner sends `own_id` first and supplies the keys."""

    __slots__ = ("_expected", "_frames", "_limits", "_opener", "_prefix", "_reader", "_sealer")

    def __init__(self, limits: FramingLimits, prefix: bytes, expected: PeerId | None) -> None:
        self._limits = limits
        self._prefix = prefix
        self._expected = expected
        self._reader = FrameReader(limits)
        self._frames: list[Frame] = []
        self._opener: Opener | None = None
        self._sealer: Sealer | None = None

    @property
    def peer_id(self) -> PeerId | None:
        """Return whom the peer claims to be, None until it said so."""
        return self._reader.peer_id

    @property
    def has_key(self) -> bool:
        """Tell whether `use_keys` was called."""
        return self._opener is not None

    @property
    def is_inside_frame(self) -> bool:
        """Tell whether a part of a frame has arrived, and its end not yet."""
        return self._reader.waiting_bytes > 0

    def use_keys(self, own_secret: bytes, their_public: bytes) -> None:
        """Compute the shared key. Raises RemoteProtocolError for a weak public key."""
        key = shared_key(own_secret, their_public)
        self._opener = Opener(key, self._prefix, self._limits)
        self._sealer = Sealer(key, self._prefix, self._limits)

    def receive(self, data: bytes) -> None:
        """Take the next piece of the stream.

        Raises FrameError for a frame that is not allowed, RemoteProtocolError when the peer
        claims to be another than the one that was dialled.
        """
        self._frames += self._reader.feed(data)
        claimed = self._reader.peer_id
        if claimed is not None and self._expected is not None and claimed != self._expected:
            raise RemoteProtocolError(
                f"the peer says that it is {format_id(claimed)}; "
                f"{format_id(self._expected)} was expected"
            )

    def messages(self) -> Iterator[bytes]:
        """Open the frames that have arrived; nothing before the key is known.

        Raises FrameError for what is not authentic, or unpacks to too much.
        """
        while self._opener is not None and self._frames:
            yield self._opener.open(self._frames.pop(0))

    def seal(self, message: bytes) -> bytes:
        """Return the frame of a message; the key must be known.

        Raises LocalProtocolError for a message that no peer would take.
        """
        assert self._sealer is not None
        return self._sealer.seal(message)
