"""The doctor's examination of the network: heartbeats, listening, and visits to peers.

Each heartbeat names a listener of its own as its gateway, so that whoever dials one tells by
which heartbeat it noticed us, even where its answers do not arrive. Peers answer each, because a
new port is a new address; in the end one heartbeat with the real port puts things right.

Theory of what can be told apart: what is sent as a broadcast and comes back to our own port has
passed our own firewall; a peer that notices a direct heartbeat and no broadcast is cut off from
broadcasts; one that notices 255.255.255.255 only has another netmask.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.errors import RemoteProtocolError
from cytosol.limits import CANDIDATES_MAX, HALF_OPEN_MAX, VISIBLE_PEERS_MAX
from cytosol.model.ids import PeerId, format_id
from cytosol.net.background import BackgroundLoop
from cytosol.net.evidence import Knock, NetworkSeen, PeerSeen
from cytosol.net.interfaces import Interface, broadcast_interfaces
from cytosol.net.local_probes import (
    error_name,
    find_detours,
    neighbours,
    port_holder,
    see_interfaces,
)
from cytosol.net.peer_probes import Caller, ask_to_connect, is_port_closed, look_at, visit
from cytosol.net.probe_sockets import ProbeSockets
from cytosol.protocol.seams import PairedPeer
from cytosol.wire.heartbeat import (
    Heartbeat,
    encode_heartbeat,
    heartbeat_port,
    is_of_other_version,
    parse_heartbeat,
)

__all__ = ["Subject", "examine_network"]

ANSWER_S: Final = 1.3  # a peer answers once a second, whoever asks
DIAL_IN_S: Final = 5.0  # for a paired peer to dial us; it may be in a pause between dials
KNOCKS_MAX: Final = 2  # rounds, unless a peer appears late
WATCH_S: Final = 0.1  # between two looks at who answers for which address
LIMITED: Final = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class Subject:
    """The device that is examined, and what it knows of others."""

    app_id: bytes
    peer_id: PeerId
    keys: KeyPair
    name: str
    has_identity: bool = True  # False if the id was made for this examination
    paired: Mapping[PeerId, PairedPeer] = field(default_factory=dict)
    refused: Mapping[PeerId, bytes] = field(default_factory=dict)
    addresses: Mapping[PeerId, Sequence[tuple[str, int]]] = field(default_factory=dict)
    connected: frozenset[PeerId] = frozenset()
    named: tuple[str, ...] = ()
    """Addresses of peers that the user gave."""
    gateway_port: int = 0  # of the network that runs, if any
    is_loopback_enough: bool = False


def examine_network(subject: Subject, wait_s: float) -> NetworkSeen:
    """Probe for some seconds, `wait_s` at most if a paired peer keeps silent, and say what came."""
    loop = BackgroundLoop("cytosol-doctor")
    loop.start()
    examination = _Examination(subject, wait_s)
    try:
        return loop.run(examination.run())
    finally:
        loop.run(examination.end())
        loop.stop()


class _Examination:
    """One run of all probes, in one loop."""

    def __init__(self, subject: Subject, wait_s: float) -> None:
        self._subject = subject
        self._caller = Caller(subject.peer_id, subject.keys)
        self._wait_s = wait_s
        self._port = heartbeat_port(subject.app_id)
        self.seen = NetworkSeen(self._port, is_loopback_enough=subject.is_loopback_enough)
        self._usable: list[Interface] = []
        self._own: set[str] = set()
        self._knock_ports: dict[int, Knock] = {}
        self._callers = 0
        self._stranger: PeerId | None = None
        self._task: asyncio.Task[NetworkSeen] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._hardware: dict[tuple[str, str], str] = {}
        self._servers: list[asyncio.Server] = []
        self._changed = asyncio.Event()
        self._sockets = ProbeSockets(self._changed.set)
        self._keys: dict[PeerId, bytes] = {}
        self._visits: dict[PeerId, asyncio.Task[None]] = {}

    async def end(self) -> None:
        """Break off, if the caller was interrupted, and see that everything is closed."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def run(self) -> NetworkSeen:
        """Examine in the order in which one thing explains the next."""
        self._task = asyncio.current_task()
        seen, subject = self.seen, self._subject
        seen.interfaces = see_interfaces()
        self._usable = broadcast_interfaces(loopback=subject.is_loopback_enough)
        self._own = {address for each in seen.interfaces for address in each.addresses}
        self._watch = asyncio.create_task(self._watch_neighbours())
        self.note_paired()
        known = [ip for peer in seen.peers.values() for ip, _ in peer.addresses]
        seen.detours = find_detours(seen.interfaces, [*known, *subject.named], self._port)
        try:
            self._open_receiver()
            if self._usable:
                await self._look_around()
        finally:
            await self._close()
        for peer in (*seen.peers.values(), *seen.unknown):
            peer.is_near = self._is_near(peer)
        return seen

    async def _watch_neighbours(self) -> None:
        """See whether two devices answer for one address: each that talks to us says it is there.

        The system keeps one of them at a time, so that only a change shows.
        """
        while True:
            for ip_address, interface, hardware in neighbours():
                known = self._hardware.setdefault((ip_address, interface), hardware)
                if known != hardware:
                    self.seen.doubled.add(ip_address)
            await asyncio.sleep(WATCH_S)

    def note_paired(self) -> None:
        """Begin the list of peers with those that are known."""
        subject = self._subject
        for peer_id, pinned in subject.paired.items():
            entry = PeerSeen(peer_id, pinned.name, is_paired=True)
            entry.is_connected = peer_id in subject.connected
            addresses = subject.addresses.get(peer_id, ())
            entry.addresses = [each for each in addresses if _is_ipv4(each[0])][:CANDIDATES_MAX]
            self.seen.peers[peer_id] = entry
            self._keys[peer_id] = pinned.public_key

    def _is_near(self, peer: PeerSeen) -> bool:
        """Tell whether a peer's newest address is in a network of ours, or not known."""
        networks = [
            ipaddress.IPv4Network(each) for seen in self.seen.interfaces for each in seen.networks
        ]
        addresses = [ipaddress.IPv4Address(ip) for ip, _ in peer.addresses[:1]]
        return not addresses or any(addresses[0] in network for network in networks)

    async def _look_around(self) -> None:
        began = time.monotonic()
        for _ in range(KNOCKS_MAX):
            await self._knock_everywhere()
            if self._is_all_noticed() or not self._paired():
                break
        if not self._is_all_heard():
            heard = sum(peer.is_heard for peer in self.seen.peers.values())
            await self._until(self._is_all_heard, self._wait_s - (time.monotonic() - began))
            if sum(peer.is_heard for peer in self.seen.peers.values()) > heard:
                await self._knock_everywhere()
        self._visit_all()
        await asyncio.gather(*self._visits.values())
        await self._await_dials()
        await self._look_for_clones()
        for peer in self._paired():
            if not peer.is_connected and (peer.is_greeted or peer.noticed):
                await ask_to_connect(self._caller, peer, self._keys[peer.peer_id])
        for peer in self._paired():
            if not peer.is_heard and peer.addresses:
                peer.port_is_closed = await is_port_closed(peer.addresses[0][0], self._port)
        heard_at = {ip for peer in self.seen.peers.values() for ip, _ in peer.addresses}
        for ip in self._subject.named:
            if ip not in heard_at:
                unknown = PeerSeen(b"", ip, is_named=True, addresses=[(ip, self._port)])
                await look_at(unknown, self._port)
                self.seen.unknown.append(unknown)

    def _paired(self) -> list[PeerSeen]:
        return [peer for peer in self.seen.peers.values() if peer.is_paired]

    def _is_all_noticed(self) -> bool:
        """Tell whether nothing is left to find out about heartbeats."""
        return bool(self._paired()) and all(
            Knock.BROADCAST in peer.noticed for peer in self._paired()
        )

    def _is_all_heard(self) -> bool:
        peers = self._paired() or list(self.seen.peers.values())
        if not peers:
            return bool(self.seen.other_apps)
        return all(peer.is_heard or self._is_of_other_version(peer) for peer in peers)

    def _is_of_other_version(self, peer: PeerSeen) -> bool:
        return any(ip in self.seen.other_versions for ip, _ in peer.addresses)

    async def _await_dials(self) -> None:
        """Give paired peers that noticed us the time to dial us."""
        waiting = [peer for peer in self._paired() if peer.noticed and not peer.is_connected]
        await self._until(lambda: all(peer.has_dialled for peer in waiting), DIAL_IN_S)

    async def _until(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, at most for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                while not is_done():
                    self._changed.clear()
                    await self._changed.wait()

    async def _look_for_clones(self) -> None:
        """Show ourselves as a stranger: who runs a copy of our file answers no heartbeat of ours.

        Other devices list the stranger until they have not heard it for three minutes.
        """
        subject = self._subject
        if not subject.has_identity:
            return
        keys = make_key_pair(os.urandom(32))
        port = next(iter(self._knock_ports), 1025)
        self._stranger = peer_id_for_key(keys.public)
        stranger = encode_heartbeat(
            Heartbeat(subject.app_id, self._stranger, keys.public, port, "Cytosol doctor")
        )

        def answered(data: bytes, ip_address: str, _: str | None) -> None:
            heartbeat = self._parsed(data, ip_address)
            if heartbeat is not None and heartbeat.peer_id == subject.peer_id:
                self._note_clone(ip_address)

        for interface in self._usable:
            with suppress(OSError):
                sender = self._sockets.open(interface.address)
                self._sockets.listen(sender, answered)
                sender.sendto(stranger, (interface.broadcast, self._port))
        await self._until(lambda: bool(self.seen.clones), ANSWER_S)

    # --- Knocking ----------------------------------------------------------------------

    async def _knock_everywhere(self) -> None:
        """Send heartbeats in all three ways, those that are needed, and await answers."""
        await self._knock(Knock.BROADCAST)
        await self._until(self._is_all_noticed, ANSWER_S)
        self._visit_all()
        targets = {
            ip
            for peer in self._paired()
            if Knock.BROADCAST not in peer.noticed
            for ip, _ in peer.addresses
        }
        if targets | set(self._subject.named):
            await self._knock(Knock.DIRECT, *sorted(targets | set(self._subject.named)))
            await self._until(
                lambda: all(peer.noticed for peer in self._paired()) and not self._subject.named,
                ANSWER_S,
            )
        if not self._is_all_noticed() and self._paired():
            await self._knock(Knock.LIMITED)
            await self._until(
                lambda: all(
                    {Knock.BROADCAST, Knock.LIMITED} & peer.noticed for peer in self._paired()
                ),
                ANSWER_S,
            )
        self._visit_all()

    async def _knock(self, kind: Knock, *targets: str) -> None:
        """Send a heartbeat from fresh sockets that names a fresh listener."""
        heartbeat = await self._heartbeat(kind)
        if kind is Knock.DIRECT:
            sender = self._sockets.open("")
            self._sockets.listen(sender, lambda data, ip, _: self._answered(kind, data, ip))
            for target in targets:
                with suppress(KeyError):
                    del self.seen.direct_errors[target]
                try:
                    sender.sendto(heartbeat, (target, self._port))
                except OSError as error:
                    self.seen.direct_errors[target] = error_name(error)
            return
        for interface in self._usable:
            try:
                sender = self._sockets.open(interface.address)
            except OSError as error:
                self.seen.broadcast_errors[interface.address] = error_name(error)
                continue
            self._sockets.listen(sender, lambda data, ip, _: self._answered(kind, data, ip))
            if kind is Knock.LIMITED:
                with suppress(OSError):
                    sender.sendto(heartbeat, (LIMITED, self._port))
            else:
                self._broadcast(sender, interface, heartbeat)

    def _broadcast(self, sender: socket.socket, interface: Interface, heartbeat: bytes) -> None:
        """Send a broadcast to the heartbeat port, and one to a port such as answers come to.

        Both come back to this device itself, unless its firewall drops what comes in.
        """
        address = interface.address
        try:
            sender.sendto(heartbeat, (interface.broadcast, self._port))
        except OSError as error:
            self.seen.broadcast_errors[address] = error_name(error)
            return
        if self.seen.port_error is None:
            self.seen.unheard_broadcasts.add(address)
        echo = self._sockets.open("")
        self.seen.unheard_answers.add(address)

        def heard(data: bytes, ip_address: str, _: str | None) -> None:
            if data == heartbeat and ip_address == address:
                self.seen.unheard_answers.discard(address)

        self._sockets.listen(echo, heard)
        with suppress(OSError):
            sender.sendto(heartbeat, (interface.broadcast, echo.getsockname()[1]))

    async def _heartbeat(self, kind: Knock) -> bytes:
        """Return a heartbeat that names a listener of its own."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._callers += 1
            if self._callers <= HALF_OPEN_MAX:
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(ANSWER_S):
                        self._dialled_in(kind, await reader.readexactly(16))
            writer.transport.abort()
            self._callers -= 1

        server = await asyncio.start_server(accept, "0.0.0.0", 0)
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        self._knock_ports[port] = kind
        return self._encoded(port)

    def _dialled_in(self, kind: Knock, claimed_id: PeerId) -> None:
        """Take note of who dialled what a heartbeat named; a lie misleads nobody but the user."""
        peer = self.seen.peers.get(claimed_id)
        if peer is not None:
            peer.has_dialled = True
            peer.noticed.add(kind)
            self._changed.set()

    def _encoded(self, port: int) -> bytes:
        subject = self._subject
        return encode_heartbeat(
            Heartbeat(subject.app_id, subject.peer_id, subject.keys.public, port, subject.name)
        )

    # --- Listening ---------------------------------------------------------------------

    def _open_receiver(self) -> None:
        """Listen on the heartbeat port, as the network does."""
        try:
            receiver = self._sockets.open("", self._port)
        except OSError as error:
            self.seen.port_error = error_name(error)
            self.seen.port_holder = port_holder(self._port)
            return
        self._sockets.listen(receiver, self._received)

    def _received(self, data: bytes, ip_address: str, target: str | None) -> None:
        """Take what came to the heartbeat port."""
        heartbeat = self._parsed(data, ip_address)
        if heartbeat is None:
            return
        if heartbeat.peer_id == self._subject.peer_id:
            if heartbeat.port in self._knock_ports and ip_address in self._own:
                self.seen.unheard_broadcasts.discard(ip_address)
            self._note_clone(ip_address)
            return
        if heartbeat.peer_id == self._stranger:
            return
        peer = self._peer(heartbeat, ip_address)
        if peer is None:
            return
        if target is not None and target in self._own:
            peer.heard_direct = True
        else:
            peer.heard_broadcast = True

    def _note_clone(self, ip_address: str) -> None:
        if ip_address not in self._own:
            self._note(self.seen.clones, ip_address)

    def _note(self, addresses: set[str], ip_address: str) -> None:
        if len(addresses) < CANDIDATES_MAX:
            addresses.add(ip_address)

    def _answered(self, kind: Knock, data: bytes, ip_address: str) -> None:
        """Take an answer to one of our heartbeats."""
        heartbeat = self._parsed(data, ip_address)
        if heartbeat is not None and heartbeat.peer_id != self._subject.peer_id:
            peer = self._peer(heartbeat, ip_address)
            if peer is not None:
                peer.noticed.add(kind)

    def _parsed(self, data: bytes, ip_address: str) -> Heartbeat | None:
        try:
            heartbeat = parse_heartbeat(data)
        except RemoteProtocolError:
            if is_of_other_version(data, self._subject.app_id) and ip_address not in self._own:
                self._note(self.seen.other_versions, ip_address)
            return None
        if heartbeat.app_id != self._subject.app_id:
            if len(self.seen.other_apps) < VISIBLE_PEERS_MAX:
                self.seen.other_apps[ip_address] = format_id(heartbeat.app_id)
            return None
        return heartbeat

    def _peer(self, heartbeat: Heartbeat, ip_address: str) -> PeerSeen | None:
        """Return what is noted of a peer that was heard; None if it is not to be believed."""
        peer_id, subject = heartbeat.peer_id, self._subject
        if ip_address in self._own and not (subject.has_identity or subject.is_loopback_enough):
            return None  # the app whose file was in use
        peer = self.seen.peers.get(peer_id)
        if peer is None:
            if len(self.seen.peers) >= VISIBLE_PEERS_MAX:
                return None
            peer = PeerSeen(peer_id, heartbeat.name, is_refused=peer_id in subject.refused)
            self.seen.peers[peer_id] = peer
            self._keys[peer_id] = heartbeat.public_key
        elif self._keys[peer_id] != heartbeat.public_key:
            peer.has_other_key = True
            return None
        peer.is_named = peer.is_named or ip_address in subject.named
        address = (ip_address, heartbeat.port)
        if peer.addresses[:1] != [address]:
            others = [each for each in peer.addresses if each != address]
            peer.addresses = [address, *others[: CANDIDATES_MAX - 1]]
        return peer

    # --- Visiting ----------------------------------------------------------------------

    def _visit_all(self) -> None:
        """Begin to visit the peers whose address is known, or has just become known."""
        for peer in self.seen.peers.values():
            running = self._visits.get(peer.peer_id)
            is_new = running is None or (peer.is_heard and running.done() and not peer.dials)
            if is_new and peer.addresses and (peer.is_paired or peer.is_named):
                work = visit(self._caller, peer, self._keys[peer.peer_id])
                self._visits[peer.peer_id] = asyncio.get_running_loop().create_task(work)

    async def _close(self) -> None:
        """Say where we really are, if a network runs, and close everything."""
        if self._subject.gateway_port:
            farewell = self._encoded(self._subject.gateway_port)
            with suppress(OSError):
                sender = self._sockets.open("")
                for interface in self._usable:
                    with suppress(OSError):
                        sender.sendto(farewell, (interface.broadcast, self._port))
                for peer in self._paired():
                    for ip_address, _ in peer.addresses[:1]:
                        with suppress(OSError):
                            sender.sendto(farewell, (ip_address, self._port))
        tasks = [*self._visits.values(), *([] if self._watch is None else [self._watch])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            server.close()
        await self._sockets.close()


def _is_ipv4(address: str) -> bool:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True
