"""`cytosol doctor`: what it prints, its exit codes, and files that it cannot open."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cytosol
from cytosol.cli import doctor as commands_doctor
from cytosol.cli.commands import program
from cytosol.database import doctor
from cytosol.net.evidence import InterfaceSeen, Knock, NetworkSeen, PeerSeen, Reach, Reply
from cytosol.net.probes import Subject

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
OTHER_APP = "00000000-0000-4000-8000-000000000001"


class Probes:
    """Stand for the probes: a network with one peer, or nobody."""

    def __init__(self) -> None:
        self.peers: list[PeerSeen] = []
        self.subjects: list[Subject] = []

    def __call__(self, subject: Subject, wait_s: float) -> NetworkSeen:
        self.subjects.append(subject)
        eth = InterfaceSeen("eth0", True, True, False, True, ("10.0.0.1",), ("10.0.0.0/24",))
        return NetworkSeen(50_000, (eth,), peers={peer.peer_id: peer for peer in self.peers})


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    probes = Probes()
    monkeypatch.setattr(doctor, "examine_network", probes)
    return probes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.cytosol"
    cytosol.open(path, app_id=APP_ID, network=False).close()
    return path


def cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(program, ["doctor", *map(str, arguments)])


def codes(*arguments: str | Path) -> list[str]:
    """Return the names of what is found, as a script reads them."""
    result = cli(*arguments, "--json")
    report: dict[str, Any] = json.loads(result.stdout)
    assert (6 if report["codes"] else 0) == result.exit_code
    assert report["healthy"] is not bool(report["codes"])
    assert report["codes"] == list(dict.fromkeys(each["code"] for each in report["findings"]))
    return list(report["codes"])


def friend() -> PeerSeen:
    return PeerSeen(
        bytes(16),
        "phone\x1b[31m",
        is_paired=True,
        addresses=[("10.0.0.2", 4000)],
        noticed={Knock.BROADCAST},
        has_dialled=True,
        reach=Reach.OPEN,
        is_greeted=True,
        reply=Reply.WELCOME,
        takes_large=True,
        dials=16,
    )


def test_a_healthy_network_is_called_healthy(probes: Probes, file: Path) -> None:
    """Exit code 0, one line, and the devices, with names that a terminal can show."""
    probes.peers = [friend()]
    result = cli(file)
    assert 0 == result.exit_code
    assert result.stdout.startswith("healthy")
    assert "'phone\\x1b[31m'" in result.stdout
    assert "10.0.0.2: paired, heard" in result.stdout
    assert [] == codes(file)


def test_a_cause_is_printed_with_what_to_do(probes: Probes, file: Path) -> None:
    """Exit code 6; lines that fit into a terminal."""
    result = cli(file)
    assert 6 == result.exit_code
    assert result.stdout.startswith("found 1 cause:\n\n  nobody_heard\n")
    assert "What to do: " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 92


def test_each_cause_has_a_place_of_its_own(probes: Probes, file: Path) -> None:
    """Two of them."""
    peer = friend()
    peer.takes_large, peer.noticed = False, {Knock.DIRECT}
    probes.peers = [peer]
    result = cli(file)
    assert result.stdout.startswith("found 2 causes:")
    assert result.stdout.index("broadcasts_lost") < result.stdout.index("mtu_black_hole")


def test_the_file_is_asked_who_we_are(probes: Probes, file: Path) -> None:
    """Its app, its id; addresses and loopback come from the command line."""
    with cytosol.open(file, app_id=APP_ID, network=False) as db:
        peer_id = db._identity.peer_id
    cli(file, "--peer", "10.0.0.2", "--peer", "10.0.0.3", "--loopback", "--wait", "0")
    (subject,) = probes.subjects
    assert peer_id == subject.peer_id
    assert ("10.0.0.2", "10.0.0.3") == subject.named
    assert subject.is_loopback_enough


def test_without_a_file(probes: Probes) -> None:
    """For an app, or for this device alone."""
    assert ["nobody_heard"] == codes("--app-id", APP_ID)
    assert [] == codes()
    assert [False, False] == [each.has_identity for each in probes.subjects]


def test_files_that_cannot_be_used(probes: Probes, file: Path) -> None:
    """Not there, in use, damaged, of another app: the network is examined all the same."""
    assert ["file_missing"] == codes(file.with_name("nowhere"))
    assert not file.with_name("nowhere").exists()
    with cytosol.open(file, app_id=APP_ID, network=False):
        assert ["file_in_use"] == codes(file)
        assert ["file_in_use", "nobody_heard"] == codes(file, "--app-id", APP_ID)
    assert ["file_of_other_app", "nobody_heard"] == codes(file, "--app-id", OTHER_APP)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE records SET value = x'00' WHERE key = 'meta/identity'")
    assert ["file_damaged"] == codes(file)
    file.write_text("no database\n" * 100)
    assert ["file_damaged"] == codes(file)
    assert 6 == len(probes.subjects)


def test_a_file_that_cannot_be_written(
    probes: Probes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder stands for it here: root may write everything."""
    assert ["file_not_writable"] == codes(tmp_path)
    monkeypatch.setattr(doctor, "FREE_BYTES_MIN", 2**80)
    assert ["disk_full"] == codes(tmp_path)


def test_a_file_without_a_document_is_no_subject(probes: Probes, tmp_path: Path) -> None:
    """Then there is no device to examine yet: an error, as with other commands."""
    state = cytosol.SqliteSaveState(tmp_path / "empty")
    state.open()
    state.close()
    result = cli(tmp_path / "empty")
    assert 1 == result.exit_code
    assert "holds no document yet" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--wait", "-1"], 64),
        (["--wait", "soon"], 64),
        (["--peer", "phone"], 1),
        (["--app-id", "notes"], 1),
    ],
)
def test_wrong_usage_is_named(probes: Probes, arguments: list[str], exit_code: int) -> None:
    """Before anything is looked at."""
    result = cli(*arguments)
    assert exit_code == result.exit_code
    assert result.stderr.startswith("cytosol: ")
    assert [] == probes.subjects


def test_a_sealed_file_without_its_passphrase_is_no_finding(
    probes: Probes, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user has made a mistake, and the file has no fault."""

    def refuse(_: Path) -> None:
        raise cytosol.SealError("the passphrase is wrong; try again")

    monkeypatch.setattr(commands_doctor, "open_offline", refuse)
    result = cli(file)
    assert "cytosol: the passphrase is wrong; try again\n" == result.stderr
    assert [] == probes.subjects
