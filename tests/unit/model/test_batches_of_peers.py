"""A peer's batch of ops is looked at before its columns are built: small ones unpack to much."""

from __future__ import annotations

import msgspec
import pytest

from cytosol.errors import ActionError
from cytosol.limits import BATCH_OPS_MAX, LAMPORT_MAX
from cytosol.model.op import Body, Kind, Op
from cytosol.model.opcodec import (
    ENTRIES_MAX,
    PACKED,
    PLAIN,
    Columns,
    Encoder,
    decode_columns,
    decode_grounds,
    encode_ops,
    unpack_foreign_columns,
)
from cytosol.model.packed import pack

AUTHOR = b"a" * 16
OTHER = b"b" * 16


def ops(count: int) -> list[Op]:
    """Return a row of ops."""
    return [
        Op(number + 1, AUTHOR, number, 0, Body(Kind.SET, key="k", payload=number))
        for number in range(count)
    ]


def refused(batch: bytes, reason: str) -> None:
    """Expect a batch to be refused with this sentence."""
    with pytest.raises(ActionError, match=reason):
        unpack_foreign_columns(batch)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 400, BATCH_OPS_MAX])
def test_honest_batches_are_taken(count: int) -> None:
    """Plain and compressed ones, with lists of every length that MessagePack tells apart."""
    assert ops(count) == decode_columns(unpack_foreign_columns(encode_ops(ops(count))))


def test_batch_ops_max() -> None:
    """BATCH_OPS_MAX: one more is refused."""
    refused(encode_ops(ops(BATCH_OPS_MAX + 1)), "too many ops")


@pytest.mark.parametrize("column", [0, 5, 6, 9, 10, 12, 13, 14])
def test_columns_of_millions_are_refused(column: int) -> None:
    """Whatever is in them: what they announce is more than any batch can need."""
    columns = msgspec.msgpack.decode(encode_ops(ops(1))[1:])
    columns[column] = [0] * (ENTRIES_MAX + 1)
    refused(PACKED + pack(msgspec.msgpack.encode(columns)), "too many ops")


@pytest.mark.parametrize("column", [15, 16])
def test_names_of_millions_are_refused(column: int) -> None:
    """Also where columns stand in columns."""
    columns = msgspec.msgpack.decode(encode_ops(ops(1))[1:])
    columns[column] = [[0] * (ENTRIES_MAX + 1)]
    refused(PACKED + pack(msgspec.msgpack.encode(columns)), "too many names")


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"\x00",
        PLAIN,
        PLAIN + b"\x90",
        PLAIN + b"\xc0",
        PLAIN + b"\x91" * 300,
        PACKED,
        PACKED + b"x",
        PACKED + pack(b"\x91" * 2_000_000),
        encode_ops(ops(100))[:-1],
    ],
)
def test_what_is_no_batch_is_refused(batch: bytes) -> None:
    """With a sentence of the kind that tells of damage."""
    refused(batch, "a batch of ops is damaged")


# --- what the ops build on ----------------------------------------------------------------


def grounded(numbers: list[int], digests: bytes) -> Columns:
    """Return the columns of a batch of one op that tells this of its grounds."""
    columns = msgspec.msgpack.decode(encode_ops(ops(1))[1:])
    return unpack_foreign_columns(PLAIN + msgspec.msgpack.encode([*columns, numbers, digests]))


def test_a_batch_tells_what_it_builds_on() -> None:
    """Of each author a number and a digest; one that tells nothing is a batch as well."""
    encoder = Encoder()
    for op in ops(2):
        encoder.add(op._replace(seen=((OTHER, 1),)) if op.previous else op)
    grounds = {AUTHOR: (7, b"d" * 32), OTHER: (1, b"e" * 32)}
    columns = unpack_foreign_columns(encoder.finish(grounds))
    assert grounds == decode_grounds(columns)
    assert 2 == len(decode_columns(columns))
    assert {} == decode_grounds(unpack_foreign_columns(encoder.finish({})))


@pytest.mark.parametrize(
    ("numbers", "digests", "reason"),
    [
        ([0], b"", "what it builds on is wrong"),
        ([0, 1], b"d" * 31, "what it builds on is wrong"),
        ([0, 1], b"d" * 64, "what it builds on is wrong"),
        ([1, 1], b"d" * 32, "what it builds on is wrong"),
        ([-1, 1], b"d" * 32, "what it builds on is wrong"),
        ([0, 0], b"d" * 32, "what it builds on is wrong"),
        ([0, LAMPORT_MAX + 1], b"d" * 32, "what it builds on is wrong"),
        ([0, 1, 0, 2], b"d" * 64, "told twice"),
    ],
)
def test_damaged_grounds_are_refused(numbers: list[int], digests: bytes, reason: str) -> None:
    """Each number of them is looked at."""
    with pytest.raises(ActionError, match=reason):
        decode_grounds(grounded(numbers, digests))


def test_grounds_of_millions_are_refused() -> None:
    """Before they are built, as in every column."""
    columns = msgspec.msgpack.decode(encode_ops(ops(1))[1:])
    batch = msgspec.msgpack.encode([*columns, [0] * (ENTRIES_MAX + 1), b""])
    refused(PACKED + pack(batch), "too many ops")
