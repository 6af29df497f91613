"""The merge rule of nodes, as plain as possible, written from the spec (graph, One clock).

A state is the set of all assignments ever made; merging is the union of sets. What a field shows
is the assignment with the greatest id, unless the node was deleted under a greater one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from cytosol.graph import Node, NodeMap, Pointer
from cytosol.graph.pointer import DELETED
from cytosol.model.ids import OpId

AUTHORS = (b"a" * 16, b"b" * 16, b"c" * 16)
FIELDS = ("x", "y", "__proto__", "")
KEYS = ("k", "toString", "__proto__", "ключ")


class Assignment(NamedTuple):
    """One write: of a field, or of the node itself (`kind` "made" or "gone")."""

    key: str
    kind: str  # "field", "made", "gone"
    name: str
    value: Any  # DELETED for the deletion of a field
    id: OpId


@dataclass
class OracleGraph:
    """All assignments ever made."""

    assignments: set[Assignment] = field(default_factory=set)

    def merge(self, other: OracleGraph) -> OracleGraph:
        return OracleGraph(self.assignments | other.assignments)

    def _of(self, key: str, kind: str) -> list[Assignment]:
        return [a for a in self.assignments if a.key == key and a.kind == kind]

    def _gone(self, key: str) -> OpId:
        return max((a.id for a in self._of(key, "gone")), default=OpId(0, b""))

    def node(self, key: str) -> dict[str, Any]:
        """Return the fields that are there, with their values."""
        last: dict[str, Assignment] = {}
        for each in sorted(self._of(key, "field"), key=lambda a: a.id):
            last[each.name] = each
        return {
            name: a.value
            for name, a in last.items()
            if a.value is not DELETED and a.id > self._gone(key)
        }

    def exists(self, key: str) -> bool:
        made = any(a.id > self._gone(key) for a in self._of(key, "made"))
        return made or bool(self.node(key))

    def snapshot(self) -> dict[str, dict[str, Any]]:
        keys = {a.key for a in self.assignments}
        return {key: self.node(key) for key in keys if self.exists(key)}


def node_of(assignment: Assignment) -> Node:
    """Return the node that carries just this assignment."""
    node = Node(assignment.key)
    if assignment.kind == "made":
        node.made = assignment.id
    elif assignment.kind == "gone":
        node.gone = assignment.id
    else:
        node.entries[assignment.name] = (assignment.value, assignment.id)
    return node


def graph_of(assignments: Any) -> NodeMap:
    """Return a change set, merged from one assignment after the other."""
    graph = NodeMap()
    for assignment in assignments:
        graph.merge(NodeMap([node_of(assignment)]))
    return graph


def values_of(graph: NodeMap) -> dict[str, dict[str, Any]]:
    """Return what the nodes show, pointers as they are, to compare with the oracle."""
    return {key: dict(iter(node)) for key, node in graph if node.exists}


def _assignment(draw: Any) -> Assignment:
    index = draw(st.integers(1, 8))
    author = draw(st.sampled_from(AUTHORS))
    kind = draw(st.sampled_from(["field", "field", "field", "made", "gone"]))
    name = draw(st.sampled_from(FIELDS)) if kind == "field" else ""
    key = draw(st.sampled_from(KEYS))
    if kind == "gone":
        author = bytes([author[0] + 3]) * 16  # a deletion is a write of its own, with its own id
    # What one id assigns to one field is one value: everything else follows from the id.
    value: Any = None
    if kind == "field":
        choices = (DELETED, Pointer(key), f"{name}{index}{author[:1]!r}", None, index)
        value = choices[(index + author[0] + len(name)) % len(choices)]
    return Assignment(key, kind, name, value, OpId(index, author))


assignments = st.composite(_assignment)
histories = st.lists(assignments(), max_size=25)
"""Assignments in any order, as they may arrive."""
