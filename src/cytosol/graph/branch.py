"""A branch: a private overlay on a graph, as the graph was when it branched off.

The overlay holds what was edited in the branch, and each node of the source that was looked at
here or has changed there since: the source tells its branches before a node changes. All else
is read through, so a branch costs nothing until somebody writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cytosol.errors import GraphError
from cytosol.graph.clock import ZERO
from cytosol.graph.collection import NodeMap, merge_into
from cytosol.graph.graph import Graph
from cytosol.graph.node import Delta, Node

if TYPE_CHECKING:
    from cytosol.graph.backing import Backing

__all__ = ["Branch", "BranchBacking"]


class BranchBacking:
    """The nodes of a branch: its own over those of `source`, whose clock it shares.

    Ids come from the one clock, so that no two edits share one wherever they end up.
    """

    def __init__(self, source: Backing) -> None:
        self.source = source
        self.clock = source.clock
        self.watchers: WeakSet[Any] = WeakSet()
        self.own = NodeMap()
        """The edits made in this branch and not committed to its source yet."""
        self._nodes: dict[str, Node] = {}
        self._absent: set[str] = set()  # keys that the source has got since
        self._graph: Graph | None = None
        source.watchers.add(self)

    def attach(self, graph: Graph) -> None:
        """Make `graph` the one that the nodes belong to."""
        self._graph = graph

    def node(self, key: str) -> Node | None:
        """Return the node `key` as it is in this branch; always the same object."""
        node = self._nodes.get(key)
        if node is None and key not in self._absent:
            theirs = self.source.node(key)
            if theirs is not None:
                node = self._nodes[key] = self._taken(theirs)
        return node

    def keys(self) -> Iterator[str]:
        """Yield the keys of all nodes, those of the source that are not touched here last."""
        yield from tuple(self._nodes)
        for key in tuple(self.source.keys()):
            if key not in self._nodes and key not in self._absent:
                yield key

    def is_absent(self, key: str) -> bool:
        """Tell whether the source had no node `key` when this branched off, but has it now."""
        return key in self._absent

    def remember(self, key: str, node: Node | None) -> None:
        """Keep a node of the source, which is about to change, as it is now (None: is not)."""
        if key not in self._nodes and key not in self._absent:
            if node is None:
                self._absent.add(key)
            else:
                self._nodes[key] = self._taken(node)

    def apply(self, changes: NodeMap) -> Delta[NodeMap]:
        """Merge `changes` as edits of this branch; all or nothing."""
        delta = self._merge(changes)
        merge_into(self.own.nodes, delta.update, Node)
        return delta

    def rebase(self, target: Backing) -> Delta[NodeMap]:
        """Take over what `target` has now, with the own edits on top; return what changed.

        Nothing of `target` becomes an own edit. For the source itself only nodes touched here
        are merged, all others are read through anyway.
        """
        if target is self.source:
            self._absent.clear()
            keys = list(self._nodes)
        else:
            keys = list(target.keys())
        top = self.own.rebase(_Values(target), self.clock)
        incoming = NodeMap()
        for key in dict.fromkeys([*keys, *top.nodes]):
            theirs = target.node(key)
            if theirs is not None:
                incoming.add(theirs.copy())
            own = top.nodes.get(key)
            if own is not None:
                incoming.add(own.copy())
        delta = self._merge(incoming)
        self.own = top
        return delta

    def settle(self, committed: NodeMap) -> None:
        """Let go of own edits that the source has taken over: it may overwrite them now."""
        for key, done in committed.nodes.items():
            own = self.own.nodes.get(key)
            if own is None:
                continue
            for field, entry in done.entries.items():
                mine = own.entries.get(field)
                if mine is not None and mine[1] == entry[1]:
                    del own.entries[field]
            if own.made == done.made:
                own.made = ZERO
            if own.gone == done.gone:
                own.gone = ZERO
            if own.is_blank:
                del self.own.nodes[key]

    def _merge(self, changes: NodeMap) -> Delta[NodeMap]:
        watchers = tuple(self.watchers)
        for key in changes.nodes:
            node = self.node(key)
            for watcher in watchers:
                watcher.remember(key, node)
        return merge_into(self._nodes, changes, self._made)

    def _made(self, key: str) -> Node:
        return Node(key, self._graph)

    def _taken(self, theirs: Node) -> Node:
        node = Node(theirs.key, self._graph)
        node.entries = theirs.entries.copy()
        node.made = theirs.made
        node.gone = theirs.gone
        return node


class _Values:
    """The nodes of a backing, under the name that `NodeMap.rebase` asks for."""

    __slots__ = ("_backing",)

    def __init__(self, backing: Backing) -> None:
        self._backing = backing

    def value(self, key: str) -> Node | None:
        return self._backing.node(key)


class Branch(Graph):
    """A graph over another one: reads see the source as it was, writes stay here.

    Hooks, extensions and engines are those of the source; there is no storage and no network.
    `await source.commit(branch)` applies all edits at once. Made by `Graph.branch()`.
    """

    def __init__(self, source: Graph) -> None:
        self._source = source
        self._overlay = BranchBacking(source._backing)
        self._setup(self._overlay, source._config.without_plugins())

    def changes(self) -> NodeMap:
        """Return the edits made here and not committed to the source yet, as a detached copy."""
        return self._overlay.own.copy()

    def rebase(self, other: Graph) -> Branch:
        """Take over what `other`, usually the source, has now; keep the own edits on top.

        Changes this branch in place and returns it. Own edits that would lose get new ids;
        only edits really made here count.
        """
        if not isinstance(other, Graph):
            raise GraphError(
                f"a branch is rebased on a graph, not on a {type(other).__name__}; "
                "to bring in changes, commit them to the branch"
            )
        delta = self._overlay.rebase(other._backing)
        self._announce(delta)
        return self

    def _settle(self, committed: NodeMap, graph: Graph) -> None:
        """Note that `graph` has taken over these changes; only the source's word counts."""
        if graph is self._source:
            self._overlay.settle(committed)
