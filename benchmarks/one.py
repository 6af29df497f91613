"""Run one workload for one library in this process and print its result as one line of JSON.

`python -m benchmarks.one W1 loro` prints `{"value": 1.9, "unit": "µs", "extra": {...}}`, or
`{"not_yet": reason}`, or `{"unable": reason}`. Anything else that goes wrong is a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.catalogue import MODULES, TITLES
from benchmarks.measure import LIBRARIES, OTHERS, Circumstances, NotYet, Unable, find_workload

__all__ = ["main", "run_one"]


def is_installed(library: str) -> bool:
    """Tell whether a library is there; another package also went by automerge's name."""
    modules = {"automerge": "automerge.core", "pycrdt-websocket": "pycrdt.websocket"}
    module = modules.get(library, library)
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run_one(
    name: str, library: str, scale: float = 1.0, shape: int = 1, shared: Path | None = None
) -> dict[str, Any]:
    """Run one side of a workload here and return what `main` prints."""
    if not is_installed(library):
        return {"unable": "not installed"}
    importlib.import_module(f"benchmarks.{MODULES[name]}")
    function = find_workload(name, library)
    if function is None:
        raise ValueError(f"{library} has no side of {name}; those who have: see catalogue.py")
    with tempfile.TemporaryDirectory(prefix="cytosol-bench-") as directory:
        own = Path(directory)
        try:
            measured = function(Circumstances(scale, shape, own, shared or own))
        except NotYet as reason:
            return {"not_yet": str(reason)}
        except Unable as reason:
            return {"unable": str(reason)}
    if name == "growth":
        return {"value": 0.0, "unit": "µs", "extra": measured}
    return {"value": measured.pop(name), "unit": TITLES[name].unit, "extra": measured}


def main() -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one", description=__doc__)
    parser.add_argument("workload", choices=list(MODULES))
    parser.add_argument("library", choices=(*LIBRARIES, *OTHERS))
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--shape", type=int, choices=(1, 2), default=1)
    parser.add_argument("--shared", type=Path, help="a directory for inputs built once a run")
    chosen = parser.parse_args()
    result = run_one(chosen.workload, chosen.library, chosen.scale, chosen.shape, chosen.shared)
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
