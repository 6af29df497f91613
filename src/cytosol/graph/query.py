"""JSONPath over a graph: nodes are objects, their fields members, pointers lead to nodes.

The nodes that a query can reach become plain dicts that hold each other, cycles included, so
that names, wildcards and filters follow pointers at the full speed of `cytosol.path`. Only `..`
would never end on a cycle: here it visits every node once from each place it starts at. A
pointer to a node that does not exist is null, as it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cytosol.errors import GraphError
from cytosol.graph.actions import ReadNodes
from cytosol.graph.awaiting import become_task, outcome
from cytosol.graph.pointer import Pointer
from cytosol.graph.storage import stream_of
from cytosol.limits import PATH_STEPS_MAX
from cytosol.model.json import JsonValue, copy_json
from cytosol.path import Query, parse_path
from cytosol.path.evaluate import select_values
from cytosol.path.functions import Run

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["engine_steps", "query_steps"]


async def engine_steps(
    graph: Graph, function: Callable[..., Any], query: Any, options: Mapping[str, Any]
) -> Any:
    """Let an engine of a config evaluate a query."""
    graph._check_open()
    return await outcome(function(graph, query, **options))


async def query_steps(graph: Graph, text: Any, options: Mapping[str, Any]) -> list[Any]:
    """Return what the path selects: primitives as they are, nodes as Nodes, `$` as the graph."""
    graph._check_open()
    storage, network, rest = graph._resolved(options)
    force = rest.pop("force", False)
    variables = rest.pop("vars", ())
    if rest:
        raise GraphError(
            f"a JSONPath query has no option {next(iter(rest))!r}; "
            "there are `vars`, `storage`, `network` and `force`"
        )
    query = parse_path(text).bind(variables)
    view = _View(graph)
    read = ReadNodes((), None, storage, network, force, {})
    await view.build(query, text, read)
    return [view.result(value) for value in select_values(query._segments, view.root, view.run)]


class _View:
    """The reachable part of a graph as plain dicts."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.root: dict[str, JsonValue] = {}
        self.run = _GraphRun(self.root)
        self._dicts: dict[str, dict[str, JsonValue]] = {}
        self._keys: dict[int, str] = {}
        self._pointers: list[tuple[dict[str, JsonValue], str, str]] = []

    async def build(self, query: Query, text: str, read: ReadNodes) -> None:
        """Make the dicts that the query can look into, level by level.

        A path goes one level down with each `.` or `[` at most; with `..`, as far as it can.
        What is not in memory is loaded, a whole level at once.
        """
        graph = self._graph
        # With `..` only the steps of the run bound it: each node costs one.
        depth = PATH_STEPS_MAX if ".." in text else text.count(".") + text.count("[")
        if query.prefix:
            level = [str(query.prefix[0])]
        else:
            level = list(graph._backing.keys())
            level += await self._streamed(read, frozenset(level))
        top = level
        while level and depth >= 0:
            await self._load(level, read)
            level = self._add(level)
            depth -= 1
        for key in top:
            if graph.value(key) is not None:
                self.root[key] = self._dict(key)
        for members, field, key in self._pointers:
            if graph.value(key) is None:
                members[field] = None

    async def _streamed(self, read: ReadNodes, known: frozenset[str]) -> list[str]:
        """Return the keys that only the storage has, if it can be streamed."""
        if read.storage is None or not hasattr(read.storage, "__aiter__"):
            return []
        await become_task()
        return [node.key async for node in stream_of(read.storage) if node.key not in known]

    async def _load(self, keys: list[str], read: ReadNodes) -> None:
        graph = self._graph
        if not graph._asks and read.storage is None:
            return
        absent = tuple([key for key in keys if read.force or not graph._is_cached(key)])
        if absent:
            await graph._fetch(replace(read, keys=absent))

    def _add(self, keys: list[str]) -> list[str]:
        """Make the dicts of nodes; return the keys of nodes that they point to, new ones only."""
        found: dict[str, None] = {}
        for key in keys:
            node = self._graph.value(key)
            if node is None:
                continue
            members = self._dict(key)
            self.run.spend(1 + len(node.entries))
            for field, value in node:
                if type(value) is Pointer:
                    if value.key not in self._dicts:
                        found[value.key] = None
                    members[field] = self._dict(value.key)
                    self._pointers.append((members, field, value.key))
                else:
                    members[field] = value
        return list(found)

    def _dict(self, key: str) -> dict[str, JsonValue]:
        made = self._dicts.get(key)
        if made is None:
            made = self._dicts[key] = {}
            self._keys[id(made)] = key
        return made

    def result(self, value: JsonValue) -> Any:
        """Return a selected value as the caller shall see it."""
        if type(value) is dict:
            if value is self.root:
                return self._graph
            key = self._keys.get(id(value))
            if key is not None:
                return self._graph.value(key)
        return copy_json(value)


class _GraphRun(Run):
    """A run over dicts that may hold each other in cycles."""

    __slots__ = ()

    may_cycle = True
