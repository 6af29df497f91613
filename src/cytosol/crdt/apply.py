"""Apply ops to the tree: where each acts, what it does, and what it names if it fails.

One small function a step of docs/merging.md, Applying an op, in the order of that page.
"""

from __future__ import annotations

from typing import Any, Final

from cytosol.crdt.calculate import calculate
from cytosol.crdt.dates import CALCULATES, REPLACES, Dates
from cytosol.crdt.find import Finder
from cytosol.crdt.log import NO_INDEX, Act, Coded, numbers_taken
from cytosol.crdt.mutate import (
    COPY_TOO_LARGE,
    PATH_MISSING,
    TOO_DEEP,
    Failed,
    Mutator,
)
from cytosol.crdt.names import OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.tree import MISSING, Found, Place, Slot, Step, Tree
from cytosol.crdt.undo import Trail, undo
from cytosol.limits import (
    ARRAY_FILL_MAX,
    COPY_PLACES_MAX,
    DEPTH_MAX,
    DOCUMENT_PLACES_MAX,
    OP_PAYLOAD_BYTES_MAX,
    TRANSACTION_OPS_MAX,
)
from cytosol.model.json import JsonValue, canonical_bytes, equal_json
from cytosol.model.op import Kind, Side

__all__ = ["Applier"]

NO_OFFSET: Final = -1  # of an act that names no place but those it maps
NOT_AN_ARRAY: Final = "not an array"
NOT_A_NUMBER: Final = "not a number"
NEWER_BELOW: Final = "newer values stand below"
OUT_OF_RANGE: Final = "number out of range"
INTO_ITSELF: Final = "cannot move a place into itself"
PAYLOAD_TOO_LARGE: Final = "payload is too large"
FILL_TOO_LARGE: Final = "too many elements to fill"
DOCUMENT_TOO_LARGE: Final = "document is too large"
TRANSACTION_TOO_LARGE: Final = "transaction is too large"


def check_payload(value: JsonValue) -> None:
    """Raise Failed if the canonical JSON of a payload is too large."""
    kind = type(value)
    if kind is str:
        if len(value) <= OP_PAYLOAD_BYTES_MAX // 8:
            return
    elif kind is not dict and kind is not list:
        return
    if len(canonical_bytes(value)) > OP_PAYLOAD_BYTES_MAX:
        raise Failed(PAYLOAD_TOO_LARGE)


def is_too_large(body: Coded) -> bool:
    """Tell whether an op fails because of its payload, whatever else holds."""
    try:
        for one in body.payload if body.kind is Kind.TRANSACTION else (body,):
            check_payload(one.payload)
    except Failed:
        return True
    return False


def nesting(value: Any) -> int:
    """Return how many containers of a value stand in each other."""
    if type(value) is dict:
        return 1 + max(map(nesting, value.values()), default=0)
    if type(value) is list:
        return 1 + max(map(nesting, value), default=0)
    return 0


class Applier:
    """Applies one action at a time, leaving the inverse on a trail."""

    __slots__ = ("date", "dates", "finder", "mutator", "ordinal", "places_max", "tree")

    def __init__(
        self, tree: Tree, finder: Finder, dates: Dates, places_max: int = DOCUMENT_PLACES_MAX
    ) -> None:
        self.tree = tree
        self.finder = finder
        self.dates = dates
        self.date: int | None = None
        """The date of the op that is applied, if it has an origin."""
        self.ordinal = 0
        self.mutator = Mutator(tree)
        self.places_max = places_max

    # --- whole ops ----------------------------------------------------------------------

    def apply(self, body: Coded, op_code: int, trail: Trail, acts: list[Act]) -> None:
        """Apply an op whole; raises Failed, then trail and `acts` are as they were.

        `acts` must be what the log shows for this op, because the inner actions of a
        Transaction name what the earlier ones have made.
        """
        start = len(trail)
        self.ordinal = 0
        try:
            if body.kind is not Kind.TRANSACTION:
                self.apply_one(body, op_code, 0, trail, acts)
                return
            if (
                len(body.payload) > TRANSACTION_OPS_MAX
                or sum(map(numbers_taken, body.payload)) > OFFSET_MASK
            ):
                raise Failed(TRANSACTION_TOO_LARGE)
            for inner in body.payload:
                check_payload(inner.payload)
            base = 0
            for self.ordinal, inner in enumerate(body.payload):
                base = self.apply_one(inner, op_code, base, trail, acts)
        except Failed:
            undo(trail, start)
            acts.clear()
            self.finder.forget(op_code)
            self.tree.note_undone()
            raise

    def apply_one(self, body: Coded, op_code: int, base: int, trail: Trail, acts: list[Act]) -> int:
        """Apply one action of an op and return the next number; raises Failed, undone."""
        mark = len(trail)
        try:
            check_payload(body.payload)
            code = (op_code << OFFSET_BITS) + base
            act: Act | None
            made = None if self.date is None else self._made_before(body, code)
            late = None if self.date is None else self._superseding(body, self.date, op_code)
            if made is not None:
                self.dates.supersede(op_code, self.ordinal, trail)
                act = Act(NO_OFFSET, 0, *made, mapped={})  # its names are those of the parts
            elif late is None:
                act = self._apply_one(body, code, trail)
            else:
                self.dates.supersede(op_code, self.ordinal, trail)
                # Where parts of this op were quicker, they name what is below the place.
                named = body._replace(payload=None) if late == self.date else body
                act = self._skip_one(named, code, trail)
        except Failed as failed:
            undo(trail, mark)
            failed.path = self._target_path(body)
            raise
        if act is not None:
            acts.append(act)
            self.finder.forget(op_code)
        return base + numbers_taken(body)

    def _target_path(self, body: Coded) -> list[Step]:
        """Return the path of the place that an action is about, or of where it would be."""
        path: list[Step] = []
        if body.name:
            found = self.finder.find(body.name)
            if found is None:
                return []
            path = self.tree.path(found[0], found[1])
        if body.key is not None:
            path.append(body.key)
        return path

    def check_size(self) -> None:
        """Raise Failed if the document shows too many places; counts only when it may."""
        tree = self.tree
        if tree.made > self.places_max:
            tree.made = tree.count_shown()
            tree.recounted = True
            if tree.made > self.places_max:
                raise Failed(DOCUMENT_TOO_LARGE)

    def _apply_one(self, body: Coded, code: int, trail: Trail) -> Act | None:
        match body.kind:
            case Kind.DELETE:
                self._delete(body, trail)
                return None
            case Kind.ADD | Kind.MULTIPLY:
                self._calculate(body, trail)
                return None
            case Kind.INSERT_UNIQUE:
                act = self._insert_unique(body, code, trail)
            case Kind.MOVE:
                fills = self._move(body, code, trail)
                self.check_size()
                return fills
            case Kind.COPY:
                act = self._copy(body, code, trail)
            case _:
                act = self._put(body, code, trail)
        self.check_size()
        return act

    def skip(self, body: Coded, op_code: int, trail: Trail, acts: list[Act]) -> None:
        """Name the places of an op that failed, changing no content."""
        bodies = body.payload if body.kind is Kind.TRANSACTION else (body,)
        if sum(map(numbers_taken, bodies)) > OFFSET_MASK:
            return
        base = 0
        for inner in bodies:
            act = self._skip_one(inner, (op_code << OFFSET_BITS) + base, trail)
            if act is not None:
                acts.append(act)
                self.finder.forget(op_code)
            base += numbers_taken(inner)

    def _made_before(self, body: Coded, code: int) -> Slot | None:
        """Return the element that a re-issued op adds, if a part of it was quicker."""
        if body.index == NO_INDEX or body.kind is Kind.MOVE:
            return None
        number = (code & OFFSET_MASK) + body.fill
        name = self.finder.log.origins[code >> OFFSET_BITS] + number
        if not number or name < number or (name & OFFSET_MASK) < number:
            return None  # it is a copy of something, or such a number does not exist
        found = self.finder.find(name)
        return None if found is None else found[:2]

    def _superseding(self, body: Coded, date: int, op_code: int) -> int | None:
        """Return when what an action with an origin would write was written later, if it was.

        Raises Failed if it would have to remove what was written later, and as the action itself.
        """
        up: Place
        step: Step
        kind, tree, dates = body.kind, self.tree, self.dates
        if kind is Kind.MOVE:
            moved = dates.stamp(tree.code_at(*self._present(body.source)))[2]
            return moved if dates.key(moved) >= dates.key(date) else None
        if kind in CALCULATES:
            code = tree.code_at(*self._present(body.name))
            return dates.assigned_since(code, date, op_code)
        if kind is Kind.DELETE:
            found = self.finder.find(body.name) if body.name else None
            if found is None or found[2] or not self._owner_ok(found[0], found[1]):
                return None
            up, step, _ = found
        elif kind not in REPLACES or body.index != NO_INDEX:
            return None
        elif body.key is None:
            up, step = self._named(body.name)
        else:
            up, step = self.parent(body.name), body.key
        content = tree.content(up, step)
        if content is MISSING:
            return None
        code = tree.code_at(up, step)
        for later in dates.stamp(code)[1 : 3 if body.key is not None else 2]:
            if dates.key(later) > dates.key(date):
                return later
        assigned = dates.assigned_since(code, date, op_code)
        if assigned is not None:
            return assigned
        keeps = {Kind.INIT_OBJECT: dict, Kind.INIT_ARRAY: list}.get(kind)
        if type(content) is not keeps and dates.is_newer_below(up, step, date):
            raise Failed(NEWER_BELOW)
        return None

    # --- where --------------------------------------------------------------------------

    def parent(self, name: int) -> Place:
        """Return the present object that a key destination names; raises Failed."""
        if not name:
            return self.tree.root
        found = self.finder.find(name)
        if found is None:
            raise Failed(PATH_MISSING)
        place = self._ground(found)
        if place is None or type(place.value) is not dict or not self.tree.is_present(place):
            raise Failed(PATH_MISSING)
        return place

    def _ground(self, found: Found) -> Place | None:
        """Return the Place that stands where a found one is or, if covered, was."""
        return self.tree.place_at(found[0], found[1])

    def _array(self, name: int) -> Place:
        """Return the present array that an element destination names; raises Failed."""
        found = self.finder.find(name) if name else None
        if found is None:
            raise Failed(NOT_AN_ARRAY if not name else PATH_MISSING)
        up, step, _ = found
        if not self.tree.is_present(up) or self.tree.content(up, step) is MISSING:
            raise Failed(PATH_MISSING)
        place = self._ground(found)
        if place is None or type(place.value) is not list:
            raise Failed(NOT_AN_ARRAY)
        return place

    def _owner_ok(self, up: Place, step: Step) -> bool:
        kind = dict if isinstance(step, str) else list
        return type(up.value) is kind and self.tree.is_present(up)

    def _named(self, name: int) -> Slot:
        """Return the slot that a place form means for Set and the Inits; raises Failed."""
        found = self.finder.find(name)
        if found is None:
            raise Failed(PATH_MISSING)
        up, step, _ = found
        if not self._owner_ok(up, step):
            raise Failed(PATH_MISSING)
        return up, step

    def _present(self, name: int) -> Slot:
        """Return the slot of a place that must be shown; raises Failed."""
        found = self.finder.find(name) if name else None
        if found is None:
            raise Failed(PATH_MISSING)
        up, step, covered = found
        if covered or not self._owner_ok(up, step) or self.tree.content(up, step) is MISSING:
            raise Failed(PATH_MISSING)
        return up, step

    def _beside(self, body: Coded, array: Place) -> int | None:
        """Return the position of this array that an insert stands beside, or None."""
        name = body.beside
        if not name or array.sequence is None:
            return None
        if array.sequence.has(name):
            return name
        if self.tree.origins or self.finder.log.origins:
            original = self.finder.original(name)
            if original is not None and array.sequence.has(original):
                return original
        found = self.finder.find(name)
        if found is not None and not found[2] and found[0] is array and type(found[1]) is int:
            return found[1]
        return None

    # --- what ---------------------------------------------------------------------------

    def _put(self, body: Coded, code: int, trail: Trail) -> Act:
        """Apply Set, InitObject, InitArray, InsertBefore and InsertAfter."""
        value: Any = body.payload
        wanted: type | None = None
        if body.kind is Kind.INIT_OBJECT:
            value, wanted = {}, dict
        elif body.kind is Kind.INIT_ARRAY:
            value, wanted = [], list
        offset = code & OFFSET_MASK
        up: Place
        step: Step
        if body.key is not None:
            up, step = self.parent(body.name), body.key
        elif body.index != NO_INDEX:
            return self._insert(body, value, code, trail)
        else:
            up, step = self._named(body.name)
        if wanted is None or type(self.tree.content(up, step)) is not wanted:
            if isinstance(step, str):
                self.mutator.set_key(up, step, value, code, trail)
            else:
                self.mutator.set_position(up, step, value, code, trail)
        return Act(offset, 0, up, step, value)

    def _insert(self, body: Coded, value: JsonValue, code: int, trail: Trail) -> Act:
        array = self._array(body.name)
        codes = self._positions(body, code)
        position = codes[-1]
        native, after = self.mutator.build(
            array, position, value, position, self.tree.depth(array), trail
        )
        self.tree.made += after - position + body.fill
        natives = [None] * body.fill + [native]
        self.mutator.insert(
            array, codes, natives, self._beside(body, array), body.side is Side.AFTER, trail
        )
        return Act(code & OFFSET_MASK, body.fill, array, position, value)

    def _positions(self, body: Coded, code: int) -> list[int]:
        """Return the names of the positions that an element form makes; raises Failed."""
        if body.fill > ARRAY_FILL_MAX:
            raise Failed(FILL_TOO_LARGE)
        return list(range(code, code + body.fill + 1))

    def _delete(self, body: Coded, trail: Trail) -> None:
        found = self.finder.find(body.name) if body.name else None
        if found is None:
            raise Failed(PATH_MISSING)
        up, step, covered = found
        if covered:
            return
        if not self._owner_ok(up, step):
            raise Failed(PATH_MISSING)
        if self.tree.content(up, step) is not MISSING:
            self.mutator.empty(up, step, trail)

    def _insert_unique(self, body: Coded, code: int, trail: Trail) -> Act:
        array = self._array(body.name)
        for index, item in enumerate(array.value):
            if equal_json(item, body.payload):
                assert array.sequence is not None
                step = array.sequence.at(index)
                mapped: dict[int, Slot] = {}
                self._map(array, step, body.payload, code & OFFSET_MASK, mapped)
                return Act(code & OFFSET_MASK, 0, array, step, body.payload, mapped)
        return self._insert(body, body.payload, code, trail)

    def _map(
        self, up: Place, step: Step, payload: JsonValue, offset: int, mapped: dict[int, Slot]
    ) -> int:
        """Note which places an equal payload names, in its pre-order; return the next number."""
        mapped[offset] = (up, step)
        offset += 1
        if type(payload) is dict:
            place = self.tree.place_at(up, step)
            assert place is not None
            for key in sorted(payload):
                offset = self._map(place, key, payload[key], offset, mapped)
        elif type(payload) is list:
            place = self.tree.place_at(up, step)
            assert place is not None
            assert place.sequence is not None
            for position, item in zip(place.sequence.shown_codes(), payload, strict=True):
                offset = self._map(place, position, item, offset, mapped)
        return offset

    def _calculate(self, body: Coded, trail: Trail) -> None:
        up, step = self._present(body.name)
        old = self.tree.content(up, step)
        if type(old) is not int and type(old) is not float:
            raise Failed(NOT_A_NUMBER)
        result = calculate(body.kind, old, body.payload)
        if result is None:
            raise Failed(OUT_OF_RANGE)
        self.mutator.replace(up, step, result, trail)

    def _move(self, body: Coded, code: int, trail: Trail) -> Act | None:
        """Move a place; what is returned names the fills only, and not what was moved."""
        up: Place
        if body.key is not None:
            up = self.parent(body.name)
            source = self._present(body.source)
            codes: list[int] = []
        else:
            source = self._present(body.source)
            up = self._array(body.name)
            codes = self._positions(body, code)
        place = self.tree.place_at(*source)
        if place is not None and self.tree.is_below(up, place):
            raise Failed(INTO_ITSELF)
        if body.key is not None and source == (up, body.key):
            return None
        if place is not None and place.value is not None:
            depth = self.tree.depth(up)
            if depth > self.tree.depth(source[0]) and depth + nesting(place.value) > DEPTH_MAX:
                raise Failed(TOO_DEEP)
        order = self.tree.names.order(code)
        if body.key is not None:
            self.mutator.move_to_key(source, up, body.key, order, trail)
            return None
        self.tree.made += body.fill
        beside = self._beside(body, up)
        after = body.side is Side.AFTER
        self.mutator.move_to_position(source, up, codes, beside, after, order, trail)
        if not body.fill:
            return None
        offset = code & OFFSET_MASK
        fills: dict[int, Slot] = {
            offset + at: (up, position) for at, position in enumerate(codes[:-1])
        }
        return Act(NO_OFFSET, 0, up, codes[-1], mapped=fills)

    def _copy(self, body: Coded, code: int, trail: Trail) -> Act:
        offset = code & OFFSET_MASK
        mutator = self.mutator
        if body.key is not None:
            up, step = self.parent(body.name), body.key
            source = self._present(body.source)
            self._check_copy(source)
            depth = self.tree.depth(up)
            native, place = self._snapshot(source, up, step, code, trail, depth)
            if step in up.codes:
                mutator.cover(up, step, self.tree.names.order(code), trail)
            mutator.occupy(up, step, code, native, place, trail)
            return Act(offset, 0, up, step)
        source = self._present(body.source)
        up = self._array(body.name)
        codes = self._positions(body, code)
        self._check_copy(source)
        position = codes[-1]
        native = mutator.copy_below(source, up, position, position, trail, self.tree.depth(up))
        self.tree.made += len(codes)
        natives = [None] * body.fill + [native]
        beside = self._beside(body, up)
        mutator.insert(up, codes, natives, beside, body.side is Side.AFTER, trail)
        return Act(offset, body.fill, up, position)

    def _check_copy(self, source: Slot) -> None:
        count = 1
        todo = [self.tree.content(*source)]
        while todo:
            value = todo.pop()
            if type(value) is dict or type(value) is list:
                count += len(value)
                todo.extend(value.values() if type(value) is dict else value)
        if count > COPY_PLACES_MAX:
            raise Failed(COPY_TOO_LARGE)

    def _snapshot(
        self, source: Slot, up: Place, key: str, code: int, trail: Trail, depth: int
    ) -> tuple[Any, Place | None]:
        """Copy the source aside, before what stands at the key is covered."""
        aside = Place(0, up, key)
        aside.codes[key] = code
        native = self.mutator.copy_below(source, aside, key, code, trail, depth)
        return native, self.tree.place_at(aside, key)

    # --- names only ---------------------------------------------------------------------

    def _skip_one(self, body: Coded, code: int, trail: Trail) -> Act | None:
        kind = body.kind
        if kind in (Kind.DELETE, Kind.ADD, Kind.MULTIPLY):
            return None
        if kind is Kind.MOVE and body.key is not None:
            return None
        value: Any = {Kind.INIT_OBJECT: {}, Kind.INIT_ARRAY: []}.get(kind, body.payload)
        if kind in (Kind.MOVE, Kind.COPY):
            value = None
        found = self.finder.find(body.name) if body.name else None
        if found is None and (body.name or body.key is None):
            return None
        if body.key is None and body.index == NO_INDEX:
            assert found is not None
            return self._skip_place(found, value, code, trail)
        if found is None:
            owner = self.tree.root
        else:
            up, step, covered = found
            if covered and isinstance(step, str) and step not in up.codes:
                return None
            owner = self.mutator.named_place(up, step, trail)
        offset = code & OFFSET_MASK
        if body.key is not None:
            self.mutator.name_key(owner, body.key, value, code, trail)
            return Act(offset, 0, owner, body.key, value)
        if body.fill > ARRAY_FILL_MAX:
            return None
        codes = list(range(code, code + body.fill + 1))
        beside = self._beside(body, owner)
        self.mutator.insert_hidden(owner, codes, beside, body.side is Side.AFTER, trail)
        if kind is Kind.MOVE:
            return None
        self.mutator.name_below(owner, codes[-1], value, codes[-1] + 1, trail)
        return Act(offset, len(codes) - 1, owner, codes[-1], value)

    def _skip_place(self, found: Found, value: JsonValue, code: int, trail: Trail) -> Act:
        up, step, _ = found
        if isinstance(step, str):
            self.mutator.name_key(up, step, value, code, trail)
        else:
            self.mutator.name_below(up, step, value, code + 1, trail)
        return Act(code & OFFSET_MASK, 0, up, step, value)
