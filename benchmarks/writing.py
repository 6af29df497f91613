"""W1 to W4: setting keys, one by one and in a transaction, lists, counters. CPU time.

Keys, paths and values are made before the clock starts; what a caller writes in the loop, such
as the dict of an action, is made inside it.
"""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, Unable, cpu_s, load, observed, workload
from benchmarks.shapes import nests_of

SINGLE = 100_000
BATCH = 10_000


def per_op_us(work: Callable[[], object], count: int) -> float:
    """Return the microseconds of CPU that each of `count` ops took."""
    start = cpu_s()
    work()
    return (cpu_s() - start) / count * 1e6


# --- W1: single sets --------------------------------------------------------------------


@workload("W1", "cytosol")
def _cytosol_singles(run: Circumstances) -> Measured:
    import cytosol

    writes = run.writes(SINGLE)
    paths, values = ours.paths_of(writes, run.shape), writes.values

    def as_messages() -> None:
        for path, value in zip(paths, values, strict=True):
            dispatch({"action": "Set", "path": path, "payload": value})

    def as_typed_calls() -> None:
        for path, value in zip(paths, values, strict=True):
            dispatch(set_(path, value))

    measured = {}
    set_ = ours.piece(cytosol, "Set")
    for key, loop in (("W1", as_messages), ("W1.typed", as_typed_calls)):
        database = ours.open_memory(run.shape)
        dispatch = database.dispatch
        with observed(key):
            measured[key] = per_op_us(loop, len(writes))
        assert ours.last_is_there(database, writes, run.shape)
        with observed(f"{key}, the hash"):
            folding = per_op_us(lambda: ours.fold_hash(database), len(writes))  # noqa: B023  # called at once
        measured[f"{key}_hash" if "." in key else f"{key}.hash"] = measured[key] + folding
        database.close()
    return measured


@workload("W1", "loro")
def _loro_singles(run: Circumstances) -> Measured:
    writes = run.writes(SINGLE)
    doc, maps = peers.loro_document(run.shape)

    def work() -> None:
        peers.loro_fill(maps, writes)
        doc.commit()

    def each() -> None:
        commit = other.commit
        for insert, key, value in zip(inserts, writes.keys, writes.values, strict=True):
            insert(key, value)
            commit()

    measured = {"W1": per_op_us(work, len(writes))}
    other, other_maps = peers.loro_document(run.shape)
    inserts = writes.each([level.insert for level in other_maps])
    measured["W1.each"] = per_op_us(each, len(writes))
    return measured


@workload("W1", "pycrdt")
def _pycrdt_singles(run: Circumstances) -> Measured:
    writes = run.writes(SINGLE)
    _doc, maps = peers.pycrdt_document(run.shape)
    return {"W1": per_op_us(lambda: peers.pycrdt_fill(maps, writes), len(writes))}


@workload("W1", "automerge")
def _automerge_singles(run: Circumstances) -> Measured:
    writes = run.writes(SINGLE)
    doc, maps = peers.automerge_document(run.shape)
    return {"W1": per_op_us(lambda: peers.automerge_fill(doc, maps, writes), len(writes))}


# --- W2: one transaction ----------------------------------------------------------------


@workload("W2", "cytosol")
def _cytosol_transaction(run: Circumstances) -> Measured:
    writes = run.writes(BATCH)
    paths = ours.paths_of(writes, run.shape)
    database = ours.open_memory(run.shape)

    def work() -> None:
        inner = [
            {"action": "Set", "path": path, "payload": value}
            for path, value in zip(paths, writes.values, strict=True)
        ]
        database.dispatch({"action": "Transaction", "payload": inner})

    took = per_op_us(work, len(writes))
    assert ours.last_is_there(database, writes, run.shape)
    return {"W2": took}


@workload("W2", "loro")
def _loro_transaction(run: Circumstances) -> Measured:
    writes = run.writes(BATCH)
    doc, maps = peers.loro_document(run.shape)

    def work() -> None:
        peers.loro_fill(maps, writes)
        doc.commit()

    return {"W2": per_op_us(work, len(writes))}


@workload("W2", "pycrdt")
def _pycrdt_transaction(run: Circumstances) -> Measured:
    writes = run.writes(BATCH)
    doc, maps = peers.pycrdt_document(run.shape)

    def work() -> None:
        with doc.transaction():
            peers.pycrdt_fill(maps, writes)

    return {"W2": per_op_us(work, len(writes))}


@workload("W2", "automerge")
def _automerge_transaction(run: Circumstances) -> Measured:
    writes = run.writes(BATCH)
    doc, maps = peers.automerge_document(run.shape)
    work = functools.partial(peers.automerge_put_all, doc, maps, writes)
    return {"W2": per_op_us(work, len(writes))}


# --- W3: lists --------------------------------------------------------------------------


def random_places(count: int) -> list[int]:
    """Return where to insert, the same places for everyone."""
    chooser = random.Random(3)
    return [chooser.randint(0, length) for length in range(count)]


@workload("W3", "cytosol")
def _cytosol_lists(run: Circumstances) -> Measured:
    values = run.values(BATCH)
    count = len(values)
    measured = {}
    parent = nests_of(run.shape)[0]
    path = ours.path_of((*parent, "list"))
    for key, places, action in (
        ("W3", range(count), "Set"),
        ("W3.random", random_places(count), "InsertBefore"),
    ):
        database = ours.open_memory(run.shape)
        database.dispatch({"action": "InitArray", "path": path})
        dispatch = database.dispatch
        paths = [f"{path}[{place}]" for place in places]

        def work(
            dispatch: Callable[[Any], object] = dispatch,
            paths: list[str] = paths,
            action: str = action,
        ) -> None:
            for path, value in zip(paths, values, strict=True):
                dispatch({"action": action, "path": path, "payload": value})

        measured[key] = per_op_us(work, count)
        assert len(database.get(*parent, "list")) == count
    return measured


@workload("W3", "loro")
def _loro_lists(run: Circumstances) -> Measured:
    loro = load("loro")

    values = run.values(BATCH)
    doc, (target, *_) = peers.loro_document(run.shape)
    appended = target.insert_container("appended", loro.LoroList())
    random_list = target.insert_container("random", loro.LoroList())
    places = random_places(len(values))

    def append() -> None:
        push = appended.push
        for value in values:
            push(value)
        doc.commit()

    def insert_anywhere() -> None:
        insert = random_list.insert
        for place, value in zip(places, values, strict=True):
            insert(place, value)
        doc.commit()

    return {
        "W3": per_op_us(append, len(values)),
        "W3.random": per_op_us(insert_anywhere, len(values)),
    }


@workload("W3", "pycrdt")
def _pycrdt_lists(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    values = run.values(BATCH)
    _doc, (target, *_) = peers.pycrdt_document(run.shape)
    target["appended"] = pycrdt.Array()
    target["random"] = pycrdt.Array()
    places = random_places(len(values))

    def append() -> None:
        add = target["appended"].append
        for value in values:
            add(value)

    def insert_anywhere() -> None:
        insert = target["random"].insert
        for place, value in zip(places, values, strict=True):
            insert(place, value)

    return {
        "W3": per_op_us(append, len(values)),
        "W3.random": per_op_us(insert_anywhere, len(values)),
    }


@workload("W3", "automerge")
def _automerge_lists(run: Circumstances) -> Measured:
    core = load("automerge.core")

    values = run.values(BATCH)
    kinds = peers.automerge_kinds(values)
    measured = {}
    for key, places in (("W3", range(len(values))), ("W3.random", random_places(len(values)))):
        doc, (target, *_) = peers.automerge_document(run.shape)
        with doc.transaction() as change:
            array = change.put_object(target, "list", core.ObjType.List)

        def work(doc: Any = doc, array: bytes = array, places: Any = places) -> None:
            for place, kind, value in zip(places, kinds, values, strict=True):
                with doc.transaction() as change:
                    change.insert(array, place, kind, value)

        measured[key] = per_op_us(work, len(values))
    return measured


# --- W4: counters -----------------------------------------------------------------------


@workload("W4", "cytosol")
def _cytosol_counters(run: Circumstances) -> Measured:
    count = run.count(BATCH)
    database = ours.open_memory(run.shape)
    counters = 1 if run.shape == 1 else 100
    parent = nests_of(run.shape)[0]
    paths = [ours.path_of((*parent, f"counter{i}")) for i in range(counters)]
    for path in paths:
        database.dispatch({"action": "Set", "path": path, "payload": 0})
    turns = [paths[i % counters] for i in range(count)]
    dispatch = database.dispatch

    def work() -> None:
        for path in turns:
            dispatch({"action": "Add", "path": path, "payload": 1})

    took = per_op_us(work, count)
    total = sum(database.get(*parent, f"counter{i}") for i in range(counters))
    assert total == count
    return {"W4": took}


@workload("W4", "loro")
def _loro_counters(run: Circumstances) -> Measured:
    loro = load("loro")

    count = run.count(BATCH)
    doc, (target, *_) = peers.loro_document(run.shape)
    counters = [
        target.insert_container(f"counter{i}", loro.LoroCounter())
        for i in range(1 if run.shape == 1 else 100)
    ]
    turns = [counters[i % len(counters)] for i in range(count)]

    def work() -> None:
        for counter in turns:
            counter.increment(1)
        doc.commit()

    return {"W4": per_op_us(work, count)}


@workload("W4", "pycrdt")
def _pycrdt_counters(_run: Circumstances) -> Measured:
    raise Unable("has no counter")


@workload("W4", "automerge")
def _automerge_counters(_run: Circumstances) -> Measured:
    # In a process of its own: the binding panics, and the next call often ends the interpreter.
    program = (
        "from benchmarks import peers; from automerge import core; "
        "doc, (target,) = peers.automerge_document(1); change = doc.transaction().__enter__(); "
        "change.put(target, 'counter', core.ScalarType.Counter, 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if ended.returncode == 0:
        raise AssertionError("automerge learned counters: write its side of W4")
    if "not yet implemented" not in ended.stderr:
        raise AssertionError(f"storing a counter fails in another way than it did: {ended.stderr}")
    raise Unable("crashes: storing a counter panics ('not yet implemented')")
