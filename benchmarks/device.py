"""Our side of W13 and W14: two processes, each with a database, paired with a code.

They find each other by heartbeats on loopback, under an app id of this run's own. Everything
that travels is encrypted. Run as a program, this module is device B:
`python -m benchmarks.device APP_ID CODE OPS UVLOOP`; it obeys lines on its standard input.
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
from benchmarks.measure import wall_s

__all__ = ["first_sync_s", "round_trips_us"]

CODE = "482913"
PATIENCE_S = 60


def open_device(app_id: str, name: str) -> Any:
    """Open a database in memory that meets others on this machine."""
    import cytosol

    return ours.piece(cytosol, "open")(
        None, app_id=app_id, peer_name=name, loopback=True, min_history=-1, max_history=-1
    )


def be_device_b(app_id: str, code: str, ops: int) -> None:
    """Accept a pairing, write back what A writes, tell the state hash when asked."""
    database = open_device(app_id, "B")
    if ops:
        ours.prepare(database)
        ours.fill(database, [f"k_{i}" for i in range(ops)], range(ops))

    def accept(event: Any) -> None:
        payload = {"id": event.peer_id, "secret": code}
        database.dispatch({"action": "AcceptPair", "payload": payload})

    def write_back(values: list[Any]) -> None:
        if values:
            database.dispatch({"action": "Set", "path": "$.pong", "payload": values[0]})

    database.on("pair_request", accept)
    database.subscribe("$.ping", write_back)
    print(json.dumps({"peer_id": str(database.peer_id)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"hash": ours.fold_hash(database).hex()}), flush=True)
    database.close()


class DeviceB:
    """The other process, as device A sees it."""

    def __init__(self, app_id: str, ops: int, uvloop: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.device", app_id, CODE, str(ops)]
        self._process = subprocess.Popen(
            [*command, "uvloop" if uvloop else "asyncio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.peer_id = self._answer()["peer_id"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def hash(self) -> str:
        """Return B's state hash."""
        assert self._process.stdin is not None
        self._process.stdin.write("hash\n")
        self._process.stdin.flush()
        return str(self._answer()["hash"])

    def stop(self) -> None:
        """End it, and see that it ended well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_S) == 0

    def kill(self) -> None:
        """End it if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def two_devices(ops: int, uvloop: bool) -> Iterator[tuple[Any, DeviceB]]:
    """Open A here and start B with `ops` ops; they do not know each other yet."""
    if not uvloop:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # importing it fails then
    ours.open_memory().close()  # tells here, and not in a child, what is not there yet
    app_id = str(uuid.uuid4())
    other = DeviceB(app_id, ops, uvloop)
    try:
        database = open_device(app_id, "A")
        try:
            yield database, other
        finally:
            database.close()
        other.stop()
    finally:
        other.kill()
        if not uvloop:
            del sys.modules["uvloop"]


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


def round_trips_us(count: int, warm_up: int, *, uvloop: bool) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    with two_devices(0, uvloop) as (database, other):
        seen: queue.SimpleQueue[tuple[Any, float]] = queue.SimpleQueue()

        def note_pong(values: list[Any]) -> None:
            if values:
                seen.put((values[0], wall_s()))

        database.subscribe("$.pong", note_pong)
        pair(database, other)
        times = []
        for i in range(1, warm_up + count + 1):
            start = wall_s()
            database.dispatch({"action": "Set", "path": "$.ping", "payload": i})
            value, at = seen.get(timeout=PATIENCE_S)
            assert value == i
            times.append((at - start) * 1e6)
        return times[warm_up:]


def first_sync_s(ops: int) -> float:
    """Return the seconds from being connected until both have the same state hash."""
    with two_devices(ops, uvloop=True) as (database, other):
        connected: queue.SimpleQueue[float] = queue.SimpleQueue()
        complete = threading.Event()
        database.on("peer_connected", lambda _: connected.put(wall_s()))

        def note_last(values: list[Any]) -> None:
            if values:
                complete.set()

        database.subscribe(f"{ours.PREFIX}.k_{ops - 1}", note_last)
        pair(database, other)
        start = connected.get(timeout=PATIENCE_S)
        assert complete.wait(PATIENCE_S), "the last key never came"
        state_hash = ours.fold_hash(database).hex()
        took = wall_s() - start
        assert state_hash == other.hash()
        return took


if __name__ == "__main__":
    if sys.argv[4] != "uvloop":
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # importing it fails then
    be_device_b(sys.argv[1], sys.argv[2], int(sys.argv[3]))
