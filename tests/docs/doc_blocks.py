"""Find the Python in a Markdown page and run it as the page says it runs.

A page's blocks are run from top to bottom in one namespace and an empty folder. What is checked:

* `# -> text` says what the statement that it stands in, or below, prints, line by line; an
  expression that prints nothing has this representation. `...` stands for anything inside a line.
* `# raises Name` or `# raises Name: text` says which error the statement raises; `text` may end
  with `...`.
* A statement without such a comment must neither print nor raise.
* An HTML comment that begins with `<!-- test` holds code that readers do not see: what a
  person would do, or how the block ends.

The app id of the examples is replaced by a fresh one, and only databases that are opened with
`loopback=True` get a network.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"

_BLOCK = re.compile(
    r"^```python\n(?P<shown>.*?)^```$|^<!-- test\n(?P<hidden>.*?)^-->$", re.MULTILINE | re.DOTALL
)
_EXPECTED = re.compile(r"#\s*-> ?(.*)$")
_ONLY_EXPECTED = re.compile(r"\s*#\s*(?:-> |raises )")
_RAISES = re.compile(r"#\s*raises (\w+)(?:: (.*))?$")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Block:
    """One block of code: where its first line stands on the page, and its text."""

    line: int
    text: str


def pages() -> list[Path]:
    """Return every page that users read."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the code of a page in the order in which it stands there."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        name = "hidden" if match["shown"] is None else "shown"
        found.append(Block(text.count("\n", 0, match.start(name)) + 1, match[name]))
    return found


def run_page(page: Path) -> None:
    """Run all blocks of a page; raises AssertionError that names the line."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    app_id = str(uuid.uuid4())
    for block in blocks(page):
        code = "\n" * (block.line - 1) + block.text.replace(EXAMPLE_APP_ID, app_id)
        lines = code.splitlines()
        for statement in ast.parse(code, str(page)).body:
            _run_statement(statement, lines, namespace, str(page))


def _run_statement(
    statement: ast.stmt, lines: list[str], namespace: dict[str, Any], name: str
) -> None:
    where = f"{name}:{statement.lineno}"
    end = statement.end_lineno
    assert end is not None
    while lines[end : end + 1] and _ONLY_EXPECTED.match(lines[end]):
        end += 1
    source = lines[statement.lineno - 1 : end]
    # What a function prints stands where it is called.
    comments = [] if isinstance(statement, _DEFINITIONS) else source
    expected = [match[1] for line in comments if (match := _EXPECTED.search(line))]
    raises = next((match for line in comments if (match := _RAISES.search(line))), None)
    output = io.StringIO()
    value = None
    error: Exception | None = None
    with contextlib.redirect_stdout(output):
        try:
            value = _evaluate(statement, namespace, name)
        except Exception as raised:
            if raises is None:
                raise AssertionError(f"{where} raised {raised!r}") from raised
            error = raised
    if raises is not None:
        assert error is not None, f"{where} did not raise {raises[1]}"
        kinds = [kind.__name__ for kind in type(error).__mro__]
        assert raises[1] == kinds[0], f"{where} raised {error!r}"
        assert _fits(raises[2] or "...", str(error)), f"{where} raised {error!r}"
        return
    printed = output.getvalue().splitlines()
    if expected and not printed:
        printed = [repr(value)]
    is_right = len(printed) == len(expected) and all(map(_fits, expected, printed))
    assert is_right, f"{where} printed {printed}, the page says {expected}"


def _evaluate(statement: ast.stmt, namespace: dict[str, Any], name: str) -> Any:
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), name, "eval"), namespace)
    exec(compile(ast.Module([statement], []), name, "exec"), namespace)
    return None


def _fits(pattern: str, text: str) -> bool:
    parts = [re.escape(part) for part in pattern.rstrip().split("...")]
    return re.fullmatch(".*".join(parts), text.rstrip(), re.DOTALL) is not None


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links, outside of code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    yield from (match[1] for match in re.finditer(r"\]\(([^)\s]+)\)", text))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    found = set()
    for match in re.finditer(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", match[1].strip().lower())
        found.add(kept.replace(" ", "-"))
    return found
