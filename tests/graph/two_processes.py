"""Two real processes that share a graph, one of which is killed; for each transport."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from cytosol import Graph
from cytosol.graph import Router
from tests.graph.served import Kind, run_clean, until

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0  # interpreters start four times, on machines that have other work


class Served:
    """The process of tests/graph/served_process.py."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, on the port that it had before."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.graph.served_process"),
            *(self.kind.name, str(self.port), str(self.directory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.port = (await self._line())["port"]

    async def ask(self, **command: Any) -> Any:
        """Let it do something, and return its answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self._line()

    async def kill(self) -> None:
        """Kill it by SIGKILL: it can save and say nothing."""
        assert self.process is not None
        self.process.kill()
        await self._gone()

    async def stop(self) -> None:
        """Let it end by itself."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert 0 == await self._gone()

    def events(self) -> list[tuple[Any, ...]]:
        """Return what changed in its graph, in all of its lives."""
        lines = (self.directory / "events.log").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    async def _gone(self) -> int:
        assert self.process is not None
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    async def _line(self) -> Any:
        assert self.process is not None
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the process of the server has ended"
        return json.loads(line)


def sync_between_processes(kind: Kind, directory: Path) -> None:
    """Write on both sides; both have everything, and each field changed once."""

    async def talk() -> None:
        served = Served(kind, directory)
        await served.start()
        client = kind.client(served.port, name="laptop")
        async with Graph({"network": client, "router": Router()}) as graph:
            await client.open()
            for number in range(50):
                await graph.write(f"mine/{number}", {"number": number})
                await served.ask(write=[f"theirs/{number}", {"number": number}])
            await until(lambda: len(graph.keys()) == 100)
            expected = {
                f"{side}/{number}": {"number": number}
                for side in ("mine", "theirs")
                for number in range(50)
            }
            assert expected == graph.snapshot()
            assert expected == await served.ask(snapshot=True)
            await client.close()
        await served.stop()
        assert [] == [line for line, times in Counter(served.events()).items() if times > 1]

    run_clean(talk(), PATIENCE_S)


def killed_server_loses_and_doubles_nothing(kind: Kind, directory: Path) -> None:
    """Kill the server twice while both sides write; afterwards both have everything, once."""

    async def talk() -> None:
        served = Served(kind, directory)
        await served.start()
        client = kind.client(served.port, name="laptop")
        async with Graph({"network": client, "router": Router()}) as graph:
            await client.open()
            writing, alive = [], True
            expected = {f"mine/{n}": {"number": n, "text": "x" * 50} for n in range(90)}
            for number in range(90):
                writing.append(graph.write(f"mine/{number}", {"number": number, "text": "x" * 50}))
                if alive and number % 10 == 5:
                    await served.ask(write=[f"theirs/{number}", {"number": number}])
                    expected[f"theirs/{number}"] = {"number": number}
                if number in (30, 60):
                    await served.kill()  # with writes on their way
                if number in (45, 75):
                    await served.start()
                alive = not (30 <= number < 45 or 60 <= number < 75)
                await asyncio.sleep(0)
            await asyncio.gather(*writing)
            while expected != await served.ask(snapshot=True):
                await asyncio.sleep(0.05)
            await until(lambda: expected == graph.snapshot())
            await client.close()
        await served.stop()
        assert [] == [line for line, times in Counter(served.events()).items() if times > 1]

    run_clean(talk(), PATIENCE_S)
