"""A branch shows the graph as it was, keeps its own edits, and gives them back in one piece."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytosol import Graph
from cytosol.errors import GraphError
from cytosol.graph import ConnectionGroup, MemoryStorage, Node, NodeMap, ReadNodes, Write
from tests.graph.running import run
from tests.unit.database.databases import open_alone


class GraphWith(Protocol):
    """Makes a graph without plugins, in which these nodes were written."""

    def __call__(self, **nodes: dict[str, Any]) -> Graph: ...


@contextmanager
def graphs(kind: str) -> Iterator[GraphWith]:
    """Make graphs that live on their own, or each in a database."""
    with ExitStack() as stack:

        def make(**nodes: dict[str, Any]) -> Graph:
            graph = Graph() if kind == "alone" else stack.enter_context(open_alone()).graph()
            for key, patch in nodes.items():
                graph.write(key, patch)
            return graph

        yield make


@pytest.fixture(params=["alone", "in a database"])
def graph_with(request: pytest.FixtureRequest) -> Iterator[GraphWith]:
    """Both kinds of graph have the same branches."""
    with graphs(request.param) as make:
        yield make


def shown(graph: Graph) -> dict[str, dict[str, Any]]:
    """Return what the graph shows, read node by node and not by its own snapshot."""
    return {key: node.snapshot() for key, node in graph}


# --- As it was --------------------------------------------------------------------------------


def test_a_branch_reads_through_to_its_source(graph_with):
    """Also what was never touched in it."""
    graph = graph_with(book={"title": "HHGTTG"}, author={"name": "Adams"})
    branch = graph.branch()
    assert {"title": "HHGTTG"} == run(read(branch, "book"))
    assert {"name": "Adams"} == run(read(branch, "author"))
    assert run(read(branch, "nobody")) is None
    assert shown(graph) == shown(branch)


async def read(graph: Graph, key: str) -> dict[str, Any] | None:
    """Read a node and return its fields."""
    node = await graph.read(key)
    return None if node is None else node.snapshot()


def test_later_changes_of_the_source_do_not_show(graph_with):
    """Overwritten, added, deleted and new: the branch sees none of it, whether it had looked."""
    before = {"a": {"f": 1}, "b": {"f": 1}, "c": {"f": 1}}
    graph = graph_with(**before)
    branch = graph.branch()
    branch.value("a")
    for key in "ab":
        graph.write(key, {"f": 2, "g": 2})
    graph.delete("c")
    graph.write("new", {"f": 1})
    assert before == shown(branch)
    assert "new" not in branch
    assert ["a", "b", "c"] == sorted(branch.keys())


def test_writes_stay_in_the_branch(graph_with):
    """The source shows nothing of them, and hears no event."""
    graph = graph_with(book={"title": "old", "pages": 10})
    heard: list[NodeMap] = []
    graph.on("update", heard.append)
    branch = graph.branch()
    branch.write("book", {"title": "new"})
    branch.write("other", {"f": 1})
    branch.value("book").delete("pages")
    assert {"book": {"title": "old", "pages": 10}} == shown(graph)
    assert {"book": {"title": "new"}, "other": {"f": 1}} == shown(branch)
    assert [] == heard


def test_nodes_of_a_branch_keep_their_identity(graph_with):
    """Whoever holds a node sees what the branch does to it, and only that."""
    graph = graph_with(k={"f": 1})
    branch = graph.branch()
    node = branch.value("k")
    graph.write("k", {"f": 2})
    branch.write("k", {"g": 3})
    assert node is branch.value("k") is not graph.value("k")
    assert {"f": 1, "g": 3} == node.snapshot()


def test_a_branch_has_events_of_its_own(graph_with):
    """Writing tells the listeners of the branch."""
    graph = graph_with(k={"f": 1})
    branch = graph.branch()
    heard: list[Any] = []
    branch.on("history", lambda nodes: heard.append(("history", nodes.snapshot())))
    branch.value("k").on("update", lambda node: heard.append(("node", node.snapshot())))
    branch.on("update", lambda nodes: heard.append(("update", nodes.snapshot())))
    branch.write("k", {"f": 2})
    graph.write("k", {"f": 3})
    assert [
        ("node", {"f": 2}),
        ("history", {"k": {"f": 1}}),
        ("update", {"k": {"f": 2}}),
    ] == heard


def test_pointers_lead_to_nodes_of_the_branch(graph_with):
    """Following one never leaves it."""
    graph = graph_with(author={"name": "A"}, book={"author": {"edge": "author"}})
    branch = graph.branch()
    branch.write("author", {"name": "B"})
    graph.write("author", {"name": "C"})

    async def steps() -> None:
        author = await branch.value("book").read("author")
        assert branch.value("author") is author
        assert await author.read("name") == "B"
        assert ["B"] == await branch.query("$.book.author.name")
        assert ["C"] == await graph.query("$.book.author.name")

    run(steps())


def test_hooks_and_extensions_are_shared():
    """But no storage: nothing of a branch is saved."""
    storage = MemoryStorage()
    seen: list[str] = []

    def hook(action: Any) -> Any:
        seen.extend(action.update.keys())
        return action

    async def steps() -> None:
        graph = Graph(
            {
                "hooks": {"before": {"write": hook}},
                "storage": storage,
                "extend": {"graph": {"count": len}, "node": {"shout": lambda node: f"{node}!"}},
            }
        )
        await graph.write("a", {"f": 1})
        branch = graph.branch()
        node = await branch.write("b", {"f": 1})
        assert ["a", "b"] == seen
        assert "b!" == node.shout()
        assert 2 == branch.count()
        assert ["a"] == [stored.key async for stored in graph]
        with pytest.raises(GraphError):
            async for _ in branch:
                pass

    run(steps())


def test_a_forgotten_branch_costs_the_source_nothing(graph_with):
    """The source does not keep its branches alive."""
    graph = graph_with(k={"f": 1})
    branch = graph.branch()
    assert 1 == len(graph._backing.watchers)
    del branch
    gc.collect()
    assert 0 == len(graph._backing.watchers)


def test_a_closed_branch_is_forgotten_at_once(graph_with):
    """Nothing more is kept for it; its edits can no longer be written to."""
    graph = graph_with(k={"f": 1})

    async def steps() -> None:
        async with graph.branch() as branch:
            await branch.write("k", {"f": 2})
            await graph.commit(branch)
        assert 0 == len(graph._backing.watchers)
        with pytest.raises(GraphError, match="closed"):
            await branch.write("k", {"f": 3})

    run(steps())
    assert {"k": {"f": 2}} == shown(graph)


# --- Commit -----------------------------------------------------------------------------------


def test_commit_applies_all_edits_as_one_event(graph_with):
    """One update for everything, with nothing in it that was not edited."""
    graph = graph_with(a={"f": 1, "g": 1}, b={"f": 1})
    branch = graph.branch()
    branch.write("a", {"f": 2})
    branch.write("new", {"f": 2})
    heard: list[Any] = []
    graph.on("update", lambda nodes: heard.append(nodes.snapshot()))
    graph.commit(branch)
    assert [{"a": {"f": 2}, "new": {"f": 2}}] == heard
    assert {"a": {"f": 2, "g": 1}, "b": {"f": 1}, "new": {"f": 2}} == shown(graph)
    assert shown(graph) == shown(branch)


def test_a_commit_that_the_storage_refuses_changes_nothing():
    """Memory stays, and the edits are still the branch's own."""

    class Full(MemoryStorage):
        is_full = False

        def write(self, action: Any) -> Any:
            if self.is_full:
                raise OSError("the disk is full")
            return super().write(action)

    async def steps() -> None:
        storage = Full()
        graph = Graph({"storage": storage})
        await graph.write("a", {"f": 1})
        branch = graph.branch()
        await branch.write("a", {"f": 2})
        await branch.write("b", {"f": 2})
        storage.is_full = True
        with pytest.raises(OSError, match="disk is full"):
            await graph.commit(branch)
        assert {"a": {"f": 1}} == shown(graph)
        assert {"a": {"f": 2}, "b": {"f": 2}} == branch.changes().snapshot()
        storage.is_full = False
        await graph.commit(branch)
        assert {"a": {"f": 2}, "b": {"f": 2}} == shown(graph)
        assert 0 == len(branch.changes())

    run(steps())


def test_a_commit_takes_what_was_written_before_it_and_not_awaited():
    """Over a storage a write must first load the node; the commit waits for it."""

    async def steps() -> None:
        storage = MemoryStorage()
        await Graph({"storage": storage}).write("k", {"f": 0, "g": 0})
        graph = Graph({"storage": Slow(storage)})
        branch = graph.branch()
        branch.write("k", {"f": 1})
        branch.write("new", {"f": 1})
        committed = graph.commit(branch)
        late = branch.write("late", {"f": 1})
        await committed
        assert {"k": {"f": 1, "g": 0}, "new": {"f": 1}} == shown(graph)
        await late
        assert {"late": {"f": 1}} == branch.changes().snapshot()

    run(steps())


class Slow:
    """A storage that always has to be waited for."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    async def read(self, action: Any) -> Any:
        await asyncio.sleep(0)
        return await self._storage.read(action)

    async def write(self, action: Any) -> Any:
        await asyncio.sleep(0)
        return await self._storage.write(action)


def test_nodes_made_in_a_branch_belong_to_the_graph_after_the_commit(graph_with):
    """Writing through the node of the graph reaches the graph, and not the branch."""
    graph = graph_with()
    branch = graph.branch()
    branch.write("new", {"f": 1})
    graph.commit(branch)
    graph.value("new").write("f", 2)
    assert {"new": {"f": 2}} == shown(graph)
    assert {"new": {"f": 1}} == shown(branch)


def test_a_node_object_made_in_a_branch_is_the_graphs_own_after_the_commit(graph_with):
    """Who holds it reads and writes the graph; the branch keeps what it showed."""
    graph = graph_with()
    branch = graph.branch()
    branch.write("new", {"f": 1})
    node = branch.value("new")
    heard = []
    node.on("update", lambda update: heard.append(update.snapshot()))
    graph.commit(branch)
    assert graph.value("new") is node
    node.write("f", 2)
    graph.write("new", {"g": 3})
    assert {"f": 2, "g": 3} == node.snapshot() == graph.value("new").snapshot()
    assert [{"f": 1}, {"f": 2}, {"g": 3}] == heard
    assert {"new": {"f": 1}} == shown(branch)
    branch.write("new", {"h": 4})
    assert {"f": 2, "g": 3} == node.snapshot()
    graph.commit(branch.rebase(graph))
    assert {"f": 2, "g": 3, "h": 4} == node.snapshot() == branch.value("new").snapshot()
    assert graph.value("new") is node


def test_a_node_object_that_the_source_had_too_stays_with_the_branch(graph_with):
    """The graph has an object of its own, which others may hold."""
    graph = graph_with()
    branch = graph.branch()
    branch.write("new", {"f": 1})
    node = branch.value("new")
    graph.write("new", {"g": 2})
    theirs = graph.value("new")
    graph.commit(branch)
    assert graph.value("new") is theirs is not node
    assert {"f": 1, "g": 2} == theirs.snapshot()


def test_a_node_object_made_in_a_branch_of_a_branch_goes_the_whole_way(graph_with):
    """With each commit it is one graph further."""
    graph = graph_with()
    outer = graph.branch()
    inner = outer.branch()
    inner.write("new", {"f": 1})
    node = inner.value("new")
    outer.commit(inner)
    assert outer.value("new") is node
    graph.commit(outer)
    assert graph.value("new") is node
    assert {"new": {"f": 1}} == shown(outer) == shown(inner)


def test_a_node_object_made_in_a_branch_is_the_graphs_own_over_a_storage() -> None:
    """The commit takes its time; what is written through the node then is stored."""

    async def story() -> None:
        storage = MemoryStorage()
        graph = Graph({"storage": Slow(storage)})
        branch = graph.branch()
        made = await branch.write("other", {"f": 1})
        await graph.commit(branch)
        assert graph.value("other") is made
        await made.write("f", 2)
        assert {"f": 2} == (await Graph({"storage": storage}).read("other")).snapshot()

    run(story())


def test_edits_are_settled_when_a_hook_raises_after_the_commit() -> None:
    """The commit stands: the edits are the graph's, and a later rebase does not revert it."""

    def hook(action: Any) -> Any:
        raise RuntimeError("too late")

    async def story() -> None:
        graph = Graph({"hooks": {"after": {"write": hook}}})
        branch = graph.branch()
        with pytest.raises(RuntimeError):
            await branch.write("k", {"f": 1})
        with pytest.raises(RuntimeError):
            await graph.commit(branch)
        assert {"k": {"f": 1}} == graph.snapshot()
        assert {} == branch.changes().snapshot()

    run(story())


def test_without_a_rebase_newer_writes_of_the_source_win(graph_with):
    """Each edit has the id of when it was made; the greater one wins."""
    graph = graph_with(k={"f": 0, "g": 0})
    branch = graph.branch()
    branch.write("k", {"f": "branch", "g": "branch"})
    graph.write("k", {"f": "source"})
    graph.commit(branch)
    assert {"f": "source", "g": "branch"} == graph.value("k").snapshot()


def test_committed_edits_are_not_put_on_top_again(graph_with):
    """The source may overwrite what it took over; a later rebase does not revert that."""
    graph = graph_with(k={"f": 0})
    branch = graph.branch()
    branch.write("k", {"f": 1})
    graph.commit(branch)
    graph.write("k", {"f": 2})
    branch.write("k", {"g": 1})
    branch.rebase(graph)
    assert {"f": 2, "g": 1} == branch.value("k").snapshot()
    assert {"k": {"g": 1}} == branch.changes().snapshot()
    graph.commit(branch)
    assert {"f": 2, "g": 1} == graph.value("k").snapshot()


def test_a_branch_can_be_committed_elsewhere(graph_with):
    """Then the edits remain to be committed to the source."""
    graph, other = graph_with(), Graph()
    branch = graph.branch()
    branch.write("k", {"f": 1})
    other.commit(branch)
    assert {"k": {"f": 1}} == shown(other) == branch.changes().snapshot()


def test_edits_are_what_was_written_and_nothing_else(graph_with):
    """Reading, rebasing and stale commits are no edits; a deletion is one."""
    graph = graph_with(a={"f": 1, "g": 1}, b={"f": 1})
    stale = graph.value("a").copy()
    branch = graph.branch()
    branch.value("b")
    branch.commit(stale)
    assert 0 == len(branch.changes())
    branch.write("a", {"f": 2})
    branch.delete("b")
    changes = branch.changes()
    assert {"f": 2} == changes["a"].snapshot()
    assert ["f"] == list(changes["a"].entries)
    assert changes["b"].gone == branch._backing.node("b").gone
    changes["a"].merge({"f": "elsewhere"})
    assert {"f": 2} == branch.changes()["a"].snapshot()


# --- Rebase -----------------------------------------------------------------------------------


def test_rebase_takes_over_the_source_and_keeps_own_edits_on_top(graph_with):
    """In place, and only edits that were really made."""
    graph = graph_with(k={"mine": 0, "theirs": 0}, gone={"f": 1})
    branch = graph.branch()
    branch.write("k", {"mine": "branch"})
    graph.write("k", {"mine": "source", "theirs": "source"})
    graph.write("new", {"f": 1})
    graph.delete("gone")
    assert branch is branch.rebase(graph)
    assert {"k": {"mine": "branch", "theirs": "source"}, "new": {"f": 1}} == shown(branch)
    graph.commit(branch)
    assert shown(branch) == shown(graph)
    assert {"mine": "branch", "theirs": "source"} == graph.value("k").snapshot()


def test_rebase_tells_the_listeners_of_the_branch(graph_with):
    """What it took over is an update like all others."""
    graph = graph_with(k={"f": 0, "g": 0})
    branch = graph.branch()
    branch.write("k", {"f": 1})
    graph.write("k", {"f": 2, "g": 2})
    graph.write("new", {"f": 2})
    heard: list[Any] = []
    branch.on("update", lambda nodes: heard.append(nodes.snapshot()))
    branch.on("history", lambda nodes: heard.append(nodes.snapshot()))
    branch.rebase(graph)
    assert [{"k": {"f": 1, "g": 0}}, {"k": {"f": 1, "g": 2}, "new": {"f": 2}}] == heard
    branch.rebase(graph)
    assert 2 == len(heard)


def test_rebasing_twice_asks_for_no_new_ids(graph_with):
    """The second time there is nothing to do."""
    graph = graph_with(k={"f": 0})
    branch = graph.branch()
    branch.write("k", {"f": 1})
    graph.write("k", {"f": 2})
    branch.rebase(graph)
    index = graph.clock.index
    state = branch.to_json()
    branch.rebase(graph)
    assert (index, state) == (graph.clock.index, branch.to_json())


def test_a_branch_rebased_on_another_graph_takes_that_over(graph_with):
    """All of it; none of it becomes an edit."""
    graph, other = graph_with(k={"f": 0}), graph_with(k={"f": 9, "g": 9}, q={"f": 9})
    branch = graph.branch()
    branch.write("k", {"f": 1})
    branch.rebase(other)
    assert {"k": {"f": 1, "g": 9}, "q": {"f": 9}} == shown(branch)
    assert {"k": {"f": 1}} == branch.changes().snapshot()
    other.commit(branch)
    assert {"k": {"f": 1, "g": 9}, "q": {"f": 9}} == shown(other)


@pytest.mark.parametrize("other", [None, {}, NodeMap()])
def test_a_branch_is_rebased_on_graphs_only(graph_with, other):
    """The error says what to do with changes."""
    with pytest.raises(GraphError, match="commit them to the branch"):
        graph_with().branch().rebase(other)


def test_a_deletion_in_a_branch_survives_the_rebase(graph_with):
    """It hides what the source wrote meanwhile; what the branch wrote after it stays."""
    graph = graph_with(a={"f": 1}, b={"f": 1})
    branch = graph.branch()
    branch.delete("a")
    branch.delete("b")
    branch.write("b", {"g": 1})
    graph.write("a", {"f": 2})
    graph.write("b", {"h": 2})
    branch.rebase(graph)
    assert {"b": {"g": 1}} == shown(branch)
    graph.commit(branch)
    assert {"b": {"g": 1}} == shown(graph)


# --- A branch of a branch ---------------------------------------------------------------------


def test_a_branch_of_a_branch_shows_that_branch_as_it_was(graph_with):
    """Neither the source nor the branch between shows through later."""
    graph = graph_with(k={"f": 0})
    middle = graph.branch()
    middle.write("k", {"f": 1})
    inner = middle.branch()
    middle.write("k", {"f": 2})
    middle.write("new", {"f": 2})
    graph.write("k", {"f": 3})
    graph.write("newest", {"f": 3})
    assert {"k": {"f": 1}} == shown(inner)
    middle.rebase(graph)
    assert {"k": {"f": 1}} == shown(inner)
    inner.write("k", {"g": 4})
    middle.commit(inner)
    assert {"k": {"f": 2, "g": 4}, "new": {"f": 2}, "newest": {"f": 3}} == shown(middle)
    graph.commit(middle)
    assert shown(middle) == shown(graph)


def test_a_branch_is_committed_to_the_graph_at_the_bottom_as_well(graph_with):
    """With its own edits only."""
    graph = graph_with()
    middle = graph.branch()
    middle.write("middle", {"f": 1})
    inner = middle.branch()
    inner.write("inner", {"f": 1})
    graph.commit(inner)
    assert {"inner": {"f": 1}} == shown(graph)


# --- Undo -------------------------------------------------------------------------------------


def test_history_rebased_undoes_an_update(graph_with):
    """What was overwritten, field by field and node by node, comes back."""
    graph = graph_with(k={"f": 1, "g": 1}, q={"f": 1}, empty={})
    lost: list[NodeMap] = []
    graph.on("history", lost.append)
    branch = graph.branch()
    branch.write("k", {"f": 2})
    branch.value("k").delete("g")
    branch.delete("q")
    branch.delete("empty")
    graph.commit(branch)
    assert {"k": {"f": 2}} == shown(graph)
    graph.commit(lost.pop().rebase(graph))
    assert {"k": {"f": 1, "g": 1}, "q": {"f": 1}, "empty": {}} == shown(graph)


def test_undoing_an_undo_redoes(graph_with):
    """The undo is an update like any other."""
    graph = graph_with(k={"f": 1})
    lost: list[NodeMap] = []
    graph.on("history", lost.append)
    graph.delete("k")
    graph.commit(lost[0].rebase(graph))
    graph.write("k", {"f": 2})
    graph.commit(lost[-1].rebase(graph))
    graph.commit(lost[-1].rebase(graph))
    assert {"k": {"f": 2}} == shown(graph)


# --- Storage ----------------------------------------------------------------------------------


def test_a_branch_shows_what_the_source_has_only_in_storage():
    """It is loaded through the source, and still as it was."""

    async def steps() -> None:
        storage = MemoryStorage()
        first = Graph({"storage": storage})
        await first.write("k", {"f": 1, "g": 1})
        await first.write("blind", {"f": 1, "g": 1})
        await first.write("changed", {"f": 1, "g": 1})
        graph = Graph({"storage": storage})
        branch = graph.branch()
        await branch.write("blind", {"f": 2})
        await branch.write("changed", {"f": 2})
        await graph.write("changed", {"g": 3})
        await graph.write("k", {"g": 3})
        await graph.write("new", {"f": 3})
        assert {"f": 1, "g": 1} == await read(branch, "k")
        assert {"f": 2, "g": 1} == await read(branch, "blind")
        assert {"f": 2, "g": 1} == await read(branch, "changed")
        assert await read(branch, "new") is None
        assert await read(branch, "nobody") is None
        assert [{"f": 2, "g": 1}] == [node.snapshot() for node in await branch.nodes(["blind"])]
        inner = branch.branch()
        assert {"f": 1, "g": 1} == await read(inner, "k")

    run(steps())


def test_a_branch_reads_a_storage_that_the_call_names():
    """What is found there is no edit, and does not reach the source."""

    async def steps() -> None:
        storage = MemoryStorage()
        await Graph({"storage": storage}).write("k", {"f": 1})
        graph = Graph()
        branch = graph.branch()
        node = await branch.read("k", storage=storage)
        assert {"f": 1} == node.snapshot()
        assert 0 == len(branch.changes())
        assert graph.value("k") is None

    run(steps())


def test_what_the_source_reads_from_the_network_later_does_not_show():
    """Other graphs may have written it since; a rebase takes it over."""

    async def steps() -> None:
        peer = Graph()
        await peer.write("known", {"f": 2})
        await peer.write("new", {"f": 2})

        class Asking:
            async def pull(self, action: ReadNodes) -> list[Node | None]:
                return [peer.copy().nodes[key] for key in action.keys]

            async def push(self, action: Write) -> None: ...

        graph = Graph({"network": ConnectionGroup(), "router": Asking()})
        await graph.write("known", {"g": 1})
        branch = graph.branch()
        inner = branch.branch()
        await graph.nodes(["known", "new"], force=True)
        assert {"f": 2, "g": 1} == graph.value("known").snapshot()
        assert {"f": 2} == graph.value("new").snapshot()
        for each in (branch, inner):
            assert {"known": {"g": 1}} == shown(each)
            assert await each.read("new") is None
        branch.rebase(graph)
        assert {"known": {"f": 2, "g": 1}, "new": {"f": 2}} == shown(branch)

    run(steps())


def test_what_the_source_loads_later_lies_below_the_edits_of_a_branch():
    """The storage had it before; what was written without knowing it still wins."""

    async def steps() -> None:
        storage = MemoryStorage()
        earlier = Graph({"storage": storage})
        for number in range(9):
            await earlier.write("k", {"f": number, "g": number})
        graph = Graph()
        branch, idle = graph.branch(), graph.branch()
        await branch.write("k", {"f": "branch"})
        await idle.write("k", {"h": "idle"})
        await graph.read("k", storage=storage)
        await graph.write("k", {"g": "source"})
        assert {"f": "branch", "g": 8} == await read(branch, "k")
        assert {"k": {"f": "branch"}} == branch.changes().snapshot()
        await graph.commit(branch)
        await graph.commit(idle)
        assert {"f": "branch", "g": "source", "h": "idle"} == await read(graph, "k")
        await branch.write("k", {"g": "again"})
        handed = branch.changes()
        await branch.write("k", {"g": "and again"})
        await branch.delete("other")
        branch._overlay.settle(handed)
        assert {"g": "and again"} == branch.changes()["k"].snapshot()
        await graph.commit(branch)
        assert 0 == len(branch.changes())

    run(steps())


# --- All of it, against a plain model ----------------------------------------------------------

KEYS = ("k", "q")
FIELDS = ("x", "y")
LEVELS = 3  # a graph, its branch, and a branch of that
steps_of_a_life = st.lists(
    st.tuples(
        st.integers(0, LEVELS - 1),
        st.sampled_from(["write", "write", "write", "unset", "delete", "look", "rebase", "commit"]),
        st.sampled_from(KEYS),
        st.sampled_from(FIELDS),
    ),
    max_size=16,
)

Nodes = dict[str, dict[str, Any]]
Edit = tuple[str, str | None, int | None]
"""Key, field (None for the whole node), value (None for deleted)."""


class Level:
    """What a graph or branch shows, as plain dicts, and the edits that it has not committed."""

    def __init__(self, source: Level | None) -> None:
        self.source = source
        self.nodes: Nodes = {}
        self.edits: list[Edit] = []

    def edit(self, edit: Edit) -> None:
        """Do one edit, and remember it."""
        key, field, value = edit
        if field is None:
            self.nodes.pop(key, None)
        elif value is None:
            self.nodes.get(key, {}).pop(field, None)
        else:
            self.nodes.setdefault(key, {})[field] = value
        self.edits.append(edit)

    def rebase(self) -> None:
        """Take the source, do all edits again."""
        assert self.source is not None
        self.nodes = {key: dict(fields) for key, fields in self.source.nodes.items()}
        edits, self.edits = self.edits, []
        for edit in edits:
            self.edit(edit)

    def commit(self) -> None:
        """Do all edits to the source, on top of what it has: after a rebase these are equal."""
        assert self.source is not None
        for edit in self.edits:
            self.source.edit(edit)
        self.edits = []


@pytest.mark.parametrize("kind", ["alone", "in a database"])
@settings(deadline=None)
@given(steps_of_a_life)
def test_any_life_of_branches_is_as_the_model_says(kind, steps):
    """Edits on all levels, rebases, and commits right after a rebase."""
    with graphs(kind) as graph_with:
        live(graph_with(), steps)


def live(graph: Graph, steps: list[tuple[int, str, str, str]]) -> None:
    """Do the steps to a graph and its branches, and to the model; compare after each."""
    branch = graph.branch()
    levels: list[Any] = [graph, branch, branch.branch()]
    model = [Level(None)]
    for number in range(1, LEVELS):
        model.append(Level(model[number - 1]))
    for number, (level, what, key, field) in enumerate(steps):
        target, plain = levels[level], model[level]
        if what == "write":
            target.write(key, {field: number})
            plain.edit((key, field, number))
        elif what == "unset":
            if target.value(key) is not None:
                target.value(key).delete(field)
                plain.edit((key, field, None))
        elif what == "delete":
            target.delete(key)
            plain.edit((key, None, None))
        elif what == "look":
            target.value(key)
        elif level > 0:
            target.rebase(levels[level - 1])
            plain.rebase()
            if what == "commit":
                levels[level - 1].commit(target)
                plain.commit()
        for real, expected in zip(levels, model, strict=True):
            assert with_fields(expected.nodes) == with_fields(shown(real))


@settings(deadline=None)
@given(steps_of_a_life)
def test_any_life_over_a_storage_is_as_the_model_says(steps):
    """As above; nothing is in memory before somebody looks, and most edits are made blindly."""
    run(live_over_storage(steps))


async def live_over_storage(steps: list[tuple[int, str, str, str]]) -> None:
    """Do the steps to a graph that has just been opened over a storage, and to its branches."""
    storage = MemoryStorage()
    earlier = Graph({"storage": storage})
    model = [Level(None)]
    for number, field in enumerate(FIELDS * 5):  # many ids that the new graph knows nothing of
        await earlier.write("k", {field: -number})
        model[0].edit(("k", field, -number))
    graph = Graph({"storage": storage})
    branch = graph.branch()
    levels: list[Any] = [graph, branch, branch.branch()]
    for number in range(1, LEVELS):
        model.append(Level(model[number - 1]))
        model[number].rebase()
    for number, (level, what, key, field) in enumerate(steps):
        target, plain = levels[level], model[level]
        if what == "write":
            await target.write(key, {field: number})
            plain.edit((key, field, number))
        elif what == "delete":
            await target.delete(key)
            plain.edit((key, None, None))
        elif what in ("look", "unset"):
            node = await target.read(key)
            assert plain.nodes.get(key, {}) == ({} if node is None else node.snapshot())
            if what == "unset" and node is not None:
                await node.delete(field)
                plain.edit((key, field, None))
        elif level > 0:
            target.rebase(levels[level - 1])
            plain.rebase()
            if what == "commit":
                await levels[level - 1].commit(target)
                plain.commit()
    for real, expected in zip(levels, model, strict=True):
        for key in KEYS:
            node = await real.read(key)
            assert expected.nodes.get(key, {}) == ({} if node is None else node.snapshot())


def with_fields(nodes: Nodes) -> Nodes:
    """Leave out nodes without fields: whether those exist is not what this model is about."""
    return {key: fields for key, fields in nodes.items() if fields}
