"""What `cytosol check` prints about files that are not as they should be."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cytosol
from cytosol.cli.commands import program
from cytosol.database import database
from cytosol.savestates.sqlitelog import survey

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"


def cli(*arguments: Any) -> Result:
    return CliRunner().invoke(program, [str(each) for each in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small database, closed."""
    path = tmp_path / "notes.cytosol"
    with cytosol.open(path, app_id=APP_ID, network=False, max_history=20) as db:
        for number in range(100):
            db.dispatch(cytosol.Set("$.n", number))
    return path


def sections(file: Path, code: int = 0) -> dict[str, dict[str, str]]:
    result = cli("check", file, "--json")
    assert code == result.exit_code, result.output
    return {each["name"]: each for each in json.loads(result.stdout)["sections"]}


def crashed(file: Path, tmp_path: Path) -> Path:
    """A copy of the file with its log, as a crash leaves them."""
    folder = tmp_path / "crashed"
    folder.mkdir()
    with cytosol.open(file, app_id=APP_ID, network=False) as db:
        for number in range(10):
            db.dispatch(cytosol.Set("$.n", number))
        for suffix in ("", "-wal"):
            shutil.copy(f"{file}{suffix}", folder)
    return folder / file.name


def test_every_section_of_a_whole_file_is_fine(file: Path) -> None:
    """Both for people and for programs, and the trimmed ops are counted."""
    assert {"fine"} == {each["outcome"] for each in sections(file).values()}
    told = cli("check", file).stdout
    assert "older ones trimmed, up to number" in told
    assert 11 <= told.count("\n  fine ")


def written_bytes(log: Path) -> int:
    """Return how long a log is without the room behind what was written."""
    with log.open("rb") as stream:
        return survey(stream)[0]


def test_a_wide_mode_is_noted_although_opening_narrows_it(file: Path) -> None:
    """Somebody may have read it until now."""
    file.chmod(0o644)
    note = sections(file)["permissions"]
    assert ("note", "'notes.cytosol' had the mode 0644") == (note["outcome"], note["detail"])
    assert "may have a copy" in note["advice"]
    assert "fine" == sections(file)["permissions"]["outcome"]


@pytest.mark.parametrize("suffix", ["-new", "-sealing", "-journal"])
def test_what_a_crash_left_is_noted(file: Path, suffix: str) -> None:
    """With a word on how it goes away."""
    file.with_name(file.name + suffix).write_bytes(b"")
    note = sections(file)["leftovers"]
    assert ("note", f"notes.cytosol{suffix}") == (note["outcome"], note["detail"])
    assert note["advice"]


def test_a_log_that_a_crash_left_is_taken_in(file: Path, tmp_path: Path) -> None:
    """It is whole, and said to be so."""
    found = sections(crashed(file, tmp_path))
    assert "fine" == found["log"]["outcome"]
    assert "that opening takes into the file" in found["log"]["detail"]


def test_the_torn_end_of_a_log_is_noted(file: Path, tmp_path: Path) -> None:
    """It was never acknowledged, and opening cuts it."""
    path = crashed(file, tmp_path)
    log = path.with_name(f"{path.name}-wal")
    os.truncate(log, written_bytes(log) - 100)
    found = sections(path)["log"]
    assert ("note", "opening drops it") == (found["outcome"], found["advice"])
    assert "cut short by a crash, before it was acknowledged" in found["detail"]
    assert "log" not in sections(path)


def test_a_log_that_is_damaged_in_the_middle_is_damage(file: Path, tmp_path: Path) -> None:
    """The file is left as it is, and the report says how to read what is left."""
    path = crashed(file, tmp_path)
    log = path.with_name(f"{path.name}-wal")
    with log.open("r+b") as stream:
        stream.seek(written_bytes(log) // 2)
        stream.write(b"\xff" * 100)
    before = log.read_bytes()
    found = sections(path, code=2)
    assert ["damaged", "damaged"] == [found[name]["outcome"] for name in ("log", "opening")]
    assert "--salvage" in found["log"]["advice"]
    told = cli("check", path)
    assert f"{path} is not whole, or not a Cytosol file" == told.stdout.splitlines()[0]
    assert "damaged in the middle" in told.stderr
    assert before == log.read_bytes()


def test_damage_that_only_the_check_finds_has_its_section(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts are printed all the same, and the exit code is that of damage."""
    real = database.check_database

    def with_a_fault(document: Any, *arguments: Any) -> cytosol.CheckReport:
        document.replica.document["n"] = -1
        return real(document, *arguments)

    monkeypatch.setattr(database, "check_database", with_a_fault)
    found = sections(file, code=2)
    assert "damaged" == found["fold"]["outcome"]
    told = cli("check", file)
    assert APP_ID in told.stdout
    assert "DAMAGED  fold" in told.stdout
    assert "the ops in the file make another document" in told.stderr


def test_a_file_with_two_names_is_noted(file: Path) -> None:
    """What replaces one of them leaves the other behind."""
    os.link(file, file.with_name("second"))
    assert "it has 2 names (hard links)" == sections(file)["permissions"]["detail"]


def test_a_symbolic_link_is_refused(file: Path) -> None:
    """As opening does; the sections say nothing about a file that was not looked at."""
    link = file.with_name("link.cytosol")
    link.symlink_to(file)
    result = cli("check", link, "--json")
    assert (4, []) == (result.exit_code, json.loads(result.stdout)["sections"])


def test_a_salvage_that_finds_no_room_leaves_nothing_behind(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file would stand in the way of the next try."""
    out = tmp_path / "out.json"

    def no_room(descriptor: int, mode: str) -> Any:
        os.close(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", no_room)
        refused = cli("check", file, "--salvage", out)
    assert 4 == refused.exit_code
    assert "could not be written (No space left on device)" in refused.stderr
    assert not out.exists()
    assert 0 == cli("check", file, "--salvage", out).exit_code
    assert {"n": 99} == json.loads(out.read_bytes())["document"]
