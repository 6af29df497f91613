"""Who wrote and moved places after they had got the names that a base knows them by.

A base keeps one name for each place, mostly that of its creation. When a base has to give way,
what is newer than the winner knows is told by the op that last wrote, or moved, a place; so
those are kept beside the names, where they differ from them.
"""

from __future__ import annotations

from cytosol.crdt.log import NO_INDEX, Coded, numbers_taken
from cytosol.crdt.names import OFFSET_BITS
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import MISSING
from cytosol.model.op import Kind

__all__ = ["Touches"]

_CALCULATES = (Kind.ADD, Kind.MULTIPLY)
_REPLACES = (Kind.SET, Kind.INIT_OBJECT, Kind.INIT_ARRAY)


class Touches:
    """Op parts of names (`name >> OFFSET_BITS`) by the name of the place."""

    __slots__ = ("moved", "written")

    def __init__(self) -> None:
        self.written: dict[int, int] = {}
        self.moved: dict[int, int] = {}

    def note(self, replica: Replica, count: int) -> None:
        """Note the first `count` ops; call while the replica stands after them."""
        log = replica.log
        for row in range(count):
            code = log.op_code(row)
            if code in replica.failures or type(log.acts[row]) is int:
                continue
            if log.steps[row] is not None:
                self._note(replica, self.written, code << OFFSET_BITS, code)
                continue
            body: Coded = log.payloads[row]
            base = code << OFFSET_BITS
            for inner in body.payload if body.kind is Kind.TRANSACTION else (body,):
                if inner.kind in _CALCULATES:
                    self._note(replica, self.written, inner.name, code)
                elif inner.kind is Kind.MOVE:
                    self._note(replica, self.moved, inner.source, code)
                elif inner.kind in _REPLACES and (inner.key is not None or inner.index == NO_INDEX):
                    self._note(replica, self.written, base, code)
                base += numbers_taken(inner)

    def _note(self, replica: Replica, table: dict[int, int], name: int, code: int) -> None:
        tree = replica.tree
        found = replica.finder.find(name)
        if found is None or found[2]:
            return
        up, step, _ = found
        if tree.is_present(up) and tree.content(up, step) is not MISSING:
            place = tree.name_at(up, step)
            if place < 0 or place >> OFFSET_BITS != code:
                table[place] = code
