"""Run workloads for every library, each in a fresh process, and print a table.

`python -m benchmarks.run` runs all of them; `python -m benchmarks.run W1 W5 --rounds 5` some.
The libraries take turns within each round, so that whatever else the machine does hits them
alike; a figure is the median of the rounds. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.catalogue import MODULES
from benchmarks.machine import describe_machine
from benchmarks.measure import LIBRARIES
from benchmarks.report import Results, growth_table, main_table, missing_rows

__all__ = ["main"]

QUICK_SCALE = 0.1
PATIENCE_S = 600
OURS_ONLY = frozenset({"growth"})
"""Measured once and for us alone: it takes the best of several by itself."""


def run_in_process(
    workload: str, library: str, scale: float, shape: int, shared: Path
) -> dict[str, object]:
    """Run one side of a workload in a fresh process; what it printed, or how it failed."""
    command = [sys.executable, "-m", "benchmarks.one", workload, library]
    command += ["--scale", str(scale), "--shape", str(shape), "--shared", str(shared)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {PATIENCE_S} s"}
    if ended.returncode != 0:
        return {"failed": f"{ended.stderr.strip()}\nended with code {ended.returncode}"}
    answer: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return answer


@dataclass(slots=True)
class Run:
    """One run of the table: what was asked for, and what has come of it so far."""

    workloads: Sequence[str]
    rounds: int
    scale: float
    shape: int
    results: Results = field(default_factory=Results)
    failed: bool = False
    done: int = 0

    def everything(self, shared: Path) -> None:
        """Do all rounds; another library begins in each of them."""
        for turn in range(self.rounds):
            first = turn % len(LIBRARIES)
            for workload in self.workloads:
                if workload not in OURS_ONLY:
                    self._take_turns(workload, LIBRARIES[first:] + LIBRARIES[:first], shared)
                elif turn == 0:
                    self._take_turns(workload, LIBRARIES[:1], shared)
            self.done += 1

    def _take_turns(self, workload: str, libraries: Sequence[str], shared: Path) -> None:
        for library in libraries:
            if (workload, library) in self.results.reasons:
                continue  # it will not be able to in another round
            start = time.monotonic()
            answer = run_in_process(workload, library, self.scale, self.shape, shared)
            took = time.monotonic() - start
            print(
                f"{self.done + 1}/{self.rounds} {workload} {library}: {took:.1f} s", file=sys.stderr
            )
            if "failed" in answer:
                why = str(answer["failed"])
                print(f"{workload} {library} failed:\n{why}", file=sys.stderr, flush=True)
                answer = {"unable": "failed: " + ", ".join(why.splitlines()[-2:])}
                self.failed = self.failed or library == LIBRARIES[0]
            self.results.add(workload, library, answer)
            unknown = [] if workload in OURS_ONLY else missing_rows(self.results, workload, library)
            assert not unknown, f"the catalogue lacks {unknown}"


def main() -> int:
    """Read the arguments, run, print the table; 1 if a workload of ours failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="W1", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, one round")
    parser.add_argument("--shape", type=int, choices=(1, 2), default=1, help="shape of the data")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.workloads if name not in MODULES]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MODULES)}")
    workloads = chosen.workloads or list(MODULES)
    rounds, scale = (1, QUICK_SCALE) if chosen.quick else (chosen.rounds, 1.0)
    machine = describe_machine()
    start = time.monotonic()
    run = Run(workloads, rounds, scale, chosen.shape)
    with tempfile.TemporaryDirectory(prefix="cytosol-bench-") as shared:
        try:
            run.everything(Path(shared))
        except KeyboardInterrupt:
            print("interrupted: the table shows what there is", file=sys.stderr)
            run.failed = True
    minutes = (time.monotonic() - start) / 60
    size = "a tenth of the size" if chosen.quick else "full size"
    head = f"{machine} Medians of {run.done} whole rounds of {rounds}, shape {chosen.shape}, "
    head += f"{size}, {minutes:.0f} min."
    tables = [main_table(run.results, workloads), growth_table(run.results)]
    text = "\n".join([head, "", *(table for table in tables if table)])
    print(text)
    if chosen.markdown is not None:
        chosen.markdown.write_text(text, encoding="utf-8")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
