"""A peer's batch of ops is looked at before its columns are built: small ones unpack to much."""

from __future__ import annotations

import msgspec
import pytest

from cytosol.errors import ActionError
from cytosol.limits import BATCH_OPS_MAX
from cytosol.model.op import Body, Kind, Op
from cytosol.model.opcodec import (
    ENTRIES_MAX,
    PACKED,
    PLAIN,
    decode_columns,
    encode_ops,
    unpack_foreign_columns,
)
from cytosol.model.packed import pack

AUTHOR = b"a" * 16


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
