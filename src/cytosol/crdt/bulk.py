"""Merge a batch of plain writes column by column, as a first sync or a busy peer sends them.

A batch of nothing but `Set`s of primitives at keys of objects that are here, made in order by
authors whose earlier ops are here, needs no op looked at by itself, whatever objects they write to.
It comes after all that is here, or before ops that are as plain: those are taken back and written
again where they have written to the same slots, and else stay as they are. Everything else is left
to the general way; a property test compares the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain, compress, count, islice, repeat
from operator import lt, sub
from typing import Any

from cytosol.crdt.log import Log
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.quick import CREATED, PRIMITIVES, TEXT_MAX
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place, Slot
from cytosol.errors import ActionError
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.columns import AGAIN, KEY, KEY_AT_ROOT, NAME, SAME, Columns
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind
from cytosol.model.opcodec import read_name

__all__ = ["load_bulk", "merge_bulk"]

OPS_MIN = 4  # fewer are merged as fast one by one
FORMS = bytes((KEY_AT_ROOT, KEY))
CONTAINERS = frozenset({dict, list})
TOLD_AGAIN = bytes((AGAIN,))
IN_FULL = re.compile(b"[^%c%c]" % (SAME, AGAIN), re.DOTALL)
"""Ways to tell a name other than by those told before."""


def merge_bulk(replica: Replica, columns: Columns, *, is_watched: bool = True) -> Idents:
    """Merge a whole batch the fast way and return the ids of its ops, all of them new.

    An empty collection says that nothing has changed, and that it has to go the general way. What
    was touched is noted only if somebody watches.
    """
    batch = _fitting(replica, columns)
    if batch is None:
        return Idents()
    batch.apply()
    if is_watched:
        replica.applier.mutator.touched.extend(batch.slots())
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


def _fitting(replica: Replica, columns: Columns) -> _Batch | None:
    """Return a batch that can be merged the fast way, else None."""
    if len(columns.index) < OPS_MIN or not _is_plain(columns):
        return None
    if replica.waiting or replica.tree.origins:
        return None  # an op of the batch may let others follow, or silence one that stood for it
    batch = _Batch(replica, columns)
    return batch if batch.read_numbers() and batch.read_places() and batch.fits() else None


def _is_plain(columns: Columns) -> bool:
    """Tell whether there is nothing but primitives set at keys, in columns that fit."""
    count = len(columns.index)
    payload = columns.payload
    if not count or columns.origin or columns.kind != bytes((Kind.SET,)) * count:
        return False
    if columns.form.strip(FORMS) or len(columns.how) != 4 or len(columns.what) != 4:
        return False
    lengths = (columns.author, columns.previous, columns.time, columns.form, columns.key, payload)
    if any(len(column) != count for column in lengths):
        return False
    kinds = set(map(type, payload))
    if not kinds <= PRIMITIVES or (str in kinds and _longest(payload) > TEXT_MAX):
        return False
    if float in kinds:
        return all(math.isfinite(item) for item in payload if type(item) is float)
    return True


def _longest(payload: list[Any]) -> int:
    return max(len(item) for item in payload if type(item) is str)


class _Batch:
    """One batch on its way into a replica."""

    def __init__(self, replica: Replica, columns: Columns) -> None:
        self.replica = replica
        self.columns = columns
        self.indexes = list(accumulate(columns.index))
        self.times = list(accumulate(columns.time))
        self.previous: list[int] = []
        self.authors: list[PeerId] = []
        self.raised: dict[PeerId, int] = {}
        self.seen: dict[int, tuple[tuple[PeerId, int], ...]] = {}
        self.places: list[Place] = []
        """The objects that are written to, in the order in which they are named in full."""
        self.names: list[int] = []
        """Their names."""
        self.which: list[int] = []
        """To which of them each op writes."""
        self.objects: dict[int, Place | None] = {}
        self.start = len(replica.log)
        """The first row that comes after the first op of the batch."""

    def read_numbers(self) -> bool:
        """Check ids and chains; False if an op is known, early, or strange."""
        columns, indexes = self.columns, self.indexes
        authors = columns.authors
        if any(len(author) != 16 for author in authors) or len(set(authors)) != len(authors):
            return False
        if not _are(columns.author, len(authors)):
            return False
        if min(self.times) < 0 or max(self.times) > LAMPORT_MAX or min(columns.previous) <= 0:
            return False
        if indexes[0] <= 0 or indexes[-1] > LAMPORT_MAX or not self._read_seen():
            return False
        steps = columns.index[1:]
        if indexes[0] > self.replica.clock + LAMPORT_LEAP_MAX:
            return False
        if steps and max(steps) > LAMPORT_LEAP_MAX:
            return False  # above our clock, or above an op of this batch that is above it
        self.authors = list(map(authors.__getitem__, columns.author))
        if steps and min(steps) <= 0:
            idents = list(zip(indexes, self.authors, strict=True))
            if not all(map(lt, idents, idents[1:])):
                return False
        self.previous = list(map(sub, indexes, columns.previous))
        if not self._follow_on():
            return False
        trim = self.replica.trim
        return trim is None or (indexes[0], self.authors[0]) > trim

    def _follow_on(self) -> bool:
        """Check that every op follows the last one of its author, and that what it saw is here."""
        latest, authors = self.replica.latest, self.columns.authors
        newest = [latest.get(author, 0) for author in authors]
        number_of = {author: who for who, author in enumerate(authors)}
        ops = zip(self.columns.author, self.indexes, self.previous, strict=True)
        start = 0
        for stop in [*sorted(self.seen), len(self.indexes)]:
            for who, index, previous in islice(ops, stop - start):
                if newest[who] != previous:
                    return False
                newest[who] = index
            for author, known in self.seen.get(stop, ()):
                if newest[number_of[author]] < known:
                    return False
            start = stop
        pairs = zip(authors, newest, strict=True)
        self.raised = {who: index for who, index in pairs if index > latest.get(who, 0)}
        return True

    def _read_seen(self) -> bool:
        column, authors, at = self.columns.seen, self.columns.authors, 0
        while at < len(column):
            end = at + 2 + 2 * column[at + 1] if at + 1 < len(column) else 0
            number = column[at]
            if not at + 2 < end <= len(column) or not 0 <= number < len(self.indexes):
                return False
            index = self.indexes[number]
            pairs = list(zip(column[at + 2 : end : 2], column[at + 3 : end : 2], strict=True))
            if number in self.seen or any(
                not 0 <= who < len(authors) or not 0 < back < index for who, back in pairs
            ):
                return False
            self.seen[number] = tuple((authors[who], index - back) for who, back in pairs)
            at = end
        return True

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
        """Find objects that were named before."""
        first, *others = how.split(TOLD_AGAIN)
        if first:
            self.which += repeat(self.which[-1], len(first))
        if not others:
            return
        told = list(islice(what, len(others)))
        if len(told) < len(others) or not _are(told, len(self.places)):
            raise StopIteration
        if len(others) < len(how):
            times = [len(same) + 1 for same in others]
            self.which += chain.from_iterable(map(repeat, told, times))
        else:
            self.which += told

    def _object(self, code: int) -> Place | None:
        """Return the present object with a name, None if there is none."""
        if code not in self.objects:  # a batch changes no object, and comes back to a few
            self.objects[code] = self._find_object(code)
        return self.objects[code]

    def _find_object(self, code: int) -> Place | None:
        if code >> OFFSET_BITS == 0:
            return None
        found = self.replica.finder.find(code)
        if found is None or found[2]:
            return None
        place = self.replica.tree.place_at(found[0], found[1])
        if place is None or type(place.value) is not dict:
            return None
        return place if self.replica.tree.is_present(place) else None

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
        values = map([place.value for place in self.places].__getitem__, self.which)
        if not CONTAINERS.isdisjoint(map(type, map(dict.get, values, keys))):
            return False
        return not any(len(place.codes) > len(place.value) for place in self.places) or all(
            key in self.places[at].value or key not in self.places[at].codes
            for at, key in zip(self.which, keys, strict=True)
        )

    def _collides(self) -> bool:
        """Tell whether a later op has written to a slot of the batch."""
        log = self.replica.log
        acts, steps = log.acts[self.start :], log.steps[self.start :]
        taken = set(zip(map(id, acts), steps, strict=True))
        written = map(list(map(id, self.places)).__getitem__, self.which)
        return not taken.isdisjoint(zip(written, self.columns.key, strict=True))

    def apply(self) -> None:
        """Write all values, and put the rows where they belong."""
        replica, columns = self.replica, self.columns
        log, tree = replica.log, replica.tree
        table = [replica.names.number(author) for author in columns.authors]
        numbers = list(map(table.__getitem__, columns.author))
        for number, seen in self.seen.items():
            log.seen[self.indexes[number] << AUTHOR_BITS | numbers[number]] = seen
        places = list(map(self.places.__getitem__, self.which))
        undos: list[Any] = [None] * len(places)
        start = end = len(log)
        if self.start < end and self._collides():
            start = self.start
            tree.made -= _take_back(log, start)
        else:
            undos = _write(places, columns.key, columns.payload, self.indexes, numbers)
            tree.made += undos.count(CREATED)
        log.extend_applied(
            self.indexes,
            numbers,
            self.previous,
            self.times,
            list(map(self.names.__getitem__, self.which)),
            columns.key,
            columns.payload,
            places,
            undos,
        )
        if self.start < end:
            log.sort_from(self.start)
            replica.save_points.cut(replica.trimmed_count + self.start)
            replica.dates.rewind(self.start)
        if start < end:
            tail = slice(start, None)
            steps: Any = log.steps[tail]  # nothing but keys
            log.undos[tail] = _write(
                log.acts[tail], steps, log.payloads[tail], log.indexes[tail], log.numbers[tail]
            )
            tree.made += log.undos[tail].count(CREATED)
        replica.note_merged(self.raised)

    def slots(self) -> Iterator[Slot]:
        """Yield the slots that were written."""
        return zip(map(self.places.__getitem__, self.which), self.columns.key, strict=True)


def _take_back(log: Log, start: int) -> int:
    """Take back all rows from `start` on, which are plain; return how many keys went with them."""
    created = 0
    tail = slice(start, None)
    for place, key, undone in zip(
        reversed(log.acts[tail]), reversed(log.steps[tail]), reversed(log.undos[tail]), strict=True
    ):
        if undone is CREATED:
            created += 1
            del place.value[key], place.codes[key]
        else:
            place.value[key] = undone
    return created


def _write(
    places: Sequence[Place],
    keys: Sequence[str],
    payloads: Sequence[Any],
    indexes: Sequence[int],
    numbers: Sequence[int],
) -> list[Any]:
    """Write values one after the other and return what takes each of them back."""
    undos: list[Any] = []
    note = undos.append
    for place, key, payload, index, number in zip(
        places, keys, payloads, indexes, numbers, strict=True
    ):
        value = place.value
        old = value.get(key, CREATED)
        note(old)
        value[key] = payload
        if old is CREATED:
            place.codes[key] = (index << AUTHOR_BITS | number) << OFFSET_BITS
    return undos


def _are(column: list[int], below: int) -> bool:
    return not column or (min(column) >= 0 and max(column) < below)
