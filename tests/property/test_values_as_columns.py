"""Plain writes, many at a time, do what they do one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.plain import codes_of, take_back_values, write_values
from cytosol.crdt.quick import CREATED
from cytosol.crdt.tree import Place


class Objects:
    """Some objects with primitives, and what stands in them by object and key."""

    def __init__(self, count: int) -> None:
        self.places = [Place(0, None, "") for _ in range(count)]
        for place in self.places:
            place.value = {"k0": "old", "k1": None}
            place.codes = {"k0": 1, "k1": 2}

    def state(self) -> list[tuple[list[tuple[str, Any]], dict[str, int]]]:
        """Return all that can be told apart, the order of keys included."""
        return [(list(place.value.items()), place.codes.copy()) for place in self.places]

    def write(self, at: int, key: str, payload: Any, code: int) -> Any:
        """Write one value; return what was there."""
        place = self.places[at]
        old = place.value.get(key, CREATED)
        place.value[key] = payload
        if old is CREATED:
            place.codes[key] = code
        return old


@pytest.mark.parametrize("objects", [1, 3])
@pytest.mark.parametrize("keys", [2, 8, 1000])
def test_values_are_written_and_taken_back_as_one_by_one(objects: int, keys: int) -> None:
    """Whether keys are new, were there, or come several times."""
    chance = random.Random(keys)
    for _ in range(50):
        plain, fast = Objects(objects), Objects(objects)
        states, written = [], []
        for _ in range(3):
            count = chance.randrange(1, 20)
            at = [chance.randrange(objects) for _ in range(count)]
            names = [f"k{chance.randrange(keys)}" for _ in range(count)]
            payloads = [chance.choice([None, True, 1.5, "x", 2**70]) for _ in range(count)]
            first, step = chance.randrange(1, 2**50), chance.choice([1, 1, 3])
            indexes = list(range(first, first + count * step, step))
            numbers = [chance.choice([5, 5, 5, 65_535]) for _ in range(count)]
            codes = codes_of(indexes, numbers)
            assert codes == [
                (index << AUTHOR_BITS | number) << OFFSET_BITS
                for index, number in zip(indexes, numbers, strict=True)
            ]
            states.append(fast.state())
            places = [fast.places[each] for each in at]
            undos = write_values(places, names, payloads, codes)
            written.append((places, names, undos))
            assert undos == list(map(plain.write, at, names, payloads, codes))
            assert plain.state() == fast.state()
        while written:
            known = sum(len(place.codes) for place in fast.places)
            gone = take_back_values(*written.pop())
            assert known - gone == sum(len(place.codes) for place in fast.places)
            assert states.pop() == fast.state()
