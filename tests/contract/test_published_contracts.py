"""The contracts that authors of plugins run, held against what Cytosol ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cytosol import InMemorySaveState, SaveState
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
