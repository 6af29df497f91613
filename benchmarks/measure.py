"""What every workload shares: its circumstances, its clocks and how it is found."""

from __future__ import annotations

import contextlib
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.shapes import Writes, value_at, writes_of

__all__ = [
    "LIBRARIES",
    "OTHERS",
    "Circumstances",
    "Measured",
    "NotYet",
    "Unable",
    "Workload",
    "cpu_s",
    "find_workload",
    "load",
    "median_of",
    "observed",
    "observer",
    "percentile",
    "wall_s",
    "workload",
]

LIBRARIES = ("cytosol", "loro", "pycrdt", "automerge")
"""Ours first, then the live peers in the order of the table's columns."""

OTHERS = ("pycrdt-websocket", "sqlite3")
"""Peers in one or two workloads only, which share a column."""

Measured = dict[str, float]
"""Row of the catalogue -> value in the row's unit."""

cpu_s = time.process_time
"""CPU seconds of this process, all of its threads together."""

wall_s = time.perf_counter
"""Seconds on the wall."""


class NotYet(Exception):
    """The library misses a piece that is planned; the row says so and the run goes on."""


class Unable(Exception):
    """The library cannot do this work, or breaks when it tries; the row says so."""


def load(module: str) -> Any:
    """Import a library that is compared with, untyped: it is an extra, and not all have types."""
    return importlib.import_module(module)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How one workload runs: a scale of 1 is the full size, `directory` is its own and empty.

    `shared` lives for the whole run, so that expensive inputs are built once per library.
    """

    scale: float
    shape: int
    directory: Path
    shared: Path

    def count(self, full: int) -> int:
        """Return how many times to do what is done `full` times at full size."""
        return max(10, round(full * self.scale))

    def writes(
        self, full: int, *, first: int = 0, different: int | None = None, prefix: str = "k_"
    ) -> Writes:
        """Return what to write; see `shapes.writes_of`."""
        count = self.count(full)
        return writes_of(self.shape, count, first=first, different=different, prefix=prefix)

    def values(self, full: int) -> list[Any]:
        """Return values to write where there are no keys, as in a list."""
        return [value_at(self.shape, i) for i in range(self.count(full))]


Workload = Callable[[Circumstances], Measured]

_WORKLOADS: dict[tuple[str, str], Workload] = {}


def workload(name: str, library: str) -> Callable[[Workload], Workload]:
    """Register the function below as this library's side of a workload."""

    def register(function: Workload) -> Workload:
        assert (name, library) not in _WORKLOADS, "each side is written once"
        _WORKLOADS[name, library] = function
        return function

    return register


def find_workload(name: str, library: str) -> Workload | None:
    """Return a registered side of a workload; its module must have been imported."""
    return _WORKLOADS.get((name, library))


def median_of(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which this many per cent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


Observer = Callable[[str], AbstractContextManager[object]]

observer: list[Observer] = []
"""Empty, or who wants to look on while something is measured: the profiler."""


def observed(section: str) -> AbstractContextManager[object]:
    """Return what to measure a section in, which a profiler may look at; else it does nothing."""
    return observer[0](section) if observer else contextlib.nullcontext()
