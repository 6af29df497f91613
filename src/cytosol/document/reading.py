"""Reading a history from a journal: the base, the ops on top of it, and what is noted beside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import Notes, load_base
from cytosol.document.journal import Journal
from cytosol.document.loading import Loading, Record
from cytosol.errors import ActionError, DatabaseCorruptError, RemoteProtocolError
from cytosol.limits import DOCUMENT_PLACES_MAX, FAILURES_KEPT_MAX

__all__ = ["Read", "read_history"]


@dataclass(frozen=True, slots=True)
class Read:
    """A history that was read."""

    replica: Replica
    notes: Notes
    failures: list[Any]
    """What was kept of failures, those of the base first."""
    dismissed: set[tuple[int, str]]


def read_history(
    journal: Journal, author: bytes, base: bytes | None, records: Iterable[Record]
) -> Read:
    """Read base and ops; new ops are written under `author`. Raises DatabaseCorruptError."""
    notes = Notes()
    if base is None:
        replica = Replica(author)
    else:
        try:
            replica, notes = load_base(base, author, DOCUMENT_PLACES_MAX)
        except ActionError as error:
            raise DatabaseCorruptError(
                f"{journal.path} is damaged: {error}; nothing was changed"
            ) from None
    own = journal.get_meta("failures") or []
    if type(own) is not list or len(own) > FAILURES_KEPT_MAX:
        raise DatabaseCorruptError(
            f"{journal.path} is damaged: the list of kept failures cannot be read; "
            "nothing was changed"
        )
    try:
        loading = Loading(replica)
        for record in records:
            loading.add(record)
        loading.finish()
    except (ActionError, RemoteProtocolError) as error:
        raise journal.damaged(error) from None
    if replica.waiting:
        raise DatabaseCorruptError(
            f"{journal.path} is damaged: {len(replica.waiting)} ops lack earlier ones; "
            "nothing was changed. Restore a copy, or let another device sync a new file"
        )
    replica.renew_author(author)
    replica.applier.mutator.touched.clear()
    try:
        dismissed = {(index, who) for index, who in journal.get_meta("dismissed") or []}
    except (TypeError, ValueError):
        raise DatabaseCorruptError(
            f"{journal.path} is damaged: the ids of dismissed failures cannot be read; "
            "nothing was changed"
        ) from None
    return Read(replica, notes, [*notes.failures, *own], dismissed)
