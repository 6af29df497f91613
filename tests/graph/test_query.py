"""Queries over a graph, against the same queries over plain JSON with the pointers put in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytosol import ActionError, Graph, GraphError, MissingVariableError, PathLimitError
from cytosol.graph import MemoryStorage, Node, Pointer
from cytosol.path import parse_path
from tests.graph.running import run

PATHS = [
    "$.a", "$.*", "$.a.x", "$.a.to.x", "$.*.to.x", "$.*.*", "$.a['x','to'].x", "$[?@.x > 1].x",
    "$[?@.to.x == 2].x", "$[?@.to].to.to.x", "$.b.to.*", "$[?@.x == $.a.x].x", "$.a.to.to.to.to.x",
    "$[?count(@.*) > 1].x", "$.missing.to", "$.a[0]", "$[?!@.to].x", "$[?@.to == null].x",
]  # fmt: skip

KEYS = "abcde"


def as_value(result: Any) -> Any:
    """Return a result with nodes as their keys, so that both sides can be compared."""
    return ("node", result.key) if isinstance(result, Node) else result


@settings(deadline=None, max_examples=150)
@given(
    nodes=st.dictionaries(
        st.sampled_from(KEYS),
        st.fixed_dictionaries(
            {},
            optional={
                "x": st.integers(0, 3),
                "to": st.sampled_from(KEYS),
                "on": st.sampled_from(KEYS),
            },
        ),
        min_size=1,
    ),
    path=st.sampled_from(PATHS),
)
def test_a_query_is_the_query_over_the_tree_of_all_that_is_pointed_to(
    nodes: dict[str, dict[str, Any]], path: str
) -> None:
    """Cut where no path of the test can reach any more."""

    def tree(key: str, depth: int) -> Any:
        if key not in nodes:
            return None
        members: dict[str, Any] = {}
        for field, value in nodes[key].items():
            if field == "x":
                members[field] = value
            else:
                members[field] = tree(value, depth - 1) if depth else {}
        names.append((members, key))
        return members

    names: list[tuple[dict[str, Any], str]] = []
    root = {key: tree(key, 6) for key in nodes}
    keys = {id(members): key for members, key in names}
    expected = [
        ("node", keys[id(value)]) if type(value) is dict else value
        for value in parse_path(path).bind().values(root)
    ]

    async def story() -> None:
        graph = Graph()
        graph.merge(
            {
                key: {
                    field: value if field == "x" else Pointer(value)
                    for field, value in fields.items()
                }
                for key, fields in nodes.items()
            }
        )
        assert expected == [as_value(result) for result in await graph.query(path)]

    run(story())


async def chain(length: int, storage: MemoryStorage | None = None) -> Graph:
    """Return a graph of nodes that point to the next one, the last to the first."""
    graph = Graph({"storage": storage})
    await graph.commit(
        {f"n{i}": {"x": i, "next": Pointer(f"n{(i + 1) % length}")} for i in range(length)}
    )
    return graph


def test_descendants_of_a_circle_are_visited_once() -> None:
    """From each place where `..` starts."""

    async def story() -> None:
        graph = await chain(50)
        assert list(range(50)) == sorted(await graph.query("$.n7..x"))
        assert list(range(50)) == sorted(await graph.query("$..x"))

    run(story())


def test_descendants_inside_filters_end_too() -> None:
    """Also queries from `$` inside of them."""

    async def story() -> None:
        graph = await chain(5)
        assert 5 == len(await graph.query("$[?count(@..x) == 5]"))
        assert 5 == len(await graph.query("$[?count($..x) == 5]"))

    run(story())


def test_a_dense_graph_does_not_explode() -> None:
    """Everybody knows everybody: `..` is linear, wildcards after wildcards are stopped."""

    async def story() -> None:
        graph = Graph()
        names = [f"p{i}" for i in range(30)]
        await graph.commit({name: {other: Pointer(other) for other in names} for name in names})
        assert 30 == len(await graph.query("$.p0..p1"))
        with pytest.raises(PathLimitError):
            await graph.query("$.*.*.*.*.*.*")

    run(story())


def test_a_query_loads_what_it_can_reach_and_no_more() -> None:
    """Level by level, each level at once."""

    async def story() -> None:
        class Counting(MemoryStorage):
            def __init__(self) -> None:
                super().__init__()
                self.asked: list[tuple[str, ...]] = []

            def read(self, action: Any) -> Any:
                self.asked.append(tuple(action.keys))
                return super().read(action)

        storage = Counting()
        await chain(50, storage)
        graph = Graph({"storage": storage})
        storage.asked.clear()
        assert [2] == await graph.query("$.n0.next.next.x")
        assert [("n0",), ("n1",), ("n2",)] == storage.asked[:3]
        assert len(graph) < 10
        assert list(range(50)) == sorted(await graph.query("$.n0..x"))
        assert 50 == len(graph)

    run(story())


def test_the_root_of_a_query_is_all_that_the_storage_streams() -> None:
    """If it can; else what is in memory."""

    async def story() -> None:
        storage = MemoryStorage()
        await chain(5, storage)
        assert [0, 1, 2, 3, 4] == await Graph({"storage": storage}).query("$.*.x")
        assert [] == await Graph({"storage": storage}).query("$.*.x", storage=None)

    run(story())


def test_queries_refuse_what_they_do_not_know() -> None:
    """Options, variables, paths."""

    async def story() -> None:
        graph = await chain(2)
        with pytest.raises(GraphError, match="'variables'"):
            await graph.query("$", variables={})
        with pytest.raises(MissingVariableError):
            await graph.query("$.{n}")
        with pytest.raises(ActionError):
            await graph.query(5)
        with pytest.raises(ActionError):
            await graph.query("$.{n}", vars=5)

    run(story())


def test_a_field_with_the_name_of_an_index_is_a_name() -> None:
    """Nodes are objects, never arrays."""

    async def story() -> None:
        graph = Graph()
        await graph.write("0", {"1": "x"})
        assert ["x"] == await graph.query("$['0']['1']")
        assert [] == await graph.query("$[0]")

    run(story())


def test_a_query_on_a_branch_sees_the_branch() -> None:
    """Its own edits over the source as it was."""

    async def story() -> None:
        graph = await chain(3)
        branch = graph.branch()
        await branch.write("n1", {"x": "mine"})
        await graph.write("n2", {"x": "later"})
        assert [0, "mine", 2] == await branch.query("$.*.x")
        assert ["mine"] == await branch.query("$.n0.next.x")
        assert [0, 1, "later"] == await graph.query("$.*.x")

    run(story())
