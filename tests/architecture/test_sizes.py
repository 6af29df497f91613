"""Modules and functions stay short, have telling names, and say what they are for."""

import pytest

from tests.architecture import rules


def test_there_is_something_to_check() -> None:
    """The package was found: an empty list would pass every rule."""
    assert {"errors", "limits", "model"} <= {source.name for source in rules.all_sources()}


def test_modules_are_short() -> None:
    """At most 600 lines."""
    assert [] == rules.complaints_of(rules.check_module_size)


def test_functions_are_short() -> None:
    """At most 70 lines, docstring included."""
    assert [] == rules.complaints_of(rules.check_function_sizes)


def test_modules_have_telling_names() -> None:
    """No utils, no helpers."""
    assert [] == rules.complaints_of(rules.check_name)


def test_modules_have_docstrings() -> None:
    """A reader learns the purpose first."""
    assert [] == rules.complaints_of(rules.check_docstring)


def test_module_size_rule_complains() -> None:
    """601 lines are too many, 600 are not."""
    assert rules.check_module_size(rules.source_of("crdt.tree", "x = 1\n" * 601))
    assert [] == rules.check_module_size(rules.source_of("crdt.tree", "x = 1\n" * 600))


@pytest.mark.parametrize("opening", ["def long():\n", "async def long():\n"])
def test_function_size_rule_complains(opening: str) -> None:
    """71 lines are too many, 70 are not, methods and inner functions alike."""
    long, short = (opening + "    x = 1\n" * count for count in (70, 69))
    assert rules.check_function_sizes(rules.source_of("crdt.tree", long))
    assert [] == rules.check_function_sizes(rules.source_of("crdt.tree", short))
    inside = "class Tree:\n" + "".join(f"    {line}\n" for line in long.splitlines())
    assert rules.check_function_sizes(rules.source_of("crdt.tree", inside))


@pytest.mark.parametrize("name", ["crdt.utils", "helpers", "net.common.sockets", "wire._misc"])
def test_name_rule_complains(name: str) -> None:
    """A name that fits everything is found at any depth."""
    assert rules.check_name(rules.source_of(name, ""))


@pytest.mark.parametrize("text", ["", "x = 1", "# only a comment", "'' ''"])
def test_docstring_rule_complains(text: str) -> None:
    """No docstring, or an empty one, is found."""
    assert rules.check_docstring(rules.source_of("crdt.tree", text))
