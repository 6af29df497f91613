"""W12: how much the process grows by 100k keys, and by 100k ops on 100 keys.

As the operating system counts it (resident set), each in a fresh process, after the library was
imported and an empty document was there. Keys are made on the way: whoever keeps the caller's
strings pays for them here.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, load, workload

OPS = 100_000
FEW_KEYS = 100


def growth_mb(work: Callable[[], object]) -> float:
    """Return by how many megabytes the process is larger after the work."""
    process = load("psutil").Process()
    gc.collect()
    before = process.memory_info().rss
    work()
    gc.collect()
    return float(process.memory_info().rss - before) / 1e6


def both_figures(library: str, run: Circumstances) -> Measured:
    """Run the two halves, each in a process of its own: freed memory would hide the second."""
    figures = []
    for keys in (run.count(OPS), min(FEW_KEYS, run.count(OPS))):
        command = [sys.executable, "-m", "benchmarks.memory", library]
        command += [str(run.count(OPS)), str(keys), str(run.shape)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        figures.append(float(answer.stdout.split()[-1]))
    return {"W12": figures[0], "W12.keys": figures[1]}


def value_of(i: int, shape: int) -> Any:
    """Return the value of op `i`."""
    return i if shape == 1 else f"the value {i}"


def _cytosol(count: int, keys: int, shape: int) -> float:
    database = ours.open_memory()
    dispatch = database.dispatch
    prefix = ours.PREFIX

    def work() -> None:
        for i in range(count):
            path = f"{prefix}.k_{i % keys}"
            dispatch({"action": "Set", "path": path, "payload": value_of(i, shape)})

    return growth_mb(work)


def _loro(count: int, keys: int, shape: int) -> float:
    doc, target = peers.loro_document()

    def work() -> None:
        for i in range(count):
            target.insert(f"k_{i % keys}", value_of(i, shape))
        doc.commit()

    return growth_mb(work)


def _pycrdt(count: int, keys: int, shape: int) -> float:
    _doc, target = peers.pycrdt_document()

    def work() -> None:
        for i in range(count):
            target[f"k_{i % keys}"] = value_of(i, shape)

    return growth_mb(work)


def _automerge(count: int, keys: int, shape: int) -> float:
    doc, target = peers.automerge_document()

    def work() -> None:
        for i in range(count):
            peers.automerge_set(doc, target, f"k_{i % keys}", value_of(i, shape))

    return growth_mb(work)


SIDES = {"cytosol": _cytosol, "loro": _loro, "pycrdt": _pycrdt, "automerge": _automerge}


@workload("W12", "cytosol")
def _cytosol_memory(run: Circumstances) -> Measured:
    ours.open_memory().close()  # tells here, and not in a child, what is not there yet
    return both_figures("cytosol", run)


@workload("W12", "loro")
def _loro_memory(run: Circumstances) -> Measured:
    return both_figures("loro", run)


@workload("W12", "pycrdt")
def _pycrdt_memory(run: Circumstances) -> Measured:
    return both_figures("pycrdt", run)


@workload("W12", "automerge")
def _automerge_memory(run: Circumstances) -> Measured:
    return both_figures("automerge", run)


if __name__ == "__main__":
    print(SIDES[sys.argv[1]](*(int(argument) for argument in sys.argv[2:5])))
