"""Make bad input out of good: deterministic for a seed, so that every finding replays."""

import copy
import random
from collections.abc import Sequence
from typing import Any

__all__ = ["bytes_or_noise", "mutate_bytes", "mutate_json", "mutate_text", "random_bytes"]

_INTERESTING = (b"\0", b"\xff", b"[", b"{", b'"', b"\\", b":", b",", b"\x80", b"null", b"1e999")
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**64,
    1.5,
    "",
    "x" * 70,
    "=",
    "é",
    "\u202e",
    [],
    {},
    [[]],
    {"": None},
)


def random_bytes(rng: random.Random) -> bytes:
    """Return up to 400 random bytes."""
    return rng.randbytes(rng.randrange(400))


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with a few bits turned, bytes replaced, pieces cut out, doubled or added."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randrange(1, 20))
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end]
            case 4:
                changed[at:at] = rng.choice(_INTERESTING)
            case _:
                del changed[at:]
    return bytes(changed)


def mutate_json(rng: random.Random, value: Any) -> Any:
    """Return JSON with one of its places replaced, removed, or moved elsewhere."""
    changed = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []
    waiting = [changed]
    while waiting:
        parent = waiting.pop()
        steps = list(parent) if isinstance(parent, dict) else range(len(parent))
        for step in steps:
            places.append((parent, step))
            if isinstance(parent[step], (dict, list)):
                waiting.append(parent[step])
    if not places or rng.random() < 0.05:
        return rng.choice(_VALUES)
    parent, step = rng.choice(places)
    match rng.randrange(3):
        case 0:
            del parent[step]
        case 1:
            other, key = rng.choice(places)
            parent[step] = copy.deepcopy(other[key]) if key in _steps(other) else None
        case _:
            parent[step] = rng.choice(_VALUES)
    return changed


def _steps(value: Any) -> Any:
    return value if isinstance(value, dict) else range(len(value))


def bytes_or_noise(rng: random.Random, data: bytes) -> bytes:
    """Mutate mostly; now and then make something of nothing."""
    return random_bytes(rng) if rng.random() < 0.1 else mutate_bytes(rng, data)


def mutate_text(rng: random.Random, text: str, tokens: Sequence[str], other: str = "") -> str:
    """Return `text` with a few pieces cut out, doubled, replaced by tokens or by another text's."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.randrange(1, 6))
        match rng.randrange(6):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:]
            case 2:
                start = rng.randrange(len(other) + 1)
                text = text[:at] + other[start : start + rng.randrange(1, 12)] + text[end:]
            case 3:
                text = (
                    text[:at]
                    + chr(rng.choice((rng.randrange(128), rng.randrange(0xD800))))
                    + (text[end:])
                )
            case _:
                text = text[:at] + rng.choice(tokens) + text[end if rng.random() < 0.5 else at :]
    return text
