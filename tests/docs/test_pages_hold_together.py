"""Links lead somewhere, every page can be reached, and the reference leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cytosol
from cytosol import errors, limits
from cytosol.database.listeners import EVENTS
from cytosol.model.opcodec import Columns
from cytosol.model.version import StateSummary
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.methods import METHODS
from cytosol.wire.sync_messages import StateSummaryParams
from tests.docs.doc_blocks import ROOT, anchors, links, pages

REFERENCE = ROOT / "docs" / "reference"


def reference_text() -> str:
    return "".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))


def local_targets(page: Path) -> list[tuple[Path, str]]:
    """Return file and anchor of each link that stays in this repository."""
    found = []
    for link in links(page):
        if "://" not in link and not link.startswith("mailto:"):
            path, _, anchor = link.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link names a file that is there, and a heading in it."""
    for target, anchor in local_targets(page):
        assert target.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {target.name}#{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    """No page is an island."""
    reached: set[Path] = set()
    waiting = [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [target for target, _ in local_targets(page) if target.is_file()]
    assert [] == [page for page in pages() if page not in reached]


def test_the_reference_names_every_error() -> None:
    """Each exception class has an entry."""
    text = reference_text()
    assert [] == [name for name in errors.__all__ if f"`{name}`" not in text]


def test_the_reference_names_every_limit_with_its_value() -> None:
    """Each constant of `cytosol.limits` stands in the table, with the value that it has."""
    rows = dict(
        re.findall(
            r"^\| `([A-Z_]+)` \| ([^|]+?) \|", (REFERENCE / "limits.md").read_text("utf-8"), re.M
        )
    )
    values = {name: getattr(limits, name) for name in dir(limits) if re.fullmatch("[A-Z_]+", name)}
    assert set(values) == set(rows)
    wrong = {name: rows[name] for name in rows if eval_number(rows[name]) != values[name]}
    assert {} == wrong


def eval_number(text: str) -> float:
    """Read a number as the table writes it: `65,536`, `2^20`, `8 MiB`, `2^53 - 1`."""
    factor = 1
    text = text.replace(",", "").replace("\u2212", "-")
    for unit, size in (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30)):
        if text.endswith(unit):
            text, factor = text.removesuffix(unit).strip(), size
    total: float = 0
    for sign, term in re.findall(r"([+-]?)\s*([\d.^]+)", text):
        base, _, power = term.partition("^")
        value = int(base) ** int(power) if power else float(base) if "." in base else int(base)
        total += -value if sign == "-" else value
    return total * factor


def test_the_reference_names_every_public_name() -> None:
    """What `import cytosol` offers is described somewhere in the reference."""
    text = reference_text()
    names = [name for name in cytosol.__all__ if not name.startswith("__")]
    assert [] == [name for name in names if not re.search(rf"\b{name}\b", text)]


def test_the_reference_names_every_event() -> None:
    """Each event has an entry under the name that `on` takes."""
    text = (REFERENCE / "events.md").read_text(encoding="utf-8")
    assert [] == [name for name in EVENTS if f"`{name}`" not in text]


def test_the_reference_names_every_method_of_the_database() -> None:
    """Each public method and property of a database has an entry."""
    text = (REFERENCE / "api.md").read_text(encoding="utf-8")
    names = [name for name in vars(cytosol.Database) if not name.startswith("_")]
    assert [] == [name for name in names if f"`{name}" not in text and f".{name}(" not in text]


def test_pages_name_no_path_of_one_machine() -> None:
    """What a page says holds everywhere."""
    for page in pages():
        found = re.search(r"(?<![\w.])/(?:tmp|home|root|work)/", page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found}"


def test_the_files_that_internals_names_are_there() -> None:
    """A module that moves takes its mention along."""
    explanation = ROOT / "docs" / "explanation"
    for name in ("internals.md", "architecture.md"):
        text = (explanation / name).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:[a-z]+/)+[a-z_]+\.py)`", text):
            assert (ROOT / "src" / "cytosol" / path).exists(), f"{name} names {path}"


def wire_format() -> str:
    return (ROOT / "docs" / "explanation" / "wire-format.md").read_text(encoding="utf-8")


def test_the_wire_format_names_every_method_and_code() -> None:
    """What a peer may be called with, and what it may answer, is written down."""
    text = wire_format()
    assert [] == [name for name in METHODS if f"`{name}`" not in text]
    assert [] == [code for code in ErrorCode if not re.search(rf"(?<!\d){code.value}\b", text)]


def test_the_wire_format_names_the_parts_of_a_state_summary() -> None:
    """All members of `state`, in their order."""
    summary = StateSummaryParams("s", StateSummary(bytes(64), {})).to_json()
    assert f"`{{{', '.join(summary['state'])}}}`" in " ".join(wire_format().split())


def test_the_wire_format_names_the_columns_of_a_batch() -> None:
    """All columns, in their order."""
    table = wire_format().partition("## Batches of ops")[2].partition("## Snapshot")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    assert list(Columns.__struct_fields__) == re.findall(r"`(\w+)`", " ".join(rows))
