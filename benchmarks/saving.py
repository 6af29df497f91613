"""W8 and W15: saving and loading, and one durable write at a time.

The peers have no files of their own: where they take part, a file holds the bytes that they
export, which is what their users write to disk. W8 counts CPU time, W15 wall time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ours, peers
from benchmarks.files import FILES
from benchmarks.measure import (
    Circumstances,
    Measured,
    cpu_s,
    load,
    median_of,
    wall_s,
    workload,
)
from benchmarks.shapes import key_at, nests_of, value_at

OPS = 100_000
DIFFERENT = 1_000_000_000  # keys that W15 could write to
ROUNDS = 8
WRITES = 25  # a round
WRITERS = 8
RECORD = bytes(range(100))


def size_of(path: Path) -> int:
    """Return the bytes of a file and of its companions, such as a write-ahead log."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


# --- W8: save and load ------------------------------------------------------------------


@workload("W8", "cytosol")
def _cytosol_save_and_load(run: Circumstances) -> Measured:
    writes = run.writes(OPS)
    source = ours.open_memory(run.shape)
    ours.fill(source, writes, run.shape)
    place = (*nests_of(run.shape)[writes.nests[5]], writes.keys[5])
    path = run.directory / "saved.cytosol"
    target = ours.open_empty(path)
    document = ours.document_of(target)
    replica = ours.piece(ours.document_of(source), "replica")
    start = cpu_s()
    ours.piece(document, "use")(replica)
    ours.piece(document, "journal").rewrite(None, replica.log)
    target.close()
    saved = cpu_s()
    loaded = ours.open_empty(path)
    value = loaded.get(*place)
    end = cpu_s()
    assert value is not None
    assert loaded.get() == source.get()
    loaded.close()
    return {
        "W8": (end - start) * 1e3,
        "W8.save": (saved - start) * 1e3,
        "W8.bytes": size_of(path) / len(writes),
    }


def file_figures(
    run: Circumstances, export: Callable[[], bytes], load: Callable[[bytes], tuple[Any, Any]]
) -> Measured:
    """Return the rows of W8 for a peer: bytes to a file, and back to a document that answers."""
    path = run.directory / "saved"
    start = cpu_s()
    path.write_bytes(export())
    saved = cpu_s()
    value = load(path.read_bytes())
    loaded = cpu_s()
    assert value[1] is not None
    return {
        "W8": (loaded - start) * 1e3,
        "W8.save": (saved - start) * 1e3,
        "W8.bytes": path.stat().st_size / run.count(OPS),
    }


@workload("W8", "loro")
def _loro_save_and_load(run: Circumstances) -> Measured:
    file = FILES["loro"](run.shape)
    writes = run.writes(OPS)
    return file_figures(run, file.exporter(writes), lambda data: file.load(data, writes))


@workload("W8", "pycrdt")
def _pycrdt_save_and_load(run: Circumstances) -> Measured:
    file = FILES["pycrdt"](run.shape)
    writes = run.writes(OPS)
    return file_figures(run, file.exporter(writes), lambda data: file.load(data, writes))


@workload("W8", "automerge")
def _automerge_save_and_load(run: Circumstances) -> Measured:
    file = FILES["automerge"](run.shape)
    writes = run.writes(OPS)
    return file_figures(run, file.exporter(writes, 1), lambda data: file.load(data, writes))


# --- W15: one durable write -------------------------------------------------------------


class BareFile:
    """A file to append to, with an fsync after each record."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, record: bytes = RECORD) -> None:
        """Append and return when it is on the disk."""
        os.write(self._descriptor, record)
        os.fsync(self._descriptor)


def durable_figures(run: Circumstances, write: Callable[[int], object]) -> Measured:
    """Return the rows of W15: writes of every kind in turns, as multiples of the bare ones."""
    bare = BareFile(run.directory / "bare")
    kinds: dict[str, Callable[[int], object]] = {
        "bare": lambda _: bare.append(),
        "W15": write,
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    number = 0
    for _ in range(ROUNDS):
        for kind, once in kinds.items():
            once(number)  # the first after a change of files pays for the change
            for _ in range(run.count(WRITES)):
                number += 1
                start = wall_s()
                once(number)
                times[kind].append((wall_s() - start) * 1e6)
    medians = {kind: median_of(taken) for kind, taken in times.items()}
    base = medians.pop("bare")
    measured = {kind: value / base for kind, value in medians.items()}
    return measured | {"W15.us": medians["W15"], "W15.bare": base}


@workload("W15", "cytosol")
def _cytosol_durable(run: Circumstances) -> Measured:
    database = ours.open_empty(run.directory / "durable.cytosol")
    ours.prepare(database, run.shape)
    dispatch = database.dispatch
    prefixes = [ours.path_of(nest) for nest in nests_of(run.shape)]

    def write(i: int) -> None:
        nest, key = key_at(run.shape, i, DIFFERENT)
        path = prefixes[nest] + ours.path_of([key])[1:]
        dispatch({"action": "Set", "path": path, "payload": value_at(run.shape, i)})

    measured = durable_figures(run, write)
    each = shared_write_us(run, write)
    measured["W15.shared"] = each / measured["W15.bare"]
    database.close()
    return measured


def shared_write_us(run: Circumstances, write: Callable[[int], object]) -> float:
    """Return the microseconds per write when several threads write at once."""
    count = run.count(WRITES) * 4
    ready = threading.Barrier(WRITERS + 1)

    def writer(number: int) -> None:
        ready.wait()
        for i in range(count):
            write(1_000_000 * (number + 1) + i)

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = wall_s()
    for thread in threads:
        thread.join()
    return (wall_s() - start) / (count * WRITERS) * 1e6


@workload("W15", "sqlite3")
def _sqlite_durable(run: Circumstances) -> Measured:
    # One row of the same keys and values a transaction: write-ahead log, synchronous=FULL.
    connection = sqlite3.connect(run.directory / "plain.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, value TEXT)")

    def write(i: int) -> None:
        _, key = key_at(run.shape, i, DIFFERENT)
        value = json.dumps(value_at(run.shape, i))
        connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, value))

    measured = durable_figures(run, write)
    connection.close()
    return measured


@workload("W15", "loro")
def _loro_durable(run: Circumstances) -> Measured:
    loro = load("loro")

    doc, maps = peers.loro_document(run.shape)
    file = BareFile(run.directory / "loro")

    def write(i: int) -> None:
        before = doc.oplog_vv
        nest, key = key_at(run.shape, i, DIFFERENT)
        maps[nest].insert(key, value_at(run.shape, i))
        doc.commit()
        file.append(doc.export(loro.ExportMode.Updates(before)))

    return durable_figures(run, write)


@workload("W15", "pycrdt")
def _pycrdt_durable(run: Circumstances) -> Measured:
    doc, maps = peers.pycrdt_document(run.shape)
    file = BareFile(run.directory / "pycrdt")
    kept = doc.observe(lambda event: file.append(event.update))

    def write(i: int) -> None:
        nest, key = key_at(run.shape, i, DIFFERENT)
        maps[nest][key] = value_at(run.shape, i)

    measured = durable_figures(run, write)
    doc.unobserve(kept)
    return measured


@workload("W15", "automerge")
def _automerge_durable(run: Circumstances) -> Measured:
    doc, maps = peers.automerge_document(run.shape)
    file = BareFile(run.directory / "automerge")

    def write(i: int) -> None:
        before = doc.get_heads()
        nest, key = key_at(run.shape, i, DIFFERENT)
        peers.automerge_set(doc, maps[nest], key, value_at(run.shape, i))
        file.append(b"".join(change.raw_bytes for change in doc.get_changes(before)))

    return durable_figures(run, write)
