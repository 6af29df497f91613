"""The router of a graph: writes go out, reads are answered, nothing echoes, nobody is believed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from cytosol.errors import ConfigError, GraphError
from cytosol.graph.connection import Stream
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.transports.memory import pair
from cytosol.limits import CLOCK_LEAP_MAX, MESSAGE_NODES_MAX, PULL_TIMEOUT_S
from tests.graph.routing import Heard, Stranger, Timer, routed, settle, stranger_of, until
from tests.graph.running import run

AUTHOR = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


def node_json(key: str, field: str = "title", value: Any = "Momo", index: int = 1) -> Any:
    """Return a node of one field, as a message has it."""
    return {"key": key, "made": [index, AUTHOR], "fields": {field: [value, index, AUTHOR]}}


# --- Writes ---------------------------------------------------------------------------------


def test_a_write_reaches_the_other_graph() -> None:
    """When the write is awaited, a peer that is online has committed it."""

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b)
        await settle()
        await first.write("book", {"title": "Momo"})
        assert {"book": {"title": "Momo"}} == second.snapshot()
        assert first.value("book").state("title") == second.value("book").state("title")

    run(main())


def test_deletions_reach_the_other_graph() -> None:
    """A deleted field and a deleted node are gone there, too, and stay gone."""

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b)
        await settle()
        await first.write("book", {"title": "Momo", "year": 1973})
        await first.write("shop", {"open": True})
        await first.value("book").delete("year")
        await first.delete("shop")
        assert {"book": {"title": "Momo"}} == second.snapshot()

    run(main())


def test_what_was_there_before_the_meeting_is_exchanged() -> None:
    """Two graphs that meet for the first time both get all of the other's nodes."""

    async def main() -> None:
        first, second = routed(), routed()
        await first.write("a", {"x": 1})
        await second.write("b", {"y": 2})
        a, b = pair()
        first.network.add(a)
        second.network.add(b)
        await settle()
        assert {"a": {"x": 1}, "b": {"y": 2}} == first.snapshot()
        assert first.copy().to_json() == {
            key: second.copy().to_json()[key] for key in first.copy().to_json()
        }

    run(main())


def test_writes_pass_through_a_graph_in_the_middle() -> None:
    """In a line of three, the ends hear of each other."""

    async def main() -> None:
        ab, ba = pair("ab", "ba")
        bc, cb = pair("bc", "cb")
        first, _, third = routed(ab), routed(ba, bc), routed(cb)
        await settle()
        await first.write("k", {"x": 1})
        await settle()
        await third.write("k", {"y": 2})
        await settle()
        assert {"k": {"x": 1, "y": 2}} == first.snapshot() == third.snapshot()

    run(main())


def test_a_ring_of_three_has_no_echo() -> None:
    """One write crosses each wire once or twice, never back to its sender, and then all is calm."""

    async def main() -> None:
        ends = [pair("ab", "ba"), pair("bc", "cb"), pair("ca", "ac")]
        heard = {end.id: Heard(end) for both in ends for end in both}
        (ab, ba), (bc, cb), (ca, ac) = ends
        graphs = routed(ab, ac), routed(ba, bc), routed(cb, ca)
        await settle()
        await graphs[0].write("k", {"x": 1})
        await settle(1_000)
        pushes = {name: len(each.of("push")) for name, each in heard.items()}
        assert {"ab": 1, "ac": 1, "ba": 0, "ca": 0} == {
            name: pushes[name] for name in ("ab", "ac", "ba", "ca")
        }
        assert pushes["bc"] <= 1
        assert pushes["cb"] <= 1
        assert all({"k": {"x": 1}} == graph.snapshot() for graph in graphs)

    run(main())


def test_two_transports_to_one_graph_carry_a_write_once() -> None:
    """A peer is its graph, not its connection: the second wire stays silent, both ways."""

    async def main() -> None:
        wires = [pair("left 1", "right 1"), pair("left 2", "right 2")]
        heard = [Heard(end) for wire in wires for end in wire]
        first, second = routed(*[wire[0] for wire in wires]), routed(*[wire[1] for wire in wires])
        await settle()
        await first.write("k", {"x": 1})
        await settle()
        assert {"k": {"x": 1}} == second.snapshot()
        assert 1 == sum(len(each.of("push")) for each in heard)

    run(main())


def test_the_second_transport_takes_over() -> None:
    """While one of two wires is cut, the other one carries the writes."""

    async def main() -> None:
        wires = [pair("left 1", "right 1"), pair("left 2", "right 2")]
        first, second = routed(*[wire[0] for wire in wires]), routed(*[wire[1] for wire in wires])
        await settle()
        wires[0][0].disconnect()
        await first.write("k", {"x": 1})
        assert {"k": {"x": 1}} == second.snapshot()

    run(main())


def test_what_changes_nothing_is_not_passed_on() -> None:
    """A push of stale data is acknowledged, and goes no further."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        a, b = pair()
        graph.network.add(a)
        other = Stranger(b)
        for number in (1, 2):
            stranger.say({"type": "push", "id": number, "nodes": {"k": node_json("k")}})
            await settle()
        assert 2 == len(stranger.of("done"))
        assert 1 == len(other.of("push"))
        assert not stranger.of("push")

    run(main())


def test_a_large_commit_goes_in_parts() -> None:
    """What is too much for one message arrives whole."""

    async def main() -> None:
        a, b = pair()
        sent = Heard(a)
        first, second = routed(a), routed(b)
        await settle()
        await first.commit({f"n{number}": {"x": number} for number in range(2_500)})
        await first.write("fat", {f"f{number}": "x" * 100_000 for number in range(30)})
        assert 2_501 == len(second)
        assert 30 == len(second.value("fat"))
        assert 6 == len(sent.of("push"))

    run(main())


def test_a_value_that_is_too_large_for_a_message_is_an_error() -> None:
    """The writer hears of it; the write stands, and others go on being sent."""

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b)
        await settle()
        with pytest.raises(GraphError, match="too large to be sent"):
            await first.write("film", {"frames": "x" * 17_000_000})
        await first.write("k", {"x": 1})
        assert ["k"] == second.keys()

    run(main())


def test_a_connection_that_fails_gets_its_writes_later() -> None:
    """A plugin whose `send` raises is tried again when the timer rings."""

    class Moody:
        id, type, identity = "moody", "moody", None

        def __init__(self) -> None:
            self.messages: Stream[Any] = Stream(lambda emit: None)
            self.is_broken = True
            self.got: list[Any] = []

        async def send(self, message: Any) -> None:
            if self.is_broken:
                raise OSError("no")
            self.got.append(message)

    async def main() -> None:
        timer, moody = Timer(), Moody()
        graph = routed(moody, router=Router(timer=timer))
        await graph.write("k", {"x": 1})
        await settle()
        await graph.write("k", {"x": 2})
        moody.is_broken = False
        timer.ring()
        await settle()
        pushed = [message for message in moody.got if message["type"] == "push"]
        assert [2] == [message["nodes"]["k"]["fields"]["x"][0] for message in pushed]

    run(main())


def test_a_peer_that_never_acknowledges_does_not_hang_a_write() -> None:
    """When the timer rings, the write is done here, and still under way to there."""

    async def main() -> None:
        timer = Timer()
        graph, stranger, _ = stranger_of(Router(timer=timer))
        stranger.say(hello())
        await settle()
        writing = asyncio.ensure_future(_whole(graph.write("k", {"x": 1})))
        await settle()
        assert not writing.done()
        assert [PULL_TIMEOUT_S] == [ringing.seconds for ringing in timer.waiting]
        timer.ring()
        await writing

    run(main())


def test_a_write_for_nobody_is_sent_to_nobody() -> None:
    """`network=None` keeps a write from the router."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        await graph.write("k", {"x": 1}, network=None)
        await settle()
        assert not stranger.of("push")

    run(main())


def test_graphs_can_be_made_before_a_loop_runs() -> None:
    """They greet each other as soon as one does."""
    a, b = pair()
    first, second = routed(a), routed(b)

    async def main() -> None:
        await first.write("k", {"x": 1})
        await settle()
        await second.write("k", {"y": 2})
        await settle()
        assert {"k": {"x": 1, "y": 2}} == first.snapshot() == second.snapshot()

    run(main())


def test_what_a_hook_refuses_is_refused_to_the_peer() -> None:
    """The writer there hears that it was refused, and not more; here nothing has changed."""

    def choosy(action: Any) -> Any:
        raise GraphError("our secret reasons")

    async def main() -> None:
        a, b = pair()
        first, second = routed(a), routed(b, hooks={"before": {"write": choosy}})
        await settle()
        with pytest.raises(GraphError, match="refused a write") as caught:
            await first.write("k", {"x": 1})
        assert "secret" not in str(caught.value)
        assert not second.keys()
        assert {"k": {"x": 1}} == first.snapshot()

    run(main())


# --- Reads ----------------------------------------------------------------------------------


async def _whole(awaitable: Any) -> Any:
    return await awaitable


def hello(graph: str | None = None, session: str | None = None) -> Any:
    """Return the hello of a stranger."""
    names = {"graph": graph or str(uuid4()), "session": session or str(uuid4())}
    return {"type": "hello", "id": 0, "reply": True, "waiting": [], **names}


def two_strangers(router: Router) -> tuple[Graph, Stranger, Stranger]:
    """Return a graph between two strangers."""
    ours = [pair("one"), pair("two")]
    graph = routed(*[end for end, _ in ours], router=router)
    return graph, Stranger(ours[0][1]), Stranger(ours[1][1])


def test_a_read_merges_the_answers_of_all() -> None:
    """Each field has the latest of what anybody knows."""

    async def main() -> None:
        graph, one, two = two_strangers(Router())
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: one.of("pull") and two.of("pull"))
        for stranger, node in (
            (one, node_json("k", "title", "old", 1)),
            (two, node_json("k", "title", "new", 2)),
        ):
            number = stranger.of("pull")[0]["id"]
            stranger.say({"type": "answer", "id": number, "nodes": {"k": node}})
        node = await reading
        assert {"title": "new"} == node.snapshot()
        assert ["k"] == one.of("pull")[0]["keys"]

    run(main())


def test_what_a_read_has_found_goes_on_to_those_who_lack_it() -> None:
    """Each gets what the other one knew; the push that brings it to us later would be no news."""

    async def main() -> None:
        graph, one, two = two_strangers(Router())
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: one.of("pull") and two.of("pull"))
        for stranger, field in ((one, "x"), (two, "y")):
            answer = {"type": "answer", "id": stranger.of("pull")[0]["id"]}
            stranger.say({**answer, "nodes": {"k": node_json("k", field, field)}})
        await reading
        one.say({"type": "push", "id": 1, "nodes": {"k": node_json("k", "x", "x")}})
        await settle()
        for stranger, lacked in ((one, "y"), (two, "x")):
            (push,) = stranger.of("push")
            assert [lacked] == [*push["nodes"]["k"]["fields"]]

    run(main())


def test_what_a_read_finds_again_goes_nowhere() -> None:
    """An answer without news is told to nobody."""

    async def main() -> None:
        graph, one, two = two_strangers(Router())
        one.say({"type": "push", "id": 1, "nodes": {"k": node_json("k")}})
        await until(lambda: two.of("push"))
        reading = asyncio.ensure_future(_whole(graph.read("k", force=True)))
        await until(lambda: one.of("pull") and two.of("pull"))
        for stranger in (one, two):
            answer = {"type": "answer", "id": stranger.of("pull")[0]["id"]}
            stranger.say({**answer, "nodes": {"k": node_json("k")}})
        await reading
        await settle()
        assert [0, 1] == [len(stranger.of("push")) for stranger in (one, two)]

    run(main())


def test_an_answer_in_parts_is_put_together() -> None:
    """The read ends with the part that says it is the last."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: stranger.of("pull"))
        number = stranger.of("pull")[0]["id"]
        for field, more in (("a", True), ("b", False)):
            nodes = {"k": node_json("k", field)}
            stranger.say({"type": "answer", "id": number, "nodes": nodes, "more": more})
            await settle()
            assert more != reading.done()
        assert {"a": "Momo", "b": "Momo"} == (await reading).snapshot()

    run(main())


def test_a_graph_answers_from_memory_and_its_storage() -> None:
    """What only the storage has is loaded for an asker; deletions are part of the answer."""

    async def main() -> None:
        from cytosol.graph.storage import MemoryStorage

        storage = MemoryStorage()
        before = Graph({"storage": storage})
        await before.write("k", {"x": 1, "y": 2})
        await before.value("k").delete("y")
        _, stranger, _ = stranger_of(storage=storage)
        stranger.say({"type": "pull", "id": 5, "keys": ["k", "nothing"]})
        await until(lambda: stranger.of("answer"))
        nodes = stranger.of("answer")[0]["nodes"]
        assert ["k"] == list(nodes)
        assert nodes["k"] == before.copy().to_json()["k"]

    run(main())


def test_who_never_answers_does_not_hang_a_read() -> None:
    """After the timeout the read has what there is; nobody waits for that connection again."""

    async def main() -> None:
        timer = Timer()
        graph, one, two = two_strangers(Router(timer=timer))
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: one.of("pull"))
        one.say({"type": "answer", "id": one.of("pull")[0]["id"], "nodes": {"k": node_json("k")}})
        await settle()
        assert not reading.done()
        timer.ring()
        assert {"title": "Momo"} == (await reading).snapshot()
        assert 1 == graph.router.counts["timeouts"]

        again = asyncio.ensure_future(_whole(graph.read("other")))
        await until(lambda: len(one.of("pull")) == 2)
        one.say({"type": "answer", "id": one.of("pull")[1]["id"], "nodes": {}})
        assert await again is None
        assert 2 == len(two.of("pull"))

    run(main())


def test_who_speaks_again_is_waited_for_again() -> None:
    """A connection that was silent counts as soon as a message comes from it."""

    async def main() -> None:
        timer = Timer()
        graph, stranger, _ = stranger_of(Router(timer=timer))
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: timer.waiting)
        timer.ring()
        assert await reading is None
        late = stranger.of("pull")[0]["id"]
        stranger.say({"type": "answer", "id": late, "nodes": {"k": node_json("k")}})
        await settle()
        assert 1 == graph.router.counts["unasked"]
        again = asyncio.ensure_future(_whole(graph.read("k")))
        await settle()
        assert not again.done()
        number = stranger.of("pull")[1]["id"]
        stranger.say({"type": "answer", "id": number, "nodes": {"k": node_json("k")}})
        assert {"title": "Momo"} == (await again).snapshot()

    run(main())


def test_who_is_offline_is_not_asked() -> None:
    """A read without anybody to ask ends at once; one under way ends when the wire is cut."""

    async def main() -> None:
        graph, stranger, wire = stranger_of()
        await settle()
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: stranger.of("pull"))
        wire.disconnect()
        assert await reading is None
        assert await graph.read("other") is None

    run(main())


def test_what_was_not_asked_for_is_not_taken() -> None:
    """A node beside the point, or an answer to nothing, changes nothing."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: stranger.of("pull"))
        nodes = {"k": node_json("k"), "trojan": node_json("trojan")}
        stranger.say({"type": "answer", "id": stranger.of("pull")[0]["id"], "nodes": nodes})
        await reading
        stranger.say({"type": "answer", "id": 1, "nodes": {"horse": node_json("horse")}})
        stranger.say({"type": "done", "id": 1})
        stranger.say({"type": "error", "id": 1, "error": "permission denied"})
        await settle()
        assert ["k"] == graph.keys()
        assert 4 == graph.router.counts["unasked"]

    run(main())


# --- Connections ----------------------------------------------------------------------------


def test_a_connection_that_was_removed_gets_nothing() -> None:
    """What happens later goes to those who are left."""

    async def main() -> None:
        graph, stranger, wire = stranger_of()
        graph.network.remove(wire)
        await graph.write("k", {"x": 1})
        stranger.say({"type": "push", "id": 1, "nodes": {"z": node_json("z")}})
        await settle()
        assert not stranger.of("push")
        assert ["k"] == graph.keys()

    run(main())


def test_a_router_serves_one_graph() -> None:
    """The second graph is refused, with what to do about it."""

    async def main() -> None:
        router = Router()
        routed(router=router)
        with pytest.raises(ConfigError, match="make a Router for each graph"):
            routed(router=router)

    run(main())


def test_a_router_without_a_graph_says_so() -> None:
    """It cannot be used by itself."""
    with pytest.raises(GraphError, match="no graph yet"):
        Router().close()


def test_a_closed_graph_hears_nothing_more() -> None:
    """After close, nothing is taken in and nothing is sent."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        await settle()
        await graph.close()
        count = len(stranger.got)
        stranger.say({"type": "push", "id": 1, "nodes": {"z": node_json("z")}})
        await settle()
        assert count == len(stranger.got)
        assert not graph.copy().keys()

    run(main())


# --- Hostile messages -----------------------------------------------------------------------

DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]

GARBAGE: list[Any] = [
    None,
    7,
    "push",
    [],
    {},
    {"type": "push"},
    {"type": ["push"], "id": 1},
    {"type": "reboot", "id": 1},
    {"type": "push", "id": True, "nodes": {}},
    {"type": "push", "id": -1, "nodes": {}},
    {"type": "push", "id": 2**53, "nodes": {}},
    {"type": "push", "id": 1.0, "nodes": {}},
    {"type": "push", "id": 1, "nodes": []},
    {"type": "push", "id": 1, "nodes": {"k": None}},
    {"type": "push", "id": 1, "nodes": {"k": node_json("other")}},
    {"type": "push", "id": 1, "nodes": {"": node_json("")}},
    {"type": "push", "id": 1, "nodes": {"k": node_json("k", value={"deep": {"edge": "k"}})}},
    {"type": "push", "id": 1, "nodes": {"k": node_json("k", value=DEEP)}},
    {"type": "push", "id": 1, "nodes": {"k": node_json("k", index=0)}},
    {"type": "push", "id": 1, "nodes": {"k": node_json("k", index=2**53)}},
    {"type": "push", "id": 1, "nodes": {"k": {"key": "k", "fields": {"x": [1, 1, "me"]}}}},
    {"type": "push", "id": 1, "nodes": {str(n): {} for n in range(MESSAGE_NODES_MAX + 1)}},
    {"type": "push", "id": 1, "nodes": {"k" * 70_000: node_json("k" * 70_000)}},
    {"type": "pull", "id": 1},
    {"type": "pull", "id": 1, "keys": "k"},
    {"type": "pull", "id": 1, "keys": [1]},
    {"type": "pull", "id": 1, "keys": [""]},
    {"type": "pull", "id": 1, "keys": [{"edge": "k"}]},
    {"type": "pull", "id": 1, "keys": ["k"] * (MESSAGE_NODES_MAX + 1)},
    {"type": "answer", "id": 1, "nodes": {}, "more": "yes"},
    {"type": "error", "id": 1, "error": None},
    {"type": "hello", "id": 1, "graph": 5, "session": 5},
    {"type": "hello", "id": 1, "graph": AUTHOR, "session": "?"},
    {"type": "hello", "id": 1, "graph": AUTHOR, "session": AUTHOR, "waiting": [None]},
    {"type": "hello", "id": 1, "graph": AUTHOR, "session": AUTHOR, "waiting": [1] * 10_000},
]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_is_counted_and_changes_nothing(number: int) -> None:
    """Nobody's code sees it; a push or a pull with a number gets an error for an answer."""
    message = GARBAGE[number]

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        stranger.say(message)
        await settle()
        assert 1 == graph.router.counts["malformed"]
        assert {} == graph.copy().to_json()
        errors = stranger.of("error")
        numbered = isinstance(message, dict) and type(message.get("id")) is int
        if numbered and 0 <= message["id"] < 2**53 and message["type"] in ("push", "pull"):
            assert [1] == [error["id"] for error in errors]
        else:
            assert not errors
        stranger.say({"type": "pull", "id": 9, "keys": ["k"]})
        await until(lambda: stranger.of("answer"))

    run(main())


def test_ids_far_in_the_future_are_refused() -> None:
    """Neither a push nor an answer can bring our clock to its end."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        far = node_json("k", index=CLOCK_LEAP_MAX + 1_000)
        stranger.say({"type": "push", "id": 1, "nodes": {"k": far}})
        await settle()
        assert "no honest writer" in stranger.of("error")[0]["error"]
        reading = asyncio.ensure_future(_whole(graph.read("k")))
        await until(lambda: stranger.of("pull"))
        stranger.say({"type": "answer", "id": stranger.of("pull")[0]["id"], "nodes": {"k": far}})
        assert await reading is None
        assert 2 == graph.router.counts["malformed"]
        assert 0 == graph.clock.index

    run(main())


def test_ids_in_our_own_name_are_never_given_again() -> None:
    """Who may write may write under any name; what all others see, we see, and write over it."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        await graph.write("k", {"x": 1})
        forged = graph.copy().to_json()["k"]
        forged["fields"]["x"] = ["forged", 2, forged["fields"]["x"][2]]
        stranger.say({"type": "push", "id": 1, "nodes": {"k": forged}})
        await settle()
        assert {"k": {"x": "forged"}} == graph.snapshot()
        await graph.write("k", {"x": 3})
        assert 2 < graph.value("k").state("x").index

    run(main())


def test_pointers_in_a_circle_are_data() -> None:
    """Nodes that point to each other are committed, and read, like any others."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        nodes = {"a": node_json("a", "to", {"edge": "b"}), "b": node_json("b", "to", {"edge": "a"})}
        stranger.say({"type": "push", "id": 1, "nodes": nodes})
        await until(lambda: stranger.of("done"))
        assert "a" == str(await (await graph.value("a").read("to")).read("to"))

    run(main())


def test_objects_that_contain_themselves_are_refused() -> None:
    """A plugin of the same process may hand over anything; parsing ends all the same."""

    class Direct:
        id, type = "direct", "direct"

        def __init__(self) -> None:
            self.emit: Any = None
            self.messages: Stream[Any] = Stream(self._publish)

        def _publish(self, emit: Any) -> None:
            self.emit = emit

        def send(self, message: Any) -> None:
            return None

    async def main() -> None:
        direct = Direct()
        graph = routed(direct)
        circle: dict[str, Any] = {"type": "push", "id": 1}
        circle["nodes"] = circle
        direct.emit(circle)
        circle = {"type": "push", "id": 1, "nodes": {"k": node_json("k")}}
        circle["nodes"]["k"]["fields"]["title"][0] = circle
        direct.emit(circle)
        assert 2 == graph.router.counts["malformed"]

    run(main())


def test_a_flood_of_requests_is_answered_busy() -> None:
    """What waits for its turn is bounded; the rest is told to come again."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        slow = asyncio.Event()
        graph.nodes = lambda keys, **options: slow.wait()  # type: ignore[method-assign, assignment]  # a storage that takes its time
        for number in range(2_000):
            stranger.say({"type": "pull", "id": number, "keys": ["k"]})
        await until(lambda: stranger.of("error"))
        await settle()
        assert {"busy"} == {error["error"] for error in stranger.of("error")}
        assert 900 < len(stranger.of("error")) < 1_000
        slow.set()
        await until(lambda: len(stranger.got) > 2_000)

    run(main())
