"""Crash images: the disk as it could be after each call of a writing program, opened anew.

`python -m tests.durability.crash_images --seed S --count N --recovery R` opens N different images
and R more of crashes while an image was being opened. A *session* is one program: it opens what
another one left, writes, and closes the file or is killed; the disk may fail at any of it. What
was acknowledged must be there, of what was not all or nothing, and nothing is ever refused.
"""

from __future__ import annotations

import argparse
import errno
import functools
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import cytosol.document.history as history_module
import cytosol.document.journal as journal_module
import cytosol.savestates.sqlite as sqlite_module
import cytosol.savestates.sqlitelog as log_module
from cytosol.errors import CytosolError, SaveError
from tests.durability.disk import Disk, Image
from tests.durability.shim import (
    FLUSHES,
    OPENS,
    RENAMES,
    TRUNCATES,
    UNLINKS,
    WRITES,
    Call,
    Shim,
    run_under_shim,
    scratch,
)
from tests.durability.subjects import NAME, SUBJECTS, Content, Subject

__all__ = ["Suite", "main", "small_limits"]

PLANS: Final = [
    # what is written, and into which kind of save state, by turns
    ("records", "sqlite"),
    ("documents", "sqlite"),
    ("records", "json"),
    ("records", "sealed-sqlite"),
    ("documents", "json"),
    ("records", "sqlite-relaxed"),
    ("documents", "sqlite"),
    ("records", "sealed-json"),
]
CHANGES: Final = WRITES | FLUSHES | TRUNCATES | RENAMES | UNLINKS | OPENS
_FAULTS: Final = (
    # which calls fail, with which error, writing half
    (FLUSHES, errno.EIO, False),
    (WRITES, errno.ENOSPC, False),
    (WRITES, errno.ENOSPC, True),
    (CHANGES, errno.EIO, False),
)


_RECOVERY_RATE: Final = 0.012  # of the images, of which each gives about ten more

_CHAIN_IMAGES: Final = 250  # from then on fewer of each moment, so that there are many chains


class Wrong(AssertionError):
    """Say what was found in an image."""


@contextmanager
def remembered_checksums() -> Iterator[None]:
    """Work the checksum of a frame out once: images of one log begin with the same frames."""
    plain = log_module._checksum
    log_module._checksum = functools.lru_cache(maxsize=4_096)(plain)
    try:
        yield
    finally:
        log_module._checksum = plain


@contextmanager
def small_limits(source: random.Random) -> Iterator[None]:
    """Let logs be settled, histories trimmed and batches put together after a few writes."""
    knobs = (
        (sqlite_module, "_SETTLE_BYTES", source.choice((20_000, 40_000, 4_000_000))),
        (journal_module, "SMALL_BATCHES_MAX", source.choice((3, 256))),
        (history_module, "SLACK_MIN", 4),
    )
    before = [(module, name, getattr(module, name)) for module, name, _ in knobs]
    try:
        for module, name, value in knobs:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class Allowed:
    """What may be read at some moment: numbers of contents."""

    def __init__(self, contents: list[Content], first: frozenset[int]) -> None:
        self.contents = contents
        self.now = first

    def hear(self, note: str, *, keeps_all: bool) -> None:
        """Follow what the session has noted."""
        word, number = note.split()
        match word:
            case "begin":
                self.now = self.now | {int(number)}
            case "done" if keeps_all:
                self.now = frozenset({int(number)})
            case "opened":  # opening flushes what it found
                self.now = frozenset({int(number)})

    def find(self, content: Content) -> int | None:
        """Return the number of what was read, None if it may not be read now."""
        return next((n for n in sorted(self.now) if self.contents[n] == content), None)


class Session:
    """One program that writes, from the disk that it found to the calls that it made."""

    def __init__(self, suite: Suite, subject: Subject, source: random.Random) -> None:
        self._suite = suite
        self._subject = subject
        self._source = source
        self.calls: list[Call] = []

    def run(self, disk: Disk, allowed: Allowed) -> None:
        """Find `disk` as a program does, and write."""
        shim, subject, source = self._suite.shim, self._subject, self._source
        self._suite.lay(disk.seen())
        contents = allowed.contents
        shim.record()
        self._open()
        found = subject.read()
        current = allowed.find(found)
        if current is None:
            raise Wrong(f"the next program reads {found!r:.200}")
        shim.note(f"opened {current}")
        is_broken = False
        for _ in range(source.randint(2, 10)):
            if is_broken or source.random() < 0.08:
                self._close()
                self._open()
                contents_now = subject.read()
                matching = [n for n in (current, len(contents) - 1) if contents[n] == contents_now]
                if not matching:
                    raise Wrong(f"after reopening it reads {contents_now!r:.200}")
                current, is_broken = matching[0], False
                shim.note(f"opened {current}")
            current, is_broken = self._write(contents, current)
        if source.random() < 0.4:
            self._close()
        self.calls = shim.stop()
        self._close()  # a process that is killed ends, too, but nobody sees this

    def _write(self, contents: list[Content], current: int) -> tuple[int, bool]:
        """Write one step; return the content that stands now, and whether the disk failed."""
        shim, subject, source = self._suite.shim, self._subject, self._source
        size = source.choice((10, 100, 100, 500, 2_000, 6_000))
        step, after = subject.next_step(contents[current], source, size)
        contents.append(after)
        number = len(contents) - 1
        shim.note(f"begin {number}")
        self._let_fail(4)
        try:
            subject.write(step)
        except SaveError:
            if subject.read() != contents[current]:
                raise Wrong("what the disk refused can be read") from None
            return current, True
        finally:
            shim.count(CHANGES)
        shim.note(f"done {number}")
        return number, False

    def _let_fail(self, calls: int) -> None:
        """Now and then, let one of the next calls fail."""
        source = self._source
        if source.random() < 0.15:
            kinds, error, half = source.choice(_FAULTS)
            number = source.randint(1, calls)
            self._suite.shim.fail(number, kinds, error, for_ever=source.random() < 0.5, half=half)

    def _open(self) -> None:
        """Open; if the disk refuses, once more when it is mended."""
        self._let_fail(10)
        try:
            self._subject.open()
        except SaveError:
            self._suite.shim.count(CHANGES)
            self._subject.open()
        finally:
            self._suite.shim.count(CHANGES)

    def _close(self) -> None:
        self._let_fail(5)
        with suppress(SaveError):
            self._subject.close()
        self._suite.shim.count(CHANGES)


class Suite:
    """Makes sessions and opens the images of them."""

    def __init__(
        self, seed: str, folder: Path, *, count: int, recovery_count: int, kind: str | None
    ) -> None:
        self.shim = Shim(folder)
        self._folder = folder
        self._seed = seed
        self._rest = "" if kind is None else f" --kind {kind}"
        self._plans = [plan for plan in PLANS if kind in (None, plan[1])]
        self._wanted = count
        self._recovery_wanted = recovery_count
        self._seen: set[tuple[object, ...]] = set()
        self.images = 0
        self.recovery_images = 0
        self.duplicates = 0
        self._images_before = 0
        self.by_plan: dict[str, int] = {}

    def lay(self, image: Image) -> None:
        """Let the folder hold these files and no other."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                os.unlink(entry.path)
        for name, content in image.items():
            with open(self._folder / name, "wb") as file:
                file.write(content)

    def run(self, first: int = 0, sessions: int | None = None) -> None:
        """Run sessions until there were images enough, or a number of them."""
        number = first
        while number < first + sessions if sessions is not None else self._is_wanting():
            try:
                self._chain(number)
            except BaseException as error:
                error.add_note(
                    "replay: python -m tests.durability.crash_images "
                    f"--seed {self._seed} --session {number}{self._rest}"
                )
                raise
            number += 1

    def _is_wanting(self) -> bool:
        return self.images < self._wanted or self.recovery_images < self._recovery_wanted

    def _chain(self, number: int) -> None:
        """Run some sessions, each on what a crash of the one before has left."""
        source = random.Random(f"{self._seed}/{number}")
        what, kind = self._plans[number % len(self._plans)]
        subject = SUBJECTS[what](kind, self._folder)
        disk, allowed = Disk(), Allowed([subject.empty], frozenset({0}))
        self._images_before = self.images
        self._seen.clear()  # so that a chain can be replayed alone
        with small_limits(source):
            for _ in range(source.choice((1, 2, 3))):
                session = Session(self, subject, source)
                start = allowed.now
                session.run(disk, allowed)
                allowed.now = start
                disk, allowed = self._crash(subject, disk, allowed, session.calls, source)
        plan = f"{what} in {kind}"
        self.by_plan[plan] = self.by_plan.get(plan, 0) + self.images - self._images_before

    def _crash(
        self,
        subject: Subject,
        disk: Disk,
        allowed: Allowed,
        calls: Sequence[Call],
        source: random.Random,
    ) -> tuple[Disk, Allowed]:
        """Open the images of a session; return what one of its crashes has left."""
        disk = disk.copy()
        moments = sum(call.kind in "wtfFsSruo" for call in calls)
        chosen = source.randint(moments // 2, moments)
        left, left_allowed = disk, allowed
        moment = 0
        is_new = True
        for call in [*calls, None]:
            if call is not None and call.kind == "#":
                allowed.hear(call.data.decode(), keeps_all=subject.keeps_all)
                is_new = True
                continue
            if is_new:
                if moment >= chosen and left is disk:
                    left_allowed = Allowed(allowed.contents, allowed.now)
                    was_killed = source.random() < 0.5  # while the machine goes on
                    left = disk.copy() if was_killed else Disk(disk.any_image(source))
                self._open_images(subject, disk, allowed, source)
            if call is not None:
                is_new = disk.do(call, source)
                moment += is_new
        return left, left_allowed

    def _open_images(
        self, subject: Subject, disk: Disk, allowed: Allowed, source: random.Random
    ) -> None:
        images = disk.plain_images()
        if self.images - self._images_before < _CHAIN_IMAGES:
            count = min(16, 1 + disk.pending_bytes // 1024)
        else:
            del images[3:]
            count = 1
        images += [disk.any_image(source) for _ in range(count)]
        for image in images:
            if self._is_known(image, allowed.now):
                continue
            self.images += 1
            if source.random() < _RECOVERY_RATE:
                self._open_recorded(subject, image, allowed, source)
            else:
                self._open(subject, image, allowed, goes_on=source.random() < 0.1)

    def _is_known(self, image: Image, allowed: frozenset[int]) -> bool:
        # Most contents are the same objects again and again, which remember their hashes.
        files = [(name, hash(image[name])) for name in sorted(image) if not name.endswith("-lock")]
        key = (allowed, *files)
        if key in self._seen:
            self.duplicates += 1
            return True
        self._seen.add(key)
        return False

    def _open(self, subject: Subject, image: Image, allowed: Allowed, *, goes_on: bool) -> None:
        """Open an image, which must hold one of the contents that are allowed."""
        self.lay(image)
        number = self._opened(subject, image, allowed)
        if not goes_on:
            subject.close()
            return
        subject.check()
        step, after = subject.next_step(allowed.contents[number], random.Random(number), 10)
        subject.write(step)
        subject.close()
        subject.open()
        if subject.read() != after:
            raise Wrong(f"a write after the crash is lost: {self._about(image)}")
        subject.close()

    def _opened(self, subject: Subject, image: Image, allowed: Allowed) -> int:
        # Whoever opens a file, a tool for one, need not know how durable its writer was.
        kind = subject.kind
        if not subject.keeps_all and self.images % 2:
            subject.kind = kind.removesuffix("-relaxed")
        try:
            subject.open()
            found = subject.read()
        except CytosolError as error:
            raise Wrong(f"{self._about(image)} is refused: {error}") from error
        finally:
            subject.kind = kind
        number = allowed.find(found)
        if number is None:
            other = [n for n, content in enumerate(allowed.contents) if content == found]
            raise Wrong(
                f"{self._about(image)} holds the content {other or repr(found)[:300]}, "
                f"where {sorted(allowed.now)} are allowed"
            )
        return number

    def _open_recorded(
        self, subject: Subject, image: Image, allowed: Allowed, source: random.Random
    ) -> None:
        """Open an image, then those of crashes while it was being opened and closed."""
        self.lay(image)
        self.shim.record()
        found = Allowed(allowed.contents, frozenset({self._opened(subject, image, allowed)}))
        if source.random() < 0.5:
            subject.close()
            calls = self.shim.stop()
        else:
            calls = self.shim.stop()
            subject.close()
        disk = Disk(image)
        for call in calls:
            if not disk.do(call, source):
                continue
            for again in [*disk.plain_images(), disk.any_image(source), disk.any_image(source)]:
                if not self._is_known(again, found.now):
                    self.recovery_images += 1
                    self._open(subject, again, found, goes_on=source.random() < 0.05)

    def _about(self, image: Image) -> str:
        """Name the files of an image, and keep them for whoever looks into it."""
        kept = os.environ.get("CYTOSOL_KEEP_IMAGE")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            for name, content in image.items():
                (Path(kept) / name).write_bytes(content)
        return "the image " + ", ".join(
            f"{name.removeprefix(NAME) or 'file'}: {len(content)} bytes"
            for name, content in sorted(image.items())
        )


def main(arguments: Sequence[str]) -> int:
    """Run the suite as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.durability.crash_images")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--recovery", type=int, help="default: a tenth of the count")
    parser.add_argument("--session", type=int, help="only this one")
    parser.add_argument("--kind", help="only this kind of save state")
    options = parser.parse_args(arguments)
    recovery = options.count // 10 if options.recovery is None else options.recovery
    start = time.perf_counter()
    with scratch() as folder, remembered_checksums():
        suite = Suite(
            options.seed,
            folder,
            count=options.count,
            recovery_count=recovery,
            kind=options.kind,
        )
        suite.run(options.session or 0, None if options.session is None else 1)
    seconds, busy = time.perf_counter() - start, time.process_time()
    print(
        f"crash images, seed {options.seed}: {suite.images:,} opened, "
        f"{suite.recovery_images:,} of crashes while opening, "
        f"{suite.duplicates:,} alike, {seconds:.0f} s ({busy:.0f} s of processor)"
    )
    for name, count in sorted(suite.by_plan.items()):
        print(f"  {name}: {count:,}")
    return 0


if __name__ == "__main__":
    sys.exit(run_under_shim("tests.durability.crash_images", main))
