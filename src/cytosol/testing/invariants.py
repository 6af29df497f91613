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
        self.has_copies = False
        """Two devices may write under one author id: until they have met, ids tell too little."""
        self._durable: dict[tuple[str, PeerId], int] = {}
        self._adoptions: dict[str, int] = {}
        self._previous: dict[tuple[PeerId, int], int] = {}

    def started(self, device: Device) -> None:
        """Check that what was acknowledged before a start is there after it."""
        replica = device.db._document.replica
        self._adoptions[device.name] = 0
        least = self._durable.get((device.name, replica.author), 0)
        held = replica.latest.get(replica.author, 0)
        assert self.has_copies or held >= least, (
            f"{device.name} was told that its op {least} is durable, and after a start has only "
            f"those up to {held}"
        )

    def written(self, device: Device) -> None:
        """Check a write that is about to be acknowledged: its id is above all that it knew of."""
        replica = device.db._document.replica
        own = replica.latest.get(replica.author, 0)
        assert own == max(replica.latest.values()), (
            f"{device.name} wrote an op with the number {own} and knew of a greater one"
        )
        self._durable[device.name, replica.author] = own
        self._adoptions[device.name] = device.db._document.history.adoptions

    def ending(self, device: Device) -> None:
        """Take note that a device is about to end, with what it has adopted since its last write.

        A history that it gave way to need not know it: what it had acknowledged has other ids
        there, or was all overwritten.
        """
        document = device.db._document
        if document.history.adoptions > self._adoptions.get(device.name, 0):
            replica = document.replica
            key = device.name, replica.author
            held = replica.latest.get(replica.author, 0)
            self._durable[key] = min(held, self._durable.get(key, 0))

    def check(self, devices: Sequence[Device]) -> None:
        """Check all devices that are up, and what those that are down have left."""
        up = [device for device in devices if device.is_up]
        by_hash: dict[str, Device] = {}
        for device in devices:
            assert not device.problems(), f"{device.name}: {device.problems()}"
        for device in up:
            twin = by_hash.setdefault(device.state_hash(), device)
            if twin is not device and not self.has_copies:
                check_equal([twin, device], "although their state hashes are equal")
        if not self.has_copies:
            self._check_prefixes(up)

    def _check_prefixes(self, devices: Sequence[Device]) -> None:
        """Check that the ops that devices hold of an author are a prefix of those it made.

        Each op tells which was its author's previous one; nobody may hold one without the other,
        unless that was trimmed, and all must be told the same.
        """
        for device in devices:
            replica = device.db._document.replica
            log, authors = replica.log, replica.names.authors
            newest = dict(replica.trimmed)
            for index, number, previous in zip(log.indexes, log.numbers, log.previous, strict=True):
                author = authors[number]
                assert previous == newest.get(author, 0), (
                    f"{device.name} holds the op {index} of an author and not its op {previous}"
                )
                assert previous == self._previous.setdefault((author, index), previous), (
                    f"{device.name} holds another op {index} of an author than other devices do"
                )
                newest[author] = index
            assert newest == replica.latest, f"{device.name} does not know what it holds"
