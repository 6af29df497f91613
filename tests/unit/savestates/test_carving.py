"""Rows are found in pages that no tree leads to, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

from cytosol.savestates import SqliteSaveState
from cytosol.savestates.carving import carve_records, with_frames

PAGE = 4_096


def file_with(path: Path, records: dict[str, bytes]) -> bytes:
    state = SqliteSaveState(path)
    state.open()
    state.commit(records.items())
    state.close()
    return path.read_bytes()


def carved(content: bytes) -> dict[str, bytes]:
    return dict(carve_records(content, PAGE))


def test_rows_are_found_with_what_lies_in_other_pages(tmp_path: Path) -> None:
    """In a tree of several levels, and with values longer than a page."""
    records = {f"op/{number:04}": b"%d" % number * (number * 40) for number in range(200)}
    assert records == carved(file_with(tmp_path / "file", records))


def test_a_row_whose_pages_lead_nowhere_is_left_out(tmp_path: Path) -> None:
    """Page 0 does not exist, and there is none behind the end."""
    content = file_with(tmp_path / "file", {"a": b"1", "b": b"x" * 20_000})
    pointer = (3).to_bytes(4, "big")  # to the first page with the rest of the value
    assert 1 == content[PAGE : 2 * PAGE].count(pointer)
    for other in (0, 99):
        page = content[PAGE : 2 * PAGE].replace(pointer, other.to_bytes(4, "big"))
        assert {"a": b"1"} == carved(content[:PAGE] + page + content[2 * PAGE :])


def test_numbers_of_nine_bytes_are_read_to_their_end() -> None:
    """Nothing that small can be so large, and the next row is looked at."""
    page = bytearray(PAGE)
    page[0:8] = bytes([0x0A, 0, 0, 0, 1, 0, 0, 0])  # a leaf with one cell
    page[8:10] = (100).to_bytes(2, "big")
    page[100:109] = b"\xff" * 9
    assert {} == carved(bytes(page))


def test_pages_of_a_log_are_put_in_their_places() -> None:
    """Behind the end, too; not where no file of ours can have a page, nor with other salts."""

    def frame(number: int, salts: bytes, fill: bytes) -> bytes:
        return number.to_bytes(4, "big") + bytes(4) + salts + bytes(8) + fill * PAGE

    log = bytes(32) + frame(4, b"saltsalt", b"d") + frame(1, b"saltsalt", b"a")
    log += (
        frame(0, b"saltsalt", b"0") + frame(1 << 31, b"saltsalt", b"9") + frame(2, b"8" * 8, b"b")
    )
    expected = b"a" * PAGE + b"2" * PAGE + bytes(PAGE) + b"d" * PAGE
    assert expected == with_frames(b"1" * PAGE + b"2" * PAGE, log, PAGE)
    assert b"1" * PAGE == with_frames(b"1" * PAGE, b"", PAGE)
