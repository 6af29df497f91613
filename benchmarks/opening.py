"""W16: opening a file of a million ops, and the memory that this takes at most. Wall time.

The file is made once a run. Each opening happens in a process that does nothing else, so that
its memory is that of the opening; run as a program, this module is that process:
`python -m benchmarks.opening LIBRARY FILE SHAPE COUNT`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.files import FILES
from benchmarks.measure import Circumstances, Measured, observed, wall_s, workload
from benchmarks.resident import Peak
from benchmarks.saving import size_of
from benchmarks.shapes import Writes, different_keys, nests_of, writes_of
from benchmarks.showing import showing

__all__ = ["document_mb", "said_by"]

OPS = 1_000_000
PATIENCE_S = 300


def said_by(module: str, *arguments: object) -> Any:
    """Run a module as a program that does nothing else, and return what it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S
    )
    return json.loads(ended.stdout.splitlines()[-1])


def document_mb(shape: int, count: int) -> float:
    """Return what the document takes as dicts of Python, to compare memory with."""
    return float(said_by("resident", shape, count, different_keys(shape, count)))


def large_file(run: Circumstances, library: str, make: Callable[[Path, Writes], None]) -> Path:
    """Return the file of a library, made now if no round before has made it."""
    path = run.shared / f"large-{run.shape}.{library}"
    if not path.exists():
        # Under another name until it is complete: an interrupted one is not taken for whole.
        unfinished = path.with_name("unfinished-" + path.name)
        make(unfinished, run.writes(OPS))
        for file in unfinished.parent.glob(unfinished.name + "*"):
            file.rename(file.with_name(file.name.removeprefix("unfinished-")))
    return path


def opening_figures(run: Circumstances, library: str, path: Path) -> Measured:
    """Return the rows of W16, from a process of their own."""
    count = run.count(OPS)
    said = said_by("opening", library, path, run.shape, count)
    return {
        "W16": said["took_s"],
        "W16.bytes": size_of(path) / count,
        "W16.peak": said["at_most_mb"],
        "W16.times": said["at_most_mb"] / document_mb(run.shape, count),
    }


def make_ours(path: Path, writes: Writes, shape: int) -> None:
    """Make a file whose ops came from a peer."""
    source = ours.open_memory(shape)
    ours.fill(source, writes, shape)
    database = ours.open_empty(path)
    ours.import_all(database, ours.export_all(source, {}), ours.author_of(source))
    database.close()


def open_ours(path: Path, shape: int, count: int) -> dict[str, float]:
    """Open our file and read one key."""
    (nest,), (key,) = _sixth(shape, count)
    ours.open_memory().close()  # what is imported does not count
    peak = Peak()
    start = wall_s()
    with observed("W16"), showing("opening", lambda: f"{peak.at_most_mb():.0f} MB"):
        database = ours.open_empty(path)
        value = database.get(*nests_of(shape)[nest], key)
    took = wall_s() - start
    assert value is not None
    figures = {"took_s": took, "at_most_mb": peak.at_most_mb(), "still_mb": peak.still_mb()}
    database.close()
    return figures


def open_peers(library: str, path: Path, shape: int, count: int) -> dict[str, float]:
    """Open a peer's file and read one key."""
    file = FILES[library](shape)
    nests, keys = _sixth(shape, count)
    writes = Writes(nests * 6, keys * 6, [None] * 6)
    file.load(
        file.exporter(writes_of(shape, 10))(), writes_of(shape, 10)
    )  # what is imported does not count
    peak = Peak()
    start = wall_s()
    document, value = file.load(path.read_bytes(), writes)
    took = wall_s() - start
    assert value is not None
    figures = {"took_s": took, "at_most_mb": peak.at_most_mb(), "still_mb": peak.still_mb()}
    del document
    return figures


def _sixth(shape: int, count: int) -> tuple[list[int], list[str]]:
    """Return object and key of the sixth write of so many, without making the others."""
    writes = writes_of(shape, 1, first=5, different=different_keys(shape, count))
    return writes.nests, writes.keys


@workload("W16", "cytosol")
def _cytosol_open(run: Circumstances) -> Measured:
    path = large_file(run, "cytosol", lambda path, writes: make_ours(path, writes, run.shape))
    return opening_figures(run, "cytosol", path)


def _peers_open(library: str) -> Callable[[Circumstances], Measured]:
    def side(run: Circumstances) -> Measured:
        def make(path: Path, writes: Writes) -> None:
            path.write_bytes(FILES[library](run.shape).exporter(writes)())

        return opening_figures(run, library, large_file(run, library, make))

    return side


for _library in FILES:
    workload("W16", _library)(_peers_open(_library))


if __name__ == "__main__":
    _library, _path, _shape, _count = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])
    _opened = (
        open_ours(_path, _shape, _count)
        if _library == "cytosol"
        else open_peers(_library, _path, _shape, _count)
    )
    print(json.dumps(_opened))
