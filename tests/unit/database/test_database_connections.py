"""Graphs of two databases that talk as paired devices do, over the loopback interface.

Real sockets and no sleeping: tests wait for what is to be heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import cytosol
from cytosol.database.connections import DeviceConnection
from cytosol.errors import DatabaseClosedError, GraphError, PermissionDeniedError
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.rules import Route
from tests.graph.running import run
from tests.unit.database.databases import open_alone
from tests.unit.database.devices import Device, Devices, pair

PATIENCE_S = 60.0


@pytest.fixture
def devices() -> Iterator[Devices]:
    """Devices of an app of their own."""
    made = Devices()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def two(devices: Devices) -> tuple[Device, Device]:
    """Two devices that are paired and connected."""
    a, b = devices.make("Laptop"), devices.make("Phone")
    pair(a, b)
    return a, b


def connection_of(device: Device, other: Device) -> DeviceConnection:
    """Return the connection of one device to another."""
    connection = device.db.connections.get(other.db.peer_id)
    assert isinstance(connection, DeviceConnection)
    return connection


async def heard(source: Any, event: str, when: Callable[[], bool]) -> None:
    """Wait until something is so, looking whenever `source` tells of an event."""
    changed = asyncio.Event()
    subscription = source.on(event, lambda _: changed.set())
    try:
        while not when():
            await changed.wait()
            changed.clear()
    finally:
        subscription.cancel()


async def online(*connections: DeviceConnection) -> None:
    """Wait until all are online."""
    for connection in connections:
        await heard(connection, "online", lambda it=connection: not it.offline)  # type: ignore[misc]  # mypy knows no defaults here


async def offline(*connections: DeviceConnection) -> None:
    """Wait until all are offline."""
    for connection in connections:
        await heard(connection, "offline", lambda it=connection: it.offline)  # type: ignore[misc]  # as above


async def until_it_has(graph: Graph, key: str, wanted: dict[str, Any]) -> None:
    """Wait until a graph has a node like this, without asking anybody."""
    found: list[Any] = []

    async def look() -> bool:
        node = await graph.read(key, network=None)
        found[:] = [] if node is None else [node.snapshot()]
        return found == [wanted]

    changed = asyncio.Event()
    subscription = graph.on("update", lambda _: changed.set())
    try:
        while not await look():
            await changed.wait()
            changed.clear()
    finally:
        subscription.cancel()


def test_two_graphs_sync_as_paired_devices(two: tuple[Device, Device]) -> None:
    """Writes, reads, a break, and both ways after it; the documents know nothing of it."""
    a, b = two

    async def main() -> None:
        at_a = Graph({"network": a.db.connections, "router": Router()})
        at_b = Graph({"network": b.db.connections, "router": Router()})
        to_b, to_a = connection_of(a, b), connection_of(b, a)
        async with at_a, at_b:
            await online(to_b, to_a)
            await at_a.write("notes/1", {"text": "milk"})
            await until_it_has(at_b, "notes/1", {"text": "milk"})
            a.db.dispatch(cytosol.SetSyncEnabled(False))
            await offline(to_b, to_a)
            await at_a.write("notes/1", {"text": "bread"})
            await at_b.write("notes/2", {"by": "b"})
            a.db.dispatch(cytosol.SetSyncEnabled(True))
            await online(to_b, to_a)
            await until_it_has(at_b, "notes/1", {"text": "bread"})
            await until_it_has(at_a, "notes/2", {"by": "b"})
            node = await at_a.read("notes/2", force=True)
            assert node is not None

    run(main(), PATIENCE_S)
    assert [[{}], [{}]] == [device.db.query_once("$") for device in two]


def test_nothing_is_lost_or_doubled_over_reconnects(two: tuple[Device, Device]) -> None:
    """Messages of both sides, large ones among them, while the connection breaks again and again;
    the document syncs all the same."""
    a, b = two

    async def main() -> None:
        to_b, to_a = connection_of(a, b), connection_of(b, a)
        at_a: list[int] = []
        at_b: list[int] = []
        came = asyncio.Event()

        def take(got: list[int], message: Any) -> None:
            got.append(message[0])
            came.set()

        for connection, got in ((to_b, at_a), (to_a, at_b)):
            connection.messages.listen(partial(take, got))
        for number in range(30):
            for connection in (to_b, to_a):
                connection.send([number, "x" * (200_000 if number % 5 == 0 else 10)])
            if number % 10 == 5:
                await online(to_b, to_a)
                a.db.dispatch(cytosol.SetSyncEnabled(False))
                await offline(to_b)
                a.db.dispatch(cytosol.SetSyncEnabled(True))
            a.db.dispatch(cytosol.Set("$.n", number))
        while len(at_a) < 30 or len(at_b) < 30:
            await came.wait()
            came.clear()
        assert [*range(30)] == at_a == at_b

    run(main(), PATIENCE_S)
    b.until("$.n", [29])


def test_the_document_syncs_past_programs_that_are_busy(two: tuple[Device, Device]) -> None:
    """Twenty megabytes wait, nobody takes them, and a write in the document arrives."""
    a, b = two

    async def main() -> None:
        to_b, to_a = connection_of(a, b), connection_of(b, a)
        got: list[Any] = []
        came = asyncio.Event()
        to_a.messages.listen(lambda message: (got.append(message[0]), came.set()))  # type: ignore[func-returns-value]  # two calls in one
        await online(to_b, to_a)
        for number in range(200):
            to_b.send([number, "x" * 100_000])
        await asyncio.sleep(0)  # the first pieces leave; then this loop, that of both, is busy
        a.db.dispatch(cytosol.Set("$.from_a", 1))
        b.until("$.from_a", [1])
        b.db.dispatch(cytosol.Set("$.from_b", 1))
        a.until("$.from_b", [1])
        assert len(got) < 10, "as many as one turn of the loop may bring"
        while len(got) < 200:
            await came.wait()
            came.clear()
        assert [*range(200)] == got

    run(main(), PATIENCE_S)


def test_rules_see_which_device_it_is(two: tuple[Device, Device]) -> None:
    """A refused write raises where it was made."""
    a, b = two

    async def main() -> None:
        def own(identity: Any, key: str, patch: Any) -> bool:
            return key == f"pages/{identity}"

        at_a = Graph({"network": a.db.connections, "router": Router()})
        at_b = Graph({"network": b.db.connections, "router": Router([Route("*", True, own)])})
        async with at_a, at_b:
            await online(connection_of(a, b), connection_of(b, a))
            mine = f"pages/{a.db.peer_id}"
            await at_a.write(mine, {"title": "A"})
            await until_it_has(at_b, mine, {"title": "A"})
            await at_a.read(mine, force=True)  # now they surely know each other
            with pytest.raises(PermissionDeniedError):
                await at_a.write(f"pages/{b.db.peer_id}", {"title": "not mine"})

    run(main(), PATIENCE_S)


def test_an_unpaired_device_leaves_the_group(two: tuple[Device, Device]) -> None:
    """On both sides, at once, and what waits for it is dropped."""
    a, b = two

    async def main() -> None:
        groups = [device.db.connections for device in (a, b)]
        to_b = connection_of(a, b)
        await online(to_b, connection_of(b, a))
        a.db.dispatch(cytosol.Unpair(b.db.peer_id))
        for group in groups:
            await heard(group, "remove", lambda it=group: not len(it))  # type: ignore[misc]  # as above
        with pytest.raises(GraphError, match="taken out"):
            to_b.send("x")

    run(main(), PATIENCE_S)


def test_a_device_that_does_not_use_the_group_is_offline(two: tuple[Device, Device]) -> None:
    """And one whose loop has ended becomes so; the next loop goes on where the first one was."""
    a, b = two
    got: list[Any] = []

    async def only_a() -> None:
        to_b = connection_of(a, b)
        to_b.send("early")
        assert to_b.offline

    async def both() -> None:
        came = asyncio.Event()

        def take(message: Any) -> None:
            got.append(message)
            came.set()

        connection_of(b, a).messages.listen(take)
        assert a.db.connections
        while not got:
            await came.wait()
            came.clear()

    run(only_a(), PATIENCE_S)
    run(both(), PATIENCE_S)
    run(both(), PATIENCE_S)
    assert ["early"] == got


def test_a_closed_database_ends_its_connections(two: tuple[Device, Device]) -> None:
    """The group cannot be asked for any more, and the other side is told that it is gone."""
    a, b = two

    async def main() -> None:
        to_b, to_a = connection_of(a, b), connection_of(b, a)
        await online(to_b, to_a)
        await asyncio.to_thread(a.db.close)
        await offline(to_a)
        with pytest.raises(DatabaseClosedError):
            assert a.db.connections
        with pytest.raises(GraphError, match="database was closed"):
            to_b.send("x")

    run(main(), PATIENCE_S)


def test_a_database_without_the_network_has_the_group_too() -> None:
    """Everybody in it is offline."""

    async def main() -> None:
        with open_alone() as db:
            assert 0 == len(db.connections)
            assert db.connections is db.connections

    run(main())
