"""The network of one database: a peer machine on real sockets in a background thread.

All methods may be called from any thread, also from inside `emit`. None of them waits for a
peer. Do not hold a lock that the replica needs while calling `start`, `stop` or `command`: they
wait for the network's thread, which may be in the replica.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from cytosol.crypto.keys import KeyPair
from cytosol.errors import NetworkError, NetworkUnavailableError
from cytosol.model.ids import PeerId
from cytosol.net.background import BackgroundLoop
from cytosol.net.driver import Driver
from cytosol.net.runner import COMMANDS, make_machine
from cytosol.net.sieve import Sieve
from cytosol.protocol.parts import SyncFactory
from cytosol.protocol.seams import PairingsSeam, ReplicaSeam
from cytosol.protocol.sync import SyncMachine
from cytosol.wire.heartbeat import heartbeat_port

__all__ = ["COMMANDS", "NetworkService"]


class NetworkService:
    """Discover, pair and sync; `emit` gets the events of `cytosol.protocol.events`."""

    def __init__(
        self,
        *,
        app_id: bytes,
        peer_id: bytes,
        peer_name: str,
        key_pair: KeyPair,
        replica: ReplicaSeam,
        pairings: PairingsSeam,
        emit: Callable[[object], None],
        visible_to_peers: bool,
        sync_enabled: bool,
        trust_shared_peers: bool,
        loopback: bool,
        sync_factory: SyncFactory = SyncMachine,
    ) -> None:
        """Prepare; no socket is opened before `start`.

        `emit` is called in the network's thread, and must return soon. `loopback` also finds
        peers on the same machine.
        """
        self.gateway_port = 0
        """The TCP port of the gateway; 0 while the network is not running."""
        self._port = heartbeat_port(app_id)

        def is_paired(peer_id: PeerId, public_key: bytes) -> bool:
            paired = pairings.paired().get(peer_id)
            return paired is not None and paired.public_key == public_key

        self._sieve = Sieve(app_id, peer_id, is_paired)
        self._emit = emit
        self._loopback = loopback
        self._machine = make_machine(
            app_id=app_id,
            peer_id=peer_id,
            peer_name=peer_name,
            key_pair=key_pair,
            replica=replica,
            pairings=pairings,
            visible_to_peers=visible_to_peers,
            sync_enabled=sync_enabled,
            trust_shared_peers=trust_shared_peers,
            random_bytes=os.urandom,
            sync_factory=sync_factory,
        )
        self._lock = threading.Lock()  # of starting and stopping only
        self._loop: BackgroundLoop | None = None
        self._driver: Driver | None = None
        self._changes_posted = False
        self._graph_commands: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._graph_commands_posted = False

    def start(self) -> None:
        """Open the sockets and begin to send heartbeats; returns when this is done.

        Raises NetworkUnavailableError when a socket cannot be opened, and NetworkError when it
        was started before.
        """
        with self._lock:
            if self._driver is not None:
                raise NetworkError("this network was started before; make a new one")
            loop = BackgroundLoop("cytosol-network")
            driver = Driver(
                self._machine,
                self._port,
                self._emit,
                loopback=self._loopback,
                admits=self._sieve.admits,
            )
            loop.start()
            try:
                self.gateway_port = loop.run(driver.open())
            except OSError as error:
                loop.stop()
                raise NetworkUnavailableError(
                    f"the sockets could not be opened (heartbeats use UDP port {self._port}): "
                    f"{error.strerror or error}; `cytosol doctor` tells who is in the way, and "
                    "network=False opens the database alone"
                ) from error
            self._loop, self._driver = loop, driver

    def stop(self) -> None:
        """Say goodbye to all peers, close the sockets and end the thread; again is harmless."""
        with self._lock:
            loop, self._loop = self._loop, None
        driver = self._driver
        if loop is None or driver is None or not loop.is_alive:
            return
        self.gateway_port = 0
        if loop.is_current:
            # From inside `emit`: the thread cannot wait for itself.
            threading.Thread(target=self._finish, args=(loop, driver), daemon=True).start()
        else:
            self._finish(loop, driver)

    @staticmethod
    def _finish(loop: BackgroundLoop, driver: Driver) -> None:
        try:
            loop.run(driver.close())
        finally:
            loop.stop()

    def command(self, name: str, *args: Any) -> None:
        """Give a command of the app: one of `COMMANDS`, ids as UUID strings.

        Returns as soon as it is known to be possible; how it goes on is told by events. Raises
        ActionError, PairingError; NetworkError while the network is not running.
        """
        if name not in COMMANDS:
            raise ValueError(f"{name!r} is not a command of the network")
        loop, driver = self._loop, self._driver
        if loop is None or driver is None:
            raise NetworkError("the network is not running; open the database with it first")
        loop.call(lambda: driver.command(name, *args))

    def graph_command(self, name: str, *args: Any) -> None:
        """Have one of the machine's `graph_...` methods called soon; nothing is raised.

        Nothing happens while the network is not running. Many calls wake the thread once.
        """
        loop = self._loop
        if loop is not None:
            self._graph_commands.append((name, args))
            if not self._graph_commands_posted:
                self._graph_commands_posted = True
                loop.post(self._do_graph_commands)

    def _do_graph_commands(self) -> None:
        self._graph_commands_posted = False  # first, so that no later one is missed
        driver = self._driver
        while self._graph_commands:
            name, args = self._graph_commands.popleft()
            if driver is not None:
                driver.graph_command(name, *args)

    def local_changes(self) -> None:
        """Have new ops sent to all connected peers soon; many calls become one."""
        loop = self._loop
        if loop is not None and not self._changes_posted:
            self._changes_posted = True
            loop.post(self._send_changes)

    def _send_changes(self) -> None:
        self._changes_posted = False  # first, so that no later change is missed
        driver = self._driver
        if driver is not None:
            driver.local_changes()

    def peers(self) -> list[dict[str, Any]]:
        """Return the rows of the metadata `$.peers`, as of the last PeersChanged event."""
        driver = self._driver
        return [] if driver is None else [dict(row) for row in driver.peers]

    def problems(self) -> list[str]:
        """Return what went wrong lately, in sentences for the doctor."""
        driver = self._driver
        if driver is None:
            return []
        sending = [f"sending on {where}: {what}" for where, what in driver.send_problems.items()]
        return [*driver.problems, *sending]
