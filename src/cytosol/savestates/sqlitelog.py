"""Tell a log that a crash cut short from one that was damaged later.

SQLite reads its write-ahead log up to the first frame that does not fit and forgets the
rest, without a word. After a crash that is right: a transaction that was being written was
never acknowledged. But with full durability each transaction is flushed before the next one
begins, so at most one can be cut short; when two or more follow the first bad frame, bits
were damaged in the middle, and acknowledged changes would vanish. A relaxed writer flushes only the
first transaction of a log, which says so (see `sqlitestamp`): there a crash may cut several.

The format is SQLite's, described in its file format document, section 4.
"""

from __future__ import annotations

from array import array
from typing import BinaryIO, Final

__all__ = ["RELAXED", "VERSION_AT", "count_unreadable", "first_pages", "survey"]

VERSION_AT: Final = 63
"""Where page 1 tells the format, in the low byte of SQLite's user version."""
RELAXED: Final = 0x80
"""Set beside the format by a writer that does not flush each transaction."""

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682  # the lowest bit tells the byte order of the checksums
_PAGE_BYTES_MIN: Final = 512
_PAGE_BYTES_MAX: Final = 65_536
_MASK: Final = 0xFFFFFFFF


def first_pages(file: BinaryIO, size: int) -> list[bytes] | None:
    """Return how page 1 begins, `size` bytes, as often as it stands in a log.

    None for a log without a good first frame, of which SQLite reads nothing. An empty list if
    the first frame holds another page.
    """
    header = file.read(_HEADER_BYTES)
    if not _is_header(header):
        return None
    page_bytes = _number(header, 8)
    frame = file.read(_FRAME_HEADER_BYTES + page_bytes)
    if len(frame) < _FRAME_HEADER_BYTES + page_bytes or frame[8:16] != header[16:24]:
        return None
    order = _order(header)
    sums = _checksum(frame[:8] + frame[_FRAME_HEADER_BYTES:], order, _sums(header, 24))
    if sums != _sums(frame, 16):
        return None
    pages: list[bytes] = []
    position = _HEADER_BYTES
    while len(frame) >= _FRAME_HEADER_BYTES + size:
        if _number(frame, 0) == 1 and frame[8:16] == header[16:24]:
            pages.append(frame[_FRAME_HEADER_BYTES : _FRAME_HEADER_BYTES + size])
        elif not pages:
            break
        position += _FRAME_HEADER_BYTES + page_bytes
        file.seek(position)
        frame = file.read(_FRAME_HEADER_BYTES + size)
    return pages


def count_unreadable(file: BinaryIO) -> int:
    """Return how many transactions of a log end after its first bad frame; 0 for a whole log.

    A bad header makes everything unreadable, which counts as two at least. What a crash may have
    cut from the log of a relaxed writer counts as one.
    """
    return survey(file)[1]


def survey(file: BinaryIO) -> tuple[int, int]:
    """Return where the last whole transaction of a log ends, and what `count_unreadable` does."""
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return 0, 0
    if not _is_header(header):
        return 0, 2 if file.read(1) else 0
    page_bytes, order, sums = _number(header, 8), _order(header), _sums(header, 24)
    salts = header[16:24]
    is_whole = True
    is_relaxed = False
    end = unreadable = 0
    position = _HEADER_BYTES
    while len(frame := file.read(_FRAME_HEADER_BYTES + page_bytes)) > _FRAME_HEADER_BYTES:
        position += len(frame)
        is_ours = frame[8:16] == salts  # other salts: left over from before the log began anew
        if is_whole:
            sums = _checksum(frame[:8] + frame[_FRAME_HEADER_BYTES:], order, sums)
            is_whole = is_ours and sums == _sums(frame, 16)
            if is_whole and _number(frame, 0) == 1:
                is_relaxed = frame[_FRAME_HEADER_BYTES + VERSION_AT] & RELAXED != 0
        if is_ours and _number(frame, 4):  # the last frame of a transaction
            if is_whole:
                end = position
            else:
                unreadable += 1
    return end, min(unreadable, 1) if is_relaxed else unreadable


def _is_header(header: bytes) -> bool:
    """Tell whether SQLite would take this for the beginning of a log."""
    return (
        len(header) == _HEADER_BYTES
        and _number(header, 0) & ~1 == _MAGIC
        and _PAGE_BYTES_MIN <= _number(header, 8) <= _PAGE_BYTES_MAX
        and _checksum(header[:24], _order(header), (0, 0)) == _sums(header, 24)
    )


def _order(header: bytes) -> str:
    return "big" if header[3] & 1 else "little"


def _number(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 4], "big")


def _sums(data: bytes, start: int) -> tuple[int, int]:
    return _number(data, start), _number(data, start + 4)


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    words = array("I", data[: len(data) & ~7])
    if order != _NATIVE_ORDER:
        words.byteswap()
    first, second = sums
    numbers = iter(words)
    for one, two in zip(numbers, numbers, strict=True):
        first = (first + one + second) & _MASK
        second = (second + two + first) & _MASK
    return first, second


_NATIVE_ORDER: Final = "little" if array("I", [1]).tobytes()[0] else "big"
