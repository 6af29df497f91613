"""Calls and answers over one connection: ids, time-outs, and bounds on what waits.

Call ids begin at a random number, so that no recorded answer fits a later connection, and go
up by one. An answer that comes after its time-out is dropped; an answer to a call that was never
made is a breach of the protocol (JSON-RPC 2.0; spec: network, RPC).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.limits import CALLS_WAITING_MAX
from cytosol.model.json import JsonValue
from cytosol.protocol.machine import Machine
from cytosol.wire.jsonrpc import (
    ErrorCode,
    ErrorResponse,
    Message,
    MessageId,
    Notification,
    Request,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_response,
    parse_message,
)

__all__ = [
    "CLOSED",
    "TIMED_OUT",
    "CallFailed",
    "CallReturned",
    "Notified",
    "Requested",
    "RpcEffect",
    "RpcMachine",
    "Transmit",
]

TIMED_OUT: Final = -32004  # these two never travel: the owner of a call gets them
CLOSED: Final = -32005


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send this message to the other side."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Requested:
    """Say that the other side calls; it wants `answer` or `answer_error`, once."""

    request_id: MessageId
    method: str
    params: JsonValue


@dataclass(frozen=True, slots=True)
class Notified:
    """Bring a notification."""

    method: str
    params: JsonValue


@dataclass(frozen=True, slots=True)
class CallReturned:
    """Bring the result of one of our calls."""

    call_id: int
    result: JsonValue


@dataclass(frozen=True, slots=True)
class CallFailed:
    """Say that one of our calls was refused, or not answered (`TIMED_OUT`, `CLOSED`)."""

    call_id: int
    code: int
    message: str


RpcEffect: TypeAlias = Transmit | Requested | Notified | CallReturned | CallFailed


class RpcMachine(Machine[RpcEffect]):
    """Keep the books of one connection."""

    def __init__(self, first_call_id: int) -> None:
        super().__init__()
        self._first_call_id = first_call_id
        self._next_call_id = first_call_id
        self._waiting: dict[int, tuple[str, float]] = {}  # call id -> method, deadline
        self._deadlines: list[tuple[float, int]] = []  # a heap; answered calls stay until due
        self._asked: set[MessageId] = set()  # requests of the other side, not answered yet

    # --- Ours --------------------------------------------------------------------------

    def call(self, method: str, params: JsonValue, timeout_s: float, now: float) -> int:
        """Call the other side and return the call's id; `math.inf` waits as long as it lives.

        Raises LocalProtocolError when too many calls wait for an answer already.
        """
        if len(self._waiting) >= CALLS_WAITING_MAX:
            raise LocalProtocolError(
                f"{len(self._waiting)} calls wait for an answer already, so {method} has to wait"
            )
        call_id = self._next_call_id
        self._next_call_id += 1
        self._waiting[call_id] = method, now + timeout_s
        if timeout_s < math.inf:
            heapq.heappush(self._deadlines, (now + timeout_s, call_id))
        self._do(Transmit(encode_request(call_id, method, params)))
        return call_id

    def notify(self, method: str, params: JsonValue) -> None:
        """Send a notification."""
        self._do(Transmit(encode_notification(method, params)))

    def answer(self, request_id: MessageId, result: JsonValue) -> None:
        """Answer a request of the other side."""
        self._take_asked(request_id)
        self._do(Transmit(encode_response(request_id, result)))

    def answer_error(self, request_id: MessageId, code: int, message: str) -> None:
        """Refuse a request of the other side."""
        self._take_asked(request_id)
        self._do(Transmit(encode_error(request_id, code, message)))

    def refuse(self, code: int, message: str) -> None:
        """Tell the other side that what it sent could not be read; no request is named."""
        self._do(Transmit(encode_error(None, code, message)))

    def fail_all(self, reason: str) -> None:
        """End all calls that wait: the connection is closed."""
        waiting, self._waiting = self._waiting, {}
        self._deadlines.clear()
        for call_id in waiting:
            self._do(CallFailed(call_id, CLOSED, reason))

    # --- Theirs ------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one decrypted message.

        Raises RemoteProtocolError with a JSON-RPC `code` for what is no message, and for answers
        to calls that were never made.
        """
        message: Message = parse_message(data)
        match message:
            case Notification():
                self._do(Notified(message.method, message.params))
            case Request():
                self._receive_request(message)
            case Response():
                if (call_id := self._settle(message.id)) is not None:
                    self._do(CallReturned(call_id, message.result))
            case ErrorResponse(id=None):
                pass  # about something of ours that it could not read; our call times out
            case ErrorResponse():
                if (call_id := self._settle(message.id)) is not None:
                    self._do(CallFailed(call_id, message.code, message.message))
            case _:
                assert_never(message)

    def _receive_request(self, request: Request) -> None:
        if request.id in self._asked:
            raise RemoteProtocolError(
                f"the peer uses the id {request.id!r} for two calls at once",
                ErrorCode.INVALID_REQUEST,
            )
        if len(self._asked) >= CALLS_WAITING_MAX:
            raise RemoteProtocolError(
                f"the peer has {len(self._asked)} calls waiting and goes on calling",
                ErrorCode.INVALID_REQUEST,
            )
        self._asked.add(request.id)
        self._do(Requested(request.id, request.method, request.params))

    def _settle(self, call_id: MessageId | None) -> int | None:
        """Strike out a call and return its id; None if its time was over."""
        if isinstance(call_id, int):
            if self._waiting.pop(call_id, None) is not None:
                return call_id  # its entry in the heap goes when it comes to the top
            if self._first_call_id <= call_id < self._next_call_id:
                return None
        raise RemoteProtocolError(f"the peer answers the call {call_id!r}, which was never made")

    def _take_asked(self, request_id: MessageId) -> None:
        try:
            self._asked.remove(request_id)
        except KeyError:
            raise LocalProtocolError(
                f"a bug in this program: the request {request_id!r} was never made, or is answered"
            ) from None

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the first unanswered call times out."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._waiting:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def handle_timer(self, now: float) -> None:
        """Give up the calls whose time is over."""
        while (deadline := self.next_deadline()) is not None and now >= deadline:
            _, call_id = heapq.heappop(self._deadlines)
            method, _ = self._waiting.pop(call_id)
            self._do(CallFailed(call_id, TIMED_OUT, f"the peer did not answer {method} in time"))
