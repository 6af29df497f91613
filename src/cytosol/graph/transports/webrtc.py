"""Graphs that talk over a WebRTC data channel, from device to device.

`WebRtcConnection` keeps one reliable link and makes the channel under it again whenever it is
lost; both ends may do so at once (`signalling`). `Peer` is one attempt: an aiortc peer with its
description and its channel.

Laws: nothing is contacted but what `ice_servers` and the other end's description name; what
the other end sends never raises here, it ends the attempt with a reason; no server in the
middle unless the caller names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from cytosol.errors import GraphError
from cytosol.graph.connection import Connection, ConnectionGroup, report
from cytosol.graph.transports.link import Link
from cytosol.graph.transports.linked import Attachment, LinkedConnection
from cytosol.graph.transports.pieces import Assembler, pieces
from cytosol.graph.transports.reconnecting import Delays, jittered
from cytosol.graph.transports.signalling import Malformed, Negotiation, Signal, Signalling, Step
from cytosol.limits import SIGNALS_WAITING_MAX
from cytosol.model.json import JsonValue

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection, RTCSessionDescription

__all__ = ["IceServer", "WebRtcConnection", "connect"]

ATTEMPT_TIMEOUT: Final = 30.0  # seconds from an offer to an open channel
CLOSE_TIMEOUT: Final = 5.0  # seconds for what was sent before to be acknowledged
TASKS_TIMEOUT: Final = 1.0  # seconds for the library's tasks to notice that all is closed
BUFFERED_BYTES_MAX: Final = 1024 * 1024  # in the library; the rest waits in the link
EARLY_MESSAGES_MAX: Final = 64  # an honest end sends one, its hello, and waits for ours
CHANNEL: Final = "cytosol"

IceServer = str | tuple[str, str, str]  # url, or url with user name and password


async def connect(
    over: Connection | ConnectionGroup, to: str | None = None, **options: Any
) -> WebRtcConnection:
    """Return an open WebRTC connection; the other end must do the same, sooner or later.

    The arguments are those of `WebRtcConnection`. It waits for as long as it takes: bound it
    with `asyncio.timeout`. Raises GraphError as `WebRtcConnection.open` does.
    """
    return await WebRtcConnection(over, to, **options).__aenter__()


class WebRtcConnection(LinkedConnection):
    """A connection to another graph over a WebRTC data channel (extra `webrtc`).

    `over` is how the two ends arrange it: a connection to the other end, to a server that has a
    `SignalRelay`, or a group of them. `to` is what the other end calls itself, and may be left
    out if `over` is a connection that leads to it; `me` is what this end calls itself, random if
    left out. `id` is "webrtc-" and `to` unless given.

    `ice_servers` are urls ("stun:..."), or triples of url, user name and password ("turn:..."),
    by which ends behind routers find each other; without them ends meet in one network only.
    `addresses` are those of this machine that may be used, all if left out. `delays()` gives the
    seconds before each next attempt.

    Who can change what `over` carries can stand in the middle: the channel is encrypted, but
    the keys' fingerprints come that way. `identity` is handed on to the router's rules: give
    what you know about the other end. `problem` is why it is offline, None while it is online or
    was never opened. `send` and `messages` may be used before `open`.

    Raises GraphError if aiortc is not installed, and for names that cannot be told apart.
    """

    def __init__(
        self,
        over: Connection | ConnectionGroup,
        to: str | None = None,
        *,
        me: str | None = None,
        id: str | None = None,
        identity: Any = None,
        ice_servers: Sequence[IceServer] = (),
        addresses: Sequence[str] | None = None,
        delays: Delays = jittered,
    ) -> None:
        _library()
        if isinstance(over, ConnectionGroup):
            if to is None:
                raise GraphError("name the member of the group to connect with: to=...")
            id = id or f"webrtc-{to}"
        id = id or f"webrtc-{to or over.id}"  # type: ignore[union-attr]  # a group has returned
        me = secrets.token_hex(16) if me is None else me
        if me == to:
            raise GraphError(f"this end and the other are both named {me!r}: name them differently")
        super().__init__(id, "webrtc", Link(secrets.token_hex(16)), identity)
        self.problem: GraphError | None = None
        self._to = to
        self._signalling = Signalling(over, me, to)
        self._negotiation = Negotiation(me, secrets.token_hex(8))
        self._peer_options: dict[str, Any] = {"addresses": addresses, "ice_servers": ice_servers}
        self._delays = delays
        self._delay: Iterator[float] = iter(delays())
        self._inbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._runner: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._peer: Peer | None = None
        self._end: Attachment | None = None
        self._closing: set[asyncio.Future[None]] = set()  # peers that are being closed
        self._timer: asyncio.TimerHandle | None = None  # of the attempt, or of the next one
        self._openers: set[asyncio.Future[None]] = set()
        self._pump_is_due = False
        self._settled: asyncio.Event | None = None
        self.on("online", self._came_online)

    async def open(self) -> Self:
        """Start connecting, wait until the other end has greeted, and return the connection.

        It goes on by itself from then on, also after an error. Raises GraphError if the other
        end refused, if both have the same name, or if the connection was closed.
        """
        if self._closer is not None or self.link.ended is not None:
            raise GraphError(f"the connection {self.id!r} was closed: make a new one")
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(
                self._run(), name=f"cytosol: {self.id}"
            )
        if self.offline:
            opener = asyncio.get_running_loop().create_future()
            self._openers.add(opener)
            try:
                await opener
            finally:
                self._openers.discard(opener)
        return self

    def send(self, message: JsonValue) -> None:
        """Send a message, now or when the other end is back.

        Raises GraphError if it is not JSON or larger than 16 MiB, if 10,000 messages or 64 MiB
        wait to be acknowledged, or if the connection was closed.
        """
        if self._closer is not None:
            raise GraphError(f"nothing can be sent: the connection {self.id!r} was closed")
        super().send(message)

    def close(self, reason: str = "closed") -> Awaitable[None]:
        """End this side for good and return an awaitable of its being gone.

        What was sent before gets some seconds to arrive. The other end is told not to call, and
        keeps its side: it goes on when this end comes back with a new connection.
        """
        if self._closer is None:
            self._closer = asyncio.ensure_future(self._close(reason))
            self.messages.complete()
        return asyncio.shield(self._closer)

    def reconnect(self) -> None:
        """Make the channel anew, as after a change of networks that the app knows of.

        Messages wait meanwhile. Without this a lost network is noticed within half a minute.
        """
        if self._peer is not None:
            self._peer.fail("the channel is made anew")

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # --- One thing after another -------------------------------------------------------------

    async def _run(self) -> None:
        """Do what the inbox says, one at a time: so no two attempts are ever under way."""
        listening = self._signalling.listen(self._hear)
        self._inbox.put_nowait(self._call)
        try:
            while self.link.ended is None:
                step = await self._inbox.get()
                try:
                    await step()
                except GraphError as error:
                    await self._fail(error)
                except Exception as error:  # of `over`, or a bug: neither ends the connection
                    problem = GraphError(f"{type(error).__name__}: {error}")
                    if str(problem) != str(self.problem):  # once, not at each attempt
                        report(error, f"the connection {self.id!r} failed and tries again")
                    await self._fail(problem)
            self.problem = GraphError(f"the connection {self.id!r} has ended: {self.link.ended}")
            self._deliver()  # completes `messages` when all has been read
            self._tell_openers(self.problem)
        finally:
            listening.cancel()
            self._stop_timer()
            await self._drop()
            await asyncio.gather(*self._closing, return_exceptions=True)

    def _hear(self, heard: Signal | Malformed) -> None:
        if self._inbox.qsize() < SIGNALS_WAITING_MAX:
            take = self._take if isinstance(heard, Signal) else self._refuse
            self._inbox.put_nowait(partial(take, heard))  # type: ignore[arg-type]  # chosen by type

    async def _call(self) -> None:
        """Offer a connection, if there is none."""
        if self._peer is not None:
            return
        if self._signalling.offline:
            self._call_later()
            return
        peer = self._begin(self._negotiation.offer())
        await peer.offer()
        await self._describe(peer)

    async def _take(self, signal: Signal) -> None:
        """Do what a signal asks for."""
        try:
            step = self._negotiation.receive(signal)
        except GraphError as error:
            self._tell_openers(error)
            raise
        if step is Step.ANSWER:
            await self._drop()
            peer = self._begin(signal.session)
            await self._or_refuse(signal, peer.answer(signal.text))
            await self._describe(peer)
            self._negotiation.answered()
        elif step is Step.CONNECT and self._peer is not None:
            await self._or_refuse(signal, self._peer.connect(signal.text))
        elif step is Step.REPEAT and self._peer is not None and not self._peer.is_open:
            await self._describe(self._peer)
        elif step is Step.FAIL:
            refusal = GraphError(f"the other end refused the connection: {signal.text}")
            self._tell_openers(refusal)
            await self._fail(refusal)
        elif step is Step.LEAVE:
            await self._drop()
            self._stop_timer()
            self._negotiation.drop()
            self.problem = GraphError("the other end has left; it will call when it is back")

    async def _refuse(self, malformed: Malformed) -> None:
        if self.offline:
            self.problem = GraphError(f"a malformed signal came in: {malformed.reason}")
        if malformed.answer is not None:
            await self._signalling.send(malformed.answer)

    async def _or_refuse(self, signal: Signal, taking: Awaitable[None]) -> None:
        """Take the other end's description, or tell it why not."""
        try:
            await taking
        except GraphError as error:
            await self._signal("refused", signal.session, str(error))
            raise

    async def _describe(self, peer: Peer) -> None:
        await self._signal(peer.kind, peer.session, peer.description)

    async def _signal(self, kind: str, session: str, text: str = "") -> None:
        signal = Signal(kind, self._negotiation.me, self._to, session, text)
        await self._signalling.send(signal)

    # --- The attempt under way, or the channel -------------------------------------------------

    def _begin(self, session: str) -> Peer:
        self._stop_timer()
        peer = self._peer = Peer(session, self, **self._peer_options)
        late = partial(self._lost, peer, f"no channel came about in {ATTEMPT_TIMEOUT:g} seconds")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(ATTEMPT_TIMEOUT, self._inbox.put_nowait, late)
        return peer

    async def _lost(self, peer: Peer, reason: str) -> None:
        if peer is self._peer:
            await self._fail(GraphError(reason))

    async def _fail(self, problem: GraphError) -> None:
        """Give up the attempt, or the channel that was lost, and try again later."""
        self.problem = problem
        self._negotiation.drop()
        await self._drop()
        self._call_later()

    async def _drop(self) -> None:
        peer, self._peer = self._peer, None
        end, self._end = self._end, None
        if end is not None:
            end.lost()
        if peer is not None:
            # In a task of its own: half closed, the library could never be closed again.
            closing = asyncio.ensure_future(peer.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)

    def _call_later(self) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        delay = next(self._delay, None)
        if delay is not None:  # when they end, only the other end calls
            self._timer = loop.call_later(delay, self._inbox.put_nowait, self._call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- What the peer says, in the middle of the library's own work ---------------------------

    def peer_opened(self, peer: Peer) -> None:
        """Put the link on a channel that has opened."""
        if peer is self._peer:
            self._stop_timer()
            self._end = self.attach(self._wake, peer.fail)

    def peer_received(self, peer: Peer, frame: str | bytes) -> None:
        """Give the link a frame that came."""
        if peer is self._peer and self._end is not None:
            self._end.receive(frame)
            self._look_whether_settled()

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """Take the link off a channel that is lost, and try again."""
        if peer is self._peer:
            if self._end is not None:
                self._end.lost()
            self._look_whether_settled()
            self._inbox.put_nowait(partial(self._lost, peer, reason))

    def peer_has_room(self) -> None:
        """Go on with what did not fit."""
        self._wake()

    def _wake(self) -> None:
        if not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_is_due = False
        peer, end = self._peer, self._end
        if peer is None or end is None:
            return
        while peer.has_room and (frame := end.next_frame()) is not None:
            peer.send(frame)

    # --- Opening and closing -------------------------------------------------------------------

    def _came_online(self, connection: LinkedConnection) -> None:
        self.problem = None
        self._delay = iter(self._delays())
        for opener in self._openers:
            if not opener.done():
                opener.set_result(None)

    def _tell_openers(self, error: GraphError) -> None:
        for opener in self._openers:
            if not opener.done():
                opener.set_exception(error)

    def _look_whether_settled(self) -> None:
        if self._settled is not None and (self.offline or not self.link.unacknowledged):
            self._settled.set()

    async def _close(self, reason: str) -> None:
        self._settled = asyncio.Event()
        self._look_whether_settled()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._settled.wait()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            with contextlib.suppress(Exception):  # the other end notices by itself, later
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._signal("bye", self._negotiation.farewell())
        super().close(reason)
        self._tell_openers(GraphError(f"the connection {self.id!r} was closed"))


class Peer:
    """One attempt; tells the connection what becomes of it, until it is closed or lost."""

    def __init__(
        self,
        session: str,
        owner: WebRtcConnection,
        *,
        addresses: Sequence[str] | None,
        ice_servers: Sequence[IceServer],
    ) -> None:
        self.session = session
        self.kind = "offer"  # or answer: what our description is
        self.description = ""  # ours, once it is made
        self._owner = owner
        self._assembler = Assembler()
        self._is_over = False
        self._early: list[str | bytes] | None = []  # what overtook the news that it is open
        self._pc = _peer_connection(ice_servers)
        # Both ends open the channel with the same number (RFC 8832, 1): neither waits for the
        # other to announce it, and channels that nobody asked for are never looked at.
        self._channel = self._pc.createDataChannel(CHANNEL, negotiated=True, id=0)
        self._channel.bufferedAmountLowThreshold = BUFFERED_BYTES_MAX // 2
        self._channel.on("open", self._opened)
        self._channel.on("message", self._received)
        self._channel.on("bufferedamountlow", owner.peer_has_room)
        self._channel.on("close", lambda: self.fail("the other end closed the channel"))
        self._pc.on("connectionstatechange", self._changed)
        _offer_only(self._pc, addresses)

    @property
    def is_open(self) -> bool:
        """Tell whether frames can be sent."""
        return not self._is_over and self._channel.readyState == "open"

    @property
    def has_room(self) -> bool:
        """Tell whether frames can be sent without filling memory."""
        return self.is_open and self._channel.bufferedAmount < BUFFERED_BYTES_MAX

    async def offer(self) -> None:
        """Make our description for an offer."""
        await self._describe(await self._pc.createOffer())

    async def answer(self, sdp: str) -> None:
        """Take the other end's offer and make our description for the answer."""
        self.kind = "answer"
        await self._take(sdp, "offer")
        await self._describe(await self._pc.createAnswer())

    async def connect(self, sdp: str) -> None:
        """Take the other end's answer to our offer."""
        await self._take(sdp, "answer")

    def send(self, frame: str) -> None:
        """Send a frame; what is sent on a channel that is lost is lost as well."""
        if not self.is_open:
            return
        try:
            for piece in pieces(frame):
                self._channel.send(piece)
        except Exception as error:  # states and sizes, of several kinds
            self.fail(f"the channel did not take a frame: {error}")

    def fail(self, reason: str) -> None:
        """Say that this attempt is over; only the first reason counts."""
        if not self._is_over:
            self._is_over = True
            self._owner.peer_lost(self, reason)

    async def close(self) -> None:
        """Close the channel and everything under it; nothing is told to the connection."""
        self._is_over = True
        self._channel.remove_all_listeners()
        self._pc.remove_all_listeners()
        sctp: Any = self._pc.sctp
        dtls = sctp.transport
        ice = dtls.transport._connection
        try:
            await self._pc.close()
        finally:
            await _wait_for_tasks_of((self._pc, sctp, dtls, dtls.transport, ice))
            # Closed in the middle of its handshake, it begins to look after the connection
            # that it has no more; the second time it stops that.
            await ice.close()

    async def _describe(self, made: RTCSessionDescription) -> None:
        await self._pc.setLocalDescription(made)  # this also finds our addresses
        self.description = self._pc.localDescription.sdp

    async def _take(self, sdp: str, kind: str) -> None:
        try:
            await self._pc.setRemoteDescription(_description(sdp, kind))
        except Exception as error:  # the library parses with asserts, int() and [0]
            raise GraphError(
                f"the session description of the {kind} cannot be used "
                f"({type(error).__name__}: {error})"
            ) from None

    def _opened(self) -> None:
        if self._is_over:
            return
        self._owner.peer_opened(self)
        early, self._early = self._early, None
        for message in early or ():
            self._received(message)

    def _received(self, message: str | bytes) -> None:
        if self._is_over:
            return
        if self._early is not None:
            # The last packet of the handshake was lost or late, and a first message was not.
            self._early.append(message)
            if len(self._early) > EARLY_MESSAGES_MAX:
                self.fail("the other end did not wait for the channel to open")
            return
        try:
            frame = self._assembler.feed(message)
        except GraphError as error:
            self.fail(f"the other end broke the framing: {error}")
            return
        if frame is not None:
            self._owner.peer_received(self, frame)

    def _changed(self) -> None:
        if (state := self._pc.connectionState) in ("failed", "closed"):
            self.fail(f"the WebRTC connection is {state}")


async def _wait_for_tasks_of(parts: tuple[Any, ...]) -> None:
    """Wait until the library's tasks for these objects have ended.

    Its `close` leaves some that end a moment later, and keeps no list of them. They are known by
    the object whose coroutine they run.
    """

    def belongs(task: asyncio.Task[Any]) -> bool:
        coroutine = task.get_coro()
        if getattr(coroutine, "__name__", "") == "query_consent":  # it has no end of its own
            return False
        frame = getattr(coroutine, "cr_frame", None)
        owner = None if frame is None else frame.f_locals.get("self")
        return any(owner is part for part in parts)

    tasks = {task for task in asyncio.all_tasks() if belongs(task)}
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=TASKS_TIMEOUT)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _library() -> None:
    try:
        import aiortc  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise GraphError("WebRTC needs the package aiortc: install cytosol[webrtc]") from error


def _peer_connection(ice_servers: Sequence[IceServer]) -> RTCPeerConnection:
    from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

    servers = [
        RTCIceServer(server) if isinstance(server, str) else RTCIceServer(*server)
        for server in ice_servers
    ]
    # An empty list is not the same as none: without one the library asks a public server.
    return RTCPeerConnection(RTCConfiguration(iceServers=servers))


def _description(sdp: str, kind: str) -> RTCSessionDescription:
    from aiortc import RTCSessionDescription

    return RTCSessionDescription(sdp=sdp, type=kind)


def _offer_only(pc: RTCPeerConnection, addresses: Sequence[str] | None) -> None:
    """Let the peer use these addresses of this machine; None stands for all of them.

    The library never offers the loopback address, and has no setting for it. It is offered where
    there is no other, so that two programs on a machine without a network can meet.
    """
    sctp: Any = pc.sctp  # it is there: the channel was made before
    ice = sctp.transport.transport.iceGatherer._connection
    gather = ice.get_component_candidates

    ours = None if addresses is None else list(addresses)

    async def gather_ours(component: int, addresses: list[str], timeout: int = 5) -> Any:
        chosen = addresses or ["127.0.0.1"] if ours is None else ours
        return await gather(component=component, addresses=chosen, timeout=timeout)

    ice.get_component_candidates = gather_ours
