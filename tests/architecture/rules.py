"""The rules of the house, as functions from one parsed module to a list of complaints.

They read source text only, nothing is imported, so that each can also be shown bad code.
A unit is what lies directly in `src/cytosol`: a package (`crdt`) or a module (`database`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "cytosol"

LEVELS = {
    "errors": 0, "limits": 0, "_version": 0,
    "model": 1,
    "path": 2, "crypto": 2,
    "crdt": 3, "savestates": 3, "wire": 3,
    "document": 4, "protocol": 4,
    "graph": 5, "net": 5,
    "database": 6,
    PACKAGE: 7,  # the public names in __init__.py; only what is above may use them
    "cli": 8, "inspector": 8,
    "__main__": 9,
    "testing": 9,
}  # fmt: skip
DATA_SIDE = {"path", "crdt", "savestates", "document"}
NETWORK_SIDE = {"crypto", "wire", "protocol", "net"}
MEETING_LEVEL = LEVELS["database"]

PURE_PACKAGES = {"model", "path", "crdt", "crypto", "wire", "protocol"}
IMPURE_MODULES = {
    "_thread", "asyncio", "concurrent", "datetime", "fcntl", "ftplib", "getpass", "glob", "http",
    "importlib", "io", "locale", "logging", "mmap", "msvcrt", "multiprocessing", "os", "pathlib",
    "platform", "psutil", "queue", "random", "sched", "secrets", "select", "selectors", "shelve",
    "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess",
    "tempfile", "threading", "time", "urllib", "uvloop", "warnings", "zoneinfo",
}  # fmt: skip
IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
LOCK_MODULES = {"_thread", "concurrent", "multiprocessing", "queue", "threading"}
LOCK_PLACES = ("document", "savestates", "database", "net", "cli.screen", "testing")
CLOCK_MODULES = {"datetime", "random", "sched", "secrets", "time", "zoneinfo"}
CLOCK_PLACES = ("database", "cli", "net", "graph.transports", "testing")
RANDOM_NAMES = {
    "crypto_box_keypair", "crypto_kx_keypair", "crypto_sign_keypair", "getrandbits", "getrandom",
    "randombytes", "urandom", "uuid1", "uuid4", "uuid6", "uuid7",
}  # fmt: skip

# Import name -> (name in pyproject.toml, where it may be imported). "" is: in one module.
OPTIONAL_IMPORTS = {
    "click": ("click", "cli"),
    "rich": ("rich", "cli"),
    "keyring": ("keyring", "savestates.oskeyring"),
    "uvloop": ("uvloop", "net"),
    "websockets": ("websockets", "graph.transports.websocket"),
    "httpx": ("httpx", "graph.transports.http"),
    "starlette": ("starlette", "graph.transports.http"),
    "uvicorn": ("uvicorn", "graph.transports.hosting"),
    "aiortc": ("aiortc", "graph.transports.channel_peer"),
    "hypothesis": ("hypothesis", "testing"),
    "pytest": ("pytest", "testing"),
}
ONE_MODULE_ONLY = {"uvloop"}
REQUIRED_IMPORTS = {
    "backports": "backports.zstd",
    "msgspec": "msgspec",
    "nacl": "PyNaCl",
    "psutil": "psutil",
    "spake2": "spake2",
}

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}


@dataclass(frozen=True, slots=True)
class Source:
    """One module: dotted `name` below the package ("crdt.tree"; "" is the root), and its text."""

    name: str
    text: str
    tree: ast.Module
    is_package: bool = False

    @property
    def unit(self) -> str:
        """Return the unit that the module belongs to."""
        return self.name.split(".")[0] or PACKAGE

    def at(self, node: ast.AST | None = None) -> str:
        """Return the place in a form that editors turn into a link."""
        path = f"src/{PACKAGE}/{self.name.replace('.', '/')}"
        path += "/__init__.py" if self.is_package else ".py"
        return f"{path.replace('//', '/')}:{getattr(node, 'lineno', 1)}"


def source_of(name: str, text: str, *, is_package: bool = False) -> Source:
    """Parse `text` as if it were the module `name`."""
    return Source(name, text, ast.parse(text), is_package)


@cache
def all_sources() -> tuple[Source, ...]:
    """Parse every module of the package, once."""
    base = ROOT / "src" / PACKAGE
    sources = []
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        sources.append(source_of(name, path.read_text("utf-8"), is_package=is_package))
    return tuple(sources)


def complaints_of(check: Callable[[Source], list[str]]) -> list[str]:
    """Return what a rule says about all modules together."""
    return [complaint for source in all_sources() for complaint in check(source)]


def imports_of(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every imported dotted name, lazy and type-checking imports included."""
    here = [PACKAGE, *filter(None, source.name.split("."))]
    if not source.is_package:
        here.pop()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield node, f"{module}.{alias.name}"


def unit_of_import(name: str) -> str | None:
    """Return the unit that an import reaches, None for one outside the package."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        return None
    return rest[0] if rest and rest[0] in LEVELS else PACKAGE


def is_below(name: str, places: Iterable[str]) -> bool:
    """Tell whether the module `name` is one of `places` or lies inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def check_layers(source: Source) -> list[str]:
    """Imports go downward only, and units of one level do not know each other."""
    unit = source.unit
    if unit not in LEVELS:
        return [
            f"{source.at()} `{unit}` has no level: put it into LEVELS in "
            "tests/architecture/rules.py and into the table of docs/architecture.md"
        ]
    complaints = []
    for node, name in imports_of(source):
        target = unit_of_import(name)
        if target is None or target == unit:
            continue
        if target == "testing":
            complaints.append(f"{source.at(node)} imports `testing`, which only tests may import")
        elif unit != "testing" and LEVELS[target] >= LEVELS[unit]:
            complaints.append(
                f"{source.at(node)} `{unit}` (level {LEVELS[unit]}) imports `{target}` "
                f"(level {LEVELS[target]}): imports go downward only; move what both need below, "
                "or declare a seam here and let the caller hand it in"
            )
    return complaints


def check_sides(source: Source) -> list[str]:
    """The data side and the network side meet in database.py, and above it."""
    if LEVELS.get(source.unit, 0) >= MEETING_LEVEL:
        return []
    reached = {source.unit: source.at()}
    for node, name in imports_of(source):
        reached.setdefault(unit_of_import(name) or "", source.at(node))
    data, network = sorted(DATA_SIDE & set(reached)), sorted(NETWORK_SIDE & set(reached))
    if not (data and network):
        return []
    return [
        f"{reached[network[0]]} `{source.unit}` joins `{data[0]}` (data side) and `{network[0]}` "
        "(network side): they meet in database.py only; declare a seam and join them there"
    ]


def check_purity(source: Source) -> list[str]:
    """Pure packages read no clock, randomness, environment, file, socket or thread."""
    if source.unit not in PURE_PACKAGES:
        return []
    advice = f"`{source.unit}` is pure: take the value as an argument, or move this to the caller"
    complaints = [
        f"{source.at(node)} imports `{name}`; {advice}"
        for node, name in imports_of(source)
        if name.split(".")[0] in IMPURE_MODULES or name == "nacl.utils.random"
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            complaints.append(f"{source.at(node)} uses `{node.id}`; {advice}")
        elif isinstance(node, ast.Attribute) and node.attr == "generate":
            complaints.append(f"{source.at(node)} makes a random key by `.generate`; {advice}")
    return complaints


def check_locks(source: Source) -> list[str]:
    """Threads and locks stand only where several threads may meet."""
    if is_below(source.name, LOCK_PLACES):
        return []
    return [
        f"{source.at(node)} imports `{name}`: locks and threads stand only in "
        f"{', '.join(LOCK_PLACES[:-1])}; let one of these call this module under its lock"
        for node, name in imports_of(source)
        if name.split(".")[0] in LOCK_MODULES
    ]


def check_clocks(source: Source) -> list[str]:
    """Time and random bytes are read at the edge and handed down."""
    if is_below(source.name, CLOCK_PLACES):
        return []
    advice = (
        f"clocks and randomness are read only in {', '.join(CLOCK_PLACES[:-1])} and handed down: "
        "take `now` or the random bytes as an argument"
    )
    complaints = [
        f"{source.at(node)} imports `{name}`; {advice}"
        for node, name in imports_of(source)
        if name.split(".")[0] in CLOCK_MODULES or name.split(".")[-1] in RANDOM_NAMES
    ]
    complaints += [
        f"{source.at(node)} uses `{node.attr}`; {advice}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in RANDOM_NAMES
    ]
    return complaints


def check_module_size(source: Source) -> list[str]:
    """Keep a module short enough to be read in one sitting."""
    count = len(source.text.splitlines())
    if count <= MODULE_LINES_MAX:
        return []
    return [
        f"{source.at()} has {count} lines, {MODULE_LINES_MAX} are allowed: "
        "split it by concept (100 to 350 lines are usual)"
    ]


def check_function_sizes(source: Source) -> list[str]:
    """Keep a function short enough to be held in the head."""
    complaints = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                complaints.append(
                    f"{source.at(node)} `{node.name}` has {count} lines, {FUNCTION_LINES_MAX} "
                    "are allowed: give its parts names"
                )
    return complaints


def check_name(source: Source) -> list[str]:
    """A module is named after what it holds."""
    vague = sorted(VAGUE_NAMES & {part.strip("_") for part in source.name.split(".")})
    return [
        f"{source.at()} is named `{word}`, which fits everything: name it after what it holds"
        for word in vague
    ]


def check_docstring(source: Source) -> list[str]:
    """A module says what it is for."""
    if ast.get_docstring(source.tree):
        return []
    return [f"{source.at()} has no docstring: open it with one sentence on its purpose"]


def check_foreign_imports(source: Source) -> list[str]:
    """Everything foreign is declared in pyproject.toml; optional things stay in their corner."""
    complaints = []
    for node, name in imports_of(source):
        first = name.split(".")[0]
        if first == PACKAGE or first in REQUIRED_IMPORTS or first in sys.stdlib_module_names:
            continue
        if first == "compression":  # in the standard library from 3.14
            continue
        if first not in OPTIONAL_IMPORTS:
            complaints.append(
                f"{source.at(node)} imports `{first}`, which nothing declares: name it in "
                "pyproject.toml and in tests/architecture/rules.py, or do without"
            )
        elif not is_below(source.name, [OPTIONAL_IMPORTS[first][1]]):
            complaints.append(
                f"{source.at(node)} imports `{first}`, which is optional and belongs in "
                f"`{OPTIONAL_IMPORTS[first][1]}` only"
            )
    return complaints


def check_one_module_each(sources: Iterable[Source]) -> list[str]:
    """What is optional is imported in one module, so that one place copes with its absence."""
    complaints = []
    seen: dict[str, str] = {}
    for source in sources:
        for node, name in imports_of(source):
            first = name.split(".")[0]
            if first in ONE_MODULE_ONLY and seen.setdefault(first, source.name) != source.name:
                complaints.append(
                    f"{source.at(node)} imports `{first}`, as {seen[first]} does: import it in "
                    "one module and let the others ask that one"
                )
    return complaints
