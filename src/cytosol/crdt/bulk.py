"""Merge a batch of plain writes column by column, as a first sync or a busy peer sends them.

A batch of nothing but `Set`s of primitives at keys of objects that are here, made in order by
authors whose earlier ops are here, needs no op looked at by itself. It either comes after all that
is here, or commutes with what it has to stand before, because no slot is written by both.
Everything else is left to the general way; a property test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, compress, islice, repeat
from operator import is_, lt, sub
from typing import Any

from cytosol.crdt.log import Form
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.quick import CREATED, PRIMITIVES, TEXT_MAX
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place, Slot
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind, Name
from cytosol.model.opcodec import COPIED, KEY, KEY_AT_ROOT, OTHER, OWN, SAME, Columns

__all__ = ["load_bulk", "merge_bulk"]

OPS_MIN = 4  # fewer are merged as fast one by one
FORMS = bytes((KEY_AT_ROOT, KEY))
RUN_MIN = 8  # fewer are written as fast one by one
CONTAINERS = frozenset({dict, list})
IS_NEW = bytes(told != SAME for told in range(256))
"""Which ways to tell a name do not repeat the one before."""


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
        self.runs: list[tuple[int, int, Place, int]] = []
        """From and to which op of the batch the object is one, that object, and its name."""
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
        """Find the object of every run of ops; False if one is not here or a name is strange."""
        replica, form = self.replica, self.columns.form
        how, what = self.columns.how[0], iter(self.columns.what[0])
        told_anew = how.translate(IS_NEW)
        place: Place | None = None
        code = used = start = 0
        try:
            while start < len(form):
                stop = form.find(KEY if form[start] == KEY_AT_ROOT else KEY_AT_ROOT, start)
                stop = len(form) if stop < 0 else stop
                if form[start] == KEY_AT_ROOT:
                    self.runs.append((start, stop, replica.tree.root, 0))
                else:
                    if how[used] != SAME:
                        code = replica.names.code(self._name(how[used], what, start))
                        place = self._object(code)
                    if place is None:
                        return False
                    anew = told_anew.find(1, used + 1)
                    stop = stop if anew < 0 else min(stop, start + anew - used)
                    used += stop - start
                    self.runs.append((start, stop, place, code))
                start = stop
        except (StopIteration, IndexError):
            return False
        return used == len(how)

    def _name(self, told: int, what: Iterator[int], number: int) -> Name:
        index = self.indexes[number]
        if told == OWN:
            return Name(self.authors[number], index - next(what), next(what))
        if told == OTHER:
            author = self.columns.authors[next(what)]
            return Name(author, index - next(what), next(what))
        if told != COPIED:
            raise StopIteration
        links = [
            (self.columns.authors[next(what)], index - next(what), next(what))
            for _ in range(next(what) + 1)
        ]
        return Name(*links[0], tuple(links[1:]))

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
        """Tell whether every slot is as plain as the batch, and no later op has written it."""
        replica = self.replica
        log = replica.log
        if replica.tree.made + len(self.indexes) > replica.applier.places_max:
            return False
        first = (self.indexes[0], self.authors[0])
        if self.start and log.key(self.start - 1) > first:
            self.start = log.first_after(*first)
        if list in map(type, log.undos[self.start :]):
            return False  # a later op is not plain
        if set(map(type, log.steps[self.start :])) - {str}:
            return False  # nor is that
        taken: set[tuple[int, Form]] | None = None
        for start, stop, place, _ in self.runs:
            keys = self.columns.key[start:stop]
            value, codes = place.value, place.codes
            if not CONTAINERS.isdisjoint(map(type, map(value.get, keys))):
                return False
            if len(codes) > len(value) and any(key in codes and key not in value for key in keys):
                return False
            if codes.keys().isdisjoint(keys):
                continue  # nobody has ever written here, and so no later op
            if taken is None:
                taken = self._taken()
            if taken and not taken.isdisjoint(zip(repeat(id(place)), keys)):
                return False
        return True

    def _taken(self) -> set[tuple[int, Form]]:
        """Return the slots of the rows after the first op, all of which are plain."""
        log = self.replica.log
        acts, steps = log.acts[self.start :], log.steps[self.start :]
        return set(zip(map(id, acts), steps, strict=True))

    def apply(self) -> None:
        """Write all values, and put the rows where they belong."""
        replica, columns = self.replica, self.columns
        table = [replica.names.number(author) for author in columns.authors]
        numbers = list(map(table.__getitem__, columns.author))
        undos: list[Any] = []
        places: list[Place] = []
        names: list[int] = []
        for start, stop, place, name in self.runs:
            undos += self._write(place, start, stop, numbers)
            places += [place] * (stop - start)
            names += [name] * (stop - start)
        replica.tree.made += undos.count(CREATED)
        log = replica.log
        for number_, seen in self.seen.items():
            log.seen[self.indexes[number_] << AUTHOR_BITS | numbers[number_]] = seen
        end = len(log)
        log.extend_applied(
            self.indexes,
            numbers,
            self.previous,
            self.times,
            names,
            columns.key,
            columns.payload,
            places,
            undos,
        )
        if self.start < end:
            log.sort_from(self.start)
            replica.save_points.cut(replica.trimmed_count + self.start)
        replica.note_merged(self.raised)

    def slots(self) -> Iterator[Slot]:
        """Yield the slots that were written."""
        for start, stop, place, _ in self.runs:
            yield from zip(repeat(place), self.columns.key[start:stop])

    def _write(self, place: Place, start: int, stop: int, numbers: list[int]) -> list[Any]:
        """Write the values of a run and return what takes each of them back."""
        keys, payloads = self.columns.key[start:stop], self.columns.payload[start:stop]
        value, codes = place.value, place.codes
        if stop - start < RUN_MIN:
            undos: list[Any] = []
            for at, key, payload in zip(range(start, stop), keys, payloads, strict=True):
                undos.append(value.get(key, CREATED))
                value[key] = payload
                if undos[-1] is CREATED:
                    op_code = self.indexes[at] << AUTHOR_BITS | numbers[at]
                    codes[key] = op_code << OFFSET_BITS
            return undos
        old = list(map(value.get, keys, repeat(CREATED)))
        size = len(value)
        value.update(zip(keys, payloads, strict=True))
        if len(set(keys)) < len(keys):  # some are written twice
            seen: dict[str, Any] = {}
            for at, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
                old[at] = seen.get(key, old[at])
                seen[key] = payload
        if len(value) > size:
            is_new = list(map(is_, old, repeat(CREATED)))
            indexes = compress(self.indexes[start:stop], is_new)
            made = zip(indexes, compress(numbers[start:stop], is_new), strict=True)
            names = [(index << AUTHOR_BITS | number) << OFFSET_BITS for index, number in made]
            codes.update(zip(compress(keys, is_new), names, strict=True))
        return old


def _are(column: list[int], below: int) -> bool:
    return not column or (min(column) >= 0 and max(column) < below)
