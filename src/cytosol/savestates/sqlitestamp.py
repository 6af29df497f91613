"""Tell the log of a file from that of another one, before SQLite reads either.

SQLite replays whatever log lies beside a file: also that of another database, or that of a later
state when only the file was put back from a backup. The pages of both would be mixed.

So the first transaction of each log writes a stamp: a random mark into SQLite's schema version, and
a link, the low bits of the mark before, into its user version. Page 1, which holds both, is then
the first page in the log. A log belongs to a file whose mark it links to, and, once it was copied
into the file, to one whose stamp it holds. Two clones of a file go on with different marks, so that
neither takes the other's log. The low byte of the user version is that of the format; its highest
bit says that the log's writer was relaxed, and did not flush each transaction.

The formats are SQLite's, described in its file format document, sections 1.3 and 4.
"""

from __future__ import annotations

import sqlite3
from typing import BinaryIO, Final

from cytosol.savestates.sqlitelog import RELAXED, VERSION_AT, first_pages

__all__ = ["is_own_log", "put_first_stamp", "put_stamp", "version_of"]

_MARKS: Final = 1 << 31  # a signed number of 32 bits; any will do as long as it changes
_LINKS: Final = 1 << 23  # what fits beside the format into a signed number of 32 bits
_MARK_AT: Final = 40  # the schema cookie, in page 1
_USER_VERSION_AT: Final = VERSION_AT - 3


def put_first_stamp(connection: sqlite3.Connection, version: int) -> None:
    """Give a new file its format and a stamp, after its table, which changes the mark."""
    connection.execute(f"PRAGMA user_version = {version}")
    put_stamp(connection)


def put_stamp(connection: sqlite3.Connection, *, is_relaxed: bool = False) -> None:
    """Write a new stamp; in the first transaction of a log, before anything else.

    The mark comes from SQLite's generator, as the salts of its logs do.
    """
    before = connection.execute("PRAGMA schema_version").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0] & ~RELAXED & 0xFF
    version |= RELAXED if is_relaxed else 0
    mark = connection.execute("SELECT random()").fetchone()[0] % _MARKS
    if mark % _LINKS == before % _LINKS:
        mark ^= 1
    connection.execute(f"PRAGMA user_version = {before % _LINKS << 8 | version}")
    connection.execute(f"PRAGMA schema_version = {mark}")


def version_of(head: bytes) -> int:
    """Return the format in the head of a file."""
    return head[VERSION_AT] & ~RELAXED


def is_own_log(head: bytes, log: BinaryIO) -> bool:
    """Tell whether a log may belong to the file with this head."""
    pages = first_pages(log, _USER_VERSION_AT + 4)
    if pages is None:
        return True  # SQLite will not read it, either
    if not pages:
        return False  # it does not begin with page 1: none of ours
    link, _ = _stamp(pages[0])
    stamp = _stamp(head)
    return link == stamp[1] % _LINKS or stamp in map(_stamp, pages)


def _stamp(page: bytes) -> tuple[int, int]:
    """Return link and mark."""
    link = int.from_bytes(page[_USER_VERSION_AT : _USER_VERSION_AT + 4], "big") >> 8
    return link, int.from_bytes(page[_MARK_AT : _MARK_AT + 4], "big")
