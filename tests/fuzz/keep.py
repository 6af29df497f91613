"""Keep the inputs that reach what no kept input reached: `python -m tests.fuzz.keep --seed 7`.

An input is worth keeping if the code takes a step from one line to another that it took for no
input kept before. Run it after a format or a parser has changed; what is kept is tried by every
later run, before anything random. Inputs that the parsers no longer tell apart are dropped.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cytosol
from tests.fuzz.plan import SHARES
from tests.fuzz.target import BLOCK, TARGETS, Target, keep_inputs, kept_inputs, watched, written

SOURCE = str(Path(cytosol.__file__).parent)
LENGTH_MAX = 12_000  # of one kept input, as it is written

Step = tuple[str, int, int]


def steps_of(attempt: Callable[[Any], None], data: Any) -> set[Step]:
    """Return the steps from line to line that our code takes for an input."""
    steps: set[Step] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(SOURCE):
            return None
        before = 0

        def follow(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                steps.add((file, before, frame.f_lineno))
                before = frame.f_lineno
            return follow

        return follow

    sys.settrace(enter)
    try:
        attempt(data)
    finally:
        sys.settrace(None)
    return steps


def grow(name: str, made: Target, seed: int, count: int) -> tuple[list[Any], int]:
    """Return what is to be kept, of what was kept before and of new inputs, and its steps."""
    rng = random.Random(f"{seed}/{name}")
    kept: list[Any] = []
    reached: set[Step] = set()

    def consider(data: Any) -> None:
        if len(written(data)) > LENGTH_MAX:
            return
        with watched():
            steps = steps_of(made.attempt, data)
        if not steps <= reached:
            reached.update(steps)
            kept.append(data)

    for data in kept_inputs(name):
        consider(data)
    for _ in range(count):
        consider(made.make(rng, rng.choice(made.corpus)))
    return kept, len(reached)


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.keep", description=__doc__)
    parser.add_argument("--count", type=int, default=4 * BLOCK, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    options = parser.parse_args()
    assert TARGETS.keys() == SHARES.keys(), "every target has its share"
    for name in sorted(TARGETS) if options.target is None else [options.target]:
        kept, steps = grow(name, TARGETS[name](), options.seed, options.count)
        keep_inputs(name, kept)
        print(f"{name}: {len(kept)} inputs, which reach {steps:,} steps", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
