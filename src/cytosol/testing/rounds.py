"""Counts the full syncs of each pair: the rounds in which they look for a difference and end it.

What live sync carries in between needs none. So a device that needs many rounds to become equal
with another one has gaps that syncing does not see at once. Nor may any of them ever end a
connection over what the other one said, although they would be equal after the next one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue
from cytosol.protocol.connection import SyncLike
from cytosol.protocol.effects import AnswerError, Fail, SyncEffect
from cytosol.protocol.parts import SyncFactory
from cytosol.protocol.seams import ReplicaSeam
from cytosol.protocol.snapshot import SnapshotCache
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.sync_messages import StateSummaryParams

__all__ = ["ROUNDS_MAX", "Rounds"]

ROUNDS_MAX: Final = 3
"""After so many rounds of each pair all are equal, if nothing fails and nobody writes.

A round is a whole session. One does it where history is whole. Of three devices and more that have
trimmed, a pair may need another one for each base that a third one brings: three were needed in
two of 370 random worlds, never more, but nobody has proven that it cannot be.
"""

MALFORMED: Final = (ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_PARAMS, ErrorCode.TOO_LARGE)
"""How a peer answers what no device of ours says; a full disk, say, it answers otherwise."""


class Rounds:
    """The rounds in which any device has heard from any other one."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        """What devices have found wrong with what others said: nothing, as all of them are ours."""
        self._heard: list[tuple[PeerId, PeerId, object]] = []
        self._machines = itertools.count()

    def counting(self, make: SyncFactory) -> SyncFactory:
        """Return a factory of machines whose rounds are counted."""

        def make_counted(
            replica: ReplicaSeam, own_id: PeerId, their_id: PeerId, kept: SnapshotCache
        ) -> SyncLike:
            number = next(self._machines)  # names of rounds begin anew in each connection
            machine: Any = _Counted(
                make(replica, own_id, their_id, kept),
                lambda session: self._heard.append((own_id, their_id, (number, session))),
                self.complaints.append,
            )
            passing_on: SyncLike = machine
            return passing_on

        return make_counted

    def mark(self) -> int:
        """Return this moment, for `most_since`."""
        return len(self._heard)

    def most_since(self, mark: int) -> int:
        """Return the rounds since then of the pair that had most of them."""
        pairs = Counter((own_id, their_id) for own_id, their_id, _ in set(self._heard[mark:]))
        return max(pairs.values(), default=0)


class _Counted:
    """A sync machine that tells in which rounds the peer says what it holds, and what is wrong."""

    def __init__(
        self,
        machine: SyncLike,
        heard: Callable[[JsonValue], None],
        complain: Callable[[str], None],
    ) -> None:
        self._machine = machine
        self._note = heard
        self._complain = complain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def receive_notification(self, method: str, params: JsonValue, now: float) -> None:
        """Take a notification, and take note of it if a round is named there."""
        if method == StateSummaryParams.METHOD and isinstance(params, dict):
            self._note(params.get("session"))
        self._machine.receive_notification(method, params, now)

    def take_effects(self) -> list[SyncEffect]:
        """Return what the machine asks for, and take note if it ends or refuses something."""
        effects = self._machine.take_effects()
        for effect in effects:
            if isinstance(effect, Fail):
                self._complain(f"a connection was ended: {effect.reason}")
            elif isinstance(effect, AnswerError) and effect.code in MALFORMED:
                self._complain(f"a call was refused: {effect.message} ({effect.code})")
        return effects
