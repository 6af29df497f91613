"""Tell a log that a crash cut short from one that was damaged later.

SQLite reads its write-ahead log up to the first frame that does not fit and forgets the
rest, without a word. After a crash that is right: a transaction that was being written was
never acknowledged. But with full durability each transaction is flushed before the next one
begins, so at most one can be cut short; when two or more follow the first bad frame, bits
were damaged in the middle, and acknowledged changes would vanish. A relaxed writer flushes only the
first transaction of a log, which says so (see `sqlitestamp`): there a crash may cut several.

When all of a log is in the file, SQLite begins it anew by writing over its header. A disk may
refuse half of that, and a crash then leaves a header that fits neither the old frames nor any
others. SQLite reads nothing of such a log; where the file holds all of it, nothing is lost.

The format is SQLite's, described in its file format document, section 4.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from io import SEEK_END
from typing import BinaryIO, Final

__all__ = ["RELAXED", "VERSION_AT", "count_unreadable", "first_pages", "survey"]

VERSION_AT: Final = 63
"""Where page 1 tells the format, in the low byte of SQLite's user version."""
RELAXED: Final = 0x80
"""Set beside the format by a writer that does not flush each transaction."""

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682  # the lowest bit tells the byte order of the checksums
_PAGE_SIZE_AT: Final = 16  # in the file; the format's section 1.3
_PAGE_BYTES_MIN: Final = 512
_PAGE_BYTES_MAX: Final = 65_536
_MASK: Final = 0xFFFFFFFF


def first_pages(log: BinaryIO, size: int) -> list[bytes] | None:
    """Return how page 1 begins, `size` bytes, as often as it stands in a log.

    None for a log without a good first frame, of which SQLite reads nothing. An empty list if
    the first frame holds another page.
    """
    header = log.read(_HEADER_BYTES)
    if not _is_header(header):
        return None
    page_bytes = _number(header, 8)
    frame = log.read(_FRAME_HEADER_BYTES + page_bytes)
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
        log.seek(position)
        frame = log.read(_FRAME_HEADER_BYTES + size)
    return pages


def count_unreadable(log: BinaryIO, file: BinaryIO) -> int:
    """Return how many transactions of a log end after its first bad frame; 0 for a whole log.

    A bad header makes everything unreadable, which counts as two at least, and as one if the file
    holds it all: then a crash has cut short the transaction that was to begin the log anew. What a
    crash may have cut from the log of a relaxed writer counts as one, too.
    """
    unreadable = survey(log)[1]
    return 1 if unreadable >= 2 and _is_settled(log, file) else unreadable


def survey(log: BinaryIO) -> tuple[int, int]:
    """Return where the last whole transaction of a log ends, and how many after it are unreadable.

    The second is what `count_unreadable` says of a log whose file is not known.
    """
    header = log.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return 0, 0
    if not _is_header(header):
        return 0, 2 if log.read(1) else 0
    salts = header[16:24]
    is_relaxed = False
    end = unreadable = 0
    for position, frame, is_whole in _frames(
        log, _number(header, 8), _order(header), salts, _sums(header, 24)
    ):
        if is_whole and _number(frame, 0) == 1:
            is_relaxed = frame[_FRAME_HEADER_BYTES + VERSION_AT] & RELAXED != 0
        if frame[8:16] == salts and _number(frame, 4):  # the last frame of a transaction
            if is_whole:
                end = position + len(frame)
            else:
                unreadable += 1
    return end, min(unreadable, 1) if is_relaxed else unreadable


def _frames(
    log: BinaryIO, page_bytes: int, order: str, salts: bytes, sums: tuple[int, int] | None
) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the position of each frame, the frame, and whether it and all before it are good.

    Each frame is checked against what came before it, the first one against `sums`; None: it is
    believed. Other salts than these are left over from before the log began anew.
    """
    log.seek(_HEADER_BYTES)
    is_whole = True
    position = _HEADER_BYTES
    while len(frame := log.read(_FRAME_HEADER_BYTES + page_bytes)) > _FRAME_HEADER_BYTES:
        own = _sums(frame, 16)
        if is_whole:
            data = frame[:8] + frame[_FRAME_HEADER_BYTES:]
            sums = own if sums is None else _checksum(data, order, sums)
            is_whole = frame[8:16] == salts and sums == own
        yield position, frame, is_whole
        position += len(frame)


def _is_settled(log: BinaryIO, file: BinaryIO) -> bool:
    """Tell whether only the header of a log is bad, and the file holds all its pages."""
    log.seek(0)
    header = log.read(_HEADER_BYTES)
    head = file.read(_PAGE_SIZE_AT + 2)
    if _is_header(header) or not _has_magic(header) or len(head) < _PAGE_SIZE_AT + 2:
        return False
    page_bytes = head[_PAGE_SIZE_AT] << 8 | head[_PAGE_SIZE_AT + 1] << 16  # 1 stands for 65,536
    salts = log.read(_FRAME_HEADER_BYTES)[8:16]
    frames: list[tuple[int, int]] = []  # number and position of each page
    settled = pages = 0  # how many of the frames were committed, and the pages of the file then
    unreadable = 0
    for position, frame, is_whole in _frames(log, page_bytes, _order(header), salts, None):
        is_last = frame[8:16] == salts and _number(frame, 4) > 0
        if is_whole:
            frames.append((_number(frame, 0), position + _FRAME_HEADER_BYTES))
            if is_last:
                settled, pages = len(frames), _number(frame, 4)
        else:
            unreadable += is_last
    return (
        settled > 0
        and unreadable < 2  # one may have been written when the disk refused to go on
        and frames[0][0] == 1  # as in all our logs; nothing else vouches for the first frame
        and pages * page_bytes == file.seek(0, SEEK_END)
        and all(
            0 < number <= pages
            and _read_at(file, (number - 1) * page_bytes, page_bytes)
            == _read_at(log, at, page_bytes)
            for number, at in dict(frames[:settled]).items()
        )
    )


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _is_header(header: bytes) -> bool:
    """Tell whether SQLite would take this for the beginning of a log."""
    return (
        len(header) == _HEADER_BYTES
        and _has_magic(header)
        and _PAGE_BYTES_MIN <= _number(header, 8) <= _PAGE_BYTES_MAX
        and _checksum(header[:24], _order(header), (0, 0)) == _sums(header, 24)
    )


def _has_magic(header: bytes) -> bool:
    return _number(header, 0) & ~1 == _MAGIC


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
