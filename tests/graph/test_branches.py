"""A branch shows the graph as it was, keeps its own edits, and gives them back in one piece."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytosol import Graph
from cytosol.errors import GraphError
from cytosol.graph import MemoryStorage, NodeMap
from tests.graph.running import run

A = b"a" * 16


def graph_with(**nodes: dict[str, Any]) -> Graph:
    """Return a graph without plugins, in which these nodes were written."""
    graph = Graph(author=A)
    for key, patch in nodes.items():
        graph.write(key, patch)
    return graph


def shown(graph: Graph) -> dict[str, dict[str, Any]]:
    """Return what the graph shows, read node by node and not by its own snapshot."""
    return {key: node.snapshot() for key, node in graph}


# --- As it was --------------------------------------------------------------------------------


def test_a_branch_reads_through_to_its_source():
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


def test_later_changes_of_the_source_do_not_show():
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


def test_writes_stay_in_the_branch():
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


def test_nodes_of_a_branch_keep_their_identity():
    """Whoever holds a node sees what the branch does to it, and only that."""
    graph = graph_with(k={"f": 1})
    branch = graph.branch()
    node = branch.value("k")
    graph.write("k", {"f": 2})
    branch.write("k", {"g": 3})
    assert node is branch.value("k") is not graph.value("k")
    assert {"f": 1, "g": 3} == node.snapshot()


def test_a_branch_has_events_of_its_own():
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


def test_pointers_lead_to_nodes_of_the_branch():
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


def test_a_forgotten_branch_costs_the_source_nothing():
    """The source does not keep its branches alive."""
    graph = graph_with(k={"f": 1})
    branch = graph.branch()
    assert 1 == len(graph._backing.watchers)
    del branch
    gc.collect()
    assert 0 == len(graph._backing.watchers)


# --- Commit -----------------------------------------------------------------------------------


def test_commit_applies_all_edits_as_one_event():
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


def test_nodes_made_in_a_branch_belong_to_the_graph_after_the_commit():
    """Writing through the node of the graph reaches the graph, and not the branch."""
    graph = graph_with()
    branch = graph.branch()
    branch.write("new", {"f": 1})
    graph.commit(branch)
    graph.value("new").write("f", 2)
    assert {"new": {"f": 2}} == shown(graph)
    assert {"new": {"f": 1}} == shown(branch)


def test_without_a_rebase_newer_writes_of_the_source_win():
    """Each edit has the id of when it was made; the greater one wins."""
    graph = graph_with(k={"f": 0, "g": 0})
    branch = graph.branch()
    branch.write("k", {"f": "branch", "g": "branch"})
    graph.write("k", {"f": "source"})
    graph.commit(branch)
    assert {"f": "source", "g": "branch"} == graph.value("k").snapshot()


def test_committed_edits_are_not_put_on_top_again():
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


def test_a_branch_can_be_committed_elsewhere():
    """Then the edits remain to be committed to the source."""
    graph, other = graph_with(), Graph()
    branch = graph.branch()
    branch.write("k", {"f": 1})
    other.commit(branch)
    assert {"k": {"f": 1}} == shown(other) == branch.changes().snapshot()


def test_edits_are_what_was_written_and_nothing_else():
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


def test_rebase_takes_over_the_source_and_keeps_own_edits_on_top():
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


def test_rebase_tells_the_listeners_of_the_branch():
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


def test_rebasing_twice_asks_for_no_new_ids():
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


def test_a_branch_rebased_on_another_graph_takes_that_over():
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
def test_a_branch_is_rebased_on_graphs_only(other):
    """The error says what to do with changes."""
    with pytest.raises(GraphError, match="commit them to the branch"):
        graph_with().branch().rebase(other)


def test_a_deletion_in_a_branch_survives_the_rebase():
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


def test_a_branch_of_a_branch_shows_that_branch_as_it_was():
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


def test_a_branch_is_committed_to_the_graph_at_the_bottom_as_well():
    """With its own edits only."""
    graph = graph_with()
    middle = graph.branch()
    middle.write("middle", {"f": 1})
    inner = middle.branch()
    inner.write("inner", {"f": 1})
    graph.commit(inner)
    assert {"inner": {"f": 1}} == shown(graph)


# --- Undo -------------------------------------------------------------------------------------


def test_history_rebased_undoes_an_update():
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


def test_undoing_an_undo_redoes():
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


# --- All of it, against a plain model ----------------------------------------------------------

KEYS = ("k", "q")
FIELDS = ("x", "y")
steps_of_a_life = st.lists(
    st.tuples(
        st.sampled_from(["source", "source", "branch", "branch"]),
        st.sampled_from(["write", "write", "write", "unset", "delete", "look", "rebase", "commit"]),
        st.sampled_from(KEYS),
        st.sampled_from(FIELDS),
    ),
    max_size=14,
)


class Model:
    """What source and branch show, written down as plain dicts and a list of edits.

    An edit is (key, field or None for the whole node, value or None for deleted).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.source: dict[str, dict[str, int]] = {}
        self.branch: dict[str, dict[str, int]] = {}
        self.edits: list[tuple[str, str | None, int | None]] = []

    @staticmethod
    def change(nodes: dict[str, dict[str, int]], key: str, field: str | None, value: Any) -> None:
        """Do one edit to plain dicts."""
        if field is None:
            nodes.pop(key, None)
        elif value is None:
            nodes.get(key, {}).pop(field, None)
        else:
            nodes.setdefault(key, {})[field] = value

    def rebase(self) -> None:
        """Take the source, do all edits again."""
        self.branch = {key: dict(fields) for key, fields in self.source.items()}
        for edit in self.edits:
            self.change(self.branch, *edit)


@settings(deadline=None)
@given(steps_of_a_life)
def test_any_life_of_a_branch_is_as_the_model_says(steps):
    """Writes on both sides, rebases, and commits right after a rebase."""
    graph = Graph(author=A)
    branch = graph.branch()
    model = Model(graph)
    for number, (side, what, key, field) in enumerate(steps):
        target = graph if side == "source" else branch
        nodes = model.source if side == "source" else model.branch
        edit: tuple[str, str | None, int | None] | None = None
        if what == "write":
            target.write(key, {field: number})
            edit = (key, field, number)
        elif what == "unset":
            node = target.value(key)
            if node is not None:
                node.delete(field)
                edit = (key, field, None)
        elif what == "delete":
            target.delete(key)
            edit = (key, None, None)
        elif what == "look":
            target.value(key)
        else:
            branch.rebase(graph)
            model.rebase()
            if what == "commit":
                graph.commit(branch)
                model.source = {k: dict(fields) for k, fields in model.branch.items()}
                model.edits.clear()
        if edit is not None:
            model.change(nodes, *edit)
            if side == "branch":
                model.edits.append(edit)
        assert values(model.source) == values(shown(graph))
        assert values(model.branch) == values(shown(branch))


def values(nodes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out nodes without fields: whether those exist is not what this model is about."""
    return {key: fields for key, fields in nodes.items() if fields}
