"""Subscriptions hear of exactly the changes that evaluating every query anew would show."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cytosol.document.subscriptions import Subscriptions
from cytosol.model.json import copy_json, equal_json
from cytosol.path import parse_path
from tests.property.rfc6902 import apply_patch

PATHS = [
    "$", "$.a", "$.b", "$.a.b", "$.a.a.b", "$.a[0]", "$.a[1].b", "$.a[-1]", "$.b[-2].a", "$.a[1:]",
    "$.a[::-1]", "$.*", "$.a[*].b", "$..a", "$..[0]", "$.a..b", "$.a['a', 'b']", "$[?@.a]",
    "$.a[?@.b > 1].a", "$.a[?@ == $.b].b", "$[?count(@.*) > 1]", "$.a[(@.length-1)]", "$.c",
]  # fmt: skip

SCALARS = st.sampled_from([None, True, 0, 1, 1.0, 2, "x"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=8,
)


def _change(data: st.DataObject, document: dict[str, Any]) -> tuple[str | int, ...]:
    """Change the document somewhere, and return the touched place as the document does."""
    node: Any = document
    location: list[str | int] = []
    while True:
        steps = list(node) if type(node) is dict else list(range(len(node)))
        below = [step for step in steps if type(node[step]) in (dict, list)]
        if not below or data.draw(st.integers(0, 3)) == 0:
            break
        location.append(data.draw(st.sampled_from(below)))
        node = node[location[-1]]
    value = data.draw(VALUES)
    if type(node) is dict:
        key = data.draw(st.sampled_from("abc"))
        if key in node and data.draw(st.booleans()):
            del node[key]
        else:
            node[key] = value
        return (*location, key)
    at = data.draw(st.integers(0, len(node)))
    if at < len(node) and data.draw(st.booleans()):
        node[at] = value
        return (*location, at)
    if at < len(node) and data.draw(st.booleans()):
        del node[at]
    else:
        node.insert(at, value)
    return tuple(location)


@given(st.data())
def test_callbacks_come_for_every_change_and_for_nothing_else(data: st.DataObject) -> None:
    """The calls are the differences between evaluations, and the patches fit them."""
    document = data.draw(st.fixed_dictionaries({"a": VALUES, "b": VALUES}))
    reported: list[Exception] = []
    subscriptions = Subscriptions(
        lambda query: query.values(document), reported.append, threading.RLock()
    )
    calls: list[tuple[str, Any, Any]] = []
    lists: dict[str, Any] = {}
    for path in PATHS:
        query = parse_path(path).bind()
        lists[path] = copy_json(query.values(document))
        subscriptions.subscribe(
            query,
            lambda values, patch, path=path: calls.append((path, values, patch)),
            deltas=True,
        )
    assert [(path, values, None) for path, values in lists.items()] == calls
    for _ in range(data.draw(st.integers(1, 6))):
        calls.clear()
        touched = [_change(data, document) for _ in range(data.draw(st.integers(1, 3)))]
        subscriptions.touch(touched)
        subscriptions.deliver()
        expected = {}
        for path in PATHS:
            values = copy_json(parse_path(path).bind().values(document))
            if not equal_json(lists[path], values):
                expected[path] = values
        assert list(expected) == [path for path, _, _ in calls], f"touched: {touched}"
        for path, values, patch in calls:
            assert equal_json(expected[path], values)
            assert equal_json(values, apply_patch(lists[path], patch))
        lists |= expected
    assert [] == reported
