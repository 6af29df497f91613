"""The peers' side of W13 and W14: two processes and a WebSocket, neither encrypted nor packed.

None of the peers brings a network of its own, so they all get the same one: the library
`websockets` over loopback, without compression, one message per update. A library's part is a
Side below. Run as a program, this module is device B: `python -m benchmarks.sockets LIBRARY OPS`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from benchmarks import peers
from benchmarks.measure import load, wall_s

__all__ = ["SIDES", "first_sync_s", "round_trips_us"]


PATIENCE_S = 300


class Side(ABC):
    """A document of one library, at root.l1.l2, with `write` and its updates as messages."""

    seen: str | None = None
    """The key that the library's subscription reported last."""

    @abstractmethod
    def fill(self, count: int) -> None:
        """Set `count` keys, one by one; before this an empty document has not even its maps."""

    @abstractmethod
    def hello(self) -> bytes:
        """Return the message that asks for everything that we lack."""

    @abstractmethod
    def answer(self, message: bytes) -> bytes | None:
        """Return the answer to `hello`, or to the messages after it, if there is one."""

    @abstractmethod
    def learn(self, message: bytes) -> bytes | None:
        """Apply an answer; return what is to be said to it, None if that was all."""

    @abstractmethod
    def write(self, key: str, value: int) -> bytes | None:
        """Set a key, and return the message that brings it to the other device."""

    @abstractmethod
    def apply(self, message: bytes) -> None:
        """Apply an update; `seen` says then which key the subscription has reported."""

    def reply(self) -> bytes | None:
        """Return what the library's protocol has to say to an update, if it says anything."""
        return None


class LoroSide(Side):
    """Updates come from `subscribe_local_update`; the map is subscribed to."""

    def __init__(self) -> None:
        loro = load("loro")

        self._loro = loro
        self._doc = loro.LoroDoc()
        self._updates: list[bytes] = []
        self._kept: list[Any] = [self._doc.subscribe_local_update(self._note_update)]

    def _note_update(self, update: bytes) -> bool:
        self._updates.append(update)
        return True

    def _watch(self) -> None:
        self._map = peers.loro_map(self._doc)
        self._kept.append(self._map.subscribe(self._note_event))

    def _note_event(self, event: Any) -> None:
        for change in event.events:
            self.seen = next(iter(change.diff.diff.updated))

    def fill(self, count: int) -> None:
        level = self._doc.get_map("root").insert_container("l1", self._loro.LoroMap())
        level = level.insert_container("l2", self._loro.LoroMap())
        for i in range(count):
            level.insert(f"k_{i}", i)
        self._doc.commit()
        self._updates.clear()
        self._watch()

    def hello(self) -> bytes:
        return bytes(self._doc.oplog_vv.encode())

    def answer(self, message: bytes) -> bytes:
        known = self._loro.VersionVector.decode(message)
        return bytes(self._doc.export(self._loro.ExportMode.Updates(known)))

    def learn(self, message: bytes) -> None:
        self._doc.import_(message)
        self._watch()

    def write(self, key: str, value: int) -> bytes:
        self._map.insert(key, value)
        self._doc.commit()
        return self._updates.pop()

    def apply(self, message: bytes) -> None:
        self._doc.import_(message)


class PycrdtSide(Side):
    """Updates come from the document's observer; the map is observed."""

    def __init__(self) -> None:
        pycrdt = load("pycrdt")

        self._pycrdt = pycrdt
        self._doc: Any = pycrdt.Doc()
        self._updates: list[bytes] = []
        self._kept = [self._doc.observe(lambda event: self._updates.append(event.update))]

    def _watch(self) -> None:
        self._map = peers.pycrdt_map(self._doc)
        self._kept.append(self._map.observe(self._note_event))

    def _note_event(self, event: Any) -> None:
        self.seen = next(iter(event.keys))

    def fill(self, count: int) -> None:
        root = self._doc.get("root", type=self._pycrdt.Map)
        root["l1"] = self._pycrdt.Map()
        root["l1"]["l2"] = level = self._pycrdt.Map()
        for i in range(count):
            level[f"k_{i}"] = i
        self._updates.clear()
        self._watch()

    def hello(self) -> bytes:
        return bytes(self._doc.get_state())

    def answer(self, message: bytes) -> bytes:
        return bytes(self._doc.get_update(message))

    def learn(self, message: bytes) -> None:
        self._doc.apply_update(message)
        self._watch()

    def write(self, key: str, value: int) -> bytes:
        self._map[key] = value
        return self._updates.pop()

    def apply(self, message: bytes) -> None:
        self._doc.apply_update(message)
        self._updates.clear()


class AutomergeSide(Side):
    """Updates are sync messages; there are no subscriptions, so the keys are looked at."""

    def __init__(self) -> None:
        core = load("automerge.core")

        self._core = core
        self._doc = core.Document()
        self._state = core.SyncState()
        self._map: bytes | None = None
        self._known: dict[str, Any] = {}

    def fill(self, count: int) -> None:
        self._doc, self._map = peers.automerge_document()
        for i in range(count):
            peers.automerge_set(self._doc, self._map, f"k_{i}", i)

    def _next(self) -> bytes | None:
        message = self._doc.generate_sync_message(self._state)
        return None if message is None else message.encode()

    def hello(self) -> bytes:
        message = self._next()
        assert message is not None
        return message

    def answer(self, message: bytes) -> bytes | None:
        self._doc.receive_sync_message(self._state, self._core.Message.decode(message))
        return self._next()

    def learn(self, message: bytes) -> bytes | None:
        self._doc.receive_sync_message(self._state, self._core.Message.decode(message))
        level: Any = self._core.ROOT
        for key in ("root", "l1", "l2"):
            found = self._doc.get(level, key)
            if found is None:
                return self._next()  # nothing has come yet
            level = found[1]
        self._map = level
        return None

    def write(self, key: str, value: int) -> bytes | None:
        assert self._map is not None
        peers.automerge_set(self._doc, self._map, key, value)
        self._known[key] = value
        return self._next()

    def reply(self) -> bytes | None:
        return self._next()

    def apply(self, message: bytes) -> None:
        assert self._map is not None
        self._doc.receive_sync_message(self._state, self._core.Message.decode(message))
        for key in ("ping", "pong"):
            value = self._doc.get(self._map, key)
            if value is not None and value[0][1] != self._known.get(key):
                self._known[key] = value[0][1]
                self.seen = key


SIDES: dict[str, Callable[[], Side]] = {
    "loro": LoroSide,
    "pycrdt": PycrdtSide,
    "automerge": AutomergeSide,
}


async def serve_device(library: str, ops: int) -> None:
    """Be device B: answer until A has everything, then write back what A writes."""
    from websockets.asyncio.server import ServerConnection, serve

    side = SIDES[library]()
    side.fill(ops)
    finished = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        async for message in connection:
            assert type(message) is bytes
            if message == b"ready":
                break
            answer = side.answer(message)
            if answer is not None:
                await connection.send(answer)
        count = 0
        async for message in connection:
            assert type(message) is bytes
            side.apply(message)
            if side.seen == "ping":
                side.seen = None
                count += 1
                answer = side.write("pong", count)
            else:
                answer = side.reply()
            if answer is not None:
                await connection.send(answer)
        finished.set()

    async with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(port, flush=True)
        await asyncio.wait_for(finished.wait(), PATIENCE_S)


def _start_device(library: str, ops: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "benchmarks.sockets", library, str(ops)]
    device = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert device.stdout is not None
    return device, int(device.stdout.readline())


async def _connect_and_learn(side: Side, port: int) -> Any:
    from websockets.asyncio.client import connect

    connection = await connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None)
    message: bytes | None = side.hello()
    while message is not None:
        await connection.send(message)
        answer = await connection.recv()
        assert type(answer) is bytes
        message = side.learn(answer)
    return connection


def first_sync_s(library: str, ops: int) -> float:
    """Return the seconds from connecting until everything of B is at A."""
    device, port = _start_device(library, ops)
    side = SIDES[library]()

    async def work() -> float:
        start = wall_s()
        connection = await _connect_and_learn(side, port)
        took = wall_s() - start
        await connection.send(b"ready")
        await connection.close()
        return took

    took = asyncio.run(work())
    assert device.wait(60) == 0
    return took


def round_trips_us(library: str, count: int, warm_up: int) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    device, port = _start_device(library, 0)
    side = SIDES[library]()
    times = []

    async def work() -> None:
        connection = await _connect_and_learn(side, port)
        await connection.send(b"ready")
        for i in range(1, warm_up + count + 1):
            start = wall_s()
            out = side.write("ping", i)
            while side.seen != "pong":
                if out is not None:
                    await connection.send(out)
                message = await connection.recv()
                assert type(message) is bytes
                side.apply(message)
                out = None if side.seen == "pong" else side.reply()
            side.seen = None
            times.append((wall_s() - start) * 1e6)
        await connection.close()

    asyncio.run(work())
    assert device.wait(60) == 0
    return times[warm_up:]


if __name__ == "__main__":
    asyncio.run(serve_device(sys.argv[1], int(sys.argv[2])))
