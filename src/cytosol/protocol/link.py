"""The link to one paired device: call it or be called, connect, and do so again when it ends.

One connection per pair: when both call at once, the call of the smaller id wins, and a newer
connection replaces an older one, because whoever calls has lost the older one. The answerer of a
call listens on a fresh port until a first frame proves the caller (spec: network, Connections).

```text
idle --call--> calling --greeted--> asked --port--> dialling --> opening --proved--> idle, connected
idle --their call--> answering --proved--> idle, connected
```
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, assert_never

from cytosol.crypto.keys import KeyPair, make_key_pair
from cytosol.crypto.primitives import KEY_BYTES
from cytosol.errors import RemoteProtocolError
from cytosol.limits import CALL_TIMEOUT_S, FIRST_FRAME_TIMEOUT_S
from cytosol.model.ids import PeerId, format_id
from cytosol.protocol.connection import (
    ConnectionMachine,
    Ended,
    Opened,
    OpsArrived,
    PeersShared,
    SyncLike,
    TheyUnpaired,
)
from cytosol.protocol.discovery import Candidate
from cytosol.protocol.effects import Close, Connect, Emit, Listen, Send, StopListening
from cytosol.protocol.events import PeerConnected, PeerDisconnected
from cytosol.protocol.gateway import GatewayRequest
from cytosol.protocol.gateway_call import GatewayCall, Greeted, Ping, VisitOver
from cytosol.protocol.graph_channel import GraphChannel
from cytosol.protocol.half_open import HalfOpenTable
from cytosol.protocol.machine import Machine, Transitions, earliest, jittered, next_state
from cytosol.protocol.pair_prompt import GatewayAnswer, GatewayRefusal
from cytosol.protocol.rpc import CallFailed, CallReturned
from cytosol.protocol.seams import PairedPeer
from cytosol.protocol.session import RandomBytes
from cytosol.protocol.snapshot import SnapshotCache
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import ConnectParams, ConnectResult, SharePeersParams

__all__ = [
    "FromPeer",
    "Link",
    "LinkEffect",
    "LinkSurroundings",
    "Reached",
    "TheyRefuse",
]

DIAL_TIMEOUT_S: Final = 3.0
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
STABLE_AFTER_S: Final = 30.0  # a connection that lasted so long was a success
YIELD_S: Final = 0.8  # the greater id lets the smaller one call first: its call would win anyway


@dataclass(frozen=True, slots=True)
class FromPeer:
    """Bring what the peer says over its connection."""

    what: PeersShared | TheyUnpaired | OpsArrived


@dataclass(frozen=True, slots=True)
class TheyRefuse:
    """Say that the peer's gateway, authentically, told us that we were unpaired."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Say where the peer's gateway was reached, to be remembered."""

    ip_address: str
    port: int


LinkEffect: TypeAlias = (
    Connect
    | Listen
    | StopListening
    | Send
    | Close
    | Ping
    | Emit
    | GatewayAnswer
    | GatewayRefusal
    | FromPeer
    | TheyRefuse
    | Reached
)


@dataclass(frozen=True, slots=True)
class LinkSurroundings:
    """What all links have in common."""

    own_id: PeerId
    own_secret: bytes = field(repr=False)
    candidates: Callable[[PeerId], Sequence[Candidate]]
    share_for: Callable[[PeerId], SharePeersParams]
    make_sync: Callable[[PeerId], SyncLike]
    snapshots: SnapshotCache
    is_listening: Callable[[], bool]  # does a program listen to messages of graphs
    half_open: HalfOpenTable
    connection_ids: Iterator[int]
    listener_ids: Iterator[int]
    random_bytes: RandomBytes


class _State(enum.Enum):
    IDLE = "nothing is being opened"
    CALLING = "the peer's gateway is being reached"
    ASKED = "the peer was asked for a connection"
    DIALLING = "the connection is being dialled"
    OPENING = "the peer has to prove itself"
    ANSWERING = "the peer has called and has to prove itself"


class _Step(enum.Enum):
    CALL = "calling"
    ASK = "asking for a connection"
    DIAL = "dialling"
    CONNECTED = "being connected"
    ANSWER = "answering a call"
    RESET = "starting over"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.IDLE, _Step.CALL): _State.CALLING,
    (_State.CALLING, _Step.ASK): _State.ASKED,
    (_State.ASKED, _Step.DIAL): _State.DIALLING,
    (_State.DIALLING, _Step.CONNECTED): _State.OPENING,
    (_State.IDLE, _Step.ANSWER): _State.ANSWERING,
    **{(state, _Step.RESET): _State.IDLE for state in _State},
}


@dataclass(slots=True)
class _Answering:
    """A call of the peer that we are answering."""

    listener_id: int
    request: GatewayRequest
    keys: KeyPair
    their_key: bytes
    is_answered: bool = False


class Link(Machine[LinkEffect]):
    """Keep one paired device connected."""

    def __init__(self, peer: PairedPeer, around: LinkSurroundings) -> None:
        super().__init__()
        self.peer = peer
        self._around = around
        self._state = _State.IDLE
        self._visit: GatewayCall | None = None
        self._keys: KeyPair | None = None  # fresh, for the connection that we ask for
        self._gateway = ("", 0)  # where the visit went
        self._dial: tuple[int, bytes] | None = None  # connection id, the peer's fresh key
        self._answering: _Answering | None = None
        self._unproved: dict[int, ConnectionMachine] = {}
        self._connection: ConnectionMachine | None = None
        self._leaving: ConnectionMachine | None = None
        self._connected_at = 0.0
        self._deadline: float | None = None  # of dialling or answering
        self._next_try: float | None = None
        self._failures = 0
        self.is_unpaired = False

    @property
    def is_connected(self) -> bool:
        """Tell whether there is an authentic connection."""
        return self._connection is not None

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing is under way, so that an unpaired device's link can go."""
        return self._leaving is None and self._connection is None and self._state is _State.IDLE

    @property
    def ip_address(self) -> str | None:
        """Return the address of the connected peer."""
        return None if self._connection is None else self._connection.ip_address

    # --- Ours --------------------------------------------------------------------------

    def heard(self, is_new: bool, now: float) -> None:
        """Take note that the peer is there; a new address is tried at once."""
        if is_new:
            self._failures = 0
        if self.is_unpaired:
            return
        if self._connection is None and self._state is _State.IDLE:
            soon = now + (YIELD_S if self._around.own_id > self.peer.peer_id else 0.0)
            if self._next_try is None or (is_new and soon < self._next_try):
                self._next_try = soon

    def call_at(self, when: float) -> None:
        """Call then, unless the peer calls first: we have just been paired."""
        self._failures = 0
        self._next_try = when

    def try_soon(self, now: float) -> None:
        """Call without waiting for a heartbeat: we start, or the network has changed."""
        self.heard(True, now)

    def local_changes(self, now: float) -> None:
        """Send on what is new in the replica."""
        assert self._connection is not None
        self._connection.local_changes(now)
        self._pump(self._connection, now)

    def share_peers(self, now: float) -> None:
        """Tell the peer again about further devices."""
        assert self._connection is not None
        self._connection.share_peers(now)
        self._pump(self._connection, now)

    def use_graph(self, step: Callable[[GraphChannel], None], now: float) -> None:
        """Let the graph's channel to the peer take a step, if it is connected."""
        if self._connection is not None:
            self._connection.use_graph(step, now)
            self._pump(self._connection, now)

    def unpair(self, now: float) -> None:
        """Stop at once, and tell the peer if it is connected."""
        self.is_unpaired = True
        self._next_try = None
        self._reset("the device was unpaired", now)
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._leaving = connection
            connection.unpair(now)
            self._disconnected("the device was unpaired")
            self._pump(connection, now)

    def stop(self, reason: str, now: float) -> None:
        """Close everything, and call no more until `try_soon`."""
        self._reset(reason, now)
        for connection in (self._connection, self._leaving):
            if connection is not None:
                connection.close(reason, now)
                self._pump(connection, now)
        self._next_try = None

    # --- Their call --------------------------------------------------------------------

    def receive_connect(self, request: GatewayRequest, now: float) -> None:
        """Answer the peer's call for a connection, or let ours win."""
        is_ours_on_its_way = self._state in (_State.ASKED, _State.DIALLING, _State.OPENING)
        if is_ours_on_its_way and self._around.own_id < self.peer.peer_id:
            message = "both called at once, and the call of the smaller id wins"
            self._do(GatewayRefusal(request.request_id, ErrorCode.NOT_NOW, message))
            return
        self._reset("the peer called, and its call counts", now)
        self._step(_Step.ANSWER)
        assert isinstance(request.params, ConnectParams)
        listener_id = next(self._around.listener_ids)
        keys = make_key_pair(self._around.random_bytes(KEY_BYTES))
        self._answering = _Answering(listener_id, request, keys, request.params.public_key)
        self._deadline = now + FIRST_FRAME_TIMEOUT_S
        self._do(Listen(listener_id))

    def listening(self, port: int, now: float) -> None:
        """Tell the caller where to dial."""
        answering = self._answering
        assert answering is not None  # a listener that is not wanted any more is not routed here
        self._deadline = now + FIRST_FRAME_TIMEOUT_S
        answering.is_answered = True
        result = ConnectResult(port, answering.keys.public)
        self._do(GatewayAnswer(answering.request.request_id, result.to_json()))

    def listen_failed(self, reason: str, now: float) -> None:
        """Tell the caller that it cannot be answered."""
        self._failed(reason, now)

    def accepted(self, connection_id: int, ip_address: str, now: float) -> None:
        """Take a connection that came to our listener; whose it is has to be proved."""
        answering = self._answering
        assert answering is not None
        keys = (answering.keys.secret, answering.their_key)
        self._begin(connection_id, keys, False, ip_address, now)

    # --- Inputs of connections ---------------------------------------------------------

    def connected(self, connection_id: int, now: float) -> None:
        """Take note that a dial succeeded."""
        if self._visit is not None and self._visit.connection_id == connection_id:
            self._visit.connected(now)
            self._pump_visit(self._visit, now)
        else:
            assert self._dial is not None
            assert self._keys is not None
            self._step(_Step.CONNECTED)
            self._deadline = None
            self._begin(
                connection_id, (self._keys.secret, self._dial[1]), True, self._gateway[0], now
            )
            self._dial = None

    def receive(self, connection_id: int, data: bytes, now: float) -> None:
        """Take the next piece of one of our streams."""
        if self._visit is not None and self._visit.connection_id == connection_id:
            self._visit.receive(data, now)
            self._pump_visit(self._visit, now)
        else:
            connection = self._find(connection_id)
            connection.receive(data, now)
            self._pump(connection, now)

    def lost(self, connection_id: int, reason: str, now: float) -> None:
        """Take note that a dial failed, or that a stream has ended."""
        if self._visit is not None and self._visit.connection_id == connection_id:
            self._visit.lost(reason, now)
            self._pump_visit(self._visit, now)
        elif self._dial is not None and self._dial[0] == connection_id:
            self._dial = None
            self._failed(reason, now)
        else:
            connection = self._find(connection_id)
            connection.lost(reason, now)
            self._pump(connection, now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when a try, a time-out or a connection wants attention."""
        is_free = self._connection is None and self._state is _State.IDLE
        return earliest(
            self._next_try if is_free else None,
            self._deadline,
            None if self._visit is None else self._visit.next_deadline(),
            None if self._connection is None else self._connection.next_deadline(),
            None if self._leaving is None else self._leaving.next_deadline(),
            *(each.next_deadline() for each in self._unproved.values()),
        )

    def handle_timer(self, now: float) -> None:
        """Call when it is time, and give up what took too long."""
        if self._deadline is not None and now >= self._deadline:
            self._failed("the peer did not come in time", now)
        if self._visit is not None:
            self._visit.handle_timer(now)
            self._pump_visit(self._visit, now)
        for connection in (*self._unproved.values(), self._connection, self._leaving):
            if connection is not None:
                connection.handle_timer(now)
                self._pump(connection, now)
        if (
            self._next_try is not None
            and now >= self._next_try
            and self._connection is None
            and self._state is _State.IDLE
        ):
            self._call(now)

    # --- Inside ------------------------------------------------------------------------

    def _step(self, step: _Step) -> None:
        self._state = next_state(_TRANSITIONS, self._state, step, from_peer=False)

    def _find(self, connection_id: int) -> ConnectionMachine:
        """Return one of our connections; whatever is closed is not routed here."""
        for connection in (self._connection, self._leaving):
            if connection is not None and connection.connection_id == connection_id:
                return connection
        return self._unproved[connection_id]

    def _call(self, now: float) -> None:
        """Visit the peer's gateway to ask for a connection."""
        self._step(_Step.CALL)
        self._next_try = None
        around, peer_id = self._around, self.peer.peer_id
        self._visit = GatewayCall(
            own_id=around.own_id,
            own_secret=around.own_secret,
            peer_id=peer_id,
            peer_key=self.peer.public_key,
            candidates=lambda: around.candidates(peer_id),
            connection_ids=around.connection_ids,
            random_bytes=around.random_bytes,
        )
        self._visit.start(now)
        self._pump_visit(self._visit, now)

    def _pump_visit(self, visit: GatewayCall, now: float) -> None:
        while effects := visit.take_effects():
            for effect in effects:
                match effect:
                    case Connect() | Send() | Close() | Ping():
                        self._do(effect)
                    case _ if self._visit is not visit:
                        pass  # we have dropped it
                    case Greeted():
                        self._ask(visit, effect, now)
                    case CallReturned():
                        self._port_given(visit, effect, now)
                    case CallFailed():
                        if effect.code == ErrorCode.UNPAIRED:
                            self._do(TheyRefuse())
                        self._failed(effect.message, now)
                    case VisitOver():
                        self._failed(effect.reason, now)
                    case _:
                        assert_never(effect)

    def _ask(self, visit: GatewayCall, greeting: Greeted, now: float) -> None:
        self._step(_Step.ASK)
        self._gateway = (greeting.ip_address, greeting.port)
        self._keys = make_key_pair(self._around.random_bytes(KEY_BYTES))
        params = ConnectParams(greeting.challenge, self._keys.public)
        visit.call(ConnectParams.METHOD, params.to_json(), CALL_TIMEOUT_S, now)

    def _port_given(self, visit: GatewayCall, call: CallReturned, now: float) -> None:
        try:
            result = ConnectResult.from_json(call.result)
        except RemoteProtocolError as error:
            self._failed(str(error), now)
            return
        self._visit = None
        visit.close("the peer has answered")
        self._pump_visit(visit, now)
        self._step(_Step.DIAL)
        connection_id = next(self._around.connection_ids)
        self._dial = (connection_id, result.public_key)
        self._deadline = now + DIAL_TIMEOUT_S
        self._do(Connect(connection_id, self._gateway[0], result.port))

    def _begin(
        self,
        connection_id: int,
        keys: tuple[bytes, bytes],
        is_caller: bool,
        ip_address: str,
        now: float,
    ) -> None:
        around, peer_id = self._around, self.peer.peer_id
        connection = ConnectionMachine(
            connection_id,
            own_id=around.own_id,
            peer_id=peer_id,
            keys=keys,
            is_caller=is_caller,
            ip_address=ip_address,
            share=lambda: around.share_for(peer_id),
            sync=around.make_sync(peer_id),
            is_listening=around.is_listening,
            random_bytes=around.random_bytes,
            now=now,
        )
        self._unproved[connection_id] = connection
        self._pump(connection, now)

    def _pump(self, connection: ConnectionMachine, now: float) -> None:
        """Act on what a connection brought until it brings nothing more."""
        while effects := connection.take_effects():
            for effect in effects:
                match effect:
                    case Send() | Close():
                        self._do(effect)
                    case Opened():
                        self._opened(connection, now)
                    case Ended():
                        self._ended(connection, effect.reason, now)
                    case Emit():
                        self._do(effect)
                    case PeersShared() | TheyUnpaired() | OpsArrived():
                        self._do(FromPeer(effect))
                    case _:
                        assert_never(effect)

    def _opened(self, connection: ConnectionMachine, now: float) -> None:
        """Let a connection that has proved itself take the place of all others."""
        del self._unproved[connection.connection_id]
        self._around.half_open.remove(connection.connection_id)
        older, self._connection = self._connection, connection
        self._reset("another connection was opened", now)
        if older is not None:
            self._disconnected("a newer connection has replaced this one")
            older.close("a newer connection has replaced this one", now)
            self._pump(older, now)
        self._connected_at = now
        self._next_try = None
        self._around.snapshots.came(self.peer.peer_id)
        gateway = self._gateway if connection.is_caller else self._gateway_at(connection)
        if gateway is not None:
            self._do(Reached(*gateway))
        self._do(Emit(PeerConnected(format_id(self.peer.peer_id), self.peer.name)))

    def _gateway_at(self, connection: ConnectionMachine) -> tuple[str, int] | None:
        """Return the gateway that was heard at the address from which a caller came."""
        for candidate in self._around.candidates(self.peer.peer_id):
            if candidate.ip_address == connection.ip_address:
                return candidate.ip_address, candidate.port
        return None

    def _ended(self, connection: ConnectionMachine, reason: str, now: float) -> None:
        self._around.half_open.remove(connection.connection_id)
        was_unproved = self._unproved.pop(connection.connection_id, None) is not None
        if connection is self._leaving:
            self._leaving = None
        elif connection is self._connection:
            self._connection = None
            self._around.snapshots.left(self.peer.peer_id)
            self._disconnected(reason)
            if now >= self._connected_at + STABLE_AFTER_S:
                self._failures = 0
            self._try_later(now)
        elif was_unproved and connection.is_caller and self._state is _State.OPENING:
            self._failed(reason, now)

    def _disconnected(self, reason: str) -> None:
        self._do(Emit(PeerDisconnected(format_id(self.peer.peer_id), self.peer.name, reason)))

    def _failed(self, reason: str, now: float) -> None:
        """Give up what is being opened, and try again later."""
        self._reset(reason, now)
        if self._connection is None:
            self._try_later(now)

    def _try_later(self, now: float) -> None:
        pause = min(RETRY_FIRST_S * 2.0 ** min(self._failures, 8), RETRY_MAX_S)
        self._failures += 1
        self._next_try = now + jittered(pause, self._around.random_bytes(1))

    def _reset(self, reason: str, now: float) -> None:
        """Drop whatever is being opened, in either direction."""
        self._step(_Step.RESET)
        self._deadline = None
        self._keys = None
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.close(reason)
            self._pump_visit(visit, now)
        if self._dial is not None:
            self._do(Close(self._dial[0], reason, abort=True))
            self._dial = None
        answering, self._answering = self._answering, None
        if answering is not None:
            self._do(StopListening(answering.listener_id))
            if not answering.is_answered:
                self._do(GatewayRefusal(answering.request.request_id, ErrorCode.NOT_NOW, reason))
        for connection in list(self._unproved.values()):
            connection.close(reason, now)
            self._pump(connection, now)
