"""One peer: puts discovery, the gateway, pairing and the links together.

It is a machine itself: inputs and commands with the time go in, effects for the driver come out.
What it knows of the data is a replica seam, of the pairings a pairings seam; both answer at
once. Commands of the app that cannot be obeyed raise; whatever a peer sends does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, assert_never

from cytosol.errors import PairingError
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.protocol.attempts import AttemptEnded
from cytosol.protocol.connection import OpsArrived, PeersShared, TheyUnpaired
from cytosol.protocol.discovery import Heard, TableChanged
from cytosol.protocol.effects import (
    Close,
    Connect,
    Effect,
    Emit,
    Listen,
    Send,
    SendDatagram,
    StopListening,
)
from cytosol.protocol.events import (
    Opening,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    PeersChanged,
    Unpaired,
)
from cytosol.protocol.gateway import CallerLost, GatewayRequest
from cytosol.protocol.gateway_call import Ping
from cytosol.protocol.graph_channel import GraphChannel
from cytosol.protocol.inputs import (
    DatagramReceived,
    Input,
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
from cytosol.protocol.link import (
    FromPeer,
    LinkEffect,
    TheyRefuse,
)
from cytosol.protocol.machine import Machine, earliest
from cytosol.protocol.pair_prompt import (
    GatewayAnswer,
    GatewayRefusal,
    ProofAccepted,
)
from cytosol.protocol.pairing import AttemptEnd
from cytosol.protocol.parts import Identity, Parts, PeerOptions, SyncFactory
from cytosol.protocol.seams import PairedPeer, PairingsSeam, ReplicaSeam
from cytosol.protocol.session import RandomBytes
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import ConfirmPairParams, ConnectParams, PairParams

__all__ = ["PeerMachine"]

ANNOUNCE_EVERY_S: Final = 0.1  # a flood of heartbeats must not become a flood of events
CALL_AFTER_PAIRING_S: Final = 2.0  # the requester stores a moment later than we, and calls


class PeerMachine(Machine[Effect]):
    """The whole protocol of one peer."""

    def __init__(
        self,
        identity: Identity,
        replica: ReplicaSeam,
        pairings: PairingsSeam,
        sync_factory: SyncFactory,
        options: PeerOptions,
        random_bytes: RandomBytes,
    ) -> None:
        super().__init__()
        parts = Parts(identity, replica, pairings, sync_factory, options, random_bytes)
        self._parts = parts
        self._pairings = pairings
        self._lockout = parts.lockout
        self._sharing = parts.sharing
        self._half_open = parts.half_open
        self._discovery = parts.discovery
        self._gateway = parts.gateway
        self._prompt = parts.prompt
        self._attempts = parts.attempts
        self._links = parts.links
        self._sync_enabled = options.sync_enabled
        self._is_running = False
        self._list_changed = False
        self._announce_at = -math.inf

    # --- Commands of the app -----------------------------------------------------------

    def request_pair(self, peer: str, code: str, now: float) -> None:
        """Ask a visible device to pair; the app shows `code` to its user meanwhile.

        Raises ActionError for what is no UUID, PairingError when it cannot be asked.
        """
        peer_id = self._parse(peer)
        if peer_id in self._pairings.paired():
            raise PairingError(f"{peer} is already paired with this device; unpair it first")
        visible = self._discovery.get(peer_id, now)
        if visible is None or not self._is_running:
            raise PairingError(
                f"no device {peer} is visible; it has to run, on the same network, with the same "
                "app id, and visible to others"
            )
        self._attempts.check_room(peer_id)
        self._lockout.app_called()
        pause_s = self._lockout.pause_left_s(now)
        if pause_s:
            raise PairingError(
                f"pairing is paused for {math.ceil(pause_s)} s, because wrong codes were tried"
            )
        self._attempts.begin(visible, code, now)
        self._work(now)

    def accept_pair(self, peer: str, code: str, now: float) -> None:
        """Answer a device's pair request with the code that the user typed.

        Raises ActionError for what is no UUID, PairingError when it has not asked, or for a
        code of the wrong length.
        """
        try:
            self._prompt.accept(self._parse(peer), code, now)
        finally:
            self._work(now)

    def reject_pair(self, peer: str, now: float) -> None:
        """Answer a device's pair request with no, or take our own request to it back.

        Raises ActionError for what is no UUID, PairingError when there is no such request.
        """
        peer_id = self._parse(peer)
        if not self._attempts.cancel(peer_id, AttemptEnd.CANCELLED, now):
            self._prompt.reject(peer_id)
        self._work(now)

    def unpair(self, peer: str, now: float) -> None:
        """Stop syncing with a device at once, tell it, and refuse it from now on.

        Raises ActionError for what is no UUID, PairingError when it is not paired.
        """
        peer_id = self._parse(peer)
        paired = self._pairings.paired().get(peer_id)
        if paired is None:
            raise PairingError(f"{peer} is not paired with this device")
        self._sharing.unpair(paired, self._lockout.wall(now))
        self._links.unpair(peer_id, now)
        self._no_longer_paired(paired, now)
        self._work(now)

    def set_visible(self, visible: bool, now: float) -> None:
        """Show ourselves to devices that are not paired, or hide from them."""
        self._parts.visible = visible
        if visible:
            self._lockout.app_called()
        self._discovery.set_visible(visible, now)
        self._work(now)

    def set_sync_enabled(self, enabled: bool, now: float) -> None:
        """Connect to paired devices, or close all connections; pairing stays possible."""
        if enabled != self._sync_enabled:
            self._sync_enabled = enabled
            if enabled:
                self._connect_all(now)
            else:
                self._links.stop("syncing was switched off", now)
            self._work(now)

    def stop(self, now: float) -> None:
        """Close everything; nothing is sent afterwards."""
        self._is_running = False
        self._discovery.stop()
        self._attempts.cancel_all(now)
        self._links.stop("the peer has stopped", now)
        self._gateway.close_all("the peer has stopped", now)
        self._work(now)

    def local_changes(self, now: float) -> None:
        """Send on what is new in the replica."""
        self._links.local_changes(now)
        self._work(now)

    def graph_listen(self, is_listening: bool, now: float) -> None:
        """Take messages of graphs from all paired devices from now on, or no more."""
        self._parts.is_graph_listening = is_listening
        self._links.use_graph(None, lambda channel: channel.listen(is_listening), now)
        self._work(now)

    def graph_send(self, peer: str, opening: Opening, text: str, more: bool, now: float) -> None:
        """Send a piece of a frame in an opening; dropped if that is over. Answer: GraphTaken."""
        self._use_graph(peer, lambda channel: channel.send(opening, text, more), now)

    def graph_taken(self, peer: str, opening: Opening, now: float) -> None:
        """Say that the program has taken the oldest piece that it was given in an opening."""
        self._use_graph(peer, lambda channel: channel.taken(opening), now)

    def graph_shut(self, peer: str, opening: Opening, now: float) -> None:
        """Take no more messages of graphs from a device until it connects anew."""
        self._use_graph(peer, lambda channel: channel.shut(opening), now)

    def _use_graph(self, peer: str, step: Callable[[GraphChannel], None], now: float) -> None:
        self._links.use_graph(parse_id(peer), step, now)
        self._work(now)

    def peers(self) -> list[dict[str, JsonValue]]:
        """Return the metadata `$.peers`: all visible and all connected devices."""
        paired = self._pairings.paired()
        rows: dict[PeerId, dict[str, JsonValue]] = {}
        for peer_id, entry in self._discovery.table().items():
            newest = entry.candidates[0]
            rows[peer_id] = _row(
                peer_id, entry.name, newest.ip_address, newest.port, peer_id in paired
            )
        for link in self._links:
            if link.is_connected:
                peer = link.peer
                row = rows.setdefault(
                    peer.peer_id, _row(peer.peer_id, peer.name, link.ip_address, None, True)
                )
                row["connected"] = True
        return sorted(rows.values(), key=lambda row: (row["name"], row["id"]))

    # --- Inputs ------------------------------------------------------------------------

    def receive(self, event: Input, now: float) -> None:
        """Take what the driver reports."""
        self._parts.now = now
        match event:
            case TcpData():
                self._receive_data(event, now)
            case DatagramReceived():
                self._discovery.receive(event, now)
            case TcpAccepted():
                self._accepted(event, now)
            case TcpConnected():
                if not self._attempts.connected(event.connection_id, now):
                    self._links.connected(event.connection_id, now)
            case TcpFailed() | TcpClosed():
                self._lost(event.connection_id, event.reason, now)
            case TcpListening():
                self._links.listening(event.listener_id, event.port, now)
            case ListenFailed():
                self._links.listen_failed(event.listener_id, event.reason, now)
            case Started():
                self._started(event.gateway_port, now)
            case InterfacesChanged():
                self._discovery.restart_beats(now)
                self._connect_all(now)
            case WallClock():
                self._lockout.set_wall_clock(event.seconds, now)
            case _:
                assert_never(event)
        self._work(now)

    def _started(self, gateway_port: int, now: float) -> None:
        self._is_running = True
        self._discovery.start(gateway_port, now)
        self._connect_all(now)

    def _connect_all(self, now: float) -> None:
        """Call every paired device that is not connected."""
        if self._is_running and self._sync_enabled:
            for peer in self._pairings.paired().values():
                self._links.add(peer, now)
            self._links.try_all(now)

    def _accepted(self, accepted: TcpAccepted, now: float) -> None:
        connection_id, ip_address = accepted.connection_id, accepted.ip_address
        is_admitted, evicted = self._half_open.admit(connection_id, ip_address, now)
        if evicted is not None:
            self._abandon(evicted, "too many connections wait for their first message", now)
        if not is_admitted or not self._is_running:
            self._half_open.remove(connection_id)
            self._do(Close(connection_id, "too many connections at once", abort=True))
        elif accepted.listener_id is None:
            self._gateway.accepted(connection_id, ip_address)
        elif not self._links.accepted(connection_id, accepted.listener_id, ip_address, now):
            self._half_open.remove(connection_id)
            self._do(Close(connection_id, "nobody is expected here any more", abort=True))

    def _abandon(self, connection_id: int, reason: str, now: float) -> None:
        """Close a half-open connection, whosever it is."""
        if connection_id in self._gateway:
            self._gateway.close(connection_id, reason, now)
        else:
            self._do(Close(connection_id, reason, abort=True))
            self._links.lost(connection_id, reason, now)

    def abandon(self, connection_id: int, reason: str, now: float) -> None:
        """Close a connection that the driver cannot go on with."""
        self._do(Close(connection_id, reason, abort=True))
        self._lost(connection_id, reason, now)
        self._work(now)

    def _receive_data(self, data: TcpData, now: float) -> None:
        connection_id = data.connection_id
        if connection_id in self._gateway:
            self._gateway.receive(connection_id, data.data, now)
        elif not self._attempts.receive(connection_id, data.data, now):
            self._links.receive(connection_id, data.data, now)

    def _lost(self, connection_id: int, reason: str, now: float) -> None:
        self._half_open.remove(connection_id)
        if connection_id in self._gateway:
            self._gateway.lost(connection_id, reason, now)
        elif not self._attempts.lost(connection_id, reason, now):
            self._links.lost(connection_id, reason, now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when anything at all is due."""
        return earliest(
            self._discovery.next_deadline(),
            self._gateway.next_deadline(),
            self._prompt.next_deadline(),
            self._links.next_deadline(),
            self._half_open.next_deadline(),
            self._announce_at if self._list_changed else None,
            self._attempts.next_deadline(),
        )

    def handle_timer(self, now: float) -> None:
        """Do whatever is due."""
        self._discovery.handle_timer(now)
        for connection_id in self._half_open.take_expired(now):
            self._abandon(connection_id, "no authentic message came in time", now)
        self._gateway.handle_timer(now)
        self._prompt.handle_timer(now)
        self._attempts.handle_timer(now)
        self._links.handle_timer(now)
        self._work(now)

    # --- What the parts want -----------------------------------------------------------

    def _work(self, now: float) -> None:
        """Pass effects between the parts until nobody wants anything more."""
        self._parts.now = now
        is_busy = True
        while is_busy:
            is_busy = False
            for seen in self._discovery.take_effects():
                self._obey_discovery(seen, now)
                is_busy = True
            for asked in self._gateway.take_effects():
                is_busy = True
                match asked:
                    case GatewayRequest():
                        self._receive_request(asked, now)
                    case CallerLost():
                        self._prompt.caller_lost(asked.connection_id, now)
                    case _:
                        self._do(asked)
            for wanted in self._prompt.take_effects():
                is_busy = True
                match wanted:
                    case ProofAccepted():
                        self._paired_by_hand(
                            wanted.peer_id, wanted.peer_name, wanted.public_key, now
                        )
                        self._begin_link(wanted.peer_id, CALL_AFTER_PAIRING_S, now)
                    case GatewayAnswer() | GatewayRefusal():
                        self._obey_gateway(wanted, now)
                    case _:
                        self._do(wanted)
            for done in self._attempts.take_effects():
                is_busy = True
                match done:
                    case Ping():
                        self._discovery.ping(done.ip_address, done.udp_port)
                    case AttemptEnded():
                        self._attempt_ended(done, now)
                    case _:
                        self._do(done)
            for peer_id, effect in self._links.take_effects():
                is_busy = True
                self._obey_link(peer_id, effect, now)
        if self._list_changed and now >= self._announce_at:
            self._list_changed = False
            self._announce_at = now + ANNOUNCE_EVERY_S
            self._do(Emit(PeersChanged()))

    def _obey_discovery(self, effect: SendDatagram | Heard | TableChanged, now: float) -> None:
        match effect:
            case SendDatagram():
                self._do(effect)
            case TableChanged():
                self._list_changed = True
            case Heard():
                paired = self._pairings.paired().get(effect.peer_id)
                if paired is not None and self._sync_enabled and self._is_running:
                    self._links.add(paired, now)
                    self._links.heard(effect.peer_id, effect.is_new, now)
            case _:
                assert_never(effect)

    def _obey_gateway(self, effect: GatewayAnswer | GatewayRefusal, now: float) -> None:
        if isinstance(effect, GatewayAnswer):
            self._gateway.answer(effect.request_id, effect.result, now)
            return
        self._gateway.answer_error(effect.request_id, effect.code, effect.message, now)
        if effect.close:
            self._gateway.close(effect.request_id.connection_id, effect.message, now)

    def _obey_link(self, peer_id: PeerId, effect: LinkEffect, now: float) -> None:
        match effect:
            case Connect() | Listen() | StopListening() | Send() | Close():
                self._do(effect)
            case Emit():
                if isinstance(effect.event, PeerConnected | PeerDisconnected):
                    self._do(Emit(PeersChanged()))
                self._do(effect)
            case Ping():
                self._discovery.ping(effect.ip_address, effect.udp_port)
            case GatewayAnswer() | GatewayRefusal():
                self._obey_gateway(effect, now)
            case FromPeer() | TheyRefuse() if peer_id not in self._pairings.paired():
                pass  # it was unpaired a moment ago
            case FromPeer(what=PeersShared(params=params)):
                wall_s = self._lockout.wall(now)
                added, dropped = self._sharing.apply(peer_id, params, wall_s)
                for peer in dropped:
                    self._links.unpair(peer.peer_id, now)
                    self._no_longer_paired(peer, now, sender=peer_id)
                for peer in added:
                    self._discovery.pairings_changed()
                    self._begin_link(peer.peer_id, 0.0, now)
                if added:
                    self._list_changed = True
                    self._links.share_peers(now, sender=peer_id)
            case FromPeer(what=TheyUnpaired()) | TheyRefuse():
                self._ended_by_peer(peer_id, now)
            case FromPeer():
                assert isinstance(effect.what, OpsArrived)
                self._links.local_changes(now, sender=peer_id)
            case _:
                reached = (effect.ip_address, effect.port)
                if next(iter(self._pairings.addresses(peer_id)), None) != reached:
                    self._pairings.remember_address(peer_id, *reached)

    def _receive_request(self, request: GatewayRequest, now: float) -> None:
        """Take an authentic request at our gateway."""
        match request.params:
            case PairParams():
                self._prompt.receive_pair(request, now)
            case ConfirmPairParams():
                self._prompt.receive_confirm(request, now)
            case ConnectParams():
                self._receive_connect(request, now)
            case _:
                assert_never(request.params)

    def _receive_connect(self, request: GatewayRequest, now: float) -> None:
        """Let paired devices connect; say to all others why not."""
        request_id, peer_id = request.request_id, request.peer_id
        paired = self._pairings.paired().get(peer_id)
        refusal = self._pairings.refused().get(peer_id)
        if paired is not None and paired.public_key == request.public_key:
            if self._sync_enabled and self._is_running:
                self._links.add(paired, now)
                self._links.receive_connect(request, now)
            else:
                self._refuse(request_id, ErrorCode.NOT_NOW, "syncing is switched off", now)
        elif refusal is not None and refusal.public_key == request.public_key:
            self._refuse(request_id, ErrorCode.UNPAIRED, "this device was unpaired", now)
        elif self._discovery.get(peer_id, now) is None:
            self._refuse(request_id, ErrorCode.NO_HEARTBEAT, "no heartbeat was heard", now)
        else:
            self._refuse(request_id, ErrorCode.NOT_PAIRED, "these devices are not paired", now)

    def _refuse(self, request_id: Any, code: ErrorCode, message: str, now: float) -> None:
        self._obey_gateway(GatewayRefusal(request_id, code, message), now)

    # --- Pairing -----------------------------------------------------------------------

    def _attempt_ended(self, attempt: AttemptEnded, now: float) -> None:
        peer_id, name = attempt.peer_id, attempt.peer_name
        match attempt.end:
            case AttemptEnd.PAIRED:
                self._lockout.right_code()
                self._paired_by_hand(peer_id, name, attempt.public_key, now)
                self._begin_link(peer_id, 0.0, now)
            case AttemptEnd.WRONG_CODE:
                self._lockout.wrong_code(now)
            case AttemptEnd.SUPERSEDED:
                return  # the app hears about the request that was answered
        accepted = peer_id in self._pairings.paired()
        reason = None if accepted else attempt.end.value
        self._do(Emit(PairResponse(format_id(peer_id), name, accepted, reason)))

    def _paired_by_hand(self, peer_id: PeerId, name: str, public_key: bytes, now: float) -> None:
        """Store a pairing, end whatever else was under way for it, and tell our devices."""
        self._sharing.pair(peer_id, name, public_key, self._lockout.wall(now))
        self._discovery.pairings_changed()
        heard = self._discovery.get(peer_id, now)
        if heard is not None:
            newest = heard.candidates[0]
            self._pairings.remember_address(peer_id, newest.ip_address, newest.port)
        self._prompt.paired_otherwise(peer_id)
        self._attempts.cancel(peer_id, AttemptEnd.SUPERSEDED, now)
        self._list_changed = True
        self._links.share_peers(now, sender=peer_id)

    def _begin_link(self, peer_id: PeerId, pause_s: float, now: float) -> None:
        peer = self._pairings.paired().get(peer_id)
        if peer is not None and self._sync_enabled and self._is_running:
            self._links.add(peer, now)
            self._links.call_at(peer_id, now + pause_s)

    def _ended_by_peer(self, peer_id: PeerId, now: float) -> None:
        """Unpair a device because it has unpaired us."""
        peer = self._pairings.paired()[peer_id]
        self._sharing.ended_by_peer(peer_id)
        self._links.drop(peer_id, "the peer has unpaired us", now)
        self._no_longer_paired(peer, now, sender=peer_id)

    def _no_longer_paired(
        self, peer: PairedPeer, now: float, *, sender: PeerId | None = None
    ) -> None:
        self._prompt.forget_proof(peer.peer_id)
        self._list_changed = True
        self._do(Emit(Unpaired(format_id(peer.peer_id), peer.name)))
        self._links.share_peers(now, sender=sender)

    def _parse(self, peer: str) -> PeerId:
        peer_id = parse_id(peer)
        if peer_id == self._parts.own_id:
            raise PairingError(f"{peer} is this device itself")
        return peer_id


def _row(
    peer_id: PeerId, name: str, ip_address: str | None, port: int | None, paired: bool
) -> dict[str, JsonValue]:
    """Return one row of `$.peers`."""
    return {
        "id": format_id(peer_id),
        "name": name,
        "ipAddress": ip_address,
        "port": port,
        "paired": paired,
        "connected": False,
    }
