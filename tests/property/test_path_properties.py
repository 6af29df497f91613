"""What must hold of every path: the fast path agrees, overlap is sound, targets are places."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cytosol.errors import ActionError, PathSyntaxError
from cytosol.model.json import equal_json
from cytosol.path import parse_path, singular_steps
from tests.property.share import examples
from tests.unit.path.path_strategies import KEYS, documents, queries, quoted, scalars, values

_pieces = st.one_of(
    st.sampled_from(["a", "b_1", "ü", "length", "_", "a-b", "1a", "", "名x", "\ud800", "²"]).map(
        lambda name: "." + name
    ),
    st.integers(-12, 12).map(lambda index: f"[{index}]"),
    st.sampled_from(
        ["[00]", "[-0]", "[9007199254740992]", "[٣]", "[1", "]", "[ 1]", " ", "$", "*"]
    ),
    st.builds(
        lambda name, mark: f"[{quoted(name, mark)}]", st.text(max_size=4), st.sampled_from("'\"")
    ),
    st.text(st.sampled_from(".[]'\"$a0\\ "), max_size=3),
)
_near_singular = st.builds(
    lambda root, pieces: root + "".join(pieces),
    st.sampled_from(["$", "$", "$", "", "a"]),
    st.lists(_pieces, max_size=4),
)


@examples(600)
@given(_near_singular)
@example("$.a['\\'']")
@example("$.a.b.c")
def test_the_fast_path_agrees_with_the_parser(text: str) -> None:
    """Where it answers, the parser gives the same steps; and it remembers nothing wrong."""
    steps = singular_steps(text)
    assert steps == singular_steps(text)
    try:
        path = parse_path(text)
    except PathSyntaxError:
        assert steps is None
        return
    if steps is not None:
        assert path.is_singular
        assert steps == path.steps()
        assert [type(step) for step in steps] == [type(step) for step in path.steps()]


@examples(200)
@given(st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), max_size=5))
def test_dotted_names_always_take_the_fast_path(names: list[str]) -> None:
    """It is there for these."""
    assert tuple(names) == singular_steps("$" + "".join("." + name for name in names))


def _locations(value: Any, location: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [location]
    if isinstance(value, dict):
        for key, item in value.items():
            found += _locations(item, (*location, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _locations(item, (*location, index))
    return found


def _change(document: Any, data: st.DataObject) -> tuple[Any, tuple[Any, ...]]:
    """Set, insert or delete at a random place; return the new document and the place."""
    changed = copy.deepcopy(document)
    containers = [
        location
        for location in _locations(changed)
        if isinstance(_at(changed, location), dict | list)
    ]
    location = data.draw(st.sampled_from(containers), label="container")
    container = _at(changed, location)
    value = data.draw(values, label="value")
    kind = data.draw(st.sampled_from(["set", "insert", "delete"]), label="kind")
    if isinstance(container, dict):
        key = data.draw(st.sampled_from(KEYS), label="key")
        if kind == "delete":
            container.pop(key, None)
        else:
            container[key] = value
        return changed, (*location, key)
    index = data.draw(st.integers(0, len(container)), label="index")
    if kind == "insert" or index == len(container):
        container.insert(index, value)
    elif kind == "delete":
        del container[index]
    else:
        container[index] = value
    return changed, (*location, index)


def _at(value: Any, location: tuple[Any, ...]) -> Any:
    for step in location:
        value = value[step]
    return value


_extended = st.sampled_from(
    [
        "$.a[(@.length-1)]", "$.a[(@.length-1)].b", "$..[(@.length-1)]", "$.a[($.b)]",
        "$.*[?@.a + 1 > $.b]", "$[?@[(@.length-1)] == 1]", "$.a[?-@.b < 0]", "$.a[?@ == $.c]",
        "$.a[0]", "$.a[-1]", "$.a[1:3]", "$.a[?@.b].a", "$.a.b", "$.a[*].b",
    ]
)  # fmt: skip


@examples(1200)
@given(_extended | queries(), documents, st.data())
def test_a_change_that_changes_the_result_is_announced(
    text: str, document: Any, data: st.DataObject
) -> None:
    """can_be_touched_by may cry wolf but never sleeps, and the prefix holds all that concerns."""
    query = parse_path(text).bind()
    changed, location = _change(document, data)
    before, after = query.values(document), query.values(changed)
    if not equal_json(before, after):
        assert query.can_be_touched_by(location)
        # An index in the prefix also moves with insertions before it: look at its array.
        where = location[:-1] if isinstance(location[-1], int) else location
        shared = min(len(where), len(query.prefix))
        assert query.prefix[:shared] == where[:shared]


@examples(400)
@given(_extended | queries(), documents)
def test_nodes_are_values_with_their_places(text: str, document: Any) -> None:
    """The very objects, under the prefix, in the order of values."""
    query = parse_path(text).bind()
    nodes = query.nodes(document)
    assert [id(value) for _, value in nodes] == [id(value) for value in query.values(document)]
    for location, value in nodes:
        assert _at(document, location) is value
        assert all(not isinstance(step, int) or step >= 0 for step in location)
        assert query.prefix == location[: len(query.prefix)]


@examples(600)
@given(_extended | queries(), documents)
def test_targets_are_the_nodes_and_places_beside_them(text: str, document: Any) -> None:
    """Existing targets are exactly the nodes, each once; the others stop where they say."""
    query = parse_path(text).bind()
    targets = query.targets(document)
    locations = [target.location for target in targets]
    assert len(set(locations)) == len(locations)
    existing = [target.location for target in targets if target.exists]
    assert set(existing) == {location for location, _ in query.nodes(document)}
    for location, exists, missing in targets:
        if exists:
            assert missing is None
            continue
        assert missing is not None
        parent = _at(document, location[:missing])
        step = location[missing]
        if isinstance(parent, dict):
            assert step not in parent
        elif isinstance(parent, list) and isinstance(step, int):
            assert not 0 <= step < len(parent)
            assert not 0 <= step + len(parent) < len(parent) or step >= 0


@examples(300)
@given(st.text(st.sampled_from("$@.[]()*?:,'\"!&|=<>+-/% 01eab{}\\u\n"), max_size=30), documents)
def test_any_text_is_a_path_or_a_clear_error(text: str, document: Any) -> None:
    """No other exception escapes from parsing, binding and evaluating."""
    try:
        query = parse_path("$" + text).bind({"a": 1, "b": "a"})
    except ActionError:
        return
    query.values(document)
    query.targets(document)


@examples(200)
@given(st.sampled_from(KEYS), st.integers(-3, 3), scalars, documents)
def test_variables_mean_what_literals_mean(
    key: str, index: int, literal: Any, document: Any
) -> None:
    """A path with variables selects what the same path with literals selects."""
    given_values = {"key": key, "index": index, "literal": literal}
    texts = {None: "null", True: "true", False: "false"}
    if isinstance(literal, str):
        written = quoted(literal, "'")
    else:
        written = (
            texts[literal]
            if literal is None or literal is True or literal is False
            else repr(literal)
        )
    pairs = [
        ("$.{key}[{index}]", f"$[{quoted(key, chr(34))}][{index}]"),
        ("$..[{index}:]", f"$..[{index}:]"),
        ("$..[?@ == {literal}]", f"$..[?@ == {written}]"),
        ("$.*[?@.{key} <= {literal}]", f"$.*[?@[{quoted(key, chr(39))}] <= {written}]"),
    ]
    for with_variables, with_literals in pairs:
        assert parse_path(with_literals).bind().nodes(document) == parse_path(with_variables).bind(
            given_values
        ).nodes(document)
