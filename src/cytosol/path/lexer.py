"""A cursor over the text of a path: names, numbers, strings and blank space of RFC 9535.

The grammar decides by context (`-1` is a number after `<` and a subtraction after `@.a`), so
the parser asks for the token it can use instead of reading a list of them.
"""

from __future__ import annotations

import math
import re
from typing import Final, NoReturn

from cytosol.errors import PathSyntaxError

__all__ = ["INDEX_MAX", "NAME_PATTERN", "Cursor"]

INDEX_MAX: Final = 2**53 - 1
"""Greatest index or slice bound: the I-JSON range (RFC 9535, 2.1)."""

NAME_PATTERN: Final = (
    r"[A-Za-z_\x80-\ud7ff\ue000-\U0010ffff][A-Za-z0-9_\x80-\ud7ff\ue000-\U0010ffff]*"
)
"""`member-name-shorthand` (RFC 9535, 2.5.1.1): letters, digits, `_` and all beyond ASCII."""

_NAME: Final = re.compile(NAME_PATTERN)
_BLANK: Final = re.compile(r"[ \t\n\r]*")
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER: Final = re.compile(r"(?:-?[1-9][0-9]*|-?0)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_VARIABLE: Final = re.compile(rf"\{{({NAME_PATTERN}|0|[1-9][0-9]*)\}}")
_FUNCTION: Final = re.compile(r"([a-z][a-z0-9_]*)\(")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")
_PLAIN: Final = {
    "'": re.compile(r"[^\x00-\x1f'\\\ud800-\udfff]*"),
    '"': re.compile(r'[^\x00-\x1f"\\\ud800-\udfff]*'),
}
_HEX: Final = re.compile(r"[0-9A-Fa-f]{4}")
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}

# Python refuses to read longer integers by default, and 310 digits are beyond every float.
_INTEGER_DIGITS_MAX: Final = 310


class Cursor:
    """Read `text` from left to right; `position` is the next character."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        """Raise PathSyntaxError at `position`, by default here."""
        raise PathSyntaxError(message, self.text, self.position if position is None else position)

    def at(self, token: str) -> bool:
        """Tell whether `token` comes next."""
        return self.text.startswith(token, self.position)

    def take(self, token: str) -> bool:
        """Step over `token` if it comes next; tell whether it did."""
        if self.text.startswith(token, self.position):
            self.position += len(token)
            return True
        return False

    def skip_blank(self) -> None:
        """Step over blank space: space, tab, line feed, carriage return."""
        match = _BLANK.match(self.text, self.position)
        assert match is not None  # the pattern matches nothing at all, too
        self.position = match.end()

    def _take_match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def take_name(self) -> str | None:
        """Read a name as it stands after a dot."""
        match = self._take_match(_NAME)
        return None if match is None else match.group()

    def take_variable(self) -> str | None:
        """Read `{name}` or `{0}`; a brace that is no variable is an error."""
        if not self.at("{"):
            return None
        match = self._take_match(_VARIABLE)
        if match is None:
            self.fail("a variable is written {name} or {0}, but not the one")
        return match.group(1)

    def take_word(self) -> str | None:
        """Read letters, digits and `_`: true, false, null, or a mistake."""
        match = self._take_match(_WORD)
        return None if match is None else match.group()

    def take_function(self) -> str | None:
        """Read a function's name with its opening parenthesis."""
        match = self._take_match(_FUNCTION)
        return None if match is None else match.group(1)

    def take_integer(self) -> int | None:
        """Read an index or a slice bound, without leading zeros, in the I-JSON range."""
        start = self.position
        match = self._take_match(_INTEGER)
        if match is None:
            return None
        digits = match.group()
        if len(digits) > 17 or abs(int(digits)) > INDEX_MAX:
            self.fail("an index must be between -(2^53-1) and 2^53-1, unlike the one", start)
        return int(digits)

    def take_number(self) -> int | float | None:
        """Read a number literal of a filter: an int, or a float if it has a dot or exponent."""
        match = self._take_match(_NUMBER)
        if match is None:
            return None
        digits = match.group()
        if match.group(1) or match.group(2):
            return float(digits)
        if len(digits) > _INTEGER_DIGITS_MAX:
            return -math.inf if digits[0] == "-" else math.inf
        return int(digits)

    def take_string(self) -> str | None:
        """Read a quoted string with its escapes (RFC 9535, 2.3.1.1)."""
        text = self.text
        quote = text[self.position : self.position + 1]
        plain = _PLAIN.get(quote)
        if plain is None:
            return None
        start = self.position
        self.position += 1
        parts: list[str] = []
        while True:
            match = plain.match(text, self.position)
            assert match is not None  # the pattern matches nothing at all, too
            parts.append(match.group())
            self.position = match.end()
            if self.take(quote):
                return "".join(parts)
            if self.position >= len(text):
                self.fail("a string is never closed, which opens", start)
            if not self.take("\\"):
                self.fail(
                    "a control character or lone surrogate must not stand in a string, as it does"
                )
            parts.append(self._escaped(quote))

    def _escaped(self, quote: str) -> str:
        """Read what follows a backslash."""
        mark = self.text[self.position : self.position + 1]
        if mark == quote or mark in _ESCAPES:
            self.position += 1
            return _ESCAPES.get(mark, quote)
        if mark != "u":
            self.fail(
                "a backslash must be followed by its own quote or by one of b f n r t / \\ uXXXX"
            )
        start = self.position - 1
        high = self._code_unit(start)
        if not 0xD800 <= high <= 0xDFFF:
            return chr(high)
        if high >= 0xDC00 or not self.take("\\"):
            self.fail("half of a surrogate pair stands alone", start)
        low = self._code_unit(start)
        if not 0xDC00 <= low <= 0xDFFF:
            self.fail("half of a surrogate pair stands alone", start)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    def _code_unit(self, start: int) -> int:
        """Read `uXXXX`."""
        match = _HEX.match(self.text, self.position + 1) if self.at("u") else None
        if match is None:
            self.fail("\\u must be followed by four hexadecimal digits, unlike the one", start)
        self.position = match.end()
        return int(match.group(), 16)
