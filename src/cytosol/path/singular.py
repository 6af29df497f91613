"""The fast path for plain paths such as `$.root.notes[3].title`: text to steps, no parser.

Most paths of an app share their beginning and differ in the last name, so the steps of
beginnings are remembered as well as those of whole paths. What is not obviously plain is left
to `parse_path`; both agree wherever this one answers.
"""

from __future__ import annotations

import re
from typing import Final

from cytosol.limits import PATH_LENGTH_MAX
from cytosol.path.cache import remember
from cytosol.path.evaluate import Location, Step
from cytosol.path.lexer import INDEX_MAX, NAME_PATTERN

__all__ = ["singular_steps"]

_STEP: Final = re.compile(
    rf"\.({NAME_PATTERN})"
    r"|\[(0|-?[1-9][0-9]{0,15})\]"
    r"|\['([^\x00-\x1f'\\\ud800-\udfff]*)'\]"
    r'|\["([^\x00-\x1f"\\\ud800-\udfff]*)"\]'
)

_beginnings: dict[str, Location] = {}


def singular_steps(text: str) -> Location | None:
    """Return the keys and indexes of a plain path without variables, as they are written.

    None means that `text` is not plain (or not a path at all): `parse_path` then tells.
    """
    if len(text) > PATH_LENGTH_MAX:
        return None
    beginning, _, name = text.rpartition(".")
    if name.isidentifier():  # all that Python takes as one is a name of the RFC, too
        before = _beginnings.get(beginning)
        if before is None:
            before = _remember(beginning, _with_index(beginning)) if beginning else None
            if before is None:
                return _scan(text)
        return (*before, name)
    return _with_index(text)


def _with_index(text: str) -> Location | None:
    """Read a path that ends with an index, or any other."""
    beginning, _, index = text[:-1].rpartition("[")
    if index.isdecimal() and index.isascii() and text[-1] == "]" and len(index) < 16:
        before = _beginnings.get(beginning)
        if before is None:
            before = _remember(beginning, _scan(beginning))
        if before is not None and (index[0] != "0" or index == "0"):
            return (*before, int(index))
    return _scan(text)


def _remember(beginning: str, steps: Location | None) -> Location | None:
    """Remember the steps of what stands before the last one."""
    if steps is not None:
        remember(_beginnings, beginning, steps)
    return steps


def _scan(text: str) -> Location | None:
    """Read step after step with one pattern."""
    if not text:
        return None
    position = 1 if text[0] == "$" else 0
    steps: list[Step] = []
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
