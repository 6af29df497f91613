"""What only one of two histories holds is issued again on top of the other one, once."""

from __future__ import annotations

import copy

import pytest

from cytosol.crdt import twins
from cytosol.crdt.actions import (
    Copy,
    DataAction,
    Delete,
    InsertAfter,
    InsertBefore,
    Set,
    Transaction,
)
from cytosol.crdt.compile import Compiler
from cytosol.crdt.readopt import reissue
from cytosol.crdt.replica import Replica
from cytosol.model.op import Body, Kind, Name, Op

US, THEM, ELSE, LOST = b"u" * 16, b"t" * 16, b"e" * 16, b"l" * 16
NEW, NEXT = b"n" * 16, b"o" * 16


def written(*actions: DataAction) -> Replica:
    """Return a history of our own."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for action in actions:
        compiler.dispatch(action, 1)
    return replica


def on_top_of(history: Replica, author: bytes) -> Replica:
    """Return a replica of another author that holds the same ops."""
    replica = Replica(author)
    replica.merge(ops(history))
    return replica


def ops(replica: Replica) -> list[Op]:
    """Return the ops of a log."""
    return [replica.log.op(row) for row in range(len(replica.log))]


def test_two_writings_under_one_id_are_both_kept() -> None:
    """As after a backup was restored; what was written below comes along."""
    begin = Set("$.l", ["a"])
    ours = written(begin, InsertAfter("$.l[0]", "ours"), Set("$.mine", {}), Set("$.mine.x", 1))
    theirs = written(begin, InsertAfter("$.l[0]", "theirs"), Set("$.yours", {}))
    first, second = on_top_of(theirs, NEW), on_top_of(theirs, NEXT)
    assert 3 == reissue(ours, first) == reissue(ours, second)
    for one in (first, second):
        one.check_invariants()
        assert ["a", "ours", "theirs"] == sorted(one.document["l"])
        assert ({"x": 1}, {}) == (one.document["mine"], one.document["yours"])
        assert {} == one.failures
    alone = copy.deepcopy(first.document)
    first.merge([op for op in ops(second) if op.author == NEXT])
    assert alone == first.document, "whoever holds the same writings calls them alike"


def test_what_was_issued_again_before_keeps_its_first_origin() -> None:
    """So it counts once, however many histories it has gone through."""
    ours = written(Set("$.a", 0))
    ours.merge(
        [
            Op(6, ELSE, 0, 0, Body(Kind.SET, key="box", payload={}), (), Name(LOST, 2)),
            Op(7, ELSE, 6, 0, Body(Kind.SET, Name(ELSE, 6), "x", payload=1)),
            Op(8, ELSE, 7, 0, Body(Kind.COPY, key="c", source=Name(ELSE, 6)), (), Name(LOST, 4)),
            Op(9, ELSE, 8, 0, Body(Kind.ADD, Name(ELSE, 8, 0, ((ELSE, 7, 0),)), payload=4)),
        ]
    )
    there = on_top_of(written(Set("$.a", 0)), NEW)
    unseen = [
        Op(2, THEM, 0, 0, Body(Kind.SET, key="b", payload=0)),
        Op(3, THEM, 2, 0, Body(Kind.SET, key="b", payload=1)),
    ]
    there.merge(unseen[:1])
    there.trim_to(2)
    assert 4 == reissue(ours, there)
    expected = {"a": 0, "b": 0, "box": {"x": 1}, "c": {"x": 5}}
    assert (expected, {}) == (there.document, there.failures)
    origins = [Name(LOST, 2), Name(ELSE, 7), Name(LOST, 4), Name(ELSE, 9)]
    assert origins == [op.origin for op in ops(there)]
    further = on_top_of(written(Set("$.a", 0)), NEXT)
    further.merge(unseen)
    further.trim_to(3)
    assert 4 == reissue(there, further)
    expected["b"] = 1
    assert expected == further.document
    assert origins == [op.origin for op in ops(further)]
    there.merge([unseen[1], *ops(further)])
    assert (expected, {}) == (there.document, there.failures)


def test_of_two_ops_under_one_id_that_with_an_origin_keeps_it() -> None:
    """It has a name that everybody knows already."""
    ours, theirs = written(Set("$.a", 0)), written(Set("$.a", 0))
    ours.merge([Op(6, ELSE, 0, 0, Body(Kind.SET, key="p", payload=1), (), Name(LOST, 2))])
    theirs.merge([Op(6, ELSE, 0, 0, Body(Kind.SET, key="q", payload=2))])
    there = on_top_of(theirs, NEW)
    assert 1 == reissue(ours, there)
    assert {"a": 0, "p": 1, "q": 2} == there.document
    assert Name(LOST, 2) == ops(there)[-1].origin


def test_what_was_written_later_stands_whatever_else_happened_there() -> None:
    """Insertions and deletions date nothing; assignments and sums do."""
    begin = [Set("$.a", 0), Set("$.n", 0), Set("$.l", [0]), Set("$.gone", 0), Set("$.o", 0)]
    ours = written(*begin, Set("$.a", "older"), Set("$.n", 5), Set("$.o", "only"))
    theirs = written(*begin, Set("$.fork", 1))
    theirs.merge(
        [
            Op(20, THEM, 0, 0, Body(Kind.DELETE, Name(US, 4))),
            Op(21, THEM, 20, 0, Body(Kind.COPY, key="copy", source=Name(US, 3))),
            Op(22, THEM, 21, 0, Body(Kind.SET, key="a", payload="newer")),
            Op(23, THEM, 22, 0, Body(Kind.ADD, Name(US, 2), payload=1)),
        ]
    )
    there = on_top_of(theirs, NEW)
    assert 3 == reissue(ours, there)
    there.check_invariants()
    expected = {"a": "newer", "l": [0], "copy": [0], "o": "only", "fork": 1}
    assert expected == {key: item for key, item in there.document.items() if key != "n"}


def test_what_was_added_to_or_moved_later_stands() -> None:
    """Whether it was written earlier under the name or at the key."""
    for later, expected in (
        (Body(Kind.ADD, Name(US, 1), payload=1), {"n": 1, "o": 0}),
        (Body(Kind.MOVE, key="n", source=Name(US, 2)), {"n": 0}),
    ):
        history = written(Set("$.n", 0), Set("$.o", 0))
        history.merge([Op(5, THEM, 0, 0, later)])
        older = Body(Kind.SET, key="n", payload="older")
        history.merge([Op(9, ELSE, 0, 0, older, (), Name(LOST, 3))])
        assert (expected, {}) == (history.document, history.failures)


def test_what_a_transaction_of_our_own_touches_is_protected_from_an_older_deletion() -> None:
    """As what a single action touches."""
    begin = Set("$.a", 0), Set("$.b", 1), Set("$.c", 2)
    ours = written(*begin)
    ours.merge(
        [
            Op(4, ELSE, 0, 0, Body(Kind.DELETE, Name(US, 2))),
            Op(5, ELSE, 4, 0, Body(Kind.DELETE, Name(US, 3))),
        ]
    )
    ours.trim_to(5)
    there = on_top_of(written(*begin), NEW)
    there.clock = 9
    Compiler(there).dispatch(Transaction([Set("$.b", "later"), Set("$.d", 3)]), 1)
    reissue(ours, there)
    assert ({"a": 0, "b": "later", "d": 3}, {}) == (there.document, there.failures)


def test_ops_without_effect_protect_nothing_from_an_older_deletion() -> None:
    """They failed, or said again what was there."""
    ours = written(Set("$.a", 0), Set("$.b", 1), Set("$.c", 2))
    there = on_top_of(written(Set("$.a", 0), Set("$.b", 1)), NEW)
    ours.merge([Op(4, ELSE, 0, 0, Body(Kind.DELETE, Name(US, 2)))])
    ours.trim_to(4)
    there.merge(
        [
            Op(5, THEM, 0, 0, Body(Kind.SET, Name(LOST, 1), "k", payload="nowhere")),
            Op(6, THEM, 5, 0, Body(Kind.SET, key="a", payload="again"), (), Name(US, 1)),
        ]
    )
    reissue(ours, there)
    there.check_invariants()
    assert {"a": 0, "c": 2} == there.document
    assert 1 == len(there.failures)


def test_what_fits_stays_what_it_is() -> None:
    """An op that builds on nothing but what both hold has one id, wherever it goes."""
    begin = Set("$.l", ["a"])
    ours = written(begin)
    ours.merge(
        [
            Op(2, ELSE, 0, 0, Body(Kind.SET, key="fits", payload=1), ((US, 1),)),
            Op(3, US, 1, 0, Body(Kind.SET, key="x", payload="ours"), ((ELSE, 2),)),
            Op(4, ELSE, 2, 0, Body(Kind.SET, key="fits", payload=2)),
            Op(5, ELSE, 4, 0, Body(Kind.SET, key="built", payload=3), ((US, 3),)),
            Op(6, LOST, 0, 0, Body(Kind.SET, key="more", payload=4), ((US, 1), (ELSE, 4))),
        ]
    )
    there = on_top_of(written(begin, Set("$.y", "theirs"), Set("$.z", "theirs")), NEW)
    assert 2 == reissue(ours, there)
    there.check_invariants()
    expected = {"l": ["a"], "x": "ours", "y": "theirs", "z": "theirs"}
    assert expected | {"fits": 2, "built": 3, "more": 4} == there.document
    made = {op.body.key: (op.author, op.origin) for op in ops(there)}
    assert (ELSE, None) == made["fits"]
    assert (LOST, None) == made["more"]
    assert NEW == made["x"][0] == made["built"][0]


def test_what_builds_on_a_fork_is_called_alike_wherever_the_branches_part() -> None:
    """It can have another op under its id, too; nobody is to take the one for the other."""
    begin, second, third = Set("$.l", []), Set("$.b", 2), Set("$.c", 3)
    ours = written(begin, second, third, InsertBefore("$.l[0]", "ours"))
    late = on_top_of(written(begin, second, Set("$.c", "late"), Set("$.d", "late")), NEW)
    early = on_top_of(written(begin, Set("$.b", "early"), Set("$.c", "early")), NEXT)
    reissue(ours, late)
    reissue(ours, early)
    reissue(late, early)
    early.check_invariants()
    assert ["ours"] == early.document["l"]
    names = {op.origin for op in ops(late) if op.origin is not None}
    assert names <= {op.origin for op in ops(early)}


def test_a_long_branch_has_few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document cannot know many authors, and every pseudonym is one."""
    monkeypatch.setattr(twins, "PSEUDONYMS_MAX", 40)
    ours = written(Set("$.l", []), *(InsertBefore("$.l[0]", str(at)) for at in range(500)))
    there = on_top_of(written(Set("$.l", "theirs")), NEW)
    reissue(ours, there)
    there.check_invariants()
    pseudonyms = {op.origin.author for op in ops(there) if op.origin is not None}
    assert 40 == len(pseudonyms)


def test_a_branch_that_wins_after_all_is_not_issued_again() -> None:
    """A device gave way to one branch, and that gives way to the other: each insert stays one."""
    begin = Set("$.l", [])
    branch = written(begin, *(InsertBefore("$.l[0]", str(at)) for at in range(300)))
    there = on_top_of(written(begin, Set("$.x", "theirs")), NEW)
    assert 300 == reissue(branch, there)
    there.merge(
        [
            Op(900, NEW, there.clock, 0, Body(Kind.SET, key="y", payload=1)),
            Op(901, NEW, 900, 0, Body(Kind.DELETE, there_names(there, "299"))),
        ]
    )
    back = on_top_of(branch, NEXT)
    assert 3 == reissue(there, back)
    back.check_invariants()
    assert [str(at) for at in range(299)] == sorted(back.document["l"], key=int)
    assert ("theirs", 1) == (back.document["x"], back.document["y"])


def there_names(replica: Replica, value: str) -> Name:
    """Return the name of the op that inserted a value."""
    op = next(op for op in ops(replica) if op.body.payload == value)
    return Name(op.author, op.index)


def test_nothing_is_put_on_a_base_that_holds_something_else() -> None:
    """Who knows that the trimmed ops of an author differ takes none of his later ones for ours."""
    ours = written(Set("$.a", "ours"), Set("$.b", "ours"), Set("$.c", "ours"))
    for hidden, author in ((frozenset(), US), (frozenset({US}), NEW)):
        there = on_top_of(written(Set("$.a", "theirs"), Set("$.b", "theirs")), NEW)
        there.trim_to(2)
        reissue(ours, there, None, hidden)
        there.check_invariants()
        assert {"a": "theirs", "b": "theirs", "c": "ours"} == there.document
        assert [author] == [op.author for op in ops(there)]


def test_a_part_of_a_copy_that_is_known_to_be_deleted_stays_away() -> None:
    """A base does not name it any more; but who knows the copy and its source knew of it."""
    for source, is_known in ((US, True), (LOST, False)):
        there = written(Set("$.l", ["x"]), Copy("$.m", "$.l"), Delete("$.m[0]"))
        there.trim_to(3)
        part = Name(US, 2, 0, ((source, 1, 1),))
        ours = Replica(ELSE)
        ours.merge([Op(9, ELSE, 0, 0, Body(Kind.SET, key="part", payload="x"), (), part)])
        history = copy.deepcopy(there)
        history.renew_author(NEW)
        assert (0 if is_known else 1) == reissue(ours, history)
        history.check_invariants()
        expected = {"l": ["x"], "m": []}
        assert (expected if is_known else {**expected, "part": "x"}) == history.document
        assert {} == history.failures


# --- who calls an op what ---------------------------------------------------------------------


SAID = Body(Kind.SET, key="x", payload="said")
BEGIN = Set("$.l", [])


def on_our_branch() -> Replica:
    """Return a history where another author has built on what a twin never wrote."""
    ours = written(BEGIN, Set("$.ours", 1))
    ours.merge([Op(9, ELSE, 0, 7, SAID, ((US, 2),))])
    return ours


def where_it_stands(origin: Name, body: Body = SAID, timestamp: int = 7) -> Replica:
    """Return the twin's history, where somebody has issued an op again."""
    there = on_top_of(written(BEGIN, Set("$.twin", 1)), NEW)
    there.merge([Op(12, THEM, 0, timestamp, body, ((US, 1),), origin)])
    return there


def test_who_knew_of_no_fork_called_an_op_by_its_id() -> None:
    """Who knows of it would use a pseudonym, and then the op would be there twice."""
    there = where_it_stands(Name(ELSE, 9))
    assert 1 == reissue(on_our_branch(), there), "the op of ours below it"
    there.check_invariants()
    assert {"l": [], "twin": 1, "ours": 1, "x": "said"} == there.document


def test_what_follows_an_op_that_was_issued_again_acts_on_it() -> None:
    """By whatever name it is known."""
    ours = on_our_branch()
    ours.merge([Op(10, ELSE, 9, 8, Body(Kind.SET, Name(ELSE, 9), payload="later"))])
    there = where_it_stands(Name(ELSE, 9))
    assert 2 == reissue(ours, there)
    assert "later" == there.document["x"]
    assert {} == there.failures


def test_what_a_twin_said_under_the_id_is_another_op() -> None:
    """Whatever stands there and says something else, or cannot be told any more."""
    unlike = SAID._replace(key="y")
    trimmed = where_it_stands(Name(ELSE, 9), unlike)
    trimmed.trim_to(len(trimmed.log))
    for there, hidden in (
        (where_it_stands(Name(ELSE, 9), unlike._replace(payload="other")), set()),
        (where_it_stands(Name(ELSE, 9), unlike, timestamp=6), set()),
        (trimmed, {US}),
    ):
        reissue(on_our_branch(), there, hidden=hidden)
        there.check_invariants()
        assert "said" == there.document["x"]
        assert "y" in there.document


def test_what_repeats_an_op_of_a_branch_stays_silent() -> None:
    """Somebody had issued it again, and the op itself was there."""
    for timestamp, key, expected in ((7, "x", {"x"}), (0, "x", {"x"}), (8, "z", {"x", "z"})):
        for seen in ((), ((US, 2),)):
            ours = on_our_branch()
            said = SAID._replace(key=key)
            ours.merge([Op(12, THEM, 0, timestamp, said, seen, Name(ELSE, 9))])
            assert "z" not in ours.document
            later = Body(Kind.SET, Name(THEM, 12), payload="later")
            ours.merge([Op(14, THEM, 12, 9, later)])
            there = on_top_of(written(BEGIN, Set("$.twin", 1)), NEW)
            reissue(ours, there)
            there.check_invariants()
            assert {"l", "twin", "ours"} | expected == set(there.document)
            assert "later" in there.document.values()
            if seen:
                assert len(expected) == [op.body.payload for op in ops(there)].count("said")


OTHER = SAID._replace(key="y", payload="other")


def with_twin(body: Body = OTHER) -> Replica:
    """Return a history that has another op under the id of what was issued again."""
    twin = on_top_of(written(BEGIN), NEXT)
    twin.merge([Op(9, ELSE, 0, 6, body, ((US, 1),))])
    return twin


def test_what_a_twin_had_silenced_is_issued_again() -> None:
    """By its id at first, by a pseudonym once the twin is there."""
    for merges_first in (False, True):
        there, twin = where_it_stands(Name(ELSE, 9)), with_twin()
        if merges_first:
            there.merge([op for op in ops(twin) if op.author == ELSE])
            assert "x" not in there.document
        reissue(there, twin)
        twin.check_invariants()
        assert ("said", "other") == (twin.document.get("x"), twin.document.get("y"))


def test_an_op_is_not_merged_over_what_its_twin_is_known_by() -> None:
    """It would silence that, and all that builds on it."""
    there = where_it_stands(Name(ELSE, 9))
    there.merge([Op(13, THEM, 12, 7, SAID._replace(key="z"), (), Name(LOST, 3))])
    assert 1 == reissue(with_twin(), there)
    there.check_invariants()
    assert ("said", "other") == (there.document.get("x"), there.document.get("y"))
    assert there.latest.get(ELSE) is None


def test_an_op_is_not_merged_beside_itself_under_a_pseudonym() -> None:
    """Whoever has it under its id learns its other name, and calls it so from then on."""
    for body in (OTHER, SAID):
        history = where_it_stands(Name(ELSE, 9))
        reissue(with_twin(), history)
        history.renew_author(LOST)
        ours = with_twin(body)
        if body is SAID:
            ours = on_top_of(written(BEGIN), NEXT)
            ours.merge([Op(9, ELSE, 0, 7, SAID, ((US, 1),))])
        ours.merge([Op(11, ELSE, 9, 8, Body(Kind.SET, Name(ELSE, 9), payload="later"))])
        reissue(ours, history)
        history.check_invariants()
        assert "later" == history.document[body.key or ""]


def test_what_has_a_pseudonym_meets_the_op_itself_and_what_it_was_called_before() -> None:
    """All of them are one, in whatever order they come."""
    one = where_it_stands(Name(ELSE, 9))
    renamed = with_twin()
    reissue(one, renamed)
    later = Body(Kind.SET, there_names(renamed, "said"), payload="later")
    renamed.merge([Op(40, NEXT, renamed.latest[NEXT], 8, later)])
    again = on_top_of(written(BEGIN, Set("$.twin", 1)), b"a" * 16)
    again.merge([Op(15, b"b" * 16, 0, 7, SAID, ((US, 1),), Name(ELSE, 9))])
    itself = on_top_of(written(BEGIN, Set("$.twin", 1)), b"c" * 16)
    itself.merge([Op(9, ELSE, 0, 7, SAID, ((US, 1),))])
    for history in (again, itself):
        reissue(renamed, history)
        history.check_invariants()
        assert {"l": [], "twin": 1, "x": "later", "y": "other"} == history.document
        assert 1 == [op.body.payload for op in ops(history)].count("said")


def test_pseudonyms_that_are_taken_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are few; with none left the op has its first one after all, and is silent."""
    for most in (1, 2, 3):
        monkeypatch.setattr(twins, "PSEUDONYMS_MAX", most)
        there = on_top_of(written(BEGIN, Set("$.twin", 1)), NEW)
        for at in range(3):
            reissue(written(BEGIN, Set(f"$.branch{at}", at)), there)
            there.check_invariants()
        assert most == sum(key.startswith("branch") for key in there.document)
