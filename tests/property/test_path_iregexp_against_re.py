"""Random I-Regexps against Python's `re`, where both mean the same and `re` is safe."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from cytosol.errors import PathLimitError
from cytosol.path.iregexp import compile_pattern
from tests.property.share import examples

_atoms = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", "[-b]", "\\.", "\\n", "[\\]a]", "", "^", "$"]
)


def _quantify(atom: str, quantifier: str) -> str:
    return atom + quantifier if atom and atom not in "^$" else atom


_quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"])
_patterns = st.recursive(
    st.builds(_quantify, _atoms, _quantifiers),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join),
        st.builds(lambda group, quantifier: f"({group}){quantifier}", inner, _quantifiers),
    ),
    max_leaves=6,
)
_texts = st.text(st.sampled_from("abc.-]\n\r"), max_size=7)


def _translated(pattern: str) -> re.Pattern[str]:
    """Write a pattern for `re`: what differs are the dot, and the end before a line feed."""
    return re.compile(
        pattern.replace("\\.", "\0")
        .replace(".", "[^\\n\\r]")
        .replace("\0", "\\.")
        .replace("$", "\\Z")
        .replace("^", "\\A")
        .replace("[\\A", "[^")
    )


def _spend(steps: int) -> None:
    assert steps >= 0


@examples(1000)
@given(_patterns, st.lists(_texts, min_size=1, max_size=5))
@example("(a|aa)+b", ["aaab", "aaa"])
@example("(^a|b$)*", ["ab", "ba", "a", ""])
def test_small_patterns_match_as_in_re(pattern: str, texts: list[str]) -> None:
    """Whole texts and parts of texts, also from remembered moves."""
    expected = _translated(pattern)
    compiled = compile_pattern(pattern, _spend)
    assert compiled is not None
    for text in texts + texts:
        assert (expected.fullmatch(text) is not None) is compiled.test(text, False, _spend)
        assert (expected.search(text) is not None) is compiled.test(text, True, _spend)


@examples(300)
@given(st.text(st.sampled_from("ab()[]{}|*+?.^$-,\\pPLud019n"), max_size=12), _texts)
def test_any_text_is_a_pattern_or_none(pattern: str, text: str) -> None:
    """Nothing but None tells of a text that is no I-Regexp; the rest `re` reads, too."""
    try:
        compiled = compile_pattern(pattern, _spend)
    except PathLimitError:  # a{99999}
        return
    if compiled is None:
        return
    compiled.test(text, False, _spend)
    # `re` has no categories, repeats no anchors, and has a limit of its own on counts.
    if not any(sign in pattern for sign in ("\\p", "\\P", "^", "$", "{")):
        re.compile(pattern)


@examples(100)
@given(_patterns, st.sampled_from(["a", "ab", "aab", "cab"]), st.booleans())
def test_the_cost_grows_with_the_length_of_the_text_only(
    pattern: str, piece: str, search: bool
) -> None:
    """Twice the text costs at most twice the steps, and never more than all states each."""
    spent = 0

    def spend(steps: int) -> None:
        nonlocal spent
        spent += steps

    compiled = compile_pattern(f"({pattern})*", spend)
    assert compiled is not None
    length = 2_000
    for times in (1, 2):
        spent = 0
        compiled.test((piece * length)[: length * times], search, spend)
        assert spent <= 1 + length * times // 8 + 200 * 4 * compiled.states_count
