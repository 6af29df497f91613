"""Where a graph keeps its nodes: the seam behind which memory can be a document.

A backing holds data and merges it. Hooks, plugins, queues and events are the graph's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.collection import NodeMap, merge_into
from cytosol.graph.node import Delta, Node
from cytosol.limits import NODE_FIELDS_MAX
from cytosol.model.ids import OpId

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["Backing", "MemoryBacking"]


class Backing(Protocol):
    """What a graph needs of the place where its nodes are."""

    clock: Clock

    @property
    def watchers(self) -> WeakSet[Any]:
        """Whoever must know a node as it was: `remember(key, node or None)` is called before it
        changes, not when it is only loaded from the storage."""
        ...

    def attach(self, graph: Graph) -> None:
        """Learn whose nodes these are; called once, before anything else."""

    def node(self, key: str) -> Node | None:
        """Return the node `key`, a member of the graph and always the same object, or None."""

    def keys(self) -> Iterable[str]:
        """Return the keys of all nodes, also of deleted ones that are remembered."""

    def apply(self, changes: NodeMap) -> Delta[NodeMap]:
        """Merge `changes`, all or nothing; return what changed and what was overwritten."""

    def adopt(self, node: Node) -> None:
        """Let `node` be the member with its key, in place of an object of the same state."""

    def load(self, nodes: NodeMap) -> Delta[NodeMap]:
        """Merge what a storage or another graph had; nobody has changed it just now."""


class MemoryBacking:
    """Nodes in memory, as long as the graph lives."""

    __slots__ = ("_graph", "_nodes", "clock", "node", "watchers")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._nodes: dict[str, Node] = {}
        self._graph: Graph | None = None
        self.watchers: WeakSet[Any] = WeakSet()
        self.node = self._nodes.get  # a method would cost each cached read one call more

    def attach(self, graph: Graph) -> None:
        """Learn whose members the nodes are."""
        self._graph = graph

    def keys(self) -> Iterable[str]:
        """Return the keys of all nodes."""
        return self._nodes.keys()

    def apply(self, changes: NodeMap) -> Delta[NodeMap]:
        """Merge `changes`; the watchers are told of each node before."""
        if self.watchers:
            for watcher in tuple(self.watchers):
                for key in changes.nodes:
                    watcher.remember(key, self._nodes.get(key))
        return self.load(changes)

    def assign(self, node: Node, values: Mapping[str, Any], stamp: OpId) -> bool:
        """Assign to a member under the newest id there is, with nobody to tell; or do nothing.

        What `apply` would do, without deltas. False where somebody watches or it takes more.
        """
        entries = node.entries
        if self.watchers or len(entries) + len(values) > NODE_FIELDS_MAX:
            return False
        for field, value in values.items():
            entries[field] = (value, stamp)
        if node.made is ZERO:
            node.made = stamp
        return True

    def adopt(self, node: Node) -> None:
        """Let `node` be the member with its key."""
        self._nodes[node.key] = node

    def load(self, changes: NodeMap) -> Delta[NodeMap]:
        """Merge `changes` without telling anybody."""
        return merge_into(self._nodes, changes, self._make)

    def _make(self, key: str) -> Node:
        return Node(key, self._graph)
