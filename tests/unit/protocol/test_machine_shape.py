"""The shape that all machines share."""

from __future__ import annotations

import enum

import pytest

from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.protocol.machine import Machine, Transitions, earliest, jittered, next_state


class _State(enum.Enum):
    CLOSED = "the door is closed"
    OPEN = "the door is open"


class _Step(enum.Enum):
    OPEN = "opening"


_TABLE: Transitions[_State, _Step] = {(_State.CLOSED, _Step.OPEN): _State.OPEN}


def test_a_step_follows_the_table() -> None:
    """A row says what comes next."""
    assert _State.OPEN is next_state(_TABLE, _State.CLOSED, _Step.OPEN, from_peer=True)


def test_a_step_without_a_row_names_who_is_at_fault() -> None:
    """The peer, or this program."""
    with pytest.raises(RemoteProtocolError, match="opening is not possible while the door is open"):
        next_state(_TABLE, _State.OPEN, _Step.OPEN, from_peer=True)
    with pytest.raises(LocalProtocolError, match="a bug in this program"):
        next_state(_TABLE, _State.OPEN, _Step.OPEN, from_peer=False)


def test_the_earliest_deadline_counts() -> None:
    """None is never."""
    assert 1.0 == earliest(None, 2.0, 1.0)
    assert earliest(None, None) is None


def test_jitter_stays_within_a_quarter() -> None:
    """75 to 125 %."""
    assert 75.0 == jittered(100.0, b"\x00")
    assert 125.0 == jittered(100.0, b"\xff")


def test_a_machine_that_never_wants_time_says_so() -> None:
    """The defaults do nothing."""
    machine: Machine[str] = Machine()
    machine.handle_timer(1.0)
    assert machine.next_deadline() is None
    assert [] == machine.take_effects()
