"""Why devices do not see each other: every cause that the doctor knows, and what to do about it.

The names are a promise to scripts, and are listed in docs/how-to/devices-do-not-see-each-other.md.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["WORDS", "Cause"]


class Cause(enum.Enum):
    """One reason; its value is the name that scripts see."""

    # This device's way to the network
    NO_INTERFACE = "no_interface"
    INTERFACE_DOWN = "interface_down"
    NO_CARRIER = "no_carrier"
    NO_IPV4_ADDRESS = "no_ipv4_address"
    NO_BROADCAST_INTERFACE = "no_broadcast_interface"
    SELF_ASSIGNED_ADDRESS = "self_assigned_address"
    BROADCAST_BLOCKED = "broadcast_blocked"
    SENDING_BLOCKED = "sending_blocked"
    NO_ROUTE = "no_route"
    ROUTE_INTO_TUNNEL = "route_into_tunnel"
    PORT_TAKEN = "port_taken"
    UDP_IN_BLOCKED = "udp_in_blocked"
    ANSWERS_BLOCKED = "answers_blocked"
    TCP_IN_BLOCKED = "tcp_in_blocked"
    # This device's file and settings
    FILE_MISSING = "file_missing"
    FILE_IN_USE = "file_in_use"
    FILE_DAMAGED = "file_damaged"
    FILE_NOT_WRITABLE = "file_not_writable"
    DISK_FULL = "disk_full"
    FILE_OF_OTHER_APP = "file_of_other_app"
    NETWORK_OFF = "network_off"
    HIDDEN = "hidden"
    SYNC_OFF = "sync_off"
    PAIRING_PAUSED = "pairing_paused"
    PAIRING_STOPPED = "pairing_stopped"
    CLOCK_WRONG = "clock_wrong"
    INTERNAL_ERROR = "internal_error"
    # Between the devices
    BROADCASTS_LOST = "broadcasts_lost"
    NETMASK_MISMATCH = "netmask_mismatch"
    OTHER_SUBNET = "other_subnet"
    CLIENT_ISOLATION = "client_isolation"
    MTU_BLACK_HOLE = "mtu_black_hole"
    PACKET_LOSS = "packet_loss"
    CLONE = "clone"
    ADDRESS_CONFLICT = "address_conflict"
    OTHER_APP_ID = "other_app_id"
    OTHER_VERSION = "other_version"
    NOBODY_HEARD = "nobody_heard"
    # The other device
    NOT_PAIRED = "not_paired"
    PEER_REFUSED = "peer_refused"
    PEER_NOT_PAIRED = "peer_not_paired"
    PEER_UNPAIRED_US = "peer_unpaired_us"
    PEER_SYNC_OFF = "peer_sync_off"
    PEER_KEY_CHANGED = "peer_key_changed"
    PEER_HIDDEN = "peer_hidden"
    PEER_NOT_RUNNING = "peer_not_running"
    PEER_GONE = "peer_gone"
    PEER_SILENT = "peer_silent"
    PEER_FIREWALL = "peer_firewall"
    PEER_UDP_BLOCKED = "peer_udp_blocked"
    PEER_TCP_BLOCKED = "peer_tcp_blocked"
    PEER_TCP_REFUSED = "peer_tcp_refused"
    STRANGE_GATEWAY = "strange_gateway"


WORDS: Final[dict[Cause, tuple[str, str]]] = {
    Cause.NO_INTERFACE: (
        "this device has no network interface but loopback",
        "switch Wi-Fi on, or plug in a network adapter",
    ),
    Cause.INTERFACE_DOWN: (
        "every network interface of this device is switched off ({detail})",
        "switch it on, in the system's network settings",
    ),
    Cause.NO_CARRIER: (
        "the network interface has no connection ({detail})",
        "plug in the cable, or connect to a Wi-Fi network",
    ),
    Cause.NO_IPV4_ADDRESS: (
        "this device has no IPv4 address ({detail}), and devices find each other by IPv4",
        "let the system get an address automatically (DHCP), or give it one by hand",
    ),
    Cause.NO_BROADCAST_INTERFACE: (
        "no interface of this device can send broadcasts ({detail}), as with a VPN only or a "
        "netmask for one or two hosts",
        "connect to a local network, and check the netmask (usually 255.255.255.0)",
    ),
    Cause.SELF_ASSIGNED_ADDRESS: (
        "this device gave itself the address {detail}, because no router gave it one",
        "check the router and its DHCP, then reconnect",
    ),
    Cause.BROADCAST_BLOCKED: (
        "the system refuses to send broadcasts from {detail}",
        "allow this program outgoing UDP to the broadcast address, port {port}, in the firewall "
        "of this device",
    ),
    Cause.SENDING_BLOCKED: (
        "the system refuses to send any UDP from {detail}",
        "allow this program outgoing UDP in the firewall of this device",
    ),
    Cause.NO_ROUTE: (
        "this device has no route to {detail}",
        "connect both devices to the same network, or correct the routes of this device",
    ),
    Cause.ROUTE_INTO_TUNNEL: (
        "what this device sends into its local network goes into a VPN instead ({detail})",
        "end the VPN, or allow local network access in its settings (split tunnel)",
    ),
    Cause.PORT_TAKEN: (
        "another program has UDP port {port}, on which heartbeats arrive ({detail})",
        "end that program, or have it use another port",
    ),
    Cause.UDP_IN_BLOCKED: (
        "the firewall of this device drops heartbeats that arrive (UDP port {port}, on {detail})",
        "allow this program incoming UDP in the firewall of this device",
    ),
    Cause.ANSWERS_BLOCKED: (
        "the firewall of this device lets in UDP port {port} only, and drops answers to "
        "heartbeats, which come to other ports (on {detail})",
        "allow this program incoming UDP on all ports",
    ),
    Cause.TCP_IN_BLOCKED: (
        "{peer} heard this device and was to connect, and nothing arrived",
        "allow this program incoming TCP in the firewall of this device",
    ),
    Cause.FILE_MISSING: (
        "there is no file {detail}",
        "check its name, or begin a document with the app or with `cytosol run --new`",
    ),
    Cause.FILE_IN_USE: (
        "another program has the file open: {detail}",
        "close it there; or ask the doctor in that program, with db.doctor()",
    ),
    Cause.FILE_DAMAGED: (
        "the file cannot be read: {detail}",
        "restore a backup, or start with a new file and sync from another device",
    ),
    Cause.FILE_NOT_WRITABLE: (
        "the file cannot be written: {detail}",
        "allow this program to write the file and its folder",
    ),
    Cause.DISK_FULL: (
        "the disk is full, and nothing that arrives can be kept: {detail}",
        "free some space",
    ),
    Cause.FILE_OF_OTHER_APP: (
        "the file belongs to the app {detail}, and only devices of one app see each other",
        "use the same app id on all devices",
    ),
    Cause.NETWORK_OFF: (
        "this database was opened with network=False",
        "open it with the network",
    ),
    Cause.HIDDEN: (
        "this device hides from devices that it is not paired with (visible_to_peers=False)",
        "dispatch SetVisibleToPeers(True) while pairing",
    ),
    Cause.SYNC_OFF: (
        "syncing is switched off on this device (sync_enabled=False)",
        "dispatch SetSyncEnabled(True)",
    ),
    Cause.PAIRING_PAUSED: (
        "pairing is paused for {detail}, because wrong codes were tried",
        "wait, then pair again with the right code",
    ),
    Cause.PAIRING_STOPPED: (
        "pairing is stopped, because {detail} wrong codes were tried",
        "ask to pair again on this device, with RequestPair or SetVisibleToPeers(True)",
    ),
    Cause.CLOCK_WRONG: (
        "the clock of this device is wrong: {detail}",
        "set date and time, or let the system set them",
    ),
    Cause.INTERNAL_ERROR: (
        "something went wrong inside this program: {detail}",
        "close the database and open it again, and report this",
    ),
    Cause.BROADCASTS_LOST: (
        "broadcasts of this device do not reach {peer}, and what is sent to its address does",
        "allow broadcasts in the router or access point (guest networks and some switches drop "
        "them); paired devices still meet at addresses that they know",
    ),
    Cause.NETMASK_MISMATCH: (
        "this device and {peer} have different netmasks, so that neither knows the other's "
        "broadcast address (here: {detail})",
        "give all devices of the network the same netmask",
    ),
    Cause.OTHER_SUBNET: (
        "{peer} at {address} is in another network than this device ({detail}), and broadcasts "
        "stay in theirs",
        "connect both to the same network (the same Wi-Fi, no guest network)",
    ),
    Cause.CLIENT_ISOLATION: (
        "broadcasts of {peer} arrive here, and nothing can be sent to it: the network keeps its "
        "devices apart",
        "switch off client isolation (AP isolation) in the access point, or leave the guest "
        "network",
    ),
    Cause.MTU_BLACK_HOLE: (
        "small packets reach {peer}, and large ones get lost on the way",
        "lower the MTU of this device's interface (1280 is safe), or repair the router, VPN or "
        "tunnel between the devices",
    ),
    Cause.PACKET_LOSS: (
        "many packets between this device and {peer} get lost ({detail})",
        "go nearer to the access point, or use a cable",
    ),
    Cause.CLONE: (
        "another device, at {detail}, uses this device's identity: one of the two files is a copy",
        "keep one of the files, and let the other device start with a new one and pair",
    ),
    Cause.OTHER_APP_ID: (
        "a device with another app id is here, where one of this app was expected ({detail})",
        "use the same app id on all devices",
    ),
    Cause.ADDRESS_CONFLICT: (
        "two devices of this network have the same IP address {detail}, and what is sent to it "
        "reaches now the one, now the other",
        "let both get their addresses automatically (DHCP), or give each one of its own",
    ),
    Cause.OTHER_VERSION: (
        "a device of this app speaks another version of the protocol, and neither understands the "
        "other ({detail})",
        "update the app on both devices",
    ),
    Cause.NOBODY_HEARD: (
        "no device of this app answered or was heard",
        "start the app on another device of this network, visible to others; if it runs, "
        "name its address (--peer ADDRESS), or listen for longer (--wait 80)",
    ),
    Cause.NOT_PAIRED: (
        "{peer} is here, and is not paired with this device",
        "pair them: RequestPair on one of the two, AcceptPair with the code on the other",
    ),
    Cause.PEER_REFUSED: (
        "{peer} was unpaired on this device, or on one paired with it",
        "pair them again by hand",
    ),
    Cause.PEER_NOT_PAIRED: (
        "{peer} does not know that it is paired with this device, as after a reset",
        "unpair it here and pair the two again",
    ),
    Cause.PEER_UNPAIRED_US: (
        "{peer} has unpaired this device",
        "pair the two again by hand",
    ),
    Cause.PEER_SYNC_OFF: (
        "syncing is switched off on {peer}",
        "switch it on there, with SetSyncEnabled(True)",
    ),
    Cause.PEER_KEY_CHANGED: (
        "a device at {address} calls itself {peer}, with another key than was paired",
        "if you reset that device, unpair it here and pair again; else somebody pretends to be it",
    ),
    Cause.PEER_HIDDEN: (
        "the host at {address} is there, and neither refuses heartbeats nor answers them",
        "show the app there to others, with SetVisibleToPeers(True), and see whether it has the "
        "same app id",
    ),
    Cause.PEER_NOT_RUNNING: (
        "the host of {peer} at {address} is there, and the app does not run on it",
        "start the app there, with the same app id",
    ),
    Cause.PEER_GONE: (
        "no device has the address {address} any more at which {peer} was last",
        "switch {peer} on, and connect it to this network",
    ),
    Cause.PEER_SILENT: (
        "nothing at all comes from {peer}, last known at {address}",
        "see whether it is on, in this network, and runs the app; its firewall may drop "
        "everything, and --wait 80 listens for long enough to hear it by its broadcasts",
    ),
    Cause.PEER_FIREWALL: (
        "{peer} at {address} sends heartbeats, and nothing that is sent to it gets in",
        "allow the app incoming UDP and TCP in the firewall of {peer}",
    ),
    Cause.PEER_UDP_BLOCKED: (
        "{peer} at {address} can be reached by TCP, and hears no heartbeats",
        "allow the app incoming UDP in the firewall of {peer}",
    ),
    Cause.PEER_TCP_BLOCKED: (
        "{peer} at {address} hears heartbeats, and TCP connections to it get lost",
        "allow the app incoming TCP in the firewall of {peer}, and outgoing TCP in that of this "
        "device",
    ),
    Cause.PEER_TCP_REFUSED: (
        "{peer} at {address} hears heartbeats, and refuses TCP connections",
        "allow the app incoming TCP in the firewall of {peer}",
    ),
    Cause.STRANGE_GATEWAY: (
        "something else than {peer} answers at {address}",
        "see which program has this port there, and whether a proxy stands between",
    ),
}
"""For each cause what it is and what to do; `cytosol.database.diagnosis` fills in `{...}`."""
