"""Graphs that talk over a WebRTC data channel, from device to device.

`WebRtcConnection` keeps one reliable link and makes the channel under it again whenever it is
lost; both ends may do so at once (`signalling`). Each attempt is a `Peer` (`channel_peer`).

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
from typing import Any, Final, Self

from cytosol.errors import GraphError
from cytosol.graph.connection import Connection, ConnectionGroup, report
from cytosol.graph.transports.channel_peer import IceServer, Peer, check_installed
from cytosol.graph.transports.link import Link
from cytosol.graph.transports.linked import Attachment, LinkedConnection
from cytosol.graph.transports.reconnecting import Delays, jittered
from cytosol.graph.transports.signalling import Malformed, Negotiation, Signal, Signalling, Step
from cytosol.limits import SIGNALS_WAITING_MAX
from cytosol.model.json import JsonValue

__all__ = ["IceServer", "WebRtcConnection", "connect"]

ATTEMPT_TIMEOUT: Final = 30.0  # seconds from an offer to an open channel
CLOSE_TIMEOUT: Final = 5.0  # seconds for what was sent before to be acknowledged


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
        check_installed()
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
        elif step is Step.RENEW and (self._peer is None or not self._peer.is_open):
            await self._drop()
            self._negotiation.drop()
            await self._call()
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
