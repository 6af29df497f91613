"""The messages of graphs on one connection: who listens, and how much may be under way.

Each side says with `listen` that a program listens, under a number that is new each time. While
both do, that is an **opening**. A piece names the number that it is meant for, so one that was
on its way when the receiver began anew is recognised, and refused. A piece is answered when the
program has taken it, so a slow program slows its partner down; the sync of the document, which
uses the same connection, waits behind a few small pieces at most.

A peer that breaks a rule loses its opening until the next connection, and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, TypeAlias

from cytosol.errors import RemoteProtocolError
from cytosol.limits import GRAPH_PIECES_WAITING_MAX
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Notify
from cytosol.protocol.events import (
    GraphClosed,
    GraphOpened,
    GraphPiece,
    GraphTaken,
    Opening,
)
from cytosol.protocol.machine import Machine
from cytosol.wire.graph_messages import GraphListenParams, GraphMessageParams
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import Done

__all__ = ["GRAPH_CALLS_MAX", "NO_TIMEOUT_S", "GraphChannel", "GraphChannelEffect"]

GRAPH_CALLS_MAX: Final = 4 * GRAPH_PIECES_WAITING_MAX
"""Unanswered calls, those of earlier openings included: a peer may begin anew while they fly."""

NO_TIMEOUT_S: Final = math.inf
"""A program may be busy for as long as it likes; that the device lives is seen by its pings."""

GraphChannelEffect: TypeAlias = Notify | Call | Answer | AnswerError | Emit


class GraphChannel(Machine[GraphChannelEffect]):
    """One connection as the graph's side of it sees it."""

    def __init__(self, connection_id: int, peer_id: str) -> None:
        super().__init__()
        self._connection_id = connection_id
        self._peer_id = peer_id
        self._count = 0  # how often we have begun to listen
        self._ours = 0  # the number under which we listen, 0 while we do not
        self._theirs = 0
        self._is_shut = False
        self._calls: dict[int, Opening] = {}
        self._last_call = 0
        self._to_take: deque[int | str] = deque()  # requests whose pieces the program has

    @property
    def opening(self) -> Opening | None:
        """Return the opening there is, None while one side does not listen."""
        if self._ours and self._theirs:
            return self._connection_id, self._ours, self._theirs
        return None

    # --- Ours --------------------------------------------------------------------------

    def listen(self, is_listening: bool) -> None:
        """Begin to listen, or cease; nothing happens if that is so, or the peer is shut out."""
        if is_listening is bool(self._ours) or (is_listening and self._is_shut):
            return
        self._close("the program has ceased to listen")
        if is_listening:
            self._count += 1
        self._ours = self._count if is_listening else 0
        self._do(Notify(GraphListenParams.METHOD, GraphListenParams(self._ours).to_json()))
        self._open()

    def shut(self, opening: Opening) -> None:
        """Listen no more to this peer on this connection, because of what came in an opening."""
        if opening == self.opening:
            self._is_shut = True
            self.listen(False)

    def send(self, opening: Opening, text: str, more: bool) -> None:
        """Send a piece; one for an opening that is over is dropped, for its link sends it again.

        The owner keeps at most GRAPH_PIECES_WAITING_MAX pieces that were not taken.
        """
        if opening != self.opening:
            return
        if len(self._calls) >= GRAPH_CALLS_MAX:  # it begins anew and anew, and answers nothing
            self.shut(opening)
            return
        self._last_call += 1
        self._calls[self._last_call] = opening
        params = GraphMessageParams(opening[2], text, more).to_json()
        self._do(Call(self._last_call, GraphMessageParams.METHOD, params, NO_TIMEOUT_S))

    def taken(self, opening: Opening) -> None:
        """Take note that the program has taken the oldest piece that it was given."""
        if opening == self.opening and self._to_take:
            self._do(Answer(self._to_take.popleft(), Done().to_json()))

    def lost(self) -> Emit | None:
        """Close for good, without a word, since the connection ends; return what to tell."""
        opening, self._ours = self.opening, 0
        self._is_shut = True
        self._to_take.clear()
        self._effects.clear()
        return None if opening is None else Emit(GraphClosed(self._peer_id, opening))

    # --- Theirs ------------------------------------------------------------------------

    def receive_notification(self, method: str, params: JsonValue) -> None:
        """Take note whether the peer listens; what is malformed says that it does not."""
        if method != GraphListenParams.METHOD:
            return
        try:
            theirs = GraphListenParams.from_json(params).channel
        except RemoteProtocolError:
            theirs = 0
        if theirs != self._theirs:
            self._they_listen(theirs)

    def receive_request(self, request_id: int | str, method: str, params: JsonValue) -> None:
        """Hand a piece to the program, or refuse it."""
        if method != GraphMessageParams.METHOD:
            message = f"there is no method {method!r} on a connection"
            self._do(AnswerError(request_id, ErrorCode.METHOD_NOT_FOUND, message))
            return
        try:
            piece = GraphMessageParams.from_json(params)
        except RemoteProtocolError as error:
            self._do(AnswerError(request_id, ErrorCode.INVALID_PARAMS, str(error)))
            self._break_off()
            return
        opening = self.opening
        if opening is None or piece.channel != opening[1]:
            message = "nobody listens to this channel any more"
            self._do(AnswerError(request_id, ErrorCode.NOT_NOW, message))
        elif len(self._to_take) >= GRAPH_PIECES_WAITING_MAX:
            message = f"{len(self._to_take)} pieces wait already, and no more may"
            self._do(AnswerError(request_id, ErrorCode.INVALID_REQUEST, message))
            self._break_off()
        else:
            self._to_take.append(request_id)
            self._do(Emit(GraphPiece(self._peer_id, opening, piece.text, piece.more)))

    def receive_result(self, call_id: int) -> None:
        """Take note that the peer's program has taken a piece."""
        if self._calls.pop(call_id) == self.opening:
            self._do(Emit(GraphTaken(self._peer_id, self.opening)))

    def receive_error(self, call_id: int) -> None:
        """Count the peer as one that does not listen, until it says that it does.

        So it is also with a peer that does not know the method.
        """
        if self._calls.pop(call_id) == self.opening:
            self._they_listen(0)

    # --- Inside ------------------------------------------------------------------------

    def _they_listen(self, theirs: int) -> None:
        self._close("the channel was opened anew")
        self._theirs = theirs
        self._open()

    def _open(self) -> None:
        if self.opening is not None:
            self._do(Emit(GraphOpened(self._peer_id, self.opening)))

    def _close(self, reason: str) -> None:
        """Say that the opening is over, if there is one; what the program has is refused."""
        if self.opening is not None:
            self._do(Emit(GraphClosed(self._peer_id, self.opening)))
            while self._to_take:
                self._do(AnswerError(self._to_take.popleft(), ErrorCode.NOT_NOW, reason))

    def _break_off(self) -> None:
        """Answer a breach of the rules: no more of this on this connection."""
        self._is_shut = True
        self.listen(False)
