"""What Cytosol adds to RFC 9535: variables, computed selectors, arithmetic, `$` left out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cytosol.errors import ActionError, MissingVariableError, PathSyntaxError
from cytosol.path import parse_path

DOCUMENT: dict[str, Any] = {
    "a": [10, 20, 30, 40],
    "length": {"length": "own"},
    "n": {"half": 0.5, "i": 3, "last": "i", "s": "text"},
    "o": {"k": 1, "x y": {"z": 2}},
}


def select(path: str, variables: Any = ()) -> list[Any]:
    """Return values, after comparing them with those of the places."""
    query = parse_path(path).bind(variables)
    values = query.values(DOCUMENT)
    assert values == [value for _, value in query.nodes(DOCUMENT)]
    return values


# --- Variables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "variables", "expected"),
    [
        ("$.o.{x}", {"x": "k"}, [1]),
        ("$.o[{x}]", {"x": "x y"}, [{"z": 2}]),
        ("$.{0}.{1}", ["a", -1], [40]),
        ("$.{0}.{1}", ("a", 1), [20]),
        ("$.{0}", {"0": "a"}, [DOCUMENT["a"]]),
        ("$..{x}", {"x": "k"}, [1]),
        ("$.a[{i}, 0, {j}]", {"i": 3, "j": 1}, [40, 10, 20]),
        ("$.a[ {i} ]", {"i": 2}, [30]),
        ("$.a[{i}:{j}]", {"i": 1, "j": 3}, [20, 30]),
        ("$.a[{i}:]", {"i": -1}, [40]),
        ("$.a[::{i}]", {"i": -2}, [40, 20]),
        ("$.a[{i} : 3 : {i}]", {"i": 2}, [30]),
        ("$.a[?@ == {x}]", {"x": 20.0}, [20]),
        ("$.a[?{x} < @]", {"x": 20}, [30, 40]),
        ("$[?@ == {x}]", {"x": {"k": 1, "x y": {"z": 2}}}, [DOCUMENT["o"]]),
        ("$.o[?@ == {x}]", {"x": True}, []),
        ("$.n[?match(@, {x})]", {"x": "t.*t"}, ["text"]),
        ("$.n[?match(@, {x})]", {"x": 1}, []),
        ("$.n[?search({x}, 'b')]", {"x": "abc"}, [0.5, 3, "i", "text"]),
        ("$[?@.{x} == 1]", {"x": "k"}, [DOCUMENT["o"]]),
        ("$[?@[{x}] == 20]", {"x": 1}, [DOCUMENT["a"]]),
        ("$.a[({x} + 1)]", {"x": 1}, [30]),
        ("$.n[?length({x}) == 2]", {"x": [1, 2]}, [0.5, 3, "i", "text"]),
        ("$.{ü}", {"ü": "a"}, [DOCUMENT["a"]]),
        ("$.a.{x}", {"x": "0"}, []),
        ("$.o.{x}", {"x": 0}, []),
        ("$.a.{x}", {"x": 2**80}, []),
    ],
)  # fmt: skip
def test_variables_stand_for_names_indexes_bounds_and_literals(
    path: str, variables: Any, expected: list[Any]
) -> None:
    """A string selects a key, an integer an index; literals may be any JSON value."""
    assert expected == select(path, variables)


@pytest.mark.parametrize(
    ("path", "variables", "name"),
    [
        ("$.{x}", {}, "x"),
        ("$.{x}", (), "x"),
        ("$.{x}", None, "x"),
        ("$.{x}", ["a"], "x"),
        ("$.{1}", ["a"], "1"),
        ("$.{99999999999999999999}", ["a"], "99999999999999999999"),
        ("$.{0}", {"x": 1}, "0"),
        ("$[{x}:]", {}, "x"),
        ("$[?@ == {x}]", {}, "x"),
    ],
)
def test_a_missing_variable_is_named(path: str, variables: Any, name: str) -> None:
    """The error carries the name."""
    with pytest.raises(MissingVariableError) as caught:
        parse_path(path).bind(variables)
    assert name == caught.value.name


@pytest.mark.parametrize(
    ("path", "variables", "message"),
    [
        ("$.{x}", {"x": True}, "string or an integer, not True"),
        ("$.{x}", {"x": 1.0}, "string or an integer, not 1.0"),
        ("$[{x}]", {"x": None}, "string or an integer, not None"),
        ("$[{x}:]", {"x": "1"}, "integer, not '1'"),
        ("$[::{x}]", {"x": True}, "integer, not True"),
        ("$[?@ == {x}]", {"x": math.nan}, "finite"),
        ("$[?@ == {x}]", {"x": {1, 2}}, "not JSON"),
        ("$.{x}", "text", "not as str"),
        ("$.{x}", 5, "not as int"),
    ],
)
def test_a_variable_of_the_wrong_type_is_refused(path: str, variables: Any, message: str) -> None:
    """The error says which variable, what it must be and what it is."""
    with pytest.raises(ActionError, match=message):
        parse_path(path).bind(variables)


def test_a_path_knows_its_variables() -> None:
    """Names from every corner of the path."""
    path = parse_path("$.{a}[{b}:{c}][?@.{d} == {e} && @[?@ > {0}]][({f})]..{g}")
    assert frozenset("abcdefg0") == path.variables
    assert "Path('$.{a}" in repr(path)


def test_a_literal_from_a_variable_is_copied() -> None:
    """Changing the variable later does not change the query."""
    given: dict[str, Any] = {"x": {"k": 1}}
    query = parse_path("$[?@ == {x}]").bind(given)
    given["x"]["k"] = 2
    assert [{"k": 1}] == query.values({"a": {"k": 1}})


@pytest.mark.parametrize(
    ("path", "position"),
    [("$.{}", 2), ("$.{a b}", 2), ("$.{-1}", 2), ("$.{01}", 2), ("$[{a]", 2), ("$[?@=={a-b}]", 6)],
)
def test_a_brace_that_is_no_variable_is_a_syntax_error(path: str, position: int) -> None:
    """Variables have names as in the RFC, or numbers."""
    with pytest.raises(PathSyntaxError, match="a variable is written") as caught:
        parse_path(path)
    assert position == caught.value.position


def test_subclasses_of_str_and_int_are_steps_of_plain_types() -> None:
    """An enumeration with values of a JSON type is accepted and stored plainly."""

    class Key(str):
        pass

    class Number(int):
        pass

    steps = parse_path("$.{k}.{n}").steps({"k": Key("a"), "n": Number(2)})
    assert ("a", 2) == steps
    assert [str, int] == [type(step) for step in steps]
    assert [30] == parse_path("$.a[{n}:{m}]").bind({"n": Number(2), "m": 3}).values(DOCUMENT)


# --- Singular paths -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "variables", "steps"),
    [
        ("$", (), ()),
        ("$.a[0]['x y'][-1]", (), ("a", 0, "x y", -1)),
        ("$ .a\n[ 0 ]", (), ("a", 0)),
        ("$.{x}[{y}]", {"x": "k", "y": -2}, ("k", -2)),
        (".a", (), ("a",)),
        ("[0].b", (), (0, "b")),
    ],
)
def test_a_singular_path_gives_its_steps(path: str, variables: Any, steps: tuple[Any]) -> None:
    """Keys and indexes as they are written, with variables put in."""
    parsed = parse_path(path)
    assert parsed.is_singular
    assert steps == parsed.steps(variables)
    assert steps == parsed.bind(variables).steps


@pytest.mark.parametrize(
    "path", ["$.*", "$..a", "$[0,1]", "$[:]", "$[?@]", "$[(0)]", "$.a[*].b", "$..[0]"]
)
def test_other_paths_have_no_steps(path: str) -> None:
    """Wildcards, slices, filters, unions, descendants and expressions may name several places."""
    parsed = parse_path(path)
    assert not parsed.is_singular
    assert parsed.bind().steps is None
    with pytest.raises(ActionError, match="several places"):
        parsed.steps()


def test_a_path_without_variables_is_parsed_and_bound_once() -> None:
    """Caches give the same objects; a path with variables is bound anew."""
    assert parse_path("$.a[*]") is parse_path("$.a[*]")
    assert parse_path("$.a[*]").bind() is parse_path("$.a[*]").bind({"x": 1})
    assert parse_path("$.{0}").bind(["a"]) is not parse_path("$.{0}").bind(["a"])


@pytest.mark.parametrize("path", [None, 5, ["$"], {"$": 1}, b"$"])
def test_a_path_that_is_no_string_is_refused(path: Any) -> None:
    """The error says what was given."""
    with pytest.raises(ActionError, match=f"not a {type(path).__name__}"):
        parse_path(path)


# --- `$` left out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (".a", "$.a"),
        ("[0]", "$[0]"),
        ("..k", "$..k"),
        (".*", "$.*"),
        ("['a'][?@>20]", "$.a[?@>20]"),
    ],
)
def test_the_root_may_be_left_out(short: str, full: str) -> None:
    """Before `.` or `[` the path means the same without `$`."""
    assert parse_path(full).segments == parse_path(short).segments
    assert select(full) == select(short)


# --- Computed selectors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a[(@.length-1)]", [40]),
        ("$.a[( @.length - 1 )]", [40]),
        ("$.a[(@['length'] / 2)]", [30]),
        ("$.a[(@.length)]", []),
        ("$.a[(@.length / 8)]", []),
        ("$.a[(-1)]", [40]),
        ("$.a[(-@.length)]", [10]),
        ("$.a[(0), 1, (1+1)]", [10, 20, 30]),
        ("$.a[($.n.i)]", [40]),
        ("$.a[(length(@) - 2)]", [30]),
        ("$.a[($.n.s.length - 1)]", [40]),
        ("$.n[(@.last)]", [3]),
        ("$.n['s'][(@.length)]", []),
        ("$.n[('s')]", ["text"]),
        ("$.n[(@.absent)]", []),
        ("$.n[(@.half)]", []),
        ("$.n[(true)]", []),
        ("$.length[(@.length)]", []),
        ("$[(@.length.length)]", []),
        ("$.n[(@.i.length)]", []),
        ("$..[(@.length-1)]", [40]),
        ("$.a[(@[0].x)]", []),
        ("$.a[($.a[9].length)]", []),
        ("$.a[($.a.length.length)]", []),
        ("$.a[($.a[-1].length - 1)]", []),
        ("$[?@[(@.length-1)] == 40]", [DOCUMENT["a"]]),
        ("$[?@[(@.length-1)]]", [DOCUMENT["a"]]),
        ("$[?@[(@.length-1)] == $.absent[(0)]]",
         [DOCUMENT["length"], DOCUMENT["n"], DOCUMENT["o"]]),
    ],
)  # fmt: skip
def test_an_expression_in_parentheses_gives_a_key_or_an_index(
    path: str, expected: list[Any]
) -> None:
    """Goessner's `[(@.length-1)]`: integers are indexes, strings keys, all else nothing."""
    assert expected == select(path)


def test_length_is_a_member_everywhere_else() -> None:
    """A member called length wins, and in filters `.length` means what the RFC says."""
    document = {"a": {"length": "k", "k": 7}, "b": [1, 2]}
    assert [7] == parse_path("$.a[(@.length)]").bind().values(document)
    assert [{"length": "k", "k": 7}] == parse_path("$[?@.length]").bind().values(document)
    assert [] == parse_path("$[?@.length == 2]").bind().values(document)
    assert [] == parse_path("$.b[(value(@[?@.length]))]").bind().values(document)


@pytest.mark.parametrize("path", ["$[()]", "$[(@.a", "$[(@.*)]", "$[(@.a == 1)]", "$[(@.a)-1]"])
def test_an_expression_must_be_one_value(path: str) -> None:
    """Tests and queries for several nodes are syntax errors there."""
    with pytest.raises(PathSyntaxError):
        parse_path(path)


# --- Arithmetic -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 2 - 3", 5),
        ("2 * 3 % 4", 2),
        ("8 / 2", 4),
        ("7 / 2", 3.5),
        ("7.5 % 2", 1.5),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("-@.i", -3),
        ("- @.i", -3),
        ("--@.i", 3),
        ("---1", -1),
        ("- 1", -1),
        ("1-1", 0),
        ("1 -1", 0),
        ("1--1", 2),
        ("@.i-1", 2),
        ("@.i - -1", 4),
        ("@.i*@.i", 9),
        ("(@.i) + 1", 4),
        ("-(@.i + 1)", -4),
        ("((@.i + 1)) * 2", 8),
        ("length(@.s) * 2", 8),
        ("@.half + @.i", 3.5),
        ("9007199254740993 + 0", 9007199254740993),
        ("18446744073709551614 + 1", 18446744073709551615),
    ],
)
def test_arithmetic_on_numbers(expression: str, expected: float) -> None:
    """Precedence as in school, integers stay integers while they are exact."""
    query = parse_path("$[?{x} == " + expression + "]").bind({"x": expected})
    assert DOCUMENT["n"] in query.values(DOCUMENT)
    turned = parse_path("$[?" + expression + " == {x}]").bind({"x": expected})
    assert DOCUMENT["n"] in turned.values(DOCUMENT)


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "1.5 % 0",
        "1 % 0",
        "1e308 * 10",
        "18446744073709551615 + 1",
        "-9223372036854775808 - 1",
        "1e400 - 1e400",
        "1e400 % 2",
        f"1.5 * {'9' * 309}",
        "'a' + 'b'",
        "'a' * 2",
        "true + 1",
        "null + 1",
        "@.absent + 1",
        "-'a'",
        "-@.s",
        "@ + 1",
        "1 + 1 / 0",
        "-(1 / 0)",
    ],
)
def test_arithmetic_without_a_number_gives_nothing(expression: str) -> None:
    """Nothing equals only Nothing."""
    assert 4 == len(select(f"$[?{expression} == $.absent]"))
    assert [] == select(f"$[?{expression} < 1 || {expression} >= 1]")


@pytest.mark.parametrize(
    "path",
    [
        "$[?1 + 1]", "$[?@.a + (@.b == 1) == 1]", "$[?@.* + 1 == 1]", "$[?@.a + == 1]", "$[?@.a *]",
        "$[?!@.a + 1]", "$[?-@.*  == 1]", "$[?-(@.a == 1) == 1]", "$[?count(@.a + 1) == 1]",
        "$[?@.a // 2 == 1]", "$[?@.a + 1 && @.b]", "$[1+1]", "$[?@.a % % 2 == 1]", "$[?(@.a) - 1]",
    ],
)  # fmt: skip
def test_arithmetic_is_a_value_and_takes_values(path: str) -> None:
    """A sum is no test, and tests or lists of nodes are no numbers."""
    with pytest.raises(PathSyntaxError):
        parse_path(path)


def test_long_numbers_are_read_without_pain() -> None:
    """A literal beyond every float is infinite."""
    assert 4 == len(select(f"$[?1 < {'9' * 5000}]"))
    assert 4 == len(select(f"$[?1 > -{'9' * 5000}]"))
