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
