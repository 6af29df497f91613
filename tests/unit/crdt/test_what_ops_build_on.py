"""Batches tell what they build on, and are merged only where that is the same."""

from __future__ import annotations

import random

import pytest

from cytosol.crdt.actions import InsertBefore, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.contents import GAP, Contents, digest_after
from cytosol.crdt.export import encode_rows
from cytosol.crdt.grounds import Standing, _telling, grounds_of, hidden_forks, standing
from cytosol.crdt.replica import Replica
from cytosol.errors import ActionError
from cytosol.model.ids import PeerId
from cytosol.model.op import Body, Kind, Op
from cytosol.model.opcodec import decode_grounds, encode_ops, unpack_foreign_columns

US, THEM, ELSE = b"u" * 16, b"t" * 16, b"e" * 16


def wrote(author: PeerId, *values: object) -> Replica:
    """Return a history in which an author set these values, one after the other."""
    replica = Replica(author)
    add(replica, *values)
    return replica


def add(replica: Replica, *values: object) -> None:
    """Write on."""
    compiler = Compiler(replica)
    for value in values:
        compiler.dispatch(Set("$.a", value), 1)


def copy_of(replica: Replica, author: PeerId, count: int | None = None) -> Replica:
    """Return a history of another author with the same first ops."""
    copied = Replica(author)
    end = len(replica.log) if count is None else count
    copied.merge([replica.log.op(row) for row in range(end)])
    return copied


def batch_of(replica: Replica, start: int, end: int | None = None) -> bytes:
    """Return rows of a history as a batch for peers."""
    rows = range(start, len(replica.log) if end is None else end)
    return encode_rows(replica.log, rows, grounds_of(replica, Contents(), rows, {}))


def stands(replica: Replica, batch: bytes) -> Standing:
    """Return how a batch stands to a history of which nothing is trimmed."""
    columns = unpack_foreign_columns(batch)
    return standing(replica, Contents(), columns, decode_grounds(columns))


def test_grounds_of_a_run_are_those_of_its_rows() -> None:
    """Of one author, of several in turn, and whatever they have seen of each other."""
    chance = random.Random(5)
    short = 0
    for _ in range(40):
        ours, theirs = wrote(US), wrote(THEM)
        for _ in range(chance.randrange(1, 4)):
            for replica, other in ((ours, theirs), (theirs, ours)):
                add(replica, *range(chance.choice([0, 1, 30, 60])))
                if chance.random() < 0.7:
                    other.merge(replica.log.op(row) for row in range(len(replica.log)))
        size = len(ours.log)
        for _ in range(20 if size else 0):
            start = chance.randrange(size)
            rows = range(start, chance.randrange(start, size) + 1)
            short += len(_telling(ours.log, rows)) < len(rows)
            agreed, expected = {THEM: start}, {THEM: start}
            found = grounds_of(ours, Contents(), rows, agreed)
            assert grounds_of(ours, Contents(), list(rows), expected) == found
            assert expected == agreed
    assert short > 200, "hardly any run was looked at in few steps"


# --- digests ------------------------------------------------------------------------------


def test_digests_are_the_same_in_whatever_order_they_are_asked_for() -> None:
    """What is kept between two questions is only for speed."""
    replica = wrote(US, *range(3 * GAP))
    compiler = Compiler(replica)
    for action in (Set("$.l", []), Set("$.o", {}), Set("$.o.x", 1), Set("$.o.y", 1)):
        compiler.dispatch(action, 1)
    for value in range(GAP + 5):
        compiler.dispatch(InsertBefore("$.l[0]", value), 1)
    digest, expected = b"", [b""]
    for row in range(len(replica.log)):
        digest = digest_after(replica.log.op(row), digest)
        expected.append(digest)
    chance = random.Random(1)
    contents = Contents()
    for _ in range(300):
        index = chance.randrange(1, len(replica.log) + 1)
        assert expected[index] == contents.digest(replica, US, index)
        if chance.random() < 0.02:
            contents.forget()


def test_a_digest_is_folded_from_the_base_on() -> None:
    """What was trimmed is told by one digest, and points before it are forgotten."""
    replica, whole = wrote(US, *range(2 * GAP + 10)), Contents()
    asked, expected = Contents(), {}
    for index in (5, GAP, 2 * GAP, 2 * GAP + 3, 2 * GAP + 10):
        expected[index] = whole.digest(replica, US, index)
        asked.digest(replica, US, index)
    for cut in (5, 2 * GAP - 5):
        done = replica.trimmed.get(US, 0)
        rows = replica.rewind(cut)
        asked.advance(replica, cut)
        replica.trim_to(cut)
        replica.reinsert(rows)
        done += cut
        assert done == replica.trimmed[US]
        assert expected[done] == asked.base[US] == asked.digest(replica, US, done)
        assert expected[2 * GAP + 10] == asked.digest(replica, US, 2 * GAP + 10)
    assert expected[2 * GAP + 3] == Contents(dict(asked.base)).digest(replica, US, 2 * GAP + 3)


def test_who_seldom_writes_among_many_ops_is_found_without_looking_at_them() -> None:
    """The ops of an author lead from one to the next."""
    replica = wrote(US, *range(50))
    replica.merge([Op(60, THEM, 0, 1, Body(Kind.SET, key="b", payload=0))])
    add(replica, *range(50))
    replica.merge([Op(200, THEM, 60, 1, Body(Kind.SET, key="b", payload=1))])
    first, second = replica.op_at(60, THEM), replica.op_at(200, THEM)
    assert first is not None
    assert second is not None
    expected = digest_after(second, digest_after(first, b""))
    assert expected == Contents().digest(replica, THEM, 200)


# --- batches ------------------------------------------------------------------------------


def test_a_batch_tells_the_op_before_it_and_what_it_has_seen() -> None:
    """Of what is in the batch itself nothing has to be told."""
    replica = wrote(US, 1, 2, 3)
    replica.merge([Op(4, THEM, 0, 1, Body(Kind.SET, key="b", payload=0), ((US, 3),))])
    replica.merge([Op(5, ELSE, 0, 1, Body(Kind.SET, key="c", payload=0), ((US, 2), (THEM, 4)))])
    replica.merge([Op(6, ELSE, 5, 1, Body(Kind.SET, key="c", payload=1), ((US, 3),))])
    digest = Contents().digest
    assert {} == grounds_of(replica, Contents(), range(6), {})
    assert {US: (2, digest(replica, US, 2))} == grounds_of(replica, Contents(), [2, 3, 4, 5], {})
    expected = {US: (3, digest(replica, US, 3)), THEM: (4, digest(replica, THEM, 4))}
    assert expected == grounds_of(replica, Contents(), [4, 5], {})
    assert {THEM} == grounds_of(replica, Contents(), [2, 4], {}).keys() - {US}


def test_what_the_receiver_is_known_to_hold_is_not_told() -> None:
    """Nor what it was told before; so most batches of live sync tell nothing."""
    replica = wrote(US, 1, 2, 3)
    agreed = {US: 1}
    assert {} == grounds_of(replica, Contents(), [1], agreed)
    assert {US: 2} == agreed
    assert {US} == grounds_of(replica, Contents(), [2], {US: 1}).keys()
    replica.merge([Op(4, THEM, 0, 1, Body(Kind.SET, key="b", payload=0), ((US, 3),))])
    assert {US} == grounds_of(replica, Contents(), [3], agreed).keys()
    assert {US: 3, THEM: 4} == agreed


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_what_follows_fits_with_whatever_is_known_already(start: int) -> None:
    """The same ops may come twice, from several peers."""
    source = wrote(US, 1, 2, 3, 4)
    for count in range(start, 5):
        assert Standing.FITS is stands(copy_of(source, THEM, count), batch_of(source, start))


def test_what_builds_on_more_than_is_here_is_early() -> None:
    """It is brought once more when the rest is."""
    source = wrote(US, 1, 2, 3, 4)
    assert Standing.EARLY is stands(copy_of(source, THEM, 1), batch_of(source, 2))
    reader = copy_of(source, THEM)
    add(reader, 5)
    assert Standing.EARLY is stands(copy_of(source, ELSE, 3), batch_of(reader, 4))
    assert Standing.FITS is stands(copy_of(source, ELSE), batch_of(reader, 4))


def test_other_contents_under_an_id_that_a_batch_builds_on_are_a_fork() -> None:
    """Numbers are the same there, so nothing else would tell."""
    source, clone = wrote(US, 1, "ours", 3), wrote(US, 1, "theirs", 3)
    assert Standing.FORK is stands(clone, batch_of(source, 2))
    reader = copy_of(source, THEM)
    add(reader, 5)
    assert Standing.FORK is stands(clone, batch_of(reader, 3)), "of what another author has seen"


def test_an_id_that_is_not_there_is_a_fork_if_later_ones_are() -> None:
    """The author's ops were numbered differently in the other branch."""
    source, clone = wrote(US, 1, 2), wrote(US, 1)
    clone.merge([Op(5, US, 1, 1, Body(Kind.SET, key="a", payload=2))])
    add(source, 3)
    assert Standing.FORK is stands(clone, batch_of(source, 2))


@pytest.mark.parametrize("start", [0, 1])
def test_other_contents_among_the_ops_of_a_batch_are_a_fork(start: int) -> None:
    """Also where it begins below what is known here."""
    source, clone = wrote(US, 1, "ours", 3), wrote(US, 1, "theirs")
    assert Standing.FORK is stands(clone, batch_of(source, start))
    assert Standing.FITS is stands(clone, batch_of(source, 0, 1))


def test_a_batch_that_tells_nothing_is_not_compared_but_from_its_authors_first_op() -> None:
    """So ops can still be merged that come from elsewhere."""
    source, clone = wrote(US, 1, "ours", 3), wrote(US, 1, "theirs", 3)
    ops = [source.log.op(row) for row in range(3)]
    assert Standing.FITS is stands(clone, encode_ops(ops[1:]))
    assert Standing.FORK is stands(clone, encode_ops(ops))


def test_an_author_that_is_missing_in_a_batch_is_damage() -> None:
    """It is found when the ops themselves are read."""
    source = wrote(US, 1, 2)
    columns = unpack_foreign_columns(batch_of(source, 0))
    columns.author[:] = [7, 7]
    with pytest.raises(ActionError, match="do not fit together"):
        standing(source, Contents(), columns, {})


# --- bases --------------------------------------------------------------------------------


def trimmed(replica: Replica, count: int) -> tuple[Replica, Contents]:
    """Trim a history; return it with its digests."""
    contents = Contents()
    rows = replica.rewind(count)
    contents.advance(replica, count)
    replica.trim_to(count)
    if rows:
        replica.reinsert(rows)
    return replica, contents


def test_below_a_base_nothing_can_be_compared() -> None:
    """At the base itself and above it can."""
    source, clone = wrote(US, 1, 2, 3, 4), wrote(US, 1, "theirs", 3, 4)
    for replica, expected in ((copy_of(source, THEM), Standing.FITS), (clone, Standing.FORK)):
        held, contents = trimmed(replica, 3)
        for start, wanted in ((1, Standing.FITS), (3, expected)):
            columns = unpack_foreign_columns(batch_of(source, start, start + 1))
            assert wanted is standing(held, contents, columns, decode_grounds(columns))


def test_a_base_that_holds_something_else_is_noticed() -> None:
    """As far as both hold the author's ops up to there."""
    base, theirs = trimmed(wrote(US, 1, "theirs", 3), 2)
    for ours, expected in (
        (wrote(US, 1, "ours", 3), {US}),
        (wrote(US, 1, "theirs"), set()),
        (wrote(US, 1), set()),
    ):
        assert expected == hidden_forks(ours, Contents(), base, theirs)
