"""What merging must be, whatever comes when: idempotent, commutative and associative.

The ops of a device are given to fresh replicas in other orders, again and again, and joined from
what devices held at moments of the past. All must end with what the device has.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import load_base
from cytosol.limits import DOCUMENT_PLACES_MAX, WAITING_OPS_MAX
from cytosol.model.ids import PeerId
from cytosol.model.json import equal_json
from cytosol.model.op import Op

if TYPE_CHECKING:
    from cytosol.testing.device import Device

__all__ = ["Moments", "check_merging"]

MOMENTS_MAX: Final = 12
MIXED_MAX: Final = WAITING_OPS_MAX // 2
"""So many ops are mixed at once: of more that come too early a replica forgets some."""


class Moments:
    """What devices held at some moments, chosen by chance from all at which somebody looked."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._looks = 0
        self.held: list[dict[PeerId, int]] = []
        """The newest index of each author."""

    def look(self, devices: Sequence[Device]) -> None:
        """Maybe keep what one of the devices holds now."""
        up = [device for device in devices if device.is_up]
        if not up:
            return
        self._looks += 1
        if len(self.held) < MOMENTS_MAX:
            self.held.append({})
            at = len(self.held) - 1
        else:
            at = self._chance.randrange(self._looks)
        if at < MOMENTS_MAX:
            device = self._chance.choice(up)
            self.held[at] = dict(device.db._document.replica.latest)


def check_merging(
    device: Device, chance: random.Random, held: Sequence[Mapping[PeerId, int]] = ()
) -> int:
    """Check the laws on the history of a device; returns how many joins were compared.

    `held` are summaries of earlier moments; of three of them joins are made.
    """
    document = device.db._document
    with document.lock:
        replica = document.replica
        # The one in the file may be older, if the disk refused to take the latest.
        history = _History(document.history._snapshot, _ops(replica))
    fresh = history.replica(_mixed(history.ops, chance))
    _check_same(device, replica, fresh, "given in another order, some of it twice,")
    fresh.merge(history.ops)
    _check_same(device, replica, fresh, "given once more")
    states = [state for latest in held if (state := history.state(latest)) is not None]
    if len(states) < 3:
        return 0
    x, y, z = chance.sample(states, 3)
    left = history.replica(x, y, z)
    y_z = history.replica(y, z)
    _check_same(device, left, history.replica(x, _ops(y_z)), "joined as X with Y and Z")
    _check_same(device, left, history.replica(z, y, x), "joined as Z with Y with X")
    _check_same(device, left, history.replica(_ops(y_z), x, x, y), "joined with parts of itself")
    return 3


class _History:
    """The base and the ops of one device, from which replicas are made."""

    def __init__(self, base: bytes | None, ops: list[Op]) -> None:
        self._base = base
        self.ops = ops

    def replica(self, *batches: Sequence[Op]) -> Replica:
        """Return a replica that was given some ops, one batch after the other."""
        author = bytes(16)
        if self._base is None:
            replica = Replica(author)
        else:
            replica, _ = load_base(self._base, author, DOCUMENT_PLACES_MAX)
        for batch in batches:
            replica.merge(batch)
        return replica

    def state(self, latest: Mapping[PeerId, int]) -> list[Op] | None:
        """Return the ops that were there at a moment.

        None if what was there was replaced since by an adoption, so that some have gaps before.
        """
        ops = [op for op in self.ops if op.index <= latest.get(op.author, 0)]
        return None if self.replica(ops).waiting else ops


def _ops(replica: Replica) -> list[Op]:
    return [replica.log.op(row) for row in range(len(replica.log))]


def _mixed(ops: Sequence[Op], chance: random.Random) -> list[Op]:
    """Return the ops in another order, some of them more than once."""
    mixed: list[Op] = []
    for start in range(0, len(ops), MIXED_MAX):
        some = list(ops[start : start + MIXED_MAX])
        some += chance.choices(some, k=len(some) // 4)
        chance.shuffle(some)
        mixed += some
    return mixed


def _check_same(device: Device, expected: Replica, found: Replica, how: str) -> None:
    complaint = f"the history of {device.name}, {how} makes"
    assert not found.waiting, f"{complaint} {len(found.waiting)} ops wait for others"
    assert found.latest == expected.latest, f"{complaint} another summary"
    assert found.state_hash() == expected.state_hash(), f"{complaint} another state hash"
    assert equal_json(found.document, expected.document), f"{complaint} another document"
    assert _failures(found) == _failures(expected), f"{complaint} other ops fail"


def _failures(replica: Replica) -> dict[Any, Any]:
    """Return the failures by ids, which mean the same in every replica."""
    log = replica.log
    return {log.key(log.find(code)): failure for code, failure in replica.failures.items()}
