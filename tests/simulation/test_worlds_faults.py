"""Each fault of a world does what its name says, to the network, the disk and the device."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from cytosol import DatabaseClosedError, DatabaseLockedError, InsertAfter, SaveError, Set
from cytosol.errors import DatabaseCorruptError, NetworkError
from cytosol.testing import (
    Ledger,
    PowerCut,
    VirtualClock,
    VirtualDisk,
    VirtualNetwork,
    VirtualSaveState,
    World,
    Write,
)
from cytosol.testing.network import Stream


@pytest.fixture
def world() -> Iterator[World]:
    with World(1) as world:
        yield world


class Plug:
    """A host that notes what it hears."""

    def __init__(self, network: VirtualNetwork, ip_address: str) -> None:
        self.ip_address, self.udp_port = ip_address, network.free_port()
        self.heard: list[bytes] = []
        self.lost: list[str] = []
        self.streams: list[Stream] = []
        network.plug_in(self)

    def datagram(self, data: bytes, address: tuple[str, int]) -> None:
        self.heard.append(data)

    def listens(self, port: int) -> bool:
        return port == 1

    def accept(self, port: int, stream: Stream) -> Plug:
        self.streams.append(stream)
        return self

    def stream_data(self, stream: Stream, data: bytes) -> None:
        self.heard.append(data)

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self.lost.append(reason)


class Wire:
    """Two hosts on one network."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, random.Random(seed))
        self.a, self.b = Plug(self.network, "10.0.0.1"), Plug(self.network, "10.0.0.2")
        self.failed: list[str] = []

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.step(end):
            pass
        self.clock.now = end

    def dial(self, port: int = 1) -> Stream:
        connected: list[Stream] = []
        stream = self.network.dial(
            self.a, "10.0.0.2", port, self.a, connected.append, self.failed.append
        )
        self.run(1.0)
        return stream

    def send_datagrams(self, count: int) -> None:
        for number in range(count):
            self.network.send(self.a, b"%d" % number, "10.0.0.2", self.b.udp_port)
        self.run(10.0)


# --- Datagrams --------------------------------------------------------------------------------


def test_datagrams_get_lost_as_often_as_asked_for() -> None:
    """About three in ten."""
    wire = Wire()
    wire.network.conditions.loss = 0.3
    wire.send_datagrams(1_000)
    assert 600 < len(wire.b.heard) < 800


def test_datagrams_come_twice_and_out_of_order() -> None:
    """Both at once, and none is invented."""
    wire = Wire()
    wire.network.conditions.duplicates = 0.5
    wire.network.conditions.jitter_s = 1.0
    wire.send_datagrams(100)
    numbers = [int(data) for data in wire.b.heard]
    assert 130 < len(numbers) < 170
    assert set(range(100)) == set(numbers)
    assert sorted(numbers) != numbers


def test_a_datagram_to_another_port_reaches_nobody() -> None:
    """Nor does one to an address that is not there, or to oneself."""
    wire = Wire()
    wire.network.send(wire.a, b"x", "10.0.0.2", 7)
    wire.network.send(wire.a, b"x", "10.0.0.9", wire.b.udp_port)
    wire.network.send(wire.a, b"x", "10.0.0.1", wire.a.udp_port)
    wire.run(1.0)
    assert [] == wire.a.heard == wire.b.heard


def test_a_broadcast_reaches_all_others_where_there_are_broadcasts() -> None:
    """Not the sender."""
    wire = Wire()
    wire.network.broadcast(wire.a, b"x")
    wire.network.conditions.broadcast = False
    wire.network.broadcast(wire.a, b"y")
    wire.run(1.0)
    assert ([], [b"x"]) == (wire.a.heard, wire.b.heard)


def test_a_datagram_on_its_way_does_not_reach_who_came_after() -> None:
    """Another host may have the address by then."""
    wire = Wire()
    wire.network.send(wire.a, b"x", "10.0.0.2", wire.b.udp_port)
    wire.network.unplug(wire.b)
    other = Plug(wire.network, "10.0.0.2")
    wire.network.unplug(wire.b)
    wire.run(1.0)
    assert [] == other.heard


# --- Streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_stream_keeps_its_order_whatever_is_lost(loss: float) -> None:
    """What is lost comes later, and so does what was sent after it."""
    wire = Wire()
    wire.network.conditions.jitter_s = 0.5
    stream = wire.dial()
    wire.network.conditions.loss = loss
    for number in range(500):
        stream.send(b"%d," % number)
        wire.run(0.01)
    wire.run(60.0)
    assert "".join(f"{number}," for number in range(500)).encode() == b"".join(wire.b.heard)
    assert [] == wire.a.lost == wire.b.lost


def test_a_short_partition_only_delays_a_stream() -> None:
    """As TCP sends again what was not acknowledged."""
    wire = Wire()
    stream = wire.dial()
    wire.network.block("10.0.0.1", "10.0.0.2")
    stream.send(b"x")
    wire.run(30.0)
    assert [] == wire.b.heard
    wire.network.unblock("10.0.0.1", "10.0.0.2")
    wire.run(10.0)
    assert [b"x"] == wire.b.heard


def test_a_long_partition_breaks_a_stream_for_who_has_something_to_send() -> None:
    """The other side knows nothing of it; it may still be heard."""
    wire = Wire()
    stream = wire.dial()
    wire.network.block("10.0.0.1", "10.0.0.2")
    stream.send(b"x")
    wire.b.streams[0].send(b"hello")
    wire.run(120.0)
    assert ["the other side is silent"] == wire.a.lost
    assert [] == wire.b.lost
    assert [b"hello"] == [b"".join(wire.a.heard)]


def test_a_stream_that_is_closed_ends_after_what_was_sent() -> None:
    """An aborted one at once."""
    wire = Wire()
    stream, other = wire.dial(), wire.dial()
    stream.send(b"x")
    stream.close()
    other.send(b"y")
    other.close(abort=True)
    stream.send(b"too late")
    wire.run(1.0)
    assert [b"x"] == wire.b.heard
    assert 2 * ["the other side closed the connection"] == wire.b.lost
    assert [] == wire.a.lost


def test_who_sends_to_a_host_that_has_restarted_is_reset() -> None:
    """And who sends to one that is off waits in vain."""
    wire = Wire()
    stream, other = wire.dial(), wire.dial()
    for end in wire.b.streams:
        end.vanish()
    wire.network.unplug(wire.b)
    stream.send(b"x")
    wire.run(5.0)
    Plug(wire.network, "10.0.0.2")
    other.send(b"y")
    wire.run(10.0)
    assert 2 * ["the other side reset the connection"] == wire.a.lost


def test_dialling_fails_where_nobody_listens_or_answers() -> None:
    """At once in the first case, after some time in the second."""
    wire = Wire()
    wire.dial(port=9)
    assert ["the connection was refused"] == wire.failed
    wire.network.block("10.0.0.2", "10.0.0.1")
    wire.dial()
    assert 1 == len(wire.failed)
    wire.run(20.0)
    assert ["the connection was refused", "no answer"] == wire.failed


def test_a_call_that_was_given_up_reaches_nobody() -> None:
    """Neither side hears of it."""
    wire = Wire()
    stream = wire.network.dial(
        wire.a, "10.0.0.2", 1, wire.a, lambda _: wire.failed.append("connected"), wire.failed.append
    )
    stream.close()
    wire.run(20.0)
    assert ([], []) == (wire.failed, wire.b.streams)


# --- The disk ---------------------------------------------------------------------------------


def test_a_crash_loses_a_random_part_of_what_was_not_flushed() -> None:
    """Never more, and what is left of it may be torn."""
    results = set()
    for seed in range(200):
        disk = VirtualDisk()
        disk.append("file", b"safe")
        disk.flush("file")
        disk.append("file", b"x" * 20)
        disk.crash(random.Random(seed))
        data = disk.read("file")
        assert data.startswith(b"safe")
        assert len(data) <= 24
        results.add(data)
    assert b"safe" in results
    assert b"safe" + b"x" * 20 in results
    assert any(b"\0" in data for data in results), "zeros are what a lost sector looks like"
    assert len(results) > 50


def commit_for_ever(state: VirtualSaveState, size: int, done: list[int]) -> None:
    for number in itertools.count(1):
        state.commit([("key", b"%d." % number + bytes(size))])
        done.append(number)


def test_the_log_of_a_save_state_is_rewritten_when_it_is_long() -> None:
    """So it does not grow for ever, and a power cut in between loses nothing."""
    for cut_at in range(400, 440):
        disk = VirtualDisk()
        state = VirtualSaveState(disk)
        state.open()
        disk.cut_power_after(cut_at)
        done: list[int] = []
        with pytest.raises(PowerCut):
            commit_for_ever(state, 1_000, done)
        disk.crash(random.Random(cut_at))
        assert disk.used_bytes() < 200_000
        again = VirtualSaveState(disk)
        again.open()
        value = again.get("key")
        assert value is not None
        assert int(value.partition(b".")[0]) in (done[-1], done[-1] + 1)


def test_nothing_is_acknowledged_after_a_failed_flush() -> None:
    """Until the save state is opened again."""
    disk = VirtualDisk()
    state = VirtualSaveState(disk)
    state.open()
    state.commit([("a", b"1")])
    disk.flush_fails = True
    for _ in range(2):
        with pytest.raises(SaveError, match="reopen the database"):
            state.commit([("a", b"2")])
    assert b"1" == state.get("a")
    state.check()
    state.close()
    state.open()
    state.commit([("a", b"3")])
    assert b"3" == state.get("a")


def test_a_virtual_save_state_notices_that_its_log_was_changed() -> None:
    """Checking reads it anew."""
    disk = VirtualDisk()
    state = VirtualSaveState(disk)
    state.open()
    state.commit([("a", b"1")])
    with pytest.raises(DatabaseLockedError, match="already open"):
        state.open()
    disk.truncate("database", 3)
    with pytest.raises(DatabaseCorruptError, match="other records"):
        state.check()


def test_zeros_after_the_magic_number_of_a_record_are_no_record() -> None:
    """A crash can leave them behind it, and the checksum of nothing would be zero, too."""
    disk = VirtualDisk()
    state = VirtualSaveState(disk)
    state.open()
    state.commit([("a", b"1")])
    state.close()
    size = disk.used_bytes()
    disk.append("database", b"cyto" + bytes(8))
    state.open()
    assert b"1" == state.get("a")
    assert size == disk.used_bytes(), "they were cut off"


def test_a_full_disk_does_not_keep_a_log_from_being_read() -> None:
    """It is only not rewritten."""
    disk = VirtualDisk()
    state = VirtualSaveState(disk)
    state.open()
    disk.capacity = 100_000
    with pytest.raises(SaveError, match="full"):
        commit_for_ever(state, 30_000, [])
    disk.capacity = None
    state.commit([("key", b"1")])
    state.close()
    state.open()
    assert b"1" == state.get("key")


# --- Devices ----------------------------------------------------------------------------------


def test_a_partition_in_one_direction_keeps_devices_apart(world: World) -> None:
    """Who is heard and hears nothing has no connection either."""
    a, b = world.devices(2)
    world.partition(a, b, one_way=True)
    world.run(60)
    a.dispatch(Set("$.a", 1))
    b.dispatch(Set("$.b", 1))
    world.run(60)
    assert not (a.is_connected(b) and b.is_connected(a))
    world.heal()
    world.settle()
    assert {"a": 1, "b": 1} == a.document == b.document


def test_a_group_is_parted_from_all_others(world: World) -> None:
    """Inside of each group everything goes on."""
    a, b, c = world.devices(3)
    world.partition([a, b])
    a.dispatch(Set("$.x", 1))
    world.run(60)
    assert {"x": 1} == b.document
    assert {} == c.document
    world.heal()
    world.settle()
    assert {"x": 1} == c.document


def test_devices_sync_through_loss_duplicates_and_delay(world: World) -> None:
    """30 % of all packets are lost, and late ones overtake each other."""
    a, b = world.devices(2)
    conditions = world.conditions
    conditions.loss, conditions.duplicates = 0.3, 0.3
    conditions.delay_s, conditions.jitter_s = 0.2, 1.0
    for number in range(20):
        a.dispatch(Set(f"$.n{number}", number))
        world.run(1.0)
    world.run(120)
    assert a.document == b.document
    assert 20 == len(b.document)


def test_a_clock_that_jumps_changes_no_order(world: World) -> None:
    """A later write of a device whose clock is years behind still wins."""
    a, b = world.devices(2)
    a.dispatch(Set("$.x", "first"))
    world.settle()
    b.move_clock(-1e8)
    b.dispatch(Set("$.x", "second"))
    world.settle()
    assert "second" == a.get("x")


def test_a_device_at_another_address_is_found_again(world: World) -> None:
    """Its streams are gone, its pairings are not."""
    a, b = world.devices(2)
    before = a.ip_address
    a.move_to()
    world.run(15)
    a.dispatch(Set("$.x", 1))
    world.settle()
    assert before != a.ip_address
    assert {"x": 1} == b.document


def test_a_restored_backup_gets_back_what_others_have(world: World) -> None:
    """And writes on under ids that nobody else has."""
    a, b = world.devices(2)
    backup = a.backup()
    a.dispatch(Set("$.x", 1))
    world.settle()
    world.partition(a, b)
    a.restore(backup)
    assert {} == a.document
    a.dispatch(Set("$.y", 2))
    world.heal()
    world.settle()
    assert {"x": 1, "y": 2} == a.document == b.document


def test_a_clone_has_the_same_identity_and_keeps_its_own_writes(world: World) -> None:
    """Both write under one author id until they learn of each other."""
    a, b = world.devices(2)
    world.partition(a, b)
    twin = a.clone()
    assert a.peer_id == twin.peer_id
    a.dispatch(Set("$.a", 1))
    a.stop()
    twin.dispatch(Set("$.twin", 2))
    world.heal()
    world.settle()
    twin.stop()
    a.start()
    world.settle()
    assert {"a": 1, "twin": 2} == a.document == b.document


def test_a_killed_program_loses_nothing_and_others_hear_at_once(world: World) -> None:
    """Its system resets the connections; in a power cut there is only silence."""
    a, b = world.devices(2)
    a.dispatch(Set("$.x", 1))
    a.crash(power=False)
    world.run(1.0)
    assert not any(row["connected"] for row in b.peers())
    a.start()
    assert {"x": 1} == a.document
    world.settle()
    a.crash()
    world.run(1.0)
    assert any(row["connected"] for row in b.peers())


def test_the_power_may_fail_while_a_device_merges(world: World) -> None:
    """The world goes on; the device is down, and whole when it is started again."""
    a, b = world.devices(2)
    b.cut_power_at_write(1)
    a.dispatch(Set("$.x", 1))
    world.run(5.0)
    assert not b.is_up
    assert [] == b.peers() == b.problems()
    b.start()
    world.settle()
    assert {"x": 1} == b.document


def test_the_power_may_fail_while_a_device_starts_or_stops(world: World) -> None:
    """The call says so, and the device is down."""
    a = world.device()
    a.dispatch(Set("$.x", 1))
    a.stop()
    assert a.disk.writes
    a.disk.rename("database", "database")
    a.cut_power_at_write(1)
    with pytest.raises(PowerCut):
        a.start().dispatch(Set("$.x", 2))
    assert not a.is_up
    a.mend_disk()
    assert "<Device device-1, up>" == repr(a.start())


def test_a_device_offers_what_a_database_offers(world: World) -> None:
    """Reading, subscribing, listening, transactions, metadata."""
    a, b = world.devices(2, app=lambda db: db.peer_id)
    assert a.app == a.peer_id
    lists: list[Any] = []
    metas: list[Any] = []
    errors: list[Any] = []
    a.subscribe("$.list", lists.append)
    a.subscribe_meta("$.failures", metas.append)
    a.on("callback_error", errors.append)
    with a.transaction() as transaction:
        transaction.dispatch(Set("$.list", []))
        transaction.dispatch(InsertAfter("$.list[0]", 1))
    world.settle()
    assert [[], [[1]]] == lists
    assert [[[]]] == metas
    assert [] == errors == a.failures
    assert [[1]] == b.query_once("$.list")
    assert [b.peer_id] == a.query_once_meta("$.pairings[*].id")
    assert 1 == a.get("list", 0)
    a.dismiss_failures([])
    a.check()
    assert a.state_hash() == b.state_hash()
    assert a is a.start() is a.restart()
    a.stop()
    a.stop()
    with pytest.raises(DatabaseClosedError):
        a.get("list")


def test_the_power_may_fail_while_a_transaction_is_written(world: World) -> None:
    """The device is down then, as after any other dispatch."""
    a = world.device()
    a.cut_power_at_write(1)
    with pytest.raises(PowerCut), a.transaction() as transaction:
        transaction.dispatch(Set("$.x", 1))
    assert not a.is_up
    with pytest.raises(DatabaseClosedError), a.transaction():
        pass


def test_a_device_is_no_database(world: World) -> None:
    """What would end the program behind its back it does not have."""
    with pytest.raises(AttributeError, match="a device has no 'close'; its database, `db`, may"):
        world.device().close()


def test_a_virtual_network_is_commanded_as_a_real_one(world: World) -> None:
    """Unknown commands and those after its end are refused."""
    a = world.device()
    service = a._service
    assert service is not None
    with pytest.raises(ValueError, match="is not a command"):
        service.command("dance")
    a.stop()
    with pytest.raises(NetworkError, match="is not running"):
        service.command("set_visible", True)
    service.local_changes()
    service.stop()


def test_what_does_not_come_to_be_fails_with_the_seed(world: World) -> None:
    """So that it can be replayed."""
    with pytest.raises(AssertionError, match=r"within 5 simulated seconds \(seed 1, "):
        world.run_until(lambda: False, 5)


def test_equal_devices_that_cannot_connect_are_not_settled(world: World) -> None:
    """Nothing differs, and yet the promise is broken."""
    a, b = world.devices(2)
    world.partition(a, b)
    world.run(30)
    with pytest.raises(AssertionError, match="hold the same are not connected"):
        world.settle(10)


# --- The ledger -------------------------------------------------------------------------------


def test_a_ledger_tells_what_is_missing() -> None:
    """A write that was not found is one, unless it failed, was struck off or is not certain."""
    ledger = Ledger()
    ledger.note(Write("keep", "a", 1, "keys", "a:1"))
    ledger.note(Write("keep", "a", 2, "keys", "a:2"))
    ledger.note(Write("keep", "a", 3, "keys", "a:3", is_certain=False))
    ledger.note(Write("keep", "b", 1, "one", "b:1"))
    ledger.note(Write("keep", "a", 4, "keys", "a:4"))
    assert [] == ledger.missing_kept({"keys": ["a:1", "a:4"], "one": "b:1"}, '["a:2"]')
    [first, second] = ledger.missing_kept({"keys": ["a:2", "a:4"]}, "")
    assert "a was told that its write 1 is safe" in first
    assert "'b:1' is neither at one" in second
    ledger.restored("a", 3)
    assert [] == ledger.missing_kept({"keys": ["a:1", "a:2"], "one": "b:1"}, "")


def test_a_ledger_tells_which_register_holds_what_was_overwritten() -> None:
    """Concurrent values may both stand; one that somebody had seen and replaced may not."""
    ledger = Ledger()
    ledger.note(Write("register", "a", 1, "x", "a:1"))
    ledger.note(Write("register", "b", 1, "x", "b:1"))
    ledger.note(Write("register", "b", 2, "x", "b:2", frozenset(["a:1"])))
    assert (
        [] == ledger.wrong_registers({"x": "b:2"}, "") == ledger.wrong_registers({"x": "b:1"}, "")
    )
    [complaint] = ledger.wrong_registers({"x": "a:1"}, "")
    assert "x is 'a:1' of a, which b had seen when it wrote 'b:2' there" == complaint
    assert [] == ledger.wrong_registers({"x": "a:1"}, '"b:2"')
    assert ["x is 'else', which nobody wrote"] == ledger.wrong_registers({"x": "else"}, "")


def test_a_ledger_counts_additions() -> None:
    """Between those that are certain and all that may have happened."""
    ledger = Ledger()
    ledger.note(Write("add", "a", 1, "n", 1))
    ledger.note(Write("add", "a", 2, "n", 1, is_certain=False))
    ledger.note(Write("add", "a", 3, "n", 1))
    ledger.restored("a", 2)
    assert {"n": (1, 3)} == ledger.counter_bounds()
