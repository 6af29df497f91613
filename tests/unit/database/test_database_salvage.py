"""Salvage: whatever can be read of a damaged file is written down, and the file only read."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cytosol
from cytosol import Set
from cytosol.cli.commands import program
from cytosol.database.causes import Cause
from cytosol.database.doctor import file_faults
from cytosol.database.salvage import salvage_file
from cytosol.document.salvage import Salvaged
from cytosol.savestates.sealkeys import Secret, passphrase_secret
from tests.contract.savestate_kinds import CHEAP
from tests.unit.database.databases import open_alone

PASSPHRASE = "Wo ist die Katze?"
PAGE = 4096
KINDS: dict[str, Callable[[Path], cytosol.SaveState]] = {
    "notes.cytosol": cytosol.SqliteSaveState,
    "notes.json": cytosol.JsonFileSaveState,
    "sealed.cytosol": lambda path: cytosol.SealedSaveState(
        cytosol.SqliteSaveState(path), passphrase=PASSPHRASE, cost=CHEAP
    ),
    "sealed.json": lambda path: cytosol.SealedSaveState(
        cytosol.JsonFileSaveState(path), passphrase=PASSPHRASE, cost=CHEAP
    ),
}
COUNT = 90


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A closed database of each kind, with keys k0 to k89, in as many records."""
    return make(tmp_path / str(request.param))


def make(path: Path, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    with open_alone(KINDS[path.name](path), **options) as db:
        for number in range(COUNT):
            db.dispatch(Set(f"$.k{number}", f"value {number} {'x' * 200}"))
        db.dispatch(cytosol.InitArray("$.list"))
    return path


def ask() -> Secret:
    return passphrase_secret(PASSPHRASE)


def salvage(path: Path) -> Salvaged:
    """Salvage, and check that the file was not touched."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    found = salvage_file(path, ask)
    assert before == {each.name: each.read_bytes() for each in path.parent.iterdir()}
    json.dumps(found.to_json(), allow_nan=False)
    assert isinstance(found.document, dict)
    return found


def keys_of(found: Salvaged) -> set[str]:
    assert isinstance(found.document, dict)
    for key, value in found.document.items():
        assert "list" == key or value == f"value {key[1:]} {'x' * 200}", "never a wrong value"
    return set(found.document)


def document(path: Path) -> Any:
    with open_alone(KINDS[path.name](path)) as db:
        return db.query_once("$")[0]


@pytest.mark.parametrize("max_history", [10, 1_000])
def test_of_a_whole_file_nothing_is_missing(tmp_path: Path, max_history: int) -> None:
    """With and without a base."""
    for number, name in enumerate(KINDS):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        make(path, max_history=max_history)
        found = salvage(path)
        assert [] == found.problems == found.failures == found.left_out
        assert found.document == document(path)


def spoil(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(content)


@pytest.mark.parametrize("name", ["notes.cytosol", "sealed.cytosol"])
def test_a_page_that_is_gone_costs_what_was_in_it(tmp_path: Path, name: str) -> None:
    """Wherever it is, be it the root of the tree; page 1 costs nothing."""
    path = make(tmp_path / name)
    whole = keys_of(salvage(path))
    content = path.read_bytes()
    assert len(content) >= 8 * PAGE
    lost = []
    for start in range(0, len(content), PAGE):
        path.write_bytes(content)
        spoil(path, start, random.Random(start).randbytes(PAGE))
        found = salvage(path)
        lost.append(len(whole - keys_of(found)))
        assert [] != found.problems
    assert 0 == lost[0]
    assert max(lost) <= 20


def test_a_record_with_a_wrong_checksum_is_left_out(tmp_path: Path) -> None:
    """And named; the ops behind it stand although one before them is missing."""
    path = make(tmp_path / "notes.cytosol")
    other = sqlite3.connect(path)
    other.execute("UPDATE records SET checksum = checksum + 1 WHERE key = 'op/0000000000000007'")
    other.commit()
    other.close()
    found = salvage(path)
    assert {"k6"} == {f"k{number}" for number in range(COUNT)} - keys_of(found)
    assert "the checksum of the record op/0000000000000007 is wrong" in found.problems
    assert any("lack earlier ones" in problem for problem in found.problems)


def test_a_truncated_file_gives_what_is_left(file: Path) -> None:
    """From every length."""
    content = file.read_bytes()
    most = 0
    for part in range(1, 20):
        file.write_bytes(content[: len(content) * part // 20])
        try:
            most = max(most, len(keys_of(salvage(file))))
        except cytosol.DatabaseCorruptError as error:
            assert file.name.startswith("sealed"), error  # noqa: PT017  # only without the head
    assert most > 0 or file.name == "sealed.cytosol"


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_makes_salvage_fail(file: Path, seed: int) -> None:
    """Whatever bytes change: no wrong value, and no error but those that are declared."""
    content = file.read_bytes()
    source = random.Random(f"{file.name} {seed}")
    for _ in range(12):
        damaged = bytearray(content)
        for _ in range(source.randrange(1, 30)):
            start = source.randrange(len(damaged))
            size = source.choice([1, 1, 8, 300])
            damaged[start : start + size] = source.randbytes(size)
        file.write_bytes(damaged)
        try:
            found = salvage_file(file, ask)
        except (cytosol.DatabaseCorruptError, cytosol.SealError):
            assert file.name.startswith("sealed"), f"seed {seed}"
        else:
            if file.name != "notes.json":  # a text has no checksums
                keys_of(found)


def test_a_text_is_read_around_a_damaged_line(tmp_path: Path) -> None:
    """The record with the damage loses what is damaged, and the others nothing."""
    path = make(tmp_path / "notes.json")
    text = path.read_text()
    at = text.index('"value 7 ')
    path.write_text(text[:at] + "oops" + text[at + 4 :])
    found = salvage(path)
    assert {"k7"} == {f"k{number}" for number in range(COUNT)} - keys_of(found)
    assert any("the record op/" in problem for problem in found.problems)


def test_a_base_that_is_gone_leaves_what_came_after(tmp_path: Path) -> None:
    """In a text, the document of the base is there to be read at least."""
    path = make(tmp_path / "notes.json", max_history=10)
    content = json.loads(path.read_text())
    content["records"]["base"]["snapshot"] = "AAAA"
    path.write_text(json.dumps(content))
    found = salvage(path)
    assert any("the base, which holds all older history" in each for each in found.problems)
    shown = found.left_out[0]
    assert isinstance(shown, dict)
    assert "k0" in shown["document before the ops"]  # type: ignore[operator]  # an object
    assert "list" in keys_of(found)


def test_an_op_that_makes_no_sense_is_listed(tmp_path: Path) -> None:
    """It is not lost, and costs none of the others."""
    path = make(tmp_path / "notes.json")
    content = json.loads(path.read_text())
    record = content["records"]["op/0000000000000005"]
    record[0]["action"] = "Explode"
    content["records"]["op/x"] = "no list"
    path.write_text(json.dumps(content))
    found = salvage(path)
    assert record == found.left_out
    assert COUNT == len(keys_of(found))
    assert any(
        "an op in the record op/0000000000000005 cannot be read" in p for p in found.problems
    )


def test_an_op_that_no_history_takes_is_listed(tmp_path: Path) -> None:
    """Such as one whose number is out of bounds."""
    path = make(tmp_path / "notes.json")
    content = json.loads(path.read_text())
    record = content["records"]["op/0000000000000090"]
    record[0]["id"]["index"] = 2**50
    path.write_text(json.dumps(content))
    found = salvage(path)
    assert [2**50] == [each["id"]["index"] for each in found.left_out]  # type: ignore[call-overload, index]  # ops
    assert any("could not be applied" in problem for problem in found.problems)
    assert COUNT - 1 <= len(keys_of(found))


@pytest.mark.parametrize("name", ["notes.json", "sealed.json"])
def test_a_text_with_another_beginning_is_still_a_text(tmp_path: Path, name: str) -> None:
    """Its name need not tell, and the records lie behind the damage."""
    path = make(tmp_path / name).rename(tmp_path / "renamed.cytosol")
    whole = keys_of(salvage(path))
    spoil(path, 0, b"\xff" * 20)
    assert whole == keys_of(salvage(path))


@pytest.mark.parametrize("size", [1, 25])
def test_a_text_without_any_record_gives_an_empty_document(tmp_path: Path, size: int) -> None:
    """And says so."""
    path = make(tmp_path / "notes.json")
    path.write_bytes(path.read_bytes()[:size])
    found = salvage(path)
    assert {} == found.document
    assert "no record could be read" in found.problems


def test_an_op_that_fails_without_earlier_ones_is_a_failure(tmp_path: Path) -> None:
    """With its payload, as in `$.failures`."""
    path = tmp_path / "notes.json"
    with open_alone(cytosol.JsonFileSaveState(path)) as db:
        db.dispatch(Set("$.a", {"b": {}}))
        db.dispatch(Set("$.kept", 1))
        db.dispatch(Set("$.a.b.c", "not lost"))
    content = json.loads(path.read_text())
    del content["records"]["op/0000000000000001"]
    path.write_text(json.dumps(content))
    found = salvage(path)
    assert {"kept": 1} == found.document
    (failure,) = found.failures
    assert isinstance(failure, dict)
    assert failure["message"]
    assert "not lost" in json.dumps(failure["op"])


def test_a_batch_of_ops_that_is_none_is_told(tmp_path: Path) -> None:
    """Although its checksum is right."""
    path = make(tmp_path / "notes.cytosol")
    state = cytosol.SqliteSaveState(path)
    state.open()
    state.commit([("op/0000000000000007", b"\xff")])
    state.close()
    found = salvage(path)
    assert COUNT - 1 <= len(keys_of(found))
    assert any("op/0000000000000007 cannot be decoded" in problem for problem in found.problems)


def test_ops_that_the_base_holds_do_not_count_twice(tmp_path: Path) -> None:
    """Pages of an earlier time may still hold them."""
    path = tmp_path / "notes.json"
    with open_alone(cytosol.JsonFileSaveState(path), max_history=10) as db:
        for number in range(5):
            db.dispatch(cytosol.Set("$.n", 0) if number == 0 else cytosol.Add("$.n", 1))
        earlier = json.loads(path.read_text())["records"]
        for number in range(COUNT):
            db.dispatch(Set(f"$.k{number}", number))
    content = json.loads(path.read_text())
    records = content["records"]
    numbers = sorted(key for key in records if key.startswith("op/"))
    del records[numbers[0]]  # so that each op is applied as it is
    for number, key in enumerate(key for key in earlier if key.startswith("op/")):
        records[f"op/9{number:015}"] = earlier[key]
    path.write_text(json.dumps(content))
    found = salvage(path)
    assert isinstance(found.document, dict)
    assert 4 == found.document["n"]
    assert any("lack earlier ones" in problem for problem in found.problems)


def test_a_file_without_the_table_gives_an_empty_document(tmp_path: Path) -> None:
    """SQLite itself finds nothing wrong with it."""
    path = tmp_path / "notes.cytosol"
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 1")
    other.close()
    found = salvage(path)
    assert {} == found.document
    assert "no record could be read" in found.problems


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do."""
    path = make(tmp_path / "notes.cytosol")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(cytosol.SaveError, match="check the disk"):
        salvage_file(path, ask)


def test_a_file_in_which_nothing_is_left_gives_an_empty_document(tmp_path: Path) -> None:
    """And says that no record could be read."""
    path = tmp_path / "notes.cytosol"
    path.write_bytes(bytes(5 * PAGE))
    found = salvage(path)
    assert ({}, "no record could be read") == (found.document, found.problems[-1])
    assert 2 == cli("check", path, "--salvage", tmp_path / "out").exit_code


def test_a_damaged_log_costs_only_the_pages_that_are_damaged(tmp_path: Path) -> None:
    """SQLite forgets all that comes after them; what is salvaged is the file with its log."""
    path = tmp_path / "notes.cytosol"
    db = open_alone(cytosol.SqliteSaveState(path))
    for number in range(20):
        db.dispatch(Set(f"$.k{number}", f"value {number} {'x' * 200}"))
    folder = tmp_path / "crashed"
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", folder)
    db.close()
    log = folder / "notes.cytosol-wal"
    whole = log.read_bytes().rstrip(b"\0")  # without the room for what is written next
    log.write_bytes(whole[:-100])
    found = salvage(folder / "notes.cytosol")
    assert (19, []) == (len(keys_of(found)), found.problems), "a torn end is no loss"
    log.write_bytes(whole)
    spoil(log, log.stat().st_size // 2, b"\xff" * 100)
    with pytest.raises(cytosol.DatabaseCorruptError, match="damaged in the middle"):
        open_alone(cytosol.SqliteSaveState(folder / "notes.cytosol"))
    found = salvage(folder / "notes.cytosol")
    assert 19 <= len(keys_of(found))
    assert any("the log is damaged" in problem for problem in found.problems)


def test_the_log_of_another_file_is_not_mixed_in(tmp_path: Path) -> None:
    """Who reads that nothing is missing would take the other document for this one."""
    folder = tmp_path / "crashed"
    folder.mkdir()
    with open_alone(cytosol.SqliteSaveState(tmp_path / "notes.cytosol")) as db:
        db.dispatch(Set("$.k1", f"value 1 {'x' * 200}"))
        shutil.copy(tmp_path / "notes.cytosol-wal", folder)
    path = folder / "notes.cytosol"
    shutil.copy(make(tmp_path / "other" / "notes.cytosol"), path)
    with pytest.raises(cytosol.DatabaseCorruptError, match="is not the log of"):
        open_alone(cytosol.SqliteSaveState(path))
    found = salvage(path)
    assert COUNT + 1 == len(keys_of(found))
    assert any("belongs to another one" in problem for problem in found.problems)
    path.write_bytes(b"")
    assert {"k1"} == keys_of(salvage(path)), "as the problem says"


def test_a_wrong_passphrase_is_told(tmp_path: Path) -> None:
    """Damage or not."""
    path = make(tmp_path / "sealed.cytosol")
    with pytest.raises(cytosol.SealError):
        salvage_file(path, lambda: passphrase_secret("wrong"))


def test_a_file_in_use_is_not_salvaged(tmp_path: Path) -> None:
    """A copy of it would be damaged by being made meanwhile."""
    path = make(tmp_path / "notes.cytosol")
    with open_alone(path), pytest.raises(cytosol.DatabaseLockedError):
        salvage_file(path, ask)


# --- On the command line ----------------------------------------------------------------------


def cli(*arguments: Any) -> Result:
    return CliRunner().invoke(program, [str(each) for each in arguments])


def test_check_salvages_to_a_new_file(tmp_path: Path) -> None:
    """Exit code 0 if nothing is missing, 2 if something is; an existing file is not overwritten."""
    path, out = make(tmp_path / "notes.cytosol"), tmp_path / "out.json"
    expected = document(path)
    result = cli("check", path, "--salvage", out)
    assert (0, True) == (result.exit_code, "nothing is missing" in result.stdout)
    found = json.loads(out.read_text("utf-8"))
    assert (expected, True) == (found["document"], found["complete"])
    assert 0o600 == out.stat().st_mode & 0o777
    result = cli("check", path, "--salvage", out)
    assert (1, True) == (result.exit_code, "is not overwritten" in result.stderr)
    spoil(path, 3 * PAGE, bytes(PAGE))
    out.unlink()
    result = cli("check", path, "--salvage", out, "--json")
    assert 2 == result.exit_code
    assert False is json.loads(result.stdout)["ok"]
    assert False is json.loads(out.read_text("utf-8"))["complete"]


def test_check_salvages_a_sealed_file(tmp_path: Path) -> None:
    """With its passphrase."""
    path, secret, out = make(tmp_path / "sealed.cytosol"), tmp_path / "secret", tmp_path / "out"
    secret.write_text(PASSPHRASE)
    assert 7 == cli("check", path, "--salvage", out).exit_code
    assert not out.exists()
    assert 0 == cli("--passphrase-file", secret, "check", path, "--salvage", out).exit_code
    assert document(path) == json.loads(out.read_text("utf-8"))["document"]


def test_salvaging_says_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    """Exit code 4."""
    path = make(tmp_path / "notes.cytosol")
    assert 4 == cli("check", tmp_path / "none", "--salvage", tmp_path / "out").exit_code
    assert 4 == cli("check", path, "--salvage", tmp_path / "no" / "out").exit_code


@pytest.fixture
def log_alone(tmp_path: Path) -> Path:
    """The name of a file that somebody moved away without its log, after a crash."""
    path = tmp_path / "first" / "notes.cytosol"
    path.parent.mkdir()
    with open_alone(path) as database:
        database.dispatch(cytosol.Set("$.kept", "in the log"))
        shutil.copy(f"{path}-wal", tmp_path / "notes.cytosol-wal")
    return tmp_path / "notes.cytosol"


@pytest.mark.parametrize(
    "command",
    [("check",), ("query", "$"), ("check", "--json"), ("run",), ("run", "--new"), ("unseal",)],
)
def test_a_log_without_its_file_is_told_of(log_alone: Path, command: tuple[str, ...]) -> None:
    """It may hold what is nowhere else: no advice to begin anew there."""
    result = cli(command[0], log_alone, *command[1:])
    told = result.stdout if "--json" in command else result.stderr
    assert 4 == result.exit_code
    assert "its log 'notes.cytosol-wal' is there" in told
    assert "put the file back beside it" in told
    assert "--salvage" in told
    assert "--new" not in told


def test_a_log_without_its_file_is_salvaged_and_left_alone(log_alone: Path, tmp_path: Path) -> None:
    """A small document is in it as a whole; that the file is missing is said all the same."""
    log, out = log_alone.with_name("notes.cytosol-wal"), tmp_path / "out.json"
    before = log.read_bytes()
    result = cli("check", log_alone, "--salvage", out)
    assert (2, True) == (result.exit_code, "the file itself is missing" in result.stdout)
    assert {"kept": "in the log"} == json.loads(out.read_text("utf-8"))["document"]
    assert before == log.read_bytes()
    assert not log_alone.exists()


def test_a_log_of_nothing_readable_is_salvaged_as_nothing(log_alone: Path, tmp_path: Path) -> None:
    """And it is said."""
    log_alone.with_name("notes.cytosol-wal").write_bytes(b"rubbish" * 1000)
    result = cli("check", log_alone, "--salvage", tmp_path / "out.json")
    assert (2, True) == (result.exit_code, "no record could be read" in result.stdout)


def test_the_doctor_tells_of_a_log_without_its_file(log_alone: Path) -> None:
    """Beside the advice for a mistyped name."""
    [(cause, detail)] = file_faults(log_alone)
    assert (Cause.FILE_MISSING, True) == (cause, "its log 'notes.cytosol-wal' is there" in detail)
    [(cause, detail)] = file_faults(log_alone / "below")
    assert (Cause.FILE_MISSING, f"'{log_alone / 'below'}'") == (cause, detail)
