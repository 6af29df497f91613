"""Two and three databases in one process that meet over the loopback interface.

Real sockets, app ids that nobody else has, and no sleeping: tests wait for what is to be heard.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cytosol
from tests.unit.database.databases import Heard, new_app_id, open_alone
from tests.unit.database.devices import CODE, Devices, pair
from tests.unit.document.faulty_state import FaultyState


@pytest.fixture
def devices() -> Iterator[Devices]:
    """Devices of an app of their own."""
    made = Devices()
    try:
        yield made
    finally:
        made.close()


def test_two_devices_pair_sync_and_part(devices: Devices, tmp_path: Path) -> None:
    """From the first heartbeat to the unpairing, both kinds of files, through the public API."""
    a = devices.make("Laptop", tmp_path / "a.cytosol")
    b = devices.make("Phone", cytosol.JsonFileSaveState(tmp_path / "b.json"))
    a.db.dispatch(cytosol.Set("$.from_a", {"list": [1]}))
    b.db.dispatch(cytosol.Set("$.from_b", True))
    pair(a, b)
    assert "Laptop" == b.heard["pair_request"].calls[0].peer_name
    # what was written before they met
    a.until("$.from_b", [True])
    b.until("$.from_a", [{"list": [1]}])
    # live, in both directions, and a transaction as one
    changes = Heard()
    with b.db.subscribe("$['x','y']", changes):
        a.db.dispatch(cytosol.Transaction([cytosol.Set("$.x", 1), cytosol.Set("$.y", 2)]))
        changes.wait_for([1, 2])
        assert [[], [1, 2]] == changes.calls
    b.db.dispatch(cytosol.Add("$.x", 10))
    a.until("$.x", [11])
    assert a.db.query_once("$") == b.db.query_once("$")
    assert a.db.state_hash() == b.db.state_hash()
    for device in (a, b):
        device.db.check()
    # part
    assert ["Phone"] == a.db.query_once_meta("$.pairings[*].name")
    a.db.dispatch(cytosol.Unpair(b.db.peer_id))
    assert a.db.peer_id == b.heard["unpaired"].wait_for_one().peer_id
    assert b.db.peer_id == a.heard["unpaired"].wait_for_one().peer_id
    a.until_meta("$.pairings[*]", [])
    b.until_meta("$.pairings[*]", [])
    a.db.dispatch(cytosol.Set("$.x", "alone"))
    assert [11] == b.db.query_once("$.x")


def test_a_reopened_device_finds_its_peer_again(devices: Devices, tmp_path: Path) -> None:
    """Without pairing anew, and with what was written meanwhile."""
    path = tmp_path / "a.cytosol"
    a, b = devices.make("A", path), devices.make("B")
    pair(a, b)
    peer_id = a.db.peer_id
    a.db.close()
    assert peer_id == b.heard["peer_disconnected"].wait_for_one().peer_id
    with open_alone(path, app_id=devices.app_id) as alone:
        alone.dispatch(cytosol.Set("$.offline", 1))
    b.db.dispatch(cytosol.Set("$.meanwhile", 2))
    again = devices.make("A", path)
    assert peer_id == again.db.peer_id
    again.until("$.meanwhile", [2])
    b.until("$.offline", [1])


def test_many_threads_write_while_devices_sync(devices: Devices, tmp_path: Path) -> None:
    """Every number that was added arrives, and callbacks may write, too."""
    a, b = devices.make("A", tmp_path / "a"), devices.make("B", tmp_path / "b")
    pair(a, b)
    a.db.dispatch(cytosol.Set("$.n", 0))
    b.until("$.n", [0])
    b.db.subscribe("$.n", lambda values: b.db.dispatch(cytosol.Set("$.seen", values)))

    def add(db: cytosol.Database) -> None:
        for _ in range(40):
            db.dispatch(cytosol.Add("$.n", 1))

    threads = [threading.Thread(target=add, args=(each.db,)) for each in (a, a, b, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    a.until("$.n", [160])
    b.until("$.n", [160])
    a.until("$.seen", [[160]])
    for device in (a, b):
        device.db.check()


def test_waiting_for_a_peer_ends_when_it_is_connected(devices: Devices) -> None:
    """And after a time-out, and when the database closes."""
    a, b = devices.make("A"), devices.make("B")

    async def main() -> None:
        with pytest.raises(cytosol.PeerTimeoutError, match=r"within 0\.01 s"):
            await a.db.wait_for_peer(b.db.peer_id, timeout=0.01)
        await asyncio.gather(
            a.db.wait_for_peer(b.db.peer_id, timeout=30),
            b.db.wait_for_peer(a.db.peer_id.upper(), timeout=30),
            asyncio.to_thread(pair, a, b),
        )
        await a.db.wait_for_peer(b.db.peer_id)
        waiting = asyncio.create_task(a.db.wait_for_peer(new_app_id()))
        await asyncio.sleep(0)
        await asyncio.to_thread(a.db.close)
        with pytest.raises(cytosol.DatabaseClosedError):
            await waiting

    asyncio.run(main())


def test_a_rejected_request_is_told_to_who_asked(devices: Devices) -> None:
    """Nobody is paired."""
    a, b = devices.make("A"), devices.make("B")
    a.until_meta("$.peers[*].name", ["B"])
    a.db.dispatch(cytosol.RequestPair(b.db.peer_id, CODE))
    request = b.heard["pair_request"].wait_for_one()
    b.db.dispatch({"action": "RejectPair", "payload": {"uuid": request.peer_id}})
    response = a.heard["pair_response"].wait_for_one()
    assert not response.accepted
    assert response.reason
    assert [] == a.db.query_once_meta("$.pairings[*]") == b.db.query_once_meta("$.pairings[*]")


def test_a_request_to_nobody_is_refused(devices: Devices) -> None:
    """A peer that is not visible cannot be asked, and one that did not ask cannot be answered."""
    a = devices.make("A")
    for action in (
        cytosol.RequestPair(new_app_id(), CODE),
        cytosol.AcceptPair(new_app_id(), CODE),
        cytosol.RejectPair(new_app_id()),
    ):
        with pytest.raises(cytosol.PairingError):
            a.db.dispatch(action)
    with pytest.raises(cytosol.CytosolError):
        a.db.dispatch(cytosol.RequestPair(a.db.peer_id, CODE))


def test_closing_ends_threads_and_sockets(devices: Devices) -> None:
    """Nothing of the network is left, also when a callback of it closes the database."""
    before = set(threading.enumerate())
    a, b = devices.make("A"), devices.make("B")
    b.db.on("pair_request", lambda event: b.db.close())
    a.until_meta("$.peers[*].name", ["B"])
    a.db.dispatch(cytosol.RequestPair(b.db.peer_id, CODE))
    assert not a.heard["pair_response"].wait_for_one().accepted
    a.db.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert before >= set(threading.enumerate())


def test_a_full_disk_stops_neither_the_peer_nor_what_comes_later(devices: Devices) -> None:
    """What could not be saved is sent again as soon as there is space."""
    state = FaultyState()
    a, b = devices.make("A"), devices.make("B", state)
    pair(a, b)
    a.db.dispatch(cytosol.Set("$.before", 1))
    b.until("$.before", [1])
    state.fill()
    with pytest.raises(cytosol.SaveError):
        b.db.dispatch(cytosol.Set("$.b", 1))
    while state.entered.acquire(blocking=False):
        pass
    a.db.dispatch(cytosol.Set("$.during", 1))
    assert state.entered.acquire(timeout=30)  # it tries to take that in
    assert [] == b.db.query_once("$['b','during']")
    state.free()
    b.db.dispatch(cytosol.Set("$.b", 2))
    b.until("$.during", [1])
    a.until("$.b", [2])
    assert [] == b.heard["peer_disconnected"].calls
    b.db.check()
