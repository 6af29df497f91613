"""The RPCs that sync two replicas (seed: Synchronization; spec: network, Sync).

What ops and snapshots mean is not known here: ops are a list of JSON values, or one batch of
bytes in the compact form. `session` names a sync within its connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cytosol.limits import (
    FRAME_BYTES_MAX,
    LAMPORT_MAX,
    SAVE_POINTS_MAX,
    SESSION_LENGTH_MAX,
    UNPACKED_BYTES_MAX,
)
from cytosol.model.ids import OpId, PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.model.version import StateSummary
from cytosol.wire.fields import HASH_BYTES, Fields, encode_base64, index_map, op_id_json

__all__ = [
    "EndSessionParams",
    "FindLastSharedHistoryParams",
    "FindLastSharedHistoryResult",
    "LiveUpdateParams",
    "LiveUpdateResult",
    "SavePoint",
    "SessionUpdateParams",
    "SnapshotParams",
    "SnapshotResult",
    "StateSummaryParams",
]

_OFFSET_MAX: Final = LAMPORT_MAX  # any integer that every JSON reader keeps exact
_DIGEST_BYTES_MIN: Final = 16


def _session(fields: Fields) -> str:
    return fields.text("session", 1, SESSION_LENGTH_MAX)


@dataclass(frozen=True, slots=True)
class StateSummaryParams:
    """Say what we hold, at the beginning of a session."""

    METHOD: ClassVar[str] = "osmosis.sync.stateSummary"
    session: str
    state: StateSummary

    def to_json(self) -> JsonValue:
        state = self.state
        return {
            "session": self.session,
            "state": {
                "hash": state.state_hash.hex(),
                "latestIndexes": index_map(state.latest),
                "trim": None if state.trim is None else op_id_json(state.trim),
                "trimHash": state.trim_hash.hex(),
                "trimmed": index_map(state.trimmed),
                "refused": index_map(state.refused),
                "contentHashes": {
                    format_id(author): digest.hex() for author, digest in state.contents.items()
                },
            },
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> StateSummaryParams:
        fields = Fields(value, cls.METHOD)
        state = fields.fields("state")
        return cls(
            _session(fields),
            StateSummary(
                state_hash=state.state_hash("hash"),
                latest=state.indexes("latestIndexes"),
                trim=state.fields("trim").op_id() if state.has("trim") else None,
                trim_hash=state.state_hash("trimHash"),
                trimmed=state.indexes("trimmed"),
                refused=state.indexes("refused") if state.has("refused") else {},
                contents=state.digests("contentHashes", _DIGEST_BYTES_MIN, HASH_BYTES),
            ),
        )


def _ops_json(ops: list[Any] | None, batch: bytes | None) -> dict[str, Any]:
    """Return the one of both forms that there is."""
    if batch is not None:
        return {"batch": encode_base64(batch)}
    return {} if ops is None else {"ops": ops}


def _read_ops(fields: Fields) -> tuple[list[Any] | None, bytes | None]:
    """Return ops and batch; at most one of them is there."""
    if not fields.has("batch"):
        return (fields.array("ops") if fields.has("ops") else None), None
    if fields.has("ops"):
        raise fields.refusal("ops", "absent, although there is a batch")
    return None, fields.base64("batch", UNPACKED_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class SessionUpdateParams:
    """Send ops that the other side lacks; `last` says that there are no more.

    At most one of `ops` and `batch` is given, none when there is nothing to send.
    """

    METHOD: ClassVar[str] = "osmosis.sync.sessionUpdate"
    session: str
    last: bool
    ops: list[Any] | None = None
    batch: bytes | None = None

    def to_json(self) -> JsonValue:
        return {"session": self.session, "last": self.last, **_ops_json(self.ops, self.batch)}

    @classmethod
    def from_json(cls, value: JsonValue) -> SessionUpdateParams:
        fields = Fields(value, cls.METHOD)
        return cls(_session(fields), fields.flag("last"), *_read_ops(fields))


@dataclass(frozen=True, slots=True)
class SavePoint:
    """The id of the op at which a replica has a save point, and its state hash there."""

    id: OpId
    state_hash: bytes


@dataclass(frozen=True, slots=True)
class FindLastSharedHistoryParams:
    """Ask which of these save points is the last that the other side shares."""

    METHOD: ClassVar[str] = "osmosis.sync.findLastSharedHistory"
    session: str
    save_points: tuple[SavePoint, ...]

    def to_json(self) -> JsonValue:
        return {
            "session": self.session,
            "savePoints": [
                {"id": op_id_json(point.id), "hash": point.state_hash.hex()}
                for point in self.save_points
            ],
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> FindLastSharedHistoryParams:
        fields = Fields(value, cls.METHOD)
        points = []
        for entry in fields.array("savePoints", SAVE_POINTS_MAX):
            point = Fields(entry, f"a save point in {cls.METHOD}")
            points.append(SavePoint(point.fields("id").op_id(), point.state_hash("hash")))
        return cls(_session(fields), tuple(points))


@dataclass(frozen=True, slots=True)
class FindLastSharedHistoryResult:
    """The last shared save point, None if there is none."""

    id: OpId | None

    def to_json(self) -> JsonValue:
        return {"id": None if self.id is None else op_id_json(self.id)}

    @classmethod
    def from_json(cls, value: JsonValue) -> FindLastSharedHistoryResult:
        fields = Fields(value, f"the result of {FindLastSharedHistoryParams.METHOD}")
        return cls(fields.fields("id").op_id() if fields.has("id") else None)


@dataclass(frozen=True, slots=True)
class EndSessionParams:
    """End a session."""

    METHOD: ClassVar[str] = "osmosis.sync.endSession"
    session: str

    def to_json(self) -> JsonValue:
        return {"session": self.session}

    @classmethod
    def from_json(cls, value: JsonValue) -> EndSessionParams:
        return cls(_session(Fields(value, cls.METHOD)))


@dataclass(frozen=True, slots=True)
class LiveUpdateParams:
    """Send ops as soon as they are dispatched; exactly one of `ops` and `batch` is given.

    `takes_news` says that the answer need not hold what was told before.
    """

    METHOD: ClassVar[str] = "osmosis.sync.liveUpdate"
    ops: list[Any] | None = None
    batch: bytes | None = None
    takes_news: bool = False

    def to_json(self) -> JsonValue:
        message = _ops_json(self.ops, self.batch)
        return {**message, "news": True} if self.takes_news else message

    @classmethod
    def from_json(cls, value: JsonValue) -> LiveUpdateParams:
        fields = Fields(value, cls.METHOD)
        ops, batch = _read_ops(fields)
        if ops is None and batch is None:
            raise fields.refusal("ops", "there, and there is no batch either")
        return cls(ops, batch, fields.has("news") and fields.flag("news"))


@dataclass(frozen=True, slots=True)
class LiveUpdateResult:
    """What the receiver holds after applying: its state hash, and each author's newest index.

    Unless `is_whole`, authors are left out whose index was told before and is still the same.
    """

    state_hash: bytes
    latest: dict[PeerId, int]
    is_whole: bool = True

    def to_json(self) -> JsonValue:
        key = "latest" if self.is_whole else "news"
        return {"hash": self.state_hash.hex(), key: index_map(self.latest)}

    @classmethod
    def from_json(cls, value: JsonValue) -> LiveUpdateResult:
        fields = Fields(value, f"the result of {LiveUpdateParams.METHOD}")
        is_whole = not fields.has("news")
        latest = fields.indexes("latest" if is_whole else "news")
        return cls(fields.state_hash("hash"), latest, is_whole)


@dataclass(frozen=True, slots=True)
class SnapshotParams:
    """Ask for the snapshot of a session from a byte on."""

    METHOD: ClassVar[str] = "cytosol.sync.snapshot"
    session: str
    offset: int

    def to_json(self) -> JsonValue:
        return {"session": self.session, "offset": self.offset}

    @classmethod
    def from_json(cls, value: JsonValue) -> SnapshotParams:
        fields = Fields(value, cls.METHOD)
        return cls(_session(fields), fields.number("offset", 0, _OFFSET_MAX))


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """One chunk of a snapshot of `total` bytes; `digest` (64 bytes) is that of the whole."""

    total: int
    offset: int
    digest: bytes
    data: bytes

    def to_json(self) -> JsonValue:
        return {
            "total": self.total,
            "offset": self.offset,
            "hash": self.digest.hex(),
            "data": encode_base64(self.data),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> SnapshotResult:
        fields = Fields(value, f"the result of {SnapshotParams.METHOD}")
        total = fields.number("total", 0, _OFFSET_MAX)
        offset = fields.number("offset", 0, total)
        data = fields.base64("data", FRAME_BYTES_MAX)
        if offset + len(data) > total:
            raise fields.refusal("data", "within the total")
        if offset < total and not data:
            raise fields.refusal("data", "there, although the total is not reached")
        return cls(total, offset, fields.state_hash("hash"), data)
