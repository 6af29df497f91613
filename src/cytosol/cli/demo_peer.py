"""One device of the demo: a process of its own that runs `cytosol run --json`.

It ends when its stdin does, so it cannot outlive the demo.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cytosol.cli.exits import CommandError
from cytosol.model.json import JsonValue

__all__ = ["DemoPeer"]

LINE_BYTES_MAX: Final = 1 << 30  # a whole document may stand on one line
EVENT_TIMEOUT_S: Final = 15.0
REPLY_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 5.0


class DemoPeer:
    """Gives commands to a device and hears what it tells; made by `start`."""

    def __init__(self, name: str, file: Path, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.file = file
        self.peer_id = ""
        self._process = process
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._on_progress: Callable[[int, int], None] | None = None
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, file: Path, app_id: str) -> DemoPeer:
        """Start the process; it is ready after `wait_ready`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cytosol.cli", "run", str(file)),
            *("--app-id", app_id, "--name", name, "--loopback", "--json"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES_MAX,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        return cls(name, file, process)

    async def wait_ready(self) -> None:
        """Return when the database of the process is open; then `peer_id` is known."""
        self.peer_id = (await self.event("ready"))["peerId"]

    async def _read(self) -> None:
        """Sort the lines of the process into replies and events, until there are no more."""
        assert self._process.stdout is not None
        noise: list[str] = []
        async for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # what Python prints when it ends with an error
                noise.append(line.decode("utf-8", "replace").strip())
                continue
            if message.get("event") == "progress" and self._on_progress is not None:
                self._on_progress(message["done"], message["total"])
            elif "event" in message:
                self._events.put_nowait(message)
            else:
                self._replies.put_nowait(message)
        last = f" ({noise[-1]})" if noise else ""
        ended = {"error": {"message": f"the process of {self.name} has ended{last}"}}
        self._replies.put_nowait(ended)
        self._events.put_nowait(ended)

    async def ask(
        self, command: str, on_progress: Callable[[int, int], None] | None = None
    ) -> JsonValue:
        """Give a command and return its reply; raises CommandError if it was refused."""
        assert self._process.stdin is not None
        self._on_progress = on_progress
        with suppress(ConnectionError):  # its end is reported by the reader
            self._process.stdin.write(command.encode() + b"\n")
            await self._process.stdin.drain()
        try:
            answer = await asyncio.wait_for(self._replies.get(), REPLY_TIMEOUT_S)
        except TimeoutError:
            raise CommandError(
                f"{self.name} did not answer `{command[:60]}` within {REPLY_TIMEOUT_S:.0f} s"
            ) from None
        if "error" in answer:
            raise CommandError(f"{self.name} says: {answer['error']['message']}")
        return answer["reply"]

    async def query(self, path: str) -> list[JsonValue]:
        """Return what a path selects in the device's document."""
        values: list[JsonValue] = await self.ask(f"query {path}")
        return values

    async def document(self) -> JsonValue:
        """Return the device's whole document."""
        return (await self.query("$"))[0]

    async def event(self, name: str) -> dict[str, Any]:
        """Return the next event of a kind, passing over others; CommandError if none comes."""
        try:
            async with asyncio.timeout(EVENT_TIMEOUT_S):
                while True:
                    event = await self._events.get()
                    if "error" in event:
                        raise CommandError(event["error"]["message"])
                    if event["event"] == name:
                        return event
        except TimeoutError:
            raise CommandError(
                f"{self.name} was not told of {name} within {EVENT_TIMEOUT_S:.0f} s"
            ) from None

    async def stop(self) -> None:
        """Have the device close its file and end; kill it if it does not."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader
