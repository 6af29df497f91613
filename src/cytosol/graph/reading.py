"""The steps of a read: hooks, then storage and network for what is not in memory, then hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cytosol.errors import GraphError
from cytosol.graph.actions import ReadField, ReadNodes
from cytosol.graph.awaiting import Done, become_task, is_awaitable
from cytosol.graph.collection import NodeMap
from cytosol.graph.config import checked_network, checked_storage
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.hooks import run_hooks, turns_of_hook
from cytosol.graph.node import Node
from cytosol.graph.pointer import Pointer, checked_field, checked_key

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["fetch", "found_nodes", "read_fields_steps", "read_node_steps", "read_nodes_steps"]

Plugged = TypeVar("Plugged", ReadNodes, ReadField)


async def read_node_steps(graph: Graph, key: str, options: Mapping[str, Any]) -> Node | None:
    """Read one node."""
    nodes = await read_nodes_steps(graph, (key,), options)
    return nodes[0] if nodes else None


async def read_nodes_steps(
    graph: Graph, keys: tuple[str, ...], options: Mapping[str, Any]
) -> list[Node | None]:
    """Read nodes: the cached ones from memory, all others (or with `force` all) from plugins."""
    graph._check_open()
    storage, network, rest = graph._resolved(options)
    force = rest.pop("force", False)
    if type(force) is not bool:
        raise GraphError(f"`force` is True or False, not {force!r}")
    action = ReadNodes(keys, None, storage, network, force, rest)
    hooks = graph._config.hooks
    if hooks.before_nodes:
        action = await run_hooks(hooks.before_nodes, action, "before.read.nodes", _before_nodes)
    wanted = tuple(dict.fromkeys(action.keys))
    if not action.force:
        wanted = tuple([key for key in wanted if not graph._is_cached(key)])
    if wanted and (graph._asks or action.storage is not None):
        await graph._fetch(replace(action, keys=wanted))
    action = replace(action, nodes=tuple([graph.value(key) for key in action.keys]))
    if hooks.after_nodes:
        action = await run_hooks(hooks.after_nodes, action, "after.read.nodes", _after_nodes)
    return list(action.nodes or ())


async def read_fields_steps(
    graph: Graph, node: Node, fields: tuple[str, ...], options: Mapping[str, Any]
) -> list[Any]:
    """Read fields of one node; pointers are resolved by one read of all the nodes."""
    graph._check_open()
    storage, network, rest = graph._resolved(options)
    force = rest.pop("force", False)
    action = ReadField(node.key, fields, None, storage, network, force, rest)
    hooks = graph._config.hooks
    if hooks.before_field:
        action = await run_hooks(hooks.before_field, action, "before.read.field", _before_field)
    if action.force or not graph._is_cached(action.key):
        await graph._fetch(
            ReadNodes((action.key,), None, action.storage, action.network, True, action.options)
        )
    if action.key != node.key:
        node = graph.value(action.key) or Node(action.key)
    values = [node.value(field) for field in action.fields]
    pointers = dict.fromkeys([each.key for each in values if type(each) is Pointer])
    if pointers:
        passed = {**action.options, "storage": action.storage, "network": action.network}
        passed["force"] = action.force
        nodes = await read_nodes_steps(graph, tuple(pointers), passed)
        # A hook may have asked for other keys: it is the order that says what is whose.
        found = dict(zip(pointers, nodes, strict=False))
        values = [found.get(each.key) if type(each) is Pointer else each for each in values]
    action = replace(action, values=tuple(values))
    if hooks.after_field:
        action = await run_hooks(hooks.after_field, action, "after.read.field", _after_field)
    return list(action.values or ())


async def fetch(graph: Graph, action: ReadNodes) -> None:
    """Ask the action's storage, and the router, for its keys; merge into memory what they have.

    Raises what either of them raises, and then nothing is merged.
    """
    router = graph._router if action.network is not None else None
    stored, pulled = await _ask_both(
        None if action.storage is None else action.storage.read,
        None if router is None else router.pull,
        action,
    )
    keys = action.keys
    from_storage = found_nodes(stored, keys, "the storage's read()")
    from_network = found_nodes(pulled, keys, "the router's pull()")
    if not graph._storing.isdisjoint(keys):
        # It is in the storage and not in memory yet: loaded now, it would be no news any more
        # when the write comes to change memory; no event would tell it, no router push it.
        turns = turns_of_hook(graph) or graph._turns
        await turns.take()
        turns.give_back()
    clock = graph.clock
    clock.raise_to(from_storage.latest().index)
    clock.observe(from_network.latest())
    graph._load(from_storage)
    graph._load(from_network, is_news=True)
    if action.storage is graph._storage and graph._loaded is not None:
        graph._loaded.update([key for key in keys if graph._node(key) is not None])


Ask = Callable[[ReadNodes], Any]


async def _ask_both(storage: Ask | None, router: Ask | None, action: ReadNodes) -> list[Any]:
    """Ask both at once; wait for both even if one fails, so that nothing is left running."""
    answers: list[Any] = [None if ask is None else _asked(ask, action) for ask in (storage, router)]
    if not any(map(is_awaitable, answers)):
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers
    await become_task()
    results = await asyncio.gather(*map(_answer, answers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _asked(ask: Ask, action: ReadNodes) -> Any:
    try:
        answer = ask(action)
    except Exception as error:
        return error
    return answer.value if type(answer) is Done else answer


async def _answer(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return await answer if is_awaitable(answer) else answer


def found_nodes(found: Any, keys: Sequence[str], who: str) -> NodeMap:
    """Return the nodes that a plugin found, as copies, without those it was not asked for.

    A plugin returns any number of nodes or node JSON in any order, None where it has none.
    Raises GraphError for everything else.
    """
    result = NodeMap()
    if found is None:
        return result
    if isinstance(found, NodeMap):
        found = found.nodes.values()
    if isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        raise GraphError(
            f"{who} must return a list of nodes, node JSON or None, not {type(found).__name__}"
        )
    asked = frozenset(keys)
    for item in found:
        if item is None:
            continue
        node = item.copy() if isinstance(item, Node) else Node.from_json(item, f"{who}: a node")
        if node.key in asked:
            result.add(node)
    return result


# --- What hooks have returned -------------------------------------------------------------


def _before_nodes(action: ReadNodes) -> ReadNodes:
    keys = [checked_key(key) for key in _listed(action.keys, "keys", "before")]
    return replace(_with_plugins(action), keys=tuple(keys))


def _before_field(action: ReadField) -> ReadField:
    fields = [checked_field(field) for field in _listed(action.fields, "fields", "before")]
    return replace(_with_plugins(action), key=checked_key(action.key), fields=tuple(fields))


def _after_nodes(action: ReadNodes) -> ReadNodes:
    return replace(action, nodes=_listed(action.nodes, "nodes", "after"))


def _after_field(action: ReadField) -> ReadField:
    return replace(action, values=_listed(action.values, "values", "after"))


def _with_plugins(action: Plugged) -> Plugged:
    """Check the storage and the network that a hook may have put in."""
    checked_storage(action.storage)
    if action.network is None or type(action.network) is ConnectionGroup:
        return action
    return replace(action, network=checked_network(action.network))


def _listed(results: Any, name: str, when: str) -> tuple[Any, ...]:
    if isinstance(results, (str, Mapping)) or not isinstance(results, Iterable):
        raise GraphError(
            f"a hook {when} a read must leave a list in `{name}`, not {type(results).__name__}"
        )
    return tuple(results)
