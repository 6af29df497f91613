"""What a node does through the graph whose member it is: read, write and delete its fields."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cytosol.errors import GraphError
from cytosol.graph.awaiting import Done, begin
from cytosol.graph.node import Node
from cytosol.graph.pointer import Pointer, checked_field
from cytosol.graph.reading import read_fields_steps

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["delete_field", "read_field", "read_fields", "write_field"]

Options = Mapping[str, Any]


def read_field(graph: Graph, node: Node, field: str, options: Options) -> Awaitable[Any]:
    """Return the value of one field, read as a node if it is a pointer; None if it is missing."""
    loaded = graph._loaded
    if not options and graph._is_field_plain and (loaded is None or node.key in loaded):
        value = node.value(checked_field(field))
        if type(value) is not Pointer:
            return Done(value)
        return graph.read(value.key)
    return begin(
        _first(read_fields_steps(graph, node, (checked_field(field),), options)), graph._running
    )


async def _first(steps: Any) -> Any:
    values = await steps
    return values[0] if values else None


def read_fields(
    graph: Graph, node: Node, fields: Iterable[str], options: Options
) -> Awaitable[list[Any]]:
    """Return the values of several fields in their order; pointers are read together."""
    if isinstance(fields, str) or not isinstance(fields, Iterable):
        raise GraphError(
            f"fields() takes a list of names, not {fields!r}; for one field use read()"
        )
    names = tuple([checked_field(field) for field in fields])
    return begin(read_fields_steps(graph, node, names, options), graph._running)


def write_field(
    graph: Graph, node: Node, field: str, value: Any, options: Options
) -> Awaitable[Node | None]:
    """Assign one field."""
    return graph.write(node.key, {field: value}, **options)


def delete_field(graph: Graph, node: Node, field: str, options: Options) -> Awaitable[Node | None]:
    """Delete one field."""
    return graph._delete_field(node.key, checked_field(field), options)
