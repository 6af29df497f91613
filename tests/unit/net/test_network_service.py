"""The network on real sockets of this machine: discover, pair, connect, stop; survive abuse."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from cytosol.errors import NetworkError, NetworkUnavailableError, PairingError
from cytosol.limits import HALF_OPEN_PER_ADDRESS_MAX
from cytosol.net import driver as driver_module
from cytosol.net.service import NetworkService
from cytosol.protocol.events import (
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    Unpaired,
)
from cytosol.wire.heartbeat import heartbeat_port
from tests.unit.net.services import PATIENCE_S, TestDevice, devices


def dial(device: TestDevice) -> socket.socket:
    """Open a raw connection to a device's gateway."""
    address = ("127.0.0.1", device.service.gateway_port)
    return socket.create_connection(address, timeout=PATIENCE_S)


def read_to_end(sock: socket.socket) -> bytes:
    """Read until the other side closes, or breaks, the connection."""
    data = b""
    try:
        while piece := sock.recv(65_536):
            data += piece
    except ConnectionError:
        pass
    return data


def test_two_devices_discover_pair_and_connect() -> None:
    """The whole way, on loopback; what one writes reaches the other."""
    with devices("Alice", "Bob") as (alice, bob):
        alice.pair_with(bob)
        row = alice.row(bob)
        assert row is not None
        assert row["paired"]
        assert row["connected"]
        assert "Bob" == row["name"]
        assert bob.service.gateway_port == row["port"]
        arrived = threading.Event()
        merge = bob.replica.merge

        def watched(counts: dict[bytes, int]) -> bool:
            is_new = merge(counts)
            if alice.peer_id in bob.replica.counts:
                arrived.set()
            return is_new

        bob.replica.merge = watched  # type: ignore[method-assign]  # to see it arrive
        alice.replica.write()
        alice.service.local_changes()
        assert arrived.wait(PATIENCE_S)
        assert [] == alice.service.problems()
        assert [] == bob.service.problems()


def test_three_devices_on_one_machine_all_hear_broadcasts() -> None:
    """They share the heartbeat port, and broadcasts reach every socket bound to it."""
    with devices("Alice", "Bob", "Carol") as (alice, bob, carol):
        for one in (alice, bob, carol):
            for other in (alice, bob, carol):
                if one is not other:
                    one.wait_for(lambda one=one, other=other: one.row(other) is not None)  # type: ignore[misc]
        heard = [{row["name"] for row in one.service.peers()} for one in (alice, bob, carol)]
        assert [{"Bob", "Carol"}, {"Alice", "Carol"}, {"Alice", "Bob"}] == heard


def test_both_sides_notice_a_stop_and_a_restart_reconnects() -> None:
    """A stop is an orderly goodbye; a new service with the same identity is found again."""
    with devices("Alice", "Bob") as (alice, bob):
        alice.pair_with(bob)
        bob.service.stop()
        assert bob.id == alice.wait_told(PeerDisconnected).peer_id
        assert alice.id == bob.wait_told(PeerDisconnected).peer_id
        bob.renew()
        bob.service.start()
        assert bob.id == alice.wait_told(PeerConnected, 2).peer_id
        assert alice.id == bob.wait_told(PeerConnected, 2).peer_id


def test_unpairing_is_heard_by_the_other() -> None:
    """Over the real connection, before it closes."""
    with devices("Alice", "Bob") as (alice, bob):
        alice.pair_with(bob)
        alice.service.command("unpair", bob.id)
        assert bob.id == alice.wait_told(Unpaired).peer_id
        assert alice.id == bob.wait_told(Unpaired).peer_id
        assert [{}, {}] == [device.pairings.paired() for device in (alice, bob)]


def test_commands_raise_in_the_caller() -> None:
    """What is wrong with a command is known at once, in the thread that gave it."""
    with devices("Alice") as (alice,):
        with pytest.raises(PairingError, match="no pair request"):
            alice.service.command("accept_pair", "1cca2959-e698-4bf2-853b-2957a51a86cc", "123456")
        with pytest.raises(ValueError, match="not a command"):
            alice.service.command("explode")
        alice.service.command("set_visible", False)
        alice.service.command("set_sync_enabled", False)


def test_commands_work_from_inside_events() -> None:
    """An app may answer a pair request right where it hears of it."""
    with devices("Alice", "Bob") as (alice, bob):

        def answer(event: object) -> None:
            if isinstance(event, PairRequest):
                bob.service.command("accept_pair", event.peer_id, "123456")

        bob.on_event = answer
        alice.wait_for(lambda: alice.row(bob) is not None)
        alice.service.command("request_pair", bob.id, "123456")
        assert alice.wait_told(PairResponse).accepted


def test_stopping_works_from_inside_events_and_again() -> None:
    """The thread does not wait for itself; a second stop does nothing."""
    with devices("Alice", "Bob") as (alice, bob):
        stopped = threading.Event()

        def stop(event: object) -> None:
            alice.service.stop()
            stopped.set()

        alice.on_event = stop
        bob.wait_for(lambda: bob.row(alice) is not None)
        assert stopped.wait(PATIENCE_S)
        alice.service.stop()
        assert 0 == alice.service.gateway_port


def test_a_listener_that_fails_harms_nobody() -> None:
    """Its error is kept for the doctor, and the network goes on."""
    with devices("Alice", "Bob") as (alice, bob):

        def fail(event: object) -> None:
            raise RuntimeError("a mistake in the app")

        alice.on_event = fail
        alice.pair_with(bob)
        assert "a mistake in the app" in " ".join(alice.service.problems())


def test_a_service_starts_once() -> None:
    """A second start says so; commands before the first do too."""
    device = TestDevice(os.urandom(16), "Alice")
    with pytest.raises(NetworkError, match="not running"):
        device.service.command("set_visible", True)
    assert [] == device.service.peers()
    assert [] == device.service.problems()
    device.service.local_changes()
    device.service.graph_command("graph_listen", True)
    device.service.stop()
    device.service.start()
    try:
        with pytest.raises(NetworkError, match="started before"):
            device.service.start()
    finally:
        device.service.stop()
    with pytest.raises(NetworkError, match="not running"):
        device.service.command("set_visible", True)


def test_a_heartbeat_port_taken_by_another_program_is_an_error() -> None:
    """Without sharing it, nobody could be heard: the message names the port and what helps."""
    device = TestDevice(os.urandom(16), "Alice")
    port = heartbeat_port(device.app_id)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", port))
        with pytest.raises(NetworkUnavailableError, match=f"{port}.*`cytosol doctor`"):
            device.service.start()
    assert 0 == device.service.gateway_port


def test_a_stranger_gets_an_id_and_no_other_byte() -> None:
    """An unknown caller is closed at once."""
    with devices("Alice") as (alice,), dial(alice) as sock:
        sock.sendall(os.urandom(16))
        assert alice.peer_id == read_to_end(sock)


def test_the_fifth_silent_connection_of_an_address_is_closed() -> None:
    """Half-open connections are bounded on real sockets too."""
    with devices("Alice") as (alice,):
        socks = [dial(alice) for _ in range(HALF_OPEN_PER_ADDRESS_MAX)]
        for sock in socks:
            assert alice.peer_id == sock.recv(16, socket.MSG_WAITALL)
        with dial(alice) as fifth:
            assert b"" == read_to_end(fifth)
        for sock in socks:
            sock.close()


def test_garbage_from_everywhere_leaves_no_exception() -> None:
    """Datagrams and streams of noise, resets included: the service goes on without a problem."""
    with devices("Alice", "Bob") as (alice, bob):
        noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        noise.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        with noise:
            for size in (0, 1, 70, 71, 326, 327, 9_000):
                noise.sendto(os.urandom(size), ("127.255.255.255", heartbeat_port(alice.app_id)))
        for size in (0, 1, 15, 16, 17, 44, 5_000, 100_000):
            with dial(alice) as sock:
                sock.sendall(bob.peer_id[: min(size, 16)] + os.urandom(max(0, size - 16)))
                if size % 2:
                    # Close with a reset instead of an orderly end.
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        alice.pair_with(bob)
        assert [] == alice.service.problems()


def test_a_mistake_of_ours_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a machine is kept for the doctor and closes the stream that met it."""
    with devices("Alice", "Bob") as (alice, bob):

        def fail(*args: object) -> None:
            raise ZeroDivisionError("a bug")

        machine = alice.service._machine
        monkeypatch.setattr(machine._gateway, "receive", fail)
        with dial(alice) as sock:
            sock.sendall(bob.peer_id)
            read_to_end(sock)
        assert ["ZeroDivisionError: a bug"] == alice.service.problems()
        monkeypatch.undo()
        alice.pair_with(bob)


def test_new_interfaces_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started without any, the service hears of loopback when it scans again."""
    scan = driver_module.broadcast_interfaces
    monkeypatch.setattr(driver_module, "broadcast_interfaces", lambda loopback: [])
    monkeypatch.setattr(driver_module, "RESCAN_S", 0.01)
    with devices("Alice", "Bob") as (alice, bob):
        assert not alice.row(bob)
        monkeypatch.setattr(driver_module, "broadcast_interfaces", scan)
        alice.wait_for(lambda: alice.row(bob) is not None)


def test_interfaces_that_cannot_be_read_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan is tried again; the doctor hears of it."""

    def fail(loopback: bool) -> list[object]:
        raise OSError("no interfaces today")

    def is_told() -> bool:
        return "no interfaces today" in " ".join(alice.service.problems())

    monkeypatch.setattr(driver_module, "RESCAN_S", 0.01)
    with devices("Alice", "Bob") as (alice, bob):
        with monkeypatch.context() as patched:
            patched.setattr(driver_module, "broadcast_interfaces", fail)
            alice.wait_for(is_told)
        alice.pair_with(bob)
        row = alice.row(bob)
        assert row is not None
        assert row["connected"]


def test_the_service_takes_the_real_sync_machine_unless_told_otherwise() -> None:
    """What tests replace is there by default."""
    assert NetworkService.__init__.__kwdefaults__ is not None
    assert "SyncMachine" == NetworkService.__init__.__kwdefaults__["sync_factory"].__name__
