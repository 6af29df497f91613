"""Whether many writes find plain slots is told for all at once: here also for each by itself."""

from __future__ import annotations

import random

from cytosol.crdt.actions import Delete, InitObject, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.plain import are_plain_slots
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place

OBJECTS = ["a", "b", "c"]
KEYS = [f"k{number}" for number in range(12)]


def replica_of(chance: random.Random) -> Replica:
    """Return a document of three objects, which hold or held primitives and containers."""
    replica = Replica(b"u" * 16)
    dispatch = Compiler(replica).dispatch
    for name in OBJECTS:
        dispatch(InitObject(f"$.{name}"), 1)
        for key in chance.sample(KEYS, chance.randrange(9)):
            dispatch(Set(f"$.{name}.{key}", chance.choice([1, 2, "x", {}, [1], {"y": {}}])), 1)
            if chance.random() < chance.choice([0.0, 0.3]):
                dispatch(Delete(f"$.{name}.{key}"), 1)
                if chance.random() < 0.3:
                    dispatch(Set(f"$.{name}.{key}", 3), 1)
    return replica


def is_plain(place: Place, key: str) -> bool:
    """Tell whether there is a primitive at a key, or never was anything."""
    if key in place.value:
        return type(place.value[key]) not in (dict, list)
    return key not in place.codes


def test_slots_are_plain_if_each_of_them_is() -> None:
    """In one object or in several, of few containers or of more than there are writes."""
    chance = random.Random(7)
    plain = 0
    for _ in range(400):
        tree = replica_of(chance).tree
        found = [tree.root.places[name] for name in OBJECTS]
        places = chance.choices(found, k=chance.randrange(1, 4))  # one may be named twice
        keys = chance.choices(KEYS, k=chance.choice([1, 2, 3, 6]))
        which = chance.choices(range(len(places)), k=len(keys))
        expected = all(is_plain(places[at], key) for at, key in zip(which, keys, strict=True))
        assert expected == are_plain_slots(places, which, keys)
        plain += expected
    assert 80 < plain < 320, "one of both answers was hardly given"
