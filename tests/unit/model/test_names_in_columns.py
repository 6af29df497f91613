"""A batch tells a name in full once and then calls it by its number."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cytosol.errors import ActionError
from cytosol.model.columns import AGAIN, NAME, OTHER, OWN, SAME, Columns, Encoder
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import decode_columns

A, B = b"a" * 16, b"b" * 16
FIRST, SECOND = Name(A, 1), Name(B, 2, 3)
PLACES = [FIRST, FIRST, SECOND, None, FIRST, SECOND, SECOND]


def written() -> list[Op]:
    """Return writes of A to two objects and the root in turn."""
    return [
        Op(10 + at, A, 9 + at, 0, Body(Kind.SET, name, f"k{at}", payload=at))
        for at, name in enumerate(PLACES)
    ]


def columns() -> Columns:
    """Return the columns of these writes."""
    encoder = Encoder()
    for op in written():
        encoder.add(op)
    return encoder.columns()


def test_a_name_is_told_in_full_where_it_comes_first() -> None:
    """Then by a flag, if it was the last one, else by a number; the root has no name."""
    told = columns()
    assert bytes((OWN, SAME, OTHER, AGAIN, AGAIN, SAME)) == told.how[NAME]
    assert [9, 0, 1, 10, 3, 0, 1] == told.what[NAME]
    assert written() == decode_columns(told)


@pytest.mark.parametrize("split", range(len(PLACES) + 1))
def test_names_are_told_alike_whether_ops_come_as_columns_or_not(split: int) -> None:
    """Also if some of a batch come this way and some that way."""
    ops, encoder = written(), Encoder()
    for part in (ops[:split], ops[split:]):
        if part:
            encoder.add_sets(
                [op.author for op in part],
                [op.index for op in part],
                [op.previous for op in part],
                [op.timestamp for op in part],
                [op.body.name for op in part],
                lambda name: name,
                [op.body.key or "" for op in part],
                [op.body.payload for op in part],
            )
    told, expected = encoder.columns(), columns()
    assert (expected.form, expected.how, expected.what) == (told.form, told.how, told.what)
    assert written() == decode_columns(told)


def test_a_name_may_be_told_in_full_each_time() -> None:
    """So it was before names were called by numbers."""
    how = bytes((OWN, SAME, OTHER, OWN, OTHER, SAME))
    what = [9, 0, 1, 10, 3, 13, 0, 1, 13, 3]
    older = msgspec.structs.replace(columns(), how=[how] + [b""] * 3, what=[what] + [[]] * 3)
    assert written() == decode_columns(older)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([9, 0, 1, 10, 3, 2, 1], "a name is missing"),
        ([9, 0, 1, 10, 3, -1, 1], "a name is missing"),
        ([9, 0, 1, 10, 3, 0], "its columns do not fit together"),
        ([9, 0, -1, 10, 3, 0, 1], "an author is missing"),
    ],
)
def test_numbers_that_nobody_gave_are_refused(what: list[Any], message: str) -> None:
    """Beyond the names told before, below zero, or not there."""
    damaged = msgspec.structs.replace(columns(), what=[what, [], [], []])
    with pytest.raises(ActionError, match=message):
        decode_columns(damaged)
