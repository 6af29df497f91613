"""Many ops as columns: what is alike from op to op stands together, so that it compresses.

A name is told in full once, by its distance from the op that uses it, and then repeated by a flag
or called by a number. So a run of writes takes a few bytes an op, also where they go to many
objects in turn. What the bytes are tells `cytosol.model.opcodec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, compress
from operator import ne, sub
from typing import Any, TypeVar

import msgspec

from cytosol.model.ids import PeerId
from cytosol.model.op import WITH_VALUE, Body, Kind, Name, Op
from cytosol.model.packed import pack
from cytosol.model.singlecodec import Single, name_of

__all__ = ["GROUND_BYTES", "Columns", "Encoder", "Grounds", "columns_of"]

PLAIN, PACKED = b"\x01", b"\x02"
PLAIN_BYTES_MAX = 512  # a few ops are not worth compressing

KEY_AT_ROOT, KEY, PLACE, ELEMENT, BARE = range(5)
"""Forms: a key of the root, a key of a named place, a named place, an element, no path at all."""

SAME, OWN, OTHER, COPIED, AGAIN = range(5)
"""How a name is told: as the last one of its column, in full (of the op's own author, of another
one, made by a copy), or by its number among those of its column that were told in full."""

GROUND_BYTES = 32
"""Length of the digest over what an author's ops say."""

Grounds = Mapping[PeerId, tuple[int, bytes]]
"""What the ops of a batch build on: of each author the newest such op, and the digest up to it."""

NAME, BESIDE, SOURCE, ORIGIN = range(4)
"""The columns of names."""

_REPEATS = bytes((SAME, AGAIN))
_encoder = msgspec.msgpack.Encoder()

P = TypeVar("P")


class Columns(msgspec.Struct, array_like=True):
    """Everything in a batch; lists of the same group run in step."""

    authors: list[bytes]
    # one entry an op
    author: list[int]
    index: list[int]  # differences
    previous: list[int]  # how far back
    time: list[int]  # differences
    seen: list[int]  # op number, count, then author number and distance from the op's index
    origin: list[int]  # op numbers
    # one entry an action, the inner ones of a Transaction after it
    kind: bytes
    form: bytes
    count: list[int]  # inner actions of each Transaction
    key: list[str]
    side: bytes
    fill: list[int]
    spot: list[int]
    payload: list[Any]
    # names by column: how, then what it takes
    how: list[bytes]
    what: list[list[int]]
    # what the ops build on
    grounds: list[int] = []  # author number, index
    digests: bytes = b""


class Encoder:
    """Collects ops and returns them as one batch."""

    def __init__(self) -> None:
        self.numbers: dict[PeerId, int] = {}
        self.kind = bytearray()
        self.form = bytearray()
        self.side = bytearray()
        self.count: list[int] = []
        self.key: list[str] = []
        self.fill: list[int] = []
        self.spot: list[int] = []
        self.payload: list[Any] = []
        self.how = [bytearray() for _ in range(4)]
        self.what: list[list[int]] = [[] for _ in range(4)]
        self.last: list[Name | None] = [None] * 4
        self.known: list[dict[Name, int]] = [{} for _ in range(4)]
        """The names of each column that were told in full, numbered in that order."""
        self.author: list[int] = []
        self.index: list[int] = []
        self.previous: list[int] = []
        self.time: list[int] = []
        self.seen: list[int] = []
        self.origin: list[int] = []
        self._last_index = 0
        self._last_time = 0

    def add(self, op: Op) -> None:
        """Add an op."""
        number = len(self.index)
        self._head(op.author, op.index, op.previous, op.timestamp)
        if op.seen:
            self.add_seen(number, op.index, op.seen)
        if op.origin is not None:
            self.origin.append(number)
            self._name(ORIGIN, op.origin, op.author, op.index)
        self._body(op.body, op.author, op.index)

    def add_sets(
        self,
        authors: Sequence[PeerId],
        indexes: Sequence[int],
        previous: Sequence[int],
        times: Sequence[int],
        places: Sequence[P],
        name_of: Callable[[P], Name | None],
        keys: Sequence[str],
        payloads: Sequence[Any],
    ) -> None:
        """Add `Set`s at keys that have neither `seen` nor `origin`, without an Op for each.

        They are given as columns; `name_of` is asked once for each of the objects in `places`.
        """
        start, count = len(self.author), len(keys)
        if authors.count(authors[0]) == count:
            self.author += [self._number(authors[0])] * count
        else:
            number_of = {author: self._number(author) for author in dict.fromkeys(authors)}
            self.author += map(number_of.__getitem__, authors)
        builds_on_last = previous[1:] == indexes[:-1]  # mostly, so that they rise
        is_run = builds_on_last and indexes[-1] - indexes[0] == count - 1
        steps = [1] * (count - 1) if is_run else _steps(indexes)
        self.index.append(indexes[0] - self._last_index)
        self.index += steps
        if builds_on_last:
            self.previous.append(indexes[0] - previous[0])
            self.previous += steps
        else:
            self.previous += map(sub, indexes, previous)
        self.time.append(times[0] - self._last_time)
        self.time += _steps(times)
        self._last_index, self._last_time = indexes[-1], times[-1]
        self.kind += bytes((Kind.SET,)) * count
        self.key += keys
        self.payload += payloads
        different = places[:1] if places.count(places[0]) == count else dict.fromkeys(places)
        names = {place: name_of(place) for place in different}
        if None not in names.values():
            self.form += bytes((KEY,)) * len(keys)
            self._add_names(names, places, range(start, len(self.author)), indexes)
            return
        forms = bytes([KEY_AT_ROOT if names[place] is None else KEY for place in places])
        self.form += forms
        if len(names) > 1:
            names = {place: name for place, name in names.items() if name is not None}
            ops = list(compress(range(start, len(self.author)), forms))
            self._add_names(
                names, list(compress(places, forms)), ops, list(compress(indexes, forms))
            )

    def _add_names(
        self,
        names: Mapping[P, Name | None],
        places: Sequence[P],
        ops: Sequence[int],
        indexes: Sequence[int],
    ) -> None:
        """Add the names of the places that some ops write to.

        `names` has each place once, in the order in which they come.
        """
        known, authors = self.known[NAME], list(self.numbers)
        if len(names) == 1 and (only := names[places[0]]) is not None:
            self._name(NAME, only, authors[self.author[ops[0]]], indexes[0])
            self.how[NAME] += bytes((SAME,)) * (len(places) - 1)
            return
        numbers: dict[P, int] = {}
        at = 0
        for place, name in names.items():
            assert name is not None, "the root has no name"
            if name not in known:
                first = places.index(place, at)
                self._repeat_names(names, numbers, places[at:first])
                self._name(NAME, name, authors[self.author[ops[first]]], indexes[first])
                at = first + 1
            numbers[place] = known[name]
        self._repeat_names(names, numbers, places[at:])

    def _repeat_names(
        self, names: Mapping[P, Name | None], numbers: Mapping[P, int], places: Sequence[P]
    ) -> None:
        """Add the names of some places, each of which was told in full."""
        if not places:
            return
        last = self.last[NAME]
        told = list(map(numbers.__getitem__, places))
        before = -1 if last is None else self.known[NAME][last]
        is_other = bytes(map(ne, told, chain((before,), told)))
        self.how[NAME] += is_other.translate(_REPEATS.ljust(256))
        self.what[NAME] += compress(told, is_other)
        self.last[NAME] = names[places[-1]]

    def add_seen(self, number: int, index: int, seen: Iterable[tuple[PeerId, int]]) -> None:
        """Add what the op `number` of the batch, which has this index, tells to have seen."""
        pairs = list(seen)
        self.seen += (number, len(pairs))
        for author, known in pairs:
            self.seen += (self._number(author), index - known)

    def _head(self, author: PeerId, index: int, previous: int, timestamp: int) -> None:
        self.author.append(self._number(author))
        self.index.append(index - self._last_index)
        self.previous.append(index - previous)
        self.time.append(timestamp - self._last_time)
        self._last_index, self._last_time = index, timestamp

    def _number(self, author: PeerId) -> int:
        return self.numbers.setdefault(author, len(self.numbers))

    def _body(self, body: Body, author: PeerId, index: int) -> None:
        kind = body.kind
        self.kind.append(kind)
        if kind is Kind.TRANSACTION:
            self.form.append(BARE)
            self.count.append(len(body.payload))
            for inner in body.payload:
                self._body(inner, author, index)
            return
        if body.name is None:
            self.form.append(KEY_AT_ROOT)
            self.key.append(body.key or "")
        else:
            self._name(NAME, body.name, author, index)
            if body.key is not None:
                self.form.append(KEY)
                self.key.append(body.key)
            elif body.spot is None:
                self.form.append(PLACE)
            else:
                self.form.append(ELEMENT)
                at, beside, side, fill = body.spot
                self.side.append(side)
                self.fill.append(fill)
                self.spot.append(at)
                if beside is not None:
                    self._name(BESIDE, beside, author, index)
        if kind in WITH_VALUE:
            self.payload.append(body.payload)
        elif body.source is not None:
            self._name(SOURCE, body.source, author, index)

    def _name(self, column: int, name: Name, author: PeerId, index: int) -> None:
        how, what = self.how[column], self.what[column]
        if name == self.last[column]:
            how.append(SAME)
            return
        self.last[column] = name
        known = self.known[column]
        number = known.get(name)
        if number is not None:
            how.append(AGAIN)
            what.append(number)
            return
        known[name] = len(known)
        if name.of:
            how.append(COPIED)
            what.append(len(name.of))
            for link in ((name.author, name.index, name.offset), *name.of):
                what += (self._number(link[0]), index - link[1], link[2])
        elif name.author == author:
            how.append(OWN)
            what += (index - name.index, name.offset)
        else:
            how.append(OTHER)
            what += (self._number(name.author), index - name.index, name.offset)

    def columns(self) -> Columns:
        """Return what was added."""
        return Columns(
            list(self.numbers),
            self.author,
            self.index,
            self.previous,
            self.time,
            self.seen,
            self.origin,
            bytes(self.kind),
            bytes(self.form),
            self.count,
            self.key,
            bytes(self.side),
            self.fill,
            self.spot,
            self.payload,
            [bytes(how) for how in self.how],
            self.what,
        )

    def finish(self, grounds: Grounds | None = None) -> bytes:
        """Return what was added as one batch; `grounds` are of authors that its ops name."""
        columns = self.columns()
        if grounds:
            for author, (index, digest) in grounds.items():
                columns.grounds += (self.numbers[author], index)
                columns.digests += digest
        plain = _encoder.encode(columns if grounds else msgspec.structs.astuple(columns)[:17])
        if len(plain) <= PLAIN_BYTES_MAX:
            return PLAIN + plain
        return PACKED + pack(plain)


def _steps(numbers: Sequence[int]) -> list[int]:
    """Return how far it is from each number to the next."""
    each = list(numbers)
    return list(map(sub, each[1:], each))


def columns_of(singles: Sequence[Single]) -> Columns:
    """Return the columns that say the same as some single writes."""
    encoder = Encoder()
    encoder.add_sets(
        [single.author for single in singles],
        [single.index for single in singles],
        [single.previous for single in singles],
        [single.time for single in singles],
        list(map(name_of, singles)),
        _itself,
        [single.key for single in singles],
        [single.payload for single in singles],
    )
    for number, single in enumerate(singles):
        if single.seen:
            encoder.add_seen(number, single.index, single.seen)
    return encoder.columns()


def _itself(name: Name | None) -> Name | None:
    return name
