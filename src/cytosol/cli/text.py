"""Text that is safe to show: values as JSON, names from the network without control characters.

Anybody on the network chooses names, and a terminal obeys control characters.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any, NoReturn

from cytosol.cli.exits import CommandError
from cytosol.model.json import JsonValue

__all__ = ["bar", "count_of", "json_text", "parse_json", "printable", "size_text"]

# What JSON leaves as it is although terminals act on it: C1 controls, and marks that turn text
# around. They stand in strings only, where an escape means the same.
_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_text(value: JsonValue, *, indent: int | None = None) -> str:
    """Return a value as JSON that any terminal can show."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """Return text with everything that is not printable written as an escape."""
    return "".join(
        each if each.isprintable() and not _UNSAFE.match(each) else f"\\u{ord(each):04x}"
        for each in text
    )


def parse_json(text: str, what: str) -> Any:
    """Return the JSON value in a text; CommandError says what was expected of whom.

    An object that names a member twice is refused: one of the two would vanish without a word.
    """

    def make_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(members)
        if len(made) < len(members):
            names = Counter(name for name, _ in members)
            twice = json_text(next(name for name in names if names[name] > 1))
            raise CommandError(f"an object in {what} names the member {twice:.80} twice; keep one")
        return made

    try:
        return json.loads(text, object_pairs_hook=make_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        hint = ""
        word = text.strip()
        if word and (word[0].isalpha() or word[0] == "'"):
            hint = '; write a string with double quotes: "like this"'
        raise CommandError(
            f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{what} is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 op`, `2,000 ops`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size_text(size_bytes: int) -> str:
    """Return a size for people, in KiB or MiB above a thousand bytes."""
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    if size_bytes < 1_000 * 1_024:
        return f"{size_bytes / 1_024:.1f} KiB"
    return f"{size_bytes / 1_024 / 1_024:.1f} MiB"


def bar(done: float) -> str:
    """Return a bar of ten cells for a part from 0 to 1."""
    full = int(done * 10)
    return "#" * full + "." * (10 - full)
