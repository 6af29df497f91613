"""Read the fields of a JSON object that a peer sent, each with its type and bound.

Every method returns a checked value or raises RemoteProtocolError (-32602) naming the field.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cytosol.crypto.primitives import KEY_BYTES, check_public_key
from cytosol.errors import ActionError, RemoteProtocolError
from cytosol.limits import AUTHORS_MAX, GATEWAY_PORT_MIN, LAMPORT_MAX, RPC_VALUES_MAX
from cytosol.model.ids import OpId, PeerId, format_id, parse_id
from cytosol.model.json import JsonValue
from cytosol.model.version import ZERO_HASH
from cytosol.wire.heartbeat import clean_peer_name
from cytosol.wire.jsonrpc import ErrorCode

__all__ = ["HASH_BYTES", "Fields", "encode_base64", "index_map", "op_id_json"]

T = TypeVar("T")

HASH_BYTES: Final = len(ZERO_HASH)
_HEX: Final = re.compile(r"[0-9a-f]*")
_UUID_LENGTH: Final = 36


def encode_base64(data: bytes) -> str:
    """Return bytes as they travel in JSON (RFC 4648, section 4, padded)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def op_id_json(op_id: OpId) -> JsonValue:
    """Return an op's id as the seed writes it."""
    return {"author": format_id(op_id.author), "index": op_id.index}


def index_map(indexes: dict[PeerId, int]) -> JsonValue:
    """Return a map from authors to Lamport numbers as it travels."""
    return {format_id(author): index for author, index in indexes.items()}


class Fields:
    """The fields of one object; `what` names the object in errors."""

    __slots__ = ("_object", "_what")

    def __init__(self, value: JsonValue, what: str) -> None:
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"{what} is not an object", ErrorCode.INVALID_PARAMS)
        self._object: dict[str, Any] = value
        self._what = what

    def refusal(self, key: str, wanted: str) -> RemoteProtocolError:
        """Return the error that says what the field should be."""
        return RemoteProtocolError(
            f"the field {key!r} of {self._what} is not {wanted}", ErrorCode.INVALID_PARAMS
        )

    def has(self, key: str) -> bool:
        """Tell whether the field is there, and not null."""
        return self._object.get(key) is not None

    def text(self, key: str, length_min: int, length_max: int) -> str:
        """Return a string of so many characters."""
        value = self._object.get(key)
        if not isinstance(value, str) or not length_min <= len(value) <= length_max:
            raise self.refusal(key, f"a string of {length_min} to {length_max} characters")
        return value

    def name(self, key: str) -> str:
        """Return a peer's name, cleaned as in a heartbeat."""
        value = self._object.get(key)
        if not isinstance(value, str):
            raise self.refusal(key, "a string")
        return clean_peer_name(value)

    def flag(self, key: str) -> bool:
        """Return a boolean."""
        value = self._object.get(key)
        if not isinstance(value, bool):
            raise self.refusal(key, "a boolean")
        return value

    def number(self, key: str, least: int, greatest: int) -> int:
        """Return an integer within bounds; `true` and `1.0` are none."""
        value = self._object.get(key)
        if type(value) is not int or not least <= value <= greatest:
            raise self.refusal(key, f"an integer in {least} .. {greatest}")
        return value

    def port(self, key: str) -> int:
        """Return a TCP port that is not privileged."""
        return self.number(key, GATEWAY_PORT_MIN, 0xFFFF)

    def base64(self, key: str, length_max: int) -> bytes:
        """Return up to so many bytes that travel as base64 (RFC 4648, section 4, padded)."""
        value = self._object.get(key)
        if isinstance(value, str) and len(value) <= (length_max + 2) // 3 * 4:
            try:
                data = binascii.a2b_base64(value, strict_mode=True)
            except ValueError:  # binascii.Error, or characters beyond ASCII
                pass
            else:
                # The decoder takes too much padding and stray bits; one text for one value.
                if len(data) <= length_max and len(value) == (len(data) + 2) // 3 * 4:
                    tail = len(data) // 3 * 3
                    if encode_base64(data[tail:]) == value[tail // 3 * 4 :]:
                        return data
        raise self.refusal(key, f"base64 of at most {length_max} bytes")

    def secret(self, key: str, length: int) -> bytes:
        """Return exactly so many bytes that travel as base64."""
        data = self.base64(key, length)
        if len(data) != length:
            raise self.refusal(key, f"base64 of {length} bytes")
        return data

    def public_key(self, key: str) -> bytes:
        """Return a usable public key."""
        data = self.secret(key, KEY_BYTES)
        try:
            check_public_key(data)
        except RemoteProtocolError:
            raise self.refusal(key, "a public key that is safe to use") from None
        return data

    def state_hash(self, key: str) -> bytes:
        """Return a state hash: 64 bytes in lower-case hex."""
        return self._hex(key, self._object.get(key), HASH_BYTES, HASH_BYTES)

    def peer_id(self, key: str) -> PeerId:
        """Return the 16 bytes of a UUID."""
        return self._uuid(key, self._object.get(key))

    def array(self, key: str, length_max: int = RPC_VALUES_MAX) -> list[Any]:
        """Return a list of at most so many values, which are not looked at."""
        value = self._object.get(key)
        if not isinstance(value, list) or len(value) > length_max:
            raise self.refusal(key, f"an array of at most {length_max} values")
        return value

    def fields(self, key: str) -> Fields:
        """Return the fields of an object inside this one."""
        value = self._object.get(key)
        if not isinstance(value, dict):
            raise self.refusal(key, "an object")
        return Fields(value, f"{key} in {self._what}")

    def op_id(self) -> OpId:
        """Read this object as an op's id, `{"author": UUID, "index": Lamport number}`."""
        return OpId(self.number("index", 1, LAMPORT_MAX), self.peer_id("author"))

    def indexes(self, key: str) -> dict[PeerId, int]:
        """Return a map from authors to Lamport numbers."""

        def index(value: JsonValue) -> int:
            if type(value) is not int or not 1 <= value <= LAMPORT_MAX:
                raise self.refusal(key, f"a map to integers in 1 .. {LAMPORT_MAX}")
            return value

        return self._by_author(key, index)

    def digests(self, key: str, length_min: int, length_max: int) -> dict[PeerId, bytes]:
        """Return a map from authors to digests of so many bytes, in lower-case hex."""
        return self._by_author(key, lambda value: self._hex(key, value, length_min, length_max))

    def _by_author(self, key: str, convert: Callable[[JsonValue], T]) -> dict[PeerId, T]:
        value = self._object.get(key)
        if not isinstance(value, dict) or len(value) > AUTHORS_MAX:
            raise self.refusal(key, f"an object of at most {AUTHORS_MAX} authors")
        converted = {self._uuid(key, author): convert(item) for author, item in value.items()}
        if len(converted) != len(value):  # one author in two spellings
            raise self.refusal(key, "a map that names each author once")
        return converted

    def _uuid(self, key: str, value: JsonValue) -> PeerId:
        if isinstance(value, str) and len(value) == _UUID_LENGTH:
            try:
                return parse_id(value)
            except ActionError:
                pass
        raise self.refusal(key, "a UUID")

    def _hex(self, key: str, value: JsonValue, length_min: int, length_max: int) -> bytes:
        if (
            not isinstance(value, str)
            or not 2 * length_min <= len(value) <= 2 * length_max
            or len(value) % 2
            or not _HEX.fullmatch(value)
        ):
            raise self.refusal(key, f"lower-case hex of {length_min} to {length_max} bytes")
        return bytes.fromhex(value)
