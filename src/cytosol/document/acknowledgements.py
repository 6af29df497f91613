"""What paired devices are known to hold, so that history can be trimmed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from cytosol.crdt import retention
from cytosol.crdt.replica import Replica
from cytosol.limits import CLAIMS_MAX
from cytosol.model.ids import PeerId

__all__ = ["Acknowledgements"]

_Vectors = dict[PeerId, dict[PeerId, int]]

_NEVER: Final[dict[PeerId, int]] = {b"": 1}
"""A claim that never counts, as nobody has this id."""


class Acknowledgements:
    """Of each device what it has said, as far as we hold all of it, too.

    Ops that the device had and we still lack may have been made without knowing ours, and could
    not be merged if ours were trimmed. So what it says is a claim first; while one waits for us to
    catch up, what is said later waits behind it.

    What waits has a bound, as a device may name authors that there are not. Beyond it the longest
    claim is dropped, and of its device nothing more counts until it says all that it holds.
    """

    def __init__(self) -> None:
        self._counted: _Vectors = {}
        self._claims: _Vectors = {}
        self._later: _Vectors = {}

    def keep(self, peers: Collection[PeerId]) -> None:
        """Forget all other devices."""
        for known in (self._counted, self._claims, self._later):
            for gone in known.keys() - set(peers):
                del known[gone]

    def held(self, replica: Replica, peer: PeerId) -> Mapping[PeerId, int]:
        """Return what a device holds for sure."""
        self._count(replica, peer)
        return self._counted.get(peer, {})

    def note_latest(self, replica: Replica, peer: PeerId, latest: Mapping[PeerId, int]) -> None:
        """Note all that a device holds."""
        if retention.lacks(latest, self._counted.get(peer, {})):
            self._counted[peer] = {}  # an older copy of its file was put back
        self._count(replica, peer)
        claim = self._claims.get(peer)
        if claim is None or retention.lacks(latest, claim):
            self._claims[peer] = dict(latest)
            self._later.pop(peer, None)
        else:
            self._later[peer] = dict(latest)
        self._count(replica, peer)
        self._bound_claims()

    def note_news(self, replica: Replica, peer: PeerId, news: Mapping[PeerId, int]) -> None:
        """Note what has changed in what a device holds; the cost is in proportion to that."""
        self._count(replica, peer)
        if peer not in self._claims and not retention.lacks(replica.latest, news):
            self._counted.setdefault(peer, {}).update(news)
            return
        if self._claims.get(peer) is _NEVER:
            return
        waiting = self._later if peer in self._claims else self._claims
        waiting.setdefault(peer, {}).update(news)
        self._bound_claims()

    def _count(self, replica: Replica, peer: PeerId) -> None:
        """Count the claims of a device with which we have caught up."""
        while peer in self._claims and not retention.lacks(replica.latest, self._claims[peer]):
            self._counted.setdefault(peer, {}).update(self._claims.pop(peer))
            if peer in self._later:
                self._claims[peer] = self._later.pop(peer)

    def _bound_claims(self) -> None:
        """Drop the longest claims until what waits is within its bound."""
        later = self._later
        lengths = {
            peer: len(claim) + len(later.get(peer, ())) for peer, claim in self._claims.items()
        }
        while sum(lengths.values()) > CLAIMS_MAX + len(lengths):
            longest = max(lengths, key=lengths.__getitem__)
            self._claims[longest] = _NEVER
            later.pop(longest, None)
            lengths[longest] = 1
