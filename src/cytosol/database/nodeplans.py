"""What changes of nodes mean for a document: assignments by path, one for each id.

A write makes sure of the objects that it needs, then sets the fields. A deletion leaves a mark
beside the graph, which keeps its id; the document itself remembers no date of what is gone. The
mark of a field also tells when the node was made, because making sure of the node changes that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cytosol.crdt.actions import DataAction, Delete, InitObject, Set
from cytosol.crdt.replica import Replica
from cytosol.document.assigning import Assignment, is_next
from cytosol.graph.clock import ZERO
from cytosol.graph.collection import NodeMap
from cytosol.graph.node import Node
from cytosol.graph.pointer import DELETED, value_to_json
from cytosol.model.ids import OpId, format_id
from cytosol.model.json import JsonValue

__all__ = ["NodePlans"]


class _Plan:
    """What is written under one id."""

    __slots__ = ("marks", "nodes", "removals")

    def __init__(self) -> None:
        self.nodes: dict[str, list[DataAction]] = {}
        self.marks: dict[str, list[DataAction]] = {}
        self.removals: list[DataAction] = []


class NodePlans:
    """Turns changes of nodes into assignments; `nodes` and `marks` are the keys on the way.

    Call with the document's lock held.
    """

    def __init__(self, replica: Replica, nodes: tuple[str, ...], marks: tuple[str, ...]) -> None:
        self._replica = replica
        self._nodes = nodes
        self._marks = marks
        self._node_path = _path(nodes)
        self._mark_path = _path(marks)
        self._plans: dict[OpId, _Plan] = {}

    def assignments(self, changes: NodeMap, present: Mapping[str, Node]) -> list[Assignment]:
        """Return what brings all that is news to the `present` nodes into the document."""
        for key, change in changes.nodes.items():
            self._plan_node(change, present.get(key) or Node(key))
        result: list[Assignment] = []
        for ident, plan in self._plans.items():
            actions: list[DataAction] = []
            if plan.nodes:
                actions += _inits(self._nodes)
                for key, own in plan.nodes.items():
                    actions.append(InitObject(self._node_path + _step(key)))
                    actions += own
            is_own = is_next(self._replica, ident)
            if is_own and plan.removals:
                actions += [*_inits(self._nodes), *plan.removals]
            if plan.marks:
                actions += _inits(self._marks)
                for key, own in plan.marks.items():
                    actions.append(InitObject(self._mark_path + _step(key)))
                    actions += own
            result.append(Assignment(ident, actions))
            if not is_own:
                # Somebody may write below at the same time: then this stands, and the mark counts.
                result += [Assignment(ident, [removal]) for removal in plan.removals]
        return result

    def _plan(self, ident: OpId) -> _Plan:
        plan = self._plans.get(ident)
        if plan is None:
            plan = self._plans[ident] = _Plan()
        return plan

    def _plan_node(self, change: Node, here: Node) -> None:
        gone = here.gone
        if change.gone > gone:
            gone = change.gone
            self._plan_removal(change.key, gone, here)
        path = self._node_path + _step(change.key)
        for field, (value, ident) in change.entries.items():
            old = here.entries.get(field)
            if ident <= gone or (old is not None and old[1] >= ident):
                continue
            plan = self._plan(ident)
            if value is not DELETED:
                own = plan.nodes.setdefault(change.key, [])
                own.append(Set(path + _step(field), value_to_json(value)))
                continue
            if field in here:
                plan.nodes.setdefault(change.key, []).append(Delete(path + _step(field)))
            made: JsonValue = True
            if here.made is not ZERO:  # the document will no longer tell
                made = [here.made.index, format_id(here.made.author)]
            self._mark_field(plan, change.key, field, made)
        if change.made > max(gone, here.made):
            self._plan(change.made).nodes.setdefault(change.key, [])

    def _plan_removal(self, key: str, ident: OpId, here: Node) -> None:
        plan = self._plan(ident)
        path = self._node_path + _step(key)
        mark = self._mark_path + _step(key)
        plan.marks.setdefault(key, []).append(Set(mark + _step("node"), True))
        if here.made is ZERO:
            return  # it is not in the document
        if here.latest() <= ident:
            plan.removals.append(Delete(path))
            return
        for field, entry in here.entries.items():
            if entry[1] <= ident and entry[0] is not DELETED:
                plan.removals.append(Delete(path + _step(field)))

    def _mark_field(self, plan: _Plan, key: str, field: str, made: JsonValue) -> None:
        fields = self._mark_path + _step(key) + _step("fields")
        own = plan.marks.setdefault(key, [])
        if not any(action.path == fields for action in own):
            own.append(InitObject(fields))
        own.append(Set(fields + _step(field), made))


def _step(key: str) -> str:
    return f"[{json.dumps(key, ensure_ascii=False)}]"


def _path(keys: Iterable[str]) -> str:
    return "$" + "".join(map(_step, keys))


def _inits(keys: tuple[str, ...]) -> list[DataAction]:
    return [InitObject(_path(keys[:end])) for end in range(1, len(keys) + 1)]
