"""A batch of one plain write: what the form says, and what is refused as damaged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cytosol.errors import ActionError
from cytosol.limits import DOCUMENT_PLACES_MAX, LAMPORT_MAX, SINGLE_BYTES_MAX
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import decode_ops, encode_ops, unpack_columns, unpack_foreign_columns
from cytosol.model.singlecodec import SINGLE, decode_single, encode_single, op_of

WE, THEY = b"w" * 16, b"t" * 16


def written(**changes: Any) -> bytes:
    """Return the bytes of a write with some members replaced."""
    members: dict[str, Any] = {
        "author": WE,
        "index": 9,
        "previous": 7,
        "time": 5,
        "place": [None, 3, 1],
        "key": "k",
        "payload": 1,
        "seen": [[THEY, 8]],
    }
    return SINGLE + msgspec.msgpack.encode(list((members | changes).values()))


@pytest.mark.parametrize("payload", [0, -(2**63), 2**64 - 1, 1.5, True, None, "", "ü"])
@pytest.mark.parametrize("name", [None, Name(WE, 3, 1), Name(THEY, 8)])
def test_it_says_what_the_columns_say(payload: Any, name: Name | None) -> None:
    """Whoever reads batches reads this form, too."""
    op = Op(9, WE, 7, 5, Body(Kind.SET, name, "k", payload=payload), ((THEY, 8),))
    place = None if name is None else (name.author, name.index, name.offset)
    batch = encode_single(WE, 9, 7, 5, place, "k", payload, op.seen)
    assert batch is not None
    assert [op] == decode_ops(batch)
    assert unpack_columns(encode_ops([op])) == unpack_columns(batch)
    assert unpack_columns(batch) == unpack_foreign_columns(batch)


def test_a_place_of_the_same_author_takes_no_author() -> None:
    """The most frequent case is short: 16 bytes less."""
    own = encode_single(WE, 9, 7, 5, (WE, 3, 1), "k", 1, ((THEY, 8),))
    assert own == written()


def test_long_ones_are_not_written() -> None:
    """SINGLE_BYTES_MAX: they are worth packing."""
    room = SINGLE_BYTES_MAX - len(written(payload="")) - 2  # of the head of a longer text
    fits = encode_single(WE, 9, 7, 5, (WE, 3, 1), "k", "x" * room, ((THEY, 8),))
    assert fits is not None
    assert SINGLE_BYTES_MAX == len(fits)
    assert 1 == len(decode_ops(fits))
    assert encode_single(WE, 9, 7, 5, (WE, 3, 1), "k", "x" * (room + 1), ((THEY, 8),)) is None
    assert encode_single(WE, 9, 7, 5, None, "k", "x" * 10**6, ()) is None


def test_long_ones_are_not_read() -> None:
    """SINGLE_BYTES_MAX: whatever is in them."""
    with pytest.raises(ActionError, match="at most 512 bytes"):
        decode_single(written(payload="x" * SINGLE_BYTES_MAX))


DAMAGED: dict[str, bytes] = {
    "nothing behind the head": SINGLE,
    "no array": SINGLE + b"\x01",
    "bytes behind the end": written() + b"\x00",
    "too few members": SINGLE + msgspec.msgpack.encode([WE, 9, 7]),
    "too many members": SINGLE + msgspec.msgpack.encode([WE, 9, 7, 5, None, "k", 1, [], 0]),
    "a short author": written(author=b"w" * 15),
    "the number 0": written(index=0, previous=0),
    "a number beyond all": written(index=LAMPORT_MAX + 1),
    "an op that is its own previous one": written(previous=9),
    "a previous op below 0": written(previous=-1),
    "a time below 0": written(time=-1),
    "a place of two members": written(place=[None, 3]),
    "a place with a long author": written(place=[b"w" * 17, 3, 1]),
    "a place without a number": written(place=[None, 0, 1]),
    "a place beyond all": written(place=[None, 3, DOCUMENT_PLACES_MAX]),
    "a key that is none": written(key=1),
    "a key that is no text": SINGLE + written()[1:].replace(b"\xa1k", b"\xa1\xff"),
    "a container": written(payload=[1]),
    "bytes": written(payload=b"1"),
    "an infinite number": written(payload=float("inf")),
    "no number": written(payload=float("nan")),
    "what was seen and is later": written(seen=[[THEY, 9]]),
    "what was seen without an author": written(seen=[[b"", 8]]),
    "what was seen without a number": written(seen=[[THEY, 0]]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_ones_are_refused(case: str) -> None:
    """By whoever reads them, with the sentence for damaged batches."""
    for read in (decode_single, unpack_columns, unpack_foreign_columns, decode_ops):
        with pytest.raises(ActionError, match="a batch of ops is damaged"):
            read(DAMAGED[case])


def test_the_one_that_is_changed_is_taken() -> None:
    """Else the cases above would prove nothing."""
    body = Body(Kind.SET, Name(WE, 3, 1), "k", payload=1)
    assert Op(9, WE, 7, 5, body, ((THEY, 8),)) == op_of(decode_single(written()))
