"""One graph of a history: of either kind, over any storage, that can end and begin again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import cytosol
from cytosol.graph import Graph, MemoryStorage, NodeMap, Router, SaveStateStorage
from cytosol.graph.clock import ZERO
from cytosol.graph.connection import ConnectionGroup
from cytosol.savestates import (
    InMemorySaveState,
    JsonFileSaveState,
    SaveState,
    SqliteSaveState,
)
from tests.graph.graph_oracle import Assignment, OracleGraph
from tests.graph.routing import Timer
from tests.unit.database.databases import open_alone

STORAGES = ("memory", "save state in memory", "json file", "sqlite")


class Replica:
    """A graph, what it is stored in and joined by, and what has been announced about it."""

    def __init__(
        self, place: int, storage: str, directory: Path | None, dice: random.Random, timer: Timer
    ) -> None:
        self.place = place
        self.networks: list[ConnectionGroup] = []
        self.seen = OracleGraph()
        self.histories: list[NodeMap] = []
        self.sent = 0
        self.is_loaded = True  # whether memory has all that the storage has
        self.database: cytosol.Database | None = None
        self.graph: Graph
        self._is_in_database = storage.startswith("database")
        self._storage = storage.removeprefix("database over ")
        self._directory = directory
        self._dice = dice
        self._timer = timer
        self._memory = MemoryStorage()
        self._records = InMemorySaveState()

    def _save_state(self) -> SaveState:
        match self._storage:
            case "json file":
                assert self._directory is not None
                return JsonFileSaveState(self._directory / f"{self.place}.json")
            case "sqlite":
                assert self._directory is not None
                return SqliteSaveState(self._directory / f"{self.place}.db")
        return self._records

    def open(self) -> None:
        """Begin, or begin again with what is stored."""
        configs: list[dict[str, Any]] = [{"network": group} for group in self.networks]
        self.router = Router(timer=self._timer)
        configs.append({"router": self.router})
        if self._is_in_database:
            self.database = open_alone(self._save_state())
            self.graph = self.database.graph("$.graph", *configs)
        else:
            storage: Any = self._memory
            if self._storage != "memory":
                storage = SaveStateStorage(self._save_state())
            author = self._dice.randbytes(16)  # nobody uses the ids of an earlier run again
            self.graph = Graph({"storage": storage}, *configs, author=author)
        self.graph.on("update", self._hear)
        self.graph.on("history", self._remember)
        self._count_messages()

    def _count_messages(self) -> None:
        courier = self.router._courier
        send = courier.send

        def counted(channel: Any, message: Any) -> bool:
            self.sent += 1
            return send(channel, message)

        courier.send = counted  # type: ignore[method-assign]  # to listen in

    def _hear(self, update: NodeMap) -> None:
        for key, node in update:
            if node.gone is not ZERO:
                self.seen.assignments.add(Assignment(key, "gone", "", None, node.gone))
            if node.made is not ZERO:
                self.seen.assignments.add(Assignment(key, "made", "", None, node.made))
            for field, (value, stamp) in node.entries.items():
                self.seen.assignments.add(Assignment(key, "field", field, value, stamp))

    def _remember(self, history: NodeMap) -> None:
        self.histories = [*self.histories[-9:], history]

    async def close(self) -> None:
        """End in an orderly way; peers that are away are not waited for."""
        closing = asyncio.ensure_future(self.graph.close())
        while not closing.done():
            self._timer.ring()
            await asyncio.sleep(0.001)
        await closing
        if self.database is not None:
            self.database.close()

    @property
    def is_quiet(self) -> bool:
        """Whether everybody it is joined with has acknowledged everything, and it them."""
        channels = self.router._courier.channels.values()
        return (
            self.graph._turns.is_free
            and sum(map(len, self.networks)) == len(channels) > 0
            and not any(
                channel.session is None
                or channel.is_offline
                or channel.connection.link.unacknowledged  # type: ignore[attr-defined]  # shipped
                or channel.inbox
                or channel.worker
                or not channel.peer.is_quiet
                for channel in channels
            )
        )

    def shown(self) -> dict[str, Any]:
        """Return the fields that are there, with their ids; nodes without fields left out.

        Whether such a node was made after its deletion a database does not always know.
        """
        return {
            key: {field: (value, node.state(field)) for field, value in node}
            for key, node in self.graph
            if len(node)
        }
