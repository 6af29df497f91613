"""What paired devices tell each other about further devices: who belongs, and who must stay out.

Pairings travel, so that devices need not be paired each with each; refusals travel, so that
nobody brings a lost device back (spec: network, Pairing). A refusal gives way only to a pairing by
hand that is newer, and pairings by hand count only where they were made. Times order the two;
a clock that is behind is made up for by going past every time already seen for the same device.
"""

from __future__ import annotations

from typing import Final

from cytosol.limits import PAIRINGS_MAX
from cytosol.model.ids import PeerId
from cytosol.protocol.seams import PairedPeer, PairingsSeam
from cytosol.wire.messages import RefusedPeer, SharedPeer, SharePeersParams

__all__ = ["Sharing"]

CLOCK_AHEAD_MAX_S: Final = 86_400.0  # a peer's clock may be wrong, but must not win for ever
TICK_S: Final = 0.001  # times travel in milliseconds


class Sharing:
    """Change the pairings, by hand or as a paired device says, and tell others about them."""

    __slots__ = ("_ended_by_peer", "_own_id", "_pairings", "_seen_s", "_trust")

    def __init__(self, own_id: PeerId, pairings: PairingsSeam, *, trust: bool) -> None:
        self._own_id = own_id
        self._pairings = pairings
        self._trust = trust
        self._seen_s: dict[PeerId, float] = {}
        self._ended_by_peer: set[PeerId] = set()

    # --- By hand -----------------------------------------------------------------------

    def pair(self, peer_id: PeerId, name: str, public_key: bytes, wall_s: float) -> None:
        """Pair by hand, which lifts a refusal here."""
        self._ended_by_peer.discard(peer_id)
        since_s = self._next_s(peer_id, wall_s)
        self._pairings.add(PairedPeer(peer_id, name, public_key, since_s), True)

    def unpair(self, peer_id: PeerId, wall_s: float) -> None:
        """Unpair by hand and refuse from now on."""
        self._pairings.remove(peer_id, self._next_s(peer_id, wall_s))

    def ended_by_peer(self, peer_id: PeerId) -> None:
        """Take note that a device has unpaired us; others must not pair us with it again."""
        self._pairings.forget(peer_id)
        self._ended_by_peer.add(peer_id)

    # --- From and to others ------------------------------------------------------------

    def params_for(self, receiver: PeerId) -> SharePeersParams:
        """Return what a paired device should know; refusals first, should it be too much."""
        since = self._pairings.refused_since()
        refused = [
            RefusedPeer(peer_id, key, _milliseconds(since.get(peer_id, 0.0)))
            for peer_id, key in self._pairings.refused().items()
            if peer_id != receiver
        ][:PAIRINGS_MAX]
        paired = [
            SharedPeer(peer.peer_id, peer.name, peer.public_key, _milliseconds(peer.since_s))
            for peer in self._pairings.paired().values()
            if peer.peer_id != receiver
        ][: PAIRINGS_MAX - len(refused)]
        return SharePeersParams(tuple(paired), tuple(refused))

    def apply(
        self, sender: PeerId, params: SharePeersParams, wall_s: float
    ) -> tuple[list[PairedPeer], list[PairedPeer]]:
        """Do as a paired device says; return who was paired and who was dropped."""
        dropped = [
            peer
            for entry in params.refused
            if entry.peer_id not in (self._own_id, sender)
            and (peer := self._refuse(entry, wall_s)) is not None
        ]
        added = [
            peer
            for entry in params.paired
            if entry.peer_id not in (self._own_id, sender)
            and (peer := self._add(entry, wall_s)) is not None
        ]
        return added, dropped

    def _refuse(self, entry: RefusedPeer, wall_s: float) -> PairedPeer | None:
        """Refuse a device; return it if it was paired until now."""
        since_s = self._seen(entry.peer_id, entry.since_ms, wall_s)
        paired = self._pairings.paired().get(entry.peer_id)
        if paired is None:
            if entry.peer_id not in self._pairings.refused() and not self._is_full():
                self._pairings.refuse(entry.peer_id, entry.public_key, since_s)
            return None
        # A refusal names a key, and is void for who has paired by hand after it.
        if paired.public_key != entry.public_key or since_s < paired.since_s:
            return None
        self._pairings.refuse(entry.peer_id, entry.public_key, since_s)
        return paired

    def _add(self, entry: SharedPeer, wall_s: float) -> PairedPeer | None:
        """Pair with a device of a device; return it if it was not known until now."""
        since_s = self._seen(entry.peer_id, entry.since_ms, wall_s)
        if (
            not self._trust
            or entry.peer_id in self._pairings.paired()
            or entry.peer_id in self._pairings.refused()
            or entry.peer_id in self._ended_by_peer
            or self._is_full()
        ):
            return None
        peer = PairedPeer(entry.peer_id, entry.peer_name, entry.public_key, since_s)
        self._pairings.add(peer, False)
        return peer

    def _is_full(self) -> bool:
        return len(self._pairings.paired()) + len(self._pairings.refused()) >= PAIRINGS_MAX

    def _seen(self, peer_id: PeerId, since_ms: int, wall_s: float) -> float:
        """Note a time that travelled, so that what we do next counts as later."""
        since_s = min(since_ms / 1000, wall_s + CLOCK_AHEAD_MAX_S)
        if peer_id in self._seen_s or len(self._seen_s) < 2 * PAIRINGS_MAX:
            self._seen_s[peer_id] = max(since_s, self._seen_s.get(peer_id, 0.0))
        return since_s

    def _next_s(self, peer_id: PeerId, wall_s: float) -> float:
        """Return the time of something done by hand: now, and after all that was seen."""
        paired = self._pairings.paired().get(peer_id)
        seen_s = max(
            self._seen_s.get(peer_id, 0.0),
            self._pairings.refused_since().get(peer_id, 0.0),
            0.0 if paired is None else paired.since_s,
        )
        return max(wall_s, seen_s + TICK_S)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
