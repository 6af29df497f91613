"""Changes of the tree, each of which leaves its inverse on a trail (`undo`).

What is inside a container made by the same op needs no trail: it goes with the container.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Any, Final

from cytosol.crdt.sequence import Sequence
from cytosol.crdt.tree import MISSING, Order, Place, Slot, Step, Tree
from cytosol.crdt.undo import Trail, uninsert, unname
from cytosol.limits import COPY_PLACES_MAX, DEPTH_MAX
from cytosol.model.json import JsonValue

__all__ = ["Failed", "Mutator"]

PATH_MISSING: Final = "path does not exist"
TOO_DEEP: Final = "nested too deeply"
COPY_TOO_LARGE: Final = "copy is too large"


class Failed(Exception):
    """Say that an op cannot be applied: a failure, which is data and never reaches a caller."""

    def __init__(self, message: str, path: list[Step] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[Step] = [] if path is None else path


def _forget(table: dict[Any, Any], key: Any) -> None:
    table.pop(key, None)


class Mutator:
    """The changes that ops are made of."""

    __slots__ = ("touched", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.touched: list[tuple[Place, Step | None]] = []
        """Slots whose content changed, also by taking back; None: elements came or went."""

    def touch(self, up: Place, step: Step | None, trail: Trail) -> None:
        """Note that a slot changes now, and will again when this is taken back."""
        self.touched.append((up, step))
        trail.append((self.touched.append, (up, step)))

    def _store(self, table: dict[Any, Any], key: Any, value: Any, trail: Trail) -> None:
        """Set a key of one of the tables, leaving the inverse."""
        if key in table:
            trail.append((table.__setitem__, key, table[key]))
        else:
            trail.append((_forget, table, key))
        table[key] = value

    def _take(self, table: dict[Any, Any] | None, key: Any, trail: Trail) -> Any:
        """Remove a key of one of the tables and return its value, leaving the inverse."""
        if table is None or key not in table:
            return None
        value = table.pop(key)
        trail.append((table.__setitem__, key, value))
        return value

    # --- values -------------------------------------------------------------------------

    def _revive(self, up: Place, step: Step, code: int, trail: Trail) -> None:
        if up.revived is None:
            up.revived = {}
        self._store(up.revived, step, code, trail)

    def build(
        self, up: Place, step: Step, value: JsonValue, code: int, depth: int, trail: Trail
    ) -> tuple[Any, int]:
        """Give the occupant of a slot the identities of a value; return native value, next name.

        `depth` counts the containers around the value. The caller puts the native value into
        the container of the slot. Raises Failed when nested too deeply.
        """
        kind = type(value)
        if kind is not dict and kind is not list:
            place = self.tree.place_at(up, step)
            if place is not None and place.value is not None:
                trail.append((setattr, place, "value", place.value))
                place.value = None
                self.tree.shape += 1
            return value, code + 1
        if depth >= DEPTH_MAX:
            raise Failed(TOO_DEEP)
        place = self.tree.place_at(up, step)
        if place is None:
            place = self.tree.ensure_place(up, step)
            assert up.places is not None
            trail.append((_forget, up.places, step))
            trail = []  # what is inside goes with the new place
        else:
            trail.append((setattr, place, "value", place.value))
            trail.append((setattr, place, "sequence", place.sequence))
        self.tree.shape += 1
        code += 1
        if kind is dict:
            return self._build_object(place, value, code, depth + 1, trail)
        return self._build_array(place, value, code, depth + 1, trail)

    def _build_object(
        self, place: Place, value: dict[str, Any], code: int, depth: int, trail: Trail
    ) -> tuple[Any, int]:
        native: dict[str, Any] = {}
        place.value = native
        codes, places = place.codes, place.places
        for key in sorted(value):
            item = value[key]
            if key in codes:
                self._revive(place, key, code, trail)
            else:
                codes[key] = code
                trail.append((_forget, codes, key))
            kind = type(item)
            if kind is dict or kind is list or (places is not None and key in places):
                native[key], code = self.build(place, key, item, code, depth, trail)
            else:
                native[key] = item
                code += 1
        return native, code

    def _build_array(
        self, place: Place, value: list[Any], code: int, depth: int, trail: Trail
    ) -> tuple[Any, int]:
        native: list[Any] = []
        place.value = native
        sequence = place.sequence = Sequence(older=place.sequence)
        for item in value:
            sequence.append(code)
            kind = type(item)
            if kind is dict or kind is list:
                item, code = self.build(place, code, item, code, depth, trail)
            else:
                code += 1
            native.append(item)
        return native, code

    def set_key(self, up: Place, key: str, value: JsonValue, code: int, trail: Trail) -> None:
        """Put a value at a key of a present object."""
        container = up.value
        old = container.get(key, MISSING)
        if old is MISSING:
            if key in up.codes:
                self._revive(up, key, code, trail)
            else:
                up.codes[key] = code
                trail.append((_forget, up.codes, key))
            native, after = self.build(up, key, value, code, self.tree.depth(up), trail)
            trail.append((container.pop, key))
        else:
            native, after = self.build(up, key, value, code, self.tree.depth(up), trail)
            trail.append((container.__setitem__, key, old))
        container[key] = native
        self.tree.made += after - code
        self.touch(up, key, trail)

    def set_position(
        self, up: Place, position: int, value: JsonValue, code: int, trail: Trail
    ) -> None:
        """Put a value at an element of a present array, bringing it back if it was deleted."""
        sequence = self._reach(up, position, trail)
        native, after = self.build(up, position, value, code, self.tree.depth(up), trail)
        self.tree.made += after - code
        array = up.value
        if sequence.is_shown(position):
            index = sequence.index_of(position)
            trail.append((array.__setitem__, index, array[index]))
            array[index] = native
            self.touch(up, position, trail)
            return
        self._revive(up, position, code, trail)
        index = sequence.show(position)
        array.insert(index, native)
        trail.append((sequence.hide, position))
        trail.append((array.pop, index))
        self.touch(up, None, trail)

    def replace(self, up: Place, step: Step, native: Any, trail: Trail) -> None:
        """Write a primitive over a primitive that is shown."""
        self.touch(up, step, trail)
        if isinstance(step, str):
            trail.append((up.value.__setitem__, step, up.value[step]))
            up.value[step] = native
        else:
            assert up.sequence is not None
            index = up.sequence.index_of(step)
            trail.append((up.value.__setitem__, index, up.value[index]))
            up.value[index] = native

    def empty(self, up: Place, step: Step, trail: Trail) -> None:
        """Delete what is shown at a slot; the place and its names stay known."""
        place = self.tree.place_at(up, step)
        if place is not None and place.value is not None:
            trail.append((setattr, place, "value", place.value))
            place.value = None
            self.tree.shape += 1
        self._hide(up, step, trail)

    def _hide(self, up: Place, step: Step, trail: Trail) -> Any:
        """Take what is shown at a slot out of the document and return it."""
        self.touch(up, step if isinstance(step, str) else None, trail)
        if isinstance(step, str):
            native = up.value.pop(step)
            trail.append((up.value.__setitem__, step, native))
            return native
        sequence = up.sequence
        assert sequence is not None
        index = sequence.index_of(step)
        native = up.value.pop(index)
        sequence.hide(step)
        trail.append((sequence.show, step))
        trail.append((up.value.insert, index, native))
        return native

    # --- positions ----------------------------------------------------------------------

    def _reach(self, array: Place, position: int | None, trail: Trail) -> Sequence:
        """Return the positions of a place, with those long buried if `position` is among them."""
        sequence = array.sequence
        if sequence is None:
            trail.append((setattr, array, "sequence", None))
            sequence = array.sequence = Sequence()
        older = sequence.older
        if position is not None and older is not None and older.has(position):
            trail.append((setattr, array, "sequence", sequence))
            sequence = array.sequence = sequence.joined()
        return sequence

    def insert(
        self,
        array: Place,
        codes: SequenceOf[int],
        natives: list[Any],
        beside: int | None,
        after: bool,
        trail: Trail,
    ) -> None:
        """Add new positions with their native values to a present array."""
        sequence = self._reach(array, beside, trail)
        index = sequence.insert(codes, beside, after)
        array.value[index:index] = natives
        trail.append((uninsert, sequence, codes, array.value, index))
        self.touch(array, None, trail)

    def insert_hidden(
        self, array: Place, codes: SequenceOf[int], beside: int | None, after: bool, trail: Trail
    ) -> None:
        """Add new positions of empty elements to a place of any content."""
        sequence = self._reach(array, beside, trail)
        sequence.insert(codes, beside, after)
        for code in codes:
            sequence.hide(code)
        trail.append((unname, sequence, codes))

    # --- names only ---------------------------------------------------------------------

    def name_key(self, up: Place, key: str, value: JsonValue, code: int, trail: Trail) -> int:
        """Name the occupant of a key, and below it as the value says; contents stay."""
        if key not in up.codes:
            up.codes[key] = code
            trail.append((_forget, up.codes, key))
        return self.name_below(up, key, value, code + 1, trail)

    def name_below(self, up: Place, step: Step, value: JsonValue, code: int, trail: Trail) -> int:
        """Name what is below the occupant of a slot as if the value had been put there."""
        kind = type(value)
        if kind is not dict and kind is not list:
            return code
        place = self.named_place(up, step, trail)
        if kind is dict:
            for key in sorted(value):
                code = self.name_key(place, key, value[key], code, trail)
            return code
        for item in value:
            self.insert_hidden(place, (code,), None, True, trail)
            code = self.name_below(place, code, item, code + 1, trail)
        return code

    def named_place(self, up: Place, step: Step, trail: Trail) -> Place:
        """Return the Place of the occupant of a slot, making one that is not a container."""
        place = self.tree.place_at(up, step)
        if place is None:
            place = self.tree.ensure_place(up, step)
            assert up.places is not None
            trail.append((_forget, up.places, step))
        return place

    # --- moves --------------------------------------------------------------------------

    def _mark(
        self, up: Place, step: Step, order: Order, code: int, covered: bool, trail: Trail
    ) -> None:
        if up.markers is None:
            up.markers = {}
        marks = up.markers.setdefault(step, [])
        marks.append((order, code, covered))
        trail.append((marks.pop,))

    def detach(
        self, up: Place, step: Step, order: Order, trail: Trail
    ) -> tuple[Any, int, Place | None, int | None]:
        """Take the occupant out of its slot; return native value, name, Place, revived name."""
        self.tree.shape += 1
        code = self.tree.code_at(up, step)
        native = self._hide(up, step, trail)
        if isinstance(step, str):
            self._take(up.codes, step, trail)
        else:
            self._take(up.occupants, step, trail)
        place = self._take(up.places, step, trail)
        revived = self._take(up.revived, step, trail)
        self._mark(up, step, order, code, False, trail)
        return native, code, place, revived

    def _settle(
        self,
        up: Place,
        step: Step,
        code: int,
        place: Place | None,
        revived: int | None,
        trail: Trail,
    ) -> None:
        """Make a detached place the occupant of a slot."""
        if place is not None:
            trail.append((setattr, place, "step", place.step))
            trail.append((setattr, place, "up", place.up))
            place.up, place.step = up, step
            if up.places is None:
                up.places = {}
            self._store(up.places, step, place, trail)
        if revived is not None:
            self._revive(up, step, revived, trail)
        self._store(self.tree.located, code, (up, step, 0), trail)

    def cover(self, up: Place, key: str, order: Order, trail: Trail) -> None:
        """Empty the occupant of a key, if there is one, and take it from the key."""
        if key not in up.codes:
            return
        code = up.codes[key]
        if key in up.value:
            self.empty(up, key, trail)
        place = self._take(up.places, key, trail)
        if place is not None:
            self._store(self.tree.covered, code, place, trail)
        self._take(up.codes, key, trail)
        self._take(up.revived, key, trail)
        self._mark(up, key, order, code, True, trail)
        if code in self.tree.located:
            self._store(self.tree.located, code, (up, key, code), trail)

    def move_to_key(self, source: Slot, up: Place, key: str, order: Order, trail: Trail) -> None:
        """Move what is at a slot to a key, covering what was there."""
        native, code, place, revived = self.detach(*source, order, trail)
        self.cover(up, key, order, trail)
        self._store(up.codes, key, code, trail)
        self._settle(up, key, code, place, revived, trail)
        self._store(up.value, key, native, trail)
        self.touch(up, key, trail)

    def move_to_position(
        self,
        source: Slot,
        array: Place,
        codes: SequenceOf[int],
        beside: int | None,
        after: bool,
        order: Order,
        trail: Trail,
    ) -> None:
        """Move what is at a slot to the last of some new positions; the others become null."""
        native, code, place, revived = self.detach(*source, order, trail)
        position = codes[-1]
        self.insert(array, codes, [None] * (len(codes) - 1) + [native], beside, after, trail)
        if array.occupants is None:
            array.occupants = {}
        self._store(array.occupants, position, code, trail)
        self._settle(array, position, code, place, revived, trail)

    def occupy(
        self, up: Place, key: str, code: int, native: Any, place: Place | None, trail: Trail
    ) -> None:
        """Make a new place, built aside, the occupant of a key that has none."""
        self._store(up.codes, key, code, trail)
        if place is not None:
            place.up = up
            if up.places is None:
                up.places = {}
            self._store(up.places, key, place, trail)
        self._store(up.value, key, native, trail)
        self.tree.made += 1
        self.touch(up, key, trail)

    # --- copies -------------------------------------------------------------------------

    def copy_below(
        self, source: Slot, up: Place, step: Step, code: int, trail: Trail, depth: int
    ) -> Any:
        """Give the new occupant of a slot the identities of a copy; return the native copy."""
        native = self.tree.content(*source)
        kind = type(native)
        if kind is not dict and kind is not list:
            return native
        counter = [0]
        place = self.tree.ensure_place(up, step)
        assert up.places is not None
        trail.append((_forget, up.places, step))
        self.tree.shape += 1
        original = self.tree.place_at(*source)
        assert original is not None
        self._copy(original, native, place, code, depth + 1, counter, trail)
        self.tree.made += counter[0]
        return place.value

    def _copy(
        self,
        original: Place,
        native: Any,
        place: Place,
        link: int,
        depth: int,
        counter: list[int],
        trail: Trail,
    ) -> None:
        if depth > DEPTH_MAX:
            raise Failed(TOO_DEEP)
        counter[0] += len(native)
        if counter[0] >= COPY_PLACES_MAX:
            raise Failed(COPY_TOO_LARGE)
        tree = self.tree
        steps: list[tuple[Step, Any]]
        # The copy may land inside its own source: take what is there now, once.
        if type(native) is dict:
            place.value = {}
            steps = list(native.items())
        else:
            place.value = []
            place.sequence = Sequence()
            assert original.sequence is not None
            steps = list(zip(original.sequence.shown_codes(), native, strict=True))
        for step, item in steps:
            birth = tree.code_at(original, step)
            name = tree.name_at(original, step)
            if name < 0 and tree.names.is_too_long(name):
                raise Failed(COPY_TOO_LARGE)
            name = tree.names.copied(link, name)
            self._store(tree.copied, (link, birth), name, trail)
            target: Step = step if isinstance(step, str) else name
            self._store(tree.located, name, (place, target, 0), trail)
            if isinstance(step, str):
                place.codes[step] = name
            else:
                assert place.sequence is not None
                place.sequence.append(name)
            if type(item) is dict or type(item) is list:
                below = tree.place_at(original, step)
                assert below is not None
                new = tree.ensure_place(place, target)
                self._copy(below, item, new, link, depth + 1, counter, trail)
                item = new.value
            if isinstance(step, str):
                place.value[step] = item
            else:
                place.value.append(item)
