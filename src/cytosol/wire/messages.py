"""The RPCs that find, pair and connect peers: one typed class for each (spec: network, RPC).

Unknown fields are ignored, so that later versions can add some; known ones are checked to the
last byte. The RPCs of syncing are in `cytosol.wire.sync_messages`; `cytosol.wire.methods` lists
them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cytosol.crypto.pake import CONFIRMATION_BYTES, MESSAGE_BYTES
from cytosol.errors import RemoteProtocolError
from cytosol.limits import LAMPORT_MAX, PAIRINGS_MAX
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.wire.fields import Fields, encode_base64
from cytosol.wire.jsonrpc import ErrorCode

__all__ = [
    "CHALLENGE_BYTES",
    "ConfirmPairParams",
    "ConnectParams",
    "ConnectResult",
    "Done",
    "HelloParams",
    "PairParams",
    "PairResult",
    "RefusedPeer",
    "SharePeersParams",
    "SharedPeer",
    "UnpairParams",
]

CHALLENGE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Done:
    """The result that says no more than that it was done: `{}`."""

    def to_json(self) -> JsonValue:
        return {}

    @classmethod
    def from_json(cls, value: JsonValue) -> Done:
        Fields(value, "the result")
        return cls()


@dataclass(frozen=True, slots=True)
class HelloParams:
    """The answerer's first frame on the gateway: every request has to repeat its challenge."""

    METHOD: ClassVar[str] = "cytosol.net.hello"
    challenge: bytes

    def to_json(self) -> JsonValue:
        return {"challenge": encode_base64(self.challenge)}

    @classmethod
    def from_json(cls, value: JsonValue) -> HelloParams:
        return cls(Fields(value, cls.METHOD).secret("challenge", CHALLENGE_BYTES))


@dataclass(frozen=True, slots=True)
class PairParams:
    """Ask to pair; `pake` is the requester's SPAKE2 message."""

    METHOD: ClassVar[str] = "osmosis.net.pair"
    challenge: bytes
    peer_name: str
    public_key: bytes
    pake: bytes

    def to_json(self) -> JsonValue:
        return {
            "challenge": encode_base64(self.challenge),
            "peerName": self.peer_name,
            "publicKey": encode_base64(self.public_key),
            "pake": encode_base64(self.pake),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> PairParams:
        fields = Fields(value, cls.METHOD)
        return cls(
            fields.secret("challenge", CHALLENGE_BYTES),
            fields.name("peerName"),
            fields.public_key("publicKey"),
            fields.secret("pake", MESSAGE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class PairResult:
    """The responder's user has typed a code; `confirm` proves it to who knows the same."""

    peer_name: str
    public_key: bytes
    pake: bytes
    confirm: bytes

    def to_json(self) -> JsonValue:
        return {
            "peerName": self.peer_name,
            "publicKey": encode_base64(self.public_key),
            "pake": encode_base64(self.pake),
            "confirm": encode_base64(self.confirm),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> PairResult:
        fields = Fields(value, f"the result of {PairParams.METHOD}")
        return cls(
            fields.name("peerName"),
            fields.public_key("publicKey"),
            fields.secret("pake", MESSAGE_BYTES),
            fields.secret("confirm", CONFIRMATION_BYTES),
        )


@dataclass(frozen=True, slots=True)
class ConfirmPairParams:
    """The requester's proof that it knows the code."""

    METHOD: ClassVar[str] = "cytosol.net.confirmPair"
    challenge: bytes
    confirm: bytes

    def to_json(self) -> JsonValue:
        return {
            "challenge": encode_base64(self.challenge),
            "confirm": encode_base64(self.confirm),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> ConfirmPairParams:
        fields = Fields(value, cls.METHOD)
        return cls(
            fields.secret("challenge", CHALLENGE_BYTES),
            fields.secret("confirm", CONFIRMATION_BYTES),
        )


@dataclass(frozen=True, slots=True)
class ConnectParams:
    """Ask a paired peer for a connection; `public_key` was made for it."""

    METHOD: ClassVar[str] = "osmosis.net.connect"
    challenge: bytes
    public_key: bytes

    def to_json(self) -> JsonValue:
        return {
            "challenge": encode_base64(self.challenge),
            "publicKey": encode_base64(self.public_key),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> ConnectParams:
        fields = Fields(value, cls.METHOD)
        return cls(fields.secret("challenge", CHALLENGE_BYTES), fields.public_key("publicKey"))


@dataclass(frozen=True, slots=True)
class ConnectResult:
    """Where the answerer listens for this connection, and its key made for it."""

    port: int
    public_key: bytes

    def to_json(self) -> JsonValue:
        return {"port": self.port, "publicKey": encode_base64(self.public_key)}

    @classmethod
    def from_json(cls, value: JsonValue) -> ConnectResult:
        fields = Fields(value, f"the result of {ConnectParams.METHOD}")
        return cls(fields.port("port"), fields.public_key("publicKey"))


@dataclass(frozen=True, slots=True)
class SharedPeer:
    """A device that the sender is paired with."""

    peer_id: PeerId
    peer_name: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class RefusedPeer:
    """A device that was unpaired by hand `age_ms` ago, and must stay out.

    `since_ms` is the time on the clock where that was done. It names the refusal and is compared
    with no other clock; 0: not known.
    """

    peer_id: PeerId
    public_key: bytes
    since_ms: int = 0
    age_ms: int = LAMPORT_MAX  # not known, so very long ago


@dataclass(frozen=True, slots=True)
class SharePeersParams:
    """Everyone the sender is paired with, and everyone it refuses.

    One array, as in the seed; a refused device is an entry with `"refused": true`.
    """

    METHOD: ClassVar[str] = "osmosis.net.sharePeers"
    paired: tuple[SharedPeer, ...]
    refused: tuple[RefusedPeer, ...] = ()

    def to_json(self) -> JsonValue:
        entries: list[dict[str, Any]] = [
            {
                "peerId": format_id(peer.peer_id),
                "peerName": peer.peer_name,
                "publicKey": encode_base64(peer.public_key),
            }
            for peer in self.paired
        ]
        entries += (
            {
                "peerId": format_id(peer.peer_id),
                "publicKey": encode_base64(peer.public_key),
                "refused": True,
                "sinceMs": peer.since_ms,
                "ageMs": peer.age_ms,
            }
            for peer in self.refused
        )
        return entries

    @classmethod
    def from_json(cls, value: JsonValue) -> SharePeersParams:
        if not isinstance(value, list) or len(value) > PAIRINGS_MAX:
            raise RemoteProtocolError(
                f"the params of {cls.METHOD} are not an array of at most {PAIRINGS_MAX} peers",
                ErrorCode.INVALID_PARAMS,
            )
        paired, refused = [], []
        seen: set[PeerId] = set()
        for entry in value:
            fields = Fields(entry, f"a peer in {cls.METHOD}")
            peer_id = fields.peer_id("peerId")
            if peer_id in seen:
                raise fields.refusal("peerId", "named once only")
            seen.add(peer_id)
            public_key = fields.public_key("publicKey")
            if fields.has("refused") and fields.flag("refused"):
                since_ms = fields.number("sinceMs", 0, LAMPORT_MAX) if fields.has("sinceMs") else 0
                has_age = fields.has("ageMs")
                age_ms = fields.number("ageMs", 0, LAMPORT_MAX) if has_age else LAMPORT_MAX
                refused.append(RefusedPeer(peer_id, public_key, since_ms, age_ms))
            else:
                paired.append(SharedPeer(peer_id, fields.name("peerName"), public_key))
        return cls(tuple(paired), tuple(refused))


@dataclass(frozen=True, slots=True)
class UnpairParams:
    """Tell a device that it is no longer paired with us."""

    METHOD: ClassVar[str] = "osmosis.net.unpair"

    def to_json(self) -> JsonValue:
        return {}

    @classmethod
    def from_json(cls, value: JsonValue) -> UnpairParams:
        Fields(value, cls.METHOD)
        return cls()
