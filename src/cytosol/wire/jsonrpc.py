"""JSON-RPC 2.0 messages: single objects in UTF-8 (seed: Discovery; spec: network, RPC).

Everything is checked that a later layer would have to trust: the shape of the object, the depth
and number of values before they are built, repeated keys, and numbers and text that not every
JSON reader takes alike. Batches are refused: no peer needs them, and they multiply work.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeAlias

import msgspec

from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    RPC_ID_LENGTH_MAX,
    RPC_METHOD_LENGTH_MAX,
    RPC_PLAIN_ABOVE_BYTES,
    RPC_VALUES_MAX,
)
from cytosol.model.json import JsonValue

__all__ = [
    "ErrorCode",
    "ErrorResponse",
    "Message",
    "MessageId",
    "Notification",
    "Request",
    "Response",
    "encode_error",
    "encode_message",
    "encode_notification",
    "encode_request",
    "encode_response",
    "parse_message",
]

MessageId: TypeAlias = int | str


class ErrorCode(enum.IntEnum):
    """Every code that we answer with (JSON-RPC 2.0, section 5.1; spec: network, RPC)."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    # After these the connection is closed.
    DECRYPTION_FAILED = -32000
    DECOMPRESSION_FAILED = -32001
    COMPRESSION_NOT_ALLOWED = -32002
    TOO_LARGE = -32003
    # osmosis.net.pair and cytosol.net.confirmPair
    PAIRING_OVERLAPS = 101
    ALREADY_PAIRED = 102
    PAIRING_REJECTED = 103
    PAIRING_PAUSED = 104
    WRONG_CODE = 105
    # osmosis.net.connect
    NO_HEARTBEAT = 201
    NOT_PAIRED = 202
    UNPAIRED = 203  # by hand, on the answering device
    NOT_NOW = 204  # lost against our own call, or syncing is switched off
    # osmosis.sync.*, cytosol.sync.*
    NO_SESSION = 301  # it does not belong to what both sides do now; begin a session anew


@dataclass(frozen=True, slots=True)
class Request:
    """A call that wants an answer; `params` is a dict, a list, or None if there are none."""

    id: MessageId
    method: str
    params: JsonValue = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A call that wants no answer."""

    method: str
    params: JsonValue = None


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to the request with the same id."""

    id: MessageId
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A refusal; `id` is None when the request was too broken to have one."""

    id: MessageId | None
    code: int
    message: str
    data: JsonValue = None


Message: TypeAlias = Request | Notification | Response | ErrorResponse

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode_request(message_id: MessageId, method: str, params: JsonValue = None) -> bytes:
    """Return the bytes of a request; `params` is a dict, a list, or None for none."""
    head: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        head["params"] = params
    head["id"] = message_id
    return _encoder.encode(head)


def encode_notification(method: str, params: JsonValue = None) -> bytes:
    """Return the bytes of a notification; `params` is a dict, a list, or None for none."""
    head: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        head["params"] = params
    return _encoder.encode(head)


def encode_response(message_id: MessageId, result: JsonValue) -> bytes:
    """Return the bytes of the answer to a request."""
    return _encoder.encode({"jsonrpc": "2.0", "result": result, "id": message_id})


def encode_error(
    message_id: MessageId | None, code: int, message: str, data: JsonValue = None
) -> bytes:
    """Return the bytes of a refusal; `message_id` is None if the request's is not known."""
    error: dict[str, Any] = {"code": int(code), "message": message}
    if data is not None:
        error["data"] = data
    return _encoder.encode({"jsonrpc": "2.0", "error": error, "id": message_id})


def encode_message(message: Message) -> bytes:
    """Return the bytes of any message."""
    if isinstance(message, Request):
        return encode_request(message.id, message.method, message.params)
    if isinstance(message, Notification):
        return encode_notification(message.method, message.params)
    if isinstance(message, Response):
        return encode_response(message.id, message.result)
    return encode_error(message.id, message.code, message.message, message.data)


def parse_message(data: bytes, depth_max: int = DEPTH_MAX) -> Message:
    """Return the message that `data` holds.

    Raises RemoteProtocolError whose `code` is -32700 (not JSON) or -32600 (JSON, but no message,
    or beyond a limit). `depth_max` bounds containers in each other, the message itself included.
    """
    _check_structure(data, depth_max)
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"a message is not JSON: {error}", _PARSE_ERROR) from None
    if not isinstance(value, dict):
        raise _invalid(f"a message is one JSON object, not {_kind(value)}")
    _check_repeated_keys(data, value)
    if value.get("jsonrpc") != "2.0":
        raise _invalid('a message must say "jsonrpc": "2.0"')
    if "method" in value:
        return _call(value)
    return _answer(value)


_PARSE_ERROR: Final = ErrorCode.PARSE_ERROR


def _call(value: dict[str, Any]) -> Request | Notification:
    method = value["method"]
    if not isinstance(method, str) or not 1 <= len(method) <= RPC_METHOD_LENGTH_MAX:
        raise _invalid(f"a method is a name of 1 to {RPC_METHOD_LENGTH_MAX} characters")
    if "result" in value or "error" in value:
        raise _invalid("a message is either a call or an answer, not both")
    params = value.get("params")
    if "params" in value and not isinstance(params, (dict, list)):
        raise _invalid(f"the params of a call are an object or an array, not {_kind(params)}")
    message_id = _message_id(value)
    if message_id is None:
        return Notification(method, params)
    return Request(message_id, method, params)


def _answer(value: dict[str, Any]) -> Response | ErrorResponse:
    if ("result" in value) is ("error" in value):
        raise _invalid("a message has a method, a result or an error, and one of them only")
    message_id = _message_id(value)
    if "result" in value:
        if message_id is None:
            raise _invalid("an answer must have the id of its request")
        return Response(message_id, value["result"])
    error = value["error"]
    if not isinstance(error, dict):
        raise _invalid(f"an error is an object, not {_kind(error)}")
    code, text = error.get("code"), error.get("message")
    if type(code) is not int or not -(2**31) <= code < 2**31:
        raise _invalid("the code of an error is an integer of 32 bits")
    if not isinstance(text, str):
        raise _invalid("the message of an error is a string")
    return ErrorResponse(message_id, code, text, error.get("data"))


def _message_id(value: dict[str, Any]) -> MessageId | None:
    """Return the id, or None if it is absent or null."""
    message_id = value.get("id")
    if message_id is None:
        return None
    if isinstance(message_id, str) and len(message_id) <= RPC_ID_LENGTH_MAX:
        return message_id
    if type(message_id) is int and INTEGER_MIN <= message_id <= INTEGER_MAX:
        return message_id
    raise _invalid(
        f"an id is an integer of 64 bits or a string of at most {RPC_ID_LENGTH_MAX} characters"
    )


_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _check_structure(data: bytes, depth_max: int) -> None:
    """Bound the depth and the number of values before any of them is built.

    Counting bytes costs next to nothing and settles nearly every message; strings are set aside
    only when what they contain could be what makes the count too high.
    """
    opening = data.count(b"[") + data.count(b"{")
    if len(data) < RPC_VALUES_MAX and opening <= depth_max:
        return  # every value takes a byte
    values = opening + data.count(b",")
    if len(data) > RPC_PLAIN_ABOVE_BYTES and (b"\\" in data or not data.isascii()):
        # One character beyond ASCII makes every other one of its text take up to four bytes.
        raise _invalid(
            f"a message longer than {RPC_PLAIN_ABOVE_BYTES} bytes is plain ASCII without escapes"
        )
    if opening <= depth_max and values < RPC_VALUES_MAX:
        return
    bare = _without_strings(data)
    values = bare.count(b"[") + bare.count(b"{") + bare.count(b",")
    if values >= RPC_VALUES_MAX:
        raise _invalid(f"a message has more than {RPC_VALUES_MAX} values")
    brackets = bare.translate(None, _ALL_BUT_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth_max:
        raise _invalid(f"a message is nested deeper than {depth_max} levels")


def _without_strings(data: bytes) -> bytes:
    """Return JSON text without its strings; exact as far as the text is JSON."""
    # Pairs of backslashes first: what is left of a run escapes the quotation mark behind it.
    text = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    if text.count(b'"') > 4 * RPC_VALUES_MAX:  # every value has one key and is one string
        raise _invalid(f"a message has more than {RPC_VALUES_MAX} values")
    return b"".join(text.split(b'"')[::2])


def _check_repeated_keys(data: bytes, value: dict[str, Any]) -> None:
    """Refuse an object that names a key twice: readers disagree about which one counts.

    Every key has one colon outside strings, and the decoder drops repeated keys. So the message
    was without repetition if encoding it again gives as many colons.
    """
    if len(data) > RPC_PLAIN_ABOVE_BYTES:
        # Encoding it again would hold a long message twice; without escapes `":` ends a key.
        if data.count(b'":') != _count_keys(value):
            raise _invalid("a message names a key twice, or leaves room before a colon")
        return
    again = _encoder.encode(value)
    if data == again:
        return
    # A colon inside a string is a colon again, unless it was written as an escape.
    if b"\\u003" not in data and data.count(b":") == again.count(b":"):
        return
    if _without_strings(data).count(b":") != _without_strings(again).count(b":"):
        raise _invalid("a message names a key of an object twice")


def _count_keys(value: JsonValue) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if isinstance(value, list) else 0


def _invalid(sentence: str) -> RemoteProtocolError:
    return RemoteProtocolError(sentence, ErrorCode.INVALID_REQUEST)


def _kind(value: JsonValue) -> str:
    """Name the JSON type of a value that is no object, for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"
