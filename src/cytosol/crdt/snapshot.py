"""A base as bytes: a document with one name for each place, and what it stands for.

Layout: one byte of version, then a zstandard frame with one MessagePack array in the order of
`_Base`. Names stand in columns in the pre-order of the document, keys in code point order, so that
they need no keys of their own and compress well.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cytosol.crdt.contents import DIGEST_BYTES, Contents
from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK
from cytosol.crdt.replica import Replica
from cytosol.crdt.savepoints import SavePoints
from cytosol.crdt.sequence import Sequence
from cytosol.crdt.tree import Place
from cytosol.errors import ActionError
from cytosol.limits import (
    AUTHORS_MAX,
    COPY_CHAIN_MAX,
    DOCUMENT_PLACES_MAX,
    FAILURES_KEPT_MAX,
    LAMPORT_MAX,
)
from cytosol.model.ids import OpId, PeerId, parse_id
from cytosol.model.json import JsonValue, copy_json
from cytosol.model.op import Link, Name
from cytosol.model.packed import UnpackError, list_length, pack, unpack

__all__ = ["BASE_BYTES_MAX", "Notes", "export_base", "load_base"]

VERSION = 1
BASE_BYTES_MAX = 1 << 30
"""Unpacked; a base of 2^24 places stays below."""


class _Base(msgspec.Struct, array_like=True):
    document: dict[str, Any]
    authors: list[bytes]
    # one entry a place, in pre-order without the root
    author: list[int]
    index: list[int]  # differences
    offset: list[int]  # differences
    chain: dict[int, list[int]]  # further links of names, by number of the place
    position: dict[int, list[int]]  # names of positions that differ from the place's
    trim: tuple[int, bytes]
    trim_hash: bytes
    count: int
    latest: list[tuple[bytes, int]]
    vectors: list[tuple[bytes, list[tuple[bytes, int]]]]
    origins: list[tuple[list[int], list[int]]]
    contents: list[tuple[bytes, bytes]]
    stamps: dict[int, list[list[int]]]  # dates, author and index, by number of the place
    failures: list[Any]


class Notes:
    """What goes with a base, beside the replica that stands at it."""

    __slots__ = ("contents", "failures")

    def __init__(
        self,
        failures: list[JsonValue] | None = None,
        contents: Contents | None = None,
    ) -> None:
        self.failures: list[JsonValue] = [] if failures is None else failures
        self.contents = Contents() if contents is None else contents


_decoder = msgspec.msgpack.Decoder(_Base)
_parts_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_encoder = msgspec.msgpack.Encoder()


class _Writer:
    def __init__(self, replica: Replica) -> None:
        self.names = replica.names
        self.tree = replica.tree
        self.dates = replica.dates
        self.stamps: dict[int, list[list[int]]] = {}
        self.numbers: dict[PeerId, int] = {}
        self.author: list[int] = []
        self.index: list[int] = []
        self.offset: list[int] = []
        self.chain: dict[int, list[int]] = {}
        self.position: dict[int, list[int]] = {}
        self.last = (0, 0)

    def flat(self, name: Name) -> list[int]:
        links = [self.link((name.author, name.index, name.offset)), *map(self.link, name.of)]
        return [number for link in links for number in link]

    def link(self, link: Link) -> tuple[int, int, int]:
        return self.numbers.setdefault(link[0], len(self.numbers)), link[1], link[2]

    def walk(self, place: Place) -> None:
        value = place.value
        if type(value) is dict:
            for key in sorted(value):
                self.one(self.tree.code_at(place, key))
                if place.places is not None and key in place.places:
                    self.walk(place.places[key])
            return
        assert place.sequence is not None
        for position in place.sequence.shown_codes():
            code = self.tree.code_at(place, position)
            if code != position:
                self.position[len(self.author)] = self.flat(self.names.name(position))
            self.one(code)
            if place.places is not None and position in place.places:
                self.walk(place.places[position])

    def date(self, code: int) -> list[int]:
        author = self.names.authors[code & AUTHOR_MASK]
        return [self.numbers.setdefault(author, len(self.numbers)), code >> AUTHOR_BITS]

    def one(self, code: int) -> None:
        name = self.names.name(code)
        if code in self.dates.stamps:
            stamp = self.dates.stamp(code)
            self.stamps[len(self.author)] = [self.date(date) if date else [] for date in stamp]
        if name.of:
            self.chain[len(self.author)] = self.flat(name)[3:]
        number, index, offset = self.link((name.author, name.index, name.offset))
        self.author.append(number)
        self.index.append(index - self.last[0])
        self.offset.append(offset - self.last[1])
        self.last = index, offset


def export_base(replica: Replica, notes: Notes) -> bytes:
    """Return the base of a replica whose log is empty, with what is noted beside it."""
    assert not len(replica.log), "a base has no ops"
    assert replica.trim is not None, "only trimmed histories have a base"
    writer = _Writer(replica)
    writer.walk(replica.tree.root)
    names = replica.names
    origins = [
        (writer.flat(names.name(origin)), writer.flat(names.name(first)))
        for origin, first in replica.tree.origins.items()
    ]
    base = _Base(
        replica.document,
        [],
        writer.author,
        writer.index,
        writer.offset,
        writer.chain,
        writer.position,
        (replica.trim.index, replica.trim.author),
        replica.trim_hash,
        replica.trimmed_count,
        sorted(replica.trimmed.items()),
        [(author, sorted(seen.items())) for author, seen in sorted(replica.base_vectors.items())],
        origins,
        sorted(notes.contents.base.items()),
        writer.stamps,
        notes.failures,
    )
    base.authors = list(writer.numbers)
    return bytes((VERSION,)) + pack(_encoder.encode(base))


def _damaged(what: str) -> ActionError:
    return ActionError(f"a snapshot is damaged: {what}")


def load_base(data: bytes, author: PeerId, places_max: int) -> tuple[Replica, Notes]:
    """Return a replica that stands at a base, and what came with it.

    Raises ActionError for anything that is no base.
    """
    base = _unpack(data)
    _check(base)
    replica = Replica(author, places_max)
    reader = _Reader(base, replica)
    try:
        reader.walk(replica.tree.root, copy_json(base.document, 0))
        for origin, first in base.origins:
            replica.tree.add_origin(reader.code(origin), reader.code(first))
    except (IndexError, TypeError, ValueError) as error:
        raise _damaged(f"its names do not fit its document ({error})") from None
    if reader.at != len(base.author):
        raise _damaged("it has names for no places")
    replica.tree.made = replica.tree.count_shown()
    replica.trim = OpId(base.trim[0], base.trim[1])
    replica.trim_hash = base.trim_hash
    replica.trimmed = dict(base.latest)
    replica.trimmed_count = base.count
    replica.base_vectors = {who: dict(seen) for who, seen in base.vectors}
    replica.latest = dict(base.latest)
    replica.clock = base.trim[0]
    replica.save_points = SavePoints(base.count, base.trim_hash)
    replica.renew_author(author)
    return replica, Notes(base.failures, Contents(dict(base.contents)))


def _check(base: _Base) -> None:
    """Refuse what no base can hold beside its names; raises ActionError."""
    if any(len(who) != 16 for who in base.authors):
        raise _damaged("an author is not 16 bytes")
    if type(base.document) is not dict or len(base.trim_hash) != 64 or len(base.trim[1]) != 16:
        raise _damaged("a part has a wrong size")
    trim = base.trim[0]
    # Later ops need numbers, too: a clock at its end would take no more changes.
    if not 0 < trim <= LAMPORT_MAX // 2 or not 0 < base.count <= trim * len(base.latest):
        raise _damaged("a number is out of range")
    for who, index in base.latest:
        if len(who) != 16 or not 0 < index <= trim:
            raise _damaged("its summary is out of range")
    for who, seen in base.vectors:
        if any(len(each) != 16 for each in (who, *(other for other, _ in seen))):
            raise _damaged("an author is not 16 bytes")
        if any(not 0 <= index <= trim for _, index in seen):
            raise _damaged("what an author has seen is out of range")
    if any(len(who) != 16 or len(digest) != DIGEST_BYTES for who, digest in base.contents):
        raise _damaged("a digest has a wrong size")
    if {who for who, _ in base.latest} - {who for who, _ in base.contents}:
        # Our summaries tell a digest of every author; nobody could read one without.
        raise _damaged("an author has no digest")
    if not all(map(_is_failure, base.failures)):
        raise _damaged("a failure does not name its op")


def _is_failure(record: Any) -> bool:
    """Tell whether a record has the `id` of an op, as all who list or dismiss it expect."""
    ident = record.get("id") if type(record) is dict else None
    if type(ident) is not dict or type(ident.get("index")) is not int or ident["index"] < 1:
        return False
    try:
        parse_id(ident.get("author", ""))
    except ActionError:
        return False
    return True


def _unpack(data: bytes) -> _Base:
    if data[:1] != bytes((VERSION,)):
        raise _damaged("its version is unknown")
    try:
        plain = unpack(memoryview(data)[1:], BASE_BYTES_MAX)
        # A few kilobytes can unpack to lists of millions: their lengths come before their entries.
        parts = _parts_decoder.decode(plain)
        lengths = list(map(list_length, parts))
        places = lengths[2:5]
        if len(set(places)) > 1 or max(places, default=0) > len(memoryview(parts[0])):
            raise _damaged("its names do not fit its document")
        if max(lengths[10:12] + lengths[13:14], default=0) > AUTHORS_MAX:
            raise _damaged("it has too many authors")
        if max(lengths[15:], default=0) > FAILURES_KEPT_MAX:
            raise _damaged("it has too many failures")
        return _decoder.decode(plain)
    except UnpackError as error:
        raise _damaged(f"its compressed part {error}") from None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise _damaged("it cannot be unpacked") from None


class _Reader:
    def __init__(self, base: _Base, replica: Replica) -> None:
        self.base = base
        self.names = replica.names
        self.tree = replica.tree
        self.dates = replica.dates
        self.codes: set[int] = set()
        self.at = 0
        self.index = 0
        self.offset = 0

    def date(self, flat: list[int]) -> int:
        if not flat:
            return 0
        number, index = flat
        author, index, _ = self.link(number, index, 0)
        return self.names.op_code(index, author)

    def code(self, flat: list[int]) -> int:
        if len(flat) % 3 or not 0 < len(flat) <= 3 * (COPY_CHAIN_MAX + 1):
            raise ValueError("a name is incomplete")
        links = [self.link(*flat[at : at + 3]) for at in range(0, len(flat), 3)]
        return self.names.code(Name(*links[0], tuple(links[1:])))

    def link(self, author: int, index: int, offset: int) -> Link:
        if author < 0 or not 0 < index <= LAMPORT_MAX or not 0 <= offset < DOCUMENT_PLACES_MAX:
            raise ValueError("a name is out of range")
        return self.base.authors[author], index, offset

    def next(self) -> tuple[int, int]:
        """Return the next place's name and its position's."""
        base, at = self.base, self.at
        self.index += base.index[at]
        self.offset += base.offset[at]
        self.at += 1
        code = self.code([base.author[at], self.index, self.offset, *base.chain.get(at, ())])
        if self.index > base.trim[0]:
            raise ValueError("a place is younger than the base")
        if code in self.codes:
            raise ValueError("two places have one name")
        self.codes.add(code)
        if at in base.stamps:
            assigned, calculated, moved = base.stamps[at]
            stamp = self.date(assigned), self.date(calculated), self.date(moved)
            self.dates.stamps[code] = [stamp]
        position = base.position.get(at)
        return code, code if position is None else self.code(position)

    def walk(self, place: Place, value: Any) -> None:
        place.value = value
        if type(value) is dict:
            for key in sorted(value):
                place.codes[key] = self.next()[0]
                self.below(place, key, value[key])
            return
        place.sequence = Sequence()
        for item in value:
            code, position = self.next()
            place.sequence.append(position)
            if code != position:
                if place.occupants is None:
                    place.occupants = {}
                place.occupants[position] = code
            self.below(place, position, item)

    def below(self, place: Place, step: str | int, item: Any) -> None:
        if type(item) is dict or type(item) is list:
            self.walk(self.tree.ensure_place(place, step), item)
