"""When heartbeats leave, when peers expire, and what the table keeps of each."""

from __future__ import annotations

import itertools

import pytest

from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.limits import CANDIDATES_MAX, HEARTBEAT_ANSWERS_WAITING_MAX, VISIBLE_PEERS_MAX
from cytosol.protocol.discovery import BEATS_S, DiscoveryMachine, Heard, TableChanged
from cytosol.protocol.effects import SendDatagram
from cytosol.protocol.inputs import DatagramReceived
from cytosol.wire.heartbeat import Heartbeat, encode_heartbeat, heartbeat_port, parse_heartbeat
from tests.simulation.machine_fakes import MemoryPairings

APP_ID = bytes(range(16))
OWN = make_key_pair(bytes([1]) * 32)
OWN_ID = peer_id_for_key(OWN.public)
BOB = make_key_pair(bytes([2]) * 32)
BOB_ID = peer_id_for_key(BOB.public)
MIDDLE = b"\x7f\x80"  # random bytes that make no jitter to speak of


@pytest.fixture
def discovery() -> DiscoveryMachine:
    return DiscoveryMachine(
        app_id=APP_ID,
        own_id=OWN_ID,
        own_key=OWN.public,
        own_name="Alice",
        pairings=MemoryPairings(),
        random_bytes=lambda count: MIDDLE[:count],
        visible=True,
    )


def heard(port: int = 2_000, name: str = "Bob", ip: str = "10.0.0.2") -> DatagramReceived:
    data = encode_heartbeat(Heartbeat(APP_ID, BOB_ID, BOB.public, port, name))
    return DatagramReceived(data, (ip, 50_000), "10.0.0.1")


def test_nothing_is_sent_before_the_gateway_is_open(discovery: DiscoveryMachine) -> None:
    """A heartbeat names its port."""
    discovery.ping("10.0.0.2", None)
    discovery.restart_beats(0.0)
    assert [] == discovery.take_effects()
    assert discovery.next_deadline() is None


def test_heartbeats_leave_at_once_and_then_ever_more_seldom(discovery: DiscoveryMachine) -> None:
    """After 1, 2, 6, 10, 30 s, then every 60 s (spec: network, Discovery)."""
    discovery.start(2_000, 0.0)
    times = [0.0]
    while len(times) < 9:
        deadline = discovery.next_deadline()
        assert deadline is not None
        assert 1 == len(discovery.take_effects())
        discovery.handle_timer(deadline - 0.001)
        assert [] == discovery.take_effects()
        discovery.handle_timer(deadline)
        times.append(deadline)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert [*BEATS_S, 60.0, 60.0] == pytest.approx(pauses, rel=0.01)
    assert BEATS_S == (1.0, 2.0, 6.0, 10.0, 30.0, 60.0)


def test_heartbeats_say_who_we_are(discovery: DiscoveryMachine) -> None:
    """Broadcast, or to one host on the port of all heartbeats."""
    discovery.start(2_000, 0.0)
    discovery.ping("10.0.0.2", None)
    discovery.ping("10.0.0.2", 4_711)
    broadcast, known, exact = discovery.take_effects()
    assert isinstance(broadcast, SendDatagram)
    assert isinstance(known, SendDatagram)
    assert isinstance(exact, SendDatagram)
    assert Heartbeat(APP_ID, OWN_ID, OWN.public, 2_000, "Alice") == parse_heartbeat(broadcast.data)
    assert broadcast.address is None
    assert ("10.0.0.2", heartbeat_port(APP_ID)) == known.address
    assert ("10.0.0.2", 4_711) == exact.address
    discovery.stop()
    discovery.ping("10.0.0.2", None)
    assert [] == discovery.take_effects()


def test_a_peer_expires_after_three_minutes_of_silence(discovery: DiscoveryMachine) -> None:
    """Not before, and a heartbeat starts the time anew."""
    discovery.receive(heard(), 0.0)
    discovery.receive(heard(), 100.0)
    discovery.handle_timer(180.0)
    assert discovery.get(BOB_ID, 279.9) is not None
    assert discovery.get(BOB_ID, 280.0) is None
    discovery.take_effects()
    discovery.handle_timer(280.0)
    assert [TableChanged()] == discovery.take_effects()
    assert {} == discovery.table()
    assert discovery.next_deadline() is None


def test_other_addresses_are_candidates_newest_first(discovery: DiscoveryMachine) -> None:
    """CANDIDATES_MAX of them; a known one moves to the front and is no news."""
    for number in range(CANDIDATES_MAX + 2):
        discovery.receive(heard(2_000 + number), float(number))
    entry = discovery.get(BOB_ID, 10.0)
    assert entry is not None
    assert [2_005, 2_004, 2_003, 2_002] == [each.port for each in entry.candidates]
    discovery.take_effects()
    discovery.receive(heard(2_003), 10.0)
    assert [2_003, 2_005, 2_004, 2_002] == [each.port for each in entry.candidates]
    assert [TableChanged(), Heard(BOB_ID, False)] == discovery.take_effects()
    discovery.receive(heard(2_003), 11.0)
    assert [Heard(BOB_ID, False)] == discovery.take_effects()
    discovery.receive(heard(2_003, ip="10.0.0.9"), 12.0)
    assert Heard(BOB_ID, True) in discovery.take_effects()


def test_one_address_pushes_out_no_other(discovery: DiscoveryMachine) -> None:
    """However many ports it invents; among addresses with one port each the oldest goes."""
    discovery.receive(heard(1_999, ip="10.0.0.9"), 0.0)
    for number in range(20):
        discovery.receive(heard(2_000 + number), 1.0)
    entry = discovery.get(BOB_ID, 1.0)
    assert entry is not None
    assert [2_019, 2_018, 2_017, 1_999] == [each.port for each in entry.candidates]
    for number in range(1, CANDIDATES_MAX + 1):
        discovery.receive(heard(3_000, ip=f"10.0.1.{number}"), 2.0)
    assert ["10.0.1.4", "10.0.1.3", "10.0.1.2", "10.0.1.1"] == [
        each.ip_address for each in entry.candidates
    ]


def test_a_new_name_is_shown(discovery: DiscoveryMachine) -> None:
    """Devices are renamed."""
    discovery.receive(heard(), 0.0)
    discovery.take_effects()
    discovery.receive(heard(name="Robert"), 1.0)
    assert TableChanged() in discovery.take_effects()
    entry = discovery.get(BOB_ID, 1.0)
    assert entry is not None
    assert "Robert" == entry.name


def test_answers_that_wait_are_bounded_by_the_table(discovery: DiscoveryMachine) -> None:
    """HEARTBEAT_ANSWERS_WAITING_MAX: one for each that is visible."""
    discovery.start(2_000, 0.0)
    for number in range(2 * VISIBLE_PEERS_MAX):
        keys = make_key_pair(number.to_bytes(32, "big"))
        heartbeat = Heartbeat(APP_ID, peer_id_for_key(keys.public), keys.public, 2_000, "x")
        address = (f"10.{number % 7}.0.1", 50_000)
        discovery.receive(DatagramReceived(encode_heartbeat(heartbeat), address, ""), 0.0)
        assert len(discovery._answers) <= HEARTBEAT_ANSWERS_WAITING_MAX
