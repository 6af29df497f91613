"""Ops that are well-formed and meant badly; tests/hostile/cases.py has the rules.

Every device must come to the same end: a failure, or the same document.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cytosol.limits import (
    ARRAY_FILL_MAX,
    COPY_CHAIN_MAX,
    DEPTH_MAX,
    OP_PAYLOAD_BYTES_MAX,
    SINGLE_BYTES_MAX,
)
from cytosol.model.op import Body, Kind, Name, Side, Spot
from cytosol.model.packed import pack
from cytosol.model.singlecodec import SINGLE
from tests.hostile.cases import case
from tests.hostile.forged_ops import Author, author_of, columns, known_to, live, live_bytes
from tests.hostile.real_devices import Field, Wire


def failures(field: Field) -> int:
    """Return how many failures the victim lists."""
    return len(field.victim.ask("meta", path="$.failures[*].id"))


def begin(field: Field) -> tuple[Wire, Author]:
    """Return a connection of a mad device, and it as an author."""
    mallory = field.paired()
    wire = mallory.connect()
    return wire, author_of(mallory, wire)


def name_of(op: Any, offset: int = 0) -> Name:
    """Return the name of a place that an op made."""
    return Name(op.author, op.index, offset)


def deep(levels: int) -> Any:
    """Return lists in each other."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@case("exploding documents", "DEPTH_MAX", "deep JSON")
def test_places_deeper_than_the_limit(field: Field) -> None:
    """Exploding documents: a payload at its depth below another one fails, on both devices."""
    wire, author = begin(field)
    before = failures(field)
    first = author.set("deep", {"a": {}})
    inner = name_of(first, 1)
    ops = [first, author.set("b", deep(DEPTH_MAX - 3), inner), author.set("c", deep(126), inner)]
    for number in range(5):
        ops.append(author.set(f"d{number}", deep(126), inner))
    live(wire, ops)
    assert failures(field) > before


@case("exploding documents", "deep JSON")
def test_containers_in_containers_one_by_one(field: Field) -> None:
    """Exploding documents: 500 ops that each go one level deeper end at 128."""
    wire, author = begin(field)
    ops = [author.op(Body(Kind.INIT_OBJECT, None, "well"))]
    for _ in range(500):
        ops.append(author.op(Body(Kind.INIT_OBJECT, name_of(ops[-1]), "d")))
    live(wire, ops)
    field.victim.ask("query", path="$..d")


@case("exploding documents", "ARRAY_FILL_MAX")
def test_arrays_filled_to_far_indexes(field: Field) -> None:
    """Exploding documents: one null too many is a failure, and no null is made."""
    wire, author = begin(field)
    first = author.op(Body(Kind.INIT_ARRAY, None, "filled"))
    ops = [first]
    for fill in (ARRAY_FILL_MAX + 1, 2**24, 1_000):
        ops.append(
            author.op(Body(Kind.SET, name_of(first), spot=Spot(0, None, Side.END, fill), payload=1))
        )
    live(wire, ops)
    assert 1_001 == len(field.victim.ask("query", path="$.filled[*]"))


@case("exploding documents", "ARRAY_FILL_MAX")
def test_arrays_filled_again_and_again(field: Field) -> None:
    """Exploding documents: fills of 8,192 nulls, taken back by deletions."""
    wire, author = begin(field)
    ops = []
    for key in ("one", "two"):
        array = author.op(Body(Kind.INIT_ARRAY, None, key))
        spot = Spot(0, None, Side.END, ARRAY_FILL_MAX // 8)
        ops += [array, author.op(Body(Kind.SET, name_of(array), spot=spot, payload=1))]
    ops += [author.op(Body(Kind.DELETE, name_of(op))) for op in ops[::2]]
    live(wire, ops)
    assert [] == field.victim.ask("query", path="$['one','two']")


@case("exploding documents", "OP_PAYLOAD_BYTES_MAX")
def test_payloads_beyond_eight_megabytes(field: Field) -> None:
    """Exploding documents: 8 MiB and a byte fail alike everywhere."""
    wire, author = begin(field)
    before = failures(field)
    live(wire, [author.set("large", "x" * OP_PAYLOAD_BYTES_MAX)])
    assert [] == field.victim.ask("query", path="$.large")
    assert before + 1 == failures(field)


@case("exploding documents", "COPY_PLACES_MAX")
def test_copies_that_double(field: Field) -> None:
    """Exploding documents: copies of a place into itself double it, up to a few hundred here."""
    wire, author = begin(field)
    root = author.set("copies", {"a": {}})
    ops = [root]
    for number in range(8):
        ops.append(author.op(Body(Kind.COPY, name_of(root), f"c{number}", source=name_of(root))))
    live(wire, ops)
    assert field.victim.ask("query", path="$.copies.c7.c6")


@case("exploding documents", "COPY_CHAIN_MAX")
def test_copies_of_copies_of_copies(field: Field) -> None:
    """Exploding documents: names grow by one link each time, and end after 64."""
    wire, author = begin(field)
    before = failures(field)
    first = author.set("chain0", {"v": 1})
    ops, name = [first], name_of(first)
    for number in range(1, COPY_CHAIN_MAX + 10):
        op = author.op(Body(Kind.COPY, None, f"chain{number}", source=name))
        link = (name.author, name.index, name.offset)
        name = Name(op.author, op.index, 0, (link, *name.of))
        ops.append(op)
    answer = live(wire, ops[: COPY_CHAIN_MAX // 2])
    assert answer is not None
    live(wire, ops)
    assert failures(field) >= before


@case("exploding documents", "TRANSACTION_OPS_MAX")
def test_transactions_without_end(field: Field) -> None:
    """Exploding documents: 1,000 inner ops, of which the last one fails: nothing is left."""
    wire, author = begin(field)
    inner = [Body(Kind.SET, None, f"t{number}", payload=number) for number in range(1_000)]
    missing = Body(Kind.ADD, Name(author.author, 1), payload=1)
    live(wire, [author.op(Body(Kind.TRANSACTION, payload=(*inner, missing)))])
    assert [] == field.victim.ask("query", path="$['t0','t999']")
    assert 1 <= failures(field)


@case("exploding documents", "TRANSACTION_OPS_MAX", "malformed messages")
def test_transactions_that_lie_about_their_size(field: Field) -> None:
    """Exploding documents: a count of 2^20 without ops, nested ones, none at all."""
    mallory = field.paired()
    for kind, count in (
        (b"\x0c", [2**20]),
        (b"\x0c\x0c\x01", [2, 1]),
        (b"\x0c", [0]),
        (b"\x0c", [-1]),
    ):
        wire = mallory.connect()
        forged = columns(kind=kind, form=b"\x04" * len(kind), count=count)
        assert live_bytes(wire, b"\x02" + pack(msgspec.msgpack.encode(forged))) is None


@case("exploding documents")
def test_moves_into_themselves(field: Field) -> None:
    """Exploding documents: cycles of moves leave a tree on both devices."""
    wire, author = begin(field)
    one, two = author.set("m1", {"x": {}}), author.set("m2", {"y": {}})
    ops = [one, two]
    for number in range(100):
        to, what = (one, two) if number % 2 else (two, one)
        ops.append(author.op(Body(Kind.MOVE, name_of(to), f"n{number}", source=name_of(what))))
        ops.append(author.op(Body(Kind.MOVE, name_of(to, 1), "in", source=name_of(to))))
    live(wire, ops)
    field.victim.ask("check")
    field.witness.ask("check")


@case("exploding documents")
def test_numbers_that_overflow(field: Field) -> None:
    """Exploding documents: sums and products out of range fail and change nothing."""
    wire, author = begin(field)
    before = failures(field)
    number = author.set("number", 2**63)
    ops = [number]
    for payload in (2**64 - 1, 2**63, 1e308, -(2**63)):
        for kind in (Kind.ADD, Kind.MULTIPLY):
            ops.append(author.op(Body(kind, name_of(number), payload=payload)))
    live(wire, ops)
    assert 1 == len(field.victim.ask("query", path="$.number"))
    assert failures(field) > before


@case("forged histories", "foreign ids")
def test_names_of_places_that_never_were(field: Field) -> None:
    """Forged histories: 400 ops that name invented places fail one by one, alike everywhere."""
    wire, author = begin(field)
    ops = []
    for number in range(400):
        ghost = Name(bytes([number % 251]) * 16, number + 1, number % 7)
        body = (
            Body(Kind.DELETE, ghost),
            Body(Kind.SET, ghost, "k", payload=1),
            Body(Kind.MOVE, None, "ghost", source=ghost),
            Body(Kind.SET, ghost, spot=Spot(0, ghost, Side.AFTER), payload=1),
        )[number % 4]
        ops.append(author.op(body))
    live(wire, ops)
    assert [] == field.victim.ask("query", path="$.ghost")


@case("exploding documents", "call floods")
def test_ops_that_belong_before_all_others(field: Field) -> None:
    """Exploding documents: 60 early ops, one by one, that each make the victim rewind."""
    wire, author = begin(field)
    other = field.paired()
    through = other.connect()
    early = Author(other.peer_id, author.clock, seen=known_to(through))
    author.clock += 1_000
    live(wire, [author.set(f"late{number}", number) for number in range(1_000)])
    for number in range(60):
        assert live(through, [early.set("early", number)]) is not None, through.messages[-2:]
    field.check_sync()  # some may not fit any more, if the victim has trimmed meanwhile


@case("exploding documents")
def test_keys_and_text_that_are_odd(field: Field) -> None:
    """Exploding documents: empty and huge keys, and text that looks like paths."""
    wire, author = begin(field)
    keys = ["", "\x00", "$", "$..*", "\u202e", "__proto__", "k" * 200_000, "'\"\\", "é\u0301"]
    live(wire, [author.set(key, {key: [key]}) for key in keys])
    for key in keys[:-3]:
        path = "$[" + repr_of(key) + "]"
        assert field.victim.ask("query", path=path)


def repr_of(key: str) -> str:
    """Return a key as a JSONPath writes it."""
    return json.dumps(key)


@case("exploding documents", "malformed messages")
def test_payloads_that_are_not_json(field: Field) -> None:
    """Malformed ops: bytes, numbers that are none, keys that are no text, depth."""
    mallory = field.paired()
    for payload in (
        b"bytes",
        float("nan"),
        float("inf"),
        {1: 2},
        deep(200),
        msgspec.msgpack.Ext(1, b"x"),
    ):
        wire = mallory.connect()
        forged = columns(payload=[payload], authors=[mallory.peer_id])
        batch = b"\x02" + pack(msgspec.msgpack.encode(forged))
        assert live_bytes(wire, batch) is None


@case("forged histories", "SINGLE_BYTES_MAX")
def test_single_writes_that_are_none(field: Field) -> None:
    """Forged histories: too long, cut short, an op before itself, a key of no text, a list."""
    mallory = field.paired()
    fields = (mallory.peer_id, 7, 6, 1, None, "key", 1, [])
    long = msgspec.msgpack.encode((*fields[:6], "x" * SINGLE_BYTES_MAX, []))
    forged = [long, msgspec.msgpack.encode(fields)[:-1]]
    for at, wrong in ((2, 7), (5, b"\xff"), (6, [1]), (7, [(mallory.peer_id, 2**53)])):
        forged.append(msgspec.msgpack.encode((*fields[:at], wrong, *fields[at + 1 :])))
    for data in forged:
        assert live_bytes(mallory.connect(), SINGLE + data) is None
    assert [] == field.victim.ask("query", path="$.key")
