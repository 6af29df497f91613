"""Wrong pairing codes: after three a pause, after ten a stop (spec: network, Pairing).

The count survives restarts, so that crashing us does not buy more guesses; that is why it goes by
the wall clock. A clock set back must not lengthen a pause, one set forward may shorten it.
"""

from __future__ import annotations

import math

from cytosol.limits import WRONG_CODES_PAUSE_AT, WRONG_CODES_PAUSE_S, WRONG_CODES_STOP_AT
from cytosol.protocol.seams import PairingsSeam

__all__ = ["Lockout"]


class Lockout:
    """Count wrong codes and say whether pairing is paused."""

    __slots__ = ("_pairings", "_wall_offset")

    def __init__(self, pairings: PairingsSeam) -> None:
        self._pairings = pairings
        self._wall_offset = 0.0

    def set_wall_clock(self, wall_s: float, now: float) -> None:
        """Learn what the wall clock says at `now`."""
        self._wall_offset = wall_s - now

    def wall(self, now: float) -> float:
        """Return the wall-clock second at `now`."""
        return now + self._wall_offset

    def wrong_code(self, now: float) -> None:
        """Count one more wrong code."""
        count, _ = self._pairings.wrong_codes()
        self._pairings.set_wrong_codes(count + 1, self.wall(now))

    def right_code(self) -> None:
        """Begin to count anew: a pairing succeeded."""
        if self._pairings.wrong_codes()[0]:
            self._pairings.set_wrong_codes(0, 0.0)

    def app_called(self) -> None:
        """Lift a stop: the app wants to pair again."""
        if self._pairings.wrong_codes()[0] >= WRONG_CODES_STOP_AT:
            self._pairings.set_wrong_codes(0, 0.0)

    def pause_left_s(self, now: float) -> float:
        """Return for how long pairing is paused: 0 if it is not, infinity after ten wrong codes."""
        count, last_s = self._pairings.wrong_codes()
        if count < WRONG_CODES_PAUSE_AT:
            return 0.0
        if count >= WRONG_CODES_STOP_AT:
            return math.inf
        wall_s = self.wall(now)
        if last_s > wall_s:  # the clock was set back
            self._pairings.set_wrong_codes(count, wall_s)
            last_s = wall_s
        return max(0.0, last_s + WRONG_CODES_PAUSE_S - wall_s)
