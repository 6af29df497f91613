"""Who may import whom: each checker passes on the code that we have and fails on bad code."""

import tomllib
from itertools import chain

import pytest

from tests.architecture import rules


def test_imports_go_downward_only() -> None:
    """No module imports from its own level or from above."""
    assert [] == rules.complaints_of(rules.check_layers)


def test_data_side_and_network_side_meet_in_database_only() -> None:
    """Below database.py no module knows both sides."""
    assert [] == rules.complaints_of(rules.check_sides)


def test_foreign_imports_are_declared_and_optional_ones_keep_to_their_corner() -> None:
    """What is imported is installed, and what is optional can be absent."""
    assert [] == rules.complaints_of(rules.check_foreign_imports)


def test_optional_dependencies_are_imported_in_one_module_each() -> None:
    """One place copes with the absence of each."""
    assert [] == rules.check_one_module_each(rules.all_sources())


def test_every_foreign_import_stands_in_pyproject() -> None:
    """The tables of the rules name only what pyproject.toml declares."""
    project = tomllib.loads((rules.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = " ".join(project["dependencies"])
    extras = " ".join(chain.from_iterable(project["optional-dependencies"].values()))
    assert [] == [name for name in rules.REQUIRED_IMPORTS.values() if name not in required]
    assert [] == [name for name, _ in rules.OPTIONAL_IMPORTS.values() if name not in extras]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.op", "from cytosol.crdt import tree"),
        ("crdt.tree", "import cytosol.document.journal"),
        ("crdt.tree", "from cytosol import document"),
        ("crdt.tree", "from ..document import journal"),
        ("crdt.tree", "def later():\n    from cytosol.database import Database"),
        ("crdt.tree", "if TYPE_CHECKING:\n    from cytosol.net.driver import Driver"),
        ("path.parser", "from cytosol.crypto import keys"),
        ("protocol.peer", "from cytosol.document import document"),
        ("limits", "from cytosol.errors import CytosolError"),
        ("database", "from cytosol import open"),
        ("database", "from cytosol.cli import main"),
        ("cli", "from cytosol.testing import clock"),
        ("strange", "x = 1"),
    ],
)
def test_layer_rule_complains(name: str, text: str) -> None:
    """Imports of a neighbour or of something above are found in every spelling."""
    assert rules.check_layers(rules.source_of(name, text))


@pytest.mark.parametrize(
    ("name", "text", "is_package"),
    [
        ("crdt.tree", "from cytosol.model import op\nfrom .log import Log", False),
        ("crdt", "from .tree import Tree\nfrom ..path import parser", True),
        ("database", "from cytosol import net, document", False),
        ("cli", "import cytosol", False),
        ("testing.disk", "import cytosol\nfrom cytosol.net import udp", False),
    ],
)
def test_layer_rule_allows_what_lies_below(name: str, text: str, is_package: bool) -> None:
    """Imports of the same unit, in relative form too, and of lower levels are fine."""
    assert [] == rules.check_layers(rules.source_of(name, text, is_package=is_package))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.driver", "from cytosol.document import document"),
        ("crdt.tree", "from cytosol.crypto import keys"),
        ("graph.node", "from cytosol.path import parser\nfrom cytosol.wire import framing"),
    ],
)
def test_sides_rule_complains(name: str, text: str) -> None:
    """Knowing both sides below database.py is found."""
    assert rules.check_sides(rules.source_of(name, text))


def test_sides_rule_lets_the_database_join_both() -> None:
    """The front door may know everything below it."""
    text = "from cytosol.document import document\nfrom cytosol.protocol import peer"
    assert [] == rules.check_sides(rules.source_of("database", text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("database", "import rich"),
        ("net.service", "from click import echo"),
        ("path.parser", "import jsonpath"),
        ("document.journal", "import pytest"),
    ],
)
def test_foreign_import_rule_complains(name: str, text: str) -> None:
    """Undeclared imports and optional ones out of place are found."""
    assert rules.check_foreign_imports(rules.source_of(name, text))


def test_one_module_rule_complains() -> None:
    """A second module that imports the same optional dependency is found."""
    first, second = (rules.source_of(name, "import uvloop") for name in ("net.a", "net.b"))
    assert [] == rules.check_one_module_each([first])
    assert rules.check_one_module_each([first, second])
