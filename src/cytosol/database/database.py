"""The database: a document, its network and its file behind one object.

The clock and chance come from its `Surroundings` and are handed down. Callbacks run in the
thread that dispatched, or, for what comes from peers, in one thread of the database; the
network's thread never waits for one.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from cytosol.crdt.actions import DataAction
from cytosol.database.checking import check_database, corrupt_error
from cytosol.database.connections import DeviceGroup
from cytosol.database.diagnosis import Diagnosis
from cytosol.database.doctor import DOCTOR_WAIT_S, examine
from cytosol.database.graphs import graph_in
from cytosol.database.identity import Identity, note_home, open_identity
from cytosol.database.joins import PeerReplica
from cytosol.database.listeners import Listener, Listeners
from cytosol.database.network_actions import NetworkAction, network_command
from cytosol.database.pairings import PairingStore
from cytosol.database.surroundings import REAL, Caller, Network, Surroundings
from cytosol.database.transaction import TransactionContext
from cytosol.database.waiting import Closing, checked_timeout, wait_for, watch
from cytosol.document.checking import Progress
from cytosol.document.checkreport import CheckReport
from cytosol.document.document import Document
from cytosol.document.events import CallbackError, IdentityRenewed
from cytosol.document.subscriptions import Subscription
from cytosol.errors import ActionError, FailureError, NetworkError
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.graph import Graph
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue, brief
from cytosol.path import Variables, parse_path
from cytosol.protocol.events import GraphEvent, PeerConnected, PeerDisconnected, PeersChanged
from cytosol.protocol.seams import ReplicaSeam
from cytosol.protocol.sync import SyncMachine
from cytosol.savestates import SaveState

__all__ = ["Database", "NetworkOptions"]

Action = DataAction | NetworkAction | Mapping[str, Any]


@dataclass(slots=True)
class NetworkOptions:
    """What `cytosol.open` says about the network; two of them change by dispatching."""

    peer_name: str
    visible_to_peers: bool
    sync_enabled: bool
    trust_shared_peers: bool
    loopback: bool


class Database:
    """One JSON document on this device, in sync with the paired ones. Make it with `open`.

    Safe from any thread. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        save_state: SaveState | None,
        app: bytes,
        options: NetworkOptions,
        *,
        min_history: int,
        max_history: int,
        surroundings: Surroundings = REAL,
        progress: Progress | None = None,
    ) -> None:
        self._surroundings = surroundings
        self._listeners = Listeners()
        self._closing = Closing()
        self._worker: Caller | None = None
        self._network: Network | None = None
        self._options = options
        self._history_limits = min_history, max_history
        self._app = app
        self._connections = DeviceGroup(
            self._paired_ids, self._tell_graph, surroundings.random_bytes
        )
        self._document = Document(
            save_state,
            now_ms=surroundings.now_ms,
            random_bytes=surroundings.random_bytes,
            report=lambda error: self._listeners.emit(CallbackError(error)),
            min_history=min_history,
            max_history=max_history,
        )
        journal = self._document.journal
        journal.open()
        try:
            self._identity: Identity = open_identity(
                journal, format_id(app), surroundings.random_bytes
            )
            self._pairings = PairingStore(journal, self._pairings_changed)
            self._pairings.load()
            self._document.set_sources(
                {"config": self._config, "pairings": self._pairings.listed, "peers": self._peers}
            )
            self._document.load(self._identity.author, progress)
            with self._document.lock:
                self._document.history.set_paired(set(self._pairings.paired()))
            self._settle_in()
        except BaseException:
            journal.close()
            raise

    def _settle_in(self) -> None:
        """Write under another author id if the original of this file may be in use, too."""
        if self._identity.is_copied:
            author = self._document.changing(self._document.history.renew_author)
            reason = "this file is a copy of the one that it was made in"
            self._listeners.emit(IdentityRenewed(format_id(author), reason))
        note_home(self._document.journal)

    # --- the network --------------------------------------------------------------------

    def _start_network(self) -> None:
        options = self._options
        self._worker = self._surroundings.caller("cytosol-callbacks")
        self._network = self._surroundings.network(
            app_id=self._app,
            peer_id=self._identity.peer_id,
            peer_name=options.peer_name,
            key_pair=self._identity.key_pair,
            replica=self._peer_replica(bytes(16)),
            pairings=self._pairings,
            emit=self._emit,
            visible_to_peers=options.visible_to_peers,
            sync_enabled=options.sync_enabled,
            trust_shared_peers=options.trust_shared_peers,
            loopback=options.loopback,
            sync_factory=self._make_sync,
        )
        self._document.after_write = self._tell_network
        self._network.start()

    def _peer_replica(self, peer_id: PeerId) -> PeerReplica:
        return PeerReplica(self._document, peer_id, self._merged, self._emit)

    def _make_sync(
        self, replica: ReplicaSeam, own_id: PeerId, their_id: PeerId, *rest: Any
    ) -> SyncMachine:
        return SyncMachine(self._peer_replica(their_id), own_id, their_id, *rest)

    def _tell_network(self) -> None:
        network = self._network
        if network is not None:
            network.local_changes()

    def _merged(self) -> None:
        """Have subscribers called after a merge."""
        self._post(self._document.deliver)

    def _emit(self, event: object) -> None:
        """Have the listeners of an event of the network called."""
        if isinstance(event, GraphEvent):
            self._connections.receive(event)
            return
        self._post(lambda: self._announce(event))

    def _post(self, call: Callable[[], None]) -> None:
        """Have something done in the callbacks' thread; without one there is no network."""
        worker = self._worker
        if worker is not None:
            worker.post(call)

    def _announce(self, event: object) -> None:
        if isinstance(event, (PeersChanged, PeerConnected, PeerDisconnected)):
            self._touch("peers")
        elif isinstance(event, IdentityRenewed):
            self._touch("config")
        self._listeners.emit(event)

    def _pairings_changed(self) -> None:
        with self._document.lock:
            self._document.history.set_paired(set(self._pairings.paired()))
        self._connections.pairings_changed()
        self._post(lambda: self._touch("pairings", "peers"))

    def _touch(self, *names: str) -> None:
        """Call the subscribers of metadata that has changed."""
        with self._document.lock:
            self._document.meta_subscriptions.touch([(name,) for name in names])
        self._document.deliver()

    # --- writing ------------------------------------------------------------------------

    @property
    def peer_id(self) -> str:
        """This device's id, a UUID."""
        return format_id(self._identity.peer_id)

    def dispatch(
        self, action: Action, return_failures: bool = False
    ) -> list[dict[str, JsonValue]] | None:
        """Do an action: all of it, now, or nothing; never waits for the network.

        With `return_failures` failures are returned (an empty list if there are none) instead of
        raised. Raises ActionError for a malformed action, FailureError for one that cannot
        be applied, SaveError when the disk refuses, PairingError from network actions.
        """
        if self._document.write(action):
            return [] if return_failures else None
        command = network_command(action)
        try:
            if command is not None:
                self._command(*command)
            else:
                self._document.dispatch_any(action)  # type: ignore[arg-type]  # it checks what it gets
        except FailureError as error:
            if not return_failures:
                raise
            return error.failures
        return [] if return_failures else None

    def _command(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._document.check_open()
        network, options = self._network, self._options
        if network is not None:
            network.command(name, *arguments)
        elif name not in ("set_visible", "set_sync_enabled"):
            raise NetworkError(
                "this database was opened with network=False; open it with the network to pair"
            )
        if name == "set_visible":
            options.visible_to_peers = arguments[0]
        elif name == "set_sync_enabled":
            options.sync_enabled = arguments[0]
        else:
            return
        self._touch("config")

    def transaction(self) -> TransactionContext:
        """Return a context manager that collects actions into one Transaction.

        Inside, `dispatch` of the context collects data actions, and its `query_once` and `get`
        see the changes collected so far. At the end all are done as one, which may raise
        FailureError; if the block raises, none is.
        """
        self._document.check_open()
        return TransactionContext(self._document, self.dispatch)

    # --- reading ------------------------------------------------------------------------

    def query_once(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Return a list of copies of the values that a JSONPath selects."""
        return self._document.query(path, variables)

    def query_once_meta(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Return what a JSONPath selects of the metadata.

        Keys: `actions`, `config`, `failures`, `pairings`, `peers`.
        """
        return self._document.query_meta(path, variables)

    def get(self, *steps: str | int, default: Any = None) -> JsonValue:
        """Return a copy of the value at some keys and indexes, `default` if there is none."""
        return self._document.get(steps, default)

    def subscribe(
        self,
        path: str,
        callback: Callable[..., None],
        *,
        variables: Variables = (),
        deltas: bool = False,
    ) -> Subscription:
        """Call back with the list that a JSONPath selects, now and whenever that list changes.

        With `deltas` the callback gets `(list, patch)`, the patch being the RFC 6902 operations
        from the previous list (None the first time). Cancel with `.cancel()`.
        """
        return self._document.subscribe(path, callback, variables, deltas)

    def subscribe_meta(
        self,
        path: str,
        callback: Callable[..., None],
        *,
        variables: Variables = (),
        deltas: bool = False,
    ) -> Subscription:
        """Call back with what a JSONPath selects of the metadata, as `subscribe` does."""
        return self._document.subscribe_meta(path, callback, variables, deltas)

    def watch(self, path: str, variables: Variables = ()) -> AsyncIterator[list[JsonValue]]:
        """Yield the list that a JSONPath selects, now and whenever it changes, in this loop.

        A slow reader gets every list, in order. Ends when the database is closed.
        """
        self._document.check_open()
        parse_path(path).bind(variables)  # what is wrong is said here, not at the first step
        return watch(lambda put: self.subscribe(path, put, variables=variables), self._closing)

    async def wait_for_peer(self, peer_id: str, timeout: float | None = None) -> None:
        """Return as soon as the peer is connected.

        Raises PeerTimeoutError after `timeout` s, DatabaseClosedError when the database is closed
        meanwhile, NetworkError if it was opened without the network.
        """
        self._document.check_open()
        wanted = format_id(parse_id(peer_id))
        timeout_s = checked_timeout(timeout)
        if self._network is None:
            raise NetworkError(
                "this database was opened with network=False, so no peer will ever be connected"
            )
        path = "$.peers[?@.connected == true].id"
        await wait_for(
            wanted, lambda look: self.subscribe_meta(path, look), self._closing, timeout_s
        )

    def on(self, event: str, callback: Callable[[Any], None]) -> Listener:
        """Call back for every event of a kind; returns an object with `cancel()`.

        An `identity_renewed` or `history_adopted` that nobody has heard of yet, because it
        happened while opening, is told at once. Raises ActionError for an unknown event.
        """
        self._document.check_open()
        return self._listeners.add(event, callback)

    # --- the graph ----------------------------------------------------------------------

    def graph(self, path: str = "$.graph", *configs: Mapping[str, Any]) -> Graph:
        """Return the graph that this database keeps at a path: nodes are objects, fields members.

        It has the API of `cytosol.Graph` and takes the same configs, but no storage. Its events
        also tell what was dispatched, and what came from paired devices. Raises ConfigError.
        """
        return graph_in(self._document, path, configs)

    @property
    def connections(self) -> ConnectionGroup:
        """The paired devices as connections of the type "cytosol", for the router of a graph.

        `Graph({"network": db.connections, "router": Router()})` talks with the graphs of other
        devices that do the same, over the connections that sync the document; nothing of it is
        stored here. `id` and `identity` of a connection are the device's peer id. Use it in one
        event loop. Raises DatabaseClosedError.
        """
        self._document.check_open()
        self._connections.visit()
        return self._connections

    def _paired_ids(self) -> list[str]:
        return [format_id(peer_id) for peer_id in self._pairings.paired()]

    def _tell_graph(self, name: str, *args: Any) -> None:
        network = self._network
        if network is not None:
            network.graph_command(name, *args)

    # --- metadata -----------------------------------------------------------------------

    def _config(self) -> JsonValue:
        options = self._options
        return {
            "appId": format_id(self._app),
            "peerName": options.peer_name,
            "minHistory": self._history_limits[0],
            "maxHistory": self._history_limits[1],
            "visibleToPeers": options.visible_to_peers,
            "syncEnabled": options.sync_enabled,
            "peerId": self.peer_id,
            "author": format_id(self._document.replica.author),
            "publicKey": base64.b64encode(self._identity.key_pair.public).decode("ascii"),
        }

    def _peers(self) -> JsonValue:
        network = self._network
        return [] if network is None else network.peers()

    def dismiss_failures(self, ids: Sequence[Mapping[str, Any]]) -> None:
        """Stop listing the failures with these ids (the `id` members of `$.failures`).

        Raises ActionError for what is no list of ids, SaveError.
        """
        if isinstance(ids, (str, Mapping)) or not isinstance(ids, Iterable):
            raise ActionError(
                "the failures to dismiss are given as a list of their `id` members, "
                f"not {brief(ids)}"
            )
        self._document.changing(lambda: self._document.history.dismiss(ids))
        self._touch("failures")

    def state_hash(self) -> str:
        """Return the state hash in hex: peers that hold the same history have the same one."""
        return self._document.state_hash().hex()

    # --- the file -----------------------------------------------------------------------

    def check(
        self,
        progress: Progress = lambda what, done: None,
        *,
        raises: bool = True,
    ) -> CheckReport:
        """Check every invariant of document and file, and return a report; slow.

        `progress` is told what is looked at, and how much of the whole is done, from 0 to 1. Raises
        DatabaseCorruptError, with the report as `.report`, if something is damaged and `raises`
        does not say that the report tells it; SaveError where the disk cannot be read; ActionError
        for a `progress` that cannot be called.
        """
        report = check_database(self._document, self._identity, self._pairings, progress)
        if raises and not report.is_whole:
            raise corrupt_error(report)
        return report

    def doctor(self, *, wait_s: float = DOCTOR_WAIT_S, addresses: Sequence[str] = ()) -> Diagnosis:
        """Find out why this device and others do not see each other, and what to do.

        Takes seconds: it sends heartbeats, listens, and visits paired peers; for one that keeps
        silent it waits up to `wait_s`. `addresses` are IPv4 addresses of devices that ought to be
        seen. Changes nothing. Raises ActionError for wrong arguments, DatabaseClosedError.
        """
        return examine(self, wait_s=wait_s, addresses=addresses)

    def close(self) -> None:
        """Say goodbye to peers and release the file; closing twice is harmless.

        Callbacks that are due are called before, with the database still open. Called from inside
        of a callback that came from a peer, it does not wait for the others. Raises SaveError, and
        is closed, if the file was moved meanwhile and some changes could not be brought into it;
        ActionError, and is open, in the middle of another call of the same thread, as in a handler
        of a signal: end the program from there with `sys.exit`, and close it in `finally`.
        """
        self._document.check_idle()
        self._closing.close()
        self._connections.close()
        network, self._network = self._network, None
        worker, self._worker = self._worker, None
        try:
            if network is not None:
                network.stop()
        finally:
            if worker is not None:
                worker.stop()
            self._document.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        path = self._document.journal.path or "in memory"
        if not hasattr(self, "_identity"):  # opening has failed, and a traceback shows its locals
            return f"<cytosol.Database {path}, not open>"
        return f"<cytosol.Database {path} of peer {self.peer_id}>"
