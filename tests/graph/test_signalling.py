"""Signals: what is a good one, what the two ends make of them, and who passes them on."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import GraphError
from cytosol.graph.connection import ConnectionGroup, Stream
from cytosol.graph.transports.signalling import (
    Malformed,
    Negotiation,
    Signal,
    Signalling,
    SignalRelay,
    Step,
    checked_description,
    is_signal,
    parse_signal,
)
from cytosol.limits import (
    SIGNAL_CANDIDATES_MAX,
    SIGNAL_DESCRIPTION_LENGTH_MAX,
    SIGNAL_NAME_LENGTH_MAX,
    SIGNAL_REASON_LENGTH_MAX,
)

SDP = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 127.0.0.1",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuv",
        "a=fingerprint:sha-256 00:11",
        "a=setup:actpass",
        "",
    ]
)
OFFER = Signal("offer", "a", "b", "1", SDP)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


class Wire:
    """A connection to nowhere that keeps what is sent and says what it is told to."""

    def __init__(self, name: str, *, offline: bool = False) -> None:
        self.id, self.type, self.offline = name, "test", offline
        self.sent: list[Any] = []
        self._emit: Any = None
        self.messages: Stream[Any] = Stream(self._publish)
        self.broken = False

    def send(self, message: Any) -> None:
        if self.broken:
            raise OSError("broken")
        self.sent.append(message)

    def say(self, message: Any) -> None:
        if self._emit is not None:
            self._emit(message)

    def _publish(self, emit: Any) -> Any:
        self._emit = emit
        return lambda: setattr(self, "_emit", None)


# --- Reading signals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signal",
    [OFFER, Signal("answer", "b", None, "1", SDP), Signal("refused", "b", "a", "1", "no"),
     Signal("bye", "a", "b", "1")],
)  # fmt: skip
def test_a_signal_is_read_as_it_was_written(signal: Signal) -> None:
    """Each of the four kinds."""
    assert signal == parse_signal(signal.to_json())


def test_what_else_a_connection_carries_is_no_signal() -> None:
    """Routers and signals may share one connection."""
    others: list[Any] = [{"type": "push"}, [], "signal", None, 1]
    assert not any(is_signal(message) for message in others)
    assert is_signal({"signal": None})


def _with(**changes: Any) -> dict[str, Any]:
    body = {**OFFER.to_json()["signal"], **changes}
    return {"signal": {key: value for key, value in body.items() if value is not ...}}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"signal": None}, "must be an object, not NoneType"),
        ({"signal": []}, "must be an object, not list"),
        (_with(v=2), "version 2, this program knows 1"),
        (_with(v=...), "version None"),
        (_with(kind="dance"), "unknown kind 'dance'; known are answer, bye, offer, refused"),
        (_with(kind=["offer"]), "unknown kind list"),
        (_with(kind="x" * 100), "x\\.\\.\\."),
        (_with(**{"from": ...}), '"from" of a signal must be text of 1 to 256 characters'),
        (_with(**{"from": ""}), '"from"'),
        (_with(to=5), '"to" of a signal must be text of 1 to 256 characters, it is 5'),
        (_with(session="s" * (SIGNAL_NAME_LENGTH_MAX + 1)), '"session"'),
        (_with(sdp=...), "must be text, not NoneType"),
        (
            _with(sdp="x" * (SIGNAL_DESCRIPTION_LENGTH_MAX + 1)),
            f"{SIGNAL_DESCRIPTION_LENGTH_MAX} are allowed",
        ),
    ],
)
def test_a_malformed_signal_is_refused_with_the_reason(message: Any, reason: str) -> None:
    """Each of the ways in which a signal can be wrong."""
    with pytest.raises(GraphError, match=reason):
        parse_signal(message)


def test_a_long_reason_is_cut() -> None:
    """SIGNAL_REASON_LENGTH_MAX characters of it are kept; none at all is no fault."""
    long = replace(OFFER, kind="refused", text="x" * (SIGNAL_REASON_LENGTH_MAX + 1))
    assert "x" * SIGNAL_REASON_LENGTH_MAX == parse_signal(long.to_json()).text
    assert "no reason was given" == parse_signal(_with(kind="refused")).text


@given(json_values)
def test_no_garbage_is_worse_than_malformed(body: Any) -> None:
    """Whatever JSON comes in as a signal: it is read, or refused with GraphError."""
    for message in ({"signal": body}, _with(sdp=body), _with(session=body, kind="refused")):
        with contextlib.suppress(GraphError):
            parse_signal(message)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("s=-", "s=é", "other than ASCII"),
        ("m=application", "m=audio", "one data channel and nothing else, it lists 1 media"),
        ("t=0 0", "m=video 9 RTP 0\r\nt=0 0", "it lists 2 media"),
        ("m=application 9", "x=", "it lists 0 media"),
        ("a=ice-ufrag:abcd", "", "lacks a=ice-ufrag"),
        ("a=ice-pwd:", "a=other:", "lacks a=ice-pwd"),
        ("a=fingerprint:", "a=other:", "lacks a=fingerprint"),
        ("a=setup:", "a=other:", "lacks a=setup"),
        ("a=sctp-port:5000", "", "lacks a=sctp-port"),
        ("a=sctp-port:5000", "a=sctp-port:many", "a=sctp-port .* must be one number"),
        ("a=sctp-port:5000", "a=sctp-port:0", "a=sctp-port .* is 0"),
        ("a=sctp-port:5000", "a=sctp-port:70000", "a=sctp-port .* is 70000"),
        ("a=sctp-port:5000", "a=sctp-port:1\r\na=sctp-port:2", "must be one number"),
        ("size:262144", "size:1000", "a=max-message-size .* is 1000"),
        ("size:262144", "size:" + "9" * 5_000, "must be one number"),
        (
            "s=-",
            "a=candidate:1\r\n" * (SIGNAL_CANDIDATES_MAX + 1),
            f"more than {SIGNAL_CANDIDATES_MAX}",
        ),
    ],
)
def test_a_description_of_more_than_a_data_channel_is_refused(
    old: str, new: str, reason: str
) -> None:
    """Before the library would open sockets for it."""
    with pytest.raises(GraphError, match=reason):
        checked_description(SDP.replace(old, new))


def test_a_description_may_leave_the_size_open() -> None:
    """RFC 8841: without the attribute, or with 0."""
    for line in ("a=max-message-size:0", "a=other"):
        sdp = SDP.replace("a=max-message-size:262144", line)
        assert sdp == checked_description(sdp)


# --- Who yields --------------------------------------------------------------------------------


def _ends() -> tuple[Negotiation, Negotiation]:
    return Negotiation("a", "nonce-a"), Negotiation("b", "nonce-b")


def _offer_of(end: Negotiation) -> Signal:
    return Signal("offer", end.me, None, end.offer(), SDP)


def _answer_of(end: Negotiation) -> Signal:
    assert end.session is not None
    end.answered()
    return Signal("answer", end.me, None, end.session, SDP)


def test_an_offer_is_answered_and_the_answer_taken() -> None:
    """The plain case."""
    a, b = _ends()
    assert b.receive(_offer_of(a)) is Step.ANSWER
    assert a.receive(_answer_of(b)) is Step.CONNECT
    assert a.session == b.session


def test_if_both_offer_at_once_the_lower_name_yields() -> None:
    """And it does not matter which offer arrives first."""
    for a_first in (True, False):
        a, b = _ends()
        from_a, from_b = _offer_of(a), _offer_of(b)
        if a_first:
            assert b.receive(from_a) is Step.REPEAT
            assert a.receive(from_b) is Step.ANSWER
        else:
            assert a.receive(from_b) is Step.ANSWER
            assert b.receive(from_a) is Step.REPEAT
        assert a.receive(from_b) is Step.REPEAT  # the repeated offer, once more
        assert b.receive(_answer_of(a)) is Step.CONNECT
        assert b.receive(_answer_of(a)) is Step.IGNORE
        assert a.session == b.session == from_b.session


def test_an_end_that_lost_the_connection_may_offer_again() -> None:
    """Whatever its name: the other end's offer was answered long ago."""
    a, b = _ends()
    a.receive(_offer_of(b))
    b.receive(_answer_of(a))
    assert b.receive(_offer_of(a)) is Step.ANSWER


def test_an_answer_to_an_attempt_that_is_over_is_ignored() -> None:
    """It came late; another offer of ours is under way, which they will answer as well."""
    a, b = _ends()
    b.receive(_offer_of(a))
    late = _answer_of(b)
    a.offer()
    assert a.receive(late) is Step.IGNORE
    a.drop()
    assert a.receive(replace(late, kind="refused")) is Step.IGNORE
    assert a.receive(replace(late, session="nonce-of-a-stranger")) is Step.IGNORE


def test_who_answers_an_offer_that_is_forgotten_gets_another_one() -> None:
    """An end that was made anew finds an offer to its predecessor, and yields its own for it."""
    old, b = _ends()
    forgotten = _offer_of(b)
    assert b.receive(Signal("bye", old.me, None, old.farewell())) is Step.LEAVE
    b.drop()
    a = Negotiation("a", "nonce-of-the-new-one")
    lost = _offer_of(a)
    assert a.receive(forgotten) is Step.ANSWER
    late = _answer_of(a)
    assert b.receive(lost) is Step.ANSWER
    assert a.receive(_answer_of(b)) is Step.RENEW
    assert b.receive(late) is Step.RENEW
    assert a.receive(_offer_of(b)) is Step.ANSWER
    assert b.receive(_answer_of(a)) is Step.CONNECT


def test_an_offer_whose_answer_could_not_be_sent_is_answered_when_it_is_repeated() -> None:
    """Unlike one that has its answer on the way."""
    a, b = _ends()
    offer = _offer_of(b)
    assert a.receive(offer) is Step.ANSWER
    a.offer()
    assert a.receive(offer) is Step.ANSWER
    a.answered()
    a.offer()
    assert a.receive(offer) is Step.IGNORE


def test_a_refused_attempt_fails_and_a_bye_is_for_good() -> None:
    """Only the refusal of the present attempt counts."""
    a, b = _ends()
    offer = _offer_of(a)
    assert a.receive(Signal("refused", "b", None, offer.session, "no")) is Step.FAIL
    assert a.receive(Signal("bye", b.me, None, "whatever")) is Step.LEAVE


def test_an_end_does_not_answer_its_own_echo() -> None:
    """A group that sends everything to everybody returns it."""
    a, _ = _ends()
    assert a.receive(_offer_of(a)) is Step.IGNORE


def test_two_ends_with_one_name_are_refused() -> None:
    """Neither could yield."""
    a, other = Negotiation("a", "nonce-1"), Negotiation("a", "nonce-2")
    a.offer()
    with pytest.raises(GraphError, match=r"both ends .* call themselves 'a'"):
        a.receive(_offer_of(other))


@given(st.lists(st.sampled_from(["a offers", "b offers", "to a", "to b"]), max_size=40))
def test_in_any_order_of_offers_both_ends_agree_in_the_end(steps: list[str]) -> None:
    """Whatever was offered and delivered before: once all is delivered, the sessions are one."""
    ends = dict(zip("ab", _ends(), strict=True))
    ways: dict[str, list[Signal]] = {"a": [], "b": []}  # to whom

    def deliver(name: str) -> None:
        other = "b" if name == "a" else "a"
        step = ends[name].receive(signal := ways[name].pop(0))
        if step is Step.ANSWER:
            ways[other].append(_answer_of(ends[name]))
        elif step is Step.REPEAT and signal.kind == "offer":
            session = ends[name].session
            assert session is not None
            kind = "offer" if session.startswith(f"nonce-{name}") else "answer"
            ways[other].append(Signal(kind, name, None, session, SDP))
        elif step is Step.RENEW:
            ways[other].append(_offer_of(ends[name]))

    for step in [*steps, "a offers"]:
        if step.endswith("offers"):
            ways["b" if step[0] == "a" else "a"].append(_offer_of(ends[step[0]]))
        elif ways[step[-1]]:
            deliver(step[-1])
    for _ in range(1_000):
        if not (waiting := [name for name in "ab" if ways[name]]):
            break
        deliver(waiting[0])
    else:
        pytest.fail("they never stop talking")
    assert ends["a"].session == ends["b"].session is not None


# --- Over connections --------------------------------------------------------------------------


def _hearing(over: Any, me: str, to: str | None = None) -> list[Signal | Malformed]:
    heard: list[Signal | Malformed] = []
    Signalling(over, me, to).listen(heard.append)
    return heard


def test_only_signals_to_this_end_are_heard() -> None:
    """Not those to others, nor those of third parties, nor what is no signal."""
    wire = Wire("server")
    heard = _hearing(wire, "b", "a")
    for message in ({"type": "push"}, _with(to="c"), _with(**{"from": "c"}), OFFER.to_json()):
        wire.say(message)
    assert [OFFER] == heard


def test_garbage_is_heard_as_malformed_with_its_answer() -> None:
    """The answer goes to whoever sent it, if that can be told, and is never answered itself."""
    wire = Wire("a")
    heard = _hearing(wire, "b", "a")
    for message in (_with(sdp=3), {"signal": 5}, _with(kind="refused", to=7), _with(session=1)):
        wire.say(message)
    answers = [fault.answer for fault in heard if isinstance(fault, Malformed)]
    reason = "a session description must be text, not int"
    assert [Signal("refused", "b", "a", "1", reason), None, None, None] == answers


def test_in_a_group_nobody_speaks_for_a_member() -> None:
    """The member that has the other end's id is used and believed, no other."""
    member, other = Wire("a"), Wire("x")
    group = ConnectionGroup(member, other)
    heard = _hearing(group, "b", "a")
    other.say(OFFER.to_json())
    assert [] == heard
    member.say(OFFER.to_json())
    assert [OFFER] == heard
    asyncio.run(Signalling(group, "b", "a").send(OFFER))
    assert [1, 0] == [len(member.sent), len(other.sent)]


def test_signals_are_not_kept_for_those_who_are_away() -> None:
    """They would be worthless when they arrive."""
    away, here = Wire("x", offline=True), Wire("y")
    assert Signalling(away, "b").offline
    signalling = Signalling(ConnectionGroup(away, here), "b", "a")
    assert not signalling.offline
    asyncio.run(signalling.send(OFFER))
    assert [0, 1] == [len(away.sent), len(here.sent)]


def test_a_relay_passes_signals_on_and_says_who_spoke() -> None:
    """By the connection that a signal came in by, whatever it says."""

    async def scenario() -> None:
        a, b, c = Wire("a"), Wire("b"), Wire("c")
        relay = SignalRelay(ConnectionGroup(a, b, c))
        a.say(OFFER.to_json())
        c.say(OFFER.to_json())
        assert [OFFER.to_json(), replace(OFFER, sender="c").to_json()] == b.sent
        await relay.close()
        a.say(OFFER.to_json())
        assert [2, 0, 0] == [len(b.sent), len(a.sent), len(c.sent)]

    asyncio.run(scenario())


def test_a_relay_survives_whatever_comes_in() -> None:
    """Garbage is refused, signals to nobody are dropped, a broken member harms nobody."""

    async def scenario() -> None:
        a, b, away = Wire("a"), Wire("b"), Wire("away", offline=True)
        relay = SignalRelay(ConnectionGroup(a, b, away))
        b.broken = True
        for to in ("nobody", "a", "b", "away", ...):
            a.say(_with(to=to))
        for message in ({"type": "push"}, {"signal": 1}, _with(sdp=1)):
            a.say(message)
        reason = "a session description must be text, not int"
        assert [Signal("refused", "relay", "a", "1", reason).to_json()] == a.sent
        assert [] == away.sent
        await relay.close()

    asyncio.run(scenario())


class SlowWire(Wire):
    """A connection whose `send` must be awaited, and never ends."""

    def send(self, message: Any) -> Any:
        super().send(message)
        return asyncio.get_running_loop().create_future()


def test_a_relay_does_not_wait_for_slow_members_and_leaves_nothing_behind() -> None:
    """What is on its way when the relay is closed is given up."""

    async def scenario() -> None:
        a, slow = Wire("a"), SlowWire("b")
        relay = SignalRelay(ConnectionGroup(a, slow))
        a.say(OFFER.to_json())
        a.say(OFFER.to_json())
        await asyncio.sleep(0)
        assert [OFFER.to_json()] * 2 == slow.sent
        await relay.close()
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(scenario())
