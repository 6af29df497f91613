"""Both kinds of clients and servers, a wire that can be cut, and a look at what is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import psutil

from cytosol.graph.connection import Stream
from cytosol.graph.transports.http import HttpClient, HttpServer
from cytosol.graph.transports.reconnecting import ReconnectingConnection
from cytosol.graph.transports.serving import ServerGroup
from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer
from tests.graph.running import PATIENCE_S, run

T = TypeVar("T")

TURNS_MAX = 1_000  # of the loop, for what is closed to be gone


@dataclass(frozen=True)
class Kind:
    """One transport."""

    name: str
    scheme: str
    client_class: Callable[..., ReconnectingConnection]
    server_class: Callable[..., ServerGroup]

    def server(self, **options: Any) -> ServerGroup:
        """Return a server that is not started."""
        return self.server_class(**options)

    def client(self, port: int, path: str = "", **options: Any) -> ReconnectingConnection:
        """Return a client of what listens on `port`, which calls again at once."""
        options.setdefault("delays", at_once)
        return self.client_class(f"{self.scheme}://127.0.0.1:{port}{path}", **options)


WEBSOCKET = Kind("websocket", "ws", WebSocketClient, WebSocketServer)
HTTP = Kind("http", "http", HttpClient, HttpServer)
KINDS = [WEBSOCKET, HTTP]


def at_once() -> Iterable[float]:
    """Let a client call again as soon as the loop has turned a few times."""
    return repeat(0.002)


def run_clean(coroutine: Coroutine[Any, Any, T], patience_s: float = PATIENCE_S) -> T:
    """Run a coroutine, and fail if it leaves a task or a socket behind."""

    async def guarded() -> T:
        before = sockets()
        result = await coroutine
        for _ in range(TURNS_MAX):
            if others() == set() and sockets() == before:
                break
            await asyncio.sleep(0)
        gc.collect()
        assert set() == others()
        assert before == sockets()
        return result

    return run(guarded(), patience_s)


def others() -> set[asyncio.Task[Any]]:
    """Return the tasks that run beside the test."""
    mine = {asyncio.current_task()}
    return {task for task in asyncio.all_tasks() - mine if "guarded" not in repr(task.get_coro())}


def sockets() -> int:
    """Return how many sockets of the internet this process has."""
    return len(psutil.Process().net_connections("inet"))


async def take(stream: Stream[T], count: int) -> list[T]:
    """Return the next values of a stream."""
    values: list[T] = []
    if count:
        async for value in stream:
            values.append(value)
            if len(values) == count:
                break
    return values


async def event(source: Any, name: str) -> Any:
    """Wait for an event of a connection or a group, and return what came with it."""
    happened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def tell(value: Any) -> None:
        if not happened.done():
            happened.set_result(value)

    subscription = source.on(name, tell)
    try:
        return await happened
    finally:
        subscription.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; the patience of `run` bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


class Wire:
    """A port that leads to another one; `cut()` ends all that goes over it, at any byte."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.cuts = 0
        self.is_down = False  # then whoever calls is turned away
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Abort all connections; new ones can be made."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def cut_after(self, count: int | None) -> None:
        """Cut when so many more bytes have gone over the wire; what is beyond is lost."""
        self._left = count

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self.is_down:
                raise ConnectionResetError
            back_reader, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(back)
        ways = self._carry(reader, back), self._carry(back_reader, writer)
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:  # an end that is reset resets the other one
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            is_last = self._left is not None and len(data) >= self._left
            if self._left is not None:
                data, self._left = data[: self._left], max(0, self._left - len(data))
            writer.write(data)
            if is_last:  # at once: what came after would follow a gap
                self._left = None
                self.cuts += 1
                self.cut()
                return
            await writer.drain()
        writer.write_eof()
