"""What the protocol tells the app: frozen events, peer ids as lower-case UUID strings.

Secrets never stand in an event (spec: network, Pairing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "GraphClosed",
    "GraphEvent",
    "GraphOpened",
    "GraphPiece",
    "GraphTaken",
    "Opening",
    "PairCancelled",
    "PairRequest",
    "PairResponse",
    "PeerConnected",
    "PeerDisconnected",
    "PeersChanged",
    "SyncDone",
    "SyncFailed",
    "SyncProgress",
    "Unpaired",
]

_REASON_MAX = 500


@dataclass(frozen=True, slots=True)
class PairRequest:
    """Say that a peer asks to be paired: ask the user for the code that it shows."""

    peer_id: str
    peer_name: str


@dataclass(frozen=True, slots=True)
class PairResponse:
    """Say how a pairing ended; `reason` is a sentence when it was not accepted."""

    peer_id: str
    peer_name: str
    accepted: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PairCancelled:
    """Say that a pair request was withdrawn, so that its prompt should go away."""

    peer_id: str
    peer_name: str


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Say that a device is not paired any more, whichever side ended it."""

    peer_id: str
    peer_name: str


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """Say that a paired device is connected and authenticated."""

    peer_id: str
    peer_name: str


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """Say that the connection to a paired device ended, and why."""

    peer_id: str
    peer_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """Say how far a full sync is: bytes received in it, and the part that is done, 0 to 1.

    `done` goes by the numbers of the ops that the peer has and we lack, so it is about right; None
    where nobody knows what is lacking.
    """

    peer_id: str
    received_bytes: int
    done: float | None


@dataclass(frozen=True, slots=True)
class SyncDone:
    """Say that a full sync ended well: each side has what the other had when it began."""

    peer_id: str


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """Say that syncing with a peer does not get on, and why; it is tried again by itself.

    Comes at once where this device cannot save what it gets, otherwise if it goes on; once for
    each reason, until a full sync ends well. The peer may have a part in `reason`, so that it is
    one line of characters that can be shown, and at most 500 of them.
    """

    peer_id: str
    reason: str

    def __post_init__(self) -> None:
        shown = "".join(each if each.isprintable() else " " for each in self.reason[:_REASON_MAX])
        object.__setattr__(self, "reason", " ".join(shown.split()))


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """Say that the metadata `$.peers` or `$.pairings` has to be read again."""


# --- For the graph's connections, not for the app --------------------------------------------

Opening: TypeAlias = tuple[int, int, int]
"""Names one time that both sides listen: the connection, our channel on it, and theirs."""


@dataclass(frozen=True, slots=True)
class GraphOpened:
    """Say that programs on both sides listen: messages of graphs can travel, from the start."""

    peer_id: str
    opening: Opening


@dataclass(frozen=True, slots=True)
class GraphClosed:
    """Say that an opening is over; what was on its way may be lost."""

    peer_id: str
    opening: Opening


@dataclass(frozen=True, slots=True)
class GraphPiece:
    """Bring a piece of a frame, to be answered with `graph_taken`; `more` of it follows."""

    peer_id: str
    opening: Opening
    text: str
    more: bool


@dataclass(frozen=True, slots=True)
class GraphTaken:
    """Say that the peer has taken the oldest of our pieces that it had not taken yet."""

    peer_id: str
    opening: Opening


GraphEvent: TypeAlias = GraphOpened | GraphClosed | GraphPiece | GraphTaken
