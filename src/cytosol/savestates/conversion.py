"""Replace a file by another one that holds the same records: sealed, unsealed, or sealed anew.

The new file is built beside the old one, read once more and compared, and only then takes its
name; so a crash leaves the old file or the new one, whole. Then the old one's bytes are written
over and released. That is the best a program can do, and less than it seems: see the threat
model on disks that keep what was overwritten.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from cytosol.errors import SaveError
from cytosol.savestates.base import SaveState
from cytosol.savestates.faults import changed_error, os_fault
from cytosol.savestates.files import NOFOLLOW, beside, file_size, sync_folder
from cytosol.savestates.lock import FileLock

__all__ = ["FRESH_SUFFIX", "convert_file", "remove_half_converted"]

FRESH_SUFFIX: Final = "-sealing"
_BATCH_BYTES: Final = 4 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024

_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)  # a pipe must not make us wait

Records: TypeAlias = list[tuple[str, Any]]


def convert_file(
    source: SaveState,
    target_at: Callable[[Path], SaveState],
    corrections: Callable[[SaveState, Path], Records],
    check_source: Callable[[SaveState], None],
) -> bool:
    """Let the records of `source` lie in a file of another kind under the same name.

    `target_at` makes the save state for the new file; `corrections` returns what stands in it
    otherwise, given the open source and the new file; `check_source` refuses a source. Returns
    whether the old bytes could be written over. Raises what opening raises, and SaveError; the
    old file is left as it is then.
    """
    path = source.path
    assert path is not None, "only files are converted"
    fresh = beside(path, FRESH_SUFFIX)
    half_written = _opened(beside(path, "-new"))  # a crash may have left plain records in it
    try:
        marks = _build(source, path, fresh, target_at, corrections, check_source)
        if half_written is not None:
            _write_over(half_written)
        return _swap(path, fresh, marks)
    except OSError as error:
        raise os_fault(path, error) from error
    finally:
        if half_written is not None:
            os.close(half_written)
        _remove(fresh)


def _build(
    source: SaveState,
    path: Path,
    fresh: Path,
    target_at: Callable[[Path], SaveState],
    corrections: Callable[[SaveState, Path], Records],
    check_source: Callable[[SaveState], None],
) -> tuple[int, ...]:
    """Make the new file and compare it; returns the marks of the old one as it was copied."""
    source.open()
    try:
        check_source(source)
        _check_only_name(path)
        source.check()
        _remove(fresh)
        target = target_at(fresh)
        target.open()
        try:
            for batch in _batches(source):
                target.commit(batch)
            changed = corrections(source, fresh)
            target.commit(changed)
        finally:
            target.close()
        target.open()
        try:
            _compare(source, target, dict(changed))
        finally:
            target.close()
        return _marks(path)
    finally:
        source.close()


def _batches(source: SaveState) -> Iterator[Records]:
    batch: Records = []
    size = 0
    for key, value in source.scan(""):
        batch.append((key, value))
        size += len(value) if type(value) is bytes else 1024
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _compare(source: SaveState, target: SaveState, changed: dict[str, Any]) -> None:
    expected = iter(source.scan(""))
    for key, value in target.scan(""):
        name, wanted = next(expected, ("", None))
        if key != name or not _is_same(value, changed.get(key, wanted)):
            break
    else:
        if next(expected, None) is None:
            return
    raise SaveError(
        f"'{source.path}' was left as it is: the new file does not hold what was written into it; "
        "check the disk"
    )


def _is_same(value: Any, other: Any) -> bool:
    if type(value) is bytes:
        return bool(value == other)
    return json.dumps(value, sort_keys=True) == json.dumps(other, sort_keys=True)


def _swap(path: Path, fresh: Path, marks: tuple[int, ...]) -> bool:
    """Give the new file its name, and write over the old one."""
    lock = FileLock(path)
    lock.acquire()
    try:
        if _marks(path) != marks or file_size(beside(path, "-wal")):
            raise changed_error(path)
        if sys.platform == "win32":  # which neither replaces nor keeps a file that is open
            os.replace(fresh, path)
            return False
        old = os.open(path, os.O_RDWR | NOFOLLOW)
        try:
            os.replace(fresh, path)
            sync_folder(path)
            return _write_over(old)
        finally:
            os.close(old)
    finally:
        lock.release()


def _check_only_name(path: Path) -> None:
    """Refuse a file with a second name: under that one it would lose what it holds."""
    count = os.lstat(path).st_nlink
    if count > 1:
        raise SaveError(
            f"'{path}' has {count} names (hard links), and what lies under the others would be "
            "destroyed, too, or stay as it is: make it a copy of its own first"
        )


def _marks(path: Path) -> tuple[int, ...]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | NOFOLLOW | _NONBLOCK)
    except OSError:
        return None
    if os.fstat(descriptor).st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


def _write_over(descriptor: int) -> bool:
    """Write zeros over a file that has no name any more, and release its space."""
    try:
        size = os.fstat(descriptor).st_size
        os.lseek(descriptor, 0, os.SEEK_SET)
        for start in range(0, size, _PIECE_BYTES):
            os.write(descriptor, bytes(min(_PIECE_BYTES, size - start)))
        os.fsync(descriptor)
        os.ftruncate(descriptor, 0)
    except OSError:
        return False
    return True


def remove_half_converted(path: Path) -> None:
    """Remove what `convert_file` leaves in a crash, for who owns `path`: it may be in the clear."""
    with suppress(OSError):  # no reason not to open the file; `db.check()` tells that it is there
        _remove(beside(path, FRESH_SUFFIX))


def _remove(fresh: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", "-new", "-lock"):
        left = beside(fresh, suffix)
        descriptor = _opened(left)
        try:
            with suppress(FileNotFoundError):
                os.unlink(left)
            if descriptor is not None:
                _write_over(descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)
