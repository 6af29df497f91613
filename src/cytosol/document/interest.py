"""Who is concerned by a change: queries in a tree, indexed by the steps they begin with.

A change costs one look-up for each of its steps as long as no query begins there, whatever
the number of queries elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from cytosol.path import Query

__all__ = ["Interest", "Location", "Observer"]

Location: TypeAlias = tuple[str | int, ...]

Listener = TypeVar("Listener", bound=Hashable)


class Observer(Protocol):
    """Hears where the document has changed, without reading it for each change."""

    def touch(self, locations: Sequence[Location]) -> None:
        """Note that something has changed at or below these places; the lock is held."""

    def deliver(self) -> None:
        """Tell what was noted: changes are durable; the lock is not held."""


class _Node(Generic[Listener]):
    """One step: those that follow it, and in `here` the listeners whose prefix ends with it.

    The value in `here` is the query to ask whether it is concerned, None if it surely is.
    """

    __slots__ = ("here", "steps")

    def __init__(self) -> None:
        self.steps: dict[str | int, _Node[Listener]] = {}
        self.here: dict[Listener, Query | None] = {}


class Interest(Generic[Listener]):
    """An index of listeners by the prefixes of their queries."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[Listener] = _Node()

    def add(self, listener: Listener, query: Query) -> None:
        """Enter a listener that wants to know what concerns `query`."""
        node = self._root
        for step in query.prefix:
            child = node.steps.get(step)
            if child is None:
                child = node.steps[step] = _Node()
            node = child
        # The prefix of a singular query says everything unless it has a negative index.
        node.here[listener] = None if query.steps == query.prefix else query

    def discard(self, listener: Listener, query: Query) -> None:
        """Strike out a listener that was entered with this query."""
        nodes = [self._root]
        for step in query.prefix:
            nodes.append(nodes[-1].steps[step])
        del nodes[-1].here[listener]
        for step in reversed(query.prefix):
            empty = nodes.pop()
            if empty.steps or empty.here:
                break
            del nodes[-1].steps[step]

    def is_quiet(self, location: Location) -> bool:
        """Tell whether a change at or below a place concerns nobody: no query leads there."""
        node = self._root
        for step in location:
            child = node.steps.get(step)
            if node.here or child is None:
                return not node.here
            node = child
        return False

    def concerned(self, locations: Iterable[Location]) -> dict[Listener, None] | None:
        """Return, each once, the listeners that a change at or below these places may concern.

        An array is itself the place of insertions and deletions in it, so that what lies below
        a place is concerned as well as what lies on the way to it. None when nobody is.
        """
        root = self._root
        steps = root.steps
        found: dict[Listener, None] | None = None
        below: dict[Location, Mapping[str | int, object] | None] = {}
        for location in locations:
            # Most changes are left here, after one look-up.
            if not location or location[0] in steps or root.here:
                above = location[:-1]
                if above not in below:
                    below[above] = _steps_below(root, above)
                following = below[above]
                if following is not None and location and location[-1] not in following:
                    continue  # a merge touches many neighbours that nobody asks for
                if found is None:
                    found = {}
                _walk(root, location, found)
        return found


def _steps_below(
    root: _Node[Listener], location: Location
) -> Mapping[str | int, _Node[Listener]] | None:
    """Return the steps by which queries go on below a place; None if some end on the way to it."""
    node = root
    for step in location:
        if node.here:
            return None
        child = node.steps.get(step)
        if child is None:
            return {}
        node = child
    return None if node.here else node.steps


def _walk(root: _Node[Listener], location: Location, found: dict[Listener, None]) -> None:
    """Add the concerned listeners on the way to `location`, and below it."""
    node = root
    if node.here:
        _collect(node, location, found)
    for step in location:
        child = node.steps.get(step)
        if child is None:
            return
        node = child
        if node.here:
            _collect(node, location, found)
    nodes = list(node.steps.values())
    while nodes:
        node = nodes.pop()
        nodes += node.steps.values()
        if node.here:
            _collect(node, location, found)


def _collect(node: _Node[Listener], location: Location, found: dict[Listener, None]) -> None:
    for listener, query in node.here.items():
        if query is None or (listener not in found and query.can_be_touched_by(location)):
            found[listener] = None
