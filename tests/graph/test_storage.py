"""Graphs with storages: the two that ship, others', slow ones and ones that fail half way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cytosol import (
    DatabaseLockedError,
    Graph,
    GraphError,
    InMemorySaveState,
    JsonFileSaveState,
    SqliteSaveState,
)
from cytosol.graph import MemoryStorage, Node, NodeMap, ReadNodes, SaveStateStorage, Write
from cytosol.model.ids import OpId
from tests.graph.case_names import case_name
from tests.graph.running import PATIENCE_S, run
from tests.graph.suite import ODD_NAMES, Heard

MakeStorage = Callable[[], Any]


@pytest.fixture(params=["memory", "memory save state", "JSON file", "SQLite file"])
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStorage:
    """Make storages over the same records, one after the other."""
    kept: Any
    if request.param == "memory":
        kept = MemoryStorage()
        return lambda: kept
    if request.param == "memory save state":
        kept = InMemorySaveState()
        return lambda: SaveStateStorage(kept)
    if request.param == "JSON file":
        return lambda: SaveStateStorage(JsonFileSaveState(tmp_path / "graph.json"))
    return lambda: SaveStateStorage(SqliteSaveState(tmp_path / "graph.cytosol"))


# --- The storages that ship -------------------------------------------------------------------


def test_what_was_awaited_is_there_after_a_restart(make_storage: MakeStorage) -> None:
    """Values of all kinds, pointers, deletions, empty nodes."""

    async def story() -> None:
        async with Graph({"storage": make_storage()}) as graph:
            target = await graph.write("target", {})
            node = await graph.write(
                "n", {"text": "x", "number": 1.5, "yes": True, "no": None, "to": target, "gone": 1}
            )
            await node.delete("gone")
            await graph.write("deleted", {"a": 1})
            await graph.delete("deleted")
            before = graph.copy().to_json()
        async with Graph({"storage": make_storage()}) as graph:
            assert {} == graph.snapshot()
            node, deleted, target = await graph.nodes(["n", "deleted", "target"])
            assert deleted is None
            assert {} == target.snapshot()
            assert target is await node.read("to")
            assert before == graph.copy().to_json()

    run(story())


def test_a_write_to_a_stored_node_is_a_patch(make_storage: MakeStorage) -> None:
    """Also if it is not in memory yet: the other fields stay, and the write wins."""

    async def story() -> None:
        async with Graph({"storage": make_storage()}) as graph:
            for number in range(5):
                await graph.write("n", {"a": number, "b": number})
        async with Graph({"storage": make_storage()}) as graph:
            node = await graph.write("n", {"a": "new"})
            assert {"a": "new", "b": 4} == node.snapshot()
        async with Graph({"storage": make_storage()}) as graph:
            assert {"a": "new", "b": 4} == (await graph.read("n")).snapshot()

    run(story())


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_any_key_can_be_stored(make_storage: MakeStorage, name: str) -> None:
    """Each under a record of its own."""

    async def story() -> None:
        async with Graph({"storage": make_storage()}) as graph:
            await graph.write(name, {name: name})
            await graph.write(name + "%2F", {"x": 1})
        async with Graph({"storage": make_storage()}) as graph:
            assert {name: name} == (await graph.read(name)).snapshot()
            assert {name, name + "%2F"} == {str(node) async for node in graph}

    run(story())


def test_a_graph_streams_what_its_storage_has(make_storage: MakeStorage) -> None:
    """Straight from the storage, past memory; deleted nodes are not among it."""

    async def story() -> None:
        async with Graph({"storage": make_storage()}) as graph:
            for number in range(10):
                await graph.write(f"n{number}", {"x": number})
            await graph.delete("n3")
            await graph.write("memory only", {}, storage=None)
        async with Graph({"storage": make_storage()}) as graph:
            found = {node.key: node.snapshot() async for node in graph}
            assert {f"n{i}": {"x": i} for i in range(10) if i != 3} == found
            assert {} == graph.snapshot()

    run(story())


async def outcome_of(value: Any) -> Any:
    """Await what can be awaited: a storage may be plain or async."""
    return await value if hasattr(type(value), "__await__") else value


def test_notes_lie_beside_the_nodes(make_storage: MakeStorage) -> None:
    """Neither reads nor streams see them."""

    async def story() -> None:
        storage = make_storage()
        async with Graph({"storage": storage}) as graph:
            await graph.write("n", {})
            await outcome_of(storage.notes.put("peer/ö", {"seen": [1, 2]}))
            await outcome_of(storage.notes.put("other", 1))
            await outcome_of(storage.notes.put("other", None))
            assert ["n"] == [node.key async for node in graph]
        storage = make_storage()
        assert {"seen": [1, 2]} == await outcome_of(storage.notes.get("peer/ö"))
        assert await outcome_of(storage.notes.get("other")) is None
        await Graph({"storage": storage}).close()

    run(story())


def test_a_save_state_has_one_owner() -> None:
    """Closing the graph gives it free."""

    async def story() -> None:
        kept = InMemorySaveState()
        graph = Graph({"storage": SaveStateStorage(kept)})
        with pytest.raises(DatabaseLockedError):
            SaveStateStorage(kept)
        await graph.close()
        SaveStateStorage(kept).close()

    run(story())


def test_a_path_is_no_save_state() -> None:
    """The error says what is one."""
    with pytest.raises(GraphError, match="SqliteSaveState"):
        SaveStateStorage("graph.cytosol")  # type: ignore[arg-type]  # that is the test


# --- Reading ----------------------------------------------------------------------------------


class Scripted:
    """A storage that answers what it is told, and remembers what it was asked."""

    def __init__(self, *nodes: Any) -> None:
        self.answer: Any = list(nodes)
        self.reads: list[tuple[str, ...]] = []
        self.writes: list[Write] = []
        self.removes: list[Write] = []

    async def read(self, action: ReadNodes) -> Any:
        self.reads.append(tuple(action.keys))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def write(self, action: Write) -> None:
        self.writes.append(action)

    async def remove(self, action: Write) -> None:
        self.removes.append(action)


def stored(key: str, index: int = 1, **fields: Any) -> Node:
    """Return a node as a storage may have it."""
    node = Node(key)
    stamp = OpId(index, b"s" * 16)
    node.entries = {field: (value, stamp) for field, value in fields.items()}
    node.made = stamp
    return node


def test_memory_is_asked_first() -> None:
    """A node that was read or written once is not read again, and only absent keys are."""

    async def story() -> None:
        storage = Scripted(stored("a", x=1), stored("b", x=2))
        graph = Graph({"storage": storage})
        a = await graph.read("a")
        assert a is await graph.read("a")
        assert [a, None, None] == [*(await graph.nodes(["a", "none"])), await graph.read("none")]
        b = await graph.write("b", {"y": 1})
        assert {"x": 2, "y": 1} == b.snapshot()
        assert b is await graph.read("b")
        assert [("a",), ("none",), ("none",), ("b",)] == storage.reads

    run(story())


def test_answers_may_come_in_any_order_and_form() -> None:
    """Nodes, their JSON, nothing, and what nobody asked for."""

    async def story() -> None:
        storage = Scripted(stored("c", x=3).to_json(), None, stored("z", x=9), stored("a", x=1))
        graph = Graph({"storage": storage})
        a, b, c = await graph.nodes(["a", "b", "c"])
        assert ({"x": 1}, None, {"x": 3}) == (a.snapshot(), b, c.snapshot())
        assert "z" not in graph
        storage.answer = NodeMap([stored("d", x=4)])
        assert {"x": 4} == (await graph.read("d")).snapshot()
        storage.answer = None
        assert await graph.read("e") is None

    run(story())


@pytest.mark.parametrize(
    "answer",
    [5, "text", b"bytes", {"a": {}}, [5], ["a"], [{}], [{"key": "a"}], [{"key": "a", "fields": 5}],
     [{"key": "a", "fields": {"x": [1]}}], [{"key": "a", "fields": {"x": [{}, 1, "no uuid"]}}]],
    ids=case_name,
)  # fmt: skip
def test_answers_that_make_no_sense_are_refused(answer: Any) -> None:
    """With a clear error; memory stays as it was, for a read and for a write."""

    async def story() -> None:
        storage = Scripted()
        storage.answer = answer
        graph = Graph({"storage": storage})
        with pytest.raises(GraphError):
            await graph.read("a")
        with pytest.raises(GraphError):
            await graph.write("a", {"x": 1})
        assert {} == graph.snapshot()
        assert [] == storage.writes

    run(story())


def test_what_a_storage_raises_comes_through_as_it_is() -> None:
    """And nothing has changed."""

    async def story() -> None:
        storage = Scripted()
        storage.answer = OSError("disk")
        graph = Graph({"storage": storage})
        with pytest.raises(OSError, match="disk"):
            await graph.nodes(["a", "b"])
        with pytest.raises(OSError, match="disk"):
            await graph.write("a", {"x": 1})
        assert {} == graph.snapshot()

    run(story())


def test_force_reads_cached_nodes_again() -> None:
    """And merges: what is newer in memory stays."""

    async def story() -> None:
        storage = Scripted(stored("a", x=1, y=1))
        graph = Graph({"storage": storage}, author=b"z" * 16)  # wins where indexes are equal
        a = await graph.read("a")
        await a.write("y", "mine")
        storage.answer = [stored("a", 2, x=2, y=2)]
        assert a is await graph.read("a", force=True)
        assert {"x": 2, "y": "mine"} == a.snapshot()
        storage.answer = [stored("a", 9, x=3)]
        assert 3 == await a.read("x", force=True)
        with pytest.raises(GraphError, match="force"):
            await graph.read("a", force="yes")

    run(story())


def test_none_as_storage_asks_nobody() -> None:
    """For reads and for writes; a later read completes the node."""

    async def story() -> None:
        storage = Scripted(stored("a", x=1))
        graph = Graph({"storage": storage})
        assert await graph.read("a", storage=None) is None
        a = await graph.write("a", {"y": 2}, storage=None)
        assert {"y": 2} == a.snapshot()
        assert [] == storage.reads == storage.writes
        assert a is await graph.read("a")
        assert {"x": 1, "y": 2} == a.snapshot()

    run(story())


def test_another_storage_can_be_named() -> None:
    """Whatever lies there is not destroyed either."""

    async def story() -> None:
        usual, other = Scripted(), Scripted(stored("a", 7, x=1, y=1))
        graph = Graph({"storage": usual})
        await graph.write("a", {"x": "new"}, storage=other)
        assert [] == usual.writes
        [action] = other.writes
        assert {"a": {"x": "new", "y": 1}} == action.graph.snapshot()
        with pytest.raises(GraphError, match="no storage"):
            await graph.write("a", {}, storage=object())

    run(story())


def test_pointers_are_loaded_from_the_storage() -> None:
    """One read for all of them; queries follow them, too."""

    async def story() -> None:
        storage = MemoryStorage()
        graph = Graph({"storage": storage})
        author = await graph.write("author", {"name": "Douglas Adams"})
        await graph.write("book", {"title": "Guide", "author": author})
        graph = Graph({"storage": storage})
        assert ["Douglas Adams"] == await graph.query("$.book.author.name")
        graph = Graph({"storage": storage})
        assert ["Guide"] == await graph.query("$[?@.author.name == 'Douglas Adams'].title")
        graph = Graph({"storage": storage})
        book = await graph.read("book")
        assert "Douglas Adams" == await (await book.read("author")).read("name")
        assert [] == await Graph({"storage": storage}).query("$.book.title", storage=None)

    run(story())


# --- Writing ----------------------------------------------------------------------------------


def test_a_storage_gets_the_whole_nodes_and_what_changed() -> None:
    """Before memory has changed, and before anybody hears of it."""

    async def story() -> None:
        graph: Graph

        class Watching(Scripted):
            async def write(self, action: Write) -> None:
                await super().write(action)
                assert {"n": {"a": 1, "b": 1}} == graph.snapshot() or len(self.writes) == 1
                assert len(heard.events) < len(self.writes)

        storage = Watching()
        graph = Graph({"storage": storage})
        heard = Heard(graph)
        await graph.write("n", {"a": 1, "b": 1})
        heard.events.clear()
        await graph.write("n", {"a": 2})
        action = storage.writes[-1]
        assert {"n": {"a": 2, "b": 1}} == action.graph.snapshot()
        assert {"a": 2} == action.update["n"].snapshot()
        assert {"a": 1} == action.history["n"].snapshot()
        assert {"n": {"a": 2, "b": 1}} == graph.snapshot()

    run(story())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_storage_that_fails_leaves_memory_as_it_was(is_async: bool) -> None:
    """No events, no half commit; the next write works, and storage ends like memory."""

    async def story() -> None:
        class Failing(MemoryStorage):
            is_broken = False

            def write(self, action: Write) -> Any:
                return self.later(action) if is_async else self.now(action)

            def now(self, action: Write) -> None:
                if self.is_broken:  # half way: one of the nodes is written
                    first = next(iter(action.graph.to_json().items()))
                    self.records.update([first])
                    raise OSError("disk full")
                super().write(action)

            async def later(self, action: Write) -> None:
                await asyncio.sleep(0)
                self.now(action)

        storage = Failing()
        graph = Graph({"storage": storage})
        await graph.write("a", {"x": 1})
        heard = Heard(graph)
        storage.is_broken = True
        for call in (
            lambda: graph.write("a", {"x": 2}),
            lambda: graph.commit({"a": {"x": 3}, "b": {"x": 3}}),
            lambda: graph.delete("a"),
        ):
            with pytest.raises(OSError, match="disk full"):
                await call()
        assert {"a": {"x": 1}} == graph.snapshot()
        assert [] == heard.events
        storage.is_broken = False
        await graph.write("a", {"y": 1})
        await graph.write("b", {"y": 1})
        assert {"x": 1, "y": 1} == graph.value("a").snapshot()
        assert graph.copy().to_json()["a"] == storage.records["a"]
        assert graph.copy().to_json()["b"] == storage.records["b"]

    run(story())


def test_storage_ends_with_the_state_of_memory() -> None:
    """However many writes are under way at once, and however slow the storage is."""

    async def story() -> None:
        class Slow(MemoryStorage):
            count = 0

            def write(self, action: Write) -> Any:
                self.count += 1
                return self.later(action, 5 - self.count % 5)

            async def later(self, action: Write, turns: int) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                super().write(action)

        storage = Slow()
        graph = Graph({"storage": storage})
        for number in range(30):
            graph.write("n", {f"f{number % 4}": number})
            graph.write(f"n{number % 3}", {"x": number})
        await graph.write("n", {"last": True})
        await graph.close()
        assert {"f0": 28, "f1": 29, "f2": 26, "f3": 27, "last": True} == graph.value("n").snapshot()
        assert graph.copy().to_json() == storage.records

    run(story())


def test_the_last_write_called_wins_over_what_nobody_had_read() -> None:
    """Ids from the storage may be far above those of a graph that has just begun."""

    async def story() -> None:
        graph = Graph({"storage": Scripted(stored("n", 10**9, a="old", b="old"))})
        first = graph.write("n", {"a": "first"})
        second = graph.write("n", {"a": "second"})
        await asyncio.gather(second, first)
        assert {"a": "second", "b": "old"} == graph.value("n").snapshot()

    run(story())


def test_a_deletion_wins_over_what_nobody_had_read() -> None:
    """The storage hears of the removal, and has the tombstone already."""

    async def story() -> None:
        storage = Scripted(stored("n", 500, a=1))
        graph = Graph({"storage": storage})
        await graph.delete("n")
        assert await graph.read("n") is None
        [written], [removed] = storage.writes, storage.removes
        assert ["n"] == list(written.graph.keys()) == list(removed.graph.keys())
        assert not written.graph["n"].exists
        assert written.graph["n"].gone > OpId(500, b"s" * 16)

    run(story())


def test_a_branch_is_committed_over_what_nobody_had_read() -> None:
    """What the branch wrote is a patch, too."""

    async def story() -> None:
        storage = Scripted(stored("n", 500, a="old", b="old"))
        graph = Graph({"storage": storage})
        branch = graph.branch()
        await branch.write("n", {"a": "new"})
        assert [] == storage.writes
        await graph.commit(branch)
        assert {"a": "new", "b": "old"} == graph.value("n").snapshot()

    run(story())


def test_stale_changes_do_not_win_over_what_is_stored() -> None:
    """Foreign assignments keep their ids, whatever lies in the storage."""

    async def story() -> None:
        graph = Graph({"storage": Scripted(stored("n", 500, a="stored"))})
        await graph.commit(NodeMap([stored("n", 400, a="stale", b="new")]))
        assert {"a": "stored", "b": "new"} == graph.value("n").snapshot()

    run(story())


def test_a_storage_without_remove_and_with_plain_methods_will_do() -> None:
    """The two methods that matter, in a few lines."""

    async def story() -> None:
        class Plain:
            def __init__(self) -> None:
                self.records: dict[str, Any] = {}

            def read(self, action: ReadNodes) -> list[Any]:
                return [self.records.get(key) for key in action.keys]

            def write(self, action: Write) -> None:
                self.records.update({key: node.to_json() for key, node in action.graph})

        storage = Plain()
        graph = Graph({"storage": storage})
        await graph.write("n", {"a": 1})
        await graph.delete("n")
        await graph.write("n", {"b": 1})
        assert {"b": 1} == (await Graph({"storage": storage}).read("n")).snapshot()
        with pytest.raises(GraphError, match="Plain does not support streaming"):
            async for _ in graph:
                pass

    run(story())


def test_the_action_after_a_write_says_what_is_in_memory() -> None:
    """Hooks after the write may rely on it."""

    async def story() -> None:
        seen: list[Any] = []

        def look(action: Write) -> Write:
            seen.append((action.update["n"].snapshot(), action.graph.snapshot()))
            return replace(action, options={"changed": True})

        storage = Scripted(stored("n", 5, a="old", b="old"))
        graph = Graph({"storage": storage}, {"hooks": {"after": {"write": look}}})
        done = await graph.commit({"n": {"a": "new"}})
        assert [({"a": "new"}, {"n": {"a": "new", "b": "old"}})] == seen
        assert {"changed": True} == done.options

    run(story())


# --- Beside the event loop ----------------------------------------------------------------------


class Held(SqliteSaveState):
    """A file on a disk that does nothing until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.commits: list[list[str]] = []

    def commit(self, puts: Any = (), deletes: Any = (), delete_prefixes: Any = ()) -> None:
        """Wait, then commit."""
        puts = list(puts)
        assert self.go.wait(PATIENCE_S)
        self.commits.append([key for key, _ in puts])
        super().commit(puts, deletes, delete_prefixes)


def test_the_event_loop_goes_on_while_a_file_is_written(tmp_path: Path) -> None:
    """A write is there when it is awaited, not before; what was asked later comes later."""

    async def story() -> None:
        state = Held(tmp_path / "graph.cytosol")
        graph = Graph({"storage": SaveStateStorage(state)})
        heard = []
        graph.on("update", lambda nodes: heard.append(nodes.snapshot()))
        first, second = graph.write("k", {"x": 1}), graph.write("m", {"y": 2})
        reading = graph.read("k")
        for _ in range(20):
            await asyncio.sleep(0)
        assert {} == graph.snapshot()
        assert [] == heard == state.commits
        state.go.set()
        await first
        assert {"x": 1} == graph.value("k").snapshot()
        await second
        await reading
        assert [["node/k"], ["node/m"]] == state.commits
        assert [{"k": {"x": 1}}, {"m": {"y": 2}}] == heard
        await graph.close()

    run(story())


def test_a_storage_is_closed_after_what_has_begun(tmp_path: Path) -> None:
    """Also what nobody awaits; the file is free then."""

    async def story() -> None:
        state = Held(tmp_path / "graph.cytosol")
        storage = SaveStateStorage(state)
        saving = storage.notes.put("n", 1)
        closing = storage.close()
        state.go.set()
        await saving
        await closing
        storage = SaveStateStorage(SqliteSaveState(tmp_path / "graph.cytosol"))
        assert 1 == await storage.notes.get("n")
        await storage.close()

    run(story())


def test_a_file_can_be_written_without_an_event_loop(tmp_path: Path) -> None:
    """There is nothing to hold up."""
    graph = Graph({"storage": SaveStateStorage(JsonFileSaveState(tmp_path / "graph.json"))})
    graph.write("k", {"x": 1})
    assert {"k": {"x": 1}} == graph.snapshot()
    run(graph.close())


class Halfway(MemoryStorage):
    """A storage that says that it has written a good while after it has."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def write(self, action: Write) -> None:
        """Write, then wait."""
        await super().write(action)
        await self.go.wait()


@pytest.mark.parametrize("change", ["write", "delete", "make"])
def test_a_read_waits_for_what_is_being_stored(change: str) -> None:
    """Loaded before its time it would be no news: no event would tell it, no router push it."""

    async def story() -> None:
        storage = Halfway()
        storage.go.set()
        if change != "make":
            await Graph({"storage": storage}).write("k", {"x": 0, "y": 0})
        storage.go.clear()
        graph = Graph({"storage": storage})
        heard = []
        graph.on("update", lambda nodes: heard.append(list(nodes.keys())))
        begun = graph.delete("k") if change == "delete" else graph.write("k", {"x": 1})
        await asyncio.sleep(0)
        reading = graph.read("k", force=True)
        assert await graph.read("another") is None
        assert [] == heard
        storage.go.set()
        node = await reading
        shown = {"write": {"x": 1, "y": 0}, "make": {"x": 1}, "delete": None}[change]
        assert shown == (node and node.snapshot())
        await begun
        assert [["k"]] == heard

    run(story())


def test_a_hook_may_read_what_it_is_writing() -> None:
    """It does not wait for the write that waits for it."""

    async def hook(action: Write) -> Write:
        if "k" in action.update:
            await asyncio.gather(graph.write("log", {"x": 1}), graph.read("log"))
        return action

    storage = Halfway()
    graph = Graph({"storage": storage, "hooks": {"before": {"write": hook}}})

    async def story() -> None:
        begun = graph.write("k", {"x": 1})
        for _ in range(20):
            await asyncio.sleep(0)
        storage.go.set()
        await begun
        assert {"k": {"x": 1}, "log": {"x": 1}} == graph.snapshot()

    run(story())
