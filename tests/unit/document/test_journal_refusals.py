"""What a document does when its disk refuses: full, failing, or slow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cytosol.crdt.actions import Add, Delete, InsertAfter, Set
from cytosol.document.document import Document
from cytosol.errors import ActionError, SaveError
from cytosol.model.opcodec import decode_ops
from cytosol.savestates import JsonFileSaveState
from tests.unit.document.faulty_state import FULL, FaultyState
from tests.unit.document.making import (
    OTHER,
    Background,
    make_document,
    open_document,
    reopened,
)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do, which nothing tells of."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never became true")


def queued(document: Document) -> int:
    """Return how many dispatches wait behind the one that is being written."""
    return len(document.journal._queue)


def test_a_refused_write_raises_and_leaves_nothing() -> None:
    """Neither the document, the log, the clock nor the file knows of it."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    before = document.query("$"), document.replica.state_hash(), document.replica.clock
    state.fill()
    with pytest.raises(SaveError, match="free some space"):
        document.dispatch(Set("$.a", 2))
    assert before == (document.query("$"), document.replica.state_hash(), document.replica.clock)
    assert ["op/0000000000000001"] == state.op_keys()
    document.check()


def test_several_first_ops_of_one_dispatch_are_taken_back() -> None:
    """An author whose ops are all gone is not known any more."""
    state = FaultyState()
    document = open_document(state)
    state.fill()
    with pytest.raises(SaveError):
        document.dispatch({"action": "Set", "path": "$['x','y']", "payload": 1})
    assert [{}] == document.query("$")
    assert {} == document.replica.latest
    state.free()
    document.dispatch(Set("$.z", 1))
    assert [{"z": 1}] == reopened(document, state).query("$")


def test_writes_work_again_after_space_was_freed() -> None:
    """The next ones get the numbers that were not used up, and the file has no gap."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    state.fill()
    for _ in range(3):
        with pytest.raises(SaveError):
            document.dispatch(Set("$.b", 2))
    state.free()
    document.dispatch(Set("$.c", 3))
    assert [1, 2] == [op["id"]["index"] for op in document.query_meta("$.actions[*]")]
    again = reopened(document, state)
    assert [{"a": 1, "c": 3}] == again.query("$")
    again.check()


def test_a_disk_that_stays_broken_refuses_again_and_again() -> None:
    """Each write is taken back, and reading goes on."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    state.refusal = SaveError("it takes no changes any more: reopen the database")
    for number in range(3):
        with pytest.raises(SaveError, match="reopen"):
            document.dispatch(Set(f"$.b{number}", 2))
    assert [{"a": 1}] == document.query("$")


def test_what_waits_behind_a_refused_write_is_refused_as_well() -> None:
    """Each waiting thread gets an error of its own, and everything is as before."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    state.hold()
    writers = Background()
    writers.start(lambda: document.dispatch(Set("$.first", 1)))
    assert state.entered.acquire(timeout=30)
    for number in range(4):
        writers.start(lambda number=number: document.dispatch(Set(f"$.n{number}", number)))
    wait_until(lambda: queued(document) == 4)
    assert 6 == len(document.query("$.*"))  # at once, before it is durable
    state.fill()
    state.release()
    results = writers.join()
    assert [SaveError] * 5 == [type(result) for result in results]
    assert 5 == len({id(result) for result in results})
    assert [{"a": 1}] == document.query("$")
    state.free()
    document.dispatch(Set("$.b", 2))
    assert [{"a": 1, "b": 2}] == reopened(document, state).query("$")


def test_waiting_writers_share_one_commit() -> None:
    """All that queue up behind a slow write become one transaction of the disk."""
    state = FaultyState()
    document = open_document(state)
    state.hold()
    writers = Background()
    writers.start(lambda: document.dispatch(Set("$.first", 1)))
    assert state.entered.acquire(timeout=30)
    for number in range(8):
        writers.start(lambda number=number: document.dispatch(Set(f"$.n{number}", number)))
    wait_until(lambda: queued(document) == 8)
    state.commits.clear()
    state.release()
    assert [1] * 9 == writers.join()
    assert [1, 8] == [len(keys) for keys in state.commits]
    assert 9 == len(reopened(document, state).query("$.*"))


def count_up(document: Document, *, threads: int, times: int) -> None:
    """Add 1 to `$.n` so many times in each of some threads at once."""

    def write() -> None:
        for _ in range(times):
            document.dispatch(Add("$.n", 1))

    writers = Background()
    for _ in range(threads):
        writers.start(write)
    writers.join()


def test_records_stand_in_the_order_of_the_ops() -> None:
    """However many threads write, the file has the numbers in their order."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.n", 0))
    count_up(document, threads=6, times=50)
    found = [op.index for _, value in state.scan("op/") for op in decode_ops(value)]
    assert list(range(1, 302)) == found
    assert [300] == reopened(document, state).query("$.n")


def test_subscribers_see_the_reverted_state() -> None:
    """The last list that a subscriber hears is what a query says."""
    state = FaultyState()
    made = make_document(state)
    document = made.document
    heard: list[list[object]] = []
    document.dispatch(Set("$.a", 1))
    document.subscribe("$.a", heard.append, (), False)
    state.fill()
    with pytest.raises(SaveError):
        document.dispatch(Set("$.a", 2))
    assert [[1], [2], [1]] == heard
    assert 1 == len(made.writes)  # the network has heard of the durable one only


def test_a_refused_merge_leaves_nothing_and_can_be_repeated() -> None:
    """What a peer sent is gone again; sent once more it is taken."""
    source = open_document(author=OTHER)
    source.dispatch(Set("$.from", "peer"))
    ops = [source.replica.log.op(0)]
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    state.fill()
    with pytest.raises(SaveError):
        document.merge(ops)
    assert [{"a": 1}] == document.query("$")
    state.free()
    assert ops == document.merge(ops)
    again = reopened(document, state)
    assert [{"a": 1, "from": "peer"}] == again.query("$")
    again.check()


def test_inserts_that_were_refused_leave_the_array_as_it_was() -> None:
    """Neighbours of refused elements are found again."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.list", [1, 2, 3]))
    state.fill()
    for index in range(3):
        with pytest.raises(SaveError):
            document.dispatch(InsertAfter(f"$.list[{index}]", "x"))
    state.free()
    document.dispatch(InsertAfter("$.list[1]", "y"))
    again = reopened(document, state)
    assert [[1, 2, "y", 3]] == again.query("$.list")
    again.check()


def test_an_interrupted_commit_takes_the_write_back() -> None:
    """Ctrl-C while the disk is at work goes to its caller, and others get an error."""

    class Interrupted(FaultyState):
        def commit(self, *args: Any, **options: Any) -> None:
            if self.refusal is not None:
                raise KeyboardInterrupt
            super().commit(*args, **options)

    state = Interrupted()
    document = open_document(state)
    state.fill()
    with pytest.raises(KeyboardInterrupt):
        document.dispatch(Set("$.a", 1))
    state.free()
    assert [{}] == document.query("$")
    document.dispatch(Set("$.b", 2))
    assert [{"b": 2}] == reopened(document, state).query("$")


# --- Replacing the history while others write ----------------------------------------------------


def test_trimming_waits_for_what_is_queued() -> None:
    """The rewritten file holds each op once, also those that were on their way."""
    state = FaultyState()
    document = open_document(state, max_history=40)
    document.dispatch(Set("$.n", 0))
    count_up(document, threads=4, times=100)
    assert document.replica.trimmed_count > 0
    document.check()
    again = reopened(document, state, max_history=40)
    assert [400] == again.query("$.n")
    again.check()


def test_a_trim_meets_a_refused_write() -> None:
    """Who trims holds the document's lock, and takes back what the writer cannot."""
    state = FaultyState()
    document = open_document(state, max_history=20)
    for number in range(24):
        document.dispatch(Set("$.n", number))
    state.hold()
    others = Background()
    others.start(lambda: document.dispatch(Set("$.n", "refused")))
    while not document.journal._pen.locked():
        assert state.entered.acquire(timeout=30)

    def trim() -> None:
        with document.lock:
            document.history.trim()

    others.start(trim)
    state.fill()
    state.release()
    refused, trimmed = others.join()
    assert SaveError is type(refused)
    assert trimmed is None or type(trimmed) is SaveError
    state.free()
    assert [23] == document.query("$.n")
    document.dispatch(Set("$.n", "after"))
    document.check()
    assert ["after"] == reopened(document, state, max_history=20).query("$.n")


class NoRewriting(FaultyState):
    """A disk on which the whole history cannot be replaced."""

    def commit(self, *args: Any, **options: Any) -> None:
        if options.get("delete_prefixes"):
            raise SaveError(FULL)
        super().commit(*args, **options)


def test_a_history_that_cannot_be_shortened_on_disk_costs_no_write() -> None:
    """The write that asked for it is durable, so it must not be reported as refused."""
    state = NoRewriting()
    document = open_document(state, max_history=10)
    for number in range(200):
        document.dispatch(Set("$.n", number))
    assert document.replica.trimmed_count > 0
    document.check()
    again = reopened(document, state, max_history=10)
    assert [199] == again.query("$.n")


def test_a_file_with_failures_that_the_memory_has_trimmed_is_whole() -> None:
    """The memory keeps them beside its base, which the disk has refused; the file has the ops."""
    state = NoRewriting()
    document, other = open_document(state, max_history=10), open_document(author=OTHER)
    document.dispatch(Set("$.n", 1))
    other.merge([document.replica.log.op(0)])
    document.dispatch(Delete("$.n"))
    other.dispatch(Add("$.n", 1))
    document.merge([other.replica.log.op(1)])
    [failure] = document.history.failures()  # type: ignore[misc, union-attr]  # a list
    for number in range(200):
        document.dispatch(Set("$.n", number))
    assert document.replica.trimmed_count > 10
    assert not document.replica.failures
    document.check()
    assert [failure] == document.history.failures()
    again = reopened(document, state, max_history=1_000)
    assert [failure] == again.history.failures()
    again.check()


def test_adopting_waits_for_what_is_queued_and_leaves_all_when_refused() -> None:
    """A refused adoption changes neither document nor file."""
    winner = open_document(author=OTHER)
    winner.dispatch(Set("$.theirs", 1))
    snapshot = winner.history.snapshot()
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.ours", 1))
    state.fill()
    with document.lock, pytest.raises(SaveError):
        document.history.adopt(snapshot)
    assert [{"ours": 1}] == document.query("$")
    state.free()
    document.check()
    with document.lock:
        document.history.adopt(snapshot)
    assert [{"ours": 1, "theirs": 1}] == document.query("$")
    document.check()


@pytest.mark.parametrize("step", ["load_base", "decode_ops", "reissue", "rewrite"])
def test_a_snapshot_that_is_nested_too_deep_changes_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever that shows, up to what is written."""
    winner = open_document(author=OTHER, max_history=10)
    for number in range(200):
        winner.dispatch(Set("$.theirs", number))
    snapshot = winner.history.snapshot()
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.ours", 1))
    before = document.history.summary()

    def sink(*arguments: object) -> None:
        raise RecursionError

    with monkeypatch.context() as patch, document.lock:
        if step == "rewrite":
            patch.setattr(document.journal, "rewrite", sink)
        else:
            patch.setattr(f"cytosol.document.history.{step}", sink)
        with pytest.raises(ActionError, match="nested too deep"):
            document.history.adopt(snapshot)
    assert before == document.history.summary()
    document.check()
    document.dispatch(Set("$.ours", 2))
    assert [{"ours": 2}] == reopened(document, state).query("$")


# --- Small records --------------------------------------------------------------------------------


def test_a_refused_dismissal_changes_nothing() -> None:
    """What the disk does not know is listed still."""
    state = FaultyState()
    document = open_document(state)
    state.fill()
    with document.lock, pytest.raises(SaveError):
        document.history.dismiss([{"index": 1, "author": "11111111-1111-1111-1111-111111111111"}])
    assert set() == document.history._dismissed


def test_a_refused_author_id_is_not_used() -> None:
    """New ops carry the old id until the new one is saved."""
    state = FaultyState()
    document = open_document(state)
    before = document.replica.author
    state.fill()
    with document.lock, pytest.raises(SaveError):
        document.history.renew_author()
    assert before == document.replica.author


# --- What peers hear of ---------------------------------------------------------------------------


def test_peers_get_no_op_before_it_is_durable() -> None:
    """Its number will be used again if the disk refuses, so nobody may have seen it."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    durable_hash = document.replica.state_hash()
    state.hold()
    writer = Background()
    writer.start(lambda: document.dispatch(Set("$.a", 2)))
    wait_until(lambda: document.query("$.a") == [2])
    with document.lock:
        history = document.history
        assert {document.replica.author: 1} == history.latest()
        summary = history.summary()
        assert durable_hash == summary.state_hash
        assert {document.replica.author: 1} == dict(summary.latest)
        exported = history.export_missing({}, 1 << 20)
        assert exported is not None
        assert [1] == [op.index for op in decode_ops(exported[0])]
        assert history.export_missing({document.replica.author: 1}, 1 << 20) is None
        after = history.export_after(None, 0, 1 << 20)
        assert after is not None
        assert [1] == [op.index for op in decode_ops(after[0])]
        assert [1] == [op.index for op in decode_ops(history.snapshot()[4:])]
        assert all(ident.index <= 1 for ident, _ in history.save_points())
    state.release()
    writer.join()
    assert {document.replica.author: 2} == document.history.latest()


def test_a_number_that_is_used_again_has_another_digest() -> None:
    """What the summary says of an op's content is never that of a refused one."""
    state = FaultyState()
    document = open_document(state)
    state.hold()
    writer = Background()
    writer.start(lambda: document.dispatch(Set("$.a", "refused")))
    wait_until(lambda: document.query("$.a") == ["refused"])
    with document.lock:
        document.history.summary()
    state.fill()
    state.release()
    writer.join()
    state.free()
    document.dispatch(Set("$.a", "kept"))
    other = open_document(author=OTHER)
    other.merge([document.replica.log.op(0)])
    assert other.history.summary().contents == document.history.summary().contents


def test_a_json_file_holds_what_was_dispatched_and_not_what_came_of_it(
    tmp_path: Path,
) -> None:
    """A payload that is changed by later ops is saved as it was."""
    state = JsonFileSaveState(tmp_path / "a.json")
    document = open_document(state)
    document.dispatch(Set("$.a", {"list": []}))
    document.dispatch(Set("$.a.list[0]", 1))
    document.dispatch(Set("$.a.b", {"c": 2}))
    again = reopened(document, state)
    assert [{"a": {"list": [1], "b": {"c": 2}}}] == again.query("$")
    assert {"list": []} == again.query_meta("$.actions[0].payload")[0]
    again.close()
