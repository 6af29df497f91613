"""The peers' side of W13, W14 and W19: two processes and a WebSocket, neither encrypted nor packed.

None of the peers brings a network of its own, so they all get the same one: the library
`websockets` over loopback, without compression, one message per update. A library's part is a
Side below. Run as a program, this module is device B:
`python -m benchmarks.sockets LIBRARY OPS SHAPE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.measure import load, wall_s
from benchmarks.resident import Peak
from benchmarks.shapes import Writes, nests_of, scramble, writes_of

__all__ = ["SIDES", "deepest", "first_sync", "other_device", "round_trips_us", "sent_at"]

PATIENCE_S = 300
MANY = 500_000
"""From so many writes on, automerge makes a thousand of them in each transaction."""


def sent_at(shape: int, i: int) -> Any:
    """Return what round trip `i` writes: its number, in shape 2 a text of any length."""
    return i if shape == 1 else f"{'text ' * (scramble(i) % 40)}{i}"


def deepest(maps: Sequence[Any], shape: int) -> Any:
    """Return the handle of the deepest object."""
    nests = nests_of(shape)
    return maps[max(range(len(nests)), key=lambda number: len(nests[number]))]


class Side(ABC):
    """A document of one library with the objects of a shape, and its updates as messages."""

    def __init__(self, shape: int) -> None:
        self._shape = shape

    seen: str | None = None
    """The key that the library's subscription reported last."""

    @abstractmethod
    def fill(self, writes: Writes) -> None:
        """Set keys, one by one; before this an empty document has not even its maps."""

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
    def write(self, key: str, value: Any) -> bytes | None:
        """Set a key of the deepest object; return the message that brings it to the other one."""

    @abstractmethod
    def apply(self, message: bytes) -> None:
        """Apply an update; `seen` says then which key the subscription has reported."""

    def reply(self) -> bytes | None:
        """Return what the library's protocol has to say to an update, if it says anything."""
        return None


class LoroSide(Side):
    """Updates come from `subscribe_local_update`; the map is subscribed to."""

    def __init__(self, shape: int) -> None:
        super().__init__(shape)
        loro = load("loro")

        self._loro = loro
        self._doc = loro.LoroDoc()
        self._updates: list[bytes] = []
        self._kept: list[Any] = [self._doc.subscribe_local_update(self._note_update)]

    def _note_update(self, update: bytes) -> bool:
        self._updates.append(update)
        return True

    def _watch(self) -> None:
        self._map = deepest(peers.loro_maps(self._doc, self._shape), self._shape)
        self._kept.append(self._map.subscribe(self._note_event))

    def _note_event(self, event: Any) -> None:
        for change in event.events:
            self.seen = next(iter(change.diff.diff.updated))

    def fill(self, writes: Writes) -> None:
        self._doc, maps = peers.loro_document(self._shape)
        peers.loro_fill(maps, writes)
        self._doc.commit()
        self._kept = [self._doc.subscribe_local_update(self._note_update)]
        self._watch()

    def hello(self) -> bytes:
        return bytes(self._doc.oplog_vv.encode())

    def answer(self, message: bytes) -> bytes:
        known = self._loro.VersionVector.decode(message)
        return bytes(self._doc.export(self._loro.ExportMode.Updates(known)))

    def learn(self, message: bytes) -> None:
        self._doc.import_(message)
        self._watch()

    def write(self, key: str, value: Any) -> bytes:
        self._map.insert(key, value)
        self._doc.commit()
        return self._updates.pop()

    def apply(self, message: bytes) -> None:
        self._doc.import_(message)


class PycrdtSide(Side):
    """Updates come from the document's observer; the map is observed."""

    def __init__(self, shape: int) -> None:
        super().__init__(shape)
        self._doc: Any = load("pycrdt").Doc()
        self._updates: list[bytes] = []
        self._kept = [self._doc.observe(self._note_update)]

    def _note_update(self, event: Any) -> None:
        self._updates.append(event.update)

    def _watch(self) -> None:
        self._map = deepest(peers.pycrdt_maps(self._doc, self._shape), self._shape)
        self._kept.append(self._map.observe(self._note_event))

    def _note_event(self, event: Any) -> None:
        self.seen = next(iter(event.keys))

    def fill(self, writes: Writes) -> None:
        self._doc, maps = peers.pycrdt_document(self._shape)
        peers.pycrdt_fill(maps, writes)
        self._kept = [self._doc.observe(self._note_update)]
        self._watch()

    def hello(self) -> bytes:
        return bytes(self._doc.get_state())

    def answer(self, message: bytes) -> bytes:
        return bytes(self._doc.get_update(message))

    def learn(self, message: bytes) -> None:
        self._doc.apply_update(message)
        self._watch()

    def write(self, key: str, value: Any) -> bytes:
        self._map[key] = value
        return self._updates.pop()

    def apply(self, message: bytes) -> None:
        self._doc.apply_update(message)
        self._updates.clear()


class AutomergeSide(Side):
    """Updates are sync messages; there are no subscriptions, so the keys are looked at."""

    def __init__(self, shape: int) -> None:
        super().__init__(shape)
        core = load("automerge.core")

        self._core = core
        self._doc = core.Document()
        self._state = core.SyncState()
        self._map: bytes | None = None
        self._known: dict[str, Any] = {}

    def fill(self, writes: Writes) -> None:
        self._doc, maps = peers.automerge_document(self._shape)
        self._map = deepest(maps, self._shape)
        if len(writes) < MANY:
            peers.automerge_fill(self._doc, maps, writes)
        else:
            peers.automerge_put_all(self._doc, maps, writes, 1000)

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
        maps = peers.automerge_maps(self._doc, self._shape)
        if maps is None:
            return self._next()  # nothing has come yet
        self._map = deepest(maps, self._shape)
        return None

    def write(self, key: str, value: Any) -> bytes | None:
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


SIDES: dict[str, Callable[[int], Side]] = {
    "loro": LoroSide,
    "pycrdt": PycrdtSide,
    "automerge": AutomergeSide,
}


async def serve_device(library: str, ops: int, shape: int) -> None:
    """Be device B: answer until A has everything, then write back what A writes."""
    from websockets.asyncio.server import ServerConnection, serve

    side = SIDES[library](shape)
    side.fill(writes_of(shape, ops))
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
                answer = side.write("pong", sent_at(shape, count))
            else:
                answer = side.reply()
            if answer is not None:
                await connection.send(answer)
        finished.set()

    async with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(port, flush=True)
        await asyncio.wait_for(finished.wait(), PATIENCE_S)


@contextlib.contextmanager
def other_device(module: str, *arguments: object) -> Iterator[int]:
    """Run device B, a module of ours that prints its port; see that it ends well."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
        try:
            assert device.stdout is not None
            yield int(device.stdout.readline())
            assert device.wait(60) == 0
        finally:
            device.kill()


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


def first_sync(library: str, ops: int, shape: int) -> tuple[float, Peak]:
    """Return the seconds from connecting until everything of B is at A, and A's memory."""
    side = SIDES[library](shape)

    async def work(port: int) -> tuple[float, Peak]:
        peak = Peak()
        start = wall_s()
        connection = await _connect_and_learn(side, port)
        took = wall_s() - start
        peak.stop()
        await connection.send(b"ready")
        await connection.close()
        return took, peak

    with other_device("sockets", library, ops, shape) as port:
        return asyncio.run(work(port))


def round_trips_us(library: str, count: int, warm_up: int, shape: int) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    side = SIDES[library](shape)
    times = []

    async def work(port: int) -> None:
        connection = await _connect_and_learn(side, port)
        await connection.send(b"ready")
        for i in range(1, warm_up + count + 1):
            sent = sent_at(shape, i)
            start = wall_s()
            out = side.write("ping", sent)
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

    with other_device("sockets", library, 0, shape) as port:
        asyncio.run(work(port))
    return times[warm_up:]


if __name__ == "__main__":
    asyncio.run(serve_device(sys.argv[1], *map(int, sys.argv[2:4])))
