"""Trim a replica as a history does: what goes becomes a base, and the ops on top stay."""

from __future__ import annotations

from cytosol.crdt.replica import Replica
from cytosol.crdt.retention import clean_cut
from cytosol.crdt.snapshot import Notes, export_base
from cytosol.model.op import Op

__all__ = ["ops_of", "trim"]


def ops_of(replica: Replica) -> list[Op]:
    """Return the ops in the log of a replica."""
    return [replica.log.op(row) for row in range(len(replica.log))]


def trim(replica: Replica, count: int, notes: Notes) -> tuple[bytes, list[Op]] | None:
    """Trim a replica; return base and remaining ops, None if nothing could go."""
    count = clean_cut(replica, count)
    if not count:
        return None
    rows = replica.rewind(count)
    notes.contents.advance(replica, count)
    replica.trim_to(count)
    base = export_base(replica, notes)
    if rows:
        replica.reinsert(rows)
    replica.check_invariants()
    return base, ops_of(replica)
