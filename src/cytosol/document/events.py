"""What the document tells the app: frozen events. The network's are in `protocol.events`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CallbackError", "HistoryAdopted", "IdentityRenewed"]


@dataclass(frozen=True, slots=True)
class CallbackError:
    """Say that a callback of the app raised `error`; everything else went on."""

    error: Exception


@dataclass(frozen=True, slots=True)
class HistoryAdopted:
    """Say that this device, or the peer, took over the other's trimmed history.

    `by_us` tells who adopted. `reissued` ops of ours were put on top, `failed` of which could
    not be placed and stand in `$.failures` with their payloads (0 when the peer adopted).
    """

    peer_id: str
    by_us: bool
    reissued: int
    failed: int


@dataclass(frozen=True, slots=True)
class IdentityRenewed:
    """Say that new writes carry a fresh author id: this file is a copy, or was restored."""

    author: str
    reason: str
