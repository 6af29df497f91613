"""Documents of the peers in the form that every workload starts from, with the objects of a shape.

Imported only in processes that run a peer, so that their extra stays optional. Handles of
containers are cached, and found out for each write before any clock starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import load
from benchmarks.shapes import Writes, nests_of

__all__ = [
    "automerge_document",
    "automerge_exchange",
    "automerge_fill",
    "automerge_kinds",
    "automerge_maps",
    "automerge_put_all",
    "automerge_set",
    "loro_document",
    "loro_fill",
    "loro_maps",
    "pycrdt_document",
    "pycrdt_fill",
    "pycrdt_maps",
]


def _made(shape: int, root: Any, make: Any) -> list[Any]:
    """Return the handles of a shape's objects, made by `make(parent, key)` where they lack."""
    handles: dict[tuple[str, ...], Any] = {("root",): root}
    for nest in nests_of(shape):
        for depth in range(2, len(nest) + 1):
            place = nest[:depth]
            if place not in handles:
                handles[place] = make(handles[place[:-1]], place[-1])
    return [handles[nest] for nest in nests_of(shape)]


# --- loro -------------------------------------------------------------------------------


def loro_document(shape: int) -> tuple[Any, list[Any]]:
    """Return a document and the maps of the shape, committed."""
    loro = load("loro")

    doc = loro.LoroDoc()
    maps = _made(
        shape, doc.get_map("root"), lambda level, key: level.insert_container(key, loro.LoroMap())
    )
    doc.commit()
    return doc, maps


def loro_maps(doc: Any, shape: int) -> list[Any]:
    """Return the maps of a document that came from elsewhere."""
    return [doc.get_by_str_path("/".join(nest)).container for nest in nests_of(shape)]


def loro_fill(maps: Sequence[Any], writes: Writes) -> None:
    """Set all keys, one call each."""
    inserts = writes.each([level.insert for level in maps])
    for insert, key, value in zip(inserts, writes.keys, writes.values, strict=True):
        insert(key, value)


# --- pycrdt -----------------------------------------------------------------------------


def pycrdt_document(shape: int) -> tuple[Any, list[Any]]:
    """Return a document and the maps of the shape."""
    pycrdt = load("pycrdt")

    def make(level: Any, key: str) -> Any:
        level[key] = pycrdt.Map()
        return level[key]

    doc: Any = pycrdt.Doc()
    return doc, _made(shape, doc.get("root", type=pycrdt.Map), make)


def pycrdt_maps(doc: Any, shape: int) -> list[Any]:
    """Return the maps of a document that came from elsewhere."""
    root = doc.get("root", type=load("pycrdt").Map)
    return _made(shape, root, lambda level, key: level[key])


def pycrdt_fill(maps: Sequence[Any], writes: Writes) -> None:
    """Set all keys, one call each; each makes a transaction of its own."""
    for level, key, value in zip(writes.each(maps), writes.keys, writes.values, strict=True):
        level[key] = value


# --- automerge --------------------------------------------------------------------------


def automerge_document(shape: int) -> tuple[Any, list[bytes]]:
    """Return a document and the ids of the maps of the shape."""
    core = load("automerge.core")

    doc = core.Document()
    with doc.transaction() as change:

        def make(level: bytes, key: str) -> Any:
            return change.put_object(level, key, core.ObjType.Map)

        maps = _made(shape, make(core.ROOT, "root"), make)
    return doc, maps


def automerge_maps(doc: Any, shape: int) -> list[bytes] | None:
    """Return the ids of the maps of a document that came from elsewhere; None while they lack."""
    core = load("automerge.core")

    found = []
    for nest in nests_of(shape):
        level: Any = core.ROOT
        for key in nest:
            below = doc.get(level, key)
            if below is None:
                return None
            level = below[1]
        found.append(level)
    return found


def automerge_kinds(values: Sequence[Any]) -> list[Any]:
    """Return what automerge wants to be told about each value."""
    kind = load("automerge.core").ScalarType
    kinds = {int: kind.Int, float: kind.F64, bool: kind.Boolean, str: kind.Str}
    return [kinds[type(value)] for value in values]


def automerge_set(doc: Any, target: bytes, key: str, value: Any) -> None:
    """Set one key in a transaction of its own."""
    (kind,) = automerge_kinds([value])
    with doc.transaction() as change:
        change.put(target, key, kind, value)


def automerge_fill(doc: Any, maps: Sequence[bytes], writes: Writes) -> None:
    """Set all keys, each in a transaction of its own."""
    kinds, targets = automerge_kinds(writes.values), writes.each(maps)
    for target, key, kind, value in zip(targets, writes.keys, kinds, writes.values, strict=True):
        with doc.transaction() as change:
            change.put(target, key, kind, value)


def automerge_put_all(
    doc: Any, maps: Sequence[bytes], writes: Writes, together: int | None = None
) -> None:
    """Set all keys in one transaction, or so many in each."""
    kinds, targets = automerge_kinds(writes.values), writes.each(maps)
    for start in range(0, len(writes), together or len(writes)):
        part = slice(start, start + (together or len(writes)))
        with doc.transaction() as change:
            put = change.put
            for target, key, kind, value in zip(
                targets[part], writes.keys[part], kinds[part], writes.values[part], strict=True
            ):
                put(target, key, kind, value)


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
