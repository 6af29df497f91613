"""A real device that is attacked: told what to do by JSON lines, and watching itself meanwhile.

Run as `python -m tests.hostile.victim_process '{"app_id": ..., "name": ...}'` by
`tests.hostile.real_devices`. Each line in is `{"do": command, ...}`, each line out
`{"result": ...}` or `{"error": sentence}`, in the same order.

While it is watched it dispatches up to 200 times a second, as a busy app would, and measures two
things: the most memory that it ever held (`VmHWM`, which the kernel lets us reset), and how long
each dispatch took. A machine may be busy with other things, so the length of a dispatch is the
smaller one of two: what the clock says, and how much processor time this process used meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cytosol
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import canonical_bytes
from cytosol.protocol.seams import PairedPeer

UNIT_STEPS = 200_000
UNIT_S = 0.008
"""What `work` takes on the machine on which the ceilings were set."""

PAUSE_S = 0.001  # between two dispatches
DISPATCHES_MIN = 600  # so that what happens five times in an attack is less than one in a hundred
HASTE_S = 0.0005  # instead, where an attack was over before there were so many


def work() -> float:
    """Return the processor time of a fixed piece of work: how slow this machine is."""
    start = time.thread_time()
    total = 0
    for number in range(UNIT_STEPS):
        total += number & 7
    return time.thread_time() - start


def memory(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)


class Load(threading.Thread):
    """An app that writes again and again."""

    def __init__(self, database: cytosol.Database, name: str) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._path = f"$['load of {name}']"
        self.lengths: list[float] = []
        self.pause_s = PAUSE_S
        self.is_over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.is_over.is_set():
            number += 1
            wall, cpu = time.perf_counter(), time.process_time()
            self._database.dispatch(cytosol.Set(self._path, number))
            length = time.perf_counter() - wall, time.process_time() - cpu
            self.lengths.append(min(length))
            self.is_over.wait(self.pause_s)


class Victim:
    """The commands."""

    def __init__(self, name: str, app_id: str, path: str | None) -> None:
        self.name = name
        self.errors: list[str] = []
        self.lost = 0  # connections
        threading.excepthook = lambda args: self.errors.append(f"{args.exc_value!r}")
        sys.unraisablehook = lambda args: self.errors.append(f"{args.exc_value!r}")
        self.database = cytosol.open(path, app_id=app_id, peer_name=name, loopback=True)
        self.database.on("callback_error", lambda event: self.errors.append(f"{event!r}"))
        self.database.on("peer_disconnected", lambda event: self.disconnected(event.peer_id))
        self.prompts = 0
        self.database.on("pair_request", lambda _: self.prompted())
        self.others: list[str] = []
        self.load: Load | None = None
        self.before = 0

    def disconnected(self, peer_id: str) -> None:
        self.lost += peer_id in self.others

    def prompted(self) -> None:
        self.prompts += 1

    def do_hello(self) -> dict[str, Any]:
        """Say how to reach and know this device."""
        database: Any = self.database
        return {
            "id": database.peer_id,
            "key": database._identity.key_pair.public.hex(),
            "port": database._network.gateway_port,
            "work_s": work(),
        }

    def do_friend(self, id: str) -> None:
        """Count the lost connections with an honest device."""
        self.others.append(id)

    def do_pair(self, id: str, key: str) -> None:
        """Be paired with a device without ado."""
        peer = PairedPeer(parse_id(id), "Mallory", bytes.fromhex(key))
        database: Any = self.database
        database._pairings.add(peer, True)

    def do_dispatch(self, action: dict[str, Any]) -> Any:
        """Dispatch any action."""
        return self.database.dispatch(action)

    def do_query(self, path: str) -> list[Any]:
        """Query the document."""
        return self.database.query_once(path)

    def do_meta(self, path: str) -> list[Any]:
        """Query the metadata."""
        return self.database.query_once_meta(path)

    def do_watch(self) -> None:
        """Begin to write, and to watch memory and the length of dispatches."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.before = memory("VmRSS")
        self.load = Load(self.database, self.name)
        self.load.start()

    def do_figures(self) -> dict[str, Any]:
        """Stop writing and say what was seen."""
        load, self.load = self.load, None
        assert load is not None
        load.pause_s = HASTE_S
        while len(load.lengths) < DISPATCHES_MIN and load.is_alive():
            load.join(HASTE_S)  # so that one in a hundred means something
        load.is_over.set()
        load.join()
        lengths = sorted(load.lengths)
        return {
            "memory_bytes": max(0, memory("VmHWM") - self.before),
            "dispatches": len(lengths),
            "p50_s": lengths[len(lengths) // 2],
            "p99_s": lengths[len(lengths) * 99 // 100],
            "max_s": lengths[-1],
            "slow": max(1.0, work() / UNIT_S),
            "problems": self.do_problems(),
            "lost": self.lost,
        }

    def do_problems(self) -> list[str]:
        """Return what must never be there: exceptions that nobody declared."""
        database: Any = self.database
        return [*self.errors, *database._network.problems()]

    def do_prompts(self) -> int:
        """Return how often the user was asked to pair."""
        return self.prompts

    def do_state(self) -> list[str]:
        """Return the state hash and a digest of the document."""
        document: Any = self.database
        with document._document.lock:
            digest = hashlib.blake2b(canonical_bytes(document._document.replica.document))
            return [self.database.state_hash(), digest.hexdigest()]

    def do_author(self) -> str:
        """Return under which id this device writes."""
        database: Any = self.database
        return format_id(database._document.replica.author)

    def do_clock(self) -> int:
        """Return the greatest Lamport number known."""
        database: Any = self.database
        clock: int = database._document.replica.clock
        return clock

    def do_trim(self) -> None:
        """Forget the history, as far as it can be forgotten cleanly."""
        from cytosol.crdt.retention import clean_cut

        database: Any = self.database
        document = database._document
        with document.lock:
            document.journal.drain()
            count = clean_cut(document.replica, len(document.replica.log))
            if count:
                document.history._trim_to(count)

    def do_check(self) -> None:
        """Check every invariant."""
        self.database.check()


def main(argument: str) -> None:
    """Obey until the input ends."""
    options = json.loads(argument)
    victim = Victim(options["name"], options["app_id"], options.get("path"))
    print(json.dumps({"result": victim.do_hello()}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        try:
            result = getattr(victim, f"do_{message.pop('do')}")(**message)
        except Exception as error:
            answer: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"}
        else:
            answer = {"result": result}
        print(json.dumps(answer), flush=True)
    victim.database.close()


if __name__ == "__main__":
    main(sys.argv[1])
