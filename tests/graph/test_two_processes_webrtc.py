"""Two processes with a WebRTC channel between them, arranged over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Any

from cytosol.graph.transports.webrtc import WebRtcConnection
from cytosol.graph.transports.websocket import WebSocketServer
from tests.graph.running import run

# Sends back whatever comes over WebRTC; tells on its output, line by line, what it did.
CHILD = """
import asyncio, json, sys
from cytosol.graph.transports.webrtc import connect
from cytosol.graph.transports.websocket import WebSocketClient

def tell(what):
    print(json.dumps(what), flush=True)

async def main(port, to):
    client = WebSocketClient(f"ws://127.0.0.1:{port}", name="b")
    await client.open()
    channel = await connect(client, to, me="b", addresses=["127.0.0.1"])
    tell(["open", channel.type])
    async for message in channel.messages:
        channel.send({"back": message})
        if message == "leave":
            break
    await channel.close()
    await client.close()
    tell(["left", [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]])

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


class Child:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def told(self) -> Any:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the other process ended without a word"
        return json.loads(line)


@asynccontextmanager
async def _child(port: int) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(port), "a", stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Here:
    """This process: a server, the channel, and what came back over it."""

    def __init__(self) -> None:
        self.server = WebSocketServer()
        self.came: list[Any] = []
        self._more = asyncio.Event()

    async def __aenter__(self) -> Here:
        await self.server.start()
        self.channel = WebRtcConnection(
            self.server, "b", me="a", addresses=["127.0.0.1"], delays=lambda: repeat(0.05)
        )
        self.channel.messages.listen(self._hear)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.channel.close()
        await self.server.close()

    def _hear(self, message: Any) -> None:
        self.came.append(message["back"])
        self._more.set()

    async def until(self, count: int) -> list[Any]:
        """Return what came back as soon as it is so much."""
        while len(self.came) < count:
            self._more.clear()
            await self._more.wait()
        return self.came


def test_messages_go_there_and_back_between_two_processes() -> None:
    """None is lost or doubled while the channel is lost twice; the other process ends cleanly."""

    async def scenario() -> None:
        async with Here() as here, _child(here.server.port) as child:
            await here.channel.open()
            assert ["open", "webrtc"] == await child.told()
            for i in range(300):
                here.channel.send(i)
                if i in (100, 200):
                    await here.until(i - 50)
                    here.channel.reconnect()
            assert list(range(300)) == await here.until(300)
            here.channel.send("x" * 200_000)
            here.channel.send("leave")
            assert [*range(300), "x" * 200_000, "leave"] == await here.until(302)
            assert ["left", []] == await child.told()
            assert await child.process.wait() == 0

    run(scenario())


def test_a_process_that_was_killed_is_found_again_when_it_is_back() -> None:
    """It calls, so the channel to the dead one is not waited for; what it missed arrives."""

    async def scenario() -> None:
        async with Here() as here:
            async with _child(here.server.port) as first:
                await here.channel.open()
                here.channel.send("to the first")
                assert ["to the first"] == await here.until(1)
                first.process.kill()
                await first.process.wait()
            here.channel.send("to nobody yet")
            async with _child(here.server.port) as second:
                assert ["open", "webrtc"] == await second.told()
                assert ["to the first", "to nobody yet"] == await here.until(2)

    run(scenario())
