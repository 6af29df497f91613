"""Three graphs that write, branch, part, crash and come back end up the same.

A failing history prints the line that replays it:

```text
python -m tests.graph.test_graphs_converge SEED STEPS
```
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

import pytest

from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.storage import MemoryStorage
from cytosol.graph.transports.memory import MemoryConnection, pair
from tests.graph.routing import Timer, settle
from tests.graph.running import run

KEYS = ("a", "b", "c", "d")
FIELDS = ("x", "y", "z")
TOPOLOGIES = {
    "ring": [(0, 1), (1, 2), (2, 0)],
    "line": [(0, 1), (1, 2)],
    "two transports": [(0, 1), (0, 1), (1, 2)],
}


class Disk:
    """A storage that takes its time, and forgets nothing; after a crash nobody reaches it."""

    def __init__(self, below: MemoryStorage, dice: random.Random) -> None:
        self.below = below
        self.dice = dice
        self.is_cut = False
        self.notes = self

    async def _turn(self) -> None:
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)
        if self.is_cut:
            await asyncio.get_running_loop().create_future()  # the process is gone

    async def read(self, action: Any) -> Any:
        """Read nodes."""
        await self._turn()
        return await self.below.read(action)

    async def write(self, action: Any) -> None:
        """Write nodes."""
        await self._turn()
        await self.below.write(action)

    async def get(self, name: str) -> Any:
        """Read a note."""
        await self._turn()
        return self.below.notes.get(name)

    async def put(self, name: str, value: Any) -> None:
        """Write a note."""
        await self._turn()
        self.below.notes.put(name, value)

    async def __aiter__(self) -> Any:
        async for node in self.below:
            await self._turn()
            yield node


class World:
    """Three graphs, what joins them, and the dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.wires = self.dice.choice(list(TOPOLOGIES.values()))
        self.stores = [MemoryStorage() for _ in range(3)]
        self.disks: list[Disk] = []
        self.groups = [ConnectionGroup() for _ in range(3)]
        self.ends: list[tuple[MemoryConnection, MemoryConnection]] = []
        self.timer = Timer()
        for number in range(len(self.wires)):
            self.ends.append(self._pair(number))
        self.graphs: list[Graph] = []
        for place in range(3):
            self.disks.append(Disk(self.stores[place], self.dice))
            self.graphs.append(self._graph(place))
        self.branches: list[tuple[int, Any]] = []
        self.running: list[Any] = []
        self.graves: list[Graph] = []  # what is gone must not end in the middle of a write
        self.count = 0

    def _pair(self, number: int) -> tuple[MemoryConnection, MemoryConnection]:
        a, b = self.wires[number]
        ends = pair(f"{number}:{a}{b}", f"{number}:{b}{a}")
        self.groups[a].add(ends[0])
        self.groups[b].add(ends[1])
        return ends

    def _graph(self, place: int) -> Graph:
        router = Router(timer=self.timer)
        config = {"storage": self.disks[place], "network": self.groups[place], "router": router}
        return Graph(config, author=self.dice.randbytes(16))

    async def step(self) -> None:
        """Do one thing, and let some of what follows happen."""
        actions = [self.write] * 6 + [self.delete] * 2 + [self.delete_field, self.branch]
        actions += [self.rebase, self.commit, self.disconnect, self.reconnect, self.restart]
        await self.dice.choice(actions)()
        await settle(self.dice.choice([0, 0, 1, 3, 10, 50]))

    def _any(self) -> Graph:
        return self.dice.choice(self.graphs)

    def _begin(self, awaitable: Any) -> None:
        self.running.append(asyncio.ensure_future(awaitable))

    async def write(self) -> None:
        """Write some fields of a node."""
        self.count += 1
        fields = self.dice.sample(FIELDS, self.dice.randint(0, 2))
        patch = dict.fromkeys(fields, self.count)
        self._begin(_awaited(self._any().write(self.dice.choice(KEYS), patch)))

    async def delete(self) -> None:
        """Delete a node."""
        self._begin(_awaited(self._any().delete(self.dice.choice(KEYS))))

    async def delete_field(self) -> None:
        """Delete a field of a node that is in memory."""
        node = self._any().value(self.dice.choice(KEYS))
        if node is not None:
            self._begin(_awaited(node.delete(self.dice.choice(FIELDS))))

    async def branch(self) -> None:
        """Branch, and edit in private."""
        place = self.dice.randrange(3)
        branch = self.graphs[place].branch()
        for _ in range(self.dice.randint(1, 3)):
            self.count += 1
            await branch.write(self.dice.choice(KEYS), {self.dice.choice(FIELDS): self.count})
        self.branches.append((place, branch))

    async def rebase(self) -> None:
        """Rebase a branch on its source."""
        if self.branches:
            place, branch = self.dice.choice(self.branches)
            branch.rebase(self.graphs[place])

    async def commit(self) -> None:
        """Commit a branch to its source."""
        if self.branches:
            place, branch = self.branches.pop(self.dice.randrange(len(self.branches)))
            self._begin(_awaited(self.graphs[place].commit(branch)))

    async def disconnect(self) -> None:
        """Cut one wire."""
        self.dice.choice(self.ends)[0].disconnect()

    async def reconnect(self) -> None:
        """Join one wire."""
        self.dice.choice(self.ends)[0].reconnect()

    async def restart(self) -> None:
        """End one graph, properly or by a crash, and start it again over its storage."""
        place = self.dice.randrange(3)
        self.branches = [(other, branch) for other, branch in self.branches if other != place]
        if self.dice.random() < 0.5:
            await settle(self.dice.choice([0, 5, 100]))
        self.disks[place].is_cut = True
        self.disks[place] = Disk(self.stores[place], self.dice)
        self.graves.append(self.graphs[place])
        self.graphs[place].router.close().close()  # it hears nothing more, and notes nothing
        if self.dice.random() < 0.5:
            self._rewire(place)
        self.graphs[place] = self._graph(place)

    def _rewire(self, place: int) -> None:
        """Give the graph other wires: what was on its way in the old ones is gone."""
        old = self.groups[place]
        self.groups[place] = ConnectionGroup()
        for number, wire in enumerate(self.wires):
            if place in wire:
                mine = wire.index(place)
                self.ends[number][0].disconnect()
                self.groups[wire[1 - mine]].remove(self.ends[number][1 - mine])
                old.remove(self.ends[number][mine])
                self.ends[number] = self._pair(number)

    async def end(self) -> None:
        """Join all wires, and wait until nobody has anything to say."""
        for _ in range(3):
            for first, _ in self.ends:
                first.reconnect()
            await settle(1_500)
            self.timer.ring()
        await settle(500)

    def differences(self) -> list[str]:
        """Return what is not the same everywhere."""
        found = []
        for key in KEYS:
            states = [_text(store.records.get(key)) for store in self.stores]
            if len(set(states)) > 1:
                found += [f"graph {place} has {key}: {state}" for place, state in enumerate(states)]
        for place, graph in enumerate(self.graphs):
            for key, node in graph.copy():
                if _text(node.to_json()) != _text(self.stores[place].records.get(key)):
                    found.append(f"graph {place} has {key} not as its storage: {node.to_json()}")
            counts = {name: n for name, n in graph.router.counts.items() if name in WRONG}
            if counts:
                found.append(f"graph {place} counts {counts}")
        return found


WRONG = ("malformed", "refused", "denied", "failed")


async def _awaited(awaitable: Any) -> None:
    await awaitable


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


async def history(seed: int, steps: int) -> list[str]:
    """Play one history; return what is wrong in the end."""
    world = World(seed)
    for _ in range(steps):
        await world.step()
    await world.end()
    wrong = world.differences()
    for task in world.running:
        if task.done() and not task.cancelled() and task.exception() is not None:
            wrong.append(f"a write raised {task.exception()!r}")
        task.cancel()
    return wrong


def check(seed: int, steps: int) -> None:
    """Play one history; what fails is shortened first."""
    wrong = run(history(seed, steps))
    if not wrong:
        return
    while steps > 1:
        shorter = next((n for n in (steps // 2, steps - 1) if run(history(seed, n))), None)
        if shorter is None:
            break
        steps = shorter
    wrong = run(history(seed, steps))
    replay = f"python -m tests.graph.test_graphs_converge {seed} {steps}"
    raise AssertionError("\n".join([*wrong, "", f"Replay: {replay}"]))


@pytest.mark.parametrize("seed", [*range(28), 376, 391])
def test_graphs_converge_whatever_happens_to_them(seed: int) -> None:
    """Every write that a storage has reaches every graph, and all agree on who wins."""
    check(seed, 100)


if __name__ == "__main__":
    check(int(sys.argv[1]), int(sys.argv[2]))
