"""The examples and the tricky corners of RFC 9535, section by section."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.errors import PathSyntaxError
from cytosol.path import parse_path

BOOKS: dict[str, Any] = {
    "store": {
        "bicycle": {"color": "red", "price": 399},
        "book": [
            {"author": "Rees", "price": 8.95, "title": "Sayings"},
            {"author": "Waugh", "price": 12.99, "title": "Sword"},
            {"author": "Melville", "isbn": "0-553", "price": 8.99, "title": "Moby"},
            {"author": "Tolkien", "isbn": "0-395", "price": 22.99, "title": "Lord"},
        ],
    }
}


def select(path: str, document: Any) -> list[Any]:
    """Return the values, after checking that the places hold these very values."""
    query = parse_path(path).bind()
    values = query.values(document)
    nodes = query.nodes(document)
    assert [id(value) for _, value in nodes] == [id(value) for value in values]
    for location, value in nodes:
        found = document
        for step in location:
            found = found[step]
        assert found is value
    return values


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.store.book[*].author", ["Rees", "Waugh", "Melville", "Tolkien"]),
        ("$..author", ["Rees", "Waugh", "Melville", "Tolkien"]),
        ("$.store.*", [BOOKS["store"]["bicycle"], BOOKS["store"]["book"]]),
        ("$.store..price", [399, 8.95, 12.99, 8.99, 22.99]),
        ("$..book[2].title", ["Moby"]),
        ("$..book[2].publisher", []),
        ("$..book[-1].title", ["Lord"]),
        ("$..book[0,1].title", ["Sayings", "Sword"]),
        ("$..book[:2].title", ["Sayings", "Sword"]),
        ("$..book[?@.isbn].title", ["Moby", "Lord"]),
        ("$..book[?@.price<10].title", ["Sayings", "Moby"]),
        ("$.store.bicycle..*", ["red", 399]),
    ],
)
def test_the_bookstore_examples(path: str, expected: list[Any]) -> None:
    """Section 1.5, with the keys of objects in sorted order."""
    assert expected == select(path, BOOKS)


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("$", {"k": "v"}, [{"k": "v"}]),
        # 2.3.1.3 names
        ("$.o['j j']", {"o": {"j j": {"k.k": 3}}}, [{"k.k": 3}]),
        ("$.o['j j']['k.k']", {"o": {"j j": {"k.k": 3}}}, [3]),
        ('$.o["j j"]["k.k"]', {"o": {"j j": {"k.k": 3}}}, [3]),
        ("$[\"'\"][\"@\"]", {"'": {"@": 2}}, [2]),
        ("$['']", {"": 1}, [1]),
        ("$.☺", {"☺": 1}, [1]),
        ("$.a", [1], []),
        ("$['0']", [1], []),
        ("$[0]", {"0": 1}, []),
        ("$[0]", "text", []),
        ("$[:]", "text", []),
        ("$.*", "text", []),
        ("$..*", "text", []),
        # 2.3.2.3 wildcards
        ("$[*]", {"a": [5, 3], "o": {"j": 1, "k": 2}}, [[5, 3], {"j": 1, "k": 2}]),
        ("$.o[*, *]", {"o": {"j": 1, "k": 2}}, [1, 2, 1, 2]),
        # 2.3.3.3 indexes
        ("$[1]", ["a", "b"], ["b"]),
        ("$[-2]", ["a", "b"], ["a"]),
        ("$[-3]", ["a", "b"], []),
        ("$[2]", ["a", "b"], []),
        ("$[9007199254740991]", ["a"], []),
        ("$[-9007199254740991]", ["a"], []),
        # 2.3.4.3 slices
        ("$[1:3]", list("abcdefg"), ["b", "c"]),
        ("$[5:]", list("abcdefg"), ["f", "g"]),
        ("$[1:5:2]", list("abcdefg"), ["b", "d"]),
        ("$[5:1:-2]", list("abcdefg"), ["f", "d"]),
        ("$[::-1]", list("abcdefg"), list("gfedcba")),
        ("$[::0]", list("abc"), []),
        ("$[-2:]", list("abc"), ["b", "c"]),
        ("$[:-2]", list("abc"), ["a"]),
        ("$[-9:-1]", list("abc"), ["a", "b"]),
        ("$[9:-9:-1]", list("abc"), ["c", "b", "a"]),
        ("$[2:0]", list("abc"), []),
        ("$[0:2:-1]", list("abc"), []),
        ("$[ 1 : 5 : 2 ]", list("abcdefg"), ["b", "d"]),
        ("$[0:9007199254740991:9007199254740991]", list("abc"), ["a"]),
        # 2.5.1.3 and 2.5.2.3 segments
        ("$[0, 3]", list("abcdefg"), ["a", "d"]),
        ("$[0:2, 5]", list("abcdefg"), ["a", "b", "f"]),
        ("$[0, 0]", list("ab"), ["a", "a"]),
        ("$..j", {"a": [5, [{"j": 4}, {"k": 6}]], "o": {"j": 1, "k": 2}}, [4, 1]),
        ("$..[0]", {"a": [5, 3, [{"j": 4}]], "o": {}}, [5, {"j": 4}]),
        ("$..o", {"o": {"j": 1}}, [{"j": 1}]),
        ("$.o..[*, *]", {"o": {"j": 1, "k": 2}}, [1, 2, 1, 2]),
        ("$.a..[0, 1]", {"a": [5, 3, [{"j": 4}, {"k": 6}]]}, [5, 3, {"j": 4}, {"k": 6}]),
        ("$..*", {"b": [1, {"c": 2}], "a": 0}, [0, [1, {"c": 2}], 1, {"c": 2}, 2]),
        # 2.6.1 null
        ("$.a", {"a": None}, [None]),
        ("$.a[0]", {"a": None}, []),
        ("$.a.d", {"a": None}, []),
        ("$.b[?@]", {"b": [None]}, [None]),
        ("$.b[?@==null]", {"b": [None]}, [None]),
        ("$.c[?@.d==null]", {"c": [{}]}, []),
        ("$.null", {"null": 1}, [1]),
        # 2.1.2 blank space between segments and inside brackets
        ("$ .a \n['b']\t[ 0 ]", {"a": {"b": [1]}}, [1]),
    ],
)  # fmt: skip
def test_selectors_and_segments(path: str, document: Any, expected: list[Any]) -> None:
    """Sections 2.2 to 2.6."""
    assert expected == select(path, document)


COMPARED: dict[str, Any] = {"obj": {"x": "y"}, "arr": [2, 3]}


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("$.absent1 == $.absent2", True),
        ("$.absent1 <= $.absent2", True),
        ("$.absent == 'g'", False),
        ("$.absent1 != $.absent2", False),
        ("$.absent != 'g'", True),
        ("1 <= 2", True),
        ("1 > 2", False),
        ("13 == '13'", False),
        ("'a' <= 'b'", True),
        ("'a' > 'b'", False),
        ("$.obj == $.arr", False),
        ("$.obj != $.arr", True),
        ("$.obj == $.obj", True),
        ("$.obj != $.obj", False),
        ("$.arr == $.arr", True),
        ("$.obj == 17", False),
        ("$.obj != 17", True),
        ("$.obj <= $.arr", False),
        ("$.obj < $.arr", False),
        ("$.obj <= $.obj", True),
        ("$.arr <= $.arr", True),
        ("1 <= $.arr", False),
        ("1 > $.arr", False),
        ("true <= true", True),
        ("true > true", False),
        ("true == 1", False),
        ("1 == true", False),
        ("false < true", False),
        ("null == null", True),
        ("null >= null", True),
        ("null == 0", False),
        ("1 == 1.0", True),
        ("1e2 == 100", True),
        ("-0 == 0", True),
        ("-0.0 == 0", True),
        ("1E-1 == 0.1", True),
        ("'\\u00fc' == 'ü'", True),
        ("'\\ud83d\\ude00' == '😀'", True),
        ("'\\uFFFD' < '\\ud83d\\ude00'", True),  # code points, not UTF-16 units
        ("'' < 'a'", True),
        ("'a' < 'aa'", True),
        ("1 == 1 && 2 == 3 || 1 == 1", True),
        ("1 == 1 || 1 == 1 && 1 == 2", True),
        ("!(1 == 1)", False),
        ("! ( 1 == 2 || 1 == 2 )", True),
        ("!$.absent", True),
        ("!$.obj", False),
        ("$.obj.*", True),
        ("$..absent", False),
    ],
)  # fmt: skip
def test_comparisons_and_tests(test: str, expected: bool) -> None:
    """The table of section 2.3.5.3, and its neighbours."""
    wrapped = {"here": [0], **COMPARED}
    assert ([0] if expected else []) == select(f"$.here[?{test}]", wrapped)


def test_equality_is_deep_and_tells_true_from_one() -> None:
    """Objects compare without order of keys, and booleans never equal numbers at any depth."""
    document = {
        "all": [{"a": [1, {"b": None}], "c": 2}, {"a": [True, {"b": None}], "c": 2}, {"a": 1}, [1]],
        "one": {"c": 2.0, "a": [1, {"b": None}]},
    }
    assert [document["all"][0]] == select("$.all[?@ == $.one]", document)
    assert [[1]] == select("$.all[?@ == $.all[3]]", document)
    assert [] == select("$.all[?@.a == $.all]", document)


FILTERED: dict[str, Any] = {
    "a": [3, 5, 1, 2, 4, 6, {"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}],
    "o": {"p": 1, "q": 2, "r": 3, "s": 5, "t": {"u": 6}},
    "e": "f",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a[?@.b == 'kilo']", [{"b": "kilo"}]),
        ("$.a[?(@.b == 'kilo')]", [{"b": "kilo"}]),
        ("$.a[?@>3.5]", [5, 4, 6]),
        ("$.a[?@.b]", [{"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}]),
        ("$[?@.*]", [FILTERED["a"], FILTERED["o"]]),
        ("$[?@[?@.b]]", [FILTERED["a"]]),
        ("$.o[?@<3, ?@<3]", [1, 2, 1, 2]),
        ('$.a[?@<2 || @.b == "k"]', [1, {"b": "k"}]),
        ('$.a[?match(@.b, "[jk]")]', [{"b": "j"}, {"b": "k"}]),
        ('$.a[?search(@.b, "[jk]")]', [{"b": "j"}, {"b": "k"}, {"b": "kilo"}]),
        ("$.o[?@>1 && @<4]", [2, 3]),
        ("$.o[?@.u || @.x]", [{"u": 6}]),
        ("$.a[?@.b == $.x]", [3, 5, 1, 2, 4, 6]),
        ("$.a[?@ == @]", FILTERED["a"]),
        ("$.e[?@]", []),
        ("$.a[?length(@.b) == 4]", [{"b": "kilo"}]),
        ("$.a[?length(@.b) == 0]", [{"b": {}}]),
        ("$[?count(@.*) > 9]", [FILTERED["a"]]),
        ("$[?length(@) == 5]", [FILTERED["o"]]),
        ("$[?value(@..u) == 6]", [FILTERED["o"]]),
        ("$.o[?value(@..u) == 7]", []),
        ("$.a[?length(value(@..b)) == 4]", [{"b": "kilo"}]),
        ("$.a[?length( @.b )==1]", [{"b": "j"}, {"b": "k"}]),
        ("$.a[?match(@.b, $.e)]", []),
        ("$.a[?match('f', $.e)]", FILTERED["a"]),
        ("$.a[?search(@.b, $.absent)]", []),
        ("$.a[?match(@.b, 1)]", []),
        ("$.a[?match(@.b, 'a**')]", []),
        ("$.a[?!search(@.b, '[')].b", ["j", "k", {}, "kilo"]),
    ],
)
def test_filters_and_functions(path: str, expected: list[Any]) -> None:
    """Sections 2.3.5 and 2.4, with keys in sorted order."""
    document = {key: FILTERED[key] for key in sorted(FILTERED)}
    assert expected == select(path, document)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (r"$['\b\f\n\r\t\/\\\'']", "\b\f\n\r\t/\\'"),
        (r'$["\b\f\n\r\t\/\\\""]', '\b\f\n\r\t/\\"'),
        (r"$['\u000B']", "\x0b"),
        (r"$['\uD834\uDD1E']", "\U0001d11e"),
        (r"$['\uE000\uD7FF']", "\ue000\ud7ff"),
        ("$['\x7f\u2028']", "\x7f\u2028"),
        ("$['\"']", '"'),
    ],
)
def test_strings_are_unescaped(path: str, key: str) -> None:
    """Section 2.3.1.1, and the normalized paths of 2.7."""
    assert [1] == select(path, {key: 1})


@pytest.mark.parametrize(
    ("path", "position", "message"),
    [
        ("", 0, "empty"),
        ("a", 0, "starts with"),
        (" $", 0, "starts with"),
        ("$ ", 1, "segment"),
        ("$.a ", 3, "segment"),
        ("$.", 2, "plain name"),
        ("$. a", 2, "plain name"),
        ("$..", 3, "plain name"),
        ("$...a", 3, "plain name"),
        ("$.1", 2, "plain name"),
        ("$.a-b", 3, "segment"),
        ("$.'a'", 2, "plain name"),
        ("$*", 1, "segment"),
        ("$[", 2, "in brackets"),
        ("$[]", 2, "in brackets"),
        ("$[a]", 2, "in brackets"),
        ("$[0", 3, "must follow"),
        ("$[0,]", 4, "in brackets"),
        ("$[01]", 3, "must follow"),
        ("$[-0]", 2, "in brackets"),
        ("$[1.0]", 3, "must follow"),
        ("$[9007199254740992]", 2, "2^53-1"),
        ("$[-9007199254740992]", 2, "2^53-1"),
        ("$[1:123456789012345678901]", 4, "2^53-1"),
        ("$[1:2:3:4]", 7, "must follow"),
        ("$['a]", 2, "never closed"),
        ("$['a\n']", 4, "control character"),
        ("$['\ud800']", 3, "lone surrogate"),
        (r"$['\x']", 4, "backslash"),
        (r"$['\"']", 4, "backslash"),
        ("$['\\", 4, "backslash"),
        (r"$['\u12']", 3, "four hexadecimal"),
        (r"$['\uD800']", 3, "surrogate"),
        (r"$['\uD800x']", 3, "surrogate"),
        (r"$['\uD800\n']", 3, "four hexadecimal"),
        (r"$['\uD800\u0041']", 3, "surrogate"),
        (r"$['\uDC00\uD800']", 3, "surrogate"),
        ("$[?]", 3, "a query from"),
        ("$[?@.a", 6, "must follow"),
        ("$[?1]", 3, "value alone"),
        ("$[?'a' && @]", 3, "value alone"),
        ("$[?@ || true]", 8, "value alone"),
        ("$[?length(@)]", 3, "value alone"),
        ("$[?!1]", 4, "value alone"),
        ("$[?!!@]", 4, "twice"),
        ("$[?!@ == 1]", 3, "a test stands"),
        ("$[?@.* == 1]", 3, "several nodes"),
        ("$[?1 < @..a]", 7, "several nodes"),
        ("$[?@[0,1] == 1]", 3, "several nodes"),
        ("$[?@[ 0 ] == 1]", 3, "several nodes"),
        ("$[?(@.a) == 1]", 3, "parentheses"),
        ("$[?(1) == 1]", 3, "parentheses"),
        ("$[?@.a == 1 == 1]", 12, "do not chain"),
        ("$[?@.a = 1]", 7, "must follow"),
        ("$[?@.a == tru]", 10, "a query from"),
        ("$[?@.a == True]", 10, "a query from"),
        ("$[?@.a == 01]", 11, "must follow"),
        ("$[?@.a == 1.]", 11, "must follow"),
        ("$[?@.a == .1]", 10, "a query from"),
        ("$[?@.a == +1]", 10, "a query from"),
        ("$[?(@.a]", 7, ") or an operator"),
        ("$[?size(@) == 1]", 3, "size()"),
        ("$[?length (@) == 1]", 3, "a query from"),
        ("$[?length(@ == 1]", 16, ", or )"),
        ("$[?length() == 1]", 3, "1 argument(s), not 0"),
        ("$[?length(@, @) == 1]", 3, "1 argument(s), not 2"),
        ("$[?length(@.*) == 1]", 10, "several nodes"),
        ("$[?length(@ == 1) == 1]", 10, "a test stands"),
        ("$[?length((@.a)) == 1]", 10, "parentheses"),
        ("$[?count(1) == 1]", 9, "takes a query"),
        ("$[?count((@)) == 1]", 9, "takes a query"),
        ("$[?count(length(@)) == 1]", 9, "takes a query"),
        ("$[?match(@, 'a') == true]", 3, "a test stands"),
        ("$[?value(@.a)]", 3, "value alone"),
    ],
)  # fmt: skip
def test_a_syntax_error_says_what_and_where(path: str, position: int, message: str) -> None:
    """The error carries the path, the position of the trouble and a sentence."""
    with pytest.raises(PathSyntaxError) as caught:
        parse_path(path)
    assert position == caught.value.position
    assert path == caught.value.path
    assert message in str(caught.value)
    assert f"at character {position + 1} of" in str(caught.value)
