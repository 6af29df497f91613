"""Patches: plain values on their way into a graph, checked once and given their id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cytosol.errors import GraphError
from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.node import Node
from cytosol.graph.pointer import Value, checked_field, checked_key, checked_value
from cytosol.model.ids import OpId

__all__ = ["checked_patch", "patch_node", "stamped_changes"]

_SMALL = 2**53


def checked_patch(patch: Any) -> dict[str, Value]:
    """Return `{field: value}` as a node stores it. Raises GraphError that names the field."""
    if type(patch) is not dict and not isinstance(patch, Mapping):
        raise GraphError(
            f"a patch must be a mapping from fields to values, not {type(patch).__name__}"
        )
    values = {}
    for field, value in patch.items():
        name = checked_field(field)
        kind = type(value)
        # The commonest values first: naming the field for an error costs more than checking.
        if (
            (kind is str and value.isascii())
            or (kind is int and -_SMALL < value < _SMALL)
            or value is None
            or kind is bool
        ):
            values[name] = value
        else:
            values[name] = checked_value(value, f"the field {name!r}")
    return values


def patch_node(key: str, values: Mapping[str, Value], stamp: OpId, here: Node | None) -> Node:
    """Return the change that assigns `values` to the node that is `here`, creating it if absent."""
    change = Node(key)
    change.entries = {field: (value, stamp) for field, value in values.items()}
    if here is None or here.made is ZERO:
        change.made = stamp
    return change


def stamped_changes(changes: Any, clock: Clock, present: Callable[[str], Node | None]) -> NodeMap:
    """Return what `commit` was given as nodes; plain values get one id of `clock`.

    Raises GraphError, before an id is taken for anything that cannot be written.
    """
    if not isinstance(changes, Mapping):
        return NodeMap.of(changes).stamped(clock)
    patches: dict[str, Any] = {}
    for key, item in changes.items():
        checked_key(key)
        if not isinstance(item, Node):
            item = checked_patch(item)
        elif item.key != key:
            raise GraphError(f"the node {item.key!r} stands under the key {key!r}")
        patches[key] = item
    result = NodeMap()
    stamp: OpId | None = None
    has_nodes = False
    for key, item in patches.items():
        if isinstance(item, Node):
            has_nodes = True
            result.nodes[key] = item
            continue
        if stamp is None:
            stamp = clock.next()
        result.nodes[key] = patch_node(key, item, stamp, present(key))
    return result.stamped(clock) if has_nodes else result
