"""Where the protocol's seam meets the document: one peer's view of our history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate

from cytosol.crdt.grounds import Standing, standing
from cytosol.document.document import Document
from cytosol.document.events import HistoryAdopted, IdentityRenewed
from cytosol.errors import ActionError, RemoteProtocolError
from cytosol.model.ids import OpId, PeerId, format_id
from cytosol.model.opcodec import Columns, decode_columns, decode_grounds, unpack_foreign_columns
from cytosol.model.singlecodec import SINGLE, decode_single
from cytosol.model.version import News, StateSummary
from cytosol.protocol.seams import Relation

__all__ = ["PeerReplica"]


class PeerReplica:
    """The document as the sync with one peer sees it (the seam `ReplicaSeam`).

    `changed` is called after something was merged, `tell` with events.
    """

    def __init__(
        self,
        document: Document,
        peer_id: PeerId,
        changed: Callable[[], None],
        tell: Callable[[object], None],
    ) -> None:
        self._document = document
        self._peer_id = peer_id
        self._changed = changed
        self._tell = tell
        self._agreed: dict[PeerId, int] = {}
        """Up to where the peer is known to hold the same, since the last pair of summaries."""
        self._adoptions = document.history.adoptions

    def summary(self, told: Mapping[PeerId, int] | None = None) -> StateSummary:
        """Return what we hold now, to a peer that has told what it holds or has not."""
        with self._document.lock:
            return self._document.history.summary(self._peer_id, told)

    def latest(self) -> Mapping[PeerId, int]:
        """Return the newest index held of every author."""
        with self._document.lock:
            return self._document.history.latest()

    def news(self, since: object) -> News:
        """Return what of that has changed since a mark."""
        with self._document.lock:
            return self._document.history.news(since)

    def held(self, since: object = None) -> tuple[bytes, News]:
        """Return the state hash and, of the same moment, what `news` does."""
        with self._document.lock:
            return self._document.history.held(since)

    def relation(self, theirs: StateSummary) -> Relation:
        """Tell what has to happen between us and the peer."""
        history = self._document.history
        with self._document.lock:
            adopt = history.must_adopt(theirs, self._peer_id)
            ours = history.summary(self._peer_id, theirs.latest)
            self._adoptions = history.adoptions
        self._agreed = {
            author: index
            for author, index in ours.latest.items()
            if index == theirs.latest.get(author)
            and ours.contents[author] == theirs.contents.get(author)
        }
        if adopt is None:
            return Relation.MERGE
        return Relation.WE_ADOPT if adopt else Relation.THEY_ADOPT

    def note_latest(self, latest: Mapping[PeerId, int]) -> None:
        """Note what the peer holds, so that history can be trimmed."""
        with self._document.lock:
            self._document.history.note_latest(self._peer_id, latest)

    def note_news(self, news: Mapping[PeerId, int]) -> None:
        """Note what has changed in what the peer holds."""
        with self._document.lock:
            self._document.history.note_news(self._peer_id, news)

    def export_missing(
        self, latest: Mapping[PeerId, int], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch that a peer with `latest` lacks."""
        with self._document.lock:
            history = self._document.history
            agreed = self._agreed if history.adoptions == self._adoptions else None
            return history.export_missing(latest, max_bytes, agreed)

    def export_news(
        self, latest: Mapping[PeerId, int], behind: Collection[PeerId], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch that a peer with `latest` lacks of some authors."""
        with self._document.lock:
            history = self._document.history
            agreed = self._agreed if history.adoptions == self._adoptions else None
            return history.export_news(latest, behind, max_bytes, agreed)

    def export_after(
        self, shared: OpId | None, skip: int, max_bytes: int
    ) -> tuple[bytes, int] | None:
        """Return a batch of the ops after `shared`."""
        with self._document.lock:
            return self._document.history.export_after(shared, skip, max_bytes)

    def import_batch(self, data: bytes, sender: PeerId) -> bool:
        """Merge a batch of the peer; False if that takes a full sync first."""
        document, history = self._document, self._document.history
        try:
            if history.adoptions != self._adoptions or history.refuses(self._peer_id):
                return False  # it cannot know what we hold now, or nothing of it follows that
            if data[:1] == SINGLE:
                single = decode_single(data)
                if document.merge_single(single, data):
                    self._agreed[single.author] = single.index
                    return True
            columns = unpack_foreign_columns(data)
            if not self._fits(columns) or (history.has_base and self._refuses(columns)):
                return False
            try:
                new = document.merge_batch(columns, data)
            except RemoteProtocolError:
                if self._refuses(columns):
                    return False
                raise
            author = document.replica.author
            if author in new:
                self._renew()
            return True
        except ActionError as error:
            raise RemoteProtocolError(str(error)) from None
        finally:  # if the disk refuses, subscribers hear that the ops are gone again
            self._changed()

    def _fits(self, columns: Columns) -> bool:
        """Tell whether a batch builds on nothing else than what we hold, nor on more.

        More is brought by the next full sync; after something else it ends with an adoption.
        """
        history, grounds = self._document.history, decode_grounds(columns)
        with self._document.lock:
            found = standing(self._document.replica, history.contents, columns, grounds)
            if found is Standing.FORK:
                history.refuse_stale(self._peer_id, decode_columns(columns))
        if found is not Standing.FITS:
            return False
        self._agreed.update((author, index) for author, (index, _) in grounds.items())
        last = dict(zip(columns.author, accumulate(columns.index), strict=False))
        self._agreed.update((columns.authors[number], index) for number, index in last.items())
        return True

    def _refuses(self, columns: Columns) -> bool:
        """Tell whether ops do not fit our history, which is no fault of the peer's.

        Then the next full sync ends with an adoption.
        """
        history = self._document.history
        with self._document.lock:
            ops = decode_columns(columns)
            if not history.is_stale(ops):
                return False
            history.refuse_stale(self._peer_id, ops)
            return True

    def _renew(self) -> None:
        """Stop using an author id under which somebody else writes, too."""
        fresh = self._document.changing(self._document.history.renew_author)
        self._tell(
            IdentityRenewed(
                format_id(fresh),
                "a peer has writes under our id that we never made: this file was copied, "
                "or restored from a backup",
            )
        )

    def save_points(self) -> Sequence[tuple[OpId, bytes]]:
        """Return our save points, oldest first."""
        with self._document.lock:
            return self._document.history.save_points()

    def find_last_shared(self, points: Sequence[tuple[OpId, bytes]]) -> OpId | None:
        """Return the latest of these ids whose state hash is also ours, or None."""
        with self._document.lock:
            return self._document.history.find_last_shared(points)

    def snapshot(self) -> bytes:
        """Return our history for the peer, which has to adopt it."""
        with self._document.lock:
            data = self._document.history.snapshot(self._peer_id)
        self._tell(HistoryAdopted(format_id(self._peer_id), False, 0, 0))
        return data

    def _adopted(self, snapshot: bytes) -> tuple[int, int]:
        counts = self._document.history.adopt(snapshot)
        self._document.touch_everything()
        return counts

    def adopt(self, snapshot: bytes, sender: PeerId) -> None:
        """Adopt the peer's history and re-issue on top what it has not seen."""
        document = self._document
        try:
            reissued, failed = document.changing(lambda: self._adopted(snapshot))
        except ActionError as error:
            raise RemoteProtocolError(str(error)) from None
        self._tell(HistoryAdopted(format_id(sender), True, reissued, failed))
        self._changed()
