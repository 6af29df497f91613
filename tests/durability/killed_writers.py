"""Writing processes that are killed with SIGKILL at any moment, again and again on one file.

`python -m tests.durability.killed_writers --seed S --count N` kills N of them. Each goes on in the
file that the one before has left. What it acknowledged must be there, the write that it was at
whole or absent; now and then `cytosol check` looks at the file, too.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.durability.crash_images import small_limits
from tests.durability.numbered import run_numbered
from tests.durability.subjects import SUBJECTS, Content, Subject
from tests.end_to_end.shipped import check_file

__all__ = ["main"]

PLACES: Final = (
    ("records", "sqlite"),
    ("records", "sqlite-relaxed"),
    ("records", "json"),
    ("records", "sealed-sqlite"),
    ("records", "sealed-json"),
    ("documents", "sqlite-relaxed"),
    ("documents", "sqlite"),
    ("documents", "json"),
)
_FILE_ROUNDS: Final = 12  # on one file, before a new one is begun
_SHIPPED_EVERY: Final = 20  # rounds on documents, of which one is looked at by `cytosol check`


class Wrong(AssertionError):
    """Say what did not hold."""


class Suite:
    """Kills writers, one after the other."""

    def __init__(self, seed: str, folder: Path) -> None:
        self._seed = seed
        self._folder = folder
        self.kills = 0
        self.kills_while_opening = 0
        self.unacknowledged = 0
        self.shipped_checks = 0
        self._documents = 0

    def run(self, first: int, count: int) -> None:
        """Kill `count` writers; `first` is where a file begins."""
        content: Content = None
        for number in range(first, first + count):
            what, kind = PLACES[number // _FILE_ROUNDS % len(PLACES)]
            subject = SUBJECTS[what](kind, self._folder)
            if number % _FILE_ROUNDS == 0 or number == first:
                for path in self._folder.iterdir():
                    path.unlink()
                content = subject.empty
            try:
                content = self._round(subject, content, number)
            except BaseException as error:
                start = number - number % _FILE_ROUNDS
                error.add_note(
                    f"{what} in {kind}; replay: python -m tests.durability.killed_writers "
                    f"--seed {self._seed} --first {start} --count {number - start + 1}"
                )
                raise

    def report(self) -> str:
        """Tell when the writers were killed, and what was found."""
        return (
            f"{self.kills:,} kills, {self.kills_while_opening:,} before the first acknowledged "
            f"write, {self.unacknowledged:,} times one more write was whole, "
            f"{self.shipped_checks} looks by `cytosol check`"
        )

    def _round(self, subject: Subject, content: Content, number: int) -> Content:
        source = random.Random(f"{self._seed}/{number}")
        acknowledged = self._kill_one(subject, content, number, source)
        self.kills += 1
        self.kills_while_opening += acknowledged == 0
        before = after = content
        for step_number in range(acknowledged + 1):
            before = after
            after = self._step(subject, before, number, step_number)[1]
        if self._is_shipped(subject):
            check_file(subject.path)
            self.shipped_checks += 1
        subject.open()
        found = subject.read()
        if found not in (before, after):
            raise Wrong(f"after {acknowledged} writes it holds {found!r:.300}, not {before!r:.300}")
        self.unacknowledged += found != before
        subject.check()
        subject.close()
        return found

    def _is_shipped(self, subject: Subject) -> bool:
        if SUBJECTS["documents"] is not type(subject) or not subject.path.exists():
            return False
        self._documents += 1
        return self._documents % _SHIPPED_EVERY == _SHIPPED_EVERY // 2

    def _kill_one(
        self, subject: Subject, content: Content, number: int, source: random.Random
    ) -> int:
        """Start a writer, kill it, and return how many writes it has acknowledged."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            self._write_until_killed(subject, content, number, writing)
        os.close(writing)
        acknowledged = 0
        wanted = source.choice((0, 1, 2, 5, 10, 20))
        with os.fdopen(reading, "rb", buffering=0) as acks:
            while acknowledged < wanted and acks.read(1):
                acknowledged += 1
            for _ in range(source.randrange(40_000)):
                pass  # so that it dies anywhere in the next write, or while opening
            os.kill(child, signal.SIGKILL)
            while acks.read(1):
                acknowledged += 1
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise Wrong("the writer ended by itself; see its message above")
        return acknowledged

    def _write_until_killed(
        self, subject: Subject, content: Content, number: int, acks: int
    ) -> NoReturn:
        try:
            with small_limits(random.Random(number)):
                subject.open()
                content = subject.read()
                step_number = 0
                while True:
                    step, content = self._step(subject, content, number, step_number)
                    subject.write(step)
                    os.write(acks, b"x")
                    step_number += 1
        except BaseException as error:
            print(f"the writer failed: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    def _step(
        self, subject: Subject, content: Content, number: int, step: int
    ) -> tuple[object, Content]:
        """Return what the writer of a round writes next: the same for it and for us."""
        source = random.Random(f"{self._seed}/{number}/{step}")
        return subject.next_step(content, source, source.choice((10, 500, 20_000)))


def main(arguments: Sequence[str]) -> int:
    """Run the suite as the command line says."""
    return run_numbered("killed_writers", Suite, arguments, count=100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
