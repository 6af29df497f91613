"""PeerMachines of protocol/ alone, joined by a virtual network; one seed, one history.

```python
world = PeerWorld(seed=1)
alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
world.run_until(lambda: bob.sees(alice))
world.pair(alice, bob)
world.block(alice, bob)          # a partition: nothing arrives, streams fall silent
alice.crash(); alice.restart()   # with the same identity and pairings
```

Datagrams may be lost, doubled and delayed; streams are in order, and silent while a partition
lasts. No clock, no socket, no thread.

This is not `cytosol.testing.World`, and cannot be: a test of the protocol talks to a machine as a
stranger does, in raw bytes on raw streams, feeds it inputs out of turn, reads its effects, and puts
fakes in the place of its replica and its sync. A world has whole databases, which let nobody do
that; what they hold through faults is tested there.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.model.ids import PeerId, format_id
from cytosol.protocol.effects import (
    Close,
    Connect,
    Emit,
    Listen,
    Send,
    SendDatagram,
    StopListening,
)
from cytosol.protocol.events import PairRequest, PairResponse, PeerConnected, PeerDisconnected
from cytosol.protocol.inputs import (
    DatagramReceived,
    Input,
    Started,
    TcpAccepted,
    TcpClosed,
    TcpConnected,
    TcpData,
    TcpFailed,
    TcpListening,
    WallClock,
)
from cytosol.protocol.parts import Identity, PeerOptions
from cytosol.protocol.peer import PeerMachine
from cytosol.wire.heartbeat import heartbeat_port
from tests.simulation.machine_fakes import MemoryPairings, NumbersReplica, TinySync

LATENCY_S = 0.002
EPOCH_S = 1_700_000_000.0
DIAL_TIMEOUT_S = 20.0


@dataclass(eq=False)
class End:
    """One end of a stream: whose it is, its id there, and the other end."""

    host: SimPeer | None  # None: a test reads the raw bytes
    connection_id: int
    ip_address: str
    life: int = 0
    other: End | None = None
    is_open: bool = True
    received: bytearray = field(default_factory=bytearray)
    close_reason: str | None = None
    in_flight: float = 0.0  # when the last byte sent so far arrives


class SimPeer:
    """One peer of the world: its machine, what survives a crash, and what it told the app."""

    def __init__(self, world: PeerWorld, name: str, ip_address: str, keys: KeyPair) -> None:
        self.world = world
        self.name = name
        self.ip_address = ip_address
        self.keys = keys
        self.peer_id: PeerId = peer_id_for_key(keys.public)
        self.id = format_id(self.peer_id)
        self.pairings = MemoryPairings()
        self.replica: Any = NumbersReplica(self.peer_id)
        self.options: dict[str, Any] = {}
        self.sync_factory: Any = TinySync
        self.events: list[object] = []
        self.ends: dict[int, End] = {}
        self.listeners: dict[int, int | None] = {}  # port -> listener id, None for the gateway
        self.life = 0
        self.is_up = False
        self.accepted_ids = itertools.count(-1, -1)
        self.syncs: list[Any] = []
        self.machine: PeerMachine

    def __repr__(self) -> str:
        return f"<SimPeer {self.name}>"

    # --- What tests do and ask -----------------------------------------------------------

    def restart(self) -> None:
        """Start (again) with what was stored."""
        assert not self.is_up
        self.life += 1
        self.is_up = True
        self.ends, self.listeners = {}, {}

        def make_sync(*args: Any) -> Any:
            sync = self.sync_factory(*args)
            self.syncs.append(sync)
            return sync

        self.machine = PeerMachine(
            Identity(self.peer_id, self.keys),
            self.replica,
            self.pairings,
            make_sync,
            PeerOptions(self.world.app_id, self.name, **self.options),
            self.world.random_bytes,
        )
        self.gateway_port = self.world.free_port()
        self.udp_port = self.world.free_port()
        self.listeners[self.gateway_port] = None
        self.feed(WallClock(EPOCH_S + self.world.now + self.world.clock_error.get(self, 0.0)))
        self.feed(Started(self.gateway_port))

    def crash(self, *, silently: bool = False) -> None:
        """Be gone at once; the others notice closed streams, or only silence."""
        self.is_up = False
        for end in self.ends.values():
            end.is_open = False
            if not silently and end.other is not None:
                self.world.close_later(end, "the connection was reset")

    def stop(self) -> None:
        """Stop in order."""
        self.command("stop")
        self.is_up = False

    def command(self, name: str, *args: Any) -> None:
        """Give a command of the app."""
        try:
            getattr(self.machine, name)(*args, self.world.now)
        finally:
            self.world.obey(self)

    def feed(self, event: Input) -> None:
        """Hand an input to the machine."""
        self.machine.receive(event, self.world.now)
        self.world.obey(self)

    def write(self) -> None:
        """Make an op and send it on."""
        self.replica.write()
        self.command("local_changes")

    def told(self, kind: type, **fields: Any) -> list[Any]:
        """Return the events of a kind with these fields."""
        return [
            event
            for event in self.events
            if isinstance(event, kind)
            and all(getattr(event, key) == value for key, value in fields.items())
        ]

    def sees(self, other: SimPeer) -> bool:
        return any(row["id"] == other.id for row in self.machine.peers())

    def is_connected(self, other: SimPeer) -> bool:
        return any(row["id"] == other.id and row["connected"] for row in self.machine.peers())

    def is_paired(self, other: SimPeer) -> bool:
        return other.peer_id in self.pairings.paired()

    def connections(self) -> int:
        """Return how many connections have been told and not ended."""
        return len(self.told(PeerConnected)) - len(self.told(PeerDisconnected))


class PeerWorld:
    """All peers, what travels between them, and the time."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.app_id = self.random_bytes(16)
        self.peers: list[SimPeer] = []
        self.loss = 0.0  # of datagrams
        self.duplicates = 0.0
        self.blocked: set[frozenset[SimPeer]] = set()
        self.broadcast_works = True
        self.clock_error: dict[SimPeer, float] = {}
        self.raw_hosts: dict[str, list[End]] = {}  # addresses that tests answer at, by hand
        self.spy: Callable[[SimPeer, SendDatagram], None] = lambda peer, effect: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ports = itertools.count(20_000)
        self._codes = itertools.count(100_000)

    def random_bytes(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def free_port(self) -> int:
        return next(self._ports)

    # --- What tests do -----------------------------------------------------------------

    def add_peer(self, name: str, *, start: bool = True, **options: Any) -> SimPeer:
        """Add a peer; `options` are those of PeerOptions."""
        keys = make_key_pair(self.random_bytes(32))
        peer = SimPeer(self, name, f"10.0.0.{len(self.peers) + 1}", keys)
        peer.options = options
        self.peers.append(peer)
        if start:
            peer.restart()
        return peer

    def block(self, one: SimPeer, other: SimPeer) -> None:
        """Let nothing pass between two peers."""
        self.blocked.add(frozenset((one, other)))

    def unblock(self, one: SimPeer, other: SimPeer) -> None:
        """End a partition. What streams sent meanwhile is gone: they are dead on both sides."""
        self.blocked.discard(frozenset((one, other)))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def run_until(self, condition: Callable[[], bool], seconds: float = 200.0) -> None:
        """Let time pass until something is so; fail if it does not come to be."""
        end = self.now + seconds
        while not condition():
            if not self._step(end):
                raise AssertionError(f"this did not happen within {seconds} simulated seconds")

    def pair(self, requester: SimPeer, responder: SimPeer, code: str | None = None) -> None:
        """Pair two peers by hand, as their users would."""
        if code is None:
            code = f"{next(self._codes):06d}"  # each is good for one attempt
        self.run_until(lambda: requester.sees(responder))
        before = len(responder.told(PairRequest, peer_id=requester.id))
        answers = len(requester.told(PairResponse))
        requester.command("request_pair", responder.id, code)
        self.run_until(lambda: len(responder.told(PairRequest, peer_id=requester.id)) > before)
        responder.command("accept_pair", requester.id, code)
        self.run_until(lambda: len(requester.told(PairResponse)) > answers)

    def connect(self, one: SimPeer, other: SimPeer) -> None:
        """Wait until two peers are connected, both in their own view."""
        self.run_until(lambda: one.is_connected(other) and other.is_connected(one))

    def dial_raw(self, peer: SimPeer, ip_address: str, port: int | None = None) -> End:
        """Open a stream to a peer as a stranger; read `received`, write with `send_raw`."""
        end = End(None, 0, ip_address)
        listener_id = peer.listeners[peer.gateway_port if port is None else port]
        self._accept(end, peer, listener_id)
        return end

    def send_raw(self, end: End, data: bytes) -> None:
        """Send bytes on a raw stream."""
        self._transmit(end, data)

    def close_raw(self, end: End) -> None:
        """Close a raw stream."""
        end.is_open = False
        self.close_later(end, "closed by the stranger")

    def datagram(self, peer: SimPeer, data: bytes, address: tuple[str, int]) -> None:
        """Let a datagram from anywhere arrive at a peer now."""
        peer.feed(DatagramReceived(data, address, peer.ip_address))

    # --- Time --------------------------------------------------------------------------

    def _step(self, end: float) -> bool:
        """Do what comes next, if it comes before `end`."""
        timers = [
            (deadline, index)
            for index, peer in enumerate(self.peers)
            if peer.is_up and (deadline := peer.machine.next_deadline()) is not None
        ]
        first_timer = min(timers, default=None)
        first_event = self._queue[0] if self._queue else None
        if first_event is not None and (first_timer is None or first_event[0] <= first_timer[0]):
            if first_event[0] > end:
                return False
            heapq.heappop(self._queue)
            self.now = max(self.now, first_event[0])
            first_event[2]()
            return True
        if first_timer is None or first_timer[0] > end:
            return False
        peer = self.peers[first_timer[1]]
        self.now = max(self.now, first_timer[0])
        peer.machine.handle_timer(self.now)
        self.obey(peer)
        return True

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    # --- Effects -----------------------------------------------------------------------

    def obey(self, peer: SimPeer) -> None:
        """Do what a machine asks for."""
        while effects := peer.machine.take_effects():
            for effect in effects:
                self._do(peer, effect)

    def _do(self, peer: SimPeer, effect: Any) -> None:
        match effect:
            case Emit():
                peer.events.append(effect.event)
            case SendDatagram():
                self.spy(peer, effect)
                self._send_datagram(peer, effect)
            case Connect():
                self._connect(peer, effect)
            case Listen():
                port = self.free_port()
                peer.listeners[port] = effect.listener_id
                self._for(peer, 0.0, lambda: TcpListening(effect.listener_id, port))
            case StopListening():
                peer.listeners = {
                    port: listener
                    for port, listener in peer.listeners.items()
                    if listener != effect.listener_id or listener is None
                }
            case Send():
                end = peer.ends.get(effect.connection_id)
                assert end is not None, f"{peer} sends on a connection that it has not"
                self._transmit(end, effect.data)
            case Close():
                end = peer.ends.pop(effect.connection_id, None)
                if end is not None:
                    end.is_open = False
                    self.close_later(end, "the peer closed the connection")

    def _for(self, peer: SimPeer, delay: float, event: Callable[[], Input]) -> None:
        """Let an input reach a peer later, if it is still in the same life."""
        life = peer.life

        def arrive() -> None:
            if peer.is_up and peer.life == life:
                peer.feed(event())

        self._later(delay, arrive)

    def _reach(self, one: SimPeer | None, other: SimPeer | None) -> bool:
        return one is None or other is None or frozenset((one, other)) not in self.blocked

    def _send_datagram(self, peer: SimPeer, effect: SendDatagram) -> None:
        heartbeats = heartbeat_port(self.app_id)
        for other in self.peers:
            if other is peer or not other.is_up or not self._reach(peer, other):
                continue
            if effect.address is None:
                reaches = self.broadcast_works
            else:
                ports = (heartbeats, other.udp_port)
                reaches = effect.address[0] == other.ip_address and effect.address[1] in ports
            if not reaches or self.random.random() < self.loss:
                continue
            copies = 2 if self.random.random() < self.duplicates else 1
            for _ in range(copies):
                event = DatagramReceived(
                    effect.data, (peer.ip_address, peer.udp_port), other.ip_address
                )
                delay = LATENCY_S * (1 + self.random.random())
                self._for(other, delay, lambda event=event: event)  # type: ignore[misc]

    def _connect(self, peer: SimPeer, effect: Connect) -> None:
        connection_id = effect.connection_id
        if effect.ip_address in self.raw_hosts:
            self._connect_to_raw_host(peer, effect)
            return
        target = next((p for p in self.peers if p.ip_address == effect.ip_address), None)
        if target is None or not target.is_up or not self._reach(peer, target):
            failed = TcpFailed(connection_id, "no route")
            self._for(peer, DIAL_TIMEOUT_S, lambda: failed)
            return
        if effect.port not in target.listeners:
            refused = TcpFailed(connection_id, "refused")
            self._for(peer, 2 * LATENCY_S, lambda: refused)
            return
        listener_id = target.listeners[effect.port]
        end = End(peer, connection_id, peer.ip_address, peer.life)
        peer.ends[connection_id] = end

        def arrive() -> None:
            if end.is_open and peer.is_up and peer.life == end.life and target.is_up:
                self._for(peer, LATENCY_S, lambda: TcpConnected(connection_id))
                self._accept(end, target, listener_id)

        self._later(LATENCY_S, arrive)

    def _connect_to_raw_host(self, peer: SimPeer, effect: Connect) -> None:
        """Let a machine dial a host that a test plays by hand."""
        end = End(peer, effect.connection_id, peer.ip_address, peer.life)
        end.other = End(None, 0, effect.ip_address, other=end)
        peer.ends[effect.connection_id] = end
        self.raw_hosts[effect.ip_address].append(end.other)
        self._for(peer, LATENCY_S, lambda: TcpConnected(effect.connection_id))

    def _accept(self, end: End, target: SimPeer, listener_id: int | None) -> None:
        accepted = End(target, next(target.accepted_ids), target.ip_address, target.life, end)
        end.other = accepted
        target.ends[accepted.connection_id] = accepted
        target.feed(TcpAccepted(accepted.connection_id, listener_id, end.ip_address))

    def _transmit(self, end: End, data: bytes) -> None:
        """Carry bytes to the other end, in order, unless a partition swallows them."""
        other = end.other
        if other is None or not self._reach(end.host, other.host):
            return
        at = max(self.now + LATENCY_S, end.in_flight)
        end.in_flight = at
        self._later(at - self.now, lambda: self._deliver(end, other, data))

    def _deliver(self, end: End, other: End, data: bytes) -> None:
        if not other.is_open or not self._reach(end.host, other.host):
            return
        if other.host is None:
            other.received += data
            return
        # In odd pieces now and then, as TCP does.
        pieces = [data]
        if len(data) > 1 and self.random.random() < 0.3:
            cut = self.random.randrange(1, len(data))
            pieces = [data[:cut], data[cut:]]
        for piece in pieces:
            if other.is_open and other.host.is_up and other.host.life == other.life:
                other.host.feed(TcpData(other.connection_id, piece))

    def close_later(self, end: End, reason: str) -> None:
        """Let the other end notice that this one is closed, after what was sent."""
        other = end.other
        if other is None:
            return

        def arrive() -> None:
            if not other.is_open or not self._reach(end.host, other.host):
                return
            other.is_open = False
            other.close_reason = reason
            host = other.host
            if host is not None and host.is_up and host.life == other.life:
                host.ends.pop(other.connection_id, None)
                host.feed(TcpClosed(other.connection_id, reason))

        self._later(max(LATENCY_S, end.in_flight - self.now), arrive)
