"""Random ops, most of them nonsense: the fold never raises and the tree stays a tree."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.oracle.dates import date_of
from tests.oracle.fold import Failed, Oracle, Superseded, fold
from tests.oracle.histories import ALICE, BOB, CAROL, History, act, copied, nth
from tests.oracle.invariants import check_invariants
from tests.oracle.tree import Kind, read_name

AUTHORS = (ALICE, BOB, CAROL)
LOST = ("00000000-0000-4000-8000-000000000000", "0fffffff-ffff-4fff-8fff-ffffffffffff")
VALUES = (0, 1, -2.5, True, None, "x", [], {}, [1, [2]], {"a": 1, "b": {"a": []}}, [{"a": 1}])
KINDS = (
    *("Set", "Set", "Set", "Set", "Move", "Move", "Move", "Copy", "Copy", "Delete"),
    *("InitObject", "InitArray", "Add", "Multiply"),
    *("InsertBefore", "InsertAfter", "InsertAfter", "InsertUnique"),
)
KINDS_OF_WRITES = (
    *("Set", "Set", "Set", "InitObject", "InitArray", "Delete"),
    *("Add", "Move", "Move", "Move", "Copy"),
)
WRITTEN = (0, 1, {"a": 1}, {"a": {"b": 2}}, {"b": [3]})
TIMES = ("past", "future")


def seeds(count: int) -> list[Any]:
    """Return so many seeds: a fifth of them for the quick tests."""
    return [
        seed if seed % 5 == 0 else pytest.param(seed, marks=pytest.mark.long)
        for seed in range(count)
    ]


class Scribbler:
    """Make ops of every kind about names that exist, existed, or never will."""

    def __init__(self, seed: int, re_issued: float = 0.2) -> None:
        self.random = random.Random(seed)
        self.re_issued = re_issued
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

    def origin(self) -> dict[str, Any]:
        """Return a random origin, mostly a lost op with a date among those of the others."""
        pick = self.random.random()
        if pick < 0.15:
            return self.any_name()
        if pick < 0.3:
            return {"author": CAROL, "index": self.random.randint(900, 903)}
        now = self.history.index
        index = self.random.choice([now // 2, now - 3, now, now + 1, now + 20])
        name = {"author": self.random.choice(LOST), "index": index + self.random.randint(0, 9)}
        if self.random.random() < 0.3:
            name = nth(name, self.random.randint(0, 2))
        return copied(name, self.any_name()) if self.random.random() < 0.1 else name

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

    def look(self, oracle: Oracle) -> None:
        """See what is there, for the next ops."""
        self.shown = oracle.shown_names()

    def write(self, count: int) -> list[dict[str, Any]]:
        """Return a history of so many ops."""
        for number in range(count):
            if number % 5 == 0:
                self.look(Oracle(self.history.ops))
            body = self.action()
            if self.random.random() < 0.15:
                inner = [self.action() for _ in range(self.random.randint(1, 4))]
                body = {"action": "Transaction", "payload": inner}
            if self.random.random() < self.re_issued:
                body["origin"] = self.origin()
            self.history.add(body, by=self.random.choice(AUTHORS), index=None)
        return self.history.ops


class Rewriter(Scribbler):
    """Write over and over at a few keys, so that dates meet."""

    def look(self, oracle: Oracle) -> None:
        """See what is there, and what of it has keys."""
        super().look(oracle)
        places = [(name, oracle.find(name)) for name in self.shown]
        self.objects = [name for name, place in places if place and place.content is Kind.OBJECT]

    def action(self) -> dict[str, Any]:
        """Return a random inner action on one of few places, or below it."""
        kind = self.random.choice(KINDS_OF_WRITES)
        name = self.name()
        key = self.random.choice("ab")
        parent = self.random.choice([None, *self.objects])
        keyed = (key,) if parent is None else (parent, key)
        match kind:
            case "Move" | "Copy":
                return act(kind, *keyed, source=name)
            case "Set":
                target = keyed if self.random.random() < 0.5 else (name,)
                return act(kind, *target, payload=self.random.choice(WRITTEN))
            case "InitObject" | "InitArray":
                return act(kind, *(keyed if self.random.random() < 0.5 else (name,)))
            case "Add":
                return act(kind, name, payload=1)
            case _:
                return act(kind, name)


@pytest.mark.parametrize("seed", seeds(30))
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


class Watched(Oracle):
    """Look at the document before and after every op that should leave it as it was."""

    def __init__(self, ops):
        self.seen = Counter()  # what origins and dates led to, and when the lost op would stand
        self.found = []  # names, and what they found
        super().__init__(ops)

    def _apply(self, op):
        before, failures = self.document(), len(self.failures)
        self.is_superseded = False
        found = self.find(op["origin"]) if "origin" in op else None
        is_first = "origin" not in op or read_name(op["origin"]) not in self._origins
        super()._apply(op)
        failed = len(self.failures) > failures
        if failed or found or (self.is_superseded and op["action"] != "Transaction"):
            assert self.document() == before
        if found:
            assert not failed
            self.seen["Found", "first" if is_first else "again"] += 1
            assert not is_first or self.find(op["id"]) is found
        self._see_that_names_stay(op)

    def _see_that_names_stay(self, op):
        """Assert that what a name found once it finds ever after."""
        for name in (op["id"], nth(op["id"], 1), op.get("origin", op["id"])):
            self.found.append((name, self.find(name)))
        for name, place in self.found:
            assert place is None or self.find(name) is place

    def _look_at_dates(self, action, place):
        try:
            super()._look_at_dates(action, place)
        except (Superseded, Failed) as looked:
            self.is_superseded = isinstance(looked, Superseded)
            is_past = self._date < date_of({"id": self._op["id"]})
            self.seen[type(looked).__name__, "past" if is_past else "future"] += 1
            raise

    def _move(self, action, first):
        try:
            super()._move(action, first)
        except Superseded:
            self.is_superseded = True
            self.seen["Superseded", "move"] += 1
            raise


@pytest.mark.parametrize("seed", seeds(20))
def test_what_fails_or_is_superseded_leaves_the_document_as_it_was(seed):
    """Step by step, for every failure."""
    Watched((Rewriter if seed % 2 else Scribbler)(1_000 + seed, re_issued=seed / 20).write(80))


def test_random_histories_have_dates_lower_and_higher_than_ids():
    """Both come to be superseded, and both find newer values below; moves and origins, too."""
    seen = Counter()
    for seed in range(20):
        seen += Watched(Rewriter(2_000 + seed, re_issued=0.7).write(60)).seen
    assert {case for case in seen if seen[case] > 1} == {
        *((why, when) for why in ("Superseded", "Failed") for when in TIMES),
        *(("Superseded", "move"), ("Found", "first"), ("Found", "again")),
    }
