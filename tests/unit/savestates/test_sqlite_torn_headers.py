"""A log that was to begin anew: the file holds all of it, and only its header is half written."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from cytosol.errors import DatabaseCorruptError
from cytosol.savestates import SqliteSaveState, remains, sqlite
from cytosol.savestates.sqlitelog import survey

HEADER_BYTES = 32
FRAME_BYTES = 24 + 4_096
KEYS = ["op/0", "op/1", "op/2"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def write(path: Path, file: bytes, log: bytes) -> None:
    path.write_bytes(file)
    log_of(path).write_bytes(log)


def keys_at(path: Path) -> list[str]:
    state = SqliteSaveState(path)
    state.open()
    try:
        return [key for key, _ in state.scan("")]
    finally:
        state.close()


@pytest.fixture(params=["full", "relaxed"])
def settled(
    path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[bytes, bytes, bytes]:
    """Return a file, its log, all of which is in the file, and the header that comes next."""
    source = path.with_name("source")
    state = SqliteSaveState(source, request.param)
    state.open()
    for key in KEYS:
        if key == KEYS[-1]:
            monkeypatch.setattr(sqlite, "_SETTLE_BYTES", 1)
        state.commit([(key, b"x" * 3_000)])
    file, log = source.read_bytes(), log_of(source).read_bytes()
    log = log[: survey(BytesIO(log))[0]]  # behind it there is room
    state.commit([("op/3", b"")])
    header = log_of(source).read_bytes()[:HEADER_BYTES]
    state.close()
    source.unlink()
    return file, log, header


def test_a_log_whose_new_header_came_in_part_loses_nothing(
    path: Path, settled: tuple[bytes, bytes, bytes]
) -> None:
    """A full disk refuses some of its bytes, and then the program dies."""
    file, log, header = settled
    assert log[:HEADER_BYTES] != header, "the log begins anew"
    for came in range(HEADER_BYTES + 1):
        write(path, file, header[:came] + log[came:])
        assert KEYS == keys_at(path), f"{came} bytes came"
        assert [path] == list(path.parent.iterdir())


def test_salvage_calls_a_torn_header_no_loss(
    path: Path, settled: tuple[bytes, bytes, bytes]
) -> None:
    """Everything is in the file."""
    file, log, header = settled
    write(path, file, header[:20] + log[20:])
    found = remains.read_remains(path)
    assert (KEYS, []) == (sorted(found.records), found.problems)


def test_what_the_disk_refused_behind_a_settled_log_does_not_count(
    path: Path, settled: tuple[bytes, bytes, bytes]
) -> None:
    """Frames of a transaction that failed, and of the one before it that was longer."""
    file, log, header = settled
    last = log[-FRAME_BYTES:]
    half = last[:4] + bytes(4) + last[8:]  # it does not end a transaction
    write(path, file, header[:20] + log[20:] + half + last)
    assert KEYS == keys_at(path)


def change(part: str, position: int, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def apply(parts: dict[str, bytes]) -> None:
        content = parts[part]
        at = position % len(content)
        parts[part] = content[:at] + new + content[at + len(new) :]

    return apply


def cut(part: str, size: int) -> Callable[[dict[str, bytes]], None]:
    def apply(parts: dict[str, bytes]) -> None:
        parts[part] = parts[part][:size]

    return apply


def repeat_last_frame(parts: dict[str, bytes]) -> None:
    parts["log"] += parts["log"][-FRAME_BYTES:] * 2


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(change("file", 2 * 4_096 + 3_000, b"\xaa"), id="a page that is not in it"),
        pytest.param(change("file", 4_095, b"\xaa"), id="another first page"),
        pytest.param(change("log", HEADER_BYTES + 3, b"\2"), id="another page number"),
        pytest.param(change("log", HEADER_BYTES + 8, b"\xaa"), id="other salts"),
        pytest.param(change("log", HEADER_BYTES + FRAME_BYTES + 50, b"\xaa"), id="a bad frame"),
        pytest.param(change("log", HEADER_BYTES, bytes(24)), id="page 0"),
        pytest.param(change("log", 0, b"\xaa"), id="no log of SQLite"),
        pytest.param(cut("log", HEADER_BYTES + FRAME_BYTES), id="no whole transaction"),
        pytest.param(cut("log", HEADER_BYTES + 10), id="half a frame"),
        pytest.param(cut("file", 2 * 4_096), id="a file that is too short"),
        pytest.param(repeat_last_frame, id="two transactions more"),
    ],
)
def test_a_log_with_a_torn_header_is_refused_unless_the_file_holds_all_of_it(
    path: Path, settled: tuple[bytes, bytes, bytes], damage: Callable[[dict[str, bytes]], None]
) -> None:
    """SQLite would pass over it in silence."""
    file, log, header = settled
    parts = {"file": file, "log": header[:20] + log[20:]}
    write(path, parts["file"], parts["log"])
    damage(parts)
    write(path, parts["file"], parts["log"])
    with pytest.raises(DatabaseCorruptError, match="damaged in the middle"):
        keys_at(path)
    assert (parts["file"], parts["log"]) == (path.read_bytes(), log_of(path).read_bytes())
