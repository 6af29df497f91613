"""What one op costs after 1k, 10k, 100k and 1 million others; nothing may grow with them.

Ours only. Each figure is the time of the same few thousand ops, done when that much is there.
CPU time, in microseconds per op. A line stops early, and says so by a missing figure, if getting
to the next size would take longer than a benchmark may.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.measure import Circumstances, Measured, cpu_s, workload

__all__ = ["LINES", "SIZES"]

SIZES = (1_000, 10_000, 100_000, 1_000_000)
DEVICES_MAX = 10_000  # there are 65,535 at most
PROBE = 1_000
REPEATS = 3
PATIENCE_S = 25.0
"""How long getting to the next size may take, as far as the one before foretells it."""

LINES = {
    "history": "set of a known key, by ops in history",
    "hash": "set and state hash, by ops in history",
    "export": "export of one op, by ops in history",
    "merge": "merge of one op, by ops in history",
    "saved": "set in a file, by ops in history",
    "keys": "set of a new key, by keys in its object",
    "delete": "delete of a key, by keys in its object",
    "hash_keys": "set and state hash, by keys in its object",
    "read": "get of one key, by keys in its object",
    "query": "query of one key, by keys in its object",
    "append": "append, by length of the list",
    "list": "insert in the middle, by length of the list",
    "list_get": "insert in the middle and get of it, by length of the list",
    "list_query": "insert in the middle and query of it, by length of the list",
    "list_delete": "delete in the middle, by length of the list",
    "transaction": "set in a transaction, by its size",
    "subscriptions": "set, by subscriptions elsewhere",
    "devices": "set, by devices that ever wrote",
    "devices_merge": "merge of one op, by devices that ever wrote",
    "graph": "write of a field, by nodes in the graph",
    "graph_read": "read of a node, by nodes in the graph",
}
"""Key of a line -> what it says; a value of the workload is called `LINE.SIZE`."""


def probe_us(once: Callable[[int], object], first: int = 0, part: int = 1) -> float:
    """Return the microseconds of one call: the best of a few runs, so that noise is left out.

    What takes long is called only a part of the times.
    """
    best = float("inf")
    number = first
    times = max(1, PROBE // part)
    for _ in range(REPEATS):
        start = cpu_s()
        for _ in range(times):
            once(number)
            number += 1
        best = min(best, (cpu_s() - start) / times * 1e6)
    return best


def within_patience(sizes: list[int]) -> Iterator[int]:
    """Yield sizes as long as what lies between two of them does not take too long."""
    start = time.monotonic()
    for size in sizes:
        yield size
        took, start = time.monotonic() - start, time.monotonic()
        if took * 10 > PATIENCE_S * 2:
            return


def growing(sizes: list[int], write: Callable[[int], object]) -> Iterator[int]:
    """Yield sizes within patience, each when `write` was called for all numbers below it."""
    done = 0
    for size in within_patience(sizes):
        for i in range(done, size):
            write(i)
        done = size
        yield size


def setter(database: Any, prefix: str, keys: int) -> Callable[[int], object]:
    """Return a function that sets key `i`, of so many, below `prefix`."""
    dispatch = database.dispatch
    return lambda i: dispatch({"action": "Set", "path": f"{prefix}{i % keys}", "payload": i})


@workload("growth", "cytosol")
def _cytosol_growth(run: Circumstances) -> Measured:
    sizes = [size for size in SIZES if size <= run.count(SIZES[-1])] or [run.count(SIZES[-1])]
    measured: Measured = {}
    for line in (_history, _keys, _list, _transaction, _subscriptions, _devices, _graph):
        measured |= line(sizes)
    return measured | _saved(sizes, run.directory)


def _history(sizes: list[int]) -> Measured:
    """Grow history by sets of 100 keys; merge one op at a time into another replica of it."""
    measured = {}
    database, other = ours.open_memory(), ours.open_empty()
    author = ours.author_of(database)
    set_known = setter(database, f"{ours.PREFIX}.k_", 100)
    export = ours.sync_piece(database, "export_missing")
    merge = ours.sync_piece(other, "import_batch")
    latest = ours.sync_piece(other, "latest")
    for size in growing(sizes, set_known):
        measured[f"history.{size}"] = probe_us(set_known)
        ours.fold_hash(database)
        measured[f"hash.{size}"] = probe_us(_and_hash(database, set_known))
        ours.import_all(other, ours.export_all(database, latest()), author)
        held = dict(latest())
        batches = []
        start = cpu_s()
        for i in range(PROBE * REPEATS):
            set_known(i)
            data, held = export(held, ours.BATCH_BYTES)
            batches.append(data)
        both = (cpu_s() - start) / (PROBE * REPEATS) * 1e6
        measured[f"export.{size}"] = max(0.0, both - measured[f"history.{size}"])
        measured[f"merge.{size}"] = probe_us(_merger(merge, batches, author))
    return measured


def _and_hash(database: Any, write: Callable[[int], object]) -> Callable[[int], object]:
    def once(i: int) -> None:
        write(i)
        ours.fold_hash(database)

    return once


def _merger(merge: Any, batches: list[bytes], author: bytes) -> Callable[[int], object]:
    return lambda i: merge(batches[i], author)


def _saved(sizes: list[int], directory: Path) -> Measured:
    """Grow the history of a file; a write returns before it is on the disk."""
    measured = {}
    database = ours.open_empty(directory / "growing.cytosol", durability="relaxed")
    ours.prepare(database)
    set_known = setter(database, f"{ours.PREFIX}.k_", 100)
    for size in growing(sizes, set_known):
        measured[f"saved.{size}"] = probe_us(set_known)
    database.close()
    return measured


def _keys(sizes: list[int]) -> Measured:
    """Grow one object; write new keys into it, read and delete."""
    measured = {}
    database = ours.open_memory()
    set_new = setter(database, f"{ours.PREFIX}.k_", 1 << 60)
    get, query_once, dispatch = database.get, database.query_once, database.dispatch

    def delete(i: int) -> object:
        return dispatch({"action": "Delete", "path": f"{ours.PREFIX}.k_{i}"})

    for size in growing(sizes, set_new):
        measured[f"keys.{size}"] = probe_us(set_new, size)
        measured[f"delete.{size}"] = probe_us(delete, size)
        ours.fold_hash(database)
        measured[f"hash_keys.{size}"] = probe_us(_and_hash(database, set_new))
        measured[f"read.{size}"] = probe_us(lambda i: get("root", "l1", "l2", f"k_{i % 1000}"))
        measured[f"query.{size}"] = probe_us(lambda i: query_once(f"{ours.PREFIX}.k_{i % 1000}"))
    return measured


def _list(sizes: list[int]) -> Measured:
    """Make a list of each size, append to it, insert in its middle, look there, and delete."""
    measured = {}
    for size in within_patience(sizes):
        database = ours.open_memory()
        dispatch = database.dispatch
        path = f"{ours.PREFIX}.list"
        dispatch({"action": "Set", "path": path, "payload": [0] * size})

        def append(i: int, dispatch: Any = dispatch, path: str = path) -> None:
            dispatch({"action": "Set", "path": f"{path}[{i}]", "payload": 0})

        measured[f"append.{size}"] = probe_us(append, size)
        element = f"{path}[{size // 2}]"
        insert = partial(dispatch, {"action": "InsertBefore", "path": element, "payload": 0})
        delete = partial(dispatch, {"action": "Delete", "path": element})
        get = partial(database.get, "root", "l1", "l2", "list", size // 2)
        query = partial(database.query_once, element)
        measured[f"list.{size}"] = probe_us(lambda _, do=insert: do())
        measured[f"list_get.{size}"] = probe_us(_one_and_other(insert, get))
        measured[f"list_query.{size}"] = probe_us(_one_and_other(insert, query), part=10)
        measured[f"list_delete.{size}"] = probe_us(lambda _, do=delete: do(), part=10)
        database.close()
    return measured


def _one_and_other(one: Callable[[], object], other: Callable[[], object]) -> Callable[[int], Any]:
    return lambda _: (one(), other())


def _transaction(sizes: list[int]) -> Measured:
    """Write as many ops in one transaction."""
    measured = {}
    for size in within_patience(sizes):
        database = ours.open_memory()
        inner = [
            {"action": "Set", "path": f"{ours.PREFIX}.k_{i % 100}", "payload": i}
            for i in range(size)
        ]
        start = cpu_s()
        database.dispatch({"action": "Transaction", "payload": inner})
        measured[f"transaction.{size}"] = (cpu_s() - start) / size * 1e6
        database.close()
    return measured


def _subscriptions(sizes: list[int]) -> Measured:
    """Subscribe to more and more other places."""
    measured = {}
    database = ours.open_memory()
    database.dispatch({"action": "InitObject", "path": "$.other"})
    set_known = setter(database, f"{ours.PREFIX}.k_", 100)
    subscribed = 0

    def ignore(_: Any) -> None:
        """Take the first list; there is no second."""

    for size in within_patience(sizes):
        while subscribed < size:
            database.subscribe(f"$.other.k_{subscribed}", ignore)
            subscribed += 1
        measured[f"subscriptions.{size}"] = probe_us(set_known)
    return measured


def _devices(sizes: list[int]) -> Measured:
    """Take over an op of each of so many devices; then write, and merge what one of them wrote."""
    from cytosol.crdt.compile import Compiler
    from cytosol.crdt.replica import Replica

    measured = {}
    database, source = ours.open_memory(), ours.open_empty()
    set_known = setter(database, f"{ours.PREFIX}.k_", 100)
    authors = random.Random(3)
    done = 0
    for size in within_patience([size for size in sizes if size <= DEVICES_MAX]):
        replica = ours.piece(ours.document_of(database), "replica")
        for i in range(done, size):
            writer = Replica(authors.randbytes(16))
            writer.clock = replica.clock  # the newest of all, so that nothing is taken back
            action = ours.typed_set(f"$.device_{i}", i)
            Compiler(writer).dispatch(action, 0)
            replica.merge([writer.log.op(0)])
        done = size
        measured[f"devices.{size}"] = probe_us(set_known)
        sender = ours.author_of(source)
        known = ours.sync_piece(source, "latest")()  # what comes now is to be the newest
        ours.import_all(source, ours.export_all(database, known), ours.author_of(database))
        batches = []
        held = dict(ours.sync_piece(source, "latest")())
        export = ours.sync_piece(source, "export_missing")  # of one connection, as in live sync
        for i in range(PROBE * REPEATS):
            source.dispatch({"action": "Set", "path": "$.source", "payload": i})
            data, held = export(held, ours.BATCH_BYTES)
            batches.append(data)
        merge = ours.sync_piece(database, "import_batch")
        measured[f"devices_merge.{size}"] = probe_us(_merger(merge, batches, sender))
    return measured


def _graph(sizes: list[int]) -> Measured:
    """Grow a graph in memory by nodes of one field."""
    return asyncio.run(_graph_grows(sizes))


async def _graph_grows(sizes: list[int]) -> Measured:
    import cytosol

    measured = {}
    graph = cytosol.Graph()
    done = 0
    for size in within_patience(sizes):
        for i in range(done, size):
            await graph.write(f"node{i}", {"field": i})
        done = size
        for line in ("graph", "graph_read"):
            best = float("inf")
            for _ in range(REPEATS):
                start = cpu_s()
                for i in range(PROBE):
                    if line == "graph":
                        await graph.write(f"node{i}", {"field": -i})
                    else:
                        await graph.read(f"node{i}")
                best = min(best, (cpu_s() - start) / PROBE * 1e6)
            measured[f"{line}.{size}"] = best
    return measured
