"""The history of a document: loading, listing, trimming, and what peers need of it.

Retention (spec: document): ops go once every paired device has them, keeping `min_history`, and
at the latest when there are more than `max_history`; -1 keeps everything. A device that then lacks
what went adopts a snapshot, and re-issues on top what only it has.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cytosol.crdt import retention
from cytosol.crdt.contents import Contents
from cytosol.crdt.export import encode_rows, missing_rows, row_size, starts_plain_run
from cytosol.crdt.grounds import grounds_of, hidden_forks
from cytosol.crdt.readopt import reissue
from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import Notes, export_base, load_base
from cytosol.document.acknowledgements import Acknowledgements
from cytosol.document.loading import Record
from cytosol.document.mending import Kept, copied_log, records_of
from cytosol.document.news import held_by_authors_of, news_since
from cytosol.document.reading import read_history
from cytosol.errors import ActionError, RemoteProtocolError
from cytosol.limits import BATCH_OPS_MAX, DOCUMENT_PLACES_MAX, FAILURES_KEPT_MAX
from cytosol.model.ids import OpId, PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.model.op import Op, body_to_json, op_to_json
from cytosol.model.opcodec import decode_ops
from cytosol.model.version import News, StateSummary

if TYPE_CHECKING:
    from cytosol.document.document import Document

__all__ = ["History"]

SLACK_MIN = 64  # trimming walks the whole document: not for a handful of ops


class History:
    """What a document keeps of its past; every method is called with the document's lock held."""

    def __init__(self, document: Document, min_history: int, max_history: int) -> None:
        self._document = document
        self._min = min_history
        self._max = max_history
        self._acks = Acknowledgements()
        self._paired: set[PeerId] = set()
        self._kept: list[dict[str, JsonValue]] = []
        self._notes = Notes()
        self._forgotten = 0
        self._dismissed: set[tuple[int, str]] = set()
        self.check_at = 0
        self._snapshot: bytes | None = None
        self._before_trim: Kept | None = None  # while it goes on, and there is no file
        self._refused: dict[PeerId, tuple[bytes, dict[PeerId, int]]] = {}
        self._own_since = 0
        self.adoptions = 0

    @property
    def _replica(self) -> Replica:
        return self._document.replica

    # --- loading ------------------------------------------------------------------------

    def load(self, author: bytes, tell: Callable[[float], None] | None = None) -> None:
        """Read base and ops from the journal; raises DatabaseCorruptError.

        `tell` is called with the part of the ops that is read.
        """
        journal = self._document.journal
        self._take(author, journal.load_base(), journal.load_batches(tell))
        replica = self._replica
        self._own_since = replica.latest.get(author, 0)
        if journal.is_scattered:
            journal.compact(replica.log)

    def _take(self, author: bytes, base: bytes | None, records: Iterable[Record]) -> Replica:
        read = read_history(self._document.journal, author, base, records)
        self._notes, self._snapshot = read.notes, base
        self._dismissed = read.dismissed
        self._set_kept(read.failures)
        self._kept = [record for record in self._kept if not self._is_dismissed(record)]
        self._document.use(read.replica)
        return read.replica

    def reload(self, old: Replica) -> None:
        """Read the history anew, after `drain`, and forget what is in memory.

        Without a save state that is read from the log of the old replica. Raises
        DatabaseCorruptError.
        """
        journal, author, dismissed = self._document.journal, old.author, self._dismissed
        if journal.is_kept:
            told = journal.get_meta("author")
            author = author if told is None else parse_id(told)
            new = self._take(author, journal.load_base(), journal.load_batches())
        else:
            base, log = self._before_trim or Kept(self._snapshot, old.log)
            new = self._take(author, base, records_of(log))
            self._dismissed = dismissed
            self._kept = [record for record in self._kept if not self._is_dismissed(record)]
        self._before_trim = None
        self.check_at = 0
        new.clock = max(new.clock, old.clock)  # an id that was reserved is given once
        new.waiting = dict(old.waiting)

    def renew_author(self) -> bytes:
        """Write under a fresh author id from now on, which is saved first."""
        author = self._random_id()
        self._document.journal.put_meta(author=format_id(author))
        self._replica.renew_author(author)
        self._own_since = 0
        return author

    def _random_id(self) -> bytes:
        """Return 16 fresh random bytes with the version and variant of a random UUID."""
        value = bytearray(self._document.random_bytes(16))
        value[6] = value[6] & 0x0F | 0x40
        value[8] = value[8] & 0x3F | 0x80
        return bytes(value)

    # --- metadata -----------------------------------------------------------------------

    def actions(self) -> JsonValue:
        """Return the ops of the log as JSON (seed: Metadata, actions)."""
        log = self._replica.log
        return [op_to_json(log.op(row)) for row in range(len(log))]

    def failures(self) -> JsonValue:
        """Return what could not be applied, with its payload, oldest first."""
        replica = self._replica
        listed = [dict(item) for item in self._kept]
        log = replica.log
        rows = sorted(log.find(code) for code in replica.failures)
        for row in rows:
            path, message = replica.failures[log.op_code(row)]
            record = _failure(log.op(row), path, message)
            if not self._is_dismissed(record):
                listed.append(record)
        return listed[-FAILURES_KEPT_MAX:]

    def forgotten_failures(self) -> int:
        """Return how many failures were too many to keep."""
        return self._forgotten

    def _is_dismissed(self, record: dict[str, Any]) -> bool:
        ident = record["id"]
        return (ident["index"], ident["author"]) in self._dismissed

    def dismiss(self, ids: Sequence[Mapping[str, Any]]) -> None:
        """Stop listing the failures of these ops; raises ActionError for what is no id."""
        dismissed = set(self._dismissed)
        for ident in ids:
            try:
                index, author = ident["index"], format_id(parse_id(ident["author"]))
            except (KeyError, TypeError, ActionError):
                index, author = None, ""
            if type(index) is not int:
                raise ActionError(
                    f"{ident!r} is not the id of a failure; "
                    "pass the `id` members of the failures to dismiss"
                )
            dismissed.add((index, author))
        self._document.journal.put_meta(dismissed=[list(item) for item in sorted(dismissed)])
        self._dismissed = dismissed
        self._kept = [record for record in self._kept if not self._is_dismissed(record)]

    def _keep(self, failed: Sequence[tuple[Op, list[Any], str]]) -> None:
        for op, path, message in failed:
            record = _failure(op, path, message)
            if self._is_dismissed(record):
                self._dismissed.discard((op.index, format_id(op.author)))
            else:
                self._kept.append(record)
        extra = len(self._kept) - FAILURES_KEPT_MAX
        if extra > 0:
            self._forgotten += extra
            del self._kept[:extra]

    def _set_kept(self, failures: Sequence[Any]) -> None:
        self._kept = [
            item for item in failures if type(item) is dict and type(item.get("id")) is dict
        ]

    # --- trimming -----------------------------------------------------------------------

    def set_paired(self, peers: set[PeerId]) -> None:
        """Say which devices are paired: ops wait for all of them."""
        self._paired = set(peers)
        self._acks.keep(self._paired)
        for gone in self._refused.keys() - self._paired:
            del self._refused[gone]
        self.check_at = 0
        self._document.settle()  # what was to be logged together reaches no further than it was

    def note_latest(self, peer: PeerId, latest: Mapping[PeerId, int]) -> None:
        """Note what a paired device says that it holds."""
        self._acks.note_latest(self._replica, peer, latest)

    def note_news(self, peer: PeerId, news: Mapping[PeerId, int]) -> None:
        """Note what has changed in what a paired device says that it holds."""
        self._acks.note_news(self._replica, peer, news)

    def is_due(self) -> bool:
        """Tell whether it is worth looking whether ops can go."""
        return len(self._replica.log) >= self.check_at

    def trim(self) -> None:
        """Drop the ops that nobody needs any more, if they are enough to be worth it."""
        replica = self._replica
        slack = max(SLACK_MIN, replica.tree.made // 64)
        if self._min == -1 or (self._max == -1 and not self._paired):
            self.check_at = 1 << 62
            return
        self._document.journal.drain()  # an op that may still be taken back cannot be trimmed
        length = len(replica.log)
        count = 0
        most = max(self._max, self._min)
        too_many = most + min(slack, most // 4) + 1
        if self._max != -1 and length >= too_many:
            count = length - most
        if self._paired and length - self._min > slack:
            stable = min(self._stable_rows(), length - self._min)
            count = max(count, stable if stable > slack else 0)
        count = retention.clean_cut(replica, min(count, length - max(self._min, 0)))
        # Look again when the log has grown by as much as looking costs.
        self.check_at = length + max(SLACK_MIN, length // 4)
        if count <= 0:
            return
        self._trim_to(count)
        self.check_at = len(replica.log) + max(SLACK_MIN, slack // 2)
        if self._max != -1 and len(replica.log) < too_many:
            self.check_at = min(self.check_at, too_many)

    def _stable_rows(self) -> int:
        """Return how many of the first ops all paired devices have."""
        replica = self._replica
        stable = len(replica.log)
        for peer in self._paired:
            held = self._acks.held(replica, peer)
            stable = min(stable, retention.known_rows(replica, held))
        return stable

    def _trim_to(self, count: int) -> None:
        replica = self._replica
        if not self._document.journal.is_kept:
            self._before_trim = Kept(self._snapshot, copied_log(replica.log))
        touched = list(replica.applier.mutator.touched)
        rows = replica.rewind(count)
        self._notes.contents.advance(replica, count)
        self._keep(replica.trim_to(count))
        self._notes.failures = list(self._kept)
        base = export_base(replica, self._notes)
        journal = self._document.journal
        # The text journal shows the base's document, and the one in memory goes on.
        document = _copied(replica.document) if journal.is_text else None
        if rows:
            replica.reinsert(rows)
        replica.applier.mutator.touched[:] = touched
        self._snapshot = base
        journal.rewrite(base, replica.log, document, {"failures": []})  # the base has them all
        self._before_trim = None

    # --- what peers need ----------------------------------------------------------------

    def _settled(self) -> int:
        """Return how many rows of the log peers may know of: the disk can still refuse the rest.

        Numbers of ops that were refused are used again, so no peer may have heard of them.
        """
        first = self._document.journal.first_unsaved()
        log = self._replica.log
        return len(log.indexes) if first is None else log.first_after(first[0] - 1, b"\xff" * 16)

    def latest(self) -> dict[PeerId, int]:
        """Return the newest durable index of every author."""
        return self.news(None).latest

    def _unsettled(self, settled: int) -> dict[PeerId, int]:
        """Return the newest durable index, or 0, of the authors in the rows after those."""
        log, authors = self._replica.log, self._replica.names.authors
        rows = range(len(log.indexes) - 1, settled - 1, -1)
        if not rows:
            return {}
        return {authors[log.numbers[row]]: log.previous[row] for row in rows}

    def news(self, since: object) -> News:
        """Return what has changed in `latest` since a mark; it costs no more than that."""
        replica = self._replica
        changes, author = replica.changes, replica.author
        if since == (changes, changes.count) and self._document.journal.first_unsaved() is None:
            index = replica.latest.get(author)  # mostly nobody else has written
            return News({author: index} if index else {}, False, since)
        return news_since(replica, self._unsettled(self._settled()), since)

    def held(self, since: object = None) -> tuple[bytes, News]:
        """Return the state hash of what is durable, and the news of it."""
        replica, settled = self._replica, self._settled()
        is_all = settled == len(replica.log)
        return replica.state_hash() if is_all else replica.hash_at(settled), self.news(since)

    def took_back(self) -> None:
        """Forget what was remembered of ops that are gone: their numbers are used again."""
        self._notes.contents.forget()

    def summary(
        self, peer: PeerId | None = None, told: Mapping[PeerId, int] | None = None
    ) -> StateSummary:
        """Return what we hold now, as far as it is durable; `peer` is to read it.

        If it has `told` what it holds, digests are left out of authors of whom that is not the
        same: nobody compares them.
        """
        replica, digest = self._replica, self._notes.contents.digest
        latest = self.latest()
        same = [who for who in latest if told is None or told.get(who) == latest[who]]
        return StateSummary(
            replica.hash_at(self._settled()),
            latest,
            replica.trim,
            replica.trim_hash,
            dict(replica.trimmed),
            {} if peer is None else self._refused_of(peer),
            {who: digest(replica, who, latest[who]) for who in same},
        )

    def must_adopt(self, their: StateSummary, peer: PeerId | None = None) -> bool | None:
        """Tell what a peer with this summary and we have to do: None: merge; else who adopts.

        True: we adopt its history. Follows from the two summaries alone, so that both sides decide
        alike: of two bases the greater (trim point, state hash) wins; of two contents
        under the same ids the one with the smaller digest.
        """
        ours = self.summary(peer, their.latest)
        forks = [
            (ours.contents[author], digest)
            for author, digest in sorted(their.contents.items())
            if their.latest.get(author) == ours.latest.get(author)
            and ours.contents.get(author, digest) != digest
        ]
        # What was refused may have come another way meanwhile.
        is_same = ours.latest == their.latest and ours.state_hash == their.state_hash
        if (
            not forks
            and (is_same or not (ours.refused or their.refused))
            and not retention.lacks(their.latest, ours.trimmed)
            and not retention.lacks(ours.latest, their.trimmed)
        ):
            if is_same and peer is not None:
                self._refused.pop(peer, None)
            return None
        our_base = (ours.trim or OpId(0, b""), ours.trim_hash)
        their_base = (their.trim or OpId(0, b""), their.trim_hash)
        if our_base != their_base:
            return our_base < their_base
        if forks:
            return forks[0][0] > forks[0][1]
        # Only one of us knows what does not fit; anything on which both agree will do.
        return (ours.state_hash, sorted(ours.latest.items())) > (
            their.state_hash,
            sorted(their.latest.items()),
        )

    def export_missing(
        self,
        latest: Mapping[PeerId, int],
        max_bytes: int,
        agreed: dict[PeerId, int] | None = None,
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch that a peer with `latest` lacks, and its `latest` afterwards.

        `agreed` is up to where it is known to hold the same, and is raised by what the batch tells.
        """
        news = self.export_news(latest, self._replica.latest, max_bytes, agreed)
        return None if news is None else (news[0], {**latest, **news[1]})

    def export_news(
        self,
        latest: Mapping[PeerId, int],
        behind: Collection[PeerId],
        max_bytes: int,
        agreed: dict[PeerId, int] | None = None,
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        """Return the next batch as `export_missing`, and what of `latest` it raises.

        Only for the authors in `behind` the peer may lack anything; nobody else is looked at.
        """
        replica = self._replica
        log, settled = replica.log, self._settled()
        unsettled = self._unsettled(settled)
        missing = [
            latest.get(author, 0)
            for author in behind
            if unsettled.get(author, replica.latest.get(author, 0)) > latest.get(author, 0)
        ]
        if not missing:
            return None
        start = log.first_after(min(missing), b"\xff" * 16)
        after = held_by_authors_of(replica, range(start, settled), latest)
        rows = missing_rows(log, range(start, settled), after, max_bytes)
        if not rows:
            return None
        brings = {who: index for who, index in after.items() if index > latest.get(who, 0)}
        return self._encoded(rows, {} if agreed is None else agreed), brings

    def export_after(
        self, shared: OpId | None, skip: int, max_bytes: int
    ) -> tuple[bytes, int] | None:
        """Return a batch of the ops after `shared`, without the first `skip`."""
        log = self._replica.log
        start = 0 if shared is None else log.first_after(*shared)
        rows: list[int] = []
        size = 0
        for row in range(start + skip, self._settled()):
            if rows and starts_plain_run(log, row):
                break
            rows.append(row)
            size += row_size(log, row)
            if size >= max_bytes or len(rows) >= BATCH_OPS_MAX:
                break
        return (self._encoded(rows, {}), skip + len(rows)) if rows else None

    def _encoded(self, rows: Sequence[int], agreed: dict[PeerId, int]) -> bytes:
        replica = self._replica
        grounds = grounds_of(replica, self.contents, rows, agreed)
        return encode_rows(replica.log, rows, grounds)

    @property
    def contents(self) -> Contents:
        """The digests over what the ops say."""
        return self._notes.contents

    def save_points(self) -> list[tuple[OpId, bytes]]:
        """Return our save points, oldest first."""
        replica = self._replica
        replica.state_hash()
        points = []
        end = self._settled()
        for count, state_hash in replica.save_points.points():
            row = count - replica.trimmed_count - 1
            if row >= end:
                break
            if row >= 0:
                points.append((OpId(*replica.log.key(row)), state_hash))
            elif replica.trim is not None:
                points.append((replica.trim, state_hash))
        return points

    def find_last_shared(self, points: Sequence[tuple[OpId, bytes]]) -> OpId | None:
        """Return the latest of these ids whose state hash is ours, too."""
        replica = self._replica
        for ident, state_hash in reversed(points):
            if ident == replica.trim and state_hash == replica.trim_hash:
                return ident
            number = replica.names.known_number(ident.author)
            if number is None:
                continue
            row = replica.log.find(ident.index << 16 | number)
            if row >= 0 and replica.hash_at(row + 1) == state_hash:
                return ident
        return None

    # --- adoption -----------------------------------------------------------------------

    def snapshot(self, peer: PeerId | None = None) -> bytes:
        """Return our base and the ops on top of it, for a peer that has to adopt them."""
        if peer is not None:
            self._refused.pop(peer, None)  # once it has adopted, its ops fit
        base = self._snapshot or b""
        log = self._replica.log
        ops = encode_rows(log, range(self._settled()))
        return struct.pack(">I", len(base)) + base + ops

    def adopt(self, snapshot: bytes) -> tuple[int, int]:
        """Take a peer's history for ours and re-issue on top what it had not seen.

        Returns how many ops were re-issued and how many of them failed. Raises ActionError for
        damage; nothing has changed then.
        """
        try:
            return self._adopt(snapshot)
        except RecursionError:  # names of copies of copies, and what they lead to
            raise ActionError("a snapshot is damaged: it is nested too deep") from None

    def _adopt(self, snapshot: bytes) -> tuple[int, int]:
        if len(snapshot) < 4:
            raise ActionError("a snapshot is damaged: it is too short")
        length = struct.unpack(">I", snapshot[:4])[0]
        base = snapshot[4 : 4 + length]
        ops = decode_ops(snapshot[4 + length :])
        self._document.journal.drain()
        old = self._replica
        author = self._random_id()
        if base:
            replica, notes = load_base(base, author, DOCUMENT_PLACES_MAX)
        else:
            replica, notes = Replica(author), Notes()
        document = _copied(replica.document)
        try:
            replica.merge(ops)
        except RemoteProtocolError as error:
            raise ActionError(str(error)) from None
        replica.renew_author(author)
        # Ops under our own id that we never made: this file is a copy, or was restored.
        is_split = replica.latest.get(old.author, 0) > old.latest.get(old.author, 0)
        since = self._own_since if is_split else None
        hidden = hidden_forks(old, self.contents, replica, notes.contents)
        count = reissue(old, replica, since, hidden)
        if not count and not is_split:
            replica.renew_author(old.author)
            author = old.author
        own = [record for record in self._kept if record not in notes.failures]
        metas: dict[str, JsonValue] = {"author": format_id(author), "failures": own}
        self._document.journal.rewrite(base or None, replica.log, document, metas)
        # Nothing before has changed anything here, so that a full disk leaves us as we were.
        self._set_kept([*notes.failures, *own])
        self._notes = notes
        self._snapshot = base or None
        self._refused.clear()
        self._own_since = 0
        self.check_at = 0
        self.adoptions += 1
        self._document.use(replica)
        failed = sum(1 for code in replica.failures if code & 0xFFFF == replica.number)
        return count, failed

    @property
    def has_base(self) -> bool:
        """Whether something was trimmed, so that not every op can be merged."""
        return self._replica.trim is not None

    def is_stale(self, ops: Sequence[Op]) -> bool:
        """Tell whether a peer's op was made without knowing all of our base, or as our op was not.

        The latter follows another op of its author than the one that we hold: a fork.
        """
        replica = self._replica
        vectors: dict[PeerId, dict[PeerId, int]] = {}
        latest: dict[PeerId, int] = {}
        for op in sorted(ops, key=lambda op: op.id):
            author = op.author
            have = latest.get(author, replica.latest.get(author, 0))
            if op.index <= have:
                continue
            if op.previous < have:
                return True
            if op.previous == have:
                latest[author] = op.index
            if replica.trim is None:
                continue
            if op.id <= replica.trim:
                return True
            if op.previous > have:
                continue  # it waits for ops that may have seen more than it tells: they are asked
            if replica.latest.get(author, 0) > replica.trimmed.get(author, 0):
                continue  # what stands above the base has seen it, so what follows has, too
            vector = vectors.setdefault(author, dict(replica.base_vectors.get(author, {})))
            vector.update(op.seen)
            vector[author] = op.index
            if retention.lacks(vector, replica.trimmed):
                return True
        return False

    def refuse_stale(self, peer: PeerId, ops: Sequence[Op]) -> None:
        """Note that a peer's ops do not fit our base; our next summary tells it."""
        newest: dict[PeerId, int] = {}
        for op in ops:
            newest[op.author] = max(op.index, newest.get(op.author, 0))
        self._refused[peer] = (self._replica.trim_hash, newest)

    def refuses(self, peer: PeerId) -> bool:
        """Tell whether ops of a peer were refused, so that one of us has to adopt."""
        return bool(self._refused_of(peer))

    def _refused_of(self, peer: PeerId) -> dict[PeerId, int]:
        """Return what we refused of a peer, as long as our base is still the same."""
        trim_hash, newest = self._refused.get(peer, (b"", {}))  # a base's hash is never empty
        return newest if trim_hash == self._replica.trim_hash else {}


def _failure(op: Op, path: list[Any], message: str) -> dict[str, JsonValue]:
    body = body_to_json(op.body)
    return {
        "id": {"author": format_id(op.author), "index": op.index},
        "path": list(path),
        "message": message,
        "action": body["action"],
        "payload": body.get("payload"),
    }


def _copied(value: JsonValue) -> JsonValue:
    return marshal.loads(marshal.dumps(value))
