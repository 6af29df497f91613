"""`cytosol` on sealed files: options, prompts, exit codes."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from click.testing import CliRunner, Result

import cytosol
from cytosol.cli import secrets
from cytosol.cli.commands import program
from cytosol.database import sealing
from cytosol.savestates import sealed as sealed_module
from tests.contract.savestate_kinds import CHEAP
from tests.sealing.test_keys_in_the_keyring import MemoryKeyring

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
PASSPHRASE = "Brot und Käse"
Answers = Callable[..., None]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new heads cost nothing."""
    monkeypatch.setattr(sealed_module, "SealCost", lambda: CHEAP)


@pytest.fixture(params=["notes.cytosol", "notes.json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small database of each kind, closed and not sealed."""
    path = tmp_path / str(request.param)
    kind = cytosol.JsonFileSaveState if path.suffix == ".json" else cytosol.SqliteSaveState
    with cytosol.open(kind(path), app_id=APP_ID, network=False) as database:
        database.dispatch(cytosol.Set("$.title", "secret plans"))
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the passphrase."""
    path = tmp_path / "secrets" / "passphrase"
    path.parent.mkdir()
    path.write_bytes(PASSPHRASE.encode() + b"\r\nand a second line\n")
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Say what somebody at a terminal types at each prompt; too many prompts fail."""

    def answer(*answers: str) -> None:
        waiting = list(answers)
        monkeypatch.setattr(secrets, "_can_ask", lambda: True)
        monkeypatch.setattr(getpass, "getpass", lambda question: waiting.pop(0))

    return answer


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    """A keyring of this test's own."""
    before = keyring.get_keyring()
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def cli(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(program, [str(each) for each in arguments])
    assert code == result.exit_code, result.output
    assert PASSPHRASE not in result.output
    return result


def test_a_file_is_sealed_queried_and_unsealed(file: Path, secret: Path) -> None:
    """With a passphrase from a file; its second line and the line ends do not count."""
    given = ("--passphrase-file", secret)
    assert "is sealed; the old bytes were written over" in cli(*given, "seal", file).stderr
    assert b"secret plans" not in file.read_bytes()
    assert '"secret plans"\n' == cli(*given, "query", file, "$.title").stdout
    action = '{"action": "Set", "path": "$.n", "payload": 1}'
    cli(*given, "dispatch", file, action)
    assert json.loads(cli(*given, "check", file, "--json").stdout)["ok"]
    state = cytosol.SealedSaveState(
        sealing.save_state_at(file), passphrase=PASSPHRASE
    )  # the library opens what the command sealed
    with cytosol.open(state, app_id=APP_ID, network=False) as database:
        assert [1] == database.query_once("$.n")
    assert "can read it" in cli(*given, "unseal", file).stderr
    assert "1\n" == cli("query", file, "$.n").stdout


def test_a_byte_order_mark_is_no_part_of_the_passphrase(file: Path, secret: Path) -> None:
    """Whoever types the passphrase of the file could not type that."""
    secret.write_bytes(b"\xef\xbb\xbf" + secret.read_bytes())
    cli("--passphrase-file", secret, "seal", file)
    state = cytosol.SealedSaveState(sealing.save_state_at(file), passphrase=PASSPHRASE)
    with cytosol.open(state, app_id=APP_ID, network=False) as database:
        assert ["secret plans"] == database.query_once("$.title")


def test_a_sealed_file_asks_for_its_passphrase_once(
    file: Path, secret: Path, typed: Answers
) -> None:
    """At a terminal, whatever the command; what is typed is not shown."""
    cli("--passphrase-file", secret, "seal", file)
    action = '{"action": "Set", "path": "$.a", "payload": 1}'
    for command in (["query", file, "$"], ["check", file], ["dispatch", file, action]):
        typed(PASSPHRASE)
        cli(*command)


def test_without_a_terminal_the_error_names_the_options(file: Path, secret: Path) -> None:
    """Exit code 7, and the file is as it was."""
    cli("--passphrase-file", secret, "seal", file)
    for command in (["query", file, "$"], ["check", file], ["run", file], ["unseal", file]):
        result = cli(*command, code=7)
        assert "--passphrase-file or --keyring" in result.stderr
    result = cli("--passphrase-file", secret, "rekey", file, code=7)
    assert "--new-passphrase-file or --new-keyring" in result.stderr  # the old one was given


def test_an_option_behind_the_command_is_told_its_place(file: Path, secret: Path) -> None:
    """The secret belongs to the program, not to a command."""
    result = cli("seal", file, "--passphrase-file", secret, code=64)
    assert "It stands before the command: cytosol --passphrase-file ..." in result.stderr


def test_a_wrong_passphrase_has_an_exit_code_of_its_own(
    file: Path, secret: Path, typed: Answers
) -> None:
    """From a file and from the keyboard."""
    cli("--passphrase-file", secret, "seal", file)
    secret.write_text("wrong")
    for command in ("query", "check", "unseal", "rekey"):
        rest = ["$"] if command == "query" else []
        rest += ["--new-passphrase-file", str(secret)] if command == "rekey" else []
        result = cli("--passphrase-file", secret, command, file, *rest, code=7)
        assert "the passphrase is not that of" in result.stderr
    typed("wrong, too")
    assert "is not that of" in cli("query", file, "$", code=7).stderr
    typed("")
    assert "no passphrase was typed" in cli("query", file, "$", code=7).stderr


def test_a_passphrase_for_a_plain_file_is_refused(file: Path, secret: Path) -> None:
    """Rather than to let somebody believe that it is sealed."""
    result = cli("--passphrase-file", secret, "query", file, "$", code=7)
    assert "is not sealed" in result.stderr
    assert "is not sealed" in cli("--passphrase-file", secret, "unseal", file, code=7).stderr


def test_sealing_asks_twice(file: Path, typed: Answers) -> None:
    """A typing error would lock everybody out."""
    typed(PASSPHRASE, "Brot und Kaese")
    assert "the two passphrases differ" in cli("seal", file, code=7).stderr
    cli("query", file, "$")
    typed(PASSPHRASE, PASSPHRASE)
    cli("seal", file)
    typed(PASSPHRASE)
    cli("query", file, "$")


def test_a_file_gets_another_passphrase(file: Path, secret: Path, tmp_path: Path) -> None:
    """From a file, with everything encrypted anew or only the head."""
    cli("--passphrase-file", secret, "seal", file)
    for number, flags in enumerate(([], ["--keep-data-key"])):
        new = tmp_path / f"new {number}"
        new.write_text(f"another one {number}")
        result = cli(
            "--passphrase-file", secret, "rekey", file, "--new-passphrase-file", new, *flags
        )
        assert ("old copy" in result.stderr) is bool(flags)
        cli("--passphrase-file", secret, "query", file, "$", code=7)
        secret = new
        cli("--passphrase-file", secret, "query", file, "$")


def test_a_file_is_sealed_with_a_key_of_the_keyring(file: Path, ring: MemoryKeyring) -> None:
    """Nothing is typed then, and another key is found by its name."""
    cli("--keyring", "one", "seal", file)
    cli("--keyring", "one", "rekey", file, "--new-keyring", "two")
    assert '"secret plans"\n' == cli("--keyring", "two", "query", file, "$.title").stdout
    cli("--keyring", "one", "query", file, "$", code=7)


def test_run_begins_a_sealed_file(tmp_path: Path, secret: Path) -> None:
    """If the command line says with which passphrase."""
    file = tmp_path / "new.cytosol"
    arguments = ["--passphrase-file", str(secret), "run", str(file), "--new", "--no-sync"]
    result = CliRunner().invoke(program, arguments, input='set $.a "secret plans"\n')
    assert 0 == result.exit_code, result.output
    assert b"secret plans" not in file.read_bytes()
    cli("query", file, "$", code=7)
    assert '"secret plans"\n' == cli("--passphrase-file", secret, "query", file, "$.a").stdout


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 4, "cannot be read (No such file"),
        (b"", 7, "begins with an empty line"),
        (b"\nx", 7, "begins with an empty line"),
        (b"\xff\xfe", 7, "holds no UTF-8 text"),
        (b"x" * 5_000, 1, "4,096 are allowed"),
    ],
    ids=["missing", "empty", "empty line", "binary", "long"],
)
def test_a_file_that_holds_no_passphrase_is_told(
    file: Path, tmp_path: Path, content: bytes | None, code: int, words: str
) -> None:
    """And nothing is sealed with it."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    assert words in cli("--passphrase-file", secret, "seal", file, code=code).stderr
    cli("query", file, "$")


def test_options_that_exclude_each_other(file: Path) -> None:
    """Two secrets for one file are wrong usage."""
    both = ("--passphrase-file", "a", "--keyring", "b")
    assert "exclude" in cli(*both, "check", file, code=64).stderr
    both = ("--new-passphrase-file", "a", "--new-keyring", "b")
    assert "exclude" in cli("rekey", file, *both, code=64).stderr


def test_a_file_that_is_not_there_is_told(tmp_path: Path, secret: Path) -> None:
    """Exit code 4, and none is made."""
    for command in ("seal", "unseal", "rekey"):
        cli("--passphrase-file", secret, command, tmp_path / "none", code=4)
    assert not (tmp_path / "none").exists()
