"""W5 and W6: taking over another replica's ops, in one go and after a time apart. CPU time.

Both replicas live in one process; bytes are handed over, nothing is sent. Every side is checked
afterwards: both replicas hold the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, cpu_s, load, observed, workload
from benchmarks.shapes import Writes

MERGED = 100_000
CONCURRENT = 10_000


def packed_size(parts: Sequence[bytes]) -> int:
    """Return how many bytes the parts take packed with zstd, as our connections would."""
    from cytosol.wire.compression import Compressor

    compressor = Compressor()
    return sum(min(len(part), len(compressor.compress(part))) for part in parts)


def merge_figures(
    count: int, export: Callable[[], list[bytes]], merge: Callable[[list[bytes]], object]
) -> Measured:
    """Return the rows of W5."""
    start = cpu_s()
    parts = export()
    exported = cpu_s()
    merge(parts)
    merged = cpu_s()
    return {
        "W5": (merged - exported) / count * 1e6,
        "W5.export": (exported - start) / count * 1e6,
        "W5.bytes": sum(map(len, parts)) / count,
        "W5.zstd": packed_size(parts) / count,
    }


# --- W5: 100k ops from a peer -----------------------------------------------------------


@workload("W5", "cytosol")
def _cytosol_merge(run: Circumstances) -> Measured:
    writes = run.writes(MERGED)
    source, target = ours.open_memory(run.shape), ours.open_empty()
    for needed in ("export_missing", "import_batch", "latest", "summary"):
        ours.sync_piece(target, needed)
    ours.fill(source, writes, run.shape)
    sender = ours.author_of(source)

    def export() -> list[bytes]:
        with observed("W5, writing for the peer"):
            return ours.export_all(source, {})

    def merge(parts: list[bytes]) -> None:
        with observed("W5"):
            ours.import_all(target, parts, sender)

    measured = merge_figures(len(writes), export, merge)
    start = cpu_s()
    with observed("W5, the hash"):
        folded = ours.fold_hash(target)
    measured["W5.hash"] = measured["W5"] + (cpu_s() - start) / len(writes) * 1e6
    assert folded == ours.fold_hash(source)
    assert target.get() == source.get()
    return measured


@workload("W5", "loro")
def _loro_merge(run: Circumstances) -> Measured:
    loro = load("loro")

    writes = run.writes(MERGED)
    source, maps = peers.loro_document(run.shape)
    peers.loro_fill(maps, writes)
    source.commit()
    target = loro.LoroDoc()
    measured = merge_figures(
        len(writes),
        lambda: [source.export(loro.ExportMode.Updates(loro.VersionVector()))],
        lambda parts: target.import_(parts[0]),
    )
    assert target.get_deep_value() == source.get_deep_value()
    return measured


@workload("W5", "pycrdt")
def _pycrdt_merge(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    writes = run.writes(MERGED)
    source, maps = peers.pycrdt_document(run.shape)
    peers.pycrdt_fill(maps, writes)
    target: Any = pycrdt.Doc()
    measured = merge_figures(
        len(writes),
        lambda: [source.get_update()],
        lambda parts: target.apply_update(parts[0]),
    )
    assert peers.pycrdt_maps(target, run.shape)[0].to_py() == maps[0].to_py()
    return measured


@workload("W5", "automerge")
def _automerge_merge(run: Circumstances) -> Measured:
    core = load("automerge.core")

    writes = run.writes(MERGED)
    source, maps = peers.automerge_document(run.shape)
    peers.automerge_fill(source, maps, writes)
    loaded: list[Any] = []
    measured = merge_figures(
        len(writes),
        lambda: [source.save()],
        lambda parts: loaded.append(core.Document.load(parts[0])),
    )
    assert loaded[0].get_heads() == source.get_heads()
    return measured


# --- W6: two replicas apart -------------------------------------------------------------


def two_sides(run: Circumstances) -> tuple[Writes, Writes]:
    """Return what both sides write: other keys, in shape 2 partly the same ones."""
    if run.shape == 1:
        return run.writes(CONCURRENT, prefix="a_"), run.writes(CONCURRENT, prefix="b_")
    return run.writes(CONCURRENT), run.writes(CONCURRENT, first=run.count(CONCURRENT))


@workload("W6", "cytosol")
def _cytosol_concurrent(run: Circumstances) -> Measured:
    left_writes, right_writes = two_sides(run)
    left, right = ours.open_memory(run.shape), ours.open_empty()
    for needed in ("export_missing", "import_batch", "latest", "summary"):
        ours.sync_piece(left, needed)
    ids = ours.author_of(left), ours.author_of(right)
    ours.import_all(right, ours.export_all(left, {}), ids[0])
    ours.fill(left, left_writes, run.shape)
    ours.fill(right, right_writes, run.shape)
    ours.fold_hash(left), ours.fold_hash(right)
    start = cpu_s()
    with observed("W6"):
        there = ours.export_all(left, ours.sync_piece(right, "latest")())
        back = ours.export_all(right, ours.sync_piece(left, "latest")())
        ours.import_all(right, there, ids[0])
        ours.import_all(left, back, ids[1])
    merged = cpu_s()
    with observed("W6, the hashes"):
        hashes = ours.fold_hash(left), ours.fold_hash(right)
    folded = cpu_s()
    assert hashes[0] == hashes[1]
    assert left.get() == right.get()
    return {
        "W6": (merged - start) * 1e3,
        "W6.hash": (folded - start) * 1e3,
        "W6.bytes": sum(map(len, there + back)) / 1e3,
    }


@workload("W6", "loro")
def _loro_concurrent(run: Circumstances) -> Measured:
    loro = load("loro")

    left_writes, right_writes = two_sides(run)
    left, left_maps = peers.loro_document(run.shape)
    right = loro.LoroDoc()
    right.import_(left.export(loro.ExportMode.Snapshot()))
    peers.loro_fill(left_maps, left_writes)
    peers.loro_fill(peers.loro_maps(right, run.shape), right_writes)
    left.commit()
    right.commit()
    start = cpu_s()
    there = left.export(loro.ExportMode.Updates(right.oplog_vv))
    back = right.export(loro.ExportMode.Updates(left.oplog_vv))
    right.import_(there)
    left.import_(back)
    took = cpu_s() - start
    assert left.get_deep_value() == right.get_deep_value()
    return {"W6": took * 1e3, "W6.bytes": (len(there) + len(back)) / 1e3}


@workload("W6", "pycrdt")
def _pycrdt_concurrent(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    left_writes, right_writes = two_sides(run)
    left, left_maps = peers.pycrdt_document(run.shape)
    right: Any = pycrdt.Doc()
    right.apply_update(left.get_update())
    right_maps = peers.pycrdt_maps(right, run.shape)
    peers.pycrdt_fill(left_maps, left_writes)
    peers.pycrdt_fill(right_maps, right_writes)
    start = cpu_s()
    there = left.get_update(right.get_state())
    back = right.get_update(left.get_state())
    right.apply_update(there)
    left.apply_update(back)
    took = cpu_s() - start
    assert left_maps[0].to_py() == right_maps[0].to_py()
    return {"W6": took * 1e3, "W6.bytes": (len(there) + len(back)) / 1e3}


@workload("W6", "automerge")
def _automerge_concurrent(run: Circumstances) -> Measured:
    core = load("automerge.core")

    left_writes, right_writes = two_sides(run)
    left, maps = peers.automerge_document(run.shape)
    right = core.Document.load(left.save())
    peers.automerge_fill(left, maps, left_writes)
    peers.automerge_fill(right, maps, right_writes)
    start = cpu_s()
    sent = peers.automerge_exchange(left, right, core.SyncState(), core.SyncState())
    took = cpu_s() - start
    assert set(left.get_heads()) == set(right.get_heads())
    return {"W6": took * 1e3, "W6.bytes": sent / 1e3}
