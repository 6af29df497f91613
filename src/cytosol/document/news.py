"""What has changed in what we hold, for each connection at the price of what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cytosol.crdt.changes import Changes
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.version import News

__all__ = ["held_by_authors_of", "news_since"]

FEW = 64
"""Rows of which all authors are looked up."""


class _Mark(NamedTuple):
    """How many of the changes somebody has seen."""

    changes: Changes
    seen: int


def news_since(replica: Replica, unsettled: Mapping[PeerId, int], since: object) -> News:
    """Return the newest durable index of every author of whom it has changed since a mark.

    `unsettled` holds, of the authors of ops that are not durable, the newest index that is, or 0.
    Of our own author it is always told. Without a mark, and after ops were lost, all are told.
    """
    changes, latest = replica.changes, replica.latest
    # What is not durable yet is news again when it is.
    mark = None if unsettled else _Mark(changes, changes.count)
    if not isinstance(since, _Mark) or since.changes is not changes:
        return News(_without_zeros({**latest, **unsettled}), True, mark)
    told = {who: latest[who] for who in changes.since(since.seen) if who in latest}
    if replica.author in latest:
        told[replica.author] = latest[replica.author]
    if not unsettled:
        return News(told, False, mark)
    told.update((who, index) for who, index in unsettled.items() if who in told)
    return News(_without_zeros(told), False, since)


def _without_zeros(latest: dict[PeerId, int]) -> dict[PeerId, int]:
    return {author: index for author, index in latest.items() if index}


def held_by_authors_of(
    replica: Replica, rows: range, latest: Mapping[PeerId, int]
) -> dict[PeerId, int]:
    """Return what of a summary concerns the authors of some rows, to be raised."""
    if len(rows) > FEW:
        return _Raised(latest)
    authors = replica.names.authors
    numbers = set(replica.log.numbers[rows.start : rows.stop])
    return {authors[number]: latest.get(authors[number], 0) for number in numbers}


class _Raised(dict[PeerId, int]):
    """What is raised above a summary, which is read through it."""

    def __init__(self, latest: Mapping[PeerId, int]) -> None:
        super().__init__()
        self._latest = latest

    def get(self, author: PeerId, default: Any = None) -> Any:
        """Return the index of an author, raised or not."""
        return super().get(author) or self._latest.get(author, default)
