"""The contracts that authors of plugins run, held against what Cytosol ships."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cytosol import DatabaseClosedError, InMemorySaveState, SaveError, SaveState
from cytosol.testing import VirtualDisk, VirtualSaveState
from cytosol.testing.savestate_contract import SaveStateContract
from tests.contract.savestate_kinds import FILE_KINDS, KINDS, make


class TestEachKind(SaveStateContract):
    """Whatever Cytosol ships keeps the contract; memory as far as its object lives."""

    @pytest.fixture(params=KINDS, autouse=True)
    def kind(self, request: pytest.FixtureRequest) -> str:
        """Hold the contract against each kind."""
        self._kind = request.param
        self.lasts = self._kind in FILE_KINDS
        return self._kind

    def make(self, folder: Path) -> SaveState:
        return make(self._kind, folder / "database")


class TestVirtual(SaveStateContract):
    """The save state of the simulated worlds keeps the contract."""

    in_files = False
    test_another_object_is_no_second_owner = None  # the device sees to that, not the disk
    disks: dict[Path, VirtualDisk] = {}  # noqa: RUF012  # one for all tests, by folder

    def make(self, folder: Path) -> SaveState:
        return VirtualSaveState(self.disks.setdefault(folder, VirtualDisk()))

    @contextmanager
    def failing_disk(self, state: SaveState, bytes_max: int) -> Iterator[None]:
        assert isinstance(state, VirtualSaveState)
        disk = state._disk
        disk.capacity = bytes_max
        yield
        disk.mend()


class TestFailingFlushes(TestVirtual):
    """A hook of the author's own: not the write fails, but the flush after it."""

    @contextmanager
    def failing_disk(self, state: SaveState, bytes_max: int) -> Iterator[None]:
        assert isinstance(state, VirtualSaveState)
        state._disk.flush_fails = True
        yield
        state._disk.mend()


class Forgetful(InMemorySaveState):
    """Keeps the first record of each batch only."""

    def commit(self, puts: Any = (), deletes: Any = (), delete_prefixes: Any = ()) -> None:
        super().commit(list(puts)[:1], deletes, delete_prefixes)


@pytest.mark.parametrize(
    "name", ["test_a_record_is_read_as_it_was_put", "test_a_batch_deletes_first_and_puts_last"]
)
def test_the_contract_notices_a_save_state_that_breaks_it(name: str) -> None:
    """A contract that nothing can break would promise nothing."""
    state = Forgetful()
    state.open()
    with pytest.raises(AssertionError):
        getattr(SaveStateContract(), name)(state)


class OneFile(InMemorySaveState):
    """What a stranger writes first: the records as one JSON text, replaced with each commit."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = path

    def open(self) -> None:
        super().open()
        super().commit(delete_prefixes=[""])
        for key, value in self.load().items():
            super().commit([(key, bytes.fromhex(value))])

    def load(self) -> dict[str, str]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def commit(self, puts: Any = (), deletes: Any = (), delete_prefixes: Any = ()) -> None:
        super().commit(puts, deletes, delete_prefixes)
        self.save()

    def save(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({key: value.hex() for key, value in self.scan("")}))
        fresh.replace(self.file)


class SavedWhenClosed(OneFile):
    """Quick, and gone with the program."""

    def save(self) -> None:
        pass

    def close(self) -> None:
        with suppress(DatabaseClosedError):
            super().save()
        super().close()


class SavedInTwoSteps(OneFile):
    """What is deleted is saved before what is put."""

    def commit(self, puts: Any = (), deletes: Any = (), delete_prefixes: Any = ()) -> None:
        super().commit((), deletes, delete_prefixes)
        super().commit(puts)


class BeginsAnew(OneFile):
    """Takes a file that it cannot read for none."""

    def load(self) -> dict[str, str]:
        try:
            return super().load()
        except ValueError:
            return {}


class ForgetsThatItFailed(OneFile):
    """Says nothing of what the disk refuses."""

    def save(self) -> None:
        with suppress(OSError):
            super().save()


class ShowsWhatWasRefused(OneFile):
    """Tells of a full disk, and goes on as if it were not."""

    def save(self) -> None:
        try:
            super().save()
        except OSError as error:
            raise SaveError(f"the disk is full ({error}); free some space") from error


REFUSED = "test_what_a_failing_disk_refuses_is_an_error_and_all_or_nothing"


@pytest.mark.parametrize(
    ("broken", "name", "words"),
    [
        (SavedWhenClosed, "test_a_crash_leaves_whole_batches", "after a crash 0 batches"),
        (SavedInTwoSteps, "test_a_crash_leaves_whole_batches", "stand together"),
        (OneFile, "test_damage_is_told_and_never_read", "Expecting value"),
        (BeginsAnew, "test_damage_is_told_and_never_read", "is damaged; nobody noticed"),
        (ForgetsThatItFailed, REFUSED, "every write to a disk that took nothing was acknowledged"),
        (ShowsWhatWasRefused, REFUSED, "what the disk refused can be read"),
    ],
)
def test_the_contract_notices_what_only_shows_in_the_files(
    tmp_path: Path, broken: type[OneFile], name: str, words: str
) -> None:
    """After a crash, or after damage: as long as nothing happens, they do as they should."""
    contract = SaveStateContract()
    contract.make = lambda folder: broken(folder / "records")  # type: ignore[method-assign]
    with pytest.raises((AssertionError, ValueError), match=words):
        getattr(contract, name)(tmp_path)


def test_the_contract_notices_a_second_owner(tmp_path: Path) -> None:
    """Two programs would overwrite what the other one writes."""
    contract = SaveStateContract()
    contract.make = lambda folder: OneFile(folder / "records")  # type: ignore[method-assign]
    state = contract.make(tmp_path)
    state.open()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract.test_another_object_is_no_second_owner(state, tmp_path)
