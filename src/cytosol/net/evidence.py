"""What the doctor's probes bring home: plain facts, no verdicts.

Verdicts are in `cytosol.database.diagnosis`, which sees nothing but these facts, so that each of
its rules can be shown any network.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from cytosol.model.ids import PeerId

__all__ = ["InterfaceSeen", "Knock", "NetworkSeen", "PeerSeen", "Reach", "Reply", "RouteSeen"]


class Knock(enum.Enum):
    """A way in which a heartbeat of ours reached a peer."""

    BROADCAST = "broadcast"  # to the broadcast address of our network
    LIMITED = "limited"  # to 255.255.255.255, which hosts with any netmask take
    DIRECT = "direct"  # to the peer's own address


class Reach(enum.Enum):
    """What became of a TCP dial, worst first."""

    NO_ROUTE = "no route"
    NO_HOST = "no host"  # nobody answers for the address on its network
    SILENT = "silent"
    REFUSED = "refused"
    STRANGE = "strange"  # somebody answers, and not as a Cytosol peer
    OPEN = "open"


class Reply(enum.Enum):
    """What a paired peer answered when we asked to connect."""

    WELCOME = "welcome"  # also when its own call is on its way
    NOT_PAIRED = "not paired"
    UNPAIRED = "unpaired"
    SYNC_OFF = "sync off"
    OTHER_VERSION = "other version"  # it does not know the request, or takes it otherwise


@dataclass(frozen=True, slots=True)
class InterfaceSeen:
    """One network interface as the system describes it; addresses are IPv4."""

    name: str
    is_up: bool
    has_carrier: bool
    is_loopback: bool
    can_broadcast: bool
    addresses: tuple[str, ...]
    networks: tuple[str, ...]
    """Its networks that broadcasts reach, such as 10.0.0.0/24; one of two hosts is too narrow."""


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A way that packets for `target`, in the network of `interface`, take instead: `via`."""

    interface: str
    target: str
    via: str


@dataclass(slots=True)
class PeerSeen:
    """All that was seen of one peer of our app; filled in while the probes run."""

    peer_id: PeerId
    name: str
    is_paired: bool = False
    is_refused: bool = False
    is_connected: bool = False
    is_named: bool = False  # the user gave its address
    addresses: list[tuple[str, int]] = field(default_factory=list)
    """Gateway addresses, those it has told itself lately first."""
    is_near: bool = True  # its newest address is in a network of ours, or not known
    has_other_key: bool = False
    heard_broadcast: bool = False
    heard_direct: bool = False
    noticed: set[Knock] = field(default_factory=set)
    """By which heartbeats of ours it noticed us: it answered them, or dialled what they named."""
    has_dialled: bool = False
    reach: Reach | None = None
    is_greeted: bool = False
    reply: Reply | None = None
    takes_large: bool | None = None
    """Whether a message of many packets' size was answered; None if it was not tried."""
    dials: int = 0
    slow_dials: int = 0  # of these, such as needed a packet sent again
    port_is_closed: bool = False  # its host says that nobody listens for heartbeats

    @property
    def is_heard(self) -> bool:
        """Whether anything came from it."""
        return bool(self.heard_broadcast or self.heard_direct or self.noticed or self.is_connected)


@dataclass(slots=True)
class NetworkSeen:
    """All that was seen of the network, from this device."""

    port: int
    interfaces: tuple[InterfaceSeen, ...] = ()
    is_loopback_enough: bool = False
    port_error: str | None = None
    port_holder: str | None = None  # the program that has the port, if the system tells
    broadcast_errors: dict[str, str] = field(default_factory=dict)
    """By address of ours: the name of the error with which the system refused a broadcast."""
    direct_errors: dict[str, str] = field(default_factory=dict)
    """By the peer's address: the same for heartbeats to one host."""
    detours: tuple[RouteSeen, ...] = ()
    unheard_broadcasts: set[str] = field(default_factory=set)
    """Addresses of ours whose broadcasts did not come back to our own heartbeat port."""
    unheard_answers: set[str] = field(default_factory=set)
    """The same for a port of ours such as answers come to."""
    peers: dict[PeerId, PeerSeen] = field(default_factory=dict)
    unknown: list[PeerSeen] = field(default_factory=list)
    """What is at addresses that the user gave, and where no peer was heard; without an id."""
    clones: set[str] = field(default_factory=set)
    """Addresses of others that send heartbeats under our own id."""
    other_apps: dict[str, str] = field(default_factory=dict)
    """App ids of others on the same port, by their addresses."""
    other_versions: set[str] = field(default_factory=set)
    """Addresses of devices of our app whose heartbeats have a format that we do not know."""
    doubled: set[str] = field(default_factory=set)
    """Addresses that two devices answer for, by the system's table of neighbours."""
    problems: tuple[str, ...] = ()
    """What the running network says that went wrong inside this program."""
