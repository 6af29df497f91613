"""The connections between paired devices keep the published contract of transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cytosol.database.connections import DeviceConnection
from cytosol.testing.transport_contract import TransportContract
from tests.unit.database.device_lines import Line


class TestDeviceConnections(TransportContract):
    """Two groups, joined as by the network."""

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[DeviceConnection, DeviceConnection]]:
        line = Line()
        for side in line.sides:
            side.group.visit()
        line.connect()
        a, b = line.sides
        yield a.connection, b.connection
        for side in line.sides:
            side.group.close()
