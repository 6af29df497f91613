"""The benchmarks run, at a tiny size; how long anything takes is asserted nowhere."""

from __future__ import annotations

import ast
import cProfile
import importlib
import json
import math
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth
from benchmarks import run as runner
from benchmarks.catalogue import MODULES, ROWS, TITLES, rows_of, takes_part
from benchmarks.chart import growth_chart, ratio_chart
from benchmarks.growth import LINES
from benchmarks.measure import LIBRARIES, OTHERS, find_workload
from benchmarks.one import is_installed, run_one
from benchmarks.profile import MARKERS as PROFILE_MARKERS
from benchmarks.profile import PAGE, Profile, is_waiting, layer_of, place_of, profiled, table
from benchmarks.profile import publish as publish_profiles
from benchmarks.report import Results, growth_table, main_table, ratio_of
from benchmarks.run import MARKERS, Run, publish, tables_of, write_report
from benchmarks.shapes import SHAPES, key_at, nests_of, value_at, writes_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = 0.0005  # 50 ops where there are 100,000
TWO_PROCESSES = ("W12", "W13", "W14", "W16", "W18", "W19")
SIDES = [
    pytest.param(workload, library, marks=[pytest.mark.long] * (workload in TWO_PROCESSES))
    for workload in MODULES
    for library in (*LIBRARIES, *OTHERS)
    if takes_part(library, workload) and workload != "growth"
]


def answer_of(value: float, **extra: float) -> dict[str, Any]:
    return {"value": value, "unit": "µs", "extra": extra}


@pytest.fixture
def results() -> Results:
    """What four processes might have said of W2."""
    made = Results()
    for library, value in (("cytosol", 3.0), ("loro", 4.0), ("pycrdt", 2.0)):
        made.add("W2", library, answer_of(value))
    made.add("W2", "automerge", {"unable": "crashes"})
    return made


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("workload", "library"), SIDES)
def test_each_side_of_a_workload_yields_rows_of_the_catalogue(
    workload: str, library: str, shape: int
) -> None:
    """A renamed method or a row that no table shows breaks here, not in the next long run."""
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    answer = run_one(workload, library, TINY, shape)
    if "unable" in answer:
        assert library != LIBRARIES[0], answer
        return
    assert TITLES[workload].unit == answer["unit"]
    assert {workload, *answer["extra"]} <= {row.key for row in rows_of(workload)}
    assert all(math.isfinite(value) for value in (answer["value"], *answer["extra"].values()))


def test_every_line_of_growth_has_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """No operation is left out of the curves."""
    monkeypatch.setattr(growth, "SIZES", (20, 40))
    monkeypatch.setattr(growth, "PROBE", 5)
    measured = run_one("growth", "cytosol")["extra"]
    assert {f"{line}.{size}" for line in LINES for size in (20, 40)} == set(measured)


def test_every_row_of_the_catalogue_belongs_to_a_workload() -> None:
    """No row can stand in the catalogue that no workload could fill."""
    assert {row.workload for row in ROWS} == {name for name in MODULES if name != "growth"}


def test_a_library_is_asked_only_for_what_it_has() -> None:
    """Each side that takes part is written, and no other one is."""
    for workload in MODULES:
        importlib.import_module(f"benchmarks.{MODULES[workload]}")
        for library in (*LIBRARIES, *OTHERS):
            written = find_workload(workload, library) is not None
            assert written == takes_part(library, workload), (workload, library)


# --- The data ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_process_writes_the_same(shape: int) -> None:
    """A write is a function of its number: later ones do not depend on where one begins."""
    writes = writes_of(shape, 200, different=100)
    later = writes_of(shape, 50, first=150, different=100)
    assert (writes.keys[150:], writes.values[150:]) == (later.keys, later.values)
    assert (writes.nests[7], writes.keys[7]) == key_at(shape, 7, 100)
    assert writes.values[7] == value_at(shape, 7)


def test_the_second_shape_is_unlike_the_first() -> None:
    """Keys of several lengths in every object, some of them again; values of four types."""
    writes = writes_of(2, 2000)
    assert set(range(len(nests_of(2)))) == set(writes.nests)
    places = set(zip(writes.nests, writes.keys, strict=True))
    assert 500 < len(places) < 1200
    assert {int, float, bool, str} == set(map(type, writes.values))
    assert len({len(key) for key in writes.keys}) > 3
    assert any(not key.isidentifier() for key in writes.keys)


# --- Tables -----------------------------------------------------------------------------


def test_the_ratio_is_that_to_the_best_peer(results: Results) -> None:
    """The smallest figure is the best one, whichever library it belongs to."""
    text = main_table(results, ["W2"])
    assert "| 3.00 | 4.00 | 2.00 | no |  | **1.50** |" in text
    assert "* W2, automerge: crashes." in text


def test_a_peer_of_one_workload_counts_as_a_peer() -> None:
    """It stands in the column that such peers share, and the ratio is to it if it is the best."""
    results = Results()
    results.add("W15", "cytosol", answer_of(3.0))
    results.add("W15", "loro", answer_of(2.0))
    results.add("W15", "sqlite3", answer_of(1.5))
    assert 2.0 == ratio_of(results, TITLES["W15"])
    assert "| sqlite3 1.50 | **2.00** |" in main_table(results, ["W15"])


def test_a_figure_is_the_median_of_the_rounds() -> None:
    """One slow round changes nothing."""
    results = Results()
    for value in (1.0, 90.0, 2.0):
        results.add("W1", "cytosol", answer_of(value))
    assert 2.0 == results.figure("W1", "cytosol")


def test_a_row_without_peers_is_compared_with_the_one_above_it() -> None:
    """The state hash is ours only: that row's ratio is to the peers of the row without it."""
    results = Results()
    results.add("W5", "cytosol", answer_of(4.0, **{"W5.hash": 6.0}))
    results.add("W5", "loro", answer_of(2.0))
    assert 3.0 == ratio_of(results, TITLES["W5.hash"])


def test_the_other_shape_has_a_column_and_a_table(results: Results) -> None:
    """Its ratios stand beside those of shape 1, its figures below."""
    other = Results()
    other.add("W2", "cytosol", answer_of(9.0))
    other.add("W2", "loro", answer_of(3.0))
    run = Run(["W2"], 1, 1.0, SHAPES, results={1: results, 2: other})
    text = tables_of(run, "A machine.")
    assert "| **1.50** | 3.00 | 1 | 0.94 |" in text
    assert "| 9.00 | 3.00 | – | – |  | **3.00** |" in text


def test_results_can_be_read_back(results: Results) -> None:
    """What the report holds as JSON is all that was measured."""
    again = Results.from_json(json.loads(json.dumps(results.to_json())))
    assert again == results


def test_the_growth_table_shows_what_was_not_reached() -> None:
    """A size that would have taken too long is a dash."""
    results = Results()
    results.add("growth", "cytosol", answer_of(0.0, **{"history.1000": 5.0, "history.10000": 6.0}))
    line = f"| {LINES['history']} | 5.00 | 6.00 | – | – |"
    assert line in growth_table(results)


# --- Plots ------------------------------------------------------------------------------


def texts(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def test_the_plot_of_ratios_is_a_picture_with_a_bar_for_each_row(results: Results) -> None:
    """It is well-formed, and names what it shows."""
    results.add("W5", "cytosol", answer_of(1.0))
    results.add("W5", "loro", answer_of(4.0))
    picture = ratio_chart(results, ["W2", "W5"], results)
    shown = texts(picture)
    assert {TITLES["W2"].what, TITLES["W5"].what, "1.50", "0.25"} <= set(shown)
    assert 1 == picture.count('class="ahead" x=')
    assert "prefers-color-scheme: dark" in picture


def test_bars_lie_on_a_logarithmic_axis() -> None:
    """Ten times slower is as far from 1 as ten times faster."""
    results = Results()
    for workload, value in (("W2", 10.0), ("W4", 0.1)):
        results.add(workload, "cytosol", answer_of(value))
        results.add(workload, "loro", answer_of(1.0))
    root = ElementTree.fromstring(ratio_chart(results, ["W2", "W4"], Results()))
    bars = [
        (element.get("class"), float(element.get("x", "")), float(element.get("width", "")))
        for element in root.iter()
        if element.get("class") in ("ahead", "behind") and element.get("x") != "470"
    ]
    (_, right, length), (_, left, other_length) = bars
    assert ["behind", "ahead"] == [kind for kind, _, _ in bars]
    assert math.isclose(length, other_length, abs_tol=0.2)
    assert math.isclose(left + other_length, right, abs_tol=0.2)


def test_the_plot_of_growth_has_a_curve_for_each_line() -> None:
    """A line without figures has none; points lie lower where an op takes less."""
    results = Results()
    extra = {"history.1000": 5.0, "history.10000": 10.0, "keys.1000": 1.0}
    results.add("growth", "cytosol", answer_of(0.0, **extra))
    root = ElementTree.fromstring(growth_chart(results))
    curves = [element for element in root.iter() if element.get("class") == "curve"]
    assert 2 == len(curves)
    (_, first), (_, second) = [
        point.split(",") for point in str(curves[0].get("points")).split(" ")
    ]
    assert float(first) > float(second)


def test_empty_results_make_pictures_too() -> None:
    """Whoever runs one row without a peer gets a picture, if an empty one."""
    assert texts(ratio_chart(Results(), [], Results()))
    assert texts(growth_chart(Results()))


# --- Runs -------------------------------------------------------------------------------


Answers = Callable[[str, str], dict[str, object]]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[tuple[str, str, int]]]:
    """Let runs take answers from a function instead of processes, and note who was asked."""

    def arrange(answers: Answers) -> list[tuple[str, str, int]]:
        asked: list[tuple[str, str, int]] = []

        def answer(
            workload: str, library: str, _scale: float, shape: int, _shared: Path
        ) -> dict[str, object]:
            asked.append((workload, library, shape))
            return answers(workload, library)

        monkeypatch.setattr(runner, "run_in_process", answer)
        return asked

    return arrange


def test_libraries_take_turns_and_another_one_begins(
    in_process: Callable[[Answers], list[tuple[str, str, int]]], tmp_path: Path
) -> None:
    """What else the machine does hits all of them alike."""
    asked = in_process(lambda workload, library: answer_of(1.0))
    Run(["W2"], 2, 1.0, (1,)).everything(tmp_path)
    libraries = [library for _, library, _ in asked]
    assert list(LIBRARIES) == libraries[:4]
    assert ["loro", "pycrdt", "automerge", "cytosol"] == libraries[4:]


def test_each_row_runs_with_both_shapes_and_long_ones_once(
    in_process: Callable[[Answers], list[tuple[str, str, int]]], tmp_path: Path
) -> None:
    """A first sync of a million ops does not run in every round; growth has one shape."""
    asked = in_process(lambda workload, library: answer_of(1.0))
    Run(["W2", "W19", "growth"], 2, 1.0, SHAPES).everything(tmp_path)
    assert 2 == asked.count(("W2", "loro", 1)) == asked.count(("W2", "loro", 2))
    assert 1 == asked.count(("W19", "loro", 1)) == asked.count(("W19", "loro", 2))
    assert [("growth", "cytosol", 1)] == [call for call in asked if call[0] == "growth"]


def test_a_run_that_is_late_begins_no_further_round(
    in_process: Callable[[Answers], list[tuple[str, str, int]]], tmp_path: Path
) -> None:
    """The first round is always whole."""
    asked = in_process(lambda workload, library: answer_of(1.0))
    run = Run(["W2", "W3"], 3, 1.0, (1,), minutes=-1.0)
    run.everything(tmp_path)
    assert (8, 1) == (len(asked), run.done)


@pytest.mark.parametrize("library", ["cytosol", "pycrdt"])
def test_a_row_that_raises_fails_the_run_and_is_named(
    library: str,
    in_process: Callable[[Answers], list[tuple[str, str, int]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever's side it is: a table with a hole is no result."""
    in_process(
        lambda workload, who: {"failed": "Boom"} if who == library else answer_of(1.0),
    )
    arguments = ["benchmarks", "W2", "--rounds", "2", "--shape", "1", "--report", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert 1 == runner.main()
    assert f"Failed: W2 of {library}, shape 1." in capsys.readouterr().err


def test_one_row_runs_in_processes_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `make bench W=W2` does, at a tiny size: a table, plots and all figures."""
    arguments = ["benchmarks", "W2", "--rounds", "1", "--scale", "0.005", "--shape", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--report", str(tmp_path)])
    assert 0 == runner.main()
    assert "| W2 | 10k sets in one transaction, each |" in capsys.readouterr().out
    written = {"table.md", "performance.svg", "growth.svg", "results.json"}
    assert written == {file.name for file in tmp_path.iterdir()}


def test_publishing_replaces_what_stands_between_the_markers(
    results: Results, tmp_path: Path
) -> None:
    """What people have written around the table stays."""
    docs, report = tmp_path / "docs", tmp_path / "report"
    docs.mkdir()
    page = docs / "performance.md"
    page.write_text(f"Before.\n\n{MARKERS[0]}\nold\n{MARKERS[1]}\n\nAfter.\n", encoding="utf-8")
    write_report(Run(["W2"], 1, 1.0, (1,), results={1: results}), "| new |\n", report)
    publish(report, docs)
    expected = f"Before.\n\n{MARKERS[0]}\n| new |\n{MARKERS[1]}\n\nAfter.\n"
    assert expected == page.read_text(encoding="utf-8")
    assert (docs / "growth.svg").read_bytes() == (report / "growth.svg").read_bytes()


def test_the_page_has_the_markers() -> None:
    """Else the next run could not be published."""
    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [1, 1] == [page.count(marker) for marker in MARKERS]


# --- Profiles ---------------------------------------------------------------------------


def test_a_profile_names_functions_of_ours() -> None:
    """Merging is looked at apart from the writing for the peer and from the hash."""
    profiles = profiled("W5", 0.02)
    assert ["W5, writing for the peer", "W5", "W5, the hash"] == [p.section for p in profiles]
    merging = profiles[1]
    assert merging.took_us == sum(took for _, took in merging.by_layer())
    assert "### W5\n" in table(merging)


def test_what_c_code_takes_counts_for_its_caller_and_waiting_does_not() -> None:
    """Half of the time in a function is in `sorted`, which it calls; a lock costs nothing."""
    profile = Profile("calls")
    lock = threading.Lock()

    def work() -> None:
        for _ in range(200):
            sorted(range(10_000), key=abs)
            lock.acquire(timeout=0.001)

    calls = cProfile.Profile()
    calls.runcall(work)
    profile.add_calls(calls)
    (function,) = [key for key in profile.own if key[1] == "work"]
    assert profile.within[function] >= profile.own[function] > 0
    assert {"work"} == {name for _, name in profile.own}
    assert is_waiting("<method 'acquire' of '_thread.lock' objects>")
    assert not is_waiting("<built-in method builtins.sorted>")


def test_profiles_go_between_the_markers_of_their_page(tmp_path: Path) -> None:
    """What people have written around them stays; the page has the markers."""
    page = tmp_path / "page.md"
    text = PAGE.read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    publish_profiles("### W1\n", page)
    start, end = (text.index(marker) for marker in PROFILE_MARKERS)
    expected = f"{text[:start]}{PROFILE_MARKERS[0]}\n### W1\n{text[end:]}"
    assert expected == page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "place", "layer"),
    [
        ("/somewhere/src/cytosol/crdt/quick.py", "cytosol/crdt/quick.py", "cytosol/crdt"),
        ("C:\\src\\cytosol\\errors.py", "cytosol/errors.py", "cytosol"),
        ("/usr/lib/python3/queue.py", "queue.py", "Python and other libraries"),
    ],
)
def test_functions_are_known_by_their_layer(file: str, place: str, layer: str) -> None:
    """Wherever the package is installed."""
    assert (place, layer) == (place_of(file), layer_of(place))


def test_peers_are_imported_only_in_processes_that_run_them() -> None:
    """Their extra is optional, so no module of the benchmarks imports one at its top."""
    peers = {"loro", "pycrdt", "automerge", "websockets", "uvloop"}
    for module in BENCHMARKS.glob("*.py"):
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {node.module or ""}
            assert not {name.partition(".")[0] for name in names} & peers, module.name
