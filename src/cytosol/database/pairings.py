"""Whom this device knows: paired and refused devices, kept in the save state.

Memory changes after the disk has agreed, so that a full disk leaves both as they were.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from cytosol.database.identity import damaged
from cytosol.document.journal import Journal
from cytosol.errors import DatabaseError
from cytosol.limits import PAIRINGS_MAX
from cytosol.model.ids import PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.protocol.seams import PairedPeer, Refusal

__all__ = ["PairingStore"]

ADDRESSES_MAX: Final = 4

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is stored; replaced as a whole."""

    paired: Mapping[PeerId, PairedPeer]
    refused: Mapping[PeerId, Refusal]
    addresses: Mapping[PeerId, tuple[Address, ...]]
    wrong: tuple[int, float]


class PairingStore:
    """Paired and refused devices (the seam `PairingsSeam`); every change is durable on return."""

    def __init__(self, journal: Journal, on_change: Callable[[], None]) -> None:
        self._journal = journal
        self._on_change = on_change
        self._lock = threading.Lock()  # over changing, not over reading
        self._known = _Known({}, {}, {}, (0, 0.0))

    def load(self) -> None:
        """Read everything from the journal; raises DatabaseCorruptError."""
        record: Any = self._journal.get_meta("pairings")
        if record is None:
            return
        try:
            self._known = _parse(record)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise damaged(self._journal, "pairings cannot be read") from None

    def listed(self) -> list[JsonValue]:
        """Return `$.pairings` of the metadata."""
        return [
            {
                "id": format_id(peer.peer_id),
                "name": peer.name,
                "publicKey": _text(peer.public_key),
                "sharedBy": _id_text(peer.shared_by),
            }
            for peer in self._known.paired.values()
        ]

    def paired(self) -> Mapping[PeerId, PairedPeer]:
        """Return the paired devices by id."""
        return self._known.paired

    def refused(self) -> Mapping[PeerId, Refusal]:
        """Return the devices that must stay out: a person unpaired them, here or elsewhere."""
        return self._known.refused

    def add(self, peer: PairedPeer, by_hand: bool) -> None:
        """Pair; by hand lifts a refusal, otherwise a refused device stays out."""
        with self._lock:
            known = self._known
            if not by_hand:
                full = len(known.paired) >= PAIRINGS_MAX
                if peer.peer_id in known.refused or peer.peer_id in known.paired or full:
                    return
            self._save(
                replace(
                    known,
                    paired={**known.paired, peer.peer_id: peer},
                    refused=_without(known.refused, (peer.peer_id,)),
                )
            )
        self._on_change()

    def refuse(
        self, refusals: Mapping[PeerId, Refusal], forgotten: Collection[PeerId] = ()
    ) -> None:
        """Refuse devices, which are not paired any more, and forget other refusals, at once."""
        with self._lock:
            known = self._known
            self._save(
                replace(
                    known,
                    paired=_without(known.paired, refusals),
                    refused=_without({**known.refused, **refusals}, forgotten),
                    addresses=_without(known.addresses, refusals),
                )
            )
        self._on_change()

    def forget(self, peer_id: PeerId) -> None:
        """Drop a pairing that the other side has ended, without refusing it."""
        with self._lock:
            known = self._known
            self._save(
                replace(
                    known,
                    paired=_without(known.paired, (peer_id,)),
                    addresses=_without(known.addresses, (peer_id,)),
                )
            )
        self._on_change()

    def addresses(self, peer_id: PeerId) -> Sequence[Address]:
        """Return the last known gateway addresses of a paired device, newest first."""
        return self._known.addresses.get(peer_id, ())

    def remember_address(self, peer_id: PeerId, ip_address: str, port: int) -> None:
        """Remember where a paired device was reached."""
        newest = (ip_address, port)
        with self._lock:
            known = self._known
            rows = known.addresses.get(peer_id, ())
            if rows[:1] == (newest,):
                return
            rows = (newest, *(row for row in rows if row != newest))[:ADDRESSES_MAX]
            # Worth no error: without it the device is found by its next heartbeat.
            with suppress(DatabaseError):
                self._save(replace(known, addresses={**known.addresses, peer_id: rows}))

    def wrong_codes(self) -> tuple[int, float]:
        """Return how many wrong codes were tried in a row, and when the last one was."""
        return self._known.wrong

    def set_wrong_codes(self, count: int, last_s: float) -> None:
        """Store what `wrong_codes` returns."""
        with self._lock:
            known = replace(self._known, wrong=(count, last_s))
            if count:
                self._known = known  # a full disk must not grant more guesses
            self._save(known)

    def _save(self, known: _Known) -> None:
        """Go on with `known` as soon as it is durable; raises SaveError."""
        self._journal.put_meta(pairings=_record(known))
        self._known = known


def _record(known: _Known) -> JsonValue:
    return {
        "paired": [
            {
                "id": format_id(peer.peer_id),
                "name": peer.name,
                "publicKey": _text(peer.public_key),
                "since": peer.since_s,
                "lifted": peer.lifted_ms,
                "sharedBy": _id_text(peer.shared_by),
            }
            for peer in known.paired.values()
        ],
        "refused": [
            {
                "id": format_id(peer_id),
                "publicKey": _text(refusal.public_key),
                "since": refusal.since_s,
                "stamp": refusal.stamp_ms,
                "toldBy": _id_text(refusal.told_by),
            }
            for peer_id, refusal in known.refused.items()
        ],
        "addresses": {
            format_id(peer_id): [list(row) for row in rows]
            for peer_id, rows in known.addresses.items()
        },
        "wrongCodes": list(known.wrong),
    }


def _parse(record: Any) -> _Known:
    paired = [
        PairedPeer(
            parse_id(item["id"]),
            str(item["name"]),
            _key(item["publicKey"]),
            float(item["since"]),
            int(item.get("lifted", 0)),
            _optional_id(item.get("sharedBy")),
        )
        for item in record["paired"]
    ]
    return _Known(
        {peer.peer_id: peer for peer in paired},
        {
            parse_id(item["id"]): Refusal(
                _key(item["publicKey"]),
                float(item["since"]),
                int(item.get("stamp", 0)),
                _optional_id(item.get("toldBy")),
            )
            for item in record["refused"]
        },
        {
            parse_id(peer_id): tuple((str(ip_address), int(port)) for ip_address, port in rows)
            for peer_id, rows in record["addresses"].items()
        },
        (int(record["wrongCodes"][0]), float(record["wrongCodes"][1])),
    )


def _without(mapping: Mapping[PeerId, Any], left_out: Collection[PeerId]) -> dict[PeerId, Any]:
    return {each: value for each, value in mapping.items() if each not in left_out}


def _id_text(peer_id: PeerId | None) -> str | None:
    return None if peer_id is None else format_id(peer_id)


def _optional_id(text: str | None) -> PeerId | None:
    return None if text is None else parse_id(text)


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("a key has 32 bytes")
    return key


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
