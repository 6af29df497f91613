"""Paired devices as connections: what joins, what travels, in which loop, and how it ends."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from cytosol.database.connections import EVENTS_WAITING_MAX, DeviceConnection
from cytosol.errors import GraphError, PermissionDeniedError
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.rules import Route
from cytosol.graph.transports.link import FRAME_BYTES_MAX
from cytosol.graph.transports.memory import pair
from cytosol.limits import GRAPH_PIECE_LENGTH_MAX, GRAPH_PIECES_WAITING_MAX
from cytosol.protocol.events import GraphClosed, GraphOpened, GraphPiece, GraphTaken
from tests.graph.routing import settle, until
from tests.graph.running import run
from tests.unit.database.device_lines import IDS, Line, Side

THIRD = "33333333-3333-3333-3333-333333333333"


def visit(line: Line) -> tuple[Side, Side]:
    """Use both groups in the running loop, as `db.connections` does, and connect."""
    for side in line.sides:
        side.group.visit()
    line.connect()
    return line.sides


async def snapshot(graph: Graph, key: str, **options: Any) -> dict[str, Any]:
    """Return what a graph reads of a node that is there."""
    node = await graph.read(key, **options)
    assert node is not None
    return node.snapshot()


def heard(side: Side) -> list[Any]:
    """Return what comes on the connection of a side from now on."""
    got: list[Any] = []
    side.connection.messages.listen(got.append)
    return got


# --- Members -----------------------------------------------------------------------------


def test_paired_devices_are_members() -> None:
    """Their ids and identities are the peer ids; the type says that it is us."""
    line = Line()
    a, _ = line.sides
    a.group.visit()
    connection = a.connection
    assert (IDS[1], "cytosol", IDS[1], True) == (
        connection.id,
        connection.type,
        connection.identity,
        connection.offline,
    )


def test_members_follow_the_pairings() -> None:
    """Also while no loop runs; whoever listens to the group hears of it."""

    async def main() -> None:
        line = Line()
        a, _ = line.sides
        told: list[tuple[str, str]] = []
        for event in ("add", "remove"):
            a.group.on(event, lambda each, event=event: told.append((event, each.id)))  # type: ignore[misc]
        a.group.visit()
        a.paired.append(THIRD)
        a.group.pairings_changed()
        a.paired.remove(IDS[1])
        a.group.pairings_changed()
        await settle()
        assert [("add", IDS[1]), ("add", THIRD), ("remove", IDS[1])] in (
            told,
            [*told[:1], *reversed(told[1:])],
        )
        assert [THIRD] == [each.id for each in a.group]

    run(main())
    line = Line()
    a, _ = line.sides
    a.group.visit()
    a.paired.append(THIRD)
    a.group.pairings_changed()
    a.group.visit()
    assert [IDS[1], THIRD] == [each.id for each in a.group]


def test_a_device_that_is_paired_anew_is_a_new_member() -> None:
    """What waited for the unpaired one is gone."""

    async def main() -> None:
        line = Line()
        a, _ = visit(line)
        await settle()
        first = a.connection
        a.paired.clear()
        a.group.pairings_changed()
        await settle()
        assert 0 == len(a.group)
        with pytest.raises(GraphError, match="taken out of its group"):
            first.send("x")
        a.paired.append(IDS[1])
        a.group.pairings_changed()
        await settle()
        assert first is not a.connection

    run(main())


def test_other_connections_may_join_the_group() -> None:
    """They are nobody's business here; one that has a device's id keeps it."""
    line = Line()
    a, _ = line.sides
    guest, _ = pair(IDS[1], "x")
    a.group.add(guest)
    a.group.visit()
    assert [guest] == [*a.group]
    a.group.remove(guest)
    a.group.visit()
    assert isinstance(a.connection, DeviceConnection)


# --- Messages ----------------------------------------------------------------------------


def test_messages_travel_both_ways() -> None:
    """Of all sizes, whole, in order."""

    async def main() -> None:
        a, b = visit(Line())
        at_a, at_b = heard(a), heard(b)
        big = 'ä"\\\n' * GRAPH_PIECE_LENGTH_MAX
        messages = [1, {"a": [None, True]}, big, "x" * (GRAPH_PIECE_LENGTH_MAX - 20), ""]
        for message in messages:
            a.connection.send(message)
            b.connection.send([message])
        await until(lambda: len(at_a) == len(at_b) == len(messages))
        assert messages == at_b
        assert [[message] for message in messages] == at_a
        assert not a.connection.offline

    run(main())


def test_few_pieces_are_under_way() -> None:
    """GRAPH_PIECES_WAITING_MAX, while the other side takes none."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        at_b = heard(b)
        await settle()
        line.is_held = True
        for number in range(1_000):
            a.connection.send([number, "x" * 2_000])
        await settle()
        assert GRAPH_PIECES_WAITING_MAX == len(line.in_flight)
        line.is_held = False
        line.work()
        await until(lambda: len(at_b) == 1_000)
        assert [*range(1_000)] == [number for number, _ in at_b]

    run(main())


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_lost_or_doubled_over_reconnects(seed: int) -> None:
    """Whenever the line is cut, in whatever turn of the loop."""

    async def main() -> None:
        chance = random.Random(seed)
        line = Line(seed)
        a, b = visit(line)
        at_a, at_b = heard(a), heard(b)
        line.is_held = True
        for number in range(60):
            message = [number, "x" * chance.choice((0, 10, 3 * GRAPH_PIECE_LENGTH_MAX))]
            a.connection.send(message)
            b.connection.send(message)
            line.carry(chance.randrange(40))
            await settle(chance.randrange(4))
            if chance.random() < 0.2:
                line.disconnect()
                await settle(chance.randrange(3))
                line.connect()
        line.is_held = False
        line.work()
        await until(lambda: len(at_a) == len(at_b) == 60)
        await settle()
        for got in (at_a, at_b):
            assert [*range(60)] == [number for number, _ in got]
        for side in (a, b):
            side.connection.link.check_invariants()

    run(main())


def test_what_comes_before_somebody_listens_is_kept() -> None:
    """It is not acknowledged until then."""

    async def main() -> None:
        a, b = visit(Line())
        a.connection.send("early")
        await settle()
        assert 1 == a.connection.link.unacknowledged
        at_b = heard(b)
        await until(lambda: at_b == ["early"])
        await until(lambda: not a.connection.link.unacknowledged)

    run(main())


def test_messages_wait_for_a_device_that_is_away() -> None:
    """`offline` and its events tell."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        at_b = heard(b)
        told: list[str] = []
        for event in ("online", "offline"):
            a.connection.on(event, lambda _, event=event: told.append(event))  # type: ignore[misc]
        await settle()
        line.disconnect()
        await settle()
        assert a.connection.offline
        a.connection.send("later")
        line.connect()
        await until(lambda: at_b == ["later"])
        assert ["online", "offline", "online"] == told

    run(main())


def test_short_messages_travel_together() -> None:
    """A piece holds as many as fit: each one costs an answer."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        at_b = heard(b)
        await settle()
        before = len(a.told)
        for number in range(1_000):
            a.connection.send(number)
        await until(lambda: len(at_b) == 1_000)
        sent = [each for each in a.told[before:] if "graph_send" == each[0]]
        assert 5 > len(sent)
        assert all(len(text) <= GRAPH_PIECE_LENGTH_MAX for *_, text, _ in sent)

    run(main())


# --- Loops -------------------------------------------------------------------------------


def test_a_device_whose_program_does_not_use_the_group_is_offline() -> None:
    """Until it does."""

    async def main() -> None:
        line = Line()
        a, b = line.sides
        a.group.visit()
        line.connect()
        a.connection.send("hello")
        await settle()
        assert a.connection.offline
        b.group.visit()
        at_b = heard(b)
        await until(lambda: at_b == ["hello"])

    run(main())


def test_sending_needs_a_loop() -> None:
    """A clear error, and nothing is queued."""
    line = Line()
    a, _ = line.sides
    a.group.visit()
    with pytest.raises(GraphError, match=r"asyncio\.run"):
        a.connection.send("x")
    assert 0 == a.connection.link.unacknowledged
    assert [] == a.told


def test_a_group_can_be_listened_to_before_a_loop_runs() -> None:
    """A Graph may be made first; the loop in which it is used then is the one of the group."""
    line = Line()
    a, b = line.sides
    for side in line.sides:
        side.group.visit()
    at_b = heard(b)
    line.connect()

    async def main() -> None:
        b.connection.send("from b")
        a.connection.send("from a")
        at_a = heard(a)
        await until(lambda: at_a and at_b)
        assert (["from b"], ["from a"]) == (at_a, at_b)

    run(main())


def test_another_loop_may_not_use_the_group() -> None:
    """Links are for one thread; who only looks is no harm."""

    async def main() -> None:
        a, _ = visit(Line())
        connection = a.connection
        errors: list[GraphError] = []

        async def elsewhere() -> None:
            a.group.visit()
            for use in (
                lambda: connection.send("x"),
                lambda: connection.messages.listen(print),
                lambda: connection.close(),
            ):
                with pytest.raises(GraphError, match="used first") as error:
                    use()
                errors.append(error.value)

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert 3 == len(errors)
        assert not connection.messages.is_complete
        with pytest.raises(GraphError, match="used first"):
            await asyncio.to_thread(connection.send, "x")

    run(main())


def test_the_group_moves_to_the_next_loop() -> None:
    """What was not acknowledged in the first one is sent in the second."""
    line = Line()
    at_b: list[Any] = []

    async def first() -> None:
        a, b = visit(line)
        b.connection.messages.listen(at_b.append)
        a.connection.send(1)
        await until(lambda: at_b == [1])
        line.is_held = True
        a.connection.send(2)
        await settle()

    async def second() -> None:
        a, b = line.sides
        a.group.visit()
        b.group.visit()
        line.is_held = False
        a.connection.send(3)
        await until(lambda: len(at_b) >= 3)
        assert [1, 2, 3] == at_b
        b.connection.send("back")
        at_a = heard(a)
        await until(lambda: at_a)
        assert ["back"] == at_a

    run(first())
    run(second())


def test_a_device_whose_loop_is_closed_listens_no_more() -> None:
    """The other side finds it offline as soon as it says anything, and loses nothing."""
    line = Line()
    a, b = line.sides

    async def first() -> None:
        visit(line)
        await settle()
        assert not a.connection.offline

    run(first())
    got: list[Any] = []

    async def only_a() -> None:
        a.connection.send("is anybody there")
        await settle()
        assert a.connection.offline
        assert not b.is_listening

    run(only_a())

    async def again() -> None:
        a.group.visit()
        b.group.visit()
        b.connection.messages.listen(got.append)
        await until(lambda: got == ["is anybody there"])

    run(again())


def test_a_loop_that_dies_with_work_to_do_is_noticed() -> None:
    """The wake-up that it never heard does not silence the group for ever."""
    line = Line()
    a, _ = line.sides

    async def main() -> None:
        visit(line)  # its events wait in the loop, which ends now

    asyncio.run(main())
    assert a.is_listening
    a.group.receive(GraphClosed(IDS[1], (1, 1, 1)))
    assert not a.is_listening
    a.group.receive(GraphClosed(IDS[1], (1, 1, 1)))
    a.group.pairings_changed()
    assert ("graph_listen", False) == a.told[-1]


def test_two_threads_that_come_first_do_not_share_the_group() -> None:
    """One of them has it; the other one gets the error."""
    line = Line()
    a, _ = line.sides
    a.group.visit()
    connection = a.connection
    both = threading.Barrier(2)
    outcomes: list[str] = []

    async def use() -> None:
        both.wait(30)
        try:
            connection.send("x")
            outcomes.append("sent")
        except GraphError:
            outcomes.append("refused")
        await asyncio.to_thread(both.wait, 30)

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ["refused", "sent"] == sorted(outcomes)
    assert 1 == connection.link.unacknowledged


# --- Closing -----------------------------------------------------------------------------


def test_closing_delivers_what_was_sent_and_leaves_both_groups() -> None:
    """New connections join when the devices connect anew, not before."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        at_b = heard(b)
        await settle()
        ours, theirs = a.connection, b.connection
        ours.send("x" * 5 * GRAPH_PIECE_LENGTH_MAX)
        ours.send("last")
        ours.close("enough")
        await until(lambda: len(at_b) == 2)
        await until(lambda: not len(a.group) and not len(b.group))
        assert "last" == at_b[-1]
        assert theirs.messages.is_complete
        assert "enough" in str(theirs.link.ended)
        for side in (a, b):
            side.group.pairings_changed()
        await settle()
        assert 0 == len(a.group) + len(b.group)
        line.disconnect()
        line.connect()
        await until(lambda: len(a.group) == len(b.group) == 1)
        assert (ours, theirs) != (a.connection, b.connection)
        again = heard(b)
        a.connection.send("hello again")
        await until(lambda: again == ["hello again"])

    run(main())


def test_both_sides_may_close_at_once() -> None:
    """Each is out of its group, once."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        await settle()
        left: list[Any] = []
        for side in (a, b):
            side.group.on("remove", left.append)
            side.connection.close()
        await settle()
        assert 2 == len(left)
        assert 0 == len(a.group) + len(b.group)

    run(main())


def test_a_member_that_has_left_is_not_brought_back_by_listening_anew() -> None:
    """Only by another connection of the devices."""

    async def main() -> None:
        a, _ = Line().sides
        a.group.visit()
        opened_by_hand(a)
        await settle()
        a.group.remove(IDS[1])
        again = opened_by_hand(a, 2)
        a.group.receive(GraphPiece(IDS[1], again, "x", False))
        a.group.receive(GraphTaken(IDS[1], again))
        a.group.receive(GraphClosed(IDS[1], again))
        await settle()
        assert 0 == len(a.group)
        assert ("graph_taken", IDS[1], again) in a.told
        a.group.receive(GraphOpened(IDS[1], (10, 1, 1)))
        await settle()
        assert 1 == len(a.group)

    run(main())


def test_closing_offline_leaves_the_group_at_once() -> None:
    """What waited is dropped; the next connection brings a new member."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        line.disconnect()
        await settle()
        first = a.connection
        first.send("never")
        first.close()
        assert 0 == len(a.group)
        at_b = heard(b)
        line.connect()
        await until(lambda: len(a.group) == 1)
        a.connection.send("now")
        await until(lambda: bool(at_b))
        assert ["now"] == at_b

    run(main())


def test_a_member_that_was_taken_out_stays_out_until_the_devices_connect_anew() -> None:
    """And what has come to it can still be read."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        a.connection.send("unread")
        await settle()
        theirs = b.connection
        b.group.remove(theirs)
        await settle()
        assert 0 == len(b.group)
        got: list[Any] = []
        theirs.messages.listen(got.append)
        await until(lambda: got == ["unread"])
        assert theirs.messages.is_complete
        line.disconnect()
        line.connect()
        await until(lambda: len(b.group) == 1)
        assert theirs is not b.connection

    run(main())


def test_closing_the_database_ends_all_connections() -> None:
    """From another thread, too; afterwards nothing can be sent."""

    async def main() -> None:
        a, b = visit(Line())
        await settle()
        connections = [side.connection for side in (a, b)]
        a.group.pairings_changed()
        a.group.close()
        await asyncio.to_thread(b.group.close)
        await settle()
        for connection in connections:
            assert connection.messages.is_complete
            with pytest.raises(GraphError, match="database was closed"):
                connection.send("x")
        assert 0 == len(a.group) + len(b.group)
        a.group.close()
        a.group.visit()
        a.group.pairings_changed()
        a.group.receive(GraphOpened(IDS[1], (1, 1, 1)))
        assert 0 == len(a.group)

    run(main())
    line = Line()
    a, _ = line.sides
    a.group.visit()
    connection = a.connection
    a.group.close()
    assert connection.messages.is_complete


# --- Hostile devices ---------------------------------------------------------------------


def opened_by_hand(a: Side, number: int = 1) -> tuple[int, int, int]:
    """Let a device that the test plays open with A."""
    opening = (9, 1, number)
    a.group.receive(GraphOpened(IDS[1], opening))
    return opening


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "[]", '{"n":1,"m":1}', '{"hello":"","of":null,"seen":0,"v":1}', "\x00"],
    ids=["empty", "garbage", "array", "message first", "no id", "control"],
)
def test_garbage_is_not_taken_until_the_device_connects_anew(text: str) -> None:
    """`problem` says why."""

    async def main() -> None:
        a, _ = Line().sides
        a.group.visit()
        opening = opened_by_hand(a)
        for _ in range(3):
            a.group.receive(GraphPiece(IDS[1], opening, text, False))
        await settle()
        assert a.connection.offline
        assert a.connection.problem
        assert 1 == a.told.count(("graph_shut", IDS[1], opening))
        assert 3 == a.told.count(("graph_taken", IDS[1], opening))
        opened_by_hand(a, 2)
        await settle()
        assert a.connection.problem is None

    run(main())


def test_a_frame_without_an_end_is_bounded() -> None:
    """As on every link: FRAME_BYTES_MAX."""

    async def main() -> None:
        a, _ = Line().sides
        a.group.visit()
        opening = opened_by_hand(a)
        for _ in range(FRAME_BYTES_MAX // GRAPH_PIECE_LENGTH_MAX + 2):
            piece = GraphPiece(IDS[1], opening, "x" * GRAPH_PIECE_LENGTH_MAX, True)
            a.group.receive(piece)
            await asyncio.sleep(0)
        await settle()
        assert "bytes" in str(a.connection.problem)
        assert 1 == a.told.count(("graph_shut", IDS[1], opening))

    run(main())


def test_events_that_wait_for_a_busy_loop_are_bounded() -> None:
    """EVENTS_WAITING_MAX, for a device that begins anew and anew; other devices lose nothing."""

    async def main() -> None:
        a, _ = Line().sides
        a.paired.append(THIRD)
        a.group.visit()
        a.group.receive(GraphOpened(THIRD, (8, 1, 1)))
        for count in range(1_000):
            opened_by_hand(a, count)
            a.group.receive(GraphPiece(IDS[1], (9, 1, count), "x", True))
            a.group.receive(GraphClosed(IDS[1], (9, 1, count)))
        assert a.group._home is not None
        waiting = a.group._home.take()[0]
        assert EVENTS_WAITING_MAX + 3 >= len(waiting)
        assert GraphOpened(THIRD, (8, 1, 1)) in waiting
        assert GraphClosed(IDS[1], (9, 1, 999)) == waiting[-1]

    run(main())


def test_what_a_member_cannot_handle_is_reported_and_the_next_thing_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistake of ours must not silence the group."""
    reported: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, each: reported.append(each))
        a, _ = Line().sides
        a.group.visit()
        monkeypatch.setattr(a.group, "_detach", lambda peer_id: 1 / 0)
        opened_by_hand(a)
        a.group.receive(GraphPiece(IDS[1], (9, 1, 1), "x", False))
        await settle()
        assert ("graph_taken", IDS[1], (9, 1, 1)) == a.told[-1]

    asyncio.run(main())
    assert ["ZeroDivisionError"] == [type(each["exception"]).__name__ for each in reported]


# --- Graphs ------------------------------------------------------------------------------


def test_graphs_sync_over_devices_and_rules_see_who_they_are() -> None:
    """The router as it ships, on both sides; the identity is the device's peer id."""

    async def main() -> None:
        line = Line()
        a, b = visit(line)
        asked: list[Any] = []

        def rule(identity: Any, key: str, patch: Any) -> bool:
            asked.append(identity)
            return key.startswith("open/")

        at_a = Graph({"network": a.group, "router": Router()})
        at_b = Graph({"network": b.group, "router": Router([Route("*", True, rule)])})
        async with at_a, at_b:
            await at_a.write("open/x", {"n": 1})
            assert {"n": 1} == await snapshot(at_b, "open/x")
            with pytest.raises(PermissionDeniedError):
                await at_a.write("closed/x", {"n": 1})
            assert await at_b.read("closed/x", network=None) is None
            assert {a.peer_id} == set(asked)
            line.disconnect()
            await settle()
            await at_b.write("open/x", {"n": 2, "more": True})
            line.connect()
            await until(lambda: not a.connection.offline)
            assert {"n": 2, "more": True} == await snapshot(at_a, "open/x", force=True)

    run(main())


def test_devices_can_be_joined_with_other_connections() -> None:
    """A union follows devices that are paired later."""

    async def main() -> None:
        line = Line()
        a, _ = line.sides
        a.paired.clear()
        other, _ = pair("memory", "x")
        union = a.group.union(ConnectionGroup(other))
        a.group.visit()
        a.paired.append(IDS[1])
        a.group.pairings_changed()
        await settle()
        assert {"memory", IDS[1]} == {each.id for each in union}

    run(main())
