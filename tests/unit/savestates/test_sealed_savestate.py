"""What only sealed save states do: hide, tell a wrong secret, notice what was changed."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import RuntimeError as NaclRuntimeError

from cytosol.errors import (
    ActionError,
    DatabaseClosedError,
    DatabaseCorruptError,
    DatabaseLockedError,
    SaveError,
    SealError,
)
from cytosol.limits import PASSPHRASE_BYTES_MAX, SEAL_MEMORY_BYTES_MAX, SEAL_PASSES_MAX
from cytosol.savestates import (
    InMemorySaveState,
    JsonFileSaveState,
    SaveState,
    SqliteSaveState,
    sealkeys,
)
from cytosol.savestates.sealed import SealedRecords, padded_size
from cytosol.savestates.sealkeys import SealCost, head_check, key_secret, passphrase_secret
from tests.contract.savestate_kinds import CHEAP

PASSPHRASE = "correct horse battery"
Inner = Callable[[Path], SaveState]
INNERS: dict[str, Inner] = {"sqlite": SqliteSaveState, "json": JsonFileSaveState}


def sealed(inner: SaveState, passphrase: str | bytes = PASSPHRASE) -> SealedRecords:
    return SealedRecords(inner, lambda _: passphrase_secret(passphrase), os.urandom, CHEAP)


def filled(*names: str) -> tuple[InMemorySaveState, SealedRecords]:
    """A sealed save state in memory with some records, open."""
    inner = InMemorySaveState()
    state = sealed(inner)
    state.open()
    state.commit([(name, f"the value of {name}".encode()) for name in names])
    return inner, state


def content(inner: InMemorySaveState) -> dict[str, bytes]:
    """What lies in the save state inside."""
    inner.open()
    records = dict(inner.scan(""))
    inner.close()
    return records


def put_back(inner: InMemorySaveState, records: dict[str, bytes]) -> None:
    """Replace all records of the save state inside."""
    inner.open()
    inner.commit(list(records.items()), delete_prefixes=[""])
    inner.close()


@pytest.fixture(params=INNERS)
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> SaveState:
    """Each kind of file, closed and new."""
    return INNERS[request.param](tmp_path / "notes")


# --- Who gets in --------------------------------------------------------------------------------


def test_a_wrong_passphrase_is_told(inner: SaveState) -> None:
    """The error says so, nothing is open then, and the right one still works."""
    state = sealed(inner)
    state.open()
    state.commit([("a", "1" if state.text else b"1")])
    state.close()
    for wrong in ("correct horse", PASSPHRASE + " ", PASSPHRASE.upper(), b"\xff"):
        other = sealed(inner, wrong)
        with pytest.raises(SealError, match=r"the passphrase is not that of '.*notes'"):
            other.open()
        with pytest.raises(DatabaseClosedError):
            other.get("a")
    state.open()
    assert ["a"] == [key for key, _ in state.scan("")]
    state.close()


def test_a_file_that_is_not_sealed_is_told(inner: SaveState) -> None:
    """A passphrase for a plain file is refused, and the file stays as it is."""
    inner.open()
    inner.commit([("meta/format", 1 if inner.text else b"1")])
    inner.close()
    assert inner.path is not None
    before = inner.path.read_bytes()
    with pytest.raises(SealError, match="is not sealed, so that it has no passphrase or key"):
        sealed(inner).open()
    assert before == inner.path.read_bytes()
    inner.open()
    inner.close()


def test_passphrase_and_key_are_not_mixed_up() -> None:
    """A key does not open what a passphrase sealed, nor the reverse."""
    by_key = InMemorySaveState()
    key = SealedRecords(by_key, lambda _: key_secret(b"k" * 32), os.urandom)
    key.open()
    key.close()
    with pytest.raises(SealError, match="is sealed with a key, not a passphrase"):
        sealed(by_key).open()
    with pytest.raises(SealError, match="the key is not that of"):
        SealedRecords(by_key, lambda _: key_secret(b"x" * 32), os.urandom).open()
    by_passphrase, state = filled()
    state.close()
    with pytest.raises(SealError, match="is sealed with a passphrase, not a key"):
        SealedRecords(by_passphrase, lambda _: key_secret(b"k" * 32), os.urandom).open()


def test_a_passphrase_means_the_same_on_every_keyboard() -> None:
    """Composed and decomposed characters are one; UTF-8 bytes are the text."""
    inner = InMemorySaveState()
    first = sealed(inner, "Zo\u00eb")
    first.open()
    first.commit([("k", b"v")])
    first.close()
    for same in ("Zoe\u0308", "Zoë".encode()):
        other = sealed(inner, same)
        other.open()
        assert b"v" == other.get("k")
        other.close()


WRONG_PASSPHRASES = {
    "empty": "",
    "empty bytes": b"",
    "number": 7,
    "nothing": None,
    "surrogate": "xxx\ud800",
    "too long": "x" * (PASSPHRASE_BYTES_MAX + 1),
}


@pytest.mark.parametrize("wrong", WRONG_PASSPHRASES.values(), ids=list(WRONG_PASSPHRASES))
def test_a_passphrase_that_is_none_is_refused(wrong: Any) -> None:
    """Before anything is opened, and without repeating it."""
    with pytest.raises(ActionError) as caught:
        passphrase_secret(wrong)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("wrong", [b"short", "x" * 32, None], ids=["short", "text", "nothing"])
def test_a_key_has_32_bytes(wrong: Any) -> None:
    """Anything else is refused."""
    with pytest.raises(ActionError, match="is 32 random bytes"):
        key_secret(wrong)


def test_only_a_save_state_that_is_not_sealed_can_be_sealed() -> None:
    """A path, or a sealed one, is refused with an example."""
    for wrong in ("notes.cytosol", sealed(InMemorySaveState())):
        with pytest.raises(ActionError, match=r"such as SqliteSaveState\(path\)"):
            sealed(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_an_owner_is_named_before_a_passphrase_is_tried(inner: SaveState) -> None:
    """The lock of the save state inside holds."""
    state = sealed(inner)
    state.open()
    with pytest.raises(DatabaseLockedError):
        sealed(INNERS["json" if inner.text else "sqlite"](Path(str(inner.path))), "wrong").open()
    state.close()


# --- What a hostile file may not do -------------------------------------------------------------


def head_of(inner: InMemorySaveState) -> dict[str, Any]:
    return dict(json.loads(content(inner)["sealed/head"]))


def use_head(inner: InMemorySaveState, head: Any) -> None:
    if isinstance(head, dict):
        head["check"] = head_check(head)
    raw = head if isinstance(head, bytes) else json.dumps(head).encode()
    put_back(inner, {**content(inner), "sealed/head": raw, "sealed/spare": raw})


@pytest.mark.parametrize(
    "change",
    [
        {"memoryBytes": 100 * 2**30},
        {"memoryBytes": SEAL_MEMORY_BYTES_MAX + 1},
        {"memoryBytes": 0},
        {"memoryBytes": -1},
        {"memoryBytes": 1e9},
        {"memoryBytes": True},
        {"passes": SEAL_PASSES_MAX + 1},
        {"passes": 2**64},
        {"passes": 0},
        {"passes": None},
    ],
    ids=str,
)
def test_a_head_that_asks_for_too_much_is_refused_at_once(change: dict[str, Any]) -> None:
    """Before memory is taken: 100 GiB, or a million passes, are never tried."""
    inner, state = filled("a")
    state.close()
    head = head_of(inner)
    head["key"].update(change)
    use_head(inner, head)
    begun = time.process_time()
    with pytest.raises(DatabaseCorruptError, match="its head cannot be read"):
        sealed(inner).open()
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("change", [{"passes": 2}, {"memoryBytes": 16_384}], ids=str)
def test_a_head_with_other_costs_opens_nothing(change: dict[str, int]) -> None:
    """What the key was made with is part of what it unlocks."""
    inner, state = filled("a")
    state.close()
    head = head_of(inner)
    head["key"].update(change)
    use_head(inner, head)
    with pytest.raises(SealError, match="head of the file is damaged"):
        sealed(inner).open()


BAD_HEADS: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"\xff{",
    "a list": [],
    "nothing": None,
    "deep": b"[" * 4_000,
    "long": b" " * 5_000 + b"{}",
    "no format": {},
    "newer": {"format": 2},
    "no key": {"format": 1, "wrapped": ""},
    "no salt": {"format": 1, "key": {"from": "key"}, "wrapped": "AAAA"},
    "bad salt": {"format": 1, "key": {"from": "key", "salt": "!"}, "wrapped": "AAAA"},
    "number": {"format": 1, "key": {"from": "key", "salt": 7}, "wrapped": "AAAA"},
    "short": {"format": 1, "key": {"from": "key", "salt": "AAAA"}, "wrapped": "AAAA"},
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_damaged_head_is_told(name: str) -> None:
    """Whatever stands there, the file is refused with one of our errors."""
    inner, state = filled("a")
    state.close()
    use_head(inner, BAD_HEADS[name])
    with pytest.raises(DatabaseCorruptError, match="its head cannot be read"):
        sealed(inner).open()


def test_damage_of_the_head_is_told_from_a_wrong_passphrase() -> None:
    """A flipped bit in it is not taken for a typing error."""
    inner, state = filled("a")
    state.close()
    head = head_of(inner)
    wrapped = head["wrapped"]
    head["wrapped"] = ("B" if wrapped[0] == "A" else "A") + wrapped[1:]
    put_back(inner, {**content(inner), "sealed/head": json.dumps(head).encode()})
    with pytest.raises(DatabaseCorruptError, match="its checksum is wrong"):
        sealed(inner).open()


@pytest.mark.parametrize("how", [{"from": "magic"}, {"from": "passphrase", "kdf": "md5"}], ids=str)
def test_an_unknown_way_to_make_the_key_is_refused(how: dict[str, str]) -> None:
    """Nothing weaker is ever used in its place."""
    inner, state = filled("a")
    state.close()
    head = head_of(inner)
    head["key"].update(how)
    use_head(inner, head)
    with pytest.raises(DatabaseCorruptError, match="a way to make the key that is not known"):
        sealed(inner).open()


def test_costs_have_bounds() -> None:
    """Also those that an app asks for."""
    for wrong in ({"passes": 0}, {"passes": 17}, {"memory_bytes": 1}, {"memory_bytes": 2**31}):
        with pytest.raises(ActionError, match=r"are [\d,]+ to [\d,]+, not|are 1 to 16, not"):
            SealCost(**wrong)


def test_a_machine_without_the_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id needs what the head says, and nothing is opened with less."""

    def refuse(*arguments: Any) -> bytes:
        raise NaclRuntimeError("Key derivation failed")

    monkeypatch.setattr(sealkeys, "crypto_pwhash_alg", refuse)
    with pytest.raises(SealError, match="takes 8,192 bytes of memory, which this machine"):
        sealed(InMemorySaveState()).open()


# --- What was changed is noticed ----------------------------------------------------------------


def records_of(inner: InMemorySaveState) -> list[str]:
    return [key for key in content(inner) if key.startswith("sealed/r/")]


def test_records_that_change_places_are_noticed() -> None:
    """The name belongs to the value."""
    inner, state = filled("a", "b")
    state.close()
    records = content(inner)
    one, other = records_of(inner)
    records[one], records[other] = records[other], records[one]
    put_back(inner, records)
    with pytest.raises(DatabaseCorruptError, match="cannot be decrypted"):
        state.open()


def test_a_record_under_another_name_is_noticed() -> None:
    """A copy is no second record."""
    inner, state = filled("a")
    state.close()
    records = content(inner)
    put_back(inner, {**records, "sealed/r/" + "0" * 32: records[records_of(inner)[0]]})
    with pytest.raises(DatabaseCorruptError, match="cannot be decrypted"):
        state.open()


def test_a_record_that_was_removed_is_noticed() -> None:
    """Whichever it is."""
    inner, state = filled("a", "b", "c")
    state.close()
    whole = content(inner)
    for gone in whole:
        put_back(inner, {key: value for key, value in whole.items() if key != gone})
        with pytest.raises(DatabaseCorruptError, match="is damaged, or somebody changed it"):
            state.open()
    put_back(inner, whole)
    state.open()
    state.close()


def test_a_record_that_was_put_back_is_noticed() -> None:
    """One that was deleted, or an earlier value of one: neither fits the sum of all."""
    inner, state = filled("a", "b")
    state.close()
    before = content(inner)
    state.open()
    state.commit([("a", b"new")], deletes=["b"])
    state.close()
    after = content(inner)
    for key in before.keys() - {"sealed/head", "sealed/spare"}:
        put_back(inner, {**after, key: before[key]})
        with pytest.raises(DatabaseCorruptError, match="removed, or put back"):
            state.open()
    put_back(inner, before)  # all of it together looks like a backup, and is one
    state.open()
    assert b"the value of b" == state.get("b")
    state.close()


def test_a_damaged_copy_of_the_head_is_noticed() -> None:
    """It must be good when it is needed."""
    inner, state = filled("a")
    state.close()
    put_back(inner, {**content(inner), "sealed/spare": b"{}"})
    with pytest.raises(DatabaseCorruptError, match="the copy of its head"):
        state.open()


def test_a_record_that_is_cut_short_is_noticed() -> None:
    """Even where nothing of it is left."""
    inner, state = filled("a")
    state.close()
    slot = records_of(inner)[0]
    for rest in (b"", b"short"):
        put_back(inner, {**content(inner), slot: rest})
        with pytest.raises(DatabaseCorruptError, match="it is too short"):
            state.open()


def test_a_record_in_the_clear_is_refused() -> None:
    """Nobody can slip in records beside the sealed ones."""
    inner, state = filled("a")
    state.close()
    put_back(inner, {**content(inner), "meta/pairings": b"{}"})
    with pytest.raises(DatabaseCorruptError, match="'meta/pairings' is not sealed"):
        state.open()


def test_a_record_that_is_changed_while_it_is_open_is_noticed() -> None:
    """By reading it, and by check."""
    inner, state = filled("a", "b")
    slot = records_of_open(inner)[0]
    value = inner.get(slot)
    assert value is not None
    inner.commit([(slot, value[:-1] + bytes([value[-1] ^ 1]))])
    with pytest.raises(DatabaseCorruptError, match="cannot be decrypted"):
        [state.get(name) for name in ("a", "b")]
    with pytest.raises(DatabaseCorruptError, match="cannot be decrypted"):
        state.check()
    inner.commit(deletes=[slot])
    with pytest.raises(DatabaseCorruptError, match="removed, or put back"):
        state.check()


def records_of_open(inner: InMemorySaveState) -> list[str]:
    return [key for key, _ in inner.scan("sealed/r/")]


def test_a_text_that_is_no_record_is_refused(tmp_path: Path) -> None:
    """In a JSON file each record is base64."""
    inner = JsonFileSaveState(tmp_path / "notes.json")
    state = sealed(inner)
    state.open()
    state.commit([("a", 1)])
    state.close()
    inner.open()
    inner.commit([("sealed/r/" + "0" * 32, {"not": "base64"})])
    inner.close()
    with pytest.raises(DatabaseCorruptError, match="is not sealed"):
        state.open()


# --- What can be seen ---------------------------------------------------------------------------


@given(st.integers(1, 2**34))
def test_sizes_are_hidden_among_others(size: int) -> None:
    """A padded size is not less, at most an eighth more above 4 KiB, and stays what it is."""
    padded = padded_size(size)
    assert size <= padded
    assert padded == padded_size(padded)
    if size > 4096:
        assert padded * 8 <= size * 9
    else:
        assert padded in (256, 512, 1024, 2048, 4096)


def test_a_name_may_be_long() -> None:
    """A graph's storage has names of 200,000 characters, and their length is padded as well."""
    _, state = filled("node/" + "%41" * 65_536, "node/" + "%41" * 65_535)
    state.close()
    state.open()
    assert [65_535, 65_536] == [key.count("%41") for key, _ in state.scan("node/")]
    state.close()


def test_small_values_look_alike() -> None:
    """An empty one, a password and a short note take the same space; names do not show either."""
    inner, state = filled()
    state.commit([("a", b""), ("meta/identity", b"x" * 100), ("op/0000000000000001", b"y" * 200)])
    sizes = {len(value) for key, value in inner.scan("sealed/r/")}
    assert 1 == len(sizes)
    names = [key for key, _ in inner.scan("")]
    assert {"sealed/head", "sealed/spare", "sealed/whole"} == {
        key for key in names if "/r/" not in key
    }
    assert {len("sealed/r/") + 32} == {len(key) for key in names if "/r/" in key}


def test_equal_records_do_not_look_equal() -> None:
    """Neither in one file, nor in two with one passphrase, nor at two times."""
    first, one = filled("a")
    second, two = filled("a")
    before = content_of_open(first)
    one.commit([("a", b"the value of a")])
    after = content_of_open(first)
    assert before.keys() == after.keys()
    assert before[records_of_open(first)[0]] != after[records_of_open(first)[0]]
    assert records_of_open(first) != records_of_open(second)
    two.close()


def content_of_open(inner: InMemorySaveState) -> dict[str, bytes]:
    return dict(inner.scan(""))


SECRETS = [PASSPHRASE, repr(PASSPHRASE.encode()), base64.b64encode(PASSPHRASE.encode()).decode()]


def test_no_secret_is_shown() -> None:
    """Neither by repr, nor by an error and the variables of our functions that it carries."""
    inner, state = filled("a")
    shown = [repr(state), repr(state._secret(False)), str(state._open and state._open.keys)]
    state.close()
    with pytest.raises(SealError) as caught:
        sealed(inner, "wrong " + PASSPHRASE).open()
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown += [
        f"{frame.name} {frame.locals}" for frame in frames.stack if "cytosol" in frame.filename
    ]
    assert len(shown) > 4
    assert [] == [text for text in shown for secret in SECRETS if secret in text]
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_sealed_save_state_is_not_pickled_or_copied() -> None:
    """A secret must not get into a file that way."""
    for value in (sealed(InMemorySaveState()), passphrase_secret(PASSPHRASE)):
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not copied or pickled"):
                make(value)


def test_the_keys_are_forgotten_when_it_is_closed() -> None:
    """Only the passphrase, or the key that the app gave, is kept."""
    _, state = filled("a")
    assert state._open is not None
    state.close()
    assert state._open is None


# --- Another secret -----------------------------------------------------------------------------


def test_another_passphrase_needs_another_head_only() -> None:
    """The records stay as they are, the old passphrase opens nothing, the object goes on."""
    inner, state = filled("a", "b")
    before = content_of_open(inner)
    state.change_secret(passphrase_secret("another one"), CHEAP)
    after = content_of_open(inner)
    assert ["sealed/head", "sealed/spare"] == [key for key in before if before[key] != after[key]]
    state.commit([("c", b"3")])
    state.close()
    state.open()
    state.close()
    with pytest.raises(SealError):
        sealed(inner).open()
    other = sealed(inner, "another one")
    other.open()
    assert ["a", "b", "c"] == [key for key, _ in other.scan("")]
    other.close()


# --- Refusals and threads -----------------------------------------------------------------------


class Interrupted(InMemorySaveState):
    """Saves, and is interrupted before it can say so."""

    interrupts = False

    def commit(self, *arguments: Any, **named: Any) -> None:
        super().commit(*arguments, **named)
        if self.interrupts:
            raise KeyboardInterrupt


class Refusing(InMemorySaveState):
    """A disk that may be full."""

    is_full = False

    def commit(self, *arguments: Any, **named: Any) -> None:
        if self.is_full:
            raise SaveError("the disk is full")
        super().commit(*arguments, **named)


def test_a_refused_commit_leaves_no_trace() -> None:
    """The sum is that of what is there, and the next commit works."""
    inner = Refusing()
    state = sealed(inner)
    state.open()
    state.commit([("a", b"1")])
    inner.is_full = True
    with pytest.raises(SaveError, match="the disk is full"):
        state.commit([("b", b"2")], deletes=["a"])
    inner.is_full = False
    assert [("a", b"1")] == list(state.scan(""))
    state.commit([("c", b"3")])
    state.check()
    state.close()
    state.open()
    assert ["a", "c"] == [key for key, _ in state.scan("")]
    state.close()


def test_after_an_interruption_nothing_is_saved_until_reopened() -> None:
    """Nobody knows whether the interrupted batch is there, so the sum could be wrong."""
    inner = Interrupted()
    state = sealed(inner)
    state.open()
    inner.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        state.commit([("a", b"1")])
    inner.interrupts = False
    with pytest.raises(SaveError, match="reopen the database"):
        state.commit([("b", b"2")])
    state.close()
    state.open()
    assert [("a", b"1")] == list(state.scan(""))
    state.commit([("b", b"2")])
    state.close()


def test_commits_of_several_threads_share_a_write() -> None:
    """What waits while another commit is on its way goes to the disk together."""
    inner, state = filled()
    begun, go_on = threading.Event(), threading.Event()
    commit = inner.commit

    def slowly(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        commit(*arguments)

    inner.commit = slowly  # type: ignore[method-assign]  # a slow disk
    names = [f"n{number}" for number in range(5)]
    work = lambda name: state.commit([(name, b"")])  # noqa: E731  # one line, used once
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while state._queue.waiting < 4:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert names == [key for key, _ in state.scan("")]
    assert 3 == state.transactions  # that of `filled`, the first one, and all that waited


def test_two_kinds_of_damage_of_the_file_are_still_told(tmp_path: Path) -> None:
    """SQLite's own checks go on below the seal."""
    path = tmp_path / "notes"
    state = sealed(SqliteSaveState(path))
    state.open()
    state.commit([(f"n{number}", bytes(5_000)) for number in range(20)])
    state.close()
    other = sqlite3.connect(path)
    other.execute("UPDATE records SET checksum = checksum + 1 WHERE key = 'sealed/head'")
    other.commit()
    other.close()
    with pytest.raises(DatabaseCorruptError, match="checksum of the record 'sealed/head'"):
        state.open()
