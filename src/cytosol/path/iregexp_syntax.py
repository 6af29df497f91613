"""Read an I-Regexp by the grammar of RFC 9485, 4, and nothing beyond it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from cytosol import limits
from cytosol.errors import PathLimitError

__all__ = [
    "Alternatives",
    "Assertion",
    "CharSet",
    "Node",
    "NotIRegexp",
    "Repeat",
    "Sequence",
    "parse_pattern",
]


class NotIRegexp(ValueError):
    """Say that a text is not an I-Regexp; match() and search() then give false."""


@dataclass(frozen=True, slots=True)
class CharSet:
    """A set of characters: ranges, and categories with whether each is complemented."""

    ranges: tuple[tuple[str, str], ...]
    categories: tuple[tuple[str, bool], ...]
    negated: bool

    def holds(self, character: str, category: str) -> bool:
        """Tell whether the set holds `character`, whose Unicode category is `category`."""
        for low, high in self.ranges:
            if low <= character <= high:
                return not self.negated
        for prefix, complemented in self.categories:
            if category.startswith(prefix) is not complemented:
                return not self.negated
        return self.negated


@dataclass(frozen=True, slots=True)
class Assertion:
    """`^` or `$`: the start or the end of the text."""

    end: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after the other; none for the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Two or more branches."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`node` at least `least` times, and at most `most` unless that is None."""

    node: Node
    least: int
    most: int | None


Node: TypeAlias = CharSet | Assertion | Sequence | Alternatives | Repeat

_EMPTY: Final = Sequence(())
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_RANGE: Final = re.compile(r"\{([0-9]+)(?:(,)([0-9]+)?)?\}")
_CATEGORY: Final = re.compile(
    r"\{(L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?|C[cfno]?)\}"
)
_SIMPLE: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_ESCAPED: Final = {
    **{sign: sign for sign in "()*+-.?[\\]^{|}"},
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_ANY: Final = CharSet((("\n", "\n"), ("\r", "\r")), (), True)  # RFC 9485, 5.3: all but line ends


def parse_pattern(text: str) -> Node:
    """Return the parts of a pattern.

    Raises NotIRegexp for what the grammar does not allow, PathLimitError for parentheses
    nested deeper than PATH_NESTING_MAX.
    """
    if _SURROGATE.search(text):
        raise NotIRegexp("a lone surrogate")
    return _Reader(text).read()


def _sequence(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))


def _alternatives(branches: list[Node]) -> Node:
    return branches[0] if len(branches) == 1 else Alternatives(tuple(branches))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        character = self.peek()
        if not character:
            raise NotIRegexp("the pattern ends too early")
        self.position += 1
        return character

    def read(self) -> Node:
        """Read the whole pattern; open parentheses wait on a list, not on Python's stack."""
        outer: list[tuple[list[Node], list[Node]]] = []
        branches: list[Node] = []
        parts: list[Node] = []
        while self.position < len(self.text):
            character = self.next()
            if character == "(":
                if len(outer) >= limits.PATH_NESTING_MAX:
                    raise PathLimitError(
                        "a pattern of match() or search() nests parentheses deeper than "
                        f"{limits.PATH_NESTING_MAX} levels"
                    )
                outer.append((branches, parts))
                branches, parts = [], []
            elif character == "|":
                branches.append(_sequence(parts))
                parts = []
            elif character == ")":
                if not outer:
                    raise NotIRegexp("a parenthesis closes that was not opened")
                group = _alternatives([*branches, _sequence(parts)])
                branches, parts = outer.pop()
                self.add_quantified(parts, group)
            else:
                self.add_quantified(parts, self.atom(character))
        if outer:
            raise NotIRegexp("a parenthesis is not closed")
        return _alternatives([*branches, _sequence(parts)])

    def atom(self, character: str) -> Node:
        """Return what one character, or what it starts, stands for."""
        if character == ".":
            return _ANY
        if character == "\\":
            return self.escape()
        if character == "[":
            return self.bracket()
        if character in "^$":
            return Assertion(character == "$")
        if character in "*+?]{}":
            raise NotIRegexp(f"{character} stands bare")
        return CharSet(((character, character),), (), False)

    def add_quantified(self, parts: list[Node], node: Node) -> None:
        """Add `node` with the quantifier that follows, unless only the empty text is left.

        Without empty parts every part costs a state, so that the limit on states bounds work.
        """
        least, most = self.quantifier()
        if most == 0 or node == _EMPTY:
            return
        parts.append(node if least == most == 1 else Repeat(node, least, most))

    def quantifier(self) -> tuple[int, int | None]:
        """Read how often the part before it is repeated; None is without end."""
        character = self.peek()
        if character in _SIMPLE:
            self.position += 1
            return _SIMPLE[character]
        if character != "{":
            return 1, 1
        match = _RANGE.match(self.text, self.position)
        if match is None:
            raise NotIRegexp("a brace that is no range")
        self.position = match.end()
        least = int(match.group(1))
        if match.group(2) is None:
            return least, least
        if match.group(3) is None:
            return least, None
        most = int(match.group(3))
        if most < least:
            raise NotIRegexp("a range from more to less")
        return least, most

    def escape(self) -> CharSet:
        """Read what follows a backslash."""
        if self.peek() in ("p", "P"):
            complemented = self.next() == "P"
            match = _CATEGORY.match(self.text, self.position)
            if match is None:
                raise NotIRegexp("no such category")
            self.position = match.end()
            return CharSet((), ((match.group(1), complemented),), False)
        character = _ESCAPED.get(self.next())
        if character is None:
            raise NotIRegexp("no such escape")
        return CharSet(((character, character),), (), False)

    def bracket(self) -> CharSet:
        """Read a character class from behind its `[`."""
        negated = self.peek() == "^"
        if negated:
            self.position += 1
        ranges: list[tuple[str, str]] = []
        categories: list[tuple[str, bool]] = []
        first = True
        while True:
            character = self.next()
            if character == "]" and not first:
                return CharSet(tuple(ranges), tuple(categories), negated)
            if character == "-" and (first or self.peek() == "]"):
                ranges.append(("-", "-"))
            else:
                chars = self.class_character(character)
                categories.extend(chars.categories)
                ranges.extend(self.up_to(low) for low, _ in chars.ranges)
            first = False

    def class_character(self, character: str) -> CharSet:
        if character == "\\":
            return self.escape()
        if character in "-[]":
            raise NotIRegexp(f"{character} stands bare in a class")
        return CharSet(((character, character),), (), False)

    def up_to(self, low: str) -> tuple[str, str]:
        """Read the upper end of a range that starts with `low`, if one follows."""
        if self.peek() != "-" or self.text[self.position + 1 : self.position + 2] == "]":
            return low, low
        self.position += 1
        chars = self.class_character(self.next())
        if not chars.ranges:
            raise NotIRegexp("a category ends a range")
        high = chars.ranges[0][0]
        if high < low:
            raise NotIRegexp("a range from high to low")
        return low, high
