"""I-Regexp (RFC 9485): what matches, what is no I-Regexp, and what a match costs."""

from __future__ import annotations

import pytest

from cytosol import limits
from cytosol.errors import PathLimitError
from cytosol.path import iregexp, parse_path
from cytosol.path.iregexp import Pattern, compile_pattern


class Purse:
    """Count what is spent."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps


def matches(pattern: str, text: str, search: bool = False) -> bool:
    """Compile and test in one go."""
    compiled = compile_pattern(pattern, Purse().spend)
    assert compiled is not None, pattern
    first = compiled.test(text, search, Purse().spend)
    assert first is compiled.test(text, search, Purse().spend)  # now from remembered moves
    return first


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("a", ["a"], ["", "b", "aa"]),
        ("a|b|", ["a", "b", ""], ["ab"]),
        ("(a|b)c", ["ac", "bc"], ["c", "abc"]),
        ("a*", ["", "a", "aaaa"], ["ab"]),
        ("a+b?", ["a", "aab"], ["", "b", "abb"]),
        ("a{2}", ["aa"], ["a", "aaa"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]),
        ("a{1,3}", ["a", "aaa"], ["", "aaaa"]),
        ("a{0}", [""], ["a"]),
        ("a{0,0}b", ["b"], ["ab"]),
        ("a{1}", ["a"], ["aa"]),
        ("(ab){2,3}", ["abab", "ababab"], ["ab", "abababab"]),
        ("(a*)*", ["", "aaa"], ["b"]),
        ("(a?){3}", ["", "aaa"], ["aaaa"]),
        ("(){9999999999}", [""], ["a"]),
        ("(()a()){2}", ["aa"], ["a"]),
        ("(|a){2}", ["", "a", "aa"], ["aaa"]),
        ("(a|aa)+b", ["aaab"], ["aaa"]),
        (".", ["a", "ü", "😀", "\u2028"], ["\n", "\r", "", "ab"]),
        ("[abc]", ["a", "c"], ["d", ""]),
        ("[a-cx]", ["b", "x"], ["d"]),
        ("[^a-c]", ["d", "\n"], ["b", ""]),
        ("[-a]", ["-", "a"], ["b"]),
        ("[a-]", ["-", "a"], ["b"]),
        ("[-]", ["-"], ["a"]),
        ("[--]", ["-"], ["a"]),
        ("[^-]", ["a"], ["-"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("[.*+?$|(){}]", list(".*+?$|(){}"), ["a"]),
        (r"[\]\\\-\[]", ["]", "\\", "-", "["], ["a"]),
        (r"[\n-\r]", ["\n", "\x0b", "\r"], ["\t"]),
        (r"\(\)\*\+\-\.\?\[\\\]\^\{\|\}", ["()*+-.?[\\]^{|}"], [""]),
        (r"\n\r\t", ["\n\r\t"], ["nrt"]),
        (r"\p{L}+", ["aÜж"], ["1", "a1"]),
        (r"\p{Lu}", ["A", "Ü"], ["a"]),
        (r"\P{Lu}", ["a", "1"], ["A"]),
        (r"\p{Nd}\p{No}", ["1²"], ["12"]),
        (r"[\p{Ll}\P{L}]", ["a", "1"], ["A"]),
        (r"[^\p{L}0-4]", ["5", "!"], ["a", "3"]),
        (r"\p{Sm}\p{Zs}\p{Pd}\p{Mn}", ["+ -\u0301"], ["a"]),
        (r"\p{Cn}", ["\U000e0fff"], ["a"]),
        ("a-b,c", ["a-b,c"], ["abc"]),
        ("😀{2}", ["😀😀"], ["😀"]),
        # anchors, as the mapping of RFC 9485, 5, leaves them
        ("^ab.*", ["ab", "abc"], ["xab", "^ab"]),
        (".*bc$", ["abc"], ["abcx", "abc$"]),
        ("^$", [""], ["a"]),
        ("$^", [""], ["a"]),
        ("a^b|a$b|c", ["c"], ["ab", "a^b", "a$b"]),
        ("(^a)+$", ["a"], ["aa"]),
        ("(a$)*", ["", "a"], ["aa"]),
    ],
)  # fmt: skip
def test_a_whole_text_matches_or_not(pattern: str, yes: list[str], no: list[str]) -> None:
    """The constructs of RFC 9485, 4."""
    assert [True] * len(yes) == [matches(pattern, text) for text in yes]
    assert [False] * len(no) == [matches(pattern, text) for text in no]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("b", ["b", "abc"], ["", "ac"]),
        ("", ["", "a"], []),
        ("ab", ["aab", "xaby"], ["ba", "a b"]),
        ("^a", ["a", "ab"], ["ba", ""]),
        ("a$", ["a", "ba"], ["ab", ""]),
        ("^a$|bb", ["a", "xbbx"], ["aa", "b"]),
        ("a{3}", ["xaaax"], ["aabaa"]),
        ("(a|aa)+b", ["xaaab"], ["aaaa"]),
        ("$", ["", "a"], []),
    ],
)
def test_a_part_of_a_text_matches_or_not(pattern: str, yes: list[str], no: list[str]) -> None:
    """The same with search()."""
    assert [True] * len(yes) == [matches(pattern, text, search=True) for text in yes]
    assert [False] * len(no) == [matches(pattern, text, search=True) for text in no]


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "+a", "?", "a**", "a+?", "a{1}{2}", "{", "}", "a{", "a{}", "a{,2}", "a{2,1}", "a{x}",
        "a{1", "a{-1}", "a{ 1}", "(", ")", "(a", "a)", "(a))", "]", "[", "[]", "[^]", "[a", "[a-",
        "[b-a]",
        "[a-b-c]", "[--a]", "[a--]", "[[]", "[a[b]", r"[\p{L}-z]", r"[a-\p{L}]", "\\", r"\d", r"\a",
        r"\$", r"\p", r"\p{}", r"\p{Lx}", r"\p{Cs}", r"\p{L", r"\pL", r"\p{IsGreek}", r"[\d]",
        "(?:a)", "(?=a)", "a\ud800", r"\u0041", r"[\-",
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_have_is_no_pattern(pattern: str) -> None:
    """Such a pattern gives None, and then match() and search() are false (RFC 9535, 2.4.6)."""
    assert compile_pattern(pattern, Purse().spend) is None
    assert compile_pattern(pattern, Purse().spend) is None


def test_all_categories_are_known() -> None:
    """Every general category but Cs has a name."""
    names = (
        "C Cc Cf Cn Co L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So"
    )
    for name in [*names.split(), "Z", "Zl", "Zp", "Zs"]:
        assert compile_pattern(f"\\p{{{name}}}", Purse().spend) is not None


@pytest.mark.parametrize("search", [False, True])
def test_an_evil_pattern_costs_a_few_steps_a_character(search: bool) -> None:
    """Where backtracking doubles its work with each character, the automaton does not."""
    for text in ("(a|aa)+b", "(a*)*b", "(a|a?)+b", "(.*)(.*)(.*)(.*)b", "((a{0,9}){0,9})b"):
        pattern = compile_pattern(text, Purse().spend)
        assert pattern is not None
        purse = Purse()
        assert not pattern.test("a" * 20_000, search, purse.spend)
        assert purse.spent < 20_000


def test_a_pattern_whose_states_explode_pays_for_every_character() -> None:
    """Moves that cannot be remembered cost at most a look at each state; memory stays small."""
    compile_purse = Purse()
    pattern = compile_pattern("[ab]*a[ab]{300}", compile_purse.spend)
    assert pattern is not None
    assert compile_purse.spent >= pattern.states_count > 300
    text = "".join("ab"[hash((n * n * 7919) >> 5) & 1] for n in range(3_000))
    purse = Purse()
    assert pattern.test(text, True, purse.spend)
    assert not pattern.test(text + "c" * 301, False, purse.spend)
    assert 3_000 < purse.spent < 4 * 3_300 * pattern.states_count
    assert pattern._cells <= limits.PATTERN_CELLS_MAX


def test_moves_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stays right while memory is given back."""
    monkeypatch.setattr(limits, "PATTERN_CELLS_MAX", 40)
    pattern = compile_pattern("(a|b)*c[abc]{4}", Purse().spend)
    assert pattern is not None
    cases = (("abacabcbd", False), ("ababcabca", True), ("c", False), ("caaaa", True))
    for text, expected in cases:
        assert expected is pattern.test(text, False, Purse().spend)
        assert pattern._cells <= 40
    for number in range(100):  # one state with many moves
        pattern.test(chr(0x4E00 + number), True, Purse().spend)
        assert pattern._cells <= 40


def test_a_wide_class_is_asked_once_however_often_it_is_repeated() -> None:
    """Copies of one part share their set of characters."""
    wide = "".join(chr(0x4E00 + 2 * number) for number in range(1_000))
    pattern = compile_pattern(f"[{wide}x]{{0,900}}", Purse().spend)
    assert pattern is not None
    purse = Purse()
    assert pattern.test("x" * 10, False, purse.spend)
    assert purse.spent < 10 * (1_001 + 3 * pattern.states_count) + 10


@pytest.mark.parametrize(
    "pattern",
    [
        "a{20001}", "(a{200}){200}", "((((((a{99}){99}){99}){99}){99}){99}){99}", "(a?){10000}",
        "(a{1,99999999999})", "(a|b){9999}", "[a]{20000,}",
    ],
)  # fmt: skip
def test_repeats_are_unrolled_up_to_a_limit(pattern: str) -> None:
    """PATTERN_STATES_MAX states, counted while they are made."""
    with pytest.raises(PathLimitError, match="states"):
        compile_pattern(pattern, Purse().spend)


def test_a_long_pattern_is_refused() -> None:
    """PATTERN_LENGTH_MAX characters."""
    assert matches("a" * limits.PATTERN_LENGTH_MAX, "a" * limits.PATTERN_LENGTH_MAX)
    with pytest.raises(PathLimitError, match="4097 characters"):
        compile_pattern("a" * (limits.PATTERN_LENGTH_MAX + 1), Purse().spend)


def test_parentheses_nest_up_to_a_limit() -> None:
    """PATH_NESTING_MAX levels, whatever stands in them."""
    deep = limits.PATH_NESTING_MAX
    assert matches("(a|" * deep + "b" + ")*" * deep, "ab")
    with pytest.raises(PathLimitError, match="nests"):
        compile_pattern("(" * (deep + 1) + ")" * (deep + 1), Purse().spend)


def test_small_patterns_are_kept_and_large_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATTERN_CACHE_MAX patterns of at most PATTERN_CACHED_STATES_MAX states."""
    monkeypatch.setattr(iregexp, "_patterns", {})
    kept = compile_pattern("a", Purse().spend)
    assert isinstance(kept, Pattern)
    assert compile_pattern("a", Purse().spend) is kept
    large = compile_pattern("a{2500}", Purse().spend)
    assert compile_pattern("a{2500}", Purse().spend) is not large
    for number in range(limits.PATTERN_CACHE_MAX):
        compile_pattern(f"b{number}", Purse().spend)
    assert len(iregexp._patterns) <= limits.PATTERN_CACHE_MAX
    assert compile_pattern("a", Purse().spend) is not kept


def test_patterns_from_the_document_are_compiled_and_paid_for() -> None:
    """A pattern may differ from node to node."""
    document = {
        "a": [{"p": "x+", "t": "xx"}, {"p": "y", "t": "xx"}, {"p": "[", "t": "["}, {"t": ""}]
    }
    assert [document["a"][0]] == parse_path("$.a[?match(@.t, @.p)]").bind().values(document)
    assert [document["a"][0]] == parse_path("$.a[?search(@.t, @.p)]").bind().values(document)
