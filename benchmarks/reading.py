"""W9: reading one nested path from the root, and the whole document. CPU time."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, cpu_s, load, median_of, workload

KEYS = 100_000
READS = 20_000
WHOLE_READS = 3


def read_figures(
    run: Circumstances,
    read_one: Callable[[], object],
    read_whole: Callable[[], object],
    query_one: Callable[[], object] | None = None,
) -> Measured:
    """Return the rows of W9."""
    measured = {"W9": _each_ns(run, read_one)}
    if query_one is not None:
        measured["W9.query"] = _each_ns(run, query_one)
    times = []
    for _ in range(WHOLE_READS):
        start = cpu_s()
        whole = read_whole()
        times.append((cpu_s() - start) * 1e3)
        assert whole
    measured["W9.whole"] = median_of(times)
    return measured


def _each_ns(run: Circumstances, read: Callable[[], object]) -> float:
    count = run.count(READS)
    read()
    start = cpu_s()
    for _ in range(count):
        read()
    return (cpu_s() - start) / count * 1e9


@workload("W9", "cytosol")
def _cytosol_read(run: Circumstances) -> Measured:
    keys, values = run.keys(KEYS), run.values(KEYS)
    database = ours.open_memory()
    ours.fill(database, keys, values)
    key = keys[5]
    get, query_once = database.get, database.query_once
    path = f"{ours.PREFIX}.{key}"
    assert query_once(path) == [get("root", "l1", "l2", key)]
    return read_figures(
        run,
        lambda: get("root", "l1", "l2", key),
        lambda: query_once("$"),
        lambda: query_once(path),
    )


@workload("W9", "loro")
def _loro_read(run: Circumstances) -> Measured:
    keys, values = run.keys(KEYS), run.values(KEYS)
    doc, target = peers.loro_document()
    peers.loro_fill(target, keys, values)
    doc.commit()
    path = f"root/l1/l2/{keys[5]}"
    by_path = doc.get_by_str_path
    return read_figures(
        run,
        lambda: by_path(path).value,
        doc.get_deep_value,
    )


@workload("W9", "pycrdt")
def _pycrdt_read(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    keys, values = run.keys(KEYS), run.values(KEYS)
    doc, target = peers.pycrdt_document()
    with doc.transaction():
        peers.pycrdt_fill(target, keys, values)
    root = doc.get("root", type=pycrdt.Map)
    key = keys[5]
    return read_figures(run, lambda: root["l1"]["l2"][key], root.to_py)


@workload("W9", "automerge")
def _automerge_read(run: Circumstances) -> Measured:
    core = load("automerge.core")

    keys, values = run.keys(KEYS), run.values(KEYS)
    doc, target = peers.automerge_document()
    kind = core.ScalarType.Int if run.shape == 1 else core.ScalarType.Str
    with doc.transaction() as change:
        for key, value in zip(keys, values, strict=True):
            change.put(target, key, kind, value)
    get = doc.get
    wanted = keys[5]

    def read_one() -> object:
        level = get(core.ROOT, "root")[1]
        level = get(level, "l1")[1]
        level = get(level, "l2")[1]
        return get(level, wanted)[0][1]

    return read_figures(run, read_one, lambda: core.extract(doc))
