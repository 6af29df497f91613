"""Fuzz for as long as one likes: `python -m tests.fuzz.run --count 1000000000 --seed 7`.

Prints the seed, what each target got, and for a finding the line that replays it. Kept inputs are
tried first. Uses all processors; the exit code is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.fuzz.plan import blocks_of
from tests.fuzz.target import BLOCK, TARGETS, Finding, run_block, run_kept

JOB_BLOCKS = 20  # of one target, in one go of a worker


def run_job(name: str, seed: int, first: int, blocks: int) -> tuple[str, int, str | None]:
    """Run some blocks in a worker; return the target, the count, and a finding."""
    made = TARGETS[name]()
    count = 0
    for block in range(first, first + blocks):
        try:
            count += run_block(name, made, seed, block)
        except Finding as finding:
            return name, count, str(finding)
    return name, count, None


def jobs(names: list[str], total: int, seed: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield what there is to do."""
    for name in names:
        blocks = blocks_of(name, total) if len(names) > 1 else -(-total // BLOCK)
        for first in range(0, blocks, JOB_BLOCKS):
            yield name, seed, first, min(JOB_BLOCKS, blocks - first)


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, help="a number; any, if none is given")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--block", type=int, help="replay this block of the target")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    names = sorted(TARGETS) if options.target is None else [options.target]
    if options.block is not None:
        (name,) = names
        _, count, finding = run_job(name, seed, options.block, 1)
        print(
            finding or f"{name}: block {options.block} of seed {seed}: {count} inputs, no finding"
        )
        return 1 if finding else 0
    print(f"seed {seed}, {options.count:,} inputs", flush=True)
    kept = sum(run_kept(name, TARGETS[name]()) for name in names)
    start, counts, findings = time.monotonic(), dict.fromkeys(names, 0), []
    with ProcessPoolExecutor(options.workers) as pool:
        waiting = [pool.submit(run_job, *job) for job in jobs(names, options.count, seed)]
        for future in as_completed(waiting):
            name, count, finding = future.result()
            counts[name] += count
            if finding is not None:
                findings.append(finding)
                print(finding, flush=True)
    for name in names:
        print(f"{counts[name]:>13,}  {name}")
    print(
        f"{sum(counts.values()):>13,}  in all, and {kept} kept ones, in "
        f"{time.monotonic() - start:.0f} s: {len(findings)} findings"
    )
    print(f"replay: python -m tests.fuzz.run --count {options.count} --seed {seed}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
