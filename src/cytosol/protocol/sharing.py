"""What paired devices tell each other about further devices: who belongs, and who must stay out.

Pairings travel, so that devices need not be paired each with each; refusals travel, so that
nobody brings a lost device back (spec: network, Pairing). A refusal gives way to nothing but a
pairing by hand, made here, after it. No clock is compared with another one: a refusal tells how
long ago it was made, so it is never later than when it was heard, and a clock that is wrong by
always the same does no harm. In doubt a refusal counts, but each one only once: what a pairing by
hand has lifted stays lifted, however old the refusal is said to be (decision 40).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from cytosol.limits import LAMPORT_MAX, PAIRINGS_MAX, PAIRINGS_OF_ONE_MAX
from cytosol.model.ids import PeerId
from cytosol.protocol.seams import PairedPeer, PairingsSeam, Refusal
from cytosol.wire.messages import RefusedPeer, SharedPeer, SharePeersParams

__all__ = ["Sharing"]

LATER_S: Final = 60.0  # ages grow on the way; less than that is no later refusal


class Sharing:
    """Change the pairings, by hand or as a paired device says, and tell others about them."""

    __slots__ = ("_ended_by_peer", "_own_id", "_pairings", "_trust")

    def __init__(self, own_id: PeerId, pairings: PairingsSeam, *, trust: bool) -> None:
        self._own_id = own_id
        self._pairings = pairings
        self._trust = trust
        self._ended_by_peer: dict[PeerId, None] = {}  # the one that came last is last

    # --- By hand -----------------------------------------------------------------------

    def pair(self, peer_id: PeerId, name: str, public_key: bytes, wall_s: float) -> None:
        """Pair by hand, which lifts a refusal here."""
        self._ended_by_peer.pop(peer_id, None)
        lifted = self._pairings.refused().get(peer_id)
        lifted_ms = 0 if lifted is None else lifted.stamp_ms
        self._pairings.add(PairedPeer(peer_id, name, public_key, wall_s, lifted_ms), True)

    def unpair(self, peer: PairedPeer, wall_s: float) -> None:
        """Unpair by hand and refuse from now on."""
        refusal = Refusal(peer.public_key, wall_s, _milliseconds(wall_s))
        self._pairings.refuse({peer.peer_id: refusal})

    def ended_by_peer(self, peer_id: PeerId) -> None:
        """Take note that a device has unpaired us; others must not pair us with it again."""
        self._pairings.forget(peer_id)
        self._ended_by_peer[peer_id] = None
        if len(self._ended_by_peer) > PAIRINGS_MAX:
            del self._ended_by_peer[next(iter(self._ended_by_peer))]

    # --- To others ---------------------------------------------------------------------

    def params_for(self, receiver: PeerId, wall_s: float) -> SharePeersParams:
        """Return what a paired device should know: what people did here first, then the rest."""
        refusals = self._pairings.refused()
        refused = [
            RefusedPeer(
                peer_id,
                refusals[peer_id].public_key,
                refusals[peer_id].stamp_ms,
                _age_ms(refusals[peer_id], wall_s),
            )
            for peer_id in self._by_weight(refusals)
            if peer_id != receiver
        ][:PAIRINGS_OF_ONE_MAX]
        by_hand_first = sorted(
            self._pairings.paired().values(), key=lambda peer: peer.shared_by is not None
        )
        paired = [
            SharedPeer(peer.peer_id, peer.name, peer.public_key)
            for peer in by_hand_first
            if peer.peer_id != receiver
        ][: PAIRINGS_MAX - len(refused)]
        return SharePeersParams(tuple(paired), tuple(refused))

    # --- From others -------------------------------------------------------------------

    def apply(
        self, sender: PeerId, params: SharePeersParams, wall_s: float
    ) -> tuple[list[PairedPeer], list[PairedPeer]]:
        """Do as a paired device says; return who was paired and who was dropped."""
        paired = self._pairings.paired()
        told: dict[PeerId, Refusal] = {}
        named = params.refused[:PAIRINGS_OF_ONE_MAX]
        for entry in named:
            if entry.peer_id not in (self._own_id, sender):
                refusal = self._believed(entry, sender, wall_s)
                if refusal is not None:
                    told[entry.peer_id] = refusal
        dropped = [paired[peer_id] for peer_id in told if peer_id in paired]
        if told:
            surplus = self._surplus(sender, told, {entry.peer_id for entry in named})
            self._pairings.refuse(told, surplus)
        added: list[PairedPeer] = []
        room = self._room_for(sender)
        for each in params.paired:
            if len(added) < room and self._is_new(each.peer_id, sender):
                added.append(
                    PairedPeer(each.peer_id, each.peer_name, each.public_key, shared_by=sender)
                )
                self._pairings.add(added[-1], False)
        return added, dropped

    def _believed(self, entry: RefusedPeer, sender: PeerId, wall_s: float) -> Refusal | None:
        """Return the refusal that is to be kept for what a device says, None for none."""
        since_s = max(0.0, wall_s - entry.age_ms / 1000)
        told = Refusal(entry.public_key, since_s, entry.since_ms, sender)
        paired = self._pairings.paired().get(entry.peer_id)
        if paired is not None:
            # A refusal names a key, and is void for who has paired by hand after it.
            is_of_another = paired.public_key != entry.public_key
            was_lifted = bool(entry.since_ms) and paired.lifted_ms == entry.since_ms
            # A pairing in the future was made while our clock was wrong: nobody knows when.
            is_earlier = since_s < paired.since_s <= wall_s
            return None if is_of_another or was_lifted or is_earlier else told
        known = self._pairings.refused().get(entry.peer_id)
        if known is None:
            return told
        is_later = known.public_key == entry.public_key and since_s > known.since_s + LATER_S
        if is_later and known.stamp_ms != entry.since_ms:
            return replace(told, told_by=known.told_by)
        return None

    def _surplus(
        self, sender: PeerId, told: Mapping[PeerId, Refusal], named: Collection[PeerId]
    ) -> set[PeerId]:
        """Return the refusals that are too many, of one device or in all, with these new ones.

        Those that a person made here are never too many.
        """
        refusals = {**self._pairings.refused(), **told}
        kept = [each for each in self._by_weight(refusals) if refusals[each].told_by is not None]
        of_sender = [each for each in kept if refusals[each].told_by == sender]
        of_sender.sort(key=lambda each: each not in named)  # it says no more what is not named
        surplus = set(of_sender[PAIRINGS_OF_ONE_MAX:])
        return surplus.union([each for each in kept if each not in surplus][PAIRINGS_MAX:])

    def _by_weight(self, refusals: Mapping[PeerId, Refusal]) -> list[PeerId]:
        """Return refused devices: by hand, told by paired devices, told by others; newest first."""
        paired = self._pairings.paired()

        def weight(peer_id: PeerId) -> tuple[bool, bool, float]:
            refusal = refusals[peer_id]
            return refusal.told_by is None, refusal.told_by in paired, refusal.since_s

        return sorted(refusals, key=weight, reverse=True)

    def _room_for(self, sender: PeerId) -> int:
        """Return how many more devices a device may bring."""
        paired = self._pairings.paired().values()
        of_sender = sum(peer.shared_by == sender for peer in paired)
        room = min(PAIRINGS_MAX - len(paired), PAIRINGS_OF_ONE_MAX - of_sender)
        return room if self._trust else 0

    def _is_new(self, peer_id: PeerId, sender: PeerId) -> bool:
        """Tell whether a device of a device is to be paired: nobody knows anything against it."""
        return not (
            peer_id in (self._own_id, sender)
            or peer_id in self._pairings.paired()
            or peer_id in self._pairings.refused()
            or peer_id in self._ended_by_peer
        )


def _age_ms(refusal: Refusal, wall_s: float) -> int:
    """Return how old a refusal is; 0 if it was made while our clock was ahead."""
    age_ms = _milliseconds(wall_s - refusal.since_s) if refusal.since_s else LAMPORT_MAX
    return min(age_ms, LAMPORT_MAX)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
