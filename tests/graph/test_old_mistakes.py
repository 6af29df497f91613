"""Mistakes that Mytosis made, and that this graph does not make: one test each.

The design is Mytosis's, so each of these would have been easy to repeat.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from cytosol import Graph, GraphError
from cytosol.graph import (
    ConnectionGroup,
    MemoryStorage,
    Node,
    NodeMap,
    ReadNodes,
    SaveStateStorage,
    Stream,
    Write,
)
from cytosol.graph.transports.memory import pair
from cytosol.model.ids import OpId
from cytosol.savestates import InMemorySaveState
from tests.graph.case_names import case_name
from tests.graph.running import run

PROTOTYPE_NAMES = [
    "__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "prototype",
    "__class__", "__dict__", "__slots__", "__init__", "keys", "values", "items", "get",
]  # fmt: skip


class Slow(MemoryStorage):
    """A storage whose writes take longer, the earlier they come."""

    turns = 8

    async def write(self, action: Write) -> None:  # type: ignore[override]  # async is allowed
        self.turns -= 1
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.records.update(action.graph.to_json())


class Noting:
    """A router that notes what it is told."""

    def __init__(self) -> None:
        self.pushed: list[Write] = []
        self.pulled: list[ReadNodes] = []

    async def push(self, action: Write) -> None:
        self.pushed.append(action)

    async def pull(self, action: ReadNodes) -> list[Node]:
        self.pulled.append(action)
        return []


def test_1_a_write_to_a_stored_node_keeps_its_other_fields() -> None:
    """The original began at state 1 and overwrote the whole node."""

    async def story() -> None:
        storage = MemoryStorage()
        await Graph({"storage": storage}).write("n", {"a": 1, "b": 2})
        await Graph({"storage": storage}).write("n", {"a": 3})
        assert {"a": 3, "b": 2} == (await Graph({"storage": storage}).read("n")).snapshot()

    run(story())


def test_2_concurrent_writes_store_what_memory_has() -> None:
    """In the original, the storage ended with the second write's field only."""

    async def story() -> None:
        storage = Slow()
        graph = Graph({"storage": storage})
        graph.write("n", {"a": 1})
        graph.write("n", {"b": 2})
        await graph.write("n", {"c": 3})
        assert {"a": 1, "b": 2, "c": 3} == graph.value("n").snapshot()
        assert {"a": 1, "b": 2, "c": 3} == (await Graph({"storage": storage}).read("n")).snapshot()

    run(story())


def test_2_the_last_of_two_unawaited_writes_wins() -> None:
    """In the original both got one state, and the lexically greater value won."""

    async def story() -> None:
        for first, second in permutations(("a", "b")):
            graph = Graph({"storage": Slow()})
            graph.write("n", {"x": first})
            node = await graph.write("n", {"x": second})
            assert second == node.value("x")

    run(story())


def test_3_nodes_that_a_branch_created_belong_to_the_graph_after_the_commit() -> None:
    """In the original their later writes went to the branch, and were lost."""

    async def story() -> None:
        graph = Graph()
        branch = graph.branch()
        await branch.write("company", {"name": "Enterprise Inc."})
        await graph.commit(branch)
        company = await graph.read("company")
        await company.write("phone", "456-123-8970")
        assert {"name": "Enterprise Inc.", "phone": "456-123-8970"} == graph.snapshot()["company"]
        assert {"name": "Enterprise Inc."} == (await branch.read("company")).snapshot()

    run(story())


def test_4_a_rebase_keeps_newer_fields_that_the_branch_did_not_touch() -> None:
    """The original replayed every field of the branch over the source."""

    async def story() -> None:
        graph = Graph()
        await graph.write("n", {"mine": 1, "theirs": 1})
        branch = graph.branch()
        await branch.write("n", {"mine": 2})
        await graph.write("n", {"theirs": 3})
        await graph.commit(branch.rebase(graph))
        assert {"mine": 2, "theirs": 3} == graph.value("n").snapshot()

    run(story())


def test_5_a_later_config_drops_neither_network_nor_router() -> None:
    """The original lost both if a later config did not name them."""
    wire, _ = pair()
    router = Noting()
    graph = Graph({"network": wire, "router": router}, {"storage": MemoryStorage()}, {})
    assert graph.router is router
    assert [wire] == list(graph.network or ())


def test_6_force_refreshes_cached_nodes() -> None:
    """The original asked the plugins for no keys at all."""

    async def story() -> None:
        storage, router = MemoryStorage(), Noting()
        graph = Graph({"storage": storage, "router": router})
        node = await graph.write("n", {"a": "old"})
        await Graph({"storage": storage}).write("n", {"a": "new"})
        assert node is await graph.read("n", force=True)
        assert {"a": "new"} == node.snapshot()
        assert [("n",)] == [tuple(action.keys) for action in router.pulled]

    run(story())


def test_7_what_a_hook_makes_of_the_update_is_what_happens() -> None:
    """The original threw it away; in memory, in the storage and for the router it counts."""

    async def story() -> None:
        storage, router = MemoryStorage(), Noting()
        hook = {"before": {"write": lambda action: replace(action, update={"n": {"a": "hooked"}})}}
        graph = Graph({"hooks": hook, "storage": storage, "router": router})
        await graph.write("n", {"a": "plain"})
        assert {"n": {"a": "hooked"}} == graph.snapshot()
        assert "hooked" == storage.records["n"]["fields"]["a"][0]
        assert {"a": "hooked"} == router.pushed[0].update["n"].snapshot()

    run(story())


def test_7_a_hook_that_returns_nothing_is_an_error_and_changes_nothing() -> None:
    """The original changed memory first and crashed then."""

    async def story() -> None:
        storage = MemoryStorage()
        graph = Graph({"hooks": {"before": {"write": lambda action: None}}, "storage": storage})
        with pytest.raises(GraphError, match="returned nothing"):
            await graph.write("n", {"a": 1})
        assert {} == graph.snapshot() == storage.records

    run(story())


def test_8_when_the_storage_fails_memory_is_unchanged_and_nobody_was_told() -> None:
    """In the original memory, events and peers were ahead of the storage."""

    async def story() -> None:
        class Full(MemoryStorage):
            async def write(self, action: Write) -> None:  # type: ignore[override]  # as above
                raise OSError("disk full")

        router, told = Noting(), []
        graph = Graph({"storage": Full(), "router": router})
        graph.on("update", told.append)
        with pytest.raises(OSError, match="disk full"):
            await graph.write("n", {"a": 1})
        assert {} == graph.snapshot()
        assert [] == told == router.pushed

    run(story())


def test_8_events_come_after_the_write_is_durable() -> None:
    """Whoever hears of a change may rely on it."""

    async def story() -> None:
        storage = Slow()
        graph = Graph({"storage": storage})
        durable: list[bool] = []
        graph.on("update", lambda delta: durable.append(set(delta.keys()) <= set(storage.records)))
        await asyncio.gather(graph.write("a", {}), graph.write("b", {}))
        assert [True, True] == durable

    run(story())


def test_9_the_writer_waits_for_the_router_and_gets_its_error() -> None:
    """In the original it was an unhandled rejection; the write itself stands."""

    async def story() -> None:
        class Refusing(Noting):
            async def push(self, action: Write) -> None:
                await asyncio.sleep(0)
                raise ConnectionError("refused")

        graph = Graph({"router": Refusing()})
        with pytest.raises(ConnectionError, match="refused"):
            await graph.write("n", {"a": 1})
        assert {"n": {"a": 1}} == graph.snapshot()

    run(story())


@pytest.mark.parametrize("value", [{"street": "Long"}, [1, 2], {}, []], ids=case_name)
def test_10_objects_and_lists_are_neither_stored_nor_taken_for_pointers(value: Any) -> None:
    """In the original they could be written and read as null."""

    async def story() -> None:
        graph = Graph()
        node = await graph.write("n", {"a": 1})
        with pytest.raises(GraphError, match="write a pointer"):
            await node.write("address", value)
        assert {"a": 1} == node.snapshot()

    run(story())


def test_11_what_merge_puts_into_a_graph_can_read_and_write() -> None:
    """In the original such nodes had no methods of a member, for ever."""

    async def story() -> None:
        graph = Graph()
        detached = Node("n")
        detached.merge({"a": 1})
        graph.merge(NodeMap([detached]))
        node = graph.value("n")
        await node.write("b", 2)
        assert [1, 2] == await node.fields(["a", "b"])
        assert node is not detached
        assert {"n": {"a": 1, "b": 2}} == graph.snapshot()

    run(story())


def test_12_the_winner_does_not_depend_on_texts_of_values() -> None:
    """The original compared JSON texts: 10 < 5, and {a, b} != {b, a}. Here it is the id."""

    async def story() -> None:
        values = [5, 10, "10", -2, -1, True, None, "a", "a ", {"edge": "x"}]
        rivals = []
        for number, value in enumerate(values):
            node = Node("n")
            node.merge({"a": value})
            rivals.append(NodeMap([node]).stamped(_clock(number)))
        for order in (rivals, rivals[::-1], rivals[1::2] + rivals[::2]):
            graph = Graph()
            for changes in order:
                await graph.commit(changes)
            assert {"n": {"a": {"edge": "x"}}} == graph.snapshot()

    run(story())


def _clock(number: int) -> Any:
    from cytosol.graph import Clock

    return Clock(bytes(15) + bytes([number]))


def test_13_nothing_that_goes_in_or_out_is_shared() -> None:
    """Patches, snapshots, JSON, deltas and committed nodes can be altered without harm."""

    async def story() -> None:
        graph = Graph()
        target = await graph.write("t", {})
        patch: dict[str, Any] = {"a": 1, "to": target}
        deltas: list[NodeMap] = []
        graph.on("update", deltas.append)
        node = await graph.write("n", patch)
        assert {"a": 1, "to": target} == patch
        patch["a"] = 2
        node.snapshot()["a"] = 3
        node.to_json()["fields"]["a"][0] = 4
        graph.copy()["n"].merge({"a": 5})
        deltas[0]["n"].merge({"a": 6})
        foreign = Node("m")
        foreign.entries["a"] = ("m", OpId(1, bytes(16)))
        await graph.commit(NodeMap([foreign]))
        foreign.merge({"a": 7})
        assert {"t": {}, "n": {"a": 1, "to": {"edge": "t"}}, "m": {"a": "m"}} == graph.snapshot()

    run(story())


@pytest.mark.parametrize("name", PROTOTYPE_NAMES)
def test_14_names_of_methods_and_prototypes_are_plain_names(name: str) -> None:
    """As keys, as fields and as ids of connections; before they are written there is nothing."""

    async def story() -> None:
        graph = Graph({"storage": MemoryStorage()})
        assert await graph.read(name) is None
        node = await graph.write(name, {name: "x"})
        assert "x" == await node.read(name)
        assert {name: {name: "x"}} == graph.snapshot()
        assert ["x"] == await graph.query("$.{n}.{n}", vars={"n": name})
        group = ConnectionGroup()
        assert group.get(name) is None
        wire, _ = pair(name, "other")
        group.add(wire)
        assert group.get(name) is wire

    run(story())


def test_15_a_stream_of_a_storage_loses_nothing() -> None:
    """The original lost values when the producer was faster than the consumer, and hung."""

    async def story() -> None:
        graph = Graph({"storage": SaveStateStorage(InMemorySaveState())})
        await graph.commit({f"n{number}": {"x": number} for number in range(200)})
        found = []
        async for node in graph:
            await asyncio.sleep(0)
            found.append(node.value("x"))
        assert list(range(200)) == sorted(found)

    run(story())


def test_15_listening_again_doubles_no_message() -> None:
    """The original never removed its listener, so that every new one heard all twice."""
    emits: list[Any] = []

    def publish(emit: Any) -> Any:
        emits.append(emit)
        return lambda: emits.remove(emit)

    stream: Stream[str] = Stream(publish)
    heard: list[str] = []
    for _ in range(3):
        subscription = stream.listen(heard.append)
        [emit] = emits
        emit("message")
        subscription.cancel()
    assert ["message"] * 3 == heard
    assert [] == emits
