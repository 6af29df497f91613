"""Search files for words that must not be in them, however they may have been written."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from cytosol.model.packed import zstd

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BASE64 = re.compile(rb"[A-Za-z0-9+/\-_]{24,}={0,2}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DEPTH = 3
_UNPACKED_MAX = 16 * 1024 * 1024


@cache
def spellings(word: str | bytes) -> frozenset[bytes]:
    """Return the ways in which a word may stand in a file."""
    return frozenset(_spellings(word))


def _spellings(word: str | bytes) -> Iterator[bytes]:
    if isinstance(word, str):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            yield word.encode(encoding)
    raw = word.encode() if isinstance(word, str) else word
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield raw[::-1]
    for shift in range(3):  # a word can begin at each of three places of a group
        encoded = base64.b64encode(b"\0" * shift + raw)
        whole = len(encoded) - (4 if (shift + len(raw)) % 3 else 0)
        yield encoded[0 if shift == 0 else 4 : whole]


def contents(raw: bytes, depth: int = _DEPTH) -> Iterator[bytes]:
    """Yield what stands in a file, and what base64 and zstd in it hold, one in the other."""
    yield raw
    if depth == 0:
        return
    position = raw.find(_ZSTD_MAGIC)
    while position >= 0:
        try:
            unpacked = zstd.ZstdDecompressor().decompress(raw[position:], _UNPACKED_MAX)
        except zstd.ZstdError:  # the magic number by chance
            unpacked = b""
        if unpacked:
            yield from contents(unpacked, depth - 1)
        position = raw.find(_ZSTD_MAGIC, position + 1)
    for match in _BASE64.finditer(raw):
        text = match[0].rstrip(b"=")[: len(match[0].rstrip(b"=")) // 4 * 4]
        yield from contents(base64.b64decode(text.translate(_URL_SAFE)), depth - 1)


def find_words(files: Iterable[Path], words: Iterable[str | bytes]) -> list[str]:
    """Return which words stand in which files; also in the names of the files."""
    wanted = [(word, spelling) for word in words for spelling in spellings(word)]
    assert all(len(spelling) >= 6 for _, spelling in wanted), "short words stand in any noise"
    found = []
    for file in files:
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            continue
        for content in [file.name.encode(), *contents(raw)]:
            found += [f"{file.name}: {word!r}" for word, each in wanted if each in content]
    return sorted(set(found))
