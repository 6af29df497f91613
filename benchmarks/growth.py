"""What one op costs after 1k, 10k, 100k and 1 million others; nothing may grow with them.

Ours only. Each figure is the time of the same few thousand ops, done when that much is there.
CPU time, in microseconds per op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import ours
from benchmarks.measure import Circumstances, Measured, cpu_s, workload

__all__ = ["LINES", "SIZES"]

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SUBSCRIPTIONS_MAX = 100_000
LIST_MAX = 100_000
MERGE_MAX = 100_000
PROBE = 2_000
REPEATS = 3

LINES = {
    "history": "set of a known key, by the ops in history",
    "keys": "set of a new key, by the keys in its object",
    "list": "insert in the middle, by the length of the list",
    "merge": "an op merged from a peer, by the ops in history",
    "subscriptions": "set, by the subscriptions elsewhere",
    "read": "get of one key, by the keys in its object",
    "query": "query of one key, by the keys in its object",
}
"""Key of a line -> what it says; a value of the workload is called `LINE.SIZE`."""


def probe_us(once: Callable[[int], object]) -> float:
    """Return the microseconds of one call: the best of a few runs, so that noise is left out."""
    best = float("inf")
    number = 0
    for _ in range(REPEATS):
        start = cpu_s()
        for _ in range(PROBE):
            once(number)
            number += 1
        best = min(best, (cpu_s() - start) / PROBE * 1e6)
    return best


def setter(database: Any, prefix: str, keys: int) -> Callable[[int], object]:
    """Return a function that sets key `i`, of so many, below `prefix`."""
    dispatch = database.dispatch
    return lambda i: dispatch({"action": "Set", "path": f"{prefix}{i % keys}", "payload": i})


@workload("growth", "cytosol")
def _cytosol_growth(run: Circumstances) -> Measured:
    sizes = [size for size in SIZES if size <= run.count(SIZES[-1])]
    measured: Measured = {}
    for line in (_history, _keys, _list, _subscriptions):
        measured |= line(sizes)
    return measured


def _history(sizes: list[int]) -> Measured:
    """Grow history by sets of 100 keys; merge one op at a time into another replica of it."""
    measured = {}
    database, other = ours.open_memory(), ours.open_empty()
    author = ours.author_of(database)
    set_known = setter(database, f"{ours.PREFIX}.k_", 100)
    export = ours.sync_piece(database, "export_missing")
    merge = ours.sync_piece(other, "import_batch")
    latest = ours.sync_piece(other, "latest")
    done = 0
    for size in sizes:
        for i in range(done, size):
            set_known(i)
        done = size
        measured[f"history.{size}"] = probe_us(set_known)
        if size > MERGE_MAX:
            continue
        ours.import_all(other, ours.export_all(database, latest()), author)
        held = latest()
        batches = []
        for i in range(PROBE * REPEATS):
            set_known(i)
            data, held = export(held, ours.BATCH_BYTES)
            batches.append(data)
        measured[f"merge.{size}"] = probe_us(
            lambda i, batches=batches: merge(batches[i], author)  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        )
    return measured


def _keys(sizes: list[int]) -> Measured:
    """Grow one object; write new keys into it, read old ones."""
    measured = {}
    database = ours.open_memory()
    set_new = setter(database, f"{ours.PREFIX}.k_", 1 << 60)
    get, query_once = database.get, database.query_once
    done = 0
    for size in sizes:
        for i in range(done, size):
            set_new(i)
        done = size + PROBE * REPEATS
        measured[f"keys.{size}"] = probe_us(lambda i, size=size: set_new(size + i))  # type: ignore[misc]  # as above
        measured[f"read.{size}"] = probe_us(lambda i: get("root", "l1", "l2", f"k_{i % 1000}"))
        measured[f"query.{size}"] = probe_us(lambda i: query_once(f"{ours.PREFIX}.k_{i % 1000}"))
    return measured


def _list(sizes: list[int]) -> Measured:
    """Grow a list at its end, then insert in its middle."""
    measured = {}
    database = ours.open_memory()
    path = f"{ours.PREFIX}.list"
    database.dispatch({"action": "InitArray", "path": path})
    dispatch = database.dispatch
    length = 0
    for size in [size for size in sizes if size <= LIST_MAX]:
        while length < size:
            dispatch({"action": "Set", "path": f"{path}[{length}]", "payload": length})
            length += 1
        middle = {"action": "InsertBefore", "path": f"{path}[{length // 2}]", "payload": 0}
        measured[f"list.{size}"] = probe_us(lambda _, middle=middle: dispatch(middle))  # type: ignore[misc]  # as above
        length += PROBE * REPEATS
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

    for size in [size for size in sizes if size <= SUBSCRIPTIONS_MAX]:
        while subscribed < size:
            database.subscribe(f"$.other.k_{subscribed}", ignore)
            subscribed += 1
        measured[f"subscriptions.{size}"] = probe_us(set_known)
    return measured
