"""Two connections in one process that are each other's other side, for tests and examples."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from cytosol.graph.transports.link import Link
from cytosol.graph.transports.linked import Attachment, LinkedConnection

__all__ = ["MemoryConnection", "pair"]

FRAMES_AT_ONCE: Final = 100  # then the event loop has its turn: two that always answer each other


def pair(id_a: str = "a", id_b: str = "b") -> tuple[MemoryConnection, MemoryConnection]:
    """Return two connections, online; what one sends comes out of the other's `messages`.

    Messages are copied through JSON, as over a network, and come in the next turn of the event
    loop; where none runs, before `send` returns.
    """
    wire = _Wire()
    first = MemoryConnection(id_a, Link(secrets.token_hex(16)), wire)
    second = MemoryConnection(id_b, Link(secrets.token_hex(16)), wire)
    wire.sides = (first, second)
    wire.connect()
    return first, second


class MemoryConnection(LinkedConnection):
    """One side of a `pair`."""

    def __init__(self, connection_id: str, link: Link, wire: _Wire) -> None:
        super().__init__(connection_id, "memory", link)
        self._wire = wire

    def disconnect(self) -> None:
        """Cut both sides off; what they send from now on waits."""
        self._wire.disconnect()

    def reconnect(self) -> None:
        """Join both sides again; does nothing if they are joined."""
        self._wire.connect()


class _Wire:
    """What carries the frames of both sides, a few in each turn of the event loop."""

    def __init__(self) -> None:
        self.sides: tuple[LinkedConnection, ...] = ()
        self._ends: tuple[Attachment, ...] = ()
        self._is_due = False

    def connect(self) -> None:
        if not self._ends and all(side.link.ended is None for side in self.sides):
            self._is_due = True  # not before both are attached
            self._ends = tuple(side.attach(self._wake, self._drop) for side in self.sides)
            self._is_due = False
            self._wake()

    def disconnect(self) -> None:
        ends, self._ends = self._ends, ()
        for end in ends:
            end.lost()

    def _drop(self, reason: str) -> None:
        self.disconnect()

    def _wake(self) -> None:
        if self._is_due:
            return
        self._is_due = True
        try:
            asyncio.get_running_loop().call_soon(self._carry, FRAMES_AT_ONCE)
        except RuntimeError:
            self._carry(None)

    def _carry(self, count_max: int | None) -> None:
        """Carry frames until there are none, or so many; each side has its turn."""
        carried = 0
        is_quiet = False
        while not is_quiet and carried != count_max:
            is_quiet = True
            for here, there in zip(self._ends, self._ends[::-1], strict=True):
                frame = here.next_frame()
                if frame is not None:
                    is_quiet = False
                    there.receive(frame)
            carried += 1
        self._is_due = False
        if not is_quiet:
            self._wake()
