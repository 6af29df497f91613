"""Our side of the workloads: databases through the public API, and the few inner pieces.

Everything here goes through `cytosol.open`, except what the public API does not show: batches
of ops and the state hash, which the sync with a peer works with. A piece that is not there yet
raises NotYet, so that its rows say so and the others run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.measure import NotYet
from benchmarks.shapes import Writes, nests_of

__all__ = [
    "APP_ID",
    "BATCH_BYTES",
    "PREFIX",
    "author_of",
    "document_of",
    "export_all",
    "fill",
    "fold_hash",
    "import_all",
    "last_is_there",
    "open_empty",
    "open_memory",
    "path_of",
    "paths_of",
    "piece",
    "prepare",
    "sync_piece",
    "typed_set",
]

APP_ID = "3bd3e2f5-7d6c-4a5e-9d6b-6f1f7d3c1a55"
"""An app of its own, so that no real app on the machine is disturbed."""

PREFIX = "$.root.l1.l2"

BATCH_BYTES = 1 << 20
"""How large a batch may get; about what a connection sends in one message."""


def piece(owner: Any, name: str) -> Any:
    """Return an attribute that may not have been written yet."""
    found = getattr(owner, name, None)
    if found is None:
        label = getattr(owner, "__name__", type(owner).__name__)
        raise NotYet(f"{label} has no {name}")
    return found


def open_empty(save_state: Any = None, **options: Any) -> Any:
    """Open a database that keeps all of its history and has no network; in memory by default."""
    import cytosol

    settings = {"network": False, "min_history": -1, "max_history": -1} | options
    return piece(cytosol, "open")(save_state, app_id=APP_ID, **settings)


def open_memory(shape: int = 1) -> Any:
    """Open a database in memory with the objects of the shape in it."""
    database = open_empty()
    prepare(database, shape)
    return database


def prepare(database: Any, shape: int = 1) -> None:
    """Make the objects that the workloads write to, and those above them."""
    made = set()
    for nest in nests_of(shape):
        for depth in range(1, len(nest) + 1):
            if nest[:depth] not in made:
                made.add(nest[:depth])
                database.dispatch({"action": "InitObject", "path": path_of(nest[:depth])})


def path_of(keys: Iterable[str]) -> str:
    """Return the path of a place as a person would write it: in brackets only where it must be."""
    return "$" + "".join(f".{key}" if key.isidentifier() else f"['{key}']" for key in keys)


def paths_of(writes: Writes, shape: int) -> list[str]:
    """Return the path of each write."""
    prefixes = writes.each([path_of(nest) for nest in nests_of(shape)])
    return [prefix + path_of([key])[1:] for prefix, key in zip(prefixes, writes.keys, strict=True)]


def fill(database: Any, writes: Writes, shape: int) -> None:
    """Set all keys, one dispatch each."""
    dispatch = database.dispatch
    for path, value in zip(paths_of(writes, shape), writes.values, strict=True):
        dispatch({"action": "Set", "path": path, "payload": value})


def last_is_there(database: Any, writes: Writes, shape: int) -> bool:
    """Tell whether the last write can be read."""
    place = (*nests_of(shape)[writes.nests[-1]], writes.keys[-1])
    return bool(database.get(*place) == writes.values[-1])


def typed_set(path: str, value: Any) -> Any:
    """Return a Set as a typed call."""
    import cytosol

    return piece(cytosol, "Set")(path, value)


def document_of(database: Any) -> Any:
    """Return what stands behind a database: replica and journal."""
    return piece(database, "_document")


def sync_piece(database: Any, name: str) -> Any:
    """Return a method of what the sync with a peer sees of a database."""
    return piece(piece(database, "_peer_replica")(bytes(16)), name)


def fold_hash(database: Any) -> bytes:
    """Return the state hash, folded now."""
    summary = sync_piece(database, "summary")()
    result: bytes = piece(summary, "state_hash")
    return result


def export_all(database: Any, latest: Mapping[Any, int]) -> list[bytes]:
    """Return the batches that a peer with `latest` lacks."""
    export = sync_piece(database, "export_missing")
    batches = []
    while (exported := export(latest, BATCH_BYTES)) is not None:
        data, latest = exported
        batches.append(data)
    return batches


def import_all(database: Any, batches: Iterable[bytes], sender: Any) -> None:
    """Merge batches that came from `sender`, in the form that `author_of` returns."""
    merge = sync_piece(database, "import_batch")
    for data in batches:
        merge(data, sender)


def author_of(database: Any) -> bytes:
    """Return the peer id as the 16 bytes that the sync works with."""
    from cytosol.model.ids import parse_id

    return parse_id(database.peer_id)
