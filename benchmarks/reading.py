"""W9: reading one nested path from the root, and the whole document. CPU time."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, cpu_s, load, median_of, workload
from benchmarks.shapes import Writes

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


def place_read(run: Circumstances, writes: Writes) -> tuple[str, ...]:
    """Return the keys to the place that is read: one of the deepest, written early.

    Its keys have to be ones that loro can take as part of a path.
    """
    places = list(writes.places(run.shape))
    deepest = max(map(len, places))
    candidates = places[5:] + places
    return next(place for place in candidates if len(place) == deepest and is_plain(place))


def is_plain(place: tuple[str, ...]) -> bool:
    """Tell whether all keys need no quotes in any library's path."""
    return all(key.isascii() and key.isidentifier() for key in place)


@workload("W9", "cytosol")
def _cytosol_read(run: Circumstances) -> Measured:
    writes = run.writes(KEYS)
    database = ours.open_memory(run.shape)
    ours.fill(database, writes, run.shape)
    place = place_read(run, writes)
    get, query_once = database.get, database.query_once
    path = ours.path_of(place)
    assert query_once(path) == [get(*place)]
    return read_figures(
        run,
        lambda: get(*place),
        lambda: query_once("$"),
        lambda: query_once(path),
    )


@workload("W9", "loro")
def _loro_read(run: Circumstances) -> Measured:
    writes = run.writes(KEYS)
    doc, maps = peers.loro_document(run.shape)
    peers.loro_fill(maps, writes)
    doc.commit()
    path = "/".join(place_read(run, writes))
    by_path = doc.get_by_str_path
    return read_figures(
        run,
        lambda: by_path(path).value,
        doc.get_deep_value,
    )


@workload("W9", "pycrdt")
def _pycrdt_read(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    writes = run.writes(KEYS)
    doc, maps = peers.pycrdt_document(run.shape)
    with doc.transaction():
        peers.pycrdt_fill(maps, writes)
    root = doc.get("root", type=pycrdt.Map)
    _, *keys = place_read(run, writes)

    def read_one() -> object:
        level = root
        for key in keys:
            level = level[key]
        return level

    return read_figures(run, read_one, root.to_py)


@workload("W9", "automerge")
def _automerge_read(run: Circumstances) -> Measured:
    core = load("automerge.core")

    writes = run.writes(KEYS)
    doc, maps = peers.automerge_document(run.shape)
    peers.automerge_put_all(doc, maps, writes)
    get = doc.get
    *parents, wanted = place_read(run, writes)

    def read_one() -> object:
        level = core.ROOT
        for key in parents:
            level = get(level, key)[1]
        return get(level, wanted)[0][1]

    return read_figures(run, read_one, lambda: core.extract(doc))
