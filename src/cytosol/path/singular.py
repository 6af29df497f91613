"""The fast path for plain paths such as `$.root.notes[3].title`: text to steps, no parser.

Most paths of an app share their beginning and differ in the last name, so the steps of
beginnings are remembered as well as those of whole paths. What is not obviously plain is left
to `parse_path`; both agree wherever this one answers.
"""

from __future__ import annotations

import re
from typing import Final

from cytosol import limits
from cytosol.path.lexer import INDEX_MAX, NAME_PATTERN

__all__ = ["singular_steps"]

_STEP: Final = re.compile(
    rf"\.({NAME_PATTERN})"
    r"|\[(0|-?[1-9][0-9]{0,15})\]"
    r"|\['([^\x00-\x1f'\\\ud800-\udfff]*)'\]"
    r'|\["([^\x00-\x1f"\\\ud800-\udfff]*)"\]'
)

_known: dict[str, tuple[str | int, ...]] = {}
_beginnings: dict[str, tuple[str | int, ...]] = {}


def singular_steps(text: str) -> tuple[str | int, ...] | None:
    """Return the keys and indexes of a plain path without variables, as they are written.

    None means that `text` is not plain (or not a path at all): `parse_path` then tells.
    """
    steps = _known.get(text)
    if steps is not None:
        return steps
    if len(text) > limits.PATH_CACHED_LENGTH_MAX:
        return _scan(text)
    beginning, dot, name = text.rpartition(".")
    if name.isidentifier() and name.isascii():  # then it is a name of the RFC, too
        before = _beginnings.get(beginning)
        if before is None and beginning:
            before = _scan(beginning)
            if before is None:
                return None
            if len(_beginnings) >= limits.PATH_CACHE_MAX:
                _beginnings.clear()
            _beginnings[beginning] = before
        elif not dot:
            return None
        steps = (*before, name) if before is not None else (name,)
    else:
        steps = _scan(text)
        if steps is None:
            return None
    if len(_known) >= limits.PATH_CACHE_MAX:
        _known.clear()
    _known[text] = steps
    return steps


def _scan(text: str) -> tuple[str | int, ...] | None:
    """Read step after step with one pattern."""
    if not text or len(text) > limits.PATH_LENGTH_MAX:
        return None
    position = 1 if text[0] == "$" else 0
    steps: list[str | int] = []
    end = len(text)
    while position < end:
        match = _STEP.match(text, position)
        if match is None:
            return None
        position = match.end()
        name, index, single, double = match.groups()
        if index is None:
            steps.append(name or single or double or "")
        elif -INDEX_MAX <= (number := int(index)) <= INDEX_MAX:
            steps.append(number)
        else:
            return None
    return tuple(steps)
