"""The Gateway Service: what strangers may knock at, and paired devices call to connect.

It greets a caller whose key it knows with a fresh challenge, checks that every request repeats
it, and hands pairing and connecting on to those who know about them. Who is not known gets no
byte but our peer id (spec: network, RPC, Limits).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from cytosol.crypto.primitives import equal_secrets
from cytosol.errors import RemoteProtocolError
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import Close, Send
from cytosol.protocol.half_open import HalfOpenTable
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
from cytosol.wire.jsonrpc import ErrorCode, MessageId
from cytosol.wire.messages import (
    CHALLENGE_BYTES,
    ConfirmPairParams,
    ConnectParams,
    HelloParams,
    PairParams,
)
from cytosol.wire.methods import Place, parse_params

__all__ = [
    "CallerLost",
    "GatewayEffect",
    "GatewayMachine",
    "GatewayRequest",
    "GatewayRequestId",
]

IDLE_S: Final = 5.0  # between greeting and request, and after an answer
SESSIONS_MAX: Final = 64  # authentic callers at once
SESSIONS_PER_PEER_MAX: Final = 4

GatewayParams: TypeAlias = PairParams | ConfirmPairParams | ConnectParams


@dataclass(frozen=True, slots=True)
class GatewayRequestId:
    """Name one request at the gateway, to answer it."""

    connection_id: int
    message_id: MessageId


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """Bring an authentic request with the right challenge; `public_key` is what proved it."""

    request_id: GatewayRequestId
    peer_id: PeerId
    public_key: bytes
    ip_address: str
    params: GatewayParams


@dataclass(frozen=True, slots=True)
class CallerLost:
    """Say that a caller's connection is gone; what it has asked for is void."""

    connection_id: int


GatewayEffect: TypeAlias = Send | Close | GatewayRequest | CallerLost


class _State(enum.Enum):
    ARRIVED = "the caller has not said who it is"
    GREETED = "the caller was greeted"
    IDLE = "nothing is asked"
    BUSY = "a request waits for its answer"


class _Step(enum.Enum):
    IDENTIFY = "naming oneself"
    AUTHENTICATE = "proving oneself"
    ASK = "a request"
    ANSWER = "an answer"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.ARRIVED, _Step.IDENTIFY): _State.GREETED,
    (_State.GREETED, _Step.AUTHENTICATE): _State.IDLE,
    (_State.IDLE, _Step.ASK): _State.BUSY,
    (_State.BUSY, _Step.ASK): _State.BUSY,
    (_State.BUSY, _Step.ANSWER): _State.IDLE,
}


class _Caller:
    """One accepted connection."""

    __slots__ = ("challenge", "deadline", "ip_address", "open_requests", "public_key", "session",
                 "state")  # fmt: skip

    def __init__(self, session: Session, ip_address: str, challenge: bytes) -> None:
        self.session = session
        self.ip_address = ip_address
        self.challenge = challenge
        self.state = _State.ARRIVED
        self.public_key = b""
        self.deadline: float | None = None  # the half-open table has the first one
        self.open_requests = 0

    def step(self, step: _Step, *, from_peer: bool) -> None:
        self.state = next_state(_TRANSITIONS, self.state, step, from_peer=from_peer)


class GatewayMachine(Machine[GatewayEffect]):
    """Receive callers. `key_of` knows the keys of paired devices and of visible strangers."""

    def __init__(
        self,
        *,
        own_id: PeerId,
        own_secret: bytes,
        key_of: Callable[[PeerId], bytes | None],
        half_open: HalfOpenTable,
        random_bytes: RandomBytes,
    ) -> None:
        super().__init__()
        self._own_id = own_id
        self._own_secret = own_secret
        self._key_of = key_of
        self._half_open = half_open
        self._random_bytes = random_bytes
        self._callers: dict[int, _Caller] = {}

    def __contains__(self, connection_id: int) -> bool:
        return connection_id in self._callers

    # --- Inputs ------------------------------------------------------------------------

    def accepted(self, connection_id: int, ip_address: str) -> None:
        """Take a connection that the half-open table has admitted."""

        def keys_for(claimed: PeerId) -> tuple[bytes, bytes] | None:
            public_key = None if claimed == self._own_id else self._key_of(claimed)
            if public_key is None:
                return None
            caller.public_key = public_key
            return self._own_secret, public_key

        session = Session(
            connection_id,
            own_id=self._own_id,
            limits=GATEWAY,
            keys_for=keys_for,
            random_bytes=self._random_bytes,
        )
        caller = _Caller(session, ip_address, self._random_bytes(CHALLENGE_BYTES))
        self._callers[connection_id] = caller
        self._pump(caller, 0.0)

    def receive(self, connection_id: int, data: bytes, now: float) -> None:
        """Take the next piece of a caller's stream."""
        caller = self._callers[connection_id]
        caller.session.receive(data)
        self._pump(caller, now)

    def lost(self, connection_id: int, reason: str, now: float) -> None:
        """Take note that a caller's stream has ended."""
        caller = self._callers[connection_id]
        caller.session.lost(reason)
        self._pump(caller, now)

    def close(self, connection_id: int, reason: str, now: float) -> None:
        """Close a caller's connection, if it is still there, after what was sent on it."""
        caller = self._callers.get(connection_id)
        if caller is not None:
            caller.session.close(reason)
            self._pump(caller, now)

    def close_all(self, reason: str, now: float) -> None:
        """Close all connections: we stop."""
        for connection_id in list(self._callers):
            self.close(connection_id, reason, now)

    # --- Answers -----------------------------------------------------------------------

    def answer(self, request_id: GatewayRequestId, result: JsonValue, now: float) -> None:
        """Answer a request, if its caller is still there."""
        caller = self._callers.get(request_id.connection_id)
        if caller is not None:
            caller.session.answer(request_id.message_id, result)
            self._answered(caller, now)

    def answer_error(
        self, request_id: GatewayRequestId, code: int, message: str, now: float
    ) -> None:
        """Refuse a request, if its caller is still there."""
        caller = self._callers.get(request_id.connection_id)
        if caller is not None:
            caller.session.answer_error(request_id.message_id, code, message)
            self._answered(caller, now)

    def _answered(self, caller: _Caller, now: float) -> None:
        caller.open_requests -= 1
        if caller.open_requests == 0:
            caller.step(_Step.ANSWER, from_peer=False)
            caller.deadline = now + IDLE_S
        self._pump(caller, now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the next idle caller has to go."""
        return earliest(*(caller.deadline for caller in self._callers.values()))

    def handle_timer(self, now: float) -> None:
        """Close the connections of callers that want nothing."""
        for connection_id, caller in list(self._callers.items()):
            if caller.deadline is not None and now >= caller.deadline:
                self.close(connection_id, "the caller asked for nothing more", now)

    # --- Inside ------------------------------------------------------------------------

    def _pump(self, caller: _Caller, now: float) -> None:
        """Act on what a session brought until it brings nothing more."""
        session = caller.session
        while effects := session.take_effects():
            for effect in effects:
                match effect:
                    case Send() | Close():
                        self._do(effect)
                    case Identified():
                        caller.step(_Step.IDENTIFY, from_peer=True)
                        session.notify(HelloParams.METHOD, HelloParams(caller.challenge).to_json())
                    case Authenticated():
                        self._authenticated(caller, effect.peer_id, now)
                    case Requested():
                        self._receive_request(caller, effect, now)
                    case SessionClosed():
                        self._half_open.remove(session.connection_id)
                        self._callers.pop(session.connection_id, None)
                        self._do(CallerLost(session.connection_id))
                    case Notified() | CallReturned() | CallFailed():
                        session.close("a caller only makes requests")
                    case _:
                        assert_never(effect)

    def _authenticated(self, caller: _Caller, peer_id: PeerId, now: float) -> None:
        """Count an authentic caller, and let older ones go where there are too many."""
        caller.step(_Step.AUTHENTICATE, from_peer=True)
        caller.deadline = now + IDLE_S
        self._half_open.remove(caller.session.connection_id)
        authentic = [
            each
            for each in self._callers.values()
            if each is not caller and each.state in (_State.IDLE, _State.BUSY)
        ]
        of_peer = [each for each in authentic if each.session.peer_id == peer_id]
        excess = None
        if len(of_peer) >= SESSIONS_PER_PEER_MAX:
            excess = of_peer[0]
        elif len(authentic) >= SESSIONS_MAX:
            excess = authentic[0]
        if excess is not None:
            self.close(excess.session.connection_id, "too many callers", now)

    def _receive_request(self, caller: _Caller, request: Requested, now: float) -> None:
        """Check method, params and challenge; whoever fails is answered and sent away."""
        if caller.session.is_closed:
            return
        assert caller.session.peer_id is not None
        connection_id = caller.session.connection_id
        caller.step(_Step.ASK, from_peer=True)
        caller.open_requests += 1
        caller.deadline = None
        request_id = GatewayRequestId(connection_id, request.request_id)
        try:
            params = parse_params(request.method, request.params, Place.GATEWAY)
            if isinstance(params, HelloParams):
                raise RemoteProtocolError(
                    "only the gateway itself sends greetings", ErrorCode.METHOD_NOT_FOUND
                )
            assert isinstance(params, GatewayParams)
            if not equal_secrets(params.challenge, caller.challenge):
                raise RemoteProtocolError(
                    "the request does not repeat the challenge of this connection",
                    ErrorCode.INVALID_PARAMS,
                )
        except RemoteProtocolError as error:
            code = ErrorCode.INVALID_PARAMS if error.code is None else error.code
            self.answer_error(request_id, code, str(error), now)
            self.close(connection_id, str(error), now)
            return
        self._do(
            GatewayRequest(
                request_id, caller.session.peer_id, caller.public_key, caller.ip_address, params
            )
        )
