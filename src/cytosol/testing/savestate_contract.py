"""What every save state promises, as tests that its author runs.

```python
from cytosol.testing.savestate_contract import SaveStateContract

class TestMySaveState(SaveStateContract):
    def make(self, folder):
        return MySaveState(folder / "database")
```

`make` is called with a folder of the test's own and returns a closed save state; called again with
the same folder it returns another object for the same records. Set `lasts = False` for one that
keeps nothing beyond its own object, and `in_files = False` for one whose records are elsewhere.

A crash is played by copying the folder whenever a line of `commit` has changed something in it, and
opening the copies. A full disk is played by letting files grow no further, wherever that cuts a
write short; `failing_disk` is there to be overridden where that is not how a write fails. What a
power cut does is not played: nobody sees from inside whether `fsync` was called.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TypeAlias

import pytest

from cytosol.errors import DatabaseClosedError, DatabaseError, DatabaseLockedError, SaveError
from cytosol.savestates import SaveState

__all__ = ["RECORDS_PER_BATCH", "SaveStateContract", "check_whole", "commit_number", "value_of"]

RECORDS_PER_BATCH = 5
_DAMAGED_PLACES = 24
_FULL_PLACES = 16
_BIG = 3_000

Files: TypeAlias = dict[str, bytes]


def value_of(state: SaveState, content: str) -> Any:
    """Return `content` as a value that the save state takes."""
    return content if state.text else content.encode()


def commit_number(state: SaveState, number: int, size: int = 200) -> None:
    """Commit batch `number`: all records of the last batch are replaced, one is added."""
    value = value_of(state, f"{number} {'x' * size}")
    last = [(f"last/{index}", value) for index in range(RECORDS_PER_BATCH)]
    state.commit(
        [*last, (f"op/{number:016}", value)],
        deletes=[f"gone/{number - 1}"],
        delete_prefixes=["last/"],
    )


def check_whole(state: SaveState) -> int:
    """Return the number of the last batch, after checking that it and those before are whole."""
    texts = [value if state.text else value.decode() for _, value in state.scan("last/")]
    last = {text.split()[0] for text in texts}
    count = sum(1 for _ in state.scan("op/"))
    if count == 0:
        assert last == set()
        return 0
    assert last == {str(count)}, "records of different batches stand together"
    assert len(texts) == RECORDS_PER_BATCH
    expected = [f"op/{number:016}" for number in range(1, count + 1)]
    assert expected == [key for key, _ in state.scan("op/")]
    return count


def _put(state: SaveState, *keys: str) -> None:
    state.commit([(key, value_of(state, key)) for key in keys])


def _keys_of(state: SaveState, prefix: str = "") -> list[str]:
    return [key for key, _ in state.scan(prefix)]


def _is_taken(state: SaveState, number: int, size: int = 200) -> bool:
    """Commit batch `number`, the next one; tell whether it was acknowledged."""
    try:
        commit_number(state, number, size)
    except SaveError:
        assert number - 1 == check_whole(state), "what the disk refused can be read"
        return False
    assert number == check_whole(state), "what was acknowledged cannot be read"
    return True


def _read(folder: Path) -> Files:
    files = {}
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):  # it went away meanwhile
            if path.is_file():
                files[str(path.relative_to(folder))] = path.read_bytes()
    return files


def _write(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
    return folder


@contextmanager
def _images_of(folder: Path) -> Iterator[list[Files]]:
    """Keep what is in a folder after each line of code that changes something there."""
    images = [_read(folder)]

    def look(frame: FrameType, event: str, argument: object) -> Any:
        files = _read(folder)
        if files != images[-1]:
            images.append(files)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield images
    finally:
        sys.settrace(before)


class SaveStateContract:
    """The promises of `cytosol.SaveState`; subclass it and say how to `make` one."""

    lasts: ClassVar[bool] = True
    """Whether another object for the same folder finds the records."""

    in_files: ClassVar[bool] = True
    """Whether the records are in files of that folder, which a test can copy and damage."""

    def make(self, folder: Path) -> SaveState:
        """Return a closed save state that keeps its records in a folder."""
        raise NotImplementedError("say in a subclass how to make the save state")

    @contextmanager
    def failing_disk(self, state: SaveState, bytes_max: int) -> Iterator[None]:
        """Let writes of an open save state fail as long as this lasts: a hook to be overridden.

        As it is, no file of this process grows beyond its first `bytes_max` bytes, and a write that
        would is cut short. Override it for a save state whose records are elsewhere, or to let them
        fail in another way: fewer bytes have to fail more, and 0 everything.
        """
        self._want_files()
        resource = pytest.importorskip("resource", reason="this system has no bounds for files")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @pytest.fixture
    def state(self, tmp_path: Path) -> Iterator[SaveState]:
        """Give an open, empty save state."""
        state = self.make(tmp_path)
        state.open()
        yield state
        state.close()

    # --- Records -------------------------------------------------------------------------

    def test_a_record_is_read_as_it_was_put(self, state: SaveState) -> None:
        """Get returns the value; a key without record gives None."""
        state.commit([("a", value_of(state, "1")), ("b", value_of(state, ""))])
        assert value_of(state, "1") == state.get("a")
        assert value_of(state, "") == state.get("b")
        assert state.get("c") is None

    def test_scan_yields_keys_in_code_point_order(self, state: SaveState) -> None:
        """Whatever the order of putting, and capitals before small letters."""
        _put(state, "op/10", "op/9", "op/B", "op/a", "op/~", "op", "oq", "on/1")
        assert ["op", "op/10", "op/9", "op/B", "op/a", "op/~"] == _keys_of(state, "op")
        assert ["op/10", "op/9", "op/B", "op/a", "op/~"] == _keys_of(state, "op/")
        assert ["on/1", "op", "op/10", "op/9", "op/B", "op/a", "op/~", "oq"] == _keys_of(state)
        assert [] == _keys_of(state, "x")

    def test_scan_yields_many_thousand_records_of_one_batch(self, state: SaveState) -> None:
        """A batch and a scan have no upper size."""
        keys = [f"op/{number:08}" for number in range(5_000)]
        _put(state, *keys)
        assert keys == _keys_of(state)
        assert keys[4000:4010] == _keys_of(state, "op/0000400")

    def test_a_batch_deletes_first_and_puts_last(self, state: SaveState) -> None:
        """So one batch can replace all records below a prefix."""
        _put(state, "a/1", "a/2", "b/1", "b/2", "c")
        new = value_of(state, "new")
        state.commit([("a/2", new)], deletes=["b/1", "none"], delete_prefixes=["a/"])
        assert ["a/2", "b/2", "c"] == _keys_of(state)
        assert new == state.get("a/2")
        one, two = value_of(state, "1"), value_of(state, "2")
        state.commit([("c", one), ("c", two)], deletes=["c"])
        assert two == state.get("c")
        state.commit(delete_prefixes=["", "x"])
        assert [] == _keys_of(state)

    def test_an_empty_batch_is_fine(self, state: SaveState) -> None:
        """Nothing changes."""
        _put(state, "a")
        state.commit([])
        assert ["a"] == _keys_of(state)

    def test_a_malformed_batch_changes_nothing(self, state: SaveState) -> None:
        """A wrong key or value is found before anything is written."""
        _put(state, "a")
        good = ("b", value_of(state, "b"))
        wrong: list[Any] = [("c", {1, 2}), ("ü", good[1]), ("", good[1]), (b"c", good[1])]
        for bad in wrong:
            with pytest.raises(TypeError):
                state.commit([good, bad], deletes=["a"])
        assert ["a"] == _keys_of(state)

    def test_commits_during_a_scan_disturb_nothing(self, state: SaveState) -> None:
        """A scan goes on over the records that nobody touched."""
        keys = [f"op/{number:04}" for number in range(1_000)]
        _put(state, *keys)
        seen = []
        for key, _ in state.scan("op/"):
            seen.append(key)
            if len(seen) == 10:
                state.commit([("op/0003x", value_of(state, ""))], deletes=["op/0999"])
        assert keys[:999] == [key for key in seen if key != "op/0999"]

    def test_size_grows_with_what_is_stored(self, state: SaveState) -> None:
        """The size counts what lies in a log as well."""
        before = state.size_bytes()
        state.commit([("a", value_of(state, "x" * 100_000))])
        assert state.size_bytes() >= before + 90_000

    # --- Opening and closing -------------------------------------------------------------

    def test_reopening_sees_everything(self, state: SaveState) -> None:
        """Closing loses nothing, and the same object can be opened again."""
        _put(state, "a", "b")
        state.commit(deletes=["a"])
        state.close()
        state.open()
        assert [("b", value_of(state, "b"))] == list(state.scan(""))
        state.check()

    def test_another_object_sees_everything(self, tmp_path: Path) -> None:
        """The records are where `make` says and nowhere else."""
        if not self.lasts:
            pytest.skip("it keeps nothing beyond its own object")
        first, second = self.make(tmp_path), self.make(tmp_path)
        first.open()
        for number in range(1, 8):
            commit_number(first, number)
        first.close()
        second.open()
        assert 7 == check_whole(second)
        second.close()

    def test_closing_twice_is_fine(self, state: SaveState) -> None:
        """Close does nothing when there is nothing to close."""
        state.close()
        state.close()

    def test_a_closed_save_state_says_so(self, state: SaveState) -> None:
        """Every use after closing raises the same error, and at once."""
        _put(state, *(f"op/{number}" for number in range(1_000)))
        state.close()
        uses: list[Callable[[], object]] = [
            lambda: state.get("a"),
            lambda: state.scan(""),
            lambda: _put(state, "a"),
            lambda: state.size_bytes(),
            lambda: state.check(),
        ]
        for use in uses:
            with pytest.raises(DatabaseClosedError, match="is closed; open the database again"):
                use()

    def test_a_scan_that_runs_while_it_is_closed_tells_nothing_wrong(
        self, state: SaveState
    ) -> None:
        """It gives the rest of what was there, or ends with the same error."""
        keys = [f"op/{number:04}" for number in range(1_000)]
        _put(state, *keys)
        scan = state.scan("op/")
        seen = [next(scan)[0]]
        state.close()
        with suppress(DatabaseClosedError):
            for key, _ in scan:
                seen.append(key)
        assert keys[: len(seen)] == seen

    def test_an_open_save_state_has_one_owner(self, state: SaveState) -> None:
        """It cannot be opened again, and goes on working."""
        with pytest.raises(DatabaseLockedError, match="already open"):
            state.open()
        _put(state, "a")
        assert ["a"] == _keys_of(state)

    def test_another_object_is_no_second_owner(self, state: SaveState, tmp_path: Path) -> None:
        """As long as the first one is open; then it may."""
        if not self.lasts:
            pytest.skip("another object is another database")
        second = self.make(tmp_path)
        with pytest.raises(DatabaseLockedError):
            second.open()
        _put(state, "a")
        state.close()
        second.open()
        assert ["a"] == _keys_of(second)
        second.close()

    # --- Crashes and damage --------------------------------------------------------------

    def test_a_crash_leaves_whole_batches(self, tmp_path: Path) -> None:
        """All that were acknowledged, and of the one that was being written all or nothing."""
        self._want_files()
        state = self.make(_write(tmp_path / "live", {}))
        state.open()
        for acknowledged in range(4):
            with _images_of(tmp_path / "live") as images:
                commit_number(state, acknowledged + 1)
            images.append(_read(tmp_path / "live"))
            for number, files in enumerate(images):
                crashed = self.make(_write(tmp_path / f"crash-{acknowledged}-{number}", files))
                crashed.open()
                found = check_whole(crashed)
                crashed.close()
                wanted = {acknowledged, acknowledged + 1}
                if number == len(images) - 1:
                    wanted = {acknowledged + 1}
                assert found in wanted, f"after a crash {found} batches are there, not {wanted}"
        state.close()

    def test_damage_is_told_and_never_read(self, tmp_path: Path) -> None:
        """Wherever a bit flips, or a file is cut: the records are right, or there is an error."""
        self._want_files()
        state = self.make(_write(tmp_path / "live", {}))
        if state.text:
            pytest.skip("people may edit it, so that it cannot tell a wrong value from a new one")
        state.open()
        for number in range(1, 4):
            commit_number(state, number)
        written = list(state.scan(""))
        state.close()
        whole = _read(tmp_path / "live")
        for name, content in whole.items():
            places = range(0, len(content), max(1, len(content) // _DAMAGED_PLACES))
            damaged = [
                content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in places
            ]
            for number, bad in enumerate([*damaged, content[: len(content) // 2]]):
                folder = _write(tmp_path / f"{name}-{number}", {**whole, name: bad})
                opened = self.make(folder)
                with suppress(DatabaseError):
                    opened.open()
                    assert written == list(opened.scan("")), f"{name} is damaged; nobody noticed"
                opened.close()

    def test_what_a_failing_disk_refuses_is_an_error_and_all_or_nothing(
        self, tmp_path: Path
    ) -> None:
        """Wherever the disk stops to take more: a SaveError, and what was there before is there."""
        size = 0
        refused = 0
        for number in range(_FULL_PLACES + 1):
            folder = _write(tmp_path / f"disk-{number}", {})
            state = self.make(folder)
            state.open()
            for batch in range(1, 4):
                commit_number(state, batch)
            if number == 0:  # only to see how much is written
                commit_number(state, 4, _BIG)
                size = state.size_bytes()
            else:
                with self.failing_disk(state, (number - 1) * size // _FULL_PLACES):
                    refused += not _is_taken(state, 4, _BIG)
                self._check_after_refusal(folder, state)
            state.close()
        assert refused, (
            "every write to a disk that took nothing was acknowledged; say in `failing_disk` how "
            "writes of this save state fail"
        )

    def _check_after_refusal(self, folder: Path, state: SaveState) -> None:
        """Look at a save state that had three batches and maybe took the fourth."""
        held = check_whole(state)
        # It may want to be opened anew first, because nobody knows what is on the disk.
        goes_on = _is_taken(state, held + 1)
        state.close()
        again = self.make(folder) if self.lasts else state
        again.open()
        found = check_whole(again)
        allowed = {held + 1} if goes_on else {held, held + 1}
        assert found in allowed, f"{held} batches were there before reopening, {found} are now"
        commit_number(again, found + 1)
        assert found + 1 == check_whole(again)
        again.check()
        again.close()

    def _want_files(self) -> None:
        if not (self.lasts and self.in_files):
            pytest.skip("there are no files to copy")

    # --- Threads and histories -----------------------------------------------------------

    def test_commits_of_many_threads_are_all_there(self, state: SaveState) -> None:
        """Threads commit and read at once; each sees its own commit on return."""
        wrong: list[str] = []

        def work(name: int) -> None:
            for number in range(20):
                key = f"op/{name}/{number:02}"
                _put(state, key)
                if value_of(state, key) != state.get(key):
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [] == wrong
        expected = sorted(f"op/{name}/{number:02}" for name in range(6) for number in range(20))
        assert expected == _keys_of(state)
        state.close()
        state.open()
        assert expected == _keys_of(state)

    def test_a_database_lives_in_it(self, tmp_path: Path) -> None:
        """Its document, its failures and its identity are there after a restart."""
        from cytosol.database import open as open_database

        app_id = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
        state = self.make(tmp_path)
        with open_database(state, app_id=app_id, peer_name="a", network=False) as db:
            for number in range(20):
                db.dispatch({"action": "Set", "path": f"$.n{number}", "payload": [number, "ü"]})
            peer_id, document, state_hash = db.peer_id, db.get(), db.state_hash()
        again = self.make(tmp_path) if self.lasts else state
        with open_database(again, app_id=app_id, peer_name="a", network=False) as db:
            assert (peer_id, document, state_hash) == (db.peer_id, db.get(), db.state_hash())
            db.check()
