"""Check what must hold of the oracle's tree after any fold.

It is always a tree, each place has one slot, what is not empty is shown, and the document is
exactly what the places show.
"""

from __future__ import annotations

from typing import Any

from tests.oracle.fold import COPY_DEPTH_MAX, DEPTH_MAX, Oracle
from tests.oracle.tree import (
    KeySlot,
    Kind,
    Place,
    measure,
    occupant_of,
    shown_keys,
    shown_positions,
)

__all__ = ["check_invariants", "known_places"]

PATHS_CHECKED_MAX = 1_000  # places: each path counts the elements before it


def known_places(oracle: Oracle) -> set[Place]:
    """Return every place that a name finds or that is in a slot below such a place."""
    known: set[Place] = set()
    rest = [oracle.root, *oracle.named_places()]
    while rest:
        place = rest.pop()
        if place not in known:
            known.add(place)
            rest.extend(place.occupants())
    return known


def check_invariants(oracle: Oracle) -> None:
    """Assert everything that this module promises."""
    known = known_places(oracle)
    slots_filled: dict[Place, int] = dict.fromkeys(known, 0)
    for place in known:
        for occupant in place.occupants():
            slots_filled[occupant] += 1
            assert occupant.slot is not None
            assert occupant.slot.owner is place, "an occupant remembers its slot"
            assert occupant_of(occupant.slot) is occupant
        assert all(position.owner is place for position in place.positions)
    for place, count in slots_filled.items():
        if place is oracle.root:
            assert count == 0
            assert place.content is Kind.OBJECT, "the root is always an object"
        else:
            assert count == (0 if place.covered else 1), "one slot for each place"
    for place in known - {oracle.root}:
        _check_place(oracle, place)
    _check_document(oracle)
    count, depth = measure(oracle.root)
    assert count == sum(map(oracle.is_present, known)), "what is shown is reached once"
    assert count - 1 <= oracle.places_max
    assert depth <= DEPTH_MAX


def _check_place(oracle: Oracle, place: Place) -> None:
    assert place.slot is not None, "only the root has no slot"
    if place.covered:
        assert isinstance(place.slot, KeySlot), "only at a key is anything covered"
        assert place.content is Kind.EMPTY, "what is covered is empty"
    assert (place.content is not Kind.EMPTY) == oracle.is_present(place), "nothing hides"
    assert 0 <= place.copy_depth <= COPY_DEPTH_MAX
    passed = set()
    while place.slot is not None:
        assert place not in passed, "a place is never below itself"
        passed.add(place)
        place = place.slot.owner
    assert place is oracle.root, "everything hangs below the root"


def _check_document(oracle: Oracle) -> None:
    """Walk down the document and the places together."""
    document = oracle.document()
    rest: list[tuple[Place, Any, list[str | int]]] = [(oracle.root, document, [])]
    paths_too = measure(oracle.root)[0] <= PATHS_CHECKED_MAX
    while rest:
        place, value, path = rest.pop()
        if paths_too:
            assert oracle.path_of(place) == path
        if place.content is Kind.OBJECT:
            assert list(value) == [key for key, _ in shown_keys(place)]
            rest.extend((one, value[key], [*path, key]) for key, one in shown_keys(place))
        elif place.content is Kind.ARRAY:
            assert len(value) == len(list(shown_positions(place)))
            shown = zip(shown_positions(place), value, strict=True)
            rest.extend((one, item, [*path, i]) for i, ((_, one), item) in enumerate(shown))
        else:
            assert value is place.content
