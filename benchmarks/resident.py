"""What the operating system says about a process's memory: now, and at its greatest."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import load
from benchmarks.shapes import key_at, nests_of, value_at

__all__ = ["Peak", "native_document_mb", "resident_mb"]


def resident_mb() -> float:
    """Return the resident set of this process, in megabytes."""
    return float(load("psutil").Process().memory_info().rss) / 1e6


def greatest_mb() -> float:
    """Return the greatest resident set that this process has had, in megabytes."""
    with contextlib.suppress(OSError):  # not Linux: other systems are asked below
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return float(load("psutil").Process().memory_info().peak_wset) / 1e6
    resource: Any = load("resource")
    greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(greatest) * (1 if sys.platform == "darwin" else 1024) / 1e6


class Peak:
    """By how much the process grows from here: at most, and what is left of it at the end.

    Where the system cannot forget an earlier maximum, an earlier and greater one is what counts.
    """

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the maximum
        self._before = resident_mb()
        self._greatest: float | None = None

    def stop(self) -> None:
        """Look no further: what comes now does not count."""
        self._greatest = self.at_most_mb()

    def at_most_mb(self) -> float:
        """Return by how many megabytes it was larger, at most."""
        return greatest_mb() - self._before if self._greatest is None else self._greatest

    def still_mb(self) -> float:
        """Return by how many megabytes it is larger now."""
        gc.collect()
        return resident_mb() - self._before


def growth_mb(work: Callable[[], object]) -> float:
    """Return by how many megabytes the process is larger after the work, whose result is kept."""
    peak = Peak()
    kept = work()
    grown = peak.still_mb()
    del kept
    return grown


def native_document_mb(shape: int, count: int, different: int) -> float:
    """Return what the document of so many writes takes as dicts, texts and numbers of Python."""

    def build() -> Any:
        root: dict[str, Any] = {}
        levels = []
        for nest in nests_of(shape):
            level = root
            for key in nest:
                level = level.setdefault(key, {})
            levels.append(level)
        for i in range(count):
            nest_number, key = key_at(shape, i, different)
            levels[nest_number][key] = value_at(shape, i)
        return root

    return growth_mb(build)


if __name__ == "__main__":
    print(native_document_mb(*(int(argument) for argument in sys.argv[1:4])))
