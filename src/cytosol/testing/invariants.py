"""What must hold of the devices of a world, at every moment and once they have met."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cytosol.model.ids import PeerId
from cytosol.model.json import equal_json

if TYPE_CHECKING:
    from cytosol.testing.device import Device

__all__ = ["Watcher", "check_equal"]


def check_equal(devices: Sequence[Device], when: str = "") -> None:
    """Check that devices hold the same history and the same document; tells where they differ."""
    first, *others = devices
    for other in others:
        ours, theirs = first.document, other.document
        if not equal_json(ours, theirs):
            where, a, b = _first_difference(ours, theirs, "$")
            raise AssertionError(
                f"{first.name} and {other.name} differ {when}: at {where} one has {_short(a)}, "
                f"the other {_short(b)}"
            )
        if first.state_hash() != other.state_hash():
            raise AssertionError(
                f"{first.name} and {other.name} hold the same document by different ops {when}"
            )


def _short(value: Any) -> str:
    text = "nothing" if value is _NOTHING else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


_NOTHING: Any = object()


def _first_difference(one: Any, other: Any, where: str) -> tuple[str, Any, Any]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            a, b = one.get(key, _NOTHING), other.get(key, _NOTHING)
            if a is _NOTHING or b is _NOTHING or not equal_json(a, b):
                return _first_difference(a, b, f"{where}[{key!r}]")
    if isinstance(one, list) and isinstance(other, list):
        for index, (a, b) in enumerate(zip(one, other, strict=False)):
            if not equal_json(a, b):
                return _first_difference(a, b, f"{where}[{index}]")
        if len(one) != len(other):
            return f"{where}.length", len(one), len(other)
    return where, one, other


class Watcher:
    """Follows the devices of a world and checks what must hold after every event."""

    def __init__(self) -> None:
        self._acknowledged: dict[tuple[str, PeerId], int] = {}

    def started(self, device: Device) -> None:
        """Forget nothing: what was acknowledged before a start must be there after it."""

    def written(self, device: Device) -> None:
        """Check a write that is about to be acknowledged: its id is above all that it knew of."""
        replica = device.db._document.replica
        own = replica.latest.get(replica.author, 0)
        assert own == max(replica.latest.values()), (
            f"{device.name} wrote an op with the number {own} and knew of a greater one"
        )
        self._acknowledged[device.name, replica.author] = own

    def check(self, devices: Sequence[Device]) -> None:
        """Check all devices that are up."""
        up = [device for device in devices if device.is_up]
        by_hash: dict[str, Device] = {}
        for device in up:
            assert not device.problems(), f"{device.name}: {device.problems()}"
            twin = by_hash.setdefault(device.state_hash(), device)
            if twin is not device:
                check_equal([twin, device], "although their state hashes are equal")
