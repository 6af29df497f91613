"""Graphs in databases end as a graph in memory does, in whatever order things arrive."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

import cytosol
from cytosol import Graph
from cytosol.graph import Node, NodeMap
from cytosol.graph.pointer import DELETED, Pointer
from cytosol.model.ids import OpId
from tests.graph.running import run
from tests.unit.database.databases import open_alone

AUTHORS = [b"\x01" * 16, b"\xee" * 16]
KEYS = ["k", "m"]
FIELDS = ["f", "g"]


class Change(NamedTuple):
    """One assignment that was made elsewhere; `where` says which databases get it at once."""

    where: int
    index: int  # type: ignore[assignment]  # tuple.index() is never wanted here
    author: bytes
    kind: str
    key: str
    field: str

    def nodes(self) -> NodeMap:
        """Return it as another graph would send it."""
        ident = OpId(self.index, self.author)
        node = Node(self.key)
        if self.kind == "remove":
            node.gone = ident
        elif self.kind == "delete":
            node.entries[self.field] = (DELETED, ident)
        else:
            node.made = ident
            if self.kind == "write":
                node.entries[self.field] = (f"{self.index}", ident)
            elif self.kind == "point":
                node.entries[self.field] = (Pointer("m"), ident)
        return NodeMap([node])


changes = st.lists(
    st.builds(
        Change,
        st.integers(1, 3),
        st.integers(1, 40),
        st.sampled_from(AUTHORS),
        st.sampled_from(["write", "write", "point", "make", "delete", "remove"]),
        st.sampled_from(KEYS),
        st.sampled_from(FIELDS),
    ),
    max_size=12,
    unique_by=lambda change: change.index,
)


def exchange(one: cytosol.Database, other: cytosol.Database) -> None:
    """Let two databases know each other's ops."""
    logs = []
    for db in (one, other):
        log = db._document.replica.log
        logs.append([log.op(row) for row in range(len(log))])
    for db, ops in ((one, logs[1]), (other, logs[0])):
        db._document.merge(ops)
        db._document.deliver()


def visible(graph: Graph) -> Any:
    """Return what a graph shows, with the ids of the fields."""
    return {
        key: {field: (value, node.state(field)) for field, value in node} for key, node in graph
    }


def not_empty(graph: Graph) -> Any:
    """Return what a graph shows, without nodes that have no fields."""
    return {key: fields for key, fields in visible(graph).items() if fields}


async def tell(graph: Graph, change: Change) -> None:
    """Commit one change."""
    await graph.commit(change.nodes())


@settings(max_examples=60, deadline=None)
@given(changes, st.integers(0, 12), st.randoms(use_true_random=False))
def test_changes_from_elsewhere_end_as_in_memory(
    entries: list[Change], meeting: int, random: Any
) -> None:
    """Each database gets a part of them, they tell each other, and both open again the same."""
    alone = Graph()

    async def story() -> None:
        for at, change in enumerate(entries):
            if at == meeting:
                exchange(one, other)
            for bit, graph in ((1, one_graph), (2, other_graph)):
                if change.where & bit:
                    await tell(graph, change)
        for change in random.sample(entries, len(entries)):
            await tell(alone, change)

    with open_alone() as one, open_alone() as other:
        one_graph, other_graph = one.graph(), other.graph()
        run(story())
        exchange(one, other)
        assert visible(one_graph) == visible(other_graph)
        # Whether a node without fields was made after its deletion is not always known.
        assert not_empty(one_graph) == not_empty(alone)
        assert one.graph().to_json() == other.graph().to_json()
        assert visible(one.graph()) == visible(one_graph)
        assert one.query_once("$") == other.query_once("$")
        assert one.query_once_meta("$.failures[*]") == []
        one.check()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["write", "delete", "remove", "dispatch", "forget", "meet"]),
            st.sampled_from(KEYS),
            st.sampled_from(FIELDS),
        ),
        max_size=14,
    )
)
def test_writes_on_both_sides_converge(entries: list[tuple[int, str, str, str]]) -> None:
    """Through the graph and by dispatch; what the graph shows is what the document holds."""

    async def story() -> None:
        for number, (at, what, key, field) in enumerate(entries):
            db, graph = databases[at], graphs[at]
            if what == "meet":
                exchange(*databases)
            elif what == "write":
                await graph.write(key, {field: number})
            elif what == "delete":
                node = graph.value(key)
                if node is not None:
                    await node.delete(field)
            elif what == "remove":
                await graph.delete(key)
            elif what == "dispatch":
                node_path = f"$.graph.{key}"
                actions = [
                    cytosol.InitObject("$.graph"),
                    cytosol.InitObject(node_path),
                    cytosol.Set(f"{node_path}.{field}", number),
                ]
                db.dispatch(cytosol.Transaction(actions))
            else:
                db.dispatch(cytosol.Delete(f"$.graph.{key}"), return_failures=True)
            shown = db.get("graph") or {}
            for name, node in graph:
                assert node.snapshot() == {f: shown[name][f] for f, _ in node}

    with open_alone() as one, open_alone() as other:
        databases = [one, other]
        graphs = [one.graph(), other.graph()]
        run(story())
        exchange(one, other)
        assert one.query_once("$") == other.query_once("$")
        assert visible(graphs[0]) == visible(graphs[1]) == visible(one.graph())
        assert one.query_once_meta("$.failures[*]") == []
