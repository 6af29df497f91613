"""What was read from texts of paths, within bounds: PATH_CACHE_MAX texts, none of them long."""

from __future__ import annotations

from typing import TypeVar

from cytosol import limits

__all__ = ["remember"]

_Read = TypeVar("_Read")


def remember(cache: dict[str, _Read], text: str, read: _Read) -> None:
    """Keep what was read from `text` unless it is long; a full cache is emptied first."""
    if len(text) <= limits.PATH_CACHED_LENGTH_MAX:
        if len(cache) >= limits.PATH_CACHE_MAX:
            cache.clear()
        cache[text] = read
