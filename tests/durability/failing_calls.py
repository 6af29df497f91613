"""The n-th call that touches the file fails, once or from then on; for every n.

`python -m tests.durability.failing_calls --share 5 --part 0` takes every fifth case. A *case* is a
workload, what it writes into, an error, and n. Whatever fails: the error is a SaveError, memory
holds what was acknowledged, nothing is acknowledged after a flush that failed, no descriptor stays
open, and when the disk works again the file has everything acknowledged and nothing half.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cytosol.errors import SaveError
from tests.durability.crash_images import CHANGES, small_limits
from tests.durability.disk import Image
from tests.durability.shim import (
    FLUSHES,
    LOOKS,
    OPENS,
    READS,
    RENAMES,
    WRITES,
    Shim,
    run_under_shim,
    scratch,
)
from tests.durability.subjects import SUBJECTS, Content, Subject

__all__ = ["main"]

PLACES: Final = (
    ("records", "sqlite"),
    ("records", "sqlite-relaxed"),
    ("records", "json"),
    ("records", "sealed-sqlite"),
    ("records", "sealed-json"),
    ("documents", "sqlite"),
    ("documents", "json"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Which calls fail and how."""

    name: str
    kinds: int
    error: int
    half: bool = False


FAULTS: Final = (
    Fault("any call: EIO", CHANGES | READS | LOOKS, errno.EIO),
    Fault("disk full", WRITES | OPENS | RENAMES, errno.ENOSPC),
    Fault("half a write, then disk full", WRITES, errno.ENOSPC, half=True),
    Fault("flush: EIO", FLUSHES, errno.EIO),
    Fault("no descriptors left", OPENS, errno.EMFILE),
)


class Wrong(AssertionError):
    """Say what did not hold."""


class Run:
    """A subject while calls fail, and what must be in its file."""

    def __init__(self, shim: Shim, subject: Subject, content: Content) -> None:
        self._shim = shim
        self.subject = subject
        self.content = content  # what was acknowledged
        self.doubtful: list[Content] = []  # refused, but may be found after reopening
        self.is_open = False
        self._source = random.Random(7)
        self._flushes_before = 0  # that failed before it was opened

    def open(self) -> None:
        """Open, unless the disk refuses."""
        self._flushes_before = self._shim.failed_flushes
        try:
            self.subject.open()
        except SaveError as error:
            self._check_sentence(error)
            return
        self.is_open = True
        self.read()

    def read(self) -> None:
        """Read everything, unless the disk refuses."""
        if not self.is_open:
            return
        try:
            found = self.subject.read()
        except SaveError as error:
            self._check_sentence(error)
            return
        if found == self.content:
            return
        if found not in self.doubtful:
            raise Wrong(f"it reads {found!r:.300}, not {self.content!r:.300}")
        self.content = found
        self.doubtful.clear()

    def write(self, size: int = 50) -> None:
        """Write one step, unless the disk refuses; then nothing of it may be seen."""
        if not self.is_open:
            return
        step, after = self.subject.next_step(self.content, self._source, size)
        flushes = self._shim.failed_flushes - self._flushes_before
        try:
            self.subject.write(step)
        except SaveError as error:
            self._check_sentence(error)
            self.doubtful.append(after)
            kept, self.doubtful = self.doubtful, []
            self.read()
            self.doubtful = kept
            return
        if flushes:
            raise Wrong("it acknowledges a write after a flush that failed")
        self.content = after
        self.doubtful.clear()
        self.read()

    def check(self) -> None:
        """Let it look at itself, unless the disk refuses."""
        if self.is_open:
            with suppress(SaveError):
                self.subject.check()

    def close(self) -> None:
        """Close, whatever the disk says."""
        self.is_open = False
        with suppress(SaveError):
            self.subject.close()

    def must_open(self) -> None:
        """Open and read where nothing fails any more."""
        self._flushes_before = self._shim.failed_flushes
        self.subject.open()
        self.is_open = True
        self.read()

    def reopen(self) -> None:
        """Close and open."""
        self.close()
        self.open()

    def _check_sentence(self, error: SaveError) -> None:
        text = str(error)
        if str(self.subject.path.parent) not in text or len(text) < 60:
            raise Wrong(f"this does not say what to do: {text}") from error


Workload = Callable[[Run], None]


def _writes(run: Run) -> None:
    for _ in range(8):
        run.write()


def _big(run: Run) -> None:
    run.write(30_000)
    run.write()


def _reopening(run: Run) -> None:
    for _ in range(3):
        run.write()
        run.reopen()


def _writing_and_checking(run: Run) -> None:
    run.write()
    run.check()


WORKLOADS: Final[dict[str, tuple[str, Workload]]] = {
    # name: what is found, what is done between opening and closing
    "make a file": ("nothing", lambda run: None),
    "make a file and write": ("nothing", Run.write),
    "open and read": ("closed", Run.read),
    "one write": ("closed", Run.write),
    "eight writes": ("closed", _writes),
    "eight writes that settle the log": ("closed", _writes),
    "a big write": ("closed", _big),
    "write and reopen": ("closed", _reopening),
    "open what was killed": ("killed", Run.read),
    "write into what was killed": ("killed", Run.write),
    "check": ("closed", Run.check),
    "write and check": ("killed", _writing_and_checking),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One workload on one disk that fails."""

    what: str
    kind: str
    workload: str
    fault: Fault
    number: int = 0
    """Which call fails, from 1; 0: none."""
    for_ever: bool = False

    def __str__(self) -> str:
        rest = " and all after it" if self.for_ever else ""
        return (
            f"{self.what} in {self.kind}, {self.workload}: {self.fault.name}, "
            f"call {self.number}{rest}"
        )


class Suite:
    """Runs every case, or a share of them."""

    def __init__(self, folder: Path) -> None:
        self._shim = Shim(folder)
        self._folder = folder
        self._bases: dict[tuple[str, str, str], tuple[Image, Content]] = {}
        self.cases = 0
        self.failed_calls = 0

    def run(self, is_due: Callable[[int], bool]) -> None:
        """Run the cases whose numbers are due."""
        for number, case in enumerate(self._all_cases()):
            if not is_due(number):
                continue
            self.cases += 1
            try:
                self._run(case)
            except BaseException as error:
                self._shim.count(0)
                replay = f"python -m tests.durability.failing_calls --only {number}"
                error.add_note(f"{case}\nreplay: {replay}")
                raise

    def _all_cases(self) -> Iterator[Case]:
        for what, kind in PLACES:
            for workload in WORKLOADS:
                plain = Case(what, kind, workload, FAULTS[0])
                with self._limits(plain):
                    self._work(plain)
                calls = [self._shim.calls(fault.kinds) for fault in FAULTS]
                for fault, count in zip(FAULTS, calls, strict=True):
                    for number in range(1, count + 1):
                        for for_ever in (False, True):
                            yield Case(what, kind, workload, fault, number, for_ever)

    def _run(self, case: Case) -> None:
        """Run a workload while calls fail, then look at the file with a disk that works."""
        with self._limits(case):
            run = self._work(case)
            if not self._shim.failures:
                raise Wrong("the call that was to fail did not come")
            self.failed_calls += self._shim.failures
            self._shim.count(0)
            still_open = [name for name in _open_files() if name.startswith(f"{self._folder}")]
            if still_open:
                raise Wrong(f"these stayed open: {still_open}")
            run.must_open()
            run.subject.check()
            run.write()
            run.close()
            run.must_open()
            run.close()

    def _work(self, case: Case) -> Run:
        """Do the workload of a case; the shim has counted the calls then."""
        found, workload = WORKLOADS[case.workload]
        base, content = self._base(case, found)
        self._lay(base)
        run = Run(self._shim, SUBJECTS[case.what](case.kind, self._folder), content)
        fault = case.fault
        self._shim.fail(
            case.number, fault.kinds, fault.error, for_ever=case.for_ever, half=fault.half
        )
        run.open()
        workload(run)
        run.close()
        return run

    def _limits(self, case: Case) -> AbstractContextManager[None]:
        is_small = "settle" in case.workload
        return small_limits(random.Random(1)) if is_small else nullcontext()

    def _base(self, case: Case, found: str) -> tuple[Image, Content]:
        """Return the files that a workload finds, and what is in them."""
        key = case.what, case.kind, found
        if key not in self._bases:
            self._lay({})
            subject = SUBJECTS[case.what](case.kind, self._folder)
            run = Run(self._shim, subject, subject.empty)
            if found != "nothing":
                run.open()
                for _ in range(5):
                    run.write()
            if found == "closed":
                run.close()
            image = {path.name: path.read_bytes() for path in self._folder.iterdir()}
            self._bases[key] = image, run.content
            run.close()
        return self._bases[key]

    def _lay(self, image: Image) -> None:
        for entry in os.scandir(self._folder):
            os.unlink(entry.path)
        for name, content in image.items():
            (self._folder / name).write_bytes(content)


def _open_files() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{name}")


def main(arguments: Sequence[str]) -> int:
    """Run the suite as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.durability.failing_calls")
    parser.add_argument("--share", type=int, default=1, help="of so many cases take one")
    parser.add_argument("--part", type=int, default=0, help="which one, from 0")
    parser.add_argument("--only", type=int, help="only the case with this number")
    options = parser.parse_args(arguments)

    def is_due(number: int) -> bool:
        if options.only is not None:
            return bool(number == options.only)
        return bool(number % options.share == options.part)

    start = time.perf_counter()
    with scratch() as folder:
        suite = Suite(folder)
        suite.run(is_due)
    seconds, busy = time.perf_counter() - start, time.process_time()
    print(
        f"failing calls, part {options.part} of {options.share}: {suite.cases:,} cases, "
        f"{suite.failed_calls:,} calls failed, {seconds:.0f} s ({busy:.0f} s of processor)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_under_shim("tests.durability.failing_calls", main))
