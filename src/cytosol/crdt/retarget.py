"""Make a body speak of places by the names that they have now.

A base keeps one name for each place that it shows. An op that its author compiled uses such names
only, so every base that it had seen leads it to the same places; an op that is re-issued on top of
another history has to be brought there first. What it wanted to do to a place that is gone is
either put where that place was, or pointed at a name which nobody ever gives: then it fails
alike everywhere, and shows in `$.failures` with its payload.
"""

from __future__ import annotations

from collections.abc import Callable

from cytosol.crdt.names import OFFSET_MASK
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import MISSING, Found, Place, Slot
from cytosol.model.ids import PeerId
from cytosol.model.op import Body, Kind, Link, Name, Side, Spot

__all__ = ["Retarget"]

_REPLACES = frozenset({Kind.SET, Kind.INIT_OBJECT, Kind.INIT_ARRAY})


class Retarget:
    """Translates the bodies of one op: `old` is its id there, `new` the one it gets here.

    `of` stands in the names of all that the op makes, if its origin has one.
    `find` finds a place of `replica` by the names that the bodies use.
    """

    def __init__(
        self,
        replica: Replica,
        find: Callable[[Name], Found | None],
        old: tuple[PeerId, int] | None,
        new: tuple[PeerId, int],
        of: tuple[Link, ...] = (),
    ) -> None:
        self._names = replica.names
        self._tree = replica.tree
        self._finder = replica.finder
        self._find = find
        self._old = old
        self._new = new
        self._of = of
        self._nowhere = Name(*new, OFFSET_MASK)

    def body(self, body: Body) -> Body | None:
        """Return the body to issue, None if it would do nothing."""
        if body.kind is not Kind.TRANSACTION:
            return self._one(body)
        inner = [one for one in map(self._one, body.payload) if one is not None]
        return body._replace(payload=tuple(inner)) if inner else None

    def _one(self, body: Body) -> Body | None:
        if body.source is not None:
            body = body._replace(source=self._current(body.source) or self._nowhere)
        if body.name is None or self._is_own(body.name):
            if body.name is not None:
                body = body._replace(name=self._own(body.name))
            return body
        found = self._find(body.name)
        if body.spot is not None:
            return self._element(body, body.spot, found)
        if body.kind in _REPLACES and body.key is None:
            return self._replacing(body, found)
        name = self._shown(found, body.key is None)
        if name is None and body.kind is Kind.DELETE:
            return None
        return body._replace(name=name or self._nowhere)

    # --- names ---------------------------------------------------------------------------

    def _is_own(self, name: Name) -> bool:
        return (name.author, name.index) == self._old and name.of[: len(self._of)] == self._of

    def _own(self, name: Name) -> Name:
        """Return the name of what the op itself has made by then."""
        of = name.of[len(self._of) :]
        if not of:
            return Name(*self._new, name.offset)
        author, index, offset = of[0]
        source = self._current(Name(author, index, offset, of[1:])) or self._nowhere
        link = (source.author, source.index, source.offset)
        return Name(*self._new, name.offset, (link, *source.of))

    def _current(self, name: Name) -> Name | None:
        if self._is_own(name):
            return self._own(name)
        return self._shown(self._find(name), True)

    def _shown(self, found: Found | None, itself: bool) -> Name | None:
        """Return the present name of a place (`itself`), or of what stands where it was."""
        if found is None or (itself and found[2]):
            return None
        up, step, _ = found
        if not self._tree.is_present(up) or self._tree.content(up, step) is MISSING:
            return None
        return self._names.name(self._tree.name_at(up, step))

    def _parent(self, place: Place) -> Name | None:
        return None if place.up is None else self._names.name(self._tree.name_of(place))

    # --- forms ---------------------------------------------------------------------------

    def _replacing(self, body: Body, found: Found | None) -> Body:
        """Return what sets or initialises a place, bringing it back if it is gone."""
        name = self._shown(found, False)
        if name is not None:
            return body._replace(name=name)
        if found is None or not self._tree.is_present(found[0]):
            return body._replace(name=self._nowhere)
        up, step, _ = found
        if isinstance(step, str):
            if type(up.value) is not dict:
                return body._replace(name=self._nowhere)
            return body._replace(name=self._parent(up), key=step)
        if type(up.value) is not list:
            return body._replace(name=self._nowhere)
        return body._replace(name=self._parent(up), spot=self._beside((up, step), Side.AFTER))

    def _element(self, body: Body, spot: Spot, found: Found | None) -> Body:
        """Return what adds elements to an array, beside a neighbour that is shown."""
        name = self._shown(found, False)
        if name is None or found is None:
            return body._replace(name=self._nowhere)
        array = self._tree.place_at(found[0], found[1])
        if array is None or type(array.value) is not list:
            return body._replace(name=name, spot=Spot(spot.index, None, Side.END, spot.fill))
        if spot.beside is not None and self._is_own(spot.beside):
            return body._replace(name=name, spot=spot._replace(beside=self._own(spot.beside)))
        new = self._beside(self._position(array, spot.beside), spot.side)
        return body._replace(name=name, spot=new._replace(index=spot.index, fill=spot.fill))

    def _position(self, array: Place, beside: Name | None) -> Slot:
        """Return the position that an insert stands beside; the last one if there is none."""
        sequence = array.sequence
        assert sequence is not None, "an array has its positions"
        if beside is not None:
            code = self._names.code(beside)
            for position in (code, self._finder.original(code)):
                if position is not None and sequence.has(position):
                    return array, position
            found = self._find(beside)
            if found is not None and found[0] is array and not found[2]:
                return array, found[1]
        return array, sequence.last() or 0

    def _beside(self, slot: Slot, side: Side) -> Spot:
        """Return a spot beside the shown position that is nearest to a position."""
        array, position = slot
        sequence = array.sequence
        assert sequence is not None, "an array has its positions"
        left = 0
        right = 0
        passed = False
        for code in sequence:
            if code == position:
                passed = True
                if sequence.is_shown(code):
                    side = Side.AFTER if side is Side.END else side
                    return Spot(0, self._names.name(code), side)
            elif sequence.is_shown(code):
                if passed:
                    right = code
                    break
                left = code
        if left:
            return Spot(0, self._names.name(left), Side.AFTER)
        if right:
            return Spot(0, self._names.name(right), Side.BEFORE)
        return Spot(0, None, Side.END)
