"""What tools want to know about a database: which app it is of, how much there is, from whom."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec

from cytosol.database.database import Database
from cytosol.errors import ActionError, DatabaseCorruptError
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import JsonValue, canonical_bytes, count_places
from cytosol.savestates import SaveState
from cytosol.savestates.sealed import check_unsealed

__all__ = ["Report", "describe", "stored_app_id"]


@dataclass(frozen=True, slots=True)
class Report:
    """Counts and sizes of one database at one moment.

    `ops` are kept, `trimmed_ops` were dropped after all paired devices had them; `trim_index` is
    the Lamport number of the last one dropped. `values` and `json_bytes` measure the document.
    """

    app_id: str
    peer_id: str
    state_hash: str
    authors: int
    ops: int
    trimmed_ops: int
    trim_index: int | None
    values: int
    json_bytes: int
    file_bytes: int
    failures: int
    forgotten_failures: int
    pairings: int

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as a JSON object, with keys such as `stateHash`."""
        return {_in_json(field.name): getattr(self, field.name) for field in fields(self)}


def _in_json(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def describe(database: Database) -> Report:
    """Return a report; takes time in proportion to the document. Raises DatabaseClosedError."""
    document = database._document  # the same package, and nobody else needs these
    failures = len(database.query_once_meta("$.failures[*]"))
    pairings = len(database.query_once_meta("$.pairings[*]"))
    with document.lock:
        document.check_open()
        replica = document.replica
        return Report(
            app_id=format_id(database._app),
            peer_id=database.peer_id,
            state_hash=replica.state_hash().hex(),
            authors=len(replica.latest),
            ops=len(replica.log),
            trimmed_ops=replica.trimmed_count,
            trim_index=None if replica.trim is None else replica.trim.index,
            values=count_places(replica.document),
            json_bytes=len(canonical_bytes(replica.document)),
            file_bytes=document.journal.size_bytes(),
            failures=failures,
            forgotten_failures=document.history.forgotten_failures(),
            pairings=pairings,
        )


def stored_app_id(state: SaveState) -> str | None:
    """Return the app id that a closed save state belongs to, None if it has no identity yet.

    Opens and closes it; as any opening does, that makes the file of a backend that has none.
    Raises DatabaseLockedError, DatabaseCorruptError, SaveError and SealError.
    """
    state.open()
    try:
        check_unsealed(state)
        value: Any = state.get("meta/identity")
        has_base = state.get("base") is not None
        is_empty = not has_base and next(iter(state.scan("op/")), None) is None
    finally:
        state.close()
    if value is None and is_empty:
        return None
    try:
        record = value if state.text else msgspec.json.decode(value)
        return format_id(parse_id(record["appId"]))
    except (KeyError, TypeError, ActionError, msgspec.DecodeError):
        raise DatabaseCorruptError(
            f"{state.path} is damaged: its identity cannot be read; nothing was changed. Restore a "
            "copy, or start with a new file and sync from another device; `cytosol check "
            "--salvage` writes what can still be read"
        ) from None
