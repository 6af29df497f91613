"""Real documents that trim, restart, are restored and meet again: all become equal.

Replay one: `python -m tests.simulation.test_documents_adopt SEED STEPS DEVICES KINDS`.
"""

from __future__ import annotations

import sys

import pytest

from cytosol.crdt.actions import Add, Delete, Set
from tests.simulation.document_world import DocumentWorld, random_step


def run_world(seed: int, steps: int, devices: int, kinds: str) -> DocumentWorld:
    """Let random things happen, connect everybody and wait; the caller checks."""
    world = DocumentWorld(devices, seed)
    backups: dict[int, object] = {}
    for _ in range(steps):
        random_step(world, backups, kinds)  # type: ignore[arg-type]  # filled by it alone
    world.settle_all()
    return world


@pytest.mark.parametrize("kinds", ["", "r", "t", "tr"])
@pytest.mark.parametrize("seed", range(6))
def test_documents_become_equal_and_nothing_acknowledged_is_lost(seed: int, kinds: str) -> None:
    """Devices used before they met, restarted, trimmed while others were away."""
    run_world(seed, 80, 3, kinds).check()


@pytest.mark.long
@pytest.mark.parametrize("kinds", ["", "r", "t", "tr"])
@pytest.mark.parametrize("seed", range(200, 230))
def test_four_documents_become_equal_and_nothing_is_lost(seed: int, kinds: str) -> None:
    """The same with one device more."""
    run_world(seed, 100, 4, kinds).check()


@pytest.mark.parametrize(
    ("seed", "kinds"), [(152, "t"), (152, "tr"), (606, "t"), (740, "tr"), (776, "tr")]
)
def test_worlds_that_once_lost_something_or_ended_unequal(seed: int, kinds: str) -> None:
    """Adoptions crossed; bases told names, or dates of what was deleted, apart differently."""
    run_world(seed, 120, 4, kinds).check()


@pytest.mark.parametrize("kinds", ["rb", "trb"])
@pytest.mark.parametrize("seed", range(8))
def test_documents_become_equal_after_backups_were_put_back(seed: int, kinds: str) -> None:
    """Two contents under one id are told apart, and in the end all hold the same."""
    run_world(seed, 80, 3, kinds).check(ledger=False)


def test_failures_that_were_trimmed_outlive_an_adoption_and_a_restart() -> None:
    """The winner's base does not know them, so they are kept beside it."""
    world = DocumentWorld(3)
    laptop, winner, phone = world.devices
    laptop.dispatch(Set("$.number", 1))
    laptop.pair(phone)
    phone.pair(laptop)
    world.connect(0, 2)
    world.settle()
    world.disconnect(0, 2)
    laptop.dispatch(Delete("$.number"))
    for _ in range(3):
        phone.dispatch(Add("$.number", 1))
    world.connect(0, 2)
    world.settle()
    failures = laptop.document.history.failures()
    assert [failure["payload"] for failure in failures] == [1, 1, 1]  # type: ignore[union-attr, index, call-overload]  # JSON
    world.disconnect(0, 2)
    laptop.trim(100)
    assert len(laptop.document.replica.log) == 0
    for _ in range(50):
        winner.write()
    winner.trim(100)
    laptop.pair(winner)
    winner.pair(laptop)
    world.connect(0, 1)
    world.settle()
    assert laptop.document.replica.trim == winner.document.replica.trim, "the laptop has adopted"
    assert laptop.document.history.failures() == failures
    laptop.restart()
    assert laptop.document.history.failures() == failures


if __name__ == "__main__":
    run_world(*map(int, sys.argv[1:4]), "".join(sys.argv[4:])).check()  # type: ignore[arg-type]  # kinds
    print("equal, and nothing lost")
