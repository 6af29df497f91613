"""From what the probes saw to the causes: no clock, no socket, no file; one rule after the other.

A rule names a cause only if nothing that was named before explains the same silence: a device
whose cable is out says nothing about its partners, and a packet that a VPN took was not lost in
the access point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cytosol.database.causes import WORDS, Cause
from cytosol.limits import WRONG_CODES_PAUSE_AT, WRONG_CODES_PAUSE_S, WRONG_CODES_STOP_AT
from cytosol.model.ids import format_id
from cytosol.model.json import JsonValue
from cytosol.net.evidence import InterfaceSeen, Knock, NetworkSeen, PeerSeen, Reach, Reply

__all__ = ["DeviceSeen", "Diagnosis", "Finding", "diagnose"]

SLOW_DIALS_MAX = 0.2  # of all; each needs a packet in both directions
CLOCK_SLACK_S = 600.0
EARLIEST_CLOCK_S = 1_735_689_600.0  # the first of January 2025: older than this program
_REFUSALS = {"EPERM", "EACCES"}
# After these nothing is known about the way to any peer.
_OFFLINE = {
    Cause.NO_INTERFACE,
    Cause.INTERFACE_DOWN,
    Cause.NO_CARRIER,
    Cause.NO_IPV4_ADDRESS,
    Cause.NO_BROADCAST_INTERFACE,
}
# After these nothing is known about TCP to a peer, nor about heartbeats.
_CUT_OFF = {Cause.ROUTE_INTO_TUNNEL, Cause.NO_ROUTE, Cause.SENDING_BLOCKED}
# After these it is no wonder that nobody is heard.
_SILENCING = {
    Cause.ANSWERS_BLOCKED,
    Cause.BROADCAST_BLOCKED,
    Cause.NO_ROUTE,
    Cause.ROUTE_INTO_TUNNEL,
    Cause.SELF_ASSIGNED_ADDRESS,
    Cause.SENDING_BLOCKED,
    Cause.UDP_IN_BLOCKED,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: its name, a sentence, what to do, and which peer it is about (or None)."""

    code: str
    cause: str
    advice: str
    peer_id: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as a JSON object."""
        found: dict[str, JsonValue] = {
            "code": self.code,
            "cause": self.cause,
            "advice": self.advice,
            "peerId": self.peer_id,
        }
        return found


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor found: nothing, if this device and its partners see each other.

    `peers` has a JSON object for each device of the app that is paired or was heard: `id`, `name`,
    `address` (or None), `paired`, `connected` and `heard`.
    """

    findings: tuple[Finding, ...]
    peers: tuple[dict[str, JsonValue], ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def codes(self) -> tuple[str, ...]:
        """The names of the causes, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as a JSON object."""
        return {
            "healthy": self.is_healthy,
            "codes": list(self.codes),
            "findings": [finding.to_json() for finding in self.findings],
            "peers": [dict(peer) for peer in self.peers],
        }

    def __str__(self) -> str:
        if self.is_healthy:
            return "healthy: nothing keeps devices from seeing each other"
        return "\n".join(f"{each.code}: {each.cause}; {each.advice}" for each in self.findings)


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """What is known of this device beside the network; times in seconds since 1970."""

    file_faults: tuple[tuple[Cause, str], ...] = ()
    has_identity: bool = True  # False if the doctor was asked without a file, or cannot read it
    is_app_known: bool = True
    is_network_on: bool = True
    is_visible: bool = True
    is_sync_enabled: bool = True
    wrong_codes: int = 0
    wrong_code_s: float = 0.0
    now_s: float = EARLIEST_CLOCK_S
    latest_note_s: float = 0.0  # the latest time that was written into the file
    paired: int = 0


@dataclass(slots=True)
class _Case:
    """The findings so far."""

    device: DeviceSeen
    network: NetworkSeen | None
    findings: list[Finding] = field(default_factory=list)
    causes: set[Cause] = field(default_factory=set)

    def find(self, cause: Cause, detail: Any = "", peer: PeerSeen | None = None) -> None:
        words: dict[str, Any] = {"detail": detail, "peer": "", "address": "no known address"}
        words["port"] = "" if self.network is None else self.network.port
        if peer is not None:
            words["peer"] = repr(peer.name)
            if peer.addresses:
                words["address"] = peer.addresses[0][0]
        text, advice = (each.format(**words) for each in WORDS[cause])
        peer_id = None if peer is None or not peer.peer_id else format_id(peer.peer_id)
        self.findings.append(Finding(cause.value, text, advice, peer_id))
        self.causes.add(cause)


def diagnose(device: DeviceSeen, network: NetworkSeen | None) -> Diagnosis:
    """Name every cause that the evidence shows; `network` is None if nothing was probed."""
    case = _Case(device, network)
    for cause, detail in device.file_faults:
        case.find(cause, detail)
    _judge_settings(case)
    if network is None:
        return Diagnosis(tuple(case.findings))
    _judge_interfaces(case, network)
    if not case.causes & _OFFLINE:
        _judge_sending(case, network)
        _judge_receiving(case, network)
        if network.doubled:
            case.find(Cause.ADDRESS_CONFLICT, ", ".join(sorted(network.doubled)))
        for peer in network.peers.values():
            _judge_peer(case, network, peer)
        for peer in network.unknown:
            if not case.causes & _CUT_OFF:
                _judge_deaf(case, network, peer)
        _judge_neighbourhood(case, network)
    elif network.port_error is not None:
        _judge_receiving(case, network)
    if network.problems:
        case.find(Cause.INTERNAL_ERROR, network.problems[-1])
    return Diagnosis(tuple(case.findings), tuple(map(_describe, network.peers.values())))


def _describe(peer: PeerSeen) -> dict[str, JsonValue]:
    return {
        "id": format_id(peer.peer_id),
        "name": peer.name,
        "address": peer.addresses[0][0] if peer.addresses else None,
        "paired": peer.is_paired,
        "connected": peer.is_connected,
        "heard": peer.is_heard,
    }


# --- This device -------------------------------------------------------------------------


def _judge_settings(case: _Case) -> None:
    device = case.device
    if not device.is_network_on:
        case.find(Cause.NETWORK_OFF)
    if not device.is_visible:
        case.find(Cause.HIDDEN)
    if not device.is_sync_enabled:
        case.find(Cause.SYNC_OFF)
    if device.wrong_codes >= WRONG_CODES_STOP_AT:
        case.find(Cause.PAIRING_STOPPED, device.wrong_codes)
    elif device.wrong_codes >= WRONG_CODES_PAUSE_AT:
        # A time in the future counts as now (protocol/lockout.py).
        left = min(device.wrong_code_s, device.now_s) + WRONG_CODES_PAUSE_S - device.now_s
        if left > 0:
            case.find(Cause.PAIRING_PAUSED, f"{left:.0f} s")
    if device.now_s < EARLIEST_CLOCK_S:
        case.find(Cause.CLOCK_WRONG, "it shows a time before this program was written")
    elif device.now_s + CLOCK_SLACK_S < device.latest_note_s:
        behind = (device.latest_note_s - device.now_s) / 3600
        case.find(Cause.CLOCK_WRONG, f"it is {behind:,.1f} hours behind what the file notes")


def _judge_interfaces(case: _Case, network: NetworkSeen) -> None:
    if _usable(network):
        return
    outer = [each for each in network.interfaces if not each.is_loopback]
    capable = [each for each in outer if each.can_broadcast]
    with_carrier = [each for each in capable if each.has_carrier]
    if not capable and any(each.has_carrier and each.addresses for each in outer):
        case.find(Cause.NO_BROADCAST_INTERFACE, _names(outer))
    elif not capable:
        case.find(Cause.NO_INTERFACE)
    elif not any(each.is_up for each in capable):
        case.find(Cause.INTERFACE_DOWN, _names(capable))
    elif not with_carrier:
        case.find(Cause.NO_CARRIER, _names([each for each in capable if each.is_up]))
    elif not any(each.addresses for each in with_carrier):
        case.find(Cause.NO_IPV4_ADDRESS, _names(with_carrier))
    else:
        case.find(Cause.NO_BROADCAST_INTERFACE, _names(with_carrier))


def _usable(network: NetworkSeen) -> list[InterfaceSeen]:
    return [
        each
        for each in network.interfaces
        if each.networks and (network.is_loopback_enough or not each.is_loopback)
    ]


def _names(interfaces: list[InterfaceSeen]) -> str:
    return ", ".join(each.name for each in interfaces)


def _judge_sending(case: _Case, network: NetworkSeen) -> None:
    refused = {ip for ip, name in network.broadcast_errors.items() if name in _REFUSALS}
    is_all_refused = bool(network.direct_errors) and all(
        name in _REFUSALS for name in network.direct_errors.values()
    )
    if refused and is_all_refused:
        case.find(Cause.SENDING_BLOCKED, ", ".join(sorted(refused)))
    elif refused:
        case.find(Cause.BROADCAST_BLOCKED, ", ".join(sorted(refused)))
    lost = [ip for ip, name in network.broadcast_errors.items() if name not in _REFUSALS]
    if lost:
        case.find(Cause.NO_ROUTE, f"the broadcast address of {', '.join(sorted(lost))}")
    if network.detours:
        ways = {f"{each.target} by {each.via}, not {each.interface}" for each in network.detours}
        case.find(Cause.ROUTE_INTO_TUNNEL, "; ".join(sorted(ways)))
    addresses = [ip for each in _usable(network) for ip in each.addresses]
    is_alone = not any(peer.is_heard for peer in network.peers.values())
    if is_alone and all(ip.startswith("169.254.") for ip in addresses):
        case.find(Cause.SELF_ASSIGNED_ADDRESS, ", ".join(addresses))


def _judge_receiving(case: _Case, network: NetworkSeen) -> None:
    if network.port_error is not None:
        case.find(Cause.PORT_TAKEN, network.port_holder or network.port_error)
    if Cause.ROUTE_INTO_TUNNEL in case.causes:
        return  # our broadcasts may have gone there
    if network.unheard_broadcasts:
        case.find(Cause.UDP_IN_BLOCKED, ", ".join(sorted(network.unheard_broadcasts)))
    elif network.unheard_answers:
        case.find(Cause.ANSWERS_BLOCKED, ", ".join(sorted(network.unheard_answers)))


# --- Other devices -----------------------------------------------------------------------


def _judge_peer(case: _Case, network: NetworkSeen, peer: PeerSeen) -> None:
    if peer.has_other_key:
        case.find(Cause.PEER_KEY_CHANGED, peer=peer)
        return
    if not peer.is_paired:
        _judge_stranger(case, peer)
        return
    _judge_reply(case, peer)
    if case.causes & _CUT_OFF or any(ip in network.doubled for ip, _ in peer.addresses):
        return
    # Where every dial is lost, it is no matter of chance.
    if SLOW_DIALS_MAX * peer.dials <= peer.slow_dials < peer.dials:
        case.find(Cause.PACKET_LOSS, f"{peer.slow_dials} of {peer.dials} dials needed more", peer)
        return
    if not peer.noticed:
        if not peer.is_connected:
            _judge_deaf(case, network, peer)
        return
    _judge_broadcasts(case, network, peer)
    _judge_streams(case, network, peer)


def _judge_stranger(case: _Case, peer: PeerSeen) -> None:
    if not case.device.has_identity or (case.device.paired and not peer.is_named):
        return
    case.find(Cause.PEER_REFUSED if peer.is_refused else Cause.NOT_PAIRED, peer=peer)


def _judge_reply(case: _Case, peer: PeerSeen) -> None:
    """Name what the peer itself says."""
    match peer.reply:
        case Reply.NOT_PAIRED:
            case.find(Cause.PEER_NOT_PAIRED, peer=peer)
        case Reply.UNPAIRED:
            case.find(Cause.PEER_UNPAIRED_US, peer=peer)
        case Reply.SYNC_OFF:
            case.find(Cause.PEER_SYNC_OFF, peer=peer)
        case Reply.OTHER_VERSION:
            case.find(Cause.OTHER_VERSION, f"{peer.name!r} refuses what this one asks", peer)


def _judge_broadcasts(case: _Case, network: NetworkSeen, peer: PeerSeen) -> None:
    """Name why a peer that noticed us noticed no broadcast."""
    if Knock.BROADCAST in peer.noticed or Cause.BROADCAST_BLOCKED in case.causes:
        return
    networks = ", ".join(net for each in _usable(network) for net in each.networks)
    if not peer.is_near:
        case.find(Cause.OTHER_SUBNET, networks, peer)
    elif Knock.LIMITED in peer.noticed:
        case.find(Cause.NETMASK_MISMATCH, networks, peer)
    else:
        case.find(Cause.BROADCASTS_LOST, peer=peer)


def _judge_streams(case: _Case, network: NetworkSeen, peer: PeerSeen) -> None:
    """Name what is wrong with TCP between us and a peer that heard our heartbeats."""
    match peer.reach:
        case Reach.REFUSED:
            case.find(Cause.PEER_TCP_REFUSED, peer=peer)
        case Reach.STRANGE:
            case.find(Cause.STRANGE_GATEWAY, peer=peer)
        case Reach.OPEN:
            if peer.is_greeted and peer.takes_large is False:
                case.find(Cause.MTU_BLACK_HOLE, peer=peer)
            # With a clone about, it may have dialled that one.
            is_awaited = peer.reply is Reply.WELCOME and not network.clones
            if is_awaited and not peer.has_dialled:
                case.find(Cause.TCP_IN_BLOCKED, peer=peer)
        case Reach.SILENT | Reach.NO_HOST | Reach.NO_ROUTE:
            case.find(Cause.PEER_TCP_BLOCKED, peer=peer)


def _judge_deaf(case: _Case, network: NetworkSeen, peer: PeerSeen) -> None:
    """Name why a paired peer notices nothing of us."""
    if case.causes & {Cause.UDP_IN_BLOCKED, Cause.ANSWERS_BLOCKED}:
        return  # it may well have answered
    if Cause.SELF_ASSIGNED_ADDRESS in case.causes:
        return
    is_elsewhere = peer.addresses and not peer.is_near
    networks = ", ".join(net for each in _usable(network) for net in each.networks)
    others = [network.other_apps[ip] for ip, _ in peer.addresses if ip in network.other_apps]
    updated = [ip for ip, _ in peer.addresses if ip in network.other_versions]
    if updated:
        case.find(Cause.OTHER_VERSION, f"at {updated[0]}", peer)
    elif others:
        case.find(Cause.OTHER_APP_ID, f"{peer.addresses[0][0]}: {others[0]}", peer)
    elif peer.reach is Reach.OPEN and peer.is_paired:
        case.find(Cause.PEER_UDP_BLOCKED, peer=peer)
    elif peer.is_heard:
        isolated = not peer.heard_direct
        case.find(Cause.CLIENT_ISOLATION if isolated else Cause.PEER_FIREWALL, peer=peer)
    elif peer.port_is_closed:
        case.find(Cause.PEER_NOT_RUNNING, peer=peer)
    elif peer.reach is Reach.NO_ROUTE:
        case.find(Cause.NO_ROUTE, peer.addresses[0][0], peer)
    elif peer.reach is Reach.REFUSED and not peer.is_paired:
        case.find(Cause.PEER_HIDDEN, peer=peer)
    elif is_elsewhere:
        case.find(Cause.OTHER_SUBNET, networks, peer)
    else:
        case.find(Cause.PEER_GONE if peer.reach is Reach.NO_HOST else Cause.PEER_SILENT, peer=peer)


def _judge_neighbourhood(case: _Case, network: NetworkSeen) -> None:
    device = case.device
    if network.clones:
        case.find(Cause.CLONE, ", ".join(sorted(network.clones)))
    is_alone = not any(peer.is_heard for peer in network.peers.values())
    if is_alone and network.other_versions and Cause.OTHER_VERSION not in case.causes:
        case.find(Cause.OTHER_VERSION, f"at {', '.join(sorted(network.other_versions))}")
    elif is_alone and network.other_apps and Cause.OTHER_APP_ID not in case.causes:
        others = (f"{ip}: {app}" for ip, app in sorted(network.other_apps.items()))
        case.find(Cause.OTHER_APP_ID, ", ".join(others))
    elif (
        is_alone
        and not (network.peers or network.unknown)
        and not case.causes & _SILENCING
        and device.is_app_known
    ):
        case.find(Cause.NOBODY_HEARD)
