"""Attacks by heartbeats, on a real process; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import os
import socket

from cytosol.crypto.keys import make_key_pair
from cytosol.limits import VISIBLE_PEERS_MAX
from tests.hostile.cases import case
from tests.hostile.real_devices import Attacker, Field, wait_until

HEAD = b"\x05\x4d\x05\x15"


def listed(field: Field) -> list[str]:
    """Return whom the victim sees, after everything so far has been taken in."""
    sentinel = field.stranger(heard=False)
    sentinel.appear()
    rows: list[str] = field.victim.ask("meta", path="$.peers[*].name")
    return rows


@case("heartbeat flooding", "VISIBLE_PEERS_MAX", "STRANGER_BEATS_PER_S", "ADDRESS_BEATS_PER_S")
def test_a_flood_of_invented_devices(field: Field) -> None:
    """Heartbeat flooding: 3,000 identities fill the table to its 256, and the paired one stays."""
    for number in range(3_000):
        keys = make_key_pair(os.urandom(32))
        beat = field.stranger(heard=False).heartbeat(public_key=keys.public, peer_id=os.urandom(16))
        field.shout(beat, f"127.8.{number // 250}.{number % 250 + 1}")
    rows = field.victim.ask("meta", path="$.peers[*].id")
    assert len(rows) <= VISIBLE_PEERS_MAX
    assert field.witness.id in rows


@case("heartbeat flooding", "CANDIDATES_MAX")
def test_one_device_at_five_hundred_ports(field: Field) -> None:
    """Heartbeat flooding: of all addresses that one id claims, the newest four count."""
    stranger = field.stranger()
    for port in range(2_000, 2_500):
        field.shout(stranger.heartbeat(port=port), stranger.ip_address)
    stranger.appear()


@case("heartbeat flooding", "PAIRED_BEATS_PER_S")
def test_a_paired_device_at_three_thousand_addresses(field: Field) -> None:
    """Heartbeat flooding: a paired device that seems to be everywhere crowds out nobody."""
    mad = field.paired()
    for number in range(3_000):
        field.shout(mad.heartbeat(), f"127.8.{number // 250}.{number % 250 + 1}")
    field.stranger()
    assert field.witness.id in field.victim.ask("meta", path="$.peers[*].id")


@case("answer storms", "HEARTBEAT_ANSWERS_PER_S", "HEARTBEAT_ANSWERS_WAITING_MAX")
def test_a_storm_of_newcomers_is_answered_slowly(field: Field) -> None:
    """Answer storms: 500 newcomers at once get at most one answer a second in all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(("127.9.0.9", 0))
        port = field.heartbeat_port
        for _ in range(500):
            newcomer = Attacker(field, "127.9.0.9")
            sock.sendto(newcomer.heartbeat(), ("127.255.255.255", port))
        listed(field)
        sock.setblocking(False)
        answers = 0
        try:
            while sock.recv(400):
                answers += 1
        except BlockingIOError:
            pass
    assert answers <= 60, "two devices answered, each one a second at most"


@case("malformed messages", "HEARTBEAT_BYTES_MAX")
def test_datagrams_that_are_no_heartbeats(field: Field) -> None:
    """Malformed heartbeats: cut, padded, oversize and random ones show nobody."""
    good = field.stranger(heard=False).heartbeat("Ghost")
    for number in range(1_500):
        cut = good[: number % len(good)]
        field.shout(cut if number % 2 else HEAD + os.urandom(number % 600))
        field.shout(good + bytes(1 + number % 300))
    assert "Ghost" not in listed(field)


@case("heartbeat spoofing", "PEER_NAME_CODE_POINTS_MAX", "PEER_NAME_BYTES_MAX")
def test_names_that_deceive(field: Field) -> None:
    """Heartbeat spoofing: control and bidirectional characters go, and 64 code points are left."""
    stranger = field.stranger(heard=False)
    beat = stranger.heartbeat("x" * 200)
    for name in ("\u202eecila\x00\x1b[31m" + "A" * 190, "💻" * 63, "\u200f\u2066Witness"):
        data = name.encode()[:255]
        field.shout(beat[:70] + bytes([len(data)]) + data, stranger.ip_address)
    for name in listed(field):
        assert len(name) <= 64
        assert name.isprintable()


@case("heartbeat spoofing", "key swap")
def test_heartbeats_in_the_name_of_the_paired_device(field: Field) -> None:
    """Key swap: 500 heartbeats of the witness with other keys do not move it an inch."""
    thief = field.stranger(heard=False)
    for _ in range(500):
        keys = make_key_pair(os.urandom(32))
        beat = thief.heartbeat("Thief", peer_id=field.witness.peer_id, public_key=keys.public)
        field.shout(beat, thief.ip_address)
    assert "Thief" not in listed(field)
    assert field.knows(field.victim, field.witness)


@case("heartbeat spoofing", "CANDIDATES_MAX")
def test_copies_of_a_real_heartbeat_from_elsewhere(field: Field) -> None:
    """Heartbeat spoofing: false addresses of the witness do not break the connection with it."""
    thief = field.stranger(heard=False)
    for port in range(2_000, 2_200):
        beat = thief.heartbeat(
            "Witness", peer_id=field.witness.peer_id, public_key=field.witness.key, port=port
        )
        field.shout(beat, thief.ip_address)
    listed(field)
    assert field.knows(field.victim, field.witness)


@case("heartbeat spoofing", "GATEWAY_PORT_MIN")
def test_heartbeats_with_impossible_fields(field: Field) -> None:
    """Heartbeat spoofing: privileged ports, weak keys, our own id, ids of other apps."""
    stranger = field.stranger(heard=False)
    good = stranger.heartbeat("Ghost")
    weak = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]
    beats = [good[:36] + key + good[68:] for key in weak]
    beats += [good[:68] + port.to_bytes(2, "big") + good[70:] for port in (0, 22, 443, 1024)]
    beats.append(good[:20] + field.victim.peer_id + good[36:])
    beats.append(good[:4] + os.urandom(16) + good[20:])
    for _ in range(100):
        for beat in beats:
            field.shout(beat, stranger.ip_address)
    assert "Ghost" not in listed(field)


@case("heartbeat spoofing", "malformed messages")
def test_a_device_that_is_dialled_and_does_not_answer(field: Field) -> None:
    """Heartbeat spoofing: paired ids at dead ports cost one dial after the other, and no more."""
    for _ in range(5):
        dead = field.paired()
        for port in range(1_100, 1_160):
            field.shout(dead.heartbeat(port=port), dead.ip_address)
    wait_until(lambda: field.knows(field.victim, field.witness), "the witness is still there")
