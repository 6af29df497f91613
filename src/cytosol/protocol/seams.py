"""What the protocol needs from the data side, declared here and joined in `database.py`.

The protocol never imports the document. Batches and snapshots are opaque bytes to it. Every
method returns quickly and may be called from the network's thread.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cytosol.model.ids import OpId, PeerId
from cytosol.model.version import News, StateSummary

__all__ = ["PairedPeer", "PairingsSeam", "Refusal", "Relation", "ReplicaSeam"]


class Relation(enum.Enum):
    """How the other's history stands to ours (spec: document, Retention)."""

    MERGE = "merge"  # ops can be exchanged; nothing is lost below a trim point
    THEY_ADOPT = "they adopt"  # our base wins: the other adopts our snapshot
    WE_ADOPT = "we adopt"  # the other's base wins: we adopt its snapshot


class ReplicaSeam(Protocol):
    """One peer's history, as far as syncing with one other peer needs it."""

    def summary(self, told: Mapping[PeerId, int] | None = None) -> StateSummary:
        """Return what we hold now.

        To a peer that has `told` what it holds, only the digests of authors of whom that is the
        same: no others are compared, and they take long to fold.
        """

    def news(self, since: object) -> News:
        """Return the newest indexes that have changed since a mark, and a new mark.

        All of them if nobody can tell: `since` is None, or ops were lost. No hash is folded.
        """

    def held(self, since: object) -> tuple[bytes, News]:
        """Return our state hash and what `news` does, of one moment."""

    def relation(self, theirs: StateSummary) -> Relation:
        """Tell what has to happen between us and a peer with this summary."""

    def note_latest(self, latest: Mapping[PeerId, int]) -> None:
        """Note what the peer of this connection says that it holds, durably."""

    def note_news(self, news: Mapping[PeerId, int]) -> None:
        """Note which of the newest indexes that the peer holds have changed."""

    def export_news(
        self, latest: Mapping[PeerId, int], behind: Collection[PeerId], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch as `export_missing` does, and which of `latest` it raises.

        Only of the authors in `behind` does the peer lack ops; nobody else is looked at.
        """

    def export_missing(
        self, latest: Mapping[PeerId, int], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch that a peer with `latest` lacks and its `latest` afterwards.

        None when it lacks nothing. Encoded, a batch takes at most about `max_bytes` (a single
        op may take more). Called again with the returned `latest` it goes on.
        """

    def export_after(
        self, shared: OpId | None, skip: int, max_bytes: int
    ) -> tuple[bytes, int] | None:
        """Return a batch of the ops after `shared` in the order, without the first `skip`.

        Also the new `skip`; None at the end.
        """

    def import_batch(self, data: bytes, sender: PeerId) -> bool:
        """Merge a batch; ops that came too early wait. False: it takes a full sync first.

        Raises RemoteProtocolError for damage and broken limits (nothing of it is merged),
        SaveError when the disk refuses (nothing of it is merged).
        """

    def save_points(self) -> Sequence[tuple[OpId, bytes]]:
        """Return our save points, oldest first: op id and state hash."""

    def find_last_shared(self, points: Sequence[tuple[OpId, bytes]]) -> OpId | None:
        """Return the latest of these ids whose state hash is also ours, or None."""

    def snapshot(self) -> bytes:
        """Return our base, whole, for a peer that has to adopt it."""

    def adopt(self, snapshot: bytes, sender: PeerId) -> None:
        """Adopt a peer's base and re-issue on top what it has not seen.

        Raises RemoteProtocolError for damage (nothing changes), SaveError.
        """


@dataclass(frozen=True, slots=True)
class PairedPeer:
    """A paired device: its id, its name when paired, and its pinned public key (32 bytes).

    `since_s` is the second of our clock at which a person paired it here, and `lifted_ms` names
    the refusal that this lifted; both are 0 if `shared_by` another device.
    """

    peer_id: PeerId
    name: str
    public_key: bytes
    since_s: float = 0.0
    lifted_ms: int = 0
    shared_by: PeerId | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device that must stay out: its key, and the second of our clock at which it was unpaired.

    `stamp_ms` is the time on the clock where that was done; it names the refusal, also where
    others tell of it, and is compared for being equal only. 0: nobody knows. `told_by` is the
    device that told us, None if a person unpaired it here.
    """

    public_key: bytes
    since_s: float = 0.0
    stamp_ms: int = 0
    told_by: PeerId | None = None


class PairingsSeam(Protocol):
    """Who is paired, and who has been refused; every change is durable on return."""

    def paired(self) -> Mapping[PeerId, PairedPeer]:
        """Return the paired devices by id."""

    def refused(self) -> Mapping[PeerId, Refusal]:
        """Return the devices that must stay out."""

    def add(self, peer: PairedPeer, by_hand: bool) -> None:
        """Pair; by hand lifts a refusal, otherwise a refused device stays out."""

    def refuse(
        self, refusals: Mapping[PeerId, Refusal], forgotten: Collection[PeerId] = ()
    ) -> None:
        """Refuse devices, which are not paired any more, and forget other refusals, at once."""

    def forget(self, peer_id: PeerId) -> None:
        """Drop a pairing that the other side has ended, without refusing it."""

    def addresses(self, peer_id: PeerId) -> Sequence[tuple[str, int]]:
        """Return the last known gateway addresses of a paired device, newest first."""

    def remember_address(self, peer_id: PeerId, ip_address: str, port: int) -> None:
        """Remember where a paired device was reached."""

    def wrong_codes(self) -> tuple[int, float]:
        """Return how many wrong codes were tried in a row, and the wall-clock second of the last.

        They survive restarts, so that guessing cannot be sped up by crashing us.
        """

    def set_wrong_codes(self, count: int, last_s: float) -> None:
        """Store what `wrong_codes` returns."""
