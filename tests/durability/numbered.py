"""The command line of a suite of numbered cases, each replayed by its number and the seed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tests.durability.shim import scratch

__all__ = ["run_numbered"]


class NumberedSuite(Protocol):
    """What runs the cases."""

    def run(self, first: int, count: int) -> None:
        """Run `count` cases; raises what one of them has shown."""

    def report(self) -> str:
        """Tell in figures what was seen."""


def run_numbered(
    name: str, make: Callable[[str, Path], NumberedSuite], arguments: Sequence[str], *, count: int
) -> int:
    """Run the suite `name` with the seed, the first number and the count of the command line.

    `make` gets the seed and an empty folder; `count` holds where none is given. Returns the exit
    code.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.durability.{name}")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=count)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    with scratch() as folder:
        suite = make(options.seed, folder)
        suite.run(options.first, options.count)
    seconds = time.perf_counter() - start
    title = name.replace("_", " ")
    print(f"{title}, seed {options.seed}: {suite.report()}, {seconds:.0f} s")
    return 0
