"""Nothing that was put into a sealed database stands in any file, at any moment."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol import Add, Set, Transaction
from cytosol.model.packed import pack
from cytosol.protocol.seams import PairedPeer
from tests.contract.savestate_kinds import CHEAP
from tests.sealing.plaintext_search import find_words
from tests.unit.database.databases import APP_ID, open_alone

PASSPHRASE = "Rosinenbrötchen am Dienstag"
VALUE, KEY, OLD, INNER, FAILED, GRAPH = (
    f"{word}-planted-marker" for word in ("Wert", "Schlüssel", "früher", "tief", "Fehler", "Knoten")
)
PEER_NAME = "Großmutters Rechner im Keller"
PEER = PairedPeer(bytes(range(100, 116)), PEER_NAME, bytes(range(32)))
WORDS: list[str | bytes] = [VALUE, KEY, OLD, INNER, FAILED, GRAPH, PEER_NAME, PASSPHRASE]
WORDS += [
    PEER.public_key,
    PEER.peer_id,
    APP_ID,
    APP_ID.replace("-", ""),
    "secretKey",
    "Transaction",
]

Make = Callable[[Path], cytosol.SaveState]
KINDS: dict[str, Make] = {
    "notes.cytosol": cytosol.SqliteSaveState,
    "notes.json": cytosol.JsonFileSaveState,
}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each kind of file."""
    return str(request.param)


class Watch:
    """Looks into all files of a folder now, and before any of them is renamed or removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: set[str] = set()
        self.seen: set[str] = set()
        self.words: list[str | bytes] = list(WORDS)
        self.is_on = True
        self.looked_into: set[tuple[int, ...]] = set()

    def look(self) -> None:
        if not self.is_on:
            return
        for file in self.folder.rglob("*"):
            with suppress(FileNotFoundError):
                status = file.stat()
                marks = status.st_ino, status.st_mtime_ns, status.st_size
                if marks not in self.looked_into:
                    self.seen.add(file.name)
                    self.found.update(find_words([file], self.words))
                    self.looked_into.add(marks)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A watch over a folder in which also temporary files are made."""
    folder = tmp_path / "watched"
    folder.mkdir()
    for variable in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    watch = Watch(folder)
    for module, call in ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "ftruncate")):
        monkeypatch.setattr(module, call, watching(watch, getattr(module, call)))
    yield watch
    tempfile.tempdir = None


def watching(watch: Watch, call: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*arguments: Any, **named: Any) -> Any:
        watch.look()
        return call(*arguments, **named)

    return watched


def work(db: cytosol.Database, watch: Watch) -> None:
    """Do all that writes to a file, looking into the files after each step."""
    watch.words += [db._identity.key_pair.secret, db.peer_id]
    steps: list[Any] = [
        Set("$.title", OLD),
        Set("$.title", VALUE),
        Set("$[{0}]", {"a": [1, {INNER: None}]}, vars=[KEY]),
        Set("$.big", [VALUE, "x" * 10_000, OLD]),
        Transaction([Set("$.n", 1), Add("$.n", 2), Set("$.inner", INNER)]),
    ]
    for step in steps:
        db.dispatch(step)
        watch.look()
    watch.is_on, was_on = False, watch.is_on
    for number in range(100):
        db.dispatch(Set("$.count", number))
    watch.is_on = was_on
    db._pairings.add(PEER, by_hand=True)
    db.dispatch(Set("$.graph", {GRAPH: {"name": VALUE}}))
    watch.look()


def reopen_and_look(make: Callable[[], cytosol.SaveState], watch: Watch) -> None:
    for _ in range(2):
        with open_alone(make(), max_history=20) as db:
            watch.look()
            assert [VALUE] == db.query_once("$.title")
            assert [INNER] == db.query_once("$.inner")
            assert 0 < len(db.query_once_meta("$.actions[*]")) < 60, "a base was written"
            db.check()
    watch.look()


def test_a_sealed_database_shows_nothing(watch: Watch, name: str) -> None:
    """Not while it works, trims, reopens and checks; in no log, lock or temporary file."""

    def make() -> cytosol.SaveState:
        inner = KINDS[name](watch.folder / name)
        return cytosol.SealedSaveState(inner, passphrase=PASSPHRASE, cost=CHEAP)

    with open_alone(make(), max_history=20) as db:
        work(db, watch)
        shown = f"{db.query_once_meta('$')} {db!r} {db.check()}"
        key = base64.b64encode(db._identity.key_pair.secret).decode()
        assert [] == [secret for secret in (PASSPHRASE, key) if secret in shown]
    reopen_and_look(make, watch)
    assert set() == watch.found
    log = f"{name}-wal" if name.endswith("cytosol") else f"{name}-new"
    assert {name, f"{name}-lock", log} <= watch.seen


def test_the_search_finds_what_is_not_sealed(watch: Watch, name: str) -> None:
    """The same work without a seal is found out, so that the tests above can fail."""
    with open_alone(KINDS[name](watch.folder / name), max_history=20) as db:
        work(db, watch)
    words = {each for each in WORDS if any(repr(each) in found for found in watch.found)}
    assert {VALUE, KEY, OLD, INNER, PEER_NAME, APP_ID, GRAPH} <= words


@pytest.mark.parametrize(
    "spelt",
    [
        VALUE.encode(),
        VALUE.encode("utf-16-le"),
        VALUE.encode().hex().encode(),
        base64.b64encode(b"." + VALUE.encode()),
        pack(VALUE.encode() * 50),
        base64.b64encode(pack(VALUE.encode() * 50)),
    ],
    ids=["utf-8", "utf-16", "hex", "base64", "zstd", "zstd in base64"],
)
def test_the_search_knows_how_words_can_be_spelt(tmp_path: Path, spelt: bytes) -> None:
    """Each of these in the middle of noise is found."""
    file = tmp_path / "noise"
    file.write_bytes(bytes(range(256)) + spelt + bytes(range(255, -1, -1)))
    assert 1 == len(find_words([file], [VALUE]))


def test_sealing_leaves_nothing_behind(watch: Watch, name: str) -> None:
    """Neither in the new file, nor beside it, nor in the bytes that the old file had."""
    path = watch.folder / name
    watch.is_on = False
    with open_alone(KINDS[name](path), max_history=20) as db:
        work(db, watch)
        before = db.peer_id, db.query_once("$"), db.state_hash(), db.query_once_meta("$.config")
    path.with_name(f"{name}-new").write_text(f"half a file with {VALUE}")
    with path.open("rb") as old, path.with_name(f"{name}-new").open("rb") as half:
        assert cytosol.seal(path, passphrase=PASSPHRASE, cost=CHEAP)
        assert b"" == old.read().strip(b"\0")
        assert b"" == half.read().strip(b"\0")
    watch.is_on = True
    watch.look()
    assert set() == watch.found
    assert {name} | ({f"{name}-new"} if name.endswith("cytosol") else set()) == {
        file.name for file in watch.folder.iterdir()
    }

    def make() -> cytosol.SaveState:
        return cytosol.SealedSaveState(KINDS[name](path), passphrase=PASSPHRASE)

    with open_alone(make(), max_history=20) as db:
        after = db.peer_id, db.query_once("$"), db.state_hash(), db.query_once_meta("$.config")
        assert before == after, "the file is no copy of itself: even the author id is the same"
    reopen_and_look(make, watch)
    assert set() == watch.found


def test_the_old_bytes_are_written_over_before_they_are_released(
    watch: Watch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is full of zeros when it is cut to nothing."""
    path = watch.folder / name
    with open_alone(KINDS[name](path)) as db:
        db.dispatch(Set("$.title", VALUE))
    size = path.stat().st_size
    watch.is_on = False
    cut: list[bytes] = []
    truncate = os.ftruncate

    def look(descriptor: int, length: int) -> None:
        cut.append(os.pread(descriptor, 1 << 20, 0))
        truncate(descriptor, length)

    monkeypatch.setattr(os, "ftruncate", look)
    cytosol.seal(path, passphrase=PASSPHRASE, cost=CHEAP)
    assert bytes(size) in cut
