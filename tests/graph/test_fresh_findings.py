"""What somebody found who knew the documentation only: each test is one thing that went wrong."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from cytosol import Graph
from cytosol.graph.router import Router
from cytosol.graph.rules import Patch, Route
from cytosol.graph.storage import MemoryStorage
from tests.graph.routing import Stranger, settle, stranger_of
from tests.graph.running import run
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
