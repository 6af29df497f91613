"""Save points grow sparser to the past, whatever the steps in which ops are counted."""

from __future__ import annotations

import random

import pytest

from cytosol.crdt.savepoints import GAP_MIN, SavePoints


def thinned(points: list[int], count: int) -> list[int]:
    """Add a count in the plain way: look at all points, newest first, each time."""
    points = [*points, count]
    for at in range(len(points) - 3, 0, -1):
        gap = points[at + 1] - points[at - 1]
        if gap <= max(GAP_MIN, (count - points[at + 1]) // 2):
            del points[at]
    return points


@pytest.mark.parametrize("seed", range(30))
def test_looking_only_when_due_finds_the_same(seed: int) -> None:
    """The same counts stay as if all points had been looked at each time."""
    chance = random.Random(seed)
    points, expected, count = SavePoints(), [0], 0
    for _ in range(300):
        if chance.random() < 0.05:
            count = chance.randrange(count + 1)
            points.cut(count)
            expected = [each for each in expected if each <= count] or [0]
            count = expected[-1]
            continue
        count += chance.choice([1, 1, 1, 2, 4, 8, chance.randrange(1, 100)])
        points.add(count, b"%d" % count)
        expected = thinned(expected, count)
        assert [(each, b"%d" % each) for each in expected[1:]] == points.points()[1:]
