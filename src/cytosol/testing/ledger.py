"""A ledger of what devices were told is safe, kept outside of the system.

A write stands in the ledger when the dispatch that made it has returned. Once all devices have met,
each must be found: in the document, overwritten by a write that came later or that the order puts
later, or in the failures. Three kinds of writes can be looked for:

* `keep`: a value that nobody else writes, at a place that nobody removes;
* `register`: a value set at a place that many set; the last one stands;
* `add`: one added to a counter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Ledger", "Write"]


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One acknowledged write: its value at a place, and what its device had seen of the others.

    `number` counts the writes of a device. `seen` are the writes that were in the document of the
    device when it wrote. `is_certain` is false if the device died before it was told.
    """

    kind: Literal["keep", "register", "add"]
    device: str
    number: int
    place: str
    value: Any
    seen: frozenset[Any] = frozenset()
    is_certain: bool = True


class Ledger:
    """All acknowledged writes of a world."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.struck: list[Write] = []
        """What nobody promises any more: written after the backup that was put back."""

    def note(self, write: Write) -> None:
        """Take note of a write that was acknowledged, or may have happened."""
        self.writes.append(write)

    def restored(self, device: str, number: int) -> None:
        """Strike off what a device wrote after its first `number` writes."""
        gone = [each for each in self.writes if each.device == device and each.number > number]
        self.struck += gone
        self.writes = [each for each in self.writes if each not in gone]

    def missing_kept(self, found: Mapping[str, Any], failed: str) -> list[str]:
        """Return a sentence for each kept write that is neither found nor a failure.

        `found` maps places to the values there (lists of values for places that hold many),
        `failed` is the text of all failures.
        """
        complaints = []
        for write in self.writes:
            if write.kind != "keep" or not write.is_certain:
                continue
            there = found.get(write.place, ())
            is_there = (
                write.value in there if isinstance(there, list | set) else there == write.value
            )
            if not is_there and f'"{write.value}"' not in failed:
                complaints.append(
                    f"{write.device} was told that its write {write.number} is safe, and "
                    f"{write.value!r} is neither at {write.place} nor among the failures"
                )
        return complaints

    def wrong_registers(self, values: Mapping[str, Any], failed: str) -> list[str]:
        """Return a sentence for each register whose value was overwritten before, or never set."""
        by_place: dict[str, list[Write]] = defaultdict(list)
        for write in [*self.writes, *self.struck]:
            if write.kind == "register":
                by_place[write.place].append(write)
        complaints = []
        for place, writes in by_place.items():
            certain = [each for each in writes if each.is_certain and each not in self.struck]
            stands = [each for each in writes if each.value == values.get(place)]
            if not stands:
                failing = all(f'"{each.value}"' in failed for each in certain)
                if certain and not failing:
                    complaints.append(f"{place} is {values.get(place)!r}, which nobody wrote")
                continue
            for later in certain:
                if stands[0].value in later.seen and f'"{later.value}"' not in failed:
                    complaints.append(
                        f"{place} is {stands[0].value!r} of {stands[0].device}, which "
                        f"{later.device} had seen when it wrote {later.value!r} there"
                    )
                    break
        return complaints

    def counter_bounds(self) -> dict[str, tuple[int, int]]:
        """Return the least and the greatest that each counter may be."""
        least: Counter[str] = Counter()
        most: Counter[str] = Counter()
        for write in self.writes:
            if write.kind == "add":
                least[write.place] += write.is_certain
                most[write.place] += 1
        for write in self.struck:  # another device may have it
            if write.kind == "add":
                most[write.place] += 1
        return {place: (least[place], most[place]) for place in most}
