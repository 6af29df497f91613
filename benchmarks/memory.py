"""W12: how much the process grows by 100k keys, and by 100k ops on 100 keys.

As the operating system counts it (resident set), each in a fresh process, after the library was
imported and an empty document was there. Keys are made on the way: whoever keeps the caller's
strings pays for them here.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks import ours, peers
from benchmarks.measure import Circumstances, Measured, workload
from benchmarks.resident import growth_mb
from benchmarks.shapes import different_keys, key_at, nests_of, value_at

OPS = 100_000
FEW_KEYS = 100


def both_figures(library: str, run: Circumstances) -> Measured:
    """Run the two halves, each in a process of its own: freed memory would hide the second."""
    figures = []
    count = run.count(OPS)
    many = different_keys(run.shape, count)
    for keys in (many, min(FEW_KEYS, count)):
        command = [sys.executable, "-m", "benchmarks.memory", library]
        command += [str(count), str(keys), str(run.shape)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures.append(float(answer.stdout.split()[-1]))
    return {"W12": figures[0], "W12.keys": figures[1]}


def _cytosol(count: int, keys: int, shape: int) -> float:
    database = ours.open_memory(shape)
    dispatch = database.dispatch
    prefixes = [ours.path_of(nest) for nest in nests_of(shape)]

    def work() -> None:
        for i in range(count):
            nest, key = key_at(shape, i, keys)
            path = prefixes[nest] + ours.path_of([key])[1:]
            dispatch({"action": "Set", "path": path, "payload": value_at(shape, i)})

    return growth_mb(work)


def _loro(count: int, keys: int, shape: int) -> float:
    doc, maps = peers.loro_document(shape)

    def work() -> None:
        for i in range(count):
            nest, key = key_at(shape, i, keys)
            maps[nest].insert(key, value_at(shape, i))
        doc.commit()

    return growth_mb(work)


def _pycrdt(count: int, keys: int, shape: int) -> float:
    _doc, maps = peers.pycrdt_document(shape)

    def work() -> None:
        for i in range(count):
            nest, key = key_at(shape, i, keys)
            maps[nest][key] = value_at(shape, i)

    return growth_mb(work)


def _automerge(count: int, keys: int, shape: int) -> float:
    doc, maps = peers.automerge_document(shape)

    def work() -> None:
        for i in range(count):
            nest, key = key_at(shape, i, keys)
            peers.automerge_set(doc, maps[nest], key, value_at(shape, i))

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
