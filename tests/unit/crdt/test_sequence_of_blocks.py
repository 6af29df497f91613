"""Positions that fill more than one block are still found, also where there is no index yet."""

from __future__ import annotations

import pytest

from cytosol.crdt.sequence import BLOCK_MAX, INDEX_ABOVE, Sequence


@pytest.mark.parametrize("after", [False, True])
def test_many_positions_beside_a_single_one_are_split_into_blocks(after: bool) -> None:
    """As by an op of a peer that fills and inserts; nobody had looked for a position before."""
    sequence = Sequence()
    sequence.insert([1, 2], None, False)
    added = list(range(10, 10 + 3 * BLOCK_MAX))
    assert 1 - (not after) == sequence.insert(added, 1, after)
    sequence.check_invariants()
    assert [1, *added, 2] if after else [*added, 1, 2] == list(sequence)
    assert sequence.shown - 1 == sequence.index_of(2)


def test_many_positions_by_index_are_split_into_blocks() -> None:
    """Also while no index by code is needed."""
    sequence = Sequence()
    sequence.append(1)
    for code in range(2, 2 * BLOCK_MAX):
        sequence.insert_at(0, code)
    assert list(range(2 * BLOCK_MAX - 1, 0, -1)) == list(sequence)
    assert BLOCK_MAX + 5 == sequence.index_of(sequence.at(BLOCK_MAX + 5))
    sequence.check_invariants()


def test_no_position_is_added_beyond_the_end() -> None:
    """It would stand nowhere."""
    sequence = Sequence()
    sequence.append(1)
    sequence.insert_at(1, 2)
    with pytest.raises(IndexError, match="no such shown position"):
        sequence.insert_at(3, 3)
    assert [1, 2] == list(sequence)
    sequence.check_invariants()


def test_shown_positions_are_counted_past_hidden_ones_in_every_block() -> None:
    """By index and back."""
    sequence = Sequence()
    codes = list(range(1, 2 * BLOCK_MAX + INDEX_ABOVE))
    sequence.insert(codes, None, False)
    for code in codes[::3]:
        sequence.hide(code)
    shown = [code for code in codes if (code - 1) % 3]
    assert shown == [sequence.at(index) for index in range(len(shown))]
    assert list(range(len(shown))) == [sequence.index_of(code) for code in shown]
