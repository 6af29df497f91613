"""Who comes in the middle of another call of the same thread is refused, and nothing is mixed up.

It may be a finalizer that the garbage collector runs, a handler of a signal, or a value that is
computed as it is read. Here it is what the database calls on its way, so that it comes for sure.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import cytosol
from cytosol import Add, Delete, Set, Transaction
from cytosol.crdt.quick import Quick
from cytosol.database.joins import PeerReplica
from cytosol.document.document import Document
from cytosol.savestates import InMemorySaveState
from tests.unit.database.databases import open_alone

Use = Callable[[cytosol.Database], object]

USES: dict[str, Use] = {
    "dispatch": lambda db: db.dispatch(Add("$.n", 1)),
    "a longer dispatch": lambda db: db.dispatch(Set("$.l", [1, 2])),
    "a transaction": lambda db: db.dispatch(Transaction([Add("$.n", 1)])),
    "get": lambda db: db.get("n"),
    "query": lambda db: db.query_once("$.n"),
    "metadata": lambda db: db.query_once_meta("$.actions"),
    "subscribe": lambda db: db.subscribe("$.n", print),
    "state hash": lambda db: db.state_hash(),
    "check": lambda db: db.check(),
    "close": lambda db: db.close(),
}


class Lazy(list[Any]):
    """A payload that uses the database when it is read."""

    def __init__(self, use: Callable[[], object]) -> None:
        super().__init__([1])
        self.use = use

    def __iter__(self) -> Any:
        self.use()
        return super().__iter__()


@pytest.mark.parametrize("state", [None, InMemorySaveState], ids=["none", "memory"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_value_may_not_use_the_database_as_it_is_read(use: Use, state: Any) -> None:
    """The whole Transaction is undone; what it had done was seen by nobody."""
    with open_alone(None if state is None else state()) as db:
        db.dispatch(Set("$.a", [1, 2]))
        db.dispatch(Set("$.n", 1))
        before = db.query_once("$"), db.query_once_meta("$.actions")
        with pytest.raises(cytosol.ActionError, match="in the middle of another call"):
            db.dispatch(Transaction([Delete("$.a[0]"), Set("$.b", Lazy(lambda: use(db)))]))
        assert before == (db.query_once("$"), db.query_once_meta("$.actions"))
        db.dispatch(Add("$.n", 1))
        assert 2 == db.get("n")
        db.check()


@pytest.mark.parametrize("name", [name for name in USES if name not in ("get", "query")])
@pytest.mark.parametrize("writes", [1, 20])  # each logged by itself, or many together
def test_a_finalizer_may_not_use_the_database_in_the_middle_of_a_write(
    name: str, writes: int
) -> None:
    """What it raises is only reported, and the write goes on. To read a plain Set does no harm."""
    raised: list[Exception] = []
    with open_alone() as db:
        db.dispatch(Set("$.n", 0))
        for number in range(writes):
            db.dispatch(Set("$.m", number))
        now_ms = db._document._now_ms

        def collecting() -> int:
            db._document._now_ms = now_ms
            try:
                USES[name](db)
            except cytosol.ActionError as error:
                raised.append(error)
            return now_ms()

        db._document._now_ms = collecting
        db.dispatch(Set("$.m", "collected"))
        assert 1 == len(raised)
        db.dispatch(Add("$.n", 1))
        assert {"n": 1, "m": "collected"} == db.get()
        assert len(db.query_once_meta("$.actions[*]")) == writes + 3
        db.check()


class Flushing(InMemorySaveState):
    """A save state in the middle of which somebody comes."""

    use: Callable[[], object] | None = None

    def commit(self, *arguments: Any, **named: Any) -> None:
        """Let them come, once."""
        use, self.use = self.use, None
        if use is not None:
            use()
        super().commit(*arguments, **named)


@pytest.mark.parametrize("name", ["dispatch", "a longer dispatch", "a transaction", "close"])
def test_a_handler_may_not_write_or_close_while_its_thread_saves(name: str) -> None:
    """It would wait for the very call that it has interrupted."""
    state = Flushing()
    with open_alone(state) as db:
        db.dispatch(Set("$.n", 1))
        raised: list[Exception] = []

        def handler() -> None:
            assert 2 == db.get("n"), "to read is fine: what is being saved is there"
            with pytest.raises(cytosol.ActionError, match="in the middle") as caught:
                USES[name](db)
            raised.append(caught.value)

        state.use = handler
        db.dispatch(Add("$.n", 1))
        assert 1 == len(raised)
        db.dispatch(Add("$.n", 1))
        db.check()
    with open_alone(state) as db:
        assert {"n": 3} == db.get()


@pytest.mark.parametrize("writes", [2, 20])  # logged one by one, or as columns
def test_a_finalizer_may_not_use_the_database_while_writes_are_logged_together(
    monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """They would be logged twice."""
    raised: list[Exception] = []
    log = Quick._log_left

    def collecting(quick: Quick, left: list[Any]) -> None:
        monkeypatch.setattr(Quick, "_log_left", log)
        with pytest.raises(cytosol.ActionError, match="in the middle") as caught:
            db.dispatch(Set("$.closed", 1))
        raised.append(caught.value)
        log(quick, left)

    with open_alone() as db:
        for number in range(5 + writes):
            db.dispatch(Set("$.n", number))
        monkeypatch.setattr(Quick, "_log_left", collecting)
        db.subscribe("$.m", lambda values: None)
        assert 1 == len(raised)
        assert 5 + writes == len(db.query_once_meta("$.actions[*]"))
        db.dispatch(Set("$.m", 1))
        db.check()


def test_after_a_call_in_the_middle_a_closed_database_is_closed() -> None:
    """Nothing is written into it any more."""
    db = open_alone()
    for number in range(20):
        db.dispatch(Set("$.n", number))
    now_ms = db._document._now_ms

    def collecting() -> int:
        db._document._now_ms = now_ms
        db.dispatch(Set("$.closed", 1))
        return 0

    db._document._now_ms = collecting
    with pytest.raises(cytosol.ActionError, match="in the middle"):
        db.dispatch(Set("$.n", "new"))
    assert {"n": 19} == db.get()
    db.close()
    for _ in range(2):
        with pytest.raises(cytosol.DatabaseClosedError):
            db.dispatch(Set("$.n", "later"))
    db.close()


def adopting(state: InMemorySaveState) -> tuple[Document, bytes]:
    """Return a document that has written, and a longer history of another one."""
    other, ours = (
        Document(each, now_ms=lambda: 1_000, random_bytes=os.urandom, report=print, max_history=20)
        for each in (InMemorySaveState(), state)
    )
    for document, author in ((other, b"a" * 16), (ours, b"b" * 16)):
        document.journal.open()
        document.load(author)
    for number in range(100):
        other.dispatch(Set(f"$.k{number}", number))
    ours.dispatch(Set("$.ours", 1))
    return ours, other.history.snapshot()


def test_a_write_in_the_middle_of_an_adoption_is_refused() -> None:
    """It would be acknowledged, and gone with the old history."""
    state = Flushing()
    document, snapshot = adopting(state)
    seam = PeerReplica(document, b"a" * 16, lambda: None, lambda event: None)
    raised: list[Exception] = []

    def handler() -> None:
        with pytest.raises(cytosol.ActionError, match="in the middle") as caught:
            document.dispatch(Set("$.lost", 1))
        raised.append(caught.value)

    state.use = handler
    seam.adopt(snapshot, b"a" * 16)
    assert 1 == len(raised)
    found = document.get((), None)
    assert 101 == len(found)
    assert 1 == found["ours"]
    document.check()


@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt])
def test_an_adoption_that_was_stopped_is_mended(
    monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    """The file may have the new history when memory has still the old one."""
    state = InMemorySaveState()
    document, snapshot = adopting(state)
    seam = PeerReplica(document, b"a" * 16, lambda: None, lambda event: None)
    use = document.use

    def stopped(replica: Any) -> None:
        monkeypatch.setattr(document, "use", use)
        raise fault

    monkeypatch.setattr(document, "use", stopped)
    with pytest.raises(fault):
        seam.adopt(snapshot, b"a" * 16)
    document.dispatch(Set("$.later", 1))
    found = document.get((), None)
    assert 102 == len(found)
    document.check()
    document.close()
    again = Document(state, now_ms=lambda: 1_000, random_bytes=os.urandom, report=print)
    again.journal.open()
    again.load(b"b" * 16)
    assert found == again.get((), None)
