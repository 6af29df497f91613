"""Documents of the peers in the form that every workload starts from: a map at root.l1.l2.

Imported only in processes that run a peer, so that their extra stays optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import load

__all__ = [
    "automerge_document",
    "automerge_exchange",
    "automerge_fill",
    "automerge_set",
    "loro_document",
    "loro_fill",
    "loro_map",
    "pycrdt_document",
    "pycrdt_fill",
    "pycrdt_map",
]


def loro_document() -> tuple[Any, Any]:
    """Return a document and its map at root.l1.l2, committed."""
    loro = load("loro")

    doc = loro.LoroDoc()
    level = doc.get_map("root").insert_container("l1", loro.LoroMap())
    level = level.insert_container("l2", loro.LoroMap())
    doc.commit()
    return doc, level


def loro_map(doc: Any) -> Any:
    """Return the map at root.l1.l2 of a document that came from elsewhere."""
    found: Any = doc.get_by_str_path("root/l1/l2")
    return found.container


def loro_fill(target: Any, keys: Sequence[str], values: Sequence[Any]) -> None:
    """Set all keys, one call each."""
    insert = target.insert
    for key, value in zip(keys, values, strict=True):
        insert(key, value)


def pycrdt_document() -> tuple[Any, Any]:
    """Return a document and its map at root.l1.l2."""
    pycrdt = load("pycrdt")

    doc: Any = pycrdt.Doc()
    root = doc.get("root", type=pycrdt.Map)
    root["l1"] = pycrdt.Map()
    root["l1"]["l2"] = pycrdt.Map()
    return doc, root["l1"]["l2"]


def pycrdt_map(doc: Any) -> Any:
    """Return the map at root.l1.l2 of a document that came from elsewhere."""
    pycrdt = load("pycrdt")

    return doc.get("root", type=pycrdt.Map)["l1"]["l2"]


def pycrdt_fill(target: Any, keys: Sequence[str], values: Sequence[Any]) -> None:
    """Set all keys, one call each; each makes a transaction of its own."""
    for key, value in zip(keys, values, strict=True):
        target[key] = value


def automerge_document() -> tuple[Any, bytes]:
    """Return a document and the id of its map at root.l1.l2."""
    core = load("automerge.core")

    doc = core.Document()
    with doc.transaction() as change:
        level = change.put_object(core.ROOT, "root", core.ObjType.Map)
        level = change.put_object(level, "l1", core.ObjType.Map)
        level = change.put_object(level, "l2", core.ObjType.Map)
    return doc, level


def automerge_set(doc: Any, target: bytes, key: str, value: Any) -> None:
    """Set one key in a transaction of its own."""
    core = load("automerge.core")

    kind = core.ScalarType.Int if type(value) is int else core.ScalarType.Str
    with doc.transaction() as change:
        change.put(target, key, kind, value)


def automerge_fill(doc: Any, target: bytes, keys: Sequence[str], values: Sequence[Any]) -> None:
    """Set all keys, each in a transaction of its own."""
    core = load("automerge.core")

    kind = core.ScalarType.Int if type(values[0]) is int else core.ScalarType.Str
    for key, value in zip(keys, values, strict=True):
        with doc.transaction() as change:
            change.put(target, key, kind, value)


def automerge_exchange(doc: Any, other: Any, state: Any, other_state: Any) -> int:
    """Send sync messages both ways until neither side has one; return their bytes."""
    core = load("automerge.core")

    sent = 0
    while True:
        there = doc.generate_sync_message(state)
        back = other.generate_sync_message(other_state)
        if there is None and back is None:
            return sent
        if there is not None:
            data = there.encode()
            sent += len(data)
            other.receive_sync_message(other_state, core.Message.decode(data))
        if back is not None:
            data = back.encode()
            sent += len(data)
            doc.receive_sync_message(state, core.Message.decode(data))
