"""What joins two graphs in the histories: a way for each transport, to be cut and mended."""

from __future__ import annotations

import asyncio
import random
from itertools import repeat
from typing import Any, Protocol

from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.transports.memory import pair
from cytosol.graph.transports.reconnecting import ReconnectingConnection
from cytosol.graph.transports.webrtc import WebRtcConnection
from tests.graph.served import HTTP, WEBSOCKET, Kind, Wire


class Join(Protocol):
    """What joins two graphs; `ends` are the networks that each of them gets."""

    ends: tuple[ConnectionGroup, ConnectionGroup]

    async def open(self) -> None:
        """Begin to connect."""

    def cut(self) -> None:
        """Break the connection, which may come back at once."""

    def part(self) -> None:
        """Break the connection, and let none come about."""

    def mend(self) -> None:
        """Let connections come about again."""

    async def forget(self) -> None:
        """Let one side, which lives on, lose what it knows of the connection."""

    async def close(self) -> None:
        """Leave nothing behind."""


class InProcess:
    """A pair of connections in one process."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self._name = name
        self.ends = (ConnectionGroup(), ConnectionGroup())
        self._pair()

    def _pair(self) -> None:
        self._sides = pair(f"{self._name}>", f"{self._name}<")
        for group, side in zip(self.ends, self._sides, strict=True):
            group.add(side)

    async def open(self) -> None:
        """Nothing need be done."""

    def cut(self) -> None:
        """Lose what is on its way."""
        self.part()
        self.mend()

    def part(self) -> None:
        """Cut both sides off."""
        self._sides[0].disconnect()

    def mend(self) -> None:
        """Join them again."""
        self._sides[0].reconnect()

    async def forget(self) -> None:
        """Take other connections."""
        self.part()
        for group, side in zip(self.ends, self._sides, strict=True):
            group.remove(side)
        self._pair()

    async def close(self) -> None:
        """Nothing need be done."""


class Served:
    """A server at the first graph, a client at the second one, and a port between them."""

    def __init__(self, kind: Kind, name: str, dice: random.Random) -> None:
        self._kind = kind
        self._name = name
        self._dice = dice
        self._server = kind.server()
        self._wire = Wire(0)
        self._mine = ConnectionGroup()
        self.ends = (self._server, self._mine)
        self._client: ReconnectingConnection

    async def open(self) -> None:
        """Start the server and let the client call it."""
        await self._server.start()
        self._wire.target = self._server.port
        await self._wire.__aenter__()
        self._call()

    def _call(self) -> None:
        self._client = self._kind.client(self._wire.port, id=self._name, name=self._name)
        self._mine.add(self._client)
        self._client.start()

    def cut(self) -> None:
        """Abort the sockets, now or in the middle of what comes next."""
        if self._dice.random() < 0.5:
            self._wire.cut()
        else:
            self._wire.cut_after(self._dice.randrange(1, 3_000))

    def part(self) -> None:
        """Abort the sockets and let no others through."""
        self._wire.is_down = True
        self._wire.cut()

    def mend(self) -> None:
        """Let sockets through again."""
        self._wire.is_down = False
        self._wire.cut_after(None)

    async def forget(self) -> None:
        """Start the server anew, or the client."""
        if self._dice.random() < 0.5:
            await self._server.close()
            await self._server.start()
            self._wire.target = self._server.port
        else:
            self._wire.cut()
            self._mine.remove(self._client)
            await self._client.close()
            self._call()

    async def close(self) -> None:
        """Close the sockets."""
        await self._client.close()
        await self._server.close()
        await self._wire.__aexit__()


class DataChannel:
    """Two ends of a WebRTC channel, arranged over a pair in this process."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self._name = name
        self._dice = dice
        self._over = pair("second", "first")
        self.ends = (ConnectionGroup(), ConnectionGroup())
        self._opening: list[asyncio.Task[Any]] = []
        self._sides = [self._made(0), self._made(1)]

    def _made(self, place: int) -> WebRtcConnection:
        names = ("first", "second")
        side = WebRtcConnection(
            self._over[place],
            names[1 - place],
            me=names[place],
            id=f"{self._name}{'><'[place]}",
            addresses=["127.0.0.1"],
            delays=lambda: repeat(0.01),
        )
        self.ends[place].add(side)
        return side

    async def open(self) -> None:
        """Let both ends call each other."""
        self._opening += [asyncio.create_task(_opened(side)) for side in self._sides]

    def cut(self) -> None:
        """Make the channel anew."""
        self._dice.choice(self._sides).reconnect()

    def part(self) -> None:
        """Let no new channel be arranged, and lose the one there is."""
        self._over[0].disconnect()
        self.cut()

    def mend(self) -> None:
        """Let channels be arranged again."""
        self._over[0].reconnect()

    async def forget(self) -> None:
        """Let one end be made anew."""
        place = self._dice.randrange(2)
        old = self._sides[place]
        self.ends[place].remove(old)
        self._over[0].reconnect()
        await old.close()
        self._sides[place] = self._made(place)
        self._opening.append(asyncio.create_task(_opened(self._sides[place])))

    async def close(self) -> None:
        """Close the channel."""
        await asyncio.gather(*[side.close() for side in self._sides])
        await asyncio.gather(*self._opening, return_exceptions=True)


async def _opened(side: WebRtcConnection) -> None:
    await side.open()


def join(kind: str, name: str, dice: random.Random) -> Join:
    """Return a join of a kind."""
    match kind:
        case "pair":
            return InProcess(name, dice)
        case "websocket":
            return Served(WEBSOCKET, name, dice)
        case "http":
            return Served(HTTP, name, dice)
        case "webrtc":
            return DataChannel(name, dice)
    raise ValueError(f"there is no transport {kind!r}")
