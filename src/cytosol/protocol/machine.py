"""The one shape of all machines: inputs and times go in, effects and a deadline come out.

A machine never calls anybody: it notes effects, and its owner takes them. Whoever calls
`handle_timer` too early does no harm; whoever calls it late only delays.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Generic, TypeAlias, TypeVar

from cytosol.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["Machine", "Transitions", "earliest", "jittered", "next_state"]

_Effect = TypeVar("_Effect")
_State = TypeVar("_State", bound=enum.Enum)
_Step = TypeVar("_Step", bound=enum.Enum)

Transitions: TypeAlias = Mapping[tuple[_State, _Step], _State]


class Machine(Generic[_Effect]):
    """Base of the machines: keeps the effects that were not taken yet, in order."""

    def __init__(self) -> None:
        self._effects: list[_Effect] = []

    def _do(self, effect: _Effect) -> None:
        self._effects.append(effect)

    def take_effects(self) -> list[_Effect]:
        """Return what is to be done, in order, and forget it."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called, None for never."""
        return None

    def handle_timer(self, now: float) -> None:
        """Do what has become due."""


def next_state(
    table: Transitions[_State, _Step], state: _State, step: _Step, *, from_peer: bool
) -> _State:
    """Return the state after a step; raise for a step that the table does not know.

    RemoteProtocolError if the peer took the step, LocalProtocolError if we did.
    """
    following = table.get((state, step))
    if following is not None:
        return following
    what = f"{step.value} is not possible while {state.value}"
    if from_peer:
        raise RemoteProtocolError(f"the peer broke the protocol: {what}")
    raise LocalProtocolError(f"a bug in this program: {what}")


def earliest(*deadlines: float | None) -> float | None:
    """Return the earliest of some deadlines, None if there is none."""
    first = None
    for each in deadlines:
        if each is not None and (first is None or each < first):
            first = each
    return first


def jittered(delay_s: float, random_byte: bytes) -> float:
    """Return 75 to 125 % of a delay, so that devices started together drift apart."""
    return delay_s * (0.75 + random_byte[0] / 510)
