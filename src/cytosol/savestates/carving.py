"""Find our records in the pages of a damaged SQLite file, where no tree leads to them any more.

Each row carries a checksum of its key and value, so that whatever happens to look like a row is
not taken for one. The formats are SQLite's, described in its file format document, sections 1.6,
2.1 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from zlib import crc32

__all__ = ["carve_records", "with_frames"]

_LEAF: Final = 0x0A
_INTERIOR: Final = 0x02
_HEADER_BYTES: Final = {_LEAF: 8, _INTERIOR: 12}
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_COLUMNS: Final = 3
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24


def carve_records(content: bytes, page_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield the key and value of every row with a right checksum, whichever page it is in.

    Rows of pages that were given free are among them, so one key may come several times.
    """
    for start in range(0, len(content) - page_bytes + 1, page_bytes):
        kind = content[start]
        if kind not in _HEADER_BYTES:
            continue
        page = content[start : start + page_bytes]
        count = int.from_bytes(page[3:5], "big")
        for number in range(min(count, page_bytes // 2)):
            at = _HEADER_BYTES[kind] + 2 * number
            cell = int.from_bytes(page[at : at + 2], "big") + (4 if kind == _INTERIOR else 0)
            with suppress(IndexError, ValueError):  # damage, or another kind of page
                row = _row(_payload(content, page, cell, page_bytes))
                if row is not None:
                    yield row


def with_frames(content: bytes, log: bytes, page_bytes: int) -> bytes:
    """Return a file with the pages of its log in their places, be the frames good or not.

    SQLite forgets what follows a bad frame. Frames with other salts than the first one are left
    over from before the log began anew, and older.
    """
    pages = bytearray(content)
    size = _FRAME_HEADER_BYTES + page_bytes
    salts = log[_LOG_HEADER_BYTES + 8 : _LOG_HEADER_BYTES + 16]
    for at in range(_LOG_HEADER_BYTES, len(log) - size + 1, size):
        start = (int.from_bytes(log[at : at + 4], "big") - 1) * page_bytes
        if log[at + 8 : at + 16] == salts and 0 <= start <= len(content) + len(log):
            pages.extend(bytes(max(0, start - len(pages))))
            pages[start : start + page_bytes] = log[at + _FRAME_HEADER_BYTES : at + size]
    return bytes(pages)


def _payload(content: bytes, page: bytes, cell: int, page_bytes: int) -> bytes:
    """Return the payload of a cell, with what of it lies in overflow pages."""
    size, start = _varint(page, cell)
    if size > len(content):
        raise ValueError
    most = (page_bytes - 12) * 64 // 255 - 23
    least = (page_bytes - 12) * 32 // 255 - 23
    local = size
    if size > most:
        local = least + (size - least) % (page_bytes - 4)
        local = local if local <= most else least
    payload = bytearray(page[start : start + local])
    following = int.from_bytes(page[start + local : start + local + 4], "big")
    while len(payload) < size:
        at = (following - 1) * page_bytes
        if following < 1 or at >= len(content):
            raise ValueError
        following = int.from_bytes(content[at : at + 4], "big")
        payload += content[at + 4 : at + min(page_bytes, 4 + size - len(payload))]
    return bytes(payload)


def _row(payload: bytes) -> tuple[str, bytes] | None:
    """Return key and value of a row, None if it is none of ours."""
    header_bytes, at = _varint(payload, 0)
    types: list[int] = []
    while at < header_bytes and len(types) < _COLUMNS:
        kind, at = _varint(payload, at)
        types.append(kind)
    if len(types) != _COLUMNS or types[0] < 13 or types[1] < 12:
        return None
    key_end = header_bytes + (types[0] - 13) // 2
    value_end = key_end + (types[1] - 12) // 2
    key, value = payload[header_bytes:key_end], payload[key_end:value_end]
    size = _INTEGER_BYTES.get(types[2], 0)
    # The types 8 and 9 are the numbers 0 and 1, and take no bytes.
    checksum = (
        int.from_bytes(payload[value_end : value_end + size], "big") if size else types[2] - 8
    )
    if not key or not key.isascii() or crc32(value, crc32(key)) != checksum:
        return None
    return key.decode(), value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 9 bytes, 7 bits each, and where it ends."""
    value = 0
    for end in range(at + 1, at + 9):
        value = value << 7 | data[end - 1] & 0x7F
        if data[end - 1] < 0x80:
            return value, end
    return value << 8 | data[at + 8], at + 9
