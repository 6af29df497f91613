"""What must hold for every file that we open: plain, no symbolic link, its name durable."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from cytosol.errors import ActionError
from cytosol.model.json import brief
from cytosol.savestates.faults import foreign_error, os_fault, symlink_error

__all__ = [
    "NOFOLLOW",
    "absolute",
    "beside",
    "check_plain",
    "file_id",
    "file_size",
    "id_of",
    "log_without_file",
    "look",
    "make_room",
    "sync_folder",
]

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path that stays the same wherever the program goes; ActionError for what is none."""
    try:
        return Path(os.path.abspath(os.fspath(path)))
    except (TypeError, ValueError):
        raise ActionError(f"{brief(path)} is no name of a file") from None


def beside(path: Path, suffix: str) -> Path:
    """Return the name of a file that is kept beside `path`."""
    return path.with_name(path.name + suffix)


def file_size(path: Path) -> int:
    """Return the size in bytes, 0 for a file that is not there. Raises SaveError."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise os_fault(path, error) from error


def file_id(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from any other that may get its name; None if there is none."""
    return id_of(look(path))


def id_of(found: os.stat_result | None) -> tuple[int, int] | None:
    """Return the same of what `look` has found."""
    return None if found is None else (found.st_dev, found.st_ino)


def look(path: Path) -> os.stat_result | None:
    """Return what stands under a name, None if nothing does. Raises SaveError."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise os_fault(path, error) from error


def make_room(path: Path, found: os.stat_result, count: int) -> int:
    """Put zeros behind the end of the file that was found there; return how long it is now.

    A flush of what lies within a file writes it and no more; one of a file that has grown has to
    write its size and its map of the disk, too, which can take as long again. Nothing is flushed
    here: the next flush does that. A disk that refuses leaves the file as it was.
    """
    size = found.st_size
    try:
        descriptor = os.open(path, os.O_RDWR | NOFOLLOW)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            if id_of(os.fstat(descriptor)) != id_of(found) or file.seek(0, os.SEEK_END) != size:
                return size
            try:
                return size + (file.write(bytes(count)) or 0)
            except OSError:
                file.truncate(size)
    except OSError:
        pass
    return size


def log_without_file(path: Path) -> Path | None:
    """Return the log of a file that is not there itself, None if it is, or has none.

    Such a log holds what was written last, or all there is.
    """
    log = beside(path, "-wal")
    try:
        return log if not os.path.lexists(path) and log.stat().st_size else None
    except OSError:
        return None


def check_plain(path: Path) -> None:
    """Refuse everything but a plain file; one that is not there is fine.

    A pipe would make reading wait for ever, and a device must not be renamed over. Raises
    DatabaseCorruptError or SaveError.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise os_fault(path, error) from error
    if stat.S_ISLNK(mode):
        raise symlink_error(path)
    if stat.S_ISDIR(mode):
        raise os_fault(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not stat.S_ISREG(mode):
        raise foreign_error(path, "it is a device, a pipe or a socket")


def sync_folder(path: Path) -> None:
    """Make the names in the folder of `path` survive a crash of the machine."""
    if sys.platform == "win32":
        return  # Windows cannot open folders, and does this by itself
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)
