"""What a replica knows: the state hash, the summary of its history, and trim points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from cytosol.model.ids import OpId, PeerId

__all__ = ["ZERO_HASH", "News", "StateSummary", "fold_hash"]

ZERO_HASH = bytes(64)
"""The state hash of an empty history (seed: Synchronization)."""

_BLANK = blake2b()  # to copy it is quicker than to make one


def fold_hash(state_hash: bytes, ids: Iterable[tuple[int, PeerId]]) -> bytes:
    """Return the state hash after further ops `(index, author)`, given in order.

    BLAKE2b-512 over the previous hash (64 bytes), the Lamport number (8, big-endian) and the
    author (16), as in the seed's section Synchronization. A Transaction is one step.
    """
    copy = _BLANK.copy
    for index, author in ids:
        state = copy()
        state.update(state_hash)
        state.update(index.to_bytes(8, "big") + author)
        state_hash = state.digest()
    return state_hash


class News(NamedTuple):
    """Say what has changed in a summary's `latest` since a mark; with `is_whole`, all of it.

    `mark` is what to ask with the next time; None if only the whole will do then.
    """

    latest: dict[PeerId, int]
    is_whole: bool
    mark: object


@dataclass(frozen=True, slots=True)
class StateSummary:
    """Say what a replica holds, so that another can tell what is missing on either side.

    `latest` maps each author to its newest index here (everything up to it is here too).
    `trim` is the id of the last trimmed op, None before the first trimming, and `trim_hash` the
    state hash there; ops at or below it can neither be sent nor merged. `trimmed` maps authors to
    their newest trimmed op: what every op that can still be merged has to have seen.
    `refused` maps authors to the newest op of the receiver of this summary that was refused,
    because it had not seen that. `contents` maps authors to a digest over what their ops say,
    which tells two histories that share ids but not contents.
    """

    state_hash: bytes
    latest: dict[PeerId, int]
    trim: OpId | None = None
    trim_hash: bytes = ZERO_HASH
    trimmed: dict[PeerId, int] = field(default_factory=dict)
    refused: dict[PeerId, int] = field(default_factory=dict)
    contents: dict[PeerId, bytes] = field(default_factory=dict)
