"""Where in a document something is: what steps lead to, and what steps lead to what was touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cytosol.crdt.late import LateInserts
from cytosol.crdt.tree import Place, Step, Tree
from cytosol.document.interest import Location
from cytosol.errors import ActionError
from cytosol.model.json import brief

__all__ = ["NOTHING", "check_steps", "locations", "pick", "pick_late"]

NOTHING: Any = object()


def check_steps(steps: tuple[Step, ...]) -> None:
    """Raise ActionError for a step that is neither a key nor an index."""
    for step in steps:
        if not isinstance(step, str) and type(step) is not int:
            raise ActionError(f"a step is a key (str) or an index (int), not {brief(step)}")


def pick(value: Any, steps: tuple[Step, ...]) -> Any:
    """Return what stands at some keys and indexes, or `NOTHING`; checks the steps."""
    for step in steps:
        if type(value) is dict and isinstance(step, str):
            value = value.get(step, NOTHING)
        elif type(value) is list and type(step) is int:
            value = value[step] if -len(value) <= step < len(value) else NOTHING
        else:
            check_steps(steps)
            return NOTHING
    return value


def pick_late(late: LateInserts, value: Any, steps: tuple[Step, ...]) -> Any:
    """Do the same where some inserts are late; settles them only if a container is found."""
    for step in steps:
        backlog = late.get(id(value))
        if backlog is not None and type(step) is int:
            value = backlog.at(step) if -len(backlog) <= step < len(backlog) else NOTHING
        else:
            value = pick(value, (step,))
    if type(value) is dict or type(value) is list:
        late.settle()
    return value


def locations(
    tree: Tree, touched: Iterable[tuple[Place, Step | None]], above: dict[Place, Location | None]
) -> list[Location]:
    """Return where the touched slots are, as far as they are part of the document.

    `above` gets where the containers are that they are in, None for those that are nowhere.
    """
    found = []
    for place, step in dict.fromkeys(touched):
        try:
            location = above[place]
        except KeyError:
            location = above[place] = _location(tree, place)
        if location is None:
            continue  # whatever removed it was touched, too
        if type(step) is str:
            found.append((*location, step))
        elif step is not None:
            found.append(tuple(tree.path(place, step)))
        else:
            found.append(location)
    return found


def _location(tree: Tree, place: Place) -> tuple[Step, ...] | None:
    """Return where a container is, None if it is not part of the document."""
    if not tree.is_present(place):
        return None
    return () if place.up is None else tuple(tree.path(place.up, place.step))
