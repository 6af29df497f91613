"""The words a caller dispatches: typed constructors, and the messages that mean the same.

`Set("$.a", 1)` and `{"action": "Set", "path": "$.a", "payload": 1}` are one action (seed:
Actions). Paths are JSONPath with variables, taken from `vars`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from cytosol.errors import ActionError
from cytosol.model.json import JsonValue, brief
from cytosol.model.op import KIND_OF_ACTION, Kind
from cytosol.path import Variables

__all__ = [
    "DATA_ACTIONS",
    "Add",
    "Copy",
    "DataAction",
    "Delete",
    "InitArray",
    "InitObject",
    "InsertAfter",
    "InsertBefore",
    "InsertUnique",
    "Move",
    "Multiply",
    "ParsedAction",
    "Set",
    "Transaction",
    "parse_action",
]

_ABSENT: Any = object()

ParsedAction = tuple[Kind, str, Any, Variables]
"""Kind, path, payload, variables; the payload is not checked yet."""


class DataAction:
    """Base of the typed data actions."""

    __slots__ = ("path", "payload", "vars")

    kind: ClassVar[Kind]
    path: str
    payload: Any
    vars: Variables

    def to_message(self) -> dict[str, JsonValue]:
        """Return the message that means the same."""
        message: dict[str, JsonValue] = {"action": type(self).__name__}
        if self.kind is not Kind.TRANSACTION:
            message["path"] = self.path
        if self.kind in _WITH_PAYLOAD:
            message["payload"] = self.payload
        if self.vars:
            message["vars"] = self.vars
        return message

    def __repr__(self) -> str:
        arguments = [] if self.kind is Kind.TRANSACTION else [repr(self.path)]
        if self.kind in _WITH_PAYLOAD:
            arguments.append(repr(self.payload))
        if self.vars:
            arguments.append(repr(self.vars))
        return f"{type(self).__name__}({', '.join(arguments)})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_message() == other.to_message()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.path))


class _WithPayload(DataAction):
    __slots__ = ()

    def __init__(self, path: str, payload: JsonValue, vars: Variables = ()) -> None:
        self.path = path
        self.payload = payload
        self.vars = vars


class _WithoutPayload(DataAction):
    __slots__ = ()

    def __init__(self, path: str, vars: Variables = ()) -> None:
        self.path = path
        self.payload = None
        self.vars = vars


class Set(_WithPayload):
    """Put a value at a place; the last step of the path may be new."""

    __slots__ = ()
    kind = Kind.SET


class Delete(_WithoutPayload):
    """Remove what the path names; arrays close up."""

    __slots__ = ()
    kind = Kind.DELETE


class InitObject(_WithoutPayload):
    """Make sure that an object is there, keeping it if it is."""

    __slots__ = ()
    kind = Kind.INIT_OBJECT


class InitArray(_WithoutPayload):
    """Make sure that an array is there, keeping it if it is."""

    __slots__ = ()
    kind = Kind.INIT_ARRAY


class InsertBefore(_WithPayload):
    """Add an element before the one that the path names."""

    __slots__ = ()
    kind = Kind.INSERT_BEFORE


class InsertAfter(_WithPayload):
    """Add an element after the one that the path names."""

    __slots__ = ()
    kind = Kind.INSERT_AFTER


class InsertUnique(_WithPayload):
    """Append a value to the array that the path names, unless an equal element is there."""

    __slots__ = ()
    kind = Kind.INSERT_UNIQUE


class Add(_WithPayload):
    """Add a number to the number that the path names."""

    __slots__ = ()
    kind = Kind.ADD


class Multiply(_WithPayload):
    """Multiply the number that the path names."""

    __slots__ = ()
    kind = Kind.MULTIPLY


class Move(_WithPayload):
    """Move the place that `payload` names to `path`; it keeps its identity."""

    __slots__ = ()
    kind = Kind.MOVE


class Copy(_WithPayload):
    """Copy what `payload` names to `path`, with new identities."""

    __slots__ = ()
    kind = Kind.COPY


class Transaction(DataAction):
    """Do several data actions as one: all of them or none, here and at every peer."""

    __slots__ = ()
    kind = Kind.TRANSACTION

    def __init__(self, actions: Iterable[DataAction | Mapping[str, Any]] = ()) -> None:
        self.path = ""
        self.payload = [
            item.to_message() if isinstance(item, DataAction) else item for item in actions
        ]
        self.vars = ()


_WITH_PAYLOAD = frozenset(Kind) - {Kind.DELETE, Kind.INIT_OBJECT, Kind.INIT_ARRAY}
_WITH_PATH_AND_PAYLOAD = _WITH_PAYLOAD - {Kind.TRANSACTION}

DATA_ACTIONS: tuple[type[DataAction], ...] = (
    Set,
    Delete,
    InitObject,
    InitArray,
    InsertBefore,
    InsertAfter,
    InsertUnique,
    Add,
    Multiply,
    Move,
    Copy,
    Transaction,
)
"""All data actions, in the order of the seed."""


def parse_action(action: DataAction | Mapping[str, Any]) -> ParsedAction:
    """Return kind, path, payload and variables of a data action; raises ActionError.

    Says what is wrong with a malformed one: unknown action, missing or unknown members.
    """
    if type(action) is dict and len(action) == 3:  # most of them, and right
        name, path, payload = (
            action.get("action"),
            action.get("path"),
            action.get("payload", _ABSENT),
        )
        if type(name) is str and type(path) is str and payload is not _ABSENT:
            kind = KIND_OF_ACTION.get(name)
            if kind in _WITH_PATH_AND_PAYLOAD:
                return kind, path, payload, ()
    if isinstance(action, DataAction):
        name = type(action).__name__
        path = _checked_path(name, action.path)
        _check_variables(name, action.vars)
        return action.kind, path, action.payload, action.vars
    if not isinstance(action, Mapping):
        raise ActionError(
            'an action is an object such as {"action": "Set", "path": "$.a", "payload": 1} '
            f"or a typed action such as Set('$.a', 1), not a {type(action).__name__}"
        )
    name = action.get("action")
    kind = KIND_OF_ACTION.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(KIND_OF_ACTION)
        if "action" not in action:
            raise ActionError(f"the member 'action' is missing; the data actions are {known}")
        raise ActionError(f"{brief(name)} is not an action; the data actions are {known}")
    payload = action.get("payload", _ABSENT)
    path = action.get("path", _ABSENT)
    if kind is Kind.TRANSACTION:
        if path is not _ABSENT:
            raise ActionError("a Transaction has no path; its inner actions have")
        path = ""
    elif path is _ABSENT:
        raise ActionError(f"the action {name} needs a path such as '$.a'")
    else:
        path = _checked_path(name, path)
    if kind in _WITH_PAYLOAD:
        if payload is _ABSENT:
            raise ActionError(f"the action {name} needs a payload")
    elif payload is not _ABSENT:
        raise ActionError(f"the action {name} takes no payload")
    else:
        payload = None
    extra = action.keys() - {"action", "path", "payload", "vars"}
    if extra:
        raise ActionError(f"the action {name} has no member {brief(min(map(str, extra)))}")
    variables = action.get("vars", ())
    _check_variables(name, variables)
    return kind, path, payload, variables


def _checked_path(name: Any, path: Any) -> str:
    """Return a path as a plain string: it may be a member of an enumeration, too."""
    if not isinstance(path, str):
        raise ActionError(f"the path of the action {name} must be a string, not {brief(path)}")
    return path if type(path) is str else str.__str__(path)


def _check_variables(name: Any, variables: Any) -> None:
    if not isinstance(variables, (Mapping, list, tuple)):
        raise ActionError(f"the vars of the action {name} must be an object or an array")
