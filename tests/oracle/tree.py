"""The tree of places that the oracle folds into, and how names find places in it.

Laws: nothing here comes from `cytosol`, so that agreement of the two means something. Speed is
no aim; nothing is remembered that could be found by looking.

All changes pass through `_assign`, `_enter` and `_insert`, which note in a journal how to take
them back; so "it changes nothing" is one loop, the same for every reason to fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

Op = tuple[str, int]  # the author and index of its id
Link = tuple[str, int, int]  # author, index, offset
Name = tuple[Link, ...]  # one link, or the copy followed by the name of what was copied
Action = dict[str, Any]  # an op, or an inner action of a Transaction
Date = tuple[int, bytes]  # index, author

NEVER: Date = (0, b"")  # lower than every date
NOBODY: Op = ("", 0)
OFFSET_MAX = 2**24 - 1


# --- Values --------------------------------------------------------------------------------------


def canonical(value: Any) -> str:
    """Return the canonical JSON text of a value: keys sorted, no white space, not escaped."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def equal(left: Any, right: Any) -> bool:
    """Tell JSON equality: numbers by value, booleans apart, objects without key order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; `true` is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def places_in(value: Any) -> int:
    """Count the places of a payload: one for the value, one for each value inside it."""
    if isinstance(value, dict):
        return 1 + sum(map(places_in, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(places_in, value))
    return 1


# --- Names and paths -----------------------------------------------------------------------------


def read_name(name: dict[str, Any]) -> Name:
    """Return a name in JSON form as a chain of links: the copy first, then what it copied."""
    return tuple(_read_link(link) for link in (name, *name.get("of", ())))


def write_name(name: Name) -> dict[str, Any]:
    """Return a name in JSON form."""
    links = [
        {"author": author, "index": index, **({"offset": offset} if offset else {})}
        for author, index, offset in name
    ]
    return {**links[0], "of": links[1:]} if links[1:] else links[0]


def _read_link(link: dict[str, Any]) -> Link:
    return (link["author"], link["index"], link.get("offset", 0))


def numbers_taken(action: Action) -> int:
    """Return how many numbers an action takes, whether it succeeds or not."""
    match action["action"]:
        case "Set" | "InsertBefore" | "InsertAfter" | "InsertUnique":
            return fill_of(action) + places_in(action["payload"])
        case "InitObject" | "InitArray" | "Move" | "Copy":
            return fill_of(action) + 1
        case "Delete" | "Add" | "Multiply":
            return 0
        case kind:
            raise ValueError(f"{kind!r} is not an action that a Transaction can hold")


def fill_of(action: Action) -> int:
    return int(action.get("fill", 0))


class Form(Enum):
    """The three forms of compiled paths."""

    KEY = "key"
    PLACE = "place"
    ELEMENT = "element"


def form_of(action: Action) -> Form:
    """Tell the form of a path; `InsertUnique`, which names its array, acts as an element."""
    if action["action"] == "InsertUnique":
        return Form.ELEMENT
    last = action["path"][-1]["type"]
    return {"Key": Form.KEY, "Id": Form.PLACE, "Index": Form.ELEMENT}[last]


# --- The tree ------------------------------------------------------------------------------------


class Kind(Enum):
    """A content that is not a primitive."""

    EMPTY = "empty"
    OBJECT = "object"
    ARRAY = "array"


class Place:
    """A member of an object, an element of an array, or the root."""

    def __init__(self, slot: KeySlot | Position | None) -> None:
        self.slot = slot  # None for the root, and for what a Copy has made but not yet placed
        self.content: Any = Kind.EMPTY
        self.keys: dict[str, Place | None] = {}  # None: the occupant has moved away
        self.positions: list[Position] = []
        self.covered = False
        self.copy_depth = 0
        self.assigned = NEVER
        self.assigned_by = NOBODY
        self.calculated = NEVER  # since it was last assigned
        self.moves: tuple[tuple[Date, Op], ...] = ()  # the same

    @property
    def moved(self) -> Date:
        """Return the greatest date of the moves."""
        return max((date for date, _ in self.moves), default=NEVER)

    def occupants(self) -> list[Place]:
        """Return the occupants of all keys and positions, shown or not."""
        below = [*self.keys.values(), *(position.occupant for position in self.positions)]
        return [place for place in below if place is not None]


class KeySlot(NamedTuple):
    """The key of an object place."""

    owner: Place
    key: str


class Position:
    """A position of an array place; without occupant it is vacated."""

    def __init__(self, owner: Place) -> None:
        self.owner = owner
        self.occupant: Place | None = None


class MadeByCopy(NamedTuple):
    """What one Copy made of what."""

    places: dict[Place, Place]
    positions: dict[Position | Place | None, Position]  # by the position copied, and its place


def occupant_of(slot: KeySlot | Position) -> Place | None:
    return slot.owner.keys.get(slot.key) if isinstance(slot, KeySlot) else slot.occupant


def shown_positions(place: Place) -> Iterator[tuple[Position, Place]]:
    """Give the positions whose occupants an array shows, with these occupants."""
    for position in place.positions:
        if position.occupant is not None and position.occupant.content is not Kind.EMPTY:
            yield position, position.occupant


def shown_keys(place: Place) -> Iterator[tuple[str, Place]]:
    """Give the keys that an object shows, in code point order, with their occupants."""
    for key in sorted(place.keys):
        occupant = place.keys[key]
        if occupant is not None and occupant.content is not Kind.EMPTY:
            yield key, occupant


def shown_below(place: Place) -> list[Place]:
    """Return what is shown directly below a place."""
    if place.content is Kind.OBJECT:
        return [child for _, child in shown_keys(place)]
    if place.content is Kind.ARRAY:
        return [child for _, child in shown_positions(place)]
    return []


def value_of(place: Place) -> Any:
    """Return what a place that is not empty shows."""
    if place.content is Kind.OBJECT:
        return {key: value_of(child) for key, child in shown_keys(place)}
    if place.content is Kind.ARRAY:
        return [value_of(child) for _, child in shown_positions(place)]
    return place.content


def measure(place: Place) -> tuple[int, int]:
    """Return how many places are shown (with `place`), and how many containers are nested."""
    count = depth_max = 0
    rest = [(place, 1)]
    while rest:
        place, depth = rest.pop()
        count += 1
        if isinstance(place.content, Kind):
            depth_max = max(depth_max, depth)
            rest.extend((child, depth + 1) for child in shown_below(place))
    return count, depth_max


def ground(place: Place) -> Place | None:
    """Return the place itself or, if it is covered, who is in its key slot now, or nobody."""
    if not place.covered:
        return place
    assert place.slot is not None
    return occupant_of(place.slot)


def content_for(value: Any) -> Any:
    """Return the content of a place at which a value is put."""
    if isinstance(value, dict):
        return Kind.OBJECT
    return Kind.ARRAY if isinstance(value, list) else value


def copy_of(source: Place, made: MadeByCopy, date: Date, op: Op) -> Place:
    """Return a new place with new places below it for everything that is shown below `source`."""
    place = Place(None)
    place.assigned, place.assigned_by = date, op
    place.content = source.content
    made.places[source] = place
    if source.content is Kind.OBJECT:
        for key, below in shown_keys(source):
            copied = copy_of(below, made, date, op)
            copied.copy_depth = below.copy_depth + 1
            copied.slot = KeySlot(place, key)
            place.keys[key] = copied
    elif source.content is Kind.ARRAY:
        for copied_from, below in shown_positions(source):
            copied = copy_of(below, made, date, op)
            copied.copy_depth = below.copy_depth + 1
            position = Position(place)
            position.occupant = copied
            copied.slot = position
            place.positions.append(position)
            made.positions[copied_from] = made.positions[below] = position
    return place


class Tree:
    """The places, what finds them, and a journal: whatever is done can be undone."""

    def __init__(self) -> None:
        self.root = Place(None)
        self.root.content = Kind.OBJECT
        self._names: dict[Name, Place] = {}
        self._position_names: dict[Name, Position] = {}
        self._copies: dict[Link, MadeByCopy] = {}
        self._repeats: dict[Op, Name] = {}  # op -> what its number 0 repeats
        self._parts: dict[Link, Name] = {}  # what single names of an op repeat
        self._journal: list[Callable[[], Any]] = []
        self._op: dict[str, Any] = {}
        self._own = NOBODY  # the present op
        self._date = NEVER  # the date of the present op

    # --- What tests look at --------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Return what the root shows."""
        shown: dict[str, Any] = value_of(self.root)
        return shown

    def find(self, name: dict[str, Any]) -> Place | None:
        """Return the place that a name in JSON form finds now, wherever that place is."""
        return self._find(read_name(name))

    def find_position(self, name: dict[str, Any]) -> Position | None:
        """Return the position that a name in JSON form names."""
        return self._find_position(read_name(name))

    def named_places(self) -> list[Place]:
        """Return every place that some name finds, some more than once."""
        copied = (place for made in self._copies.values() for place in made.places.values())
        return [*self._names.values(), *copied]

    def shown_names(self) -> list[dict[str, Any]]:
        """Return the names, in JSON form, that ops gave to places which are shown now."""
        return [write_name(name) for name, at in self._names.items() if self.is_present(at)]

    def path_of(self, place: Place) -> list[str | int]:
        """Return the way down to a place along the slots, whether it is shown or not.

        The index of a position is the number of elements shown before it.
        """
        steps: list[str | int] = []
        while place.slot is not None:
            if isinstance(place.slot, KeySlot):
                steps.append(place.slot.key)
            else:
                before = 0
                for position in place.slot.owner.positions:
                    if position is place.slot:
                        break
                    occupant = position.occupant
                    before += occupant is not None and occupant.content is not Kind.EMPTY
                steps.append(before)
            place = place.slot.owner
        return steps[::-1]

    def is_present(self, place: Place) -> bool:
        """Tell whether a place is shown."""
        while place.slot is not None:
            if place.content is Kind.EMPTY or occupant_of(place.slot) is not place:
                return False
            wanted = Kind.OBJECT if isinstance(place.slot, KeySlot) else Kind.ARRAY
            if place.slot.owner.content is not wanted:
                return False
            place = place.slot.owner
        return place is self.root

    def is_open(self, slot: KeySlot | Position) -> bool:
        """Tell whether a slot could show an occupant: its owner is present, of the right kind."""
        wanted = Kind.OBJECT if isinstance(slot, KeySlot) else Kind.ARRAY
        return slot.owner.content is wanted and self.is_present(slot.owner)

    # --- The journal: whatever is done can be undone -------------------------------------------

    def _assign(self, thing: Place | Position, attribute: str, value: Any) -> None:
        before = getattr(thing, attribute)
        self._journal.append(lambda: setattr(thing, attribute, before))
        setattr(thing, attribute, value)

    def _enter(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if key in table:
            before = table[key]
            self._journal.append(lambda: table.__setitem__(key, before))
        else:
            self._journal.append(lambda: table.pop(key))
        table[key] = value

    def _insert(self, items: list[Position], index: int, item: Position) -> None:
        self._journal.append(lambda: items.pop(index))
        items.insert(index, item)

    def _undo(self, mark: int = 0) -> None:
        while len(self._journal) > mark:
            self._journal.pop()()

    # --- Names ---------------------------------------------------------------------------------

    def _names_given(self, number: int) -> list[Name]:
        """Return the names that the present op gives to what has this number."""
        own = self._op["id"]
        names: list[Name] = [((own["author"], own["index"], number),)]
        if "origin" in self._op:
            origin = read_name(self._op["origin"])
            author, index, offset = origin[0]
            if offset == 0:
                names.append(((author, index, number), *origin[1:]))
            elif number == 0:
                names.append(origin)
        return names

    def _name_place(self, number: int, place: Place) -> None:
        for name in self._names_given(number):
            if self._find(name) is None:  # only origins can give a name twice: the first stays
                self._enter(self._names, name, place)

    def _name_position(self, number: int, position: Position) -> None:
        for name in self._names_given(number):
            if self._find_position(name) is None:
                self._enter(self._position_names, name, position)

    def _name_copy(self, number: int, made: MadeByCopy) -> None:
        for name in self._names_given(number):
            if len(name) == 1 and name[0] not in self._copies:
                self._enter(self._copies, name[0], made)

    def _read(
        self, given: Mapping[Name, object], name: Name, read: frozenset[Op]
    ) -> tuple[Name, frozenset[Op]]:
        """Return how to read a name: as one that was given, or as a copy and what it copied.

        A link whose op repeats another one stands for what that op's names stand for. A link
        that stands for a chain is no copy, and can only be the last one; no op is read as a
        chain again in its own chain, which ends what would never end.
        """
        passed = set()
        while name not in given:
            (author, index, offset), *rest = name
            op = (author, index)
            part = self._parts.get(name[0])
            repeated = self._repeats.get(op) if part is None else part
            if repeated is None or op in passed:
                return name, read
            passed.add(op)
            if len(repeated) > 1:
                if rest or op in read:
                    return name, read
                read |= {op}
            author, index, first = repeated[0]
            offset = offset if part is None else 0
            if first + offset > OFFSET_MAX:
                return (), read
            name = ((author, index, first + offset), *repeated[1:], *rest)
        return name, read

    def _find(self, name: Name, read: frozenset[Op] = frozenset()) -> Place | None:
        name, read = self._read(self._names, name, read)
        if name in self._names or len(name) < 2 or name[0] not in self._copies:
            return self._names.get(name)
        place = self._find(name[1:], read)
        return None if place is None else self._copies[name[0]].places.get(place)

    def _find_position(self, name: Name, read: frozenset[Op] = frozenset()) -> Position | None:
        name, read = self._read(self._position_names, name, read)
        if name in self._position_names or len(name) < 2 or name[0] not in self._copies:
            return self._position_names.get(name)
        made = self._copies[name[0]].positions
        position = self._find_position(name[1:], read)
        place = self._find(name[1:], read)
        return made.get(position) or made.get(place)
