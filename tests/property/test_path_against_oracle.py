"""Random queries of RFC 9535 against an independent library, node for node."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from jsonpath import UNDEFINED, JSONPathEnvironment, JSONPathError, NodeList

from cytosol.errors import ActionError, PathSyntaxError
from cytosol.path import parse_path
from cytosol.path.syntax import (
    AllOf,
    AnyOf,
    Call,
    Chain,
    Compare,
    Computed,
    Exists,
    Filter,
    Negate,
    Not,
    SubQuery,
    Variable,
)
from tests.property.share import examples
from tests.unit.path.path_strategies import documents, queries


def _plain(value: Any) -> Any:
    """Make a value whose Python equality is JSON equality."""
    if isinstance(value, NodeList):
        return _plain(value[0].obj) if value else UNDEFINED
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class _Oracle(JSONPathEnvironment):
    """The library, told that True is not 1 and that strings are no arrays."""

    def getitem(self, obj: Any, key: Any) -> Any:
        return [] if isinstance(obj, str) else super().getitem(obj, key)

    def _eq(self, left: object, right: object) -> bool:
        return bool(_plain(left) == _plain(right))

    def _lt(self, left: object, right: object) -> bool:
        left, right = _plain(left), _plain(right)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return left < right
        return isinstance(left, str) and isinstance(right, str) and left < right


_oracle = _Oracle(strict=True)


def _oracle_nodes(text: str, document: Any) -> list[tuple[tuple[str | int, ...], Any]] | None:
    try:
        return [(tuple(match.parts), match.obj) for match in _oracle.finditer(text, document)]
    except JSONPathError:
        return None


BARE_TEST = re.compile(r"@\s*(?:\]|&&|\|\||\)|,)")
"""A test for the current node itself: the oracle asks whether it is true, not whether it exists."""


def _same(ours: Any, theirs: Any) -> bool:
    """Compare nodes by location and by identity or type and value."""
    return len(ours) == len(theirs) and all(
        place == other_place and type(value) is type(other) and value == other
        for (place, value), (other_place, other) in zip(ours, theirs, strict=True)
    )


@examples(600)
@given(queries(), documents)
@example("$[?@.a==@.b]", {"a": {}, "b": {"a": None}})
@example("$..[?@[0] <= @[1]]", {"a": [1, 1.0], "b": [True, True], "c": ["a", "ü"]})
def test_a_valid_query_selects_the_nodes_that_the_oracle_selects(text: str, document: Any) -> None:
    """Values and locations agree, in order and with duplicates."""
    assume(not BARE_TEST.search(text))
    theirs = _oracle_nodes(text, document)
    assert theirs is not None
    query = parse_path(text).bind()
    assert _same(query.nodes(document), theirs)
    values = query.values(document)
    assert [id(value) for _, value in query.nodes(document)] == [id(value) for value in values]


def _uses_extension(text: str) -> bool:
    """Tell whether a path that we accept goes beyond RFC 9535."""
    path = parse_path(text)
    if path.variables or not text.startswith("$"):
        return True
    waiting: list[Any] = list(path.segments)
    while waiting:
        part = waiting.pop()
        match part:
            case Chain() | Negate() | Computed() | Variable():
                return True
            case Filter() | Not():
                waiting.append(part.test)
            case AllOf() | AnyOf():
                waiting.extend(part.tests)
            case Compare():
                waiting += [part.left, part.right]
            case Call():
                waiting.extend(part.arguments)
            case Exists():
                waiting.append(part.query)
            case SubQuery():
                waiting.extend(part.segments)
            case (_, tuple(selectors)):
                waiting.extend(selectors)
    return False


@examples(600)
@given(queries(), documents, st.data())
def test_a_damaged_query_is_refused_or_means_what_the_oracle_says(
    text: str, document: Any, data: st.DataObject
) -> None:
    """One character is taken out, doubled or put in; what we still accept, the oracle does too."""
    position = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.sampled_from(list("$@.[]()*?:,'\"!&|=<>-+ 0159eEaut{}\\\n\u0001")))
    removed = data.draw(st.integers(0, 1))
    text = text[:position] + data.draw(st.sampled_from([piece, ""])) + text[position + removed :]
    try:
        query = parse_path(text).bind()
    except ActionError:  # a syntax error, or a variable that nobody gave
        return
    if _uses_extension(text):
        query.values(document)
        return
    theirs = _oracle_nodes(text, document)
    assert theirs is not None, text
    assert _same(query.nodes(document), theirs)


@pytest.mark.parametrize(
    "text",
    [
        "$[01]", "$[-0]", "$ .a ", " $.a", "$.", "$..", "$[", "$[]", "$['a'", "$[?]",
        "$[?1]", "$[?true]", "$[?@.*==1]", "$[?@.a==]", "$[?count(1)==1]", "$[?count(@.a)]",
        "$[?length(@.*)==1]", "$[?match(@.a)]", "$[?match(@.a,'a')==true]", "$[?nope(@)]",
        "$[?@.a===1]", "$[1:2:3:4]", "$[9007199254740992]", "$.1a", "$.a[ 0",
        "$['\\x']", "$[\"\\'\"]", "$['\\ud800']", "$['\n']", "$[?@.a=='\\ud800\\u0041']", "$*", "a",
        "$[?(@.a]", "$[?@.a && ]", "$[?!]", "$[?@ == 01]", "$[?@ == 1.]", "$[?@ == .5]",
        "$[?length (@)==1]", "$. a", "$.. a", "$[?'a']", "$[?@.a==TRUE]", "$[0,]", "$[,0]",
    ],
)  # fmt: skip
def test_what_the_oracle_refuses_we_refuse(text: str) -> None:
    """Queries that are not well-formed or not well-typed are syntax errors."""
    assert _oracle_nodes(text, {"a": [1]}) is None
    with pytest.raises(PathSyntaxError):
        parse_path(text)


@given(documents)
def test_a_test_for_the_current_node_itself_selects_every_child(document: Any) -> None:
    """It exists, whatever its value is (RFC 9535, 2.3.5.2.1); the oracle says otherwise."""
    children = parse_path("$[*]").bind().nodes(document)
    assert _same(parse_path("$[?@]").bind().nodes(document), children)
    assert not parse_path("$[?!@]").bind().nodes(document)
