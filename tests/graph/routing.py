"""What the tests of the router share: a timer by hand, graphs that are joined, and patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.transports.memory import MemoryConnection, pair


class Timer:
    """A timer whose time passes when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Ringing] = []

    def __call__(self, seconds: float, callback: Callable[[], None]) -> Ringing:
        ringing = Ringing(self, seconds, callback)
        self.waiting.append(ringing)
        return ringing

    def ring(self) -> None:
        """Let the time of everything that waits be over."""
        waiting, self.waiting = self.waiting, []
        for ringing in waiting:
            ringing.callback()


class Ringing:
    """One callback that waits."""

    def __init__(self, timer: Timer, seconds: float, callback: Callable[[], None]) -> None:
        self.timer = timer
        self.seconds = seconds
        self.callback = callback

    def cancel(self) -> None:
        """Do not call back."""
        if self in self.timer.waiting:
            self.timer.waiting.remove(self)


def routed(*connections: Any, router: Router | None = None, **config: Any) -> Graph:
    """Return a graph with a router over these connections."""
    group = ConnectionGroup(*connections)
    return Graph({"network": group, "router": router or Router(), **config})


async def settle(rounds: int = 200) -> None:
    """Let everything happen that is under way."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def until(is_true: Callable[[], object], rounds: int = 20_000) -> None:
    """Let things happen until `is_true`."""
    for _ in range(rounds):
        if is_true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


class Heard:
    """Whatever one connection sends from now on, also while it is offline."""

    def __init__(self, connection: Any) -> None:
        self.messages: list[Any] = []
        send = connection.send

        def listening(message: Any) -> Any:
            self.messages.append(message)
            return send(message)

        connection.send = listening

    def of(self, kind: str) -> list[Any]:
        """Return the messages of one type."""
        return [message for message in self.messages if message["type"] == kind]


class Stranger:
    """The other side of a connection, played by the test."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self.got: list[Any] = []
        connection.messages.listen(self.got.append)

    def of(self, kind: str) -> list[Any]:
        """Return what came, of one type."""
        return [message for message in self.got if message["type"] == kind]

    def say(self, message: Any) -> None:
        """Send anything."""
        self.connection.send(message)


def stranger_of(
    router: Router | None = None, **config: Any
) -> tuple[Graph, Stranger, MemoryConnection]:
    """Return a graph and a stranger who is connected with it."""
    ours, theirs = pair("stranger", "graph")
    return routed(ours, router=router, **config), Stranger(theirs), ours
