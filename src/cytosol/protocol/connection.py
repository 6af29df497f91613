"""A connection between two paired peers: authenticated both ways, kept alive, and synced over.

Each connection has fresh keys, exchanged through the gateway under the pinned ones, so the first
frame that opens proves the peer. That frame is `sharePeers`, on both sides. A dead peer is
noticed by silence, since TCP alone may take minutes (spec: network, Connections).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, assert_never

from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    CALL_TIMEOUT_S,
    CALLS_WAITING_MAX,
    FIRST_FRAME_TIMEOUT_S,
    KEEP_ALIVE_TIMEOUT_S,
)
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import (
    Answer,
    AnswerError,
    Call,
    Close,
    Emit,
    Fail,
    Notify,
    Send,
    SyncEffect,
)
from cytosol.protocol.graph_channel import GRAPH_CALLS_MAX, GraphChannel
from cytosol.protocol.machine import Machine, Transitions, earliest, next_state
from cytosol.protocol.rpc import TIMED_OUT, CallFailed, CallReturned, Notified, Requested
from cytosol.protocol.session import (
    Authenticated,
    Identified,
    RandomBytes,
    Session,
    SessionClosed,
)
from cytosol.protocol.sync_link import OpsReceived
from cytosol.wire.framing import CONNECTION
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import Done, SharePeersParams, UnpairParams

__all__ = [
    "PING",
    "ConnectionEffect",
    "ConnectionMachine",
    "Ended",
    "Opened",
    "OpsArrived",
    "PeersShared",
    "SyncLike",
    "TheyUnpaired",
]

PING: Final = "cytosol.net.ping"
PING_AFTER_S: Final = 6.0  # of silence; three chances before the end
DEAD_AFTER_S: Final = KEEP_ALIVE_TIMEOUT_S - 2.0  # noticed within, so the wait is shorter
LEAVE_TIMEOUT_S: Final = 2.0
SYNC_CALLS_MAX: Final = CALLS_WAITING_MAX - GRAPH_CALLS_MAX - 16  # and pings, and the farewell
_SYNC_PREFIXES: Final = ("osmosis.sync.", "cytosol.sync.")
_GRAPH_PREFIX: Final = "cytosol.graph."


class SyncLike(Protocol):
    """What a connection needs of a sync machine."""

    def start(self, now: float) -> None: ...
    def receive_part(self, now: float) -> None: ...
    def receive_notification(self, method: str, params: JsonValue, now: float) -> None: ...
    def receive_request(
        self, request_id: int | str, method: str, params: JsonValue, now: float
    ) -> None: ...
    def receive_result(self, call_id: int, result: JsonValue, now: float) -> None: ...
    def receive_error(self, call_id: int, code: int, message: str, now: float) -> None: ...
    def local_changes(self, now: float) -> None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_deadline(self) -> float | None: ...
    def take_effects(self) -> list[SyncEffect]: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """Say that the peer has proved who it is: the connection counts from now on."""


@dataclass(frozen=True, slots=True)
class PeersShared:
    """Bring what the peer says about further devices."""

    params: SharePeersParams


@dataclass(frozen=True, slots=True)
class TheyUnpaired:
    """Say that the peer has unpaired us."""


@dataclass(frozen=True, slots=True)
class OpsArrived:
    """Say that the replica has new ops from this peer: relay them to the others."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Say that the connection is over; its last effect."""

    reason: str


ConnectionEffect: TypeAlias = (
    Send | Close | Emit | Opened | PeersShared | TheyUnpaired | OpsArrived | Ended
)


class _State(enum.Enum):
    OPENING = "the peer has not proved who it is"
    OPEN = "the connection is open"
    LEAVING = "we have unpaired the peer and tell it so"
    OVER = "the connection is over"


class _Step(enum.Enum):
    AUTHENTICATE = "proving oneself"
    UNPAIR = "unpairing"
    END = "ending the connection"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.OPENING, _Step.AUTHENTICATE): _State.OPEN,
    (_State.OPENING, _Step.END): _State.OVER,
    (_State.OPEN, _Step.UNPAIR): _State.LEAVING,
    (_State.OPEN, _Step.END): _State.OVER,
    (_State.LEAVING, _Step.END): _State.OVER,
}


class ConnectionMachine(Machine[ConnectionEffect]):
    """One side of one connection."""

    def __init__(
        self,
        connection_id: int,
        *,
        own_id: PeerId,
        peer_id: PeerId,
        keys: tuple[bytes, bytes],
        is_caller: bool,
        ip_address: str,
        share: Callable[[], SharePeersParams],
        sync: SyncLike,
        is_listening: Callable[[], bool],
        random_bytes: RandomBytes,
        now: float,
    ) -> None:
        """Begin on an open TCP stream; `keys` are our secret and the peer's public one, fresh.

        The caller speaks first; the answerer says nothing but its id to who has proved nothing.
        """
        super().__init__()
        self.connection_id = connection_id
        self.peer_id = peer_id
        self.ip_address = ip_address
        self.is_caller = is_caller
        self._share = share
        self._last_shared: SharePeersParams | None = None
        self._sync = sync
        self._state = _State.OPENING
        self._heard_at = now
        self._pinged_at = now
        self._deadline: float | None = now + FIRST_FRAME_TIMEOUT_S
        self._sync_calls: dict[int, int] = {}  # id on the wire -> id of the sync machine
        self._is_listening = is_listening
        self._graph = GraphChannel(connection_id, format_id(peer_id))
        self._graph_calls: dict[int, int] = {}  # id on the wire -> id of the channel
        self._leave_call: int | None = None
        self._session = Session(
            connection_id,
            own_id=own_id,
            limits=CONNECTION,
            keys_for=lambda _: keys,
            random_bytes=random_bytes,
            expected=peer_id,
        )
        if is_caller:
            self._session.open_to(peer_id)
            self._tell_peers()
        self._pump(now)

    @property
    def is_open(self) -> bool:
        """Tell whether the connection is authenticated and in use."""
        return self._state is _State.OPEN

    # --- Ours --------------------------------------------------------------------------

    def share_peers(self, now: float) -> None:
        """Tell the peer again about further devices, if anything has changed."""
        self._tell_peers()
        self._pump(now)

    def local_changes(self, now: float) -> None:
        """Send on what is new in the replica."""
        self._sync.local_changes(now)
        self._pump_sync(now)

    def use_graph(self, step: Callable[[GraphChannel], None], now: float) -> None:
        """Let the graph's channel take a step, if the connection is open."""
        if self.is_open:
            step(self._graph)
            self._pump_graph(now)

    def unpair(self, now: float) -> None:
        """Stop syncing, tell the peer that it is unpaired, and close."""
        self._step(_Step.UNPAIR)
        self._end_graph()
        params = UnpairParams().to_json()
        self._leave_call = self._session.call(UnpairParams.METHOD, params, LEAVE_TIMEOUT_S, now)
        self._pump(now)

    def close(self, reason: str, now: float) -> None:
        """Close the connection after what was sent on it; Ended follows."""
        self._session.close(reason)
        self._pump(now)

    # --- Inputs ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take the next piece of the stream."""
        self._heard_at = now
        self._session.receive(data)
        self._pump(now)
        if self._session.is_inside_message:
            self._sync.receive_part(now)
        self._pump_sync(now)
        self._pump_graph(now)

    def lost(self, reason: str, now: float) -> None:
        """Take note that the stream has ended."""
        self._session.lost(reason)
        self._pump(now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when silence, a call or the sync wants attention."""
        if self._state is not _State.OPEN:
            return earliest(self._deadline, self._session.next_deadline())
        return earliest(
            self._heard_at + DEAD_AFTER_S,
            max(self._heard_at, self._pinged_at) + PING_AFTER_S,
            self._session.next_deadline(),
            self._sync.next_deadline(),
        )

    def handle_timer(self, now: float) -> None:
        """Ping a silent peer, and give up one that stays silent."""
        if self._deadline is not None and now >= self._deadline:
            self.close("the peer did not prove itself in time", now)
            return
        if self._state is _State.OPEN:
            if now >= self._heard_at + DEAD_AFTER_S:
                self._session.close("the peer has fallen silent", abort=True)
            elif now >= max(self._heard_at, self._pinged_at) + PING_AFTER_S:
                self._pinged_at = now
                self._session.call(PING, {}, CALL_TIMEOUT_S, now)
        self._session.handle_timer(now)
        self._pump(now)
        if self.is_open:
            self._sync.handle_timer(now)
            self._pump_sync(now)

    # --- Inside ------------------------------------------------------------------------

    def _step(self, step: _Step) -> None:
        self._state = next_state(_TRANSITIONS, self._state, step, from_peer=False)

    def _pump(self, now: float) -> None:
        """Act on what the session brought until it brings nothing more."""
        while effects := self._session.take_effects():
            for effect in effects:
                match effect:
                    case Send() | Close():
                        self._do(effect)
                    case Authenticated():
                        self._authenticated(now)
                    case SessionClosed():
                        self._step(_Step.END)
                        self._end_graph()
                        self._do(Ended(effect.reason))
                    case Identified():
                        pass
                    case _ if self._session.is_closed:
                        pass
                    case Requested():
                        self._receive_request(effect, now)
                    case Notified():
                        self._receive_notification(effect, now)
                    case CallReturned() | CallFailed():
                        self._settled(effect, now)
                    case _:
                        assert_never(effect)

    def _authenticated(self, now: float) -> None:
        self._step(_Step.AUTHENTICATE)
        self._deadline = None
        self._tell_peers()  # the caller did so before, but something may have changed since
        self._do(Opened())
        self._sync.start(now)
        self._pump_sync(now)
        self.use_graph(lambda channel: channel.listen(self._is_listening()), now)

    def _tell_peers(self) -> None:
        share = self._share()
        if share != self._last_shared:
            self._last_shared = share
            self._session.notify(SharePeersParams.METHOD, share.to_json())

    def _receive_request(self, request: Requested, now: float) -> None:
        session = self._session
        if request.method == PING:
            session.answer(request.request_id, Done().to_json())
        elif request.method == UnpairParams.METHOD:
            session.answer(request.request_id, Done().to_json())
            self._do(TheyUnpaired())
            session.close("the peer has unpaired us")
        elif self._state is _State.OPEN and request.method.startswith(_SYNC_PREFIXES):
            self._sync.receive_request(request.request_id, request.method, request.params, now)
        elif self._state is _State.OPEN and request.method.startswith(_GRAPH_PREFIX):
            self._graph.receive_request(request.request_id, request.method, request.params)
        else:
            message = f"there is no method {request.method!r} on a connection"
            session.answer_error(request.request_id, ErrorCode.METHOD_NOT_FOUND, message)

    def _receive_notification(self, notification: Notified, now: float) -> None:
        """Take a notification; unknown ones are ignored, so that later versions may send them."""
        if self._state is not _State.OPEN:
            return
        if notification.method.startswith(_SYNC_PREFIXES):
            self._sync.receive_notification(notification.method, notification.params, now)
        elif notification.method.startswith(_GRAPH_PREFIX):
            self._graph.receive_notification(notification.method, notification.params)
        elif notification.method == SharePeersParams.METHOD:
            try:
                self._do(PeersShared(SharePeersParams.from_json(notification.params)))
            except RemoteProtocolError as error:
                self._session.close(str(error))

    def _settled(self, call: CallReturned | CallFailed, now: float) -> None:
        """Hand the outcome of a call to who made it."""
        if call.call_id == self._leave_call:
            self._session.close("the device was unpaired")
            return
        sync_call = self._sync_calls.pop(call.call_id, None)
        graph_call = self._graph_calls.pop(call.call_id, None)
        if self._state is not _State.OPEN:
            return
        if graph_call is not None:
            if isinstance(call, CallReturned):
                self._graph.receive_result(graph_call)
            else:
                self._graph.receive_error(graph_call)
        elif sync_call is None:
            pass  # a ping: that the peer answered was noted when the bytes came
        elif isinstance(call, CallReturned):
            self._sync.receive_result(sync_call, call.result, now)
        else:
            self._sync.receive_error(sync_call, call.code, call.message, now)

    def _pump_sync(self, now: float) -> None:
        """Do what the sync machine asks for, until it asks for nothing more."""
        while self._state is _State.OPEN and (effects := self._sync.take_effects()):
            for effect in effects:
                if self._session.is_closed:
                    break
                self._do_sync(effect, now)
            self._pump(now)

    def _do_sync(self, effect: SyncEffect, now: float) -> None:
        session = self._session
        match effect:
            case Notify():
                session.notify(effect.method, effect.params)
            case Call() if len(self._sync_calls) >= SYNC_CALLS_MAX:
                message = "too many calls wait for an answer already"
                self._sync.receive_error(effect.call_id, TIMED_OUT, message, now)
            case Call():
                call_id = session.call(effect.method, effect.params, effect.timeout_s, now)
                self._sync_calls[call_id] = effect.call_id
            case Answer():
                session.answer(effect.request_id, effect.result)
            case AnswerError():
                session.answer_error(effect.request_id, effect.code, effect.message)
            case Fail():
                session.close(effect.reason)
            case Emit(event=OpsReceived()):
                self._do(OpsArrived())
            case Emit():
                self._do(effect)
            case _:
                assert_never(effect)

    def _pump_graph(self, now: float) -> None:
        """Do what the graph's channel asks for, until it asks for nothing more."""
        session = self._session
        while self._state is _State.OPEN and (effects := self._graph.take_effects()):
            for effect in effects:
                match effect:
                    case Emit():
                        self._do(effect)
                    case Notify():
                        session.notify(effect.method, effect.params)
                    case Call():
                        wire_id = session.call(effect.method, effect.params, effect.timeout_s, now)
                        self._graph_calls[wire_id] = effect.call_id
                    case Answer():
                        session.answer(effect.request_id, effect.result)
                    case AnswerError():
                        session.answer_error(effect.request_id, effect.code, effect.message)
                    case _:
                        assert_never(effect)
            self._pump(now)

    def _end_graph(self) -> None:
        """Say that messages of graphs do not travel any more, if they did."""
        closed = self._graph.lost()
        if closed is not None:
            self._do(closed)
