"""Locks, folders and the sentences for what the operating system reports."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cytosol.errors import DatabaseLockedError, SaveError
from cytosol.savestates import SqliteSaveState, files, lock
from cytosol.savestates.faults import os_fault
from cytosol.savestates.lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


def test_a_lock_tells_who_holds_it_and_leaves_no_file(path: Path) -> None:
    """The process id is in the file while the lock is held."""
    owner = FileLock(path)
    owner.acquire()
    file = path.with_name("notes.cytosol-lock")
    assert f"{os.getpid()}\n" == file.read_text()
    owner.release()
    owner.release()
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "who knows"])
def test_a_lock_without_a_process_id_still_holds(path: Path, content: str) -> None:
    """On a full disk the owner could not write it."""
    file = path.with_name("notes.cytosol-lock")
    file.write_text(content)
    with file.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(DatabaseLockedError, match="is open in another process"):
            FileLock(path).acquire()


def test_a_lock_file_left_behind_by_a_crash_is_taken_over(path: Path) -> None:
    """The lock went with the process, only its file stayed."""
    file = path.with_name("notes.cytosol-lock")
    file.write_text("999999999\n")
    owner = FileLock(path)
    owner.acquire()
    assert owner.is_ours()
    assert f"{os.getpid()}\n" == file.read_text()
    owner.release()
    assert not file.exists()


def test_a_lock_file_that_vanishes_while_it_is_taken_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last owner removes it when it closes; a lock on a removed file is worth nothing."""
    file = path.with_name("notes.cytosol-lock")
    real = lock._try_lock
    left = [2]

    def try_lock(descriptor: int) -> bool:
        if left[0]:
            left[0] -= 1
            file.unlink()
            if left[0]:
                file.touch()  # somebody else made a new one at once
        return real(descriptor)

    monkeypatch.setattr(lock, "_try_lock", try_lock)
    owner = FileLock(path)
    owner.acquire()
    assert file.exists()
    with pytest.raises(DatabaseLockedError):
        FileLock(path).acquire()
    owner.release()
    left[0] = 1_000
    with pytest.raises(DatabaseLockedError, match="another process"):
        FileLock(path).acquire()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_release_the_lock_of_its_parent(path: Path) -> None:
    """Closing there closes the descriptor only."""
    owner = FileLock(path)
    owner.acquire()
    child = os.fork()
    if child == 0:
        owner.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(DatabaseLockedError, match="already open in this program"):
        FileLock(path).acquire()
    owner.release()


READ_ONLY_FOLDER = """
import os, sys
from cytosol.savestates import *
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    {kind}("/proc/self/cwd/notes.cytosol").open()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("kind", ["SqliteSaveState", "JsonFileSaveState"])
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, kind: str) -> None:
    """As another user, because root may write everywhere."""
    tmp_path.chmod(0o555)
    script = READ_ONLY_FOLDER.format(kind=kind)
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    tmp_path.chmod(0o755)
    assert result.stdout.startswith("SaveError ")
    assert "allow this program to write the file and the folder" in result.stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "a quota"),
        (errno.EFBIG, "a limit on file sizes"),
        (errno.EROFS, "allow this program to write"),
        (errno.ENOTDIR, "is no folder; create it first"),
        (errno.EIO, "check the disk, then reopen"),
    ],
)
def test_errors_of_the_operating_system_become_advice(path: Path, code: int, words: str) -> None:
    """Each says what to do."""
    error = os_fault(path, OSError(code, os.strerror(code)))
    assert isinstance(error, SaveError)
    assert words in str(error)
    assert str(path) in str(error)


def test_a_file_system_that_cannot_flush_folders_is_good_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EINVAL is an answer about the file system, EIO one about the disk."""

    def fsync(code: int) -> Any:
        def call(descriptor: int) -> None:
            raise OSError(code, os.strerror(code))

        return call

    monkeypatch.setattr(files.os, "fsync", fsync(errno.EINVAL))
    files.sync_folder(path)
    monkeypatch.setattr(files.os, "fsync", fsync(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.sync_folder(path)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """With the sentence of the operating system."""
    for name in ("x" * 252, "x" * 300):
        with pytest.raises(SaveError, match="File name too long"):
            SqliteSaveState(tmp_path / name).open()
        with pytest.raises(SaveError, match="File name too long"):
            files.check_plain(tmp_path / ("x" * 300))
