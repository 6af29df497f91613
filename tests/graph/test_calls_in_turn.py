"""Calls that begin at once, wait for their turn, are cancelled, closed, or come from routers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cytosol import ConfigError, Graph, GraphError
from cytosol.graph import Delta, MemoryStorage, Node, NodeMap, ReadField, ReadNodes, Write
from cytosol.graph.awaiting import Turns, become_task, begin
from cytosol.graph.transports.memory import pair
from cytosol.model.ids import OpId
from tests.graph.running import run


class Gated(MemoryStorage):
    """A storage whose writes wait until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def write(self, action: Write) -> None:  # type: ignore[override]  # async is allowed
        await self.gate.wait()
        self.records.update(action.graph.to_json())


class Answering:
    """A router that answers with nodes; it is attached and closed."""

    def __init__(self, *nodes: Any) -> None:
        self.nodes = nodes
        self.attached: list[Any] = []
        self.pushed: list[Any] = []
        self.pulled: list[tuple[str, ...]] = []

    def attach(self, graph: Graph, config: Any) -> None:
        self.attached.append((graph, config.network))

    def push(self, action: Write) -> None:
        self.pushed.append(action.update.snapshot())

    def pull(self, action: ReadNodes) -> Any:
        self.pulled.append(tuple(action.keys))
        return self.nodes

    async def close(self) -> None:
        self.attached.append("closed")


def foreign(key: str, index: int, **fields: Any) -> Node:
    """Return a node with assignments of somebody else."""
    node = Node(key)
    stamp = OpId(index, b"f" * 16)
    node.entries = {field: (value, stamp) for field, value in fields.items()}
    return node


# --- Turns --------------------------------------------------------------------------------------


def test_one_who_waits_for_a_turn_can_leave() -> None:
    """The others have theirs, in order."""

    async def story() -> None:
        turns, order = Turns(), []

        async def work(name: str) -> None:
            await turns.take()
            try:
                await become_task()
                await asyncio.sleep(0)
                order.append(name)
            finally:
                turns.give_back()

        running: set[Any] = set()
        calls: dict[str, Any] = {name: begin(work(name), running) for name in "abcd"}
        calls["b"].task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls["b"]
        await calls["d"]
        assert ["a", "c", "d"] == order
        assert turns.is_free
        assert set() == running

    run(story())


def test_a_turn_that_comes_while_its_owner_leaves_goes_on() -> None:
    """Or everybody would wait for ever."""

    async def story() -> None:
        turns = Turns()
        await turns.take()
        running: set[Any] = set()

        async def wait() -> None:
            await turns.take()

        waiting: Any = begin(wait(), running)
        await asyncio.sleep(0)
        turns.give_back()
        waiting.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert turns.is_free

    run(story())


def test_a_write_behind_a_waiting_one_waits_too() -> None:
    """Reads do not: memory shows what is durable."""

    async def story() -> None:
        storage = Gated()
        graph = Graph({"storage": storage})
        first = graph.write("a", {"x": 1})
        second = graph.write("b", {"x": 2}, storage=None)
        assert await graph.read("b", storage=None) is None
        storage.gate.set()
        assert {"x": 2} == (await second).snapshot()
        assert {"x": 1} == (await first).snapshot()

    run(story())


def test_merge_does_not_jump_the_queue() -> None:
    """It cannot wait, so it refuses."""

    async def story() -> None:
        storage = Gated()
        graph = Graph()
        writing = graph.write("a", {"x": 1}, storage=storage)
        with pytest.raises(GraphError, match="under way"):
            graph.merge({"a": {"x": 2}})
        storage.gate.set()
        await writing
        graph.merge({"a": {"x": 2}})
        assert {"a": {"x": 2}} == graph.snapshot()

    run(story())


def test_closing_waits_for_what_has_begun() -> None:
    """Unawaited writes are durable afterwards."""

    async def story() -> None:
        storage, router = Gated(), Answering()
        graph = Graph({"storage": storage, "router": router})
        for number in range(5):
            graph.write("n", {f"f{number}": number})
        closing = asyncio.ensure_future(graph.close())
        await asyncio.sleep(0)
        assert not closing.done()
        storage.gate.set()
        await closing
        assert 5 == len(storage.records["n"]["fields"])
        assert "closed" == router.attached[-1]
        with pytest.raises(GraphError, match="closed"):
            graph.merge({})

    run(story())


def test_a_leap_of_the_clock_is_refused_and_nothing_is_stored() -> None:
    """One peer must not bring the clock of all others to its end."""

    async def story() -> None:
        storage = MemoryStorage()
        for config in ({}, {"storage": storage}):
            graph = Graph(config)
            with pytest.raises(GraphError, match="no honest writer"):
                await graph.commit(NodeMap([foreign("n", 2**53 - 1, a=1)]))
            assert {} == graph.snapshot() == storage.records
            await graph.write("n", {"a": 2})
            storage.records.clear()

    run(story())


def test_too_many_fields_are_refused_and_nothing_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one write, or one after the other; in memory and in the storage."""

    async def story() -> None:
        for module in ("node", "collection", "backing"):
            monkeypatch.setattr(f"cytosol.graph.{module}.NODE_FIELDS_MAX", 3)
        storage = MemoryStorage()
        for config in ({}, {"storage": storage}):
            graph = Graph(config)
            await graph.write("n", {"a": 1, "b": 2})
            with pytest.raises(GraphError, match="3 are allowed"):
                await graph.write("n", {"c": 3, "d": 4})
            with pytest.raises(GraphError, match="3 are allowed"):
                await graph.commit({"m": {"x": 1}, "n": {"c": 3, "d": 4}})
            await graph.write("n", {"a": 5, "b": 5, "c": 5})
            assert {"n": {"a": 5, "b": 5, "c": 5}} == graph.snapshot()
        assert ["n"] == list(storage.records)

    run(story())


# --- Routers ------------------------------------------------------------------------------------


def test_a_router_is_asked_for_what_is_not_in_memory() -> None:
    """And answers merge with what the storage has, field by field."""

    async def story() -> None:
        storage = MemoryStorage()
        await Graph({"storage": storage}).commit(NodeMap([foreign("n", 1, a="stored", b="stored")]))
        router = Answering(foreign("n", 2, b="pulled", c="pulled"))
        graph = Graph({"storage": storage, "router": router})
        assert [(graph, graph.network)] == router.attached
        node = await graph.read("n")
        assert {"a": "stored", "b": "pulled", "c": "pulled"} == node.snapshot()
        await graph.read("n")
        assert [("n",)] == router.pulled

    run(story())


def test_without_a_network_the_router_is_not_asked() -> None:
    """`network=None`: neither for a read nor for a write; another network is passed on."""

    async def story() -> None:
        router = Answering()
        graph = Graph({"router": router})
        await graph.write("n", {"a": 1}, network=None)
        assert await graph.read("m", network=None) is None
        assert [] == router.pushed == router.pulled
        wire, _ = pair()
        await graph.write("n", {"a": 2}, network=wire)
        assert [{"n": {"a": 2}}] == router.pushed
        with pytest.raises(ConfigError, match="network"):
            await graph.read("n", network="somewhere")

    run(story())


def test_a_commit_that_changes_nothing_is_not_pushed() -> None:
    """Or two routers would send it to each other for ever."""

    async def story() -> None:
        router = Answering()
        graph = Graph({"router": router})
        changes = NodeMap([foreign("n", 1, a=1)])
        await graph.commit(changes)
        await graph.commit(changes)
        assert 1 == len(router.pushed)

    run(story())


@pytest.mark.parametrize("is_async", [False, True])
def test_when_storage_or_router_fail_the_read_fails_and_nothing_is_merged(is_async: bool) -> None:
    """Whichever of them it is."""

    async def story() -> None:
        async def later(result: Any) -> Any:
            await asyncio.sleep(0)
            if isinstance(result, Exception):
                raise result
            return result

        def answer(result: Any) -> Any:
            if is_async:
                return later(result)
            if isinstance(result, Exception):
                raise result
            return result

        class Both(MemoryStorage):
            def read(self, action: ReadNodes) -> Any:
                return answer(now[0])

        class Router(Answering):
            def pull(self, action: ReadNodes) -> Any:
                return answer(now[1])

        good = [foreign("n", 1, a=1)]
        for case in (
            (OSError("disk"), good),
            (good, OSError("network")),
            (good, [foreign("n", 2**53 - 1, a=2)]),
            (good, 5),
        ):
            now = case
            graph = Graph({"storage": Both(), "router": Router()})
            with pytest.raises((OSError, GraphError)):
                await graph.read("n")
            assert {} == graph.snapshot()

    run(story())


def test_changes_that_came_past_the_graph_are_announced_and_pushed() -> None:
    """As when the document of a graph was edited."""

    async def story() -> None:
        router, seen = Answering(), []
        graph = Graph({"router": router})
        graph.on("update", seen.append)
        changes = NodeMap([foreign("n", 1, a=1)])
        delta = graph._backing.apply(changes)
        graph._heard(delta)
        graph._heard(Delta(NodeMap(), NodeMap()))
        assert [{"a": 1}] == [each["n"].snapshot() for each in seen]
        assert 1 == len(router.pushed)

    run(story())


# --- What is in memory --------------------------------------------------------------------------


def test_a_graph_can_be_looked_through() -> None:
    """Keys, members, copies, JSON."""

    async def story() -> None:
        graph = Graph()
        a = await graph.write("a", {"x": 1})
        await graph.write("b", {"y": 2})
        await graph.write("gone", {})
        await graph.delete("gone")
        assert ["a", "b"] == graph.keys()
        assert ("a", a) in list(graph)
        assert 5 not in graph
        assert 0 == len(graph.new())
        assert "<Graph of 2 nodes in memory>" == repr(graph)
        assert graph
        again = Graph()
        await again.commit(NodeMap.from_json(graph.to_json()))
        assert again.to_json() == graph.to_json()
        other = Graph()
        await other.write("a", {"x": 5, "z": 5})
        assert {"a": {"x": 1}} == {k: n.snapshot() for k, n in graph.overlap(other)}
        other.merge(graph)
        assert {"y": 2} == other.snapshot()["b"]

    run(story())


def test_a_graph_can_be_put_on_top_of_another() -> None:
    """`rebase` gives the changes, `commit` applies them."""

    async def story() -> None:
        mine, theirs = Graph(), Graph()
        await mine.write("n", {"a": "mine"})
        for number in range(3):
            await theirs.write("n", {"a": number, "b": number})
        await theirs.commit(mine.rebase(theirs))
        assert {"n": {"a": "mine", "b": 2}} == theirs.snapshot()

    run(story())


def test_a_field_hook_may_read_another_node() -> None:
    """Of this graph; one that is missing has no values."""

    async def story() -> None:
        from dataclasses import replace

        def turned(action: ReadField) -> ReadField:
            return replace(action, key="other")

        graph = Graph({"hooks": {"before": {"read": {"field": turned}}}})
        node = await graph.write("n", {"a": 1})
        assert await node.read("a") is None
        await graph.write("other", {"a": 2})
        assert 2 == await node.read("a")

    run(story())


@pytest.mark.parametrize("key", ["nodes", "values"])
def test_a_hook_after_a_read_must_leave_a_list(key: str) -> None:
    """The error says so."""

    async def story() -> None:
        from dataclasses import replace

        kind = "node" if key == "nodes" else "field"
        hook = {"after": {"read": {kind: lambda action: replace(action, **{key: 5})}}}
        graph = Graph({"hooks": hook})
        node = await graph.write("n", {"a": 1})
        with pytest.raises(GraphError, match=f"list in `{key}`"):
            await (graph.read("n") if key == "nodes" else node.read("a"))

    run(story())


def test_an_extension_cannot_take_a_name_of_branches() -> None:
    """It would be found out only when somebody branches."""
    with pytest.raises(ConfigError, match="changes"):
        Graph({"extend": {"graph": {"changes": print}}})


def test_a_record_that_is_damaged_is_named() -> None:
    """The read fails, the rest of the storage can be used."""

    async def story() -> None:
        from cytosol.graph import SaveStateStorage
        from cytosol.savestates import InMemorySaveState

        kept = InMemorySaveState()
        async with Graph({"storage": SaveStateStorage(kept)}) as graph:
            await graph.write("n", {"a": 1})
            kept.commit([("node/bad", b"{")])
            with pytest.raises(GraphError, match="cannot be read"):
                await graph.read("bad")
            assert "n" in graph

    run(story())
