"""The messages that routers send each other, and the parser that believes none of them.

```text
{"type": "hello", "id": 7, "graph": UUID, "session": UUID, "reply": bool, "waiting": [5, 6]}
{"type": "push", "id": 8, "nodes": {key: node}}        -> done or error
{"type": "pull", "id": 9, "keys": [key, ...]}          -> answers or error
{"type": "answer", "id": 9, "nodes": {key: node}, "more": bool}
{"type": "done", "id": 8}
{"type": "error", "id": 8, "error": "permission denied"}
```
The ids of a session begin at a random number, so that an answer to an earlier session is not
taken for one to this. A node is as in `Node.to_json`. Parsing raises MalformedError and nothing
else, looks no deeper than the form goes, and stops at the first excess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cytosol.errors import ActionError, GraphError
from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.node import Node
from cytosol.graph.pointer import checked_key
from cytosol.limits import (
    CLOCK_LEAP_MAX,
    LAMPORT_MAX,
    MESSAGE_NODES_MAX,
    MESSAGE_PART_BYTES,
    MESSAGE_PART_NODES,
    PUSHES_WAITING_MAX,
)
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import JsonValue

__all__ = [
    "BUSY",
    "DENIED",
    "NOT_RECEIVED",
    "NOT_SAVED",
    "RETRIED",
    "Answer",
    "Done",
    "Hello",
    "MalformedError",
    "Message",
    "Problem",
    "Pull",
    "Push",
    "check_ids",
    "parse_message",
    "parts_of",
    "weight",
]

DENIED: Final = "permission denied"
BUSY: Final = "busy"
NOT_RECEIVED: Final = "not received"
NOT_SAVED: Final = "not saved"
RETRIED: Final = frozenset({BUSY, NOT_RECEIVED, NOT_SAVED})
"""Problems that pass: what they refuse is sent again."""

_ERROR_LENGTH_MAX = 1_024  # characters kept of a peer's explanation
_ENTRY_BYTES = 64  # an id and the punctuation around a field


class MalformedError(GraphError):
    """Say that a message is not one of ours; `id` is its number, where it has one."""

    def __init__(self, text: str, message_id: int | None = None) -> None:
        super().__init__(text)
        self.id = message_id


@dataclass(frozen=True, slots=True)
class Hello:
    """Say who speaks: the graph (kept in its storage), and this run of its router.

    `waiting` are the pushes that nobody has answered: the other side names those that it has not
    received, and they are sent again.
    """

    id: int
    graph: bytes
    session: bytes
    is_reply: bool = False
    waiting: tuple[int, ...] = ()

    def to_json(self) -> JsonValue:
        """Return the message."""
        return {
            "type": "hello",
            "id": self.id,
            "graph": format_id(self.graph),
            "session": format_id(self.session),
            "reply": self.is_reply,
            "waiting": list(self.waiting),
        }


@dataclass(frozen=True, slots=True)
class Push:
    """Ask to commit nodes."""

    id: int
    nodes: NodeMap

    def to_json(self) -> JsonValue:
        """Return the message."""
        return {"type": "push", "id": self.id, "nodes": self.nodes.to_json()}


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask for nodes."""

    id: int
    keys: tuple[str, ...]

    def to_json(self) -> JsonValue:
        """Return the message."""
        return {"type": "pull", "id": self.id, "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a pull, or a part of it; a key that is absent is not known."""

    id: int
    nodes: NodeMap
    more: bool = False

    def to_json(self) -> JsonValue:
        """Return the message."""
        nodes = self.nodes.to_json()
        return {"type": "answer", "id": self.id, "nodes": nodes, "more": self.more}


@dataclass(frozen=True, slots=True)
class Done:
    """Say that a push is committed, durably where there is a storage."""

    id: int

    def to_json(self) -> JsonValue:
        """Return the message."""
        return {"type": "done", "id": self.id}


@dataclass(frozen=True, slots=True)
class Problem:
    """Say that a push or a pull was refused as a whole, and why."""

    id: int
    error: str

    def to_json(self) -> JsonValue:
        """Return the message."""
        return {"type": "error", "id": self.id, "error": self.error}


Message: TypeAlias = Hello | Push | Pull | Answer | Done | Problem


def parse_message(message: JsonValue) -> Message:
    """Return a message from outside in checked form. Raises MalformedError for anything else."""
    if type(message) is not dict:
        raise MalformedError("a message must be a JSON object")
    kind, number = message.get("type"), message.get("id")
    if type(number) is not int or not 0 <= number <= LAMPORT_MAX:
        raise MalformedError("the id of a message must be an integer from 0 to 2^53 - 1")
    try:
        match kind:
            case "push":
                return Push(number, _nodes(message))
            case "done":
                return Done(number)
            case "pull":
                return Pull(number, _keys(message))
            case "answer":
                return Answer(number, _nodes(message), _flag(message, "more"))
            case "error":
                return Problem(number, _text(message, "error")[:_ERROR_LENGTH_MAX])
            case "hello":
                return Hello(
                    number,
                    parse_id(_text(message, "graph")),
                    parse_id(_text(message, "session")),
                    _flag(message, "reply"),
                    _waiting(message),
                )
    except MalformedError as error:
        raise MalformedError(str(error), number) from None
    except (GraphError, ActionError) as error:
        raise MalformedError(f"the message is malformed: {error}", number) from None
    raise MalformedError("the type of the message is not known here", number)


def _nodes(message: dict[str, Any]) -> NodeMap:
    items = message.get("nodes")
    if type(items) is not dict:
        raise MalformedError("`nodes` must be an object from keys to nodes")
    if len(items) > MESSAGE_NODES_MAX:
        raise MalformedError(
            f"{len(items)} nodes in one message; {MESSAGE_NODES_MAX} are allowed, send it in parts"
        )
    nodes = NodeMap()
    for key, item in items.items():
        node = Node.from_json(item, "a node of the message")
        if node.key != key:
            raise MalformedError("a node of the message stands under another key than its own")
        nodes.nodes[key] = node
    return nodes


def _keys(message: dict[str, Any]) -> tuple[str, ...]:
    keys = message.get("keys")
    if type(keys) is not list:
        raise MalformedError("`keys` must be a list of keys")
    if len(keys) > MESSAGE_NODES_MAX:
        raise MalformedError(
            f"{len(keys)} keys in one message; {MESSAGE_NODES_MAX} are allowed, ask in parts"
        )
    return tuple(dict.fromkeys(map(checked_key, keys)))


def _waiting(message: dict[str, Any]) -> tuple[int, ...]:
    waiting = message.get("waiting", [])
    if (
        type(waiting) is not list
        or len(waiting) > PUSHES_WAITING_MAX
        or not all(type(number) is int and 0 <= number <= LAMPORT_MAX for number in waiting)
    ):
        raise MalformedError(f"`waiting` must be a list of at most {PUSHES_WAITING_MAX} ids")
    return tuple(waiting)


def _flag(message: dict[str, Any], name: str) -> bool:
    flag = message.get(name, False)
    if type(flag) is not bool:
        raise MalformedError(f"`{name}` must be true or false")
    return flag


def _text(message: dict[str, Any], name: str) -> str:
    text = message.get(name)
    if type(text) is not str:
        raise MalformedError(f"`{name}` must be a text")
    return text


def check_ids(nodes: NodeMap, clock: Clock) -> None:
    """Raise MalformedError for ids that nobody honest can have sent to us: far in the future.

    Ids in our own name that we never gave are taken. Refusing one would hide the field from us
    alone, and a graph with an `author` of its own, but without what it wrote under it before,
    could not get that back. Our clock moves past them, so that we never give them again.
    """
    highest = min(clock.index + CLOCK_LEAP_MAX, LAMPORT_MAX)
    for node in nodes.nodes.values():
        for index, _ in _ids(node):
            if index > highest:
                raise MalformedError(
                    f"an id is more than {CLOCK_LEAP_MAX} above all that are known here: "
                    "no honest writer is that far ahead"
                )


def _ids(node: Node) -> Iterator[tuple[int, bytes]]:
    yield node.made
    yield node.gone
    for _, stamp in node.entries.values():
        yield stamp


def weight(text: object) -> int:
    """Return about how many bytes a value or a name takes in JSON."""
    if type(text) is str:
        return len(text) if text.isascii() else 4 * len(text)
    return 24


def parts_of(nodes: Iterable[Node]) -> Iterator[NodeMap]:
    """Split nodes into parts that are small enough for one message each.

    A node that is too large for a part is split between its fields. A single value is not
    split: it goes alone, and the transport says if it is too large.
    """
    part, room = NodeMap(), MESSAGE_PART_BYTES
    for node in nodes:
        for piece, size in _pieces(node):
            is_full = size > room or len(part) >= MESSAGE_PART_NODES or piece.key in part
            if is_full and len(part):
                yield part
                part, room = NodeMap(), MESSAGE_PART_BYTES
            part.nodes[piece.key] = piece
            room -= size
    if len(part):
        yield part


def _pieces(node: Node) -> Iterator[tuple[Node, int]]:
    base = weight(node.key) * 2 + _ENTRY_BYTES
    piece, size = _bare(node), base
    for field, entry in node.entries.items():
        cost = weight(field) + weight(getattr(entry[0], "key", entry[0])) + _ENTRY_BYTES
        if piece.entries and size + cost > MESSAGE_PART_BYTES:
            yield piece, size
            piece, size = Node(node.key), base
        piece.entries[field] = entry
        size += cost
    if piece.entries or piece.made != ZERO or piece.gone != ZERO:
        yield piece, size


def _bare(node: Node) -> Node:
    piece = Node(node.key)
    piece.made, piece.gone = node.made, node.gone
    return piece
