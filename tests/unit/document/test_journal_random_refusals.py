"""Random writers against a disk that refuses at random: acknowledged is there, refused is not."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from cytosol.crdt.actions import Set, Transaction
from cytosol.errors import SaveError
from tests.unit.document.faulty_state import FULL, FaultyState
from tests.unit.document.making import OTHER, Background, open_document


class Moody(FaultyState):
    """Refuses every third commit or so, as a seed says."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self.is_moody = False
        self.refused = 0

    def commit(self, *args: Any, **options: Any) -> None:
        """Commit, or refuse."""
        if self.is_moody and self._chance.random() < 0.3:
            self.refused += 1
            raise SaveError(FULL)
        super().commit(*args, **options)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_is_there_and_nothing_else(seed: int) -> None:
    """Many threads, merges or trims between them; memory, file and subscribers agree."""
    state = Moody(seed)
    document = open_document(state, max_history=60 if seed % 2 else -1)
    source = open_document(author=OTHER)
    for number in range(30):
        source.dispatch(Set(f"$.merged{number}", number))
    theirs = [source.replica.log.op(row) for row in range(30)]
    expected: dict[str, Any] = {}
    guard = threading.Lock()
    heard: list[Any] = []
    document.subscribe("$", heard.append, (), False)
    state.is_moody = True

    def write(writer: int) -> None:
        for number in range(60):
            keys = [f"w{writer}n{number % 7}", f"w{writer}last"]
            try:
                document.dispatch(Transaction([Set(f"$.{key}", number) for key in keys]))
            except SaveError:
                continue
            with guard:
                expected.update(dict.fromkeys(keys, number))

    def merge() -> None:
        for number, op in enumerate(theirs):
            while True:
                try:
                    document.merge([op])
                except SaveError:
                    continue
                break
            with guard:
                expected[f"merged{number}"] = number
            document.deliver()

    others = Background()
    for writer in range(4):
        others.start(lambda writer=writer: write(writer))
    if not seed % 2:  # below a trim point nothing can be merged
        others.start(merge)
    assert {None} == set(others.join())
    state.is_moody = False
    assert state.refused > 5
    assert [expected] == document.query("$") == heard[-1]
    document.check()
    document.close()
    again = open_document(state)
    assert [expected] == again.query("$")
    assert document.replica.state_hash() == again.replica.state_hash()
    again.check()
