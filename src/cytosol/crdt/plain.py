"""Plain writes, many at a time: primitives set at keys of objects that are here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.quick import CREATED
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place

__all__ = ["are_plain_slots", "find_object", "write_values"]

CONTAINERS = frozenset({dict, list})


def find_object(replica: Replica, code: int) -> Place | None:
    """Return the present object with a name, None if there is none."""
    if code >> OFFSET_BITS == 0:
        return None
    found = replica.finder.find(code)
    if found is None or found[2]:
        return None
    place = replica.tree.place_at(found[0], found[1])
    if place is None or type(place.value) is not dict:
        return None
    return place if replica.tree.is_present(place) else None


def are_plain_slots(places: Sequence[Place], which: Sequence[int], keys: Sequence[str]) -> bool:
    """Tell whether there are primitives, or nothing ever, at keys of some objects.

    `which` tells the object of each key.
    """
    values = map([place.value for place in places].__getitem__, which)
    if not CONTAINERS.isdisjoint(map(type, map(dict.get, values, keys))):
        return False
    return not any(len(place.codes) > len(place.value) for place in places) or all(
        key in places[at].value or key not in places[at].codes
        for at, key in zip(which, keys, strict=True)
    )


def write_values(
    places: Sequence[Place],
    keys: Sequence[str],
    payloads: Sequence[Any],
    indexes: Sequence[int],
    numbers: Sequence[int],
) -> list[Any]:
    """Write values one after the other and return what takes each of them back."""
    undos: list[Any] = []
    note = undos.append
    for place, key, payload, index, number in zip(
        places, keys, payloads, indexes, numbers, strict=True
    ):
        value = place.value
        old = value.get(key, CREATED)
        note(old)
        value[key] = payload
        if old is CREATED:
            place.codes[key] = (index << AUTHOR_BITS | number) << OFFSET_BITS
    return undos
