"""Syncing with one peer over one authenticated connection: full syncs, and live sync between.

A machine like all others: inputs with `now`, effects out. The full sync at the start is opened by
the peer with the greater id; the other one waits a moment and opens it if nothing comes. Later,
whoever finds a difference opens one. If both do at once, the session of the greater id stands.

A session that fails is tried again with growing pauses; one that ends with unequal hashes with
much longer ones, because it cannot be expected to end otherwise soon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from cytosol.errors import RemoteProtocolError, SaveError
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import Answer, AnswerError, Fail, SyncEffect
from cytosol.protocol.events import SyncDone, SyncFailed
from cytosol.protocol.full_sync import FullSync, Outcome
from cytosol.protocol.live_sync import LIVE_CALLS_MAX, LIVE_RUN_MAX, LiveSync
from cytosol.protocol.machine import earliest
from cytosol.protocol.seams import ReplicaSeam
from cytosol.protocol.snapshot import SnapshotCache
from cytosol.protocol.sync_link import SyncLink, parse_brings
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import Done
from cytosol.wire.methods import Body, Place, parse_params
from cytosol.wire.sync_messages import (
    EndSessionParams,
    FindLastSharedHistoryParams,
    LiveUpdateParams,
    LiveUpdateResult,
    SessionUpdateParams,
    SnapshotParams,
    StateSummaryParams,
)

__all__ = ["FIRST_SESSION_WAIT_S", "RETRY_MAX_S", "STUCK_RETRY_S", "SyncMachine"]

FIRST_SESSION_WAIT_S = 3.0
"""How long the peer with the smaller id lets the other one open a session first."""

RETRY_MAX_S = 60.0
"""The longest pause after sessions that failed; the first one is a second."""

STUCK_RETRY_S = 600.0
"""The pause after a session that could not make the hashes equal."""

STUCK_AFTER = 3
"""Failed sessions in a row after which the app is told."""

ANSWER_WITHIN_S = 0.02
"""How long a lone live update is left unanswered, so that several are answered together."""

ANSWER_ALONG = LIVE_CALLS_MAX // 2
"""So many unanswered live updates are answered together with what we write."""

ANSWER_AT_ONCE_BYTES = 4_096
"""A live update from this size on is answered at once: the peer has more, and waits for us."""


class SyncMachine:
    """Keep our replica and that of one peer equal while they are connected.

    `cache` keeps half-fetched snapshots; hand in the same one after a reconnect, and the fetch
    goes on where it stopped.

    Sends `osmosis.sync.stateSummary` and `.endSession` as notifications (and takes them as requests
    too), `.sessionUpdate`, `.findLastSharedHistory`, `.liveUpdate` and `cytosol.sync.snapshot` as
    requests. Emits OpsReceived, SyncProgress, SyncDone and SyncFailed.
    """

    def __init__(
        self,
        replica: ReplicaSeam,
        own_id: PeerId,
        their_id: PeerId,
        cache: SnapshotCache | None = None,
    ) -> None:
        self._link = SyncLink(replica, own_id, their_id)
        self._live = LiveSync(self._link)
        self._cache = SnapshotCache() if cache is None else cache
        self._session: FullSync | None = None
        self._session_count = 0
        self._last_ended = ""
        self._own_prefix = format_id(own_id) + "/"
        self._retry_at: float | None = None
        self._setbacks = 0  # sessions in a row that did not end with equal hashes
        self._trouble = ""  # why syncing does not get on, as the app was told
        self._ended_by_peer = False
        self._failed = False
        self._unanswered: list[int | str] = []  # live updates that were merged
        self._passed = 0  # how many of them, the first ones, came before our last update
        self._answer_at = 0.0
        self._takes_news = False
        self._told: object = None  # the mark of our last answer, if the peer has it for sure

    # --- Inputs ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin: the connection is authenticated both ways."""
        if self._is_greater:
            self._open(now)
        else:
            self._retry_at = now + FIRST_SESSION_WAIT_S

    def receive_part(self, now: float) -> None:
        """Note that part of a long message has come in: on a slow link that is progress too."""
        if self._session is not None:
            self._session.progress_at = now

    def local_changes(self, now: float) -> None:
        """Send on what is new in the replica: our own ops, or those merged from another peer."""
        if self._session is None and not self._failed:
            before = len(self._link.effects)
            self._want_session(self._live.pump(), now)
            if len(self._link.effects) == before:
                return
            self._passed = len(self._unanswered)
            if self._passed >= ANSWER_ALONG:
                self._answer()  # it costs no packet of its own

    def receive_notification(self, method: str, params: JsonValue, now: float) -> None:
        """Take a notification of the peer; a malformed one ends the connection."""
        if self._failed:
            return
        try:
            message = parse_params(method, params, Place.CONNECTION)
            if not self._take_notice(message, now):
                raise RemoteProtocolError(f"the peer sent {method} as a notification")
        except RemoteProtocolError as error:
            self._fail(error)
        self._settle(now)

    def receive_request(
        self, request_id: int | str, method: str, params: JsonValue, now: float
    ) -> None:
        """Take a request of the peer and answer it; malformed params are refused."""
        if self._failed:
            return
        try:
            message = parse_params(method, params, Place.CONNECTION)
            if isinstance(message, LiveUpdateParams | SessionUpdateParams):
                self._check_batch(message)
            brings = parse_brings(params)
        except RemoteProtocolError as error:
            self._refuse(request_id, error.code or ErrorCode.INVALID_PARAMS, str(error))
            return
        try:
            if self._take_notice(message, now):
                self._link.effects.append(Answer(request_id, Done().to_json()))
            elif isinstance(message, LiveUpdateParams):
                self._receive_live(request_id, message, brings, now)
            else:
                self._receive_session_call(request_id, method, message, brings, now)
        except RemoteProtocolError as error:
            self._fail(error)
        self._settle(now)

    def receive_result(self, call_id: int, result: JsonValue, now: float) -> None:
        """Take the answer to one of our calls; one that came too late is ignored."""
        if self._failed:
            return
        try:
            if self._session is not None and self._session.owns(call_id):
                self._session.receive_result(call_id, result, now)
            elif self._live.owns(call_id):
                answer = LiveUpdateResult.from_json(result)
                trouble = self._live.receive_result(call_id, answer)
                if self._live.verified:
                    self._setbacks, self._retry_at = 0, None
                self._want_session(trouble, now)
        except RemoteProtocolError as error:
            self._fail(error)
        self._settle(now)

    def receive_error(self, call_id: int, code: int, message: str, now: float) -> None:
        """Take a refusal of one of our calls, or its time-out: the next exchange repairs it."""
        if self._failed:
            return
        if self._session is not None and self._session.owns(call_id):
            self._session.fail(f"the peer refused to go on: {message} ({code})")
        elif self._live.owns(call_id):
            self._live.stop()
            self._set_back(now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        """Give up a session that does not get on, or open the one that is due."""
        if self._unanswered and now >= self._answer_at:
            self._answer()
        deadline = None if self._failed else self._session_deadline()
        if deadline is None or now < deadline:
            return
        if self._session is None:
            self._open(now)
        else:
            silence_s = now - self._session.progress_at
            self._session.fail(f"no progress for {silence_s:.0f} seconds")
            self._settle(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` has something to do, None when nothing is due."""
        if self._failed:
            return None
        return earliest(self._session_deadline(), self._answer_at if self._unanswered else None)

    def _session_deadline(self) -> float | None:
        return self._retry_at if self._session is None else self._session.deadline

    def take_effects(self) -> list[SyncEffect]:
        """Return what is to be done, in order, and forget it."""
        effects, self._link.effects = self._link.effects, []
        return effects

    # --- Requests and notifications -------------------------------------------------------

    @staticmethod
    def _check_batch(message: LiveUpdateParams | SessionUpdateParams) -> None:
        if message.ops is not None:
            raise RemoteProtocolError("ops are taken as a `batch` only")

    def _take_notice(self, message: Body, now: float) -> bool:
        """Take what needs no answer; tell whether it was that."""
        if isinstance(message, StateSummaryParams):
            self._receive_summary(message, now)
        elif isinstance(message, EndSessionParams):
            if self._session is not None and self._session.session == message.session:
                self._ended_by_peer = True
                self._session.fail("the peer ended the session")
        else:
            return False
        return True

    def _receive_summary(self, message: StateSummaryParams, now: float) -> None:
        session = self._session
        if session is None or session.session != message.session:
            if message.session.startswith(self._own_prefix):  # we have given it up
                self._link.notify(EndSessionParams(message.session))
                return
            if message.session == self._last_ended:  # it crossed with our endSession
                return
            if session is not None and session.is_ours and self._is_greater:  # ours stands
                return
            session = self._begin(message.session, False, now, message.state.latest)
        session.receive_summary(message.state, now)

    def _receive_live(
        self,
        request_id: int | str,
        message: LiveUpdateParams,
        brings: dict[PeerId, int],
        now: float,
    ) -> None:
        link, batch = self._link, message.batch or b""
        try:
            is_merged = link.take_in(batch, brings)
        except SaveError as error:
            self._refuse(request_id, ErrorCode.INTERNAL_ERROR, str(error))
            self._tell_trouble(f"what the peer sent cannot be saved: {error}")
            return
        self._live.note_update(brings)
        self._takes_news = message.takes_news
        self._unanswered.append(request_id)
        if len(self._unanswered) == 1:
            self._answer_at = now + ANSWER_WITHIN_S
        is_run = len(self._unanswered) >= self._passed + LIVE_RUN_MAX  # the peer waits
        if is_run or len(batch) >= ANSWER_AT_ONCE_BYTES:
            self._answer()
        if not is_merged:
            self._want_session("what the peer sends does not follow what is here", now)
        self.local_changes(now)  # what had waited for these ops may be news to the peer

    def _answer(self) -> None:
        """Answer the live updates that were merged: what we hold now is the same for all."""
        if not self._unanswered:
            return
        unanswered, self._unanswered, self._passed = self._unanswered, [], 0
        told = self._told if self._takes_news else None
        state_hash, news = self._link.replica.held(told)
        self._told = news.mark
        result = LiveUpdateResult(state_hash, news.latest, news.is_whole).to_json()
        self._link.effects.extend(Answer(request_id, result) for request_id in unanswered)

    def _receive_session_call(
        self,
        request_id: int | str,
        method: str,
        message: Body,
        brings: dict[PeerId, int],
        now: float,
    ) -> None:
        if not isinstance(
            message, SessionUpdateParams | FindLastSharedHistoryParams | SnapshotParams
        ):
            text = f"{method} is not a method of syncing"
            self._refuse(request_id, ErrorCode.METHOD_NOT_FOUND, text)
            return
        session = self._session
        if session is None or session.session != message.session:
            text = f"there is no sync session {message.session!r}"
            self._refuse(request_id, ErrorCode.NO_SESSION, text)
        elif isinstance(message, SessionUpdateParams):
            session.receive_update(request_id, message.batch or b"", brings, message.last, now)
        elif isinstance(message, FindLastSharedHistoryParams):
            points = [(point.id, point.state_hash) for point in message.save_points]
            session.receive_find(request_id, points, now)
        else:
            session.receive_snapshot_request(request_id, message.offset, now)

    def _refuse(self, request_id: int | str, code: int, text: str) -> None:
        self._link.effects.append(AnswerError(request_id, code, text))

    def _fail(self, error: RemoteProtocolError) -> None:
        self._failed = True
        self._unanswered.clear()
        self._session = None
        self._link.effects.append(Fail(str(error)))

    # --- Sessions -------------------------------------------------------------------------

    @property
    def _is_greater(self) -> bool:
        return self._link.own_id > self._link.their_id

    def _open(self, now: float) -> None:
        self._session_count += 1
        self._begin(f"{self._own_prefix}{self._session_count}", True, now)

    def _begin(
        self, name: str, is_ours: bool, now: float, told: Mapping[PeerId, int] | None = None
    ) -> FullSync:
        self._answer()
        self._live.stop()
        self._told = None
        self._retry_at = None
        self._ended_by_peer = False
        self._session = FullSync(self._link, name, is_ours, self._cache, now, told)
        return self._session

    def _settle(self, now: float) -> None:
        """Put away a session that is over, and go on with live sync or plan another one."""
        session = self._session
        if session is None or session.outcome is None:
            return
        self._session, self._last_ended = None, session.session
        self._told = None  # answers to updates from before the session were not heard
        outcome = session.outcome
        is_good = outcome in (Outcome.VERIFIED, Outcome.CAUGHT_UP)
        if not self._ended_by_peer and (session.is_ours or not is_good):
            self._link.notify(EndSessionParams(session.session))
        match outcome:
            case Outcome.VERIFIED:
                self._setbacks = 0
            case Outcome.CAUGHT_UP:
                self._setbacks += 1
            case Outcome.STUCK:
                self._set_back(now, STUCK_RETRY_S)
            case Outcome.FAILED:
                self._set_back(now)
            case _:
                assert_never(outcome)
        if is_good:
            self._trouble = ""
            self._link.emit(SyncDone(self._link.peer_id))
        elif session.is_unsaved or outcome is Outcome.STUCK or self._setbacks >= STUCK_AFTER:
            self._tell_trouble(session.reason)
        if outcome is not Outcome.FAILED and self._live.resume() is not None:
            self._set_back(now)

    def _tell_trouble(self, reason: str) -> None:
        """Tell the app why syncing does not get on, unless it has been told that already."""
        if reason != self._trouble:
            self._trouble = reason
            self._link.emit(SyncFailed(self._link.peer_id, reason))

    def _want_session(self, trouble: str | None, now: float) -> None:
        """Open a session for what live sync cannot mend, or plan one after setbacks."""
        if trouble is None or self._retry_at is not None:
            return
        if self._setbacks:
            self._set_back(now)
        else:
            self._open(now)

    def _set_back(self, now: float, pause_s: float = 0.0) -> None:
        """Plan the next session; each one that does not end well doubles the pause."""
        doublings = min(self._setbacks, 16)
        self._setbacks += 1
        pause_s = max(pause_s, min(RETRY_MAX_S, 2.0**doublings))
        if not self._is_greater:
            pause_s += FIRST_SESSION_WAIT_S
        at = now + pause_s
        self._retry_at = at if self._retry_at is None else min(at, self._retry_at)
