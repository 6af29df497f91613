"""Ops and histories that no honest device makes, and how a paired device brings them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from cytosol.crdt import snapshot as base_format
from cytosol.document.document import Document
from cytosol.model.ids import OpId, PeerId, parse_id
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import Columns, encode_ops
from cytosol.model.packed import pack, unpack
from cytosol.model.version import ZERO_HASH, StateSummary
from cytosol.savestates import InMemorySaveState
from cytosol.wire.sync_messages import StateSummaryParams
from tests.hostile.real_devices import Attacker, Field, Wire

LIVE = "osmosis.sync.liveUpdate"
SUMMARY = "osmosis.sync.stateSummary"
SNAPSHOT = "cytosol.sync.snapshot"


class Author:
    """Makes ops of one author, in a row."""

    def __init__(
        self, author: PeerId, clock: int, previous: int = 0, seen: dict[PeerId, int] | None = None
    ) -> None:
        self.author = author
        self.clock = clock
        self.previous = previous
        self._seen = tuple(sorted((seen or {}).items()))  # told by the first op

    def op(self, body: Body, *, step: int = 1) -> Op:
        """Return the next op."""
        self.clock += step
        op = Op(self.clock, self.author, self.previous, 1_700_000_000_000, body, self._seen)
        self.previous, self._seen = self.clock, ()
        return op

    def set(self, key: str, value: Any, parent: Name | None = None) -> Op:
        """Return a Set at a key."""
        return self.op(Body(Kind.SET, parent, key, payload=value))


def known_to(wire: Wire) -> dict[PeerId, int]:
    """Return what the victim says that it holds."""
    answer = live(wire, [])
    assert answer is not None
    return {parse_id(who): index for who, index in answer["result"]["latest"].items()}


def author_of(attacker: Attacker, wire: Wire) -> Author:
    """Return the attacker as an author who has seen all that the victim knows."""
    seen = known_to(wire)
    return Author(attacker.peer_id, max(seen.values(), default=0) + 1_000, seen=seen)


def live(
    wire: Wire, ops: Sequence[Op], latest: dict[str, int] | None = None
) -> dict[str, Any] | None:
    """Send ops as a live update; return the answer, None if the connection was closed."""
    return live_bytes(wire, encode_ops(ops), latest)


def live_bytes(
    wire: Wire, batch: bytes, latest: dict[str, int] | None = None
) -> dict[str, Any] | None:
    """Send any bytes as a batch of a live update."""
    params = {"batch": base64.b64encode(batch).decode(), "latest": latest or {}}
    return wire.call(LIVE, params)


def columns(**changes: object) -> Columns:
    """Return the columns of one Set, with changes."""
    fields: dict[str, object] = {
        "authors": [b"m" * 16],
        "author": [0],
        "index": [1],
        "previous": [1],
        "time": [1],
        "seen": [],
        "origin": [],
        "kind": b"\x01",
        "form": b"\x00",
        "count": [],
        "key": ["k"],
        "side": b"",
        "fill": [],
        "spot": [],
        "payload": [0],
        "how": [b""] * 4,
        "what": [[], [], [], []],
        **changes,
    }
    return Columns(**fields)  # type: ignore[arg-type]  # whatever a test makes of them


def author_id_of(field: Field) -> PeerId:
    """Return under which id the victim writes."""
    return parse_id(field.victim.ask("author"))


# --- Sessions ---------------------------------------------------------------------------------


def summary(**changes: Any) -> StateSummary:
    """Return a summary of nothing, with changes."""
    fields: dict[str, Any] = {"state_hash": ZERO_HASH, "latest": {}, **changes}
    return StateSummary(**fields)


def open_session(wire: Wire, state: StateSummary, session: str = "mallory/1") -> str:
    """Begin a session, or join the one that the victim has begun; return its name."""
    wire.read_all()
    for message in wire.messages:
        if message.get("method") == SUMMARY:
            session = message["params"]["session"]
    wire.send(method=SUMMARY, params=StateSummaryParams(session, state).to_json())
    return session


def claim_base(attacker: Attacker, **changes: Any) -> StateSummary:
    """Return a summary because of which the victim has to adopt our history."""
    trim = attacker.field.victim.ask("clock") + 5_000
    fields = {
        "latest": {attacker.peer_id: trim},
        "trim": (trim, attacker.peer_id),
        "trim_hash": b"\xee" * 64,
        "trimmed": {attacker.peer_id: trim},
        "state_hash": b"\xee" * 64,
        **changes,
    }
    fields["trim"] = OpId(*fields["trim"])
    return summary(**fields)


def serve(wire: Wire, chunks: Sequence[dict[str, Any]]) -> None:
    """Answer the requests for chunks with these, in order, as long as they are asked for."""
    answered: set[int] = set()

    def is_new(message: dict[str, Any]) -> bool:
        return message.get("method") == SNAPSHOT and message["id"] not in answered

    for chunk in chunks:
        asked = wire.wait_for(is_new)
        if asked is None:
            return
        answered.add(asked["id"])
        wire.send(id=asked["id"], result=chunk)
    wire.read_all()


def chunk(total: int, offset: int, digest: bytes, data: bytes) -> dict[str, Any]:
    """Return the answer to a request for a chunk."""
    return {
        "total": total,
        "offset": offset,
        "hash": digest.hex(),
        "data": base64.b64encode(data).decode(),
    }


# --- Bases ------------------------------------------------------------------------------------


def honest_base(author: PeerId, values: dict[str, Any]) -> Any:
    """Return the parts of a base that an honest device makes of some values."""
    ticks = iter(range(10**9))
    document = Document(
        InMemorySaveState(),
        now_ms=lambda: 1_700_000_000_000,
        random_bytes=lambda count: (next(ticks) + 1).to_bytes(count, "big"),
        report=_raise,
    )
    document.journal.open()
    document.load(author)
    for key, value in values.items():
        document.dispatch({"action": "Set", "path": "$[{0}]", "vars": [key], "payload": value})
    document.history._trim_to(len(document.replica.log))
    packed = document.history.snapshot()
    length = struct.unpack(">I", packed[:4])[0]
    plain = unpack(packed[5 : 4 + length], base_format.BASE_BYTES_MAX)
    return base_format._decoder.decode(plain)


def _raise(error: Exception) -> None:
    raise error


def snapshot_of(base: Any, ops: bytes | None = None) -> bytes:
    """Return a snapshot of the parts of a base, whatever they are."""
    plain = base if isinstance(base, bytes) else base_format._encoder.encode(base)
    data = bytes((base_format.VERSION,)) + pack(plain)
    return struct.pack(">I", len(data)) + data + (encode_ops([]) if ops is None else ops)
