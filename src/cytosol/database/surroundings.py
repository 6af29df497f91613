"""What a database takes from the world around it: the time, chance, a network and a thread.

Normally these are the machine's own. `cytosol.testing` brings others, so that the same database
runs in a simulated world.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cytosol.net.service import NetworkService
from cytosol.net.worker import Worker

__all__ = ["REAL", "Caller", "Network", "Surroundings"]


class Network(Protocol):
    """Discovers, pairs and syncs for one database (see `NetworkService`)."""

    def start(self) -> None:
        """Begin; raises NetworkUnavailableError."""

    def stop(self) -> None:
        """Say goodbye and end; again is harmless."""

    def command(self, name: str, *args: Any) -> None:
        """Give a command of the app."""

    def graph_command(self, name: str, *args: Any) -> None:
        """Have one of the machine's `graph_...` methods called soon."""

    def local_changes(self) -> None:
        """Have new ops sent to all connected peers soon."""

    def peers(self) -> list[dict[str, Any]]:
        """Return the rows of the metadata `$.peers`."""

    def problems(self) -> list[str]:
        """Return what went wrong lately, in sentences for the doctor."""


class Caller(Protocol):
    """Runs an app's callbacks for what comes from peers (see `Worker`)."""

    def post(self, call: Callable[[], None]) -> None:
        """Have a call run soon, after those posted before."""

    def stop(self) -> None:
        """Run what was posted, and end."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world that a database lives in."""

    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    network: Callable[..., Network]
    """Makes a network; takes the arguments of `NetworkService`."""
    caller: Callable[[str], Caller]
    """Makes a caller; takes a name."""


REAL = Surroundings(lambda: time.time_ns() // 1_000_000, os.urandom, NetworkService, Worker)
