"""The database: a document, its network and its file behind one object.

The clock and the system's random generator are read here and handed down. Callbacks run in the
thread that dispatched, or, for what comes from peers, in one thread of the database; the
network's thread never waits for one.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from cytosol.crdt.actions import DataAction
from cytosol.database.identity import Identity, PairingStore, open_identity
from cytosol.database.joins import PeerReplica
from cytosol.database.network_actions import NetworkAction, network_command
from cytosol.document.document import Document
from cytosol.document.events import CallbackError, HistoryAdopted, IdentityRenewed
from cytosol.document.subscriptions import Subscription
from cytosol.errors import (
    ActionError,
    FailureError,
    NetworkError,
    PeerTimeoutError,
)
from cytosol.limits import HISTORY_DEFAULT_MAX
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.net.service import NetworkService
from cytosol.net.worker import Worker
from cytosol.path import Variables
from cytosol.protocol.events import (
    PairCancelled,
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    PeersChanged,
    Unpaired,
)
from cytosol.protocol.seams import ReplicaSeam
from cytosol.protocol.sync import SyncMachine
from cytosol.savestates import SaveState, SqliteSaveState

__all__ = ["Database", "Listener", "TransactionContext", "open"]

EVENTS: Final[dict[str, type]] = {
    "pair_request": PairRequest,
    "pair_response": PairResponse,
    "pair_cancelled": PairCancelled,
    "unpaired": Unpaired,
    "peer_connected": PeerConnected,
    "peer_disconnected": PeerDisconnected,
    "identity_renewed": IdentityRenewed,
    "history_adopted": HistoryAdopted,
    "callback_error": CallbackError,
}
EVENT_NAMES = {kind: name for name, kind in EVENTS.items()}
DURABILITIES = ("full", "relaxed")

Action = DataAction | NetworkAction | Mapping[str, Any]


def open(  # `cytosol.open` is the name users expect, as in gzip.open
    save_state: SaveState | str | os.PathLike[str] | None = None,
    *,
    app_id: str,
    peer_name: str | None = None,
    min_history: int = 0,
    max_history: int = HISTORY_DEFAULT_MAX,
    visible_to_peers: bool = True,
    sync_enabled: bool = True,
    network: bool = True,
    trust_shared_peers: bool = True,
    loopback: bool = False,
    durability: str = "full",
) -> Database:
    """Open a database, making it if it is not there.

    `save_state` is a path (SQLite), a SaveState, or None (in memory). `app_id` is a UUID: only
    devices of the same app find each other. `peer_name` is what other devices show (default: the
    host's name). `min_history` and `max_history` count the ops that are kept (-1: no limit).
    `network=False` opens no socket and starts no thread. `loopback=True` also finds peers on this
    machine. `trust_shared_peers=False` only lists devices that a paired device is
    paired with. `durability="relaxed"` lets SQLite lose the last moments (never more) in a power
    cut.

    Raises ActionError for wrong arguments, DatabaseLockedError, DatabaseCorruptError, SaveError,
    and NetworkUnavailableError when no socket can be opened.
    """
    if type(app_id) is not str:
        raise ActionError(f"app_id is a UUID as a string, not {app_id!r}")
    app = parse_id(app_id)
    for name, number in (("min_history", min_history), ("max_history", max_history)):
        if type(number) is not int or number < -1:
            raise ActionError(f"{name} is a count of ops, or -1 for no limit, not {number!r}")
    if durability not in DURABILITIES:
        raise ActionError(f"durability is 'full' or 'relaxed', not {durability!r}")
    if isinstance(save_state, (str, os.PathLike)):
        save_state = SqliteSaveState(Path(save_state), durability=durability)  # type: ignore[arg-type]  # checked above
    elif save_state is not None and not isinstance(save_state, SaveState):
        raise ActionError(f"save_state is a path, a SaveState or None, not {save_state!r}")
    database = Database(save_state, app, min_history, max_history)
    try:
        if network:
            database._start_network(
                peer_name=_peer_name(peer_name),
                visible_to_peers=bool(visible_to_peers),
                sync_enabled=bool(sync_enabled),
                trust_shared_peers=bool(trust_shared_peers),
                loopback=bool(loopback),
            )
        else:
            database._options.update(
                peerName=_peer_name(peer_name),
                visibleToPeers=bool(visible_to_peers),
                syncEnabled=bool(sync_enabled),
            )
    except BaseException:
        database.close()
        raise
    return database


def _peer_name(peer_name: str | None) -> str:
    if peer_name is None:
        return socket.gethostname() or "A device"
    if not isinstance(peer_name, str):
        raise ActionError(f"peer_name is a string, not {peer_name!r}")
    return peer_name


class Listener:
    """Something that listens for events until `cancel` is called."""

    __slots__ = ("_callbacks", "callback")

    def __init__(self, callbacks: list[Listener], callback: Callable[[Any], None]) -> None:
        self._callbacks = callbacks
        self.callback = callback

    def cancel(self) -> None:
        """Stop listening; again is harmless."""
        if self in self._callbacks:
            self._callbacks.remove(self)


class Database:
    """One JSON document on this device, in sync with the paired ones. Make it with `open`.

    Safe from any thread. Use it as a context manager, or call `close`.
    """

    def __init__(
        self, save_state: SaveState | None, app: bytes, min_history: int, max_history: int
    ) -> None:
        self._listeners: dict[str, list[Listener]] = {name: [] for name in EVENTS}
        self._worker: Worker | None = None
        self._network: NetworkService | None = None
        self._connected = threading.Condition()
        self._options: dict[str, JsonValue] = {
            "appId": format_id(app),
            "minHistory": min_history,
            "maxHistory": max_history,
        }
        self._app = app
        self._document = Document(
            save_state,
            now_ms=lambda: time.time_ns() // 1_000_000,
            random_bytes=os.urandom,
            report=lambda error: self._emit(CallbackError(error)),
            on_event=lambda name, details: None,
            min_history=min_history,
            max_history=max_history,
        )
        journal = self._document.journal
        journal.open()
        try:
            self._identity: Identity = open_identity(journal, format_id(app), os.urandom)
            self._pairings = PairingStore(journal, self._pairings_changed)
            self._pairings.load()
            self._document.load(self._identity.author)
            if self._identity.is_copied:
                with self._document.lock:
                    self._identity.author = self._document.history.renew_author()
            with self._document.lock:
                self._document.history.set_paired(set(self._pairings.paired()))
            self._document.set_sources(
                {
                    "config": self._config,
                    "pairings": self._pairings.listed,
                    "peers": self._peers,
                }
            )
        except BaseException:
            journal.close()
            raise

    # --- the network --------------------------------------------------------------------

    def _start_network(
        self,
        *,
        peer_name: str,
        visible_to_peers: bool,
        sync_enabled: bool,
        trust_shared_peers: bool,
        loopback: bool,
    ) -> None:
        self._options.update(
            peerName=peer_name, visibleToPeers=visible_to_peers, syncEnabled=sync_enabled
        )
        self._worker = Worker("cytosol-callbacks")
        self._network = NetworkService(
            app_id=self._app,
            peer_id=self._identity.peer_id,
            peer_name=peer_name,
            key_pair=self._identity.key_pair,
            replica=self._peer_replica(bytes(16)),
            pairings=self._pairings,
            emit=self._emit_from_network,
            visible_to_peers=visible_to_peers,
            sync_enabled=sync_enabled,
            trust_shared_peers=trust_shared_peers,
            loopback=loopback,
            sync_factory=self._make_sync,
        )
        self._network.start()

    def _peer_replica(self, peer_id: PeerId) -> PeerReplica:
        return PeerReplica(self._document, peer_id, self._merged, self._emit_from_network)

    def _make_sync(
        self, replica: ReplicaSeam, own_id: PeerId, their_id: PeerId, *rest: Any
    ) -> SyncMachine:
        return SyncMachine(self._peer_replica(their_id), own_id, their_id, *rest)

    def _merged(self) -> None:
        """Have subscribers called after a merge, from the callbacks' thread."""
        if self._worker is not None:
            self._worker.post(self._document.deliver)

    def _emit_from_network(self, event: object) -> None:
        if self._worker is not None:
            self._worker.post(lambda: self._emit(event))
        else:
            self._emit(event)

    def _pairings_changed(self) -> None:
        document = self._document
        with document.lock:
            document.history.set_paired(set(self._pairings.paired()))
            document.meta_subscriptions.touch([("pairings",), ("peers",)])
        self._merged()

    def _emit(self, event: object) -> None:
        """Call the listeners of an event; what they raise becomes a callback_error."""
        if isinstance(event, (PeersChanged, PeerConnected, PeerDisconnected)):
            with self._document.lock:
                self._document.meta_subscriptions.touch([("peers",)])
            self._document.deliver()
            with self._connected:
                self._connected.notify_all()
        name = EVENT_NAMES.get(type(event))
        if name is None:
            return
        for listener in list(self._listeners[name]):
            try:
                listener.callback(event)
            except Exception as error:
                if name != "callback_error":
                    self._emit(CallbackError(error))

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
        if not isinstance(action, DataAction):
            command = network_command(action)
            if command is not None:
                self._command(*command)
                return [] if return_failures else None
        try:
            self._document.dispatch(action)  # type: ignore[arg-type]  # it checks what it gets
        except FailureError as error:
            if return_failures:
                return error.failures
            raise
        network = self._network
        if network is not None:
            network.local_changes()
        return [] if return_failures else None

    def _command(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._document.check_open()
        if name in ("set_visible", "set_sync_enabled"):
            key = "visibleToPeers" if name == "set_visible" else "syncEnabled"
            if self._network is not None:
                self._network.command(name, *arguments)
            with self._document.lock:
                self._options[key] = arguments[0]
                self._document.meta_subscriptions.touch([("config",)])
            self._document.deliver()
            return
        if self._network is None:
            raise NetworkError(
                "this database was opened with network=False; open it with the network to pair"
            )
        self._network.command(name, *arguments)

    def transaction(self) -> TransactionContext:
        """Return a context manager that collects actions into one Transaction.

        Inside, `dispatch` collects, and `query_once` and `get` of the context see the changes
        collected so far. At the end all are done as one; if the block raises, none is.
        """
        return TransactionContext(self)

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

    async def watch(self, path: str, variables: Variables = ()) -> AsyncIterator[list[JsonValue]]:
        """Yield the list that a JSONPath selects, now and whenever it changes, in this loop.

        A slow reader gets every list, in order.
        """
        loop = asyncio.get_running_loop()
        lists: asyncio.Queue[list[JsonValue]] = asyncio.Queue()

        def put(values: list[JsonValue]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lists.put_nowait, values)

        subscription = self.subscribe(path, put, variables=variables)
        try:
            while True:
                yield await lists.get()
        finally:
            subscription.cancel()

    async def wait_for_peer(self, peer_id: str, timeout: float | None = None) -> None:
        """Return as soon as the peer is connected; raises PeerTimeoutError after `timeout` s."""
        wanted = format_id(parse_id(peer_id))
        loop = asyncio.get_running_loop()
        here = asyncio.Event()

        def look(connected: list[JsonValue]) -> None:
            if wanted in connected and not loop.is_closed():
                loop.call_soon_threadsafe(here.set)

        subscription = self.subscribe_meta("$.peers[?@.connected == true].id", look)
        try:
            await asyncio.wait_for(here.wait(), timeout)
        except TimeoutError:
            raise PeerTimeoutError(
                f"the peer {wanted} was not connected within {timeout} s"
            ) from None
        finally:
            subscription.cancel()

    def on(self, event: str, callback: Callable[[Any], None]) -> Listener:
        """Call back for every event of a kind; returns an object with `cancel()`.

        Raises ActionError for an unknown event.
        """
        listeners = self._listeners.get(event)
        if listeners is None:
            raise ActionError(f"{event!r} is not an event; there are {', '.join(EVENTS)}")
        listener = Listener(listeners, callback)
        listeners.append(listener)
        return listener

    # --- metadata -----------------------------------------------------------------------

    def _config(self) -> JsonValue:
        return {
            **self._options,
            "peerId": self.peer_id,
            "author": format_id(self._document.replica.author),
            "publicKey": _base64(self._identity.key_pair.public),
        }

    def _peers(self) -> JsonValue:
        network = self._network
        return [] if network is None else network.peers()

    def dismiss_failures(self, ids: Sequence[Mapping[str, Any]]) -> None:
        """Stop listing the failures with these ids (the `id` members of `$.failures`)."""
        with self._document.lock:
            self._document.check_open()
            self._document.history.dismiss(ids)
            self._document.meta_subscriptions.touch([("failures",)])
        self._document.deliver()

    def state_hash(self) -> str:
        """Return the state hash in hex: peers that hold the same history have the same one."""
        with self._document.lock:
            self._document.check_open()
            return self._document.replica.state_hash().hex()

    # --- the file -----------------------------------------------------------------------

    def check(self) -> None:
        """Check every invariant of document and file; slow.

        Raises DatabaseCorruptError if anything does not fit together.
        """
        self._document.check()

    def close(self) -> None:
        """Say goodbye to peers and release the file; closing twice is harmless."""
        network, self._network = self._network, None
        if network is not None:
            network.stop()
        try:
            self._document.close()
        finally:
            worker, self._worker = self._worker, None
            if worker is not None:
                worker.stop()

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
        path = self._document.journal.path
        return f"<cytosol.Database {path or 'in memory'} of peer {self.peer_id}>"


class TransactionContext:
    """Collects data actions; see `Database.transaction`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._actions: list[Any] = []

    def dispatch(self, action: DataAction | Mapping[str, Any]) -> None:
        """Add an action; raises ActionError and FailureError as `Database.dispatch` does."""
        message = action.to_message() if isinstance(action, DataAction) else action
        self._database._document.preview([*self._actions, message], lambda document: None)
        self._actions.append(message)

    def query_once(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Query the document as it would be after the actions so far."""
        return self._database._document.preview_query(self._actions, path, variables)

    def get(self, *steps: str | int, default: Any = None) -> JsonValue:
        """Read one place as it would be after the actions so far."""
        return self._database._document.preview_get(self._actions, steps, default)

    def __enter__(self) -> TransactionContext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._actions:
            self._database.dispatch({"action": "Transaction", "payload": self._actions})


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
