"""The fast path for plain paths."""

from __future__ import annotations

import pytest

from cytosol import limits
from cytosol.path import parse_path, singular, singular_steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        (".a", ("a",)),
        ("$.root.l1.k_1", ("root", "l1", "k_1")),
        ("$.a[0]", ("a", 0)),
        ("[0]", (0,)),
        ("$[0][1].b", (0, 1, "b")),
        ("$.a[-1]", ("a", -1)),
        ("$['x y'][\"it's\"]", ("x y", "it's")),
        ("$['']['.']['[0]'][\"\"]", ("", ".", "[0]", "")),
        ("$.ü.名", ("ü", "名")),
        ("$['a.b'].c", ("a.b", "c")),
        ("$['a'].b[3].c", ("a", "b", 3, "c")),
        ("$[9007199254740991]", (9007199254740991,)),
        ("$.True.None", ("True", "None")),
    ],
)
def test_a_plain_path_is_read_without_the_parser(text: str, steps: tuple[str | int, ...]) -> None:
    """Names, indexes and quoted names without escapes; twice, to use what is remembered."""
    assert steps == singular_steps(text) == singular_steps(text) == parse_path(text).steps()


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "x.y", "$a", "$.", "$..a", "..a", "$ .a", "$.a ", "$.*", "$[*]", "$.a.", "$.{x}",
        "$[00]", "$[01]", "$.a[01]", "$.a[-0]", "$[9007199254740992]", "$.a[9007199254740992]",
        "$.a[123456789012345678]", "$.a[²]", "$.a[٣]", "$.a[]", "$.a[0", "$.a0]", "$.1", "$.a-b",
        "$['a\\n']", "$['a\x01']", "$['\ud800']", "$[0,1]", "$[0:1]", "$[ 0 ]", "$[(0)]", "$.a.b c",
        "$.a b.c", "$..[0]", "x[0]", "$.x..y[0].z", "$['a].b", "$[?@.a]", "[[0]", "]",
    ],
)  # fmt: skip
def test_all_else_is_left_to_the_parser(text: str) -> None:
    """None says nothing about whether the text is a path."""
    assert singular_steps(text) is None
    assert singular_steps(text) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH_CACHE_MAX beginnings of at most PATH_CACHED_LENGTH_MAX characters."""
    monkeypatch.setattr(singular, "_beginnings", {})
    monkeypatch.setattr(limits, "PATH_CACHE_MAX", 3)
    for number in range(10):
        assert (number, "a", 7) == singular_steps(f"$[{number}].a[7]")
        assert len(singular._beginnings) <= 3
    long = "$." + "a" * limits.PATH_CACHED_LENGTH_MAX
    assert singular_steps(long + ".b") == (long[2:], "b")
    assert long not in singular._beginnings


def test_an_overlong_path_is_not_plain() -> None:
    """The parser then says that it is too long."""
    name = "a" * (limits.PATH_LENGTH_MAX - 2)
    assert (name,) == singular_steps("$." + name)
    assert singular_steps("$.b" + name) is None
