"""WebRTC connections: two real peers in one process, on the loopback address only."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Any

import aioice.ice
import aioice.stun
import pytest

from cytosol.errors import GraphError
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.transports import channel_peer, webrtc
from cytosol.graph.transports.linked import LinkedConnection
from cytosol.graph.transports.memory import MemoryConnection, pair
from cytosol.graph.transports.signalling import Signal, SignalRelay
from cytosol.graph.transports.webrtc import IceServer, WebRtcConnection, connect
from cytosol.limits import SIGNALS_WAITING_MAX
from tests.graph.running import run

LOOPBACK: dict[str, Any] = {"addresses": ["127.0.0.1"], "delays": lambda: repeat(0.01)}


class Ends:
    """Both ends, and what they are arranged over; `a_over` leads to b."""

    def __init__(self) -> None:
        self.a_over, self.b_over = pair("b", "a")
        self.a = WebRtcConnection(self.a_over, "b", me="a", **LOOPBACK)
        self.b = WebRtcConnection(self.b_over, "a", me="b", **LOOPBACK)
        self.heard_a = Heard(self.a)
        self.heard_b = Heard(self.b)

    async def open(self) -> None:
        await asyncio.gather(self.a.open(), self.b.open())


class Heard:
    """The messages that a connection gave, and a way to wait for so many."""

    def __init__(self, connection: Any) -> None:
        self.messages: list[Any] = []
        self._came = asyncio.Event()
        connection.messages.listen(self._hear)

    def _hear(self, message: Any) -> None:
        self.messages.append(message)
        self._came.set()

    async def until(self, count: int) -> list[Any]:
        """Return the messages as soon as there are so many."""
        while len(self.messages) < count:
            self._came.clear()
            await self._came.wait()
        return self.messages


@asynccontextmanager
async def two_ends(*, is_open: bool = True) -> AsyncIterator[Ends]:
    """Give both ends, open unless said otherwise; whatever they leave behind fails the test."""
    before = asyncio.all_tasks()
    ends = Ends()
    try:
        if is_open:
            await ends.open()
        yield ends
    finally:
        await asyncio.gather(ends.a.close(), ends.b.close())
        ends.a_over.close()
        ends.b_over.close()
    await _nothing_is_left(before)


async def _nothing_is_left(before: set[asyncio.Task[Any]]) -> None:
    left = asyncio.all_tasks() - before
    assert not left, f"tasks are left behind: {left}"


async def _event(connection: WebRtcConnection, name: str) -> None:
    happened = asyncio.Event()
    subscription = connection.on(name, lambda _: happened.set())
    await happened.wait()
    subscription.cancel()


# --- Messages ----------------------------------------------------------------------------------


def test_messages_go_both_ways() -> None:
    """All of them, in order, whatever JSON they are; both ends offered at once."""

    async def scenario() -> None:
        async with two_ends() as ends:
            assert not ends.a.offline
            assert ("webrtc-b", "webrtc") == (ends.a.id, ends.a.type)
            sent: list[Any] = [{"i": i, "é": [None, True, 1.5, "\U0001f600"]} for i in range(200)]
            for message in sent:
                ends.a.send(message)
                ends.b.send(message)
            assert sent == await ends.heard_b.until(200)
            assert sent == await ends.heard_a.until(200)

    run(scenario())


def test_a_large_message_arrives_whole() -> None:
    """In many pieces, between small ones."""

    async def scenario() -> None:
        async with two_ends() as ends:
            sent = ["before", "ä" * 200_000, "between", "x" * 16_384, "after"]
            for message in sent:
                ends.a.send(message)
            assert sent == await ends.heard_b.until(len(sent))

    run(scenario())


def test_messages_sent_before_the_channel_is_open_are_kept() -> None:
    """`send` may be used at once."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            assert ends.a.offline
            ends.a.send("early")
            await ends.open()
            assert ["early"] == await ends.heard_b.until(1)

    run(scenario())


def test_the_end_that_comes_later_finds_the_one_that_waits() -> None:
    """The first one's offer had nobody to hear it."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            opening = asyncio.ensure_future(ends.a.open())
            while ends.a._peer is None or not ends.a._peer.description:
                await asyncio.sleep(0)
            await ends.b.open()
            assert await opening is ends.a

    run(scenario())


# --- Loss --------------------------------------------------------------------------------------


def test_nothing_is_lost_or_doubled_when_the_channel_is_lost() -> None:
    """Again and again, from both ends, in the middle of messages both ways."""

    async def scenario() -> None:
        async with two_ends() as ends:
            for i in range(200):
                ends.a.send(i)
                ends.b.send(-i)
                if i % 50 == 25:
                    await ends.heard_b.until(i // 2)
                    (ends.a if i % 100 == 25 else ends.b).reconnect()
            assert list(range(200)) == await ends.heard_b.until(200)
            assert [-i for i in range(200)] == await ends.heard_a.until(200)
            ends.a.send("last")
            assert "last" == (await ends.heard_b.until(201))[-1]

    run(scenario())


def test_a_channel_lost_in_the_middle_of_a_large_message_loses_nothing() -> None:
    """The pieces that came are forgotten; the message comes again."""

    async def scenario() -> None:
        async with two_ends() as ends:
            ends.a.send("x" * 300_000)
            while (peer := ends.b._peer) is None or peer._assembler._begun is None:
                await asyncio.sleep(0)
            ends.b.reconnect()
            ends.a.send("next")
            assert ["x" * 300_000, "next"] == await ends.heard_b.until(2)

    run(scenario())


def test_both_ends_notice_a_loss() -> None:
    """And both tell when the channel is there again."""

    async def scenario() -> None:
        async with two_ends() as ends:
            watching = [
                asyncio.ensure_future(_event(end, event))
                for end in (ends.a, ends.b)
                for event in ("offline", "online")
            ]
            await asyncio.sleep(0)
            ends.a.reconnect()
            await asyncio.gather(*watching)
            assert ends.a.problem is None

    run(scenario())


def test_a_lost_channel_comes_back_when_the_way_to_arrange_it_does() -> None:
    """Nothing is offered to those who are away."""

    async def scenario() -> None:
        async with two_ends() as ends:
            ends.a_over.disconnect()
            ends.a.reconnect()
            assert ends.a.offline
            ends.a.send("waits")
            ends.a_over.reconnect()
            assert ["waits"] == await ends.heard_b.until(1)

    run(scenario())


def test_an_end_that_left_is_not_called_but_may_come_back() -> None:
    """With a new connection: the other end goes on, and what it sent meanwhile arrives."""

    async def scenario() -> None:
        async with two_ends() as ends:
            went = asyncio.ensure_future(_event(ends.a, "offline"))
            await asyncio.sleep(0)
            await ends.b.close()
            await went
            while "has left" not in str(ends.a.problem):
                await asyncio.sleep(0)
            ends.a.send("while you were away")
            restarted = asyncio.ensure_future(_event(ends.a, "restart"))
            await asyncio.sleep(0)
            async with WebRtcConnection(ends.b_over, "a", me="b", **LOOPBACK) as again:
                assert ["while you were away"] == await Heard(again).until(1)
            await restarted

    run(scenario())


def test_what_was_sent_before_close_arrives() -> None:
    """`close` waits for it, not for ever."""

    async def scenario() -> None:
        async with two_ends() as ends:
            for i in range(100):
                ends.a.send(i)
            await ends.a.close()
            assert list(range(100)) == ends.heard_b.messages

    run(scenario())


def test_an_offer_that_nobody_answers_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; the problem can be read meanwhile."""
    monkeypatch.setattr(webrtc, "ATTEMPT_TIMEOUT", 0.05)

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            heard = Heard(ends.b_over)
            opening = asyncio.ensure_future(ends.a.open())
            first, second = [m["signal"] for m in (await heard.until(2))[:2]]
            assert ["offer"] * 2 == [first["kind"], second["kind"]]
            assert first["session"] != second["session"]
            assert "no channel came about in 0.05 seconds" in str(ends.a.problem)
            opening.cancel()

    run(scenario())


def test_no_more_attempts_are_made_when_the_delays_end() -> None:
    """Then it waits for the other end to call."""

    async def scenario() -> None:
        a_over, b_over = pair("b", "a")
        a_over.disconnect()
        a = WebRtcConnection(a_over, "b", me="a", addresses=["127.0.0.1"], delays=lambda: ())
        opening = asyncio.ensure_future(a.open())
        await asyncio.sleep(0)
        a_over.reconnect()
        async with WebRtcConnection(b_over, "a", me="b", **LOOPBACK):
            assert await opening is a
            await a.close()

    run(scenario())


def test_an_end_that_says_goodbye_in_the_channel_has_ended_the_connection() -> None:
    """What came before is read first, then `messages` ends; it cannot be opened again."""

    async def scenario() -> None:
        async with two_ends() as ends:
            ends.b.send("last")
            LinkedConnection.close(ends.b, "enough")
            while ends.a.link.ended is None or not ends.a.messages.is_complete:
                await asyncio.sleep(0)
            assert ["last"] == ends.heard_a.messages
            with pytest.raises(GraphError, match="was closed"):
                await ends.a.open()
            assert ends.a._runner is not None
            await ends.a._runner
            assert "closed by the other side: enough" in str(ends.a.problem)

    run(scenario())


def test_a_way_to_arrange_it_that_fails_is_tried_again() -> None:
    """Why it failed can be read meanwhile."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            problems: list[str] = []
            send = ends.a_over.send

            def fail(message: Any) -> None:
                problems.append(str(ends.a.problem))
                if len(problems) < 3:
                    raise OSError("broken")
                send(message)

            ends.a_over.send = fail  # type: ignore[method-assign]  # to let it fail
            await asyncio.gather(ends.a.open(), ends.b.open())
            assert "None" == problems[0]
            assert "broken" in problems[1]
            assert ends.a.problem is None

    run(scenario())


def test_a_message_that_overtakes_the_end_of_the_handshake_is_not_lost() -> None:
    """The channel hands it out before it says that it is open."""

    async def scenario() -> None:
        async with two_ends() as ends:
            peer = ends.a._peer
            assert peer is not None
            seen: list[Any] = []
            owner: Any = ends.a
            owner.peer_opened = lambda _: seen.append("open")
            owner.peer_received = lambda _, frame: seen.append(frame)
            peer._early = []
            peer._received("hello")
            assert [] == seen
            peer._opened()
            assert ["open", "hello"] == seen
            peer._early = []
            for _ in range(channel_peer.EARLY_MESSAGES_MAX + 1):
                peer._received("more")
            assert not peer.is_open
            del owner.peer_opened, owner.peer_received

    run(scenario())


# --- Closing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 30, 60, 100, 300, 1_000])
def test_close_leaves_nothing_behind_at_any_moment(turns: int) -> None:
    """Before the offer, in the middle of the handshake, and after."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            opening = asyncio.gather(ends.a.open(), ends.b.open(), return_exceptions=True)
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.gather(ends.a.close(), ends.b.close())
            await opening

    run(scenario())


def test_close_leaves_nothing_behind_while_the_channel_is_made_anew() -> None:
    """The old channel is being closed at that moment."""

    async def scenario() -> None:
        for turns in range(6):
            async with two_ends() as ends:
                ends.a.reconnect()
                for _ in range(turns):
                    await asyncio.sleep(0)

    run(scenario())


def test_a_connection_that_was_never_opened_can_be_closed() -> None:
    """More than once, too."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            await ends.a.close()
            await ends.a.close()
            with pytest.raises(GraphError, match="was closed: make a new one"):
                await ends.a.open()
            with pytest.raises(GraphError, match="nothing can be sent"):
                ends.a.send("late")

    run(scenario())


def test_who_waits_for_the_other_end_is_told_when_it_is_closed() -> None:
    """Nobody waits for ever."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            opening = asyncio.ensure_future(ends.a.open())
            await asyncio.sleep(0)
            await ends.a.close()
            with pytest.raises(GraphError, match="'webrtc-b' was closed"):
                await opening

    run(scenario())


# --- Garbage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        ("not json", "not JSON"),
        ('{"n":1}', "must be one of"),
        ('{"m":"x","n":7}', "out of order"),
        (b"\x07", "broke the framing"),
        (b"\x01\xff\xff", "not JSON"),
    ],
)
def test_garbage_in_the_channel_ends_the_channel_and_nothing_else(
    garbage: Any, reason: str
) -> None:
    """The link goes on over the next one; the reason can be read meanwhile."""

    async def scenario() -> None:
        async with two_ends() as ends:
            problems: list[str] = []
            ends.a.on("offline", lambda _: problems.append(str(ends.a.problem)))
            fail = ends.a._fail

            async def noting(problem: GraphError) -> None:
                problems.append(str(problem))
                await fail(problem)

            ends.a._fail = noting  # type: ignore[method-assign]  # to read the reason
            assert ends.b._peer is not None
            ends.b._peer._channel.send(garbage)
            ends.b.send("good")
            assert ["good"] == await ends.heard_a.until(1)
            assert any(re.search(reason, problem) for problem in problems), problems

    run(scenario())


def test_garbage_in_signals_is_refused_and_the_channel_comes_all_the_same() -> None:
    """Before, between and after what the ends say."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            answers = Heard(ends.b_over)
            bad: list[Any] = [
                {"signal": None},
                {"signal": {"v": 1, "kind": "offer", "from": "b", "to": "a", "session": "1"}},
                {"signal": {"v": 1, "kind": "answer", "from": "b", "session": "2", "sdp": "m=x"}},
                {"type": "push"},
            ]
            for message in bad:
                ends.b_over.send(message)
            await ends.open()
            for message in bad:
                ends.b_over.send(message)
            ends.a.send("good")
            assert ["good"] == await ends.heard_b.until(1)
            refused = [m["signal"] for m in answers.messages if m["signal"]["kind"] == "refused"]
            reasons = {body["session"]: body["reason"] for body in refused}
            assert "must be text, not NoneType" in reasons["1"]
            assert "one data channel and nothing else" in reasons["2"]

    run(scenario())


async def _offer_heard_by(over: MemoryConnection) -> Signal:
    message: Any = (await Heard(over).until(1))[0]
    body = message["signal"]
    return Signal(body["kind"], body["from"], body["to"], body["session"], body["sdp"])


def test_a_description_that_the_library_cannot_read_is_refused() -> None:
    """An answer that looks right, and is not."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            opening = asyncio.ensure_future(ends.a.open())
            offer = await _offer_heard_by(ends.b_over)
            heard = Heard(ends.b_over)
            sdp = offer.text.replace("a=candidate:", "a=candidate:x ", 1)
            ends.b_over.send(Signal("answer", "b", "a", offer.session, sdp).to_json())
            refused = (await heard.until(1))[0]["signal"]
            assert "refused" == refused["kind"]
            assert "the answer cannot be used" in refused["reason"]
            assert "the answer cannot be used" in str(ends.a.problem)
            opening.cancel()

    run(scenario())


def test_who_is_refused_is_told_why() -> None:
    """`open` raises with what the other end said."""

    async def scenario() -> None:
        async with two_ends(is_open=False) as ends:
            opening = asyncio.ensure_future(ends.a.open())
            offer = await _offer_heard_by(ends.b_over)
            signal = Signal("refused", "b", "a", offer.session, "not you")
            ends.b_over.send(signal.to_json())
            with pytest.raises(GraphError, match="refused the connection: not you"):
                await opening

    run(scenario())


def test_a_flood_of_signals_does_not_pile_up() -> None:
    """What is more than honest ends send is dropped."""

    async def scenario() -> None:
        async with two_ends() as ends:
            for i in range(1_000):
                ends.b_over.send(Signal("answer", "b", "a", str(i), _SDP).to_json())
            while not ends.a._inbox.qsize():
                await asyncio.sleep(0)
            assert ends.a._inbox.qsize() <= SIGNALS_WAITING_MAX
            ends.a.send("good")
            assert ["good"] == await ends.heard_b.until(1)

    run(scenario())


_SDP = "\n".join(
    ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "a=ice-ufrag:abcd",
     "a=ice-pwd:abcdefghijklmnopqrstuv", "a=fingerprint:sha-256 00", "a=setup:actpass"]
)  # fmt: skip


# --- Names, addresses, servers -----------------------------------------------------------------


def test_two_ends_with_one_name_are_told_so() -> None:
    """Neither could yield to the other."""

    async def scenario() -> None:
        a_over, b_over = pair()
        ends = [WebRtcConnection(over, me="same", **LOOPBACK) for over in (a_over, b_over)]
        try:
            with pytest.raises(GraphError, match=r"both ends .* call themselves 'same'"):
                await asyncio.gather(*[end.open() for end in ends])
        finally:
            await asyncio.gather(*[end.close() for end in ends])

    run(scenario())


def test_names_may_be_left_out_over_a_connection_that_leads_to_the_other_end() -> None:
    """Each end then has a random one."""

    async def scenario() -> None:
        a_over, b_over = pair("b", "a")
        a, b = await asyncio.gather(connect(a_over, **LOOPBACK), connect(b_over, **LOOPBACK))
        assert ["webrtc-b", "webrtc-a"] == [a.id, b.id]
        await asyncio.gather(a.close(), b.close())

    run(scenario())


def test_names_that_cannot_work_are_refused_at_once() -> None:
    """A group without a name in it, and one name for both ends."""
    over, _ = pair()
    with pytest.raises(GraphError, match="name the member of the group"):
        WebRtcConnection(ConnectionGroup(over))
    with pytest.raises(GraphError, match="both named 'x'"):
        WebRtcConnection(over, "x", me="x")


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first use, and as the package's own error."""
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(GraphError, match=re.escape("install cytosol[webrtc]")):
        WebRtcConnection(pair()[0], "b")


def test_ends_meet_through_a_server_that_passes_signals_on() -> None:
    """Each end is connected with the server only; others there hear nothing."""

    async def scenario() -> None:
        pairs = [pair("server", name) for name in "abc"]
        relay = SignalRelay(ConnectionGroup(*[server for _, server in pairs]))
        other = Heard(pairs[2][0])
        a, b = await asyncio.gather(
            connect(pairs[0][0], "b", me="a", **LOOPBACK),
            connect(pairs[1][0], "a", me="b", **LOOPBACK),
        )
        heard = Heard(b)
        a.send("hello")
        assert ["hello"] == await heard.until(1)
        assert [] == other.messages
        await asyncio.gather(a.close(), b.close())
        await relay.close()

    run(scenario())


def _candidates(sdp: str) -> list[tuple[str, str]]:
    """Return the address and the type of each candidate of a description."""
    return re.findall(r"a=candidate:\S+ \d udp \d+ (\S+) \d+ typ (\S+)", sdp)


def _offered(**options: Any) -> list[tuple[str, str]]:
    async def scenario() -> list[tuple[str, str]]:
        before = asyncio.all_tasks()
        a_over, b_over = pair("b", "a")
        a = WebRtcConnection(a_over, "b", me="a", **options)
        opening = asyncio.ensure_future(a.open())
        offer = await _offer_heard_by(b_over)
        await a.close()
        await asyncio.gather(opening, return_exceptions=True)
        await _nothing_is_left(before)
        return _candidates(offer.text)

    return run(scenario())


def test_only_the_addresses_that_were_given_are_offered() -> None:
    """And no server is asked unless one is named."""
    assert [("127.0.0.1", "host")] == _offered(addresses=["127.0.0.1"])


def test_a_machine_without_a_network_offers_its_loopback_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that two programs on it can meet."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    assert [("127.0.0.1", "host")] == _offered()


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody the same address from outside (RFC 8489)."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        asked = aioice.stun.parse_message(data)
        answer = aioice.stun.Message(
            message_method=asked.message_method,
            message_class=aioice.stun.Class.RESPONSE,
            transaction_id=asked.transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.7", 4_242)
        self.transport.sendto(bytes(answer), address)


def test_a_server_that_is_named_is_asked_for_our_address_from_outside() -> None:
    """Its answer stands in the offer beside our own addresses."""

    async def scenario() -> list[tuple[str, str]]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        a_over, b_over = pair("b", "a")
        servers: list[IceServer] = [
            f"stun:127.0.0.1:{port}",
            ("turn:127.0.0.1:1?transport=sctp", "name", "word"),
        ]
        a = WebRtcConnection(a_over, "b", me="a", addresses=["127.0.0.1"], ice_servers=servers)
        opening = asyncio.ensure_future(a.open())
        offer = await _offer_heard_by(b_over)
        await a.close()
        transport.close()
        await asyncio.gather(opening, return_exceptions=True)
        return _candidates(offer.text)

    assert [("127.0.0.1", "host"), ("192.0.2.7", "srflx")] == run(scenario())
