"""The network of one virtual device: the real machine, run in a world instead of on sockets.

`VirtualService` stands where `cytosol.net.service.NetworkService` stands on a real machine, and
`VirtualCaller` where its thread for callbacks is. What feeds the machine, obeys it and copes with
mistakes is the same `MachineRunner` that the real driver is made of.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from cytosol.errors import NetworkError
from cytosol.net.runner import COMMANDS, RESCAN_S, MachineRunner, NetworkEffect, make_machine
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
    Started,
    TcpAccepted,
    TcpClosed,
    TcpConnected,
    TcpData,
    TcpFailed,
    TcpListening,
    WallClock,
)
from cytosol.protocol.parts import SyncFactory
from cytosol.protocol.peer import PeerMachine
from cytosol.testing.clock import Timer, VirtualClock
from cytosol.testing.network import Stream, StreamUser, VirtualNetwork
from cytosol.wire.heartbeat import heartbeat_port

if TYPE_CHECKING:
    from cytosol.testing.device import Device

__all__ = ["VirtualCaller", "VirtualService"]


class VirtualCaller:
    """Runs an app's callbacks, one in each turn of the world."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._calls: deque[Callable[[], None]] = deque()
        self._is_dead = False

    def post(self, call: Callable[[], None]) -> None:
        """Have a call run soon, after those posted before."""
        self._calls.append(call)
        self._clock.call_later(0.0, self._run)

    def _run(self) -> None:
        if self._calls and not self._is_dead:
            self._calls.popleft()()

    def stop(self) -> None:
        """Run what was posted, and end."""
        while self._calls:
            self._run()

    def vanish(self) -> None:
        """End without running anything."""
        self._is_dead = True
        self._calls.clear()


class VirtualDriver(MachineRunner):
    """Run one peer machine on a virtual network, as a host of it."""

    def __init__(
        self,
        machine: PeerMachine,
        emit: Callable[[object], None],
        device: Device,
        heartbeats: int,
        network: VirtualNetwork,
    ) -> None:
        super().__init__(machine, emit)
        self._device = device
        self._heartbeats = heartbeats
        self._network = network
        self._clock = network.clock
        self._streams: dict[int, Stream] = {}
        self._ids: dict[Stream, int] = {}
        self._accepted_ids = itertools.count(-1, -1)  # the machine's own ids are positive
        self._listeners: dict[int, int | None] = {}  # port -> listener id, None for the gateway
        self._timers: list[Timer | None] = [None, None]  # the machine's, and the next rescan
        self.ip_address = device.ip_address
        self.udp_port = network.free_port()

    def open(self) -> int:
        """Plug in and start the machine; returns the gateway's port."""
        port = self._network.free_port()
        self._listeners[port] = None
        self._network.plug_in(self)
        self.feed(WallClock(self._device.wall_clock_s()))
        self.feed(Started(port))
        self._timers[1] = self._clock.call_later(RESCAN_S, self._rescan)
        return port

    def close(self) -> None:
        """Stop the machine and unplug; what it still says leaves."""
        if not self._is_closed:
            self._stop()
            for stream in list(self._streams.values()):
                stream.close()
            self._end()

    def vanish(self, *, silently: bool) -> None:
        """Be gone at once; the others notice reset streams, or only silence."""
        self._is_closed = True
        for stream in list(self._streams.values()):
            if silently:
                stream.vanish()
            else:
                stream.close(abort=True)
        self._end()

    def _end(self) -> None:
        self._streams.clear()
        self._ids.clear()
        self._network.unplug(self)
        for timer in self._timers:
            if timer is not None:
                timer.cancel()

    # --- Time ----------------------------------------------------------------------------

    def _now(self) -> float:
        self._clock.check_running()  # asked for whenever the machine has something to do
        return self._clock.now

    def _call_at(self, deadline: float | None) -> None:
        timer = self._timers[0]
        if timer is not None:
            if timer.at == deadline and timer.call is not None:
                return
            timer.cancel()
        self._timers[0] = None if deadline is None else self._clock.call_at(deadline, self._due)

    def _rescan(self) -> None:
        """Look at the wall clock and at our address, as the real driver does."""
        self._timers[1] = self._clock.call_later(RESCAN_S, self._rescan)
        self.feed(WallClock(self._device.wall_clock_s()))
        if self._device.ip_address != self.ip_address:
            self._network.unplug(self)
            for stream in list(self._streams.values()):
                stream.vanish()
                self.stream_lost(stream, "our address is gone")
            self.ip_address = self._device.ip_address
            self._network.plug_in(self)
            self.feed(InterfacesChanged((self.ip_address,)))

    # --- What the network brings -----------------------------------------------------------

    def datagram(self, data: bytes, address: tuple[str, int]) -> None:
        """Take a datagram."""
        self.feed(DatagramReceived(data, address, self.ip_address))

    def listens(self, port: int) -> bool:
        """Tell whether the gateway or a listener has a port."""
        return port in self._listeners

    def accept(self, port: int, stream: Stream) -> StreamUser:
        """Take a stream that somebody opened."""
        connection_id = next(self._accepted_ids)
        self._keep(connection_id, stream)
        accepted = TcpAccepted(connection_id, self._listeners[port], stream.ip_address)
        self._clock.call_later(0.0, lambda: self._feed_if_open(stream, accepted))
        return self

    def _feed_if_open(self, stream: Stream, accepted: TcpAccepted) -> None:
        if stream in self._ids:
            self.feed(accepted)

    def _keep(self, connection_id: int, stream: Stream) -> None:
        self._streams[connection_id] = stream
        self._ids[stream] = connection_id

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Take bytes."""
        connection_id = self._ids.get(stream)
        if connection_id is not None:
            self.feed(TcpData(connection_id, data))

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """Take note that a stream ended without our doing."""
        connection_id = self._ids.pop(stream, None)
        if connection_id is not None:
            del self._streams[connection_id]
            self.feed(TcpClosed(connection_id, reason))

    # --- Effects -------------------------------------------------------------------------

    def _do(self, effect: NetworkEffect) -> None:
        match effect:
            case Send():
                stream = self._streams.get(effect.connection_id)
                if stream is not None:
                    stream.send(effect.data)
            case SendDatagram(address=None):
                self._network.broadcast(self, effect.data)
            case SendDatagram():
                assert effect.address is not None
                ip_address, port = effect.address
                meant = self.udp_port_of(ip_address) if port == self._heartbeats else port
                self._network.send(self, effect.data, ip_address, meant)
            case Close():
                stream = self._streams.pop(effect.connection_id, None)
                if stream is not None:
                    del self._ids[stream]
                    stream.close(abort=effect.abort)
            case Connect():
                self._connect(effect.connection_id, effect.ip_address, effect.port)
            case Listen():
                port, listener_id = self._network.free_port(), effect.listener_id
                self._listeners[port] = listener_id
                opened = TcpListening(listener_id, port)
                self._clock.call_later(0.0, lambda: self.feed(opened))
            case StopListening():
                wanted = effect.listener_id
                self._listeners = {
                    port: each for port, each in self._listeners.items() if each != wanted
                }
            case _:
                assert_never(effect)

    def udp_port_of(self, ip_address: str) -> int:
        """Return where a host hears what is sent to its heartbeat port."""
        host = self._network.host_at(ip_address)
        return 0 if host is None else host.udp_port

    def _connect(self, connection_id: int, ip_address: str, port: int) -> None:
        def failed(reason: str) -> None:
            if self._ids.pop(stream, None) is not None:
                del self._streams[connection_id]
                self.feed(TcpFailed(connection_id, f"{ip_address} did not answer: {reason}"))

        stream = self._network.dial(
            self,
            ip_address,
            port,
            self,
            lambda _: self.feed(TcpConnected(connection_id)),
            failed,
        )
        self._keep(connection_id, stream)


class VirtualService:
    """Discover, pair and sync in a world; takes the arguments of `NetworkService`."""

    def __init__(
        self,
        device: Device,
        network: VirtualNetwork,
        *,
        app_id: bytes,
        emit: Callable[[object], None],
        loopback: bool,
        sync_factory: SyncFactory,
        **settings: Any,
    ) -> None:
        self._clock = network.clock
        self._device = device
        machine = make_machine(
            app_id=app_id,
            random_bytes=device.random_bytes,
            sync_factory=device.world.rounds.counting(sync_factory),
            **settings,
        )
        self._driver = VirtualDriver(machine, emit, device, heartbeat_port(app_id), network)
        self._is_running = False
        self._changes_posted = False

    @property
    def machine(self) -> PeerMachine:
        """The machine, for tests that look inside."""
        return self._driver._machine

    def start(self) -> None:
        """Plug in."""
        self._is_running = True
        self._driver.open()

    def stop(self) -> None:
        """Say goodbye to all peers and unplug; again is harmless."""
        self._is_running = False
        self._driver.close()

    def vanish(self, *, silently: bool) -> None:
        """Be gone at once, as in a crash."""
        self._is_running = False
        self._driver.vanish(silently=silently)

    def command(self, name: str, *args: Any) -> None:
        """Give a command of the app: one of `COMMANDS`, ids as UUID strings."""
        if name not in COMMANDS:
            raise ValueError(f"{name!r} is not a command of the network")
        if not self._is_running:
            raise NetworkError("the network is not running; open the database with it first")
        self._driver.command(name, *args)

    def graph_command(self, name: str, *args: Any) -> None:
        """Have one of the machine's `graph_...` methods called soon; nothing is raised."""
        if self._is_running:
            self._clock.call_later(0.0, lambda: self._driver.graph_command(name, *args))

    def local_changes(self) -> None:
        """Have new ops sent to all connected peers soon; many calls become one."""
        if not self._is_running:
            return
        self._device.note_written()
        if not self._changes_posted:
            self._changes_posted = True
            self._clock.call_later(0.0, self._send_changes)

    def _send_changes(self) -> None:
        self._changes_posted = False  # first, so that no later change is missed
        if self._is_running:
            self._driver.local_changes()

    def peers(self) -> list[dict[str, Any]]:
        """Return the rows of the metadata `$.peers`, as of the last PeersChanged event."""
        return [dict(row) for row in self._driver.peers]

    def open_streams(self) -> int:
        """Return how many streams are open."""
        return len(self._driver._streams)

    def problems(self) -> list[str]:
        """Return what went wrong lately that ought not to happen."""
        return list(self._driver.problems)
