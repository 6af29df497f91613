"""Writes where nobody listens are passed over quickly: here the quick way meets the plain one."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from cytosol.crdt.actions import Delete, InitObject, InsertBefore, Move, Set
from cytosol.crdt.bulk import merge_bulk
from cytosol.crdt.replica import Replica
from cytosol.document import document as document_module
from cytosol.document.document import Document
from cytosol.document.subscriptions import Subscriptions
from cytosol.errors import FailureError
from cytosol.model.opcodec import Columns, decode_ops, unpack_columns
from tests.unit.document.making import OTHER, open_document

PLACES = ["$.a", "$.b", "$.a.in", "$.list[0]", "$.list[1]", "$.list[1].in"]
QUERIES = [
    "$.a.k0",
    "$.b",
    "$.b.in.k1",
    "$.list[0].k0",
    "$.list[1]",
    "$.list[-1].k1",
    "$..k1",
    "$.list[?@.k0 > 3].k1",
    "$.a[?@ == $.b.k0]",
    "$",
]


class Heard:
    """A document, and what its subscribers were told."""

    def __init__(self) -> None:
        self.document = open_document()
        self.told: list[Any] = []
        self.subscriptions: list[Any] = []
        self.document.dispatch(Set("$.a", {"in": {}}))
        self.document.dispatch(Set("$.list", [{"in": {}}, {"in": {}}]))

    def subscribe(self, query: str) -> None:
        """Subscribe, noting what comes with the number of the subscription."""
        number = len(self.subscriptions)
        self.subscriptions.append(
            self.document.subscribe(
                query, lambda found, patch: self.told.append((number, found, patch)), (), True
            )
        )


def do(heard: Heard, chance: random.Random, takes_back: bool = True) -> None:
    """Write once, mostly a key that somebody may listen to; or subscribe, cancel, take back."""
    place = chance.choice(PLACES)
    document = heard.document
    pick = chance.random()
    try:
        if pick < 0.6:
            document.dispatch(Set(f"{place}.k{chance.randrange(3)}", chance.randrange(9)))
        elif pick < 0.7:
            document.dispatch(InsertBefore(f"$.list[{chance.randrange(3)}]", chance.randrange(9)))
        elif pick < 0.75:
            document.dispatch(Delete(chance.choice(["$.list[0]", *PLACES])))
        elif pick < 0.8:
            document.dispatch(Move("$.b", chance.choice(PLACES)))
        elif pick < 0.85:
            document.dispatch(InitObject(chance.choice(PLACES)))
        elif pick < 0.9:
            heard.subscribe(chance.choice(QUERIES))
        elif pick < 0.95 and heard.subscriptions:
            chance.choice(heard.subscriptions).cancel()
        elif takes_back:
            take_back(document, chance.randrange(3))
    except FailureError:
        pass


def take_back(document: Document, count: int) -> None:
    """Forget the newest ops, as when the disk refuses them."""
    log = document.replica.log
    with document.lock:
        document._take_back([log.key(row) for row in range(max(2, len(log) - count), len(log))])
    document.deliver()


def played(seed: int) -> tuple[list[Any], Any]:
    """Return what the subscribers of a random history were told, and the document."""
    chance = random.Random(seed)
    heard, other = Heard(), open_document(author=OTHER)
    for number in range(120):
        do(heard, chance)
        if number % 20 == 0:
            theirs, ours = other.replica.log, heard.document.replica.log
            other.merge([ours.op(row) for row in range(len(ours))])
            other.dispatch(Set("$.b", {"in": {"k1": number}}))
            heard.document.merge([theirs.op(row) for row in range(len(theirs))])
            heard.document.deliver()
    return heard.told, heard.document.query("$", ())


def played_in_batches(seed: int) -> list[Any]:
    """Return what subscribers were told while batches of plain writes of a peer came."""
    chance = random.Random(seed)
    heard, other = Heard(), open_document(author=OTHER)
    heard.subscribe("$.a.k0")
    for number in range(40):
        do(heard, chance, takes_back=False)  # a peer has it already
        ours, theirs = heard.document.history, other.history
        missing = ours.export_missing(theirs.latest(), 1 << 20)
        if missing is not None:
            other.merge(decode_ops(missing[0]))
        for _ in range(chance.randrange(4, 12)):
            place = chance.choice(["$", "$.a", "$.a.in", "$.b", "$.list[0]"])
            with suppress(FailureError):
                other.dispatch(Set(f"{place}.k{chance.randrange(3)}", number))
        missing = theirs.export_missing(ours.latest(), 1 << 20)
        if missing is not None:
            heard.document.merge_batch(unpack_columns(missing[0]), missing[0])
        heard.document.deliver()
    return heard.told


def test_subscribers_hear_the_same_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which what is touched in quiet containers is left out at once."""
    touched = {True: 0, False: 0}
    for seed in range(40):
        told = []
        for is_loud in (True, False):

            def merge(
                replica: Replica, columns: Columns, is_watched: bool, quiet: Any, is_loud: bool
            ) -> Any:
                """Merge, and count what is noted as touched."""
                quiet = () if is_loud else quiet
                found = merge_bulk(replica, columns, is_watched=is_watched, quiet=quiet)
                touched[is_loud] += len(replica.applier.mutator.touched)
                return found

            monkeypatch.setattr(document_module, "merge_bulk", partial(merge, is_loud=is_loud))
            told.append(played_in_batches(seed))
        assert told[0] == told[1], seed
    assert touched[False] < touched[True]


def test_subscribers_hear_the_same_whether_or_not_quiet_containers_are_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every list and every patch, in the same order."""
    for seed in range(60):
        noted = played(seed)
        with monkeypatch.context() as patch:
            patch.setattr(Subscriptions, "note_quiet", lambda *_: None)
            assert played(seed) == noted, seed
