"""One owner per file, among all processes and inside one.

The lock is taken with `flock` on a file of its own, `<name>-lock`, that also says which
process holds it. Locks of `lockf` and `fcntl` would be lost as soon as any descriptor of the
file closes, and they do not keep out a second owner in the same process.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from cytosol.errors import DatabaseLockedError
from cytosol.savestates.faults import os_fault
from cytosol.savestates.files import NOFOLLOW, beside

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock"]

_ATTEMPTS_MAX = 100  # an owner that closes removes the lock file; meeting 100 in a row is a bug


class FileLock:
    """Own the file `path` between `acquire` and `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = beside(path, "-lock")
        self._descriptor: int | None = None
        self._process_id = 0

    def acquire(self) -> None:
        """Become the owner; raises DatabaseLockedError that names the owner, or SaveError."""
        try:
            self._descriptor = self._take()
        except OSError as error:
            raise os_fault(self._lock_path, error) from error
        self._process_id = os.getpid()
        with suppress(OSError):  # on a full disk the lock holds, it just tells no name
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, b"%d\n" % self._process_id)

    def is_ours(self) -> bool:
        """Tell whether this process acquired it; a forked child only shares it."""
        return self._process_id == os.getpid()

    def check_process(self) -> None:
        """Raise DatabaseLockedError in a forked child: the file still belongs to its parent."""
        if not self.is_ours():
            raise DatabaseLockedError(
                f"the database was opened by the process {self._process_id}, of which this one is "
                "a fork; open it after forking, in one process"
            )

    def release(self) -> None:
        """Give the file free; doing so twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # A forked child shares the lock of its parent and must not release it.
        if self.is_ours() and sys.platform != "win32":
            with suppress(OSError):
                os.unlink(self._lock_path)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def _take(self) -> int:
        for _ in range(_ATTEMPTS_MAX):
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o600)
            try:
                if not _try_lock(descriptor):
                    raise self._locked_error(descriptor)
                # The last owner may have removed the file between our two calls.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), os.lstat(self._lock_path)):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise self._locked_error(None)

    def _locked_error(self, descriptor: int | None) -> DatabaseLockedError:
        text = b"" if descriptor is None else os.read(descriptor, 20).strip()
        process_id = int(text) if text.isdigit() else None
        if process_id == os.getpid():
            return DatabaseLockedError(
                f"'{self._path}' is already open in this program; close it before opening it again"
            )
        owner = "another process" if process_id is None else f"the process with id {process_id}"
        return DatabaseLockedError(
            f"'{self._path}' is open in {owner}; a database has one owner at a time: "
            "close it there first"
        )


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # past the process id, which stays readable
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
