"""Our side of W13, W14 and W19: two processes, each with a database, paired with a code.

They find each other by heartbeats on loopback, under an app id of this run's own. Everything
that travels is encrypted. Run as a program, this module is device B:
`python -m benchmarks.device APP_ID CODE LOOP OPS SHAPE`; it obeys lines on its standard input.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

from benchmarks import ours
from benchmarks.measure import observed, wall_s
from benchmarks.resident import Peak
from benchmarks.shapes import nests_of, writes_of
from benchmarks.showing import showing
from benchmarks.sockets import sent_at

__all__ = ["accept_with", "first_sync", "forbid_uvloop", "pair", "round_trips_us", "two_devices"]

CODE = "482913"
PATIENCE_S = 60
SYNC_PATIENCE_S = 300
LAST = "$.last"
"""What B writes after everything else."""


def open_device(app_id: str, name: str) -> Any:
    """Open a database in memory that meets others on this machine."""
    import cytosol

    return ours.piece(cytosol, "open")(
        None, app_id=app_id, peer_name=name, loopback=True, min_history=-1, max_history=-1
    )


def accept_with(database: Any, code: str) -> None:
    """Accept whoever asks to be paired."""

    def accept(event: Any) -> None:
        payload = {"id": event.peer_id, "secret": code}
        database.dispatch({"action": "AcceptPair", "payload": payload})

    database.on("pair_request", accept)


def be_device_b(app_id: str, code: str, ops: int, shape: int) -> None:
    """Accept a pairing, write back what A writes, tell the state hash when asked."""
    database = open_device(app_id, "B")
    if ops:
        ours.prepare(database, shape)
        ours.fill(database, writes_of(shape, ops), shape)
        database.dispatch({"action": "Set", "path": LAST, "payload": True})
    ping, pong = ping_and_pong(shape)

    def write_back(values: list[Any]) -> None:
        if values:
            database.dispatch({"action": "Set", "path": pong, "payload": values[0]})

    accept_with(database, code)
    database.subscribe(ping, write_back)
    say({"peer_id": str(database.peer_id)})
    for _ in sys.stdin:
        say({"hash": ours.fold_hash(database).hex()})
    database.close()


def say(answer: dict[str, str]) -> None:
    """Tell device A something."""
    print(json.dumps(answer), flush=True)


def ping_and_pong(shape: int) -> tuple[str, str]:
    """Return the paths that A and B write: at the root, in shape 2 seven levels deep."""
    if shape == 1:
        return "$.ping", "$.pong"
    deepest = max(nests_of(shape), key=len)
    return ours.path_of((*deepest, "ping")), ours.path_of((*deepest, "pong é"))


class DeviceB:
    """The other process, as device A sees it: a module of ours, run with these arguments."""

    def __init__(self, app_id: str, uvloop: bool, module: str, *arguments: object) -> None:
        loop = "uvloop" if uvloop else "asyncio"
        command = [sys.executable, "-m", f"benchmarks.{module}", app_id, CODE, loop]
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.peer_id = self._answer()["peer_id"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "device B ended: what it said is above"
        return json.loads(line)

    def hash(self) -> str:
        """Return B's state hash."""
        assert self._process.stdin is not None
        self._process.stdin.write("hash\n")
        self._process.stdin.flush()
        return str(self._answer()["hash"])

    def stop(self) -> None:
        """End it, and see that it ended well; once more does no harm."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_S) == 0

    def close(self) -> None:
        """End it if it is still there, and close what it would read and write."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextlib.contextmanager
def two_devices(
    uvloop: bool, module: str = "device", *arguments: object
) -> Iterator[tuple[Any, DeviceB]]:
    """Open A here and start B; they do not know each other yet."""
    forbid_uvloop(uvloop)
    ours.open_memory().close()  # tells here, and not in a child, what is not there yet
    app_id = str(uuid.uuid4())
    other = DeviceB(app_id, uvloop, module, *arguments)
    try:
        database = open_device(app_id, "A")
        try:
            yield database, other
        finally:
            database.close()
        other.stop()
    finally:
        other.close()
        if not uvloop:
            sys.modules.pop("uvloop", None)


def forbid_uvloop(wanted: bool) -> None:
    """Make importing uvloop fail unless it is wanted."""
    if not wanted:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # importing it fails then


def pair(database: Any, other: DeviceB) -> None:
    """Pair A with B as soon as B is seen; returns when B has accepted."""
    visible = threading.Event()
    responses: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def note_peers(ids: list[Any]) -> None:
        if other.peer_id in ids:
            visible.set()

    watching = database.subscribe_meta("$.peers[*].id", note_peers)
    database.on("pair_response", responses.put)
    assert visible.wait(PATIENCE_S), "B was never seen"
    watching.cancel()
    payload = {"id": other.peer_id, "secret": CODE}
    database.dispatch({"action": "RequestPair", "payload": payload})
    response = responses.get(timeout=PATIENCE_S)
    assert response.accepted, response.reason


def round_trips_us(count: int, warm_up: int, *, uvloop: bool, shape: int = 1) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    with two_devices(uvloop, "device", 0, shape) as (database, other):
        seen: queue.SimpleQueue[tuple[Any, float]] = queue.SimpleQueue()
        ping, pong = ping_and_pong(shape)

        def note_pong(values: list[Any]) -> None:
            if values:
                seen.put((values[0], wall_s()))

        database.subscribe(pong, note_pong)
        pair(database, other)
        ours.prepare(database, shape)
        times = []

        def go(first: int, last: int) -> None:
            for i in range(first, last):
                sent = sent_at(shape, i)
                start = wall_s()
                database.dispatch({"action": "Set", "path": ping, "payload": sent})
                value, at = seen.get(timeout=PATIENCE_S)
                assert value == sent
                times.append((at - start) * 1e6)

        go(0, warm_up)
        with observed("W13"):
            go(warm_up, warm_up + count)
        return times[warm_up:]


def first_sync(ops: int, shape: int) -> tuple[float, Peak]:
    """Return the seconds from being connected until A has the same state hash, and its memory."""
    with two_devices(True, "device", ops, shape) as (database, other):
        connected: queue.SimpleQueue[float] = queue.SimpleQueue()
        complete = threading.Event()
        database.on("peer_connected", lambda _: connected.put(wall_s()))

        def note_last(values: list[Any]) -> None:
            if values:
                complete.set()

        database.subscribe(LAST, note_last)
        log = ours.piece(ours.document_of(database), "replica").log
        peak = Peak()
        pair(database, other)
        start = connected.get(timeout=PATIENCE_S)
        with showing("first sync", lambda: f"{len(log):,} of {ops:,} ops"), observed("W14"):
            assert complete.wait(SYNC_PATIENCE_S), "the last key never came"
            state_hash = ours.fold_hash(database).hex()
        took = wall_s() - start
        peak.stop()
        assert state_hash == other.hash()
        return took, peak


if __name__ == "__main__":
    forbid_uvloop(sys.argv[3] == "uvloop")
    be_device_b(sys.argv[1], sys.argv[2], *map(int, sys.argv[4:6]))
