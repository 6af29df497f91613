"""The driver: feeds a machine with what the sockets bring, and does what it asks for.

Lives in one loop's thread. The clock is read here and handed down.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final, assert_never

from cytosol.limits import HALF_OPEN_MAX
from cytosol.net.interfaces import broadcast_interfaces
from cytosol.net.runner import RESCAN_S, MachineRunner, NetworkEffect
from cytosol.net.tcp import Stream
from cytosol.net.udp import Admits, DatagramSockets
from cytosol.protocol.effects import (
    Close,
    Connect,
    Listen,
    Send,
    SendDatagram,
    StopListening,
)
from cytosol.protocol.inputs import (
    DatagramReceived,
    InterfacesChanged,
    ListenFailed,
    Started,
    TcpAccepted,
    TcpClosed,
    TcpConnected,
    TcpData,
    TcpFailed,
    TcpListening,
    WallClock,
)
from cytosol.protocol.peer import PeerMachine

__all__ = ["Driver"]

CONNECT_TIMEOUT_S: Final = 10.0  # the machine gives up earlier; this only bounds our tasks
FAREWELL_S: Final = 1.0


class Driver(MachineRunner):
    """Run one peer machine on real sockets."""

    def __init__(
        self,
        machine: PeerMachine,
        heartbeat_port: int,
        emit: Callable[[object], None],
        *,
        loopback: bool,
        admits: Admits,
    ) -> None:
        super().__init__(machine, emit)
        self._loopback = loopback
        self._sockets = DatagramSockets(heartbeat_port, self._datagram, admits)
        self._streams: dict[int, Stream] = {}
        self._living: set[Stream] = set()
        self._accepted_ids = itertools.count(-1, -1)  # the machine's own ids are positive
        self._gateway: asyncio.Server | None = None
        self._listeners: dict[int, asyncio.Server | None] = {}  # None while it is being opened
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # --- Life --------------------------------------------------------------------------

    async def open(self) -> int:
        """Open the sockets, start the machine, return the gateway's port; raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            await self._sockets.open()
            self._gateway = await loop.create_server(
                lambda: Stream(self, lambda: next(self._accepted_ids), None),
                "0.0.0.0",
                0,
                backlog=HALF_OPEN_MAX,
            )
            await self._sockets.update(broadcast_interfaces(loopback=self._loopback))
        except OSError:
            self._sockets.close()
            if self._gateway is not None:
                self._gateway.close()
            raise
        port: int = self._gateway.sockets[0].getsockname()[1]
        self.feed(WallClock(time.time()))
        self.feed(Started(port))
        self._spawn(self._rescan())
        return port

    async def close(self) -> None:
        """Stop the machine, let what it still says leave, and close everything."""
        if self._is_closed:
            return
        self._stop()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in (self._gateway, *self._listeners.values()):
            if server is not None:
                server.close()
        self._sockets.close()
        for stream in list(self._living):
            stream.close()
        deadline = asyncio.get_running_loop().time() + FAREWELL_S
        while self._living and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for stream in list(self._living):
            stream.close(abort=True)
        await asyncio.sleep(0)

    @property
    def send_problems(self) -> dict[str, str]:
        """Return what could not be sent or opened last, by address."""
        return dict(self._sockets.problems)

    # --- Inputs ------------------------------------------------------------------------

    def _datagram(self, data: bytes, address: tuple[str, int], own_address: str) -> None:
        self.feed(DatagramReceived(data, address, own_address))

    def stream_opened(self, stream: Stream) -> None:
        """Take note that a stream is open."""
        self._living.add(stream)
        connection_id = stream.connection_id
        self._streams[connection_id] = stream
        if connection_id < 0:
            self.feed(TcpAccepted(connection_id, stream.listener_id, stream.ip_address))
        else:
            self.feed(TcpConnected(connection_id))

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Take bytes."""
        self.feed(TcpData(stream.connection_id, data))

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """Take note that a stream has ended without our doing."""
        if self._streams.pop(stream.connection_id, None) is not None:
            self.feed(TcpClosed(stream.connection_id, reason))

    def stream_gone(self, stream: Stream) -> None:
        """Take note that nothing is left of a stream."""
        self._living.discard(stream)

    # --- Time --------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _call_at(self, deadline: float | None) -> None:
        """Set the one timer; one that comes too early is left, because it looks again.

        Deadlines move on with every message, and setting a timer costs more than being woken.
        """
        if self._timer is not None:
            if deadline is not None and self._timer_at <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._due)
            self._timer_at = deadline

    def _due(self) -> None:
        self._timer = None
        super()._due()

    async def _rescan(self) -> None:
        """Look for new interfaces and at the wall clock, again and again."""
        while True:
            await asyncio.sleep(RESCAN_S)
            try:
                interfaces = broadcast_interfaces(loopback=self._loopback)
                is_any_new = await self._sockets.update(interfaces)
            except OSError as error:
                self.problems.append(f"the interfaces could not be read: {error}")
                continue
            self.feed(WallClock(time.time()))
            if is_any_new:
                self.feed(InterfacesChanged(tuple(each.address for each in interfaces)))

    # --- Effects -----------------------------------------------------------------------

    def _do(self, effect: NetworkEffect) -> None:
        match effect:
            case Send():
                stream = self._streams.get(effect.connection_id)
                if stream is not None:
                    stream.send(effect.data)
            case SendDatagram(address=None):
                self._sockets.broadcast(effect.data)
            case SendDatagram():
                assert effect.address is not None
                self._sockets.send(effect.data, effect.address)
            case Close():
                self._close(effect)
            case Connect():
                task = self._spawn(self._connect(effect))
                self._tasks[effect.connection_id] = task
            case Listen():
                self._listeners[effect.listener_id] = None
                self._spawn(self._listen(effect.listener_id))
            case StopListening():
                server = self._listeners.pop(effect.listener_id, None)
                if server is not None:  # else it is still being opened, or has failed
                    server.close()
            case _:
                assert_never(effect)

    def _close(self, effect: Close) -> None:
        task = self._tasks.pop(effect.connection_id, None)
        if task is not None:
            task.cancel()
        stream = self._streams.pop(effect.connection_id, None)
        if stream is not None:
            stream.close(abort=effect.abort)

    async def _connect(self, effect: Connect) -> None:
        loop = asyncio.get_running_loop()
        connection_id = effect.connection_id
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: Stream(self, lambda: connection_id, None),
                    effect.ip_address,
                    effect.port,
                )
        except (OSError, TimeoutError) as error:
            self._tasks.pop(connection_id, None)
            self.feed(TcpFailed(connection_id, f"{effect.ip_address} did not answer: {error}"))
        else:
            self._tasks.pop(connection_id, None)

    async def _listen(self, listener_id: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Stream(self, lambda: next(self._accepted_ids), listener_id),
                "0.0.0.0",
                0,
                backlog=HALF_OPEN_MAX,
            )
        except OSError as error:
            self._listeners.pop(listener_id, None)
            self.feed(ListenFailed(listener_id, str(error)))
            return
        if listener_id not in self._listeners:  # nobody wants it any more
            server.close()
            return
        self._listeners[listener_id] = server
        self.feed(TcpListening(listener_id, server.sockets[0].getsockname()[1]))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
