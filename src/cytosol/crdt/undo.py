"""Trails: what an op has to take back, as a list of calls in the order of its changes.

Done backwards they restore the tree exactly, containers included: a replaced container is kept
on the trail, not copied.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Any

from cytosol.crdt.sequence import Sequence

__all__ = ["Trail", "undo", "uninsert", "unname"]

Trail = list[tuple[Any, ...]]


def undo(trail: Trail, down_to: int = 0) -> None:
    """Take back everything on the trail after its first `down_to` entries."""
    while len(trail) > down_to:
        call, *arguments = trail.pop()
        call(*arguments)


def uninsert(sequence: Sequence, codes: SequenceOf[int], value: list[Any], index: int) -> None:
    """Take back the insertion of shown positions."""
    for code in codes:
        sequence.remove(code)
    del value[index : index + len(codes)]


def unname(sequence: Sequence, codes: SequenceOf[int]) -> None:
    """Take back the insertion of hidden positions."""
    for code in codes:
        sequence.remove(code)
