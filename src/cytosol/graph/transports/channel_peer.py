"""One WebRTC data channel: an aiortc peer with its description, from the attempt to its loss.

Laws: what the other end sends never raises here, it ends the attempt with a reason; nothing of
the library's tasks and errors outlives the peer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from cytosol.errors import GraphError
from cytosol.graph.transports.pieces import Assembler, pieces

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection, RTCSessionDescription

__all__ = ["IceServer", "Owner", "Peer", "check_installed"]

TASKS_TIMEOUT: Final = 1.0  # seconds for the library's tasks to notice that all is closed
BUFFERED_BYTES_MAX: Final = 1024 * 1024  # in the library; the rest waits in the link
EARLY_MESSAGES_MAX: Final = 64  # an honest end sends one, its hello, and waits for ours
CHANNEL: Final = "cytosol"

IceServer = str | tuple[str, str, str]  # url, or url with user name and password


class Owner(Protocol):
    """Whom a peer tells what becomes of it, in the middle of the library's own work."""

    def peer_opened(self, peer: Peer) -> None: ...
    def peer_received(self, peer: Peer, frame: str | bytes) -> None: ...
    def peer_lost(self, peer: Peer, reason: str) -> None: ...
    def peer_has_room(self) -> None: ...


class Peer:
    """One attempt; tells its owner what becomes of it, until it is closed or lost."""

    def __init__(
        self,
        session: str,
        owner: Owner,
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
        _lose_what_cannot_be_sent(self._pc)

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
        """Close the channel and everything under it; nothing is told to the owner."""
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


def check_installed() -> None:
    """Raise GraphError if the library is not there."""
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


def _lose_what_cannot_be_sent(pc: RTCPeerConnection) -> None:
    """Let a packet that finds no connection be lost, like one that the network loses.

    The library sends many from tasks that nobody awaits: the loop would report each error. That
    the connection is gone comes out as a change of its state.
    """
    sctp: Any = pc.sctp
    dtls = sctp.transport
    dtls._send_data = _losing(dtls._send_data)
    dtls.transport._send = _losing(dtls.transport._send)


def _losing(send: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
    async def send_or_lose(data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await send(data)

    return send_or_lose
