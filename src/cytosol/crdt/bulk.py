"""Merge a batch of plain writes column by column, as a first sync or a busy peer sends them.

A batch of nothing but `Set`s of primitives at keys of objects that are here, made in order by
authors whose earlier ops are here, needs no op looked at by itself, whatever objects they write to.
It comes after all that is here, or before ops that are as plain: those are taken back and written
again where they have written to the same slots, and else stay as they are. What else comes after
all that is here goes the way of `cytosol.crdt.mixed`, and what is left the general way; property
tests compare them.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Collection, Container, Hashable, Iterator, Sequence
from itertools import accumulate, compress, count, islice, repeat
from operator import xor
from typing import Any, TypeVar

from cytosol.crdt.heads import Heads, are_below
from cytosol.crdt.log import share_keys
from cytosol.crdt.mixed import merge_mixed
from cytosol.crdt.names import AUTHOR_BITS
from cytosol.crdt.plain import (
    are_plain_slots,
    codes_of,
    find_object,
    take_back_values,
    write_values,
)
from cytosol.crdt.quick import CREATED, PRIMITIVES, TEXT_MAX
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place, Slot
from cytosol.errors import ActionError
from cytosol.model.columns import AGAIN, KEY, KEY_AT_ROOT, NAME, SAME, Columns
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind
from cytosol.model.opcodec import read_name

__all__ = ["load_bulk", "merge_bulk"]

OPS_MIN = 4  # fewer are merged as fast one by one
FORMS = bytes((KEY_AT_ROOT, KEY))
IS_BY_NUMBER = bytes(way == AGAIN for way in range(256))
IN_FULL = re.compile(b"[^%c%c]" % (SAME, AGAIN), re.DOTALL)
"""Ways to tell a name other than by those told before."""

T = TypeVar("T")


def merge_bulk(
    replica: Replica,
    columns: Columns,
    *,
    is_watched: bool = True,
    quiet: Container[Hashable] = (),
) -> Idents:
    """Merge a whole batch the fast way and return the ids of its ops, all of them new.

    An empty collection says that nothing has changed, and that it has to go the general way. What
    was touched is noted only if somebody watches, and not in objects that are `quiet`.
    """
    if len(columns.index) < OPS_MIN or replica.waiting or replica.tree.origins:
        return Idents()  # an op may let others follow, or silence one that stood for it
    batch = _Batch(replica, columns)
    if not _is_plain(columns) or not batch.is_ready():
        mixed = merge_mixed(replica, columns, is_watched)
        return Idents() if mixed is None else Idents(mixed.indexes, mixed.authors)
    batch.apply()
    if is_watched:
        replica.applier.mutator.touched.extend(batch.slots(quiet))
    return Idents(batch.indexes, batch.authors)


def load_bulk(replica: Replica, columns: Columns) -> bool:
    """Merge a batch as `merge_bulk` does while nobody has to hear of it; tell whether it was."""
    return bool(merge_bulk(replica, columns, is_watched=False))


class Idents(Collection[tuple[int, PeerId]]):
    """The ids of some ops, which are put together when somebody looks at them."""

    __slots__ = ("_indexes", "authors")

    def __init__(self, indexes: Sequence[int] = (), authors: Sequence[PeerId] = ()) -> None:
        self._indexes = indexes
        self.authors = authors

    def __len__(self) -> int:
        return len(self._indexes)

    def __iter__(self) -> Iterator[tuple[int, PeerId]]:
        return zip(self._indexes, self.authors, strict=True)

    def __contains__(self, ident: object) -> bool:
        return any(ident == each for each in self)


def _is_plain(columns: Columns) -> bool:
    """Tell whether there is nothing but primitives set at keys, in columns that fit."""
    count = len(columns.index)
    payload = columns.payload
    if not count or columns.origin or columns.kind != bytes((Kind.SET,)) * count:
        return False
    if columns.count or columns.side or columns.fill or columns.spot:
        return False
    if columns.form.strip(FORMS) or len(columns.how) != 4 or len(columns.what) != 4:
        return False
    lengths = (columns.author, columns.previous, columns.time, columns.form, columns.key, payload)
    if any(len(column) != count for column in lengths):
        return False
    kinds = set(map(type, payload))
    if not kinds <= PRIMITIVES:
        return False
    if str in kinds and max(map(len, [item for item in payload if type(item) is str])) > TEXT_MAX:
        return False
    return float not in kinds or all(map(math.isfinite, [x for x in payload if type(x) is float]))


class _Batch(Heads):
    """One batch of plain writes on its way into a replica."""

    def __init__(self, replica: Replica, columns: Columns) -> None:
        super().__init__(replica, columns)
        self.places: list[Place] = []
        """The objects that are written to, in the order in which they are named in full."""
        self.names: list[int] = []
        """Their names."""
        self.which: list[int] = []
        """To which of them each op writes."""
        self.objects: dict[int, Place | None] = {}
        self.numbers = array("H")
        """Of the author of each op, here."""
        self.start = len(replica.log)
        """The first row that comes after the first op of the batch."""

    def is_ready(self) -> bool:
        """Read the batch and tell whether it can be applied; if not, nothing has changed."""
        names = self.replica.names
        known, is_ready = len(names.authors), False
        try:
            if self.read_numbers() and self.read_places() and self.fits():
                self._number_authors()
                is_ready = True
        finally:
            if not is_ready:
                names.forget_authors(known)
        return is_ready

    def _number_authors(self) -> None:
        """Read the numbers of the authors of its ops; of others that it names it needs none."""
        columns, number = self.columns, self.replica.names.number
        used = {who: number(columns.authors[who]) for who in set(columns.author)}
        if self.is_of_one:
            self.numbers = array("H", [used[columns.author[0]]]) * len(columns.author)
        else:
            self.numbers = array("H", map(used.__getitem__, columns.author))

    def read_places(self) -> bool:
        """Find the object of every op; False if one is not here or a name is strange."""
        form = self.columns.form
        try:
            if not self._read_names(form):
                return False
        except (ActionError, StopIteration, IndexError):
            return False
        if len(self.which) < len(form):
            root, told = len(self.places), iter(self.which)
            self.places.append(self.replica.tree.root)
            self.names.append(0)
            self.which = [next(told) if kind else root for kind in form]
        return True

    def _read_names(self, form: bytes) -> bool:
        """Find the objects of the ops that are not at the root."""
        columns, codes = self.columns, self.replica.names
        how, what = columns.how[NAME], iter(columns.what[NAME])
        if len(how) != form.count(KEY):
            return False
        ops = range(len(form)) if len(how) == len(form) else list(compress(count(), form))
        at = 0
        for told in IN_FULL.finditer(how):
            start = told.start()
            self._repeat(how[at:start], what)
            op, at = ops[start], start + 1
            author, index = self.authors[op], self.indexes[op]
            code = codes.code(read_name(how[start], what, columns.authors, author, index))
            place = self._object(code)
            if place is None:
                return False
            self.which.append(len(self.places))
            self.places.append(place)
            self.names.append(code)
        self._repeat(how[at:], what)
        return True

    def _repeat(self, how: bytes, what: Iterator[int]) -> None:
        """Find objects that were named before: as the last one, or by a number."""
        if not how:
            return
        if AGAIN not in how:
            self.which += repeat(self.which[-1], len(how))
            return
        told = list(islice(what, how.count(AGAIN)))
        if not are_below(told, len(self.places)):
            raise StopIteration
        objects = [self.which[-1], *told]
        self.which += map(objects.__getitem__, accumulate(how.translate(IS_BY_NUMBER)))

    def _object(self, code: int) -> Place | None:
        """Return the present object with a name, None if there is none."""
        if code not in self.objects:  # a batch changes no object, and comes back to a few
            self.objects[code] = find_object(self.replica, code)
        return self.objects[code]

    def fits(self) -> bool:
        """Tell whether every slot is as plain as the batch, and so is every later op."""
        replica, keys = self.replica, self.columns.key
        log = replica.log
        if replica.tree.made + len(keys) > replica.applier.places_max:
            return False
        first = (self.indexes[0], self.authors[0])
        if self.start and log.key(self.start - 1) > first:
            self.start = log.first_after(*first)
        if list in map(type, log.undos[self.start :]):
            return False  # a later op is not plain
        if set(map(type, log.steps[self.start :])) - {str}:
            return False  # nor is that
        return are_plain_slots(self.places, self.which, keys)

    def _collides(self) -> bool:
        """Tell whether a later op has written to a slot of the batch."""
        log = self.replica.log
        acts, steps = log.acts[self.start :], log.steps[self.start :]
        if set(steps).isdisjoint(self.columns.key):
            return False  # whatever objects they are in
        # Numbers instead of pairs: where two slots have one, it only takes longer.
        taken = set(map(xor, map(id, acts), map(hash, steps)))
        written = map(list(map(id, self.places)).__getitem__, self.which)
        return not taken.isdisjoint(map(xor, written, map(hash, self.columns.key)))

    def apply(self) -> None:
        """Write all values, and put the rows where they belong."""
        replica, columns = self.replica, self.columns
        log, tree = replica.log, replica.tree
        numbers = self.numbers
        for op, seen in self.seen.items():
            log.seen[self.indexes[op] << AUTHOR_BITS | numbers[op]] = seen
        has_one = len(self.places) == 1
        places = self._of_each(self.places, self.which, has_one)
        undos: list[Any] = [None] * len(places)
        start = end = len(log)
        if self.start < end and self._collides():
            start = self.start
            tail = slice(start, None)
            steps: Any = log.steps[tail]  # nothing but keys
            tree.made -= take_back_values(log.acts[tail], steps, log.undos[tail])
        else:
            codes = codes_of(self.indexes, numbers)
            undos = write_values(places, columns.key, columns.payload, codes)
            tree.made += undos.count(CREATED)
        log.extend_applied(
            self.indexes,
            numbers,
            self.previous,
            self.times,
            self._of_each(self.names, self.which, has_one),
            columns.key if CREATED in (undos[0], undos[-1]) else share_keys(columns.key),
            columns.payload,
            places,
            undos,
        )
        if self.start < end:
            log.merge_from(self.start, end)
            replica.save_points.cut(replica.trimmed_count + self.start)
            replica.dates.rewind(self.start)
        if start < end:
            self._write_again(start)
        replica.note_merged(self.raised)

    def _write_again(self, start: int) -> None:
        """Write what stands in the rows from one on, all of which were taken back."""
        log, tail = self.replica.log, slice(start, None)
        codes = codes_of(log.indexes[tail], log.numbers[tail])
        steps: Any = log.steps[tail]  # nothing but keys
        log.undos[tail] = write_values(log.acts[tail], steps, log.payloads[tail], codes)
        self.replica.tree.made += log.undos[tail].count(CREATED)

    def _of_each(self, table: list[T], which: list[int], is_one: bool) -> list[T]:
        """Return what belongs to each op, given where in a table; `is_one`: all the same."""
        if is_one:
            return [table[which[0]]] * len(which)
        return list(map(table.__getitem__, which))

    def slots(self, quiet: Container[Hashable]) -> Iterator[Slot]:
        """Yield the slots that were written, but for those in some objects."""
        is_heard = [place not in quiet for place in self.places]
        if True not in is_heard:
            return iter(())
        slots = zip(map(self.places.__getitem__, self.which), self.columns.key, strict=True)
        return compress(slots, map(is_heard.__getitem__, self.which))
