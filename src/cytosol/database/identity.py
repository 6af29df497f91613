"""Who this device is and whom it knows, kept in the save state."""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.document.journal import Journal
from cytosol.errors import ActionError, DatabaseCorruptError, DatabaseError
from cytosol.limits import PAIRINGS_MAX
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.protocol.seams import PairedPeer

__all__ = ["Identity", "PairingStore", "open_identity"]

ADDRESSES_MAX = 4


class Identity:
    """Peer id, key pair and the author id of new ops; `is_copied` if the file was moved here."""

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
    record = journal.get_meta("identity")
    home = _home(journal.path)
    if record is None:
        keys = make_key_pair(random_bytes(32))
        peer_id = peer_id_for_key(keys.public)
        journal.put_meta(
            "identity",
            {
                "appId": app_id,
                "peerId": format_id(peer_id),
                "secretKey": base64.b64encode(keys.secret).decode("ascii"),
            },
        )
        journal.put_meta("home", home)
        return Identity(peer_id, keys, peer_id)
    try:
        keys = make_key_pair(base64.b64decode(record["secretKey"], validate=True))
        peer_id = parse_id(record["peerId"])
        theirs = record["appId"]
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise DatabaseCorruptError(
            f"{journal.path} is damaged: its identity cannot be read; nothing was changed"
        ) from None
    if theirs != app_id:
        raise DatabaseError(
            f"{journal.path} belongs to the app {theirs}, not to {app_id}; "
            "open it with its own app id, or choose another file"
        )
    author = journal.get_meta("author")
    known = journal.get_meta("home")
    if known != home:
        journal.put_meta("home", home)
    return Identity(
        peer_id,
        keys,
        peer_id if author is None else parse_id(author),
        is_copied=home is not None and known is not None and known != home,
    )


def _home(path: str | None) -> JsonValue:
    """Return what tells a file from a copy of it, None where it is written anew each time."""
    if path is None or path.endswith(".json"):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_dev, status.st_ino]


class PairingStore:
    """Paired and refused devices (the seam `PairingsSeam`); every change is durable on return."""

    def __init__(self, journal: Journal, on_change: Callable[[], None]) -> None:
        self._journal = journal
        self._on_change = on_change
        self._lock = threading.Lock()
        self._paired: dict[PeerId, PairedPeer] = {}
        self._refused: dict[PeerId, tuple[bytes, float]] = {}
        self._addresses: dict[PeerId, list[tuple[str, int]]] = {}
        self._wrong: tuple[int, float] = (0, 0.0)

    def load(self) -> None:
        """Read everything from the journal; raises DatabaseCorruptError."""
        record = self._journal.get_meta("pairings") or {}
        try:
            for item in record.get("paired", []):
                peer = PairedPeer(parse_id(item["id"]), item["name"], _key(item["publicKey"]))
                self._paired[peer.peer_id] = peer
            for item in record.get("refused", []):
                since = float(item.get("since", 0.0))
                self._refused[parse_id(item["id"])] = (_key(item["publicKey"]), since)
            for peer_id, rows in record.get("addresses", {}).items():
                self._addresses[parse_id(peer_id)] = [(str(ip), int(port)) for ip, port in rows]
            wrong = record.get("wrongCodes", [0, 0.0])
            self._wrong = int(wrong[0]), float(wrong[1])
        except (KeyError, TypeError, ValueError, ActionError, binascii.Error):
            raise DatabaseCorruptError(
                f"{self._journal.path} is damaged: its pairings cannot be read"
            ) from None

    def _save(self) -> None:
        self._journal.put_meta(
            "pairings",
            {
                "paired": self.listed(),
                "refused": [
                    {"id": format_id(peer), "publicKey": _text(key), "since": since}
                    for peer, (key, since) in self._refused.items()
                ],
                "addresses": {
                    format_id(peer): [list(row) for row in rows]
                    for peer, rows in self._addresses.items()
                },
                "wrongCodes": list(self._wrong),
            },
        )

    def listed(self) -> list[dict[str, JsonValue]]:
        """Return `$.pairings` of the metadata."""
        return [
            {"id": format_id(peer.peer_id), "name": peer.name, "publicKey": _text(peer.public_key)}
            for peer in list(self._paired.values())
        ]

    def paired(self) -> Mapping[PeerId, PairedPeer]:
        """Return the paired devices by id."""
        return dict(self._paired)

    def refused(self) -> Mapping[PeerId, bytes]:
        """Return the devices that were unpaired by hand, with their keys."""
        return {peer: key for peer, (key, _) in self._refused.items()}

    def refused_since(self) -> Mapping[PeerId, float]:
        """Return the wall-clock second of each refusal, 0 if nobody knows."""
        return {peer: since for peer, (_, since) in self._refused.items()}

    def add(self, peer: PairedPeer, by_hand: bool) -> None:
        """Pair; by hand lifts a refusal, otherwise a refused device stays out."""
        with self._lock:
            if not by_hand:
                full = len(self._paired) >= PAIRINGS_MAX
                if peer.peer_id in self._refused or peer.peer_id in self._paired or full:
                    return
            paired, refused = dict(self._paired), dict(self._refused)
            self._refused.pop(peer.peer_id, None)
            self._paired[peer.peer_id] = peer
            self._keep(paired, refused)
        self._on_change()

    def _keep(self, paired: dict[PeerId, PairedPeer], refused: dict[PeerId, Any]) -> None:
        """Save; if the disk refuses, go back to what was before."""
        try:
            self._save()
        except DatabaseError:
            self._paired, self._refused = paired, refused
            raise

    def _drop(self, peer_id: PeerId, refusal: tuple[bytes, float] | None) -> None:
        with self._lock:
            paired, refused = dict(self._paired), dict(self._refused)
            self._paired.pop(peer_id, None)
            self._addresses.pop(peer_id, None)
            if refusal is not None and (
                peer_id in self._refused or len(self._refused) < PAIRINGS_MAX
            ):
                self._refused[peer_id] = refusal
            self._keep(paired, refused)
        self._on_change()

    def remove(self, peer_id: PeerId, since_s: float = 0.0) -> None:
        """Unpair and refuse from now on."""
        known = self._paired.get(peer_id)
        if known is not None:
            self._drop(peer_id, (known.public_key, since_s))

    def forget(self, peer_id: PeerId) -> None:
        """Drop a pairing that the other side has ended, without refusing it."""
        self._drop(peer_id, None)

    def refuse(self, peer_id: PeerId, public_key: bytes, since_s: float = 0.0) -> None:
        """Refuse a device that another device of ours has unpaired."""
        self._drop(peer_id, (public_key, since_s))

    def addresses(self, peer_id: PeerId) -> Sequence[tuple[str, int]]:
        """Return the last known gateway addresses of a paired device, newest first."""
        return tuple(self._addresses.get(peer_id, ()))

    def remember_address(self, peer_id: PeerId, ip_address: str, port: int) -> None:
        """Remember where a paired device was reached."""
        with self._lock:
            rows = self._addresses.get(peer_id, [])
            if rows[:1] == [(ip_address, port)]:
                return
            rest = [row for row in rows if row != (ip_address, port)]
            self._addresses[peer_id] = [(ip_address, port), *rest][:ADDRESSES_MAX]
            self._save()

    def wrong_codes(self) -> tuple[int, float]:
        """Return how many wrong codes were tried in a row, and when the last one was."""
        return self._wrong

    def set_wrong_codes(self, count: int, last_s: float) -> None:
        """Store what `wrong_codes` returns."""
        with self._lock:
            self._wrong = (count, last_s)
            self._save()


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("a key has 32 bytes")
    return key


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
