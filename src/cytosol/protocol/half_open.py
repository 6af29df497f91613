"""Accepted connections that have not proved anything yet: few, and for a short time only.

Both the gateway and the listeners for single connections count here, since both are open to
everyone on the network (spec: network, Limits).
"""

from __future__ import annotations

from collections import Counter

from cytosol.limits import FIRST_FRAME_TIMEOUT_S, HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX

__all__ = ["HalfOpenTable"]


class HalfOpenTable:
    """Remember which connections are half open, from where and until when."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        # In order of arrival, which is also the order of their deadlines.
        self._entries: dict[int, tuple[str, float]] = {}

    def admit(self, connection_id: int, ip_address: str, now: float) -> tuple[bool, int | None]:
        """Tell whether a new connection may stay, and which older one has to go for it.

        An address that has its share is refused; when all places are taken, the oldest
        connection of the address with most of them goes: honest ones need a moment only.
        """
        counts = Counter(address for address, _ in self._entries.values())
        if counts[ip_address] >= HALF_OPEN_PER_ADDRESS_MAX:
            return False, None
        evicted = None
        if len(self._entries) >= HALF_OPEN_MAX:
            crowded = max(counts.values())
            evicted = next(
                each for each, (address, _) in self._entries.items() if counts[address] == crowded
            )
            del self._entries[evicted]
        self._entries[connection_id] = ip_address, now + FIRST_FRAME_TIMEOUT_S
        return True, evicted

    def remove(self, connection_id: int) -> None:
        """Forget a connection: it has proved who it is, or is closed."""
        self._entries.pop(connection_id, None)

    def next_deadline(self) -> float | None:
        """Return when the oldest connection's time is over."""
        for _, deadline in self._entries.values():
            return deadline
        return None

    def take_expired(self, now: float) -> list[int]:
        """Forget and return the connections whose time is over."""
        expired = [each for each, (_, deadline) in self._entries.items() if now >= deadline]
        for connection_id in expired:
            del self._entries[connection_id]
        return expired
