"""Merge a batch of plain writes column by column, as a first sync or a busy peer sends them.

A batch of nothing but `Set`s of primitives at keys of objects that are here, made in order by
authors whose earlier ops are here, needs no op looked at by itself. It either comes after all that
is here, or commutes with what it has to stand before, because no slot is written by both.
Everything else is left to the general way; a property test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.quick import CREATED, PRIMITIVES
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import MISSING, Place
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind, Name
from cytosol.model.opcodec import COPIED, KEY, KEY_AT_ROOT, OTHER, OWN, SAME, Columns

__all__ = ["merge_bulk"]

TEXT_MAX = 100_000
OPS_MIN = 4  # fewer are merged as fast one by one
FORMS = bytes((KEY_AT_ROOT, KEY))


def merge_bulk(replica: Replica, columns: Columns) -> list[tuple[int, PeerId]]:
    """Merge a whole batch the fast way and return the ids of its ops, all of them new.

    An empty list says that nothing has changed, and that it has to go the general way.
    """
    if len(columns.index) < OPS_MIN or not _is_plain(columns):
        return []
    if replica.waiting or replica.tree.origins:
        return []  # an op of the batch may let others follow, or silence one that stood for it
    batch = _Batch(replica, columns)
    if not (batch.read_numbers() and batch.read_places() and batch.fits()):
        return []
    batch.apply()
    return list(zip(batch.indexes, batch.authors, strict=True))


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
        self.latest = dict(replica.latest)
        self.seen: dict[int, tuple[tuple[PeerId, int], ...]] = {}
        self.places: list[Place] = []
        self.names: list[int] = []
        self.start = len(replica.log)
        """The first row that comes after the first op of the batch."""

    def read_numbers(self) -> bool:
        """Check ids and chains; False if an op is known, early, or strange."""
        columns, latest = self.columns, self.latest
        authors = columns.authors
        if any(len(author) != 16 for author in authors) or not _are(columns.author, len(authors)):
            return False
        if min(self.times) < 0 or max(self.times) > LAMPORT_MAX or not self._read_seen():
            return False
        clock, before = self.replica.clock, (0, b"")
        seen = self.seen
        for number, (who, index, back) in enumerate(
            zip(columns.author, self.indexes, columns.previous, strict=True)
        ):
            author = authors[who]
            previous = index - back
            if latest.get(author, 0) != previous or back <= 0 or (index, author) <= before:
                return False
            if index > clock:
                if index > clock + LAMPORT_LEAP_MAX or index > LAMPORT_MAX:
                    return False
                clock = index
            for other, known in seen.get(number, ()) if seen else ():
                if latest.get(other, 0) < known:
                    return False
            latest[author] = index
            before = (index, author)
            self.previous.append(previous)
            self.authors.append(author)
        trim = self.replica.trim
        return trim is None or (self.indexes[0], self.authors[0]) > trim

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
        replica, columns = self.replica, self.columns
        root = replica.tree.root
        how, what = iter(columns.how[0]), iter(columns.what[0])
        place: Place | None = None
        code = 0
        places, names = self.places, self.names
        try:
            for number, form in enumerate(columns.form):
                if form == KEY_AT_ROOT:
                    places.append(root)
                    names.append(0)
                    continue
                told = next(how)
                if told != SAME:
                    code = replica.names.code(self._name(told, what, number))
                    place = self._object(code)
                if place is None:
                    return False
                places.append(place)
                names.append(code)
        except (StopIteration, IndexError):
            return False
        return next(how, None) is None

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
        if replica.tree.made + len(self.places) > replica.applier.places_max:
            return False
        first = (self.indexes[0], self.authors[0])
        if self.start and log.key(self.start - 1) > first:
            self.start = log.first_after(*first)
        taken = self._taken()
        if taken is None:
            return False
        for place, key in zip(self.places, self.columns.key, strict=True):
            old = place.value.get(key, MISSING)
            if old is MISSING:
                if key in place.codes:
                    return False
            elif type(old) is dict or type(old) is list:
                return False
            if taken and (id(place), key) in taken:
                return False
        return True

    def _taken(self) -> set[tuple[int, str | None]] | None:
        """Return the slots of the rows after the first op; None if one of them is not plain."""
        log = self.replica.log
        undos, acts, steps = (
            log.undos[self.start :],
            log.acts[self.start :],
            log.steps[self.start :],
        )
        if any(type(undone) is list for undone in undos):
            return None
        return set(zip(map(id, acts), steps, strict=True))

    def apply(self) -> None:
        """Write all values, and put the rows where they belong."""
        replica, columns = self.replica, self.columns
        table = [replica.names.number(author) for author in columns.authors]
        numbers = [table[who] for who in columns.author]
        undos: list[Any] = []
        made = 0
        for place, key, payload, index, number in zip(
            self.places, columns.key, columns.payload, self.indexes, numbers, strict=True
        ):
            value = place.value
            old = value.get(key, MISSING)
            if old is MISSING:
                place.codes[key] = (index << AUTHOR_BITS | number) << OFFSET_BITS
                made += 1
                old = CREATED
            undos.append(old)
            value[key] = payload
        replica.tree.made += made
        replica.applier.mutator.touched.extend(zip(self.places, columns.key, strict=True))
        log = replica.log
        for number_, seen in self.seen.items():
            log.seen[self.indexes[number_] << AUTHOR_BITS | numbers[number_]] = seen
        end = len(log)
        log.extend_applied(
            self.indexes,
            numbers,
            self.previous,
            self.times,
            self.names,
            columns.key,
            columns.payload,
            self.places,
            undos,
        )
        if self.start < end:
            log.sort_from(self.start)
            replica.save_points.cut(replica.trimmed_count + self.start)
        replica.note_merged(self.latest)


def _are(column: list[int], below: int) -> bool:
    return not column or (min(column) >= 0 and max(column) < below)
