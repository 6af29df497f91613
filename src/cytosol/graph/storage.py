"""Storages that ship: nodes in memory, and nodes in any save state of Cytosol.

A storage is any object with `read(action)`, `write(action)` and, if it cares, `remove(action)`,
plain or async; `__aiter__` makes it a stream. `read` returns nodes or their JSON in any order.
`write` gets the touched nodes as they shall be in `action.graph`, deletions included: keep
these, or what was deleted comes back from others who still have it. Seed: Storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from cytosol.errors import GraphError, SealError
from cytosol.graph.actions import ReadNodes, Write
from cytosol.graph.awaiting import Done
from cytosol.graph.node import Node
from cytosol.model.json import JsonValue, copy_json
from cytosol.savestates import InMemorySaveState, SaveState
from cytosol.savestates.sealed import check_unsealed

T = TypeVar("T")

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
    is durable as far as the save state promises. Files are written in threads, one batch after
    the other, so that the event loop goes on meanwhile. Raises DatabaseLockedError if another
    process or database is the owner, GraphError for the file of a database, which would not open
    any more with nodes in it, SealError for a sealed file. `close` (or closing the graph) gives
    the save state free.
    """

    def __init__(self, save_state: SaveState) -> None:
        if not isinstance(save_state, SaveState):
            raise GraphError(
                f"SaveStateStorage takes a save state, such as SqliteSaveState(path), "
                f"not {save_state!r}"
            )
        self._save_state = save_state
        self._is_closed = False
        self._line = _Line(is_fast=isinstance(save_state, InMemorySaveState))
        save_state.open()
        try:
            check_unsealed(save_state)
        except SealError:
            save_state.close()
            raise
        if save_state.get("meta/format") is not None:
            save_state.close()
            raise GraphError(
                f"'{save_state.path}' holds a database: take another file for the nodes, or open "
                "the database and use `db.graph()`"
            )
        self.notes = _SavedNotes(save_state, self._line)
        """Small records of others, such as what a router remembers about its peers."""

    def read(self, action: ReadNodes) -> Awaitable[list[JsonValue]]:
        """Return the nodes of the action's keys, None for those that are not here."""
        return self._line.read(partial(self._read, action.keys))

    def _read(self, keys: Sequence[str]) -> list[JsonValue]:
        get = self._save_state.get
        text = self._save_state.text
        return [_loaded(get(_record("node", key)), text) for key in keys]

    def write(self, action: Write) -> Awaitable[None]:
        """Save the nodes as they shall be, as one batch. Raises SaveError."""
        assert action.graph is not None
        text = self._save_state.text
        records = [
            (_record("node", key), _saved(node.to_json(), text)) for key, node in action.graph
        ]
        return self._line.write(partial(self._save_state.commit, records))

    def remove(self, action: Write) -> Done[None]:
        """Keep the tombstones that `write` got: they hide what others may still send."""
        return Done(None)

    async def __aiter__(self) -> AsyncIterator[Node]:
        text = self._save_state.text
        for name, record in self._save_state.scan("node/"):
            yield Node.from_json(_loaded(record, text), f"the record {name}, a node")

    def close(self) -> Awaitable[None]:
        """Give the save state free, after what has begun; closing twice is fine."""
        if self._is_closed:
            return Done(None)
        self._is_closed = True
        return self._line.read(self._save_state.close)


class _SavedNotes:
    def __init__(self, save_state: SaveState, line: _Line) -> None:
        self._save_state = save_state
        self._line = line

    def get(self, name: str) -> Awaitable[JsonValue]:
        """Return a note, None if there is none."""
        return self._line.read(partial(self._get, _record("note", name)))

    def _get(self, record: str) -> JsonValue:
        return _loaded(self._save_state.get(record), self._save_state.text)

    def put(self, name: str, value: JsonValue) -> Awaitable[None]:
        """Save a note; None removes it. Raises SaveError."""
        record = _record("note", name)
        commit = self._save_state.commit
        if value is None:
            return self._line.write(partial(commit, deletes=[record]))
        return self._line.write(partial(commit, [(record, _saved(value, self._save_state.text))]))


class _Line:
    """What is asked of a save state, one after the other, beside the event loop.

    A read that finds nobody before it is done at once, and so is everything where no event loop
    runs, and for a save state that `is_fast`.
    """

    __slots__ = ("_is_fast", "_last")

    def __init__(self, *, is_fast: bool) -> None:
        self._is_fast = is_fast
        self._last: asyncio.Task[Any] | None = None

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do `work` after what was asked before."""
        return Done(work()) if self._last is None or self._last.done() else self.write(work)

    def write(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do `work`, which waits for a disk, after what was asked before.

        It has begun when this returns, and goes on if the one who waits for it is cancelled.
        """
        try:
            loop = None if self._is_fast else asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None:
            return Done(work())
        self._last = loop.create_task(_after(self._last, work))
        return asyncio.shield(self._last)


async def _after(last: asyncio.Task[Any] | None, work: Callable[[], T]) -> T:
    if last is not None and not last.done():
        await asyncio.wait({last})
    return await asyncio.to_thread(work)


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
