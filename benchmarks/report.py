"""Turn the results of a run into Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.catalogue import ROWS, TITLES, Row, rows_of
from benchmarks.growth import LINES, SIZES
from benchmarks.measure import LIBRARIES, OTHERS, median_of

__all__ = ["Results", "growth_table", "main_table", "number", "ratio_of", "rows_with_figures"]

PEERS = (*LIBRARIES[1:], *OTHERS)


@dataclass(slots=True)
class Results:
    """What all processes have said: figures by row and library, and reasons where there is none."""

    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, workload: str, library: str, answer: Mapping[str, Any]) -> None:
        """Take one line that `benchmarks.one` printed."""
        reason = answer.get("unable") or answer.get("not_yet")
        if reason is not None:
            prefix = "not yet: " if "not_yet" in answer else ""
            self.reasons[workload, library] = prefix + str(reason)
            return
        for key, value in {workload: answer["value"], **answer["extra"]}.items():
            self.figures.setdefault((key, library), []).append(value)

    def figure(self, key: str, library: str) -> float | None:
        """Return the median of a row's figures, None if there is none."""
        values = self.figures.get((key, library))
        return median_of(values) if values else None

    def to_json(self) -> dict[str, Any]:
        """Return everything, for whoever wants to draw or compare it."""
        return {
            "figures": [[*key, values] for key, values in self.figures.items()],
            "reasons": [[*key, reason] for key, reason in self.reasons.items()],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Results:
        """Return what `to_json` has written."""
        return cls(
            {(key, library): values for key, library, values in written["figures"]},
            {(key, library): reason for key, library, reason in written["reasons"]},
        )

    def best_peer(self, row: Row) -> float | None:
        """Return the figure of the best live peer that a row is compared with."""
        for key in (row.key, row.against):
            found = [self.figure(key, library) for library in PEERS] if key else []
            figures = [figure for figure in found if figure is not None]
            if figures:
                return min(figures)
        return None


def ratio_of(results: Results, row: Row) -> float | None:
    """Return our figure divided by the best peer's; None where that says nothing."""
    mine = results.figure(row.key, LIBRARIES[0])
    best = results.best_peer(row) if row.compared else None
    # A peer's figure may be a difference that comes out as zero: nothing to divide by.
    return mine / best if mine is not None and best is not None and best > 0 else None


def rows_with_figures(results: Results, workloads: Sequence[str]) -> list[Row]:
    """Return the rows of these workloads that anybody has a figure for, and their main rows."""
    there = {key for key, _ in results.figures}
    return [
        row
        for row in ROWS
        if row.workload in workloads and (row.key in there or row.key == row.workload)
    ]


def main_table(results: Results, workloads: Sequence[str], other: Results | None = None) -> str:
    """Return the table of the workloads that ran, and below it why figures are missing.

    With the results of the `other` shape it has their ratios in a column, and the goals.
    """
    head = ["", "workload", "unit", *LIBRARIES, "others", "÷ best peer"]
    if other is not None:
        head += ["in shape 2", "goal", "goal ÷ best peer"]
    lines = [_line(head), _line(["---", "---", "---", *["---:"] * (len(head) - 3)])]
    lines += [_row_line(results, row, other) for row in rows_with_figures(results, workloads)]
    notes = [
        f"* {workload}, {library}: {reason}."
        for (workload, library), reason in results.reasons.items()
        if workload in TITLES and reason != "not installed"
    ]
    missing = {
        library for (_, library), reason in results.reasons.items() if reason == "not installed"
    }
    notes += [
        f"* {library} is not installed." for library in (*LIBRARIES, *OTHERS) if library in missing
    ]
    return "\n".join(lines) + ("\n\n" + "\n".join(notes) if notes else "") + "\n"


def _row_line(results: Results, row: Row, other: Results | None) -> str:
    cells = [row.key if row.key == row.workload else "", row.what, row.unit]
    cells += [_cell(results, row, library) for library in LIBRARIES]
    found = [(library, results.figure(row.key, library)) for library in OTHERS]
    cells.append(", ".join(f"{name} {number(value)}" for name, value in found if value is not None))
    ratio = ratio_of(results, row)
    cells.append("" if ratio is None else f"**{ratio:.2f}**")
    if other is not None:
        ratio = ratio_of(other, row)
        cells.append("" if ratio is None else f"{ratio:.2f}")
        cells.append("" if row.goal is None else f"{row.goal:g}")
        cells.append("" if row.goal_ratio is None else f"{row.goal_ratio:.2f}")
    return _line(cells)


def _cell(results: Results, row: Row, library: str) -> str:
    figure = results.figure(row.key, library)
    if figure is not None:
        return number(figure)
    reason = results.reasons.get((row.workload, library), "")
    if row.key != row.workload or reason in ("", "not installed"):
        return "–"
    for word in ("not yet", "failed"):
        if reason.startswith(word):
            return word
    return "no"


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def growth_table(results: Results) -> str:
    """Return the table that shows whether costs grow, empty if that workload did not run."""
    library = LIBRARIES[0]
    reason = results.reasons.get(("growth", library))
    if reason is not None:
        return f"Costs by size: {reason}.\n"
    lines = []
    for line, what in LINES.items():
        figures = [results.figure(f"{line}.{size}", library) for size in SIZES]
        if any(figure is not None for figure in figures):
            lines.append(_line([what, *("–" if f is None else number(f) for f in figures)]))
    if not lines:
        return ""
    head = ["µs per op", *(f"{size:,}" for size in SIZES)]
    return "\n".join([_line(head), _line(["---", *["---:"] * len(SIZES)]), *lines]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def missing_rows(results: Results, workload: str, library: str) -> list[str]:
    """Return keys that a workload yielded and the catalogue does not know."""
    known = {row.key for row in rows_of(workload)}
    return [
        key
        for key, who in results.figures
        if who == library and key.partition(".")[0] == workload and key not in known
    ]
