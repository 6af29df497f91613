"""Damaged ops are refused with ActionError in both of their forms, and nothing else comes out."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest

from cytosol.errors import ActionError
from cytosol.model import opcodec
from cytosol.model.op import (
    Body,
    Kind,
    Name,
    Op,
    Side,
    Spot,
    map_names,
    op_from_json,
    op_to_json,
)
from cytosol.model.opcodec import decode_ops, encode_ops
from cytosol.model.packed import zstd

A, B = b"a" * 16, b"b" * 16
NAME = Name(A, 1)
COPIED = Name(B, 2, 3, ((A, 1, 0), (B, 1, 2)))


def op(body: Body, **changes: Any) -> Op:
    """Return an op with some body."""
    return Op(5, A, 4, 1_000, body)._replace(**changes)


SET = op(Body(Kind.SET, None, "k", payload={"x": [1, 2.5]}))
INSERT = op(Body(Kind.INSERT_AFTER, NAME, None, Spot(1, COPIED, Side.AFTER, 2), "v"))
MOVE = op(Body(Kind.MOVE, NAME, "k", source=COPIED))
UNIQUE = op(Body(Kind.INSERT_UNIQUE, NAME, None, Spot(0, None, Side.END), 1))
ADD = op(Body(Kind.ADD, NAME, payload=1))
TRANSACTION = op(
    Body(Kind.TRANSACTION, payload=(SET.body, INSERT.body, MOVE.body)),
    seen=((B, 3),),
    origin=Name(B, 4),
)
ALL = [SET, INSERT, MOVE, UNIQUE, ADD, TRANSACTION, op(Body(Kind.DELETE, COPIED))]


def test_both_forms_carry_everything() -> None:
    """Also names of copies, what was seen, and origins."""
    assert ALL == [op_from_json(op_to_json(one)) for one in ALL]
    numbered = [one._replace(index=5 + n, previous=4 + n) for n, one in enumerate(ALL)]
    assert numbered == decode_ops(encode_ops(numbered))


def changed(value: Op, path: list[Any], new: Any) -> Any:
    """Return the JSON of an op with one member changed (`...`: removed)."""
    out = copy.deepcopy(op_to_json(value))
    at: Any = out
    for step in path[:-1]:
        at = at[step]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return out


ID_STEP = {"type": "Id", "query": {"author": "00000000-0000-0000-0000-000000000001", "index": 1}}


@pytest.mark.parametrize(
    ("value", "path", "new"),
    [
        (SET, ["action"], "Sett"),
        (SET, ["action"], 1),
        (SET, ["id"], None),
        (SET, ["id", "index"], 0),
        (SET, ["id", "index"], 2**53),
        (SET, ["id", "author"], "x"),
        (SET, ["previous"], 5),
        (SET, ["timestamp"], -1),
        (SET, ["path"], []),
        (SET, ["path"], [1]),
        (SET, ["path"], [{"type": "Key", "query": 1}]),
        (SET, ["path"], [{"type": "Key", "query": "a"}, {"type": "Key", "query": "b"}]),
        (SET, ["payload"], ...),
        (SET, ["payload"], {"x": "\ud800"}),
        (INSERT, ["side"], "left"),
        (INSERT, ["side"], "end"),
        (INSERT, ["beside"], ...),
        (INSERT, ["fill"], -1),
        (INSERT, ["path"], [ID_STEP]),
        (INSERT, ["path", 0, "query", "offset"], 2**30),
        (INSERT, ["path", 1, "query"], -1),
        (INSERT, ["beside", "of"], 1),
        (INSERT, ["beside", "of"], [1] * 2000),
        (MOVE, ["payload"], []),
        (MOVE, ["payload"], [1]),
        (ADD, ["payload"], "1"),
        (ADD, ["payload"], True),
        (TRANSACTION, ["payload"], []),
        (TRANSACTION, ["payload", 0], 1),
        (TRANSACTION, ["payload", 0], {"action": "Transaction", "payload": [1]}),
        (TRANSACTION, ["seen"], {"x": 1}),
        (TRANSACTION, ["seen", "62626262-6262-6262-6262-626262626262"], 5),
        (TRANSACTION, ["origin"], 1),
    ],
)
def test_damaged_json_is_refused(value: Op, path: list[Any], new: Any) -> None:
    """Every member is checked."""
    with pytest.raises(ActionError):
        op_from_json(changed(value, path, new))


def test_what_is_no_object_is_no_op() -> None:
    """Whatever JSON a peer sends."""
    for value in (None, 1, "x", [], {}):
        with pytest.raises(ActionError):
            op_from_json(value)


def mapped(body: Body) -> Body:
    """Return the body with another author in every name."""
    return map_names(body, lambda name: name._replace(author=B))


def test_all_names_of_a_body_can_be_changed() -> None:
    """Place, neighbour and source, also in a Transaction."""
    body = mapped(TRANSACTION.body)
    (first, second, third) = body.payload
    assert first.name is None
    assert B == second.name.author
    assert B == second.spot.beside.author
    assert B == third.source.author


@pytest.mark.parametrize("seed", range(400))
def test_damaged_batches_are_refused_or_are_other_ops(seed: int) -> None:
    """Columns with changed entries raise ActionError and nothing else."""
    chance = random.Random(seed)
    numbered = [one._replace(index=5 + n, previous=4 + n) for n, one in enumerate(ALL)]
    encoded = encode_ops(numbered)
    is_packed = encoded[:1] == opcodec.PACKED
    plain = zstd.decompress(encoded[1:]) if is_packed else encoded[1:]
    columns: Any = msgspec.msgpack.decode(plain)
    for _ in range(chance.randrange(1, 3)):
        at: Any = columns
        step = chance.randrange(len(at))
        while isinstance(at[step], list) and at[step] and chance.random() < 0.9:
            at = at[step]
            step = chance.randrange(len(at))
        old = at[step]
        if isinstance(old, int):
            at[step] = chance.choice([old + 1, -1, 0, 2**24, 2**53, 255])
        elif isinstance(old, bytes) and old:
            data = bytearray(old)
            data[chance.randrange(len(data))] = chance.randrange(16)
            at[step] = bytes(data[: chance.randrange(1, len(data) + 1)])
        elif isinstance(old, list):
            at[step] = old[: chance.randrange(len(old) + 1)] * chance.choice([1, 2])
        else:
            at[step] = chance.choice([None, 1, "x", b"", [], {}])
    data = opcodec.PACKED + zstd.compress(msgspec.msgpack.encode(columns))
    try:
        ops = decode_ops(data)
    except ActionError:
        return
    assert ops == decode_ops(encode_ops(ops))


LARGE = encode_ops([op(Body(Kind.SET, None, "k", payload="x" * 2000))])


@pytest.mark.parametrize(
    "data",
    [
        LARGE[:-1],
        LARGE + b"x",
        LARGE + LARGE[1:],
        b"",
        b"\x00",
        opcodec.PACKED,
        encode_ops(ALL[:1])[:-1],
        encode_ops(ALL[:1]) + b"x",
        opcodec.PACKED + zstd.compress(b"\xc1"),
    ],
)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    """Unknown versions, cut and lengthened frames."""
    with pytest.raises(ActionError):
        decode_ops(data)


def test_a_batch_that_unpacks_to_too_much_is_refused() -> None:
    """Before it is unpacked."""
    with pytest.raises(ActionError, match="at most 100 are taken"):
        decode_ops(encode_ops([op(Body(Kind.SET, None, "k", payload="x" * 1000))]), 100)
