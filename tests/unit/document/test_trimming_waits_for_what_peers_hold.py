"""History goes when every paired device has it, and not while one holds what we still lack."""

from __future__ import annotations

import pytest

import cytosol
from cytosol.document import acknowledgements
from cytosol.document.history import SLACK_MIN, History

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
PEER = bytes(range(16))
WRITES = 4 * SLACK_MIN


def history_with_writes() -> tuple[cytosol.Database, History]:
    """Return a database with many writes that is paired with one device, and its history."""
    database = cytosol.open(None, app_id=APP_ID, network=False, min_history=0)
    history = database._document.history
    history.set_paired({PEER})
    for number in range(WRITES):
        database.dispatch(cytosol.Set("$.number", number))
    return database, history


def length(database: cytosol.Database) -> int:
    """Return how many ops are kept."""
    return len(database.query_once_meta("$.actions[*]"))


def test_writes_stay_until_the_paired_device_has_them() -> None:
    """Before it has said so nothing may go."""
    database, history = history_with_writes()
    history.trim()
    assert length(database) == WRITES
    history.note_latest(PEER, database._document.replica.latest)
    history.trim()
    assert length(database) == 0


def test_writes_stay_while_the_peer_holds_some_that_we_lack() -> None:
    """They may have been made without knowing ours; once we have them, all may go."""
    database, history = history_with_writes()
    replica = database._document.replica
    latest = dict(replica.latest)
    history.note_latest(PEER, {**latest, PEER: 3})
    history.trim()
    assert length(database) == WRITES
    replica.latest[PEER] = 3  # as if they had come
    history.trim()
    assert length(database) == 0


def test_what_a_peer_says_while_we_catch_up_counts_in_the_end() -> None:
    """A peer that writes all the while does not keep the history from going."""
    database, history = history_with_writes()
    replica = database._document.replica
    latest = dict(replica.latest)
    for index in range(1, 5):
        history.note_latest(PEER, {**latest, PEER: index})
        replica.latest[PEER] = index - 1 or 1  # always one behind
    history.trim()
    assert length(database) == 0


def test_a_peer_that_has_less_than_before_is_waited_for_again() -> None:
    """A backup was put back there: what it says now counts, not what it said."""
    database, history = history_with_writes()
    author = database._document.replica.author
    history.note_latest(PEER, database._document.replica.latest)
    history.note_latest(PEER, {author: 1})
    history.trim()
    assert length(database) == WRITES


def test_news_count_like_all_that_a_peer_holds() -> None:
    """Together with what it has said before; also those that come while we catch up."""
    database, history = history_with_writes()
    replica = database._document.replica
    author = replica.author
    history.note_latest(PEER, {author: 1})
    for index in range(2, WRITES + 1):
        history.note_news(PEER, {author: index})
    history.note_news(PEER, {PEER: 1})
    history.note_news(PEER, {PEER: 2})
    replica.latest[PEER] = 1  # as if it had come
    history.note_news(PEER, {PEER: 3})
    assert {author: WRITES, PEER: 1} == history._acks.held(replica, PEER)
    replica.latest[PEER] = 3
    assert {author: WRITES, PEER: 3} == history._acks.held(replica, PEER)
    history.trim()
    assert length(database) == 0


def test_devices_cannot_fill_memory_with_what_they_claim_to_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The longest claim is dropped; its device counts again once it says all that it holds."""
    monkeypatch.setattr(acknowledgements, "CLAIMS_MAX", 20)
    database, history = history_with_writes()
    replica = database._document.replica
    author, other = replica.author, b"o" * 16
    invented = {bytes([number]) * 16: 1 for number in range(1, 12)}
    history.note_latest(other, {author: 1, b"x" * 16: 1})
    for peer in (PEER, other):
        history.note_news(peer, invented)
    assert 20 >= sum(map(len, (*history._acks._claims.values(), *history._acks._later.values())))
    history.note_news(other, invented)
    history.note_news(other, {author: WRITES})
    assert {} == history._acks.held(replica, other)
    history.note_latest(other, {author: WRITES})
    assert {author: WRITES} == history._acks.held(replica, other)
