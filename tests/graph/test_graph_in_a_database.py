"""db.graph(): the graph that a database keeps, and the document that shows it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.crdt.actions import Delete, InitObject, Set
from cytosol.database.graphs import DocumentBacking
from cytosol.errors import ConfigError, DatabaseClosedError, FailureError, GraphError, SaveError
from cytosol.graph.collection import NodeMap
from cytosol.graph.graph import Graph
from cytosol.graph.node import Node
from cytosol.graph.pointer import Pointer
from cytosol.graph.router import Router
from cytosol.graph.transports.memory import pair as link
from cytosol.limits import LAMPORT_LEAP_MAX
from cytosol.model.ids import OpId
from tests.graph.routing import routed, settle, until
from tests.graph.running import run
from tests.graph.suite import GraphSuite, MakeGraph
from tests.unit.database.databases import Heard, open_alone
from tests.unit.document.faulty_state import FaultyState

FAR = b"\xee" * 16
FARTHER = b"\xfa" * 16


@pytest.fixture
def db() -> Iterator[cytosol.Database]:
    """Return a database in memory, without a network."""
    with open_alone() as database:
        yield database


def changed(key: str, index: int, author: bytes = FAR, **fields: Any) -> NodeMap:
    """Return an update as another graph would send it."""
    node = Node(key)
    ident = OpId(index, author)
    node.made = ident
    node.entries = {field: (value, ident) for field, value in fields.items()}
    return NodeMap([node])


def deleted(key: str, index: int, author: bytes = FAR) -> NodeMap:
    """Return the deletion of a node as another graph would send it."""
    node = Node(key)
    node.gone = OpId(index, author)
    return NodeMap([node])


def field_deleted(key: str, field: str, index: int, author: bytes = FAR) -> NodeMap:
    """Return the deletion of a field as another graph would send it."""
    from cytosol.graph.pointer import DELETED

    node = Node(key)
    node.entries = {field: (DELETED, OpId(index, author))}
    return NodeMap([node])


class Events:
    """Keeps what a graph or node announces, as plain data."""

    def __init__(self, source: Any) -> None:
        self.updates: list[Any] = []
        self.histories: list[Any] = []
        source.on("update", lambda delta: self.updates.append(delta.snapshot()))
        source.on("history", lambda delta: self.histories.append(delta.snapshot()))


class TestGraphInADatabase(GraphSuite):
    """`db.graph()`, each graph in a database of its own."""

    @pytest.fixture
    def make_graph(self) -> Iterator[MakeGraph]:
        """Make graphs in databases that are closed in the end."""
        with ExitStack() as stack:

            def make(*configs: Any) -> Graph:
                return stack.enter_context(open_alone()).graph("$.graph", *configs)

            yield make


# --- one database -----------------------------------------------------------------------


def test_what_is_written_to_the_graph_stands_in_the_document(db: cytosol.Database) -> None:
    """Fields are members, pointers are objects with an edge; JSONPath finds them."""

    async def main() -> None:
        graph = db.graph()
        author = await graph.write("ann", {"name": "Ann"})
        await graph.write("book", {"title": "Cells", "pages": 100, "author": author})
        assert db.query_once("$.graph[?@.pages > 50].title") == ["Cells"]
        assert db.get("graph", "book", "author") == {"edge": "ann"}
        assert await graph.query("$.book.author.name") == ["Ann"]

    run(main())


def test_what_is_dispatched_stands_in_the_graph(db: cytosol.Database) -> None:
    """At once, in a node that keeps its identity."""

    async def main() -> None:
        graph = db.graph()
        node = await graph.write("k", {"f": 1})
        assert node is not None
        db.dispatch(Set("$.graph.k.f", 2))
        db.dispatch(Set("$.graph.m", {"to": {"edge": "k"}}))
        assert graph.value("k") is node
        assert graph.value("k") is node
        assert node.snapshot() == {"f": 2}
        other = graph.value("m")
        assert other is not None
        assert other.value("to") == Pointer("k")
        assert graph.snapshot() == {"k": {"f": 2}, "m": {"to": {"edge": "k"}}}

    run(main())


def test_ids_are_those_of_the_ops(db: cytosol.Database) -> None:
    """A write is one Transaction; its id is the field's state."""
    graph = db.graph()
    run(_write(graph, "k", {"f": 1, "g": 2}))
    (action,) = db.query_once_meta("$.actions[-1:]")
    assert isinstance(action, dict)
    assert action["action"] == "Transaction"
    assert "origin" not in action
    node = graph.value("k")
    assert node is not None
    state = node.state("f")
    assert state is not None
    assert state == node.state("g")
    assert state.index == action["id"]["index"]


async def _write(graph: Graph, key: str, fields: Any) -> None:
    await graph.write(key, fields)


def test_foreign_ids_are_kept_and_stale_data_changes_nothing(db: cytosol.Database) -> None:
    """Two routers cannot play ping-pong: the second time nothing is logged."""

    async def main() -> None:
        graph = db.graph()
        await graph.commit(changed("k", 40, f="new", g=1))
        node = graph.value("k")
        assert node is not None
        assert node.state("f") == OpId(40, FAR)
        count = len(db.query_once_meta("$.actions[*]"))
        events = Events(graph)
        await graph.commit(changed("k", 39, FARTHER, f="old"))
        await graph.commit(changed("k", 40, f="new", g=1))
        assert len(db.query_once_meta("$.actions[*]")) == count
        assert (events.updates, events.histories) == ([], [])
        await graph.write("k", {"f": "mine"})
        assert node.state("f") > OpId(40, FAR)  # type: ignore[operator]  # it has one
        assert events.updates == [{"k": {"f": "mine"}}]
        assert events.histories == [{"k": {"f": "new"}}]

    run(main())


def test_a_deletion_hides_what_is_older_and_arrives_later(db: cytosol.Database) -> None:
    """The mark stands beside the graph; newer fields come through one by one."""

    async def main() -> None:
        graph = db.graph()
        await graph.commit(changed("k", 10, f=1))
        await graph.commit(deleted("k", 20))
        assert db.get("graph") == {}
        assert graph.value("k") is None
        await graph.commit(changed("k", 15, f="stale"))
        assert graph.value("k") is None
        await graph.commit(changed("k", 25, g="new"))
        assert graph.snapshot() == {"k": {"g": "new"}}
        assert db.get("graph", "k") == {"g": "new"}
        assert db.get("graph/deleted") == {"k": {"node": True}}

    run(main())


def test_a_late_deletion_spares_newer_fields(db: cytosol.Database) -> None:
    """Field by field, as in a graph on its own."""

    async def main() -> None:
        graph = db.graph()
        await graph.commit(changed("k", 10, f=1))
        await graph.commit(changed("k", 30, g=2))
        await graph.commit(deleted("k", 20))
        assert graph.snapshot() == {"k": {"g": 2}} == {"k": db.get("graph", "k")}

    run(main())


def test_a_deleted_field_stays_deleted(db: cytosol.Database) -> None:
    """Its mark says since when; a newer write brings it back."""

    async def main() -> None:
        graph = db.graph()
        await graph.commit(changed("k", 10, f=1, g=1))
        await graph.commit(field_deleted("k", "f", 20))
        assert graph.snapshot() == {"k": {"g": 1}} == {"k": db.get("graph", "k")}
        await graph.commit(changed("k", 15, FARTHER, f="stale"))
        assert graph.snapshot() == {"k": {"g": 1}}
        node = graph.value("k")
        assert node is not None
        assert node.state("f") == OpId(20, FAR)
        await node.write("f", 3)
        assert graph.snapshot() == {"k": {"f": 3, "g": 1}}
        await node.delete("f")
        assert graph.snapshot() == {"k": {"g": 1}}

    run(main())


def test_deletions_are_known_when_the_database_is_opened_again(tmp_path: Path) -> None:
    """And values with their ids, pointers and empty nodes."""
    path = tmp_path / "g.cytosol"

    async def before() -> dict[str, Any]:
        with open_alone(path) as db:
            graph = db.graph()
            await graph.commit(changed("k", 10, f=1, g=2))
            await graph.commit(field_deleted("k", "f", 20))
            await graph.commit(deleted("gone", 30))
            await graph.write("empty", {})
            await graph.write("p", {"to": Pointer("k")})
            return graph.to_json()

    state = run(before())
    with open_alone(path) as db:
        graph = db.graph()
        assert graph.to_json() == state
        assert graph.snapshot() == {"empty": {}, "k": {"g": 2}, "p": {"to": {"edge": "k"}}}
        db.check()


def test_what_is_deleted_by_an_action_is_gone_from_the_graph(db: cytosol.Database) -> None:
    """The event says so, and what is older does not come back while the graph is open."""

    async def main() -> None:
        graph = db.graph()
        await graph.commit(changed("k", 10, f=1, g=2))
        await graph.commit(changed("m", 10, f=1))
        events = Events(graph)
        db.dispatch(Delete("$.graph.k.f"))
        assert graph.snapshot() == {"k": {"g": 2}, "m": {"f": 1}}
        db.dispatch(Delete("$.graph.m"))
        assert graph.snapshot() == {"k": {"g": 2}}
        await asyncio.sleep(0)
        assert events.histories == [{"k": {"f": 1}}, {"m": {"f": 1}}]
        await graph.commit(changed("k", 10, f=1))
        await graph.commit(changed("m", 10, f=1))
        assert graph.snapshot() == {"k": {"g": 2}}
        db.dispatch(Set("$.graph.m", {"f": 2}))
        assert graph.snapshot() == {"k": {"g": 2}, "m": {"f": 2}}

    run(main())


def test_dispatches_become_events_in_the_loop_that_listens(db: cytosol.Database) -> None:
    """Whichever thread dispatches; node listeners hear their node's part."""

    async def main() -> None:
        graph = db.graph()
        node = await graph.write("k", {"f": 1})
        assert node is not None
        here = threading.get_ident()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        graph.on(
            "update", lambda nodes: heard.put_nowait((nodes.snapshot(), threading.get_ident()))
        )
        of_node = Events(node)
        await asyncio.to_thread(db.dispatch, Set("$.graph.k.f", 2))
        assert await heard.get() == ({"k": {"f": 2}}, here)
        assert (of_node.updates, of_node.histories) == ([{"f": 2}], [{"f": 1}])
        await asyncio.to_thread(db.dispatch, Set("$.unrelated", 1))
        await asyncio.to_thread(db.dispatch, Set("$.graph", {"z": {"a": 1}}))
        assert await heard.get() == ({"z": {"a": 1}}, here)
        assert graph.snapshot() == {"z": {"a": 1}}

    run(main())


def test_without_an_event_loop_events_come_with_the_dispatch(db: cytosol.Database) -> None:
    """A graph of plain calls needs no loop."""
    graph = db.graph()
    events = Events(graph)
    db.dispatch(Set("$.graph", {"k": {"f": 1}}))
    assert events.updates == [{"k": {"f": 1}}]
    db.dispatch(Set("$.graph.k.f", 2))
    assert events.histories == [{"k": {"f": 1}}]


def test_what_no_field_can_hold_is_not_seen(db: cytosol.Database) -> None:
    """The document may hold anything; a write to the graph puts a value in its place."""

    async def main() -> None:
        db.dispatch(Set("$.graph", {"k": {"list": [1], "deep": {"a": 1}, "f": 1}, "": {}, "n": 3}))
        graph = db.graph()
        assert graph.snapshot() == {"k": {"f": 1}}
        await graph.write("k", {"deep": 2})
        await graph.write("n", {"f": 1})
        assert graph.snapshot() == {"k": {"deep": 2, "f": 1}, "n": {"f": 1}}
        assert db.get("graph", "n") == {"f": 1}

    run(main())


def test_a_branch_is_committed_as_one_unit(db: cytosol.Database) -> None:
    """Subscribers of the document hear once; the branch saw the graph as it was."""

    async def main() -> None:
        graph = db.graph()
        await graph.write("k", {"f": 1})
        branch = graph.branch()
        db.dispatch(Set("$.graph.k.f", 2))
        assert branch.snapshot() == {"k": {"f": 1}}
        await branch.write("m", {"f": 1})
        await branch.write("n", {"to": Pointer("m")})
        heard: list[Any] = []
        db.subscribe("$.graph", heard.append)
        await graph.commit(branch)
        assert len(heard) == 2
        assert graph.snapshot() == {
            "k": {"f": 2},
            "m": {"f": 1},
            "n": {"to": {"edge": "m"}},
        }

    run(main())


def test_history_puts_back_what_was_overwritten(db: cytosol.Database) -> None:
    """Undo: commit the history on top."""

    async def main() -> None:
        graph = db.graph()
        await graph.write("k", {"f": 1})
        histories: list[NodeMap] = []
        graph.on("history", histories.append)
        await graph.write("k", {"f": 2})
        await graph.commit(histories[0].rebase(graph))
        assert db.get("graph", "k", "f") == 1

    run(main())


def test_a_full_disk_leaves_graph_and_document_as_they_were() -> None:
    """The writer hears of it, nobody else."""
    state = FaultyState()
    with open_alone(state) as db:
        graph = db.graph()
        run(_write(graph, "k", {"f": 1}))
        events = Events(graph)
        state.fill()
        with pytest.raises(SaveError):
            run(_write(graph, "k", {"f": 2}))
        assert graph.snapshot() == {"k": {"f": 1}} == db.get("graph")
        assert events.updates == []
        state.refusal = None
        run(_write(graph, "k", {"f": 3}))
        assert graph.snapshot() == {"k": {"f": 3}} == db.get("graph")
        db.check()


def test_what_stands_in_the_way_is_told(db: cytosol.Database) -> None:
    """A path below something that is no object: a write replaces it, as InitObject does."""
    db.dispatch(Set("$.graph", [1]))
    graph = db.graph()
    run(_write(graph, "k", {"f": 1}))
    assert db.get("graph") == {"k": {"f": 1}}
    far = db.graph("$.x.y")
    db.dispatch(Set("$.x", 1))

    async def stale() -> None:
        await far.commit(changed("k", 1, f=1))

    with pytest.raises(FailureError):
        run(stale())


def test_a_graph_stands_where_the_caller_wants(db: cytosol.Database) -> None:
    """Several graphs in one database do not see each other."""

    async def main() -> None:
        one, other = db.graph("$.a.nodes"), db.graph("$['b c']")
        await one.write("k", {"f": 1})
        await other.write("k", {"f": 2})
        await other.delete("k")
        assert one.snapshot() == {"k": {"f": 1}}
        assert other.snapshot() == {}
        assert db.query_once("$") == [
            {
                "a": {"nodes": {"k": {"f": 1}}},
                "b c": {},
                "b c/deleted": {"k": {"node": True}},
            }
        ]

    run(main())


@pytest.mark.parametrize("path", ["$", "$.*", "$..a", "$.a[0]", "$.a[-1]"])
def test_other_paths_are_refused(db: cytosol.Database, path: str) -> None:
    """A graph is one object."""
    with pytest.raises(ConfigError, match="made of keys"):
        db.graph(path)


def test_a_storage_is_refused(db: cytosol.Database) -> None:
    """The database is the storage."""

    class Storage:
        async def read(self, action: Any) -> Any: ...
        async def write(self, action: Any) -> Any: ...

    with pytest.raises(ConfigError, match="stored by the database"):
        db.graph("$.graph", {"storage": Storage()})


def test_hooks_work_as_in_any_graph(db: cytosol.Database) -> None:
    """An async hook that lets other writes pass meanwhile: the last one called wins."""

    async def main() -> None:
        gate = asyncio.Event()

        async def wait(action: Any) -> Any:
            await gate.wait()
            return action

        graph = db.graph("$.graph", {"hooks": {"before": {"write": wait}}})
        first = graph.write("k", {"f": "first"})
        db.dispatch(InitObject("$.graph"))
        db.dispatch(Set("$.graph.k", {"g": 1}))
        second = graph.write("k", {"f": "second"})
        gate.set()
        await first
        await second
        assert db.get("graph", "k", "f") == "second"

    run(main())


def test_ids_that_paired_devices_could_not_follow_are_refused(db: cytosol.Database) -> None:
    """A graph whose clock ran away stays outside."""

    async def main() -> None:
        graph = db.graph()
        with pytest.raises(GraphError, match="clock is broken"):
            await graph.commit(changed("k", LAMPORT_LEAP_MAX + 5, f=1))
        assert graph.snapshot() == {}

    run(main())


def test_a_closed_database_refuses_writes(db: cytosol.Database) -> None:
    """As everywhere."""
    graph = db.graph()
    db.close()
    with pytest.raises(DatabaseClosedError):
        run(_write(graph, "k", {"f": 1}))
    with pytest.raises(DatabaseClosedError):
        db.graph()


@pytest.mark.parametrize("key", ["it's", 'a "b"', "a.b[0]", "\\", "ключ", "\n", "__proto__"])
def test_any_key_can_be_used(db: cytosol.Database, key: str) -> None:
    """For nodes and for fields."""

    async def main() -> None:
        graph = db.graph()
        await graph.write(key, {key: key})
        assert graph.snapshot() == {key: {key: key}} == db.get("graph")
        await graph.delete(key)
        assert graph.snapshot() == {}

    run(main())


# --- several graphs ---------------------------------------------------------------------


def test_two_databases_that_exchange_updates_become_equal() -> None:
    """They are not paired: what one announces is committed to the other, until nothing is new."""

    async def main() -> None:
        with open_alone() as one_db, open_alone() as other_db:
            one, other = one_db.graph(), other_db.graph()
            rounds = 0

            def pass_on(to: Graph) -> Callable[[NodeMap], None]:
                def send(update: NodeMap) -> None:
                    nonlocal rounds
                    rounds += 1
                    to.commit(update.copy())

                return send

            one.on("update", pass_on(other))
            other.on("update", pass_on(one))
            await one.write("k", {"f": 1, "g": 1})
            await other.write("k", {"f": 2})
            await one.write("m", {"to": Pointer("k")})
            await other.delete("m")
            await one.write("k", {"h": 3})
            assert one.snapshot() == other.snapshot() == {"k": {"f": 2, "g": 1, "h": 3}}
            assert rounds == 10
            node, same = one.value("k"), other.value("k")
            assert node is not None
            assert same is not None
            for field in "fgh":
                assert node.state(field) == same.state(field)

    run(main())


def test_a_router_passes_on_what_was_dispatched_and_brings_what_others_write(
    db: cytosol.Database,
) -> None:
    """So a graph on its own, far away, and the document tell each other everything."""

    async def main() -> None:
        here, there = link()
        graph = db.graph("$.graph", {"network": here, "router": Router()})
        other = routed(there)
        await graph.write("k", {"f": 1})
        await until(lambda: other.snapshot() == {"k": {"f": 1}})
        await asyncio.to_thread(db.dispatch, Set("$.graph.k.f", 2))
        await until(lambda: other.snapshot() == {"k": {"f": 2}})
        await other.write("k", {"g": 3})
        await until(lambda: db.get("graph", "k") == {"f": 2, "g": 3})
        await other.delete("k")
        await until(lambda: db.get("graph") == {})
        db.dispatch(Set("$.graph.k", {"f": 4}))
        await until(lambda: other.snapshot() == {"k": {"f": 4}})
        db.dispatch(Delete("$.graph.k"))
        await until(lambda: other.snapshot() == {})
        count = len(db.query_once_meta("$.actions[*]"))
        await settle()
        assert len(db.query_once_meta("$.actions[*]")) == count
        await graph.close()
        await other.close()

    run(main())


def test_two_routers_of_paired_devices_at_one_source_agree() -> None:
    """Both get every update, over the network of the graph and from each other."""

    async def main() -> None:
        (one_end, one_far), (other_end, other_far) = link(), link("c", "d")
        one_graph = one.graph("$.graph", {"network": one_end, "router": Router()})
        other_graph = other.graph("$.graph", {"network": other_end, "router": Router()})
        source = routed(one_far, other_far)
        for number in range(10):
            await source.write(f"k{number % 3}", {"n": number})
        await source.delete("k1")
        wanted = source.snapshot()
        await until(lambda: one_graph.snapshot() == wanted == other_graph.snapshot())
        await asyncio.to_thread(other.dispatch, Set("$.graph.k0.n", "dispatched"))
        await until(lambda: source.snapshot() == {**wanted, "k0": {"n": "dispatched"}})
        for graph in (one_graph, other_graph, source):
            await graph.close()

    with paired() as (one, other):
        run(main())
        state = Heard()
        one.subscribe("$.graph.k0.n", state)
        state.wait_for(["dispatched"])
        assert one.query_once_meta("$.failures[*]") == []
        one.check()


@contextmanager
def paired() -> Iterator[tuple[cytosol.Database, cytosol.Database]]:
    """Open two databases that are paired over loopback."""
    from tests.unit.database.databases import new_app_id

    app_id = new_app_id()
    options: dict[str, Any] = {"app_id": app_id, "loopback": True}
    with (
        cytosol.open(None, peer_name="one", **options) as one,
        cytosol.open(None, peer_name="other", **options) as other,
    ):
        pair(one, other)
        yield one, other


def pair(one: cytosol.Database, other: cytosol.Database) -> None:
    """Pair two databases with a code."""
    visible, requested, answered = Heard(), Heard(), Heard()
    one.subscribe_meta("$.peers[*].id", visible)
    visible.wait_for([other.peer_id])
    other.on("pair_request", requested)
    one.on("pair_response", answered)
    code = cytosol.new_pairing_code()
    one.dispatch(cytosol.RequestPair(other.peer_id, code))
    requested.wait_for_one()
    other.dispatch(cytosol.AcceptPair(one.peer_id, code))
    answered.wait_for_one()


def test_paired_databases_share_the_graph() -> None:
    """Queried by JSONPath and edited by dispatch at the same time; the loop hears of it."""

    async def main() -> None:
        one_graph, other_graph = one.graph(), other.graph()
        wanted = asyncio.Event()

        def look(_: Any) -> None:
            if other_graph.snapshot() == {"k": {"f": 3, "g": 2, "h": 1}}:
                wanted.set()

        other_graph.on("update", look)
        await one_graph.write("k", {"f": 1, "g": 2})
        await asyncio.to_thread(one.dispatch, Set("$.graph.k.f", 3))
        await one_graph.write("k", {"h": 1})
        await wanted.wait()
        assert other.query_once("$.graph[?@.h == 1].f") == [3]
        back = asyncio.Event()
        one_graph.on("update", lambda nodes: back.set())
        await other_graph.delete("k")
        await back.wait()
        assert one_graph.snapshot() == {}
        assert one.get("graph") == {}

    with paired() as (one, other):
        run(main())


def test_an_asyncio_program_writes_while_the_other_device_does() -> None:
    """Many writes on both sides at once, none is lost, and both graphs end equal."""
    count = 40

    async def main() -> None:
        one_graph, other_graph = one.graph(), other.graph()
        done = asyncio.Event()

        def look(_: Any) -> None:
            if len(one_graph) == len(other_graph) == 2 * count:
                done.set()

        one_graph.on("update", look)
        other_graph.on("update", look)

        def dispatch_many() -> None:
            other.dispatch(InitObject("$.graph"))
            for number in range(count):
                other.dispatch(Set(f"$.graph.other{number}", {"n": number}))

        thread = asyncio.get_running_loop().run_in_executor(None, dispatch_many)
        for number in range(count):
            await one_graph.write(f"one{number}", {"n": number})
            await asyncio.sleep(0)
        await thread
        await done.wait()
        assert json.dumps(one_graph.to_json(), sort_keys=True) == json.dumps(
            other_graph.to_json(), sort_keys=True
        )

    with paired() as (one, other):
        run(main())
        one.check()
        other.check()


def test_the_backing_lets_go_of_the_document(db: cytosol.Database) -> None:
    """A closed graph costs the database nothing."""

    async def main() -> None:
        graph = db.graph()
        backing = graph._backing
        assert isinstance(backing, DocumentBacking)
        await graph.close()
        assert db._document.observers == ()

    run(main())
