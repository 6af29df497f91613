"""Several processes that all want one file: one has it at a time, the others are told who.

`python -m tests.durability.many_processes --seed S --rounds N` lets 8 processes open the file, add
to it and close it, N times together; every fifth owner or so is killed while it writes. Nobody may
be an owner beside another one, whoever is refused hears so in a sentence, and everything that any
of them acknowledged is there.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import re
import signal
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from cytosol.errors import DatabaseLockedError
from cytosol.savestates import SaveState
from cytosol.testing.savestate_contract import value_of
from tests.contract.savestate_kinds import make
from tests.durability.shim import scratch
from tests.durability.subjects import NAME

__all__ = ["main"]

KINDS: Final = ("sqlite", "json", "sealed-sqlite")
PROCESSES: Final = 8
_MESSAGE: Final = struct.Struct("=cIQ")  # what, the process, a number
_REFUSAL: Final = re.compile(r"is open in (the process with id \d+|another process).* close it")


class Wrong(AssertionError):
    """Say what did not hold."""


class Worker:
    """One of the processes; tells in messages of one write what it does."""

    def __init__(self, kind: str, path: Path, owner: mmap.mmap, pipe: int, seed: str) -> None:
        self._kind = kind
        self._path = path
        self._owner = owner
        self._pipe = pipe
        self._source = random.Random(seed)

    def run(self) -> NoReturn:
        """Open, add and close until killed."""
        try:
            while True:
                self._turn()
        except BaseException as error:
            print(f"a worker failed: {error!r}", file=sys.stderr, flush=True)
            self._tell(b"!", 0)
        finally:
            os._exit(1)

    def _turn(self) -> None:
        state = make(self._kind, self._path)
        try:
            state.open()
        except DatabaseLockedError as error:
            if not _REFUSAL.search(str(error)):
                raise Wrong(f"this does not say who has the file: {error}") from None
            self._tell(b"l", 0)
            os.sched_yield()
            return
        self._become_owner()
        self._tell(b"o", 0)
        for _ in range(self._source.randint(1, 4)):
            number = check_all(state) + 1
            text = f"{number} {'x' * self._source.choice((10, 3_000))}"
            state.commit([(_key(number), value_of(state, text))])
            self._tell(b"a", number)
        self._owner[:8] = bytes(8)
        state.close()
        self._tell(b"c", 0)

    def _become_owner(self) -> None:
        """Note in shared memory that we have the file; nobody who lives may have noted that."""
        other = int.from_bytes(self._owner[:8], "little")
        if other and _is_running(other):
            raise Wrong(f"the process {other} has the file, too")
        self._owner[:8] = os.getpid().to_bytes(8, "little")

    def _tell(self, what: bytes, number: int) -> None:
        os.write(self._pipe, _MESSAGE.pack(what, os.getpid(), number))


def check_all(state: SaveState) -> int:
    """Return how many records there are; each must be what was written under its number."""
    count = 0
    for key, value in state.scan("op/"):
        count += 1
        text = value.decode() if isinstance(value, bytes) else value
        if key != _key(count) or text.split()[0] != str(count):
            raise Wrong(f"the record {count} is missing or wrong: {key} {text[:20]!r}")
    return count


def _key(number: int) -> str:
    return f"op/{number:08}"


def _is_running(process_id: int) -> bool:
    """Tell whether a process lives; one that was killed and not yet waited for does not."""
    with suppress(OSError), open(f"/proc/{process_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


class Suite:
    """Starts the processes, hears what they do, and kills some."""

    def __init__(self, seed: str, kind: str, folder: Path) -> None:
        self._seed = seed
        self._kind = kind
        self._path = folder / NAME
        self._source = random.Random(f"{seed}/{kind}")
        self._owner = mmap.mmap(-1, 8)
        self._workers: set[int] = set()
        self._started = 0
        self.rounds = self.refusals = self.kills = self.handovers = 0
        self.acknowledged = 0
        self._last_owner = 0

    def run(self, rounds: int) -> None:
        """Go on until the file had that many owners; then look at it."""
        self._path.unlink(missing_ok=True)
        reading, writing = os.pipe()
        try:
            for _ in range(PROCESSES):
                self._start(writing)
            with os.fdopen(reading, "rb", buffering=0) as pipe:
                while self.rounds < rounds:
                    self._hear(pipe.read(_MESSAGE.size), writing)
        finally:
            for worker in self._workers:
                os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
            os.close(writing)
        state = make(self._kind, self._path)
        state.open()
        if check_all(state) < self.acknowledged:
            raise Wrong(f"{self.acknowledged} were acknowledged, {check_all(state)} are there")
        state.check()
        state.close()

    def _start(self, writing: int) -> None:
        self._started += 1
        child = os.fork()
        if child == 0:
            seed = f"{self._seed}/{self._kind}/{self._started}"
            Worker(self._kind, self._path, self._owner, writing, seed).run()
        self._workers.add(child)

    def _hear(self, message: bytes, writing: int) -> None:
        what, worker, number = _MESSAGE.unpack(message)
        match what:
            case b"l":
                self.refusals += 1
            case b"o":
                self.rounds += 1
                self.handovers += worker != self._last_owner
                self._last_owner = worker
                if self._source.random() < 0.2 and worker in self._workers:
                    for _ in range(self._source.randrange(20_000)):
                        pass  # so that it dies anywhere in what it writes
                    os.kill(worker, signal.SIGKILL)
                    os.waitpid(worker, 0)
                    self._workers.discard(worker)
                    self.kills += 1
                    self._start(writing)
            case b"a":
                self.acknowledged = max(self.acknowledged, number)
            case b"!":
                raise Wrong("a process failed; see its message above")


def main(arguments: Sequence[str]) -> int:
    """Run the suite as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.durability.many_processes")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(arguments)
    for kind in KINDS:
        start = time.perf_counter()
        with scratch() as folder:
            suite = Suite(options.seed, kind, folder)
            suite.run(options.rounds)
        print(
            f"{PROCESSES} processes on one file ({kind}), seed {options.seed}: "
            f"{suite.rounds:,} owners, {suite.handovers:,} handovers, {suite.kills:,} killed, "
            f"{suite.refusals:,} refused, {suite.acknowledged:,} writes, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
