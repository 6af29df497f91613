"""Telling the listeners of a graph and of its nodes what has changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import report
from cytosol.graph.events import Listeners
from cytosol.graph.node import Delta, Node

__all__ = ["Announcer"]


class Announcer:
    """Call it with each change; everybody hears of all changes, in one order.

    `node` finds the member with a key, `listeners` are those of the whole graph.
    """

    __slots__ = ("_is_busy", "_listeners", "_node", "_waiting")

    def __init__(self, node: Callable[[str], Node | None], listeners: Listeners) -> None:
        self._node = node
        self._listeners = listeners
        self._waiting: deque[Delta[NodeMap]] = deque()
        self._is_busy = False

    def __call__(self, delta: Delta[NodeMap]) -> None:
        """Tell a change; what callbacks raise is reported, the change stands."""
        if not delta.update.nodes:
            return
        self._waiting.append(delta)
        if self._is_busy:  # a callback has written: everybody hears of it afterwards
            return
        self._is_busy = True
        try:
            while self._waiting:
                self._tell(self._waiting.popleft())
        finally:
            self._is_busy = False

    def _tell(self, delta: Delta[NodeMap]) -> None:
        errors: list[Exception] = []
        histories = delta.history.nodes
        for key, update in delta.update.nodes.items():
            node = self._node(key)
            if node is not None and node._listeners is not None:
                if key in histories:
                    errors += node._emit("history", histories[key])
                errors += node._emit("update", update)
        if self._listeners:
            if histories:
                errors += self._listeners.emit("history", delta.history)
            errors += self._listeners.emit("update", delta.update)
        for error in errors:
            report(error, "a callback of a graph raised; the change itself stands")
