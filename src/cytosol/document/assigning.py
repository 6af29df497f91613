"""Assignments that have an id of their own: they come from elsewhere and stay comparable.

What was written first in another place (a graph on another device, say) is applied as ops of ours
whose `origin` tells the id under which it was written. The fold then lets it lose against
everything that was assigned later (docs/merging.md, Dates), here and at every peer, and we do not
even log what would lose here.

One id may bring several things at several times, because its ops are known to others in parts only.
So the origin says besides the id what is assigned: `of` holds one link made from a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from cytosol.crdt.actions import DataAction, parse_action
from cytosol.crdt.compile import Compiler
from cytosol.crdt.log import body_of
from cytosol.crdt.names import OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import MISSING, Place, Step
from cytosol.errors import ActionError, FailureError
from cytosol.limits import AUTHORS_MAX, LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.ids import OpId
from cytosol.model.json import JsonValue, brief, canonical_bytes
from cytosol.model.op import Kind, Name, Op
from cytosol.path import parse_path, singular_steps

__all__ = ["Assignment", "assign", "date_at", "is_next", "pass_by", "reserve"]

FOREIGN_AUTHORS_MAX: Final = AUTHORS_MAX // 2
"""Authors that a document may know when one comes that has no ops here: devices need theirs."""

ALLOWED: Final = frozenset({Kind.INIT_OBJECT, Kind.INIT_ARRAY, Kind.SET, Kind.DELETE})


class Assignment(NamedTuple):
    """What was written under one id: actions on plain paths, applied as one Transaction.

    They are `Set`, `Delete`, `InitObject` and `InitArray`, each of one place and without `vars`.
    """

    id: OpId
    actions: Sequence[DataAction | Mapping[str, Any]]


class _Parsed(NamedTuple):
    kind: Kind
    steps: tuple[Step, ...]
    message: dict[str, JsonValue]


def assign(
    replica: Replica, compiler: Compiler, assignments: Iterable[Assignment], now_ms: int
) -> int:
    """Log and apply assignments, oldest first; return how many ops they became.

    An id that `reserve` gave, and that all known ops lie below, becomes the id of its op; every
    other one becomes its origin, and the clock moves past it. What does not bring anything newer
    than what stands is left out. All or nothing: raises ActionError for what is malformed or too
    far ahead of our clock, and FailureError for what cannot be applied; nothing has changed then.
    """
    groups = sorted(
        ((_checked_id(one.id), [_parsed(item) for item in one.actions]) for one in assignments),
        key=lambda group: group[0],
    )
    if not groups:
        return 0
    _check_authors(replica, groups)
    clock, start = replica.clock, len(replica.log)
    check_leap(replica, groups[-1][0].index + len(groups))
    try:
        for ident, actions in groups:
            _assign_one(replica, compiler, ident, actions, now_ms)
    except BaseException:
        replica.take_back(start)
        replica.clock = clock
        raise
    return len(replica.log) - start


def date_at(replica: Replica, up: Place, step: Step) -> OpId:
    """Return when the place in a slot was assigned, calculated or moved last.

    Call `replica.dates.catch_up(len(replica.log))` before.
    """
    dates = replica.dates
    stamp = dates.stamp(replica.tree.code_at(up, step))
    return OpId(*max(map(dates.key, filter(None, stamp))))


def reserve(replica: Replica) -> OpId:
    """Return an id of our own for an assignment that is to come; each is given once.

    Nothing else gets it, and dispatches from now on have greater ones. Ids that are never
    used leave gaps; peers can follow these only so far.
    """
    known = max(replica.latest.values(), default=0)
    if replica.clock < known + LAMPORT_LEAP_MAX // 2:
        replica.clock += 1
    return OpId(replica.clock, replica.author)


def pass_by(replica: Replica, index: int) -> None:
    """Move the clock past an id of somebody else. Raises ActionError for one too far ahead."""
    if index > replica.clock:
        check_leap(replica, index)
        replica.clock = index


def is_next(replica: Replica, ident: OpId) -> bool:
    """Tell whether an id can become that of our next op."""
    return ident.author == replica.author and ident.index > max(replica.latest.values(), default=0)


# --- one assignment ---------------------------------------------------------------------


def _assign_one(
    replica: Replica, compiler: Compiler, ident: OpId, actions: list[_Parsed], now_ms: int
) -> None:
    if is_next(replica, ident):  # nothing is newer
        clock, replica.clock = replica.clock, ident.index - 1
        compiler.dispatch(_transaction(actions), now_ms)
        replica.clock = max(clock, replica.clock)
        return
    replica.dates.catch_up(len(replica.log))
    actions = _newer(replica, ident, actions)
    if not actions:
        return
    transaction = _transaction(actions)
    origin = _origin(ident, transaction["payload"])
    if replica.names.code(origin) in replica.tree.origins:
        return
    clock = replica.clock
    replica.clock = max(clock, ident.index)
    row = len(replica.log)
    if not compiler.dispatch(transaction, now_ms):
        replica.clock = clock
        return
    # What was just done tells what the op says; now it is done again, with its origin.
    body = body_of(replica.log.payloads[row], replica.names)
    replica.take_back(row)
    index, previous = replica.clock + 1, replica.latest.get(replica.author, 0)
    replica.merge([Op(index, replica.author, previous, now_ms, body, replica.news(), origin)])
    replica.told()
    failed = replica.failures.get(replica.log.op_code(row))
    if failed is not None:
        path, message = failed
        raise FailureError([{"path": list(path), "message": message, "id": None}])


def _transaction(actions: list[_Parsed]) -> dict[str, Any]:
    return {"action": "Transaction", "payload": [action.message for action in actions]}


def _newer(replica: Replica, ident: OpId, actions: list[_Parsed]) -> list[_Parsed]:
    """Return the actions without those that come too late; none if only Inits are left over."""
    is_late = [_is_late(replica, ident, action) for action in actions]
    brings = [late for late, action in zip(is_late, actions, strict=True) if not _inits(action)]
    if all(brings or is_late):
        return []
    # An Init that comes too late still says where the others belong.
    return [
        action for late, action in zip(is_late, actions, strict=True) if not late or _inits(action)
    ]


def _inits(action: _Parsed) -> bool:
    return action.kind is Kind.INIT_OBJECT or action.kind is Kind.INIT_ARRAY


def _is_late(replica: Replica, ident: OpId, action: _Parsed) -> bool:
    """Tell whether the place of an action, or what it would remove, was written since `ident`."""
    tree = replica.tree
    place = tree.root
    for step in action.steps[:-1]:
        below = tree.place_at(place, step) if type(place.value) is dict else None
        if below is None or below.value is None:
            return action.kind is Kind.DELETE
        place = below
    step = action.steps[-1]
    content = tree.content(place, step)
    if content is MISSING:
        return action.kind is Kind.DELETE
    if date_at(replica, place, step) >= ident:
        return True
    if _inits(action) or type(content) not in (dict, list):
        return False
    return replica.dates.is_newer_below(place, step, replica.names.op_code(*ident))


def _origin(ident: OpId, messages: list[dict[str, JsonValue]]) -> Name:
    """Return the origin of what an id brings: whoever gets the same calls it alike."""
    digest = blake2b(canonical_bytes(messages), digest_size=12).digest()
    number = int.from_bytes(digest, "big")
    link = (ident.author, (number >> OFFSET_BITS) % LAMPORT_MAX + 1, number & OFFSET_MASK)
    return Name(ident.author, ident.index, 0, (link,))


# --- what is refused --------------------------------------------------------------------


def _checked_id(ident: OpId) -> OpId:
    index, author = ident
    if type(author) is not bytes or len(author) != 16:
        raise ActionError(f"the author of an assignment's id is 16 bytes, not {brief(author)}")
    if type(index) is not int or not 1 <= index <= LAMPORT_MAX:
        raise ActionError(
            f"the index of an assignment's id is 1 to {LAMPORT_MAX}, not {brief(index)}"
        )
    return OpId(index, author)


def _parsed(action: DataAction | Mapping[str, Any]) -> _Parsed:
    kind, path, _, variables = parse_action(action)
    if kind not in ALLOWED:
        raise ActionError(
            "what has an id of its own is assigned by Set, Delete, InitObject and InitArray, "
            f"not by {kind.name}"
        )
    steps = None if variables else _plain_steps(path)
    if not steps or not all(type(step) is str for step in steps):
        raise ActionError(
            f"an assignment with an id of its own names one place by keys, not {brief(path)}"
        )
    return _Parsed(
        kind, steps, action.to_message() if isinstance(action, DataAction) else dict(action)
    )


def _plain_steps(path: str) -> tuple[Step, ...] | None:
    """Return the steps of a path to one place; None for any other."""
    steps = singular_steps(path)
    if steps is None:
        query = parse_path(path).bind(())
        steps = query.prefix if query.steps == query.prefix else None
    return steps


def check_leap(replica: Replica, index: int) -> None:
    """Raise ActionError for an id that peers of ours could not follow."""
    known = max(replica.latest.values(), default=0)
    if index > min(known + LAMPORT_LEAP_MAX, LAMPORT_MAX):
        raise ActionError(
            f"an assignment has an id whose index is more than {LAMPORT_LEAP_MAX} above {known}, "
            "the greatest one known here; its author's clock is broken, so it was refused"
        )


def _check_authors(replica: Replica, groups: list[tuple[OpId, list[_Parsed]]]) -> None:
    """Raise ActionError for more foreign authors than leave room for devices."""
    names = replica.names
    new = {ident.author for ident, _ in groups if names.known_number(ident.author) is None}
    if new and len(names.authors) + len(new) > FOREIGN_AUTHORS_MAX:
        raise ActionError(
            f"a document knows at most {FOREIGN_AUTHORS_MAX} authors of assignments from elsewhere"
        )
