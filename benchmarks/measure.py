"""What every workload shares: its circumstances, its clocks and how it is found."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "LIBRARIES",
    "Circumstances",
    "Measured",
    "NotYet",
    "Unable",
    "Workload",
    "cpu_s",
    "find_workload",
    "load",
    "median_of",
    "percentile",
    "wall_s",
    "workload",
]

LIBRARIES = ("cytosol", "loro", "pycrdt", "automerge")
"""Ours first, then the live peers in the order of the table's columns."""

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

    def keys(self, full: int, prefix: str = "k_") -> list[str]:
        """Return the keys to write: all different, or in shape 2 a thousand again and again."""
        count = self.count(full)
        if self.shape == 1:
            return [f"{prefix}{i}" for i in range(count)]
        return [f"{prefix}{i % 1000}" for i in range(count)]

    def values(self, full: int) -> list[int] | list[str]:
        """Return the values to write: integers, or in shape 2 short strings."""
        count = self.count(full)
        if self.shape == 1:
            return list(range(count))
        return [f"the value {i}" for i in range(count)]


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
