"""Everything that the pages show as Python runs, and prints what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cytosol
from tests.docs.doc_blocks import ROOT, Block, blocks, pages, run_page

PAGES_WITH_CODE = [page for page in pages() if page.exists() and blocks(page)]


@pytest.fixture
def quiet_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only databases with loopback=True open sockets: no test talks to the real network."""
    real_open = cytosol.open

    def open_quietly(*arguments: Any, **options: Any) -> cytosol.Database:
        options.setdefault("network", bool(options.get("loopback")))
        return real_open(*arguments, **options)

    monkeypatch.setattr(cytosol, "open", open_quietly)


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("quiet_network")
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block does what the comments beside it say."""
    monkeypatch.chdir(tmp_path)
    run_page(page)


def write_page(tmp_path: Path, code: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n```python\n{code}\n```\n", encoding="utf-8")
    return page


@pytest.mark.parametrize(
    "code",
    [
        "print(1)  # -> 1",
        "1 + 1  # -> 2",
        "print('about 3.14')  # -> about ...",
        "int('x')  # raises ValueError: invalid literal...",
        "for n in range(2):\n    print(n)  # -> 0\n    # -> 1",
    ],
)
def test_a_comment_that_is_right_passes(tmp_path: Path, code: str) -> None:
    """The runner accepts what really happens."""
    run_page(write_page(tmp_path, code))


@pytest.mark.parametrize(
    "code",
    [
        "print(1)  # -> 2",
        "print(1)",
        "1 + 1  # -> 3",
        "int('x')",
        "int('1')  # raises ValueError",
        "int('x')  # raises TypeError",
        "int('x')  # raises ValueError: something else",
        "pass  # -> printed",
    ],
)
def test_a_comment_that_is_wrong_fails(tmp_path: Path, code: str) -> None:
    """The runner does not accept a page that says something else."""
    with pytest.raises(AssertionError, match=r"page\.md:4"):
        run_page(write_page(tmp_path, code))


def test_hidden_code_runs_in_its_place(tmp_path: Path) -> None:
    """What a reader would do by hand stands in an HTML comment."""
    page = tmp_path / "page.md"
    page.write_text("<!-- test\nx = 1\n-->\n\n```python\nprint(x)  # -> 1\n```\n", encoding="utf-8")
    assert blocks(page) == [Block(2, "x = 1\n"), Block(6, "print(x)  # -> 1\n")]
    run_page(page)
