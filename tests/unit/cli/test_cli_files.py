"""`cytosol query`, `dispatch` and `check` on database files, good and bad, and the exit codes."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cytosol
from cytosol.cli.commands import program

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
Make = Callable[[Path], cytosol.SaveState]
KINDS: list[tuple[str, Make]] = [
    ("notes.cytosol", cytosol.SqliteSaveState),
    ("notes.json", cytosol.JsonFileSaveState),
]


def cli(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(program, [str(each) for each in arguments], input=stdin)


@pytest.fixture(params=KINDS, ids=["sqlite", "json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small database of each kind, closed."""
    name, kind = request.param
    path = tmp_path / name
    with cytosol.open(kind(path), app_id=APP_ID, network=False) as database:
        database.dispatch(cytosol.Set("$.title", "Zoë’s list"))
        database.dispatch(cytosol.Set("$.items", [{"n": 1}, {"n": 2}, {"n": 3}]))
    return path


# --- query ----------------------------------------------------------------------------------


def test_query_prints_one_value_a_line(file: Path) -> None:
    """Each value is compact JSON, so that scripts can read it line by line."""
    result = cli("query", file, "$.items[*]")
    assert 0 == result.exit_code
    assert '{"n": 1}\n{"n": 2}\n{"n": 3}\n' == result.stdout


def test_query_can_print_one_array(file: Path) -> None:
    """--json gives the list that query_once returns."""
    result = cli("query", file, "$..n", "--json")
    assert [1, 2, 3] == json.loads(result.stdout)


def test_query_takes_variables_by_name_and_by_number(file: Path) -> None:
    """Variables are JSON, in place of literals and names."""
    arguments = ("--var", "least=2", "--var", '0="items"')
    result = cli("query", file, "$[{0}][?@.n >= {least}].n", "--json", *arguments)
    assert [2, 3] == json.loads(result.stdout)


def test_query_can_ask_for_metadata(file: Path) -> None:
    """--meta asks for what is around the document, never for the private key."""
    assert [APP_ID] == json.loads(cli("query", file, "$.config.appId", "--meta", "--json").stdout)
    assert "secret" not in cli("query", file, "$.config", "--meta").stdout


def test_a_query_that_finds_nothing_is_no_error(file: Path) -> None:
    """Nothing is printed and the exit code is 0."""
    result = cli("query", file, "$.missing")
    assert (0, "") == (result.exit_code, result.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["$.a["], 1, "at character"),
        (["$[{name}]"], 1, "variable"),
        (["$.a", "--var", "year"], 64, "--var is NAME=JSON"),
        (["$.a", "--var", "year=abc"], 1, "write a string with double quotes"),
        (["$.a", "--var", "year=NaN"], 1, "no JSON number"),
        ([], 64, "Missing argument"),
        (["$.a", "--unknown"], 64, "No such option"),
    ],
)
def test_a_bad_query_is_refused_in_one_sentence(
    file: Path, arguments: list[str], code: int, words: str
) -> None:
    """The sentence is on stderr, nothing on stdout, and there is no traceback."""
    result = cli("query", file, *arguments)
    assert code == result.exit_code
    assert "" == result.stdout
    assert result.stderr.startswith("cytosol: ")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


# --- dispatch -------------------------------------------------------------------------------


def test_dispatch_changes_the_file(file: Path) -> None:
    """What an action does is there at the next query."""
    action = {"action": "InsertAfter", "path": "$.items[0]", "payload": {"n": 9}}
    assert 0 == cli("dispatch", file, json.dumps(action)).exit_code
    assert [1, 9, 2, 3] == json.loads(cli("query", file, "$..n", "--json").stdout)


def test_dispatch_reads_an_action_from_stdin(file: Path) -> None:
    """A long or secret action need not stand on the command line."""
    action = {"action": "Set", "path": "$.title", "payload": "grün"}
    text = json.dumps(action, ensure_ascii=False).encode()
    result = cli("dispatch", file, "-", "--json", stdin=text)
    assert {"changed": True, "failures": []} == json.loads(result.stdout)
    assert '"grün"\n' == cli("query", file, "$.title").stdout


def test_dispatch_tells_when_there_was_nothing_to_do(file: Path) -> None:
    """Deleting what is not there is no error, and no change."""
    result = cli("dispatch", file, '{"action": "Delete", "path": "$.missing"}', "--json")
    assert (0, False) == (result.exit_code, json.loads(result.stdout)["changed"])


def test_an_action_that_fails_changes_nothing(file: Path) -> None:
    """The failure is told to people and to programs, and the exit code is 1."""
    action = {"action": "Set", "path": "$.missing.deeper", "payload": 1}
    result = cli("dispatch", file, json.dumps(action), "--json")
    assert 1 == result.exit_code
    assert "path does not exist" == json.loads(result.stdout)["failures"][0]["message"]
    assert "nothing was changed" in result.stderr
    assert [] == json.loads(cli("query", file, "$.missing", "--json").stdout)


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        ('{"action": "Sit", "path": "$.a"}', 1, "is not an action"),
        ("{'action': 'Set'}", 1, "not JSON"),
        ("[1]", 1, "an action is an object"),
        ('{"action": "Set", "path": "$.a", "path": "$.b"}', 1, 'names the member "path" twice'),
        ('{"action": "Unpair", "payload": "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"}', 5, "network"),
        ("[" * 100_000, 1, "not JSON"),
    ],
)
def test_a_malformed_action_is_refused(file: Path, action: str, code: int, words: str) -> None:
    """The sentence says what is wrong with it."""
    result = cli("dispatch", file, "-", stdin=action)
    assert code == result.exit_code
    assert words in result.stderr
    assert "" == result.stdout


@pytest.mark.parametrize("payload", [{"id": APP_ID, "secret": "123456"}, True, None])
@pytest.mark.parametrize("name", ["RequestPair", "AcceptPair", "SetSyncEnabled"])
def test_a_network_action_needs_a_running_device(file: Path, name: str, payload: object) -> None:
    """The sentence says how to start one, whatever the payload."""
    result = cli("dispatch", file, json.dumps({"action": name, "payload": payload}))
    assert 5 == result.exit_code
    assert f"{name} needs the network" in result.stderr
    assert "does data actions only" in result.stderr
    assert f"cytosol run {file}" in result.stderr


def test_an_action_that_is_no_text_is_refused(file: Path) -> None:
    """Bytes that are not UTF-8 are no traceback."""
    result = cli("dispatch", file, "-", stdin=b"\xff\xfe")
    assert (1, "cytosol: the action on stdin is no UTF-8 text\n") == (
        result.exit_code,
        result.stderr,
    )


def test_the_tools_never_trim_the_history_that_an_app_keeps(file: Path) -> None:
    """How much history to keep is the app's choice; a tool that does not know it keeps all."""
    asked = cli("query", file, "$.config['minHistory', 'maxHistory']", "--meta", "--json")
    assert [-1, -1] == json.loads(asked.stdout)


# --- check ----------------------------------------------------------------------------------


def test_check_reports_what_is_in_a_file(file: Path) -> None:
    """A person reads how much there is, and that all is well."""
    result = cli("check", file)
    assert 0 == result.exit_code
    assert f"{file} is whole" in result.stdout
    assert APP_ID in result.stdout
    assert "9 values" in result.stdout
    assert "2 ops, nothing trimmed" in result.stdout


def test_check_reports_to_programs(file: Path) -> None:
    """--json has the same facts under the names that JSON has elsewhere."""
    report = json.loads(cli("check", file, "--json").stdout)
    with cytosol.open(_state(file), app_id=APP_ID, network=False) as database:
        state_hash, peer_id = database.state_hash(), database.peer_id
    assert report["ok"] is True
    assert (APP_ID, peer_id, state_hash) == (
        report["appId"],
        report["peerId"],
        report["stateHash"],
    )
    assert (2, 1, 0, None, 9) == tuple(
        report[key] for key in ("ops", "authors", "trimmedOps", "trimIndex", "values")
    )


def _state(file: Path) -> cytosol.SaveState:
    return dict(KINDS)[file.name](file)


def test_check_finds_a_flipped_bit(tmp_path: Path) -> None:
    """Damage has an exit code of its own, and the file is left as it is."""
    file = tmp_path / "notes.cytosol"
    with cytosol.open(file, app_id=APP_ID, network=False) as database:
        database.dispatch(cytosol.Set("$.title", "needle in a haystack"))
    data = file.read_bytes()
    file.write_bytes(data.replace(b"needle", b"noodle"))
    result = cli("check", file, "--json")
    assert 2 == result.exit_code
    report = json.loads(result.stdout)
    assert (False, 2) == (report["ok"], report["code"])
    assert "damaged" in report["message"]
    assert "damaged" in result.stderr
    assert b"noodle" in file.read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.txt", b"hello, I am a text\n" * 40),
        ("other.json", b'{"some": "JSON"}'),
        ("broken.json", b'{"cytosol": 1, "records": {'),
        ("binary.json", b"\xff\xfe\x00"),
    ],
)
@pytest.mark.parametrize("command", ["check", "query", "dispatch"])
def test_a_foreign_file_is_left_alone(
    tmp_path: Path, name: str, content: bytes, command: str
) -> None:
    """What is not ours is refused as damaged, and not touched."""
    file = tmp_path / name
    file.write_bytes(content)
    arguments = {"check": [], "query": ["$"], "dispatch": ['{"action":"Delete","path":"$.a"}']}
    result = cli(command, file, *arguments[command])
    assert 2 == result.exit_code
    assert name in result.stderr
    assert content == file.read_bytes()


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file need not be ours."""
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert 2 == cli("check", file).exit_code


@pytest.mark.parametrize("command", ["check", "query", "dispatch"])
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, command: str) -> None:
    """A mistyped name must not leave an empty database behind."""
    arguments = {"check": [], "query": ["$"], "dispatch": ['{"action":"Delete","path":"$.a"}']}
    for name in ("typo.cytosol", "typo.json", "no/folder.cytosol"):
        result = cli(command, tmp_path / name, *arguments[command])
        assert 4 == result.exit_code
        assert f"there is no file '{tmp_path / name}'" in result.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_not_there_can_be_made_as_the_sentence_says(tmp_path: Path) -> None:
    """The command stands in it, and a shell takes it as it is."""
    missing = tmp_path / "my notes.cytosol"
    told = cli("check", missing).stderr
    command = shlex.split(told.rpartition("type: ")[2])
    assert ["cytosol", "run", str(missing), "--new"] == command
    assert 0 == cli(*command[1:], "--no-sync", "--hidden", stdin="set $.a 1\n").exit_code
    assert "1\n" == cli("query", missing, "$.a").stdout


@pytest.mark.parametrize("command", [["check"], ["query", "$"]])
def test_a_file_on_media_that_cannot_be_written_is_to_be_copied(
    file: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Its permissions cannot be changed there, as the first advice says."""
    real = os.open

    def on_read_only_media(path: Any, flags: int, *mode: int, **more: Any) -> int:
        if flags & os.O_CREAT and Path(path).parent == file.parent:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", on_read_only_media)
        told = cli(command[0], file, *command[1:])
        assert (4, False) == (told.exit_code, "copy" in told.stderr)
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        told = cli(command[0], file, *command[1:])
    assert 4 == told.exit_code
    assert "Read-only file system" in told.stderr
    assert f"or copy '{file.name}', and '{file.name}-wal' if there is one" in told.stderr


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The sentence says what it is instead."""
    result = cli("check", tmp_path)
    assert 4 == result.exit_code
    assert "is a folder" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["check"], ["run"], ["query", "$"], ["dispatch", "{}"], ["demo"]]
)
def test_an_empty_name_is_no_file(arguments: list[str]) -> None:
    """A script whose variable is empty does not hear about the current folder."""
    result = cli(arguments[0], "", *arguments[1:])
    assert 64 == result.exit_code
    assert "it is empty; give the name of a file" in result.stderr


@pytest.mark.parametrize("name", ["empty.json", "empty.cytosol"])
@pytest.mark.parametrize("command", ["query", "check"])
def test_a_file_without_a_document_is_told_apart(tmp_path: Path, name: str, command: str) -> None:
    """Somebody has to begin a document before a tool can look at it, and the tool does not."""
    file = tmp_path / name
    file.write_bytes(b"")
    result = cli(command, file, *(["$"] if command == "query" else []))
    assert 1 == result.exit_code
    assert "holds no document yet" in result.stderr
    assert b"" == file.read_bytes()
    assert [file] == list(tmp_path.iterdir())


def test_a_history_without_an_identity_is_damage(tmp_path: Path) -> None:
    """Such a file holds a document, whoever took the record out."""
    file = tmp_path / "notes.json"
    with cytosol.open(cytosol.JsonFileSaveState(file), app_id=APP_ID, network=False) as database:
        database.dispatch(cytosol.Set("$.a", 1))
    content = json.loads(file.read_text())
    del content["records"]["meta/identity"]
    file.write_text(json.dumps(content))
    result = cli("check", file)
    assert 2 == result.exit_code
    assert "its identity cannot be read" in result.stderr
    assert "--salvage" in result.stderr


def test_a_file_in_use_is_refused(file: Path) -> None:
    """While an app has the file open, the tools say so."""
    with cytosol.open(_state(file), app_id=APP_ID, network=False):
        for arguments in (["check", file], ["query", file, "$"]):
            result = cli(*arguments)
            assert 3 == result.exit_code
            assert str(file) in result.stderr
    assert 0 == cli("check", file).exit_code


def test_a_sqlite_file_may_be_called_json(tmp_path: Path) -> None:
    """What is in the file counts, not only its name."""
    file = tmp_path / "odd.json"
    with cytosol.open(cytosol.SqliteSaveState(file), app_id=APP_ID, network=False) as database:
        database.dispatch(cytosol.Set("$.a", 1))
    assert "1\n" == cli("query", file, "$.a").stdout


# --- the program ----------------------------------------------------------------------------


def test_help_and_version_are_there() -> None:
    """Every command tells how to use it."""
    assert f"cytosol, version {cytosol.__version__}\n" == cli("--version").stdout
    for command in ("demo", "run", "query", "dispatch", "check"):
        assert command in cli("--help").stdout
        assert 0 == cli(command, "--help").exit_code


def test_an_unknown_command_is_wrong_usage() -> None:
    """Wrong usage has a code of its own, since 2 means damage."""
    result = cli("frobnicate")
    assert 64 == result.exit_code
    assert "'cytosol --help' tells" in result.stderr or "--help" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "knows no app yet"),
        (["--app-id", "12345"], "is not a UUID"),
    ],
)
def test_run_needs_to_know_the_app(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A new file begins with an app id, and a bad one leaves no file behind."""
    result = cli("run", tmp_path / "new.cytosol", *arguments)
    assert 1 == result.exit_code
    assert words in result.stderr
    assert [] == list(tmp_path.iterdir())


def test_run_does_not_begin_a_file_twice(file: Path) -> None:
    """--new on a file of an app would be a mistake."""
    result = cli("run", file, "--new")
    assert 1 == result.exit_code
    assert f"belongs to the app {APP_ID} already" in result.stderr


def test_run_refuses_the_file_of_another_app(file: Path) -> None:
    """The document of one app must not reach the devices of another."""
    result = cli("run", file, "--app-id", "11111111-2222-4333-8444-555555555555")
    assert 1 == result.exit_code
    assert "belongs to the app" in result.stderr


@pytest.mark.parametrize("name", ["empty.cytosol", "empty.json"])
def test_run_leaves_an_empty_file_as_it_is_if_it_knows_no_app(tmp_path: Path, name: str) -> None:
    """A command that is refused has written nothing, not even beside the file."""
    path = tmp_path / name
    path.touch()
    result = cli("run", path)
    assert 1 == result.exit_code
    assert "knows no app yet; give --app-id" in result.stderr
    assert b"" == path.read_bytes()
    assert [name] == [each.name for each in tmp_path.iterdir()]
