"""The pair in one process, and with it the connection that every shipped transport gives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cytosol.errors import GraphError
from cytosol.graph.connection import Connection, ConnectionGroup
from cytosol.graph.transports.link import Link, read_hello
from cytosol.graph.transports.linked import LinkedConnection
from cytosol.graph.transports.memory import FRAMES_AT_ONCE, MemoryConnection, pair
from cytosol.limits import LINK_UNACKNOWLEDGED_MAX
from tests.graph.running import run


async def until_quiet() -> None:
    """Give the event loop so many turns that frames have gone both ways."""
    for _ in range(10):
        await asyncio.sleep(0)


def heard_by(connection: LinkedConnection) -> list[Any]:
    """Return a list that fills with what a connection receives."""
    heard: list[Any] = []
    connection.messages.listen(heard.append)
    return heard


# --- Without an event loop --------------------------------------------------------------------


def test_messages_of_one_side_come_out_of_the_other() -> None:
    """Without a loop they are there when `send` returns."""
    a, b = pair()
    heard = heard_by(b)
    a.send({"n": 1})
    a.send([2])
    assert [{"n": 1}, [2]] == heard
    assert ("a", "memory", False) == (a.id, a.type, a.offline)
    assert "<MemoryConnection 'a', memory, online>" == repr(a)
    assert all(isinstance(side, Connection) for side in (a, b))
    assert ["x", "y"] == [side.id for side in pair("x", "y")]


def test_messages_are_copies() -> None:
    """As over a network, nobody sees what the other does with them."""
    a, b = pair()
    heard = heard_by(b)
    message = {"list": [1]}
    a.send(message)
    heard[0]["list"].append(2)
    assert {"list": [1]} == message


def test_what_is_sent_while_apart_comes_after_the_reunion() -> None:
    """Once, and in order; disconnecting and reconnecting twice does no harm."""
    a, b = pair()
    heard = heard_by(b)
    a.send(1)
    a.disconnect()
    b.disconnect()
    assert (True, True) == (a.offline, b.offline)
    assert "offline" in repr(a)
    a.send(2)
    a.send(3)
    assert [1] == heard
    b.reconnect()
    a.reconnect()
    assert [1, 2, 3] == heard
    assert 0 == a.link.unacknowledged


def test_what_comes_before_the_first_listener_is_kept_for_it() -> None:
    """It is not acknowledged before somebody has it."""
    a, b = pair()
    a.send(1)
    a.send(2)
    assert 2 == a.link.unacknowledged
    heard = heard_by(b)
    assert [1, 2] == heard
    assert 0 == a.link.unacknowledged


def test_who_stops_listening_leaves_the_rest_to_the_next() -> None:
    """Each message goes to whoever listens when its turn comes."""
    a, b = pair()
    for number in range(3):
        a.send(number)
    inbox: list[int] = []

    def take_one(message: int) -> None:
        inbox.append(message)
        listening[0].cancel()

    async def main() -> list[int]:
        listening.append(b.messages.listen(take_one))
        await until_quiet()
        rest = heard_by(b)
        await until_quiet()
        return rest

    listening: list[Any] = []
    assert [1, 2] == run(main())
    assert [0] == inbox


def test_a_listener_may_answer_at_once() -> None:
    """Answers come after what was sent before; nothing is doubled or out of order."""
    a, b = pair()
    at_a, at_b = heard_by(a), heard_by(b)
    b.messages.listen(lambda message: b.send(("re", message)))
    a.messages.listen(lambda message: message[1] < 3 and a.send(message[1] + 1))
    a.send(1)
    assert [1, 2, 3] == at_b
    assert [["re", 1], ["re", 2], ["re", 3]] == at_a


def test_listeners_hear_when_the_other_side_comes_and_goes() -> None:
    """Each change once; what they raise is reported, not raised."""
    a, _ = pair()
    states: list[str] = []
    for event in ("online", "offline", "restart"):
        a.on(event, lambda connection, event=event: states.append(event))  # type: ignore[misc]  # mypy knows no default here
    a.disconnect()
    a.disconnect()
    a.reconnect()
    a.reconnect()
    assert ["offline", "online"] == states
    with pytest.raises(GraphError, match="there is no event 'update'"):
        a.on("update", print)


def test_closing_delivers_what_was_sent_and_ends_both_sides() -> None:
    """Nobody waits for a connection that is over."""
    a, b = pair()
    heard = heard_by(b)
    a.send("last")
    a.close("tired")
    a.close()
    assert ["last"] == heard
    assert a.messages.is_complete
    assert b.messages.is_complete
    assert "closed" in repr(a)
    assert "closed" in repr(b)
    for side in (a, b):
        with pytest.raises(GraphError, match="tired"):
            side.send("too late")
    a.reconnect()
    assert a.offline


def test_what_came_before_a_close_can_still_be_read() -> None:
    """The stream ends behind the last message, not before it."""
    a, b = pair()
    a.send("unread")
    a.close()
    assert not b.messages.is_complete
    assert ["unread"] == heard_by(b)
    assert b.messages.is_complete


def test_a_full_queue_raises_at_the_sender() -> None:
    """The other side is away for too long; what is queued stays."""
    a, b = pair()
    heard = heard_by(b)
    a.disconnect()
    for number in range(LINK_UNACKNOWLEDGED_MAX):
        a.send(number)
    with pytest.raises(GraphError, match="away, or too slow"):
        a.send("one too many")
    a.reconnect()
    assert list(range(LINK_UNACKNOWLEDGED_MAX)) == heard


@pytest.mark.parametrize("garbage", [{1, 2}, float("nan"), "\ud800", "x" * (2**24 + 1)], ids=type)
def test_what_cannot_be_sent_raises_at_the_sender(garbage: Any) -> None:
    """And the connection goes on."""
    a, b = pair()
    heard = heard_by(b)
    with pytest.raises(GraphError, match="this message cannot be sent"):
        a.send(garbage)
    a.send("x" * (2**24 - 2))
    assert [2**24 - 2] == list(map(len, heard))


# --- With an event loop ------------------------------------------------------------------------


def test_with_a_loop_messages_come_in_later_turns() -> None:
    """No listener is called from inside the sender."""

    async def main() -> tuple[list[int], list[int]]:
        a, b = pair()
        await until_quiet()
        heard = heard_by(b)
        a.send(1)
        before = list(heard)
        await until_quiet()
        return before, heard

    assert ([], [1]) == run(main())


def test_two_that_always_answer_leave_the_loop_its_turns() -> None:
    """At most FRAMES_AT_ONCE rounds go in one turn."""

    async def main() -> list[int]:
        a, b = pair()
        await until_quiet()
        heard = heard_by(b)
        for side in (a, b):
            side.messages.listen(side.send)
        a.send("ball")
        counts = []
        for _ in range(3):
            await asyncio.sleep(0)
            counts.append(len(heard))
        a.disconnect()
        return counts

    first, second, third = run(main())
    assert 0 < first < second < third <= 3 * FRAMES_AT_ONCE


def test_messages_can_be_read_by_async_for_until_the_other_side_closes() -> None:
    """The loop ends by itself."""

    async def main() -> list[int]:
        a, b = pair()
        for number in range(5):
            a.send(number)
        a.close()
        return [message async for message in b.messages]

    assert [0, 1, 2, 3, 4] == run(main())


def test_a_group_of_pairs_tells_who_said_what() -> None:
    """As a router sees it."""

    async def main() -> list[Any]:
        (near, far), (near2, far2) = pair("one", "x"), pair("two", "y")
        group, heard = ConnectionGroup(near, near2), []
        group.messages.listen(lambda item: heard.append((item[0], item[1].id)))
        far.send("from far")
        far2.send("from far2")
        await group.send("to all")
        await until_quiet()
        return [*heard, *[message for side in (far, far2) for message in side.link.take()]]

    assert [("from far", "one"), ("from far2", "two"), "to all", "to all"] == run(main())


@pytest.mark.parametrize("seed", range(20))
def test_random_partings_lose_and_double_nothing(seed: int) -> None:
    """Both sides send all the time, while they are parted and joined at any turn."""

    async def main() -> None:
        dice = random.Random(seed)
        sides = pair()
        heard = [heard_by(side) for side in sides]
        sent: list[list[int]] = [[], []]
        for number in range(400):
            which = dice.randrange(2)
            action = dice.random()
            if action < 0.7:
                sides[which].send(number)
                sent[which].append(number)
            elif action < 0.8:
                sides[which].disconnect()
            elif action < 0.9:
                sides[which].reconnect()
            else:
                await asyncio.sleep(0)
        sides[0].reconnect()
        await until_quiet()
        assert sent == heard[::-1]
        assert [0, 0] == [side.link.unacknowledged for side in sides]

    run(main())


# --- The runner of asyncio transports -----------------------------------------------------------


class Pipe:
    """One direction of a connection: what is sent comes out of the iteration, until closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2)
        self.error: Exception | None = None

    async def send(self, frame: str) -> None:
        if self.error is not None:
            raise self.error
        await self.queue.put(frame)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (frame := await self.queue.get()) is not None:
            yield frame


def test_run_carries_a_link_over_one_connection_after_another() -> None:
    """The server finds the link by the client's hello; each connection takes up where one ended."""

    async def main() -> None:
        client = LinkedConnection("server", "pipe", Link("client link", "kitchen"))
        server = LinkedConnection("kitchen", "pipe", Link("server link"), identity="me")
        to_client, to_server = heard_by(client), heard_by(server)
        for number in range(3):
            client.send(("c", number, 0))
            server.send(("s", number, 0))
            there, back = Pipe(), Pipe()
            calling = asyncio.ensure_future(client.run(back, there.send))
            first = await anext(aiter(there))
            assert ("client link", "kitchen") == (read_hello(first).link_id, read_hello(first).name)
            answering = asyncio.ensure_future(server.run(there, back.send, first=first))
            await until_quiet()
            for count in range(1, 5):
                client.send(("c", number, count))
                server.send(("s", number, count))
            await until_quiet()
            await until_quiet()
            await there.queue.put(None)
            await back.queue.put(None)
            assert "the connection ended" == await calling == await answering
            assert (True, True) == (client.offline, server.offline)
        expected = [[number, count] for number in range(3) for count in range(5)]
        assert expected == [message[1:] for message in to_server]
        assert expected == [message[1:] for message in to_client]
        assert "me" == server.identity

    run(main())


@pytest.mark.parametrize("seed", range(20))
def test_run_loses_and_doubles_nothing_over_connections_that_are_cut(seed: int) -> None:
    """Frames on their way are lost, one side notices late, and one of them may be cancelled."""

    async def main() -> None:
        dice = random.Random(seed)
        sides = [LinkedConnection(name, "pipe", Link(name)) for name in ("one", "other")]
        heard = [heard_by(side) for side in sides]
        sent: list[list[int]] = [[], []]
        for number in range(12):
            pipes = Pipe(), Pipe()
            running = [
                asyncio.ensure_future(side.run(pipes[which], pipes[1 - which].send))
                for which, side in enumerate(sides)
            ]
            for count in range(dice.randrange(12)):
                which = dice.randrange(2)
                message = 100 * number + count
                sides[which].send(message)
                sent[which].append(message)
                for _ in range(dice.randrange(6)):
                    await asyncio.sleep(0)
            for task in dice.sample(running, 2):
                if number < 11:
                    task.cancel()
                    await asyncio.sleep(0)
        for _ in range(500):
            await asyncio.sleep(0)
        assert sent == heard[::-1]
        assert [0, 0] == [side.link.unacknowledged for side in sides]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run(main())


def test_run_tells_why_a_connection_must_be_closed() -> None:
    """Garbage from the other side ends the connection with a reason, and raises nothing."""

    async def main() -> str:
        connection = LinkedConnection("x", "pipe", Link("x"))
        there, back = Pipe(), Pipe()
        running = asyncio.ensure_future(connection.run(back, there.send))
        await back.send("garbage")
        return await running

    assert "a frame is not JSON" in run(main())


def test_run_ends_when_either_side_says_bye() -> None:
    """`link.ended` tells not to come back."""

    async def main() -> tuple[str, str]:
        here, other = (LinkedConnection(name, "pipe", Link(name)) for name in ("here", "other"))
        there, back = Pipe(), Pipe()
        running = [
            asyncio.ensure_future(here.run(back, there.send)),
            asyncio.ensure_future(other.run(there, back.send)),
        ]
        await until_quiet()
        here.close("enough")
        reasons = await asyncio.gather(*running)
        assert other.link.ended
        assert other.messages.is_complete
        return reasons[0], reasons[1]

    assert ("closed by us: enough", "enough") == run(main())


def test_a_newer_connection_takes_the_place_of_the_older() -> None:
    """A client is back before the server has noticed that it was gone."""

    async def main() -> None:
        connection = LinkedConnection("x", "pipe", Link("x"))
        first, second = Pipe(), Pipe()
        older = asyncio.ensure_future(connection.run(Pipe(), first.send))
        await until_quiet()
        newer = asyncio.ensure_future(connection.run(Pipe(), second.send))
        assert "another connection has taken its place" == await older
        assert not newer.done()
        newer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await newer
        assert connection.offline

    run(main())


def test_what_a_socket_raises_comes_out_of_run() -> None:
    """The transport knows its own errors; the link is ready for the next connection."""

    async def main() -> None:
        connection = LinkedConnection("x", "pipe", Link("x"))
        there = Pipe()
        there.error = ConnectionResetError("reset")
        with pytest.raises(ConnectionResetError, match="reset"):
            await connection.run(Pipe(), there.send)
        assert connection._attachment is None

    run(main())


def test_an_attachment_that_was_replaced_is_dead() -> None:
    """Its late frames and its late end do not disturb the new one."""
    connection = LinkedConnection("x", "test", Link("x"))
    dropped: list[str] = []
    woken: list[int] = []
    older = connection.attach(lambda: woken.append(1), dropped.append)
    newer = connection.attach(lambda: woken.append(2), dropped.append)
    assert ["another connection has taken its place"] == dropped
    assert [1, 2] == woken
    assert None is older.next_frame()
    older.receive("garbage")
    older.lost()
    assert newer.is_current
    assert None is not newer.next_frame()
    assert 1 == len(dropped)
    newer.receive("garbage")
    assert 2 == len(dropped)
    assert not newer.is_current


def test_a_connection_that_was_closed_cannot_be_attached() -> None:
    """The transport is told at once."""
    a, b = pair()
    a.close()
    dropped: list[str] = []
    attachment = b.attach(lambda: None, dropped.append)
    assert ["the link has ended (closed by the other side: closed)"] == dropped
    assert not attachment.is_current


def test_a_restart_of_the_other_side_is_told_before_it_is_online() -> None:
    """Requests that it had got and not answered must be asked again."""
    connection = LinkedConnection("x", "test", Link("x"))
    events: list[str] = []
    for event in ("online", "offline", "restart"):
        connection.on(event, lambda _, event=event: events.append(event))  # type: ignore[misc]  # mypy knows no default here
    for link_id in ("first", "first", "second"):
        of = '"x"' if events else "null"
        attachment = connection.attach(lambda: None, lambda reason: None)
        attachment.receive(f'{{"hello":"{link_id}","of":{of},"seen":0,"v":1}}')
        attachment.lost()
    assert ["online", "offline"] * 2 + ["restart", "online", "offline"] == events


def test_a_hello_that_never_arrived_is_no_restart() -> None:
    """The other side is the same; it only had not heard of us."""
    connection = LinkedConnection("x", "test", Link("x"))
    restarts: list[LinkedConnection] = []
    connection.on("restart", restarts.append)
    for _ in range(2):
        attachment = connection.attach(lambda: None, lambda reason: None)
        attachment.receive('{"hello":"peer","of":null,"seen":0,"v":1}')
        assert not connection.offline
    assert [] == restarts


def test_a_callback_that_raises_does_not_disturb_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, where no loop runs."""
    a, b = pair()
    b.on("offline", lambda connection: 1 // 0)
    b.messages.listen(lambda message: 1 // 0)
    heard = heard_by(b)
    a.send(1)
    a.disconnect()
    a.reconnect()
    a.send(2)
    assert [1, 2] == heard
    assert "a callback for 'offline' of a connection raised" in caplog.text


def test_a_pair_is_made_of_memory_connections() -> None:
    """Both sides can part and join."""
    assert all(isinstance(side, MemoryConnection) for side in pair())
