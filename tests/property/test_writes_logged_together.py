"""Own writes that nobody looks at are logged together: here they meet those logged one by one."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cytosol.crdt.actions import Add, Delete, InitArray, InitObject, InsertBefore, Set
from cytosol.crdt.log import Log
from cytosol.crdt.quick import LEFT_MAX
from cytosol.document import document as document_module
from cytosol.document.document import Document
from cytosol.document.interest import Location
from cytosol.errors import ActionError, FailureError
from cytosol.model.opcodec import decode_ops
from cytosol.path import parse_path
from tests.property.test_fast_paths import any_quick_action, plain_set, quick_transaction
from tests.unit.document.making import AUTHOR, OTHER, open_document

QUERIES = ["$.a.k1", "$.a", "$.b", "$.list[0]", "$.list", "$.rows[*].n", "$..n", "$"]


class Noting:
    """An observer that notes where something has changed, and when it was told."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def touch(self, locations: Sequence[Location]) -> None:
        self.heard.append(("touched", sorted(locations, key=repr)))

    def deliver(self) -> None:
        self.heard.append("told")


class Written:
    """A document, what everybody heard, and what was refused."""

    def __init__(self, max_history: int = -1) -> None:
        self.now_ms = 0
        self.heard: list[Any] = []
        self.subscriptions: list[Any] = []
        self.document = Document(
            None,
            now_ms=lambda: self.now_ms,
            random_bytes=lambda count: bytes(count),
            report=self.heard.append,
            after_write=lambda: self.heard.append("written"),
            min_history=min(max_history, 0),
            max_history=max_history,
        )
        self.document.set_sources({})
        self.document.load(AUTHOR)

    def dispatch(self, action: Any, now_ms: int) -> None:
        """Write, noting what is refused."""
        self.now_ms = now_ms
        try:
            self.document.dispatch(action)
        except (ActionError, FailureError) as error:
            self.heard.append(str(error))

    def subscribe(self, query: str, is_meta: bool) -> None:
        """Subscribe, noting what comes with the number of the subscription."""
        number = len(self.subscriptions)
        subscribe = self.document.subscribe_meta if is_meta else self.document.subscribe
        self.subscriptions.append(
            subscribe(query, lambda found: self.heard.append((number, found)), (), False)
        )

    def state(self) -> Any:
        """Return all that a document is."""
        replica = self.document.replica
        replica.check_invariants()
        ops = [replica.log.op(row) for row in range(len(replica.log))]
        return ops, replica.document, replica.latest, replica.clock, replica.state_hash()


def look(chance: random.Random) -> Callable[[Written], Any]:
    """Return something to do beside writing, the same wherever it is done."""
    query, pick = chance.choice(QUERIES), chance.random()
    number, is_meta = chance.choice([0, 0, 2]), chance.random() < 0.2
    looks: list[Callable[[Written], Any]] = [
        lambda one: one.document.query(query),
        lambda one: one.document.get(("a", "k1"), None),
        lambda one: one.document.query_meta("$.actions[-1:]"),
        lambda one: one.document.replica.clock,
        lambda one: one.document.history.export_missing({}, 1 << 20),
        lambda one: one.document.history.latest(),
        lambda one: one.document.preview(
            [{"action": "Delete", "path": "$.a"}], parse_path(query).bind(()).values
        ),
        lambda one: one.document.history.set_paired(set()),
        lambda one: one.document.reserve_id(),
        lambda one: one.document.subscriptions.quiet.clear(),
    ]
    if pick < 0.2:
        return lambda one: one.subscribe("$.actions[-1:]" if is_meta else query, is_meta)
    if pick < 0.45:
        return lambda one: [each.cancel() for each in one.subscriptions[number:]]
    if pick < 0.5:
        return lambda one: setattr(one.document, "observers", (Noting(one.heard),))
    if pick < 0.7:
        return lambda one: setattr(one.document, "observers", ())
    return chance.choice(looks)


def merge_of(other: Document, one: Written, chance: random.Random) -> Callable[[Written], Any]:
    """Let another document take in what one has, and write; return how to merge that."""
    missing = one.document.history.export_missing(other.history.latest(), 1 << 20)
    if missing is not None:
        other.merge(decode_ops(missing[0]))
    start = len(other.replica.log)
    other.dispatch(Set("$.b", {"n": chance.randrange(9)}))
    for _ in range(chance.randrange(3)):
        other.dispatch(Set(f"$.b.k{chance.randrange(3)}", 1))
    log = other.replica.log
    ops = [log.op(row) for row in range(start, len(log))]

    def merge(one: Written) -> None:
        one.document.merge(ops)
        one.document.deliver()

    return merge


@pytest.mark.parametrize("max_history", [-1, 40])
def test_writes_logged_together_are_those_logged_one_by_one(
    max_history: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is looked at, heard, merged or trimmed in between."""
    monkeypatch.setattr(document_module, "UNLOOKED_MIN", 1)
    together = 0
    for seed in range(25):
        chance = random.Random(seed)
        quick, plain = Written(max_history), Written(max_history)
        other = open_document(author=OTHER)
        monkeypatch.setattr(plain.document, "_go_alone", lambda room: None)

        def both(do: Callable[[Written], Any], pair: Any = (quick, plain)) -> None:
            one, another = (do(written) for written in pair)
            assert one == another

        for start in (InitObject("$.a"), Set("$.list", [1, 2]), Set("$.rows", [{}, {"n": 5}])):
            both(lambda written, action=start: written.dispatch(action, 0))  # type: ignore[misc]
        for now in range(150):
            pick = chance.random()
            if pick < 0.85:
                action: Any = plain_set(chance)
            elif pick < 0.96:
                action = any_quick_action(chance)
            else:
                action = quick_transaction(chance)
            if chance.random() < 0.95:
                both(lambda written, action=action, now=now: written.dispatch(action, now))  # type: ignore[misc]
            elif max_history == -1 and chance.random() < 0.3:
                both(merge_of(other, plain, chance))
            else:
                both(look(chance))
            together += quick.document._alone is not None
            if now % 50 == 49:
                assert quick.state() == plain.state(), seed
        assert quick.heard == plain.heard, seed
        both(lambda written: written.document._take_back([]))
        assert quick.state() == plain.state(), seed
        with quick.document.lock:
            quick.document.replica.rewind(0)
    assert together > 250, "writes were hardly logged together"


def pair_with_subscriptions() -> tuple[Written, Written]:
    """Return two documents with some values and listeners; the second logs row by row."""
    quick, plain = Written(), Written()
    plain.document._go_alone = lambda room: None  # type: ignore[method-assign]
    for written in (quick, plain):
        for action in (Set("$.a", {"n": 0}), InitArray("$.list"), Set("$.heard", [1])):
            written.dispatch(action, 0)
        written.dispatch(Set("$.told", {"n": 0}), 0)
        written.subscribe("$.told.n", is_meta=False)
        written.subscribe("$.elsewhere", is_meta=False)
        written.subscribe("$.heard[0]", is_meta=False)
    return quick, plain


def test_long_runs_of_writes_are_logged_from_time_to_time() -> None:
    """More than may be left, of every kind, with subscriptions elsewhere."""
    quick, plain = pair_with_subscriptions()
    for now in range(LEFT_MAX):
        for action in (
            Set(f"$.a.k{now}", now),
            {"action": "Add", "path": "$.a.n", "payload": 1},
            {"action": "Set", "path": f"$.list[{now}]", "payload": now},
        ):
            for written in (quick, plain):
                written.dispatch(action, now)
    assert quick.document._alone is not None
    assert 3 * LEFT_MAX - len(quick.document._replica.log) < LEFT_MAX
    assert quick.state() == plain.state()
    assert quick.heard == plain.heard


@pytest.mark.parametrize(
    "action",
    [
        Set(None, 1),  # type: ignore[arg-type]
        Set("$.a.n", 2**64),
        Set("$.a.k", float("nan")),
        Add("$.a.n", 2**64 - 1),
        Set("$.heard[1]", 2),
        Set("$.list[00]", 2),
        Set("$.list['x']", 2),
        Set("$.a['k']", 2),
        Set("$.list", 2),
        Delete("$.a.n"),
        Add("$.told.n", 1),
        {"action": "Set", "path": ["$.a.n"], "payload": 1},
        {"action": [], "path": "$.a.n", "payload": 1},
        {"action": "Set", "path": "$.a.n", "payload": 1, "vars": {}},
        InitObject("$.a"),
    ],
    ids=repr,
)
def test_between_writes_that_are_logged_later_anything_may_come(action: Any) -> None:
    """Done or refused, it says and leaves what it does elsewhere."""
    quick, plain = pair_with_subscriptions()
    for written in (quick, plain):
        for now in range(9):
            written.dispatch(Set("$.a.n", 1), now)
            written.dispatch(InsertBefore("$.list[0]", 1), now)
    assert quick.document._alone is not None
    for written in (quick, plain):
        written.dispatch(action, 9)
        written.dispatch(Set("$.a.n", 3), 10)
    assert quick.heard == plain.heard
    assert quick.state() == plain.state()


def test_ctrl_c_in_a_write_gives_the_lock_back() -> None:
    """Nobody else has to wait for ever."""
    document = open_document()

    def interrupt() -> int:
        raise KeyboardInterrupt

    for number in range(10):
        document.dispatch(Set("$.a", number))
    assert document._alone is not None
    document._now_ms = interrupt
    with pytest.raises(KeyboardInterrupt):
        document.dispatch(Set("$.a", 5))
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(document.lock.acquire(timeout=10)))
    thread.start()
    thread.join()
    assert taken == [True]


def test_ctrl_c_while_waiting_for_the_lock_is_told_as_it_is() -> None:
    """A lock that was never taken is not given back."""

    class Interrupted:
        """A lock for which nobody can wait long enough, and which nobody has."""

        def acquire(self, blocking: bool = True) -> bool:
            if blocking:
                raise KeyboardInterrupt
            return False

        def release(self) -> None:
            raise RuntimeError("cannot release un-acquired lock")

    document = open_document()
    for number in range(10):
        document.dispatch(Set("$.a", number))
    assert document._alone is not None
    document.lock = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        document.dispatch(Set("$.a", 1))


@pytest.mark.parametrize("at", range(9))
def test_ctrl_c_while_writes_are_logged_together_leaves_them_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Wherever it comes: the columns of the log are as long as each other again."""
    columns_of = Log._columns
    asked: list[Log] = []

    def interrupted(log: Log) -> Iterator[Any]:
        asked.append(log)
        yield from columns_of(log)[:at] if len(asked) == 1 else columns_of(log)
        if len(asked) == 1:
            raise KeyboardInterrupt

    document = open_document()
    for now in range(20):
        document.dispatch(Set("$.n", now))
    assert document._alone is not None
    monkeypatch.setattr(Log, "_columns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        document.settle()
    monkeypatch.undo()
    document.dispatch(Set("$.n", "after"))
    assert 21 == len(document.replica.log) == document.replica.clock
    document.replica.check_invariants()
    assert ["after"] == document.query("$.n")
