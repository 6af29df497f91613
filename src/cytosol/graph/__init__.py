"""The graph: nodes, pointers between them, and what connects them to the world.

A graph lives in memory and reaches the world only through its plugins: hooks, storage, network
and router. `pointer`, `node`, `collection` and `clock` are data without I/O; `graph` and what it
uses are asyncio; sockets, clocks and randomness stand in `transports` only.
"""

from cytosol.graph.actions import ReadField, ReadNodes, Write
from cytosol.graph.branch import Branch
from cytosol.graph.clock import Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import Connection, ConnectionGroup, Stream
from cytosol.graph.events import Subscription
from cytosol.graph.graph import Graph
from cytosol.graph.node import Delta, Node
from cytosol.graph.pointer import Pointer
from cytosol.graph.router import Router
from cytosol.graph.rules import Patch, Route, Rule
from cytosol.graph.storage import MemoryStorage, SaveStateStorage

__all__ = [
    "Branch",
    "Clock",
    "Connection",
    "ConnectionGroup",
    "Delta",
    "Graph",
    "MemoryStorage",
    "Node",
    "NodeMap",
    "Patch",
    "Pointer",
    "ReadField",
    "ReadNodes",
    "Route",
    "Router",
    "Rule",
    "SaveStateStorage",
    "Stream",
    "Subscription",
    "Write",
]
