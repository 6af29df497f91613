"""Live sync: new ops leave as soon as they are there (seed: Synchronization, Live Sync).

A call `liveUpdate` carries a batch; its answer says what the peer holds afterwards and its
state hash. At most a few calls are on their way; what is written meanwhile travels together
in the next one, so that many writes make few messages. An update of the peer's own lets us go on
as an answer would, so that two who write in turn need not answer each time. Ops merged from other
peers are missing at this one too, and so they are relayed by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping

from cytosol.limits import CALL_TIMEOUT_S
from cytosol.model.ids import PeerId
from cytosol.model.version import News
from cytosol.protocol.sync_link import BATCH_BYTES, SyncLink, covers
from cytosol.wire.sync_messages import LiveUpdateParams, LiveUpdateResult

__all__ = ["LIVE_CALLS_MAX", "LIVE_RUN_MAX", "LiveSync"]

LIVE_RUN_MAX = 2
"""Live updates after the last one of the peer: one that is being applied and one behind it."""

LIVE_CALLS_MAX = 8
"""Unanswered live updates, where both sides write in turn."""


class LiveSync:
    """The sending half of live sync; it is on between two full syncs.

    Methods return None, or a sentence that says why a full sync is needed.
    """

    __slots__ = (
        "_behind", "_held", "_in_flight", "_link", "_mark", "_on", "_passed", "_sent", "verified",
    )  # fmt: skip

    def __init__(self, link: SyncLink) -> None:
        self._link = link
        self._on = False
        self._in_flight: dict[int, dict[PeerId, int]] = {}  # call -> what it brings
        self._passed = 0  # how many of them, the first ones, went before the peer's last update
        self._sent: dict[PeerId, int] = {}  # the view once everything on its way has arrived
        self._held: dict[PeerId, int] = {}  # what we held when we looked last
        self._behind: set[PeerId] = set()  # of whom we held more than was sent
        self._mark: object = None  # up to where we have looked
        self.verified = False

    def stop(self) -> None:
        """Send nothing more; what is on its way is left to the full sync."""
        self._on = False
        self._in_flight.clear()
        self._passed = 0

    def resume(self) -> str | None:
        """Go on from the link's view, after a full sync."""
        self._on = True
        self._sent = dict(self._link.view)
        self._held = {}
        self._mark = None
        return self.pump()

    def owns(self, call_id: int) -> bool:
        """Tell whether the call is one of ours that still counts."""
        return call_id in self._in_flight

    def pump(self) -> str | None:
        """Send what the peer lacks, as far as the window allows."""
        if not self._on:
            return None
        trouble = self._look(self._link.replica.news(self._mark))
        return self._send() if trouble is None else trouble

    def _send(self) -> str | None:
        replica = self._link.replica
        window = min(self._passed + LIVE_RUN_MAX, LIVE_CALLS_MAX)
        while self._behind and len(self._in_flight) < window:
            out = replica.export_news(self._sent, self._behind, BATCH_BYTES)
            if out is None:
                break
            batch, brings = out
            params = LiveUpdateParams(batch=batch, takes_news=True)
            call_id = self._link.call(params, CALL_TIMEOUT_S, brings, len(batch))
            self._in_flight[call_id] = brings
            self.note_brought(brings)
        if self._behind and not self._in_flight:
            return "the peer lacks ops that were trimmed here"
        return None

    def _look(self, news: News) -> str | None:
        """Take note of what we hold now."""
        if news.is_whole:
            if not covers(news.latest, self._held):
                return "our own history was replaced by an adopted one"
            self._held = {}
            self._behind.clear()
        held, sent = self._held, self._sent
        for author, index in news.latest.items():
            if held.get(author) != index:
                held[author] = index
                if sent.get(author, 0) < index:
                    self._behind.add(author)
        self._mark = news.mark
        return None

    def note_update(self, brings: Mapping[PeerId, int]) -> None:
        """Note a live update of the peer: what we sent before it is not waited for."""
        self._passed = len(self._in_flight)
        self.note_brought(brings)

    def note_brought(self, brought: Mapping[PeerId, int]) -> None:
        """Note that the peer has this, or will have it: it was sent, one way or the other."""
        sent, held = self._sent, self._held
        for author, index in brought.items():
            if sent.get(author, 0) < index:
                sent[author] = index
                if held.get(author, 0) <= index:
                    self._behind.discard(author)

    def receive_result(self, call_id: int, answer: LiveUpdateResult) -> str | None:
        """Take the peer's answer to a live update, compare, and send what has come up since.

        The hashes are compared only when both hold the same ops; otherwise a write on its way
        would look like a difference (spec: network, Sync). Raises RemoteProtocolError as
        `SyncLink.raise_view` does.
        """
        brings = self._in_flight.pop(call_id)
        self._passed = max(self._passed - 1, 0)
        link, latest = self._link, answer.latest
        view = link.view
        if answer.is_whole:
            if not covers(latest, view):
                return "the peer's history was replaced by an adopted one"
            view = link.view = latest
            link.replica.note_latest(latest)
        else:
            for author, index in latest.items():
                if view.get(author, 0) > index:
                    return "the peer's history was replaced by an adopted one"
            link.raise_view(latest)
            link.replica.note_news(latest)
        if not covers(view, brings):
            return "the peer did not take in what we sent"
        self.note_brought(latest)
        return self.pump() if self._in_flight else self._compare(answer)

    def _compare(self, answer: LiveUpdateResult) -> str | None:
        """Send what has come up, or compare the hashes if the peer held what we hold."""
        state_hash, news = self._link.replica.held(self._mark)
        trouble = self._look(news)
        if trouble is not None or self._behind:
            return self._send() if trouble is None else trouble
        if answer.state_hash == state_hash:
            self.verified = True
        elif covers(self._held, answer.latest) and self._held == self._link.view:
            return "the state hashes differ"
        return None
