"""A visit to another peer's gateway: dial its addresses in turn, await its greeting, then call.

The first frame of the answerer is its greeting with a challenge, which every request has to
repeat, so that no recorded request can be replayed (spec: network, RPC). A heartbeat goes ahead
of every dial, because a gateway knows its callers by their heartbeats.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cytosol.errors import RemoteProtocolError
from cytosol.limits import FIRST_FRAME_TIMEOUT_S
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue
from cytosol.protocol.discovery import Candidate
from cytosol.protocol.effects import Close, Connect, Send
from cytosol.protocol.machine import Machine, Transitions, earliest, next_state
from cytosol.protocol.rpc import CallFailed, CallReturned, Notified, Requested
from cytosol.protocol.session import (
    Authenticated,
    Identified,
    RandomBytes,
    Session,
    SessionClosed,
)
from cytosol.wire.framing import GATEWAY
from cytosol.wire.messages import HelloParams

__all__ = ["GatewayCall", "GatewayCallEffect", "Greeted", "Ping", "VisitOver"]

DIAL_TIMEOUT_S: Final = 3.0  # per address: a stale one must not keep us from the next
ROUND_PAUSES_S: Final = (0.3, 1.0, 2.0)  # the heartbeat may have been slower than the dial


@dataclass(frozen=True, slots=True)
class Ping:
    """Send one heartbeat to this host; `udp_port` None is the port of all heartbeats."""

    ip_address: str
    udp_port: int | None


@dataclass(frozen=True, slots=True)
class Greeted:
    """Say that the gateway greeted us: call now, with this challenge."""

    challenge: bytes
    ip_address: str
    port: int


@dataclass(frozen=True, slots=True)
class VisitOver:
    """Say that the visit is over: nobody was reached, or the stream ended; its last effect."""

    reason: str


GatewayCallEffect: TypeAlias = (
    Connect | Send | Close | Ping | Greeted | CallReturned | CallFailed | VisitOver
)


class _State(enum.Enum):
    IDLE = "nothing was dialled"
    DIALLING = "dialling"
    AWAITING_GREETING = "awaiting the greeting"
    OPEN = "the gateway is open"
    OVER = "the visit is over"


class _Step(enum.Enum):
    DIAL = "dialling"
    CONNECTED = "being connected"
    GREETED = "being greeted"
    GIVE_UP_ADDRESS = "giving up an address"
    END = "ending the visit"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.IDLE, _Step.DIAL): _State.DIALLING,
    (_State.IDLE, _Step.END): _State.OVER,
    (_State.DIALLING, _Step.CONNECTED): _State.AWAITING_GREETING,
    (_State.DIALLING, _Step.GIVE_UP_ADDRESS): _State.IDLE,
    (_State.DIALLING, _Step.END): _State.OVER,
    (_State.AWAITING_GREETING, _Step.GREETED): _State.OPEN,
    (_State.AWAITING_GREETING, _Step.GIVE_UP_ADDRESS): _State.IDLE,
    (_State.AWAITING_GREETING, _Step.END): _State.OVER,
    (_State.OPEN, _Step.END): _State.OVER,
}


class GatewayCall(Machine[GatewayCallEffect]):
    """Visit one peer's gateway once. `rounds` is how often all addresses are tried."""

    def __init__(
        self,
        *,
        own_id: PeerId,
        own_secret: bytes,
        peer_id: PeerId,
        peer_key: bytes,
        candidates: Callable[[], Sequence[Candidate]],
        connection_ids: Iterator[int],
        random_bytes: RandomBytes,
        rounds: int = 1,
    ) -> None:
        super().__init__()
        self.peer_id = peer_id
        self.peer_key = peer_key
        self._own_id = own_id
        self._own_secret = own_secret
        self._candidates = candidates
        self._connection_ids = connection_ids
        self._random_bytes = random_bytes
        self._rounds_left = rounds
        self._round = 0
        self._state = _State.IDLE
        self._untried: list[Candidate] = []
        self._candidate: Candidate | None = None
        self._connection_id: int | None = None
        self._session: Session | None = None
        self._deadline: float | None = None
        self._reason = "no address of the peer is known"

    @property
    def connection_id(self) -> int | None:
        """Return the connection that belongs to this visit now."""
        return self._connection_id

    # --- Ours --------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Dial the first address."""
        self._begin_round(now)

    def call(self, method: str, params: JsonValue, timeout_s: float, now: float) -> int:
        """Make a call through the open gateway and return its id."""
        assert self._session is not None
        call_id = self._session.call(method, params, timeout_s, now)
        self._pump(now)
        return call_id

    def close(self, reason: str) -> None:
        """End the visit; VisitOver follows."""
        if self._state is _State.OVER:
            return
        self._drop_connection(reason)
        self._end(reason)

    # --- Inputs ------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Take note that the dial succeeded: say who we are and await the greeting."""
        self._step(_Step.CONNECTED)
        assert self._connection_id is not None
        self._session = Session(
            self._connection_id,
            own_id=self._own_id,
            limits=GATEWAY,
            keys_for=lambda _: (self._own_secret, self.peer_key),
            random_bytes=self._random_bytes,
            expected=self.peer_id,
        )
        self._session.open_to(self.peer_id)
        self._deadline = now + FIRST_FRAME_TIMEOUT_S
        self._pump(now)

    def receive(self, data: bytes, now: float) -> None:
        """Take the next piece of the stream."""
        assert self._session is not None
        self._session.receive(data)
        self._pump(now)

    def lost(self, reason: str, now: float) -> None:
        """Take note that the dial failed, or that the stream has ended."""
        self._connection_id = None
        if self._session is not None:
            self._session.lost(reason)
            self._pump(now)
        else:
            self._next_candidate(reason, now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when a dial, the greeting or a call times out, or the next round begins."""
        of_calls = None if self._session is None else self._session.next_deadline()
        return earliest(self._deadline, of_calls)

    def handle_timer(self, now: float) -> None:
        """Go on to the next address, or give up calls that were not answered."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if self._state is _State.IDLE:
                self._begin_round(now)
            else:
                self._drop_connection("no greeting came in time")
                self._next_candidate("the peer did not answer in time", now)
        if self._session is not None:
            self._session.handle_timer(now)
            self._pump(now)

    # --- Inside ------------------------------------------------------------------------

    def _step(self, step: _Step, *, from_peer: bool = False) -> None:
        self._state = next_state(_TRANSITIONS, self._state, step, from_peer=from_peer)

    def _begin_round(self, now: float) -> None:
        self._rounds_left -= 1
        self._untried = list(self._candidates())
        self._dial_next(now)

    def _dial_next(self, now: float) -> None:
        """Dial the next address; after the last one pause, or give up."""
        if self._untried:
            self._candidate = candidate = self._untried.pop(0)
            self._step(_Step.DIAL)
            self._connection_id = next(self._connection_ids)
            self._deadline = now + DIAL_TIMEOUT_S
            self._do(Ping(candidate.ip_address, candidate.udp_port or None))
            self._do(Connect(self._connection_id, candidate.ip_address, candidate.port))
        elif self._rounds_left > 0:
            self._deadline = now + ROUND_PAUSES_S[min(self._round, len(ROUND_PAUSES_S) - 1)]
            self._round += 1
        else:
            self._end(self._reason)

    def _next_candidate(self, reason: str, now: float) -> None:
        self._reason = reason
        self._session = None
        self._step(_Step.GIVE_UP_ADDRESS)
        self._dial_next(now)

    def _drop_connection(self, reason: str) -> None:
        if self._connection_id is not None:
            self._do(Close(self._connection_id, reason))
            self._connection_id = None
        self._session = None

    def _end(self, reason: str) -> None:
        self._step(_Step.END)
        self._deadline = None
        self._untried.clear()
        self._do(VisitOver(reason))

    def _pump(self, now: float) -> None:
        """Hand on what the session did."""
        session = self._session
        assert session is not None
        for effect in session.take_effects():
            match effect:
                case Notified():
                    self._receive_notification(session, effect)
                case Requested():
                    session.close("a gateway does not call its callers")
                case SessionClosed():
                    self._session_closed(effect.reason, now)
                case Identified() | Authenticated():
                    pass
                case _:
                    self._do(effect)
        if self._session is session and session.is_closed:
            self._pump(now)

    def _receive_notification(self, session: Session, notification: Notified) -> None:
        """Take the greeting; a second one, or anything else, is a breach."""
        try:
            if notification.method != HelloParams.METHOD:
                raise RemoteProtocolError(f"a gateway does not send {notification.method!r}")
            hello = HelloParams.from_json(notification.params)
            self._step(_Step.GREETED, from_peer=True)
        except RemoteProtocolError as error:
            session.close(str(error))
            return
        assert self._candidate is not None
        self._deadline = None
        self._do(Greeted(hello.challenge, self._candidate.ip_address, self._candidate.port))

    def _session_closed(self, reason: str, now: float) -> None:
        self._connection_id = None
        if self._state is _State.OPEN:
            self._session = None
            self._end(reason)
        else:
            self._next_candidate(reason, now)
