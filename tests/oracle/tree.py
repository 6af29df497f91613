"""The tree of places that the oracle folds into, and how names find places in it.

Laws: nothing here comes from `cytosol`, so that agreement of the two means something. Speed is
no aim; nothing is remembered that could be found by looking.

All changes pass through `_assign`, `_enter` and `_insert`, which note in a journal how to take
them back; so "it changes nothing" is one loop, the same for every reason to fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

Link = tuple[str, int, int]  # author, index, offset
Name = tuple[Link, ...]  # one link, or the copy followed by the name of what was copied
Action = dict[str, Any]  # an op, or an inner action of a Transaction
Date = tuple[int, bytes]  # index, author

NEVER: Date = (0, b"")  # lower than every date


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
        self.assigned = NEVER
        self.calculated = NEVER  # since it was last assigned
        self.moved = NEVER  # the same

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


class Tree:
    """The places, what finds them, and a journal: whatever is done can be undone."""

    def __init__(self) -> None:
        self.root = Place(None)
        self.root.content = Kind.OBJECT
        self._names: dict[Name, Place] = {}
        self._position_names: dict[Name, Position] = {}
        self._copies: dict[Link, MadeByCopy] = {}
        self._repeats: dict[tuple[str, int], Link] = {}  # op -> what its number 0 repeats
        self._journal: list[Callable[[], Any]] = []
        self._op: dict[str, Any] = {}
        self._date = NEVER  # of the present op

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

    def _original(self, link: Link) -> Link:
        """Return the link with the op which it repeats, if it is a re-issued one, in its place."""
        author, index, offset = link
        passed = set()
        while (author, index) in self._repeats and (author, index) not in passed:
            passed.add((author, index))
            author, index, first = self._repeats[author, index]
            offset += first
        return (author, index, offset)

    def _find(self, name: Name) -> Place | None:
        links = tuple(map(self._original, name))
        place = self._names.get(links[-1:])
        for at in range(len(links) - 2, -1, -1):
            given = self._names.get(links[at:])
            made = self._copies.get(links[at])
            if given is not None:
                place = given
            elif made is not None and place is not None:
                place = made.places.get(place)
            else:
                place = None
        return place

    def _find_position(self, name: Name) -> Position | None:
        links = tuple(map(self._original, name))
        position = self._position_names.get(links[-1:])
        for at in range(len(links) - 2, -1, -1):
            given = self._position_names.get(links[at:])
            made = self._copies.get(links[at])
            if given is None and made is not None:
                given = made.positions.get(position) or made.positions.get(
                    self._find(links[at + 1 :])
                )
            position = given
        return position
