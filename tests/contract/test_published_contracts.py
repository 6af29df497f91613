"""The contracts that authors of plugins run, held against what Cytosol ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cytosol import InMemorySaveState, JsonFileSaveState, SaveState, SqliteSaveState
from cytosol.testing import VirtualDisk, VirtualSaveState
from cytosol.testing.savestate_contract import SaveStateContract
from tests.contract.savestate_kinds import seal


class TestSqlite(SaveStateContract):
    """SQLite keeps the contract."""

    def make(self, folder: Path) -> SaveState:
        return SqliteSaveState(folder / "database")


class TestJson(SaveStateContract):
    """The JSON file keeps the contract."""

    def make(self, folder: Path) -> SaveState:
        return JsonFileSaveState(folder / "database")


class TestMemory(SaveStateContract):
    """Memory keeps the contract, as far as its object lives."""

    lasts = False

    def make(self, folder: Path) -> SaveState:
        return InMemorySaveState()


class TestSealed(SaveStateContract):
    """A sealed save state keeps the contract, too."""

    def make(self, folder: Path) -> SaveState:
        return seal(SqliteSaveState(folder / "database"))


class TestVirtual(SaveStateContract):
    """The save state of the simulated worlds keeps the contract."""

    disks: dict[Path, VirtualDisk] = {}  # noqa: RUF012  # one for all tests, by folder

    def make(self, folder: Path) -> SaveState:
        return VirtualSaveState(self.disks.setdefault(folder, VirtualDisk()))


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
