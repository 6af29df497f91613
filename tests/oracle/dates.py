"""Tell what the dates of places mean for a re-issued action: the part "Dates" of the page.

Laws: nothing here comes from `cytosol`, so that agreement of the two means something. A date is
`(index, author's bytes)`, so that Python compares dates as the page compares ids.
"""

from __future__ import annotations

import uuid
from typing import Any

from tests.oracle.tree import Action, Date, Form, Kind, Op, Place, form_of, shown_below

__all__ = ["CONTENT_OF_INIT", "date_of", "is_superseded", "loses_newer", "moved_since"]

CONTENT_OF_INIT = {"InitObject": Kind.OBJECT, "InitArray": Kind.ARRAY}


def date_of(op: dict[str, Any]) -> Date:
    """Return the date of an op: its id or, if it has an origin, that of the first link."""
    link = op.get("origin", op["id"])
    return (link["index"], uuid.UUID(link["author"]).bytes)


def is_superseded(action: Action, place: Place, date: Date, own: Op) -> bool:
    """Tell whether something newer was done to the place where an action of op `own` acts."""
    if place.assigned_by != own and place.assigned >= date:
        return True
    if action["action"] in ("Add", "Multiply"):
        return False
    return place.calculated > date or (form_of(action) is Form.KEY and place.moved > date)


def moved_since(source: Place, date: Date, own: Op) -> bool:
    """Tell whether another op than `own` has moved the source of a `Move`."""
    return any(op != own and moved >= date for moved, op in source.moves)


def loses_newer(action: Action, place: Place, date: Date) -> bool:
    """Tell whether an action would empty a place below that something newer was done to."""
    kind = action["action"]
    if kind in ("Add", "Multiply") or place.content is CONTENT_OF_INIT.get(kind, Kind.EMPTY):
        return False
    rest = shown_below(place)
    while rest:
        below = rest.pop()
        if max(below.assigned, below.calculated, below.moved) > date:
            return True
        rest.extend(shown_below(below))
    return False
