"""Inserts that wait to be shown by their list are there for everybody who looks."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest

import cytosol
from cytosol.crdt import late as late_inserts
from cytosol.crdt import quick
from cytosol.crdt.late import Backlog, LateInserts


@pytest.fixture(autouse=True)
def _everything_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nearly every insert wait, and few be many."""
    monkeypatch.setattr(quick, "FAR", 2)
    monkeypatch.setattr(late_inserts, "FAR", 2)
    monkeypatch.setattr(late_inserts, "FEW", 3)
    monkeypatch.setattr(late_inserts, "LATE_MIN", 9)


@pytest.mark.parametrize("seed", range(20))
def test_a_list_with_a_backlog_is_a_list(seed: int) -> None:
    """Insert anywhere, look at anything, settle now and then."""
    chance = random.Random(seed)
    expected = list(range(-20, 0))
    native = expected.copy()
    backlog = Backlog(native)
    index = 0
    for item in range(150):
        nearby = max(0, min(len(expected), index + chance.randrange(-2, 3)))
        index = chance.choice([nearby, chance.randrange(len(expected) + 1)])
        backlog.insert(index, item)
        expected.insert(index, item)
        assert len(expected) == len(backlog)
        for where in chance.sample(range(-len(expected), len(expected)), 4):
            assert expected[where] == backlog.at(where)
        if chance.random() < 0.1:
            backlog.settle()
            assert expected == native
    assert expected == [backlog.at(where) for where in range(len(expected))]


def test_inserts_into_many_lists_wait_by_themselves() -> None:
    """Near the end none has to, and none does where that is not allowed."""
    late = LateInserts()
    lists = [[0] * 5, [1] * 5, [2] * 5]
    late.insert(lists[0], 1, "a", True)
    late.insert(lists[1], 4, "b", True)
    late.insert(lists[2], 1, "c", False)
    assert [[0] * 5, [1, 1, 1, 1, "b", 1], [2, "c", 2, 2, 2, 2]] == lists
    late.settle()
    assert [0, "a", 0, 0, 0, 0] == lists[0]
    assert not late


class Writer:
    """A database with a list, and the list that it should have."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.state = cytosol.InMemorySaveState() if seed % 2 else None
        self.db = self.open()
        self.expected: list[Any] = [[n] for n in range(10)]
        self.db.dispatch({"action": "Set", "path": "$.list", "payload": self.expected})
        self.items = count(100)
        self.waited = 0

    def open(self) -> cytosol.Database:
        """Open the database, which has no network and keeps all history."""
        return cytosol.open(
            self.state,
            app_id="6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            network=False,
            min_history=-1,
            max_history=-1,
        )

    def write(self) -> None:
        """Insert at some index, mostly, or delete, set or move an element, or take that back."""
        db, expected, item = self.db, self.expected, next(self.items)
        index = self.chance.randrange(len(expected))
        path = f"$.list[{index}]"
        insert = {"action": "InsertBefore", "path": path, "payload": item}
        pick = self.chance.random()
        if pick < 0.8:
            after = self.chance.random() < 0.4
            db.dispatch({**insert, "action": "InsertAfter" if after else "InsertBefore"})
            expected.insert(index + after, item)
        elif pick < 0.85:
            db.dispatch({"action": "Set", "path": f"$.list[{len(expected)}]", "payload": item})
            expected.append(item)
        elif pick < 0.9:
            db.dispatch({"action": "Delete", "path": path})
            del expected[index]
        elif pick < 0.93:
            db.dispatch({"action": "Set", "path": path, "payload": item})
            expected[index] = item
        elif pick < 0.96:
            delete = {"action": "Delete", "path": path}
            db.dispatch({"action": "Transaction", "payload": [insert, insert, delete, insert]})
            expected[index:index] = [item, item]
        else:
            as_it_would_be = [*expected[:index], item, *expected[index:]]
            assert as_it_would_be == db._document.preview(
                [insert], lambda document: document["list"]
            )
        self.waited += bool(db._document._late)

    def look(self) -> None:
        """Look at an element, or at more."""
        db, expected = self.db, self.expected
        index = self.chance.randrange(-len(expected) - 3, len(expected) + 3)
        shown = [expected[index]] if -len(expected) <= index < len(expected) else []
        pick = self.chance.random()
        if pick < 0.6:
            assert (shown or [None])[0] == db.get("list", index)
            assert "no" == db.get("list", len(expected), 0, default="no")
            assert None is db.get("list", "key")
        elif pick < 0.8:
            first = self.chance.randrange(5)
            inside = shown[0] if shown else None
            assert (inside[0] if type(inside) is list else None) == db.get("list", index, 0)
            assert [v[0] for v in expected[first:][:1] if type(v) is list] == db.query_once(
                f"$.list[{first}][0]"
            )
        elif pick < 0.9:
            assert shown == db.query_once(f"$.list[{index}]")
        else:
            assert expected == db.get("list")


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_list_is_what_was_written_whoever_looks(seed: int, subscribed: bool) -> None:
    """By index, by a query, as a whole, in a preview, in a subscription and when it is checked."""
    writer = Writer(seed)
    heard: list[Any] = []
    if subscribed:
        writer.db.subscribe("$.list[3:6]", heard.append)
    for _ in range(200):
        writer.write()
        if subscribed:
            assert writer.expected[3:6] == heard[-1]
        elif writer.chance.random() < 0.3:
            writer.look()
    assert writer.expected == writer.db.get("list")
    writer.db.check()
    writer.db.close()
    if writer.state is not None:
        with writer.open() as again:
            assert writer.expected == again.get("list")
    assert (writer.waited > 50) is not subscribed
