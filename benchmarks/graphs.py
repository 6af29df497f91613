"""W17: a graph in memory, without plugins. CPU time.

Calls are awaited one by one in one coroutine, as a program would; the loop itself has nothing
else to do.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.measure import Circumstances, Measured, cpu_s, median_of, workload
from benchmarks.shapes import key_at, nests_of, value_at

WRITES = 100_000
NODES = 1_000
FIELDS = 5
ROUNDS = 9


@workload("W17", "cytosol")
def _cytosol_graph(run: Circumstances) -> Measured:
    return asyncio.run(_measured(run))


async def _measured(run: Circumstances) -> Measured:
    import cytosol

    values = run.values(WRITES)
    count = len(values)
    graph = cytosol.Graph()
    await graph.write("node", {"field": 0})

    start = cpu_s()
    for value in values:
        await graph.write("node", {"field": value})
    wrote = (cpu_s() - start) / count * 1e6
    start = cpu_s()
    for _ in range(count):
        await graph.read("node")
    read = (cpu_s() - start) / count * 1e6
    node = graph.value("node")
    assert node is not None
    assert values[-1] == node.value("field")

    patches = {
        name_of(run, number): {
            f"field{field}": value_at(run.shape, number * FIELDS + field) for field in range(FIELDS)
        }
        for number in range(NODES)
    }
    source = cytosol.Graph()
    source.merge(patches)
    changes = source.copy()
    return {
        "W17": wrote,
        "W17.read": read,
        "W17.commit": median_of([await _commit_ms(changes) for _ in range(ROUNDS)]),
        "W17.values": median_of([await _commit_ms(patches) for _ in range(ROUNDS)]),
    }


def name_of(run: Circumstances, number: int) -> str:
    """Return the key of a node: numbered, or in shape 2 a path of any length."""
    if run.shape == 1:
        return f"node{number}"
    nest, key = key_at(run.shape, number, NODES)
    return "/".join((*nests_of(run.shape)[nest], key, str(number)))


async def _commit_ms(changes: Any) -> float:
    """Return the milliseconds of one commit to an empty graph."""
    import cytosol

    graph = cytosol.Graph()
    start = cpu_s()
    await graph.commit(changes)
    took = (cpu_s() - start) * 1e3
    assert NODES == len(graph)
    return took
