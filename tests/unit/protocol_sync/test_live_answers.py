"""When live updates are answered: with what we write ourselves, or a moment later."""

from __future__ import annotations

from base64 import b64decode

from cytosol.limits import CALL_TIMEOUT_S
from cytosol.model.ids import format_id
from cytosol.protocol.effects import Answer, Call, Emit, Notify
from cytosol.protocol.live_sync import LIVE_CALLS_MAX, LIVE_RUN_MAX
from cytosol.protocol.sync import ANSWER_ALONG, ANSWER_AT_ONCE_BYTES, ANSWER_WITHIN_S
from tests.simulation.sync_machines import peer
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
    assert {peer(1): 1} == held.latest
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


def in_turn(bench: Bench, times: int) -> list[list[type]]:
    """Let the peer and us write in turn; return what goes out when we do."""
    sent = []
    for index in range(1, times + 1):
        assert [Emit] == live(bench, index)
        bench.replica.write("ours")
        sent.append(kinds(bench.local_changes()))
    return sent


def test_who_writes_in_turn_answers_several_together() -> None:
    """No packet for answers alone, few packets with any; and the update goes first."""
    bench = Bench().synced()
    several = [[Call]] * (ANSWER_ALONG - 1) + [[Call, *[Answer] * ANSWER_ALONG]]
    assert several == in_turn(bench, ANSWER_ALONG)
    assert [] == bench.timer(ANSWER_WITHIN_S)


def test_who_ceases_to_write_in_turn_is_answered_a_moment_later() -> None:
    """Also what came before our own update."""
    bench = Bench().synced()
    assert [[Call], [Call]] == in_turn(bench, 2)
    assert [Answer, Answer] == kinds(bench.timer(ANSWER_WITHIN_S))


def test_a_run_of_updates_is_answered_at_once_with_what_came_before() -> None:
    """The peer, which writes faster than we, would wait."""
    bench = Bench().synced()
    in_turn(bench, 1)
    assert [Emit] == live(bench, 2)
    assert [Emit, Answer, Answer, Answer] == live(bench, 3)


def test_who_writes_in_turn_never_has_too_many_unanswered() -> None:
    """Whatever the peer writes, if it answers nothing."""
    bench = Bench().synced()
    sent = []
    for index in range(1, LIVE_CALLS_MAX + 3):
        sent += live(bench, index)
        bench.replica.write("ours")
        sent += kinds(bench.local_changes())
    assert LIVE_CALLS_MAX == sent.count(Call)


def test_updates_of_the_peer_let_us_write_no_more_than_answers_would() -> None:
    """After each of them so many go out, and what is written then travels together."""
    bench = Bench().synced()
    for index in range(1, 3):
        calls = live(bench, index).count(Call)
        for _ in range(LIVE_RUN_MAX + 2):
            bench.replica.write("ours")
            calls += kinds(bench.local_changes()).count(Call)
        assert LIVE_RUN_MAX == calls


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


def live_with_news(bench: Bench, index: int) -> dict[str, object]:
    """Bring one more op of a peer that takes news; return the answer."""
    params = {"batch": batch((index, peer(1), index - 1, "x")), "latest": latest(index)}
    bench.request(LIVE, {**params, "news": True})
    (answer,) = bench.timer(ANSWER_WITHIN_S)
    assert isinstance(answer, Answer)
    assert isinstance(answer.result, dict)
    return answer.result


def test_an_answer_leaves_out_what_was_told_before() -> None:
    """It would grow with all devices that have ever written."""
    bench = Bench()
    bench.replica.write("ours")
    bench.theirs.import_batch(b64decode(batch((1, peer(2), 0, "ours"))), peer(2))
    bench.synced()
    ours = {format_id(peer(2)): 1}
    assert {**ours, **latest(1)} == live_with_news(bench, 1)["latest"]
    result = live_with_news(bench, 2)
    assert latest(2) == result["news"]
    assert "latest" not in result


def test_after_a_session_everything_is_told_again() -> None:
    """Answers from before it may not have been heard."""
    bench = Bench().synced()
    assert latest(1) == live_with_news(bench, 1)["latest"]
    assert latest(2) == live_with_news(bench, 2)["news"]
    bench.theirs.ops[peer(1)] = dict(bench.replica.ops[peer(1)])
    assert isinstance(bench.summary(f"{format_id(peer(1))}/9")[-1], Emit)
    assert latest(3) == live_with_news(bench, 3)["latest"]


def test_who_does_not_take_news_is_told_everything() -> None:
    """Each time."""
    bench = Bench().synced()
    live(bench, 1)
    bench.timer(ANSWER_WITHIN_S)
    live(bench, 2)
    (answer,) = bench.timer(ANSWER_WITHIN_S)
    assert isinstance(answer, Answer)
    assert isinstance(answer.result, dict)
    assert latest(2) == answer.result["latest"]


def sent_and_answered(bench: Bench, **result: object) -> list[type]:
    """Write something, have it answered with this, return the kinds of what comes of it."""
    bench.replica.write("ours")
    (call,) = bench.local_changes()
    state_hash, _ = bench.replica.held()
    return kinds(bench.result(call.call_id, {"hash": state_hash.hex(), **result}))


def test_news_in_an_answer_add_to_what_the_peer_holds() -> None:
    """What was told earlier still counts."""
    bench = Bench().synced()
    ours = format_id(peer(2))
    assert [] == sent_and_answered(bench, latest={ours: 1})
    assert [] == sent_and_answered(bench, news={ours: 2})
    assert {peer(2): 2} == bench.machine._link.view


def test_an_answer_without_what_was_sent_begins_a_session() -> None:
    """The peer did not take it in."""
    bench = Bench().synced()
    assert [Notify] == sent_and_answered(bench, news={})


def test_news_of_less_than_the_peer_held_begin_a_session() -> None:
    """Its history was replaced."""
    bench = Bench().synced()
    ours = format_id(peer(2))
    assert [] == sent_and_answered(bench, latest={ours: 1})
    assert [] == sent_and_answered(bench, news={ours: 2})
    assert [Notify] == sent_and_answered(bench, news={ours: 1})


def test_what_was_written_before_the_answer_goes_out_with_it() -> None:
    """Also if nobody has told the machine of it yet."""
    bench = Bench().synced()
    ours = format_id(peer(2))
    bench.replica.write("first")
    (call,) = bench.local_changes()
    bench.replica.write("second")
    answer = {"hash": bytes(64).hex(), "latest": {ours: 1}}
    assert [Call] == kinds(bench.result(call.call_id, answer))


def test_other_hashes_count_only_if_the_same_ops_are_there() -> None:
    """A write on its way to us is no difference; after it has come, one is."""
    bench = Bench().synced()
    ours = format_id(peer(2))
    bench.replica.write("ours")
    (call,) = bench.local_changes()
    other = {"hash": bytes(64).hex(), "news": {ours: 1, **latest(2)}}
    assert [] == kinds(bench.result(call.call_id, other))
    live(bench, 1)
    live(bench, 2)
    bench.replica.write("ours")
    (call,) = bench.local_changes()
    assert [Notify] == kinds(
        bench.result(call.call_id, {"hash": bytes(64).hex(), "news": {ours: 3}})
    )
