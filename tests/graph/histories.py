"""Random histories of three graphs, over every transport, storage and kind of graph.

The seed decides what is done; when messages arrive, sockets decide. So a line that replays a
failure may have to be run several times:

```text
python -m tests.graph.histories TRANSPORT GRAPHS SEED STEPS
```
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import cytosol
from cytosol.graph import Branch, Graph, Pointer
from tests.graph.branch_model import BranchModel
from tests.graph.graph_oracle import OracleGraph
from tests.graph.replicas import STORAGES, Replica
from tests.graph.routing import Timer, settle
from tests.graph.served import run_clean
from tests.graph.wiring import Join, join

TRANSPORTS = ("pair", "websocket", "http", "webrtc", "mixed")
GRAPHS = ("alone", "in databases", "mixed")
TOPOLOGIES = ([(0, 1), (1, 2), (2, 0)], [(0, 1), (1, 2)], [(0, 1), (0, 1), (1, 2)])
KEYS = ("a", "b", "ключ", "d")
FIELDS = ("x", "y", "z")
WRONG = ("malformed", "refused", "denied", "failed", "too large")
PATIENCE_S = 150.0
ROUNDS_MAX = 60_000  # of a millisecond or more: WebRTC takes 30 s to call a path dead


class World:
    """Three graphs, what joins them, and the dice."""

    def __init__(self, transport: str, graphs: str, seed: int, directory: Path) -> None:
        self.dice = random.Random(seed)
        self.timer = Timer()
        self.count = 0
        self.running: list[asyncio.Task[Any]] = []
        self.branches: list[tuple[Replica, Branch, BranchModel | None]] = []
        self.wrong: list[str] = []
        kinds = ("pair", "websocket", "http", "webrtc") if transport == "mixed" else (transport,)
        self.replicas = [self._replica(place, graphs, directory) for place in range(3)]
        self.joins: list[Join] = []
        for number, places in enumerate(self.dice.choice(TOPOLOGIES)):
            made = join(self.dice.choice(kinds), f"{number}:{places[0]}-{places[1]}", self.dice)
            self.joins.append(made)
            for place, network in zip(places, made.ends, strict=True):
                self.replicas[place].networks.append(network)

    def _replica(self, place: int, graphs: str, directory: Path) -> Replica:
        storage = self.dice.choice(STORAGES)
        if graphs == "in databases" or (graphs == "mixed" and place != 1):
            storage = "database over " + self.dice.choice(STORAGES[1:])
        return Replica(place, storage, directory, self.dice, self.timer)

    async def begin(self) -> None:
        """Open everything."""
        for each in self.joins:
            await each.open()
        for replica in self.replicas:
            replica.open()

    async def step(self) -> None:
        """Do one thing, and let some of what follows happen."""
        actions = [self.write] * 6 + [self.delete] * 2 + [self.branch] * 2 + [self.edit] * 3
        actions += [self.delete_field, self.rebase, self.rebase, self.commit, self.commit]
        actions += [self.undo, self.read, self.cut, self.part, self.mend, self.mend, self.ring]
        actions += [self.dispatch, self.meet]
        if self.dice.random() < 0.1:
            actions = [self.restart, self.forget]
        await self.dice.choice(actions)()
        await settle(self.dice.choice([0, 0, 1, 3, 10, 50]))

    def _any(self) -> Replica:
        return self.dice.choice(self.replicas)

    def _key(self) -> str:
        return self.dice.choice(KEYS)

    def _patch(self) -> dict[str, Any]:
        self.count += 1
        value = Pointer(self._key()) if self.dice.random() < 0.1 else self.count
        return dict.fromkeys(self.dice.sample(FIELDS, self.dice.randint(0, 2)), value)

    def _begin(self, awaitable: Awaitable[Any]) -> None:
        self.running.append(asyncio.ensure_future(_awaited(awaitable)))

    # --- What graphs do -------------------------------------------------------------------

    async def write(self) -> None:
        """Write some fields of a node."""
        self._begin(self._any().graph.write(self._key(), self._patch()))

    async def delete(self) -> None:
        """Delete a node."""
        self._begin(self._any().graph.delete(self._key()))

    async def delete_field(self) -> None:
        """Delete a field of a node that is in memory."""
        node = self._any().graph.value(self._key())
        if node is not None:
            self._begin(node.delete(self.dice.choice(FIELDS)))

    async def undo(self) -> None:
        """Bring back what some update overwrote."""
        replica = self._any()
        if replica.histories:
            history = self.dice.choice(replica.histories)
            self._begin(replica.graph.commit(history.rebase(replica.graph)))

    async def read(self) -> None:
        """Ask storage and network."""
        keys = self.dice.sample(KEYS, 2)
        self._begin(self._any().graph.nodes(keys, force=self.dice.random() < 0.5))

    async def dispatch(self) -> None:
        """Write past the graph, into the document."""
        database, key = self._any().database, self._key()
        if database is None:
            return
        self.count += 1
        actions = [
            cytosol.InitObject("$.graph"),
            cytosol.InitObject(f"$.graph.{key}"),
            cytosol.Set(f"$.graph.{key}.{self.dice.choice(FIELDS)}", self.count),
        ]
        database.dispatch(cytosol.Transaction(actions))

    async def meet(self) -> None:
        """Let two databases know each other's ops, as paired devices do."""
        databases = [each.database for each in self.replicas if each.database is not None]
        if len(databases) < 2:
            return
        pair = self.dice.sample(databases, 2)
        logs = [[db._document.replica.log.op(row) for row in _rows(db)] for db in pair]
        for db, ops in zip(pair, reversed(logs), strict=True):
            db._document.merge(ops)
            db._document.deliver()

    # --- What branches do -----------------------------------------------------------------

    async def branch(self) -> None:
        """Branch, and edit in private."""
        replica = self._any()
        branch = replica.graph.branch()
        model = BranchModel(replica.graph.snapshot()) if replica.is_loaded else None
        self.branches.append((replica, branch, model))
        for _ in range(self.dice.randint(0, 3)):
            await self._edit(branch, model)

    async def edit(self) -> None:
        """Go on in a branch."""
        if self.branches:
            _, branch, model = self.dice.choice(self.branches)
            await self._edit(branch, model)

    async def _edit(self, branch: Branch, model: BranchModel | None) -> None:
        key, field = self._key(), self.dice.choice(FIELDS)
        match self.dice.choice(["write", "write", "delete", "delete field"]):
            case "write":
                patch = self._patch()
                await branch.write(key, patch)
                if model is not None:
                    model.write(key, patch)
            case "delete":
                await branch.delete(key)
                if model is not None:
                    model.delete(key)
            case "delete field":
                node = await branch.read(key)
                if node is not None:
                    await node.delete(field)
                    if model is not None:
                        model.delete_field(key, field)
        self._look_at(branch, model)

    async def rebase(self) -> None:
        """Rebase a branch on its source."""
        if self.branches:
            replica, branch, model = self.dice.choice(self.branches)
            self._look_at(branch, model)
            branch.rebase(replica.graph)
            if model is not None:
                model.rebase(replica.graph.snapshot())
            self._look_at(branch, model)

    async def commit(self) -> None:
        """Commit a branch to its source; sometimes it goes on."""
        if self.branches:
            number = self.dice.randrange(len(self.branches))
            replica, branch, model = self.branches[number]
            self._look_at(branch, model)
            self._begin(replica.graph.commit(branch))
            if self.dice.random() < 0.7:
                del self.branches[number]
            else:  # which of its edits are still its own, only the end of the commit tells
                self.branches[number] = (replica, branch, None)

    def _look_at(self, branch: Graph, model: BranchModel | None) -> None:
        if model is None:
            return
        expected, shown = model.shown(), {k: v for k, v in branch.snapshot().items() if v}
        if shown != expected:
            self.wrong.append(f"a branch shows {shown}, not {expected}")

    # --- What happens to them -------------------------------------------------------------

    async def cut(self) -> None:
        """Break one connection."""
        self.dice.choice(self.joins).cut()

    async def part(self) -> None:
        """Keep two graphs apart."""
        self.dice.choice(self.joins).part()

    async def mend(self) -> None:
        """Let them come together again."""
        self.dice.choice(self.joins).mend()

    async def forget(self) -> None:
        """Let a side of a connection start anew."""
        await self.dice.choice(self.joins).forget()

    async def ring(self) -> None:
        """Let time pass."""
        self.timer.ring()

    async def restart(self) -> None:
        """End one graph and start it again over what it has stored."""
        replica = self._any()
        self.branches = [each for each in self.branches if each[0] is not replica]
        await replica.close()
        replica.open()
        replica.is_loaded = replica.database is not None or self.dice.random() < 0.5
        if replica.is_loaded:
            await replica.graph.nodes(KEYS, network=None)

    # --- The end --------------------------------------------------------------------------

    async def end(self) -> None:
        """Join all, wait until nobody has anything to say, and look whether it stays so."""
        for each in self.joins:
            each.mend()
        await settle(100)  # what was dispatched last is told in the next turns of the loop
        for number in range(ROUNDS_MAX):
            if all(replica.is_quiet for replica in self.replicas):
                break
            if number % 100 == 99:
                self.timer.ring()
            await asyncio.sleep(0.001)
        else:
            self.wrong.append("it never became quiet")
        await asyncio.gather(*self.running, return_exceptions=True)
        for replica in self.replicas:  # what is in the storages counts, too
            await replica.graph.nodes(KEYS, network=None)
        before = self._heard()
        for _ in range(3):
            self.timer.ring()
            await settle(100)
        if before != self._heard():
            self.wrong.append(f"it was not quiet in the end: {before} became {self._heard()}")

    def _heard(self) -> list[tuple[int, int]]:
        return [(each.sent, len(each.seen.assignments)) for each in self.replicas]

    async def close(self) -> None:
        """Start all graphs once more: they are the same. Then leave nothing behind."""
        before = [replica.shown() for replica in self.replicas]
        for replica, shown in zip(self.replicas, before, strict=True):
            await replica.close()
            replica.networks = []
            replica.open()
            await replica.graph.nodes(KEYS)
            if replica.shown() != shown:
                self.wrong.append(f"graph {replica.place} comes back as {replica.shown()}")
            await replica.close()
        for each in self.joins:
            await each.close()

    def look(self) -> None:
        """Compare all graphs with each other, and with all that was ever announced."""
        everything = OracleGraph()
        for replica in self.replicas:
            everything = everything.merge(replica.seen)
        expected = {key: fields for key, fields in everything.snapshot().items() if fields}
        shown = [replica.shown() for replica in self.replicas]
        if any(other != shown[0] for other in shown[1:]):
            self.wrong += [f"graph {place} shows {each}" for place, each in enumerate(shown)]
        values = {k: {f: v for f, (v, _) in fields.items()} for k, fields in shown[0].items()}
        if values != expected:
            self.wrong.append(f"graph 0 shows {values}, announced was {expected}")
        for replica in self.replicas:
            counts = {name: n for name, n in replica.router.counts.items() if name in WRONG}
            if counts:
                self.wrong.append(f"graph {replica.place} counts {counts}")
            if replica.database is not None:
                replica.database.check()
        for task in self.running:
            if not task.cancelled() and task.exception() is not None:
                self.wrong.append(f"a call raised {task.exception()!r}")


def _rows(database: cytosol.Database) -> range:
    return range(len(database._document.replica.log))


async def _awaited(awaitable: Awaitable[Any]) -> None:
    await awaitable


async def _history(make: Callable[[], World], steps: int) -> list[str]:
    world = make()
    await world.begin()
    for _ in range(steps):
        await world.step()
    await world.end()
    world.look()
    await world.close()
    return world.wrong


def play(transport: str, graphs: str, seed: int, steps: int) -> None:
    """Play one history; raise AssertionError with a line that replays it if something is wrong."""
    with tempfile.TemporaryDirectory() as directory:
        world = partial(World, transport, graphs, seed, Path(directory))
        replay = f'python -m tests.graph.histories {transport} "{graphs}" {seed} {steps}'
        try:
            wrong = run_clean(_history(world, steps), PATIENCE_S)
        except BaseException as error:
            error.add_note(f"Replay: {replay}")
            raise
    assert not wrong, "\n".join([*wrong, "", f"Replay: {replay}"])


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
