"""A disk as it could be after a power cut, made from what a program did to its files.

What was written since the last flush of a file may be there or not, each write for itself and
each sector of it for itself; where a file grew, sectors that did not come hold zeros or garbage.
Names that were made, changed or removed since the folder was flushed may have reached the disk or
not. After a flush that failed each sector is there or not, for good, although the program reads
it back: the next flush succeeds and writes nothing of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from tests.durability.shim import Call

__all__ = ["Disk", "Image"]

SECTOR_BYTES: Final = 512

Image = dict[str, bytes]
"""The files of a folder by name."""


@dataclass(slots=True)
class _File:
    flushed: bytes = b""
    seen: bytes = b""  # as the program reads it
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut off here
    is_doubtful: bool = False  # a flush has failed: what is seen need not be on the disk

    def write(self, offset: int, data: bytes | None) -> None:
        self.pending.append((offset, data))
        self.seen = _applied(self.seen, offset, data)

    def flush(self) -> None:
        self.flushed = self._all() if self.is_doubtful else self.seen
        self.pending.clear()

    def _all(self) -> bytes:
        content = self.flushed
        for offset, data in self.pending:
            content = _applied(content, offset, data)
        return content

    def fail_flush(self, source: random.Random) -> None:
        self.flushed = self.any_content(source)
        self.pending.clear()
        self.is_doubtful = True

    def any_content(self, source: random.Random) -> bytes:
        """Return what may be on the disk."""
        content = self.flushed
        for offset, data in self.pending:
            choice = source.random()
            if choice < 0.4:
                content = _applied(content, offset, data)
            elif choice < 0.7 and data is not None:
                content = _torn(content, offset, data, source)
        return content

    def copy(self) -> _File:
        return _File(self.flushed, self.seen, list(self.pending), self.is_doubtful)


class Disk:
    """One folder; `do` each call of a program, and ask for images in between."""

    def __init__(self, image: Image | None = None) -> None:
        """Begin with files that are safely on the disk."""
        self._files: dict[str, _File] = {
            name: _File(content, content) for name, content in (image or {}).items()
        }
        self._flushed_names = dict(self._files)
        # Changes of names: the one that went, the one that came, and the file.
        self._changes: list[tuple[str | None, str | None, _File]] = []
        self._open: dict[int, _File] = {}

    def do(self, call: Call, source: random.Random) -> bool:
        """Take over what was done; tell whether a power cut may now find something else."""
        match call.kind:
            case "o":
                self._do_open(call)
            case "c":
                self._open.pop(call.file, None)
                return False
            case "w":
                self._open[call.file].write(call.offset, call.data)
            case "t":
                self._open[call.file].write(call.offset, None)
            case "f":
                self._open[call.file].flush()
            case "F":
                self._open[call.file].fail_flush(source)
            case "s":
                self._flushed_names = dict(self._files)
                self._changes.clear()
            case "S":
                self._flushed_names = self._any_names(source)
                self._changes.clear()
            case "r":
                old, new = call.data.decode().split("/")
                self._files[new] = file = self._files.pop(old)
                self._changes.append((old, new, file))
            case "u":
                name = call.data.decode()
                self._changes.append((name, None, self._files.pop(name)))
            case _:
                return False
        return True

    def _do_open(self, call: Call) -> None:
        name = call.data.decode()
        if name not in self._files:
            self._files[name] = made = _File()
            self._changes.append((None, name, made))
        file = self._open[call.file] = self._files[name]
        if call.offset and file.seen:
            file.write(0, None)

    # --- images -------------------------------------------------------------------------

    def seen(self) -> Image:
        """Return what a program finds that is started after this one was killed."""
        return {name: file.seen for name, file in self._files.items()}

    def plain_images(self) -> list[Image]:
        """Return the disk with all of what is not flushed, none of it, all but one, only one."""
        images = [self.seen()]
        names = [self._files, self._flushed_names]
        images += [{name: file.flushed for name, file in known.items()} for known in names]
        for name, file in self._files.items():
            if len(file.pending) < 2 or name.endswith("-lock"):
                continue
            for number in range(len(file.pending)):
                for chosen in (
                    [*file.pending[:number], *file.pending[number + 1 :]],
                    [file.pending[number]],
                ):
                    content = file.flushed
                    for offset, data in chosen:
                        content = _applied(content, offset, data)
                    images.append({**self.seen(), name: content})
        return images

    def any_image(self, source: random.Random) -> Image:
        """Return the disk as a power cut may leave it."""
        names = self._any_names(source)
        return {name: file.any_content(source) for name, file in names.items()}

    def _any_names(self, source: random.Random) -> dict[str, _File]:
        names = dict(self._flushed_names)
        # Most file systems keep the order of changes; a few do not.
        end = source.randint(0, len(self._changes))
        keeps_order = source.random() < 0.7
        for number, (old, new, file) in enumerate(self._changes):
            if number >= end if keeps_order else source.random() < 0.5:
                continue
            if old is not None and names.get(old) is file:
                del names[old]
            if new is not None:
                names[new] = file
        return names

    @property
    def pending_bytes(self) -> int:
        """How much was written and not flushed."""
        written = [data for file in self._files.values() for _, data in file.pending if data]
        return sum(map(len, written))

    def copy(self) -> Disk:
        """Return a disk that goes its own way, with no file open."""
        made = Disk()
        copies: dict[int, _File] = {}

        def copied(file: _File) -> _File:
            return copies.setdefault(id(file), file.copy())

        made._files = {name: copied(file) for name, file in self._files.items()}
        made._flushed_names = {name: copied(file) for name, file in self._flushed_names.items()}
        made._changes = [(old, new, copied(file)) for old, new, file in self._changes]
        return made


def _applied(content: bytes, offset: int, data: bytes | None) -> bytes:
    """Return the content after a write, or (None) after it was cut off or extended."""
    if data is None:
        return content[:offset].ljust(offset, b"\0")
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def _torn(content: bytes, offset: int, data: bytes, source: random.Random) -> bytes:
    """Return the content after a write of which only some sectors came."""
    end = offset + len(data)
    first, last = offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
    rate = source.choice((0.1, 0.5, 0.9))
    came = [sector for sector in range(first, last + 1) if source.random() < rate]
    old_size = len(content)
    # A file may have grown to its new size before the sectors came.
    grown = max(old_size, end) if source.random() < 0.5 else old_size
    fill = source.randbytes(grown - old_size) if source.random() < 0.5 else b""
    content = (content + fill).ljust(grown, b"\0")
    for sector in came:
        start = max(offset, sector * SECTOR_BYTES)
        stop = min(end, (sector + 1) * SECTOR_BYTES)
        content = _applied(content, start, data[start - offset : stop - offset])
    return content
