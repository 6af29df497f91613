"""What save states in files promise beyond the published contract, and what all do at random."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import (
    DatabaseCorruptError,
    DatabaseLockedError,
    SaveError,
    SealError,
)
from cytosol.savestates import JsonFileSaveState, SaveState, SqliteSaveState
from cytosol.testing.savestate_contract import check_whole, commit_number, value_of
from tests.contract.savestate_kinds import FILE_KINDS, KINDS, make

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


@pytest.fixture(params=FILE_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind that has a file."""
    return str(request.param)


def program(kind: str, path: Path, command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.savestate_kinds", kind, str(path), command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def put(state: SaveState, *keys: str) -> None:
    state.commit([(key, value_of(state, key)) for key in keys])


def keys_of(state: SaveState, prefix: str = "") -> list[str]:
    return [key for key, _ in state.scan(prefix)]


# --- Opening and closing ----------------------------------------------------------------------


def test_one_owner_inside_a_process(kind: str, path: Path) -> None:
    """A second opening fails with a clear sentence and does not harm the first."""
    first, second = make(kind, path), make(kind, path)
    first.open()
    for other in (second, first):
        with pytest.raises(DatabaseLockedError, match="already open in this program"):
            other.open()
    second.close()
    put(first, "a")
    first.close()
    second.open()
    second.close()


def test_one_owner_among_processes(kind: str, path: Path) -> None:
    """The error names the process that has the file; when that ends the file is free."""
    holder = program(kind, path, "hold")
    assert holder.stdout is not None
    assert "open\n" == holder.stdout.readline()
    state = make(kind, path)
    with pytest.raises(DatabaseLockedError, match=f"process with id {holder.pid}"):
        state.open()
    holder.kill()
    holder.communicate()
    state.open()
    answer, _ = program(kind, path, "hold").communicate()
    assert answer.startswith("DatabaseLockedError: ")
    assert f"id {os.getpid()}" in answer
    state.close()


def test_files_are_for_their_owner_only(kind: str, path: Path) -> None:
    """Mode 0600 for all files, whatever the umask; a wider mode is narrowed."""
    before = os.umask(0)
    try:
        state = make(kind, path)
        state.open()
        put(state, "a")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert {path.name, f"{path.name}-lock"} <= set(modes)
        state.close()
    finally:
        os.umask(before)
    path.chmod(0o644)
    state.open()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    state.close()


def test_only_the_file_remains_after_closing(kind: str, path: Path) -> None:
    """No lock, no log, no temporary file."""
    state = make(kind, path)
    state.open()
    put(state, "a")
    state.close()
    assert [path] == list(path.parent.iterdir())


def test_left_over_temporary_files_are_replaced(kind: str, path: Path) -> None:
    """A crash while the file was being made or rewritten leaves nothing behind for long."""
    path.with_name(f"{path.name}-new").write_bytes(b"half a fi")
    state = make(kind, path)
    state.open()
    put(state, "a")
    state.close()
    assert [path] == list(path.parent.iterdir())


# --- What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-lock"])
def test_symbolic_links_are_refused(kind: str, path: Path, suffix: str) -> None:
    """Neither the file nor its lock is written through a link, dangling or not."""
    target = path.with_name("target")
    path.with_name(path.name + suffix).symlink_to(target)
    for content in (None, b"precious"):
        if content:
            target.write_bytes(content)
        with pytest.raises(SaveError, match="is a symbolic link"):
            make(kind, path).open()
        assert content == (target.read_bytes() if target.exists() else None)


def test_a_symbolic_link_for_a_temporary_file_is_removed(kind: str, path: Path) -> None:
    """Its target is not written to."""
    target = path.with_name("target")
    target.write_bytes(b"precious")
    path.with_name(f"{path.name}-new").symlink_to(target)
    state = make(kind, path)
    state.open()
    put(state, "a")
    state.close()
    assert b"precious" == target.read_bytes()


def test_a_folder_that_is_missing_is_named(kind: str, tmp_path: Path) -> None:
    """The error says which folder to create."""
    with pytest.raises(SaveError, match=r"nowhere' is no folder; create it first"):
        make(kind, tmp_path / "nowhere" / "a.cytosol").open()


def test_a_folder_is_no_file(kind: str, tmp_path: Path) -> None:
    """The error says so."""
    with pytest.raises(SaveError, match="is a folder; choose the name of a file"):
        make(kind, tmp_path).open()


def test_a_pipe_is_no_file(kind: str, path: Path) -> None:
    """Opening does not wait for somebody to write into it, nor replace it."""
    os.mkfifo(path)
    with pytest.raises(DatabaseCorruptError, match="is not a Cytosol file"):
        make(kind, path).open()
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_an_empty_file_is_a_new_database(kind: str, path: Path) -> None:
    """There is nothing to lose in it."""
    path.touch()
    state = make(kind, path)
    state.open()
    assert [] == keys_of(state)
    put(state, "a")
    state.close()


@pytest.mark.parametrize(
    "content",
    [
        b"My diary\n",
        b"\0" * 5_000,
        b"SQLite format 3\0" + b"\xff" * 500,
        b"[1, 2]",
        b'{"name": "somebody else\'s"}',
        bytes(range(256)) * 64,
    ],
)
def test_foreign_files_are_left_as_they_are(kind: str, path: Path, content: bytes) -> None:
    """Whatever is not ours is refused, and not one byte of it changes."""
    path.write_bytes(content)
    with pytest.raises(DatabaseCorruptError, match="it was left as it is"):
        make(kind, path).open()
    assert content == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_the_database_of_another_program_is_left_as_it_is(kind: str, path: Path) -> None:
    """A SQLite file with another application id is refused, its log untouched."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE records (key TEXT)")
    other.commit()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(DatabaseCorruptError, match=r"not a Cytosol file|cannot be read"):
        make(kind, path).open()
    assert before == {file.name: file.read_bytes() for file in path.parent.iterdir()}
    other.close()


def filled(kind: str, path: Path) -> dict[str, object]:
    """Make a file with records of several sizes; return what is in it."""
    state = make(kind, path)
    state.open()
    for number in range(1, 6):
        commit_number(state, number)
    put(state, *(f"many/{number}" for number in range(200)))
    state.commit([("big", value_of(state, "x" * 20_000))])
    records = dict(state.scan(""))
    state.close()
    return records


def read_all(kind: str, path: Path) -> dict[str, object] | None:
    """Return what the file holds, None if it is refused as damaged."""
    state = make(kind, path)
    try:
        state.open()
        state.check()
        return dict(state.scan(""))
    except (DatabaseCorruptError, SealError):
        return None
    finally:
        state.close()


def test_a_truncated_file_is_refused(kind: str, path: Path) -> None:
    """Wherever the end was cut off; only unused bytes at the very end may be missing."""
    records = filled(kind, path)
    content = path.read_bytes()
    for part in range(1, 40):
        path.write_bytes(content[: len(content) * part // 40])
        allowed = (None, records) if part == 39 else (None,)
        assert read_all(kind, path) in allowed


# Not "json": a text has no checksum, because editing it by hand is what it is for.
@pytest.mark.parametrize("kind", ["sqlite", "sqlite-relaxed", "sealed-sqlite", "sealed-json"])
@pytest.mark.parametrize("seed", range(8))
def test_flipped_bits_never_give_wrong_records(kind: str, path: Path, seed: int) -> None:
    """A damaged file gives what was written, or it is refused."""
    records = filled(kind, path)
    content = path.read_bytes()
    source = random.Random(seed)
    refused = 0
    for _ in range(25):
        damaged = bytearray(content)
        damaged[source.randrange(len(content))] ^= 1 << source.randrange(8)
        path.write_bytes(damaged)
        result = read_all(kind, path)
        assert result in (None, records), f"seed {seed}"
        refused += result is None
    assert refused > 0


def test_garbage_inside_a_text_is_refused_with_line_and_column(path: Path) -> None:
    """Whoever edits the file by hand learns where it is wrong."""
    filled("json", path)
    lines = path.read_bytes().splitlines(keepends=True)
    for junk, words in [(b"  oops\n", "line 4, column 3"), (b"  \xff\n", "line 4, column 3")]:
        path.write_bytes(b"".join([*lines[:3], junk, *lines[4:]]))
        with pytest.raises(DatabaseCorruptError, match=words):
            JsonFileSaveState(path).open()


# --- The disk refuses -------------------------------------------------------------------------


def test_a_commit_that_exceeds_a_limit_leaves_no_trace(kind: str, path: Path) -> None:
    """It raises, nothing of it is visible, and the next commit works when there is room."""
    output, _ = program(kind, path, "limit").communicate()
    message, count = output.splitlines()
    assert "nothing of this change was saved: free some space and try again" in message
    assert "2" == count
    state = make(kind, path)
    state.open()
    assert 2 == check_whole(state)
    assert [] == keys_of(state, "big/")
    state.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "cytosol-test", str(folder)]
    is_root = os.geteuid() == 0 and shutil.which("mount")
    if not is_root or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_loses_nothing_acknowledged(kind: str, small_disk: Path) -> None:
    """Every commit before it filled up is there, and commits work again when there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 100_000)
    path = small_disk / "notes.cytosol"
    state = make(kind, path)
    state.open()
    done = 0
    try:
        while done < 1_000:
            commit_number(state, done + 1, size=1_000)
            done += 1
    except SaveError as error:
        assert "the disk is full" in str(error)  # noqa: PT017  # the loop must count
    assert 0 < done < 1_000
    assert done == check_whole(state)
    ballast.unlink()
    commit_number(state, done + 1)
    state.close()
    state.open()
    assert done + 1 == check_whole(state)
    state.close()


# --- Crashes ----------------------------------------------------------------------------------


def test_a_crash_between_commits_loses_nothing(path: Path) -> None:
    """A file copied with its log while it was open has everything acknowledged."""
    state = SqliteSaveState(path)
    state.open()
    for number in range(1, 8):
        commit_number(state, number)
        image = path.parent / f"image-{number}"
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{image}{suffix}")
        copy = SqliteSaveState(image)
        copy.open()
        assert number == check_whole(copy)
        copy.close()
    state.close()


# --- Against a dictionary ---------------------------------------------------------------------

KEYS = st.text("ab/~0", min_size=1, max_size=4)
BATCHES = st.tuples(
    st.lists(st.tuples(KEYS, st.text("xyz", max_size=3)), max_size=4),
    st.lists(KEYS, max_size=3),
    st.lists(st.text("ab/", max_size=2), max_size=1),
)


@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(BATCHES, max_size=6), prefix=st.text("ab/", max_size=2))
def test_records_are_those_of_a_plain_dictionary(
    tmp_path_factory: pytest.TempPathFactory, kind: str, batches: list[tuple], prefix: str
) -> None:
    """Any batches, then a reopening: the same as a dictionary would hold."""
    state = make(kind, tmp_path_factory.mktemp("any") / "notes.cytosol")
    state.open()
    expected: dict[str, str] = {}
    for puts, deletes, prefixes in batches:
        state.commit([(key, value_of(state, value)) for key, value in puts], deletes, prefixes)
        for start in prefixes:
            expected = {key: v for key, v in expected.items() if not key.startswith(start)}
        expected = {key: v for key, v in expected.items() if key not in deletes}
        expected.update(puts)
    for _ in range(2):
        found = [(key, value_of(state, expected[key])) for key in sorted(expected)]
        assert found == list(state.scan(""))
        assert [item for item in found if item[0].startswith(prefix)] == list(state.scan(prefix))
        state.close()
        state.open()
    state.close()
