"""The steps of a write: hooks, storage, memory, events, router, hooks.

One at a time, in the order in which they were called, up to the change in memory. All is
computed on copies first: whatever fails before or in the storage leaves memory as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cytosol.graph.actions import ReadNodes, Write
from cytosol.graph.awaiting import outcome
from cytosol.graph.clock import ZERO
from cytosol.graph.collection import NodeMap, merge_into
from cytosol.graph.config import checked_network, checked_storage
from cytosol.graph.connection import report
from cytosol.graph.hooks import run_hooks, turns_of_hook
from cytosol.graph.node import Delta, Node, Restamp, merge_node
from cytosol.graph.patches import stamped_changes
from cytosol.graph.reading import found_nodes

if TYPE_CHECKING:
    from cytosol.graph.branch import Branch
    from cytosol.graph.graph import Graph

__all__ = ["commit_branch_steps", "commit_steps", "push_steps", "write_steps"]


async def write_steps(
    graph: Graph, key: str | None, changes: NodeMap, options: Mapping[str, Any], since: int
) -> Node | None:
    """Write one node; return it as it is then, None where no `key` is given."""
    action = await commit_steps(graph, changes, options, since)
    if key is None:
        return None
    node = graph._node(key)
    if (node is None or not node.exists) and len(action.update) == 1:
        node = graph._node(next(iter(action.update.keys())))  # a hook has given it another key
    return node


async def commit_branch_steps(
    graph: Graph, branch: Branch, options: Mapping[str, Any], since: int
) -> Write:
    """Commit a branch with what was written to it before the call and is still under way."""
    await branch._turns.take()
    try:
        changes = branch.changes()
    finally:
        branch._turns.give_back()
    return await commit_steps(graph, changes, options, since, branch)


async def push_steps(graph: Graph, delta: Delta[NodeMap]) -> None:
    """Have the router send what has changed past the graph."""
    live = graph._live(delta.update.nodes)
    action = Write(delta.update, live, delta.history, None, graph.network, {})
    await outcome(graph._router.push(action))


async def commit_steps(
    graph: Graph,
    changes: NodeMap,
    options: Mapping[str, Any],
    since: int,
    branch: Branch | None = None,
) -> Write:
    """Write `changes`, which are those of a `branch` if one is given; return what happened.

    `since` is the clock before the call: our assignments above it were made by this call and
    win over all that is there when their turn comes. What a branch wrote wins only over what
    lies in the storage and nobody knew; for all else there is `rebase`.
    """
    graph._check_open()
    storage, network, rest = graph._resolved(options)
    action = Write(changes, None, None, storage, network, rest)
    handed = changes
    turns = turns_of_hook(graph) or graph._turns
    await turns.take()
    try:
        action, changes = await _before(graph, action, changes)
        loaded = NodeMap()
        if action.storage is not None:
            loaded = await _load_touched(graph, action, changes)
            graph.clock.raise_to(loaded.latest().index)
        else:
            await graph._prepare(changes)
        changes = _on_top(graph, changes, loaded, since, of_branch=branch is not None)
        graph.clock.observe(changes.latest())
        if action.storage is not None and changes.nodes:
            action = await _store(graph, action, loaded, changes)
        settle = None if branch is None else branch._settling(handed, graph)
        if loaded.nodes:
            graph._load(loaded)
        if graph._loaded is not None and action.storage is graph._storage:
            graph._loaded.update(changes.nodes)
        delta = graph._take_over(changes, settle)
    finally:
        graph._storing = frozenset()
        turns.give_back()
    if action.graph is None:
        action = replace(action, graph=graph._live(changes.nodes))
    action = replace(action, update=delta.update, history=delta.history)
    router = graph._router
    if router is not None and action.network is not None and delta.update.nodes:
        await outcome(router.push(action))
    hooks = graph._config.hooks.after_write
    return await run_hooks(hooks, action, "after.write", _as_it_is) if hooks else action


def _as_it_is(action: Write) -> Write:
    return action


async def _before(graph: Graph, action: Write, changes: NodeMap) -> tuple[Write, NodeMap]:
    """Let the hooks say what shall happen."""
    hooks = graph._config.hooks.before_write
    if not hooks:
        return action, changes

    def checked(action: Write) -> Write:
        checked_storage(action.storage)
        network = action.network
        if network is not None:
            network = checked_network(network)
        update = stamped_changes(action.update, graph.clock, graph._node)
        full, _ = _merged_copies(graph, NodeMap(), update)
        return replace(action, update=update, graph=full, network=network)

    action = await run_hooks(hooks, checked(action), "before.write", checked, graph)
    update = action.update
    assert isinstance(update, NodeMap)
    return replace(action, graph=None, history=None), update


async def _load_touched(graph: Graph, action: Write, changes: NodeMap) -> NodeMap:
    """Return what the storage has of nodes that are about to change: every write is a patch."""
    keys = tuple(changes.nodes)
    if action.storage is graph._storage and graph._loaded is not None:
        keys = tuple([key for key in keys if key not in graph._loaded])
    if not keys:
        return NodeMap()
    read = ReadNodes(keys, None, action.storage, action.network, False, action.options)
    return found_nodes(await outcome(action.storage.read(read)), keys, "the storage's read()")


def _on_top(
    graph: Graph, changes: NodeMap, loaded: NodeMap, since: int, *, of_branch: bool
) -> NodeMap:
    """Give a new id to those of our own assignments that would lose to what they never saw."""
    author = graph.clock.author
    floor = 0 if of_branch else since
    restamp = Restamp(graph.clock)
    result = changes
    for key, node in changes.nodes.items():
        latest = node.latest()
        if latest[1] != author or latest[0] <= floor:
            continue
        present = loaded.nodes.get(key)
        here = None if of_branch else graph._node(key)
        if present is None:
            present = here
        elif here is not None:
            present = present.copy()
            merge_node(present, here)
        if present is None or present.latest() < min(_ids(node)):
            continue
        if result is changes:
            result = NodeMap()
            result.nodes = dict(changes.nodes)
        result.nodes[key] = node._on_top(present, restamp)
    return result


def _ids(node: Node) -> list[Any]:
    ids = [entry[1] for entry in node.entries.values()]
    ids += [each for each in (node.made, node.gone) if each is not ZERO]
    return ids or [ZERO]


def _merged_copies(
    graph: Graph, loaded: NodeMap, changes: NodeMap
) -> tuple[NodeMap, Delta[NodeMap]]:
    """Return the touched nodes as they will be, as copies, and what changes in them."""
    full = NodeMap()
    for key in changes.nodes:
        here = graph._node(key)
        copied = Node(key) if here is None else here.copy()
        full.nodes[key] = copied
    merge_into(full.nodes, loaded, Node)
    return full, merge_into(full.nodes, changes, Node)


async def _store(graph: Graph, action: Write, loaded: NodeMap, changes: NodeMap) -> Write:
    """Make the changes durable; return the action that says so."""
    full, delta = _merged_copies(graph, loaded, changes)
    action = replace(action, graph=full, update=delta.update, history=delta.history)
    prepare = getattr(graph._router, "prepare", None)
    if prepare is not None and action.network is not None and delta.update.nodes:
        await outcome(prepare(action))  # what it must note, it notes before the data is there
    storage = action.storage
    graph._storing = frozenset(full.nodes)
    await outcome(storage.write(action))
    gone = NodeMap()
    gone.nodes = {key: node for key, node in full.nodes.items() if not node.exists}
    if gone.nodes and hasattr(storage, "remove"):
        try:
            await outcome(storage.remove(replace(action, graph=gone)))
        except Exception as error:  # what is stored cannot be undone; this only tidies up
            report(error, "a storage could not remove what was deleted; the deletion stands")
    return action
