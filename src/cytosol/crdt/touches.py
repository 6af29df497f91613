"""Who wrote and moved places after they had got the names that a base knows them by.

A base keeps one name for each place, mostly that of its creation. When a base has to give way,
what is newer than the winner knows is told by the op that last wrote, or moved, a place.
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

    def __init__(
        self, written: dict[int, int] | None = None, moved: dict[int, int] | None = None
    ) -> None:
        self.written: dict[int, int] = {} if written is None else written
        self.moved: dict[int, int] = {} if moved is None else moved

    def copy(self) -> Touches:
        """Return the same, to go on from."""
        return Touches(dict(self.written), dict(self.moved))

    def note(self, replica: Replica, start: int, end: int) -> None:
        """Note the ops in some rows; call while the replica stands after them.

        A re-issued op counts as the one that it stands for.
        """
        log = replica.log
        for row in range(start, end):
            code = log.op_code(row)
            if code in replica.failures or type(log.acts[row]) is int:
                continue
            own = code << OFFSET_BITS
            origin = log.origins.get(code)
            if origin is not None:
                name = replica.names.name(origin)
                code = replica.names.op_code(name.index, name.author)
            if log.steps[row] is not None:
                self._note(replica, self.written, own, code)
                continue
            body: Coded = log.payloads[row]
            base = own
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
            table[tree.name_at(up, step)] = code
