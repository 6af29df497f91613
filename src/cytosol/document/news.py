"""What has changed in what we hold, for each connection at the price of what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cytosol.crdt.changes import Changes
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.version import News

__all__ = ["Raised", "news_since"]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How many of the changes somebody has seen."""

    changes: Changes
    seen: int


def news_since(replica: Replica, unsettled: Mapping[PeerId, int], since: object) -> News:
    """Return the newest durable index of every author of whom it has changed since a mark.

    `unsettled` holds, of the authors of ops that are not durable, the newest index that is, or 0.
    Of our own author it is always told. Without a mark, and after ops were lost, all are told.
    """
    changes = replica.changes
    # What is not durable yet is news again when it is.
    mark = None if unsettled else _Mark(changes, changes.count)
    if not isinstance(since, _Mark) or since.changes is not changes:
        latest = {**replica.latest, **unsettled}
        return News(_without_zeros(latest) if unsettled else latest, True, mark)
    authors = (*changes.since(since.seen), replica.author)
    latest = {who: unsettled.get(who, replica.latest.get(who, 0)) for who in authors}
    return News(_without_zeros(latest), False, mark or since)


def _without_zeros(latest: dict[PeerId, int]) -> dict[PeerId, int]:
    return {author: index for author, index in latest.items() if index}


class Raised(dict[PeerId, int]):
    """What is raised above a summary, which is read through it."""

    def __init__(self, latest: Mapping[PeerId, int]) -> None:
        super().__init__()
        self._latest = latest

    def get(self, author: PeerId, default: Any = None) -> Any:
        """Return the index of an author, raised or not."""
        return super().get(author) or self._latest.get(author, default)
