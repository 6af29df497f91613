"""Two real processes that share a graph over WebRTC; one is killed and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

from cytosol import Graph, SqliteSaveState
from cytosol.graph import Router, SaveStateStorage
from cytosol.graph.transports.webrtc import WebRtcConnection, connect
from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer
from tests.graph.served import until
from tests.graph.served_process import answer
from tests.graph.two_processes import PATIENCE_S, ROOT

LOCAL: dict[str, Any] = {"addresses": ["127.0.0.1"]}


async def be_the_other(port: int, directory: Path) -> None:
    """Share a graph with "a"; do what the lines of standard input say, log what changes."""
    storage = SaveStateStorage(SqliteSaveState(directory / "graph.cytosol"))
    async with WebSocketClient(f"ws://127.0.0.1:{port}", name="b") as arranging:
        channel = await connect(arranging, "a", me="b", **LOCAL)
        graph = Graph({"network": channel, "router": Router(), "storage": storage})
        log = (directory / "events.log").open("a", buffering=1)
        graph.on("update", lambda nodes: print(json.dumps(nodes.to_json()), file=log))
        print(json.dumps([channel.type]), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(graph, json.loads(line))), flush=True)
        await graph.close()
        await channel.close()


class Other:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, **command: Any) -> Any:
        """Let it do something, and return its answer."""
        assert self.process.stdin is not None
        if command:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the other process ended without a word"
        return json.loads(line)


@asynccontextmanager
async def other(port: int, directory: Path) -> AsyncIterator[Other]:
    """Run the other process until it is not needed any more, then kill it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.graph.test_fresh_findings_webrtc"),
        *(str(port), str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    started = Other(process)
    try:
        assert ["webrtc"] == await started.ask()
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_two_processes_share_a_graph_over_webrtc(tmp_path: Path) -> None:
    """One is killed while both write; when it is back both have everything, each change once."""

    async def talk() -> None:
        async with WebSocketServer() as server:
            channel = WebRtcConnection(server, "b", me="a", delays=lambda: repeat(0.05), **LOCAL)
            opening = asyncio.ensure_future(channel.open())
            graph = Graph({"network": channel, "router": Router(timeout=1.0)})
            expected: dict[str, Any] = {}

            async def write(there: Other | None, number: int) -> None:
                await graph.write(f"mine/{number}", {"number": number})
                expected[f"mine/{number}"] = {"number": number}
                if there is not None:
                    await there.ask(write=[f"theirs/{number}", {"number": number}])
                    expected[f"theirs/{number}"] = {"number": number}

            async with other(server.port, tmp_path) as there:
                for number in range(20):
                    await write(there, number)
                await until(lambda: expected == graph.snapshot())
                assert expected == await there.ask(snapshot=True)
            for number in range(20, 30):
                await write(None, number)
            async with other(server.port, tmp_path) as there:
                for number in range(30, 40):
                    await write(there, number)
                while expected != await there.ask(snapshot=True):
                    await asyncio.sleep(0.05)
                await until(lambda: expected == graph.snapshot())
            await opening
            await graph.close()
            await channel.close()
        events = Counter((tmp_path / "events.log").read_text().splitlines())
        assert [] == [line for line, times in events.items() if times > 1]

    asyncio.run(asyncio.wait_for(talk(), PATIENCE_S))


if __name__ == "__main__":
    asyncio.run(be_the_other(int(sys.argv[1]), Path(sys.argv[2])))
