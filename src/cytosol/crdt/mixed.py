"""Merge a batch in which plain writes stand between other ops, all of it newer than what is here.

The ops are applied in their order, as the general way does; but plain writes in a row are written
as columns, if what is there when their turn comes is as plain. None of them becomes an op.
"""

from __future__ import annotations

from collections.abc import Sequence

from cytosol.crdt.heads import Heads
from cytosol.crdt.names import AUTHOR_BITS
from cytosol.crdt.plain import are_plain_slots, codes_of, find_object, write_values
from cytosol.crdt.quick import CREATED, PRIMITIVES, TEXT_MAX
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place
from cytosol.errors import ActionError
from cytosol.model.columns import Columns
from cytosol.model.json import JsonValue
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import SETS_MIN, Sets, decode_pieces

__all__ = ["merge_mixed"]


def merge_mixed(replica: Replica, columns: Columns, is_watched: bool) -> Heads | None:
    """Merge a whole batch whose ops are all new, and return what they are called.

    None says that nothing has changed, and that it has to go the general way. Raises what that
    raises while it applies ops; nothing has changed then, either.
    """
    count = len(columns.index)
    lengths = (columns.author, columns.previous, columns.time)
    if columns.origin or replica.log.origins or any(len(each) != count for each in lengths):
        return None
    if 2 * columns.kind.count(Kind.SET) < len(columns.kind):
        return None
    batch = Heads(replica, columns)
    if not batch.read_numbers():
        return None
    end = len(replica.log)
    if end and replica.log.key(end - 1) > (batch.indexes[0], batch.authors[0]):
        return None
    try:
        pieces = decode_pieces(columns, batch.authors, batch.indexes)
    except ActionError:
        return None  # the general way says what is wrong
    touched = replica.applier.mutator.touched
    before = len(touched)
    _Mixed(batch, is_watched).apply(pieces)
    if not is_watched:
        del touched[before:]
    return batch


class _Mixed:
    """A batch whose ops are applied one after the other, or many at once."""

    def __init__(self, batch: Heads, is_watched: bool) -> None:
        self.batch = batch
        self.replica = batch.replica
        self.is_watched = is_watched
        self.numbers: dict[int, int] = {}
        """Of the authors in the batch, by their number there."""
        self.objects: dict[int, Place | None] = {}
        self.shape = -1

    def apply(self, pieces: list[tuple[int, Body | Sets]]) -> None:
        """Log and apply everything, or nothing."""
        replica, batch = self.replica, self.batch
        log, names = replica.log, replica.names
        start, known = len(log), len(names.authors)
        noted: list[int] = []
        try:
            authors = batch.columns.authors
            self.numbers = {who: names.number(authors[who]) for who in set(batch.columns.author)}
            for op, seen in batch.seen.items():
                code = batch.indexes[op] << AUTHOR_BITS | self.numbers[batch.columns.author[op]]
                noted.append(code)
                log.seen[code] = seen
            for op, piece in pieces:
                if isinstance(piece, Sets):
                    self._add_sets(op, piece)
                else:
                    self._add(op, piece)
        except BaseException:  # whatever it is, what was there stays there
            replica.applier.date = None
            replica.rewind(start)
            for code in noted:
                log.forget(code)
            names.forget_authors(known)
            raise
        replica.note_merged(batch.raised)

    def _add(self, op: int, body: Body) -> None:
        """Log and apply one op."""
        batch = self.batch
        index, author, previous = batch.indexes[op], batch.authors[op], batch.previous[op]
        seen = batch.seen.get(op, ())
        made = Op(index, author, previous, batch.times[op], body, seen)
        self.replica.append_rows([self.replica.log.encode_row(made)])

    def _add_sets(self, op: int, sets: Sets) -> None:
        """Log and apply some `Set`s at keys."""
        numbers: dict[Name | None, int] = {}
        which = [numbers.setdefault(name, len(numbers)) for name in sets.names]
        code_of = self.replica.names.code
        codes = [0 if name is None else code_of(name) for name in numbers]
        names = list(map(codes.__getitem__, which))
        start = 0
        for stop in [*_special(sets.payloads), len(which)]:
            if start < stop:
                self._add_run(op, sets, names, start, stop)
            if stop < len(which):
                self._add_rows(op, sets, names, stop, stop + 1)
            start = stop + 1

    def _add_run(self, op: int, sets: Sets, names: list[int], start: int, stop: int) -> None:
        """Log and apply some of them, all of primitives."""
        if stop - start < SETS_MIN:
            self._add_rows(op, sets, names, start, stop)
        elif not self._write(op, sets, names, start, stop):
            middle = (start + stop) // 2  # what is not plain costs the more the more it is
            self._add_run(op, sets, names, start, middle)
            self._add_run(op, sets, names, middle, stop)

    def _add_rows(self, op: int, sets: Sets, names: list[int], start: int, stop: int) -> None:
        """Log and apply some of them, one by one."""
        batch, numbers = self.batch, self.numbers
        self.replica.append_rows(
            [
                (
                    batch.indexes[at],
                    numbers[batch.columns.author[at]],
                    batch.previous[at],
                    batch.times[at],
                    names[at - op],
                    sets.keys[at - op],
                    sets.payloads[at - op],
                )
                for at in range(op + start, op + stop)
            ]
        )

    def _write(self, op: int, sets: Sets, names: list[int], start: int, stop: int) -> bool:
        """Log and apply some of them at once; False if nothing was done, as not all are plain."""
        replica, batch = self.replica, self.batch
        keys, codes = sets.keys[start:stop], names[start:stop]
        numbered = {code: at for at, code in enumerate(dict.fromkeys(codes))}
        objects = [self._object(code) for code in numbered]
        places = [place for place in objects if place is not None]
        which = list(map(numbered.__getitem__, codes))
        if len(places) < len(objects) or not are_plain_slots(places, which, keys):
            return False
        if replica.tree.made + len(keys) > replica.applier.places_max:
            return False
        ops = slice(op + start, op + stop)
        indexes = batch.indexes[ops]
        authors = list(map(self.numbers.__getitem__, batch.columns.author[ops]))
        payloads = sets.payloads[start:stop]
        written = list(map(places.__getitem__, which))
        undos = write_values(written, keys, payloads, codes_of(indexes, authors))
        replica.tree.made += undos.count(CREATED)
        replica.log.extend_applied(
            indexes,
            authors,
            batch.previous[ops],
            batch.times[ops],
            codes,
            keys,
            payloads,
            written,
            undos,
        )
        if self.is_watched:
            replica.applier.mutator.touched.extend(zip(written, keys, strict=True))
        return True

    def _object(self, code: int) -> Place | None:
        """Return the present object with a name, None if there is none; 0 is the root."""
        tree = self.replica.tree
        if tree.shape != self.shape:
            self.shape = tree.shape
            self.objects = {0: tree.root}
        if code not in self.objects:
            self.objects[code] = find_object(self.replica, code)
        return self.objects[code]


def _special(payloads: Sequence[JsonValue]) -> list[int]:
    """Return which payloads are no primitives, or long texts."""
    kinds = set(map(type, payloads))
    if kinds <= PRIMITIVES and str not in kinds:
        return []
    return [
        at
        for at, payload in enumerate(payloads)
        if type(payload) not in PRIMITIVES or (type(payload) is str and len(payload) > TEXT_MAX)
    ]
