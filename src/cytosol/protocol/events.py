"""What the protocol tells the app: frozen events, peer ids as lower-case UUID strings.

Secrets never stand in an event (spec: network, Pairing).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "PairCancelled",
    "PairRequest",
    "PairResponse",
    "PeerConnected",
    "PeerDisconnected",
    "PeersChanged",
    "Unpaired",
]


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
class PeersChanged:
    """Say that the metadata `$.peers` or `$.pairings` has to be read again."""
