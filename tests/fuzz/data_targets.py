"""Batches of ops, histories and save files, of peers and disks: taken, or declared damaged."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cytosol.crdt.bulk import merge_bulk
from cytosol.crdt.replica import Replica
from cytosol.crdt.single import merge_single
from cytosol.crdt.snapshot import export_base, load_base
from cytosol.document.document import Document
from cytosol.errors import ActionError, CytosolError, DatabaseError, RemoteProtocolError
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Name, Op, op_from_json, op_to_json
from cytosol.model.opcodec import (
    decode_columns,
    decode_ops,
    encode_ops,
    unpack_foreign_columns,
)
from cytosol.model.packed import pack, unpack
from cytosol.model.singlecodec import SINGLE, decode_single, op_of
from cytosol.savestates import InMemorySaveState
from cytosol.savestates.jsonlayout import encode_file, encode_value, parse_records
from cytosol.savestates.sqlitelog import count_unreadable, first_pages
from tests.fuzz.mutation import bytes_or_noise, mutate_bytes, mutate_json
from tests.fuzz.target import Target, target

ME, OTHER = b"m" * 16, b"o" * 16
ACTIONS: list[dict[str, Any]] = [
    {"action": "Set", "path": "$.a", "payload": {"x": [1, 2.5, None], "é": "text"}},
    {"action": "InitArray", "path": "$.list"},
    {"action": "InsertAfter", "path": "$.list[0]", "payload": "one"},
    {"action": "InsertBefore", "path": "$.list[0]", "payload": [True]},
    {"action": "Set", "path": "$.list[5]", "payload": 7},
    {"action": "InsertUnique", "path": "$.list", "payload": "one"},
    {"action": "Copy", "path": "$.copy", "payload": "$.a"},
    {"action": "Copy", "path": "$.again", "payload": "$.copy"},
    {"action": "Move", "path": "$.list[1]", "payload": "$.a.x"},
    {"action": "Add", "path": "$.list[6]", "payload": 1},
    {
        "action": "Transaction",
        "payload": [
            {"action": "Set", "path": "$.t", "payload": 1},
            {"action": "Multiply", "path": "$.t", "payload": 2},
        ],
    },
    {"action": "Delete", "path": "$.copy.x"},
]


def _raise(error: Exception) -> None:
    raise error


def _document(state: Any = None) -> Document:
    """Return a document with an op of every kind, or the one in a save state."""
    ticks = iter(range(10**9))
    document = Document(
        InMemorySaveState() if state is None else state,
        now_ms=lambda: 1_700_000_000_000 + next(ticks),
        random_bytes=lambda count: bytes(count),
        report=_raise,
    )
    document.journal.open()
    document.load(ME)
    return document


def _filled() -> Document:
    document = _document()
    for action in ACTIONS:
        document.dispatch(action)
    return document


def _ops() -> list[Op]:
    log = _filled().replica.log
    return [log.op(row) for row in range(len(log))]


def _bases() -> list[bytes]:
    """Return bases of a document with all kinds of names."""
    document = _filled()
    document.history._trim_to(len(document.replica.log))
    snapshot = document.history.snapshot()
    length = struct.unpack(">I", snapshot[:4])[0]
    return [snapshot[4 : 4 + length]]


def _check_merge(ops: list[Op]) -> None:
    """Merge what was taken into a history: it is refused, or everything still holds."""
    replica = Replica(OTHER, places_max=2_000)
    try:
        replica.merge(ops)
    except RemoteProtocolError:
        return
    canonical_bytes(replica.document)


@target("op batches")
def op_batches() -> Target:
    """Compressed batches of a peer, cut and changed anywhere."""
    ops = _ops()
    corpus = [encode_ops(ops), encode_ops(ops[:1]), encode_ops([])]

    def attempt(data: bytes) -> None:
        try:
            found = decode_columns(unpack_foreign_columns(data))
        except ActionError:
            return
        assert found == decode_ops(encode_ops(found))

    return Target(attempt, bytes_or_noise, corpus)


def changing_one(
    change: Callable[[random.Random, Any], Any],
) -> Callable[[random.Random, Any], bytes]:
    """Return what makes inputs of a corpus of lists: with one member changed, or damaged bytes."""

    def make(rng: random.Random, data: Any) -> bytes:
        if isinstance(data, bytes):
            return mutate_bytes(rng, data)
        changed = list(data)
        at = rng.randrange(len(changed))
        changed[at] = change(rng, changed[at])
        return msgspec.msgpack.encode(changed)

    return make


def _writes() -> list[Op]:
    """Return plain writes to several objects in turn, and another op between them."""
    bodies = [Body(Kind.SET, key=key, payload={"n": 1}) for key in "ab"]
    names = [None, Name(ME, 1), Name(ME, 2)]
    for at in range(24):
        bodies.append(Body(Kind.SET, names[at * 5 % 7 % 3], f"k{at % 9}", payload=at))
        if at == 12:
            bodies.append(Body(Kind.ADD, Name(ME, 1, 1), payload=2.5))
    return [Op(1 + at, ME, at, 7, body) for at, body in enumerate(bodies)]


@target("op columns")
def op_columns() -> Target:
    """Batches whose compression is right and whose columns are not; what is taken is merged.

    As columns it is merged to the same, or not at all.
    """
    writes = _writes()
    plain: list[bytes] = []
    for ops in (_ops(), writes, writes[2:14]):
        batch = encode_ops(ops)
        plain.append(unpack(batch[1:], 2**20) if batch[:1] == b"\x02" else batch[1:])
    values = list(map(msgspec.msgpack.decode, plain))
    corpus: list[Any] = [*plain, *values]
    objects = Op(1, ME, 0, 0, writes[0].body), Op(2, ME, 1, 0, writes[1].body)

    def attempt(data: bytes) -> None:
        try:
            columns = unpack_foreign_columns(b"\x01" + data)
        except ActionError:
            return
        for known in ((), objects):
            fast, slow = Replica(OTHER, places_max=2_000), Replica(OTHER, places_max=2_000)
            for replica in (fast, slow):
                replica.merge(known)
            merged = merge_bulk(fast, columns)
            try:
                found = decode_columns(columns)
            except ActionError:
                assert not merged
                return
            if not merged:
                assert canonical_bytes(fast.document) == canonical_bytes(slow.document)
                _check_merge(found)
                continue
            assert slow.merge(found) == found
            fast.check_invariants()
            assert canonical_bytes(fast.document) == canonical_bytes(slow.document)
            assert (fast.latest, fast.state_hash()) == (slow.latest, slow.state_hash())

    def other_column(rng: random.Random, column: Any) -> Any:
        if isinstance(column, bytes):
            return mutate_bytes(rng, column)
        if not (column and isinstance(column, list)):
            return [rng.randrange(-2, 5) for _ in range(rng.randrange(4))]
        numbers = list(column)
        here = rng.randrange(len(numbers))
        old = numbers[here]
        numbers[here] = (
            old + rng.choice((-1, 1, -(2**20), 2**31, 2**53))
            if type(old) is int
            else rng.choice((None, 1, b"x", "k", [], [[]], {}))
        )
        return numbers

    return Target(attempt, changing_one(other_column), corpus)


def _receiver() -> Replica:
    """Return a replica that holds an op of `ME` and its object `$.a`."""
    replica = Replica(OTHER, places_max=2_000)
    replica.merge([Op(1, ME, 0, 0, Body(Kind.SET, key="a", payload={}))])
    return replica


@target("single writes")
def single_writes() -> Target:
    """Batches of one plain write: damaged, or merged as the columns that say the same would be."""
    values: list[Any] = [
        [ME, 2, 1, 7, [None, 1, 0], "k", "text", []],
        [ME, 2, 1, 7, [ME, 1, 0], "é", 2**64 - 1, [[ME, 1]]],
        [ME, 3, 1, 0, None, "a", 1.5, []],
        [OTHER, 2, 0, 0, None, "", None, [[ME, 1]]],
    ]
    corpus = [*values, *map(msgspec.msgpack.encode, values)]

    def attempt(data: bytes) -> None:
        batch = SINGLE + data
        try:
            single = decode_single(batch)
        except ActionError:
            return
        ops = decode_columns(unpack_foreign_columns(batch))
        assert ops == [op_of(single)] == decode_ops(encode_ops(ops))
        quick, slow = _receiver(), _receiver()
        if merge_single(quick, single):
            assert slow.merge(ops) == ops
            assert canonical_bytes(quick.document) == canonical_bytes(slow.document)
            assert (quick.latest, quick.state_hash()) == (slow.latest, slow.state_hash())
        else:
            _check_merge(ops)

    def other_member(rng: random.Random, old: Any) -> Any:
        if type(old) is int:
            return (old + rng.choice((-1, 1, 2**20, 2**53))) % 2**64
        return rng.choice((None, 1, -1, b"", b"m" * 16, "a", [], [[ME, 9]], [None, 1, 1]))

    return Target(attempt, changing_one(other_member), corpus)


@target("ops as JSON")
def json_ops() -> Target:
    """Ops as they stand in a readable file."""
    corpus = [op_to_json(op) for op in _ops()]

    def attempt(value: Any) -> None:
        try:
            op = op_from_json(value)
        except ActionError:
            return
        assert op == op_from_json(json.loads(json.dumps(op_to_json(op))))

    return Target(attempt, mutate_json, corpus)


@target("ops merged")
def merged_ops() -> Target:
    """Well-formed ops in a row, each changed a little, folded into a history."""
    ops = _ops()
    corpus = [[op_to_json(op) for op in ops]]

    def attempt(values: list[Any]) -> None:
        try:
            found = [op_from_json(value) for value in values]
        except ActionError:
            return
        _check_merge(found)

    def make(rng: random.Random, values: list[Any]) -> list[Any]:
        changed = list(values)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(changed))
            changed[at] = mutate_json(rng, values[at])
        return changed

    return Target(attempt, make, corpus)


def _load(base: bytes) -> None:
    try:
        replica, notes = load_base(base, OTHER, DOCUMENT_PLACES_MAX)
    except ActionError:
        return
    export_base(replica, notes)
    replica.merge([])
    canonical_bytes(replica.document)


@target("bases")
def bases() -> Target:
    """Trimmed histories, as snapshots and files hold them, cut and changed anywhere."""
    return Target(_load, bytes_or_noise, _bases())


@target("bases by their parts")
def base_parts() -> Target:
    """Bases whose compression is right and whose parts are not."""
    plain = unpack(_bases()[0][1:], 2**20)
    corpus = [msgspec.msgpack.decode(plain, strict=False)]

    def attempt(parts: Any) -> None:
        try:
            encoded = msgspec.msgpack.encode(parts)
        except (OverflowError, TypeError, ValueError):
            return
        _load(b"\x01" + pack(encoded))

    def make(rng: random.Random, parts: Any) -> Any:
        changed = list(parts)
        at = rng.randrange(len(changed))
        if isinstance(changed[at], (dict, list)):
            changed[at] = mutate_json(rng, changed[at])
        elif isinstance(changed[at], bytes):
            changed[at] = mutate_bytes(rng, changed[at])
        else:
            changed[at] = rng.choice((-1, 0, 1, 2**53, 2**63, None))
        return changed

    return Target(attempt, make, corpus)


# --- Files ------------------------------------------------------------------------------------


def _records() -> dict[str, Any]:
    """Return the records of a small file, as JSON."""
    ops = [op_to_json(op) for op in _ops()]
    return {
        "meta/author": "6d6d6d6d-6d6d-6d6d-6d6d-6d6d6d6d6d6d",
        "meta/failures": [{"id": {"index": 1, "author": "6d6d6d6d-6d6d-6d6d-6d6d-6d6d6d6d6d6d"}}],
        "meta/format": 1,
        "op/0000000000000001": ops[:5],
        "op/0000000000000002": ops[5:],
    }


@target("JSON files")
def json_files() -> Target:
    """The text of a readable file, whatever somebody has typed into it."""
    path = Path("a.json")
    records = {key: encode_value(value) for key, value in _records().items()}
    corpus = [encode_file(records), encode_file({})]

    def attempt(data: bytes) -> None:
        try:
            found = parse_records(path, data)
        except DatabaseError:
            return
        assert found == parse_records(path, encode_file(found))

    return Target(attempt, bytes_or_noise, corpus)


@target("records")
def records() -> Target:
    """The records of a save state, loaded as a document that must then hold together."""
    state = InMemorySaveState()
    document = _document(state)
    for action in ACTIONS:
        document.dispatch(action)
    corpus = [dict(state._records)]

    def attempt(changed: dict[str, Any]) -> None:
        broken = InMemorySaveState()
        broken._records = dict(changed)
        try:
            _document(broken).query("$..*")
        except CytosolError:
            return

    def make(rng: random.Random, kept: dict[str, Any]) -> dict[str, Any]:
        changed = dict(kept)
        key = rng.choice(sorted(changed))
        match rng.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[f"op/{rng.randrange(9):016}"] = changed[key]
            case _:
                changed[key] = bytes_or_noise(rng, changed[key])
        return changed

    return Target(attempt, make, corpus)


@target("SQLite logs")
def sqlite_logs() -> Target:
    """Write-ahead logs: which part of one can be read, and what that says about the file."""
    header = struct.pack(">IIIIII", 0x377F0682, 3007000, 512, 0, 7, 9)
    corpus = [header + bytes(8), header + bytes(8 + 3 * (24 + 512)), _log_of_two_frames(header)]

    def attempt(data: bytes) -> None:
        count_unreadable(io.BytesIO(data), io.BytesIO(_file_of(data)))
        pages = first_pages(io.BytesIO(data), 100)
        assert pages is None or all(len(page) == 100 for page in pages)

    return Target(attempt, _anywhere, corpus)


def _file_of(log: bytes) -> bytes:
    """Return a file with the pages of a log one after the other."""
    head = bytes(16) + b"\2\0"
    pages = [log[at + 24 : at + 24 + 512] for at in range(32, len(log), 24 + 512)]
    return head + b"".join(pages)[len(head) :]


def _log_of_two_frames(header: bytes) -> bytes:
    """Return a log that SQLite would read."""
    from cytosol.savestates.sqlitelog import _checksum

    sums = _checksum(header, "little", (0, 0))
    log = header + struct.pack(">II", *sums)
    for number in (1, 2):
        frame, page = struct.pack(">II", 1, number), bytes([number]) * 512
        sums = _checksum(frame + page, "little", sums)
        log += frame + header[16:24] + struct.pack(">II", *sums) + page
    return log


def _anywhere(rng: random.Random, data: bytes) -> bytes:
    """Change a log mostly where something stands in it."""
    if rng.random() < 0.5:
        return mutate_bytes(rng, data)
    changed = bytearray(data)
    changed[rng.randrange(min(64, len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)
