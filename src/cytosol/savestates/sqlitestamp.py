"""Tell the log of a file from that of another one, before SQLite reads either.

SQLite replays whatever log lies beside a file: also that of another database, or that of a later
state when only the file was put back from a backup. The pages of both would be mixed.

So the first transaction of each log writes a stamp into SQLite's user version, one more than the
one before. Page 1, which holds it, is then the first page in the log. The file has the stamp from
before the log, or, once the log was copied into it, one of those in the log; any other log is not
its own. New files begin with a random stamp. The low byte of the user version is that of the
format.

The formats are SQLite's, described in its file format document, sections 1.3 and 4.
"""

from __future__ import annotations

import sqlite3
from typing import BinaryIO, Final

from cytosol.savestates.sqlitelog import first_pages

__all__ = ["is_own_log", "put_first_stamp", "put_stamp", "version_of"]

_STAMPS: Final = 1 << 23  # what fits beside the format into a signed number of 32 bits
_USER_VERSION_AT: Final = 60  # in page 1


def put_first_stamp(connection: sqlite3.Connection, version: int) -> None:
    """Give a new file its format and a stamp from SQLite's generator, as its logs have salts."""
    number = connection.execute("SELECT random()").fetchone()[0] % _STAMPS
    connection.execute(f"PRAGMA user_version = {number << 8 | version}")


def put_stamp(connection: sqlite3.Connection) -> None:
    """Write the next stamp; in the first transaction of a log, before anything else."""
    number = connection.execute("PRAGMA user_version").fetchone()[0]
    number = ((number >> 8) + 1) % _STAMPS << 8 | number & 0xFF
    connection.execute(f"PRAGMA user_version = {number}")


def version_of(head: bytes) -> int:
    """Return the format in the head of a file."""
    return head[_USER_VERSION_AT + 3]


def is_own_log(head: bytes, log: BinaryIO) -> bool:
    """Tell whether a log may belong to the file with this head."""
    pages = first_pages(log, _USER_VERSION_AT + 4)
    if pages is None:
        return True  # SQLite will not read it, either
    if not pages:
        return False  # it does not begin with page 1: none of ours
    first = _stamp(pages[0])
    return (_stamp(head) - first + 1) % _STAMPS <= (_stamp(pages[-1]) - first) % _STAMPS + 1


def _stamp(page: bytes) -> int:
    return int.from_bytes(page[_USER_VERSION_AT : _USER_VERSION_AT + 4], "big") >> 8
