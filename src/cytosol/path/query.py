"""Paths and queries: what the layers above use of this package.

A `Path` is a parsed text; `bind` gives it its variables and makes a `Query`, which can be
asked for values, for places, for the targets of an action, and whether a change concerns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from cytosol.errors import ActionError
from cytosol.model.json import JsonValue
from cytosol.path.bind import Binder, literal_steps, step_of
from cytosol.path.cache import remember
from cytosol.path.evaluate import (
    BoundIndex,
    BoundName,
    BoundSegment,
    Location,
    Step,
    select_places,
    select_values,
)
from cytosol.path.functions import Run
from cytosol.path.overlap import may_touch
from cytosol.path.parser import parse_segments
from cytosol.path.syntax import Segment, is_singular

__all__ = ["Path", "Query", "Target", "Variables", "parse_path"]

Variables: TypeAlias = Mapping[str, JsonValue] | Sequence[JsonValue]
"""What `{name}` and `{0}` stand for: an object, or an array."""

_paths: dict[str, Path] = {}


class Target(NamedTuple):
    """One place that an action names.

    `missing` is the position in `location` of the first step that does not exist: a key that
    is not there, an index out of range, or a step into a value of the wrong kind. None when
    the place exists.
    """

    location: Location
    exists: bool
    missing: int | None


def parse_path(text: str) -> Path:
    """Return the parsed path, from a cache if it is not very long.

    Raises PathSyntaxError that says what is wrong and where (RFC 9535, and spec: document,
    Paths), ActionError if `text` is no string.
    """
    try:
        return _paths[text]
    except (KeyError, TypeError):  # TypeError: a list or object instead of a string
        pass
    path = Path(text, *parse_segments(text))
    remember(_paths, text, path)
    return path


class Path:
    """A parsed path; never changes. Use `parse_path` to make one.

    `variables` are the names used; `is_singular` says that the path is single names and
    indexes (variables allowed), so that it names one place at most.
    """

    __slots__ = ("_query", "is_singular", "segments", "text", "variables")

    def __init__(self, text: str, segments: tuple[Segment, ...], variables: frozenset[str]) -> None:
        self.text = text
        self.segments = segments
        self.variables = variables
        self.is_singular = is_singular(segments)
        self._query: Query | None = None

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def steps(self, variables: Variables = ()) -> Location:
        """Return the keys and indexes of a singular path, negative indexes as they are.

        Raises MissingVariableError, and ActionError when a variable is neither a string nor
        an integer or the path is not singular.
        """
        if not self.is_singular:
            raise ActionError(f"the path {self.text!r} may name several places; name one")
        steps: list[Step] = []
        for segment in self.segments:
            selector: Any = segment.selectors[0]  # one that names a step: the path is singular
            steps.append(step_of(selector, variables))
        return tuple(steps)

    def bind(self, variables: Variables = ()) -> Query:
        """Return the query with its variables put in; without variables always the same one.

        Raises MissingVariableError, ActionError when a variable has the wrong type for its
        place, PathLimitError for a pattern that is too large.
        """
        # None, and what else is empty, is as good as nothing.
        if variables and not isinstance(variables, (dict, list, tuple, Mapping)):
            raise ActionError(
                f"variables are given as an object or an array, not as {type(variables).__name__}"
            )
        query = self._query
        if query is None:
            query = Query(self, variables)
            if not self.variables:
                self._query = query
        return query


class Query:
    """A path that is ready to run over any document; never changes.

    `steps` are the keys and indexes of a singular query, else None. `prefix` is the longest
    leading run of keys and non-negative indexes: all that the query can select lies there,
    and, but for moves within an array, no change elsewhere concerns it. A query that looks at
    the document from `$` inside an expression has the prefix `()`.
    """

    __slots__ = ("_absolutes", "_segments", "prefix", "steps")

    def __init__(self, path: Path, variables: Variables) -> None:
        binder = Binder(variables)
        self._segments = binder.segments(path.segments)
        self._absolutes = tuple(binder.absolutes)
        self.steps = literal_steps(self._segments)
        self.prefix = () if self._absolutes else _prefix(self._segments)

    def values(self, root: JsonValue) -> list[JsonValue]:
        """Return the values selected: the very objects inside `root`, not copies.

        Raises PathLimitError when that takes more than PATH_STEPS_MAX steps.
        """
        steps = self.steps
        if steps is None:
            return select_values(self._segments, root, Run(root))
        for step in steps:  # as in `bind`: calling a closure would take a seventh longer
            if type(root) is dict:
                if step not in root:
                    return []
            elif (
                type(root) is not list
                or type(step) is not int
                or not -len(root) <= step < len(root)
            ):
                return []
            root = root[step]
        return [root]

    def nodes(self, root: JsonValue) -> list[tuple[Location, JsonValue]]:
        """Return the location and value of each node in RFC order, duplicates kept.

        Indexes are counted from the start. Raises PathLimitError as `values` does.
        """
        return select_places(self._segments, root, Run(root))

    def can_be_touched_by(self, location: Sequence[Step]) -> bool:
        """Tell whether a change at `location`, or below it, may change the list of values.

        True when unsure. `location` has indexes from 0; of several elements that are
        inserted or deleted it is the first.
        """
        if may_touch(self._segments, location):
            return True
        return any(may_touch(segments, location) for segments in self._absolutes)

    def targets(self, root: JsonValue) -> list[Target]:
        """Return the places that an action with this path means, in order, each once.

        Trailing names and indexes need not exist; what stands before them is matched (spec:
        document, Actions). Negative indexes are counted from the start where their array
        exists and is long enough, else kept. Raises PathLimitError as `values` does.
        """
        if self.steps is not None:
            return [_target(root, self.steps)]
        run = Run(root)
        segments = self._segments
        matched = len(segments)
        while matched and _names_only(segments[matched - 1]):
            matched -= 1
        parents = select_places(segments[:matched], root, run)
        if matched == len(segments):
            found = dict.fromkeys([location for location, _ in parents])
            return [Target(location, True, None) for location in found]
        targets: dict[Location, Target] = {}
        for location, node in parents:
            for tail in _tails(segments[matched:], run):
                target = _target(node, tail)
                missing = target.missing
                place = location + target.location
                targets[place] = Target(
                    place, missing is None, None if missing is None else missing + len(location)
                )
        return list(targets.values())


def _prefix(segments: tuple[BoundSegment, ...]) -> Location:
    for count, segment in enumerate(segments):
        steps = literal_steps((segment,))
        if steps is None or (type(steps[0]) is int and steps[0] < 0):
            return _prefix(segments[:count])
    return literal_steps(segments) or ()


def _names_only(segment: BoundSegment) -> bool:
    return not segment.descendant and all(
        type(selector) is BoundName or type(selector) is BoundIndex
        for selector in segment.selectors
    )


def _tails(segments: tuple[BoundSegment, ...], run: Run) -> list[Location]:
    """Return every combination of the steps that segments of names and indexes give."""
    tails: list[Location] = [()]
    for segment in segments:
        steps: list[Step] = []
        for selector in segment.selectors:
            found = literal_steps((BoundSegment(False, (selector,)),))
            assert found is not None
            steps.extend(found)
        run.spend(len(tails) * len(steps) * (1 + len(tails[0])))
        tails = [(*tail, step) for tail in tails for step in steps]
    return tails


def _target(node: JsonValue, steps: Location) -> Target:
    """Walk `steps` from `node` as far as they exist."""
    location: list[Step] = []
    for step in steps:
        if type(node) is dict:
            if step not in node:
                break
        elif type(node) is list and type(step) is int:
            if step < 0 and step + len(node) >= 0:
                step += len(node)
            if not 0 <= step < len(node):
                break
        else:
            break
        location.append(step)
        node = node[step]
    else:
        return Target(tuple(location), True, None)
    missing = len(location)
    return Target((*location, *steps[missing:]), False, missing)
