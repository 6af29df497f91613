"""What a peer has not acknowledged reaches it when it is back: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cytosol.errors import SaveError
from cytosol.graph.delivery import Batch, Outbox
from cytosol.graph.graph import Graph
from cytosol.graph.node import Node
from cytosol.graph.router import Router
from cytosol.graph.storage import MemoryStorage, SaveStateStorage
from cytosol.graph.transports.memory import MemoryConnection, pair
from cytosol.limits import PEERS_REMEMBERED_MAX, PUSHES_WAITING_MAX
from cytosol.model.ids import OpId
from cytosol.savestates import InMemorySaveState, SqliteSaveState
from tests.graph.routing import Heard, Stranger, Timer, routed, settle, stranger_of, until
from tests.graph.running import run
from tests.graph.test_router import hello, node_json


def fields_of(messages: list[Any]) -> Counter[tuple[str, str, int]]:
    """Count the assignments in pushes: (key, field, index)."""
    counted: Counter[tuple[str, str, int]] = Counter()
    for message in messages:
        for key, node in message["nodes"].items():
            for field, entry in node["fields"].items():
                counted[(key, field, entry[1])] += 1
    return counted


def listed(graph: Graph) -> list[tuple[str, str, Any]]:
    """Return a list that grows by (key, field, value) with each update of the graph."""
    updates: list[tuple[str, str, Any]] = []

    def hear(update: Any) -> None:
        for key, node in update:
            updates.extend((key, field, value) for field, value in node)

    graph.on("update", hear)
    return updates


# --- The wire is cut ------------------------------------------------------------------------


def test_what_was_written_offline_arrives_when_the_wire_is_whole() -> None:
    """On both sides, and each change is heard of once."""

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b)
        await settle()
        at_first, at_second = listed(first), listed(second)
        a.disconnect()
        await first.write("k", {"x": 1})
        await second.write("k", {"y": 2})
        await second.write("z", {})
        a.reconnect()
        await settle()
        assert {"k": {"x": 1, "y": 2}, "z": {}} == first.snapshot() == second.snapshot()
        assert sorted(at_first) == sorted(at_second) == [("k", "x", 1), ("k", "y", 2)]

    run(main())


def test_a_write_does_not_wait_for_who_is_offline() -> None:
    """It is done when it stands here."""

    async def main() -> None:
        timer = Timer()
        graph, stranger, wire = stranger_of(Router(timer=timer))
        stranger.say(hello())
        await settle()
        wire.disconnect()
        await graph.write("k", {"x": 1})
        assert not timer.waiting

    run(main())


def test_who_waits_is_released_when_the_wire_is_cut() -> None:
    """The write goes on without the acknowledgement, and is delivered later."""

    async def main() -> None:
        graph, stranger, wire = stranger_of(Router(timer=Timer()))
        stranger.say(hello())
        await settle()
        writing = graph.write("k", {"x": 1})
        await until(lambda: stranger.of("push"))
        wire.disconnect()
        await writing

    run(main())


def test_of_what_was_written_often_only_the_last_is_sent() -> None:
    """A peer that was away long is not told everything that was true in between."""

    async def main() -> None:
        a, b = pair()
        sent = Heard(a)
        first, second = routed(a), routed(b)
        await settle()
        a.disconnect()
        for number in range(1_000):
            await first.write("k", {"x": number})
        a.reconnect()
        await settle()
        assert {"k": {"x": 999}} == second.snapshot()
        assert [1] == [*fields_of(sent.of("push")).values()]

    run(main())


def test_a_slow_peer_is_sent_a_window_at_a_time() -> None:
    """What is not acknowledged is bounded on the wire; the rest follows the acknowledgements."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        await settle()
        for number in range(200):
            await graph.write(f"n{number}", {"x": number})
        await settle()
        assert PUSHES_WAITING_MAX == len(stranger.of("push"))
        answered = 0
        while answered < len(stranger.of("push")):
            stranger.say({"type": "done", "id": stranger.of("push")[answered]["id"]})
            answered += 1
            await settle(10)
        counted = fields_of(stranger.of("push"))
        assert 200 == len(counted)
        assert {1} == set(counted.values())

    run(main())


def test_a_peer_whose_disk_is_full_gets_it_later() -> None:
    """A push that was not saved is sent again when the timer rings."""

    class Full(MemoryStorage):
        is_full = True

        def write(self, action: Any) -> Any:
            if self.is_full:
                raise SaveError("the disk is full")
            return super().write(action)

    async def main() -> None:
        loop_errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: loop_errors.append(context["exception"])
        )
        timer, disk = Timer(), Full()
        a, b = pair()
        first, second = routed(a, router=Router(timer=timer)), routed(b, storage=disk)
        await settle()
        await first.write("k", {"x": 1})
        assert not second.keys()
        disk.is_full = False
        timer.ring()
        await settle()
        assert {"k": {"x": 1}} == second.snapshot()
        assert [SaveError] == [type(error) for error in loop_errors]

    run(main())


# --- The other side restarts ----------------------------------------------------------------


def test_what_the_peer_took_and_lost_is_sent_again() -> None:
    """It crashed before the commit: its next session names what it has not received."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        peer = str(uuid4())
        stranger.say(hello(peer))
        await settle()
        await_me = graph.write("k", {"x": 1})
        await until(lambda: stranger.of("push"))
        stranger.say({**hello(peer), "reply": False})
        await until(lambda: stranger.of("hello")[-1]["reply"])
        (number,) = stranger.of("hello")[-1]["waiting"]
        assert number == stranger.of("push")[0]["id"]
        stranger.say({"type": "error", "id": number, "error": "not received"})
        await until(lambda: len(stranger.of("push")) == 2)
        stranger.say({"type": "done", "id": stranger.of("push")[1]["id"]})
        await await_me

    run(main())


def test_a_graph_names_the_pushes_that_it_has_not_received() -> None:
    """Only those: what it has got is under way, or done."""

    async def main() -> None:
        _, stranger, _ = stranger_of()
        session = str(uuid4())
        stranger.say(hello(session=session))
        stranger.say({"type": "push", "id": 7, "nodes": {"k": node_json("k")}})
        stranger.say({**hello(session=session), "waiting": [6, 7, 8]})
        await settle()
        assert [8] == [error["id"] for error in stranger.of("error")]

    run(main())


def test_a_peer_that_has_lost_everything_gets_everything() -> None:
    """A graph without storage is a new one after a restart: it has another id."""

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b)
        await settle()
        await first.write("k", {"x": 1})
        await second.close()
        again = routed(b)
        await settle()
        assert {"k": {"x": 1}} == again.snapshot()

    run(main())


def test_a_peer_that_restarts_is_asked_again_what_it_has_not_answered() -> None:
    """The question went down with it; a hello of the same session says nothing of that."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        peer, session = str(uuid4()), str(uuid4())
        stranger.say(hello(peer, session))
        await settle()
        reading = asyncio.ensure_future(graph.read("k"))
        await until(lambda: stranger.of("pull"))
        stranger.say(hello(peer, session))
        await settle()
        assert 1 == len(stranger.of("pull"))
        stranger.say(hello(peer))
        await until(lambda: len(stranger.of("pull")) == 2)
        first, again = stranger.of("pull")
        assert first == again
        answer = {"k": node_json("k", "title", "new", 1)}
        stranger.say({"type": "answer", "id": again["id"], "nodes": answer})
        assert {"title": "new"} == (await reading).snapshot()

    run(main())


def test_an_acknowledgement_from_before_a_restart_counts_for_nothing() -> None:
    """The numbers of a session begin anywhere: `done` for another one hits no push of this."""

    async def main() -> None:
        numbers = set()
        for _ in range(20):
            graph, stranger, _ = stranger_of()
            await graph.write("k", {"x": 1})
            await settle()
            numbers.add(stranger.of("push")[0]["id"])
        assert 20 == len(numbers)

    run(main())


# --- We restart -----------------------------------------------------------------------------


def storages(folder: Path, kind: str) -> Any:
    """Return a function that opens the same storage again and again."""
    if kind == "memory":
        storage = MemoryStorage()
        return lambda: storage
    return lambda: SaveStateStorage(SqliteSaveState(str(folder / "graph.db")))


class Restarting:
    """A graph over a storage, that can end and begin again, and its peer, which goes on."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.open = storages(folder, kind)
        self.peer = routed()
        self.wire: MemoryConnection
        self.sent: Heard
        self.graph: Graph
        self.begin()

    def begin(self, *, online: bool = True) -> None:
        """Start the graph; the peer knows it by the same connection id as before."""
        self.wire, theirs = pair("peer", "restarting")
        if not online:
            self.wire.disconnect()
        self.sent = Heard(self.wire)
        self.peer.network.remove("restarting")
        self.peer.network.add(theirs)
        self.graph = routed(self.wire, storage=self.open())

    async def end(self) -> None:
        """Close the graph."""
        self.wire.disconnect()
        await self.graph.close()


KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite"])


@KINDS
def test_what_was_written_offline_survives_our_restart(kind: str, tmp_path: Path) -> None:
    """Written while the peer was away, sent by the next run, once."""

    async def main() -> None:
        both = Restarting(tmp_path, kind)
        await settle()
        await both.graph.write("old", {"x": 1})
        both.wire.disconnect()
        await both.graph.write("new", {"x": 2})
        await both.graph.delete("old")
        await both.end()
        both.begin()
        await settle()
        assert {"new": {"x": 2}} == both.peer.snapshot()
        assert [("new", "x")] == [(key, field) for key, field, _ in fields_of(both.sent.of("push"))]
        await both.end()

    run(main())


@KINDS
def test_what_was_acknowledged_is_not_sent_again(kind: str, tmp_path: Path) -> None:
    """After a restart in peace there is nothing to say."""

    async def main() -> None:
        both = Restarting(tmp_path, kind)
        await settle()
        for number in range(10):
            await both.graph.write(f"n{number}", {"x": number})
            await both.peer.write(f"p{number}", {"x": number})
        await settle()
        await both.end()
        both.begin()
        theirs = Heard(both.peer.network.get("restarting"))
        await settle()
        assert [] == both.sent.of("push")
        assert [] == theirs.of("push")
        await both.end()

    run(main())


def test_a_graph_that_died_sends_what_its_storage_has(tmp_path: Path) -> None:
    """Without a proper end, the notes are old and the nodes are not: these are sent."""

    async def main() -> None:
        both = Restarting(tmp_path, "memory")
        await settle()
        await both.graph.write("a", {"x": 1})
        await settle()
        both.wire.disconnect()
        await both.graph.write("b", {"x": 2})
        both.begin()  # and the old one is never closed
        await settle()
        assert {"a": {"x": 1}, "b": {"x": 2}} == both.peer.snapshot()
        assert {("b", "x"): 1} == Counter(
            (key, field) for key, field, _ in fields_of(both.sent.of("push"))
        )

    run(main())


def test_an_edit_of_a_branch_that_was_committed_late_survives_a_crash(tmp_path: Path) -> None:
    """Its ids are older than what the peer has acknowledged: the note was made before."""

    async def main() -> None:
        both = Restarting(tmp_path, "memory")
        await settle()
        branch = both.graph.branch()
        await branch.write("late", {"x": 1})
        await both.graph.write("early", {"x": 2})
        await settle()
        both.wire.disconnect()
        await both.graph.commit(branch)
        both.begin()
        await settle()
        assert {"early": {"x": 2}, "late": {"x": 1}} == both.peer.snapshot()

    run(main())


def test_a_storage_without_notes_or_streaming_is_enough() -> None:
    """What is in memory is sent; what lies in such a storage, when it is asked for."""

    class Plain:
        def __init__(self) -> None:
            self.records: dict[str, Any] = {}

        async def read(self, action: Any) -> Any:
            return [self.records.get(key) for key in action.keys]

        async def write(self, action: Any) -> None:
            self.records.update(action.graph.to_json())

    async def main() -> None:
        a, b = pair()
        first, second = routed(a, storage=Plain()), routed(b)
        await settle()
        a.disconnect()
        await first.write("k", {"x": 1})
        a.reconnect()
        await settle()
        assert {"k": {"x": 1}} == second.snapshot()

    run(main())


def test_broken_notes_cost_only_time() -> None:
    """What is no note of ours is as good as none: everything is sent once more."""

    async def main() -> None:
        for note in (7, {}, {"graph": "?", "peers": []}, {"graph": str(uuid4()), "peers": [1]}):
            storage = MemoryStorage()
            await Graph({"storage": storage}).write("k", {"x": 1})
            storage.notes.put("router", note)
            a, b = pair()
            first, second = routed(a, storage=storage), routed(b)
            await settle()
            assert {"k": {"x": 1}} == second.snapshot()
            await first.close()

    run(main())


def test_strangers_without_number_do_not_fill_the_storage() -> None:
    """The notes of peers are bounded; who is forgotten would get everything once more."""

    async def main() -> None:
        storage = MemoryStorage()
        graph, stranger, wire = stranger_of(storage=storage)
        for _ in range(PEERS_REMEMBERED_MAX + 20):
            stranger.say(hello())
            await settle(20)
        assert PEERS_REMEMBERED_MAX >= len(storage.notes.get("router")["peers"])
        assert wire.id in graph.router._courier.channels

    run(main())


# --- The outbox -----------------------------------------------------------------------------


def made(key: str, **fields: tuple[Any, int]) -> Node:
    """Return a node with fields of these values and indices."""
    node = Node(key)
    node.entries = {
        name: (value, OpId(index, b"a" * 16)) for name, (value, index) in fields.items()
    }
    return node


def test_an_outbox_survives_as_a_note() -> None:
    """What it knows, and the keys of what waits, come back."""
    outbox = Outbox()
    outbox.begin_search()
    outbox.found(made("k", x=(1, 5)), Outbox().pending)
    outbox.end_search()
    again = Outbox.from_json(outbox.to_json([]))
    assert {"k"} == again.remembered
    assert {b"a" * 16: 5} == again.vector
    again.begin_search()
    again.found(made("k", x=(1, 5)), Outbox().pending)
    again.found(made("other", x=(1, 5)), Outbox().pending)
    again.end_search()
    assert ["k"] == [*again.pending.keys()]
    assert set() == again.remembered


def test_an_outbox_hands_out_a_fat_node_in_pieces() -> None:
    """Between its fields, and every field once."""
    outbox = Outbox()
    fat = made("fat", **{f"f{n}": ("x" * 400_000, n + 1) for n in range(7)})
    fat.made = OpId(1, b"a" * 16)
    outbox.pending.add(fat)
    taken = []
    while len(outbox.pending):
        taken.append(outbox.take()["fat"])
    assert [2, 2, 2, 1] == [len(piece.entries) for piece in taken]
    assert [1, 0, 0, 0] == [piece.made.index for piece in taken]


def test_a_batch_is_divided_down_to_single_fields() -> None:
    """First into nodes, then into fields; the pieces make up the whole."""
    outbox = Outbox()
    outbox.pending.add(made("a", x=(1, 1), y=(2, 2)))
    outbox.pending.add(made("b", x=(3, 3)))
    nodes = [*Batch(outbox.take(), is_unit=False).divided()]
    assert [False, True] == [batch.is_unit for batch in nodes]
    fields = [*nodes[0].divided()]
    assert [["x"], ["y"]] == [[*batch.nodes["a"].entries] for batch in fields]
    assert all(batch.is_unit for batch in fields)


def test_a_graph_that_is_closed_at_once_reads_no_more_notes() -> None:
    """Its storage is closed by then: nothing is reported about it."""

    async def story() -> None:
        here, _ = pair()
        storage = SaveStateStorage(InMemorySaveState())
        graph = Graph({"network": here, "router": Router(), "storage": storage})
        await asyncio.sleep(0)  # the router has begun to ask for its notes
        await graph.close()
        await settle()

    run(story())


def test_a_graph_takes_its_own_ids_of_an_earlier_run_back() -> None:
    """Started again over its storage with its old author, before it has looked into that."""

    async def story() -> None:
        storage, author = MemoryStorage(), b"a" * 16
        earlier = Graph({"storage": storage}, author=author)
        for number in range(5):
            await earlier.write("k", {"x": number})
        theirs = Graph()
        await theirs.commit(earlier.copy())
        await theirs.write("k", {"y": "theirs"})
        ours, there = pair()
        stranger, router = Stranger(there), Router()
        again = Graph({"storage": storage, "network": ours, "router": router}, author=author)
        stranger.say({"type": "push", "id": 1, "nodes": theirs.to_json()})
        await until(lambda: stranger.of("done") or stranger.of("problem"))
        assert [1] == [message["id"] for message in stranger.of("done")]
        assert {"x": 4, "y": "theirs"} == (await again.read("k", network=None)).snapshot()
        assert 0 == router.counts["malformed"]

    run(story())
