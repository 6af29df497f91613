"""Evaluate paths: selectors bound to their variables, and expressions as closures.

A list of nodes passes through one segment after the other, as RFC 9535, 2.1.2, defines it.
Objects are walked in sorted order of their keys, descendants in pre-order. Nothing here
recurses over a document, and every step is paid from the budget of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from cytosol.model.json import JsonValue
from cytosol.path.functions import NOTHING, Run

__all__ = [
    "BoundComputed",
    "BoundFilter",
    "BoundIndex",
    "BoundName",
    "BoundSegment",
    "BoundSelector",
    "BoundSlice",
    "BoundWildcard",
    "Location",
    "Step",
    "Test",
    "Value",
    "select_places",
    "select_values",
]

Step: TypeAlias = str | int
Location: TypeAlias = tuple[Step, ...]
Value: TypeAlias = Callable[[JsonValue, Run], JsonValue]
Test: TypeAlias = Callable[[JsonValue, Run], bool]
Place: TypeAlias = tuple[Location, JsonValue]


class BoundSelector(Protocol):
    """A selector without variables."""

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        """Return the keys, or indexes from 0, of the children of `node` that are selected."""

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        """Add the children of `node` that are selected to `values`."""


class BoundSegment(NamedTuple):
    """Selectors for each node, or with `descendant` also for everything below it."""

    descendant: bool
    selectors: tuple[BoundSelector, ...]


class BoundName:
    """Select one member of an object."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        return (self.name,) if type(node) is dict and self.name in node else ()

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        if type(node) is dict and self.name in node:
            values.append(node[self.name])


class BoundIndex:
    """Select one element of an array."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        if type(node) is not list or not -len(node) <= self.index < len(node):
            return ()
        return (self.index if self.index >= 0 else self.index + len(node),)

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        if type(node) is list and -len(node) <= self.index < len(node):
            values.append(node[self.index])


class BoundWildcard:
    """Select every child."""

    __slots__ = ()

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        if type(node) is dict:
            run.spend(len(node))
            return sorted(node)
        if type(node) is list:
            run.spend(len(node))
            return range(len(node))
        return ()

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        if type(node) is list:
            run.spend(len(node))
            values.extend(node)
        elif type(node) is dict:
            run.spend(len(node))
            values.extend([node[key] for key in sorted(node)])


class BoundSlice:
    """Select a range of an array; RFC 9535, 2.3.4.2, counts as Python's slices do."""

    __slots__ = ("slice",)

    def __init__(self, start: int | None, stop: int | None, step: int | None) -> None:
        self.slice = slice(start, stop, step)

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        if type(node) is not list or self.slice.step == 0:
            return ()
        selected = range(*self.slice.indices(len(node)))
        run.spend(len(selected))
        return selected

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        if type(node) is list and self.slice.step != 0:
            selected = node[self.slice]
            run.spend(len(selected))
            values.extend(selected)


class BoundFilter:
    """Select the children for which a test holds.

    `weight` is what one test costs in steps. `relatives` are the queries from `@` inside the
    test, for `overlap`, or None when they hold expressions themselves.
    """

    __slots__ = ("relatives", "test", "weight")

    def __init__(
        self, test: Test, weight: int, relatives: tuple[tuple[BoundSegment, ...], ...] | None
    ) -> None:
        self.test = test
        self.weight = weight
        self.relatives = relatives

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        test = self.test
        if type(node) is dict:
            run.spend(len(node) * self.weight)
            return [key for key in sorted(node) if test(node[key], run)]
        if type(node) is list:
            run.spend(len(node) * self.weight)
            return [index for index, child in enumerate(node) if test(child, run)]
        return ()

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        if type(node) is dict:
            node = [node[key] for key in sorted(node)]
        elif type(node) is not list:
            return
        run.spend(len(node) * self.weight)
        test = self.test
        values.extend([child for child in node if test(child, run)])


class BoundComputed:
    """Select the child that an expression names: an integer is an index, a string a key."""

    __slots__ = ("value", "weight")

    def __init__(self, value: Value, weight: int) -> None:
        self.value = value
        self.weight = weight

    def steps(self, node: JsonValue, run: Run) -> Sequence[Step]:
        run.spend(self.weight)
        step = self.value(node, run)
        if type(step) is int:
            return BoundIndex(step).steps(node, run)
        if type(step) is str:
            return BoundName(step).steps(node, run)
        return ()

    def extend(self, node: JsonValue, values: list[JsonValue], run: Run) -> None:
        values.extend([node[step] for step in self.steps(node, run)])


# --- Segments -----------------------------------------------------------------------------


def select_values(segments: tuple[BoundSegment, ...], node: JsonValue, run: Run) -> list[JsonValue]:
    """Return the values that `segments` select from `node`: the very objects, no copies."""
    nodes = [node]
    for descendant, selectors in segments:
        if descendant:
            nodes = _each_once(nodes, run) if run.may_cycle else _containers(nodes, run)
        run.spend(8 + len(nodes) * len(selectors))  # a sub-query costs that much to begin
        values: list[JsonValue] = []
        if len(selectors) == 1:
            extend = selectors[0].extend
            for node in nodes:
                extend(node, values, run)
        else:
            for node in nodes:
                for selector in selectors:
                    selector.extend(node, values, run)
        nodes = values
        if not nodes:
            break
    return nodes


def select_places(segments: tuple[BoundSegment, ...], root: JsonValue, run: Run) -> list[Place]:
    """Return the location and the value of each node that `segments` select from the root."""
    places: list[Place] = [((), root)]
    for descendant, selectors in segments:
        if descendant:
            places = _placed_containers(places, run)
        found: list[Place] = []
        for location, node in places:
            run.spend(len(selectors))
            for selector in selectors:
                steps = selector.steps(node, run)
                run.spend(len(steps) * (1 + len(location)))
                found.extend([((*location, step), node[step]) for step in steps])
        places = found
    return places


def _containers(nodes: list[JsonValue], run: Run) -> list[Any]:
    """Return `nodes` and all below them in pre-order, objects and arrays only."""
    found = []
    waiting = [node for node in reversed(nodes) if type(node) is dict or type(node) is list]
    while waiting:
        node = waiting.pop()
        found.append(node)
        run.spend(1 + len(node))
        if type(node) is dict:
            inner = [key for key, item in node.items() if type(item) is dict or type(item) is list]
            inner.sort(reverse=True)
            waiting.extend([node[key] for key in inner])
        else:
            waiting.extend(
                [item for item in reversed(node) if type(item) is dict or type(item) is list]
            )
    return found


def _each_once(nodes: list[JsonValue], run: Run) -> list[Any]:
    """Do the same where containers may hold each other; below each node, each comes once."""
    found = []
    for start in nodes:
        seen: set[int] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if type(node) not in (dict, list) or id(node) in seen:
                continue
            seen.add(id(node))
            found.append(node)
            run.spend(1 + len(node))
            waiting.extend(
                [node[key] for key in sorted(node, reverse=True)]
                if type(node) is dict
                else reversed(node)
            )
    return found


def _placed_containers(places: list[Place], run: Run) -> list[Place]:
    """Do the same with locations."""
    found = []
    waiting = [place for place in reversed(places) if type(place[1]) in (dict, list)]
    while waiting:
        place = waiting.pop()
        found.append(place)
        location, node = place
        run.spend((1 + len(node)) * (1 + len(location)))
        steps: Sequence[Step] = (
            sorted(node, reverse=True) if type(node) is dict else range(len(node) - 1, -1, -1)
        )
        waiting.extend(
            [((*location, step), node[step]) for step in steps if type(node[step]) in (dict, list)]
        )
    return found


def only_value(nodes: list[JsonValue]) -> JsonValue:
    """Return the value of a list of at most one node, or NOTHING."""
    return nodes[0] if nodes else NOTHING
