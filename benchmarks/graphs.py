"""W17: a graph in memory, without plugins. CPU time.

Calls are awaited one by one in one coroutine, as a program would; the loop itself has nothing
else to do.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.measure import Circumstances, Measured, cpu_s, median_of, workload

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
    assert values[-1] == graph.value("node").value("field")

    patches = {
        f"node{number}": {f"field{field}": field for field in range(FIELDS)}
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


async def _commit_ms(changes: Any) -> float:
    """Return the milliseconds of one commit to an empty graph."""
    import cytosol

    graph = cytosol.Graph()
    start = cpu_s()
    await graph.commit(changes)
    took = (cpu_s() - start) * 1e3
    assert NODES == len(graph)
    return took
