"""How much of what a peer has, and we lack, has come: from nothing to all, never back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cytosol.protocol.shortfall import Shortfall

A, B, C = (bytes([number]) * 16 for number in range(3))
AUTHORS = st.sampled_from([A, B, C])
HELD = st.dictionaries(AUTHORS, st.integers(1, 100))


def test_the_share_goes_by_the_numbers_of_each_author() -> None:
    """What was there counts for nothing, what the peer never had neither."""
    shortfall = Shortfall({A: 10, B: 7}, {A: 30, B: 5, C: 20})
    assert 0.0 == shortfall.share
    shortfall.note({A: 20})
    assert 0.25 == shortfall.share
    shortfall.note({A: 15, B: 7, C: 99})
    assert 0.75 == shortfall.share
    shortfall.note({A: 30})
    assert 1.0 == shortfall.share


def test_nobody_knows_the_share_where_nothing_is_lacking() -> None:
    """As in a repair, where both hold the same numbers."""
    shortfall = Shortfall({A: 3}, {A: 3})
    shortfall.note({A: 3})
    assert shortfall.share is None


@given(HELD, HELD, st.lists(HELD))
def test_the_share_only_grows_and_is_whole_with_the_last(
    held: dict[bytes, int], theirs: dict[bytes, int], batches: list[dict[bytes, int]]
) -> None:
    """Whatever a peer says that it has brought."""
    shortfall = Shortfall(held, theirs)
    before = shortfall.share
    for brought in [*batches, theirs]:
        shortfall.note(brought)
        share = shortfall.share
        assert (before is None) == (share is None)
        assert share is None or before is None or before <= share <= 1.0
        before = share
    assert before in (None, 1.0)
