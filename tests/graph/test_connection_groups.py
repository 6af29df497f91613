"""Connection groups: members by id, broadcasts that reach everybody, unions that follow."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cytosol.errors import BroadcastError, GraphError
from cytosol.graph.connection import Connection, ConnectionGroup, Stream
from tests.graph.running import run


class Peer:
    """A connection made by hand: what is sent is kept, what comes is emitted by the test."""

    def __init__(
        self, connection_id: str, type_name: str = "test", error: Exception | None = None
    ) -> None:
        self.id = connection_id
        self.type = type_name
        self.error = error
        self.sent: list[Any] = []
        self.emitters: list[Callable[[Any], None]] = []
        self.messages: Stream[Any] = Stream(self._publish)

    def send(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    def receive(self, message: Any) -> None:
        for emit in self.emitters:
            emit(message)

    def _publish(self, emit: Callable[[Any], None]) -> Callable[[], None]:
        self.emitters.append(emit)
        return lambda: self.emitters.remove(emit)


class SlowPeer(Peer):
    """A connection whose `send` must be awaited."""

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # both are allowed
        async def later() -> None:
            await asyncio.sleep(0)
            Peer.send(self, message)

        return later()


def ids(group: ConnectionGroup) -> list[str]:
    """Return the ids of the members, in order."""
    return [member.id for member in group]


def test_a_peer_is_a_connection() -> None:
    """The protocol asks for four things."""
    assert isinstance(Peer("a"), Connection)
    assert not isinstance("a", Connection)


def test_members_stand_in_the_order_in_which_they_came() -> None:
    """`get` finds them by id, `has` and `in` by id or connection."""
    a, b = Peer("a"), Peer("b")
    group = ConnectionGroup(a)
    assert b is group.add(b)
    assert ["a", "b"] == ids(group)
    assert 2 == len(group)
    assert a is group.get("a")
    assert None is group.get("c")
    assert group.has(a)
    assert group.has("b")
    assert a in group
    assert "b" in group
    assert 5 not in group
    assert "<ConnectionGroup of a, b>" == repr(group)
    assert "<ConnectionGroup of nobody>" == repr(ConnectionGroup())


@pytest.mark.parametrize("name", ["toString", "constructor", "__proto__", "__class__", "add", " "])
def test_any_text_is_an_id(name: str) -> None:
    """Names that mean something in a language mean nothing here."""
    group = ConnectionGroup()
    assert None is group.get(name)
    assert not group.has(name)
    peer = group.add(Peer(name))
    assert peer is group.get(name)
    assert peer is group.remove(name)
    assert not group.has(name)


def test_adding_again_does_nothing() -> None:
    """Nobody hears of it twice."""
    peer, added = Peer("a"), []
    group = ConnectionGroup(peer)
    group.on("add", added.append)
    group.add(peer)
    assert ([], ["a"]) == (added, ids(group))


def test_two_connections_cannot_have_one_id() -> None:
    """The second one would be dropped silently, so it raises."""
    group = ConnectionGroup(Peer("a"))
    with pytest.raises(GraphError, match="already has another connection with the id 'a'"):
        group.add(Peer("a"))


class Half:
    id = ""
    type = 5


def test_only_connections_are_added() -> None:
    """The error names all that is missing."""
    with pytest.raises(GraphError, match=r"is no connection; it lacks id: .*type: .*send: .*mess"):
        ConnectionGroup().add(Half())  # type: ignore[arg-type]  # that is the point
    with pytest.raises(GraphError, match="it lacks id"):
        ConnectionGroup(None)  # type: ignore[arg-type]  # that is the point


def test_ensure_makes_a_group_of_a_connection() -> None:
    """A group stays as it is."""
    group = ConnectionGroup()
    assert group is ConnectionGroup.ensure(group)
    assert ["a"] == ids(ConnectionGroup.ensure(Peer("a")))


def test_listeners_hear_of_members_that_come_and_go() -> None:
    """Also if one of them raises; an unknown event is an error."""
    heard: list[Any] = []

    async def main() -> list[str]:
        unseen: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unseen.append(context["message"])
        )
        group = ConnectionGroup()
        group.on("add", lambda member: 1 // 0)
        group.on("add", lambda member: heard.append(("add", member.id)))
        leaving = group.on("remove", lambda member: heard.append(("remove", member.id)))
        group.add(Peer("a"))
        assert None is group.remove("b")
        group.remove("a")
        leaving.cancel()
        leaving.cancel()
        group.add(Peer("b"))
        group.remove("b")
        return unseen

    assert 2 * ["a callback for 'add' of a group raised"] == run(main())
    assert [("add", "a"), ("remove", "a"), ("add", "b")] == heard
    with pytest.raises(GraphError, match="there is no event 'update'"):
        ConnectionGroup().on("update", print)


def test_filters_are_groups_of_now() -> None:
    """They do not follow."""
    group = ConnectionGroup(Peer("a", "websocket"), Peer("b", "http"))
    of_type = group.of_type("http")
    filtered = group.filter(lambda member: member.id == "a")
    group.add(Peer("c", "http"))
    assert (["b"], ["a"]) == (ids(of_type), ids(filtered))


# --- Sending -----------------------------------------------------------------------------------


def test_a_broadcast_reaches_everybody() -> None:
    """Without members that must be awaited it needs no loop."""
    a, b = Peer("a"), Peer("b")
    ConnectionGroup(a, b).send(1)
    assert ([1], [1]) == (a.sent, b.sent)


def test_a_broadcast_can_always_be_awaited() -> None:
    """Also to nobody, and to members that need not be awaited."""

    async def main() -> list[Any]:
        peer = Peer("a")
        await ConnectionGroup().send(0)
        await ConnectionGroup(peer).send(1)
        return peer.sent

    assert [1] == run(main())


def test_a_member_that_fails_keeps_nobody_from_the_message() -> None:
    """All errors are told together, by the ids of the connections."""
    a, b, c = Peer("a", error=OSError("gone")), Peer("b"), Peer("c", error=ValueError("full"))
    with pytest.raises(BroadcastError) as caught:
        ConnectionGroup(a, b, c).send(1)
    assert [1] == b.sent
    assert {"a": a.error, "c": c.error} == caught.value.errors
    assert "2 of 3 connections did not take the message: a: gone; c: full" == str(caught.value)


def test_members_that_must_be_awaited_are_sent_to_at_once() -> None:
    """Awaiting the broadcast waits for all of them and tells of all errors."""

    async def main() -> None:
        slow, broken = SlowPeer("slow"), SlowPeer("broken", error=OSError("gone"))
        at_once, late = Peer("at once", error=OSError("refused")), SlowPeer("late")
        sending = ConnectionGroup(slow, broken, at_once, late).send(1)
        with pytest.raises(BroadcastError) as caught:
            await sending
        assert {"broken", "at once"} == set(caught.value.errors)
        assert ([1], [1]) == (slow.sent, late.sent)

    run(main())


def test_a_member_that_is_cancelled_is_told_like_an_error() -> None:
    """It must not look as if the sender had been cancelled."""

    class Cancelled(Peer):
        def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # both are allowed
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            return future

    async def main() -> None:
        with pytest.raises(BroadcastError, match="a: sending was cancelled"):
            await ConnectionGroup(Cancelled("a")).send(1)

    run(main())


def test_a_member_may_leave_while_a_broadcast_goes_on() -> None:
    """Whoever was there when it began gets it."""
    group = ConnectionGroup()

    class Leaving(Peer):
        def send(self, message: Any) -> None:
            group.remove("b")

    group.add(Leaving("a"))
    b = Peer("b")
    group.add(b)
    group.send(1)
    assert [1] == b.sent


# --- Messages ----------------------------------------------------------------------------------


def test_messages_of_all_members_come_with_their_connection() -> None:
    """Also of those that come later, and no more of those that have gone."""
    a, b, c = Peer("a"), Peer("b"), Peer("c")
    group, heard = ConnectionGroup(a, b), []
    subscription = group.messages.listen(heard.append)
    group.add(c)
    for peer in (a, b, c):
        peer.receive("hello")
    group.remove("b")
    b.receive("unheard")
    assert [("hello", a), ("hello", b), ("hello", c)] == heard
    subscription.cancel()
    assert [[], [], []] == [a.emitters, b.emitters, c.emitters]
    group.add(Peer("d"))
    assert 3 == len(heard)


def test_listening_again_doubles_nothing() -> None:
    """Each opening of the stream listens to each member once."""
    a, heard = Peer("a"), []
    group = ConnectionGroup(a)
    group.messages.listen(print).cancel()
    group.messages.listen(heard.append)
    a.receive(1)
    assert [(1, a)] == heard


def test_a_member_that_cannot_be_read_keeps_nobody_else_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported."""

    def closed(emit: Callable[[Any], None]) -> None:
        raise OSError("closed")

    broken, b, heard = Peer("broken"), Peer("b"), []
    broken.messages = Stream(closed)
    group = ConnectionGroup(broken, b)
    group.messages.listen(heard.append)
    b.receive(1)
    group.remove("broken")
    assert [(1, b)] == heard
    assert "the messages of the connection 'broken' cannot be read" in caplog.text


# --- Unions ------------------------------------------------------------------------------------


def test_a_union_follows_both_groups() -> None:
    """The other group's members come first; edits of the union do not flow back."""
    mine, others = ConnectionGroup(Peer("a")), ConnectionGroup(Peer("b"))
    union = mine.union(others)
    assert ["b", "a"] == ids(union)
    mine.add(Peer("c"))
    others.add(Peer("d"))
    mine.remove("a")
    union.add(Peer("own"))
    assert ["b", "c", "d", "own"] == ids(union)
    assert (["c"], ["b", "d"]) == (ids(mine), ids(others))
    union.remove("c")
    assert mine.has("c")


def test_where_both_groups_have_an_id_who_was_there_first_counts() -> None:
    """At the beginning that is the other's; when it goes, mine takes its place and keeps it."""
    my_x, their_x = Peer("x"), Peer("x")
    mine, others = ConnectionGroup(my_x), ConnectionGroup(their_x)
    union, heard = mine.union(others), []
    union.on("add", lambda member: heard.append(("add", member)))
    union.on("remove", lambda member: heard.append(("remove", member)))
    assert their_x is union.get("x")
    mine.remove("x")
    mine.add(my_x)
    assert [] == heard
    others.remove("x")
    assert my_x is union.get("x")
    others.add(their_x)
    assert my_x is union.get("x")
    mine.remove("x")
    assert their_x is union.get("x")
    others.remove("x")
    assert None is union.get("x")
    assert ["remove", "add", "remove", "add", "remove"] == [event for event, _ in heard]


def test_who_joins_a_part_cannot_push_out_who_is_connected() -> None:
    """Not even a connection that was added to the union itself."""
    upstream, own, server = Peer("up"), Peer("own"), ConnectionGroup()
    union = ConnectionGroup(upstream).union(server)
    union.add(own)
    for name in ("up", "own"):
        server.add(Peer(name))
    assert upstream is union.get("up")
    assert own is union.get("own")
    server.remove("up")
    assert upstream is union.get("up")


def test_one_connection_in_both_groups_is_there_once() -> None:
    """It goes when neither group has it any more."""
    peer = Peer("x")
    mine, others, heard = ConnectionGroup(peer), ConnectionGroup(peer), []
    union = mine.union(others)
    union.messages.listen(heard.append)
    others.remove("x")
    peer.receive(1)
    assert [(1, peer)] == heard
    mine.remove("x")
    assert [] == ids(union)


def test_messages_of_a_union_are_those_of_both() -> None:
    """As long as somebody listens, the union lives."""
    a, b, heard = Peer("a"), Peer("b"), []
    mine, others = ConnectionGroup(), ConnectionGroup()
    mine.union(others).messages.listen(heard.append)
    gc.collect()
    mine.add(a)
    others.add(b)
    a.receive(1)
    b.receive(2)
    assert [(1, a), (2, b)] == heard


def test_a_forgotten_union_is_released() -> None:
    """The groups it followed do not keep it, nor what it listened with."""
    mine, others = ConnectionGroup(), ConnectionGroup()
    union = weakref.ref(mine.union(others))
    gc.collect()
    assert None is union()
    heard = mine.union(others)
    heard.messages.listen(print).cancel()
    union = weakref.ref(heard)
    del heard
    mine.add(Peer("b"))
    gc.collect()
    assert None is union()
    mine.add(Peer("a"))
    assert not mine._events
    assert not others._events
