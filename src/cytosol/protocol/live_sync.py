"""Live sync: new ops leave as soon as they are there (seed: Synchronization, Live Sync).

A call `liveUpdate` carries a batch; its answer says what the peer holds afterwards and its
state hash. At most a few calls are on their way; what is written meanwhile travels together
in the next one, so that many writes make few messages. Ops merged from other peers are
missing at this one too, and so they are relayed by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping

from cytosol.limits import CALL_TIMEOUT_S
from cytosol.model.ids import PeerId
from cytosol.protocol.sync_link import BATCH_BYTES, SyncLink, covers, news
from cytosol.wire.sync_messages import LiveUpdateParams

__all__ = ["LIVE_CALLS_MAX", "LiveSync"]

LIVE_CALLS_MAX = 2
"""Live updates on their way: one that is being applied and one behind it."""


class LiveSync:
    """The sending half of live sync; it is on between two full syncs.

    Methods return None, or a sentence that says why a full sync is needed.
    """

    __slots__ = ("_held", "_in_flight", "_link", "_on", "_sent", "verified")

    def __init__(self, link: SyncLink) -> None:
        self._link = link
        self._on = False
        self._in_flight: dict[int, dict[PeerId, int]] = {}  # call -> what it brings
        self._sent: dict[PeerId, int] = {}  # the view once everything on its way has arrived
        self._held: dict[PeerId, int] = {}  # what we held last time
        self.verified = False

    def stop(self) -> None:
        """Send nothing more; what is on its way is left to the full sync."""
        self._on = False
        self._in_flight.clear()

    def resume(self) -> str | None:
        """Go on from the link's view, after a full sync."""
        self._on = True
        self._sent = dict(self._link.view)
        self._held = {}
        return self.pump()

    def owns(self, call_id: int) -> bool:
        """Tell whether the call is one of ours that still counts."""
        return call_id in self._in_flight

    def pump(self) -> str | None:
        """Send what the peer lacks, as far as the window allows."""
        if not self._on:
            return None
        replica = self._link.replica
        held = replica.latest()
        if not covers(held, self._held):
            return "our own history was replaced by an adopted one"
        self._held = dict(held)
        if held == self._sent:
            return None
        while len(self._in_flight) < LIVE_CALLS_MAX:
            out = replica.export_missing(self._sent, BATCH_BYTES)
            if out is None:
                break
            batch, after = out
            brings = news(self._sent, after)
            params = LiveUpdateParams(batch=batch)
            call_id = self._link.call(params, CALL_TIMEOUT_S, brings, len(batch))
            self._in_flight[call_id] = brings
            self._sent = after
            if covers(after, held):
                break
        if not self._in_flight and not covers(self._sent, held):
            return "the peer lacks ops that were trimmed here"
        return None

    def note_brought(self, brought: Mapping[PeerId, int]) -> None:
        """Note that the peer has sent us this itself."""
        for author, index in brought.items():
            if self._sent.get(author, 0) < index:
                self._sent[author] = index

    def receive_result(
        self, call_id: int, state_hash: bytes, latest: dict[PeerId, int]
    ) -> str | None:
        """Take the peer's answer to a live update, compare, and send what has come up since.

        The hashes are compared only when both hold the same ops; otherwise a write on its way
        would look like a difference (spec: network, Sync).
        """
        brings = self._in_flight.pop(call_id)
        link = self._link
        if not covers(latest, link.view):
            return "the peer's history was replaced by an adopted one"
        link.view = latest
        link.replica.note_latest(latest)
        if not covers(latest, brings):
            return "the peer did not take in what we sent"
        self.note_brought(latest)
        trouble = self.pump()
        if trouble is not None or self._in_flight or latest != link.replica.latest():
            return trouble
        if state_hash != link.replica.held()[0]:
            return "the state hashes differ"
        self.verified = True
        return None
