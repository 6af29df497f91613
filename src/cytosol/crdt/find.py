"""Find the place that a name means, at this moment of the fold.

Most names are found through the log: the op that gave the name says in which slot the place
stood then, and the markers of that slot say whether a move has taken it since. Only
moved and copied places, and those older than the log, are kept in tables.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable
from operator import attrgetter, itemgetter

from cytosol.crdt.inner import InnerEffects
from cytosol.crdt.log import Act, Log
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS, OFFSET_MASK, Names
from cytosol.crdt.tree import Found, Order, Place, Slot, Step, Tree
from cytosol.model.json import JsonValue

__all__ = ["Finder"]

_BASE = attrgetter("base")

ALIAS_HOPS_MAX = 32  # origins of origins; honest ones name what was first, in one hop


class Finder:
    """Looks names up in one tree and one log."""

    __slots__ = ("_base", "_failures", "_hops", "_inner", "log", "names", "tree")

    def __init__(self, tree: Tree, log: Log, failures: Container[int]) -> None:
        self.tree = tree
        self.log = log
        self._failures = failures
        self.names: Names = tree.names
        self._inner: dict[int, dict[int, Slot]] = {}
        self._base: dict[int, Slot] | None = None
        self._hops = 0

    def find(self, code: int) -> Found | None:
        """Return slot and state of the place with this name, or None."""
        tree = self.tree
        found = tree.located.get(code)
        if found is not None:
            return found
        if code < 0:
            found = self._find_copied(code)
            if found is None and self.log.find(self.names.pairs[~code][0] >> OFFSET_BITS) < 0:
                found = self._find_in_base(code)  # only copies that are older than the log
            alias = None if found is not None else self._alias(code)
            return found if alias is None else self._find_alias(alias)
        op_code = code >> OFFSET_BITS
        offset = code & OFFSET_MASK
        log = self.log
        row = log.find(op_code)
        if row < 0:
            return self._find_older(code, offset)
        act = log.acts[row]
        if act is None:
            return None
        if type(act) is int:  # a re-issued op without effect: another one made its places
            original = self._original(code)
            return None if original is None else self.find(original)
        form = log.steps[row]
        slot: Slot | None
        if type(form) is str:
            if not offset:
                if act.markers is None:
                    return act, form, 0
                slot = (act, form)
            else:
                slot = self._inner_slot(op_code, offset, [Act(0, 0, act, form, log.payloads[row])])
        elif form is None:
            slot = self._slot_of(op_code, offset, act)
        elif type(form) is tuple:
            position = op_code << OFFSET_BITS
            slot = (act, position)
            if offset:
                acts = [Act(0, 0, act, position, log.payloads[row])]
                slot = self._inner_slot(op_code, offset, acts)
        else:
            return None  # sums and products give no names
        if slot is None:
            return self._find_piece(op_code, offset)
        if slot[0].markers is None:
            return slot[0], slot[1], 0
        return tree.follow(slot[0], slot[1], self.names.order(code))

    def _slot_of(self, op_code: int, offset: int, acts: list[Act] | InnerEffects) -> Slot | None:
        if isinstance(acts, InnerEffects):
            slot = acts.slot(offset)
            return slot or self._inner_slot(op_code, offset, acts.general_acts())
        # Long Transactions: their numbers rise, but for moves with fills, which have none.
        at = bisect_right(acts, offset, key=_BASE) - 1 if len(acts) > 8 else 0
        if at > 0 and acts[at].base <= offset <= acts[at].base + acts[at].fill:
            acts = acts[at : at + 1]
        for act in acts:
            main = act.base + act.fill
            if offset == main:
                return act.up, act.step
            if act.base <= offset < main:
                return act.up, (op_code << OFFSET_BITS) + offset
        return self._inner_slot(op_code, offset, acts)

    def _inner_slot(self, op_code: int, offset: int, acts: Iterable[Act]) -> Slot | None:
        table = self._inner.get(op_code)
        if table is None:
            table = self._inner[op_code] = {}
            for act in acts:
                if act.mapped is not None:
                    table.update(act.mapped)
                else:
                    self._number(op_code, act.up, act.step, act.payload, act.base + act.fill, table)
        return table.get(offset)

    def _number(
        self,
        op_code: int,
        up: Place,
        step: Step,
        payload: JsonValue,
        offset: int,
        table: dict[int, Slot],
    ) -> int:
        """Note the slots below a payload as they were made; return the next number."""
        table[offset] = (up, step)
        code = (op_code << OFFSET_BITS) + offset
        offset += 1
        kind = type(payload)
        if kind is not dict and kind is not list:
            return offset
        place = self._place_then(up, step, code)
        if place is None:  # pragma: no cover - every container that was named has a Place
            return offset
        if kind is dict:
            for key in sorted(payload):
                offset = self._number(op_code, place, key, payload[key], offset, table)
        else:
            for item in payload:
                position = (op_code << OFFSET_BITS) + offset
                offset = self._number(op_code, place, position, item, offset, table)
        return offset

    def _place_then(self, up: Place, step: Step, code: int) -> Place | None:
        """Return the Place that stood in a slot when the name `code` was given."""
        found = self.tree.follow(up, step, self.names.order(code))
        if found is None:  # pragma: no cover - a moved place is always located
            return None
        if found[2]:
            return self.tree.covered.get(found[2])
        return self.tree.place_at(found[0], found[1])

    def forget(self, op_code: int) -> None:
        """Drop what was noted of an op, because it is taken back."""
        self._inner.pop(op_code, None)

    def _find_copied(self, code: int) -> Found | None:
        """Find a copied place whose source is called by another name than when copied."""
        link, source = self.names.pairs[~code]
        found = self.find(source)
        if found is None:
            return None
        up, step, covered = found
        birth = covered or self.tree.code_at(up, step)
        original = self._original(link)
        if original is None:
            return None
        name = self.tree.copied.get((original, birth))
        return None if name is None else self.tree.located.get(name)

    def _find_piece(self, op_code: int, offset: int) -> Found | None:
        """Find what a part of a re-issued op has made that came too late itself."""
        origin = self.log.origins.get(op_code, -1)
        if origin < 0 or (origin & OFFSET_MASK) + offset > OFFSET_MASK:
            return None
        if op_code in self._failures:
            return None  # it has no part in what the origin names
        alias = self.tree.origins.get(origin + offset)
        return None if alias is None else self._find_alias(alias)

    def _alias(self, code: int) -> int | None:
        """Return what a re-issued op calls the place that it makes by this number of its origin."""
        origins = self.tree.origins
        alias = origins.get(code)
        if alias is not None or not origins:
            return alias
        link, source = self.names.pairs[~code]
        offset = link & OFFSET_MASK
        whole = self.names.copies.get((link - offset, source))
        alias = None if whole is None else origins.get(whole)
        return None if alias is None else alias + offset

    def _original(self, code: int) -> int | None:
        """Return the name or link of what had the effect, where an op was re-issued.

        None for one that a peer made up so that it leads to itself.
        """
        passed: set[int] = set()
        while code >= 0 and code not in passed:
            passed.add(code)
            offset = code & OFFSET_MASK
            row = self.log.find(code >> OFFSET_BITS)
            origins = self.tree.origins
            if row < 0 and offset and code in origins:
                code = origins[code]
                continue
            first = origins.get(code - offset) if row < 0 else self.log.acts[row]
            if type(first) is not int:
                return code
            if offset and (first < 0 or (first & OFFSET_MASK) + offset > OFFSET_MASK):
                return None
            code = first + offset
        return None if code in passed else code

    def original(self, code: int) -> int | None:
        """Return the name that a position was made with, where an op was re-issued."""
        if code >= 0:
            return self._original(code)
        link, source = self.names.pairs[~code]
        first = self._original(link)
        return None if first is None else self.names.copies.get((first, source))

    def _find_older(self, code: int, offset: int) -> Found | None:
        """Find a place by a name from before the log, or by the id of a re-issued op."""
        found = self._find_in_base(code)  # the op itself goes before what stands for it
        if found is not None:
            return found
        alias = self.tree.origins.get(code)
        if alias is not None:
            found = self._find_alias(alias)
        if found is None and offset:
            alias = self.tree.origins.get(code - offset)
            if alias is not None:
                # First numbers of ops have no offset, so nothing overflows.
                found = self._find_alias(alias + offset)
        return found

    def _find_alias(self, alias: int) -> Found | None:
        """Find what an origin stands for, unless a peer has made up a chain or circle of them."""
        if self._hops == ALIAS_HOPS_MAX:
            return None
        self._hops += 1
        try:
            return self.find(alias)
        finally:
            self._hops -= 1

    def _find_in_base(self, code: int) -> Found | None:
        """Find a place by the name that the base knows it by."""
        if self._base is None:
            self._base = self._index_base()
        slot = self._base.get(code)
        return None if slot is None else self.tree.follow(slot[0], slot[1], (0, b"", 0))

    def forget_base(self) -> None:
        """Drop the index of older names, because the log was trimmed."""
        self._base = None
        self._inner.clear()

    def _index_base(self) -> dict[int, Slot]:
        """Return where the places older than the log stood when it began (once per trimming).

        The log has gone on when somebody asks first, and what it has done may be taken back:
        so nothing that it made counts, and of a place that it moved the slot before the first move.
        """
        tree = self.tree
        index: dict[int, Slot] = {}
        moves: list[tuple[Order, int, Slot]] = []
        todo = [tree.root, *tree.covered.values()]
        while todo:
            place = todo.pop()
            for key, code in place.codes.items():
                index[code] = (place, key)
            marked = place.markers or {}
            if place.sequence is not None:
                for position in place.sequence:
                    if not marked.get(position):  # else it is vacated
                        index[tree.code_at(place, position)] = (place, position)
            for step, marks in marked.items():
                moves.extend((when, code, (place, step)) for when, code, _ in marks)
            if place.places is not None:
                todo.extend(place.places.values())
        for _, code, slot in sorted(moves, key=itemgetter(0), reverse=True):
            index[code] = slot
        return self._older(index)

    def _older(self, index: dict[int, Slot]) -> dict[int, Slot]:
        """Return those names of an index that are older than the log."""
        log, order = self.log, self.names.order
        if not len(log):
            return index
        first = log.key(0)
        surely = first[0] << AUTHOR_BITS + OFFSET_BITS  # all smaller ones, without asking further
        return {c: slot for c, slot in index.items() if 0 <= c < surely or order(c)[:2] < first}
