"""Discovery: our own heartbeats, the table of visible peers, and the answers to strangers.

Whoever can send a packet can send any heartbeat, so nothing here is proof of anything: the
table says whom to dial and which key to try, and the dial's authentication decides. What is
known better wins: a pinned key over every claim, an id that certifies its key over one that
does not, the first claim over later ones (seed: Discovery; spec: network, Discovery).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cytosol.crypto.keys import certifies
from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    CANDIDATES_MAX,
    HEARTBEAT_ANSWERS_PER_S,
    VISIBLE_PEERS_MAX,
)
from cytosol.model.ids import PeerId
from cytosol.protocol.effects import SendDatagram
from cytosol.protocol.inputs import DatagramReceived
from cytosol.protocol.machine import Machine, earliest, jittered
from cytosol.protocol.seams import PairingsSeam
from cytosol.wire.heartbeat import (
    Heartbeat,
    encode_heartbeat,
    heartbeat_port,
    parse_heartbeat,
)

__all__ = [
    "BEATS_S",
    "VISIBLE_S",
    "Candidate",
    "DiscoveryMachine",
    "Heard",
    "TableChanged",
    "VisiblePeer",
]

BEATS_S: Final = (1.0, 2.0, 6.0, 10.0, 30.0, 60.0)  # delays after the first; the last repeats
VISIBLE_S: Final = 180.0  # seed: removed after 3 minutes without a heartbeat
HIDDEN_ANSWER_S: Final = 30.0  # two hidden peers must not answer each other's answers for ever
KNOWN_ADDRESSES_MAX: Final = 32  # last known addresses that get a heartbeat of their own


@dataclass(frozen=True, slots=True)
class Heard:
    """Say that a heartbeat of a visible peer came; `is_new` when we did not know this address."""

    peer_id: PeerId
    is_new: bool


@dataclass(frozen=True, slots=True)
class TableChanged:
    """Say that the list of visible peers reads differently now."""


@dataclass(slots=True)
class Candidate:
    """One address at which a peer may be reached; `udp_port` is where its heartbeats leave."""

    ip_address: str
    port: int
    udp_port: int


@dataclass(slots=True)
class VisiblePeer:
    """A peer that was heard lately: the key it claims, and its addresses, newest first."""

    peer_id: PeerId
    public_key: bytes
    name: str
    is_certified: bool
    heard_at: float
    candidates: list[Candidate] = field(default_factory=list)


DiscoveryEffect: TypeAlias = SendDatagram | Heard | TableChanged


class DiscoveryMachine(Machine[DiscoveryEffect]):
    """Send heartbeats on schedule and keep the table of those that were received."""

    def __init__(
        self,
        *,
        app_id: bytes,
        own_id: PeerId,
        own_key: bytes,
        own_name: str,
        pairings: PairingsSeam,
        random_bytes: Callable[[int], bytes],
        visible: bool,
    ) -> None:
        super().__init__()
        self._app_id = app_id
        self._own_id = own_id
        self._own_key = own_key
        self._own_name = own_name
        self._pairings = pairings
        self._random_bytes = random_bytes
        self._visible = visible
        self._heartbeat: bytes | None = None  # None until the gateway's port is known
        self._beats = 0
        self._next_beat: float | None = None
        self._table: dict[PeerId, VisiblePeer] = {}
        self._next_expiry: float | None = None  # never later than the first real one
        self._answers: dict[PeerId, tuple[str, int]] = {}
        self._next_answer = float("-inf")
        self._answered_at: dict[PeerId, float] = {}

    # --- Inputs ------------------------------------------------------------------------

    def start(self, gateway_port: int, now: float) -> None:
        """Begin to send heartbeats that name this gateway port."""
        self._heartbeat = encode_heartbeat(
            Heartbeat(self._app_id, self._own_id, self._own_key, gateway_port, self._own_name)
        )
        self.restart_beats(now)

    def stop(self) -> None:
        """Send nothing more."""
        self._heartbeat = None
        self._next_beat = None
        self._answers.clear()

    def restart_beats(self, now: float) -> None:
        """Begin the schedule anew: an interface came up, or we became visible."""
        if self._heartbeat is not None:
            self._beats = 0
            self._beat(now)

    def set_visible(self, visible: bool, now: float) -> None:
        """Show ourselves to strangers, or hide from them from now on."""
        if visible == self._visible:
            return
        self._visible = visible
        if visible:
            self.restart_beats(now)
            return
        paired = self._pairings.paired()
        for peer_id in [each for each in self._answers if each not in paired]:
            del self._answers[peer_id]

    def receive(self, datagram: DatagramReceived, now: float) -> None:
        """Take a datagram; what is no valid heartbeat of another peer of this app is dropped."""
        try:
            heartbeat = parse_heartbeat(datagram.data)
        except RemoteProtocolError:
            return
        if heartbeat.app_id != self._app_id or heartbeat.peer_id == self._own_id:
            return
        paired = self._pairings.paired()
        pinned = paired.get(heartbeat.peer_id)
        if pinned is not None and pinned.public_key != heartbeat.public_key:
            return
        entry = self._entry_for(heartbeat, pinned is not None, now)
        if entry is None:
            return
        is_new = self._refresh(entry, heartbeat, datagram.address, now)
        self._consider_answer(entry.peer_id, datagram.address, is_new, pinned is not None, now)
        self._do(Heard(entry.peer_id, is_new))

    def pairings_changed(self) -> None:
        """Drop entries whose key turned out not to be the pinned one."""
        paired = self._pairings.paired()
        for peer_id, entry in list(self._table.items()):
            pinned = paired.get(peer_id)
            if pinned is not None and pinned.public_key != entry.public_key:
                self._forget(peer_id)

    def ping(self, ip_address: str, port: int | None) -> None:
        """Send one heartbeat to a host: to this UDP port, or to that of all heartbeats."""
        if self._heartbeat is not None:
            target = heartbeat_port(self._app_id) if port is None else port
            self._do(SendDatagram(self._heartbeat, (ip_address, target)))

    # --- Questions ---------------------------------------------------------------------

    def get(self, peer_id: PeerId, now: float) -> VisiblePeer | None:
        """Return a visible peer, or None."""
        entry = self._table.get(peer_id)
        return None if entry is None or now >= entry.heard_at + VISIBLE_S else entry

    def table(self) -> Mapping[PeerId, VisiblePeer]:
        """Return all visible peers by id."""
        return self._table

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the next heartbeat, answer or expiry is due."""
        return earliest(
            self._next_beat, self._next_expiry, self._next_answer if self._answers else None
        )

    def handle_timer(self, now: float) -> None:
        """Send what is due and forget who was silent for three minutes."""
        if self._next_beat is not None and now >= self._next_beat:
            self._beat(now)
        if self._answers and now >= self._next_answer:
            self._answer_next(now)
        if self._next_expiry is not None and now >= self._next_expiry:
            for peer_id, entry in list(self._table.items()):
                if now >= entry.heard_at + VISIBLE_S:
                    self._forget(peer_id)
            self._next_expiry = min(
                (entry.heard_at + VISIBLE_S for entry in self._table.values()), default=None
            )

    # --- Our heartbeats ----------------------------------------------------------------

    def _beat(self, now: float) -> None:
        """Send a heartbeat everywhere it may go, and set the time of the next."""
        assert self._heartbeat is not None
        if self._visible:
            self._do(SendDatagram(self._heartbeat))
        self._ping_known_addresses()
        delay = BEATS_S[min(self._beats, len(BEATS_S) - 1)]
        self._beats += 1
        self._next_beat = now + jittered(delay, self._random_bytes(1))

    def _ping_known_addresses(self) -> None:
        """Try where paired devices were last: broadcasts may be blocked, or we may be hidden."""
        targets: dict[tuple[str, int | None], None] = {}
        for peer_id in self._pairings.paired():
            entry = self._table.get(peer_id)
            if entry is None:
                targets.update(((ip, None), None) for ip, _ in self._pairings.addresses(peer_id))
            elif not self._visible:
                targets[entry.candidates[0].ip_address, entry.candidates[0].udp_port] = None
        for ip_address, port in list(targets)[:KNOWN_ADDRESSES_MAX]:
            self.ping(ip_address, port)

    # --- The table ---------------------------------------------------------------------

    def _entry_for(self, heartbeat: Heartbeat, is_paired: bool, now: float) -> VisiblePeer | None:
        """Return the entry that a heartbeat belongs to, made new if need be; None to ignore it."""
        entry = self.get(heartbeat.peer_id, now)
        if entry is not None and entry.public_key == heartbeat.public_key:
            return entry
        is_certified = certifies(heartbeat.peer_id, heartbeat.public_key)
        # With another key pinned the heartbeat was dropped before, and an entry with another
        # key was dropped when this one was pinned.
        if entry is not None and (entry.is_certified or not is_certified):
            return None
        self._forget(heartbeat.peer_id)
        if len(self._table) >= VISIBLE_PEERS_MAX and not self._evict() and not is_paired:
            return None
        entry = VisiblePeer(
            heartbeat.peer_id, heartbeat.public_key, heartbeat.name, is_certified, now
        )
        self._table[heartbeat.peer_id] = entry
        if self._next_expiry is None:
            self._next_expiry = now + VISIBLE_S
        return entry

    def _refresh(
        self, entry: VisiblePeer, heartbeat: Heartbeat, address: tuple[str, int], now: float
    ) -> bool:
        """Put the heartbeat's address first; tell whether it is a new one."""
        entry.heard_at = now
        ip_address, udp_port = address
        known = [
            each
            for each in entry.candidates
            if each.ip_address == ip_address and each.port == heartbeat.port
        ]
        others = [each for each in entry.candidates if each not in known]
        is_first_again = bool(known) and entry.candidates[0] is known[0]
        newest = Candidate(ip_address, heartbeat.port, udp_port)
        entry.candidates = [newest, *others]
        if len(entry.candidates) > CANDIDATES_MAX:
            # Who shouts a device's name with ever new ports pushes out its own inventions.
            counts = Counter(each.ip_address for each in entry.candidates)
            most = max(counts.values())
            surplus = [each for each in entry.candidates if counts[each.ip_address] == most]
            entry.candidates.remove(surplus[-1])
        if not is_first_again or entry.name != heartbeat.name:
            entry.name = heartbeat.name
            self._do(TableChanged())
        return not known

    def _evict(self) -> bool:
        """Make room: drop the oldest stranger of the address that fills the table most.

        So a flood from one host pushes out its own inventions and nobody else.
        """
        paired = self._pairings.paired()
        strangers = [each for each in self._table.values() if each.peer_id not in paired]
        if not strangers:
            return False
        counts = Counter(each.candidates[0].ip_address for each in strangers)
        victim = min(
            strangers, key=lambda each: (-counts[each.candidates[0].ip_address], each.heard_at)
        )
        self._forget(victim.peer_id)
        return True

    def _forget(self, peer_id: PeerId) -> None:
        if self._table.pop(peer_id, None) is not None:
            self._answers.pop(peer_id, None)
            self._answered_at.pop(peer_id, None)
            self._do(TableChanged())

    # --- Answers -----------------------------------------------------------------------

    def _consider_answer(
        self, peer_id: PeerId, address: tuple[str, int], is_new: bool, is_paired: bool, now: float
    ) -> None:
        """Answer an unknown peer, now or when the limit allows; never forget to.

        Hidden, we answer nobody but paired devices, and those again and again, because it is
        the only sign of life that they get from us.
        """
        if not self._visible:
            last = self._answered_at.get(peer_id, float("-inf"))
            if not is_paired or not (is_new or now >= last + HIDDEN_ANSWER_S):
                return
        elif not is_new:
            return
        self._answers[peer_id] = address  # bounded by the table: who leaves it is not answered
        if now >= self._next_answer:
            self._answer_next(now)

    def _answer_next(self, now: float) -> None:
        """Answer one peer: paired ones first, then in the order in which they came."""
        paired = self._pairings.paired()
        peer_id = next((each for each in self._answers if each in paired), None)
        if peer_id is None:
            peer_id = next(iter(self._answers))
        self._next_answer = now + 1.0 / HEARTBEAT_ANSWERS_PER_S
        self._answered_at[peer_id] = now
        self.ping(*self._answers.pop(peer_id))
