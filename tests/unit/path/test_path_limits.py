"""No path and no document hangs the process or exhausts Python's stack."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol import limits
from cytosol.errors import PathLimitError, PathSyntaxError
from cytosol.path import parse_path, query
from cytosol.path.functions import Run


def nested(depth: int) -> Any:
    """Return arrays and objects in each other, `depth` deep."""
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


def test_the_deepest_document_needs_no_deep_stack() -> None:
    """128 levels, walked, compared and located."""
    document = {"a": nested(127), "b": nested(127)}
    everything = parse_path("$..*").bind()
    assert 256 == len(everything.values(document)) == len(everything.nodes(document))
    assert 128 == max(len(location) for location, _ in everything.nodes(document))
    assert 2 == len(parse_path("$[?@ == $.b]").bind().values(document))
    assert [1, 1] == parse_path("$..[?@ == 1]").bind().values(document)


@pytest.mark.parametrize(
    ("opening", "core", "closing", "levels"),
    [
        ("[?@", "", "]", 1),
        ("[?@[0] == 1 && @", "[0]", "]", 1),
        ("[?!@", "", "]", 1),
        ("[?count($", "", ") > 0]", 2),
        ("[?value(@..", "a", ") == 1]", 2),
        ("[?-(1 + value(@", "", ")) == 1]", 3),
        ("[?!(@", "", ")]", 2),
        ("[(value(@", "", "))]", 3),
    ],
)
def test_brackets_nest_up_to_a_limit(opening: str, core: str, closing: str, levels: int) -> None:
    """PATH_NESTING_MAX brackets in each other run; more are a syntax error."""
    repeats = limits.PATH_NESTING_MAX // levels - (1 if core == "[0]" else 0)
    document = nested(8)
    bound = parse_path("$" + opening * repeats + core + closing * repeats).bind()
    assert len(bound.values(document)) == len(bound.nodes(document))
    assert bound.can_be_touched_by((0, "a", 0)) in (True, False)
    repeats = limits.PATH_NESTING_MAX // levels + 1
    with pytest.raises(PathSyntaxError, match="nested deeper than 64 levels"):
        parse_path("$" + opening * repeats + core + closing * repeats)


@pytest.mark.parametrize(
    ("start", "opening", "core", "end"),
    [
        ("$[?", "(", "@", "]"),
        ("$[?", "!(", "@", "]"),
        ("$[?", "(1 == 1 && ", "@", "]"),
        ("$[", "(", "1 + 1", "]"),
        ("$[(0 - ", "-(1 + ", "1", ")]"),
        ("$[?1 == ", "2 * (1 + ", "1", "]"),
    ],
)
def test_parentheses_nest_up_to_a_limit(start: str, opening: str, core: str, end: str) -> None:
    """The same for groups inside an expression."""
    repeats = limits.PATH_NESTING_MAX - start.count("[") - start.count("(")
    bound = parse_path(start + opening * repeats + core + ")" * repeats + end).bind()
    assert isinstance(bound.values([1, [1]]), list)
    repeats += 1
    with pytest.raises(PathSyntaxError, match="nested deeper than 64 levels"):
        parse_path(start + opening * repeats + core + ")" * repeats + end)


@pytest.mark.parametrize(
    "text",
    [
        "$[?" + " && ".join(["@.a"] * 5_000) + "]",
        "$[?" + " || ".join(["@.b==1"] * 5_000) + "]",
        "$[?" + "+".join(["1"] * 20_000) + " == 20000]",
        "$[?" + "*".join(["-1"] * 10_000) + " == 1]",
        "$[?" + "-" * 20_000 + "1 == 1]",
        "$" + ".a" * 30_000,
        "$" + "[" + ",".join(["0"] * 30_000) + "]",
    ],
)
def test_long_paths_need_no_deep_stack(text: str) -> None:
    """Chains are flat, however long."""
    bound = parse_path(text).bind()
    assert isinstance(bound.values([{"a": 1, "b": 1}]), list)
    bound.can_be_touched_by(("a", "a"))
    assert isinstance(bound.prefix, tuple)


def test_a_path_has_a_greatest_length() -> None:
    """PATH_LENGTH_MAX characters."""
    parse_path("$." + "a" * (limits.PATH_LENGTH_MAX - 2))
    with pytest.raises(PathSyntaxError, match="longer than 65536 characters"):
        parse_path("$." + "a" * (limits.PATH_LENGTH_MAX - 1))


BIG = {"a": [[0] * 100] * 100, "o": {str(key): {} for key in range(500)}, "s": "a" * 50_000}


@pytest.mark.parametrize(
    "text",
    [
        "$..*..*",
        "$..[*, *, *]",
        "$.a[*][*, *, *]",
        "$.a[*][:]",
        "$.a[*][::-1]",
        "$.a[*][?@ == 0]",
        "$.a[?@ == $.a[0]]",
        "$.a[?@.x == 1 || @.y == 2 || @[0] == 3 || @.z == 4 || @[?count($.a.*) > 0]]",
        "$.o[?@ != $.o]['x', 'y', 'z', 'w', 'v', 'u', 't', 's', 'r', 'q', 'p', 'o', 'n']",
        "$.a[*][" + ", ".join(["(@.length-1)"] * 21) + "]",
        "$.a[?search($.s, 'b')]",
        "$.o[?@ == $.o || $.o == $.o || count(@..*) > 1]",
    ],
)
def test_steps_are_budgeted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, nodes and targets raise PathLimitError after PATH_STEPS_MAX steps."""
    monkeypatch.setattr(limits, "PATH_STEPS_MAX", 2_000)
    bound = parse_path(text).bind()
    for ask in (bound.values, bound.nodes, bound.targets):
        with pytest.raises(PathLimitError, match="more than 2000 steps"):
            ask(BIG)


def test_combinations_of_names_are_budgeted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unions multiply, also where nothing is matched."""
    monkeypatch.setattr(limits, "PATH_STEPS_MAX", 2_000)
    with pytest.raises(PathLimitError):
        parse_path("$" + "['a','b']" * 20).bind().targets({})


def test_a_long_expression_weighs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test costs depends on its length."""
    monkeypatch.setattr(limits, "PATH_STEPS_MAX", 2_000)
    assert [] == parse_path("$.o[?@.x == 1]").bind().values(BIG)
    with pytest.raises(PathLimitError):
        parse_path("$.o[?" + " || ".join(["@.x == 1"] * 50) + "]").bind().values(BIG)


def test_equality_is_budgeted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing two big arrays costs their length."""
    monkeypatch.setattr(limits, "PATH_STEPS_MAX", 2_000)
    document = {"a": [[0] * 1_500, [0] * 1_500], "b": [0] * 1_500}
    with pytest.raises(PathLimitError):
        parse_path("$.a[?@ == $.b]").bind().values(document)


def test_each_evaluation_has_a_budget_of_its_own() -> None:
    """A run starts with all steps."""
    run = Run({})
    run.spend(limits.PATH_STEPS_MAX)
    with pytest.raises(PathLimitError, match="narrow it"):
        run.spend(1)
    assert limits.PATH_STEPS_MAX == Run({}).left


def test_the_cache_of_paths_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH_CACHE_MAX paths of at most PATH_CACHED_LENGTH_MAX characters."""
    monkeypatch.setattr(limits, "PATH_CACHE_MAX", 3)
    monkeypatch.setattr(query, "_paths", {})
    for name in "abcdefg":
        parse_path(f"$.{name}.*")
        assert len(query._paths) <= 3
    long = "$." + "a" * limits.PATH_CACHED_LENGTH_MAX
    assert parse_path(long) is not parse_path(long)
    assert long not in query._paths
