"""One TCP stream with everything on it: peer ids, sealed frames, calls and answers.

A gateway session and a connection differ only in their limits and in what is called. Whatever
the peer sends, the end is an answer or a close with a reason; no exception leaves `receive`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.protocol.channel import Channel
from cytosol.protocol.effects import Close, Send
from cytosol.protocol.machine import Machine
from cytosol.protocol.rpc import CallFailed, CallReturned, Notified, Requested, RpcMachine, Transmit
from cytosol.wire.framing import NONCE_PREFIX_BYTES, FramingLimits
from cytosol.wire.jsonrpc import MessageId

__all__ = [
    "Authenticated",
    "Identified",
    "KeysFor",
    "RandomBytes",
    "Session",
    "SessionClosed",
    "SessionEffect",
]

KeysFor: TypeAlias = Callable[[PeerId], tuple[bytes, bytes] | None]
"""Our secret key and the peer's public key for a claimed id, or None to refuse it."""

RandomBytes: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Identified:
    """Say whom the peer claims to be; we have a key to try, nothing is proved."""

    peer_id: PeerId


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Say that the peer's first authentic frame has arrived."""

    peer_id: PeerId


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """Say that the session is over, from either side; always its last effect."""

    reason: str


SessionEffect: TypeAlias = (
    Send
    | Close
    | Identified
    | Authenticated
    | SessionClosed
    | Requested
    | Notified
    | CallReturned
    | CallFailed
)


class Session(Machine[SessionEffect]):
    """Drive one stream; the owner hands in its bytes and its end."""

    def __init__(
        self,
        connection_id: int,
        *,
        own_id: PeerId,
        limits: FramingLimits,
        keys_for: KeysFor,
        random_bytes: RandomBytes,
        expected: PeerId | None = None,
    ) -> None:
        super().__init__()
        self.connection_id = connection_id
        self.is_closed = False
        self._keys_for = keys_for
        self._channel = Channel(limits, random_bytes(NONCE_PREFIX_BYTES), expected)
        self._rpc = RpcMachine(int.from_bytes(random_bytes(4), "big"))
        self._was_authentic = False
        self._do(Send(connection_id, own_id))

    @property
    def peer_id(self) -> PeerId | None:
        """Return whom the peer claims to be, None until it said so."""
        return self._channel.peer_id

    @property
    def is_inside_message(self) -> bool:
        """Tell whether a part of a message has arrived, and its end not yet."""
        return self._channel.is_inside_frame

    # --- Ours --------------------------------------------------------------------------

    def call(self, method: str, params: JsonValue, timeout_s: float, now: float) -> int:
        """Call the peer and return the call's id; LocalProtocolError when too many wait."""
        call_id = self._rpc.call(method, params, timeout_s, now)
        self._pump()
        return call_id

    def notify(self, method: str, params: JsonValue) -> None:
        """Send a notification."""
        self._rpc.notify(method, params)
        self._pump()

    def answer(self, request_id: MessageId, result: JsonValue) -> None:
        """Answer a request of the peer."""
        self._rpc.answer(request_id, result)
        self._pump()

    def answer_error(self, request_id: MessageId, code: int, message: str) -> None:
        """Refuse a request of the peer."""
        self._rpc.answer_error(request_id, code, message)
        self._pump()

    def open_to(self, peer_id: PeerId) -> bool:
        """Take the keys for a peer before it has said anything, so that we can send first."""
        keys = self._keys_for(peer_id)
        if keys is not None and not self._channel.has_key:
            self._channel.use_keys(*keys)
        return keys is not None

    def close(self, reason: str, *, abort: bool = False) -> None:
        """Close the stream; calls that wait fail with the same reason."""
        if not self.is_closed:
            self._do(Close(self.connection_id, reason, abort))
            self.lost(reason)

    # --- Theirs ------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """Take note that the stream has ended."""
        if self.is_closed:
            return
        self._rpc.fail_all(reason)
        self._pump()
        self.is_closed = True
        self._do(SessionClosed(reason))

    def receive(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        if self.is_closed:
            return
        channel = self._channel
        try:
            channel.receive(data)
            if not channel.has_key and not self._identify():
                return
            for message in channel.messages():
                if not self._was_authentic:
                    self._was_authentic = True
                    assert channel.peer_id is not None
                    self._do(Authenticated(channel.peer_id))
                self._rpc.receive(message)
                self._pump()
        except RemoteProtocolError as error:
            # Only who has proved to be the peer is told what was wrong: no byte to others.
            if error.code is not None and self._was_authentic:
                self._rpc.refuse(error.code, str(error))
                self._pump()
            self.close(str(error))

    def _identify(self) -> bool:
        """Find the keys for the claimed id; False while it is unknown, or refused."""
        claimed = self._channel.peer_id
        if claimed is None:
            return False
        if not self.open_to(claimed):
            self.close(f"{format_id(claimed)} is not known here")
            return False
        self._do(Identified(claimed))
        return True

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the first unanswered call times out."""
        return self._rpc.next_deadline()

    def handle_timer(self, now: float) -> None:
        """Give up the calls whose time is over."""
        self._rpc.handle_timer(now)
        self._pump()

    def _pump(self) -> None:
        """Seal what the calls have to send, and hand the rest on."""
        for effect in self._rpc.take_effects():
            if self.is_closed:
                return
            if not isinstance(effect, Transmit):
                self._do(effect)
                continue
            try:
                self._do(Send(self.connection_id, self._channel.seal(effect.message)))
            except LocalProtocolError as error:
                # The peer would miss it without knowing: only a new connection is honest.
                self.close(f"a message to the peer could not be sent: {error}")
