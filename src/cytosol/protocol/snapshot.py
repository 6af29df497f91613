"""Snapshots travel in chunks, for a peer that has to adopt our base (spec: document, Retention).

The adopting side asks for one chunk after the other: `cytosol.sync.snapshot {session, offset}`
gives `{total, offset, hash, data}`. The hash (BLAKE2b-512 of the whole) names the snapshot: a
fetch that was cut off goes on where it stopped if the peer still serves the same one.
"""

from __future__ import annotations

from hashlib import blake2b

from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    SNAPSHOT_BYTES_MAX,
    SNAPSHOT_CHUNK_BYTES_MAX,
    SYNC_PROGRESS_TIMEOUT_S,
)
from cytosol.model.ids import PeerId
from cytosol.protocol.events import SyncProgress
from cytosol.protocol.sync_link import SyncLink
from cytosol.wire.sync_messages import SnapshotParams, SnapshotResult

__all__ = ["CHUNK_BYTES", "SnapshotCache", "SnapshotFetch", "SnapshotServer"]

CHUNK_BYTES = 1024 * 1024
"""What we put into one chunk; up to SNAPSHOT_CHUNK_BYTES_MAX is accepted."""


class SnapshotCache:
    """What is here of snapshots that are being fetched: at most one for each device.

    A fetch that was cut off goes on where it stopped. But devices may be many, and none of them
    need ever send the end of what it began. So of the devices that are away, what the last one
    has sent is kept; and where all parts together are more than one snapshot may take, those go
    first that have not grown for longest.
    """

    __slots__ = ("_away", "_parts")

    def __init__(self) -> None:
        self._parts: dict[PeerId, tuple[bytes, bytearray]] = {}  # the one that grew last is last
        self._away: PeerId | None = None

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return sum(len(data) for _, data in self._parts.values())

    def held(self, peer: PeerId) -> tuple[bytes, bytearray]:
        """Return the hash of the snapshot that a device is sending, and what is here of it."""
        return self._parts.get(peer, (b"", bytearray()))

    def begin(self, peer: PeerId, digest: bytes) -> bytearray:
        """Return an empty part for a device's snapshot, in place of any other one."""
        self._parts[peer] = digest, bytearray()
        return self._parts[peer][1]

    def grow(self, peer: PeerId, data: bytes) -> None:
        """Append to the part of a device."""
        part = self._parts.pop(peer)
        while self._parts and len(self) + len(part[1]) + len(data) > SNAPSHOT_BYTES_MAX:
            del self._parts[next(iter(self._parts))]
        part[1].extend(data)
        self._parts[peer] = part

    def drop(self, peer: PeerId) -> None:
        """Forget the part of a device."""
        self._parts.pop(peer, None)

    def left(self, peer: PeerId) -> None:
        """Take note that a device is away."""
        if peer in self._parts:
            if self._away is not None and self._away != peer:
                self.drop(self._away)
            self._away = peer

    def came(self, peer: PeerId) -> None:
        """Take note that a device is here."""
        if self._away == peer:
            self._away = None


class SnapshotServer:
    """Our snapshot, made once for a session, so that all its chunks fit together."""

    __slots__ = ("_data", "_hash")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._hash = blake2b(data).digest()

    def chunk(self, offset: int) -> SnapshotResult:
        """Return the chunk at `offset`; the first one if the snapshot is shorter than that.

        A shorter one is another one than the peer thinks, and it will start again.
        """
        total = len(self._data)
        if offset > total:
            offset = 0
        data = self._data[offset : offset + CHUNK_BYTES]
        return SnapshotResult(total, offset, self._hash, data)


class SnapshotFetch:
    """One snapshot on its way to us; memory grows with what has arrived, not with the claim."""

    __slots__ = ("_cache", "_first", "_link", "_peer", "_session", "call_id")

    def __init__(self, link: SyncLink, session: str, cache: SnapshotCache) -> None:
        self._link = link
        self._peer = link.their_id
        self._session = session
        self._cache = cache
        self._first = True
        self.call_id = self._ask(len(cache.held(self._peer)[1]))

    def _ask(self, offset: int) -> int:
        params = SnapshotParams(self._session, offset)
        return self._link.call(params, SYNC_PROGRESS_TIMEOUT_S, size=CHUNK_BYTES)

    def receive(self, chunk: SnapshotResult) -> bytes | None:
        """Take the answer to the last call; return the whole snapshot once it is complete.

        Raises RemoteProtocolError when the chunks cannot belong together.
        """
        first, self._first = self._first, False
        if not 0 < chunk.total <= SNAPSHOT_BYTES_MAX:
            raise RemoteProtocolError(
                f"the peer's snapshot of {chunk.total} bytes is empty or larger than "
                f"{SNAPSHOT_BYTES_MAX} bytes and cannot be adopted"
            )
        digest, data = self._cache.held(self._peer)
        if digest != chunk.digest:
            if not first:
                raise RemoteProtocolError(
                    "the peer changed its snapshot while sending it"
                    if digest
                    else "the snapshots of other devices took the room of this one"
                )
            data = self._cache.begin(self._peer, chunk.digest)
            if chunk.offset:
                self.call_id = self._ask(0)
                return None
        self._append(data, chunk)
        self._link.emit(SyncProgress(self._link.peer_id, len(data), len(data) / chunk.total))
        if chunk.offset + len(chunk.data) < chunk.total:
            self.call_id = self._ask(len(data))
            return None
        whole = bytes(data)
        if blake2b(whole).digest() != chunk.digest:
            self._cache.drop(self._peer)
            raise RemoteProtocolError("the peer's snapshot does not have the hash it announced")
        return whole

    def _append(self, data: bytearray, chunk: SnapshotResult) -> None:
        """Add a chunk, which must come next and not be too large."""
        if chunk.offset != len(data) or len(chunk.data) > SNAPSHOT_CHUNK_BYTES_MAX:
            held = len(data)
            self._cache.drop(self._peer)
            raise RemoteProtocolError(
                f"a chunk of {len(chunk.data)} bytes at {chunk.offset} does not fit into the "
                f"peer's snapshot of {chunk.total} bytes, of which {held} are here"
            )
        self._cache.grow(self._peer, chunk.data)
