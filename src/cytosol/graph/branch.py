"""A branch: a private overlay on a graph, as the graph was when it branched off.

The overlay holds what was edited in the branch, and each node of the source that was looked at
here or has changed there since: the source tells its branches before a node changes. All else
is read through, so a branch costs nothing until somebody writes.

What the source only loads from its storage is no change: it was there when the branch was made.
What it reads from the network is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cytosol.errors import GraphError
from cytosol.graph.actions import ReadNodes
from cytosol.graph.clock import ZERO
from cytosol.graph.collection import NodeMap, merge_into, rebased
from cytosol.graph.graph import Graph
from cytosol.graph.node import Delta, Node, merge_node

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
        self._unfounded: set[str] = set()  # made here; the source may still load such a node
        self._graph: Graph | None = None
        source.watchers.add(self)

    def attach(self, graph: Graph) -> None:
        """Make `graph` the one that the nodes belong to."""
        self._graph = graph

    def node(self, key: str) -> Node | None:
        """Return the node `key` as it is in this branch; always the same object."""
        node = self._nodes.get(key)
        if node is None:
            if key in self._absent:
                return None
        elif key not in self._unfounded:
            return node
        theirs = self.source.node(key)
        if self.is_settled(key):  # the source has just found out that the node has changed
            return self._nodes.get(key)
        if theirs is not None:
            node = self._found(key, theirs)
        return node

    def keys(self) -> Iterator[str]:
        """Yield the keys of all nodes, those of the source that are not touched here last."""
        theirs = tuple(self.source.keys())  # first: it may find out that nodes have changed
        yield from tuple(self._nodes)
        for key in theirs:
            if key not in self._nodes and key not in self._absent:
                yield key

    def is_settled(self, key: str) -> bool:
        """Tell whether it is known for good what the source had under this key."""
        return key in self._absent or (key in self._nodes and key not in self._unfounded)

    def remember(self, key: str, node: Node | None) -> None:
        """Keep a node of the source, which is about to change, as it is now (None: is not)."""
        if self.is_settled(key):
            return
        if node is not None:
            self._found(key, node)
        else:
            self._unfounded.discard(key)
            if key not in self._nodes:
                self._absent.add(key)

    def apply(self, changes: NodeMap) -> Delta[NodeMap]:
        """Merge `changes` as edits of this branch; all or nothing."""
        delta = self._merge(changes)
        merge_into(self.own.nodes, delta.update, Node)
        return delta

    def load(self, nodes: NodeMap) -> Delta[NodeMap]:
        """Merge what a storage had, which is no edit."""
        for key in nodes.nodes:
            self.node(key)
        return merge_into(self._nodes, nodes, self._made)

    def rebase(self, target: Backing) -> Delta[NodeMap]:
        """Take over what `target` has now, with the own edits on top; return what changed.

        Nothing of `target` becomes an own edit. For the source itself only nodes touched here
        are merged, all others are read through anyway.
        """
        is_source = target is self.source
        keys = [*self._nodes, *self._absent] if is_source else list(target.keys())
        top = rebased(self.own, target.node, self.clock)
        incoming = NodeMap()
        for key in dict.fromkeys([*keys, *top.nodes]):
            theirs = target.node(key)
            if theirs is not None:
                incoming.add(theirs.copy())
            own = top.nodes.get(key)
            if own is not None:
                incoming.add(own.copy())
        delta = self._merge(incoming)
        if is_source:
            self._absent.clear()
        self.own = top
        return delta

    def edits(self) -> NodeMap:
        """Return a copy of the own edits, which win over what the source has loaded meanwhile."""
        for key in tuple(self._unfounded):
            self.node(key)
        return self.own.copy()

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

    def release(self, keys: Iterable[str]) -> Iterator[Node]:
        """Give away the objects of these nodes; others of the same state take their places."""
        for key in keys:
            node = self._nodes.get(key)
            if node is not None:
                self.adopt(self._copied(node))
                yield node

    def adopt(self, node: Node) -> None:
        """Let `node` be the one with its key."""
        self._nodes[node.key] = node

    def _copied(self, node: Node) -> Node:
        copied = Node(node.key, self._graph)
        copied.entries = node.entries.copy()
        copied.made = node.made
        copied.gone = node.gone
        return copied

    def _merge(self, changes: NodeMap) -> Delta[NodeMap]:
        watchers = tuple(self.watchers)
        for key in changes.nodes:
            node = self.node(key)
            for watcher in watchers:
                watcher.remember(key, node)
        return merge_into(self._nodes, changes, self._made)

    def _made(self, key: str) -> Node:
        """Return a new node of this branch, of which the source may have an older state."""
        if key not in self._absent:
            self._unfounded.add(key)
        return Node(key, self._graph)

    def _found(self, key: str, theirs: Node) -> Node:
        """Put the state of the source below what was written here, which wins over it."""
        self._unfounded.discard(key)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = self._copied(theirs)
        else:
            merge_node(node, theirs)
            own = self.own.nodes.get(key)
            if own is not None:
                own = self.own.nodes[key] = rebased(NodeMap([own]), lambda _: theirs, self.clock)[
                    key
                ]
                merge_node(node, own)
        return node


class Branch(Graph):
    """A graph over another one: reads see the source as it was, writes stay here.

    Hooks, extensions and engines are those of the source; there is no storage and no network.
    What the source has in its storage but not in memory is loaded by the source when it is
    read here. `await source.commit(branch)` applies all edits at once. Made by `Graph.branch()`.
    """

    _is_branch = True

    def __init__(self, source: Graph) -> None:
        self._source = source
        self._overlay = BranchBacking(source._backing)
        self._setup(self._overlay, source._config.without_plugins())
        if source._storage is not None or (isinstance(source, Branch) and source._asks):
            self._asks = True
            self._is_write_plain = self._is_read_plain = self._is_field_plain = False

    def changes(self) -> NodeMap:
        """Return the edits made here and not committed to the source yet, as a detached copy."""
        return self._overlay.edits()

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
        self._announce(self._overlay.rebase(other._backing))
        return self

    async def close(self) -> None:
        """Let the source forget this branch at once, and not only when it is garbage."""
        self._source._backing.watchers.discard(self._overlay)
        await super().close()

    def _settling(self, committed: NodeMap, graph: Graph) -> Callable[[], None] | None:
        """Return what to do once `graph` has taken over what `changes` handed out.

        Only the source counts: edits that it has are not our own any more, and nodes that it
        did not have until now are its own from then on, for whoever holds them.
        """
        if graph is not self._source:
            return None
        made = [key for key in committed.nodes if graph._node(key) is None]

        def settle() -> None:
            self._overlay.settle(committed)
            for node in self._overlay.release(made):
                graph._adopt(node)

        return settle

    def _is_cached(self, key: str) -> bool:
        """Tell whether the source need not be asked for the node."""
        return self._overlay.is_settled(key) or self._source._is_cached(key)

    async def _prepare(self, changes: NodeMap) -> None:
        """Have the source load what is about to change here: every write is a patch."""
        unknown = tuple([key for key in changes.nodes if not self._is_cached(key)])
        if unknown and self._asks:
            await self._fetch(ReadNodes(unknown, None, None, None, False, {}))
            for key in unknown:
                if self._overlay.node(key) is None:
                    self._overlay.remember(key, None)

    async def _fetch(self, action: ReadNodes) -> None:
        """Load what a call names a storage for into this branch, all else into the source."""
        if action.storage is not None:
            await super()._fetch(action)
            return
        source = self._source
        absent = tuple([key for key in action.keys if not self._is_cached(key)])
        if absent:
            await source._fetch(
                replace(action, keys=absent, storage=source._storage, network=None, force=False)
            )
