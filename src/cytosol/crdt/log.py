"""The log as columns: one row an op, in the order of the fold.

Parallel arrays and lists instead of one object an op: the garbage collector has nothing to
walk, and the most frequent ops take no object of their own: what `steps` holds (a `Form`) says how
the row is to be read. Every other op has None there and a Coded as payload.

`acts` and `undos` say what the op did when it was last applied: where its names lead, and how to
take it back. An op with a form has the Place around what it wrote in `acts`, and what
`crdt.quick` needs in `undos` unless that is a Trail. A Transaction that was made here has its
InnerEffects in both.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import lshift, or_
from sys import intern
from typing import Any, NamedTuple

from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK, Names
from cytosol.crdt.tree import Place, Step
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue, count_places
from cytosol.model.op import WRITES, Body, Kind, Op, Side, Spot

__all__ = [
    "Act",
    "Coded",
    "Form",
    "Log",
    "Row",
    "are_alike",
    "body_of",
    "code_body",
    "columns_of",
    "share_keys",
]


class Coded(NamedTuple):
    """A Body with names as integers (0: none, which for `name` means the root)."""

    kind: Kind
    name: int = 0
    key: str | None = None
    beside: int = 0
    side: Side = Side.END
    fill: int = 0
    index: int = 0  # type: ignore[assignment]  # tuple.index() is never wanted here
    payload: Any = None
    source: int = 0


NO_INDEX = -1
"""The `index` of a Coded that has the form *place*: there is no position to make."""


class Act(NamedTuple):
    """Where the names of one action lead: `base` is its first number in the op.

    The numbers from `base` to `base + fill - 1` are fills, the next is the place in the slot
    `(up, step)`, further ones are below it as `payload` says, or as `mapped` does.
    """

    base: int
    fill: int
    up: Place
    step: Step
    payload: JsonValue = None
    mapped: dict[int, tuple[Place, Step]] | None = None


Form = str | Kind | tuple[int, int, int, int] | None
"""How the name and the payload in a row are to be read.

* a key: a `Set` there, in the object that the name means;
* `Kind.ADD` or `Kind.MULTIPLY`: the place, and the number;
* `(kind, beside, side, index)`: a value inserted into the array that the name means, without
  fills. Plain integers, for such tuples cost the garbage collector nothing;
* None: all that there is stands in the payload, a Coded.
"""

Row = tuple[int, int, int, int, int, Form, Any]
"""index, author number, previous, timestamp, name, form, payload."""


def numbers_taken(body: Coded) -> int:
    """Return how many numbers an action takes (docs/merging.md, Names)."""
    if body.kind in WRITES:
        return body.fill + count_places(body.payload)
    if body.kind in (Kind.DELETE, Kind.ADD, Kind.MULTIPLY):
        return 0
    return body.fill + 1


def code_body(body: Body, names: Names) -> Coded:
    """Return the Coded of a Body."""
    if body.kind is Kind.TRANSACTION:
        inner = tuple(code_body(item, names) for item in body.payload)
        return Coded(body.kind, payload=inner, index=NO_INDEX)
    name = 0 if body.name is None else names.code(body.name)
    source = 0 if body.source is None else names.code(body.source)
    spot = body.spot
    if spot is None:
        return Coded(body.kind, name, body.key, index=NO_INDEX, payload=body.payload, source=source)
    beside = 0 if spot.beside is None else names.code(spot.beside)
    return Coded(
        body.kind, name, None, beside, spot.side, spot.fill, spot.index, body.payload, source
    )


def body_of(coded: Coded, names: Names) -> Body:
    """Return the Body of a Coded."""
    if coded.kind is Kind.TRANSACTION:
        return Body(coded.kind, payload=tuple(body_of(item, names) for item in coded.payload))
    name = names.name(coded.name) if coded.name else None
    source = names.name(coded.source) if coded.source else None
    spot = None
    if coded.index != NO_INDEX:
        beside = names.name(coded.beside) if coded.beside else None
        spot = Spot(coded.index, beside, coded.side, coded.fill)
    return Body(coded.kind, name, coded.key, spot, coded.payload, source)


def columns_of(body: Coded) -> tuple[int, Form, Any]:
    """Return name, form and payload of the row of an op without origin."""
    kind = body.kind
    if kind is Kind.SET and body.key is not None:
        return body.name, body.key, body.payload
    if body.key is None and body.index == NO_INDEX:
        if kind is Kind.ADD or kind is Kind.MULTIPLY:
            return body.name, kind, body.payload
    elif body.key is None and not body.fill and kind in _INSERTS:
        return body.name, (int(kind), body.beside, int(body.side), body.index), body.payload
    return 0, None, body


def coded_of(name: int, form: Form, payload: Any) -> Coded:
    """Return the Coded that stands, as columns, in a row."""
    if form is None:
        body: Coded = payload
        return body
    if type(form) is str:
        return Coded(Kind.SET, name, form, index=NO_INDEX, payload=payload)
    if type(form) is tuple:
        kind, beside, side, index = form
        return Coded(Kind(kind), name, None, beside, Side(side), 0, index, payload)
    assert isinstance(form, Kind)
    return Coded(form, name, index=NO_INDEX, payload=payload)


_INSERTS = frozenset({Kind.SET, Kind.INSERT_BEFORE, Kind.INSERT_AFTER})


def share_keys(forms: Iterable[Form]) -> list[Form]:
    """Return forms in which equal keys are one object: a third of the memory of a log.

    That is worth a look-up for each where keys are written again, not where all are new.
    """
    return [intern(form) if type(form) is str else form for form in forms]


def are_alike(numbers: Any) -> bool:
    """Tell whether an array, or a list, holds one number only: without making any of them."""
    return bool(numbers == numbers[:1] * len(numbers))


class Log:
    """The ops that are not trimmed, in order."""

    __slots__ = (
        "acts",
        "indexes",
        "names",
        "numbers",
        "origins",
        "payloads",
        "previous",
        "seen",
        "steps",
        "table",
        "times",
        "undos",
    )

    def __init__(self, table: Names) -> None:
        self.table = table
        self.indexes = array("q")
        self.numbers = array("H")
        self.previous = array("q")
        self.times = array("q")
        self.names: list[int] = []
        self.steps: list[Form] = []
        self.payloads: list[Any] = []
        self.acts: list[Any] = []
        self.undos: list[Any] = []
        self.seen: dict[int, tuple[tuple[PeerId, int], ...]] = {}
        self.origins: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.indexes)

    def op_code(self, row: int) -> int:
        """Return the op's part of its names."""
        return self.indexes[row] << AUTHOR_BITS | self.numbers[row]

    def key(self, row: int) -> tuple[int, PeerId]:
        """Return what the rows are sorted by: index, then author."""
        return self.indexes[row], self.table.authors[self.numbers[row]]

    def find(self, op_code: int) -> int:
        """Return the row of an op, or -1."""
        index, number = op_code >> AUTHOR_BITS, op_code & AUTHOR_MASK
        indexes, numbers = self.indexes, self.numbers
        row = bisect_left(indexes, index)
        while row < len(indexes) and indexes[row] == index:
            if numbers[row] == number:
                return row
            row += 1
        return -1

    def first_after(self, index: int, author: PeerId) -> int:
        """Return the first row that comes after this id in the order."""
        row = bisect_left(self.indexes, index)
        while row < len(self.indexes) and self.key(row) <= (index, author):
            row += 1
        return row

    def append(self, row: Row) -> None:
        """Add a row at the end, not applied yet."""
        index, number, previous, time, name, step, payload = row
        self.indexes.append(index)
        self.numbers.append(number)
        self.previous.append(previous)
        self.times.append(time)
        self.names.append(name)
        self.steps.append(step)
        self.payloads.append(payload)
        self.acts.append(None)
        self.undos.append(None)

    def append_applied(
        self,
        index: int,
        number: int,
        previous: int,
        time: int,
        name: int,
        step: Form,
        payload: Any,
        act: Any,
        undo: Any,
    ) -> None:
        """Add a row at the end that was applied already."""
        self.indexes.append(index)
        self.numbers.append(number)
        self.previous.append(previous)
        self.times.append(time)
        self.names.append(name)
        self.steps.append(step)
        self.payloads.append(payload)
        self.acts.append(act)
        self.undos.append(undo)

    def extend_applied(self, *columns: Sequence[Any]) -> None:
        """Add rows at the end that were applied already, given as columns."""
        for column, items in zip(self._columns(), columns, strict=True):
            if type(items) is list and type(column) is array:
                column.fromlist(items)  # in half the time
            else:
                column.extend(items)

    def merge_from(self, start: int, middle: int) -> None:
        """Bring two runs of rows, each in its order, into one: those before `middle` and the rest.

        They were applied, and they commute.
        """
        if self._weave(start, middle):
            return
        indexes, numbers = self.indexes[start:], self.numbers[start:]
        ranks = {number: rank for rank, number in enumerate(self._in_order(set(numbers)))}
        shifted = map(lshift, indexes, repeat(AUTHOR_BITS))
        keys = list(map(or_, shifted, map(ranks.__getitem__, numbers)))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for column in self._columns():
            tail = column[start:]
            del column[start:]
            column.extend(map(tail.__getitem__, order))

    def _weave(self, start: int, middle: int) -> bool:
        """Merge two runs if each is what one author wrote in a row, as nobody was connected.

        Then their rows come by turns where both have written, and else in one piece.
        """
        first, second = self._span(start, middle), self._span(middle, len(self))
        if first is None or second is None:
            return False
        low, high = max(first.start, second.start), min(first.stop, second.stop)
        if low >= high:
            return False
        runs = [(first, start), (second, middle)]
        if self.key(middle)[1] < self.key(start)[1]:
            runs.reverse()
        turns = start + low - min(first.start, second.start)
        after = turns + 2 * (high - low)
        for column in self._columns():
            cut = [
                (
                    column[begin : begin + low - span.start],
                    column[begin + low - span.start : begin + high - span.start],
                    column[begin + high - span.start : begin + len(span)],
                )
                for span, begin in runs
            ]
            for turn, (alone, by_turns, left) in enumerate(cut):
                column[turns + turn : after : 2] = by_turns
                if alone:
                    column[start:turns] = alone
                if left:
                    column[after:] = left
        return True

    def _span(self, start: int, stop: int) -> range | None:
        """Return the indexes of some rows, if they are of one author and without gaps."""
        numbers, first = self.numbers[start:stop], self.indexes[start]
        if not are_alike(numbers):
            return None
        span = range(first, self.indexes[stop - 1] + 1)
        return span if len(span) == stop - start else None

    def _in_order(self, numbers: Iterable[int]) -> list[int]:
        """Return numbers of authors in the order of the authors."""
        return sorted(numbers, key=self.table.authors.__getitem__)

    def row(self, row: int) -> Row:
        """Return a row as a tuple."""
        return (
            self.indexes[row],
            self.numbers[row],
            self.previous[row],
            self.times[row],
            self.names[row],
            self.steps[row],
            self.payloads[row],
        )

    def cut(self, start: int) -> list[Row]:
        """Remove all rows from `start` on and return them (they must be taken back before)."""
        rows = [self.row(row) for row in range(start, len(self))]
        self.shorten(start)
        return rows

    def shorten(self, count: int) -> None:
        """Remove all rows but the first `count`, some of which may have been added in part."""
        for column in self._columns():
            del column[count:]

    def forget(self, op_code: int) -> None:
        """Forget what was noted of an op beside its row."""
        self.seen.pop(op_code, None)
        self.origins.pop(op_code, None)

    def drop(self, count: int) -> None:
        """Forget the first `count` rows."""
        for row in range(count):
            self.forget(self.op_code(row))
        for column in self._columns():
            del column[:count]

    def _columns(self) -> tuple[Any, ...]:
        return (
            self.indexes,
            self.numbers,
            self.previous,
            self.times,
            self.names,
            self.steps,
            self.payloads,
            self.acts,
            self.undos,
        )

    def encode_row(self, op: Op) -> Row:
        """Return the row of an op; its `seen` and `origin` are noted."""
        table = self.table
        number = table.number(op.author)
        code = op.index << AUTHOR_BITS | number
        if op.seen:
            self.seen[code] = op.seen
        if op.origin is not None:
            self.origins[code] = table.code(op.origin)
        body = op.body
        if op.origin is not None:
            return op.index, number, op.previous, op.timestamp, 0, None, code_body(body, table)
        if body.kind is Kind.SET and body.key is not None:
            name = 0 if body.name is None else table.code(body.name)
            return op.index, number, op.previous, op.timestamp, name, body.key, body.payload
        return op.index, number, op.previous, op.timestamp, *columns_of(code_body(body, table))

    def has_extras(self, index: int, number: int) -> bool:
        """Tell whether an op carries `seen` or `origin`."""
        if not self.seen and not self.origins:
            return False
        code = index << AUTHOR_BITS | number
        return code in self.seen or code in self.origins

    def coded(self, row: int) -> Coded:
        """Return what the op in a row does."""
        return coded_of(self.names[row], self.steps[row], self.payloads[row])

    def body(self, row: int) -> Body:
        """Return the body of a row."""
        key = self.steps[row]
        if type(key) is not str:
            return body_of(self.coded(row), self.table)
        name = self.names[row]
        return Body(
            Kind.SET, self.table.name(name) if name else None, key, payload=self.payloads[row]
        )

    def op(self, row: int) -> Op:
        """Return a row as an op."""
        code = self.op_code(row)
        origin = self.origins.get(code)
        return Op(
            self.indexes[row],
            self.table.authors[self.numbers[row]],
            self.previous[row],
            self.times[row],
            self.body(row),
            self.seen.get(code, ()),
            None if origin is None else self.table.name(origin),
        )


assert DOCUMENT_PLACES_MAX <= 1 << 24, "offsets must fit into names"
