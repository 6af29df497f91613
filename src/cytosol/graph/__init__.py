"""The graph: nodes, pointers between them, and what connects them to the world.

A graph lives in memory and reaches the world only through its plugins: hooks, storage, network
and router. `pointer`, `node`, `collection` and `clock` are data without I/O; `graph` and what it
uses are asyncio; sockets, clocks and randomness stand in `transports` only.
"""

from cytosol.graph.clock import Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.events import Subscription
from cytosol.graph.node import Delta, Node
from cytosol.graph.pointer import Pointer

__all__ = ["Clock", "Delta", "Node", "NodeMap", "Pointer", "Subscription"]
