"""Nodes by their keys: a change set, a delta, or the members of a graph.

What holds for one node holds for all: merging takes the greater id field by field, and is all
or nothing over the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping
from typing import TYPE_CHECKING, Any

from cytosol.errors import GraphError
from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.node import (
    UNSTAMPED,
    Delta,
    Entry,
    Node,
    Restamp,
    blank_node,
    check_room,
    merge_fields,
    merge_node,
)
from cytosol.graph.pointer import checked_key
from cytosol.limits import NODE_FIELDS_MAX
from cytosol.model.ids import OpId

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["NodeMap", "merge_into", "rebased"]


class NodeMap:
    """A detached set of nodes, each under its own key: what `commit` takes and events carry."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes: dict[str, Node] = {}
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> Node:
        """Put a node into the set, merging it if its key is there; return the one in the set."""
        present = self.nodes.setdefault(node.key, node)
        if present is not node:
            merge_node(present, node)
        return present

    def node(self, key: str) -> Node:
        """Return the node `key`, a blank one put into the set if there was none."""
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = Node(key)
        return node

    def value(self, key: str) -> Node | None:
        """Return the node `key`, or None."""
        return self.nodes.get(key)

    def __getitem__(self, key: str) -> Node:
        return self.nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        """Yield (key, node) in the order in which the nodes came."""
        return iter(list(self.nodes.items()))

    def __repr__(self) -> str:
        return f"<NodeMap {list(self.nodes)!r}>"

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self.nodes.keys()

    def items(self) -> ItemsView[str, Node]:
        """Return the pairs of key and node."""
        return self.nodes.items()

    def new(self) -> NodeMap:
        """Return an empty set."""
        return NodeMap()

    def copy(self) -> NodeMap:
        """Return a set of copies, which share the immutable entries."""
        copied = NodeMap()
        copied.nodes = {key: node.copy() for key, node in self.nodes.items()}
        return copied

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return {key: {field: value}} of the nodes that exist, pointers as `{"edge": key}`."""
        return {key: node.snapshot() for key, node in self.nodes.items() if node.exists}

    def overlap(self, other: NodeMap) -> NodeMap:
        """Return the nodes that both have, with the common fields and the values of this set."""
        common = NodeMap()
        for key, node in self.nodes.items():
            theirs = other.nodes.get(key)
            if theirs is not None:
                common.nodes[key] = node.overlap(theirs)
        return common

    def latest(self) -> OpId:
        """Return the greatest id in the set, ZERO if there is none."""
        return max(map(Node.latest, self.nodes.values()), default=ZERO)

    def merge(self, other: NodeMap | Mapping[str, Any]) -> Delta[NodeMap]:
        """Merge nodes, or {key: node or plain values}, into this set; all or nothing."""
        return merge_into(self.nodes, NodeMap.of(other, self.nodes.get), Node)

    @staticmethod
    def of(
        changes: NodeMap | Node | Mapping[str, Any],
        present: Callable[[str], Node | None] = lambda key: None,
    ) -> NodeMap:
        """Return `changes` as a set; plain values become assignments that win over `present`.

        Raises GraphError for anything else, and for a node under another key than its own.
        """
        if isinstance(changes, NodeMap):
            return changes
        if isinstance(changes, Node):
            return NodeMap([changes])
        if not isinstance(changes, Mapping):
            raise GraphError(
                f"changes must be nodes by their keys, not {type(changes).__name__}; "
                "pass a NodeMap, a Node, a branch, or {key: {field: value}}"
            )
        result = NodeMap()
        for key, item in changes.items():
            checked_key(key)
            if not isinstance(item, Node):
                item = (present(key) or Node(key))._patch(item)
            elif item.key != key:
                raise GraphError(f"the node {item.key!r} stands under the key {key!r}")
            result.nodes[key] = item
        return result

    def stamped(self, clock: Clock) -> NodeMap:
        """Return this set with an id of `clock` for each plain value that has none yet."""
        if not any(map(_is_unstamped, self.nodes.values())):
            return self
        stamp = clock.next()
        result = NodeMap()
        for key, node in self.nodes.items():
            result.nodes[key] = _stamped(node, stamp) if _is_unstamped(node) else node
        return result

    def rebase(self, target: NodeMap | Graph, clock: Clock | None = None) -> NodeMap:
        """Return the assignments of this set with ids that win over those of `target`.

        `target` is a graph, or a NodeMap and then with a `clock`. Committing the result puts
        them on top; for the `history` of an update that restores what the update overwrote.
        Ids that win already are kept, and nothing of `target` is in the result.
        """
        if isinstance(target, NodeMap):
            if clock is None:
                raise GraphError("rebase on a graph, or pass the clock that gives the new ids")
            return rebased(self, target.nodes.get, clock)
        return rebased(self, target._node, clock or target.clock)

    def to_json(self) -> dict[str, Any]:
        """Return {key: state of the node}, as `Node.to_json` writes it."""
        return {key: node.to_json() for key, node in self.nodes.items()}

    @staticmethod
    def from_json(state: Any, where: str = "the graph") -> NodeMap:
        """Return the set that `to_json` wrote. Raises GraphError for all else."""
        if not isinstance(state, dict):
            raise GraphError(f"{where} must be an object of nodes, not {type(state).__name__}")
        result = NodeMap()
        for key, item in state.items():
            node = Node.from_json(item, f"{where}, the node")
            if node.key != key:
                raise GraphError(f"{where} has the node {node.key[:80]!r} under another key")
            result.nodes[key] = node
        return result


def rebased(changes: NodeMap, present: Callable[[str], Node | None], clock: Clock) -> NodeMap:
    """Return `changes` with ids that win over what is `present`, deletions included."""
    there = {key: present(key) for key in changes.nodes}
    for node in there.values():
        if node is not None:
            clock.raise_to(node.latest().index)
    restamp = Restamp(clock)
    result = NodeMap()
    for key, node in changes.nodes.items():
        result.nodes[key] = node._on_top(there[key], restamp)
    return result


def merge_into(
    target: dict[str, Node], changes: NodeMap, make: Callable[[str], Node]
) -> Delta[NodeMap]:
    """Merge `changes` into the nodes of `target`, making absent ones with `make(key)`.

    The deltas hold only nodes that changed. Raises GraphError, and changes nothing, if a node
    would have too many fields.
    """
    pairs = [(target.get(key), incoming) for key, incoming in changes.nodes.items()]
    for node, incoming in pairs:
        present = 0 if node is None else len(node.entries)
        if present + len(incoming.entries) > NODE_FIELDS_MAX:
            check_room(node or Node(incoming.key), incoming)
    delta = Delta(NodeMap(), NodeMap())
    updates, histories = delta.update.nodes, delta.history.nodes
    for key, (node, incoming) in zip(changes.nodes, pairs, strict=True):
        if node is None:
            if incoming.is_blank:
                continue
            node = target[key] = make(key)
            if incoming.gone is ZERO:  # nothing to compare with: all of it is news
                node.entries = incoming.entries.copy()
                update = updates[key] = incoming.copy()
                node.made = update.made
                continue
        if incoming.gone is not ZERO:
            update, history = merge_node(node, incoming)
            if not update.is_blank:
                updates[key] = update
            if not history.is_blank:
                histories[key] = history
            continue
        # As merge_node, without making deltas that nobody needs: this is the path of commits.
        new, past = merge_fields(node, incoming)
        made = incoming.made
        is_made = node.made < made > node.gone
        if is_made:
            node.made = made
        if new or is_made:
            update = updates[key] = blank_node(key)
            update.entries = new
            if is_made:
                update.made = made
        if past:
            histories[key] = history = blank_node(key)
            history.entries = past
    return delta


def _is_unstamped(node: Node) -> bool:
    last = node.made
    if last[1] == UNSTAMPED and last is not ZERO:
        return True
    for _, stamp in node.entries.values():
        if stamp is not last:  # the fields of one write share their id
            if stamp[1] == UNSTAMPED:
                return True
            last = stamp
    return False


def _stamped(node: Node, stamp: OpId) -> Node:
    result = node.copy()
    entries: dict[str, Entry] = result.entries
    for field, (value, old) in node.entries.items():
        if old[1] == UNSTAMPED:
            entries[field] = (value, stamp)
    if node.made is not ZERO and node.made[1] == UNSTAMPED:
        result.made = stamp
    return result
