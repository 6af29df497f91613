"""Sealing, unsealing and rekeying of files, with databases before and after."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol import (
    ActionError,
    DatabaseCorruptError,
    DatabaseLockedError,
    SaveError,
    SealCost,
    SealedSaveState,
    SealError,
    Set,
)
from cytosol.savestates import conversion
from tests.contract.savestate_kinds import CHEAP
from tests.unit.database.databases import open_alone

Make = Callable[[Path], cytosol.SaveState]
KINDS: dict[str, Make] = {
    "notes.cytosol": cytosol.SqliteSaveState,
    "notes.json": cytosol.JsonFileSaveState,
}
KEY = bytes(range(32))
SECRETS: dict[str, dict[str, Any]] = {
    "passphrase": {"passphrase": "drei Chinesen"},
    "key": {"key": KEY},
}


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small database of each kind, closed."""
    path = tmp_path / str(request.param)
    with open_alone(plain(path)) as db:
        db.dispatch(Set("$.title", "Zoë’s list"))
        db.dispatch(Set("$.n", [1, None, {"x": 2.5}]))
    return path


def plain(path: Path) -> cytosol.SaveState:
    return KINDS[path.name](path)


def sealed(path: Path, **secret: Any) -> SealedSaveState:
    return SealedSaveState(plain(path), cost=CHEAP, **secret)


def facts(state: cytosol.SaveState) -> tuple[Any, ...]:
    """What must be the same after sealing."""
    with open_alone(state) as db:
        db.check()
        return db.peer_id, db.query_once("$"), db.state_hash(), db.query_once_meta("$.config")


@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
def test_a_file_is_sealed_and_unsealed_again(file: Path, secret: dict[str, Any]) -> None:
    """Everything is the same, the author id too: it is the same device in the same file."""
    before = facts(plain(file))
    assert cytosol.seal(file, **secret, cost=CHEAP)
    assert before == facts(sealed(file, **secret))
    assert cytosol.unseal(file, **secret)
    assert before == facts(plain(file))
    assert [file] == list(file.parent.iterdir())


def test_a_sealed_file_says_so_when_it_is_opened_plainly(file: Path) -> None:
    """By a database, by the app id's reader, and before anything is changed."""
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    before = file.stat().st_size, file.read_bytes()[100:]
    with pytest.raises(SealError, match="is sealed: open it with its passphrase or key"):
        open_alone(plain(file))
    assert before == (file.stat().st_size, file.read_bytes()[100:])
    if file.suffix != ".json":
        with pytest.raises(SealError, match="is sealed"):
            open_alone(file)


def test_a_plain_file_says_so_when_a_passphrase_is_given(file: Path) -> None:
    """And opens without one as before."""
    before = facts(plain(file))
    with pytest.raises(SealError, match="is not sealed"):
        open_alone(sealed(file, passphrase="x"))
    with pytest.raises(SealError, match="is not sealed"):
        cytosol.unseal(file, passphrase="x")
    with pytest.raises(SealError, match="is not sealed"):
        cytosol.rekey(file, passphrase="x", new_passphrase="y")
    assert before == facts(plain(file))


def test_a_wrong_passphrase_opens_nothing(file: Path) -> None:
    """Neither a database, nor unsealing, nor rekeying; the file is free afterwards."""
    cytosol.seal(file, passphrase="right", cost=CHEAP)
    before = file.read_bytes()
    tries: list[Callable[[], Any]] = [
        lambda: open_alone(sealed(file, passphrase="wrong")),
        lambda: cytosol.unseal(file, passphrase="wrong"),
        lambda: cytosol.rekey(file, passphrase="wrong", new_passphrase="new"),
        lambda: cytosol.rekey(file, passphrase="wrong", new_passphrase="n", keep_data_key=True),
    ]
    for each in tries:
        with pytest.raises(SealError, match="the passphrase is not that of"):
            each()
        assert [file] == list(file.parent.iterdir())
    facts(sealed(file, passphrase="right"))
    if file.suffix == ".json":
        assert before == file.read_bytes()


def test_what_is_sealed_is_not_sealed_twice(file: Path) -> None:
    """It is rekeyed instead."""
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    with pytest.raises(SealError, match="is sealed already"):
        cytosol.seal(file, passphrase="y")
    facts(sealed(file, passphrase="x"))


@pytest.mark.parametrize("keep_data_key", [False, True])
def test_rekeying_changes_who_gets_in(file: Path, keep_data_key: bool) -> None:
    """The old passphrase opens nothing any more; with a new data key no record stays as it was."""
    cytosol.seal(file, passphrase="old", cost=CHEAP)
    before, records = facts(sealed(file, passphrase="old")), inside(file)
    new = {"new_key": KEY, "keep_data_key": keep_data_key}
    assert keep_data_key is not cytosol.rekey(file, passphrase="old", **new)
    with pytest.raises(SealError, match="is sealed with a key, not a passphrase"):
        open_alone(sealed(file, passphrase="old"))
    shared = {key for key in records if inside(file).get(key) == records[key]}
    assert (set(records) - {"sealed/head", "sealed/spare"} if keep_data_key else set()) == shared
    assert before == facts(sealed(file, key=KEY))


def inside(file: Path) -> dict[str, Any]:
    state = plain(file)
    state.open()
    records = dict(state.scan(""))
    state.close()
    return records


def test_rekeying_can_raise_the_cost(file: Path) -> None:
    """The head tells it, and the file opens with whatever it tells."""
    cytosol.seal(file, passphrase="old", cost=CHEAP)
    cost = SealCost(passes=2, memory_bytes=65_536)
    cytosol.rekey(file, passphrase="old", new_passphrase="new", cost=cost)
    facts(SealedSaveState(plain(file), passphrase="new"))


def test_the_default_cost_is_half_a_second_of_256_mib() -> None:
    """Who guesses pays that for each try."""
    assert (3, 256 * 2**20) == (SealCost().passes, SealCost().memory_bytes)


def test_a_copy_that_is_sealed_stays_a_copy(tmp_path: Path) -> None:
    """It gets an author id of its own, as without a seal."""
    path, copy = tmp_path / "notes.cytosol", tmp_path / "copy" / "notes.cytosol"
    with open_alone(path) as db:
        db.dispatch(Set("$.a", 1))
        author = db.query_once_meta("$.config.author")
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    for each in (path, copy):
        cytosol.seal(each, passphrase="x", cost=CHEAP)
    with open_alone(sealed(path, passphrase="x")) as db:
        assert author == db.query_once_meta("$.config.author")
    state = sealed(copy, passphrase="x")
    state.open()
    assert b"0" == state.get("meta/home"), "no inode that another file may get"
    state.close()
    with open_alone(sealed(copy, passphrase="x")) as db:
        assert author != db.query_once_meta("$.config.author")


@pytest.mark.parametrize("arguments", [{}, {"passphrase": "x", "key": KEY}], ids=["none", "both"])
def test_exactly_one_secret_is_given(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Both or none is refused before any file is made."""
    with pytest.raises(ActionError, match="a passphrase or a key: give one of them"):
        SealedSaveState(cytosol.InMemorySaveState(), **arguments)
    with pytest.raises(ActionError, match="a passphrase or a key: give one of them"):
        cytosol.seal(tmp_path / "notes", **arguments)
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Nothing is made."""
    with pytest.raises(ActionError, match="there is no file"):
        cytosol.seal(tmp_path / "notes", passphrase="x")
    assert [] == list(tmp_path.iterdir())


def test_an_open_file_is_not_sealed(file: Path) -> None:
    """Its owner comes first."""
    with open_alone(plain(file)) as db:
        with pytest.raises(DatabaseLockedError):
            cytosol.seal(file, passphrase="x", cost=CHEAP)
        db.dispatch(Set("$.still", "here"))
    assert [["here"]] == [facts(plain(file))[1][0].get("still") and ["here"]]


def test_a_file_with_two_names_is_not_sealed(file: Path) -> None:
    """Else the other name would lose its content, or keep it in the clear."""
    os.link(file, file.with_name("other"))
    before = file.read_bytes()
    with pytest.raises(SaveError, match="has 2 names"):
        cytosol.seal(file, passphrase="x", cost=CHEAP)
    assert before == file.read_bytes()


def test_a_damaged_file_is_not_sealed(tmp_path: Path) -> None:
    """It is left as it is, so that whatever can be saved can be saved."""
    path = tmp_path / "notes.cytosol"
    with open_alone(path) as db:
        db.dispatch(Set("$.a", "x" * 100))
    other = sqlite3.connect(path)
    other.execute("UPDATE records SET checksum = 0 WHERE key LIKE 'op/%'")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseCorruptError, match="checksum of the record"):
        cytosol.seal(path, passphrase="x", cost=CHEAP)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_sealed_files_are_for_their_owner_only(file: Path) -> None:
    """Also when the plain one was not."""
    file.chmod(0o644)
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


class Crash(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("call", ["replace", "sync_folder", "_write_over", "_compare", "_marks"])
def test_a_crash_while_sealing_leaves_one_whole_file(
    file: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one or the new one, with everything in it; a second attempt cleans up."""
    before = facts(plain(file))

    def crash(*arguments: Any) -> None:
        raise Crash

    # What a crash would leave must not be tidied up by the handling of our exception.
    monkeypatch.setattr(conversion, "_remove", lambda fresh: None)
    real_replace = os.replace
    if call == "replace":
        fresh = str(file) + conversion.FRESH_SUFFIX

        def crash_at_the_end(source: Any, target: Any) -> None:
            if str(source) == fresh:
                raise Crash
            real_replace(source, target)

        monkeypatch.setattr(os, "replace", crash_at_the_end)
    else:
        monkeypatch.setattr(conversion, call, crash)
    with pytest.raises(Crash):
        cytosol.seal(file, passphrase="x", cost=CHEAP)
    monkeypatch.undo()
    if call in ("sync_folder", "_write_over"):
        assert before == facts(sealed(file, passphrase="x"))
    else:
        assert before == facts(plain(file))
        cytosol.seal(file, passphrase="x", cost=CHEAP)
        assert before == facts(sealed(file, passphrase="x"))
    assert [file] == list(file.parent.iterdir())


@pytest.mark.parametrize("call", ["_compare", "_swap"])
def test_what_unsealing_left_in_the_clear_goes_with_the_next_opening(
    file: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds everything, and the file is sealed still; a wrong passphrase removes nothing."""
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    fresh = file.with_name(file.name + conversion.FRESH_SUFFIX)

    def crash(*arguments: Any) -> None:
        raise Crash

    monkeypatch.setattr(conversion, call, crash)
    monkeypatch.setattr(conversion, "_remove", lambda fresh: None)
    with pytest.raises(Crash):
        cytosol.unseal(file, passphrase="x")
    monkeypatch.undo()
    assert fresh.exists()
    with pytest.raises(SealError):
        open_alone(sealed(file, passphrase="wrong"))
    assert fresh.exists(), "who cannot open the file may need what is in there"
    descriptor = os.open(fresh, os.O_RDONLY)
    with open_alone(sealed(file, passphrase="x")) as db:
        assert "Zoë’s list" == db.query_once("$.title")[0]
    assert b"" == os.read(descriptor, 10), "what was in the clear is released"
    os.close(descriptor)
    assert [file] == list(file.parent.iterdir())


def test_what_stands_in_the_way_of_tidying_up_is_no_reason_not_to_open(file: Path) -> None:
    """A folder of that name is nothing that we have left."""
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    file.with_name(file.name + conversion.FRESH_SUFFIX).mkdir()
    with open_alone(sealed(file, passphrase="x")) as db:
        assert "Zoë’s list" == db.query_once("$.title")[0]


def test_who_writes_into_the_file_meanwhile_is_not_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program that gets the file between two locks keeps what it wrote."""
    build = conversion._build

    def build_and_let_write(*arguments: Any) -> tuple[int, ...]:
        marks = build(*arguments)
        with open_alone(plain(file)) as db:
            db.dispatch(Set("$.meanwhile", True))
        return marks

    monkeypatch.setattr(conversion, "_build", build_and_let_write)
    with pytest.raises(SaveError, match="was changed by somebody else"):
        cytosol.seal(file, passphrase="x", cost=CHEAP)
    assert True is facts(plain(file))[1][0]["meanwhile"]
    assert [file] == list(file.parent.iterdir())


def test_a_crash_at_any_commit_leaves_a_sealed_file_that_opens(tmp_path: Path) -> None:
    """The sum over all records is that of the last commit which the log holds whole."""
    path, image = tmp_path / "notes.cytosol", tmp_path / "image" / "notes.cytosol"
    image.parent.mkdir()
    state = sealed(path, passphrase="x")
    state.open()
    for number in range(1, 30):
        state.commit([(f"op/{number:016}", b"x" * number * 40), ("last", b"%d" % number)])
        size = Path(f"{path}-wal").stat().st_size
        for cut in (0, 1, 5_000):
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", f"{image}{suffix}")
            os.truncate(f"{image}-wal", max(0, size - cut))
            copy = sealed(image, passphrase="x")
            copy.open()
            copy.check()
            last = int(copy.get("last") or b"0")
            assert last == sum(1 for _ in copy.scan("op/"))
            assert last == number if cut == 0 else last <= number
            copy.close()
    state.close()


def test_a_new_file_that_holds_something_else_is_not_taken(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk wrote something else than it was given: the old file stays."""
    before = facts(plain(file))
    real = conversion._batches
    for spoil in (
        lambda batch: batch[:-1],
        lambda batch: [*batch, ("meta/x", batch[0][1])],
        lambda batch: [(key, batch[0][1]) for key, _ in batch],
    ):
        monkeypatch.setattr(conversion, "_batches", lambda source: map(spoil, real(source)))  # noqa: B023  # used at once
        with pytest.raises(SaveError, match="does not hold what was written"):
            cytosol.seal(file, passphrase="x", cost=CHEAP)
        assert before == facts(plain(file))


def test_a_large_file_is_copied_in_several_commits(tmp_path: Path) -> None:
    """Memory does not grow with the file."""
    path = tmp_path / "notes.cytosol"
    with open_alone(path) as db:
        for number in range(6):
            db.dispatch(Set(f"$.k{number}", str(number) * 1_000_000))
    before = facts(plain(path))
    cytosol.seal(path, passphrase="x", cost=CHEAP)
    assert before == facts(sealed(path, passphrase="x"))


def test_bytes_that_cannot_be_written_over_are_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is sealed all the same, and the result says that the old one may be found."""

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    before = facts(plain(file))
    with monkeypatch.context() as patch:
        patch.setattr("cytosol.savestates.conversion.os.ftruncate", lambda *_: refuse(0))
        assert not cytosol.seal(file, passphrase="x", cost=CHEAP)
    assert before == facts(sealed(file, passphrase="x"))


def test_a_temporary_file_with_a_second_name_is_left_alone(file: Path) -> None:
    """Only what nobody else calls by name is written over."""
    precious = file.with_name("precious")
    precious.write_text("not ours")
    os.link(precious, file.with_name(f"{file.name}-new"))
    cytosol.seal(file, passphrase="x", cost=CHEAP)
    assert "not ours" == precious.read_text()


def test_a_disk_that_refuses_leaves_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is ours."""
    before = facts(plain(file))

    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conversion, "_check_only_name", refuse)
    with pytest.raises(SaveError, match="the disk is full"):
        cytosol.seal(file, passphrase="x", cost=CHEAP)
    monkeypatch.undo()
    assert before == facts(plain(file))


def test_a_graph_storage_can_be_sealed(tmp_path: Path) -> None:
    """A sealed save state is a save state wherever one is taken, and a sealed file is told."""
    state = SealedSaveState(cytosol.SqliteSaveState(tmp_path / "graph"), passphrase="x", cost=CHEAP)

    async def use() -> None:
        storage = cytosol.graph.SaveStateStorage(state)
        await storage.notes.put("a", {"b": 1})
        await storage.close()
        with pytest.raises(SealError, match="is sealed"):
            cytosol.graph.SaveStateStorage(state.inner)
        storage = cytosol.graph.SaveStateStorage(state)
        assert {"b": 1} == await storage.notes.get("a")
        await storage.close()

    asyncio.run(use())
