"""All links, by paired device: routes what the network brings to the link that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from cytosol.model.ids import PeerId
from cytosol.protocol.effects import Close, Connect, Listen, StopListening
from cytosol.protocol.gateway import GatewayRequest
from cytosol.protocol.graph_channel import GraphChannel
from cytosol.protocol.link import Link, LinkEffect, LinkSurroundings
from cytosol.protocol.machine import Machine
from cytosol.protocol.seams import PairedPeer

__all__ = ["Links", "LinksEffect"]

LinksEffect: TypeAlias = tuple[PeerId, LinkEffect]


class Links(Machine[LinksEffect]):
    """Keep a link for every paired device; effects come out with the device they belong to."""

    def __init__(self, around: LinkSurroundings) -> None:
        super().__init__()
        self._around = around
        self._links: dict[PeerId, Link] = {}
        self._by_connection: dict[int, Link] = {}
        self._by_listener: dict[int, Link] = {}
        self._deadlines: dict[PeerId, float] = {}

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    # --- Ours --------------------------------------------------------------------------

    def add(self, peer: PairedPeer, now: float) -> None:
        """Make a link to a paired device, unless there is one."""
        link = self._links.get(peer.peer_id)
        if link is not None and (link.is_unpaired or link.peer.public_key != peer.public_key):
            # Unpaired and paired again while the farewell was under way.
            self.drop(peer.peer_id, "the device was paired anew", now)
            link = None
        if link is None:
            self._links[peer.peer_id] = Link(peer, self._around)

    def heard(self, peer_id: PeerId, is_new: bool, now: float) -> None:
        """Take note that a paired device is there."""
        link = self._links[peer_id]
        link.heard(is_new, now)
        self._pump(link)

    def try_all(self, now: float) -> None:
        """Call all devices that are not connected: we start, or the network has changed."""
        for link in self._links.values():
            link.try_soon(now)
            self._pump(link)

    def call_at(self, peer_id: PeerId, when: float) -> None:
        """Call a device then, unless it calls first."""
        link = self._links[peer_id]
        link.call_at(when)
        self._pump(link)

    def local_changes(self, now: float, *, sender: PeerId | None = None) -> None:
        """Send on what is new in the replica to all but the device that it came from."""
        for peer_id, link in list(self._links.items()):
            if peer_id != sender and link.is_connected:
                link.local_changes(now)
                self._pump(link)

    def share_peers(self, now: float, *, sender: PeerId | None = None) -> None:
        """Tell all connected devices about further ones, but not the device that told us."""
        for peer_id, link in list(self._links.items()):
            if peer_id != sender and link.is_connected:
                link.share_peers(now)
                self._pump(link)

    def use_graph(
        self, peer_id: PeerId | None, step: Callable[[GraphChannel], None], now: float
    ) -> None:
        """Let the graph's channel to a device take a step, or those to all devices (None)."""
        for link in [*self._links.values()] if peer_id is None else [self._links.get(peer_id)]:
            if link is not None:
                link.use_graph(step, now)
                self._pump(link)

    def receive_connect(self, request: GatewayRequest, now: float) -> None:
        """Answer a paired device's call for a connection."""
        link = self._links[request.peer_id]
        link.receive_connect(request, now)
        self._pump(link)

    def unpair(self, peer_id: PeerId, now: float) -> None:
        """Stop a link at once, and tell the device if it is connected."""
        link = self._links.get(peer_id)
        if link is not None:
            link.unpair(now)
            self._pump(link)
            self._drop_if_finished(link)

    def drop(self, peer_id: PeerId, reason: str, now: float) -> None:
        """Close a link for good without telling the device: it told us."""
        link = self._links[peer_id]
        link.stop(reason, now)
        self._pump(link)
        self._forget(link)

    def stop(self, reason: str, now: float) -> None:
        """Close all connections and call nobody."""
        for link in list(self._links.values()):
            link.stop(reason, now)
            self._pump(link)

    # --- Inputs ------------------------------------------------------------------------

    def listening(self, listener_id: int, port: int, now: float) -> None:
        """Take note of the port of a listener."""
        link = self._by_listener.get(listener_id)
        if link is not None:
            link.listening(port, now)
            self._pump(link)

    def listen_failed(self, listener_id: int, reason: str, now: float) -> None:
        """Take note that a listener could not be opened."""
        link = self._by_listener.get(listener_id)
        if link is not None:
            link.listen_failed(reason, now)
            self._pump(link)

    def accepted(self, connection_id: int, listener_id: int, ip_address: str, now: float) -> bool:
        """Take a connection that came to a listener; False if nobody wants it."""
        link = self._by_listener.get(listener_id)
        if link is None:
            return False
        self._by_connection[connection_id] = link
        link.accepted(connection_id, ip_address, now)
        self._pump(link)
        return True

    def connected(self, connection_id: int, now: float) -> None:
        """Take note that a dial succeeded."""
        link = self._by_connection.get(connection_id)
        if link is not None:
            link.connected(connection_id, now)
            self._pump(link)

    def receive(self, connection_id: int, data: bytes, now: float) -> None:
        """Take bytes of a connection."""
        link = self._by_connection.get(connection_id)
        if link is not None:
            link.receive(connection_id, data, now)
            self._pump(link)
            self._drop_if_finished(link)

    def lost(self, connection_id: int, reason: str, now: float) -> None:
        """Take note that a dial failed, or that a connection has ended."""
        link = self._by_connection.pop(connection_id, None)
        if link is not None:
            link.lost(connection_id, reason, now)
            self._pump(link)
            self._drop_if_finished(link)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the first link wants attention."""
        return min(self._deadlines.values(), default=None)

    def handle_timer(self, now: float) -> None:
        """Wake the links whose time has come."""
        for peer_id, deadline in list(self._deadlines.items()):
            link = self._links.get(peer_id)
            if now >= deadline and link is not None:
                link.handle_timer(now)
                self._pump(link)
                self._drop_if_finished(link)

    # --- Inside ------------------------------------------------------------------------

    def _pump(self, link: Link) -> None:
        """Take what a link wants done, and note which connections are its own."""
        peer_id = link.peer.peer_id
        for effect in link.take_effects():
            match effect:
                case Connect():
                    self._by_connection[effect.connection_id] = link
                case Close():
                    self._by_connection.pop(effect.connection_id, None)
                case Listen():
                    self._by_listener[effect.listener_id] = link
                case StopListening():
                    self._by_listener.pop(effect.listener_id, None)
            self._do((peer_id, effect))
        assert self._links[peer_id] is link  # a link that was dropped has closed everything
        deadline = link.next_deadline()
        if deadline is None:
            self._deadlines.pop(peer_id, None)
        else:
            self._deadlines[peer_id] = deadline

    def _drop_if_finished(self, link: Link) -> None:
        """Forget the link of a device that is unpaired, once it has said its farewell."""
        if link.is_finished and link.is_unpaired:
            self._forget(link)

    def _forget(self, link: Link) -> None:
        del self._links[link.peer.peer_id]
        self._around.snapshots.drop(link.peer.peer_id)
        self._deadlines.pop(link.peer.peer_id, None)
