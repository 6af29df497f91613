"""The parts of one peer, made and wired to what they may ask of each other.

They only ask: for a key, for addresses, for a fresh visit. What they want done goes through
their effects, which `peer.py` passes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from cytosol.crypto.keys import KeyPair
from cytosol.model.ids import PeerId
from cytosol.protocol.attempts import Attempts
from cytosol.protocol.connection import SyncLike
from cytosol.protocol.discovery import Candidate, DiscoveryMachine
from cytosol.protocol.gateway import GatewayMachine
from cytosol.protocol.gateway_call import GatewayCall
from cytosol.protocol.half_open import HalfOpenTable
from cytosol.protocol.link import LinkSurroundings
from cytosol.protocol.links import Links
from cytosol.protocol.lockout import Lockout
from cytosol.protocol.pair_prompt import PairPrompt
from cytosol.protocol.seams import PairingsSeam, ReplicaSeam
from cytosol.protocol.session import RandomBytes
from cytosol.protocol.sharing import Sharing
from cytosol.protocol.snapshot import SnapshotCache

__all__ = ["Identity", "Parts", "PeerOptions", "SyncFactory"]

ADDRESSES_MAX: Final = 8  # tried in one visit: those heard, then those remembered

SyncFactory: TypeAlias = Callable[[ReplicaSeam, PeerId, PeerId, SnapshotCache], SyncLike]
"""Make a sync machine from the replica, our id, the peer's id, and what all of them share."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are: an id and the key pair that proves it."""

    peer_id: PeerId
    key_pair: KeyPair


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What the app has chosen (seed: API, config)."""

    app_id: bytes
    peer_name: str
    visible_to_peers: bool = True
    sync_enabled: bool = True
    trust_shared_peers: bool = True


class Parts:
    """All machines of one peer, and the few facts that they share."""

    def __init__(
        self,
        identity: Identity,
        replica: ReplicaSeam,
        pairings: PairingsSeam,
        sync_factory: SyncFactory,
        options: PeerOptions,
        random_bytes: RandomBytes,
    ) -> None:
        self.own_id = own_id = identity.peer_id
        self.visible = options.visible_to_peers
        self.now = 0.0
        self.is_graph_listening = False
        self._keys = keys = identity.key_pair
        self._pairings = pairings
        self._random_bytes = random_bytes
        self._connection_ids = itertools.count(1)
        self.lockout = Lockout(pairings)
        self.sharing = Sharing(own_id, pairings, trust=options.trust_shared_peers)
        self.half_open = HalfOpenTable()
        self.discovery = DiscoveryMachine(
            app_id=options.app_id,
            own_id=own_id,
            own_key=keys.public,
            own_name=options.peer_name,
            pairings=pairings,
            random_bytes=random_bytes,
            visible=self.visible,
        )
        self.gateway = GatewayMachine(
            own_id=own_id,
            own_secret=keys.secret,
            key_of=self.key_of,
            half_open=self.half_open,
            random_bytes=random_bytes,
        )
        self.prompt = PairPrompt(
            app_id=options.app_id,
            own_id=own_id,
            own_key=keys.public,
            own_name=options.peer_name,
            pairings=pairings,
            lockout=self.lockout,
            random_bytes=random_bytes,
        )
        self.attempts = Attempts(
            app_id=options.app_id,
            own_id=own_id,
            own_keys=keys,
            own_name=options.peer_name,
            visit=self._visit,
            random_bytes=random_bytes,
        )
        self.links = Links(self._surroundings(replica, sync_factory))

    def _surroundings(self, replica: ReplicaSeam, sync_factory: SyncFactory) -> LinkSurroundings:
        own_id, snapshots = self.own_id, SnapshotCache()
        return LinkSurroundings(
            own_id=own_id,
            own_secret=self._keys.secret,
            candidates=self.candidates,
            share_for=lambda peer_id: self.sharing.params_for(peer_id, self.lockout.wall(self.now)),
            make_sync=lambda peer_id: sync_factory(replica, own_id, peer_id, snapshots),
            snapshots=snapshots,
            is_listening=lambda: self.is_graph_listening,
            half_open=self.half_open,
            connection_ids=self._connection_ids,
            listener_ids=itertools.count(1),
            random_bytes=self._random_bytes,
        )

    def _visit(self, peer_id: PeerId, peer_key: bytes, rounds: int) -> GatewayCall:
        return GatewayCall(
            own_id=self.own_id,
            own_secret=self._keys.secret,
            peer_id=peer_id,
            peer_key=peer_key,
            candidates=lambda: self.candidates(peer_id),
            connection_ids=self._connection_ids,
            random_bytes=self._random_bytes,
            rounds=rounds,
        )

    def key_of(self, peer_id: PeerId) -> bytes | None:
        """Return the key by which a caller has to prove itself: pinned, or from a heartbeat."""
        paired = self._pairings.paired().get(peer_id)
        if paired is not None:
            return paired.public_key
        heard = self.discovery.get(peer_id, self.now)
        if heard is None or not (self.visible or peer_id in self.attempts):
            # Refused devices may hear that they are; hidden, we show ourselves to nobody else.
            refusal = self._pairings.refused().get(peer_id)
            return None if refusal is None else refusal.public_key
        return heard.public_key

    def candidates(self, peer_id: PeerId) -> list[Candidate]:
        """Return where a peer may be: where it was heard, then where it was reached before."""
        heard = self.discovery.get(peer_id, self.now)
        candidates = [] if heard is None else list(heard.candidates)
        known = {(each.ip_address, each.port) for each in candidates}
        for ip_address, port in self._pairings.addresses(peer_id):
            if (ip_address, port) not in known:
                candidates.append(Candidate(ip_address, port, 0))
        return candidates[:ADDRESSES_MAX]
