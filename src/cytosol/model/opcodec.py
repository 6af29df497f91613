"""Many ops as few bytes: columns in MessagePack, compressed with zstandard.

What is alike from op to op stands together, so that it compresses: a run of writes takes a few
bytes an op. A name is written once and then repeated by a flag, or told by its distance from the
op that uses it. The same bytes travel to peers and lie in the save state.

A batch that is one plain write takes a form of its own (`cytosol.model.singlecodec`). It is read
here as well, as the columns that would say the same.

Layout: one byte that says how, then one MessagePack array with the columns in the order of
`Columns`, either plain or in a zstandard frame that tells its content size. The last two columns
stand only in batches for peers: they say which histories the ops build on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import sub
from typing import Any

import msgspec

from cytosol.errors import ActionError
from cytosol.limits import (
    BATCH_OPS_MAX,
    COPY_CHAIN_MAX,
    DOCUMENT_PLACES_MAX,
    LAMPORT_MAX,
    TRANSACTION_OPS_MAX,
    UNPACKED_BYTES_MAX,
)
from cytosol.model.ids import PeerId
from cytosol.model.json import copy_json
from cytosol.model.op import (
    CALCULATIONS,
    TRANSFERS,
    WITH_VALUE,
    Body,
    Kind,
    Link,
    Name,
    Op,
    Side,
    Spot,
)
from cytosol.model.packed import UnpackError, list_length, pack, unpack
from cytosol.model.singlecodec import SINGLE, Single, decode_single, name_of

__all__ = [
    "GROUND_BYTES",
    "Columns",
    "Encoder",
    "Grounds",
    "columns_of",
    "decode_columns",
    "decode_grounds",
    "decode_ops",
    "encode_ops",
    "unpack_columns",
    "unpack_foreign_columns",
]

PLAIN, PACKED = b"\x01", b"\x02"
PLAIN_BYTES_MAX = 512  # a few ops are not worth compressing

KEY_AT_ROOT, KEY, PLACE, ELEMENT, BARE = range(5)
"""Forms: a key of the root, a key of a named place, a named place, an element, no path at all."""

SAME, OWN, OTHER, COPIED = range(4)
"""How a name is told: as the last one of its column, of the op's own author, of another one."""

GROUND_BYTES = 32
"""Length of the digest over what an author's ops say."""

Grounds = Mapping[PeerId, tuple[int, bytes]]
"""What the ops of a batch build on: of each author the newest such op, and the digest up to it."""

_ints = msgspec.msgpack.Encoder()


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


_decoder = msgspec.msgpack.Decoder(Columns)
_raw_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])

ENTRIES_MAX = TRANSACTION_OPS_MAX + BATCH_OPS_MAX
"""Of one column in a batch of a peer."""

NAME, BESIDE, SOURCE, ORIGIN = range(4)
_FORMS: dict[Kind, frozenset[int]] = {
    Kind.SET: frozenset({KEY_AT_ROOT, KEY, PLACE, ELEMENT}),
    Kind.DELETE: frozenset({PLACE}),
    Kind.INIT_OBJECT: frozenset({KEY_AT_ROOT, KEY, PLACE, ELEMENT}),
    Kind.INIT_ARRAY: frozenset({KEY_AT_ROOT, KEY, PLACE, ELEMENT}),
    Kind.INSERT_BEFORE: frozenset({ELEMENT}),
    Kind.INSERT_AFTER: frozenset({ELEMENT}),
    Kind.INSERT_UNIQUE: frozenset({ELEMENT}),
    Kind.ADD: frozenset({PLACE}),
    Kind.MULTIPLY: frozenset({PLACE}),
    Kind.MOVE: frozenset({KEY_AT_ROOT, KEY, ELEMENT}),
    Kind.COPY: frozenset({KEY_AT_ROOT, KEY, ELEMENT}),
    Kind.TRANSACTION: frozenset({BARE}),
}


def encode_ops(ops: Iterable[Op]) -> bytes:
    """Return the bytes of some ops, in the order given."""
    encoder = Encoder()
    for op in ops:
        encoder.add(op)
    return encoder.finish()


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
        authors: Iterable[PeerId],
        indexes: Sequence[int],
        previous: Sequence[int],
        times: Sequence[int],
        runs: Iterable[tuple[Name | None, int]],
        keys: Sequence[str],
        payloads: Sequence[Any],
    ) -> None:
        """Add `Set`s at keys that have neither `seen` nor `origin`, without an Op for each.

        They are given as columns, and the objects as runs: a name, and how often it repeats.
        """
        start = len(self.author)
        listed = list(authors)
        number_of = {author: self._number(author) for author in dict.fromkeys(listed)}
        self.author += map(number_of.__getitem__, listed)
        self.index += map(sub, indexes, chain((self._last_index,), indexes))
        self.previous += map(sub, indexes, previous)
        self.time += map(sub, times, chain((self._last_time,), times))
        self._last_index, self._last_time = indexes[-1], times[-1]
        self.kind += bytes((Kind.SET,)) * len(keys)
        numbers = list(self.numbers)
        at = 0
        for name, count in runs:
            if name is None:
                self.form += bytes((KEY_AT_ROOT,)) * count
            else:
                self.form += bytes((KEY,)) * count
                self._name(NAME, name, numbers[self.author[start + at]], indexes[at])
                self.how[NAME] += bytes((SAME,)) * (count - 1)
            at += count
        self.key += keys
        self.payload += payloads

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
        plain = _ints.encode(columns if grounds else msgspec.structs.astuple(columns)[:17])
        if len(plain) <= PLAIN_BYTES_MAX:
            return PLAIN + plain
        return PACKED + pack(plain)


def _damaged(what: str) -> ActionError:
    return ActionError(f"a batch of ops is damaged: {what}")


def decode_ops(data: bytes, unpacked_max: int = UNPACKED_BYTES_MAX) -> list[Op]:
    """Return the ops of a batch; raises ActionError for anything that is none.

    The content may take at most `unpacked_max` bytes.
    """
    return decode_columns(unpack_columns(data, unpacked_max))


def unpack_columns(data: bytes, unpacked_max: int = UNPACKED_BYTES_MAX) -> Columns:
    """Return the columns of a batch, of which nothing but the types is checked.

    Raises ActionError for anything that has no such columns.
    """
    try:
        if data[:1] == PLAIN:
            return _decoder.decode(memoryview(data)[1:])
        if data[:1] == SINGLE:
            return columns_of((decode_single(data),))
        if data[:1] != PACKED:
            raise _damaged("its version is unknown")
        return _decoder.decode(unpack(memoryview(data)[1:], unpacked_max))
    except UnpackError as error:
        raise _damaged(f"its compressed part {error}") from None
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        if isinstance(error, ActionError):
            raise
        raise _damaged("it cannot be unpacked") from None


def columns_of(singles: Sequence[Single]) -> Columns:
    """Return the columns that say the same as some single writes."""
    encoder = Encoder()
    encoder.add_sets(
        [single.author for single in singles],
        [single.index for single in singles],
        [single.previous for single in singles],
        [single.time for single in singles],
        [(name, len(list(same))) for name, same in groupby(map(name_of, singles))],
        [single.key for single in singles],
        [single.payload for single in singles],
    )
    for number, single in enumerate(singles):
        if single.seen:
            encoder.add_seen(number, single.index, single.seen)
    return encoder.columns()


def unpack_foreign_columns(data: bytes) -> Columns:
    """Return the columns of a peer's batch as `unpack_columns` does, if they are not too many.

    A few kilobytes can unpack to lists of millions of numbers, so the lengths that the columns
    announce are looked at before anything is built.
    """
    if data[:1] == SINGLE:
        return columns_of((decode_single(data),))
    try:
        if data[:1] == PACKED:
            data = PLAIN + unpack(memoryview(data)[1:], UNPACKED_BYTES_MAX)
        columns = _raw_decoder.decode(memoryview(data)[1:])
        lengths = [list_length(column) for column in columns]
        if max(lengths[1:5], default=0) > BATCH_OPS_MAX or max(lengths, default=0) > ENTRIES_MAX:
            raise _damaged("it has too many ops")
        for names in columns[15:17]:  # lists of columns
            if max(map(list_length, _raw_decoder.decode(names)), default=0) > ENTRIES_MAX:
                raise _damaged("it has too many names")
    except UnpackError as error:
        raise _damaged(f"its compressed part {error}") from None
    except (msgspec.MsgspecError, RecursionError):
        raise _damaged("it cannot be unpacked") from None
    return unpack_columns(data)


def decode_columns(columns: Columns) -> list[Op]:
    """Return the ops in some columns; raises ActionError if they do not fit together."""
    try:
        return list(_Decoder(columns))
    except (IndexError, StopIteration, RuntimeError):
        raise _damaged("its columns do not fit together") from None


def decode_grounds(columns: Columns) -> Grounds:
    """Return what the ops in some columns build on; raises ActionError for what is damaged."""
    authors, pairs, digests = columns.authors, columns.grounds, columns.digests
    grounds: dict[PeerId, tuple[int, bytes]] = {}
    if len(pairs) % 2 or len(digests) != len(pairs) // 2 * GROUND_BYTES:
        raise _damaged("what it builds on is wrong")
    for at, (who, index) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        if not 0 <= who < len(authors) or not 1 <= index <= LAMPORT_MAX:
            raise _damaged("what it builds on is wrong")
        grounds[authors[who]] = index, digests[at * GROUND_BYTES : (at + 1) * GROUND_BYTES]
    if len(grounds) != len(pairs) // 2:
        raise _damaged("what it builds on is told twice")
    return grounds


class _Decoder:
    """Walks all columns in step; any that is too short raises StopIteration or IndexError."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        if any(len(author) != 16 for author in columns.authors):
            raise _damaged("an author is not 16 bytes")
        if len(columns.how) != 4 or len(columns.what) != 4:
            raise _damaged("it has a wrong number of columns")
        self.kind = iter(columns.kind)
        self.form = iter(columns.form)
        self.count = iter(columns.count)
        self.key = iter(columns.key)
        self.side = iter(columns.side)
        self.fill = iter(columns.fill)
        self.spot = iter(columns.spot)
        self.payload = iter(columns.payload)
        self.how = [iter(how) for how in columns.how]
        self.what = [iter(what) for what in columns.what]
        self.last: list[Name | None] = [None] * 4

    def __iter__(self) -> Iterator[Op]:
        columns = self.columns
        authors = columns.authors
        ops: list[Op] = []
        seen = self._seen()
        origins = iter(columns.origin)
        next_origin = next(origins, -1)
        index = time = 0
        lengths = {len(columns.author), len(columns.index), len(columns.previous)}
        if len(lengths | {len(columns.time)}) != 1:
            raise _damaged("its columns do not fit together")
        for number, (who, step, back, wait) in enumerate(
            zip(columns.author, columns.index, columns.previous, columns.time, strict=True)
        ):
            index += step
            time += wait
            if not 0 < back <= index <= LAMPORT_MAX or not 0 <= time <= LAMPORT_MAX or who < 0:
                raise _damaged("a number is out of range")
            author = authors[who]
            origin = None
            if number == next_origin:
                origin = self._name(ORIGIN, author, index)
                next_origin = next(origins, -1)
            body = self._body(author, index, False)
            told = self._told(seen.pop(number), index) if number in seen else ()
            ops.append(Op(index, author, index - back, time, body, told, origin))
        rest = [self.kind, self.form, self.count, self.key, self.side, self.fill, self.spot]
        if seen or next_origin != -1 or any(next(column, None) is not None for column in rest):
            raise _damaged("its columns do not fit together")
        return iter(ops)

    def _seen(self) -> dict[int, list[int]]:
        """Return what each op has seen, by op number: author numbers and distances."""
        seen: dict[int, list[int]] = {}
        column = self.columns.seen
        at = 0
        while at < len(column):
            number, count = column[at], column[at + 1]
            if count < 1 or number in seen or at + 2 + 2 * count > len(column):
                raise _damaged("what an op has seen is wrong")
            seen[number] = column[at + 2 : at + 2 + 2 * count]
            at += 2 + 2 * count
        return seen

    def _told(self, told: list[int], index: int) -> tuple[tuple[PeerId, int], ...]:
        pairs = []
        for who, back in zip(told[::2], told[1::2], strict=True):
            if who < 0 or not 0 < back < index:
                raise _damaged("what an op has seen is wrong")
            pairs.append((self.columns.authors[who], index - back))
        return tuple(pairs)

    def _body(self, author: PeerId, index: int, nested: bool) -> Body:
        number = next(self.kind)
        if not 1 <= number <= 12:
            raise _damaged("an action is unknown")
        kind = Kind(number)
        form = next(self.form)
        if form not in _FORMS[kind]:
            raise _damaged("a path has an unknown form")
        if form == BARE:
            count = next(self.count)
            if nested or not 0 < count <= TRANSACTION_OPS_MAX:
                raise _damaged("a Transaction is nested, empty or too large")
            inner = tuple([self._body(author, index, True) for _ in range(count)])
            return Body(kind, payload=inner)
        name = key = spot = payload = source = None
        if form != KEY_AT_ROOT:
            name = self._name(NAME, author, index)
        if form in (KEY, KEY_AT_ROOT):
            key = copy_json(next(self.key))
        elif form == ELEMENT:
            spot = self._spot(author, index)
        if kind in WITH_VALUE:
            payload = copy_json(next(self.payload))
            if kind in CALCULATIONS and type(payload) not in (int, float):
                raise _damaged("a payload is not a number")
        elif kind in TRANSFERS:
            source = self._name(SOURCE, author, index)
        return Body(kind, name, key, spot, payload, source)

    def _spot(self, author: PeerId, index: int) -> Spot:
        side, fill, at = next(self.side), next(self.fill), next(self.spot)
        if side > Side.BEFORE or not 0 <= fill <= DOCUMENT_PLACES_MAX or not 0 <= at <= LAMPORT_MAX:
            raise _damaged("where an element stands is wrong")
        beside = None if side == Side.END else self._name(BESIDE, author, index)
        return Spot(at, beside, Side(side), fill)

    def _name(self, column: int, author: PeerId, index: int) -> Name:
        how, what = next(self.how[column]), self.what[column]
        if how == SAME:
            last = self.last[column]
            if last is None:
                raise _damaged("a name is missing")
            return last
        if how == OWN:
            name = Name(*self._link(author, index - next(what), next(what)))
        elif how == OTHER:
            name = Name(*self._link(self._author(next(what)), index - next(what), next(what)))
        elif how == COPIED:
            count = next(what)
            if not 0 < count <= COPY_CHAIN_MAX:
                raise _damaged("a name is too long")
            links = [
                self._link(self._author(next(what)), index - next(what), next(what))
                for _ in range(count + 1)
            ]
            name = Name(*links[0], tuple(links[1:]))
        else:
            raise _damaged("a name is told in an unknown way")
        self.last[column] = name
        return name

    def _author(self, number: int) -> PeerId:
        if number < 0:
            raise _damaged("an author is missing")
        return self.columns.authors[number]

    def _link(self, author: PeerId, index: int, offset: int) -> Link:
        if not 0 <= index <= LAMPORT_MAX or not 0 <= offset < DOCUMENT_PLACES_MAX:
            raise _damaged("a name is out of range")
        return author, index, offset
