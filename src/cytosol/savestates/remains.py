"""What can still be read of a damaged file, record by record; the file itself is only read.

The checks that refuse a damaged file are left out here, and each record stands for itself. A
SQLite file is copied with its log to a folder of its own before SQLite sees it. Of such a file
any page may be gone: page 1 is always the same in ours and is taken from a new file, the records
around damage are read from both sides and by their names, and then page by page, also from the
frames of the log that SQLite does not read any more.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from cytosol.errors import DatabaseCorruptError, SaveError
from cytosol.savestates.carving import carve_records, with_frames
from cytosol.savestates.faults import SQLITE_ERRORS, os_fault
from cytosol.savestates.files import beside, check_plain, file_size, log_without_file
from cytosol.savestates.jsonfile import JsonFileSaveState
from cytosol.savestates.jsonlayout import parse_records
from cytosol.savestates.kinds import save_state_at
from cytosol.savestates.lock import FileLock
from cytosol.savestates.sqlite import SqliteSaveState
from cytosol.savestates.sqlitelog import count_unreadable
from cytosol.savestates.sqlitestamp import is_own_log

__all__ = ["Remains", "read_remains"]

_PAGE_BYTES: Final = 4096
_HEAD_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_ROWS: Final = "SELECT key, value, checksum FROM records "
_HOLES_MAX: Final = 1_000_000  # missing records that are looked for by their numbers
_RECORD: Final = re.compile(r'^    ("(?:[^"\\\n]|\\.)+"): ', re.MULTILINE)
_ITEM: Final = re.compile(r"^      (?=\{)", re.MULTILINE)


@dataclass(slots=True)
class Remains:
    """Records that could be read, bytes or JSON (`text`), and what could not, in sentences."""

    text: bool
    records: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_remains(path: Path, expected: Iterable[str] = ()) -> Remains:
    """Return what can be read of a file; `expected` names records to look for by themselves.

    Raises DatabaseLockedError for a file in use, SaveError for one that cannot be read at all.
    """
    check_plain(path)
    lock = FileLock(path)
    with suppress(SaveError):  # on media that cannot be written nobody else writes, either
        lock.acquire()
    try:
        if isinstance(save_state_at(path), JsonFileSaveState):
            return _of_text(path, path.read_bytes())
        remains = _of_sqlite(path, expected)
        if remains.records:
            return remains
        if log_without_file(path) is not None:
            return remains
        text = _of_text(path, path.read_bytes())  # perhaps only its beginning does not look so
        return text if text.records else remains
    except OSError as error:
        raise os_fault(path, error) from error
    finally:
        lock.release()


# --- JSON ----------------------------------------------------------------------------------------


def _of_text(path: Path, data: bytes) -> Remains:
    remains = Remains(text=True)
    try:
        encoded = parse_records(path, data)
    except DatabaseCorruptError as error:
        remains.problems.append(str(error).partition(";")[0])
    else:
        remains.records = {key: json.loads(value) for key, value in encoded.items()}
        return remains
    text = data.decode("utf-8", "replace")
    found = list(_RECORD.finditer(text))
    ends = [*(match.start() for match in found), len(text)][1:]
    for match, end in zip(found, ends, strict=True):
        try:
            key = json.loads(match[1])
        except ValueError:
            continue
        part = text[match.end() : end]
        try:
            value, length = json.JSONDecoder().raw_decode(part)
            is_whole = part[length:].strip().startswith((",", "}")) or not part[length:].strip()
        except (ValueError, RecursionError):
            value, is_whole = list(_items(part)), False
        if not is_whole:
            remains.problems.append(f"the record {key} is damaged, and may be read in part only")
        if "\ufffd" in part:
            remains.problems.append(f"the record {key} holds bytes that are no UTF-8 text")
        remains.records[key] = value
    return remains


def _items(part: str) -> Iterator[Any]:
    """Yield the objects in a damaged array that can be read."""
    for match in _ITEM.finditer(part):
        with suppress(ValueError, RecursionError):
            yield json.JSONDecoder().raw_decode(part, match.end())[0]


# --- SQLite --------------------------------------------------------------------------------------


def _of_sqlite(path: Path, expected: Iterable[str]) -> Remains:
    remains = Remains(text=False)
    with tempfile.TemporaryDirectory(prefix="cytosol-") as folder:
        copy = Path(folder) / "copy"
        if log_without_file(path) is None:
            shutil.copyfile(path, copy)
        else:
            remains.problems.append("the file itself is missing, and only its log was read")
            copy.touch()
        log = _take_log(copy, beside(path, "-wal"), remains)
        if not _read_all(copy, remains, expected):
            remains.problems.append("the first page is damaged; it was replaced in a copy")
            _replace_first_page(copy)
            _read_all(copy, remains, expected)
        if remains.problems:
            content = with_frames(copy.read_bytes(), log, _PAGE_BYTES)
            for key, value in carve_records(content, _PAGE_BYTES):
                remains.records.setdefault(key, value)
    remains.problems = list(dict.fromkeys(remains.problems))
    return remains


def _take_log(copy: Path, log: Path, remains: Remains) -> bytes:
    """Put the log of a file beside the copy of it, and return what is in it; a foreign one stays.

    SQLite would mix the pages of both, without a word.
    """
    if not file_size(log):
        return b""
    with log.open("rb") as frames, copy.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(_MAGIC) and not is_own_log(head, frames):
            remains.problems.append(
                "the log beside the file belongs to another one, or to a later state of this one, "
                f"and was left out; to read it by itself, copy '{log.name}' to another folder, "
                f"beside an empty file '{log.name.removesuffix('-wal')}'"
            )
            return b""
        frames.seek(0)
        file.seek(0)
        lost = count_unreadable(frames, file)
    if lost >= 2:  # a single one was cut short by a crash, and never acknowledged
        remains.problems.append(
            f"the log is damaged: of {lost} transactions in it pages may be missing"
        )
    shutil.copyfile(log, beside(copy, "-wal"))
    return log.read_bytes()


def _read_all(copy: Path, remains: Remains, expected: Iterable[str]) -> bool:
    """Read all records there are; tells whether SQLite could make sense of the file at all."""
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.text_factory = bytes  # damage need not be text
            connection.execute("PRAGMA trusted_schema = OFF")
            if not connection.execute("SELECT name FROM sqlite_master").fetchall():
                return False
            whole = _take(connection, remains, _ROWS + "ORDER BY key")
            if not whole:
                _take(connection, remains, _ROWS + "ORDER BY key DESC")
                for key in _holes(remains, expected):
                    _take(connection, remains, _ROWS + "WHERE key = ?", key)
    except SQLITE_ERRORS as error:
        remains.problems.append(f"SQLite reports: {error}")
        return False
    return True


def _take(connection: sqlite3.Connection, remains: Remains, sql: str, *arguments: str) -> bool:
    """Take the rows of a query up to the first damage; tells whether there was none."""
    try:
        for key, value, checksum in connection.execute(sql, arguments):
            if type(key) is not bytes or type(value) is not bytes or not key.isascii():
                remains.problems.append("a record has lost its form")
            elif crc32(value, crc32(key)) != checksum:
                remains.problems.append(f"the checksum of the record {key.decode()} is wrong")
            else:
                remains.records[key.decode()] = value
    except SQLITE_ERRORS as error:
        remains.problems.append(f"SQLite reports: {error}")
        return False
    return True


def _holes(remains: Remains, expected: Iterable[str]) -> list[str]:
    """Return the names of records that may be there, although no row led to them."""
    numbers = sorted(
        int(key.removeprefix("op/"))
        for key in remains.records
        if key.startswith("op/") and key[3:].isdigit()
    )
    holes = [name for name in expected if name not in remains.records]
    if numbers and numbers[-1] - len(numbers) <= _HOLES_MAX:
        missing = set(range(1, numbers[-1])) - set(numbers)
        holes += [f"op/{number:016d}" for number in sorted(missing)]
    return holes


def _replace_first_page(copy: Path) -> None:
    """Give a copy the page that holds the table's definition; in all our files it is the same."""
    fresh = copy.with_name("fresh")
    state = SqliteSaveState(fresh)
    state.open()
    state.close()
    page = bytearray(fresh.read_bytes()[:_PAGE_BYTES])
    pages = copy.stat().st_size // _PAGE_BYTES
    page[28:32] = pages.to_bytes(4, "big")  # the size; SQLite's file format, section 1.3
    page[92:96] = page[24:28]  # says that the size is valid
    page[32:40] = bytes(8)  # no free pages: nothing is written here
    with copy.open("r+b") as file:
        file.write(page)
