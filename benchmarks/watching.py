"""W10: what a write costs more when 100 subscriptions watch other places. CPU time.

Writes without and with the subscriptions alternate in blocks, on two documents in one process;
the figure is the difference of the medians of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, Unable, cpu_s, load, median_of, workload
from benchmarks.shapes import Writes, writes_of

WRITES = 2_000
BLOCKS = 15
SUBSCRIPTIONS = 100


def difference_us(run: Circumstances, plain: Callable[[int], object], watched: Any) -> Measured:
    """Return how much longer `watched(i)` takes than `plain(i)`."""
    count = run.count(WRITES)
    took: dict[Any, list[float]] = {plain: [], watched: []}
    for block in range(BLOCKS):
        for write in (plain, watched):
            start = cpu_s()
            for i in range(block * count, (block + 1) * count):
                write(i)
            took[write].append((cpu_s() - start) / count * 1e6)
    with_them = median_of(took[watched])
    return {"W10": with_them - median_of(took[plain]), "W10.whole": with_them}


def written(run: Circumstances) -> Writes:
    """Return what is written: one key again and again, in shape 2 many."""
    count = run.count(WRITES) * BLOCKS
    return writes_of(run.shape, count, different=1 if run.shape == 1 else None)


def _unexpected(*_: object) -> bool:
    raise AssertionError("a subscription was called though its place was not written")


@workload("W10", "cytosol")
def _cytosol_watched(run: Circumstances) -> Measured:
    first_calls: list[int] = []
    plain, watched = ours.open_memory(run.shape), ours.open_memory(run.shape)
    writes = written(run)
    paths = ours.paths_of(writes, run.shape)
    for database in (plain, watched):
        for i in range(SUBSCRIPTIONS):
            database.dispatch({"action": "Set", "path": f"$.other{i}", "payload": {"a": i}})
    for i in range(SUBSCRIPTIONS):
        path = f"$.other{i}.a" if run.shape == 1 else f"$.other{i}..a"
        watched.subscribe(path, first_calls.append)

    def writer(database: Any) -> Callable[[int], object]:
        dispatch = database.dispatch
        values = writes.values
        return lambda i: dispatch({"action": "Set", "path": paths[i], "payload": values[i]})

    measured = difference_us(run, writer(plain), writer(watched))
    assert len(first_calls) == SUBSCRIPTIONS, "each was called once, when it subscribed"
    return measured


@workload("W10", "loro")
def _loro_watched(run: Circumstances) -> Measured:
    loro = load("loro")

    kept: list[Any] = []
    writes = written(run)

    def writer(subscriptions: int) -> Callable[[int], object]:
        doc, maps = peers.loro_document(run.shape)
        inserts = writes.each([level.insert for level in maps])
        keys, values = writes.keys, writes.values
        others = [
            doc.get_map(f"other{i}").insert_container("a", loro.LoroMap())
            for i in range(SUBSCRIPTIONS)
        ]
        doc.commit()
        kept.extend(other.subscribe(_unexpected) for other in others[:subscriptions])

        def write(i: int) -> None:
            inserts[i](keys[i], values[i])
            doc.commit()

        return write

    return difference_us(run, writer(0), writer(SUBSCRIPTIONS))


@workload("W10", "pycrdt")
def _pycrdt_watched(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    kept: list[Any] = []
    writes = written(run)

    def writer(subscriptions: int) -> Callable[[int], object]:
        doc, maps = peers.pycrdt_document(run.shape)
        targets, keys, values = writes.each(maps), writes.keys, writes.values
        others = [doc.get(f"other{i}", type=pycrdt.Map) for i in range(SUBSCRIPTIONS)]
        kept.extend(other.observe(_unexpected) for other in others[:subscriptions])

        def write(i: int) -> None:
            targets[i][keys[i]] = values[i]

        return write

    return difference_us(run, writer(0), writer(SUBSCRIPTIONS))


@workload("W10", "automerge")
def _automerge_watched(_run: Circumstances) -> Measured:
    raise Unable("has no subscriptions")
