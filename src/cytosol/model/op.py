"""The Op: one compiled action as it is logged, saved and synced, and its JSON form.

A caller's action is compiled against the document of the moment into ops that name places by
identity (seed: Store; docs/merging.md, Ops). All classes here are plain tuples, because there
are many of them; the log keeps columns instead.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from cytosol.errors import ActionError
from cytosol.limits import (
    COPY_CHAIN_MAX,
    DOCUMENT_PLACES_MAX,
    LAMPORT_MAX,
    TRANSACTION_OPS_MAX,
)
from cytosol.model.ids import OpId, PeerId, format_id, parse_id
from cytosol.model.json import JsonValue, copy_json

__all__ = [
    "ACTION_NAMES",
    "CALCULATIONS",
    "TRANSFERS",
    "WITH_VALUE",
    "WRITES",
    "Body",
    "Kind",
    "Link",
    "Name",
    "Op",
    "Side",
    "Spot",
    "body_from_json",
    "body_to_json",
    "name_from_json",
    "name_to_json",
    "op_from_json",
    "op_to_json",
]


class Kind(enum.IntEnum):
    """What an op does; the numbers are part of the compact format."""

    SET = 1
    DELETE = 2
    INIT_OBJECT = 3
    INIT_ARRAY = 4
    INSERT_BEFORE = 5
    INSERT_AFTER = 6
    INSERT_UNIQUE = 7
    ADD = 8
    MULTIPLY = 9
    MOVE = 10
    COPY = 11
    TRANSACTION = 12


class Side(enum.IntEnum):
    """Where new positions stand relative to the one they are beside."""

    END = 0
    AFTER = 1
    BEFORE = 2


ACTION_NAMES: dict[Kind, str] = {
    Kind.SET: "Set",
    Kind.DELETE: "Delete",
    Kind.INIT_OBJECT: "InitObject",
    Kind.INIT_ARRAY: "InitArray",
    Kind.INSERT_BEFORE: "InsertBefore",
    Kind.INSERT_AFTER: "InsertAfter",
    Kind.INSERT_UNIQUE: "InsertUnique",
    Kind.ADD: "Add",
    Kind.MULTIPLY: "Multiply",
    Kind.MOVE: "Move",
    Kind.COPY: "Copy",
    Kind.TRANSACTION: "Transaction",
}
KIND_OF_ACTION: dict[str, Kind] = {name: kind for kind, name in ACTION_NAMES.items()}
SIDE_NAMES: dict[Side, str] = {Side.END: "end", Side.AFTER: "after", Side.BEFORE: "before"}
SIDE_OF_NAME: dict[str, Side] = {name: side for side, name in SIDE_NAMES.items()}

Link = tuple[PeerId, int, int]
"""One link of a name: author, index, offset."""


class Name(NamedTuple):
    """Name a place or a position by the op that made it (docs/merging.md, Names)."""

    author: PeerId
    index: int  # type: ignore[assignment]  # tuple.index() is never wanted here
    offset: int = 0
    of: tuple[Link, ...] = ()


class Spot(NamedTuple):
    """Say where in an array new positions go; `index` is only for people to read."""

    index: int  # type: ignore[assignment]  # tuple.index() is never wanted here
    beside: Name | None
    side: Side
    fill: int = 0


class Body(NamedTuple):
    """What an op does, without its id.

    `name` is the place, or the parent of `key`, or the array of `spot` (None: the root).
    `payload` is a JSON value, or for a Transaction a tuple of bodies.
    """

    kind: Kind
    name: Name | None = None
    key: str | None = None
    spot: Spot | None = None
    payload: JsonValue = None
    source: Name | None = None


class Op(NamedTuple):
    """One record of history; `timestamp` is in milliseconds and decides nothing."""

    index: int  # type: ignore[assignment]  # tuple.index() is never wanted here
    author: PeerId
    previous: int
    timestamp: int
    body: Body
    seen: tuple[tuple[PeerId, int], ...] = ()
    origin: Name | None = None

    @property
    def id(self) -> OpId:
        """The op's id, which is also its place in the order."""
        return OpId(self.index, self.author)


WRITES = frozenset({Kind.SET, Kind.INSERT_BEFORE, Kind.INSERT_AFTER, Kind.INSERT_UNIQUE})
"""Kinds whose payload comes to stand in the document."""
CALCULATIONS = frozenset({Kind.ADD, Kind.MULTIPLY})
TRANSFERS = frozenset({Kind.MOVE, Kind.COPY})
WITH_VALUE = WRITES | CALCULATIONS
"""Kinds whose payload is a JSON value."""

_FORMS: dict[Kind, str] = {
    Kind.SET: "kpe",
    Kind.DELETE: "p",
    Kind.INIT_OBJECT: "pke",
    Kind.INIT_ARRAY: "pke",
    Kind.INSERT_BEFORE: "e",
    Kind.INSERT_AFTER: "e",
    Kind.INSERT_UNIQUE: "u",
    Kind.ADD: "p",
    Kind.MULTIPLY: "p",
    Kind.MOVE: "ke",
    Kind.COPY: "ke",
}


def name_to_json(name: Name) -> dict[str, JsonValue]:
    """Return the JSON form of a name."""
    out = _link_to_json((name.author, name.index, name.offset))
    if name.of:
        out["of"] = [_link_to_json(link) for link in name.of]
    return out


def _link_to_json(link: Link) -> dict[str, JsonValue]:
    out: dict[str, JsonValue] = {"author": format_id(link[0]), "index": link[1]}
    if link[2]:
        out["offset"] = link[2]
    return out


def body_to_json(body: Body) -> dict[str, JsonValue]:
    """Return the JSON form of a body: the compiled action as the seed shows it."""
    out: dict[str, JsonValue] = {"action": ACTION_NAMES[body.kind]}
    if body.kind is Kind.TRANSACTION:
        out["payload"] = [body_to_json(inner) for inner in body.payload]
        return out
    path: list[JsonValue] = []
    if body.name is not None:
        path.append({"type": "Id", "query": name_to_json(body.name)})
    if body.key is not None:
        path.append({"type": "Key", "query": body.key})
    elif body.spot is not None:
        if body.kind is not Kind.INSERT_UNIQUE:
            path.append({"type": "Index", "query": body.spot.index})
        if body.spot.beside is not None:
            out["beside"] = name_to_json(body.spot.beside)
        out["side"] = SIDE_NAMES[body.spot.side]
        if body.spot.fill:
            out["fill"] = body.spot.fill
    out["path"] = path
    if body.kind in WITH_VALUE:
        out["payload"] = body.payload
    elif body.source is not None:
        out["payload"] = [{"type": "Id", "query": name_to_json(body.source)}]
    return out


def op_to_json(op: Op) -> dict[str, JsonValue]:
    """Return the JSON form of an op, as it stands in `$.actions` and on the wire."""
    out = body_to_json(op.body)
    out["id"] = {"author": format_id(op.author), "index": op.index}
    out["timestamp"] = op.timestamp
    out["previous"] = op.previous
    if op.seen:
        out["seen"] = {format_id(author): index for author, index in op.seen}
    if op.origin is not None:
        out["origin"] = name_to_json(op.origin)
    return out


def _member(value: JsonValue, key: str, kind: type, what: str) -> Any:
    """Return `value[key]`, which must be there and exactly of `kind`."""
    if type(value) is not dict or type(value.get(key)) is not kind:
        raise ActionError(f"an op is damaged: {what} has no {key} of type {kind.__name__}")
    return value[key]


def _count(value: JsonValue, key: str, most: int, what: str, least: int = 0) -> int:
    number: int = _member(value, key, int, what)
    if not least <= number <= most:
        raise ActionError(f"an op is damaged: {key} {number} of {what} is out of range")
    return number


def _link_from_json(value: JsonValue) -> Link:
    author = parse_id(_member(value, "author", str, "a name"))
    index = _count(value, "index", LAMPORT_MAX, "a name")
    offset = _count(value, "offset", DOCUMENT_PLACES_MAX, "a name") if "offset" in value else 0
    return (author, index, offset)


def name_from_json(value: JsonValue) -> Name:
    """Return the name that a JSON value describes; raises ActionError."""
    link = _link_from_json(value)
    of = value.get("of", [])
    if type(of) is not list or len(of) > COPY_CHAIN_MAX:
        raise ActionError("an op is damaged: a name has a wrong `of`")
    return Name(*link, tuple(map(_link_from_json, of)))


def _id_step(value: JsonValue) -> Name:
    if type(value) is not dict or value.get("type") != "Id":
        raise ActionError("an op is damaged: a compiled path must start with an Id")
    return name_from_json(value.get("query"))


def _spot_from_json(value: JsonValue, index: int) -> Spot:
    side = SIDE_OF_NAME.get(_member(value, "side", str, "an insert"))
    if side is None:
        raise ActionError("an op is damaged: an insert has an unknown side")
    beside = name_from_json(value["beside"]) if "beside" in value else None
    if (beside is None) is not (side is Side.END):
        raise ActionError("an op is damaged: `side` and `beside` do not fit together")
    fill = _count(value, "fill", DOCUMENT_PLACES_MAX, "an insert") if "fill" in value else 0
    return Spot(index, beside, side, fill)


def _target_from_json(
    kind: Kind, value: JsonValue
) -> tuple[Name | None, str | None, Spot | None, str]:
    """Return the name, key and spot of a body, and the letter of the form it has."""
    path = _member(value, "path", list, "an op")
    last = path[-1] if path and type(path[-1]) is dict else {}
    step = last.get("type")
    if step == "Key" and len(path) <= 2:
        key = sys.intern(_member(last, "query", str, "a Key step"))
        return (_id_step(path[0]) if len(path) == 2 else None), key, None, "k"
    if step == "Index" and len(path) == 2:
        index = _count(last, "query", LAMPORT_MAX, "an Index step")
        return _id_step(path[0]), None, _spot_from_json(value, index), "e"
    if step == "Id" and len(path) == 1:
        if kind is Kind.INSERT_UNIQUE:
            return _id_step(last), None, _spot_from_json(value, 0), "u"
        return _id_step(last), None, None, "p"
    raise ActionError("an op is damaged: its compiled path has an unknown form")


def body_from_json(value: JsonValue, nested: bool = False) -> Body:
    """Return the body that a JSON value describes; raises ActionError for anything else."""
    kind = KIND_OF_ACTION.get(_member(value, "action", str, "an op"))
    if kind is None:
        raise ActionError("an op is damaged: its action is unknown")
    if kind is Kind.TRANSACTION:
        inner = _member(value, "payload", list, "a Transaction")
        if nested or not 0 < len(inner) <= TRANSACTION_OPS_MAX:
            raise ActionError("an op is damaged: a Transaction is nested, empty or too large")
        return Body(kind, payload=tuple(body_from_json(item, True) for item in inner))
    name, key, spot, form = _target_from_json(kind, value)
    if form not in _FORMS[kind]:
        raise ActionError(f"an op is damaged: {ACTION_NAMES[kind]} cannot have this path")
    payload = source = None
    if kind in WITH_VALUE:
        if "payload" not in value:
            raise ActionError("an op is damaged: its payload is missing")
        payload = copy_json(value["payload"])
        if kind in CALCULATIONS and type(payload) not in (int, float):
            raise ActionError("an op is damaged: its payload is not a number")
    elif kind in TRANSFERS:
        steps = _member(value, "payload", list, "a Move or Copy")
        if len(steps) != 1:
            raise ActionError("an op is damaged: a source is one Id step")
        source = _id_step(steps[0])
    return Body(kind, name, key, spot, payload, source)


def op_from_json(value: JsonValue) -> Op:
    """Return the op that a JSON value describes; raises ActionError for anything else."""
    ident = _member(value, "id", dict, "an op")
    index = _count(ident, "index", LAMPORT_MAX, "an op's id", 1)
    author = parse_id(_member(ident, "author", str, "an op's id"))
    previous = _count(value, "previous", index - 1, "an op")
    timestamp = _count(value, "timestamp", LAMPORT_MAX, "an op")
    seen_json = _member(value, "seen", dict, "an op") if "seen" in value else {}
    seen = tuple(
        sorted((parse_id(who), _count(seen_json, who, index - 1, "seen", 1)) for who in seen_json)
    )
    origin = name_from_json(value["origin"]) if "origin" in value else None
    return Op(index, author, previous, timestamp, body_from_json(value), seen, origin)


def map_names(body: Body, change: Callable[[Name], Name]) -> Body:
    """Return the body with `change` applied to every name in it."""
    if body.kind is Kind.TRANSACTION:
        return body._replace(payload=tuple(map_names(inner, change) for inner in body.payload))
    spot = body.spot
    if spot is not None and spot.beside is not None:
        spot = spot._replace(beside=change(spot.beside))
    return body._replace(
        name=None if body.name is None else change(body.name),
        spot=spot,
        source=None if body.source is None else change(body.source),
    )
