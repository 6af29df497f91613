"""What the parts of one SyncMachine share: the replica, the view of the peer, and the way out.

The **view** is what the peer holds as far as we know, an index per author. Whatever the peer
says about itself replaces it (a summary, the `latest` of an answer); each batch that the peer
sends raises it, so that nothing is sent back to where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cytosol.errors import RemoteProtocolError
from cytosol.limits import AUTHORS_MAX
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import Call, Emit, Notify, SyncEffect
from cytosol.protocol.seams import ReplicaSeam
from cytosol.wire.fields import Fields, index_map

__all__ = [
    "BATCH_BYTES",
    "SLOW_LINK_BYTES_PER_S",
    "OpsReceived",
    "SyncLink",
    "covers",
    "news",
    "parse_brings",
]

BATCH_BYTES = 256 * 1024
"""Encoded size that a batch of ops is cut at: a few fit into memory anywhere."""

SLOW_LINK_BYTES_PER_S = 50_000
"""The slowest link that a sync has patience with: large messages get that much more time."""


@dataclass(frozen=True, slots=True)
class OpsReceived:
    """Say that a batch of this peer was merged, so that it is relayed to the other peers."""

    peer_id: str


def covers(held: Mapping[PeerId, int], wanted: Mapping[PeerId, int]) -> bool:
    """Tell whether everything up to `wanted` is at or below `held`."""
    return held == wanted or all(held.get(author, 0) >= index for author, index in wanted.items())


def news(before: Mapping[PeerId, int], after: Mapping[PeerId, int]) -> dict[PeerId, int]:
    """Return the entries of `after` that are not in `before`: what one batch brought."""
    return {author: index for author, index in after.items() if before.get(author) != index}


class Params(Protocol):
    """Typed params of `cytosol.wire.sync_messages`."""

    METHOD: ClassVar[str]

    def to_json(self) -> JsonValue:
        """Return them as they travel."""


class SyncLink:
    """One connection as its sync sees it."""

    __slots__ = ("_next_call", "effects", "own_id", "replica", "their_id", "view")

    def __init__(self, replica: ReplicaSeam, own_id: PeerId, their_id: PeerId) -> None:
        self.replica = replica
        self.own_id = own_id
        self.their_id = their_id
        self.view: dict[PeerId, int] = {}
        self.effects: list[SyncEffect] = []
        self._next_call = 0

    @property
    def peer_id(self) -> str:
        """The peer's id as events show it."""
        return format_id(self.their_id)

    def notify(self, params: Params) -> None:
        """Send a notification."""
        self.effects.append(Notify(params.METHOD, params.to_json()))

    def call(
        self,
        params: Params,
        timeout_s: float,
        brings: dict[PeerId, int] | None = None,
        size: int = 0,
    ) -> int:
        """Send a request and return the id under which its answer will come.

        `brings` goes along with a batch of ops: up to where we hold the authors in it. `size` is
        how many bytes are on their way before the answer can be here.
        """
        timeout_s += size / SLOW_LINK_BYTES_PER_S
        message = params.to_json()
        if brings is not None:
            message["latest"] = index_map(brings)
        self._next_call += 1
        self.effects.append(Call(self._next_call, params.METHOD, message, timeout_s))
        return self._next_call

    def emit(self, event: object) -> None:
        """Hand an event to the owner."""
        self.effects.append(Emit(event))

    def take_in(self, batch: bytes, brought: Mapping[PeerId, int]) -> bool:
        """Merge a batch of the peer; False if that takes a full sync first.

        `brought` is what the peer holds of the authors in it.
        Raises RemoteProtocolError and SaveError as `ReplicaSeam.import_batch` does.
        """
        is_merged = True
        if batch:
            is_merged = self.replica.import_batch(batch, self.their_id)
            self.emit(OpsReceived(self.peer_id))
        self.raise_view(brought)
        return is_merged

    def raise_view(self, brought: Mapping[PeerId, int]) -> None:
        """Note that the peer holds at least this much.

        Raises RemoteProtocolError if it names more authors than a document can have.
        """
        view = self.view
        for author, index in brought.items():
            if view.get(author, 0) < index:
                view[author] = index
        if len(view) > AUTHORS_MAX:
            raise RemoteProtocolError(
                f"the peer names more than {AUTHORS_MAX} authors, which no document has"
            )


def parse_brings(params: JsonValue) -> dict[PeerId, int]:
    """Return what comes along with a batch; raises RemoteProtocolError.

    A peer that says nothing gets its own ops back, which does no harm.
    """
    fields = Fields(params, "an update")
    return fields.indexes("latest") if fields.has("latest") else {}
