"""Blocks of positions behave like one plain list, however long it is."""

from __future__ import annotations

import random

import pytest

from cytosol.crdt import sequence as sequences
from cytosol.crdt.names import OFFSET_BITS, Names
from cytosol.crdt.savepoints import SavePoints
from cytosol.crdt.sequence import Sequence
from cytosol.errors import RemoteProtocolError
from cytosol.limits import AUTHORS_MAX
from cytosol.model.op import Name, Side


def insert_by_index(
    chance: random.Random, sequence: Sequence, codes: list[int], hidden: set[int], code: int
) -> None:
    """Insert at some index of the shown ones, beside the neighbour that it says."""
    index = chance.choice([sequence.shown, chance.randrange(sequence.shown + 1)])
    expected = sequence.choose_beside(index, code)
    assert expected == sequence.insert_beside(index, code)[:2]
    beside, side = expected
    at = len(codes) if side == Side.END else codes.index(beside) + (side == Side.AFTER)
    codes.insert(at, code)
    assert sequence.at(index) == code


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [60, 200])
def test_a_sequence_is_a_list_of_which_some_are_hidden(seed: int, steps: int) -> None:
    """Insert, append, hide, show and remove at random, and look at everything."""
    change_at_random(random.Random(seed), steps)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("block", "group"), [(2, 2), (4, 2), (3, 5)])
def test_so_is_one_whose_blocks_and_groups_are_tiny(
    seed: int, block: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are divided all the time, and go again."""
    monkeypatch.setattr(sequences, "BLOCK_MAX", block)
    monkeypatch.setattr(sequences, "GROUP_MAX", group)
    change_at_random(random.Random(seed), 60, often=True)


def change_at_random(chance: random.Random, steps: int, often: bool = False) -> None:
    """Do so many random things to a sequence and to a list, and compare them."""
    sequence, codes, hidden = Sequence(), [], set()
    new = 1
    for _ in range(steps):
        pick = chance.randrange(10)
        if pick < 5 or not codes:
            count = chance.choice([1, 1, 2, 40, 300]) if steps > 60 else 1
            added = list(range(new, new + count))
            new += count
            beside = chance.choice(codes) if codes and chance.random() < 0.8 else None
            after = chance.random() < 0.5
            at = len(codes) if beside is None else codes.index(beside) + after
            index = sequence.insert(added, beside, after)
            codes[at:at] = added
            assert index == sum(code not in hidden for code in codes[:at])
            insert_by_index(chance, sequence, codes, hidden, -new)
        elif pick < 7:
            shown = [code for code in codes if code not in hidden]
            if shown:
                code = chance.choice(shown)
                sequence.hide(code)
                hidden.add(code)
        elif pick < 8 and hidden:
            code = chance.choice(sorted(hidden))
            index = sequence.show(code)
            hidden.remove(code)
            assert index == sum(c not in hidden for c in codes[: codes.index(code)])
        elif chance.random() < 0.3 or often:
            for code in codes[-chance.randrange(1, 40) :] if chance.random() < 0.2 else codes[:1]:
                sequence.remove(code)
                codes.remove(code)
                hidden.discard(code)
        if often:
            sequence.check_invariants()
            assert codes == list(sequence)
    sequence.check_invariants()
    shown = [code for code in codes if code not in hidden]
    assert codes == list(sequence)
    assert shown == sequence.shown_codes()
    assert (shown[-1] if shown else None) == sequence.last()
    for index in chance.sample(range(len(shown)), min(20, len(shown))):
        assert shown[index] == sequence.at(index)
        assert index == sequence.index_of(shown[index])
        assert sequence.is_shown(shown[index])
    for code in sorted(hidden)[:5]:
        assert not sequence.is_shown(code)
        assert sequence.has(code)
    assert not sequence.has(new)
    assert 0 == sequence.index_of(new)
    with pytest.raises(IndexError):
        sequence.at(len(shown))


def test_buried_positions_join_hidden_and_first() -> None:
    """An array that was replaced keeps its old positions behind the new ones."""
    old = Sequence()
    old.insert([1, 2], None, False)
    new = Sequence(older=old)
    new.insert([3, 4], None, False)
    new.hide(3)
    assert [1, 2, 3, 4] == list(new)
    assert new.has(1)
    assert not new.is_shown(1)
    joined = new.joined()
    joined.check_invariants()
    assert [4] == joined.shown_codes()
    assert [1, 2, 3, 4] == list(joined)


def test_heads_are_remembered_where_they_were_noted() -> None:
    """They are hints for the side of an insert."""
    sequence = Sequence()
    assert sequence.head(1) is None
    sequence.note_head(2, 1)
    sequence.note_head(3, None)
    assert [1, None, None] == [sequence.head(code) for code in (2, 3, 4)]


def test_names_are_integers_and_back() -> None:
    """Also those of copies of copies."""
    names = Names()
    for name in (
        Name(b"a" * 16, 1),
        Name(b"b" * 16, 2**40, 3),
        Name(b"a" * 16, 5, 1, ((b"b" * 16, 2, 0), (b"a" * 16, 1, 7))),
    ):
        assert name == names.name(names.code(name))
    code = names.code(Name(b"a" * 16, 5, 1, ((b"b" * 16, 2, 0), (b"a" * 16, 1, 7))))
    assert 2 == names.chain_length(code)
    assert not names.is_too_long(code)
    assert (5, b"a" * 16, 1) == names.order(code)
    assert names.known_number(b"c" * 16) is None
    assert 0 == names.known_number(b"a" * 16)
    assert names.op_code(1, b"a" * 16) == names.code(Name(b"a" * 16, 1)) >> OFFSET_BITS


def test_a_document_has_a_bounded_number_of_authors() -> None:
    """Each author is a 16-bit number."""
    names = Names()
    for number in range(AUTHORS_MAX):
        names.number(number.to_bytes(16, "big"))
    with pytest.raises(RemoteProtocolError, match="at most"):
        names.number(b"\xff" * 16)


def test_save_points_are_sparser_the_older_they_are() -> None:
    """Their number grows with the logarithm, and cutting forgets the newer ones."""
    points = SavePoints()
    for count in range(4, 40_004, 4):
        points.add(count, bytes(64))
    counts = [count for count, _ in points.points()]
    assert len(counts) < 60
    assert 0 == counts[0]
    assert 40_000 == counts[-1]
    points.cut(20_000)
    assert points.last[0] <= 20_000
    assert points.before(10_000)[0] <= 10_000
    points.cut(-1)
    assert (0, bytes(64)) == points.last
