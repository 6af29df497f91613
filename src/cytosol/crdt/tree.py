"""The document and the identities beside it.

The document is native dicts and lists, so that reading runs at C speed. Beside every container
stands a Place, which knows what its keys and positions are called; a primitive has no object of
its own, only its name in the Place around it. What is shown is decided by the native containers
alone: a Place is *present* if it hangs together with the root through them, so deleting a
container costs nothing for what is below it. Theory and rules: docs/merging.md, State.

A *slot* is `(place, step)`, with a key (str) or a position (int) as step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cytosol.crdt.names import AUTHOR_MASK, OFFSET_BITS, OFFSET_MASK, Names
from cytosol.crdt.sequence import Sequence
from cytosol.model.ids import PeerId

__all__ = ["MISSING", "Found", "Order", "Place", "Slot", "Step", "Tree"]

MISSING: Any = object()
"""Stands for the content of an empty place."""

Step = str | int
Order = tuple[int, PeerId, int]


class Place:
    """The identity of a place that is, or once was, a container.

    `value` is its native container while it is one. `codes` names the occupants of its keys,
    `places` holds those occupants of keys and positions that have a Place. The
    optional tables are rare: `revived` (newest name of a place that was emptied and came back),
    `occupants` (positions that hold a moved place), `markers` (moves that took or
    covered an occupant, by step, in the order of the fold).
    """

    __slots__ = (
        "code",
        "codes",
        "markers",
        "occupants",
        "places",
        "revived",
        "sequence",
        "step",
        "up",
        "value",
    )

    def __init__(self, code: int, up: Place | None, step: Step) -> None:
        self.code = code
        self.up = up
        self.step = step
        self.value: Any = None
        self.codes: dict[str, int] = {}
        self.places: dict[Step, Place] | None = None
        self.sequence: Sequence | None = None
        self.revived: dict[Step, int] | None = None
        self.occupants: dict[int, int] | None = None
        self.markers: dict[Step, list[tuple[Order, int, bool]]] | None = None


Slot = tuple[Place, Step]
Found = tuple[Place, Step, int]
"""A slot, and the code of the place found if a move has covered it there, else 0."""


class Tree:
    """One document with its identities, and every way to look something up in it."""

    __slots__ = (
        "copied",
        "covered",
        "located",
        "made",
        "names",
        "origins",
        "part_counts",
        "recounted",
        "root",
        "shape",
    )

    def __init__(self, names: Names) -> None:
        self.names = names
        self.root = Place(0, None, "")
        self.root.value = {}
        self.located: dict[int, Found] = {}
        """Where moved and copied places are now, and all places older than the log."""
        self.covered: dict[int, Place] = {}
        """Containers that a move has covered, by the name they were made with."""
        self.copied: dict[tuple[int, int], int] = {}
        """What a copy made: (its name, the name its source was made with) -> name."""
        self.origins: dict[int, int] = {}
        """What was re-issued: origin -> first name of the op that did it."""
        self.part_counts: dict[int, int] = {}
        """How many of `origins` are parts of an op, by the origin that the whole op has."""
        self.made = 0
        """An upper bound for the number of shown places."""
        self.recounted = False
        """Whether `made` was ever lowered to the exact count, so that undoing may exceed it."""
        self.shape = 0
        """Grows whenever a container may have come, gone or moved: caches look at it."""

    # --- origins ------------------------------------------------------------------------

    def add_origin(self, origin: int, first: int) -> None:
        """Note what was re-issued."""
        self.origins[origin] = first
        if origin >= 0 and origin & OFFSET_MASK:
            whole = origin & ~OFFSET_MASK
            self.part_counts[whole] = self.part_counts.get(whole, 0) + 1

    def drop_origin(self, origin: int) -> None:
        """Forget what was re-issued, if it was noted."""
        if self.origins.pop(origin, None) is not None and origin >= 0 and origin & OFFSET_MASK:
            self.part_counts[origin & ~OFFSET_MASK] -= 1

    def is_part_of_known(self, origin: int, op_code: int) -> bool:
        """Tell whether it is part of an op that another author re-issued, and nobody a part of it.

        That author knew the part, and left it out because it is gone. Who issues a base again comes
        to the first part of an op before the others.
        """
        whole = origin & ~OFFSET_MASK
        first = self.origins.get(whole)
        if first is None or self.part_counts.get(whole):
            return False
        return (first >> OFFSET_BITS ^ op_code) & AUTHOR_MASK != 0

    # --- contents -----------------------------------------------------------------------

    def content(self, up: Place, step: Step) -> Any:
        """Return what is shown at a slot whose owner is present, or MISSING."""
        value = up.value
        if isinstance(step, str):
            return value.get(step, MISSING) if type(value) is dict else MISSING
        if type(value) is not list:
            return MISSING
        sequence = up.sequence
        assert sequence is not None, "an array has its positions"
        return value[sequence.index_of(step)] if sequence.is_shown(step) else MISSING

    def place_at(self, up: Place, step: Step) -> Place | None:
        """Return the Place of the occupant of a slot, if it ever was a container."""
        return None if up.places is None else up.places.get(step)

    def ensure_place(self, up: Place, step: Step) -> Place:
        """Return the Place of the occupant of a slot, a new one if it has none yet."""
        if up.places is None:
            up.places = {}
        return up.places.setdefault(step, Place(self.code_at(up, step), up, step))

    def code_at(self, up: Place, step: Step) -> int:
        """Return the name that the occupant of a slot got when it was made."""
        if isinstance(step, str):
            return up.codes[step]
        if up.occupants is None:
            return step
        return up.occupants.get(step, step)

    def name_at(self, up: Place, step: Step) -> int:
        """Return the name by which new ops call the occupant of a slot."""
        if up.revived is not None and step in up.revived:
            return up.revived[step]
        return self.code_at(up, step)

    def name_of(self, place: Place) -> int:
        """Return the name by which new ops call a container that is not the root."""
        assert place.up is not None, "the root has no name"
        return self.name_at(place.up, place.step)

    def is_present(self, place: Place) -> bool:
        """Tell whether a container is part of the document.

        A native object at its key is enough: no other Place ever has it. Positions keep occupants.
        """
        while place.value is not None:
            up = place.up
            if up is None:
                return True
            if isinstance(place.step, str):
                if type(up.value) is not dict or up.value.get(place.step) is not place.value:
                    return False
            elif (
                type(up.value) is not list
                or up.sequence is None
                or not up.sequence.is_shown(place.step)
            ):
                return False
            place = up
        return False

    def is_below(self, place: Place, above: Place) -> bool:
        """Tell whether `place` is `above` or inside of it."""
        at: Place | None = place
        while at is not None:
            if at is above:
                return True
            at = at.up
        return False

    def depth(self, place: Place) -> int:
        """Return how many containers stand around the content of `place`, itself included."""
        depth = 0
        at: Place | None = place
        while at is not None:
            depth += 1
            at = at.up
        return depth

    def path(self, up: Place, step: Step) -> list[Step]:
        """Return keys and indexes from the root to a slot: where it is, or was last.

        An index is the number of elements shown before; 0 where the array is not shown.
        """
        path: list[Step] = []
        place: Place | None = up
        while place is not None:
            if isinstance(step, str):
                path.append(step)
            elif type(place.value) is list and self.is_present(place):
                assert place.sequence is not None
                path.append(place.sequence.index_of(step))
            else:
                path.append(0)
            step, place = place.step, place.up
        path.reverse()
        return path

    def slot(self, location: tuple[Step, ...]) -> Slot:
        """Return the slot of a location in the document that exists, given by key and index."""
        place = self.root
        last = len(location) - 1
        for at, step in enumerate(location):
            if type(step) is int:
                assert place.sequence is not None, "an array has its positions"
                step = place.sequence.at(step)
            if at == last:
                return place, step
            assert place.places is not None, "containers have places"
            place = place.places[step]
        raise AssertionError("the root is in no slot")  # pragma: no cover - a mistake of ours

    def container(self, location: tuple[Step, ...]) -> Place:
        """Return the Place of a container that exists, given by keys and indexes."""
        if not location:
            return self.root
        up, step = self.slot(location)
        assert up.places is not None, "containers have places"
        return up.places[step]

    def below(self, place: Place) -> Iterator[Slot]:
        """Yield the slots of everything that is shown below a container."""
        todo = [place]
        while todo:
            place = todo.pop()
            steps: Iterable[Step] = place.value
            if type(place.value) is list:
                assert place.sequence is not None, "an array has its positions"
                steps = place.sequence.shown_codes()
            for step in steps:
                yield place, step
                below = self.place_at(place, step)
                if below is not None and below.value is not None:
                    todo.append(below)

    # --- moves --------------------------------------------------------------------------

    def follow(self, up: Place, step: Step, order: Order) -> Found | None:
        """Return where the place is now that a name of this `order` found in this slot."""
        if up.markers is not None:
            for when, code, covered in up.markers.get(step, ()):
                if when > order:
                    return (up, step, code) if covered else self.located.get(code)
        return up, step, 0

    def forget_history(self) -> None:
        """Keep one name for each shown place and nothing else: all before is trimmed."""
        self.located.clear()
        self.covered.clear()
        self.copied.clear()
        self.shape += 1
        todo = [self.root]
        while todo:
            place = todo.pop()
            value, places = place.value, place.places or {}
            if type(value) is dict:
                names: dict[Step, int] = {key: self.name_at(place, key) for key in value}
                place.codes = names  # type: ignore[assignment]  # an object has keys only
                place.occupants = place.sequence = None
            else:
                assert place.sequence is not None
                positions = place.sequence.shown_codes()
                names = {position: self.name_at(place, position) for position in positions}
                place.sequence = Sequence()
                for position in positions:
                    place.sequence.append(position)
                moved = {q: c for q, c in names.items() if isinstance(q, int) and q != c}
                place.occupants = moved or None
                place.codes = {}
            place.revived = place.markers = None
            kept = {s: p for s, p in places.items() if s in names and p.value is not None}
            place.places = kept or None
            for step, below in kept.items():
                below.code = names[step]
                todo.append(below)
        self.made = self.count_shown()

    # --- checking -----------------------------------------------------------------------

    def count_shown(self) -> int:
        """Return how many places the document shows, without the root."""
        count = 0
        todo: list[Any] = [self.root.value]
        while todo:
            value = todo.pop()
            count += len(value)
            items = value.values() if type(value) is dict else value
            todo.extend(item for item in items if type(item) is dict or type(item) is list)
        return count

    def note_undone(self) -> None:
        """Note that something was taken back: containers, too, and `made` may be no bound now."""
        self.shape += 1
        if self.recounted:
            self.made = self.count_shown()

    def check_invariants(self) -> None:
        """Raise AssertionError if identities and document do not fit together."""
        assert self.count_shown() <= self.made, "the bound on places holds"
        todo = [self.root]
        while todo:
            place = todo.pop()
            value = place.value
            if type(value) is dict:
                assert value.keys() <= place.codes.keys(), "every member has a name"
                steps: list[tuple[Step, Any]] = list(value.items())
            else:
                assert type(value) is list
                assert place.sequence is not None
                place.sequence.check_invariants()
                codes = place.sequence.shown_codes()
                assert len(codes) == len(value), "every element has a position"
                steps = list(zip(codes, value, strict=True))
            for step, item in steps:
                below = self.place_at(place, step)
                if type(item) is dict or type(item) is list:
                    assert below is not None, "containers have places"
                    assert below.value is item, "and places have containers"
                    assert (below.up, below.step) == (place, step), "places know their slot"
                    assert below.code == self.code_at(place, step), "and have one name"
                    assert self.is_present(below), "what is shown is present"
                    todo.append(below)
                else:
                    assert below is None or below.value is None, "primitives are no containers"
