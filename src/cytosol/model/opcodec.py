"""Many ops as few bytes: columns in MessagePack, compressed with zstandard.

The same bytes travel to peers and lie in the save state. How ops become columns tells
`cytosol.model.columns`.

A batch that is one plain write takes a form of its own (`cytosol.model.singlecodec`). It is read
here as well, as the columns that would say the same.

Layout: one byte that says how, then one MessagePack array with the columns in the order of
`Columns`, either plain or in a zstandard frame that tells its content size. The last two columns
stand only in batches for peers: they say which histories the ops build on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

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
from cytosol.model.columns import (
    AGAIN,
    BARE,
    BESIDE,
    COPIED,
    ELEMENT,
    GROUND_BYTES,
    KEY,
    KEY_AT_ROOT,
    NAME,
    ORIGIN,
    OTHER,
    OWN,
    PACKED,
    PLACE,
    PLAIN,
    SAME,
    SOURCE,
    Columns,
    Encoder,
    Grounds,
    columns_of,
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
from cytosol.model.packed import UnpackError, list_length, unpack
from cytosol.model.singlecodec import SINGLE, decode_single

__all__ = [
    "GROUND_BYTES",
    "SETS_MIN",
    "Columns",
    "Encoder",
    "Grounds",
    "Sets",
    "columns_of",
    "decode_columns",
    "decode_grounds",
    "decode_ops",
    "decode_pieces",
    "encode_ops",
    "read_name",
    "unpack_columns",
    "unpack_foreign_columns",
]

_decoder = msgspec.msgpack.Decoder(Columns)
_raw_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])

SETS_MIN = 8  # fewer are read as fast one by one

_SURELY_JSON = frozenset({int, bool, type(None)})

ENTRIES_MAX = TRANSACTION_OPS_MAX + BATCH_OPS_MAX
"""Of one column in a batch of a peer."""

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


class Sets(NamedTuple):
    """Some `Set`s at keys that follow each other, as columns."""

    names: list[Name | None]
    keys: list[str]
    payloads: list[Any]


def decode_pieces(
    columns: Columns, authors: Sequence[PeerId], indexes: Sequence[int]
) -> list[tuple[int, Body | Sets]]:
    """Return what the ops in some columns do, each piece with the number of its first op.

    Many `Set`s at keys in a row are one piece. The caller has read, and checked, author and index
    of each op; there are no origins. Raises ActionError if the columns do not fit together.
    """
    try:
        return _Decoder(columns).pieces(authors, indexes)
    except (IndexError, StopIteration, RuntimeError):
        raise _damaged("its columns do not fit together") from None


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
        self.known: list[list[Name]] = [[] for _ in range(4)]

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
        if seen or next_origin != -1:
            raise _damaged("its columns do not fit together")
        self._end()
        return iter(ops)

    def _end(self) -> None:
        rest = [self.kind, self.form, self.count, self.key, self.side, self.fill, self.spot]
        if any(next(column, None) is not None for column in rest):
            raise _damaged("its columns do not fit together")

    def pieces(
        self, authors: Sequence[PeerId], indexes: Sequence[int]
    ) -> list[tuple[int, Body | Sets]]:
        """Return what `decode_pieces` does."""
        kinds, forms = self.columns.kind, self.columns.form
        if len(kinds) != len(forms):
            raise _damaged("its columns do not fit together")
        is_key = bytes([k == Kind.SET and f <= KEY for k, f in zip(kinds, forms, strict=True)])
        found: list[tuple[int, Body | Sets]] = []
        op = entry = 0
        while op < len(indexes):
            stop = is_key.find(0, entry)
            stop = len(is_key) if stop < 0 else stop
            if stop - entry >= SETS_MIN:
                ops = slice(op, op + stop - entry)
                found.append((op, self._sets(forms[entry:stop], authors[ops], indexes[ops])))
                op += stop - entry
                entry = stop
                continue
            body = self._body(authors[op], indexes[op], False)
            found.append((op, body))
            op += 1
            entry += 1 + (len(body.payload) if body.kind is Kind.TRANSACTION else 0)
        self._end()
        return found

    def _sets(self, forms: bytes, authors: Sequence[PeerId], indexes: Sequence[int]) -> Sets:
        """Return some `Set`s at keys."""
        count = len(forms)
        if len(authors) < count:
            raise _damaged("its columns do not fit together")
        names = self._names(forms, authors, indexes)
        keys, payloads = list(islice(self.key, count)), list(islice(self.payload, count))
        if len(keys) < count or len(payloads) < count:
            raise _damaged("its columns do not fit together")
        if not "".join(keys).isascii():
            keys = list(map(copy_json, keys))
        if not _SURELY_JSON.issuperset(map(type, payloads)):
            payloads = list(map(copy_json, payloads))
        deque(islice(self.kind, count), maxlen=0)
        deque(islice(self.form, count), maxlen=0)
        return Sets(names, keys, payloads)

    def _names(
        self, forms: bytes, authors: Sequence[PeerId], indexes: Sequence[int]
    ) -> list[Name | None]:
        """Return the names of the objects that some ops at keys write to."""
        first: list[Name | None] = []
        if KEY_AT_ROOT not in forms:
            first = [self._name(NAME, authors[0], indexes[0])]
            more = bytes(islice(self.how[NAME], len(forms) - 1))
            if more == bytes((SAME,)) * (len(forms) - 1):
                return first * len(forms)
            self.how[NAME] = chain(more, self.how[NAME])
        rest = slice(len(first), None)
        return first + [
            None if form == KEY_AT_ROOT else self._name(NAME, author, index)
            for form, author, index in zip(forms[rest], authors[rest], indexes[rest], strict=True)
        ]

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
        how, known = next(self.how[column]), self.known[column]
        if how == SAME:
            last = self.last[column]
            if last is None:
                raise _damaged("a name is missing")
            return last
        if how == AGAIN:
            number = next(self.what[column])
            if not 0 <= number < len(known):
                raise _damaged("a name is missing")
            name = known[number]
        else:
            name = read_name(how, self.what[column], self.columns.authors, author, index)
            known.append(name)
        self.last[column] = name
        return name


def read_name(
    how: int, what: Iterator[int], authors: Sequence[PeerId], author: PeerId, index: int
) -> Name:
    """Return a name that the op of an author with this index tells in full.

    Raises ActionError for damage; StopIteration or IndexError if something is missing.
    """
    if how == OWN:
        return Name(*_link(author, index - next(what), next(what)))
    if how == OTHER:
        return Name(*_read_link(what, authors, index))
    if how != COPIED:
        raise _damaged("a name is told in an unknown way")
    count = next(what)
    if not 0 < count <= COPY_CHAIN_MAX:
        raise _damaged("a name is too long")
    links = [_read_link(what, authors, index) for _ in range(count + 1)]
    return Name(*links[0], tuple(links[1:]))


def _read_link(what: Iterator[int], authors: Sequence[PeerId], index: int) -> Link:
    who = next(what)
    if who < 0:
        raise _damaged("an author is missing")
    return _link(authors[who], index - next(what), next(what))


def _link(author: PeerId, index: int, offset: int) -> Link:
    if not 0 <= index <= LAMPORT_MAX or not 0 <= offset < DOCUMENT_PLACES_MAX:
        raise _damaged("a name is out of range")
    return author, index, offset
