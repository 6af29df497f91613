"""What every graph must do, alone in memory or in a database: one suite for both kinds.

A test module makes a subclass of `GraphSuite` whose name begins with `Test` and gives it the
fixture `make_graph`, a function `make_graph(*configs)` that returns a new, empty graph.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cytosol import Graph, GraphError, PathLimitError, PathSyntaxError
from cytosol.graph import Node, NodeMap, Pointer, Write
from tests.graph.case_names import case_name
from tests.graph.running import run

MakeGraph = Callable[..., Graph]

ODD_NAMES = [
    "__proto__", "constructor", "toString", "ключ", "😀", "a b", "~/.*", "$..x", "edge", "key",
    "entries", "nodes", "\u0000", "'", '"', "\\", "0", "-1", "a" * 1000,
]  # fmt: skip


class Heard:
    """The events of a graph or a node, in order."""

    def __init__(self, source: Graph | Node) -> None:
        self.events: list[tuple[str, Any]] = []
        source.on("update", lambda delta: self.events.append(("update", delta)))
        source.on("history", lambda delta: self.events.append(("history", delta)))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def take(self, name: str) -> list[Any]:
        return [delta.snapshot() for each, delta in self.events if each == name]


class GraphSuite:
    """The API of a graph."""

    # --- Reading and writing ----------------------------------------------------------------

    def test_a_missing_node_is_none(self, make_graph: MakeGraph) -> None:
        """Nobody wrote it, so there is nothing to read."""

        async def story() -> None:
            graph = make_graph()
            assert await graph.read("nobody") is None
            assert await graph.nodes(["nobody", "nothing"]) == [None, None]
            assert graph.value("nobody") is None
            assert "nobody" not in graph
            assert len(graph) == 0

        run(story())

    def test_a_write_creates_a_node_and_returns_it(self, make_graph: MakeGraph) -> None:
        """The node that a write returns is the one that reads return."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("stats", {"visits": 3, "open": True, "ratio": 0.5})
            assert node is await graph.read("stats")
            assert node is graph.value("stats")
            assert {"visits": 3, "open": True, "ratio": 0.5} == node.snapshot()
            assert str(node) == "stats"

        run(story())

    def test_a_write_touches_only_the_fields_that_it_names(self, make_graph: MakeGraph) -> None:
        """Everything is a patch (seed: db.write)."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("preferences", {"theme": "light", "size": 12})
            node = await graph.write("preferences", {"theme": "dark"})
            assert {"theme": "dark", "size": 12} == node.snapshot()

        run(story())

    def test_a_node_written_empty_exists(self, make_graph: MakeGraph) -> None:
        """A node needs no fields."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("company", {})
            assert node is await graph.read("company")
            assert {} == node.snapshot()
            assert node.exists
            assert "company" in graph

        run(story())

    def test_nodes_come_in_the_order_of_their_keys(self, make_graph: MakeGraph) -> None:
        """Also when some are missing and one is asked for twice."""

        async def story() -> None:
            graph = make_graph()
            a = await graph.write("a", {"x": 1})
            b = await graph.write("b", {"x": 2})
            assert [b, None, a, b] == await graph.nodes(["b", "none", "a", "b"])
            assert [] == await graph.nodes([])

        run(story())

    def test_fields_are_read_one_by_one_or_together(self, make_graph: MakeGraph) -> None:
        """A missing field is None, and absent from the snapshot."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("user", {"name": "Ann", "age": 40, "nothing": None})
            assert "Ann" == await node.read("name")
            assert await node.read("missing") is None
            assert [40, None, "Ann", None] == await node.fields(
                ["age", "missing", "name", "nothing"]
            )
            assert "missing" not in node.snapshot()
            assert node.snapshot()["nothing"] is None

        run(story())

    def test_a_node_can_write_its_own_fields(self, make_graph: MakeGraph) -> None:
        """`node.write(field, value)` is a patch of one field."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("company", {"name": "Enterprise Inc."})
            await node.write("phone", "456-123-8970")
            assert {"name": "Enterprise Inc.", "phone": "456-123-8970"} == node.snapshot()
            assert node.snapshot() == (await graph.read("company")).snapshot()

        run(story())

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_any_text_is_a_key_and_a_field(self, make_graph: MakeGraph, name: str) -> None:
        """Names of methods, of JavaScript's prototypes and of paths mean nothing special."""

        async def story() -> None:
            graph = make_graph()
            assert await graph.read(name) is None
            node = await graph.write(name, {name: name})
            assert {name: name} == node.snapshot()
            assert name == await node.read(name)
            await node.write(name, node)
            assert await node.read(name) is node

        run(story())

    def test_the_state_of_a_field_is_the_id_of_its_assignment(self, make_graph: MakeGraph) -> None:
        """Later assignments have greater ids; fields of one write share none with the next."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("n", {"a": 1})
            first = node.state("a")
            await node.write("a", 1)
            assert first is not None
            assert node.state("a") > first
            assert node.state("b") is None

        run(story())

    # --- Bad input --------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "value",
        [{}, {"a": 1}, [], [1], (1, 2), {"edge": 5}, {"edge": "k", "x": 1}, object(), b"bytes",
         {1, 2}, float("nan"), float("inf"), 2**64, -(2**63) - 1, "\ud800"],
        ids=case_name,
    )  # fmt: skip
    def test_values_that_are_no_primitives_are_refused(
        self, make_graph: MakeGraph, value: Any
    ) -> None:
        """The error names the field, and not even the good fields are written."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1})
            with pytest.raises(GraphError, match="'bad'"):
                await graph.write("n", {"a": 2, "bad": value})
            assert {"n": {"a": 1}} == graph.snapshot()

        run(story())

    def test_an_object_as_a_value_gets_an_advice(self, make_graph: MakeGraph) -> None:
        """Nodes cannot contain other nodes: the error says what to write instead."""

        async def story() -> None:
            with pytest.raises(GraphError, match="write a pointer"):
                await make_graph().write("n", {"address": {"street": "Long"}})

        run(story())

    @pytest.mark.parametrize("key", ["", None, 5, b"k", ["k"], {}, "\udfff"], ids=case_name)
    def test_keys_that_are_no_text_are_refused(self, make_graph: MakeGraph, key: Any) -> None:
        """By every method that takes a key."""

        async def story() -> None:
            graph = make_graph()
            for call in (
                lambda: graph.read(key),
                lambda: graph.nodes([key]),
                lambda: graph.write(key, {}),
                lambda: graph.delete(key),
                lambda: graph.commit({key: {}}),
            ):
                with pytest.raises((GraphError, TypeError)):
                    await call()
            assert {} == graph.snapshot()

        run(story())

    @pytest.mark.parametrize("patch", [None, 5, "text", [("a", 1)]], ids=case_name)
    def test_patches_that_are_no_mappings_are_refused(
        self, make_graph: MakeGraph, patch: Any
    ) -> None:
        """Nothing is created."""

        async def story() -> None:
            graph = make_graph()
            with pytest.raises(GraphError, match="patch"):
                await graph.write("n", patch)
            assert await graph.read("n") is None

        run(story())

    def test_one_text_is_no_list_of_keys(self, make_graph: MakeGraph) -> None:
        """`nodes("ab")` would otherwise read the nodes a and b."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("ab", {})
            with pytest.raises(GraphError, match="list of keys"):
                await graph.nodes("ab")
            with pytest.raises(GraphError, match="list of names"):
                await node.fields("ab")

        run(story())

    # --- Pointers ---------------------------------------------------------------------------

    def test_a_node_as_a_value_is_a_pointer(self, make_graph: MakeGraph) -> None:
        """Written as a node, stored as `{"edge": key}`, read as the node."""

        async def story() -> None:
            graph = make_graph()
            author = await graph.write("author", {"name": "Douglas Adams"})
            book = await graph.write("book", {"title": "Guide", "author": author})
            assert {"title": "Guide", "author": {"edge": "author"}} == book.snapshot()
            assert Pointer("author") == book.value("author")
            assert await book.read("author") is author
            assert ["Guide", author] == await book.fields(["title", "author"])

        run(story())

    def test_a_pointer_can_be_written_in_three_ways(self, make_graph: MakeGraph) -> None:
        """As a node, as a Pointer, and as its JSON."""

        async def story() -> None:
            graph = make_graph()
            target = await graph.write("t", {})
            for value in (target, Pointer("t"), {"edge": "t"}):
                node = await graph.write("n", {"to": value})
                assert await node.read("to") is target

        run(story())

    def test_a_pointer_to_nothing_reads_as_none(self, make_graph: MakeGraph) -> None:
        """Until somebody writes the node."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("n", {"to": Pointer("later")})
            assert await node.read("to") is None
            later = await graph.write("later", {"x": 1})
            assert await node.read("to") is later

        run(story())

    def test_the_patch_of_the_caller_is_not_changed(self, make_graph: MakeGraph) -> None:
        """Nor is the snapshot the graph's own data."""

        async def story() -> None:
            graph = make_graph()
            target = await graph.write("t", {})
            patch = {"to": target, "x": 1}
            node = await graph.write("n", patch)
            assert {"to": target, "x": 1} == patch
            node.snapshot()["x"] = 2
            graph.snapshot()["n"]["x"] = 3
            assert 1 == await node.read("x")

        run(story())

    # --- Deleting ---------------------------------------------------------------------------

    def test_a_deleted_node_is_gone_until_it_is_written_again(self, make_graph: MakeGraph) -> None:
        """A later write brings back the node with the fields of that write."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1, "b": 2})
            assert await graph.delete("n") is None
            assert await graph.read("n") is None
            assert "n" not in graph
            node = await graph.write("n", {"b": 3})
            assert {"b": 3} == node.snapshot()

        run(story())

    def test_a_deleted_field_is_gone_until_it_is_written_again(self, make_graph: MakeGraph) -> None:
        """The node itself stays, also without any field."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("n", {"a": 1})
            await node.delete("a")
            assert await node.read("a") is None
            assert {} == node.snapshot()
            assert "n" in graph
            await node.write("a", 2)
            assert {"a": 2} == node.snapshot()

        run(story())

    def test_a_deletion_hides_what_was_written_before_it_and_comes_later(
        self, make_graph: MakeGraph
    ) -> None:
        """Field by field: what is newer than the deletion is seen."""

        async def story() -> None:
            source, graph = make_graph(), make_graph()
            await source.write("n", {"old": 1})
            old = copy_of(source, "n")
            await source.delete("n")
            deletion = copy_of(source, "n")
            await source.write("n", {"new": 2})
            await graph.commit(deletion)
            await graph.commit(old)
            assert await graph.read("n") is None
            await graph.commit(copy_of(source, "n"))
            assert {"n": {"new": 2}} == graph.snapshot()

        run(story())

    def test_deleting_what_is_not_there_does_nothing_visible(self, make_graph: MakeGraph) -> None:
        """Neither a node nor a field appears."""

        async def story() -> None:
            graph = make_graph()
            await graph.delete("nobody")
            node = await graph.write("n", {"a": 1})
            await node.delete("nothing")
            assert {"n": {"a": 1}} == graph.snapshot()
            await graph.delete("n")
            await node.delete("a")
            assert await graph.read("n") is None

        run(story())

    # --- Order ------------------------------------------------------------------------------

    def test_a_write_takes_effect_when_it_is_called(self, make_graph: MakeGraph) -> None:
        """The last one called wins, in whatever order they are awaited."""

        async def story() -> None:
            graph = make_graph()
            first = graph.write("n", {"a": "first", "b": "first"})
            second = graph.write("n", {"a": "second"})
            await second
            await first
            assert {"a": "second", "b": "first"} == graph.value("n").snapshot()

        run(story())

    def test_writes_need_not_be_awaited(self, make_graph: MakeGraph) -> None:
        """All of them are there when something later is awaited."""

        async def story() -> None:
            graph = make_graph()
            for number in range(20):
                graph.write(f"n{number % 3}", {f"f{number}": number})
            await graph.write("last", {})
            found = {k: v for node in graph.snapshot().values() for k, v in node.items()}
            assert {f"f{number}": number for number in range(20)} == found

        run(story())

    def test_writes_can_be_gathered(self, make_graph: MakeGraph) -> None:
        """Awaitables work with asyncio's own tools."""

        async def story() -> None:
            graph = make_graph()
            a, b = await asyncio.gather(graph.write("a", {"x": 1}), graph.write("b", {"x": 2}))
            assert [a, b] == await asyncio.wait_for(graph.nodes(["a", "b"]), 60)

        run(story())

    # --- Commit and merge -------------------------------------------------------------------

    def test_a_commit_applies_all_its_changes_at_once(self, make_graph: MakeGraph) -> None:
        """Nobody is told of one of them before all are there."""

        async def story() -> None:
            graph = make_graph()
            seen: list[dict[str, Any]] = []
            a = await graph.write("a", {})
            a.on("update", lambda delta: seen.append(graph.snapshot()))
            await graph.commit({"a": {"x": 1}, "b": {"x": 2}})
            assert [{"a": {"x": 1}, "b": {"x": 2}}] == seen

        run(story())

    def test_a_commit_with_something_wrong_in_it_changes_nothing(
        self, make_graph: MakeGraph
    ) -> None:
        """All or nothing."""

        async def story() -> None:
            graph = make_graph()
            heard = Heard(graph)
            with pytest.raises(GraphError):
                await graph.commit({"a": {"x": 1}, "b": {"x": [2]}})
            with pytest.raises(GraphError):
                await graph.commit({"a": {"x": 1}, "b": 5})
            for nonsense in (None, 5, "text", [1]):
                with pytest.raises(GraphError, match="changes must be"):
                    await graph.commit(nonsense)
            assert {} == graph.snapshot()
            assert [] == heard.events

        run(story())

    def test_assignments_keep_their_ids_from_graph_to_graph(self, make_graph: MakeGraph) -> None:
        """So stale data never wins, and what is known already changes nothing."""

        async def story() -> None:
            one, other = make_graph(), make_graph()
            await one.write("n", {"a": "old"})
            stale = copy_of(one, "n")
            await one.write("n", {"a": "new"})
            await other.commit(copy_of(one, "n"))
            heard = Heard(other)
            done = await other.commit(stale)
            assert {"n": {"a": "new"}} == other.snapshot()
            assert [] == heard.events
            assert 0 == len(done.update)
            assert one.value("n").state("a") == other.value("n").state("a")
            await other.write("n", {"a": "newest"})
            await one.commit(copy_of(other, "n"))
            assert {"n": {"a": "newest"}} == one.snapshot()

        run(story())

    def test_two_graphs_that_exchange_everything_agree(self, make_graph: MakeGraph) -> None:
        """Whoever wrote at the same time: the greater id wins on both sides."""

        async def story() -> None:
            one, other = make_graph(), make_graph()
            await one.write("n", {"a": 1, "b": 1})
            await other.write("n", {"a": 2, "c": 2})
            await other.delete("m")
            await one.write("m", {"x": 1})
            mine, theirs = one.copy(), other.copy()
            await one.commit(theirs)
            await other.commit(mine)
            assert one.snapshot() == other.snapshot()
            assert {"a", "b", "c"} == set(one.snapshot()["n"])

        run(story())

    def test_a_commit_tells_what_has_happened(self, make_graph: MakeGraph) -> None:
        """What changed, what was overwritten, and the nodes as they are now."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1, "b": 1})
            done = await graph.commit({"n": {"a": 2}, "m": {"c": 3}})
            assert isinstance(done, Write)
            assert {"a": 2} == done.update["n"].snapshot()
            assert {"c": 3} == done.update["m"].snapshot()
            assert {"n": {"a": 1}} == done.history.snapshot()
            assert {"n": {"a": 2, "b": 1}, "m": {"c": 3}} == done.graph.snapshot()

        run(story())

    def test_the_seed_way_of_committing_a_detached_node(self, make_graph: MakeGraph) -> None:
        """Seed: db.commit, "Applies a collection of changes all at once"."""

        async def story() -> None:
            graph = make_graph()
            changes, node = NodeMap(), Node("change")
            node.merge({"changes": "eh, probably"})
            changes.merge({"change": node})
            await graph.commit(changes)
            assert {"change": {"changes": "eh, probably"}} == graph.snapshot()

        run(story())

    def test_changes_that_the_caller_alters_afterwards_stay_as_committed(
        self, make_graph: MakeGraph
    ) -> None:
        """A graph shares nothing that can change with what it was given."""

        async def story() -> None:
            graph, source = make_graph(), make_graph()
            await source.write("n", {"a": 1})
            changes = source.copy()
            done = graph.commit(changes)
            changes.nodes["n"].merge({"a": 2})
            await done
            assert {"n": {"a": 1}} == graph.snapshot()

        run(story())

    def test_undo_restores_what_an_update_overwrote(self, make_graph: MakeGraph) -> None:
        """`commit(history.rebase(graph))`, also of a deletion."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1, "b": 1})
            done = await graph.commit({"n": {"a": 2}})
            await graph.commit(done.history.rebase(graph))
            assert {"n": {"a": 1, "b": 1}} == graph.snapshot()
            heard = Heard(graph)
            await graph.delete("n")
            [history] = [delta for name, delta in heard.events if name == "history"]
            await graph.commit(history.rebase(graph))
            assert {"n": {"a": 1, "b": 1}} == graph.snapshot()

        run(story())

    def test_merge_applies_changes_at_once(self, make_graph: MakeGraph) -> None:
        """Where there are no plugins, nothing needs to be awaited."""

        async def story() -> None:
            graph, source = make_graph(), make_graph()
            await source.write("n", {"a": 1})
            delta = graph.merge(source.copy())
            assert {"n": {"a": 1}} == graph.snapshot() == delta.update.snapshot()
            assert 0 == len(delta.history)

        run(story())

    # --- Events -----------------------------------------------------------------------------

    def test_an_update_tells_only_what_changed(self, make_graph: MakeGraph) -> None:
        """And the history only what was overwritten."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1, "b": 1})
            heard = Heard(graph)
            await graph.write("n", {"a": 2, "c": 3})
            assert ["history", "update"] == heard.names()
            assert [{"n": {"a": 2, "c": 3}}] == [
                {key: node.snapshot() for key, node in delta}
                for name, delta in heard.events
                if name == "update"
            ]
            [history] = [delta for name, delta in heard.events if name == "history"]
            assert {"a": 1} == history["n"].snapshot()

        run(story())

    def test_a_node_hears_of_its_own_changes(self, make_graph: MakeGraph) -> None:
        """Seed: usage.on("update"); other nodes do not concern it."""

        async def story() -> None:
            graph = make_graph()
            usage = await graph.write("usage", {"views": 1})
            heard = Heard(usage)
            await graph.write("other", {"views": 1})
            assert [] == heard.events
            await usage.write("views", 2)
            assert [{"views": 2}] == heard.take("update")
            assert [{"views": 1}] == heard.take("history")

        run(story())

    def test_what_is_new_overwrites_nothing(self, make_graph: MakeGraph) -> None:
        """There is no history event for it."""

        async def story() -> None:
            graph = make_graph()
            heard = Heard(graph)
            await graph.write("n", {"a": 1})
            assert ["update"] == heard.names()

        run(story())

    def test_a_cancelled_subscription_hears_nothing(self, make_graph: MakeGraph) -> None:
        """Cancelling twice is fine."""

        async def story() -> None:
            graph = make_graph()
            seen: list[Any] = []
            subscription = graph.on("update", seen.append)
            subscription.cancel()
            subscription.cancel()
            await graph.write("n", {"a": 1})
            assert [] == seen

        run(story())

    def test_unknown_events_are_refused(self, make_graph: MakeGraph) -> None:
        """A misspelt event would never come."""

        async def story() -> None:
            graph = make_graph()
            node = await graph.write("n", {})
            for source in (graph, node):
                with pytest.raises(GraphError, match="updated"):
                    source.on("updated", print)
                with pytest.raises(GraphError):
                    source.on("update", "no function")

        run(story())

    def test_a_callback_that_raises_keeps_nobody_from_anything(self, make_graph: MakeGraph) -> None:
        """The write stands, all others are called, and the loop hears of the error."""

        async def story() -> None:
            graph = make_graph()
            reported: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: reported.append(context["exception"])
            )
            seen: list[Any] = []
            graph.on("update", lambda delta: 1 / 0)
            graph.on("update", seen.append)
            await graph.commit({"a": {"x": 1}, "b": {"x": 2}})
            assert {"a": {"x": 1}, "b": {"x": 2}} == graph.snapshot()
            assert 1 == len(seen)
            assert [ZeroDivisionError] == [type(error) for error in reported]

        run(story())

    def test_a_callback_may_write(self, make_graph: MakeGraph) -> None:
        """Everybody hears of both changes, in the order in which they happened."""

        async def story() -> None:
            graph = make_graph()
            seen: list[list[str]] = []

            def answer(delta: NodeMap) -> None:
                if "question" in delta:
                    graph.write("answer", {"x": 42})

            graph.on("update", answer)
            graph.on("update", lambda delta: seen.append(list(delta.keys())))
            await graph.write("question", {})
            await graph.write("end", {})
            assert [["question"], ["answer"], ["end"]] == seen

        run(story())

    # --- Hooks, extensions, engines ---------------------------------------------------------

    def test_a_hook_decides_what_is_written(self, make_graph: MakeGraph) -> None:
        """What the hook returns is what happens, the update included."""

        async def story() -> None:
            def doubled(action: Write) -> Write:
                values = {k: n.snapshot() for k, n in action.update}
                return replace(
                    action,
                    update={k: {f: v * 2 for f, v in n.items()} for k, n in values.items()},
                )

            graph = make_graph({"hooks": {"before": {"write": doubled}}})
            heard = Heard(graph)
            node = await graph.write("n", {"a": 4})
            assert {"a": 8} == node.snapshot()
            assert [{"n": {"a": 8}}] == heard.take("update")

        run(story())

    def test_a_hook_that_raises_cancels_the_write(self, make_graph: MakeGraph) -> None:
        """Nothing has happened, and nobody hears of anything."""

        async def story() -> None:
            def refuse(action: Write) -> Write:
                raise ValueError("not today")

            graph = make_graph({"hooks": {"before": {"write": refuse}}})
            heard = Heard(graph)
            with pytest.raises(ValueError, match="not today"):
                await graph.write("n", {"a": 1})
            assert {} == graph.snapshot()
            assert [] == heard.events

        run(story())

    def test_extensions_become_methods(self, make_graph: MakeGraph) -> None:
        """Of the graph, and of each node of it."""

        async def story() -> None:
            graph = make_graph(
                {
                    "extend": {
                        "graph": {"double": lambda graph, key: graph.value(key).shout("name") * 2},
                        "node": {"shout": lambda node, field: node.value(field).upper()},
                    }
                }
            )
            node = await graph.write("n", {"name": "ann"})
            assert "ANN" == node.shout("name")
            assert "ANNANN" == graph.double("n")

        run(story())

    def test_other_query_engines_can_be_plugged_in(self, make_graph: MakeGraph) -> None:
        """They are named when they are asked."""

        async def story() -> None:
            engines = {"count": lambda graph, query, **options: (len(graph), query, options)}
            graph = make_graph({"engines": engines})
            await graph.write("n", {})
            assert (1, "q", {"x": 1}) == await graph.query("q", engine="count", x=1)
            with pytest.raises(GraphError, match="count"):
                await graph.query("q", engine="sql")

        run(story())

    # --- Queries ----------------------------------------------------------------------------

    def test_a_query_follows_pointers(self, make_graph: MakeGraph) -> None:
        """Names, wildcards and filters see the node that a pointer points to."""

        async def story() -> None:
            graph = await library(make_graph)
            author = graph.value("author")
            assert ["Douglas Adams"] == await graph.query("$.book.author.name")
            assert [author] == await graph.query("$.book.author")
            assert ["Guide"] == await graph.query("$.author.authored.book.title")
            titles = await graph.query("$[?@.author.name == 'Douglas Adams'].title")
            assert ["Guide", "Salmon"] == sorted(titles)
            assert [None] == await graph.query("$.book.sequel")
            assert [] == await graph.query("$.book.sequel.title")
            assert [] == await graph.query("$.nobody.name")

        run(story())

    def test_queries_take_variables(self, make_graph: MakeGraph) -> None:
        """As queries of a database do."""

        async def story() -> None:
            graph = await library(make_graph)
            assert ["Guide"] == await graph.query("$.{which}.title", vars={"which": "book"})

        run(story())

    def test_a_cyclic_graph_can_be_searched(self, make_graph: MakeGraph) -> None:
        """`..` visits every node once from where it starts."""

        async def story() -> None:
            graph = await library(make_graph)
            assert ["Douglas Adams"] == await graph.query("$..name")
            assert ["Guide", "Salmon"] == sorted(await graph.query("$..title"))
            assert 2 == len(await graph.query("$[?count(@..name) == 1].title"))
            me = await graph.write("me", {"x": 1})
            await me.write("me", me)
            assert [1] == await graph.query("$.me.me.me.me.x")
            assert [1] == await graph.query("$.me..x")

        run(story())

    def test_a_query_that_takes_too_long_is_stopped(
        self, make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a clear error, and nothing has changed."""

        async def story() -> None:
            graph = await library(make_graph)
            before = graph.snapshot()
            monkeypatch.setattr("cytosol.limits.PATH_STEPS_MAX", 20)
            with pytest.raises(PathLimitError):
                await graph.query("$..*..*")
            assert before == graph.snapshot()

        run(story())

    def test_a_query_that_is_no_path_says_where(self, make_graph: MakeGraph) -> None:
        """The error is the one of all paths."""

        async def story() -> None:
            with pytest.raises(PathSyntaxError):
                await make_graph().query("$.book[")

        run(story())

    def test_what_a_query_returns_is_not_the_graph_itself(self, make_graph: MakeGraph) -> None:
        """Nodes come as nodes, the root as the graph; wildcards give fields."""

        async def story() -> None:
            graph = await library(make_graph)
            assert [graph] == await graph.query("$")
            assert [graph.value(key) for key in sorted(graph.keys())] == await graph.query("$.*")

        run(story())

    # --- Branches ---------------------------------------------------------------------------

    def test_a_branch_keeps_its_writes_until_they_are_committed(
        self, make_graph: MakeGraph
    ) -> None:
        """Then they come as one update."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("settings", {"theme": "light", "size": 1})
            branch = graph.branch()
            await branch.write("settings", {"theme": "dark"})
            await branch.write("contact", {"email": "a@b"})
            assert {"settings": {"theme": "light", "size": 1}} == graph.snapshot()
            assert {"theme": "dark", "size": 1} == (await branch.read("settings")).snapshot()
            heard = Heard(graph)
            await graph.commit(branch)
            assert {
                "settings": {"theme": "dark", "size": 1},
                "contact": {"email": "a@b"},
            } == graph.snapshot()
            assert ["history", "update"] == heard.names()

        run(story())

    def test_a_branch_sees_its_source_as_it_was(self, make_graph: MakeGraph) -> None:
        """Until it is rebased; then the own edits stay on top."""

        async def story() -> None:
            graph = make_graph()
            await graph.write("n", {"a": 1, "b": 1})
            branch = graph.branch()
            await branch.write("n", {"a": "mine"})
            await graph.write("n", {"a": "theirs", "b": "theirs"})
            await graph.write("m", {"x": 1})
            assert {"a": "mine", "b": 1} == (await branch.read("n")).snapshot()
            assert await branch.read("m") is None
            assert branch is branch.rebase(graph)
            assert {"a": "mine", "b": "theirs"} == (await branch.read("n")).snapshot()
            assert {"x": 1} == (await branch.read("m")).snapshot()
            await graph.commit(branch)
            assert {"a": "mine", "b": "theirs"} == graph.value("n").snapshot()

        run(story())

    def test_a_branch_shares_hooks_and_extensions(self, make_graph: MakeGraph) -> None:
        """They run for its writes as for those of its source."""

        async def story() -> None:
            def refuse(action: Write) -> Write:
                if "secret" in action.update:
                    raise ValueError("no")
                return action

            graph = make_graph(
                {
                    "hooks": {"before": {"write": refuse}},
                    "extend": {"graph": {"three": lambda graph: 3}},
                }
            )
            branch = graph.branch()
            assert 3 == branch.three()
            with pytest.raises(ValueError, match="no"):
                await branch.write("secret", {})

        run(story())

    # --- The end ----------------------------------------------------------------------------

    def test_streaming_needs_a_storage_that_streams(self, make_graph: MakeGraph) -> None:
        """Without a storage there is a clear error."""

        async def story() -> None:
            with pytest.raises(GraphError, match="storage"):
                async for _ in make_graph():
                    pass

        run(story())

    def test_a_closed_graph_refuses_to_go_on(self, make_graph: MakeGraph) -> None:
        """Closing twice is fine."""

        async def story() -> None:
            graph = make_graph()
            async with graph:
                await graph.write("n", {"a": 1})
            await graph.close()
            for call in (
                lambda: graph.write("n", {"a": 2}),
                lambda: graph.read("n"),
                lambda: graph.delete("n"),
                lambda: graph.commit({"n": {}}),
                lambda: graph.query("$.n"),
            ):
                with pytest.raises(GraphError, match="closed"):
                    await call()

        run(story())


def copy_of(graph: Graph, key: str) -> NodeMap:
    """Return the state of one node, as it could come from elsewhere."""
    return NodeMap([graph.copy()[key]])


async def library(make_graph: MakeGraph) -> Graph:
    """Return the graph of the seed's introduction: book, author and books point in a circle."""
    graph = make_graph()
    book = await graph.write("book", {"title": "Guide", "sequel": Pointer("unwritten")})
    other = await graph.write("other", {"title": "Salmon"})
    books = await graph.write("books", {"book": book, "other": other})
    author = await graph.write("author", {"name": "Douglas Adams", "authored": books})
    await book.write("author", author)
    await other.write("author", author)
    return graph
