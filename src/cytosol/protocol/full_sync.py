"""One full sync session (seed: Synchronization, Full Sync; spec: network, Sync).

A session goes in rounds. In each, both send a State Summary; then both hold the same pair of
summaries and come to the same decision:

```text
pair of summaries                       what the round does
our base has to give way                we fetch the peer's snapshot and adopt it
the peer's base has to give way         we serve ours
`latest` differs                        each sends what the other lacks (seed: step 1)
`latest` equal, state hashes differ     the opener sends its save points, the other answers with
                                        the last shared one, each sends all after it (step 2)
both equal                              the session is over
```

Ops travel in calls `sessionUpdate`, and the answer acknowledges that they were merged. At most
SESSION_CALLS_MAX are on their way, so memory stays bounded. The one marked `last` ends what a
side has to send in the round. A side whose own last one was acknowledged and that has the
other's begins the next round.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from cytosol.errors import RemoteProtocolError, SaveError
from cytosol.limits import SAVE_POINTS_MAX, SNAPSHOT_BYTES_MAX, SYNC_PROGRESS_TIMEOUT_S
from cytosol.model.ids import OpId, PeerId
from cytosol.model.json import JsonValue
from cytosol.model.version import StateSummary
from cytosol.protocol.effects import Answer, AnswerError
from cytosol.protocol.events import SyncProgress
from cytosol.protocol.seams import Relation
from cytosol.protocol.shortfall import Shortfall
from cytosol.protocol.snapshot import CHUNK_BYTES, SnapshotCache, SnapshotFetch, SnapshotServer
from cytosol.protocol.sync_link import (
    BATCH_BYTES,
    SLOW_LINK_BYTES_PER_S,
    OpsReceived,
    SyncLink,
    covers,
    news,
)
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import Done
from cytosol.wire.sync_messages import (
    FindLastSharedHistoryParams,
    FindLastSharedHistoryResult,
    SavePoint,
    SessionUpdateParams,
    SnapshotResult,
    StateSummaryParams,
)

__all__ = [
    "ADOPTIONS_MAX",
    "EXCHANGES_MAX",
    "REPAIRS_MAX",
    "SESSION_CALLS_MAX",
    "FullSync",
    "Outcome",
]

SESSION_CALLS_MAX = 4
"""Batches of one session on their way."""

EXCHANGES_MAX = 3
"""Rounds that exchange ops; then live sync catches what is written all the while."""

REPAIRS_MAX = 3
"""Rounds from the last shared save point; what they cannot mend is told to the app."""

ADOPTIONS_MAX = 2
"""Snapshots in one session: a third party may replace a base once while it lasts."""


class Outcome(enum.Enum):
    """How a session ended."""

    VERIFIED = "verified"  # same ops, same hash
    CAUGHT_UP = "caught up"  # the ops of the summaries were exchanged, newer ones are on their way
    STUCK = "stuck"  # same `latest` and other hashes, whatever was exchanged
    FAILED = "failed"  # an error, no progress, or the other side ended it


class State(enum.Enum):
    """What a session waits for."""

    SUMMARY = "the peer's summary of this round"
    EXCHANGE = "acknowledgements, and the peer's last batch"
    ASK_SHARED = "the last shared save point"
    TELL_SHARED = "the peer's save points"
    FETCH = "a chunk of the peer's snapshot"
    SERVE = "the peer to adopt our snapshot"
    OVER = "nothing"


class FullSync:
    """One session; `outcome` is set when it is over, and `reason` says why it did not end well."""

    def __init__(
        self,
        link: SyncLink,
        session: str,
        is_ours: bool,
        cache: SnapshotCache,
        now: float,
        told: Mapping[PeerId, int] | None = None,
    ) -> None:
        """Begin; `told` is what the peer holds, if the session is its own."""
        self.session = session
        self.is_ours = is_ours
        self.outcome: Outcome | None = None
        self.reason = ""
        self.is_unsaved = False
        """Whether it failed because this device cannot save what it gets."""
        self.progress_at = now
        self._link = link
        self._cache = cache
        self._state = State.SUMMARY
        self._own = StateSummary(b"", {})
        self._exchanges = self._repairs = self._adoptions = 0
        self._received_bytes = 0
        self._shortfall = Shortfall({}, {})
        self._in_flight: dict[int, int] = {}  # call -> bytes that it sends or asks for
        self._listed: set[OpId] = set()
        self._sent: dict[PeerId, int] = {}
        self._shared: tuple[OpId | None, int] | None = None  # in a repair: id, ops sent after it
        self._all_sent = self._all_received = False
        self._fetch: SnapshotFetch | None = None
        self._server: SnapshotServer | None = None
        self._next_round(told)

    def owns(self, call_id: int) -> bool:
        """Tell whether the call is one of this session's that still counts."""
        return call_id in self._in_flight

    @property
    def deadline(self) -> float:
        """When the session is given up, unless something happens before."""
        patience_s = SYNC_PROGRESS_TIMEOUT_S + self._bytes_on_the_way / SLOW_LINK_BYTES_PER_S
        return self.progress_at + patience_s

    @property
    def _bytes_on_the_way(self) -> int:
        served = CHUNK_BYTES if self._state is State.SERVE else 0
        return served + sum(self._in_flight.values())

    def fail(self, reason: str) -> None:
        """End the session, to be tried again."""
        self._end(Outcome.FAILED, reason)

    def _cannot_save(self, reason: str) -> None:
        self.is_unsaved = True
        self.fail(reason)

    def _end(self, outcome: Outcome, reason: str = "") -> None:
        self.outcome, self.reason, self._state = outcome, reason, State.OVER

    # --- Rounds ---------------------------------------------------------------------------

    def _next_round(self, told: Mapping[PeerId, int] | None = None) -> None:
        self._state = State.SUMMARY
        self._own = self._link.replica.summary(told)
        self._link.notify(StateSummaryParams(self.session, self._own))

    def receive_summary(self, theirs: StateSummary, now: float) -> None:
        """Take the peer's summary and decide what this round does.

        Raises RemoteProtocolError for a summary out of turn.
        """
        if self._state is State.SERVE:
            self._next_round()  # the peer has adopted
        if self._state is not State.SUMMARY:
            raise RemoteProtocolError("the peer sent a state summary in the middle of a round")
        self.progress_at = now
        self._link.view = dict(theirs.latest)
        self._link.replica.note_latest(theirs.latest)
        relation = self._link.replica.relation(theirs)
        if relation is not Relation.MERGE:
            self._begin_adoption(relation)
        elif theirs.latest != self._own.latest:
            self._begin_exchange()
        elif theirs.state_hash == self._own.state_hash:
            self._end(Outcome.VERIFIED)
        else:
            self._begin_repair()

    def _begin_adoption(self, relation: Relation) -> None:
        self._adoptions += 1
        if self._adoptions > ADOPTIONS_MAX:
            self._end(Outcome.STUCK, "adopting one base did not end the difference")
        elif relation is Relation.THEY_ADOPT:
            self._server = None  # an earlier one is out of date
            self._state = State.SERVE
        else:
            self._state = State.FETCH
            self._fetch = SnapshotFetch(self._link, self.session, self._cache)
            self._in_flight = {self._fetch.call_id: CHUNK_BYTES}

    def _begin_exchange(self) -> None:
        self._exchanges += 1
        if self._exchanges > EXCHANGES_MAX:
            self._end(Outcome.CAUGHT_UP)
        else:
            self._begin_sending(None)

    def _begin_repair(self) -> None:
        self._repairs += 1
        if self._repairs > REPAIRS_MAX:
            reason = "both hold ops up to the same numbers, but their state hashes differ"
            self._end(Outcome.STUCK, reason)
        elif not self.is_ours:
            self._state = State.TELL_SHARED
        else:
            self._state = State.ASK_SHARED
            points = self._link.replica.save_points()[-SAVE_POINTS_MAX:]
            self._listed = {op_id for op_id, _ in points}
            params = FindLastSharedHistoryParams(
                self.session, tuple(SavePoint(*point) for point in points)
            )
            self._in_flight = {self._link.call(params, SYNC_PROGRESS_TIMEOUT_S): 0}

    # --- Sending --------------------------------------------------------------------------

    def _begin_sending(self, shared: tuple[OpId | None, int] | None) -> None:
        self._state = State.EXCHANGE
        self._shared = shared
        self._sent = dict(self._link.view)
        # In a repair nobody knows what is lacking.
        self._shortfall = Shortfall(self._own.latest, {} if shared else self._link.view)
        self._all_sent = self._all_received = False
        self._send_more()

    def _send_more(self) -> None:
        while len(self._in_flight) < SESSION_CALLS_MAX and not self._all_sent:
            batch, brings = self._export_merge() if self._shared is None else self._export_repair()
            params = SessionUpdateParams(self.session, self._all_sent, batch=batch)
            size = self._bytes_on_the_way + len(batch)
            call_id = self._link.call(params, SYNC_PROGRESS_TIMEOUT_S, brings, size)
            self._in_flight[call_id] = len(batch)

    def _export_merge(self) -> tuple[bytes, dict[PeerId, int]]:
        """Return the next batch up to our summary; what is written now is for the next round."""
        out = None
        if not covers(self._sent, self._own.latest):
            out = self._link.replica.export_missing(self._sent, BATCH_BYTES)
        if out is None:
            self._all_sent = True
            return b"", {}
        batch, after = out
        brings = news(self._sent, after)
        self._sent = after
        self._all_sent = covers(after, self._own.latest)
        return batch, brings

    def _export_repair(self) -> tuple[bytes, dict[PeerId, int]]:
        assert self._shared is not None
        shared, skip = self._shared
        out = self._link.replica.export_after(shared, skip, BATCH_BYTES)
        if out is None:
            self._all_sent = True
            return b"", {}
        batch, skip = out
        self._shared = shared, skip
        return batch, {}

    def _end_round_if_complete(self) -> None:
        if self._all_sent and self._all_received and not self._in_flight:
            self._next_round()

    # --- Requests of the peer -------------------------------------------------------------

    def receive_update(
        self,
        request_id: int | str,
        batch: bytes,
        brought: dict[PeerId, int],
        last: bool,
        now: float,
    ) -> None:
        """Merge a batch of the peer and acknowledge it.

        Raises RemoteProtocolError for a batch that no honest peer sends.
        """
        link = self._link
        if self._state is not State.EXCHANGE:
            self._disagree(request_id)
            return
        if self._all_received:
            raise RemoteProtocolError("the peer sent a batch after its last one of the round")
        self.progress_at = now
        try:
            link.take_in(batch, brought)
        except SaveError as error:
            link.effects.append(AnswerError(request_id, ErrorCode.INTERNAL_ERROR, str(error)))
            self._cannot_save(f"what the peer sent cannot be saved: {error}")
            return
        for author, index in brought.items():
            if self._sent.get(author, 0) < index:
                self._sent[author] = index
        self._received_bytes += len(batch)
        self._shortfall.note(brought)
        share = self._shortfall.share
        link.emit(SyncProgress(link.peer_id, self._received_bytes, share))
        link.effects.append(Answer(request_id, Done().to_json()))
        self._all_received = last
        self._end_round_if_complete()

    def receive_find(
        self, request_id: int | str, points: Sequence[tuple[OpId, bytes]], now: float
    ) -> None:
        """Answer which of the peer's save points is the last one shared, and send what follows."""
        if self._state is not State.TELL_SHARED:
            self._disagree(request_id)
            return
        self.progress_at = now
        shared = self._link.replica.find_last_shared(points)
        result = FindLastSharedHistoryResult(shared)
        self._link.effects.append(Answer(request_id, result.to_json()))
        self._begin_sending((shared, 0))

    def receive_snapshot_request(self, request_id: int | str, offset: int, now: float) -> None:
        """Serve one chunk of our snapshot, which is made at the first request."""
        if self._state is not State.SERVE:
            self._disagree(request_id)
            return
        self.progress_at = now
        if self._server is None:
            snapshot = self._link.replica.snapshot()
            if len(snapshot) > SNAPSHOT_BYTES_MAX:
                text = f"this document of {len(snapshot)} bytes is too large to be adopted"
                self._refuse(request_id, text)
                return
            self._server = SnapshotServer(snapshot)
        result = self._server.chunk(offset)
        self._link.effects.append(Answer(request_id, result.to_json()))

    def _disagree(self, request_id: int | str) -> None:
        """End a session in which something changed between summary and decision."""
        self._refuse(request_id, "the two sides do not agree on what this round does")

    def _refuse(self, request_id: int | str, text: str) -> None:
        self._link.effects.append(AnswerError(request_id, ErrorCode.NO_SESSION, text))
        self.fail(text)

    # --- Answers of the peer --------------------------------------------------------------

    def receive_result(self, call_id: int, result: JsonValue, now: float) -> None:
        """Take the answer to one of this session's calls; raises RemoteProtocolError."""
        del self._in_flight[call_id]
        self.progress_at = now
        if self._fetch is not None:
            self._receive_chunk(self._fetch, SnapshotResult.from_json(result))
        elif self._state is State.ASK_SHARED:
            shared = FindLastSharedHistoryResult.from_json(result).id
            if shared is not None and shared not in self._listed:
                raise RemoteProtocolError("the peer named a shared save point that we did not list")
            self._begin_sending((shared, 0))
        else:
            self._send_more()
            self._end_round_if_complete()

    def _receive_chunk(self, fetch: SnapshotFetch, chunk: SnapshotResult) -> None:
        whole = fetch.receive(chunk)
        if whole is None:
            self._in_flight[fetch.call_id] = CHUNK_BYTES
            return
        try:
            self._link.replica.adopt(whole, self._link.their_id)
        except SaveError as error:  # the chunks stay in the cache
            self._cannot_save(f"the peer's document cannot be saved: {error}")
            return
        except RemoteProtocolError:
            self._cache.drop(self._link.their_id)
            raise
        self._cache.drop(self._link.their_id)
        self._fetch = None
        self._link.emit(OpsReceived(self._link.peer_id))
        self._next_round()
