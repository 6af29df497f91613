"""Who this device is: peer id, keys and the author id of new ops, kept in the save state."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.document.journal import Journal
from cytosol.errors import DatabaseCorruptError, DatabaseError
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue

__all__ = ["Identity", "damaged", "note_home", "open_identity"]


class Identity:
    """Peer id, key pair and author id; `is_copied` if the file is a copy of where it was made."""

    __slots__ = ("author", "is_copied", "key_pair", "peer_id")

    def __init__(
        self, peer_id: PeerId, key_pair: KeyPair, author: PeerId, is_copied: bool = False
    ) -> None:
        self.peer_id = peer_id
        self.key_pair = key_pair
        self.author = author
        self.is_copied = is_copied


def open_identity(journal: Journal, app_id: str, random_bytes: Callable[[int], bytes]) -> Identity:
    """Return the identity in the journal, a new one if there is none.

    Raises DatabaseError for a file of another app, DatabaseCorruptError for a damaged record.
    """
    record: Any = journal.get_meta("identity")
    home = _home(journal)
    if record is None:
        if not journal.is_empty():
            raise damaged(journal, "identity is missing")
        keys = make_key_pair(random_bytes(32))
        peer_id = peer_id_for_key(keys.public)
        identity = {
            "appId": app_id,
            "peerId": format_id(peer_id),
            "secretKey": base64.b64encode(keys.secret).decode("ascii"),
        }
        journal.put_meta(identity=identity, home=home)
        return Identity(peer_id, keys, peer_id)
    try:
        keys = make_key_pair(base64.b64decode(record["secretKey"], validate=True))
        peer_id = parse_id(record["peerId"])
        theirs = format_id(parse_id(record["appId"]))
        author = parse_id(journal.get_meta("author") or record["peerId"])
    except (KeyError, TypeError, ValueError):
        raise damaged(journal, "identity cannot be read") from None
    if theirs != app_id:
        raise DatabaseError(
            f"{journal.path or 'the save state'} belongs to the app {theirs}, not to {app_id}; "
            "open it with its own app id, or choose another file"
        )
    known = journal.get_meta("home")
    is_copied = home is not None and known is not None and known != home
    return Identity(peer_id, keys, author, is_copied)


def note_home(journal: Journal) -> None:
    """Note that the file is at home where it lies now; raises SaveError."""
    home = _home(journal)
    if journal.get_meta("home") != home:
        journal.put_meta(home=home)


def damaged(journal: Journal, what: str) -> DatabaseCorruptError:
    """Return the error for a record of ours that says nothing sensible."""
    return DatabaseCorruptError(
        f"{journal.path or 'the save state'} is damaged: its {what}; nothing was changed. "
        "Restore a copy, or start with a new file and sync from another device"
    )


def _home(journal: Journal) -> JsonValue:
    """Return what tells a file from a copy of it, None where there is no file.

    Its inode, without the number of the device, which changes when a machine starts anew. A text
    has another inode with each change: of that it is the inode of its folder, and its name.
    """
    if journal.path is None:
        return None
    folder, name = os.path.split(journal.path)
    try:
        if journal.is_text:
            return f"{os.stat(folder).st_ino}/{name}"
        return os.stat(journal.path).st_ino
    except OSError:
        return None
