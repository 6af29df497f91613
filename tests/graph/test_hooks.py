"""Hooks: what they return is what happens, before and after reads and writes."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from cytosol import Graph, GraphError
from cytosol.graph import MemoryStorage, NodeMap, Pointer, ReadField, ReadNodes, Write
from tests.graph.case_names import case_name
from tests.graph.running import run


def hooks(when: str, what: str, *functions: Any) -> dict[str, Any]:
    """Return a config with hooks of one kind: "write", "nodes", "node" or "field"."""
    inner = {"write": list(functions)} if what == "write" else {"read": {what: list(functions)}}
    return {"hooks": {when: inner}}


KINDS = [(when, what) for when in ("before", "after") for what in ("write", "nodes", "field")]


async def use(graph: Graph, what: str) -> Any:
    """Do what lets the hooks of one kind run."""
    if what == "write":
        return await graph.write("n", {"a": 1})
    if what == "nodes":
        return await graph.read("n")
    graph.merge({"n": {"a": 1}})
    return await graph.value("n").read("a")


@pytest.mark.parametrize(("when", "what"), KINDS)
@pytest.mark.parametrize("result", [None, {}, "action"], ids=case_name)
def test_a_hook_that_returns_no_action_is_named(when: str, what: str, result: Any) -> None:
    """The error says which hook it was and what to return."""

    async def story() -> None:
        def forgetful(action: Any) -> Any:
            return result

        graph = Graph(hooks(when, what, forgetful))
        with pytest.raises(GraphError, match=r"forgetful of `" + when) as caught:
            await use(graph, what)
        assert "replace(action" in str(caught.value)

    run(story())


@pytest.mark.parametrize(("when", "what"), KINDS)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_hook_that_raises_is_heard(when: str, what: str, is_async: bool) -> None:
    """Before a write nothing has happened then, after it everything."""

    async def story() -> None:
        async def fails_later(action: Any) -> Any:
            await asyncio.sleep(0)
            raise LookupError("hook")

        def fails(action: Any) -> Any:
            raise LookupError("hook")

        graph = Graph(hooks(when, what, fails_later if is_async else fails))
        with pytest.raises(LookupError, match="hook"):
            await use(graph, what)
        if what == "write":
            assert graph.snapshot() == ({} if when == "before" else {"n": {"a": 1}})

    run(story())


def test_actions_are_frozen() -> None:
    """Seed: "never mutate the action. Return a new action instead"."""

    async def story() -> None:
        def mutate(action: Any) -> Any:
            action.options = {}
            return action

        with pytest.raises(FrozenInstanceError):
            await Graph(hooks("before", "write", mutate)).write("n", {})

    run(story())


def test_each_hook_gets_what_the_one_before_returned() -> None:
    """Plain and async ones mixed."""

    async def story() -> None:
        def add(suffix: str) -> Any:
            def hook(action: Write) -> Write:
                value = action.update["n"].value("a")
                return replace(action, update={"n": {"a": value + suffix}})

            return hook

        async def add_later(action: Write) -> Write:
            await asyncio.sleep(0)
            return add("2")(action)

        graph = Graph(hooks("before", "write", add("1"), add_later, add("3")))
        node = await graph.write("n", {"a": "0"})
        assert {"a": "0123"} == node.snapshot()

    run(story())


def test_a_hook_sees_what_the_write_will_do_and_has_done() -> None:
    """Before: the update and the nodes as they will be. After: also what was overwritten."""

    async def story() -> None:
        seen: list[Any] = []

        def look(action: Write) -> Write:
            history = action.history and action.history.snapshot()
            seen.append((action.update.snapshot(), action.graph.snapshot(), history))
            return action

        graph = Graph(hooks("before", "write", look), hooks("after", "write", look))
        await graph.write("n", {"a": 1, "b": 1})
        seen.clear()
        await graph.commit({"n": {"a": 2}})
        assert [
            ({"n": {"a": 2}}, {"n": {"a": 2, "b": 1}}, None),
            ({"n": {"a": 2}}, {"n": {"a": 2, "b": 1}}, {"n": {"a": 1}}),
        ] == seen

    run(story())


def test_options_that_are_not_known_reach_the_hooks() -> None:
    """They are for them and for plugins."""

    async def story() -> None:
        seen: list[Any] = []

        def look(action: Any) -> Any:
            seen.append((type(action).__name__, dict(action.options)))
            return action

        graph = Graph(
            hooks("before", "write", look),
            hooks("before", "nodes", look),
            hooks("before", "field", look),
        )
        node = await graph.write("n", {"a": 1}, user="ann")
        await node.write("a", 2, user="bob")
        await graph.read("n", user="cid")
        await node.read("a", user="dan")
        assert [
            ("Write", {"user": "ann"}),
            ("Write", {"user": "bob"}),
            ("ReadNodes", {"user": "cid"}),
            ("ReadField", {"user": "dan"}),
        ] == seen

    run(story())


def test_a_hook_may_write_under_another_key() -> None:
    """The write then returns the node that was written."""

    async def story() -> None:
        def prefixed(action: Write) -> Write:
            return replace(action, update={f"my/{k}": n.snapshot() for k, n in action.update})

        graph = Graph(hooks("before", "write", prefixed))
        node = await graph.write("n", {"a": 1})
        assert "my/n" == node.key
        assert {"my/n": {"a": 1}} == graph.snapshot()

    run(story())


@pytest.mark.parametrize("update", [5, None, {"n": 5}, {"n": {"a": []}}, {"": {}}], ids=case_name)
def test_an_impossible_update_of_a_hook_changes_nothing(update: Any) -> None:
    """It is checked like one of the caller."""

    async def story() -> None:
        storage = MemoryStorage()
        graph = Graph(
            {"storage": storage},
            hooks("before", "write", lambda action: replace(action, update=update)),
        )
        with pytest.raises(GraphError):
            await graph.write("n", {"a": 1})
        assert {} == graph.snapshot() == storage.records

    run(story())


def test_a_hook_may_choose_the_storage() -> None:
    """Hooks can change every bit of an action (seed: Hooks)."""

    async def story() -> None:
        usual, other = MemoryStorage(), MemoryStorage()
        graph = Graph(
            {"storage": usual},
            hooks("before", "write", lambda action: replace(action, storage=other)),
        )
        await graph.write("n", {"a": 1})
        assert {} == usual.records
        assert ["n"] == list(other.records)

    run(story())


def test_a_hook_may_drop_a_write() -> None:
    """By an empty update."""

    async def story() -> None:
        graph = Graph(hooks("before", "write", lambda action: replace(action, update={})))
        assert await graph.write("n", {"a": 1}) is None
        assert {} == graph.snapshot()

    run(story())


def test_reads_can_be_turned_to_other_keys() -> None:
    """Before; and to other results after."""

    async def story() -> None:
        def prefixed(action: ReadNodes) -> ReadNodes:
            return replace(action, keys=[f"my-prefix/{key}" for key in action.keys])

        def turned(action: ReadNodes) -> ReadNodes:
            assert action.nodes is not None
            return replace(action, nodes=[action.nodes[1], action.nodes[0]])

        graph = Graph(hooks("before", "nodes", prefixed), hooks("after", "node", turned))
        a = await graph.write("my-prefix/a", {})
        b = await graph.write("my-prefix/b", {})
        await graph.write("a", {})
        assert [b, a] == await graph.nodes(["a", "b"])

    run(story())


def test_field_hooks_see_and_change_fields_and_values() -> None:
    """For one field and for several."""

    async def story() -> None:
        def renamed(action: ReadField) -> ReadField:
            return replace(action, fields=[field.lower() for field in action.fields])

        def shouted(action: ReadField) -> ReadField:
            assert action.key == "n"
            assert action.values is not None
            return replace(action, values=[str(value).upper() for value in action.values])

        graph = Graph(hooks("before", "field", renamed), hooks("after", "field", shouted))
        node = await graph.write("n", {"a": "x", "b": "y"})
        assert "X" == await node.read("A")
        assert ["Y", "X"] == await node.fields(["B", "A"])

    run(story())


def test_pointers_are_read_with_the_hooks_of_nodes() -> None:
    """And all at once."""

    async def story() -> None:
        asked: list[Any] = []

        def look(action: ReadNodes) -> ReadNodes:
            asked.append(tuple(action.keys))
            return action

        graph = Graph(hooks("before", "nodes", look))
        a = await graph.write("a", {})
        b = await graph.write("b", {})
        node = await graph.write("n", {"a": a, "b": b, "again": Pointer("a"), "x": 1})
        assert [a, 1, b, a] == await node.fields(["a", "x", "b", "again"])
        assert a is await node.read("a")
        assert [("a", "b"), ("a",)] == asked

    run(story())


def test_a_write_waits_for_its_hook_and_later_writes_wait_for_it() -> None:
    """Seed: "the entire pipeline is put on pause until it resolves"."""

    async def story() -> None:
        gate = asyncio.Event()
        order: list[str] = []

        async def wait(action: Write) -> Write:
            if "slow" in action.update:
                await gate.wait()
            return action

        graph = Graph(hooks("before", "write", wait))
        graph.on("update", lambda delta: order.extend(delta.keys()))
        slow = graph.write("slow", {"a": 1})
        fast = graph.write("fast", {"a": 1})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert {} == graph.snapshot()
        gate.set()
        await fast
        await slow
        assert ["slow", "fast"] == order

    run(story())


def test_a_hook_may_write_itself() -> None:
    """What it writes cannot wait for the write that waits for it: it goes ahead."""

    async def story() -> None:
        async def count(action: Write) -> Write:
            if next(iter(action.update.keys())) in ("a", "b", "c"):
                before = graph.value("count")
                number = 0 if before is None else before.value("writes")
                await graph.write("count", {"writes": number + 1})
                graph.write("unawaited", {"n": number})
            return action

        storage = MemoryStorage()
        graph = Graph({"storage": storage}, hooks("before", "write", count))
        await asyncio.gather(graph.write("a", {}), graph.write("b", {}), graph.write("c", {}))
        assert {"writes": 3} == graph.value("count").snapshot()
        assert set(graph.keys()) == set(storage.records)
        assert {"n": 2} == graph.value("unawaited").snapshot()

    run(story())


def test_an_unawaited_write_that_fails_is_reported() -> None:
    """To the event loop's exception handler, with plain and with async hooks."""

    async def story() -> None:
        reported: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))

        def fails(action: Write) -> Write:
            raise LookupError("plain")

        async def fails_later(action: Write) -> Write:
            raise LookupError("async")

        Graph(hooks("before", "write", fails)).write("n", {})
        Graph(hooks("before", "write", fails_later)).write("n", {})
        for _ in range(5):
            await asyncio.sleep(0)
        assert ["async", "plain"] == sorted(str(error) for error in reported)

    run(story())


def test_without_an_event_loop_plain_graphs_work_and_others_say_what_they_need() -> None:
    """Nothing has happened then."""
    graph = Graph(hooks("before", "write", lambda action: action))
    graph.write("n", {"a": 1})
    assert {"n": {"a": 1}} == graph.snapshot()

    class Later:
        def __await__(self) -> Any:
            raise AssertionError("nobody can wait here")

    waiting = Graph(hooks("before", "write", lambda action: Later()))
    with pytest.raises(GraphError, match="event loop"):
        waiting.write("n", {"a": 1})
    assert {} == waiting.snapshot()
    with pytest.raises(GraphError, match="event loop"):
        waiting.write("n", {"a": 1})


def test_a_caller_that_is_cancelled_does_not_cancel_its_write() -> None:
    """Half a write would be worse than one that nobody waits for."""

    async def story() -> None:
        gate = asyncio.Event()

        async def wait(action: Write) -> Write:
            await gate.wait()
            return action

        graph = Graph(hooks("before", "write", wait))
        caller = asyncio.ensure_future(graph.write("n", {"a": 1}))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gate.set()
        await graph.write("m", {})
        assert {"n": {"a": 1}, "m": {}} == graph.snapshot()

    run(story())


def test_a_hook_gets_the_changes_as_nodes_with_ids() -> None:
    """A NodeMap that a hook makes of them keeps these ids."""

    async def story() -> None:
        def only_a(action: Write) -> Write:
            kept = NodeMap()
            for key, node in action.update:
                kept.add(node.copy()).entries.pop("b", None)
                assert key == node.key
            return replace(action, update=kept)

        graph = Graph(hooks("before", "write", only_a))
        node = await graph.write("n", {"a": 1, "b": 2})
        assert {"a": 1} == node.snapshot()

    run(story())
