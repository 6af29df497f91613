"""Names from before the log lead to one place, whenever and in whatever order one asks for them."""

from __future__ import annotations

import json
import random

import pytest

from cytosol.crdt.actions import Copy, DataAction, Move, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.model.op import Body, Kind, Name, Op, Side, Spot

US, THEM, ELSE = b"u" * 16, b"t" * 16, b"e" * 16
KEYS = ["a", "b", "c"]


def trimmed(*actions: DataAction) -> tuple[Replica, Compiler]:
    """Return a replica whose own first actions are its base."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for action in actions:
        compiler.dispatch(action, 1)
    replica.trim_to(len(actions))
    return replica, compiler


def outcome(replica: Replica) -> tuple[str, list[str]]:
    """Return the document and the failures."""
    replica.check_invariants()
    log = replica.log
    failed = sorted(
        f"{log.key(log.find(code))} {failure}" for code, failure in replica.failures.items()
    )
    return json.dumps(replica.document, sort_keys=True), failed


def test_a_place_is_found_where_it_was_before_it_moved_within_the_log() -> None:
    """A late op comes before the move, though older names were looked up only after it."""
    replica, compiler = trimmed(Set("$.first", {}), Set("$.p", {"c": 1}), Set("$.x", {}))
    for action in (
        Set("$.first", {"sub": {}}),
        Set("$.p", {}),
        Set("$.p", {"c": 2}),
        Move("$.first.sub.k", "$.p.c"),
    ):
        compiler.dispatch(action, 1)
    replica.merge([Op(20, ELSE, 0, 0, Body(Kind.SET, Name(US, 3), "w", payload=1))])
    replica.merge([Op(4, THEM, 0, 0, Body(Kind.MOVE, key="taken", source=Name(US, 2, 1)))])
    assert replica.document == {
        "first": {"sub": {"k": 2}},
        "p": {},
        "x": {"w": 1},
        "taken": 1,
    }
    assert {} == replica.failures


def test_what_a_later_op_makes_is_no_older_name() -> None:
    """Such an op fails alike, whether the op that it names was there before or comes after it."""
    outcomes = []
    for late in (False, True):
        replica, _ = trimmed(Set("$.x", {}))
        early = Op(2, THEM, 0, 0, Body(Kind.SET, Name(US, 3), payload="too early"))
        later = [
            Op(3, US, 1, 0, Body(Kind.SET, key="q", payload=1)),
            Op(4, US, 3, 0, Body(Kind.SET, Name(US, 1), "y", payload=2)),
            Op(5, US, 4, 0, Body(Kind.DELETE, Name(US, 3))),
        ]
        if not late:
            replica.merge([early])
        replica.merge(later)
        if late:
            replica.merge([early])
        outcomes.append(outcome(replica))
    assert outcomes[0] == outcomes[1]
    assert '{"x": {"y": 2}}' == outcomes[0][0]
    assert 1 == len(outcomes[0][1])


def test_a_position_left_by_a_move_names_no_place() -> None:
    """The position of an element that was moved there is not what the element is called."""
    outcomes = []
    for asked_late in (False, True):
        replica, compiler = trimmed(Set("$.l", [0]), Set("$.m", 7), Move("$.l[1]", "$.m"))
        compiler.dispatch(Move("$.k", "$.l[1]"), 1)
        if asked_late:
            replica.finder.forget_base()
        replica.merge([Op(9, THEM, 0, 0, Body(Kind.SET, Name(US, 3), payload="?"))])
        outcomes.append(outcome(replica))
    assert outcomes[0] == outcomes[1]
    assert '{"k": 7, "l": [0]}' == outcomes[0][0]


def test_copies_in_the_base_are_found_by_their_names() -> None:
    """Also where the log has begun."""
    replica, compiler = trimmed(Set("$.a", {"x": 1}), Copy("$.b", "$.a"))
    name = Name(US, 2, 0, ((US, 1, 1),))
    assert replica.finder.find(replica.names.code(name)) is not None
    replica.finder.forget_base()
    compiler.dispatch(Set("$.q", 1), 1)
    replica.merge([Op(4, THEM, 0, 0, Body(Kind.DELETE, name))])
    assert {"a": {"x": 1}, "b": {}, "q": 1} == replica.document


def random_op(chance: random.Random, index: int, author: bytes, previous: int) -> Op:
    """Return an op on any names at all: of before, of later, of nobody."""

    def name() -> Name:
        links = [
            (chance.choice([US, US, THEM, ELSE]), chance.randrange(1, 24), chance.randrange(4))
            for _ in range(chance.choice([1, 1, 1, 2, 3]))
        ]
        return Name(*links[0], tuple(links[1:]))

    kind = chance.choice([Kind.SET, Kind.SET, Kind.DELETE, Kind.MOVE, Kind.MOVE, Kind.COPY])
    body = Body(kind, name())
    if kind is not Kind.DELETE:
        pick = chance.randrange(4)
        if pick == 0 and kind is Kind.SET:
            pass
        elif pick < 3:
            parent = name() if chance.random() < 0.6 else None
            body = Body(kind, parent, chance.choice(KEYS))
        else:
            body = Body(kind, name(), spot=Spot(0, name(), chance.choice([*Side][1:])))
        if kind is Kind.SET:
            value = chance.choice([1, {"a": {"b": 2}}, [3, {"c": 4}], {"a": [5, 6]}, {}])
            body = body._replace(payload=value)
        else:
            body = body._replace(source=name())
    origin = name() if chance.random() < 0.1 else None
    return Op(index, author, previous, 0, body, (), origin)


@pytest.mark.parametrize("block", range(4))
def test_any_ops_on_top_of_a_base_give_one_outcome_in_any_order_of_arrival(block: int) -> None:
    """Whatever names they use: peers cannot be made to disagree."""
    for seed in range(block * 60, block * 60 + 60):
        chance = random.Random(seed)
        actions = [
            Set("$.a", {"a": {"b": 1}, "b": [1, [2], {"c": 3}]}),
            Set("$.b", [{"a": 1}, 2]),
            Copy("$.c", "$.a"),
            Move("$.b[1]", "$.a.b[1]"),
        ]
        ops: list[Op] = []
        latest = {US: 4}
        for index in range(5, 24):
            author = chance.choice([US, THEM, ELSE])
            ops.append(random_op(chance, index, author, latest.get(author, 0)))
            latest[author] = index
        outcomes = []
        for arrival in range(3):
            replica, _ = trimmed(*actions)
            waiting = list(ops)
            if arrival:
                chance.shuffle(waiting)
            for op in waiting:
                replica.merge([op])
            assert not replica.waiting
            outcomes.append(outcome(replica))
        assert outcomes[0] == outcomes[1] == outcomes[2], f"seed {seed}"


def test_a_part_of_what_was_re_issued_and_removed_does_not_come_back() -> None:
    """A base forgets what is gone, but not that the whole was there."""
    lost = Name(ELSE, 1)
    ops = [
        Op(2, THEM, 0, 0, Body(Kind.SET, key="box", payload={"x": 1}), origin=lost),
        Op(3, THEM, 2, 0, Body(Kind.DELETE, Name(THEM, 2))),
    ]
    part = Body(Kind.SET, key="x", payload=1)
    late = Op(5, US, 0, 0, part, origin=Name(ELSE, 1, 1))
    outcomes = []
    for trims in (False, True):
        replica = Replica(US)
        replica.merge(ops)
        if trims:
            replica.trim_to(2)
        replica.merge([late])
        outcomes.append(outcome(replica))
    assert outcomes == [("{}", [])] * 2
