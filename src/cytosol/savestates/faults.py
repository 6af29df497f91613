"""Turn what the operating system and SQLite report into sentences that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from cytosol.errors import DatabaseCorruptError, DatabaseError, DatabaseLockedError, SaveError

__all__ = [
    "SQLITE_ERRORS",
    "broken_error",
    "changed_error",
    "damage_fault",
    "damaged_error",
    "failing_error",
    "foreign_error",
    "foreign_log_error",
    "gone_error",
    "is_passing",
    "lost_log_error",
    "newer_error",
    "os_fault",
    "sqlite_fault",
    "symlink_error",
    "unreadable_error",
    "unsettled_error",
]

_PIECE_BYTES = 1024 * 1024
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises; its messages quote the file, and damage need not be UTF-8."""

# Our statements are right, so that what SQLite cannot make sense of is in the file.
_SQLITE_DAMAGE = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_SCHEMA,
}
_SQLITE_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_FORBIDDEN = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_SQLITE_PASSING = {
    *_SQLITE_IN_USE,
    *_SQLITE_FORBIDDEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_TOOBIG,
}


def os_fault(path: Path, error: OSError) -> DatabaseError:
    """Return the SaveError for an error of the operating system with the file `path`."""
    if error.errno in _FULL:
        return _full(path)
    if error.errno in _FORBIDDEN:
        return _forbidden(path, str(error.strerror))
    if error.errno == errno.ELOOP:
        return symlink_error(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SaveError(f"'{path}' cannot be made: '{path.parent}' is no folder; create it first")
    if error.errno == errno.EISDIR:
        return SaveError(f"'{path}' is a folder; choose the name of a file")
    return failing_error(path, str(error.strerror))


def sqlite_fault(path: Path, error: Exception) -> DatabaseError:
    """Return the DatabaseError for what SQLite reports about the file `path`."""
    # Python itself raises errors without a code, for text that is not UTF-8: damage.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _SQLITE_DAMAGE:
        return damage_fault(path, str(error))
    if code in _SQLITE_IN_USE:
        return DatabaseLockedError(
            f"'{path}' is open in another program that reads it with SQLite; close it there"
        )
    if code == sqlite3.SQLITE_FULL or _is_failed_write(error):
        return _full(path)
    if code in _SQLITE_FORBIDDEN:
        return _forbidden(path, str(error))
    return failing_error(path, str(error))


def failing_error(path: Path, detail: str) -> SaveError:
    """Return the error for a disk that does not do what it was asked."""
    return SaveError(
        f"'{path}' could not be read or written ({detail}); nothing was acknowledged: "
        "check the disk, then reopen the database"
    )


def damage_fault(path: Path, detail: str) -> DatabaseError:
    """Return the error for what SQLite calls damage: a disk that refuses to read is none."""
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            with name.open("rb", buffering=0) as file:
                while file.read(_PIECE_BYTES):
                    pass
        except FileNotFoundError:
            continue
        except OSError as error:
            return os_fault(path, error)
    return damaged_error(path, detail)


def is_passing(error: Exception) -> bool:
    """Tell whether SQLite undid the transaction and can go on: anything but a failed flush.

    After a failed flush nobody knows what the disk holds, and a second one may succeed without
    having written anything.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in _SQLITE_PASSING or _is_failed_write(error)


def damaged_error(path: Path, detail: str) -> DatabaseCorruptError:
    """Return the error for a file of ours that cannot be trusted any more."""
    return DatabaseCorruptError(
        f"'{path}' is damaged ({detail}); it was not repaired: copy the file to a safe place, then "
        "restore a backup, or start with a new file and sync from another device; `cytosol check "
        "--salvage` writes what can still be read of it"
    )


def unreadable_error(path: Path, detail: str) -> DatabaseCorruptError:
    """Return the error for a readable file that somebody, or some damage, made unreadable."""
    return DatabaseCorruptError(
        f"'{path}' cannot be read ({detail}); it was left as it is: correct it there with a text "
        "editor, or restore a backup"
    )


def foreign_error(path: Path, detail: str) -> DatabaseCorruptError:
    """Return the error for a file that something else wrote."""
    return DatabaseCorruptError(
        f"'{path}' is not a Cytosol file ({detail}); it was left as it is: choose another name, "
        "or move it away"
    )


def foreign_log_error(path: Path) -> DatabaseCorruptError:
    """Return the error for a log that was written for another file, or for a later state of it."""
    return DatabaseCorruptError(
        f"'{path}-wal' is not the log of '{path}' as it is now, and reading it would mix two "
        "databases; both were left as they are: if you have put back a backup, put its '-wal' "
        "back, too, or move this one away if the backup has none"
    )


def newer_error(path: Path, version: object) -> DatabaseCorruptError:
    """Return the error for a file of a format that this version cannot know."""
    return DatabaseCorruptError(
        f"'{path}' has the format {version!r}, which this version of Cytosol does not know; it was "
        "left as it is: update Cytosol"
    )


def symlink_error(path: Path) -> SaveError:
    """Return the refusal to write where a symbolic link points."""
    return SaveError(
        f"'{path}' is a symbolic link, and Cytosol does not write through those: "
        "open the file that it points to, by its own name"
    )


def gone_error(path: Path) -> SaveError:
    """Return the refusal to write into a file that has no name any more."""
    return SaveError(
        f"'{path}' was deleted, moved or replaced while it was open, so this change was not saved: "
        "put the file back under its name, or copy what you need out of the open database, then "
        "close and reopen it to go on with what is there now"
    )


def lost_log_error(path: Path) -> SaveError:
    """Return the refusal to write into a log that has no name any more."""
    return SaveError(
        f"'{path}-wal' was deleted, moved or replaced while it was open, so this change was not "
        "saved: close the database, which takes all earlier changes into the file, and reopen it"
    )


def unsettled_error(path: Path, cause: Exception | None) -> SaveError:
    """Return the news that closing left changes in a log that lies apart from its file."""
    reason = "another program reads it" if cause is None else str(cause)
    return SaveError(
        f"'{path}' or its log '{path.name}-wal' was deleted, moved or replaced while it was open, "
        f"and the latest changes could not be copied from the log into the file ({reason}): keep "
        f"both, put them back under their names and open '{path}' again"
    )


def changed_error(path: Path) -> SaveError:
    """Return the refusal to overwrite what somebody else wrote."""
    return SaveError(
        f"'{path}' was changed by somebody else while it was open; it was not overwritten, and "
        "this change was not saved: close the database and reopen it to go on with the file as it "
        "is now"
    )


def broken_error(path: Path) -> SaveError:
    """Return the refusal to go on after the disk failed to say what it has kept."""
    return SaveError(
        f"'{path}' takes no changes any more, because the disk failed while saving an earlier one: "
        "check the disk, then reopen the database"
    )


def _is_failed_write(error: Exception) -> bool:
    """Tell a quota or a limit on file sizes from a disk that fails to flush."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_WRITE


def _full(path: Path) -> SaveError:
    return SaveError(
        f"'{path}' could not be written: the disk is full, or a quota or a limit on file sizes is "
        "reached; nothing of this change was saved: free some space and try again"
    )


def _forbidden(path: Path, detail: str) -> SaveError:
    return SaveError(
        f"'{path}' could not be written ({detail}): allow this program to write the file and "
        f"the folder '{path.parent}'"
    )
