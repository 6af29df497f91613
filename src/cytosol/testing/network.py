"""A network in memory and in virtual time: datagrams that get lost, streams that stall.

Datagrams may be lost, doubled, late and out of order. Streams keep their order, as TCP does: a
lost segment comes later, a partition silences them, and one that is silent for too long breaks.
Partitions have a direction, so that one side may hear what the other says and not be heard.
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cytosol.testing.clock import VirtualClock

__all__ = ["Conditions", "Host", "Stream", "StreamUser", "VirtualNetwork"]

RETRY_FIRST_S: Final = 0.2  # as TCP: a segment is sent again after so long, then twice as long
RETRY_MAX_S: Final = 5.0
BROKEN_AFTER_S: Final = 60.0  # of silence with something to send
DIAL_TIMEOUT_S: Final = 10.0

_SECONDS: Final = (math.inf, "a number of seconds, 0 or more")
_RANGES: Final[dict[str, tuple[float, str]]] = {
    "loss": (1, "a fraction from 0 to 1 (0.3 loses 30 % of all packets)"),
    "duplicates": (1, "a fraction from 0 to 1 (0.3 doubles 30 % of all packets)"),
    "delay_s": _SECONDS,
    "jitter_s": _SECONDS,
}
"""The most that each condition may be, and what it is in words."""


@dataclass(slots=True)
class Conditions:
    """How well the network works; change it at any time.

    `loss` and `duplicates` are probabilities of a packet, from 0 to 1, `delay_s` is how long it
    takes at least, and `jitter_s` by how much longer at most: beyond the gap between two datagrams
    they change places. Anything else raises ValueError or TypeError.
    """

    loss: float = 0.0
    duplicates: float = 0.0
    delay_s: float = 0.002
    jitter_s: float = 0.002
    broadcast: bool = True
    """False: broadcasts reach nobody, as in many guest networks."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set one of them, also when they are made; a test that sets nonsense would test nothing.

        Raises AttributeError for what is none of them.
        """
        if name == "broadcast":
            if type(value) is not bool:
                raise TypeError(f"conditions.broadcast is True or False, not {value!r}")
        elif name in _RANGES:
            most, words = _RANGES[name]
            if type(value) not in (int, float):
                raise TypeError(f"conditions.{name} is {words}, not {value!r}")
            if not 0 <= value <= most or value == math.inf:
                raise ValueError(f"conditions.{name} is {words}, not {value!r}")
        else:
            raise AttributeError(
                f"the conditions of a network have no {name!r}; there are "
                f"{', '.join(_RANGES)} and broadcast"
            )
        object.__setattr__(self, name, value)


class StreamUser(Protocol):
    """Whom the network tells what happens to a stream."""

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Take bytes."""

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """Take note that a stream ended without our doing."""


class Host(Protocol):
    """What is plugged into the network under one address."""

    ip_address: str
    udp_port: int

    def datagram(self, data: bytes, address: tuple[str, int]) -> None:
        """Take a datagram."""

    def listens(self, port: int) -> bool:
        """Tell whether anybody listens on a port."""

    def accept(self, port: int, stream: Stream) -> StreamUser:
        """Take a stream that somebody opened."""


class Stream:
    """One end of a stream; `other` is the other one."""

    __slots__ = (
        "_attempts", "_network", "_outbox", "_silent_since", "_timer",
        "host", "ip_address", "is_open", "other", "user",
    )  # fmt: skip

    def __init__(
        self, network: VirtualNetwork, host: Host, ip_address: str, user: StreamUser | None
    ) -> None:
        self._network = network
        self._outbox: deque[bytes | None] = deque()  # None: the end of the stream
        self._timer = False
        self._attempts = 0
        self._silent_since: float | None = None
        self.host = host
        self.ip_address = ip_address  # of the other end
        self.user = user
        self.other: Stream | None = None
        self.is_open = True

    def send(self, data: bytes) -> None:
        """Send bytes; they arrive in order, some time, or the stream is lost."""
        if self.is_open:
            self._outbox.append(data)
            self._plan(self._network.transit_s())

    def close(self, *, abort: bool = False) -> None:
        """Close after what was sent; with `abort` at once."""
        if self.is_open:
            self.is_open = False
            if abort:
                self._outbox.clear()
            self._outbox.append(None)
            self._plan(self._network.transit_s())

    def vanish(self) -> None:
        """Be gone without a word."""
        self.is_open = False
        self._outbox.clear()

    def _plan(self, delay_s: float) -> None:
        if not self._timer:
            self._timer = True
            self._network.clock.call_later(delay_s, self._carry)

    def _carry(self) -> None:
        """Carry what waits to the other end, or try again later."""
        self._timer = False
        other, network = self.other, self._network
        if not self._outbox or other is None:
            return
        here, there = self.host.ip_address, self.ip_address
        if not network.passes(here, there) or not network.is_plugged_in(there):
            self._try_again()
            return
        self._attempts, self._silent_since = 0, None
        if network.host_at(there) is not other.host or not (other.is_open or self._ends_only()):
            self._outbox.clear()
            self._lose("the other side reset the connection")
            return
        waiting, self._outbox = self._outbox, deque()
        for data in waiting:
            if data is None:
                other.lose("the other side closed the connection")
            elif other.is_open and other.user is not None:
                network.note(data)
                network.stream_bytes[here, there] += len(data)
                for piece in network.pieces(data):
                    if other.is_open:
                        other.user.stream_data(other, piece)

    def _ends_only(self) -> bool:
        return all(data is None for data in self._outbox)

    def _try_again(self) -> None:
        now = self._network.clock.now
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > BROKEN_AFTER_S:
            self._outbox.clear()
            self._lose("the other side is silent")
            return
        self._plan(min(RETRY_FIRST_S * 2**self._attempts, RETRY_MAX_S))
        self._attempts += 1

    def _lose(self, reason: str) -> None:
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """End a stream that is open, and tell its user."""
        if self.is_open:
            self.is_open = False
            if self.user is not None:
                self.user.stream_lost(self, reason)


class VirtualNetwork:
    """All hosts, and what is between them."""

    def __init__(self, clock: VirtualClock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.conditions = Conditions()
        self.fingerprint = 0
        """A checksum over all that was carried and when: equal worlds have the same."""
        self.stream_bytes: Counter[tuple[str, str]] = Counter()
        """How many bytes came out of streams, by the addresses of sender and receiver."""
        self._hosts: dict[str, Host] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._ports = itertools.count(20_000)

    def free_port(self) -> int:
        """Return a port that nobody has."""
        return next(self._ports)

    # --- Hosts and partitions ------------------------------------------------------------

    def plug_in(self, host: Host) -> None:
        """Let a host take part."""
        self._hosts[host.ip_address] = host

    def unplug(self, host: Host) -> None:
        """Take a host away; what is sent to it finds nobody."""
        if self._hosts.get(host.ip_address) is host:
            del self._hosts[host.ip_address]

    def host_at(self, ip_address: str) -> Host | None:
        """Return the host with an address."""
        return self._hosts.get(ip_address)

    def is_plugged_in(self, ip_address: str) -> bool:
        """Tell whether anybody has an address."""
        return ip_address in self._hosts

    def block(self, sender: str, receiver: str) -> None:
        """Let nothing pass from one address to another; the other direction stays."""
        self._blocked.add((sender, receiver))

    def unblock(self, sender: str, receiver: str) -> None:
        """Let pass again what comes from one address to another."""
        self._blocked.discard((sender, receiver))

    @property
    def is_parted(self) -> bool:
        """Whether a partition stands somewhere."""
        return bool(self._blocked)

    @property
    def is_calm(self) -> bool:
        """Whether everything arrives, once."""
        conditions = self.conditions
        return not (self._blocked or conditions.loss or conditions.duplicates)

    def heal(self) -> None:
        """End all partitions."""
        self._blocked.clear()

    # --- What happens to a packet --------------------------------------------------------

    def is_blocked(self, sender: str, receiver: str) -> bool:
        """Tell whether a partition stands between two addresses, in this direction."""
        return (sender, receiver) in self._blocked

    def passes(self, sender: str, receiver: str) -> bool:
        """Tell whether a packet arrives: chance decides, and partitions."""
        if (sender, receiver) in self._blocked:
            return False
        loss = self.conditions.loss
        return not loss or self.chance.random() >= loss

    def transit_s(self) -> float:
        """Return how long a packet takes."""
        conditions = self.conditions
        return conditions.delay_s + conditions.jitter_s * self.chance.random()

    def pieces(self, data: bytes) -> list[bytes]:
        """Return data as it comes out of a stream: now and then in two pieces."""
        if len(data) > 1 and self.chance.random() < 0.1:
            cut = self.chance.randrange(1, len(data))
            return [data[:cut], data[cut:]]
        return [data]

    def note(self, data: bytes) -> None:
        """Let the fingerprint know of data that arrives."""
        self.fingerprint = zlib.crc32(data, self.fingerprint ^ int(self.clock.now * 1e6) % 2**32)

    # --- Datagrams -----------------------------------------------------------------------

    def broadcast(self, sender: Host, data: bytes) -> None:
        """Send a datagram to all other hosts."""
        if self.conditions.broadcast:
            for host in list(self._hosts.values()):
                if host is not sender:
                    self._send(sender, host, data)

    def send(self, sender: Host, data: bytes, ip_address: str, port: int) -> None:
        """Send a datagram to one address and port."""
        host = self._hosts.get(ip_address)
        if host is not None and host is not sender and host.udp_port == port:
            self._send(sender, host, data)

    def _send(self, sender: Host, receiver: Host, data: bytes) -> None:
        here, there = sender.ip_address, receiver.ip_address
        copies = 1 + (self.chance.random() < self.conditions.duplicates)
        address = here, sender.udp_port
        for _ in range(copies):
            if self.passes(here, there):
                self.clock.call_later(
                    self.transit_s(), lambda: self._arrive(receiver, data, address)
                )

    def _arrive(self, receiver: Host, data: bytes, address: tuple[str, int]) -> None:
        if self._hosts.get(receiver.ip_address) is receiver:
            self.note(data)
            receiver.datagram(data, address)

    # --- Streams -------------------------------------------------------------------------

    def dial(
        self,
        host: Host,
        ip_address: str,
        port: int,
        user: StreamUser,
        connected: Callable[[Stream], None],
        failed: Callable[[str], None],
    ) -> Stream:
        """Open a stream; one of the two calls is made later, unless it is closed before."""
        stream = Stream(self, host, ip_address, user)
        give_up_at = self.clock.now + DIAL_TIMEOUT_S

        def knock(pause_s: float) -> None:
            if not stream.is_open:
                return
            target = self._hosts.get(ip_address)
            there, back = host.ip_address, ip_address
            if target is None or not (self.passes(there, back) and self.passes(back, there)):
                if self.clock.now + pause_s > give_up_at:
                    stream.is_open = False
                    failed("no answer")
                else:
                    self.clock.call_later(pause_s, lambda: knock(2 * pause_s))
                return
            if not target.listens(port):
                stream.is_open = False
                failed("the connection was refused")
                return
            other = Stream(self, target, host.ip_address, None)
            stream.other, other.other = other, stream
            other.user = target.accept(port, other)
            if stream.is_open:
                connected(stream)

        self.clock.call_later(2 * self.transit_s(), lambda: knock(1.0))
        return stream
