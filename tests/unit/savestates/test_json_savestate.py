"""What only the JSON file does: it is readable, and it is replaced whole."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cytosol.errors import DatabaseCorruptError, SaveError
from cytosol.savestates import JsonFileSaveState, jsonfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.json"


@pytest.fixture
def state(path: Path) -> JsonFileSaveState:
    state = JsonFileSaveState(path)
    state.open()
    yield state
    state.close()


def test_the_file_is_readable(state: JsonFileSaveState, path: Path) -> None:
    """Indented, keys sorted, letters as they are."""
    state.commit([("b", {"name": "Zoë", "list": [1, {}]}), ("a", None), ('c"', 2**64 - 1)])
    assert path.read_text("utf-8") == (
        '{\n  "cytosol": 1,\n  "records": {\n    "a": null,\n    "b": {\n      "name": "Zoë",\n'
        '      "list": [\n        1,\n        {}\n      ]\n    },\n'
        '    "c\\"": 18446744073709551615\n  }\n}\n'
    )
    state.close()
    state.open()
    assert {"name": "Zoë", "list": [1, {}]} == state.get("b")
    assert 2**64 - 1 == state.get('c"')


def test_a_file_without_records_is_readable_too(state: JsonFileSaveState, path: Path) -> None:
    """After everything was deleted."""
    state.commit([("a", 1)])
    state.commit(deletes=["a"])
    assert '{\n  "cytosol": 1,\n  "records": {}\n}\n' == path.read_text()


def test_nobody_can_change_a_record_from_outside(state: JsonFileSaveState) -> None:
    """Neither through what was put nor through what was got."""
    value = [1]
    state.commit([("a", value)])
    value.append(2)
    state.get("a").append(3)
    next(iter(state.scan("a")))[1].append(4)
    assert [1] == state.get("a")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}, "\ud800"])
def test_what_is_not_json_is_refused(state: JsonFileSaveState, value: Any) -> None:
    """Before anything changes."""
    with pytest.raises((TypeError, ValueError)):
        state.commit([("a", 1), ("b", value)])
    assert None is state.get("a")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"cytosol": 1, "records": {"a": 1,}}', r"at line 1, column 3\d"),
        ('{\n "cytosol": 1,\n oops', "at line 3, column 2"),
        ('{"cytosol": 1, "records": {"a": NaN}}', "NaN is no JSON number"),
        ('{"cytosol": 1, "records": {"a": 1, "b": 2, "a": 1}}', "names the member 'a' twice"),
        ('{"cytosol": 1, "records": [1]}', 'its member "records" is not an object'),
        ('{"cytosol": 1}', 'its member "records" is not an object'),
        ('{"cytosol": 2, "records": {}}', "has the format 2, which this version"),
        ('{"records": {}}', "is not a Cytosol file"),
        ('{"cytosol": 1, "records": {"a": "\\ud800"}}', "surrogates not allowed"),
        ('{"cytosol": 1, "records": {"a": ' + "[" * 100_000, "recursion"),
        ('{"cytosol": 1, "records": {"a": ' + "9" * 10_000 + "}}", "digits"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_as_it_is(path: Path, content: str, words: str) -> None:
    """The sentence says where reading ended, or what is wrong."""
    path.write_text(content)
    with pytest.raises(DatabaseCorruptError, match=words):
        JsonFileSaveState(path).open()
    assert content == path.read_text()


def test_a_file_saved_by_an_editor_with_a_byte_order_mark_is_read(path: Path) -> None:
    """Some editors put one there."""
    path.write_text('{"cytosol": 1, "records": {"a": 7}}', "utf-8-sig")
    state = JsonFileSaveState(path)
    state.open()
    assert 7 == state.get("a")
    state.close()


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, number: int, error: OSError) -> None:
    """Let the `number`-th call of `os.<name>` fail, those after it succeed."""
    real = getattr(os, name)
    calls = []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return real(*arguments)

    monkeypatch.setattr(jsonfile.os, name, call)


@pytest.mark.parametrize("number", [1, 2])
def test_after_a_failed_flush_nothing_is_acknowledged_until_reopened(
    state: JsonFileSaveState, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whether it was the flush of the file or that of its name."""
    state.commit([("a", 1)])
    fail_once(monkeypatch, "fsync", number, OSError(5, "Input/output error"))
    with pytest.raises(SaveError, match=r"\(Input/output error\); nothing was acknowledged"):
        state.commit([("b", 2)])
    assert [("a", 1)] == list(state.scan(""))
    with pytest.raises(SaveError, match="takes no changes any more"):
        state.commit([("c", 3)])
    assert [path.name] == [name for name in os.listdir(path.parent) if "-lock" not in name]
    state.close()
    state.open()
    state.commit([("c", 3)])
    assert 3 == state.get("c")


def test_a_rename_that_fails_changes_nothing(
    state: JsonFileSaveState, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file stays, and the next commit may succeed."""
    state.commit([("a", 1)])
    fail_once(monkeypatch, "replace", 1, PermissionError(13, "Permission denied"))
    with pytest.raises(SaveError, match="allow this program to write the file and the folder"):
        state.commit([("b", 2)])
    state.commit([("c", 3)])
    assert [("a", 1), ("c", 3)] == list(state.scan(""))


# --- Somebody else's hands on the open file -----------------------------------------------------


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"a": 1', '"a": 2'))


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_text(path.read_text().replace('"a": 1', '"a": 2'))
    copy.replace(path)


def make_nonsense(path: Path) -> None:
    path.write_text("{")


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("meddle", [edit, replace_by_a_copy, make_nonsense, make_a_pipe])
def test_a_file_that_somebody_edits_is_not_overwritten(
    state: JsonFileSaveState, path: Path, meddle: Any
) -> None:
    """Of the same size or not, in place or by renaming: the next commit is refused, each time."""
    state.commit([("a", 1)])
    meddle(path)
    left = path.read_bytes() if path.is_file() else b""
    for _ in range(2):
        with pytest.raises(SaveError, match="was changed by somebody else while it was open"):
            state.commit([("b", 2)])
    assert [("a", 1)] == list(state.scan(""))
    assert not path.is_file() or left == path.read_bytes()


def test_reopening_takes_an_edit_in(state: JsonFileSaveState, path: Path) -> None:
    """As the refusal says."""
    state.commit([("a", 1)])
    edit(path)
    state.close()
    state.open()
    state.commit([("b", 3)])
    assert [("a", 2), ("b", 3)] == list(state.scan(""))


def test_a_file_that_appears_before_the_first_commit_is_not_overwritten(
    state: JsonFileSaveState, path: Path
) -> None:
    """It was missing when the database was opened."""
    path.write_text('{"cytosol": 1, "records": {"theirs": 1}}')
    with pytest.raises(SaveError, match="was changed by somebody else"):
        state.commit([("a", 1)])
    assert "theirs" in path.read_text()


def test_a_file_that_was_only_touched_is_no_reason_to_stop(
    state: JsonFileSaveState, path: Path
) -> None:
    """Also laid out differently, or checked out anew: what it says counts."""
    state.commit([("a", 1)])
    os.utime(path, ns=(1, 1))
    state.commit([("b", 2)])
    path.unlink()
    path.write_text('{"records": {"b":2, "a":1}, "cytosol": 1}')
    state.commit([("c", 3)])
    assert ["a", "b", "c"] == [key for key, _ in state.scan("")]
    assert '"c": 3' in path.read_text()


@pytest.mark.parametrize("is_folder_gone", [False, True])
def test_a_file_that_is_deleted_is_not_made_anew(path: Path, is_folder_gone: bool) -> None:
    """Who deleted it learns that it is in use; put back, it is used again."""
    folder = path.parent / "folder"
    folder.mkdir()
    state = JsonFileSaveState(folder / "notes.json")
    state.open()
    state.commit([("a", 1)])
    gone = folder if is_folder_gone else state.path
    gone.rename(path.parent / "elsewhere")
    with pytest.raises(SaveError, match="deleted, moved or replaced while it was open"):
        state.commit([("b", 2)])
    (path.parent / "elsewhere").rename(gone)
    state.commit([("c", 3)])
    assert ["a", "c"] == [key for key, _ in state.scan("")]
    state.close()


def test_a_folder_that_cannot_be_looked_into(
    state: JsonFileSaveState, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names the reason; nothing is guessed."""
    state.commit([("a", 1)])
    fail_once(monkeypatch, "lstat", 1, PermissionError(13, "Permission denied"))
    with pytest.raises(SaveError, match="Permission denied"):
        state.commit([("b", 2)])


def test_each_commit_makes_a_new_file_with_a_narrow_mode(
    state: JsonFileSaveState, path: Path
) -> None:
    """The old one is never written into."""
    state.commit([("a", 1)])
    first = path.open("rb")
    state.commit([("a", 2)])
    assert b'"a": 1' in first.read()
    first.close()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
