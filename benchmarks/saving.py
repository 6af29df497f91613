"""W8, W15 and W16: saving and loading, one durable write at a time, and a large file.

The peers have no files of their own: where they take part, a file holds the bytes that they
export, which is what their users write to disk. W8 counts CPU time, the others wall time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import (
    Circumstances,
    Measured,
    cpu_s,
    load,
    median_of,
    wall_s,
    workload,
)

OPS = 100_000
MANY_OPS = 1_000_000
ROUNDS = 8
WRITES = 25  # a round
WRITERS = 8
RECORD = bytes(range(100))


def size_of(path: Path) -> int:
    """Return the bytes of a file and of its companions, such as a write-ahead log."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def exported_batches(run: Circumstances, full: int) -> tuple[list[bytes], bytes]:
    """Return single ops as batches, and their author."""
    keys, values = run.keys(full), run.values(full)
    source = ours.open_memory()
    ours.fill(source, keys, values)
    return ours.export_all(source, {}), ours.author_of(source)


# --- W8: save and load ------------------------------------------------------------------


@workload("W8", "cytosol")
def _cytosol_save_and_load(run: Circumstances) -> Measured:
    keys, values = run.keys(OPS), run.values(OPS)
    source = ours.open_memory()
    ours.fill(source, keys, values)
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
    value = loaded.get("root", "l1", "l2", keys[5])
    end = cpu_s()
    assert value is not None
    assert loaded.get() == source.get()
    loaded.close()
    return {
        "W8": (end - start) * 1e3,
        "W8.save": (saved - start) * 1e3,
        "W8.bytes": size_of(path) / len(keys),
    }


def file_figures(
    run: Circumstances, export: Callable[[], bytes], load: Callable[[bytes], object]
) -> Measured:
    """Return the rows of W8 for a peer: bytes to a file, and back to a document that answers."""
    path = run.directory / "saved"
    start = cpu_s()
    path.write_bytes(export())
    saved = cpu_s()
    value = load(path.read_bytes())
    loaded = cpu_s()
    assert value is not None
    return {
        "W8": (loaded - start) * 1e3,
        "W8.save": (saved - start) * 1e3,
        "W8.bytes": path.stat().st_size / run.count(OPS),
    }


def _loro_load(data: bytes, key: str) -> Any:
    loro = load("loro")

    doc = loro.LoroDoc()
    doc.import_(data)
    found: Any = doc.get_by_str_path(f"root/l1/l2/{key}")
    return found.value


def _pycrdt_load(data: bytes, key: str) -> Any:
    pycrdt = load("pycrdt")

    doc: Any = pycrdt.Doc()
    doc.apply_update(data)
    return peers.pycrdt_map(doc)[key]


def _automerge_load(data: bytes, key: str) -> Any:
    core = load("automerge.core")

    doc = core.Document.load(data)
    level: Any = core.ROOT
    for step in ("root", "l1", "l2"):
        found = doc.get(level, step)
        assert found is not None
        level = found[1]
    return doc.get(level, key)


def _loro_bytes(run: Circumstances, full: int) -> Callable[[], bytes]:
    loro = load("loro")

    doc, target = peers.loro_document()
    peers.loro_fill(target, run.keys(full), run.values(full))
    doc.commit()
    return lambda: doc.export(loro.ExportMode.Updates(loro.VersionVector()))


def _pycrdt_bytes(run: Circumstances, full: int) -> Callable[[], bytes]:
    doc, target = peers.pycrdt_document()
    with doc.transaction():
        peers.pycrdt_fill(target, run.keys(full), run.values(full))
    update: Callable[[], bytes] = doc.get_update
    return update


def _automerge_bytes(run: Circumstances, full: int, together: int) -> Callable[[], bytes]:
    core = load("automerge.core")

    doc, target = peers.automerge_document()
    keys, values = run.keys(full), run.values(full)
    kind = core.ScalarType.Int if run.shape == 1 else core.ScalarType.Str
    for start in range(0, len(keys), together):
        with doc.transaction() as change:
            for key, value in zip(
                keys[start : start + together], values[start : start + together], strict=True
            ):
                change.put(target, key, kind, value)
    save: Callable[[], bytes] = doc.save
    return save


@workload("W8", "loro")
def _loro_save_and_load(run: Circumstances) -> Measured:
    key = run.keys(OPS)[5]
    return file_figures(run, _loro_bytes(run, OPS), lambda data: _loro_load(data, key))


@workload("W8", "pycrdt")
def _pycrdt_save_and_load(run: Circumstances) -> Measured:
    key = run.keys(OPS)[5]
    return file_figures(run, _pycrdt_bytes(run, OPS), lambda data: _pycrdt_load(data, key))


@workload("W8", "automerge")
def _automerge_save_and_load(run: Circumstances) -> Measured:
    key = run.keys(OPS)[5]
    return file_figures(run, _automerge_bytes(run, OPS, 1), lambda data: _automerge_load(data, key))


# --- W15: one durable write -------------------------------------------------------------


class BareFile:
    """A file to append to, with an fsync after each record."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, record: bytes = RECORD) -> None:
        """Append and return when it is on the disk."""
        os.write(self._descriptor, record)
        os.fsync(self._descriptor)


def durable_figures(
    run: Circumstances, write: Callable[[int], object], further: dict[str, Callable[[int], object]]
) -> Measured:
    """Return the rows of W15: writes of every kind in turns, as multiples of the bare ones."""
    bare = BareFile(run.directory / "bare")
    kinds: dict[str, Callable[[int], object]] = {
        "bare": lambda _: bare.append(),
        "W15": write,
        **further,
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


def sqlite_writer(path: Path) -> Callable[[int], object]:
    """Return a writer of one row a transaction, write-ahead log, synchronous=FULL."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE record (number INTEGER PRIMARY KEY, data BLOB)")
    insert = "INSERT INTO record (data) VALUES (?)"
    return lambda _: connection.execute(insert, (RECORD,))


@workload("W15", "cytosol")
def _cytosol_durable(run: Circumstances) -> Measured:
    database = ours.open_empty(run.directory / "durable.cytosol")
    ours.prepare(database)
    dispatch, prefix = database.dispatch, ours.PREFIX

    def write(i: int) -> None:
        dispatch({"action": "Set", "path": f"{prefix}.k_{i}", "payload": i})

    sqlite = sqlite_writer(run.directory / "plain.sqlite")
    measured = durable_figures(run, write, {"W15.sqlite": sqlite})
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


@workload("W15", "loro")
def _loro_durable(run: Circumstances) -> Measured:
    loro = load("loro")

    doc, target = peers.loro_document()
    file = BareFile(run.directory / "loro")

    def write(i: int) -> None:
        before = doc.oplog_vv
        target.insert(f"k_{i}", i)
        doc.commit()
        file.append(doc.export(loro.ExportMode.Updates(before)))

    return durable_figures(run, write, {})


@workload("W15", "pycrdt")
def _pycrdt_durable(run: Circumstances) -> Measured:
    doc, target = peers.pycrdt_document()
    file = BareFile(run.directory / "pycrdt")
    kept = doc.observe(lambda event: file.append(event.update))

    def write(i: int) -> None:
        target[f"k_{i}"] = i

    measured = durable_figures(run, write, {})
    doc.unobserve(kept)
    return measured


@workload("W15", "automerge")
def _automerge_durable(run: Circumstances) -> Measured:
    doc, target = peers.automerge_document()
    file = BareFile(run.directory / "automerge")

    def write(i: int) -> None:
        before = doc.get_heads()
        peers.automerge_set(doc, target, f"k_{i}", i)
        file.append(b"".join(change.raw_bytes for change in doc.get_changes(before)))

    return durable_figures(run, write, {})


# --- W16: a large file ------------------------------------------------------------------


def opening_figures(path: Path, ops: int, load: Callable[[], object]) -> Measured:
    """Return the rows of W16."""
    start = wall_s()
    value = load()
    took = wall_s() - start
    assert value is not None
    return {"W16": took, "W16.bytes": size_of(path) / ops}


@workload("W16", "cytosol")
def _cytosol_open_large(run: Circumstances) -> Measured:
    path = run.shared / f"large-{run.shape}.cytosol"
    key = run.keys(MANY_OPS)[5]
    if not path.exists():
        batches, author = exported_batches(run, MANY_OPS)
        with _unfinished(path) as unfinished:
            database = ours.open_empty(unfinished)
            ours.import_all(database, batches, author)
            database.close()
    opened = []

    def load() -> object:
        opened.append(ours.open_empty(path))
        return opened[0].get("root", "l1", "l2", key)

    measured = opening_figures(path, run.count(MANY_OPS), load)
    opened[0].close()
    return measured


class _unfinished:
    """Build a file under another name, so that what stands under its own is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._other = path.with_name("unfinished-" + path.name)

    def __enter__(self) -> Path:
        return self._other

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for file in self._other.parent.glob(self._other.name + "*"):
                file.rename(file.with_name(file.name.removeprefix("unfinished-")))


def open_peers_file(
    run: Circumstances,
    library: str,
    export: Callable[[], Callable[[], bytes]],
    load: Callable[[bytes, str], object],
) -> Measured:
    """Return the rows of W16 for a peer; its file is made once a run."""
    path = run.shared / f"large-{run.shape}.{library}"
    key = run.keys(MANY_OPS)[5]
    if not path.exists():
        path.write_bytes(export()())
    return opening_figures(path, run.count(MANY_OPS), lambda: load(path.read_bytes(), key))


@workload("W16", "loro")
def _loro_open_large(run: Circumstances) -> Measured:
    return open_peers_file(run, "loro", lambda: _loro_bytes(run, MANY_OPS), _loro_load)


@workload("W16", "pycrdt")
def _pycrdt_open_large(run: Circumstances) -> Measured:
    return open_peers_file(run, "pycrdt", lambda: _pycrdt_bytes(run, MANY_OPS), _pycrdt_load)


@workload("W16", "automerge")
def _automerge_open_large(run: Circumstances) -> Measured:
    # A thousand sets in each transaction, so that building it does not take long.
    return open_peers_file(
        run, "automerge", lambda: _automerge_bytes(run, MANY_OPS, 1000), _automerge_load
    )
