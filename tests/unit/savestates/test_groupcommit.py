"""Threads share a write, in the order in which they came."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cytosol.errors import SaveError
from cytosol.savestates import JsonFileSaveState, SaveState, SqliteSaveState
from cytosol.savestates.base import Batch, make_batch
from cytosol.savestates.groupcommit import CommitQueue


def batch(key: str) -> Batch:
    return make_batch([(key, b"")], [], [], text=False)


def wait_until(condition: Callable[[], bool]) -> None:
    """Let other threads run until the condition holds."""
    for _ in range(10_000_000):
        if condition():
            return
        os.sched_yield()
    raise AssertionError("the other threads did not come")


def run_while_the_first_waits(
    queue: CommitQueue, keys: list[str], errors: list[str], all_came: threading.Event
) -> None:
    """Commit one batch after the other, each from its own thread, while a leader is writing."""

    def work(key: str) -> None:
        try:
            queue.commit(batch(key))
        except SaveError as error:
            errors.append(str(error))

    threads = []
    for count, key in enumerate(keys):
        threads.append(threading.Thread(target=work, args=(key,)))
        threads[-1].start()
        if count == 0:
            wait_until(lambda: bool(queue._group))
        else:
            wait_until(lambda count=count: queue.waiting == count)
    all_came.set()
    for thread in threads:
        thread.join()


def test_batches_that_wait_are_written_together() -> None:
    """Eight commits take two writes, in the order of arrival."""
    groups: list[list[str]] = []

    def write(group: list[Batch]) -> None:
        all_came.wait()
        groups.append([item.puts[0][0] for item in group])

    all_came = threading.Event()
    queue = CommitQueue(write)
    errors: list[str] = []
    run_while_the_first_waits(queue, list("abcdefgh"), errors, all_came)
    assert [["a"], ["b", "c", "d", "e", "f", "g", "h"]] == groups
    assert [] == errors
    assert 2 == queue.transactions


def test_a_failed_write_fails_for_each_batch_of_its_group_and_no_other() -> None:
    """Each thread gets an exception of its own; the next commit works."""
    calls: list[int] = []

    def write(group: list[Batch]) -> None:
        calls.append(len(group))
        all_came.wait()
        if len(calls) == 2:
            raise SaveError("the disk is full") from OSError(28, "no space")

    all_came = threading.Event()
    queue = CommitQueue(write)
    errors: list[str] = []
    run_while_the_first_waits(queue, list("abc"), errors, all_came)
    assert ["the disk is full"] * 2 == errors
    queue.commit(batch("d"))
    assert [1, 2, 1] == calls
    assert 2 == queue.transactions


def test_the_cause_of_a_failure_is_kept() -> None:
    """Whoever looks deeper finds what the operating system said."""

    def write(group: list[Batch]) -> None:
        raise SaveError("the disk is full") from OSError(28, "no space")

    with pytest.raises(SaveError) as caught:
        CommitQueue(write).commit(batch("a"))
    assert isinstance(caught.value.__cause__, OSError)


def test_an_interrupted_leader_does_not_leave_the_others_waiting() -> None:
    """The interrupt goes to its thread, the rest of the group learns that it was interrupted."""
    queue: CommitQueue
    follower = batch("follower")

    def write(group: list[Batch]) -> None:
        if follower in group:
            raise KeyboardInterrupt
        queue._waiting.append(follower)

    queue = CommitQueue(write)
    queue.commit(batch("a"))
    with pytest.raises(KeyboardInterrupt):
        queue.commit(batch("b"))
    assert follower.done
    assert "was interrupted; reopen the database" in str(follower.error)
    queue.commit(batch("c"))


class InterruptedLock:
    """A lock that somebody has until Ctrl-C comes; `meanwhile` is what that one does."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._meanwhile = meanwhile

    def __enter__(self) -> None:
        self._meanwhile()
        raise KeyboardInterrupt

    def __exit__(self, *error: object) -> None:
        raise AssertionError("it was never taken")


def test_a_batch_whose_caller_was_interrupted_while_waiting_never_comes() -> None:
    """Ctrl-C in a waiting thread takes its batch out of the queue."""
    written: list[str] = []
    queue = CommitQueue(lambda group: written.extend(item.puts[0][0] for item in group))

    pen, queue._pen = queue._pen, InterruptedLock()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        queue.commit(batch("given up"))
    queue._pen = pen
    queue.commit(batch("next"))
    assert ["next"] == written


def test_a_batch_that_is_being_written_is_not_taken_back() -> None:
    """Ctrl-C comes too late for what a leader has taken out of the queue."""
    queue = CommitQueue(lambda group: None)
    taken = batch("taken")

    queue._pen = InterruptedLock(lambda: queue._waiting.remove(taken))  # type: ignore[assignment]  # as the leader does
    with pytest.raises(KeyboardInterrupt):
        queue.commit(taken)
    assert 0 == queue.waiting


@pytest.mark.parametrize("base", [SqliteSaveState, JsonFileSaveState])
def test_save_states_write_waiting_commits_as_one_transaction(
    base: type[SqliteSaveState], tmp_path: Path
) -> None:
    """Eight threads, two transactions, everything durable."""

    class Patient(base):  # type: ignore[misc, valid-type]  # either of two classes
        def _write(self, group: list[Batch]) -> None:
            if self._queue.transactions == 0:
                wait_until(lambda: self._queue.waiting == 7)
            super()._write(group)

    state: SaveState = Patient(tmp_path / "a.cytosol")
    state.open()
    value = "x" if state.text else b"x"
    threads = [
        threading.Thread(target=state.commit, args=([(f"op/{number}", value)],))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 2 == state.transactions  # type: ignore[attr-defined]  # both count
    state.close()
    state = base(tmp_path / "a.cytosol")
    state.open()
    assert [f"op/{number}" for number in range(8)] == [key for key, _ in state.scan("")]
    state.close()
