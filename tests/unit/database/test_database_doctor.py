"""What `db.doctor()` knows of its own database; the network is examined by a stand-in."""

from __future__ import annotations

import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.database import doctor
from cytosol.database.causes import Cause
from cytosol.database.doctor import examine_without_file, file_faults
from cytosol.net.evidence import InterfaceSeen, NetworkSeen
from cytosol.net.probes import Subject
from cytosol.protocol.seams import PairedPeer, Refusal
from tests.unit.database.databases import APP_ID, new_app_id, open_alone

Usage = namedtuple("Usage", "total used free")


class Probes:
    """Stand for the probes: a quiet network, and what they were asked to look for."""

    def __init__(self) -> None:
        self.subject: Subject
        self.wait_s = -1.0
        self.seen = NetworkSeen(
            50_000,
            (InterfaceSeen("eth0", True, True, False, True, ("10.0.0.1",), ("10.0.0.0/24",)),),
        )

    def __call__(self, subject: Subject, wait_s: float) -> NetworkSeen:
        self.subject, self.wait_s = subject, wait_s
        return self.seen


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    """No packet leaves this test."""
    probes = Probes()
    monkeypatch.setattr(doctor, "examine_network", probes)
    return probes


def test_the_probes_are_told_who_we_are_and_whom_we_know(probes: Probes) -> None:
    """Identity, pairings, refusals, last known addresses, and those that the caller names."""
    with open_alone(peer_name="laptop", loopback=True) as db:
        db._pairings.add(PairedPeer(b"p" * 16, "phone", b"k" * 32, 1.0), True)
        db._pairings.add(PairedPeer(b"r" * 16, "refused", b"q" * 32, 1.0), True)
        db._pairings.refuse({b"r" * 16: Refusal(b"q" * 32)})
        db._pairings.remember_address(b"p" * 16, "10.0.0.2", 4000)
        db.doctor(wait_s=3, addresses=["10.0.0.3"])
        subject = probes.subject
        assert (3, "laptop", True) == (probes.wait_s, subject.name, subject.is_loopback_enough)
        assert [b"p" * 16] == list(subject.paired)
        assert {b"r" * 16: b"q" * 32} == subject.refused
        assert [("10.0.0.2", 4000)] == list(subject.addresses[b"p" * 16])
        assert ("10.0.0.3",) == subject.named
        assert db._identity.peer_id == subject.peer_id
        assert subject.has_identity
        assert 0 == subject.gateway_port


def test_settings_are_named() -> None:
    """What the app itself has switched off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "examine_network", Probes())
        with open_alone(visible_to_peers=False, sync_enabled=False) as db:
            found = db.doctor()
    assert ("network_off", "hidden", "sync_off", "nobody_heard") == found.codes
    assert not found.is_healthy


def test_wrong_codes_and_dates_come_from_the_file(probes: Probes) -> None:
    """A pause, a stop, and a pairing that was noted in the future."""
    with open_alone() as db:
        db._pairings.set_wrong_codes(3, time.time())
        assert "pairing_paused" in db.doctor().codes
        db._pairings.set_wrong_codes(10, 0.0)
        db._pairings.add(PairedPeer(b"p" * 16, "phone", b"k" * 32, time.time() + 90_000), True)
        assert {"pairing_stopped", "clock_wrong"} < set(db.doctor().codes)


def test_a_running_network_is_described(probes: Probes) -> None:
    """Its gateway, who is connected, and what went wrong inside of it."""
    with cytosol.open(None, app_id=new_app_id(), loopback=True) as db:
        assert db._network is not None
        driver: Any = db._network._driver  # type: ignore[attr-defined]  # a NetworkService
        driver.problems.append("KeyError: 7")
        found = db.doctor()
        assert db._network.gateway_port == probes.subject.gateway_port > 0  # type: ignore[attr-defined]  # a NetworkService
        assert "internal_error" in found.codes
        assert "network_off" not in found.codes


def test_a_file_that_is_gone_and_a_full_disk_are_named(
    probes: Probes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the database is open."""
    with open_alone(tmp_path / "a") as db:
        assert ("network_off", "nobody_heard") == db.doctor().codes
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1_000))
        assert "disk_full" in db.doctor().codes
        (tmp_path / "a").rename(tmp_path / "b")
        assert "file_missing" in db.doctor().codes
        (tmp_path / "b").rename(tmp_path / "a")


def test_a_disk_that_does_not_tell_is_taken_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network disks."""
    (tmp_path / "a").touch()

    def fail(_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(doctor.shutil, "disk_usage", fail)
    assert [] == file_faults(tmp_path / "a")
    assert [] == file_faults(None)


def test_without_a_file_an_identity_is_made_up(probes: Probes) -> None:
    """For the app that is named; without one nobody can be missed."""
    faults = ((Cause.FILE_MISSING, "'x'"),)
    found = examine_without_file(bytes(16), faults, wait_s=5, addresses=["10.0.0.3"])
    assert ("file_missing", "nobody_heard") == found.codes
    assert (bytes(16), 5, False) == (
        probes.subject.app_id,
        probes.wait_s,
        probes.subject.has_identity,
    )
    assert examine_without_file(None, ()).is_healthy
    assert 0 == probes.wait_s


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"wait_s": -1}, "wait_s"),
        ({"wait_s": 3601}, "wait_s"),
        ({"wait_s": "long"}, "wait_s"),
        ({"wait_s": True}, "wait_s"),
        ({"wait_s": float("nan")}, "wait_s"),
        ({"addresses": "10.0.0.1"}, "a list"),
        ({"addresses": ["phone.local"]}, "no IPv4 address"),
        ({"addresses": ["fe80::1"]}, "no IPv4 address"),
    ],
)
def test_wrong_arguments_are_named(probes: Probes, options: dict[str, Any], sentence: str) -> None:
    """Before anything is sent."""
    with open_alone() as db, pytest.raises(cytosol.ActionError, match=sentence):
        db.doctor(**options)
    assert -1.0 == probes.wait_s


def test_a_closed_database_has_no_doctor(probes: Probes) -> None:
    """As it has nothing else."""
    db = open_alone(app_id=APP_ID)
    db.close()
    with pytest.raises(cytosol.DatabaseClosedError):
        db.doctor()
