"""Many changes beside each other are looked up at once, with the same result."""

from __future__ import annotations

import random

import pytest

from cytosol.document.interest import Interest, Location, _walk
from cytosol.path import parse_path

PATHS = ["$", "$.a", "$.a.b", "$.a.b.c", "$.a.b[0]", "$.a[*]", "$.a[-1]", "$..c", "$.d", "$.d.e.f"]
STEPS: list[str | int] = ["a", "b", "c", "d", "e", 0, 1]


@pytest.mark.parametrize("seed", range(50))
def test_the_same_are_concerned_as_one_by_one(seed: int) -> None:
    """Whatever is asked for, and wherever something has changed."""
    chance = random.Random(seed)
    interest: Interest[str] = Interest()
    for path in chance.sample(PATHS, chance.randrange(len(PATHS))):
        interest.add(path, parse_path(path).bind(()))
    locations: list[Location] = [
        tuple(chance.choices(STEPS, k=chance.randrange(4))) for _ in range(30)
    ]
    expected: dict[str, object] = {}
    for location in locations:
        _walk(interest._root, location, expected)  # type: ignore[arg-type]
    assert expected.keys() == (interest.concerned(locations) or {}).keys()
