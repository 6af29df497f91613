"""The benchmarks run, at a tiny size; how long anything takes is asserted nowhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.catalogue import MODULES, ROWS, TITLES, rows_of
from benchmarks.one import run_one
from benchmarks.report import Results, main_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("workload", ["W1", "W4"])
def test_our_side_of_a_workload_yields_rows_of_the_catalogue(workload: str) -> None:
    """A renamed method or a row that no table shows breaks here, not in the next long run."""
    answer = run_one(workload, "cytosol", scale=0.0002)
    assert TITLES[workload].unit == answer["unit"]
    assert {workload, *answer["extra"]} <= {row.key for row in rows_of(workload)}


def test_every_row_of_the_catalogue_belongs_to_a_workload() -> None:
    """No row can stand in the catalogue that no workload could fill."""
    assert {row.workload for row in ROWS} == {name for name in MODULES if name != "growth"}


def test_the_ratio_is_that_to_the_best_peer() -> None:
    """The smallest figure is the best one, whichever library it belongs to."""
    results = Results()
    for library, value in (("cytosol", 3.0), ("loro", 4.0), ("pycrdt", 2.0)):
        results.add("W2", library, {"value": value, "unit": "µs", "extra": {}})
    results.add("W2", "automerge", {"unable": "crashes"})
    table = main_table(results, ["W2"])
    assert "| 3.00 | 4.00 | 2.00 | no | **1.50** |" in table
    assert "* W2, automerge: crashes." in table


def test_peers_are_imported_only_in_processes_that_run_them() -> None:
    """Their extra is optional, so no module of the benchmarks imports one at its top."""
    peers = {"loro", "pycrdt", "automerge", "websockets", "uvloop"}
    for module in BENCHMARKS.glob("*.py"):
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {node.module or ""}
            assert not {name.partition(".")[0] for name in names} & peers, module.name
