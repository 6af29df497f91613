"""Checking: does a document fit together, and is it what its file makes when read anew?"""

from __future__ import annotations

from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import load_base
from cytosol.document.journal import Journal
from cytosol.errors import ActionError, DatabaseCorruptError, RemoteProtocolError
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.json import equal_json
from cytosol.model.op import Op

__all__ = ["check_document"]


def check_document(replica: Replica, journal: Journal) -> None:
    """Check a replica, and that the journal, which has been drained, makes the same one.

    Raises DatabaseCorruptError that says what does not fit. Slow: folds the history once more.
    """
    try:
        replica.check_invariants()
    except AssertionError as error:
        # An assertion says what ought to be true.
        raise _misfit(journal, f"it does not hold that {error}") from error
    if not journal.is_kept:
        return
    read = _read_anew(journal, replica.author)
    if read.state_hash() != replica.state_hash():
        raise _misfit(journal, "the file holds other ops than the memory")
    if read.latest != replica.latest:
        raise _misfit(journal, "the newest ops of the authors are not those in the file")
    if not equal_json(read.document, replica.document):
        raise _misfit(journal, "the ops in the file make another document")


def _read_anew(journal: Journal, author: bytes) -> Replica:
    base = journal.load_base()
    ops: list[Op] = journal.load_ops()
    try:
        replica = (
            Replica(author) if base is None else load_base(base, author, DOCUMENT_PLACES_MAX)[0]
        )
        replica.merge(ops)
    except (ActionError, RemoteProtocolError) as error:
        raise _misfit(journal, f"what the file holds cannot be folded: {error}") from error
    return replica


def _misfit(journal: Journal, what: str) -> DatabaseCorruptError:
    return DatabaseCorruptError(
        f"{journal.path or 'the document'} does not fit together: {what}. Keep a copy of the file, "
        "and restore a backup or let another device sync a new one"
    )
