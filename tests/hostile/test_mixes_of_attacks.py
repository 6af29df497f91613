"""Three attacks at once, drawn from all that there are: `make check` plays some mixes.

`python -m tests.hostile.test_mixes_of_attacks COUNT SEED` plays as many as one likes, and prints
the seed, what each mix cost, and how to replay it.
"""

from __future__ import annotations

import importlib
import inspect
import random
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.hostile.cases import covered, is_attack
from tests.hostile.real_devices import Field, Figures

CHECK_MIXES = 20
MIX = 3


def attacks() -> list[Callable[[Field], object]]:
    """Return all attacks that leave the devices as they were, by name."""
    found = {test.__name__: test for tests in covered().values() for test in tests}
    return [
        test
        for _, test in sorted(found.items())
        if is_attack(test) and list(inspect.signature(test).parameters) == ["field"]
    ]


def play(field: Field, mix: list[Callable[[Field], object]]) -> Figures:
    """Let attacks run at once; what they expect for themselves may be spoilt by the others."""

    def attack(test: Callable[[Field], object]) -> None:
        # What it expects may be spoilt by others; the ceilings are looked at afterwards.
        with suppress(AssertionError, OSError, KeyError, TypeError):
            test(field)

    with field.under_attack(len(mix)) as figures:
        threads = [threading.Thread(target=attack, args=(test,), daemon=True) for test in mix]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return figures


def draw(seed: int, number: int) -> list[Callable[[Field], object]]:
    """Return the mix with this number."""
    return random.Random(f"{seed}/{number}").sample(attacks(), MIX)


@pytest.mark.long
@pytest.mark.parametrize("number", range(CHECK_MIXES))
def test_three_attacks_at_once(number: int) -> None:
    """Call floods: the ceilings hold for each of three, and the witness keeps syncing."""
    with Field() as field:
        play(field, draw(1, number))


def main(count: int, seed: int) -> None:
    """Play many mixes, on devices that serve until one of them breaks."""
    print(f"seed {seed}, {count} mixes of {MIX}")
    for number in range(count):
        mix = draw(seed, number)
        names = ", ".join(test.__name__.removeprefix("test_") for test in mix)
        try:
            with Field() as field:
                print(f"{number}: {names}: {play(field, mix)}", flush=True)
        except AssertionError as error:
            print(f"{number}: {names}: {error}", flush=True)
    print(f"replay: python -m tests.hostile.test_mixes_of_attacks {count} {seed}")


if __name__ == "__main__":
    module = importlib.import_module("tests.hostile.test_mixes_of_attacks")
    module.main(int(sys.argv[1]), int(sys.argv[2]))
