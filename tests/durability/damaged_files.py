"""Damaged files: flipped bits, missing ends, pages that are zero, swapped, or of another time.

`python -m tests.durability.damaged_files --seed S --count N` damages N copies and opens them. A
file either still gives everything that was acknowledged, or it is refused in a sentence, with not
one byte of it changed. Two limits are known. The end of SQLite's log cannot be told from one that a
crash has cut short: damage there takes the last transaction, or two whose frames it touches, and a
log that lost its end is just an older one. And a readable JSON file has no checksums, because
editing it is what it is for: there damage must only never raise anything else.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cytosol.errors import DatabaseCorruptError, DatabaseError
from tests.durability.crash_images import small_limits
from tests.durability.disk import Image
from tests.durability.numbered import run_numbered
from tests.durability.salvaging import Written, salvage
from tests.durability.subjects import NAME, SUBJECTS, Content, Records, Subject

__all__ = ["main"]

PLACES: Final = (
    ("records", "sqlite"),
    ("documents", "sqlite"),
    ("records", "sealed-sqlite"),
    ("records", "json"),
    ("documents", "json"),
    ("records", "sealed-json"),
)
_PAGE: Final = 4096
_FILE_USES: Final = 40  # copies that are damaged of one good file


class Wrong(AssertionError):
    """Say what did not hold."""


def _flip_bits(content: bytearray, source: random.Random) -> None:
    for _ in range(source.choice((1, 1, 2, 8))):
        content[source.randrange(len(content))] ^= 1 << source.randrange(8)


def _cut(content: bytearray, source: random.Random) -> None:
    end = source.randrange(len(content))
    end -= end % source.choice((1, 512, _PAGE))
    del content[max(1, end) :]  # an empty file is a new one


def _zero(content: bytearray, source: random.Random) -> None:
    size = source.choice((1, 16, 512, _PAGE))
    start = source.randrange(len(content)) // size * size
    end = min(start + size, len(content))
    content[start:end] = bytes(end - start)


def _garbage(content: bytearray, source: random.Random) -> None:
    size = source.choice((1, 16, 512, _PAGE))
    start = source.randrange(len(content)) // size * size
    end = min(start + size, len(content))
    content[start:end] = source.randbytes(end - start)


def _swap(content: bytearray, source: random.Random) -> None:
    pages = max(1, len(content) // _PAGE)
    one, two = (source.randrange(pages) * _PAGE for _ in range(2))
    first, second = content[one : one + _PAGE], content[two : two + _PAGE]
    if len(first) == len(second):
        content[one : one + _PAGE], content[two : two + _PAGE] = second, first


def _repeat(content: bytearray, source: random.Random) -> None:
    pages = max(1, len(content) // _PAGE)
    one, two = (source.randrange(pages) * _PAGE for _ in range(2))
    content[two : two + _PAGE] = content[one : one + _PAGE]


def _append(content: bytearray, source: random.Random) -> None:
    content += source.randbytes(source.choice((1, 100, _PAGE)))


DAMAGES: Final[dict[str, Callable[[bytearray, random.Random], None]]] = {
    "flipped bits": _flip_bits,
    "a missing end": _cut,
    "zeros": _zero,
    "garbage": _garbage,
    "swapped pages": _swap,
    "a page twice": _repeat,
    "more at the end": _append,
}


@dataclass(frozen=True, slots=True)
class _GoodFile:
    image: Image
    contents: list[Content]
    """What was acknowledged, at first and after each step."""
    written: Written


class Suite:
    """Damages files and opens them."""

    def __init__(self, seed: str, folder: Path) -> None:
        self._seed = seed
        self._folder = folder
        self._good: dict[tuple[int, str], _GoodFile] = {}
        self.files = self.unharmed = self.cut_short = self.changed = 0
        self.salvaged: Counter[str] = Counter()  # what came of the refused ones

    def run(self, first: int, count: int) -> None:
        """Damage and open `count` copies."""
        for number in range(first, first + count):
            source = random.Random(f"{self._seed}/{number}")
            what, kind = PLACES[number % len(PLACES)]
            damage = source.choice(sorted(DAMAGES))
            try:
                self._damage(SUBJECTS[what](kind, self._folder), number, damage, source)
            except BaseException as error:
                error.add_note(
                    f"{damage} in {what} in {kind}; replay: python -m "
                    f"tests.durability.damaged_files --seed {self._seed} --first {number} --count 1"
                )
                raise
            self.files += 1

    def _damage(self, subject: Subject, number: int, damage: str, source: random.Random) -> None:
        good = self._good_file(subject, number)
        names = [name for name in good.image if good.image[name] and not name.endswith("-lock")]
        name = source.choice(names)
        damaged = bytearray(good.image[name])
        DAMAGES[damage](damaged, source)
        files = {**good.image, name: bytes(damaged)}
        self._lay(files)
        found, is_opened = self._read(subject)
        if found is None:
            # What is refused by a layer above may have taken its log in before: a sound one.
            is_plain = isinstance(subject, Records) and not subject.kind.startswith("sealed")
            if not is_opened and (is_plain or f"{NAME}-wal" not in files):
                self._check_untouched(files)
            self._salvage(subject, good.written)
        elif found == good.contents[-1]:
            self.unharmed += 1
        elif subject.kind == "json":
            self.changed += 1  # like an edit by hand
        elif name.endswith("-wal") and found in good.contents[_oldest(damage) :]:
            self.cut_short += 1
        else:
            raise Wrong(f"{name.removeprefix(NAME) or 'the file'} gives {found!r:.300}")

    def _read(self, subject: Subject) -> tuple[Content | None, bool]:
        """Return what a damaged file gives, None if it is refused, and whether it opens at all."""
        try:
            subject.open()
        except DatabaseError as error:
            _check_sentence(error)
            return None, False
        try:
            found = subject.read()
            subject.check()
            return found, True
        except DatabaseCorruptError as error:
            _check_sentence(error)
            return None, True
        finally:
            subject.close()

    def _salvage(self, subject: Subject, written: Written) -> None:
        """See what salvage makes of the refused file, which it must leave as it is."""
        files = self._files()
        self.salvaged[salvage(subject, written)] += 1
        if self._files() != files:
            raise Wrong("salvage has changed the file")

    def _files(self) -> Image:
        return {
            path.name: path.read_bytes()
            for path in self._folder.iterdir()
            if not path.name.endswith("-lock")
        }

    def _check_untouched(self, files: Image) -> None:
        now = self._files()
        before = {name: content for name, content in files.items() if not name.endswith("-lock")}
        if now != before:
            changed = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
            raise Wrong(f"it was refused, but {changed} did not stay as they were")

    def _good_file(self, subject: Subject, number: int) -> _GoodFile:
        """Return files as a program that was killed, or that has closed them, leaves them."""
        key = number // _FILE_USES, f"{type(subject).__name__} {subject.kind}"
        if key not in self._good:
            made = self._make_file(subject, random.Random(f"{self._seed} {key}"))
            self._good = {key: made, **dict(list(self._good.items())[:8])}
        return self._good[key]

    def _make_file(self, subject: Subject, source: random.Random) -> _GoodFile:
        self._lay({})
        with small_limits(source):
            subject.open()
            contents, steps = [subject.read()], []
            for _ in range(source.randint(3, 12)):
                size = source.choice((10, 300, 5_000))
                step, after = subject.next_step(contents[-1], source, size)
                subject.write(step)
                steps.append(step)
                contents.append(after)
            was_killed = source.random() < 0.6
            if not was_killed:
                subject.close()
            image = {path.name: path.read_bytes() for path in self._folder.iterdir()}
            subject.close()
        written = Written(contents[-1])
        for step in steps:
            written.add(step)
        return _GoodFile(image, contents, written)

    def report(self) -> str:
        """Tell what has come of the files."""
        refused = self.salvaged.total()
        return (
            f"{self.files:,} opened, {refused:,} refused, {self.unharmed:,} unharmed, "
            f"{self.cut_short:,} older by the end of the log, "
            f"{self.changed:,} JSON files that say something else; of the refused salvage gave "
            f"all {self.salvaged['all']:,} times, some {self.salvaged['some']:,}, "
            f"nothing {self.salvaged['nothing']:,}"
        )

    def _lay(self, image: Image) -> None:
        for entry in os.scandir(self._folder):
            os.unlink(entry.path)
        for name, content in image.items():
            (self._folder / name).write_bytes(content)


def _oldest(damage: str) -> int:
    """Return which of the contents is the oldest that damage to the log may leave."""
    return 0 if damage == "a missing end" else -4


def _check_sentence(error: DatabaseError) -> None:
    if NAME not in str(error) or len(str(error)) < 60:
        raise Wrong(f"this does not say what to do: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Run the suite as the command line says."""
    return run_numbered("damaged_files", Suite, arguments, count=2_000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
