"""The connection that all shipped transports give: a reliable link, and a stream of messages.

A transport makes one `LinkedConnection` for each other side and keeps it while connections come
and go under it: `run` carries it over one connection of the asyncio kind; a transport of another
shape uses `attach`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from cytosol.graph.connection import Emit, Stream, report
from cytosol.graph.events import Listeners, Subscription
from cytosol.graph.transports.link import Link
from cytosol.model.json import JsonValue

__all__ = ["Attachment", "LinkedConnection"]


class LinkedConnection:
    """A `Connection` that survives reconnects without losing or doubling messages.

    What comes while nobody listens to `messages` is kept, unacknowledged, for the first
    listener; how much, the sender's limits bound. `identity` is what the server's `authenticate`
    returned.
    """

    def __init__(
        self, connection_id: str, type_name: str, link: Link, identity: Any = None
    ) -> None:
        self.id = connection_id
        self.type = type_name
        self.link = link
        self.identity = identity
        self.messages: Stream[JsonValue] = Stream(self._publish)
        self._events = Listeners("online", "offline", "restart")
        self._attachment: Attachment | None = None
        self._emit: Emit[JsonValue] | None = None
        self._is_delivering = False
        self._was_online = False
        self._peer_id: str | None = None

    @property
    def offline(self) -> bool:
        """Whether messages can only be kept for now."""
        return not self.link.is_up

    def on(self, event: str, callback: Callable[[LinkedConnection], object]) -> Subscription:
        """Call back when the connection is "online" or "offline", or at a "restart".

        A restart is when the other side has lost what it knew: requests that it had got and not
        answered will not be answered. It comes before "online".
        """
        return self._events.on(event, callback)

    def send(self, message: JsonValue) -> None:
        """Send a message, now or when the other side is back.

        Raises GraphError if it is not JSON or larger than 16 MiB, if 10,000 messages or 64 MiB
        wait to be acknowledged, or if the connection was closed.
        """
        self.link.send(message)
        if self._attachment is not None:
            self._attachment.wake()

    def close(self, reason: str = "closed") -> Awaitable[object] | None:
        """End the connection for good; what was sent before still goes out, if it is online.

        It takes effect at the call. If an awaitable comes back, awaiting it waits until nothing
        is left: no socket, no task.
        """
        self.link.close(reason)
        self.messages.complete()
        if self._attachment is not None:
            self._attachment.wake()
        return None

    def attach(self, wake: Callable[[], None], drop: Callable[[str], None]) -> Attachment:
        """Put the link on a new connection; one that it was on before is dropped.

        `wake()` is called when `next_frame` of the attachment may have something to send, and
        must not send at once but soon. `drop(reason)` is called, at most once, when the
        connection must be closed; nothing need be told to the attachment then.
        """
        if self._attachment is not None:
            self._attachment._end("another connection has taken its place")
        attachment = self._attachment = Attachment(self, wake, drop)
        self.link.connect()
        if self.link.refused is not None:
            attachment._end(self.link.refused)
        else:
            wake()
        return attachment

    async def run(
        self,
        frames: AsyncIterable[str | bytes],
        send: Callable[[str], Awaitable[object]],
        first: str | bytes | None = None,
    ) -> str:
        """Carry the link over one connection until that ends; return why it should be closed.

        `frames` are the texts that come in, `send` sends one; `first` is a frame that was read
        before, the client's hello. What `frames` and `send` raise comes out of here. When it
        returns, the transport closes its connection with the text as the reason; `link.ended`
        tells whether to come back.
        """
        waking = asyncio.Event()
        dropped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        attachment = self.attach(waking.set, dropped.set_result)

        async def read() -> None:
            if first is not None:
                attachment.receive(first)
            async for frame in frames:
                attachment.receive(frame)
                if dropped.done():
                    return

        async def write() -> None:
            while self.link.ended is None:
                waking.clear()
                while (frame := attachment.next_frame()) is not None:
                    await send(frame)
                if self.link.ended is None:
                    await waking.wait()

        tasks: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(read()),
            asyncio.ensure_future(write()),
        }
        try:
            done, _ = await asyncio.wait({*tasks, dropped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            attachment.lost()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if dropped.done():
            return dropped.result()
        for task in done:
            task.result()
        return self.link.ended or "the connection ended"

    def _publish(self, emit: Emit[JsonValue]) -> Callable[[], None]:
        self._emit = emit
        try:
            # Soon, not now: who calls `listen` has not got the subscription yet.
            asyncio.get_running_loop().call_soon(self._deliver)
        except RuntimeError:
            self._deliver()

        def dispose() -> None:
            self._emit = None

        return dispose

    def _deliver(self) -> None:
        """Hand on what has come, one by one: whoever stops listening leaves the rest."""
        if self._is_delivering:  # a listener that sends may make the next message come
            return
        self._is_delivering = True
        try:
            while self._emit is not None and self.link.has_messages:
                for message in self.link.take(1):
                    self._emit(message)
        finally:
            self._is_delivering = False
        if self._attachment is not None:
            self._attachment.wake()  # to acknowledge
        if self.link.ended is not None and not self.link.has_messages:
            self.messages.complete()

    def _tell_state(self) -> None:
        """Tell the listeners what has changed since they were last told."""
        is_online = self.link.is_up
        if is_online and self.link.peer_id != self._peer_id:
            is_restart = self._peer_id is not None
            self._peer_id = self.link.peer_id
            if is_restart:
                self._announce("restart")
        if is_online != self._was_online:
            self._was_online = is_online
            self._announce("online" if is_online else "offline")

    def _announce(self, event: str) -> None:
        for error in self._events.emit(event, self):
            report(error, f"a callback for {event!r} of a connection raised")

    def __repr__(self) -> str:
        state = "closed" if self.link.ended else "offline" if self.offline else "online"
        return f"<{type(self).__name__} {self.id!r}, {self.type}, {state}>"


class Attachment:
    """One connection that carries a link; harmless once another has taken its place."""

    __slots__ = ("_connection", "_drop", "_wake")

    def __init__(
        self, connection: LinkedConnection, wake: Callable[[], None], drop: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._wake = wake
        self._drop = drop

    @property
    def is_current(self) -> bool:
        """Whether the link still is on this connection."""
        return self._connection._attachment is self

    def wake(self) -> None:
        """Let the transport ask for frames."""
        self._wake()

    def next_frame(self) -> str | None:
        """Return the next frame to send on this connection, None when there is none now."""
        return self._connection.link.next_frame() if self.is_current else None

    def receive(self, frame: str | bytes) -> None:
        """Take in a frame that came on this connection; never raises."""
        if not self.is_current:
            return
        connection = self._connection
        reason = connection.link.receive(frame)
        connection._tell_state()
        connection._deliver()
        if reason is not None:
            self._end(reason)
        elif self.is_current:
            self._wake()

    def lost(self) -> None:
        """Say that the connection has ended; the link waits for the next one."""
        if self.is_current:
            self._connection._attachment = None
            self._connection.link.lost()
            self._connection._tell_state()

    def _end(self, reason: str) -> None:
        if self.is_current:
            self.lost()
            self._drop(reason)
