"""Who comes in the middle of another call of the same thread is refused, and nothing is mixed up.

It may be a finalizer that the garbage collector runs, a handler of a signal, or a value that is
computed as it is read. Here it is what the database calls on its way, so that it comes for sure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import cytosol
from cytosol import Add, Delete, Set, Transaction
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
