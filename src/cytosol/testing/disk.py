"""A disk in memory that loses and tears what was not flushed, and a save state on it.

The save state is a log: each batch is a record with a magic number, its length and a checksum
that zeros cannot satisfy, appended and flushed before it is acknowledged. A tail that a crash has
torn is cut off when the log is opened.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from cytosol.errors import DatabaseCorruptError, DatabaseLockedError, SaveError
from cytosol.savestates.base import Batch, SaveState, closed_error, make_batch

__all__ = ["PowerCut", "VirtualDisk", "VirtualSaveState"]

SECTOR_BYTES: Final = 512
_HEADER: Final = struct.Struct(">4sII")
_MAGIC: Final = b"cyto"
_REWRITE_BEYOND_BYTES: Final = 64 * 1024  # a log that holds more than twice what it must


class PowerCut(BaseException):
    """The power of a device failed in the middle of a write; nothing of it runs any more.

    Not an Exception: no program can catch a power cut and go on.
    """

    def __init__(self, disk: VirtualDisk) -> None:
        super().__init__("the power failed while this device was writing to its disk")
        self.disk = disk


class _File:
    """What a flush has made durable, and the writes since then in order."""

    __slots__ = ("durable", "pending")

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.pending: list[bytes] = []

    def contents(self) -> bytes:
        return bytes(self.durable) + b"".join(self.pending)

    def size(self) -> int:
        return len(self.durable) + sum(map(len, self.pending))


class VirtualDisk:
    """Files by name. `capacity` is in bytes; None has no end."""

    def __init__(self) -> None:
        self.capacity: int | None = None
        self.flush_fails = False
        """True: the next flush fails, and nobody knows what is on the disk then."""
        self.writes = 0
        """How many writes, flushes and renames there were."""
        self._cut_at: int | None = None
        self._files: dict[str, _File] = {}

    def cut_power_after(self, writes: int) -> None:
        """Fail the power in the middle of the n-th write, flush or rename from now on."""
        self._cut_at = self.writes + writes

    def stay_powered(self) -> None:
        """Take back `cut_power_after`."""
        self._cut_at = None

    def used_bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size() for file in self._files.values())

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, none for one that is not there."""
        file = self._files.get(name)
        return b"" if file is None else file.contents()

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file; raises OSError, maybe with part of it written."""
        file = self._files.setdefault(name, _File())
        space = len(data) if self.capacity is None else max(0, self.capacity - self.used_bytes())
        file.pending.append(data[:space])
        self._note_write()
        if space < len(data):
            raise OSError("no space left on the disk")

    def flush(self, name: str) -> None:
        """Make a file durable; raises OSError."""
        self._note_write()
        file = self._files[name]
        if self.flush_fails:
            self.flush_fails = False
            raise OSError("the flush failed")
        file.durable += b"".join(file.pending)
        file.pending.clear()

    def truncate(self, name: str, size: int) -> None:
        """Cut a file off."""
        if name in self._files:
            self._files[name] = _File(self.read(name)[:size])

    def rename(self, name: str, target: str) -> None:
        """Put a flushed file in the place of another; all of it happens, or nothing."""
        self._note_write()
        self._files[target] = self._files.pop(name)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        self._files.pop(name, None)

    def _note_write(self) -> None:
        self.writes += 1
        if self._cut_at is not None and self.writes >= self._cut_at:
            self._cut_at = None
            raise PowerCut(self)

    def crash(self, chance: random.Random) -> None:
        """Lose what was not flushed, or part of it: a prefix stays, its last sector torn."""
        self._cut_at = None
        for file in self._files.values():
            lost = b"".join(file.pending)
            file.pending.clear()
            if not lost:
                continue
            kept = bytearray(lost[: chance.randrange(len(lost) + 1)])
            damage = chance.randrange(4)
            if kept and damage < 2:
                torn = min(len(kept), chance.randrange(1, SECTOR_BYTES + 1))
                kept[-torn:] = bytes(torn) if damage else chance.randbytes(torn)
            file.durable += kept

    def mend(self) -> None:
        """End all faults: there is space, the power stays, and flushes do what they say."""
        self.capacity = None
        self.flush_fails = False
        self.stay_powered()

    def copy(self) -> VirtualDisk:
        """Return another disk with the same files, as a program that copies them sees them."""
        disk = VirtualDisk()
        disk.put_back(self)
        return disk

    def put_back(self, backup: VirtualDisk) -> None:
        """Get the files of a copy; what was here is gone, and so are all faults."""
        self.mend()
        self._files = {name: _File(file.contents()) for name, file in backup._files.items()}


class VirtualSaveState(SaveState):
    """Records in a log on a virtual disk; passes the contract of save states."""

    def __init__(self, disk: VirtualDisk, name: str = "database") -> None:
        self._disk = disk
        self._name = name
        self._records: dict[str, bytes] | None = None
        self._broken = False
        self._live_bytes = 0
        self.on_commit: Callable[[], None] = lambda: None
        """Called when a batch is durable, before `commit` returns."""

    def open(self) -> None:
        """Read the log, and cut off what a crash has torn; raises DatabaseLockedError."""
        if self._records is not None:
            raise DatabaseLockedError("this VirtualSaveState is already open; close it first")
        self._disk.delete(self._name + "-new")
        data = self._disk.read(self._name)
        records: dict[str, bytes] = {}
        size = 0
        for batch, end in _batches(data):
            batch.apply_to(records)
            size = end
        if size < len(data):
            self._disk.truncate(self._name, size)
        self._records = records
        self._broken = False

    def get(self, key: str) -> bytes | None:
        """Return the bytes under `key`, None if there is no such record."""
        return self._opened().get(key)

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Yield the records whose keys begin with `prefix`, in code point order."""
        return iter(sorted(item for item in self._opened().items() if item[0].startswith(prefix)))

    def commit(
        self,
        puts: Iterable[tuple[str, Any]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one batch; raises SaveError."""
        batch = make_batch(puts, deletes, delete_prefixes, text=False)
        records = self._opened()
        if self._broken:
            raise SaveError("a flush of the virtual disk failed; reopen the database")
        size = len(self._disk.read(self._name)) if self._disk.capacity is not None else None
        try:
            self._disk.append(self._name, _encode(batch))
        except OSError as error:
            assert size is not None, "only a disk with an end is ever full"
            self._disk.truncate(self._name, size)
            raise SaveError(
                f"the virtual disk is full ({error}); nothing of this change was saved: free some "
                "space and try again"
            ) from error
        self._flush(self._name)
        batch.apply_to(records)
        self._rewrite_if_long(records)
        self.on_commit()

    def _flush(self, name: str) -> None:
        try:
            self._disk.flush(name)
        except OSError as error:
            self._broken = True
            raise SaveError(
                f"the virtual disk failed ({error}); nothing was acknowledged: reopen the database"
            ) from error

    def _rewrite_if_long(self, records: dict[str, bytes]) -> None:
        size = self._disk.used_bytes()
        if size < _REWRITE_BEYOND_BYTES or size < 2 * self._live_bytes:
            return
        name = self._name + "-new"
        try:
            self._disk.append(name, _encode(Batch(list(records.items()), [], ())))
            self._disk.flush(name)
        except OSError:  # the log is only longer than it must be
            self._disk.delete(name)
            return
        self._disk.rename(name, self._name)
        self._live_bytes = self._disk.used_bytes()

    def close(self) -> None:
        """Give the disk free for another opening."""
        self._records = None

    def size_bytes(self) -> int:
        """Return the bytes of the log."""
        self._opened()
        return len(self._disk.read(self._name))

    def check(self) -> None:
        """Read the whole log; raises DatabaseCorruptError if it makes other records."""
        if self._broken:
            return  # a batch that was refused may lie there, until it is opened again
        records: dict[str, bytes] = {}
        for batch, _ in _batches(self._disk.read(self._name)):
            batch.apply_to(records)
        if records != self._opened():
            raise DatabaseCorruptError("the log on the virtual disk makes other records")

    def _opened(self) -> dict[str, bytes]:
        if self._records is None:
            raise closed_error("this VirtualSaveState")
        return self._records


def _encode(batch: Batch) -> bytes:
    body = msgspec.msgpack.encode((batch.puts, batch.deletes, batch.delete_prefixes))
    return _HEADER.pack(_MAGIC, len(body), _checksum(body)) + body


def _checksum(body: bytes) -> int:
    """Return a checksum that also tells an empty body from zeros that a crash has left."""
    return zlib.crc32(body, zlib.crc32(_MAGIC))


def _batches(data: bytes) -> Iterator[tuple[Batch, int]]:
    """Yield each whole batch and where it ends, up to the first that is torn."""
    at = 0
    while len(data) - at >= _HEADER.size:
        magic, length, checksum = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size : at + _HEADER.size + length]
        if magic != _MAGIC or len(body) != length or _checksum(body) != checksum:
            return
        puts, deletes, prefixes = msgspec.msgpack.decode(body)
        at += _HEADER.size + length
        yield Batch([(key, value) for key, value in puts], deletes, tuple(prefixes)), at
