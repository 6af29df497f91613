"""When live updates are answered: with what we write ourselves, or a moment later."""

from __future__ import annotations

from cytosol.limits import CALL_TIMEOUT_S
from cytosol.model.ids import format_id
from cytosol.protocol.effects import Answer, Call, Emit, Notify
from cytosol.protocol.sync import ANSWER_AT_ONCE_BYTES, ANSWER_WITHIN_S
from tests.simulation.sync_world import peer
from tests.unit.protocol_sync.test_sync_machine_refusals import (
    LIVE,
    SUMMARY,
    Bench,
    batch,
    kinds,
)


def latest(index: int) -> dict[str, int]:
    """Return what we say that we hold."""
    return {format_id(peer(1)): index}


def live(bench: Bench, index: int, text: str = "x") -> list[type]:
    """Bring one more op of the peer; return the kinds of what comes of it."""
    params = {"batch": batch((index, peer(1), index - 1, text)), "latest": latest(index)}
    return kinds(bench.request(LIVE, params))


def test_a_lone_update_is_answered_a_moment_later() -> None:
    """Long before the caller loses patience."""
    assert ANSWER_WITHIN_S < CALL_TIMEOUT_S / 10
    bench = Bench().synced()
    assert [Emit] == live(bench, 1)
    assert bench.now + ANSWER_WITHIN_S == bench.machine.next_deadline()
    assert [] == bench.timer(ANSWER_WITHIN_S / 2)
    (answer,) = bench.timer(ANSWER_WITHIN_S)
    state_hash, held = bench.replica.held()
    assert {peer(1): 1} == held
    assert Answer(1, {"hash": state_hash.hex(), "latest": latest(1)}) == answer
    assert bench.machine.next_deadline() is None


def test_the_second_one_is_answered_at_once_with_the_first() -> None:
    """The peer has no more than two on their way, and would wait."""
    bench = Bench().synced()
    assert [Emit] == live(bench, 1)
    assert [Emit, Answer, Answer] == live(bench, 2)
    assert [Emit] == live(bench, 3)


def test_a_long_one_is_answered_at_once() -> None:
    """There is more where it comes from."""
    bench = Bench().synced()
    assert [Emit, Answer] == live(bench, 1, "x" * ANSWER_AT_ONCE_BYTES)


def test_the_answer_goes_with_what_we_write() -> None:
    """One packet less; and the update goes first, because somebody waits for it."""
    bench = Bench().synced()
    assert [Emit] == live(bench, 1)
    bench.replica.write("ours")
    assert [Call, Answer] == kinds(bench.local_changes())
    assert [] == bench.timer(ANSWER_WITHIN_S)


def test_nothing_is_owed_when_nothing_came() -> None:
    """What we write first has no answer with it."""
    bench = Bench().synced()
    bench.replica.write("ours")
    assert [Call] == kinds(bench.local_changes())


def test_a_session_that_begins_is_not_waited_for() -> None:
    """The peer may begin one while it waits for our answer."""
    bench = Bench().synced()
    assert [Emit] == live(bench, 1)
    effects = bench.summary(f"{format_id(peer(1))}/9")
    assert [Answer, Notify] == kinds(effects)[:2]


def test_after_the_end_nothing_is_answered() -> None:
    """The connection is closed then."""
    bench = Bench().synced()
    assert [Emit] == live(bench, 1)
    bench.notify(SUMMARY, {"session": 1})
    assert [] == bench.timer(ANSWER_WITHIN_S)
    assert bench.machine.next_deadline() is None
