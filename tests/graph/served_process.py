"""A process that serves a graph, for tests that kill it: `python -m ... KIND PORT DIRECTORY`.

It keeps its graph in `DIRECTORY/graph.cytosol` and writes a line to `DIRECTORY/events.log` for
each field that a write changed: `[key, field, value, index, author]`. Lines of its standard
input are `{"write": [key, patch]}` and `{"snapshot": true}`; each is answered by a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from cytosol import Graph
from cytosol.graph import Router, SaveStateStorage, Write
from cytosol.savestates import SqliteSaveState
from tests.graph.served import KINDS


async def serve(kind_name: str, port: int, directory: Path) -> None:
    """Serve until standard input ends, or somebody kills us."""
    [kind] = [kind for kind in KINDS if kind.name == kind_name]
    storage = SaveStateStorage(SqliteSaveState(directory / "graph.cytosol"))
    server = kind.server(port=port)
    log = (directory / "events.log").open("a")

    def note(action: Write) -> Write:
        for key, node in action.update:
            for field, value in node:
                written = node.state(field)
                line = [key, field, value, written.index, written.author.hex()]
                log.write(json.dumps(line) + "\n")
        log.flush()
        return action

    plugins = {"storage": storage, "network": server, "router": Router()}
    async with Graph(plugins, {"hooks": {"after": {"write": note}}}) as graph:
        await server.start()
        print(json.dumps({"port": server.port}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await answer(graph, json.loads(line))), flush=True)
        await server.close()
    log.close()


async def answer(graph: Graph, command: dict[str, Any]) -> Any:
    """Do what a line of standard input says."""
    if "write" in command:
        await graph.write(*command["write"])
        return True
    return {node.key: node.snapshot() async for node in graph}


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
