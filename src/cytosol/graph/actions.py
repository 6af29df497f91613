"""What hooks, storages and routers are told: one frozen value for each read and write.

Use `dataclasses.replace(action, ...)` to make another one. `storage` and `network` are what this
call uses, None for none; `options` are the caller's options that Cytosol does not know itself.
Seed: Hooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.node import Node

__all__ = ["ReadField", "ReadNodes", "Write"]


@dataclass(frozen=True, slots=True)
class Write:
    """One write or commit.

    `update` holds the changes. Before the write it is what shall change, afterwards what has
    changed. `graph` holds the touched nodes as they will be; a hook before the write sees in it
    what is known until then, without what lies in the storage only. `history` holds what was
    overwritten, None before the write.

    A hook before the write may return another `update`: a NodeMap, or a plain
    `{key: {field: value}}` that gets this write's id.
    """

    update: NodeMap | Mapping[str, Any]
    graph: NodeMap | None
    history: NodeMap | None
    storage: Any
    network: ConnectionGroup | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadNodes:
    """One read of the nodes `keys`.

    `nodes` are the results in the order of the keys, None before they are read. A storage or a
    router gets the keys that it shall look for.
    """

    keys: Sequence[str]
    nodes: Sequence[Node | None] | None
    storage: Any
    network: ConnectionGroup | None
    force: bool
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadField:
    """One read of the `fields` of the node `key`; `values` are the results, None before."""

    key: str
    fields: Sequence[str]
    values: Sequence[Any] | None
    storage: Any
    network: ConnectionGroup | None
    force: bool
    options: Mapping[str, Any]
