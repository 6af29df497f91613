"""A branch as plain as possible: what its source showed, and the last edit of each field."""

from __future__ import annotations

from typing import Any

from cytosol.graph import Pointer

GONE = object()


class BranchModel:
    """What a branch must show, as plain values; nodes without fields are left out."""

    def __init__(self, source: dict[str, dict[str, Any]]) -> None:
        self._source = source
        self._deleted: set[str] = set()
        self._fields: dict[str, dict[str, Any]] = {}

    def write(self, key: str, patch: dict[str, Any]) -> None:
        """Assign fields."""
        for field, value in patch.items():
            plain = {"edge": value.key} if isinstance(value, Pointer) else value
            self._fields.setdefault(key, {})[field] = plain

    def delete(self, key: str) -> None:
        """Delete a node."""
        self._deleted.add(key)
        self._fields.pop(key, None)

    def delete_field(self, key: str, field: str) -> None:
        """Delete a field."""
        self._fields.setdefault(key, {})[field] = GONE

    def rebase(self, source: dict[str, dict[str, Any]]) -> None:
        """Put the edits on top of another state of the source."""
        self._source = source

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return {key: {field: value}}."""
        result = {}
        for key in {*self._source, *self._fields}:
            fields = {} if key in self._deleted else dict(self._source.get(key, {}))
            fields.update(self._fields.get(key, {}))
            fields = {field: value for field, value in fields.items() if value is not GONE}
            if fields:
                result[key] = fields
        return result
