"""Which of the ops that arrive can be merged now, and which have to wait for earlier ones.

Every author's ops form a chain, and each op tells what its author had seen: so what is merged is
gap-free, per author and in what it builds on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cytosol.errors import RemoteProtocolError
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX, WAITING_OP_BYTES_MAX, WAITING_OPS_MAX
from cytosol.model.ids import OpId, PeerId, format_id
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Op

__all__ = ["Admission"]

SEEN_BYTES: Final = 140  # an id of an op that was seen: a tuple, an author, and an index

Waiting = dict[tuple[int, PeerId], Op]


class Admission:
    """One look at a batch of ops; the history itself is left alone.

    Afterwards `raised` has the newest admitted op of each author, and `waiting` what came too
    early.
    """

    __slots__ = ("_clock", "_latest", "_trim", "raised", "waiting")

    def __init__(
        self, latest: Mapping[PeerId, int], clock: int, trim: OpId | None, waiting: Waiting
    ) -> None:
        self.raised: dict[PeerId, int] = {}
        self.waiting = waiting
        self._latest = latest
        self._clock = clock
        self._trim = trim

    def admit(self, ops: Iterable[Op]) -> list[Op]:
        """Return the new ops whose turn has come, in order, and let the others wait.

        Raises RemoteProtocolError for a limit that is broken.
        """
        ready: list[Op] = []
        early: list[Op] = []
        last = (0, b"")
        for op in ops:
            ident = (op.index, op.author)
            if op.index <= self._have(op.author):
                continue
            if early or ident < last or self.waiting or not self._is_ready(op):
                early.append(op)
                continue
            self._take(op, ready)
            last = ident
        if early:
            news = {(op.index, op.author): op for op in early}
            self.waiting = {**self.waiting, **news}
            self._admit_waiting(ready)
            self._bound_waiting(news)
            ready.sort(key=lambda op: (op.index, op.author))
        return ready

    def _admit_waiting(self, ready: list[Op]) -> None:
        """Take out of `waiting` what is ready, until nothing is."""
        waiting = self.waiting
        count = -1
        while count != len(waiting):
            count = len(waiting)
            for ident in sorted(waiting):
                op = waiting[ident]
                if op.index <= self._have(op.author):
                    del waiting[ident]
                elif self._is_ready(op):
                    self._take(op, ready)
                    del waiting[ident]

    def _bound_waiting(self, news: Waiting) -> None:
        """Let no peer fill memory, nor the room that others need.

        What has waited longer goes first; whatever goes is brought again by the next full sync.
        """
        waiting = self.waiting
        for ident in news.keys() & waiting.keys():
            op = waiting[ident]
            if _weight(op.body) + SEEN_BYTES * len(op.seen) > WAITING_OP_BYTES_MAX:
                del waiting[ident]
        if len(waiting) <= WAITING_OPS_MAX:
            return
        self.waiting = {ident: waiting[ident] for ident in waiting if ident in news}
        if len(self.waiting) > WAITING_OPS_MAX:
            raise RemoteProtocolError(
                f"more than {WAITING_OPS_MAX} ops wait for earlier ones that were not sent"
            )

    def _have(self, author: PeerId) -> int:
        """Return the newest op of an author that is here, or was admitted."""
        return self.raised.get(author) or self._latest.get(author, 0)

    def _is_ready(self, op: Op) -> bool:
        have = self._have(op.author)
        if op.previous > have:
            return False
        if op.previous < have:
            raise RemoteProtocolError(
                f"the op {op.index} of {format_id(op.author)} skips ops that its author made"
            )
        return all(self._have(author) >= index for author, index in op.seen)

    def _take(self, op: Op, ready: list[Op]) -> None:
        """Admit an op, unless its number is out of bounds."""
        clock = self._clock
        if op.index > min(clock + LAMPORT_LEAP_MAX, LAMPORT_MAX):
            raise RemoteProtocolError(
                f"the Lamport number {op.index} is more than {LAMPORT_LEAP_MAX} above {clock}"
            )
        if self._trim is not None and op.id <= self._trim:
            raise RemoteProtocolError(f"the op {op.index} lies below the trim point")
        self._clock = max(clock, op.index)
        self.raised[op.author] = op.index
        ready.append(op)


def _weight(body: Body) -> int:
    """Return about how many bytes an action takes in memory."""
    payload = body.payload
    if body.kind is Kind.TRANSACTION:
        return sum(200 + _weight(inner) for inner in payload)
    if type(payload) is dict or type(payload) is list:
        return 32 * len(canonical_bytes(payload))  # an empty list takes two bytes there, here 64
    return len(payload) if type(payload) is str else 0
