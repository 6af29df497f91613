"""W7: each op of 10k written at A, exported, and applied at B before the next. CPU time.

The write itself is in the figure for everyone. Both replicas live in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, cpu_s, load, observed, workload
from benchmarks.shapes import Writes

OPS = 10_000


def each_us(
    targets: list[Any], writes: Writes, write_and_apply: Callable[[Any, str, Any], object]
) -> float:
    """Return the microseconds of CPU per op; `targets` has a handle for each write."""
    start = cpu_s()
    for target, key, value in zip(targets, writes.keys, writes.values, strict=True):
        write_and_apply(target, key, value)
    return (cpu_s() - start) / len(writes) * 1e6


@workload("W7", "cytosol")
def _cytosol_live(run: Circumstances) -> Measured:
    measured = {}
    writes = run.writes(OPS)
    paths = ours.paths_of(writes, run.shape)
    for row, pack in (("W7", None), ("W7.encrypted", connection_of())):
        source, target = ours.open_memory(run.shape), ours.open_empty()
        export = ours.sync_piece(source, "export_missing")
        merge = ours.sync_piece(target, "import_batch")
        sender = ours.author_of(source)
        ours.import_all(target, ours.export_all(source, {}), sender)
        held = dict(ours.sync_piece(target, "latest")())
        dispatch = source.dispatch

        def write_and_apply(
            path: str,
            _key: str,
            value: Any,
            pack: Callable[[bytes], bytes] | None = pack,
            dispatch: Any = dispatch,
            export: Any = export,
            merge: Any = merge,
            sender: Any = sender,
        ) -> None:
            nonlocal held
            dispatch({"action": "Set", "path": path, "payload": value})
            data, held = export(held, ours.BATCH_BYTES)
            merge(data if pack is None else pack(data), sender)

        with observed(row):
            measured[row] = each_us(paths, writes, write_and_apply)
        assert target.get() == source.get()
    return measured


def connection_of() -> Callable[[bytes], bytes]:
    """Return what a batch goes through on its way: message, seal, frame, open, parse."""
    from cytosol.wire.framing import CONNECTION, FrameReader, Opener, Sealer
    from cytosol.wire.jsonrpc import Request, encode_request, parse_message
    from cytosol.wire.sync_messages import LiveUpdateParams

    sealer = Sealer(bytes(range(32)), b"a" * 16, CONNECTION)
    opener = Opener(bytes(range(32)), b"b" * 16, CONNECTION)
    reader = FrameReader(CONNECTION)
    reader.feed(bytes(16))  # the peer id, with which a stream begins
    number = 0

    def send(batch: bytes) -> bytes:
        nonlocal number
        number += 1
        params = LiveUpdateParams(batch=batch).to_json()
        data = sealer.seal(encode_request(number, LiveUpdateParams.METHOD, params))
        (frame,) = reader.feed(data)
        message = parse_message(opener.open(frame))
        assert isinstance(message, Request)
        received = LiveUpdateParams.from_json(message.params).batch
        assert received is not None
        return received

    return send


@workload("W7", "loro")
def _loro_live(run: Circumstances) -> Measured:
    loro = load("loro")

    source, maps = peers.loro_document(run.shape)
    writes = run.writes(OPS)
    target = loro.LoroDoc()
    target.import_(source.export(loro.ExportMode.Snapshot()))

    def write_and_apply(insert: Callable[[str, Any], None], key: str, value: Any) -> None:
        before = source.oplog_vv
        insert(key, value)
        source.commit()
        target.import_(source.export(loro.ExportMode.Updates(before)))

    inserts = writes.each([level.insert for level in maps])
    took = each_us(inserts, writes, write_and_apply)
    assert target.get_deep_value() == source.get_deep_value()
    return {"W7": took}


@workload("W7", "pycrdt")
def _pycrdt_live(run: Circumstances) -> Measured:
    pycrdt = load("pycrdt")

    source, maps = peers.pycrdt_document(run.shape)
    writes = run.writes(OPS)
    target: Any = pycrdt.Doc()
    target.apply_update(source.get_update())
    kept = source.observe(lambda event: target.apply_update(event.update))

    def write(level: Any, key: str, value: Any) -> None:
        level[key] = value

    took = each_us(writes.each(maps), writes, write)
    source.unobserve(kept)
    assert peers.pycrdt_maps(target, run.shape)[0].to_py() == maps[0].to_py()
    return {"W7": took}


@workload("W7", "automerge")
def _automerge_live(run: Circumstances) -> Measured:
    core = load("automerge.core")

    source, maps = peers.automerge_document(run.shape)
    writes = run.writes(OPS)
    target = core.Document()
    states = core.SyncState(), core.SyncState()
    peers.automerge_exchange(source, target, *states)

    def write_and_apply(level: bytes, key: str, value: Any) -> None:
        peers.automerge_set(source, level, key, value)
        peers.automerge_exchange(source, target, *states)

    took = each_us(writes.each(maps), writes, write_and_apply)
    assert target.get_heads() == source.get_heads()
    return {"W7": took}
