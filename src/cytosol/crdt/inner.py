"""The actions of a Transaction as columns: a row an action, read as the rows of the log are.

So a long Transaction of plain writes takes no objects of its own for each, which the garbage
collector would walk. Only Transactions that were made here are kept so; one that came from a peer
is a tuple of Coded, and both are iterated alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from cytosol.crdt.log import Act, Coded, Form, coded_of, numbers_taken
from cytosol.crdt.names import OFFSET_BITS
from cytosol.crdt.quick import undo_quick
from cytosol.crdt.tree import Place, Slot, Step
from cytosol.crdt.undo import Trail, undo

__all__ = ["InnerActions", "InnerEffects"]


class InnerActions:
    """What the actions say: an iterable of Coded."""

    __slots__ = ("forms", "names", "payloads")

    def __init__(self) -> None:
        self.names: list[int] = []
        self.forms: list[Form] = []
        self.payloads: list[Any] = []

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Coded]:
        return map(coded_of, self.names, self.forms, self.payloads)


class InnerEffects:
    """What the actions did: where their names lead, and how to take them back.

    It stands in the log's `acts` and `undos`, whose rules hold for its columns, too: the Place
    around what an action with a form wrote, or else a list of Acts; what `undo_quick` needs, or
    else a Trail.
    """

    __slots__ = ("_bases", "_counted", "actions", "acts", "base", "first", "undos")

    def __init__(self, op_code: int) -> None:
        self.first = op_code << OFFSET_BITS
        self.base = 0
        """How many numbers the actions take so far."""
        self.actions = InnerActions()
        self.acts: list[Any] = []
        self.undos: list[Any] = []
        self._bases: list[int] = []  # the first number of each action, as far as anybody asked
        self._counted = 0

    def add(self, body: Coded, acts: list[Act], trail: Trail) -> None:
        """Note an action that was applied the general way."""
        self.actions.names.append(0)
        self.actions.forms.append(None)
        self.actions.payloads.append(body)
        self.acts.append(acts)
        self.undos.append(trail)

    def undo(self, touched: list[tuple[Place, Step | None]]) -> None:
        """Take back all actions, the last one first."""
        bases, forms = self._first_numbers(), self.actions.forms
        for row in range(len(self.undos) - 1, -1, -1):
            undone = self.undos[row]
            if type(undone) is list:
                undo(undone)
            else:
                undo_quick(touched, self.first + bases[row], forms[row], self.acts[row], undone)

    def slot(self, offset: int) -> Slot | None:
        """Return where the place stood that has this number, None if it is part of a payload."""
        row = bisect_right(self._first_numbers(), offset) - 1
        form, act = self.actions.forms[row], self.acts[row]
        if form is None:
            for each in act:
                main = each.base + each.fill
                if offset == main:
                    return each.up, each.step
                if each.base <= offset < main:
                    return each.up, self.first + offset
            return None
        if offset != self._bases[row] or not (type(form) is str or type(form) is tuple):
            return None
        return act, form if type(form) is str else self.first + offset

    def general_acts(self) -> Iterator[Act]:
        """Yield the Acts of the actions that have some: those whose payloads name more places."""
        for act in self.acts:
            if type(act) is list:
                yield from act

    def slots(self) -> Iterator[Slot]:
        """Yield where all that was named as a whole stood."""
        bases = self._first_numbers()
        for row, (form, act) in enumerate(zip(self.actions.forms, self.acts, strict=True)):
            if type(form) is str:
                yield act, form
            elif type(form) is tuple:
                yield act, self.first + bases[row]
            elif form is None:
                for each in act:
                    yield each.up, each.step

    def _first_numbers(self) -> list[int]:
        """Return the first number of each action."""
        bases, said = self._bases, self.actions
        for row in range(len(bases), len(said.forms)):
            bases.append(self._counted)
            form = said.forms[row]
            if form is None:
                self._counted += numbers_taken(said.payloads[row])
            elif type(form) is str or type(form) is tuple:
                self._counted += 1
        return bases
