"""`db.check()`: the report on a whole database, and each fault that it must find."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol import CheckOutcome, CheckReport, DatabaseCorruptError, Set
from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.document import checking
from cytosol.protocol.seams import PairedPeer, Refusal
from tests.contract.savestate_kinds import CHEAP
from tests.unit.database.databases import open_alone

SECRET = "the content of the diary"
SECTIONS = [
    "identity",
    "pairings",
    "structures",
    "save points",
    "limits",
    "records",
    "journal",
    "authors",
    "fold",
]
KEY = make_key_pair(b"\7" * 32)
PEER = PairedPeer(peer_id_for_key(KEY.public), "Phone", KEY.public)


def sqlite(path: Path) -> cytosol.SaveState:
    return cytosol.SqliteSaveState(path)


def sealed(path: Path) -> cytosol.SaveState:
    return cytosol.SealedSaveState(cytosol.SqliteSaveState(path), passphrase="x", cost=CHEAP)


KINDS: dict[str, Callable[[Path], cytosol.SaveState]] = {
    "sqlite": sqlite,
    "json": cytosol.JsonFileSaveState,
    "sealed": sealed,
}


def fill(db: cytosol.Database) -> None:
    """Make history: trimmed ops, objects, arrays, copies, failures, a pairing."""
    db.dispatch(Set("$.diary", [SECRET, {"n": 1}]))
    db.dispatch(cytosol.Copy("$.copy", "$.diary"))
    for number in range(40):
        db.dispatch(Set("$.n", number))
    db._pairings.add(PEER, by_hand=True)


def outcomes(report: CheckReport) -> dict[str, CheckOutcome]:
    return {each.name: each.outcome for each in report.sections}


def damaged(db: cytosol.Database) -> dict[str, str]:
    """The sections that a check finds damaged, with their details."""
    report = db.check(raises=False)
    with pytest.raises(DatabaseCorruptError) as caught:
        db.check()
    assert report == caught.value.report
    assert report.damaged[0].detail in str(caught.value)
    return {each.name: each.detail for each in report.damaged}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_database_is_found_whole(tmp_path: Path, kind: str) -> None:
    """Before and after trimming and reopening, every section is fine, in a fixed order."""
    for _ in range(2):
        with open_alone(KINDS[kind](tmp_path / "notes"), max_history=20) as db:
            fill(db)
            report = db.check()
            assert report.is_whole
            assert ["permissions", "leftovers", "lock", *SECTIONS] == list(outcomes(report))
            assert {CheckOutcome.FINE} == set(outcomes(report).values())
            assert () == report.damaged == report.notes


def test_a_database_in_memory_has_no_file_to_check() -> None:
    """The document itself is checked all the same."""
    with open_alone() as db:
        fill(db)
        report = db.check()
        assert [*SECTIONS[:5], "file"] == list(outcomes(report))
        assert CheckOutcome.NOT_CHECKED is outcomes(report)["file"]
    with open_alone(cytosol.InMemorySaveState()) as db:
        fill(db)
        assert SECTIONS == list(outcomes(db.check()))


def test_the_report_reads_well(tmp_path: Path) -> None:
    """A verdict, then one paragraph a section, in lines that fit a terminal."""
    with open_alone(tmp_path / "notes") as db:
        fill(db)
        (tmp_path / "notes-new").touch()
        text = str(db.check())
    lines = text.splitlines()
    assert f"{tmp_path / 'notes'} is whole" == lines[0]
    assert "  fine     permissions    a plain file, for its owner only" == lines[1]
    assert lines[2].startswith("  NOTE     leftovers      notes-new; a write that a crash cut")
    assert max(map(len, lines[1:])) <= 100  # the first one is as long as the name of the file


def test_the_report_is_json_too() -> None:
    """For programs."""
    with open_alone() as db:
        found = db.check().to_json()
    assert isinstance(found, dict)
    assert True is found["ok"]
    assert "fine" == json.loads(json.dumps(found))["sections"][0]["outcome"]


def test_nothing_secret_is_in_a_report(tmp_path: Path) -> None:
    """Neither keys nor contents, in the text, the JSON, or the repr, also when it is damaged."""
    with open_alone(tmp_path / "notes") as db:
        fill(db)
        reports = [db.check()]
        key = db._identity.key_pair.secret
        db._document.replica.document["diary"][0] += "!"  # type: ignore[index, operator]  # planted
        reports.append(db.check(raises=False))
    assert [True, False] == [each.is_whole for each in reports]
    shown = "".join(f"{each} {each!r} {each.to_json()}" for each in reports)
    for secret in (SECRET, key.hex(), base64.b64encode(key).decode(), repr(key)):
        assert secret not in shown


def test_progress_is_told_from_beginning_to_end(tmp_path: Path) -> None:
    """It only grows, names what is looked at, and ends with 1."""
    told: list[tuple[str, float]] = []
    with open_alone(tmp_path / "notes") as db:
        db.check(lambda what, done: told.append((what, done)))
    parts = [done for _, done in told]
    assert parts == sorted(parts)
    assert (0.0, ("done", 1.0)) == (parts[0], told[-1])
    assert {"records", "fold"} <= {what for what, _ in told}


# --- What is found in memory --------------------------------------------------------------------


@pytest.fixture
def db(tmp_path: Path) -> Any:
    """A database with some history, in a file."""
    with open_alone(tmp_path / "notes", max_history=20) as db:
        fill(db)
        yield db


def spoil_clock(db: cytosol.Database) -> None:
    db._document.replica.clock = 0


def spoil_authors(db: cytosol.Database) -> None:
    db._document.replica.names.authors.append(b"\1" * 16)


def spoil_copies(db: cytosol.Database) -> None:
    db._document.replica.names.pairs.append((1, 2))


def spoil_failures(db: cytosol.Database) -> None:
    db._document.replica.failures[1 << 60] = [], "no such op"


def spoil_points(db: cytosol.Database) -> None:
    db._document.replica.save_points._hashes[0] = b"\1" * 64


def spoil_order_of_points(db: cytosol.Database) -> None:
    db.state_hash()
    points = db._document.replica.save_points
    points._counts.insert(1, points._counts[0])
    points._hashes.insert(1, points._hashes[0])


def spoil_document(db: cytosol.Database) -> None:
    db._document.replica.document["n"] = 1_000


def spoil_key(db: cytosol.Database) -> None:
    other = make_key_pair(b"\1" * 32)
    db._identity.key_pair = dataclasses.replace(other, public=db._identity.key_pair.public)


def spoil_peer_id(db: cytosol.Database) -> None:
    db._identity.peer_id = b"\1" * 16


def pair_with_itself(db: cytosol.Database) -> None:
    db._pairings.add(dataclasses.replace(PEER, peer_id=db._identity.peer_id), by_hand=True)


def pair_and_refuse(db: cytosol.Database) -> None:
    refused = {PEER.peer_id: Refusal(PEER.public_key)}
    db._pairings._known = dataclasses.replace(db._pairings._known, refused=refused)


def pair_with_a_weak_key(db: cytosol.Database) -> None:
    db._pairings.add(dataclasses.replace(PEER, public_key=bytes(32)), by_hand=True)


@pytest.mark.parametrize(
    ("spoil", "name", "words"),
    [
        (spoil_clock, "structures", "the clock is not behind"),
        (spoil_authors, "structures", "authors and their numbers match one to one"),
        (spoil_copies, "structures", "names of copies and their numbers match"),
        (spoil_failures, "structures", "failed ops are in the log"),
        (spoil_points, "save points", "is that of their ids"),
        (spoil_order_of_points, "save points", "save points are in order"),
        (spoil_document, "fold", "the ops in the file make another document"),
        (spoil_key, "identity", "the public key is not that of the private one"),
        (spoil_peer_id, "identity", "the peer id was not made from the public key"),
        (pair_with_itself, "pairings", "this device itself is among the paired"),
        (pair_and_refuse, "pairings", "is paired and refused at once"),
        (pair_with_a_weak_key, "pairings", "cannot be one"),
    ],
    ids=lambda value: getattr(value, "__name__", "_"),
)
def test_each_fault_in_memory_is_found(
    db: cytosol.Database, spoil: Callable[[cytosol.Database], None], name: str, words: str
) -> None:
    """In its section, with words that tell it from others."""
    spoil(db)
    assert words in damaged(db).get(name, "")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("DOCUMENT_PLACES_MAX", "values, and 2 are allowed"),
        ("DEPTH_MAX", "containers in each other, and 2 are allowed"),
        ("AUTHORS_MAX", "authors, and 0 are allowed"),
        ("COPY_CHAIN_MAX", "copies of copies of one place, and 0 are allowed"),
    ],
)
def test_a_limit_that_is_exceeded_is_found(
    db: cytosol.Database, monkeypatch: pytest.MonkeyPatch, limit: str, words: str
) -> None:
    """A document beyond one could not have been made here."""
    monkeypatch.setattr(checking, limit, 2 if "2" in words else 0)
    db.dispatch(cytosol.Copy("$.again", "$.copy"))
    detail = db.check(raises=False).damaged
    assert words in " ".join(each.detail for each in detail)


# --- What is found in the file ------------------------------------------------------------------


def in_memory() -> tuple[cytosol.Database, dict[str, bytes]]:
    """A database whose records a test can change behind its back."""
    state = cytosol.InMemorySaveState()
    db = open_alone(state)
    for number in range(5):
        db.dispatch(Set("$.n", number))
    return db, state._records


def test_a_record_that_nobody_knows_is_found() -> None:
    """It may have been something else before it was damaged."""
    db, records = in_memory()
    records["oq/0000000000000001"] = b"?"
    assert "nobody knows a record 'oq/" in damaged(db)["records"]
    skipped = [each.name for each in db.check(raises=False).sections if "cannot" in each.detail]
    assert ["journal", "authors", "fold"] == skipped


def test_a_lost_record_is_found() -> None:
    """The numbers of the others show it."""
    db, records = in_memory()
    del records["op/0000000000000003"]
    assert "it is missing: the next one is op/0000000000000004" in damaged(db)["journal"]


def test_a_record_that_cannot_be_decoded_is_found() -> None:
    """Of ops, and of the small ones."""
    for key in ("op/0000000000000003", "meta/identity"):
        db, records = in_memory()
        records[key] = b"\xff" + records[key]
        assert key in damaged(db)["journal"]


def test_a_gap_in_an_authors_ops_is_found() -> None:
    """Also when the records are numbered without one."""
    db, records = in_memory()
    records["op/0000000000000003"] = records.pop("op/0000000000000005")
    records["op/0000000000000003"], records["op/0000000000000004"] = (
        records["op/0000000000000004"],
        records["op/0000000000000003"],
    )
    found = damaged(db)
    assert "the one before it here is" in found["authors"]
    assert "fold" not in found


def test_lost_last_ops_are_found() -> None:
    """The memory knows more than the file then."""
    db, records = in_memory()
    del records["op/0000000000000005"]
    assert "the file holds other ops than the memory" in damaged(db)["fold"]


def test_other_contents_under_the_same_ids_are_found() -> None:
    """The state hash covers ids only, so the documents are compared."""
    db, records = in_memory()
    key = "op/0000000000000005"
    with_seven = open_alone()
    with_seven._document.replica.renew_author(db._document.replica.author)
    for number in (*range(4), 7):
        with_seven.dispatch(Set("$.n", number))
    log = with_seven._document.replica.log
    records[key] = db._document.journal._encode([log.op(len(log) - 1)])
    assert "make another document" in damaged(db)["fold"]


def test_a_file_that_is_gone_is_found(tmp_path: Path) -> None:
    """Nobody will find what is written from now on."""
    db = open_alone(tmp_path / "notes")
    db.dispatch(Set("$.n", 1))
    os.rename(tmp_path / "notes", tmp_path / "elsewhere")
    assert "was deleted or moved away" in damaged(db)["file"]
    os.rename(tmp_path / "elsewhere", tmp_path / "notes")
    assert db.check().is_whole
    db.close()


def test_a_file_that_others_can_read_is_noted(tmp_path: Path) -> None:
    """It is not damaged, so nothing is raised."""
    with open_alone(tmp_path / "notes") as db:
        (tmp_path / "notes").chmod(0o644)
        os.link(tmp_path / "notes", tmp_path / "second")
        report = db.check()
    assert ["permissions"] == [each.name for each in report.notes]
    assert "'notes' had the mode 0644, it has 2 names (hard links)" == report.notes[0].detail


def test_a_lock_that_is_gone_is_noted(tmp_path: Path) -> None:
    """Another program could open the file, as one could after a fork."""
    with open_alone(tmp_path / "notes") as db:
        lock = tmp_path / "notes-lock"
        lock.write_bytes(b"1\n")
        notes = db.check().notes
        lock.unlink()
        notes += db.check().notes
    assert ["lock", "lock"] == [each.name for each in notes]
    assert "names another process" in notes[0].detail
    assert "was deleted" in notes[1].detail


class Elsewhere(cytosol.InMemorySaveState):
    """A backend of somebody's own, whose path is no plain file."""

    path = Path("/nowhere/at all")


def test_the_path_of_another_backend_is_not_taken_for_a_file() -> None:
    """Only what Cytosol's own files promise is looked at from outside."""
    with open_alone(Elsewhere()) as db:
        assert SECTIONS == list(outcomes(db.check()))


def test_a_closed_database_is_not_checked() -> None:
    """The error says that it is closed."""
    db = open_alone()
    db.close()
    with pytest.raises(cytosol.DatabaseClosedError):
        db.check()
