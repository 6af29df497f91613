"""Random ops, most of them nonsense: the fold never raises and the tree stays a tree."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.oracle.fold import Oracle, fold
from tests.oracle.histories import ALICE, BOB, CAROL, History, act, copied, nth
from tests.oracle.invariants import check_invariants

AUTHORS = (ALICE, BOB, CAROL)
VALUES = (0, 1, -2.5, True, None, "x", [], {}, [1, [2]], {"a": 1, "b": {"a": []}}, [{"a": 1}])
KINDS = (
    *("Set", "Set", "Set", "Set", "Move", "Move", "Move", "Copy", "Copy", "Delete"),
    *("InitObject", "InitArray", "Add", "Multiply"),
    *("InsertBefore", "InsertAfter", "InsertAfter", "InsertUnique"),
)


class Scribbler:
    """Make ops of every kind about names that exist, existed, or never will."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.history = History()
        self.shown: list[dict[str, Any]] = []
        for key in "abcd":
            value = {"a": [1, [2], {}], "b": {"a": []}, "c": 1}
            self.history.do("Set", key, payload=value)

    def name(self) -> dict[str, Any]:
        """Return a random name, mostly one of something that is shown."""
        if self.shown and self.random.random() < 0.9:
            return self.random.choice(self.shown)
        return self.any_name()

    def any_name(self) -> dict[str, Any]:
        """Return a random name that some op may have given."""
        pick = self.random.random
        name = {
            "author": self.random.choice(AUTHORS),
            "index": self.random.randint(1, max(1, self.history.index)),
        }
        if self.history.ops and pick() < 0.8:
            name = dict(self.random.choice(self.history.ops)["id"])
        if pick() < 0.4:
            name = nth(name, self.random.randint(0, 4))
        return copied(name, self.any_name()) if pick() < 0.15 else name

    def action(self) -> dict[str, Any]:
        """Return a random inner action."""
        kind = self.random.choice(KINDS)
        key = self.random.choice("abcdef")
        forms = [(key,), (self.name(), key), (self.name(), 0)]
        if kind in ("Set", "InitObject", "InitArray"):
            forms.append((self.name(),))
        elif kind in ("InsertBefore", "InsertAfter"):
            forms = [(self.name(), 0)]
        elif kind in ("Delete", "Add", "Multiply", "InsertUnique"):
            forms = [(self.name(),)]
        target = self.random.choice(forms)
        rest: dict[str, Any] = {}
        if kind in ("Move", "Copy"):
            rest["source"] = self.name()
        elif kind in ("Add", "Multiply"):
            rest["payload"] = self.random.choice([1, -2, 0.5, 2**62])
        elif kind not in ("Delete", "InitObject", "InitArray"):
            rest["payload"] = self.random.choice(VALUES)
        if isinstance(target[-1], int) or kind == "InsertUnique":
            rest[self.random.choice(["before", "after"])] = self.name()
            if isinstance(target[-1], int) and self.random.random() < 0.2:
                rest["fill"] = self.random.randint(1, 3)
        return act(kind, *target, **rest)

    def write(self, count: int) -> list[dict[str, Any]]:
        """Return a history of so many ops."""
        for number in range(count):
            if number % 5 == 0:
                self.shown = Oracle(self.history.ops).shown_names()
            body = self.action()
            if self.random.random() < 0.15:
                inner = [self.action() for _ in range(self.random.randint(1, 4))]
                body = {"action": "Transaction", "payload": inner}
            if self.random.random() < 0.05:
                body["origin"] = {"author": CAROL, "index": self.random.randint(900, 903)}
            elif self.random.random() < 0.03:
                body["origin"] = self.any_name()
            self.history.add(body, by=self.random.choice(AUTHORS), index=None)
        return self.history.ops


@pytest.mark.parametrize("seed", range(30))
def test_the_tree_stays_a_tree_after_any_ops(seed):
    """Also when most of them fail, at every tenth step of the way."""
    ops = Scribbler(seed).write(120)
    for count in range(10, 121, 10):
        check_invariants(Oracle(ops[:count], places_max=60))


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_arrival_means_nothing(seed):
    """Shuffled ops fold to the same document, failures and hash."""
    ops = Scribbler(seed).write(80)
    shuffled = random.Random(seed).sample(ops, len(ops))
    assert fold(ops) == fold(shuffled)


@pytest.mark.parametrize("seed", range(10))
def test_an_op_that_fails_leaves_the_document_as_it_was(seed):
    """Step by step, for every failure."""
    ops = Scribbler(1_000 + seed).write(60)
    for count in range(1, len(ops) + 1):
        before, after = fold(ops[: count - 1]), fold(ops[:count])
        if len(after.failures) > len(before.failures) and "origin" not in str(ops[:count]):
            assert before.document == after.document
