"""Run workloads for every library, each in a fresh process, and write a table and plots.

`python -m benchmarks` runs all of them; `python -m benchmarks W1 W5 --rounds 5` some. The
libraries take turns within each round, so that whatever else the machine does hits them alike; a
figure is the median of the rounds. Peers that are not installed are left out.
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

from benchmarks.catalogue import MODULES, takes_part
from benchmarks.chart import growth_chart, ratio_chart
from benchmarks.machine import describe_machine
from benchmarks.measure import LIBRARIES, OTHERS
from benchmarks.report import Results, growth_table, main_table, missing_rows
from benchmarks.shapes import SHAPES

__all__ = ["main", "publish"]

QUICK_SCALE = 0.1
OTHER_SHAPE = 0.2
"""Shape 2 has a fifth of the size: its ratios are compared with those of shape 1, no figures."""
PATIENCE_S = 600
MINUTES = 17.0
"""After this long no further workload begins, so that all is done within 20 minutes."""
ONCE = frozenset({"growth", "W19"})
"""Measured in the first round only: they take long, and growth takes the best of several."""
ALL = (*LIBRARIES, *OTHERS)
REPORT = Path("build") / "bench"
DOCS = Path(__file__).parents[1] / "docs"
MARKERS = ("<!-- figures: written by `make bench PUBLISH=yes` -->", "<!-- end of figures -->")


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
    shapes: Sequence[int]
    minutes: float = MINUTES
    results: dict[int, Results] = field(default_factory=lambda: {n: Results() for n in SHAPES})
    failed: list[str] = field(default_factory=list)
    done: int = 0
    start: float = field(default_factory=time.monotonic)

    def everything(self, shared: Path) -> None:
        """Do all rounds; another library begins in each of them."""
        for turn in range(self.rounds):
            first = turn % len(ALL)
            for shape in self.shapes:
                for workload in self.workloads:
                    if turn and self.is_late:
                        print("the time is up: some rows have a round less", file=sys.stderr)
                        return
                    if self._is_due(workload, turn, shape):
                        self._take_turns(workload, ALL[first:] + ALL[:first], shape, shared)
            self.done += 1

    def _is_due(self, workload: str, turn: int, shape: int) -> bool:
        if workload == "growth" and shape != self.shapes[0]:
            return False  # it has one shape
        return turn == 0 or workload not in ONCE

    @property
    def is_late(self) -> bool:
        """Tell whether the time for the run is up; the first round is always done whole."""
        return time.monotonic() - self.start > self.minutes * 60

    def scale_of(self, shape: int) -> float:
        """Return the scale of a shape: shape 2 is smaller when both run."""
        return self.scale * (OTHER_SHAPE if shape != self.shapes[0] else 1.0)

    def _take_turns(
        self, workload: str, libraries: Sequence[str], shape: int, shared: Path
    ) -> None:
        results = self.results[shape]
        for library in libraries:
            if not takes_part(library, workload) or (workload, library) in results.reasons:
                continue  # it will not be able to in another round
            start = time.monotonic()
            answer = run_in_process(workload, library, self.scale_of(shape), shape, shared)
            took = time.monotonic() - start
            if "failed" in answer:
                why = str(answer["failed"])
                self.failed.append(f"{workload} of {library}, shape {shape}")
                print(f"{self.failed[-1]}, failed:\n{why}", file=sys.stderr, flush=True)
                answer = {"unable": "failed: " + ", ".join(why.splitlines()[-2:])}
            results.add(workload, library, answer)
            place = f"{self.done + 1}/{self.rounds} shape {shape}"
            print(f"{place} {workload} {library}: {took:.1f} s", file=sys.stderr, flush=True)
            unknown = [] if workload == "growth" else missing_rows(results, workload, library)
            assert not unknown, f"the catalogue lacks {unknown}"


def head_of(run: Run, machine: str) -> str:
    """Return the paragraph above the table: the machine, and how often and how long it ran."""
    minutes = (time.monotonic() - run.start) / 60
    size = "full size" if run.scale == 1 else f"{run.scale:g} of the full size"
    both = ", shape 2 at a fifth of it" if len(run.shapes) > 1 else f", shape {run.shapes[0]}"
    return (
        f"{machine} Medians of {run.done} whole rounds of {run.rounds}, {size}{both}, "
        f"{minutes:.0f} min."
    )


def tables_of(run: Run, head: str) -> str:
    """Return everything that is written as Markdown."""
    results, other = run.results[run.shapes[0]], run.results[run.shapes[-1]]
    has_other = len(run.shapes) > 1
    parts = [head, "", main_table(results, run.workloads, other if has_other else None)]
    growth = growth_table(results)
    if growth:
        parts.append(growth)
    if has_other:
        parts += ["The figures of shape 2:", "", main_table(other, run.workloads)]
    return "\n".join(parts)


def write_report(run: Run, text: str, directory: Path) -> None:
    """Write the table, the plots and all figures into a directory."""
    results, other = run.results[run.shapes[0]], run.results[run.shapes[-1]]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(text, encoding="utf-8")
    chart = ratio_chart(results, run.workloads, other)
    (directory / "performance.svg").write_text(chart, encoding="utf-8")
    (directory / "growth.svg").write_text(growth_chart(results), encoding="utf-8")
    figures = {str(shape): run.results[shape].to_json() for shape in run.shapes}
    written = json.dumps(figures, ensure_ascii=False, indent=1)
    (directory / "results.json").write_text(written, encoding="utf-8")


def publish(report: Path, docs: Path = DOCS) -> None:
    """Put the table and the plots of a report into the documentation."""
    page = docs / "performance.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    table = (report / "table.md").read_text(encoding="utf-8")
    text = f"{before}{MARKERS[0]}\n{table}{MARKERS[1]}{after}"
    page.write_text(text, encoding="utf-8")
    for name in ("performance.svg", "growth.svg"):
        (docs / name).write_bytes((report / name).read_bytes())


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="W1", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, one round")
    parser.add_argument("--shape", type=int, choices=SHAPES, help="one shape of the data only")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin no round later")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default: {REPORT}")
    parser.add_argument("--publish", action="store_true", help="also put it into docs/")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.workloads if name not in MODULES]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MODULES)}")
    if chosen.publish and (chosen.workloads or chosen.shape or chosen.quick):
        parser.error("only a whole run is published: leave out the other arguments")
    if chosen.quick:
        chosen.rounds, chosen.scale = 1, QUICK_SCALE
    return chosen


def main() -> int:
    """Read the arguments, run, print and write; 1 if any workload failed."""
    chosen = parse_arguments()
    machine = describe_machine()
    shapes = SHAPES if chosen.shape is None else (chosen.shape,)
    workloads = chosen.workloads or list(MODULES)
    run = Run(workloads, chosen.rounds, chosen.scale, shapes, chosen.minutes)
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="cytosol-bench-") as shared:
        try:
            run.everything(Path(shared))
        except KeyboardInterrupt:
            interrupted = True
            print("interrupted: the table shows what there is", file=sys.stderr)
    text = tables_of(run, head_of(run, machine))
    print(text)
    write_report(run, text, chosen.report)
    print(f"The table and the plots are in {chosen.report}.", file=sys.stderr)
    if run.failed:
        print(f"Failed: {'; '.join(run.failed)}. Why is said above.", file=sys.stderr)
    if run.failed or interrupted:
        return 1
    if chosen.publish:
        publish(chosen.report)
        print(f"They are in {DOCS}, too.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
