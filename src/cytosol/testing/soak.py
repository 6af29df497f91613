"""Run many worlds: `python -m cytosol.testing.soak --seeds 1000 --hours 1000 [--seed 0]`.

Prints a line for each world, and the command that replays one that fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from cytosol.testing.chaos import CLIMATES, NAMED, OPEN, Outcome, replay_command, run_world
from cytosol.testing.files import FILE_KINDS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run worlds as the arguments say; returns how many failed, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m cytosol.testing.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default: 100)")
    parser.add_argument(
        "--hours", type=float, default=None, help="simulated hours of all together (default: seeds)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="tell of failures and sums only")
    names = [climate.name for climate in (*CLIMATES, *NAMED, *OPEN)]
    parser.add_argument("--climate", choices=names, help="the faults (default: all in turn)")
    files = ("virtual", *FILE_KINDS)
    parser.add_argument("--files", choices=files, help="default: real ones in every fifth world")
    chosen = parser.parse_args(arguments)
    seeds: int = max(1, chosen.seeds)
    hours = (seeds if chosen.hours is None else chosen.hours) / seeds
    outcomes: list[Outcome] = []
    failed = 0
    started = time.process_time()
    for seed in range(chosen.seed, chosen.seed + seeds):
        try:
            outcome = run_world(seed, hours, chosen.climate, chosen.files)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
            continue
        outcomes.append(outcome)
        if not chosen.quiet:
            print(_line(outcome), flush=True)
    _tell_sums(outcomes, failed, time.process_time() - started)
    if failed:
        command = replay_command(chosen.seed, hours, chosen.climate, chosen.files)
        print(f"replay one: {command} (with its seed)")
    return min(failed, 100)


def _line(outcome: Outcome) -> str:
    faults = ", ".join(f"{count} {name}" for name, count in sorted(outcome.faults.items()))
    files = "" if outcome.files is None else f", {outcome.files} files"
    return (
        f"seed {outcome.seed} ({outcome.climate}{files}): {outcome.devices} devices, "
        f"{outcome.hours:.2f} h, {outcome.writes} writes, {outcome.events} events, "
        f"settled in {outcome.settled_s:.1f} s and {outcome.rounds} rounds, "
        f"fingerprint {outcome.fingerprint:08x}; {faults}"
    )


def _tell_sums(outcomes: list[Outcome], failed: int, cpu_s: float) -> None:
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        faults += outcome.faults
    print(
        f"{len(outcomes)} worlds held, {failed} failed; "
        f"{sum(each.hours for each in outcomes):.1f} simulated hours, "
        f"{sum(each.writes for each in outcomes)} writes noted, "
        f"{sum(each.events for each in outcomes)} events, {faults.total()} faults, "
        f"slowest settling {max((each.settled_s for each in outcomes), default=0.0):.1f} s, "
        f"most rounds {max((each.rounds for each in outcomes), default=0)}; "
        f"{sum(each.joins for each in outcomes)} joins compared, "
        f"{sum(each.files is not None for each in outcomes)} worlds with real files; "
        f"{cpu_s:.0f} s of CPU"
    )


if __name__ == "__main__":
    sys.exit(main())
