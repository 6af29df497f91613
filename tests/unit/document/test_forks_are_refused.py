"""Two devices with one author id: no branch is put on top of the other, and both are kept."""

from __future__ import annotations

from cytosol.crdt.actions import InsertBefore, Set
from cytosol.database.joins import PeerReplica
from cytosol.document.document import Document
from cytosol.model.ids import PeerId
from cytosol.model.singlecodec import SINGLE
from cytosol.protocol.seams import Relation
from tests.unit.document.making import AUTHOR, OTHER, open_document

MANY = 1 << 20
LAPTOP, PHONE = b"\x55" * 16, b"\x66" * 16


def seam(document: Document, other: PeerId) -> PeerReplica:
    """Return a document as the sync with another device sees it."""
    return PeerReplica(document, other, lambda: None, lambda event: None)


def send(source: Document, target: Document, known: int = 0) -> None:
    """Let one import what the other has after a number of the first author's."""
    out = source.history.export_missing({AUTHOR: known} if known else {}, MANY)
    assert out is not None
    seam(target, LAPTOP).import_batch(out[0], LAPTOP)


def list_with(*values: str) -> Document:
    """Return a document whose author has inserted these values."""
    document = open_document()
    document.dispatch(Set("$.l", []))
    for value in values:
        document.dispatch(InsertBefore("$.l[0]", value))
    return document


def test_ops_of_one_branch_do_not_come_to_stand_on_the_other() -> None:
    """The peer is told of it in the next summary."""
    original, clone = list_with("one", "ours", "more"), list_with("one", "theirs")
    send(original, clone, 3)
    assert ["theirs", "one"] == clone.get(("l",), None)
    assert {AUTHOR: 4} == seam(clone, LAPTOP).summary().refused
    assert {} == seam(clone, PHONE).summary().refused


def test_ops_that_come_before_what_they_build_on_are_left_out() -> None:
    """Nobody is told, as nothing is wrong with them."""
    original, reader = list_with("one", "two", "three"), open_document(author=OTHER)
    send(original, reader, 2)
    assert not len(reader.replica.log)
    assert not reader.replica.waiting
    assert {} == seam(reader, LAPTOP).summary().refused


def test_digests_that_nobody_compares_are_not_told() -> None:
    """A fork is seen under equal numbers only, and then by both sides."""
    original, clone = list_with("one", "ours"), list_with("one", "theirs")
    one, two = seam(original, PHONE), seam(clone, LAPTOP)
    assert {AUTHOR} == set(one.summary().contents)
    assert {} == one.summary({}).contents
    assert {} == one.summary({AUTHOR: 2, OTHER: 3}).contents
    first = one.summary()
    second = two.summary(first.latest)
    assert {AUTHOR} == set(second.contents)
    relations = {one.relation(second), two.relation(first)}
    assert {Relation.WE_ADOPT, Relation.THEY_ADOPT} == relations


def test_both_branches_are_there_once_in_the_end() -> None:
    """Whoever gives way issues its branch again."""
    original, clone = list_with("one", "ours", "more"), list_with("one", "theirs")
    one, two = seam(original, PHONE), seam(clone, LAPTOP)
    assert Relation.MERGE is one.relation(two.summary())
    send(original, clone, 3)
    relation = one.relation(two.summary())
    assert Relation.MERGE is not relation
    assert relation is not two.relation(one.summary())
    winner, loser = (two, one) if relation is Relation.WE_ADOPT else (one, two)
    loser.adopt(winner.snapshot(), LAPTOP)
    for document in (original, clone):
        held = document.get(("l",), None)
        assert len(held) == len(set(held))
    last, first = (original, clone) if relation is Relation.WE_ADOPT else (clone, original)
    out = last.history.export_missing(first.history.latest(), MANY)
    assert out is not None
    seam(first, LAPTOP).import_batch(out[0], LAPTOP)
    assert ["more", "one", "ours", "theirs"] == sorted(first.get(("l",), None))
    assert first.get(("l",), None) == last.get(("l",), None)


def test_what_was_refused_is_forgotten_once_both_hold_the_same() -> None:
    """It may have come another way; nobody has to adopt for it any more."""
    original, clone = list_with("one", "ours", "more"), list_with("one", "theirs")
    send(original, clone, 3)
    seam(clone, PHONE).adopt(seam(original, PHONE).snapshot(), PHONE)
    clone.history.refuse_stale(LAPTOP, [original.replica.log.op(2)])
    same = open_document(author=OTHER)
    seam(same, PHONE).adopt(seam(clone, PHONE).snapshot(), PHONE)
    assert seam(clone, LAPTOP).summary().refused
    assert Relation.MERGE is seam(clone, LAPTOP).relation(same.history.summary())
    assert {} == seam(clone, LAPTOP).summary().refused


def test_what_is_below_a_base_that_differs_takes_no_later_op() -> None:
    """The winner has trimmed the fork; what followed it here is issued again, under a new id."""
    original, winner = list_with("one", "ours", "more", "last"), list_with("one", "theirs")
    winner.history._trim_to(3)
    seam(original, LAPTOP).adopt(seam(winner, PHONE).snapshot(), LAPTOP)
    assert {"more", "last", "theirs", "one"} <= set(original.get(("l",), None))
    assert {AUTHOR: 3} == {a: i for a, i in original.history.latest().items() if a == AUTHOR}


def batch(source: PeerReplica, latest: dict[PeerId, int]) -> bytes:
    """Return what somebody who holds this lacks."""
    out = source.export_missing(latest, MANY)
    assert out is not None
    return out[0]


def test_live_writes_tell_nothing_once_both_are_known_to_hold_the_same() -> None:
    """So they stay single writes, and nothing is folded for them."""
    source, target = list_with("one"), open_document(author=OTHER)
    ours, theirs = seam(source, PHONE), seam(target, LAPTOP)
    assert theirs.import_batch(batch(ours, {}), LAPTOP)
    source.dispatch(Set("$.a", 1))
    write = batch(ours, dict(target.history.latest()))
    assert write.startswith(SINGLE)
    assert theirs.import_batch(write, LAPTOP)
    target.dispatch(Set("$.a", 2))
    write = batch(theirs, dict(source.history.latest()))
    assert write.startswith(SINGLE), "what it had seen came from the other"
    assert ours.import_batch(write, PHONE)
    assert not batch(seam(target, LAPTOP), {AUTHOR: 3}).startswith(SINGLE), "nobody has compared"
    compared = seam(source, PHONE)
    compared.relation(target.history.summary())
    source.dispatch(Set("$.a", 3))
    assert batch(compared, dict(target.history.latest())).startswith(SINGLE)


def test_who_has_adopted_since_takes_nothing_before_the_next_summaries() -> None:
    """The peer cannot know what is there now, and what it leaves out is not the same any more."""
    source, target = list_with("one"), open_document(author=OTHER)
    ours, theirs = seam(source, PHONE), seam(target, LAPTOP)
    theirs.import_batch(batch(ours, {}), LAPTOP)
    clone = list_with("theirs", "more", "last")
    seam(target, PHONE).adopt(seam(clone, PHONE).snapshot(), PHONE)
    source.dispatch(Set("$.a", 1))
    source.dispatch(Set("$.a", 2))
    source.dispatch(Set("$.a", 3))
    assert not theirs.import_batch(batch(ours, {AUTHOR: 4}), LAPTOP)
    assert target.get(("a",), None) is None
    assert not batch(theirs, {AUTHOR: 3}).startswith(SINGLE)
    theirs.relation(source.history.summary())
    assert not theirs.import_batch(batch(seam(source, PHONE), {AUTHOR: 4}), LAPTOP)
    assert target.history.refuses(LAPTOP), "now both are told why"


def test_after_a_refusal_nothing_of_the_peer_is_merged() -> None:
    """What follows may build on what was refused, and does not tell it again."""
    original, clone = list_with("one", "ours", "more"), list_with("one", "theirs")
    ours, theirs = seam(original, PHONE), seam(clone, LAPTOP)
    assert not theirs.import_batch(batch(ours, {AUTHOR: 3}), LAPTOP)
    original.dispatch(Set("$.a", 1))
    assert not theirs.import_batch(batch(ours, {AUTHOR: 4}), LAPTOP)
    assert clone.get(("a",), None) is None
