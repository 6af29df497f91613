"""The metadata: one JSON object that is queried like the document (seed: Metadata).

Each top-level key is made when a query asks for it, from a source that whoever knows it has
registered, so that asking for the peers does not list the history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cytosol.model.json import JsonValue
from cytosol.path import Query

__all__ = ["Metadata"]


class Metadata:
    """Named sources of metadata: `actions`, `config`, `failures`, `pairings`, `peers`."""

    def __init__(self, sources: Mapping[str, Callable[[], JsonValue]]) -> None:
        self._sources = dict(sorted(sources.items()))

    def read(self, query: Query) -> list[JsonValue]:
        """Return what a query selects, made anew: it is the caller's own."""
        prefix = query.prefix
        if prefix and isinstance(prefix[0], str):
            source = self._sources.get(prefix[0])
            root = {} if source is None else {prefix[0]: source()}
        else:
            root = {name: source() for name, source in self._sources.items()}
        return query.values(root)
