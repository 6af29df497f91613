"""Storages that ship: nodes in memory, and nodes in any save state of Cytosol.

A storage is any object with `read(action)`, `write(action)` and, if it cares, `remove(action)`,
plain or async; `__aiter__` makes it a stream. `read` returns nodes or their JSON in any order.
`write` gets the touched nodes as they shall be in `action.graph`, deletions included: keep
these, or what was deleted comes back from others who still have it. Seed: Storage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec

from cytosol.errors import GraphError
from cytosol.graph.actions import ReadNodes, Write
from cytosol.graph.awaiting import Done
from cytosol.graph.node import Node
from cytosol.model.json import JsonValue, copy_json
from cytosol.savestates import SaveState

__all__ = ["MemoryStorage", "SaveStateStorage", "stream_of"]


class MemoryStorage:
    """Keep nodes as JSON in a dictionary: for tests, and as the plainest example."""

    def __init__(self) -> None:
        self.records: dict[str, JsonValue] = {}
        self.notes: _MemoryNotes = _MemoryNotes()
        """Small records of others, such as what a router remembers about its peers."""

    def read(self, action: ReadNodes) -> Done[list[JsonValue]]:
        """Return the nodes of the action's keys, None for those that are not here."""
        return Done([self.records.get(key) for key in action.keys])

    def write(self, action: Write) -> Done[None]:
        """Keep the nodes as they shall be, all or nothing."""
        assert action.graph is not None
        self.records.update(action.graph.to_json())
        return Done(None)

    def remove(self, action: Write) -> Done[None]:
        """Keep the tombstones that `write` got: they hide what others may still send."""
        return Done(None)

    async def __aiter__(self) -> AsyncIterator[Node]:
        for key in list(self.records):
            yield Node.from_json(self.records[key], "the stored node")


class _MemoryNotes:
    def __init__(self) -> None:
        self._notes: dict[str, JsonValue] = {}

    def get(self, name: str) -> JsonValue:
        """Return a note, None if there is none."""
        return copy_json(self._notes.get(name))

    def put(self, name: str, value: JsonValue) -> None:
        """Keep a note; None removes it."""
        if value is None:
            self._notes.pop(name, None)
        else:
            self._notes[name] = copy_json(value)


class SaveStateStorage:
    """Keep nodes as records `node/<key>` of a save state, which is opened here.

    Each write is one batch: after a crash all of it is there, or nothing, and what was awaited
    is durable as far as the save state promises. Raises DatabaseLockedError if another process
    or database is the owner, GraphError for the file of a database, which would not open any
    more with nodes in it. `close` (or closing the graph) gives the save state free.
    """

    def __init__(self, save_state: SaveState) -> None:
        if not isinstance(save_state, SaveState):
            raise GraphError(
                f"SaveStateStorage takes a save state, such as SqliteSaveState(path), "
                f"not {save_state!r}"
            )
        self._save_state = save_state
        self._is_closed = False
        save_state.open()
        if save_state.get("meta/format") is not None:
            save_state.close()
            raise GraphError(
                f"'{save_state.path}' holds a database: take another file for the nodes, or open "
                "the database and use `db.graph()`"
            )
        self.notes = _SavedNotes(save_state)
        """Small records of others, such as what a router remembers about its peers."""

    def read(self, action: ReadNodes) -> Done[list[JsonValue]]:
        """Return the nodes of the action's keys, None for those that are not here."""
        get = self._save_state.get
        text = self._save_state.text
        return Done([_loaded(get(_record("node", key)), text) for key in action.keys])

    def write(self, action: Write) -> Done[None]:
        """Save the nodes as they shall be, as one batch. Raises SaveError."""
        assert action.graph is not None
        text = self._save_state.text
        self._save_state.commit(
            [(_record("node", key), _saved(node.to_json(), text)) for key, node in action.graph]
        )
        return Done(None)

    def remove(self, action: Write) -> Done[None]:
        """Keep the tombstones that `write` got: they hide what others may still send."""
        return Done(None)

    async def __aiter__(self) -> AsyncIterator[Node]:
        text = self._save_state.text
        for name, record in self._save_state.scan("node/"):
            yield Node.from_json(_loaded(record, text), f"the record {name}, a node")

    def close(self) -> None:
        """Give the save state free; closing twice is fine."""
        if not self._is_closed:
            self._is_closed = True
            self._save_state.close()


class _SavedNotes:
    def __init__(self, save_state: SaveState) -> None:
        self._save_state = save_state

    def get(self, name: str) -> JsonValue:
        """Return a note, None if there is none."""
        return _loaded(self._save_state.get(_record("note", name)), self._save_state.text)

    def put(self, name: str, value: JsonValue) -> None:
        """Save a note; None removes it. Raises SaveError."""
        record = _record("note", name)
        if value is None:
            self._save_state.commit(deletes=[record])
        else:
            self._save_state.commit([(record, _saved(value, self._save_state.text))])


def _record(kind: str, name: str) -> str:
    """Return the ASCII name of a record; keys are any Unicode text."""
    return f"{kind}/{quote(name, safe='/:@ ')}"


_encoder = msgspec.json.Encoder()


def _saved(value: JsonValue, text: bool) -> Any:
    return value if text else _encoder.encode(value)


def _loaded(record: Any, text: bool) -> JsonValue:
    if record is None or text:
        return record
    try:
        return msgspec.json.decode(record)
    except msgspec.DecodeError as error:
        raise GraphError(f"a stored node cannot be read: {error}") from None


# --- Streaming ----------------------------------------------------------------------------


def stream_of(storage: Any) -> AsyncIterator[Node]:
    """Return the nodes of a storage that exist, one by one. Raises GraphError if it cannot."""
    if storage is None:
        raise GraphError(
            "this graph has no storage to stream from: give it one in its config, or iterate "
            "over what is in memory by `for key, node in graph`"
        )
    if not hasattr(storage, "__aiter__"):
        raise GraphError(
            f"the storage {type(storage).__name__} does not support streaming: "
            "it has no `__aiter__`; read its nodes by their keys"
        )
    return _streamed(storage)


async def _streamed(storage: Any) -> AsyncIterator[Node]:
    async for item in storage:
        if item is None:
            continue
        node = item if isinstance(item, Node) else Node.from_json(item, "the stored node")
        if node.exists:
            yield node
