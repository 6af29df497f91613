"""Which records a document makes, and what is said when they are damaged."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cytosol.crdt.actions import Delete, Set, Transaction
from cytosol.document import journal as journal_module
from cytosol.document.journal import Journal
from cytosol.document.loading import ops_of
from cytosol.errors import DatabaseCorruptError, DatabaseLockedError, SaveError
from cytosol.model.opcodec import decode_ops
from cytosol.savestates import InMemorySaveState, JsonFileSaveState, SaveState
from cytosol.savestates.kinds import save_state_at
from tests.unit.document.faulty_state import FaultyState
from tests.unit.document.making import open_document, reopened


def change(state: SaveState, puts: dict[str, Any], deletes: tuple[str, ...] = ()) -> None:
    """Change records of a closed save state."""
    state.open()
    state.commit(list(puts.items()), deletes)
    state.close()


def keys(state: SaveState, prefix: str = "") -> list[str]:
    """Return the keys of the records of an open save state."""
    return [key for key, _ in state.scan(prefix)]


def test_a_dispatch_is_one_record_however_many_ops_it_became() -> None:
    """So a crash leaves all of it or nothing."""
    state = InMemorySaveState()
    document = open_document(state)
    document.dispatch({"action": "Set", "path": "$['a','b','c']", "payload": 1})
    document.dispatch(Transaction([Set("$.d", 1), Set("$.e", 2)]))
    assert ["op/0000000000000001", "op/0000000000000002"] == keys(state, "op/")


def test_what_does_nothing_makes_no_record() -> None:
    """Deleting nothing needs no place on the disk."""
    state = InMemorySaveState()
    document = open_document(state)
    assert 0 == document.dispatch(Delete("$.missing"))
    assert [] == keys(state, "op/")


def test_a_lost_record_of_ops_is_noticed() -> None:
    """The numbers have no gaps, so that one which is gone is named."""
    state = InMemorySaveState()
    document = open_document(state)
    for number in range(3):
        document.dispatch(Set("$.n", number))
    document.close()
    change(state, {}, ("op/0000000000000002",))
    with pytest.raises(DatabaseCorruptError, match=r"op/0000000000000002.*missing"):
        open_document(state)


def test_a_lost_first_record_is_noticed() -> None:
    """Numbers begin at 1, also after the history was trimmed."""
    state = InMemorySaveState()
    document = open_document(state, max_history=10)
    for number in range(100):
        document.dispatch(Set("$.n", number))
    document.close()
    change(state, {}, ("op/0000000000000001",))
    with pytest.raises(DatabaseCorruptError, match=r"op/0000000000000001.*missing"):
        open_document(state)


def test_a_base_without_ops_is_a_whole_document() -> None:
    """A trimmed history may have nothing on top."""
    state = InMemorySaveState()
    document = open_document(state, max_history=10)
    for number in range(100):
        document.dispatch(Set("$.n", number))
    document.close()
    state.open()
    ops = keys(state, "op/")
    state.close()
    change(state, {}, tuple(ops))
    assert 1 == len(open_document(state).query("$.n"))


def test_many_small_records_are_put_together_when_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each opening of an old file would read thousands of them."""
    monkeypatch.setattr(journal_module, "SMALL_BATCHES_MAX", 20)
    state = InMemorySaveState()
    document = open_document(state)
    for number in range(30):
        document.dispatch(Set("$.n", number))
    again = reopened(document, state)
    assert 1 == len(keys(state, "op/"))
    again.dispatch(Set("$.m", 1))
    last = reopened(again, state)
    assert [{"n": 29, "m": 1}] == last.query("$")
    last.check()


def test_a_full_disk_does_not_keep_anybody_from_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting records together is no reason to refuse to open."""
    monkeypatch.setattr(journal_module, "SMALL_BATCHES_MAX", 20)
    state = FaultyState()
    document = open_document(state)
    for number in range(30):
        document.dispatch(Set("$.n", number))
    document.close()
    state.fill()
    assert [29] == open_document(state).query("$.n")
    assert 30 == len(state.op_keys())


@pytest.mark.parametrize("found", [2, "1", None, True])
def test_a_file_of_another_format_is_refused(found: object) -> None:
    """A newer version may have changed anything."""
    state = InMemorySaveState()
    open_document(state).close()
    change(state, {"meta/format": msgspec.json.encode(found)})
    with pytest.raises(DatabaseCorruptError, match="format"):
        open_document(state)


def test_records_without_a_format_are_refused() -> None:
    """They would otherwise be taken for a new file, and written over."""
    state = InMemorySaveState()
    open_document(state).close()
    change(state, {"op/0000000000000001": b"x"}, ("meta/format",))
    with pytest.raises(DatabaseCorruptError, match="meta/format"):
        open_document(state)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("meta/format", b"{"),
        ("op/0000000000000001", b""),
        ("op/0000000000000001", b"nonsense"),
        ("base", b"nonsense"),
        ("meta/dismissed", b"[1]"),
        ("meta/dismissed", b"7"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(key: str, value: bytes) -> None:
    """With a sentence, and without changing the file."""
    state = InMemorySaveState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    document.close()
    change(state, {key: value})
    before = dict(state._records)
    with pytest.raises(DatabaseCorruptError, match="nothing was changed"):
        open_document(state)
    assert before == state._records


@pytest.mark.parametrize("base", [{"document": {}}, {"snapshot": 7}, {"snapshot": "?"}, "none"])
def test_a_base_in_a_text_that_holds_no_snapshot_is_refused(tmp_path: Path, base: object) -> None:
    """Somebody may have taken it for what can be edited."""
    state = JsonFileSaveState(tmp_path / "notes.json")
    open_document(state).close()
    change(state, {"base": base})
    with pytest.raises(DatabaseCorruptError, match=r"base cannot be read \(it holds no snapshot"):
        open_document(state)


def test_ops_that_lack_earlier_ones_are_refused() -> None:
    """A record that was put in place of another has ops without a beginning."""
    state = InMemorySaveState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    document.dispatch(Set("$.a", 2))
    document.close()
    second = state._records["op/0000000000000002"]
    change(state, {"op/0000000000000001": second}, ("op/0000000000000002",))
    with pytest.raises(DatabaseCorruptError, match="lack earlier ones"):
        open_document(state)


def test_a_save_state_that_is_in_use_stays_in_use() -> None:
    """Who was refused must not give free what belongs to another database."""
    state = InMemorySaveState()
    document = open_document(state)
    for _ in range(2):
        with pytest.raises(DatabaseLockedError):
            open_document(state)
    document.dispatch(Set("$.a", 1))
    assert [1] == document.query("$.a")


def test_a_json_file_shows_the_document_and_the_ops(tmp_path: Path) -> None:
    """People can read what was trimmed, and what came after it, op by op."""
    path = tmp_path / "notes.json"
    state = JsonFileSaveState(path)
    document = open_document(state, max_history=4)
    for number in range(100):
        document.dispatch(Set("$.n", number))
    document.close()
    records = json.loads(path.read_text(encoding="utf-8"))["records"]
    assert type(records["base"]["document"]["n"]) is int
    payloads = [op["payload"] for batch in sorted(records) if batch.startswith("op/")
                for op in records[batch]]  # fmt: skip
    assert 99 == payloads[-1]
    assert 0o600 == path.stat().st_mode & 0o777


def test_what_is_corrected_in_a_json_file_is_read(tmp_path: Path) -> None:
    """A payload may be changed with a text editor while no program has the file open."""
    path = tmp_path / "notes.json"
    state = JsonFileSaveState(path)
    document = open_document(state)
    document.dispatch(Set("$.title", "Shoping"))
    document.close()
    path.write_text(path.read_text(encoding="utf-8").replace("Shoping", "Shopping"), "utf-8")
    again = open_document(state)
    assert ["Shopping"] == again.query("$.title")
    again.check()
    again.close()


def test_checking_names_what_does_not_fit() -> None:
    """An op that is in memory only, a value that no op has set: each has its sentence."""
    state = InMemorySaveState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    document.check()
    document.replica.document["a"] = 2
    with pytest.raises(DatabaseCorruptError, match="another document"):
        document.check()
    document.replica.document["a"] = 1
    document._compiler.dispatch(Set("$.b", 1), 0)
    with pytest.raises(DatabaseCorruptError, match="other ops"):
        document.check()


def test_checking_turns_broken_invariants_into_a_sentence() -> None:
    """No AssertionError reaches the app."""
    document = open_document()
    document.dispatch(Set("$.a", 1))
    document.replica.clock = 0
    with pytest.raises(DatabaseCorruptError, match="not hold that the clock is not behind"):
        document.check()


def test_closing_writes_what_is_queued_and_never_raises() -> None:
    """Whoever waited for a refused write has been told; closing has nothing to add."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.a", 1))
    state.fill()
    with pytest.raises(SaveError):
        document.dispatch(Set("$.a", 2))
    document.close()
    document.close()
    state.free()
    assert [1] == open_document(state).query("$.a")


def test_without_a_save_state_nothing_is_kept_and_nothing_fails() -> None:
    """A database in memory asks the same questions."""
    journal = Journal(None, threading.RLock(), lambda keys: None)
    journal.open()
    journal.put_meta(name=1)
    journal.check()
    assert (None, None, 0, []) == (
        journal.get_meta("name"),
        journal.load_base(),
        journal.size_bytes(),
        journal.record_names(),
    )
    assert [] == list(journal.load_batches())
    journal.close()


@pytest.mark.parametrize("name", ["notes.json", "notes.cytosol"])
def test_a_batch_of_a_peer_is_kept_as_the_file_keeps_ops(tmp_path: Path, name: str) -> None:
    """As it came, or as JSON where people read it."""
    peer = InMemorySaveState()
    open_document(peer).dispatch(Set("$.a", "käse"))
    batch = peer.get("op/0000000000000001")
    assert batch is not None
    ops = decode_ops(batch)
    state = save_state_at(tmp_path / name)
    journal = Journal(state, threading.RLock(), lambda keys: None)
    journal.open()
    journal.flush(journal.add_batch([(op.index, op.author) for op in ops], batch))
    (kept,) = journal.load_batches()
    assert ops == ops_of(kept)
    assert state.text is (b"k\xc3\xa4se" in (tmp_path / name).read_bytes())
    journal.close()
