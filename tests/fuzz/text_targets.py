"""Whatever a user types as a path, a variable or a pattern: a value, or a declared error."""

from __future__ import annotations

import random
from typing import Any

from cytosol.errors import ActionError, PathLimitError
from cytosol.path.iregexp import compile_pattern
from cytosol.path.query import parse_path
from tests.fuzz.mutation import mutate_json, mutate_text
from tests.fuzz.target import Target, target

DOCUMENT: dict[str, Any] = {
    "a": {"b": [1, 2.5, "x", None, True, {"c": -1}], "é": "text"},
    "list": [{"k": n, "t": "ab" * n} for n in range(4)],
    "": {"$": 0, "'": 1, "__proto__": []},
}
PATHS = [
    "$",
    "$.a.b[0]",
    "$..*",
    "$.list[?@.k > 1].t",
    "$.list[1:3,-1,::2]['k',\"t\"]",
    "$.list[?match(@.t, 'a.b*') || search(@.t, {pattern})]",
    "$.a['b'][(@.length-1)]",
    "$[?count(@.*) >= 2 && !(@.c) && length(@.é) == value(@.x)]",
    "a.b[{0}]",
    "$.list[?@.k + 1 * 2 % 3 - -1 / 2 < {0}]",
    "$..[?@ == null || @ == -0.0 || @ != 1e3]",
    "$['\\u00e9\\n\\ud83d\\ude00']",
]
PATH_TOKENS = [
    *("$", "@", ".", "..", "[", "]", "(", ")", "?", "*", ":", ",", "'", '"', "\\", "{", "}", "{0}"),
    *(
        "==",
        "!=",
        "<=",
        "&&",
        "||",
        "!",
        "+",
        "-",
        "/",
        "%",
        " ",
        "\n",
        "null",
        "true",
        "-0",
        "1e3",
    ),
    *(
        "9007199254740993",
        "length(",
        "count(@..*)",
        "match(@,'(a|b)*')",
        "value(",
        "\u202e",
        "\x00",
    ),
    *("[?@", "[(@.length-1)]", "..*" * 5, "[" * 20, "(" * 70, "!" * 70, "[::0]", "[-1:1:-1]"),
]
PATTERNS = [
    "",
    "a*b+c?",
    "(a|b|[^c-f\\p{L}])*",
    "[\\-\\]a-z]{2,5}",
    "\\P{Lu}.\\n\\(x{3}",
    "((a{0,3}){0,3}){0,3}",
    "é[💻-💾]",
]
PATTERN_TOKENS = [
    *("(", ")", "[", "]", "[^", "{", "}", "*", "+", "?", "|", ".", "-", "\\", "\\p{", "\\P{Nd}"),
    *(
        "{2}",
        "{0,}",
        "{,3}",
        "{99999999999}",
        "{5,2}",
        "(" * 50,
        "a" * 200,
        "$",
        "^",
        "\x00",
        "(?:",
    ),
]
VARIABLES: list[Any] = [
    {"0": 1, "pattern": "a+"},
    [0],
    ["k"],
    {"0": [1, {"a": None}], "pattern": None},
    [1.5, True, "é"],
]


def _evaluate(text: str, variables: Any) -> None:
    """Do with a path all that can be done."""
    try:
        path = parse_path(text)
        query = path.bind(variables)
        values = query.values(DOCUMENT)
        assert len(values) == len(query.nodes(DOCUMENT))
        query.can_be_touched_by(["a", "b", 0])
    except (ActionError, PathLimitError):
        return
    assert parse_path(text).bind(variables).values(DOCUMENT) == values


@target("paths")
def paths() -> Target:
    """JSONPath text of every kind, evaluated."""

    def attempt(text: str) -> None:
        _evaluate(text, {"0": 1, "pattern": "a+"})

    def make(rng: random.Random, text: str) -> str:
        return mutate_text(rng, text, PATH_TOKENS, rng.choice(PATHS))

    return Target(attempt, make, PATHS)


@target("variables")
def variables() -> Target:
    """Any JSON as variables of paths that use them."""

    def attempt(case: tuple[str, Any]) -> None:
        _evaluate(*case)

    def make(rng: random.Random, case: tuple[str, Any]) -> tuple[str, Any]:
        return case[0], mutate_json(rng, case[1])

    using = [path for path in PATHS if "{" in path]
    return Target(attempt, make, [(path, each) for path in using for each in VARIABLES])


@target("patterns")
def patterns() -> Target:
    """I-Regexps, matched and searched: linear time, whatever they say."""

    def attempt(text: str) -> None:
        steps = 0

        def spend(count: int) -> None:
            nonlocal steps
            steps += count
            if steps > 200_000:
                raise PathLimitError("too many steps")

        try:
            pattern = compile_pattern(text, spend)
            if pattern is not None:
                for subject in ("", "abcabc", "aaaaaaaaaaaaaaaaaaaaaaaa!", "é💻\n"):
                    if pattern.test(subject, False, spend):
                        assert pattern.test(subject, True, spend), "a match is found by a search"
        except PathLimitError:
            return

    def make(rng: random.Random, text: str) -> str:
        return mutate_text(rng, text, PATTERN_TOKENS, rng.choice(PATTERNS))

    return Target(attempt, make, PATTERNS)
