"""The doctor's probes on real sockets over loopback, with real network services as peers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from typing import Any

import pytest

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.crypto.primitives import shared_key
from cytosol.limits import CANDIDATES_MAX, VISIBLE_PEERS_MAX
from cytosol.model.ids import PeerId
from cytosol.net import background, peer_probes, probes
from cytosol.net.evidence import Knock, NetworkSeen, PeerSeen, Reach, Reply
from cytosol.net.interfaces import Interface
from cytosol.net.probes import Subject, examine_network
from cytosol.protocol.rpc import CallFailed
from cytosol.protocol.seams import PairedPeer, Refusal
from cytosol.wire.framing import GATEWAY, Sealer
from cytosol.wire.heartbeat import Heartbeat, encode_heartbeat, heartbeat_port
from cytosol.wire.jsonrpc import ErrorCode
from tests.unit.net.services import TestDevice, devices

LOOPBACK = [Interface("lo", "127.0.0.1", "127.255.255.255")]


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves this machine."""
    monkeypatch.setattr(probes, "broadcast_interfaces", lambda **_: LOOPBACK)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing that does not come anyway."""
    monkeypatch.setattr(probes, "DIAL_IN_S", 0.0)
    monkeypatch.setattr(probes, "ANSWER_S", 0.3)
    monkeypatch.setattr(peer_probes, "ICMP_S", 0.01)


class Examined:
    """The device that is examined: an identity without a network of its own."""

    def __init__(self, app_id: bytes) -> None:
        self.app_id = app_id
        self.keys: KeyPair = make_key_pair(os.urandom(32))
        self.peer_id: PeerId = peer_id_for_key(self.keys.public)

    def pair_with(self, device: TestDevice) -> PairedPeer:
        """Have the device know us, and return what we know of it."""
        device.pairings.add(PairedPeer(self.peer_id, "examined", self.keys.public), True)
        return PairedPeer(device.peer_id, device.name, device.keys.public)

    def examine(self, *paired: PairedPeer, wait_s: float = 0.0, **options: Any) -> NetworkSeen:
        """Run the probes."""
        subject = Subject(
            self.app_id,
            self.peer_id,
            self.keys,
            "examined",
            paired={peer.peer_id: peer for peer in paired},
            is_loopback_enough=True,
            **options,
        )
        return examine_network(subject, wait_s)


def only_peer(seen: NetworkSeen) -> PeerSeen:
    (peer,) = seen.peers.values()
    return peer


def test_a_paired_peer_with_which_all_is_well() -> None:
    """It notices a broadcast, dials, greets, takes a large message, and welcomes us."""
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        seen = examined.examine(examined.pair_with(phone))
        peer = only_peer(seen)
        assert Knock.BROADCAST in peer.noticed
        assert peer.has_dialled
        assert peer.is_greeted
        assert peer.is_near
        assert peer.takes_large is True
        assert (Reach.OPEN, Reply.WELCOME) == (peer.reach, peer.reply)
        assert (16, 0) == (peer.dials, peer.slow_dials)
        assert (None, set(), set()) == (
            seen.port_error,
            seen.unheard_broadcasts,
            seen.unheard_answers,
        )
        assert [] == phone.service.problems()


def test_a_peer_tells_that_it_does_not_sync(hasty: None) -> None:
    """It notices us, and does not dial."""
    with devices("phone", sync_enabled=False) as (phone,):
        examined = Examined(phone.app_id)
        peer = only_peer(examined.examine(examined.pair_with(phone)))
        assert (False, Reply.SYNC_OFF) == (peer.has_dialled, peer.reply)


def test_a_peer_tells_that_it_does_not_know_us(hasty: None) -> None:
    """We believe to be paired, it does not."""
    with devices("phone") as (phone,):
        known = PairedPeer(phone.peer_id, "phone", phone.keys.public)
        peer = only_peer(Examined(phone.app_id).examine(known))
        assert (Reach.OPEN, Reply.NOT_PAIRED) == (peer.reach, peer.reply)


def test_a_peer_tells_that_it_has_unpaired_us(hasty: None) -> None:
    """By hand."""
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        known = examined.pair_with(phone)
        phone.pairings.refuse({examined.peer_id: Refusal(examined.keys.public)})
        assert Reply.UNPAIRED is only_peer(examined.examine(known)).reply


def test_a_hidden_peer_is_found_by_its_pairing() -> None:
    """It answers the heartbeats of paired devices."""
    with devices("phone", visible_to_peers=False) as (phone,):
        examined = Examined(phone.app_id)
        assert Knock.BROADCAST in only_peer(examined.examine(examined.pair_with(phone))).noticed


def test_a_stranger_is_seen_and_left_alone() -> None:
    """It is not visited: whether it is to be paired is for the user to say."""
    with devices("stranger") as (stranger,):
        seen = Examined(stranger.app_id).examine(refused={stranger.peer_id: b""})
        peer = only_peer(seen)
        assert peer.is_heard
        assert peer.is_refused
        assert (None, None, 0) == (peer.reach, peer.reply, peer.dials)


def test_a_peer_with_another_key_is_not_believed(hasty: None) -> None:
    """Nothing but this is noted of it."""
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        other_key = make_key_pair(os.urandom(32)).public
        peer = only_peer(examined.examine(PairedPeer(phone.peer_id, "phone", other_key)))
        assert peer.has_other_key
        assert not peer.is_heard


def test_a_peer_that_is_named_is_knocked_at() -> None:
    """And visited, although it is not paired."""
    with devices("stranger") as (stranger,):
        peer = only_peer(Examined(stranger.app_id).examine(named=("127.0.0.1",)))
        assert peer.is_named
        assert Reach.OPEN is peer.reach


def test_a_host_where_nobody_listens_says_so(hasty: None) -> None:
    """No heartbeat, no gateway; the port of heartbeats is closed once we listen no more."""
    examined = Examined(os.urandom(16))
    gone = PairedPeer(bytes(16), "gone", make_key_pair(os.urandom(32)).public)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    seen = examined.examine(gone, addresses={gone.peer_id: [("127.0.0.1", port)]})
    peer = only_peer(seen)
    assert not peer.is_heard
    assert Reach.REFUSED is peer.reach
    assert not peer.port_is_closed  # our own receiver listens there


def test_something_else_at_a_gateway_is_strange(hasty: None) -> None:
    """A banner is no peer id."""
    examined = Examined(os.urandom(16))
    gone = PairedPeer(bytes(16), "gone", make_key_pair(os.urandom(32)).public)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            stream, _ = server.accept()
            stream.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        address = ("127.0.0.1", server.getsockname()[1])
        peer = only_peer(examined.examine(gone, addresses={gone.peer_id: [address]}))
        thread.join()
        assert Reach.STRANGE is peer.reach


def test_a_port_that_is_taken_is_noticed_and_given_free(hasty: None) -> None:
    """By a program that does not share; peers are found all the same."""
    app_id = os.urandom(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.bind(("0.0.0.0", heartbeat_port(app_id)))
        seen = Examined(app_id).examine()
        assert "EADDRINUSE" == seen.port_error
        assert set() == seen.unheard_broadcasts
    assert Examined(app_id).examine().port_error is None


def test_other_apps_on_the_same_port_are_noted() -> None:
    """Their heartbeats come to us, because the port is made of two bytes of the id only."""
    with devices("other") as (other,):
        app_id = other.app_id[:2] + os.urandom(14)
        other.service.command("set_visible", False)
        waiting = Examined(app_id)
        other.service.command("set_visible", True)  # says so at once, and again after a second
        seen = waiting.examine(wait_s=10.0)
        assert "127.0.0.1" in seen.other_apps
        assert {} == seen.peers


def test_without_a_usable_interface_only_this_device_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once."""
    monkeypatch.setattr(probes, "broadcast_interfaces", lambda **_: [])
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        seen = examined.examine(examined.pair_with(phone), wait_s=60.0)
        assert not only_peer(seen).is_heard
        assert seen.interfaces


def test_a_broadcast_that_is_refused_is_noted(monkeypatch: pytest.MonkeyPatch, hasty: None) -> None:
    """By the address that it was to leave from: one that is not ours cannot be bound."""
    monkeypatch.setattr(
        probes,
        "broadcast_interfaces",
        lambda **_: [Interface("eth9", "192.0.2.99", "192.0.2.255")],
    )
    seen = Examined(os.urandom(16)).examine()
    assert {"192.0.2.99": "EADDRNOTAVAIL"} == seen.broadcast_errors


def test_slow_dials_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dial that takes longer than a packet needs to be sent again."""
    monkeypatch.setattr(peer_probes, "SLOW_S", 0.0)
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        peer = only_peer(examined.examine(examined.pair_with(phone)))
        assert peer.dials == peer.slow_dials == 16


def test_an_address_where_nobody_is_heard_is_looked_at(hasty: None) -> None:
    """There is a host, which is this one, and its heartbeat port is open: ours."""
    (unknown,) = Examined(os.urandom(16)).examine(named=("127.0.0.1",)).unknown
    assert ("127.0.0.1", Reach.REFUSED, False) == (
        unknown.name,
        unknown.reach,
        unknown.port_is_closed,
    )


def test_addresses_that_are_none_are_passed_over(hasty: None) -> None:
    """A file can hold what it likes."""
    examined = Examined(os.urandom(16))
    gone = PairedPeer(bytes(16), "gone", make_key_pair(os.urandom(32)).public)
    addresses = {gone.peer_id: [("phone.local", 1), ("fe80::1", 2)]}
    assert [] == only_peer(examined.examine(gone, addresses=addresses)).addresses


@pytest.mark.parametrize("text", [b"{}", b"[]", b'{"jsonrpc": "2.0", "method": "x"}'])
def test_a_gateway_that_talks_nonsense_does_no_harm(hasty: None, text: bytes) -> None:
    """Sealed with the right key, so that it is read; it is no greeting."""
    keys, examined = make_key_pair(os.urandom(32)), Examined(os.urandom(16))
    peer_id = peer_id_for_key(keys.public)
    sealer = Sealer(shared_key(keys.secret, examined.keys.public), os.urandom(16), GATEWAY)
    hello = b'{"jsonrpc": "2.0", "method": "cytosol.net.hello", "params": {"challenge": 7}}'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            stream, _ = server.accept()
            stream.sendall(peer_id + sealer.seal(text) + sealer.seal(hello))
            stream.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=talk)
        thread.start()
        address = ("127.0.0.1", server.getsockname()[1])
        known = PairedPeer(peer_id, "phone", keys.public)
        peer = only_peer(examined.examine(known, addresses={peer_id: [address]}))
        thread.join()
    assert (Reach.OPEN, False, None) == (peer.reach, peer.is_greeted, peer.takes_large)


def test_an_impatient_user_can_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then everything is closed in order, and the port is free again."""

    async def look_around(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(probes._Examination, "_look_around", look_around)
    app_id = os.urandom(16)
    with pytest.raises(KeyboardInterrupt):
        Examined(app_id).examine(wait_s=60.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", heartbeat_port(app_id)))


def test_without_an_identity_the_app_on_this_machine_is_not_company(hasty: None) -> None:
    """It runs, so that its file could not be opened; others are what is looked for."""
    with devices("app") as (app,):
        keys = make_key_pair(os.urandom(32))
        subject = Subject(
            app.app_id, peer_id_for_key(keys.public), keys, "doctor", has_identity=False
        )
        assert {} == examine_network(subject, 0.0).peers


def test_a_flood_of_heartbeats_fills_nothing() -> None:
    """Invented peers, apps, addresses and clones are bounded, and paired peers keep their place."""
    examined = Examined(os.urandom(16))
    friend = PairedPeer(bytes(16), "friend", make_key_pair(os.urandom(32)).public)
    subject = Subject(
        examined.app_id, examined.peer_id, examined.keys, "examined", paired={bytes(16): friend}
    )
    examination = probes._Examination(subject, 0.0)
    examination.note_paired()

    def hear(app_id: bytes, peer_id: bytes, key: bytes, port: int, ip_address: str) -> None:
        heartbeat = Heartbeat(app_id, peer_id, key, port, "x")
        examination._received(encode_heartbeat(heartbeat), ip_address, None)

    for number in range(2 * VISIBLE_PEERS_MAX):
        peer_id = number.to_bytes(16, "little")
        hear(examined.app_id, peer_id, friend.public_key, 2000, "10.0.0.1")
        hear(examined.app_id, bytes(16), friend.public_key, 2000 + number, "10.0.0.2")
        hear(examined.app_id, examined.peer_id, friend.public_key, 2000, f"10.1.{number % 256}.1")
        hear(peer_id, peer_id, friend.public_key, 2000, f"10.{number // 256}.{number % 256}.9")
    seen = examination.seen
    assert VISIBLE_PEERS_MAX == len(seen.peers) == len(seen.other_apps)
    assert CANDIDATES_MAX == len(seen.clones) == len(seen.peers[bytes(16)].addresses)
    assert ("10.0.0.2", 2000 + 2 * VISIBLE_PEERS_MAX - 1) == seen.peers[bytes(16)].addresses[0]


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (ErrorCode.METHOD_NOT_FOUND, Reply.OTHER_VERSION),
        (ErrorCode.INVALID_PARAMS, Reply.OTHER_VERSION),
        (ErrorCode.INTERNAL_ERROR, None),
    ],
)
def test_who_does_not_know_the_request_is_of_another_version(
    code: ErrorCode, reply: Reply | None
) -> None:
    """A mistake inside that device says nothing of the kind."""
    assert reply is peer_probes._reply(CallFailed(1, code, "no"))


def test_a_heartbeat_of_another_format_is_noted() -> None:
    """Of our app, from others, and no more of them than of clones."""
    examined = Examined(os.urandom(16))
    subject = Subject(examined.app_id, examined.peer_id, examined.keys, "examined")
    examination = probes._Examination(subject, 0.0)
    good = encode_heartbeat(Heartbeat(examined.app_id, bytes(16), examined.keys.public, 2000, "x"))
    examination._received(good[:3] + b"\x16" + good[4:], "10.0.0.1", None)
    examination._answered(Knock.DIRECT, good + b"more", "10.0.0.2")
    other = good[:3] + b"\x16" + os.urandom(16) + good[20:]
    examination._received(other, "10.0.0.3", None)
    assert {"10.0.0.1", "10.0.0.2"} == examination.seen.other_versions
    assert {} == examination.seen.peers
    for number in range(20):
        examination._received(good[:30], f"10.0.1.{number}", None)
    assert CANDIDATES_MAX == len(examination.seen.other_versions)


def test_an_address_whose_owner_changes_has_two(
    hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One interface may well know another device by it, in a network of its own."""
    looks = [
        {("10.0.0.2", "eth0", "02::1"), ("10.0.0.3", "eth0", "02::3")},
        {("10.0.0.2", "eth0", "02::2"), ("10.0.0.3", "eth1", "02::4")},
    ]
    monkeypatch.setattr(probes, "WATCH_S", 0.0)
    monkeypatch.setattr(probes, "neighbours", lambda: looks.pop(0) if looks else set())
    assert {"10.0.0.2"} == Examined(os.urandom(16)).examine().doubled
    assert [] == looks


def test_what_is_no_heartbeat_is_dropped() -> None:
    """Whatever its length."""
    examined = Examined(os.urandom(16))
    subject = Subject(examined.app_id, examined.peer_id, examined.keys, "examined")
    examination = probes._Examination(subject, 0.0)
    for data in (b"", b"\0", os.urandom(71), os.urandom(2048)):
        examination._received(data, "10.0.0.1", "10.0.0.2")
        examination._answered(Knock.DIRECT, data, "10.0.0.1")
    assert ({}, {}) == (examination.seen.peers, examination.seen.other_apps)


def test_a_peer_that_hears_no_broadcast_is_knocked_at_otherwise(
    monkeypatch: pytest.MonkeyPatch, hasty: None
) -> None:
    """Where it was last, which on one machine reaches one of us only, and by 255.255.255.255."""
    monkeypatch.setattr(probes._Examination, "_broadcast", lambda *_: None)
    with devices("phone") as (phone,):
        examined = Examined(phone.app_id)
        known = examined.pair_with(phone)
        address = ("127.0.0.1", phone.service.gateway_port)
        peer = only_peer(examined.examine(known, addresses={phone.peer_id: [address]}))
        assert peer.noticed
        assert peer.noticed <= {Knock.DIRECT, Knock.LIMITED}
        assert Reach.OPEN is peer.reach


def test_a_peer_that_starts_meanwhile_is_found() -> None:
    """It is waited for, and then knocked at once more."""
    device = TestDevice(os.urandom(16), "phone")
    examined = Examined(device.app_id)
    known = examined.pair_with(device)
    found: list[NetworkSeen] = []
    thread = threading.Thread(target=lambda: found.append(examined.examine(known, wait_s=60.0)))
    thread.start()
    try:
        device.service.start()
        thread.join()
    finally:
        device.service.stop()
    peer = only_peer(found[0])
    assert Knock.BROADCAST in peer.noticed
    assert Reply.WELCOME is peer.reply


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """A loop such as Windows has."""

    def add_reader(self, *_: Any) -> None:
        raise NotImplementedError


def test_a_loop_that_cannot_watch_sockets_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only to which address a datagram was sent is not known then."""
    with devices("phone") as (phone,):
        monkeypatch.setattr(background, "_new_loop", LoopWithoutReaders)
        examined = Examined(phone.app_id)
        peer = only_peer(examined.examine(examined.pair_with(phone)))
        assert Knock.BROADCAST in peer.noticed
        assert Reach.OPEN is peer.reach
