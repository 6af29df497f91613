"""The two shapes of the data: what is written, where, and under which keys.

Shape 1 is as regular as can be: one object, different keys `k_0`, `k_1`, …, and integers. Shape 2
is as irregular as documents are: a dozen objects within each other, short keys of all kinds of
which many are written again, and integers, floats, booleans and texts of any length in turn.
Whatever is tuned to one of them shows in the other. Both are functions of a number, so that every
process and every library writes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "SHAPES",
    "Writes",
    "different_keys",
    "key_at",
    "nests_of",
    "scramble",
    "value_at",
    "writes_of",
]

SHAPES = (1, 2)

_NESTS = {
    1: (("root", "l1", "l2"),),
    2: (
        ("root", "a"),
        ("root", "a", "users"),
        ("root", "a", "users", "u7"),
        ("root", "a", "users", "u7", "prefs"),
        ("root", "a", "users", "u7", "prefs", "ui"),
        ("root", "a", "users", "zoë"),
        ("root", "b"),
        ("root", "b", "x"),
        ("root", "b", "x", "y"),
        ("root", "b", "x", "y", "z"),
        ("root", "q9"),
        ("root", "q9", "items"),
    ),
}

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_TEXT = "The quick brown fox jumps over the lazy dog; zwölf Boxkämpfer jagen Viktor. " * 2
_DIFFERENT = 0.6
"""How many different keys shape 2 has for each write: the others are written again."""


def nests_of(shape: int) -> tuple[tuple[str, ...], ...]:
    """Return the objects that are written to, each as its keys from the root; parents first."""
    return _NESTS[shape]


def scramble(number: int) -> int:
    """Return a number of 32 bits that looks random and is always the same."""
    number = (number + 0x9E3779B9) * 0x85EBCA6B & 0xFFFFFFFF
    number = (number ^ number >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return number ^ number >> 16


def key_at(shape: int, i: int, different: int, prefix: str = "k_") -> tuple[int, str]:
    """Return in which object write `i` of so many different keys goes, and under which key."""
    if shape == 1:
        return 0, f"{prefix}{i % different}"
    slot = scramble(i) % different
    salt = scramble(slot)
    key = _LETTERS[salt % 26]
    rest = slot
    while rest:
        rest, digit = divmod(rest, 36)
        key += _LETTERS[digit]
    if salt % 16 == 5:
        key += "-é 1"  # what a path has to put in brackets
    return (salt >> 8) % len(_NESTS[2]), key


def value_at(shape: int, i: int) -> Any:
    """Return what write `i` writes."""
    if shape == 1:
        return i
    salt = scramble(~i)
    kind = salt % 8
    if kind < 3:
        return (salt >> 4) * (1 if kind else i % 1000) - 1000
    if kind == 3:
        return (salt >> 4) / 1000
    if kind == 4:
        return salt & 16 == 0
    return f"{_TEXT[: salt >> 4 & 63]}{i}"


def different_keys(shape: int, count: int) -> int:
    """Return how many different keys so many writes go to."""
    return count if shape == 1 else max(1, round(count * _DIFFERENT))


@dataclass(frozen=True, slots=True)
class Writes:
    """What is written, one element for each write."""

    nests: list[int]
    keys: list[str]
    values: list[Any]

    def __len__(self) -> int:
        return len(self.keys)

    def each(self, choices: Sequence[Any]) -> list[Any]:
        """Return for each write what belongs to its object, such as a handle."""
        return [choices[nest] for nest in self.nests]

    def places(self, shape: int) -> Iterator[tuple[str, ...]]:
        """Yield the keys from the root to where each write goes."""
        nests = nests_of(shape)
        return ((*nests[nest], key) for nest, key in zip(self.nests, self.keys, strict=True))


def writes_of(
    shape: int, count: int, *, first: int = 0, different: int | None = None, prefix: str = "k_"
) -> Writes:
    """Return `count` writes from number `first` on, on so many different keys."""
    if different is None:
        different = different_keys(shape, first + count if shape == 1 else count)
    places = [key_at(shape, i, different, prefix) for i in range(first, first + count)]
    return Writes(
        [nest for nest, _ in places],
        [key for _, key in places],
        [value_at(shape, i) for i in range(first, first + count)],
    )
