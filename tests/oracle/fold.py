"""Fold ops into a document as plainly as `docs/merging.md` says it: the slow, obvious version.

Laws: nothing here comes from `cytosol`, so that agreement of the two means something. Each
function follows one list item of the page, in its order and as far as possible in its words.
Malformed ops (unknown actions, payloads of the wrong type) are not expected: they raise.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.oracle.dates import (
    CONTENT_OF_INIT,
    date_of,
    is_superseded,
    loses_newer,
    moved_since,
)
from tests.oracle.tree import (
    NEVER,
    OFFSET_MAX,
    Action,
    Form,
    KeySlot,
    Kind,
    MadeByCopy,
    Name,
    Op,
    Place,
    Position,
    Tree,
    canonical,
    content_for,
    copy_of,
    equal,
    fill_of,
    form_of,
    ground,
    is_number,
    measure,
    numbers_taken,
    occupant_of,
    read_name,
    shown_keys,
    shown_positions,
    value_of,
)

__all__ = ["Folded", "Oracle", "fold", "sort_ops", "state_hash"]

PAYLOAD_BYTES_MAX = 8_388_608
FILL_MAX = 65_536
DEPTH_MAX = 128
COPY_PLACES_MAX = 2**20
COPY_DEPTH_MAX = 64
TRANSACTION_ACTIONS_MAX = 2**20
TRANSACTION_NUMBERS_MAX = 2**24 - 1
DOCUMENT_PLACES_MAX = 2**24

DOES_NOT_EXIST = "path does not exist"


@dataclass
class Folded:
    """What a set of ops means: the document, the failures in order, the hash of the ids."""

    document: dict[str, Any]
    failures: list[dict[str, Any]]
    state_hash: bytes


def fold(
    ops: Iterable[dict[str, Any]],
    *,
    places_max: int = DOCUMENT_PLACES_MAX,
    copy_places_max: int = COPY_PLACES_MAX,
    transaction_actions_max: int = TRANSACTION_ACTIONS_MAX,
) -> Folded:
    """Fold `ops` (JSON form, any order, complete) and return what they mean.

    The limits can be lowered, because nobody wants to test with sixteen million places.
    """
    oracle = Oracle(
        ops,
        places_max=places_max,
        copy_places_max=copy_places_max,
        transaction_actions_max=transaction_actions_max,
    )
    return Folded(oracle.document(), oracle.failures, state_hash(oracle.ops))


def sort_ops(ops: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ops in the order of the fold: by index, then by the author's bytes."""
    return sorted(ops, key=lambda op: (op["id"]["index"], uuid.UUID(op["id"]["author"]).bytes))


def state_hash(ops: Iterable[dict[str, Any]]) -> bytes:
    """Return the hash of the ids of all `ops`, failed ones included; a Transaction is one step."""
    digest = bytes(64)
    for op in sort_ops(ops):
        index = op["id"]["index"].to_bytes(8, "big")
        author = uuid.UUID(op["id"]["author"]).bytes
        digest = hashlib.blake2b(digest + index + author).digest()
    return digest


class Failed(Exception):
    """An action cannot have its effect; `_do` fills in the path."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str | int] = []


class Superseded(Exception):
    """An action has no effect, because something newer was done where it acts."""

    def __init__(self, same: Place | None = None) -> None:
        super().__init__()
        self.same = same  # the place, if it was assigned at exactly the date of the action


class Oracle(Tree):
    """The state of the fold after all `ops`; for tests that look at more than the document."""

    def __init__(
        self,
        ops: Iterable[dict[str, Any]] = (),
        *,
        places_max: int = DOCUMENT_PLACES_MAX,
        copy_places_max: int = COPY_PLACES_MAX,
        transaction_actions_max: int = TRANSACTION_ACTIONS_MAX,
    ) -> None:
        super().__init__()
        self.ops = sort_ops(ops)
        self.failures: list[dict[str, Any]] = []
        self.places_max = places_max
        self.copy_places_max = copy_places_max
        self.transaction_actions_max = transaction_actions_max
        self._known = {(op["id"]["author"], op["id"]["index"]) for op in self.ops}
        assert len(self._known) == len(self.ops), "all ids must be distinct"
        self._origins: dict[Name, Op] = {}  # the op of each origin that counts
        for op in self.ops:
            self._apply(op)

    # --- Applying an op ------------------------------------------------------------------------

    def _apply(self, op: dict[str, Any]) -> None:
        self._op = op
        self._date = date_of(op)
        self._own = own = (op["id"]["author"], op["id"]["index"])
        original = self._original_of(op)
        try:
            self._check_payload(op)
            if original is not None:
                self._repeats[own] = original
                return
            if op["action"] == "Transaction":
                self._transact(op["payload"])
            else:
                self._do(op, 0)
        except Failed as failure:
            self._undo()
            identity = {"author": own[0], "index": own[1]}
            self.failures.append({"path": failure.path, "message": failure.message, "id": identity})
            if original is None and "origin" in op:
                del self._origins[read_name(op["origin"])]
            self._op = {key: part for key, part in op.items() if key != "origin"}
            self._name_only(op)
        self._journal.clear()

    def _check_payload(self, op: dict[str, Any]) -> None:
        transaction = op["action"] == "Transaction"
        for action in op["payload"] if transaction else [op]:
            if len(canonical(action.get("payload")).encode()) > PAYLOAD_BYTES_MAX:
                failure = Failed("payload is too large")
                failure.path = [] if transaction else self._path_of_target(action)
                raise failure

    def _original_of(self, op: dict[str, Any]) -> Name | None:
        """Return what number 0 of `op` repeats, because of its origin, if it has no effect."""
        if "origin" not in op:
            return None
        origin = read_name(op["origin"])
        if origin in self._origins:
            return ((*self._origins[origin], 0),)
        is_known = len(origin) == 1 and (
            origin[0][:2] in self._known or self._is_part_of_known(*origin[0])
        )
        if is_known or self._find(origin) is not None:
            return origin
        self._origins[origin] = self._own
        return None

    def _is_part_of_known(self, author: str, index: int, offset: int) -> bool:
        """Tell whether another author re-issued an op before, and nobody a part of it."""
        counted = {name[0] for name in self._origins if len(name) == 1}
        parts = {link for link in counted if link[:2] == (author, index) and link[2] > 0}
        whole = ((author, index, 0),)
        if offset == 0 or whole[0] not in counted or parts:
            return False
        return self._origins[whole][0] != self._own[0]

    def _transact(self, actions: list[Action]) -> None:
        numbers = sum(map(numbers_taken, actions))
        if len(actions) > self.transaction_actions_max or numbers > TRANSACTION_NUMBERS_MAX:
            raise Failed("transaction is too large")
        number = 0
        for action in actions:
            self._do(action, number)
            number += numbers_taken(action)

    def _do(self, action: Action, first: int) -> None:
        """Give one action, whose numbers start with `first`, its effect, or raise Failed."""
        mark = len(self._journal)
        if self._is_made_by_a_part(action, first):
            self._name_as_parts(range(first, first + numbers_taken(action)))
            return
        try:
            match action["action"]:
                case "Set" | "InitObject" | "InitArray" | "InsertBefore" | "InsertAfter":
                    self._set_or_insert(action, first)
                case "InsertUnique":
                    self._insert_unique(action, first)
                case "Delete":
                    self._delete(action)
                case "Add" | "Multiply":
                    self._calculate(action)
                case "Move":
                    self._move(action, first)
                case "Copy":
                    self._copy(action, first)
                case kind:
                    raise ValueError(f"{kind!r} is not an action")
            if action["action"] not in ("Delete", "Add", "Multiply"):
                self._check_size()
        except Superseded as superseded:
            if superseded.same is None:
                self._name_action(action, first)
            elif numbers_taken(action) > 0:
                self._name_same(action, first, superseded.same)
        except Failed as failure:
            self._undo(mark)
            failure.path = self._path_of_target(action)
            raise

    def _is_made_by_a_part(self, action: Action, first: int) -> bool:
        """Tell whether a part of a re-issued op has added the element that this action adds."""
        if "origin" not in self._op or form_of(action) is not Form.ELEMENT:
            return False
        number = first + fill_of(action)
        (author, index, offset), *links = read_name(self._op["origin"])
        if action["action"] == "Move" or links or number == 0 or offset + number > OFFSET_MAX:
            return False
        return self._find(((author, index, offset + number),)) is not None

    def _check_size(self) -> None:
        count, depth = measure(self.root)
        if depth > DEPTH_MAX:
            raise Failed("nested too deeply")
        if count - 1 > self.places_max:
            raise Failed("document is too large")

    def _path_of_target(self, action: Action) -> list[str | int]:
        """Return the path for a failure: of the place, or of where it would be."""
        path = action["path"]
        if path[0]["type"] == "Key":
            return [path[0]["query"]]
        found = self.find(path[0]["query"])
        if found is None:
            return []
        key = [path[1]["query"]] if form_of(action) is Form.KEY else []
        return self.path_of(found) + key

    def _date_assigned(self, place: Place) -> None:
        """Give a place the date of what acts on it, or puts it as a part of something."""
        self._assign(place, "assigned", self._date)
        self._assign(place, "assigned_by", self._own)
        self._assign(place, "calculated", NEVER)
        self._assign(place, "moves", ())

    def _look_at_dates(self, action: Action, place: Place | None) -> None:
        """Go on if nothing newer than a re-issued action is at the place where it acts."""
        if "origin" not in self._op or place is None or place.content is Kind.EMPTY:
            return
        if is_superseded(action, place, self._date, self._own):
            raise Superseded(place if place.assigned == self._date else None)
        if loses_newer(action, place, self._date):
            raise Failed("newer values stand below")

    # --- Where an op acts ----------------------------------------------------------------------

    def _found(self, step: dict[str, Any]) -> Place:
        found = self.find(step["query"])
        if found is None:
            raise Failed(DOES_NOT_EXIST)
        return found

    def _key_slot(self, action: Action) -> KeySlot:
        """Return the slot that a path of form key means: its parent must be a shown object."""
        *parents, key = action["path"]
        parent = ground(self._found(parents[0])) if parents else self.root
        if parent is None or not self.is_present(parent) or parent.content is not Kind.OBJECT:
            raise Failed(DOES_NOT_EXIST)
        return KeySlot(parent, key["query"])

    def _slot_to_set(self, action: Action) -> KeySlot | Position | None:
        """Return the slot that `Set`, `InitObject`, `InitArray` fill; None is the root's."""
        if form_of(action) is Form.KEY:
            return self._key_slot(action)
        slot = self._found(action["path"][0]).slot  # the ground has, or would have, this slot too
        if slot is not None and not self.is_open(slot):
            raise Failed(DOES_NOT_EXIST)
        return slot

    def _present(self, step: dict[str, Any]) -> Place:
        """Return what must be shown: the place to add to, the source to move or copy."""
        found = self._found(step)
        if not self.is_present(found):
            raise Failed(DOES_NOT_EXIST)
        return found

    def _array(self, action: Action) -> Place:
        """Return the array for a new element."""
        array = ground(self._found(action["path"][0]))
        if array is None or not self.is_present(array):
            raise Failed(DOES_NOT_EXIST)
        if array.content is not Kind.ARRAY:
            raise Failed("not an array")
        if fill_of(action) > FILL_MAX:
            raise Failed("too many elements to fill")
        return array

    def _beside(self, array: Place, name: dict[str, Any]) -> Position | None:
        """Return the position of this array with the name, or where what the name finds stands."""
        position = self.find_position(name)
        if position is not None and position.owner is array:
            return position
        found = self.find(name)
        if found is None or not isinstance(found.slot, Position):
            return None
        return found.slot if found.slot.owner is array else None

    def _add_positions(self, array: Place, action: Action, first: int) -> list[Position]:
        """Add and name the positions for the fills and, last, for the place; all still vacated."""
        at = len(array.positions)
        if "beside" in action and action.get("side") in ("before", "after"):
            beside = self._beside(array, action["beside"])
            if beside is not None:
                at = array.positions.index(beside) + (action["side"] == "after")
        added = []
        for number in range(fill_of(action) + 1):
            position = Position(array)
            self._insert(array.positions, at + number, position)
            self._name_position(first + number, position)
            added.append(position)
        return added

    def _new_position(self, array: Place, action: Action, first: int) -> Position:
        """Add the fills, each a `null`, and return the position for the place after them."""
        *fills, position = self._add_positions(array, action, first)
        for number, fill in enumerate(fills, first):
            self._put(self._occupant(fill), None, number)
        return position

    def _occupant(self, slot: KeySlot | Position) -> Place:
        """Return the occupant of a slot, or a new empty one if there is none."""
        place = occupant_of(slot)
        if place is None:
            place = Place(slot)
            self._occupy(slot, place)
        return place

    def _occupy(self, slot: KeySlot | Position, place: Place | None) -> None:
        if isinstance(slot, KeySlot):
            self._enter(slot.owner.keys, slot.key, place)
        else:
            self._assign(slot, "occupant", place)

    # --- Putting a value -----------------------------------------------------------------------

    def _put(self, place: Place, value: Any, number: int, naming_only: bool = False) -> int:
        """Put a value at a place, or only give the names; return the next number."""
        self._name_place(number, place)
        number += 1
        if not naming_only:
            self._set_content(place, content_for(value))
            self._date_assigned(place)
        if isinstance(value, dict):
            for key in sorted(value):
                occupant = self._occupant(KeySlot(place, key))
                number = self._put(occupant, value[key], number, naming_only)
        elif isinstance(value, list):
            for item in value:
                position = Position(place)
                self._insert(place.positions, len(place.positions), position)
                self._name_position(number, position)
                number = self._put(self._occupant(position), item, number, naming_only)
        return number

    def _set_content(self, place: Place, content: Any) -> None:
        """Empty everything below a place, then change its content."""
        rest = [place]
        while rest:
            for below in rest.pop().occupants():
                if below.content is not Kind.EMPTY:
                    self._assign(below, "content", Kind.EMPTY)
                rest.append(below)
        if place.content is Kind.EMPTY:
            self._assign(place, "copy_depth", 0)
        self._assign(place, "content", content)

    # --- What it does --------------------------------------------------------------------------

    def _set_or_insert(self, action: Action, first: int) -> None:
        slot: KeySlot | Position | None
        if form_of(action) is Form.ELEMENT:
            slot = self._new_position(self._array(action), action, first)
        else:
            slot = self._slot_to_set(action)
        number = first + fill_of(action)
        if slot is None and action["action"] != "InitObject":
            raise Failed("cannot replace the root")
        if slot is None:
            return
        self._look_at_dates(action, occupant_of(slot))
        place = self._occupant(slot)
        if action["action"] not in CONTENT_OF_INIT:
            self._put(place, action["payload"], number)
            return
        self._name_place(number, place)
        self._date_assigned(place)
        content = CONTENT_OF_INIT[action["action"]]
        if place.content is not content:
            self._set_content(place, content)

    def _insert_unique(self, action: Action, first: int) -> None:
        array = self._array(action)
        for _, element in shown_positions(array):
            if equal(value_of(element), action["payload"]):
                self._name_equal(element, action["payload"], first + fill_of(action))
                return
        self._set_or_insert(action, first)

    def _name_equal(self, place: Place, value: Any, number: int) -> int:
        """Give names to a shown place and those below it as if the equal `value` were put."""
        self._name_place(number, place)
        number += 1
        if isinstance(value, dict):
            for (_, below), key in zip(shown_keys(place), sorted(value), strict=True):
                number = self._name_equal(below, value[key], number)
        elif isinstance(value, list):
            for (_, below), item in zip(shown_positions(place), value, strict=True):
                number = self._name_equal(below, item, number)
        return number

    def _delete(self, action: Action) -> None:
        place = self._found(action["path"][0])
        if place.covered:
            return
        if place.slot is None:
            raise Failed("cannot replace the root")
        if not self.is_open(place.slot):
            raise Failed(DOES_NOT_EXIST)
        self._look_at_dates(action, place)
        if place.content is not Kind.EMPTY:
            self._set_content(place, Kind.EMPTY)

    def _calculate(self, action: Action) -> None:
        place = self._present(action["path"][0])
        self._look_at_dates(action, place)
        left, right = place.content, action["payload"]
        if not is_number(left):
            raise Failed("not a number")
        adds = action["action"] == "Add"
        if isinstance(left, int) and isinstance(right, int):
            result: int | float = left + right if adds else left * right
            if not -(2**63) <= result <= 2**64 - 1:
                raise Failed("number out of range")
        else:
            result = float(left) + float(right) if adds else float(left) * float(right)
            if not math.isfinite(result):
                raise Failed("number out of range")
        self._assign(place, "content", result)
        self._assign(place, "calculated", max(place.calculated, self._date))

    def _move(self, action: Action, first: int) -> None:
        place, slot = self._source_and_destination(action)
        assert place.slot is not None  # the root has no name that could find it
        self._check_not_inside(place, slot.owner)
        self._assign(place, "moves", (*place.moves, (self._date, self._own)))
        if isinstance(slot, KeySlot) and slot == place.slot:
            return
        if isinstance(slot, Position):
            slot = self._new_position(slot.owner, action, first)
        self._occupy(place.slot, None)
        self._settle(place, slot)

    def _copy(self, action: Action, first: int) -> None:
        source, slot = self._source_and_destination(action)
        if measure(source)[0] > self.copy_places_max:
            raise Failed("copy is too large")
        made = MadeByCopy({}, {})
        place = copy_of(source, made, self._date, self._own)  # before fills, and before it covers
        if max(below.copy_depth for below in made.places.values()) > COPY_DEPTH_MAX:
            raise Failed("copy is too large")
        if isinstance(slot, Position):
            slot = self._new_position(slot.owner, action, first)
        self._settle(place, slot)
        number = first + fill_of(action)
        self._name_place(number, place)
        self._name_copy(number, made)

    def _source_and_destination(self, action: Action) -> tuple[Place, KeySlot | Position]:
        """Return what `Move` and `Copy` act on; a Position stands for the array it is not yet in.

        The order is the page's: the source, what was done to it since, then where it goes.
        """
        source = self._present(action["payload"][0])
        is_reissued = action["action"] == "Move" and "origin" in self._op
        if is_reissued and moved_since(source, self._date, self._own):
            raise Superseded
        if form_of(action) is Form.KEY:
            return source, self._key_slot(action)
        return source, Position(self._array(action))

    def _check_not_inside(self, place: Place, owner: Place) -> None:
        at = owner
        while at is not place:
            if at.slot is None:
                return
            at = at.slot.owner
        raise Failed("cannot move a place into itself")

    def _settle(self, place: Place, slot: KeySlot | Position) -> None:
        """Make a place the occupant of a slot and cover the former one."""
        former = occupant_of(slot)
        if former is not None:
            self._set_content(former, Kind.EMPTY)
            self._assign(former, "covered", True)
        self._assign(place, "slot", slot)
        self._occupy(slot, place)

    # --- Naming only ---------------------------------------------------------------------------

    def _name_only(self, op: dict[str, Any]) -> None:
        """Let a skipped op name its places."""
        if op["action"] != "Transaction":
            self._name_action(op, 0)
            return
        number = 0
        for action in op["payload"]:
            self._name_action(action, number)
            number += numbers_taken(action)

    def _name_action(self, action: Action, first: int) -> None:
        kind = action["action"]
        form = form_of(action)
        if kind in ("Delete", "Add", "Multiply") or (kind == "Move" and form is Form.KEY):
            return
        place: Place | None
        if form is Form.ELEMENT:
            place = self._dead_element(action, first)
        else:
            place = self._occupant_to_name(action)
        if place is None:
            return
        number = first + fill_of(action)
        if kind in ("InitObject", "InitArray", "Copy"):
            self._name_place(number, place)
        else:
            self._put(place, action["payload"], number, naming_only=True)

    def _name_same(self, action: Action, first: int, place: Place) -> None:
        """Name only the place that another part of the same op assigned; the rest it repeats."""
        self._name_place(first, place)
        self._name_as_parts(range(first + 1, first + numbers_taken(action)))

    def _name_as_parts(self, numbers: range) -> None:
        """Let names of the op find what the names of its origin find."""
        author, index = self._own
        (*origin, offset), *links = read_name(self._op["origin"])
        for number in numbers:
            if offset + number <= OFFSET_MAX:
                name = (origin[0], origin[1], offset + number)
                self._enter(self._parts, (author, index, number), (name, *links))

    def _dead_element(self, action: Action, first: int) -> Place | None:
        """Add the positions of a skipped op to whatever it found; return the place, if any."""
        found = self.find(action["path"][0]["query"])
        array = None if found is None else ground(found)
        if array is None or fill_of(action) > FILL_MAX:
            return None
        positions = self._add_positions(array, action, first)
        if action["action"] == "Move":
            return None
        *fills, position = positions
        for number, fill in enumerate(fills, first):
            self._name_place(number, self._occupant(fill))
        return self._occupant(position)

    def _occupant_to_name(self, action: Action) -> Place | None:
        """Return the occupant that a skipped op names, a new empty one if there is none."""
        path = action["path"]
        if form_of(action) is Form.PLACE:
            found = self.find(path[0]["query"])
            if found is None or found.slot is None:
                return found
            return self._occupant(found.slot)
        parent: Place | None = self.root
        if len(path) > 1:
            found = self.find(path[0]["query"])
            parent = None if found is None else ground(found)
        return None if parent is None else self._occupant(KeySlot(parent, path[-1]["query"]))
