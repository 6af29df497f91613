"""Opening: the arguments of `cytosol.open`, checked before anything is touched."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from cytosol.database.database import Database, NetworkOptions
from cytosol.database.surroundings import REAL, Surroundings
from cytosol.document.checking import Progress
from cytosol.errors import ActionError
from cytosol.limits import HISTORY_DEFAULT_MAX, LAMPORT_MAX
from cytosol.model.ids import parse_id
from cytosol.model.json import brief, copy_json
from cytosol.savestates import SaveState, SqliteSaveState

__all__ = ["open", "open_in"]


def open(  # `cytosol.open` is the name users expect, as in gzip.open
    save_state: SaveState | str | os.PathLike[str] | None,
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
    progress: Progress | None = None,
) -> Database:
    """Open a database, making it if it is not there.

    `save_state` is a path (SQLite), a SaveState, or None (in memory). `app_id` is a UUID: only
    devices of the same app find each other. `peer_name` is what other devices show (default: the
    host's name). `min_history` and `max_history` count the ops that are kept (-1: no limit).
    `network=False` opens no socket and starts no thread. `loopback=True` also finds peers on this
    machine. `trust_shared_peers=False` does not pair with the devices that a paired device is
    paired with: each is paired by hand. `durability="relaxed"` lets SQLite lose the last moments
    (never more) in a power cut. `progress(what, done)` is called while the history is read, with
    the part of it that is done, 0 to 1.

    Raises ActionError for wrong arguments, DatabaseLockedError, DatabaseCorruptError, SaveError,
    DatabaseError for the file of another app, and NetworkUnavailableError when no socket can be
    opened.
    """
    return open_in(
        REAL,
        save_state,
        app_id=app_id,
        peer_name=peer_name,
        min_history=min_history,
        max_history=max_history,
        visible_to_peers=visible_to_peers,
        sync_enabled=sync_enabled,
        network=network,
        trust_shared_peers=trust_shared_peers,
        loopback=loopback,
        durability=durability,
        progress=progress,
    )


def open_in(
    surroundings: Surroundings,
    save_state: SaveState | str | os.PathLike[str] | None,
    *,
    app_id: str,
    peer_name: str | None,
    min_history: int,
    max_history: int,
    visible_to_peers: bool,
    sync_enabled: bool,
    network: bool,
    trust_shared_peers: bool,
    loopback: bool,
    durability: str,
    progress: Progress | None = None,
) -> Database:
    """Open a database in other surroundings than the machine's own; otherwise as `open`."""
    if type(app_id) is not str:
        raise ActionError(
            f"app_id is a UUID as a string, the same on all devices of an app, not {brief(app_id)}"
        )
    app = parse_id(app_id)
    for name, number in (("min_history", min_history), ("max_history", max_history)):
        if type(number) is not int or not -1 <= number <= LAMPORT_MAX:
            raise ActionError(f"{name} is a count of ops, or -1 for no limit, not {brief(number)}")
    for name, flag in (
        ("visible_to_peers", visible_to_peers),
        ("sync_enabled", sync_enabled),
        ("network", network),
        ("trust_shared_peers", trust_shared_peers),
        ("loopback", loopback),
    ):
        if type(flag) is not bool:
            raise ActionError(f"{name} is True or False, not {brief(flag)}")
    if progress is not None and not callable(progress):
        raise ActionError(f"progress is a function of (what, share), not {brief(progress)}")
    options = NetworkOptions(
        _checked_name(peer_name), visible_to_peers, sync_enabled, trust_shared_peers, loopback
    )
    state = _save_state(save_state, durability)
    database = Database(
        state,
        app,
        options,
        min_history=min_history,
        max_history=max_history,
        surroundings=surroundings,
        progress=progress,
    )
    if network:
        try:
            database._start_network()
        except BaseException:
            database.close()
            raise
    return database


def _checked_name(peer_name: str | None) -> str:
    if peer_name is None:
        return socket.gethostname() or "A device"
    if not isinstance(peer_name, str) or not peer_name.strip():
        raise ActionError(
            f"peer_name is a string that people can tell apart, not {brief(peer_name)}"
        )
    copy_json(peer_name)  # refuses what is not Unicode text
    return peer_name


def _save_state(given: Any, durability: str) -> SaveState | None:
    if durability not in ("full", "relaxed"):
        raise ActionError(f"durability is 'full' or 'relaxed', not {brief(durability)}")
    if given is None or isinstance(given, SaveState):
        return given
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(path, str):
        raise ActionError(f"save_state is a path, a SaveState or None, not {brief(given)}")
    if not path or "\0" in path:
        raise ActionError(f"save_state is no name of a file: {brief(path)}")
    return SqliteSaveState(Path(path), durability=durability)  # type: ignore[arg-type]  # checked above
