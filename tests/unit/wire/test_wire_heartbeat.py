"""The heartbeat is the seed's, byte for byte, and nothing else is taken for one."""

import uuid

import pytest

from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.limits import HEARTBEAT_BYTES_MAX, PEER_NAME_BYTES_MAX, PEER_NAME_CODE_POINTS_MAX
from cytosol.wire.heartbeat import (
    Heartbeat,
    clean_peer_name,
    encode_heartbeat,
    heartbeat_port,
    is_of_other_version,
    parse_heartbeat,
)

APP_ID = uuid.UUID("82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80").bytes
HEARTBEAT = Heartbeat(APP_ID, b"p" * 16, b"k" * 32, 0xC001, "Laptop")
PACKET = (
    bytes.fromhex("054d0515") + APP_ID + b"p" * 16 + b"k" * 32 + b"\xc0\x01" + b"\x06" + b"Laptop"
)


def with_bytes(position: int, replacement: bytes) -> bytes:
    """Return the good packet with some bytes replaced."""
    return PACKET[:position] + replacement + PACKET[position + len(replacement) :]


@pytest.mark.parametrize(
    ("app_id", "port"),
    [
        ("82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80", 65154),
        ("f8e8eec8-d219-4e6e-b8fc-3363504860ff", 59640),
        ("00000000-0000-0000-0000-000000000000", 32768),
    ],
)
def test_port_is_the_worked_value(app_id: str, port: int) -> None:
    """It follows from the first two bytes of the app id (seed: Discovery)."""
    assert port == heartbeat_port(uuid.UUID(app_id).bytes)


def test_layout_is_the_seeds() -> None:
    """Magic, ids, key, port, name."""
    assert PACKET == encode_heartbeat(HEARTBEAT)
    assert HEARTBEAT == parse_heartbeat(PACKET)


def test_a_name_may_be_empty() -> None:
    """71 bytes are the shortest heartbeat."""
    packet = encode_heartbeat(Heartbeat(APP_ID, b"p" * 16, b"k" * 32, 50000, ""))
    assert 71 == len(packet)
    assert "" == parse_heartbeat(packet).name


def test_heartbeat_bytes_max_is_a_name_of_255_bytes() -> None:
    """HEARTBEAT_BYTES_MAX: one byte more is refused, whatever it announces."""
    longest = PACKET[:70] + b"\xff" + b"n" * 255
    assert HEARTBEAT_BYTES_MAX == len(longest)
    assert "n" * 64 == parse_heartbeat(longest).name
    with pytest.raises(RemoteProtocolError, match="71 to 326 bytes, this has 327"):
        parse_heartbeat(longest + b"n")


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "71 to 326 bytes, this has 0"),
        (PACKET[:70], "this has 70"),
        (with_bytes(0, b"\x05\x4d\x05\x16"), "begins with 054d0515, this with 054d0516"),
        (PACKET + b"x", "a name of 6 bytes and brings 7"),
        (PACKET[:-1], "a name of 6 bytes and brings 5"),
        (with_bytes(68, b"\x04\x00"), "names port 1024"),
        (with_bytes(68, b"\x00\x00"), "names port 0"),
        (with_bytes(36, bytes(32)), "is weak"),
        (with_bytes(36, b"\1" + bytes(31)), "is weak"),
        (with_bytes(71, b"\xff"), "not UTF-8"),
        (with_bytes(71, b"\xed\xa0\x80"), "not UTF-8"),
    ],
)
def test_what_is_no_heartbeat_is_refused(packet: bytes, reason: str) -> None:
    """Anyone can send to the port."""
    with pytest.raises(RemoteProtocolError, match=reason):
        parse_heartbeat(packet)


def test_the_lowest_gateway_port_is_1025() -> None:
    """Ports up to 1024 are privileged (seed: greater than 1024)."""
    assert 1025 == parse_heartbeat(with_bytes(68, b"\x04\x01")).port


@pytest.mark.parametrize(
    "heartbeat",
    [
        Heartbeat(b"short", b"p" * 16, b"k" * 32, 50000, "n"),
        Heartbeat(APP_ID, b"short", b"k" * 32, 50000, "n"),
        Heartbeat(APP_ID, b"p" * 16, b"short", 50000, "n"),
        Heartbeat(APP_ID, b"p" * 16, b"k" * 32, 1024, "n"),
        Heartbeat(APP_ID, b"p" * 16, b"k" * 32, 65536, "n"),
    ],
)
def test_a_heartbeat_that_peers_would_refuse_is_not_sent(heartbeat: Heartbeat) -> None:
    """It would be our own mistake."""
    with pytest.raises(LocalProtocolError):
        encode_heartbeat(heartbeat)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Laptop", "Laptop"),
        (" Laptop\n", "Laptop"),
        ("Lap\x00\x1b[31mtop\x7f\x9f", "Lap[31mtop"),
        ("\u202eptL\u2066a\u200f", "ptLa"),
        ("two\u2028lines", "twolines"),
        ("lone\ud800", "lone"),
        ("👩‍💻", "👩‍💻"),
        ("\x00" * 100 + "hidden", "hidden"),
        ("\x00" * 200 + "far", ""),
        ("n" * 63 + " x", "n" * 63),
    ],
)
def test_names_are_cleaned(name: str, clean: str) -> None:
    """What could fool or break a display goes; joined emoji stay."""
    assert clean == clean_peer_name(name)


def test_names_are_cut_to_64_code_points() -> None:
    """PEER_NAME_CODE_POINTS_MAX."""
    assert "é" * PEER_NAME_CODE_POINTS_MAX == clean_peer_name("é" * 1000)


def test_names_are_cut_to_255_bytes() -> None:
    """PEER_NAME_BYTES_MAX: 64 characters of four bytes do not fit, and none is split."""
    name = clean_peer_name("💻" * 64)
    assert "💻" * 63 == name
    assert PEER_NAME_BYTES_MAX >= len(name.encode())


def test_names_are_cleaned_in_both_directions() -> None:
    """A peer that does not clean its name cannot make us show it."""
    packet = encode_heartbeat(Heartbeat(APP_ID, b"p" * 16, b"k" * 32, 50000, "a\x00b"))
    assert "ab" == parse_heartbeat(packet).name
    assert "Lapto" == parse_heartbeat(with_bytes(76, b"\x1b")).name


def test_a_heartbeat_of_another_format_is_known_by_its_head() -> None:
    """The last byte of the magic number, or the length, is what a later format changes."""
    app_id = bytes(range(16))
    good = encode_heartbeat(Heartbeat(app_id, bytes(16), bytes([9]) * 32, 2_000, "x"))
    assert is_of_other_version(good[:3] + b"\x16" + good[4:], app_id)
    assert is_of_other_version(good + b"more", app_id)
    assert not is_of_other_version(good, bytes(16))
    assert not is_of_other_version(b"\0" + good[1:], app_id)
    assert not is_of_other_version(b"", app_id)
