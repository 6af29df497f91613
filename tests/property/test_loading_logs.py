"""A log that is read in bulk makes the document that its ops make one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from cytosol.crdt.actions import Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.export import encode_rows
from cytosol.crdt.replica import Replica
from cytosol.document import loading as loading_module
from cytosol.document.loading import Loading, Record
from cytosol.errors import RemoteProtocolError
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Op
from cytosol.model.opcodec import Columns, columns_of, decode_columns, unpack_columns
from cytosol.model.singlecodec import SINGLE, Single, decode_single, op_of
from tests.property.test_fast_paths import play


def arriving(replica: Replica, chance: random.Random) -> Iterator[list[int]]:
    """Yield the rows of a log as they may have come: any author's turn, nothing before its time."""
    rows = list(range(len(replica.log)))
    latest: dict[bytes, int] = {}
    while rows:
        ready = [row for row in rows if is_ready(replica.log.op(row), latest)]
        first = chance.choice(ready)
        most = 1 if chance.random() < 0.5 else chance.randrange(1, 30)
        record = []
        for row in [row for row in rows if row >= first]:
            op = replica.log.op(row)
            if len(record) == most or not is_ready(op, latest):
                break
            record.append(row)
            latest[op.author] = op.index
        rows = [row for row in rows if row not in record]
        yield record


def is_ready(op: Op, latest: dict[bytes, int]) -> bool:
    """Tell whether what an op builds on is here."""
    return op.previous == latest.get(op.author, 0) and all(
        latest.get(author, 0) >= index for author, index in op.seen
    )


def read(value: bytes) -> Record:
    """Return a record as the journal reads it."""
    return decode_single(value) if value[:1] == SINGLE else unpack_columns(value)


def state(replica: Replica) -> tuple[bytes, bytes, list[tuple[object, object]]]:
    """Return document, state hash and failures."""
    log = replica.log
    failures = sorted((log.key(log.find(code)), why) for code, why in replica.failures.items())
    return canonical_bytes(replica.document), replica.state_hash(), failures


@pytest.mark.parametrize("plain", [0.5, 0.97, 1.0])
@pytest.mark.parametrize(("plain_min", "together_max"), [(1, 3), (4, 10), (64, 20_000)])
def test_however_records_came_the_document_is_the_same(
    plain: float, plain_min: int, together_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its failures, its state hash, and what is there after everything was taken back."""
    monkeypatch.setattr(loading_module, "PLAIN_MIN", plain_min)
    monkeypatch.setattr(loading_module, "TOGETHER_MAX", together_max)
    kinds: set[type] = set()
    for seed in range(12):
        written = play(seed, plain).peers[0].replica
        chance = random.Random(seed)
        loaded = Replica(b"l" * 16)
        loading = Loading(loaded)
        for rows in arriving(written, chance):
            record = read(encode_rows(written.log, rows))
            kinds.add(type(record))
            loading.add(record)
        loading.finish()
        assert not loaded.waiting, seed
        assert state(written) == state(loaded), seed
        loaded.check_invariants()
        rewound = loaded.rewind(0)
        assert loaded.document == {}, seed
        loaded.reinsert(rewound)
        assert state(written) == state(loaded), seed
    assert kinds == {Single, Columns}


def test_a_run_of_single_writes_is_merged_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was a durable write; no op is made of any of them."""
    written = Replica(b"w" * 16)
    compiler = Compiler(written)
    compiler.dispatch(Set("$.box", {}), 1)
    for number in range(200):
        compiler.dispatch(Set(f"$.box.k{number % 90}", number), number)
    loaded = Replica(b"l" * 16)
    loading = Loading(loaded)
    merged: list[int] = []
    merge = Replica.merge

    def counted(replica: Replica, ops: list[Op]) -> list[Op]:
        merged.append(len(ops))
        return merge(replica, ops)

    monkeypatch.setattr(Replica, "merge", counted)
    for row in range(len(written.log)):
        loading.add(read(encode_rows(written.log, [row])))
    loading.finish()
    assert [1] == [count for count in merged if count], "only the object goes the general way"
    assert state(written) == state(loaded)


def test_ops_from_json_are_merged_together() -> None:
    """A save state that people can read has no columns."""
    written = play(3, 0.9).peers[0]
    loaded = Replica(b"l" * 16)
    loading = Loading(loaded)
    for op in written.ops():
        loading.add([op])
    loading.finish()
    assert state(written.replica) == state(loaded)


def test_columns_of_single_writes_say_what_these_say() -> None:
    """Whoever made them, wherever they are, and whatever they have seen."""
    telling = 0
    for seed in range(20):
        log = play(seed, 1.0).peers[0].replica.log
        records = [read(encode_rows(log, [row])) for row in range(len(log))]
        singles = [record for record in records if isinstance(record, Single)]
        telling += sum(1 for single in singles if single.seen)
        assert list(map(op_of, singles)) == decode_columns(columns_of(singles))
    assert telling > 20, "hardly any write told what its author had seen"


def test_a_leap_of_the_clock_is_refused_however_long_the_run_is() -> None:
    """Loading in bulk takes nothing that merging would not take."""
    far = Single(b"w" * 16, 1 << 40, 0, 0, None, "k", 1, [])
    loading = Loading(Replica(b"l" * 16))
    for at in range(100):
        index = far.index + at
        loading.add(Single(far.author, index, index - 1 if at else 0, 0, None, f"k{at}", at, []))
    with pytest.raises(RemoteProtocolError):
        loading.finish()
