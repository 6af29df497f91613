"""The sieve: which datagrams are worth the time of the machine, decided before any is parsed.

Whoever is on the network can send heartbeats as fast as the cable takes them, and what we cannot
read in time the system drops, those of our own devices among them. So each datagram costs a few
comparisons here, and only a bounded number a second costs more: one share for each address, one
in all for strangers, and one of their own for paired devices, whom no stranger crowds out.
A heartbeat that found its share used up is not missed: they are sent again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from cytosol.limits import (
    ADDRESS_BEATS_PER_S,
    HEARTBEAT_BYTES_MAX,
    PAIRED_BEATS_PER_S,
    STRANGER_BEATS_PER_S,
)
from cytosol.model.ids import PeerId
from cytosol.wire.heartbeat import HEARTBEAT_BYTES_MIN, KEY, PEER_ID, heartbeat_prefix

__all__ = ["Sieve"]

_SHARES_S: Final = 1.0  # how long a share lasts before it is dealt out anew


class Sieve:
    """Admits what may be a heartbeat of another device of this app, as often as is useful."""

    def __init__(
        self, app_id: bytes, own_id: PeerId, is_paired: Callable[[PeerId, bytes], bool]
    ) -> None:
        self._prefix = heartbeat_prefix(app_id)
        self._own_id = own_id
        self._is_paired = is_paired
        self._ends = float("-inf")
        self._taken: dict[Hashable, int] = {}  # no more of them than are admitted in all
        self._strangers = self._paired = 0

    def admits(self, data: bytes, ip_address: str, now: float) -> bool:
        """Tell whether to hand on a datagram that came from an address, and take note of it."""
        if not HEARTBEAT_BYTES_MIN <= len(data) <= HEARTBEAT_BYTES_MAX:
            return False
        if not data.startswith(self._prefix):
            return False
        peer_id = data[PEER_ID]
        if peer_id == self._own_id:
            return False
        if now >= self._ends:
            self._ends = now + _SHARES_S
            self._taken.clear()
            self._strangers = self._paired = 0
        is_paired = self._is_paired(peer_id, data[KEY])
        sender = (ip_address, peer_id) if is_paired else ip_address
        taken = self._taken.get(sender, 0)
        if taken >= ADDRESS_BEATS_PER_S:
            return False
        if is_paired:
            if self._paired >= PAIRED_BEATS_PER_S:
                return False
            self._paired += 1
        else:
            if self._strangers >= STRANGER_BEATS_PER_S:
                return False
            self._strangers += 1
        self._taken[sender] = taken + 1
        return True
