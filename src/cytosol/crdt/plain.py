"""Plain writes, many at a time: primitives set at keys of objects that are here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import compress, repeat
from operator import contains, delitem, gt, is_, is_not, not_, setitem
from typing import Any

from cytosol.crdt.log import are_alike
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.quick import CREATED
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place

__all__ = ["are_plain_slots", "codes_of", "find_object", "take_back_values", "write_values"]

CONTAINERS = frozenset({dict, list})
NEXT_OP = AUTHOR_BITS + OFFSET_BITS


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
    if _may_have_containers(places, keys):
        values = map([place.value for place in places].__getitem__, which)
        if not CONTAINERS.isdisjoint(map(type, map(dict.get, values, keys))):
            return False
    if all(len(place.codes) == len(place.value) for place in places):
        return True
    is_known = map(contains, map([place.codes for place in places].__getitem__, which), keys)
    is_shown = map(contains, map([place.value for place in places].__getitem__, which), keys)
    return not any(map(gt, is_known, is_shown))


def _may_have_containers(places: Sequence[Place], keys: Sequence[str]) -> bool:
    """Tell whether one of some keys may hold a container in one of some objects.

    So that nobody has to look at each key in its own object, all are compared with those that
    hold, or held, a container in any, unless these are many more.
    """
    holders = {id(place): place.places for place in places if place.places is not None}
    if not holders:
        return False
    first, *others = holders.values()
    if not others:
        return not first.keys().isdisjoint(keys)
    if sum(map(len, holders.values())) > len(keys):
        return True
    return not set(first).union(*others).isdisjoint(keys)


def codes_of(indexes: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """Return the names of the places that some ops make."""
    number = numbers[0]
    if indexes[-1] - indexes[0] == len(indexes) - 1 and are_alike(numbers):
        first = (indexes[0] << AUTHOR_BITS | number) << OFFSET_BITS
        return list(range(first, first + (len(indexes) << NEXT_OP), 1 << NEXT_OP))
    return [
        (index << AUTHOR_BITS | number) << OFFSET_BITS
        for index, number in zip(indexes, numbers, strict=True)
    ]


def write_values(
    places: Sequence[Place], keys: Sequence[str], payloads: Sequence[Any], codes: Sequence[int]
) -> list[Any]:
    """Write values one after the other and return what takes each of them back.

    `codes` are the names that places get where there are none. All is as `are_plain_slots` says.
    """
    values, named = _columns_of(places)
    if any(map(is_not, map(dict.setdefault, named, keys, codes), codes)):
        olds = map(dict.get, values, keys, repeat(CREATED))
        written = map(setitem, values, keys, payloads)
        # Compress asks one after the other: each is read before it is written, and after the last.
        undos = list(compress(olds, map(not_, written)))
        is_made = list(map(is_, undos, repeat(CREATED)))
        made = (compress(each, is_made) for each in (named, keys, codes))
        _run(map(setitem, *made))
        return undos
    _run(map(setitem, values, keys, payloads))
    return [CREATED] * len(keys)


def _columns_of(
    places: Sequence[Place],
) -> tuple[Iterable[dict[str, Any]], Iterable[dict[str, int]]]:
    """Return what the objects of some ops show, and what their keys are called, op by op."""
    only = places[0]
    if places.count(only) == len(places):
        return repeat(only.value), repeat(only.codes)
    return [place.value for place in places], [place.codes for place in places]


def take_back_values(places: Sequence[Place], keys: Sequence[str], undos: Sequence[Any]) -> int:
    """Take back what `write_values` wrote last, and return how many keys went with it."""
    is_made = list(map(is_, undos, repeat(CREATED)))
    values, named = [place.value for place in places], [place.codes for place in places]
    if False in is_made:
        # In the opposite order, so that what stood there before the first write remains.
        _run(map(setitem, values[::-1], keys[::-1], undos[::-1]))
    made_at = list(compress(keys, is_made))
    _run(map(delitem, compress(values, is_made), made_at))
    _run(map(delitem, compress(named, is_made), made_at))
    return len(made_at)


def _run(steps: Iterable[object]) -> None:
    """Take all steps of an iterator for what they do."""
    deque(steps, maxlen=0)
