"""What the machines ask for: frozen values that their owner or the driver obeys in order.

The first group reaches the network, the second travels inside one connection and is turned
into frames by `peer.py`; `Emit` goes up to the app.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cytosol.model.json import JsonValue

__all__ = [
    "Answer",
    "AnswerError",
    "Call",
    "Close",
    "Connect",
    "Effect",
    "Emit",
    "Fail",
    "Listen",
    "Notify",
    "Send",
    "SendDatagram",
    "StopListening",
    "SyncEffect",
]


# --- For the driver ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send a heartbeat: to `address`, or broadcast on every interface when it is None."""

    data: bytes
    address: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection; the answer is TcpConnected or TcpFailed with this id."""

    connection_id: int
    ip_address: str
    port: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Open a TCP listener on a fresh ephemeral port; the answer is TcpListening or TcpFailed."""

    listener_id: int


@dataclass(frozen=True, slots=True)
class StopListening:
    """Close a listener; the connections that it accepted stay."""

    listener_id: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes on a connection."""

    connection_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection after what was sent on it; no TcpClosed follows.

    `abort` drops what is still waiting to be sent.
    """

    connection_id: int
    reason: str
    abort: bool = False


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an event of `events.py` to the app."""

    event: object


# --- Inside one connection -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notify:
    """Send a JSON-RPC notification."""

    method: str
    params: JsonValue


@dataclass(frozen=True, slots=True)
class Call:
    """Send a JSON-RPC request; its result or error comes back under `call_id`."""

    call_id: int
    method: str
    params: JsonValue
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a request of the other side."""

    request_id: int | str
    result: JsonValue


@dataclass(frozen=True, slots=True)
class AnswerError:
    """Refuse a request of the other side."""

    request_id: int | str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Close the connection: the other side broke the protocol, as the sentence `reason` says."""

    reason: str


SyncEffect: TypeAlias = Notify | Call | Answer | AnswerError | Fail | Emit
Effect: TypeAlias = SendDatagram | Connect | Listen | StopListening | Send | Close | Emit
