"""What somebody found who knew the documentation only: each test is one thing that went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import cytosol
from cytosol import Graph, GraphError, JsonFileSaveState, SqliteSaveState
from cytosol.graph import ConnectionGroup, Node, NodeMap
from cytosol.graph.router import Router
from cytosol.graph.rules import Patch, Route
from cytosol.graph.storage import MemoryStorage, SaveStateStorage
from cytosol.graph.transports.memory import pair
from cytosol.graph.transports.serving import Request
from cytosol.model.ids import OpId
from cytosol.savestates import SaveState
from tests.graph.routing import Heard, Stranger, Timer, routed, settle, stranger_of, until
from tests.graph.running import run
from tests.graph.served import KINDS, Kind, run_clean
from tests.graph.test_router import AUTHOR, node_json

# --- Answers and permissions ------------------------------------------------------------------


def answering(
    node: Callable[[str], Any], *routes: Route, **config: Any
) -> tuple[Any, Stranger, Any]:
    """Return a graph with routes, and a stranger who answers whatever it is asked."""
    graph, stranger, ours = stranger_of(Router(routes), **config)

    def answer(message: Any) -> None:
        if message["type"] == "pull":
            nodes = {key: node(key) for key in message["keys"]}
            stranger.say({"type": "answer", "id": message["id"], "nodes": nodes})

    stranger.connection.messages.listen(answer)
    return graph, stranger, ours


def test_an_answer_writes_no_more_than_a_push_may() -> None:
    """A server that reads asks its clients; who may not write cannot slip something in so."""

    async def main() -> None:
        reader = Route("*", allow_read=True)
        server, _, _ = answering(node_json, reader, storage=MemoryStorage())
        assert await server.read("users/eve") is None
        assert await server.read("users/eve", force=True) is None
        assert {} == server.snapshot()
        assert 2 == server.router.counts["denied"]

    run(main())


def test_an_answer_is_judged_by_what_is_new_in_it() -> None:
    """What the server has already does not count against the one who answers."""
    seen: list[Any] = []
    servers: list[Any] = []

    def rule(identity: Any, key: str, patch: Patch | None) -> bool:
        assert patch is not None
        seen.append(dict(patch.fields))
        return set(patch.fields) <= {"text"}

    def with_a_text(key: str) -> Any:
        state = servers[0].value(key).to_json()
        state["fields"]["text"] = ["hello", 1, AUTHOR]
        return state

    async def main() -> None:
        server, _, _ = answering(with_a_text, Route("posts/*", allow_read=True, allow_write=rule))
        servers.append(server)
        await server.write("posts/1", {"likes": 7}, network=None)
        post = await server.read("posts/1", force=True)
        assert {"likes": 7, "text": "hello"} == post.snapshot()
        assert [{"text": "hello"}] == seen

    run(main())


def test_nobody_is_asked_for_what_it_may_not_read() -> None:
    """The question would tell the key."""

    async def main() -> None:
        server, stranger, _ = answering(node_json, Route("open/*", True, True))
        await server.nodes(["users/bob", "open/a"])
        assert [["open/a"]] == [pull["keys"] for pull in stranger.of("pull")]
        assert ["open/a"] == server.keys()
        await server.read("users/bob")
        await settle()
        assert 1 == len(stranger.of("pull"))

    run(main())


def test_what_was_written_under_our_author_comes_back_to_us() -> None:
    """A graph that begins anew under its author, without its data, sees all that others see."""

    async def main() -> None:
        author = b"a" * 16
        ours, theirs = pair("client", "server")
        server, client = routed(ours), Graph({"network": theirs, "router": Router()}, author=author)
        await settle()
        for pages in range(5):
            await client.write("book", {"pages": pages})
            await client.write("shelf", {"books": pages})
        await client.close()
        server.network.remove(ours)

        ours, theirs = pair("client", "server")
        server.network.add(ours)
        again = Graph({"network": theirs, "router": Router()}, author=author)
        await server.write("book", {"title": "Emma"})
        await settle()
        book = await again.read("book", force=True)
        assert {"pages": 4, "title": "Emma"} == book.snapshot()
        await again.write("book", {"pages": 5})
        await settle()
        assert server.to_json() == again.to_json()
        assert 5 == server.value("book").value("pages")

    run(main())


def test_who_does_not_acknowledge_is_waited_for_once() -> None:
    """Not by each write anew, as long as it says nothing; what was written reaches it anyhow."""

    async def main() -> None:
        timer = Timer()
        graph, stranger, _ = stranger_of(Router(timer=timer))
        greeting = {"graph": str(uuid4()), "session": str(uuid4()), "reply": True}
        stranger.say({"type": "hello", "id": 1, **greeting})
        await settle()
        first = asyncio.ensure_future(written(graph, 1))
        await settle()
        assert not first.done()
        timer.ring()
        await first
        await written(graph, 2)
        await settle()
        assert [1, 2] == [push["nodes"]["n"]["fields"]["x"][0] for push in stranger.of("push")]
        assert 1 == graph.router.counts["timeouts"]
        stranger.say({"type": "done", "id": stranger.of("push")[0]["id"]})
        await settle()
        third = asyncio.ensure_future(written(graph, 3))
        await settle()
        assert not third.done()
        stranger.say({"type": "done", "id": stranger.of("push")[2]["id"]})
        await third

    async def written(graph: Graph, value: int) -> None:
        await graph.write("n", {"x": value})

    run(main())


def test_a_write_does_not_cost_more_where_many_have_written() -> None:
    """A note about a peer names all authors: it is written when enough has come together."""

    class Counted(MemoryStorage):
        saved = 0

        def __init__(self) -> None:
            super().__init__()
            put = self.notes.put

            def counted(name: str, note: Any) -> None:
                if note and "known" in note:
                    self.saved += len(note["known"])
                put(name, note)

            self.notes.put = counted  # type: ignore[method-assign]  # a spy

    async def main() -> None:
        ours, theirs = pair("client", "server")
        storage = Counted()
        server, client = routed(ours, storage=storage), routed(theirs)
        many = Node("many")
        for number in range(2_000):
            author = number.to_bytes(16, "big")
            many.entries[f"f{number}"] = (number, OpId(number + 1, author))
        await server.commit(NodeMap([many]))
        await settle()
        assert 2_000 == len(client.value("many"))
        storage.saved = 0
        for number in range(100):
            await server.write("n", {"x": number})
        assert 5 * 2_000 >= storage.saved
        await server.close()
        assert {"x": 99} == client.value("n").snapshot()

        # What was noted in the end holds: nothing is sent again.
        ours, theirs = pair("client", "server again")
        client.network.add(theirs)
        heard = Heard(ours)
        again = routed(ours, storage=storage)
        await settle()
        assert 2 == len(heard.of("hello"))
        assert [] == heard.of("push")
        await again.close()

    run(main())


def test_who_is_another_one_each_time_does_not_make_work_pile_up() -> None:
    """What was under way to the one before is not held, searched and named for the next one."""

    async def main() -> None:
        graph, stranger, _ = stranger_of()
        await graph.write("n", {"x": 1}, network=None)
        for number in range(20):
            greeting = {"graph": str(uuid4()), "session": str(uuid4()), "reply": False}
            stranger.say({"type": "hello", "id": number, **greeting})
            await until(lambda count=number + 1: len(stranger.of("push")) == count)
        replies = [hello for hello in stranger.of("hello") if hello["reply"]]
        assert [[]] * 20 == [hello["waiting"] for hello in replies]

    run(main())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_slash_in_a_name_does_not_lead_to_another_user(kind: Kind) -> None:
    """One user cannot occupy the place of another one's client."""

    async def main() -> None:
        def who(request: Request) -> str:
            return request.headers["x-user"]

        async with (
            kind.server(authenticate=who) as server,
            kind.client(server.port, name="phone/x", headers={"X-User": "ann"}),
            kind.client(server.port, name="x", headers={"X-User": "ann/phone"}),
        ):
            assert {"ann/phone/x", "ann%2Fphone/x"} == {client.id for client in server}

    run_clean(main())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_headers_that_are_none_are_refused_at_once(kind: Kind) -> None:
    """They would fail at each call, in the background, for ever."""
    with pytest.raises(GraphError, match="`headers` must be a mapping"):
        kind.client(1, headers="Authorization: secret")


# --- Queries and keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$[?@.self == @]", ["c", "d"]),
        ("$[?@.self == $.c]", ["c"]),
        ("$[?@.other == $.d]", ["c"]),
        ("$[?@.other != @.self]", ["c", "d"]),
        ("$[?@.self <= $.d]", ["d"]),
        ("$[?value($.c.other) == @]", ["d"]),
        ("$[?$ == @]", []),
    ],
)
def test_nodes_in_a_circle_can_be_compared(path: str, expected: list[str]) -> None:
    """A node equals itself and no other, however alike they are."""

    async def main() -> None:
        graph = Graph()
        c, d = await graph.write("c", {}), await graph.write("d", {})
        for node, other in ((c, d), (d, c)):
            await node.write("self", node)
            await node.write("other", other)
        assert expected == [node.key for node in await graph.query(path)]

    run(main())


def test_a_key_of_a_type_of_its_own_is_read_as_it_is_written() -> None:
    """As the members of an enumeration of texts are."""

    class Key(StrEnum):
        BOOK = "book"

    async def main() -> None:
        graph = Graph()
        written = await graph.write(Key.BOOK, {"x": 1})
        assert written is await graph.read(Key.BOOK)
        assert [written] == await graph.nodes([Key.BOOK])
        assert str is type(written.key)

    run(main())


# --- Storages, callbacks, authors, words ------------------------------------------------------


@pytest.mark.parametrize("save_state", [SqliteSaveState, JsonFileSaveState])
def test_the_file_of_a_database_is_no_storage_of_a_graph(
    tmp_path: Path, save_state: type[SaveState]
) -> None:
    """Nodes between the records of a readable file made the database call it damaged."""
    file = tmp_path / "notes"
    app = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
    cytosol.open(save_state(file), app_id=app, sync_enabled=False).close()
    with pytest.raises(GraphError, match=r"holds a database: .* `db.graph\(\)`"):
        SaveStateStorage(save_state(file))
    cytosol.open(save_state(file), app_id=app, sync_enabled=False).close()


def test_a_storage_that_cannot_tidy_up_does_not_bring_a_node_back() -> None:
    """When `remove` raises, the deletion is stored already: it stands, and is reported."""

    class Untidy(MemoryStorage):
        def remove(self, action: Any) -> Any:
            raise OSError("busy")

    async def main() -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        storage = Untidy()
        graph = Graph({"storage": storage})
        updates: list[Any] = []
        graph.on("update", updates.append)
        await graph.write("n", {"x": 1})
        await graph.delete("n")
        assert await graph.read("n") is None
        assert await Graph({"storage": storage}).read("n") is None
        assert 2 == len(updates)
        assert [OSError] == [type(what["exception"]) for what in reported]

    asyncio.run(main())


def test_an_async_callback_is_refused() -> None:
    """It would never run, and nobody would be told."""

    async def callback(nodes: Any) -> None: ...

    graph = Graph()
    graph.write("n", {})
    for emitter in (graph, graph.value("n"), ConnectionGroup()):
        event = "add" if isinstance(emitter, ConnectionGroup) else "update"
        with pytest.raises(GraphError, match="an async function and would never run"):
            emitter.on(event, callback)


@pytest.mark.parametrize("author", ["sixteen letters!", b"short", bytearray(16), 5])
def test_an_author_is_bytes(author: Any) -> None:
    """A text of 16 letters passed, and no merge could compare it."""
    with pytest.raises(GraphError, match="an author is 16 bytes, not "):
        Graph(author=author)


@pytest.mark.parametrize(
    "value", [b"x", {1}, 1j, object(), Graph()], ids=["bytes", "set", "complex", "object", "graph"]
)
def test_what_is_no_json_is_not_called_a_list(value: Any) -> None:
    """The error names the type, and what a value can be."""
    with pytest.raises(GraphError, match=r"of the type \w+: a value is a text, a number"):
        Graph().write("n", {"f": value})
