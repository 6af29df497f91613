"""Patches: the RFC 6902 operations that turn one query result into the next.

Exact always, small where the change is small, and never quadratic: arrays lose their common
beginning and end first, a short middle gets a longest common subsequence, a long one matches
equal elements by the order of their occurrence, in n log n.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple, TypeAlias

from cytosol.document.frozen import freeze, is_same
from cytosol.limits import PATCH_CELLS_MAX
from cytosol.model.json import JsonValue

__all__ = ["Operation", "list_patch"]

Operation: TypeAlias = dict[str, Any]
"""`{"op": "add" | "replace", "path": pointer, "value": ...}` or `{"op": "remove", "path": ...}`."""

_CHUNK = 256  # elements of an array that are compared at once
_FRAME_BYTES = 20  # about what an operation takes besides its path and value


class _Place(NamedTuple):
    """A pointer in parts: written out only at the end, or long keys would be copied in vain."""

    length: int
    above: _Place | None
    token: str

    def below(self, token: str) -> _Place:
        return _Place(self.length + 1 + len(token), self, token)

    def text(self) -> str:
        tokens = []
        place = self
        while place.above is not None:
            tokens.append(place.token)
            place = place.above
        tokens.append("")
        return "/".join(reversed(tokens))


_ROOT = _Place(0, None, "")

_Part: TypeAlias = tuple[str, _Place, JsonValue]  # op, path, value (None for "remove")


def list_patch(old: list[JsonValue], new: list[JsonValue]) -> list[Operation]:
    """Return the operations that turn `old` into `new`, to be applied in order.

    Paths are RFC 6901 pointers into the list, never the empty one; numbers that are equal
    (1 and 1.0) count as unchanged. The values in the operations are those of `new`, not copies.
    """
    operations: list[Operation] = []
    for op, place, value in _array_parts(_ROOT, old, new):
        operation: Operation = {"op": op, "path": place.text()}
        if op != "remove":
            operation["value"] = value
        operations.append(operation)
    return operations


def _parts(place: _Place, old: JsonValue, new: JsonValue) -> list[_Part]:
    """Return the operations that turn the value at `place` from `old` into `new`."""
    if is_same(old, new):
        return []
    whole: list[_Part] = [("replace", place, new)]
    if type(old) is dict and type(new) is dict:
        parts = _object_parts(place, old, new)
    elif type(old) is list and type(new) is list:
        parts = _array_parts(place, old, new)
    else:
        return whole
    # One operation is never much longer than the whole, so only several are weighed.
    return whole if len(parts) > 1 and _weight(parts) > _weight(whole) else parts


def _weight(parts: list[_Part]) -> int:
    """Return about how many bytes the operations take."""
    frames = sum(_FRAME_BYTES + place.length for _, place, _ in parts)
    return frames + len(freeze([value for _, _, value in parts]))


def _object_parts(
    place: _Place, old: dict[str, JsonValue], new: dict[str, JsonValue]
) -> list[_Part]:
    parts: list[_Part] = []
    for key in old:
        if key not in new:
            parts.append(("remove", place.below(_escaped(key)), None))
    for key, value in new.items():
        member = place.below(_escaped(key))
        if key in old:
            parts += _parts(member, old[key], value)
        else:
            parts.append(("add", member, value))
    return parts


def _escaped(key: str) -> str:
    """Return a key as a reference token (RFC 6901, 3): `~` first, or it would be done twice."""
    return key.replace("~", "~0").replace("/", "~1")


def _array_parts(place: _Place, old: list[JsonValue], new: list[JsonValue]) -> list[_Part]:
    start = _common_start(old, new)
    end = _common_end(old, new, start)
    old = old[start : len(old) - end]
    new = new[start : len(new) - end]
    parts: list[_Part] = []
    here = there = 0  # what stands before these in `old` and `new` is done
    for left, right in [*_matches(old, new), (len(old), len(new))]:
        if here < left or there < right:
            parts += _gap_parts(place, start + there, old[here:left], new[there:right])
        here, there = left + 1, right + 1
    return parts


def _gap_parts(
    place: _Place, index: int, old: list[JsonValue], new: list[JsonValue]
) -> list[_Part]:
    """Return the operations for elements that have no equal: from left to right, from `index`."""
    parts: list[_Part] = []
    both = min(len(old), len(new))
    for offset in range(both):
        parts += _parts(place.below(str(index + offset)), old[offset], new[offset])
    index += both
    removed = place.below(str(index))  # each time, for the elements behind close up
    parts += [("remove", removed, None) for _ in old[both:]]
    for offset, value in enumerate(new[both:], index):
        parts.append(("add", place.below(str(offset)), value))
    return parts


def _common_start(old: list[JsonValue], new: list[JsonValue]) -> int:
    """Return how many elements are equal at the beginning of both."""
    shorter = min(len(old), len(new))
    at = 0
    while at + _CHUNK <= shorter and freeze(old[at : at + _CHUNK]) == freeze(new[at : at + _CHUNK]):
        at += _CHUNK
    while at < shorter and is_same(old[at], new[at]):
        at += 1
    return at


def _common_end(old: list[JsonValue], new: list[JsonValue], start: int) -> int:
    """Return how many elements are equal at the end of both, behind the first `start`."""
    shorter = min(len(old), len(new)) - start
    # Chunks are counted from the front of the common part, so that slices stay plain.
    behind_old, behind_new = len(old) - shorter, len(new) - shorter
    left = shorter
    while left >= _CHUNK:
        a, b = behind_old + left, behind_new + left
        if freeze(old[a - _CHUNK : a]) != freeze(new[b - _CHUNK : b]):
            break
        left -= _CHUNK
    while left and is_same(old[behind_old + left - 1], new[behind_new + left - 1]):
        left -= 1
    return shorter - left


def _matches(old: list[JsonValue], new: list[JsonValue]) -> list[tuple[int, int]]:
    """Return pairs of indexes of equal elements, both rising: the elements that stay."""
    if not old or not new:
        return []
    before, after = [freeze(item) for item in old], [freeze(item) for item in new]
    if len(before) * len(after) <= PATCH_CELLS_MAX:
        matches = _common_subsequence(before, after)
    else:
        matches = _rising_matches(before, after)
    if len(before) == len(after):
        # A replacement is one operation, a shift two: of values that repeat, like booleans,
        # a shift may keep more and yet take longer.
        aligned = [(at, at) for at in range(len(before)) if before[at] == after[at]]
        if len(before) - len(aligned) < _cost(matches, len(before)):
            return aligned
    return matches


def _cost(matches: list[tuple[int, int]], length: int) -> int:
    """Return how many elements an operation is needed for, in two arrays of equal length."""
    cost = here = there = 0
    for left, right in [*matches, (length, length)]:
        cost += max(left - here, right - there)
        here, there = left + 1, right + 1
    return cost


def _common_subsequence(old: list[bytes], new: list[bytes]) -> list[tuple[int, int]]:
    """Return a longest common subsequence, from a table of len(old) * len(new) cells."""
    row = [0] * (len(new) + 1)
    rows = [row]  # rows[-1 - i][j]: the length for old[i:] and new[j:]
    for item in reversed(old):
        below, row = row, [0] * (len(new) + 1)
        for j in range(len(new) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if item == new[j] else max(below[j], row[j + 1])
        rows.append(row)
    rows.reverse()
    matches = []
    i = j = 0
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            matches.append((i, j))
            i += 1
            j += 1
        elif rows[i + 1][j] >= rows[i][j + 1]:
            i += 1
        else:
            j += 1
    return matches


def _rising_matches(old: list[bytes], new: list[bytes]) -> list[tuple[int, int]]:
    """Match the n-th of equal elements with the n-th, and keep a longest rising subsequence."""
    places: dict[bytes, list[int]] = {}
    for at in range(len(old) - 1, -1, -1):
        places.setdefault(old[at], []).append(at)
    found = [(places[key].pop(), at) for at, key in enumerate(new) if places.get(key)]
    ends: list[int] = []  # ends[n]: the least old index that ends a rising run of n + 1
    owners: list[int] = []  # which pair of `found` that is
    earlier: list[int] = []  # the pair before each pair in its run
    for number, (at, _) in enumerate(found):
        length = bisect_left(ends, at)
        earlier.append(owners[length - 1] if length else -1)
        ends[length : length + 1] = [at]
        owners[length : length + 1] = [number]
    matches = []
    number = owners[-1] if owners else -1
    while number >= 0:
        matches.append(found[number])
        number = earlier[number]
    matches.reverse()
    return matches
