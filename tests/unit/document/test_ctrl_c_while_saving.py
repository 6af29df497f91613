"""Ctrl-C at every place where a write waits for the disk: nobody waits for ever behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cytosol.crdt.actions import Set
from cytosol.document.delivery import Deliveries
from cytosol.document.document import Document
from cytosol.document.journal import Ticket
from cytosol.savestates import InMemorySaveState
from cytosol.savestates.base import Batch, make_batch
from cytosol.savestates.groupcommit import CommitQueue
from tests.unit.document.interrupting import CtrlC
from tests.unit.document.making import open_document, reopened


def in_a_thread(call: Callable[[], object]) -> None:
    """Call something where no lock is ours."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs: something is still taken"


def places_of(run: Callable[[int], CtrlC]) -> range:
    """Return all places of what is run, which is not stopped for it."""
    return range(run(-1).places)


def queued(document: Document) -> Ticket:
    """Do a write that waits for the disk."""
    with document.lock:
        row = len(document.replica.log)
        assert document._quick({"action": "Set", "path": "$.a", "payload": 1}, 0)
        return document.journal.add_rows(document.replica.log, row)


def save_and_look(at: int) -> CtrlC:
    """Stop saving at one place, then write on from another thread and open the file again."""
    state = InMemorySaveState()
    document = open_document(state)
    ticket = queued(document)
    ctrl_c = CtrlC(at)
    assert ctrl_c.during(lambda: document.journal.flush(ticket)) is bool(ctrl_c.where)
    in_a_thread(lambda: document.dispatch(Set("$.b", 2)))
    assert ticket.is_done
    found = document.query("$")
    assert found == ([{"b": 2}] if ticket.error else [{"a": 1, "b": 2}]), ctrl_c.where
    document.check()
    again = reopened(document, state)
    assert found == again.query("$")
    again.check()
    return ctrl_c


def test_ctrl_c_anywhere_in_saving_lets_the_next_one_save() -> None:
    """What was stopped is in the file and in the document, or in neither."""
    places = places_of(save_and_look)
    assert len(places) > 10
    for at in places:
        # To take back is done under the document's lock, by whoever is not stopped in it.
        save_and_look(at)


def commit_and_look(at: int) -> CtrlC:
    written: list[str] = []

    def write(group: list[Batch]) -> None:
        written.extend(item.puts[0][0] for item in group)

    queue = CommitQueue(write)
    ctrl_c = CtrlC(at)
    stopped = make_batch([("a", b"")], [], [], text=False)
    assert ctrl_c.during(lambda: queue.commit(stopped)) is bool(ctrl_c.where)
    in_a_thread(lambda: queue.commit(make_batch([("b", b"")], [], [], text=False)))
    assert written in (["b"], ["a", "b"])
    assert 0 == queue.waiting
    return ctrl_c


def test_ctrl_c_anywhere_in_a_commit_lets_the_next_one_come() -> None:
    """A leader that is gone does not lead any more."""
    places = places_of(commit_and_look)
    assert len(places) > 3
    for at in places:
        commit_and_look(at)


def deliver_and_look(at: int) -> CtrlC:
    deliveries = Deliveries()
    heard: list[int] = []
    deliveries.put("one", lambda: heard.append(1))
    ctrl_c = CtrlC(at)
    ctrl_c.during(deliveries.run)
    deliveries.put("one", lambda: heard.append(2))
    in_a_thread(deliveries.run)
    assert heard[-1:] == [2]
    return ctrl_c


def test_ctrl_c_anywhere_in_delivering_leaves_the_turn_to_others() -> None:
    """Calls that come later are made."""
    places = places_of(deliver_and_look)
    assert len(places) > 3
    for at in places:
        deliver_and_look(at)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_in_memory_comes_in_one_step(count: int) -> None:
    """Also one that replaces others, wherever Ctrl-C comes."""

    def commit(at: int) -> CtrlC:
        state = InMemorySaveState()
        state.open()
        state.commit([(f"op/{number}", b"old") for number in range(count)])
        before = list(state.scan(""))
        ctrl_c = CtrlC(at)
        ctrl_c.during(lambda: state.commit([("op/9", b"new")], delete_prefixes=["op/"]))
        assert list(state.scan("")) in (before, [("op/9", b"new")])
        return ctrl_c

    for at in places_of(commit):
        commit(at)
