"""Databases whose files are killed, cut, flipped, filled up, forged, or not ours at all."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cytosol
from tests.hostile.cases import case
from tests.hostile.database_writer import APP_ID, WRITERS, open_database

KINDS = ["sqlite", "json"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def writer(kind: str, path: Path, command: str) -> subprocess.Popen[str]:
    """Start the program that writes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.database_writer", kind, str(path), command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    )


# --- Crashes --------------------------------------------------------------------------------


@case("files")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_writer_loses_nothing_and_leaves_nothing_half(tmp_path: Path, kind: str) -> None:
    """All acknowledged writes are there, and no dispatch is there in part."""
    path = tmp_path / "killed"
    chance = random.Random(kind)
    acknowledged = [0] * WRITERS
    for _ in range(3):
        process = writer(kind, path, "write")
        assert process.stdout is not None
        for _ in range(chance.randrange(5, 60)):
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            who, number = map(int, line.split())
            acknowledged[who] = number
        process.send_signal(signal.SIGKILL)
        said_before, _ = process.communicate()
        for line in said_before.splitlines():
            if len(words := line.split()) == 2:
                acknowledged[int(words[0])] = int(words[1])
        with open_database(kind, path) as db:
            db.check()
            for who in range(WRITERS):
                left, right = db.get(f"left{who}", default=0), db.get(f"right{who}", default=0)
                one, two = db.get(f"one{who}", default=0), db.get(f"two{who}", default=[0])
                assert left == right
                assert [one] == two
                assert acknowledged[who] <= one <= left <= acknowledged[who] + 2


@case("files")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_refuses_and_then_goes_on(tmp_path: Path, kind: str) -> None:
    """Nothing is acknowledged that is not there, and space that is freed is used."""
    path = tmp_path / "full"
    process = writer(kind, path, "limit")
    out, _ = process.communicate(timeout=300)
    lines = out.splitlines()
    assert 0 == process.returncode, out
    assert 2 == len(lines), out
    assert "the disk is full" in lines[0]
    assert "free some space and try again" in lines[0]
    saved = int(lines[1])
    assert saved > 10
    with open_database(kind, path) as db:
        db.check()
        assert saved + 1 == len(db.query_once("$.*"))
        assert ["saved"] == db.query_once("$.text")


# --- Damage ---------------------------------------------------------------------------------


def filled(kind: str, path: Path) -> dict[str, Any]:
    """Make a file with a base, ops on top, a copied place and a moved one; return the document."""
    with open_database(kind, path) as db:
        for number in range(150):
            db.dispatch(cytosol.Set(f"$.k{number % 5}", {"n": number, "list": [1, "x", None]}))
        db.dispatch(cytosol.Copy("$.copy", "$.k1"))
        db.dispatch(cytosol.Move("$.moved", "$.k2"))
        db.dispatch(cytosol.InsertAfter("$.copy.list[0]", 2.5))
        db.dispatch(cytosol.Transaction([cytosol.Add("$.k3.n", 1), cytosol.Delete("$.k4")]))
        document: dict[str, Any] = db.query_once("$")[0]
        return document


def open_or_refused(kind: str, path: Path) -> cytosol.Database | None:
    """Open a file; None if it is refused with a sentence that names it."""
    try:
        return open_database(kind, path)
    except cytosol.DatabaseError as refusal:
        sentence = str(refusal)
    assert str(path) in sentence
    assert len(sentence) > len(str(path)) + 40
    return None


def open_damaged(kind: str, path: Path, document: dict[str, Any]) -> bool:
    """Open a damaged file: it is refused with a sentence, or whole; tell whether it opened."""
    before = path.read_bytes()
    db = open_or_refused(kind, path)
    if db is None:
        assert before == path.read_bytes(), "a file that is refused is left as it is"
        return False
    with db:
        assert document == db.query_once("$")[0]
        db.dispatch(cytosol.Set("$.new", 1))
    return True


@case("files")
def test_flipped_bits_in_sqlite_are_refused_or_harmless(tmp_path: Path) -> None:
    """No byte of the file can be wrong in a way that shows another document."""
    original = tmp_path / "original"
    document = filled("sqlite", original)
    data = original.read_bytes()
    chance = random.Random(1)
    opened = 0
    rounds = 60
    for number in range(rounds):
        path = tmp_path / f"flipped{number}"
        at = chance.randrange(len(data))
        flipped = bytes([data[at] ^ (1 << chance.randrange(8))])
        path.write_bytes(data[:at] + flipped + data[at + 1 :])
        opened += open_damaged("sqlite", path, document)
    assert opened < rounds  # the flips do hit something


@case("files")
def test_keys_with_flipped_bits_hide_nothing(tmp_path: Path) -> None:
    """A key that left its range, or sends a search the wrong way, would take others with it."""
    original = tmp_path / "original"
    document = filled("sqlite", original)
    data = original.read_bytes()
    with contextlib.closing(sqlite3.connect(original)) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM records")]
    chance = random.Random(3)
    first_bytes = [(key, at, bit) for key in keys for at in (0, 1) for bit in range(8)]
    for key, at, bit in chance.sample(first_bytes, 60):
        at += data.index(key.encode())
        flipped = bytes([data[at] ^ (1 << bit)])
        path = tmp_path / f"{at}-{bit}"
        path.write_bytes(data[:at] + flipped + data[at + 1 :])
        open_damaged("sqlite", path, document)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_short_is_refused_or_whole(tmp_path: Path, kind: str) -> None:
    """Wherever it ends; what SQLite keeps at the end may be empty pages."""
    original = tmp_path / "original"
    document = filled(kind, original)
    data = original.read_bytes()
    chance = random.Random(2)
    opened = 0
    for number in range(30):
        path = tmp_path / f"cut{number}"
        path.write_bytes(data[: chance.randrange(1, len(data) - 1)])
        opened += open_damaged(kind, path, document)
    assert opened < 30


@case("files")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content",
    [b"hello", b"{}", b"[]", b"null", b"\0" * 5_000, b"SQLite format 3\0" * 300, b'{"cytosol": 2}'],
)
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, kind: str, content: bytes) -> None:
    """With a sentence that says what to do."""
    path = tmp_path / "foreign"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(cytosol.DatabaseCorruptError, match="left as it is"):
            open_database(kind, path)
    assert content == path.read_bytes()
    assert ["foreign"] == [each.name for each in tmp_path.iterdir()]


@case("files")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Folders, pipes, symbolic links, and folders that are not there."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    filled(kind, tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("folder", "pipe", "link", "missing/file", "real/file"):
        with pytest.raises(cytosol.DatabaseError, match=name):
            open_database(kind, tmp_path / name)
    with open_database(kind, tmp_path / "real") as db:
        db.check()


# --- Forged JSON ----------------------------------------------------------------------------

ODD: list[Any] = [None, True, -1, 0, 2**70, 1.5, "", "x", "\0", [], {}, [[]], {"a": 1}, "A" * 40]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container and step inside of a value."""
    if isinstance(value, (dict, list)):
        for step in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, step
            yield from places(value[step])


@case("files")
@pytest.mark.parametrize("seed", range(4))
def test_a_json_file_with_anything_in_it_is_refused_or_opens(tmp_path: Path, seed: int) -> None:
    """Whatever somebody has typed: no undeclared exception, and what opens works."""
    original = tmp_path / "original.json"
    filled("json", original)
    text = original.read_text(encoding="utf-8")
    chance = random.Random(seed)
    for number in range(25):
        content = json.loads(text)
        records = content["records"]
        key = chance.choice(sorted(records))
        found = [
            (records, key),
            *(places(records[key]) if isinstance(records[key], (dict, list)) else ()),
        ]
        container, step = chance.choice(found)
        if chance.random() < 0.3:
            del container[step]
        else:
            container[step] = chance.choice(ODD)
        path = tmp_path / f"forged{number}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        before = path.read_bytes()
        db = open_or_refused("json", path)
        if db is None:
            assert before == path.read_bytes()
            continue
        with db:
            db.query_once("$..*")
            db.query_once_meta("$")
            db.dispatch(cytosol.Set("$.new", 1))
            db.check()


def test_what_refuses_a_forged_file_names_the_record(tmp_path: Path) -> None:
    """So that whoever has edited it finds the place."""
    path = tmp_path / "a.json"
    with open_database("json", path) as db:
        db.dispatch(cytosol.Set("$.a", 1))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["records"]["op/0000000000000001"][0]["action"] = "Sett"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(cytosol.DatabaseCorruptError, match=r"op/0{15}1.*action is unknown"):
        open_database("json", path)


def test_an_app_id_is_needed_to_open_a_file_again(tmp_path: Path) -> None:
    """The one of another app is refused, whatever the kind of file."""
    for kind in KINDS:
        filled(kind, tmp_path / kind)
        state = cytosol.JsonFileSaveState(tmp_path / kind) if kind == "json" else tmp_path / kind
        with pytest.raises(cytosol.DatabaseError, match=APP_ID):
            cytosol.open(state, app_id="7d9f0c7e-5a52-4a6b-9d9f-1f3f6b0e2c11", network=False)
