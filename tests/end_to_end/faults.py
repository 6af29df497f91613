"""Every fault that the doctor is shown, by the cause that it has to name."""

from __future__ import annotations

import shutil
import time
from typing import Any, Final

from cytosol.database.database import Database
from cytosol.protocol.seams import Refusal
from tests.end_to_end.clinic import LAPTOP, PHONE, PORT, Clinic, Fault, offline
from tests.end_to_end.lab import Cable, run
from tests.end_to_end.remote import APP_ID

__all__ = ["FAULTS"]

OTHER_APP = "82fe1111-2222-4333-8444-555566667777"  # its heartbeats use the same port
UNRELATED_APP = "00112233-4455-4677-8899-aabbccddeeff"


# --- The laptop's way to the network --------------------------------------------------------


def no_interface(clinic: Clinic) -> None:
    """The adapter is gone."""
    clinic.laptop.ip("link", "del", "eth0")


def interface_down(clinic: Clinic) -> None:
    """Switched off."""
    clinic.laptop.ip("link", "set", "eth0", "down")


def no_carrier(clinic: Clinic) -> None:
    """The cable is out."""
    clinic.cables["laptop"].pull()


def no_ipv4_address(clinic: Clinic) -> None:
    """IPv6 is left."""
    clinic.laptop.ip("-4", "addr", "flush", "dev", "eth0")


def no_broadcast_interface(clinic: Clinic) -> None:
    """A netmask for one host."""
    readdress(clinic, "laptop", f"{LAPTOP}/32")


def self_assigned_address(clinic: Clinic) -> None:
    """As without DHCP."""
    readdress(clinic, "laptop", "169.254.7.7/16")


def readdress(clinic: Clinic, name: str, address: str) -> None:
    """Give a host another address."""
    host = clinic.laptop if name == "laptop" else clinic.phone
    host.ip("-4", "addr", "flush", "dev", "eth0")
    host.ip("addr", "add", address, "broadcast", "+", "dev", "eth0")


def broadcast_blocked(clinic: Clinic) -> None:
    """The laptop's own firewall refuses broadcasts."""
    clinic.firewall(clinic.laptop, "output", "fib daddr type broadcast drop")


def sending_blocked(clinic: Clinic) -> None:
    """The laptop's own firewall refuses all UDP."""
    clinic.firewall(clinic.laptop, "output", "meta l4proto udp drop")


def no_route(clinic: Clinic) -> None:
    """The routes to the laptop's own network are gone."""
    clinic.laptop.ip("route", "del", "broadcast", "10.77.0.255", "dev", "eth0", "table", "local")
    clinic.laptop.ip("route", "del", "10.77.0.0/24")


def route_into_tunnel(clinic: Clinic) -> None:
    """A VPN that takes the local network, too."""
    clinic.laptop.ip("tuntap", "add", "dev", "tun0", "mode", "tun")
    clinic.laptop.ip("addr", "add", "10.9.0.2/32", "dev", "tun0")
    clinic.laptop.ip("link", "set", "tun0", "up")
    for half in ("10.77.0.0/25", "10.77.0.128/25"):
        clinic.laptop.ip("route", "add", half, "dev", "tun0", "src", "10.9.0.2")


def port_taken(clinic: Clinic) -> None:
    """A program that does not share."""
    clinic.program(
        clinic.laptop,
        "import socket\n"
        "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"sock.bind(('', {PORT}))\n"
        "print('ready', flush=True)\n"
        "while True: sock.recv(1000)",
    )


def udp_in_blocked(clinic: Clinic) -> None:
    """As firewalls of desktops do."""
    clinic.firewall(clinic.laptop, "input", "iif lo accept", "meta l4proto udp drop")


def answers_blocked(clinic: Clinic) -> None:
    """Somebody opened the one port that the documentation names."""
    clinic.firewall(clinic.laptop, "input", "iif lo accept", f"udp dport != {PORT} drop")


def tcp_in_blocked(clinic: Clinic) -> None:
    """Only connections that the laptop opens itself."""
    clinic.firewall(clinic.laptop, "input", "iif lo accept", "meta l4proto tcp ct state new drop")


# --- The laptop's file --------------------------------------------------------------------


def file_in_use(clinic: Clinic) -> None:
    """The app runs."""
    clinic.start("laptop", clinic.laptop, clinic.file, app_id=APP_ID)


def file_damaged(clinic: Clinic) -> None:
    """It is no file of ours."""
    clinic.file.write_bytes(b"This was a database once.\n" * 1000)


def file_missing(clinic: Clinic) -> None:
    """It was moved away."""
    clinic.file.rename(clinic.file.with_name("elsewhere"))


def wrong_codes(count: int) -> Any:
    """Codes were tried a moment ago."""
    return lambda database, _: database._pairings.set_wrong_codes(count, time.time())


def clock_wrong(database: Database, clinic: Clinic) -> None:
    """The pairing was noted in the future: the clock was set back since."""
    database._pairings.add(clinic.paired("phone", since_s=time.time() + 86_400), True)


def peer_refused(database: Database, clinic: Clinic) -> None:
    """The phone was unpaired here."""
    database._pairings.add(clinic.paired("phone"), True)
    phone = clinic.paired("phone")
    database._pairings.refuse({phone.peer_id: Refusal(phone.public_key, 1_770_000_000.0)})


def peer_key_changed(database: Database, clinic: Clinic) -> None:
    """The phone had another key when it was paired."""
    another = clinic.identities["laptop"][1]
    database._pairings.add(clinic.paired("phone", public_key=another), True)


# --- Between the two ----------------------------------------------------------------------


def broadcasts_lost(clinic: Clinic) -> None:
    """The switch drops broadcasts, as guest networks do."""
    clinic.cables["laptop"].block_broadcasts(clinic.cables["phone"])
    clinic.cables["phone"].block_broadcasts(clinic.cables["laptop"])


def netmask_mismatch(clinic: Clinic) -> None:
    """The phone believes in a larger network."""
    readdress(clinic, "phone", f"{PHONE}/16")


def behind_router(clinic: Clinic) -> None:
    """The phone is in the network of another room, which can be reached."""
    away, router = clinic.lab.switch("away"), clinic.lab.host("router")
    Cable(router, "eth0", clinic.switch, "10.77.0.254/24")
    Cable(router, "eth1", away, "10.78.0.1/24")
    run(*router.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
    move_phone(clinic)
    clinic.laptop.ip("route", "add", "default", "via", "10.77.0.254")
    Cable(clinic.phone, "eth1", away, "10.78.0.2/24")
    clinic.phone.ip("route", "add", "default", "via", "10.78.0.1")


def move_phone(clinic: Clinic) -> None:
    """Take the phone out of the laptop's network."""
    clinic.phone.ip("link", "del", "eth0")


def client_isolation(clinic: Clinic) -> None:
    """The switch delivers broadcasts only."""
    clinic.firewall(
        clinic.switch, "forward", "ether daddr & 01:00:00:00:00:00 == 0 drop", family="bridge"
    )


def mtu_black_hole(clinic: Clinic) -> None:
    """Something on the way drops large packets without a word."""
    clinic.firewall(clinic.switch, "forward", "meta length > 1000 drop", family="bridge")


def packet_loss(clinic: Clinic) -> None:
    """A third of all packets is lost in each direction."""
    clinic.firewall(clinic.switch, "forward", "numgen random mod 100 < 35 drop", family="bridge")


def clone(clinic: Clinic) -> None:
    """A copy of the laptop's file runs on another host."""
    host = clinic.lab.host("clone")
    Cable(host, "eth0", clinic.switch, "10.77.0.3/24")
    copy = clinic.phone_file.with_name("clone.cytosol")
    shutil.copy(clinic.file, copy)
    clinic.start("clone", host, copy, app_id=APP_ID)


def address_conflict(clinic: Clinic) -> None:
    """Somebody gave the address of the phone to a tablet, too."""
    host = clinic.lab.host("tablet")
    Cable(host, "eth0", clinic.switch, f"{PHONE}/24")
    clinic.start("tablet", host, clinic.phone_file.with_name("tablet.cytosol"), app_id=APP_ID)


def other_version(clinic: Clinic) -> None:
    """The phone's app has heartbeats of a format that came later."""
    clinic.program(
        clinic.phone,
        "import signal\n"
        "import cytosol\n"
        "import cytosol.wire.heartbeat\n"
        "cytosol.wire.heartbeat.MAGIC += 1\n"
        f"database = cytosol.open({str(clinic.phone_file)!r}, app_id={APP_ID!r})\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n",
    )


# --- The phone ----------------------------------------------------------------------------


def peer_unpaired_us(clinic: Clinic) -> None:
    """The phone has unpaired the laptop."""
    with offline(clinic.phone_file) as database:
        refused = Refusal(clinic.paired("laptop").public_key, 1_770_000_000.0)
        database._pairings.refuse({clinic.identities["laptop"][0]: refused})


def peer_silent(clinic: Clinic) -> None:
    """The phone's firewall lets nothing through in either direction."""
    clinic.firewall(clinic.phone, "input", "iif != lo drop")
    clinic.firewall(clinic.phone, "output", "oif != lo drop")


def peer_firewall(clinic: Clinic) -> None:
    """The phone's firewall lets in answers only."""
    clinic.firewall(clinic.phone, "input", "iif != lo ct state new drop")


def peer_udp_blocked(clinic: Clinic) -> None:
    """The phone's firewall lets no UDP in."""
    clinic.firewall(clinic.phone, "input", "meta l4proto udp drop")


def peer_tcp_blocked(clinic: Clinic) -> None:
    """The phone's firewall lets no new TCP connection in."""
    clinic.firewall(clinic.phone, "input", "meta l4proto tcp ct state new drop")


def peer_tcp_refused(clinic: Clinic) -> None:
    """The phone's firewall resets new TCP connections."""
    clinic.firewall(clinic.phone, "input", "meta l4proto tcp ct state new reject with tcp reset")


def strange_gateway(clinic: Clinic) -> None:
    """Something on the phone takes connections that were meant for the app."""
    clinic.program(
        clinic.phone,
        "import socket\n"
        "server = socket.create_server(('0.0.0.0', 2222))\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    stream, _ = server.accept()\n"
        "    stream.sendall(b'SSH-2.0-OpenSSH_9.6 and more than that\\r\\n')\n",
    )
    clinic.nat(clinic.phone, "ip saddr 10.77.0.1 tcp dport 1025-65535 redirect to :2222")


PATIENT: Final = ("--wait", "80")  # to hear a heartbeat of a device that does not answer
FULL: Final = (
    "cp -a {folder} {folder}.kept",
    "mount -t tmpfs -o size=1m tmpfs {folder}",
    "cp -a {folder}.kept/. {folder}",
    "(dd if=/dev/zero of={folder}/filler bs=1k 2>/dev/null || true)",
)
READ_ONLY: Final = ("mount --bind {folder} {folder}", "mount -o remount,bind,ro {folder}")

FAULTS: Final[dict[str, Fault]] = {
    "no_interface": Fault(network=no_interface),
    "interface_down": Fault(network=interface_down),
    "no_carrier": Fault(network=no_carrier),
    "no_ipv4_address": Fault(network=no_ipv4_address),
    "no_broadcast_interface": Fault(network=no_broadcast_interface),
    "self_assigned_address": Fault(network=self_assigned_address),
    "broadcast_blocked": Fault(network=broadcast_blocked),
    "sending_blocked": Fault(network=sending_blocked),
    "no_route": Fault(network=no_route),
    "route_into_tunnel": Fault(network=route_into_tunnel),
    "port_taken": Fault(network=port_taken),
    "udp_in_blocked": Fault(network=udp_in_blocked),
    "answers_blocked": Fault(network=answers_blocked),
    "tcp_in_blocked": Fault(network=tcp_in_blocked),
    "file_missing": Fault(network=file_missing),
    "file_in_use": Fault(network=file_in_use),
    "file_damaged": Fault(network=file_damaged),
    "file_not_writable": Fault(before=READ_ONLY),
    "disk_full": Fault(before=FULL),
    "file_of_other_app": Fault(arguments=("--app-id", UNRELATED_APP)),
    "pairing_paused": Fault(file=wrong_codes(3)),
    "pairing_stopped": Fault(file=wrong_codes(10)),
    "clock_wrong": Fault(file=clock_wrong),
    "broadcasts_lost": Fault(network=broadcasts_lost),
    "netmask_mismatch": Fault(network=netmask_mismatch),
    "other_subnet": Fault(network=behind_router, phone_address="10.78.0.2"),
    "client_isolation": Fault(network=client_isolation, arguments=PATIENT),
    "mtu_black_hole": Fault(network=mtu_black_hole),
    "packet_loss": Fault(network=packet_loss),
    "clone": Fault(network=clone),
    "address_conflict": Fault(network=address_conflict),
    "other_version": Fault(network=other_version, phone=None, arguments=PATIENT),
    "other_app_id": Fault(
        phone={"app_id": OTHER_APP}, is_paired=False, is_phone_new=True, arguments=PATIENT
    ),
    "nobody_heard": Fault(phone=None, is_paired=False),
    "not_paired": Fault(is_paired=False),
    "peer_refused": Fault(file=peer_refused, is_paired=False),
    "peer_not_paired": Fault(is_known_to_phone=False),
    "peer_unpaired_us": Fault(network=peer_unpaired_us),
    "peer_sync_off": Fault(phone={"sync_enabled": False}),
    "peer_key_changed": Fault(file=peer_key_changed),
    "peer_hidden": Fault(
        phone={"visible_to_peers": False}, is_paired=False, arguments=("--peer", PHONE)
    ),
    "peer_not_running": Fault(phone=None),
    "peer_gone": Fault(network=move_phone, phone=None),
    "peer_silent": Fault(network=peer_silent),
    "peer_firewall": Fault(network=peer_firewall, arguments=PATIENT),
    "peer_udp_blocked": Fault(network=peer_udp_blocked),
    "peer_tcp_blocked": Fault(network=peer_tcp_blocked),
    "peer_tcp_refused": Fault(network=peer_tcp_refused),
    "strange_gateway": Fault(network=strange_gateway),
}
"""Named as the causes are."""
