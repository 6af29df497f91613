"""The heart: one peer's log and tree, which together are its document.

Ops are folded in the order of their ids. One that belongs before others is put in its place by
taking the later ones back and applying them again; that costs in proportion to what was
concurrent and not to the history. State hashes are folded when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cytosol.crdt.admission import Admission
from cytosol.crdt.apply import Applier, is_too_large
from cytosol.crdt.changes import Changes
from cytosol.crdt.dates import Dates
from cytosol.crdt.find import Finder
from cytosol.crdt.inner import InnerEffects
from cytosol.crdt.log import Act, Coded, Log, Row, columns_of
from cytosol.crdt.mutate import Failed
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS, Names
from cytosol.crdt.quick import CREATED, undo_quick
from cytosol.crdt.savepoints import SavePoints
from cytosol.crdt.tree import MISSING, Step, Tree
from cytosol.crdt.undo import Trail, undo
from cytosol.limits import (
    DOCUMENT_PLACES_MAX,
)
from cytosol.model.ids import OpId, PeerId
from cytosol.model.json import JsonValue
from cytosol.model.op import Name, Op
from cytosol.model.version import ZERO_HASH, fold_hash

__all__ = ["Replica"]


class Replica:
    """A document that can be written here and merged with what others wrote.

    Not safe for several threads at once; the layer above takes care of that.
    """

    def __init__(self, author: PeerId, places_max: int = DOCUMENT_PLACES_MAX) -> None:
        self.names = Names()
        self.tree = Tree(self.names)
        self.log = Log(self.names)
        self.failures: dict[int, tuple[list[Step], str]] = {}
        self.finder = Finder(self.tree, self.log, self.failures)
        self.author = author
        self.number = self.names.number(author)
        self.latest: dict[PeerId, int] = {}
        self.changes = Changes()
        """Of `latest`, but for our own author, whose writes should not have to note it."""
        self.clock = 0
        self.dates = Dates(self.tree, self.log, self.finder, self.failures)
        self.applier = Applier(self.tree, self.finder, self.dates, places_max)
        self.waiting: dict[tuple[int, PeerId], Op] = {}
        self.trim: OpId | None = None
        self.trimmed: dict[PeerId, int] = {}
        self.trimmed_count = 0
        self.trim_hash = ZERO_HASH
        self.base_vectors: dict[PeerId, dict[PeerId, int]] = {}
        """What each author had seen when it made its newest trimmed op."""
        self.save_points = SavePoints()
        self._repeated: dict[int, list[int]] = {}
        """The ops that were issued again, in whole or in part, and by which."""
        self._coming: set[int] = set()
        """Ops that are being put into the log; only where there are re-issued ones."""
        self._told: dict[PeerId, int] = {}
        """What our own ops have told so far of what we had seen of others."""
        self.unsaid: dict[PeerId, int] = {}
        """What the next op of ours has to tell."""

    @property
    def document(self) -> dict[str, JsonValue]:
        """The document itself; callers must not change it."""
        value: dict[str, JsonValue] = self.tree.root.value
        return value

    # --- writing here -------------------------------------------------------------------

    def next_code(self) -> int:
        """Return the op part of the names of the next own op."""
        return (self.clock + 1) << AUTHOR_BITS | self.number

    def start_op(self, now_ms: int, body: Coded) -> int:
        """Add the row of a new own op, not applied yet; return the row."""
        index = self.clock + 1
        row = len(self.log)
        previous = self.latest.get(self.author, 0)
        self.log.append((index, self.number, previous, now_ms, *columns_of(body)))
        if self.unsaid:
            code = index << AUTHOR_BITS | self.number
            self.log.seen[code] = tuple(sorted(self.unsaid.items()))
        return row

    def commit_op(self, row: int) -> None:
        """Count an own op that was applied."""
        self.clock = self.log.indexes[row]
        self.latest[self.author] = self.clock
        if self.unsaid:
            self._told.update(self.unsaid)
            self.unsaid = {}

    def drop_op(self, row: int) -> None:
        """Remove the row of an own op that was started and taken back."""
        self.log.seen.pop(self.log.op_code(row), None)
        self.log.origins.pop(self.log.op_code(row), None)
        self.dates.rewind(row)
        self.log.cut(row)

    def perform(self, body: Coded, now_ms: int) -> int:
        """Log and apply an own op and return its row; raises Failed, then nothing has changed."""
        row = self.start_op(now_ms, body)
        try:
            self._apply_strictly(row)
        except Failed:
            self.drop_op(row)
            raise
        self.commit_op(row)
        return row

    def tell_news(self, clock: int) -> None:
        """Let the own op with this index tell what was seen of others."""
        self.log.seen[clock << AUTHOR_BITS | self.number] = self.news()
        self.told()

    def take_back(self, row: int) -> None:
        """Take back own ops from `row` to the end, as if they had never been dispatched."""
        while len(self.log) > row:
            last = len(self.log) - 1
            previous = self.log.previous[last]
            self._undo_row(last)
            seen = self.log.seen.get(self.log.op_code(last))
            self.drop_op(last)
            if seen is not None:
                for author, _ in seen:
                    self._told.pop(author, None)
                    self.unsaid[author] = self.latest[author]
            self.clock -= 1
            if previous:
                self.latest[self.author] = previous
            else:
                del self.latest[self.author]
        self.tree.note_undone()

    # --- merging ------------------------------------------------------------------------

    def merge(self, ops: Iterable[Op]) -> list[Op]:
        """Merge ops of any authors and return those that are now part of the history.

        Known ones are passed over; those that came too early wait, at most 4,096. The result
        holds new ops in order. Raises RemoteProtocolError when a limit is broken;
        nothing has been merged then.
        """
        admission = Admission(self.latest, self.clock, self.trim, self.waiting)
        new = admission.admit(ops)
        if not new:
            self.waiting = admission.waiting
            return []
        authors = len(self.names.authors)
        try:
            self._insert([self.log.encode_row(op) for op in new])
        except BaseException:
            for op in new:
                number = self.names.known_number(op.author)
                if number is not None:
                    self.log.forget(op.index << AUTHOR_BITS | number)
            self.names.forget_authors(authors)
            raise
        self.waiting = admission.waiting
        self.note_merged(admission.raised)
        return new

    def note_merged(self, raised: dict[PeerId, int]) -> None:
        """Take over what a merge has changed in the summary; the next own op tells it."""
        self.latest.update(raised)
        self.clock = max(self.clock, *raised.values())
        for author, index in raised.items():
            self.changes.note(author)
            if author != self.author and self._told.get(author, 0) < index:
                self.unsaid[author] = index

    def note_write(self, author: PeerId, index: int) -> None:
        """Count one op of another author that was merged; it is the newest of all."""
        self.latest[author] = self.clock = index
        self.unsaid[author] = index
        self.changes.note(author)

    def _insert(self, rows: list[Row]) -> None:
        """Put new rows, sorted, into the log and apply what follows from them."""
        authors = self.names.authors
        first = (rows[0][0], authors[rows[0][1]])
        start = len(self.log)
        if start and self.log.key(start - 1) > first:
            start = self.log.first_after(*first)
        if self.log.origins:
            start = min(start, self._first_repeated(rows))
        taken = self.rewind(start) if start < len(self.log) else []
        try:
            self.append_rows(self._merged(rows, taken) if taken else rows)
        except BaseException:  # whatever it is, what was there stays there
            self.applier.date = None
            self.rewind(start)
            self.append_rows(taken)
            raise

    def append_rows(self, rows: list[Row]) -> None:
        """Add rows at the end of the log and apply them."""
        if self.log.origins:
            self._coming = {row[0] << AUTHOR_BITS | row[1] for row in rows}
        for row in rows:
            at = len(self.log)
            self.log.append(row)
            self._apply_row(at)
        self._coming = set()

    def _first_repeated(self, rows: list[Row]) -> int:
        """Return the first row of the log that stands for one of some new ops."""
        first = len(self.log)
        for row in rows:
            for repeated in self._repeated.get(row[0] << AUTHOR_BITS | row[1], ()):
                at = self.log.find(repeated)
                first = min(first, at) if at >= 0 else first
        return first

    def rewind(self, start: int) -> list[Row]:
        """Take back all rows from `start` on and return them."""
        for row in range(len(self.log) - 1, start - 1, -1):
            self._undo_row(row)
        self.tree.note_undone()
        self.save_points.cut(self.trimmed_count + start)
        self.dates.rewind(start)
        return self.log.cut(start)

    def _merged(self, left: list[Row], right: list[Row]) -> list[Row]:
        authors = self.names.authors
        return sorted(left + right, key=lambda row: (row[0], authors[row[1]]))

    # --- applying -----------------------------------------------------------------------

    def _apply_row(self, row: int) -> None:
        """Apply a row; if it fails it names its places, and the failure is noted."""
        log = self.log
        form = log.steps[row]
        op_code = log.indexes[row] << AUTHOR_BITS | log.numbers[row]
        origin = log.origins.get(op_code)
        if type(form) is str and self._apply_simply(row, form, op_code):
            return
        trail: Trail = []
        log.undos[row] = trail
        body = log.coded(row)
        if (
            origin is not None
            and self._apply_origin(row, op_code, origin, trail)
            and not is_too_large(body)
        ):
            return
        acts: list[Act] = []
        if form is None:
            log.acts[row] = acts
        if origin is not None:
            self.dates.catch_up(row)
            self.applier.date = self.dates.date(op_code)
        try:
            self.applier.apply(body, op_code, trail, acts)
        except Failed as failed:
            self.failures[op_code] = failed.path, failed.message
            self.applier.skip(body, op_code, trail, acts)
            if origin is not None:
                self.tree.drop_origin(origin)  # a later one has its turn
        self.applier.date = None
        if form is not None:
            log.acts[row] = acts[0].up if acts else None

    def _apply_simply(self, row: int, key: str, op_code: int) -> bool:
        """Apply a `Set` of a primitive at a key the fast way, if nothing special is there."""
        log = self.log
        payload = log.payloads[row]
        kind = type(payload)
        if kind is dict or kind is list or (kind is str and len(payload) > 100_000):
            return False
        name = log.names[row]
        up = self.tree.root
        if name:
            found = self.finder.find(name)
            if found is None:
                return False
            place = self.tree.place_at(found[0], found[1])
            if place is None or type(place.value) is not dict or not self.tree.is_present(place):
                return False
            up = place
        container = up.value
        old = container.get(key, MISSING)
        if old is MISSING:
            if key in up.codes or self.tree.made >= self.applier.places_max:
                return False
            up.codes[key] = op_code << OFFSET_BITS
            self.tree.made += 1
            log.undos[row] = CREATED
        elif type(old) is dict or type(old) is list:
            return False
        else:
            log.undos[row] = old
        container[key] = payload
        log.acts[row] = up
        self.applier.mutator.touched.append((up, key))
        return True

    def _apply_origin(self, row: int, op_code: int, origin: int, trail: Trail) -> bool:
        """Note a re-issued op; return True if it has no effect because it was there before."""
        first = self.tree.origins.get(origin)
        if first is None and (
            (
                origin >= 0
                and (
                    self.tree.is_part_of_known(origin, op_code)
                    or self._knows(self.names.name(origin))
                )
            )
            or self.finder.find(origin) is not None
        ):
            first = origin
        if first is not None:
            self.log.acts[row] = first
            return True
        self.tree.add_origin(origin, op_code << OFFSET_BITS)
        trail.append((self.tree.drop_origin, origin))
        if origin >= 0:
            repeated = self._repeated.setdefault(origin >> OFFSET_BITS, [])
            repeated.append(op_code)
            trail.append((repeated.pop,))
        return False

    def _knows(self, name: Name) -> bool:
        """Tell whether the op of a name is here, or is just being put in."""
        if self.trimmed.get(name.author, 0) >= name.index:
            return True
        code = self.names.op_code(name.index, name.author)
        return code in self._coming or self.log.find(code) >= 0

    def _apply_strictly(self, row: int) -> None:
        """Apply an own row; raises Failed, then the row has had no effect."""
        log = self.log
        trail: Trail = []
        acts: list[Act] = []
        log.acts[row] = acts
        log.undos[row] = trail
        self.applier.apply(log.coded(row), log.op_code(row), trail, acts)
        if log.steps[row] is not None:
            log.acts[row] = acts[0].up if acts else None

    def _undo_row(self, row: int) -> None:
        log = self.log
        undone, act = log.undos[row], log.acts[row]
        if undone is None and act is None:
            return  # it was not applied
        op_code = log.op_code(row)
        if type(undone) is list:
            undo(undone)
            self.failures.pop(op_code, None)
        elif type(undone) is InnerEffects:
            undone.undo(self.applier.mutator.touched)
        else:
            code = op_code << OFFSET_BITS
            undo_quick(self.applier.mutator.touched, code, log.steps[row], act, undone)
        self.finder.forget(op_code)

    # --- hashes -------------------------------------------------------------------------

    def count(self) -> int:
        """Return how many ops this history has, trimmed ones included."""
        return self.trimmed_count + len(self.log)

    def state_hash(self) -> bytes:
        """Return the state hash, folding what is new since somebody last asked."""
        count, state_hash = self.save_points.last
        start, end = count - self.trimmed_count, len(self.log)
        for stop in _stops(start, end):
            state_hash = fold_hash(state_hash, self._ids(start, stop))
            self.save_points.add(stop + self.trimmed_count, state_hash)
            start = stop
        return state_hash

    def _ids(self, start: int, stop: int) -> Iterator[tuple[int, PeerId]]:
        """Return index and author of some rows, without a step of Python for each."""
        authors = map(self.names.authors.__getitem__, self.log.numbers[start:stop])
        return zip(self.log.indexes[start:stop], authors, strict=True)

    def hash_at(self, row: int) -> bytes:
        """Return the state hash before a row of the log."""
        self.state_hash()
        count, state_hash = self.save_points.before(self.trimmed_count + row)
        return fold_hash(state_hash, self._ids(count - self.trimmed_count, row))

    def news(self) -> tuple[tuple[PeerId, int], ...]:
        """Return what the next own op has to tell of what was seen of others."""
        return tuple(sorted(self.unsaid.items()))

    def told(self) -> None:
        """Note that an own op has told the news."""
        self._told.update(self.unsaid)
        self.unsaid = {}

    def reinsert(self, rows: list[Row]) -> None:
        """Put rows back that `rewind` has taken out, and apply them."""
        self._insert(rows)

    # --- forgetting ---------------------------------------------------------------------

    def drop_ops(self, idents: set[tuple[int, PeerId]]) -> None:
        """Forget ops as if they had never arrived: the newest ones of their authors."""
        if not idents:
            return
        first = min(idents)
        start = self.log.first_after(first[0] - 1, b"\xff" * 16)
        kept: list[Row] = []
        for row in self.rewind(start):
            author = self.names.authors[row[1]]
            if (row[0], author) not in idents:
                kept.append(row)
                continue
            code = row[0] << AUTHOR_BITS | row[1]
            self.log.forget(code)
            self.latest[author] = min(self.latest[author], row[2])
        self.latest = {author: index for author, index in self.latest.items() if index}
        self.changes = Changes()
        if kept:
            self._insert(kept)
        self.clock = max([*self.latest.values(), 0])
        self._told.clear()
        self.unsaid = {a: i for a, i in self.latest.items() if a != self.author}

    def trim_to(self, count: int) -> list[tuple[Op, list[Step], str]]:
        """Drop the first `count` ops; the document before the next one becomes the base.

        Every later op must have seen all that is dropped (`retention.clean_cut`). Returns the
        dropped ops that failed, with path and message.
        """
        trim_hash = self.hash_at(count)
        self._note_vectors(count)
        last = self.log.key(count - 1)
        rows = self.rewind(count)
        self.dates.trim(count)
        failed = []
        for row in range(count):
            index, author = self.log.key(row)
            self.trimmed[author] = index
            failure = self.failures.pop(self.log.op_code(row), None)
            if failure is not None:
                failed.append((self.log.op(row), *failure))
        self.log.drop(count)
        self.trimmed_count += count
        self.trim = OpId(*last)
        self.trim_hash = trim_hash
        self.save_points = SavePoints(self.trimmed_count, trim_hash)
        self.tree.forget_history()
        self.finder.forget_base()
        if rows:
            self._insert(rows)
        return failed

    def _note_vectors(self, count: int) -> None:
        log, authors = self.log, self.names.authors
        for row in range(count):
            author = authors[log.numbers[row]]
            vector = self.base_vectors.setdefault(author, {})
            vector.update(log.seen.get(log.op_code(row), ()))
            vector[author] = log.indexes[row]

    def op_at(self, index: int, author: PeerId) -> Op | None:
        """Return one op of the log."""
        number = self.names.known_number(author)
        if number is None:
            return None
        row = self.log.find(index << AUTHOR_BITS | number)
        return None if row < 0 else self.log.op(row)

    def renew_author(self, author: PeerId) -> None:
        """Write under another id from now on."""
        self.changes.note(self.author)
        self.author = author
        self.number = self.names.number(author)
        self._told.clear()
        self.unsaid = {a: i for a, i in self.latest.items() if a != author}

    def check_invariants(self) -> None:
        """Raise AssertionError if log, tree and counters do not fit together. Slow."""
        self.tree.check_invariants()
        keys = [self.log.key(row) for row in range(len(self.log))]
        assert keys == sorted(set(keys)), "the log is in order, each id once"
        newest = dict(self.trimmed)
        for index, author in keys:
            newest[author] = max(index, newest.get(author, 0))
        assert newest == self.latest, "the summary is that of the log"
        assert self.clock >= max(newest.values(), default=0), "the clock is not behind"
        chain = dict(self.trimmed)
        for row in range(len(self.log)):
            index, number, previous, *_rest = self.log.row(row)
            author = self.names.authors[number]
            assert previous == chain.get(author, 0), "every author's ops form a chain"
            chain[author] = index
        assert self.state_hash() == self._slow_hash(), "the hash is that of the ids"

    def _slow_hash(self) -> bytes:
        start = self.save_points.points()[0][1] if self.trimmed_count else ZERO_HASH
        return fold_hash(start, (self.log.key(row) for row in range(len(self.log))))


def _stops(start: int, end: int) -> list[int]:
    """Return where to keep save points on the way from one row to another.

    Gaps of about 4, 8, 16, ... backwards from the end, which is always one.
    """
    stops, stop, gap = [], end, 4
    while stop > start:
        stops.append(stop)
        stop = (stop - gap) // 4 * 4
        gap *= 2
    return stops[::-1]
