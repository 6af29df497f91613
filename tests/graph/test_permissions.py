"""Who may not read gets nothing, who may not write changes nothing, and neither learns anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from cytosol.errors import ConfigError, PermissionDeniedError
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.rules import Patch, Route, Rules
from cytosol.graph.transports.memory import pair
from tests.graph.routing import Stranger, routed, settle, until
from tests.graph.running import run
from tests.graph.test_router import AUTHOR, node_json


def secured(*routes: Route, **options: Any) -> tuple[Graph, Graph]:
    """Return a server with routes, and a client whom it knows as "ann"."""
    ours, theirs = pair("client", "server")
    ours.identity = "ann"
    return routed(ours, router=Router(routes, **options)), routed(theirs)


def watched(graph: Graph) -> list[str]:
    """Return the keys that the graph is asked for, and that change in it, from now on."""
    touched: list[str] = []
    nodes, commit = graph.nodes, graph.commit

    def watching_nodes(keys: Iterable[str], **options: Any) -> Any:
        touched.extend(keys)
        return nodes(keys, **options)

    def watching_commit(changes: Any, **options: Any) -> Any:
        touched.extend(changes.keys())
        return commit(changes, **options)

    graph.nodes = watching_nodes  # type: ignore[method-assign]  # a spy
    graph.commit = watching_commit  # type: ignore[method-assign]  # a spy
    return touched


# --- Reading --------------------------------------------------------------------------------


def test_a_reader_without_rights_is_refused() -> None:
    """The asker gets the error; nothing comes."""

    async def main() -> None:
        server, client = secured(Route("open/*", allow_read=True))
        await server.write("secret", {"x": 1})
        await server.write("open/a", {"x": 2})
        await settle()
        with pytest.raises(PermissionDeniedError, match="reading 'secret'"):
            await client.read("secret")
        assert {"x": 2} == (await client.read("open/a")).snapshot()
        assert ["open/a"] == client.keys()

    run(main())


def test_a_refusal_does_not_tell_whether_the_key_exists() -> None:
    """The answers are the same to the letter, and the graph was not even asked."""

    async def main() -> None:
        ours, theirs = pair("client", "server")
        server = routed(ours, router=Router([]))
        await server.write("secret", {"x": 1})
        touched = watched(server)
        stranger = Stranger(theirs)
        for number, key in enumerate(["secret", "nothing"]):
            stranger.say({"type": "pull", "id": number, "keys": [key]})
            push = {"type": "push", "id": 10 + number, "nodes": {key: node_json(key)}}
            stranger.say(push)
        await until(lambda: len(stranger.of("error")) == 4)
        assert {"permission denied"} == {error["error"] for error in stranger.of("error")}
        assert {"type", "id", "error"} == set(stranger.of("error")[0])
        assert [] == touched
        assert 4 == server.router.counts["denied"]
        assert {"secret": {"x": 1}} == server.snapshot()

    run(main())


def test_the_error_at_the_asker_is_the_same_too() -> None:
    """Only the key that was asked for differs, and the asker knows that one."""

    async def main() -> None:
        server, client = secured()
        await server.write("secret", {"x": 1})
        texts = []
        for key in ("secret", "nothin"):
            with pytest.raises(PermissionDeniedError) as caught:
                await client.read(key)
            texts.append(str(caught.value).replace(key, "KEY"))
        assert texts[0] == texts[1]

    run(main())


def test_one_refused_key_refuses_the_request() -> None:
    """There are no half answers, whatever the order; every rule is asked every time."""

    async def main() -> None:
        asked: list[str] = []

        def rule(identity: Any, key: str, patch: Patch | None) -> bool:
            asked.append(key)
            return key != "b"

        _, client = secured(Route("*", allow_read=rule))
        await settle()
        for keys in (["a", "b", "c"], ["b", "a", "c"]):
            asked.clear()
            with pytest.raises(PermissionDeniedError):
                await client.nodes(keys)
            assert keys == asked

    run(main())


def test_an_answer_from_elsewhere_makes_up_for_a_refusal() -> None:
    """If another peer has all that was asked for, the read has it."""

    async def main() -> None:
        one, at_one = pair("closed")
        two, at_two = pair("open")
        closed, opened = routed(at_one, router=Router([])), routed(at_two)
        await opened.write("k", {"x": 1}, network=None)
        client = routed(one, two)
        assert {"x": 1} == (await client.read("k")).snapshot()
        with pytest.raises(PermissionDeniedError):
            await client.read("nothing")
        assert not closed.keys()

    run(main())


def test_changes_go_only_to_those_who_may_read_them() -> None:
    """What is not for the client's eyes is not pushed to it, not even as a key."""

    async def main() -> None:
        server, client = secured(Route("open/*", allow_read=True))
        await settle()
        await server.commit({"open/a": {"x": 1}, "secret": {"x": 2}})
        await settle()
        assert {"open/a": {"x": 1}} == client.snapshot()
        assert 1 == server.router.counts["withheld"]

    run(main())


# --- Writing --------------------------------------------------------------------------------


def test_a_writer_without_rights_is_refused() -> None:
    """The write raises and changes nothing at the server; the local one stands."""

    async def main() -> None:
        server, client = secured(Route("open/*", allow_read=True, allow_write=True))
        await server.write("secret", {"x": 1})
        await settle()
        with pytest.raises(PermissionDeniedError, match="writing 'secret'"):
            await client.write("secret", {"x": 2})
        assert {"secret": {"x": 1}} == server.snapshot()
        assert {"secret": {"x": 2}} == client.snapshot()
        await client.write("open/a", {"x": 3})
        assert {"x": 3} == server.value("open/a").snapshot()

    run(main())


def test_a_refused_commit_changes_nothing_at_all() -> None:
    """One node that may not be written refuses the others of the same commit."""

    async def main() -> None:
        server, client = secured(Route("open/*", allow_write=True))
        await settle()
        with pytest.raises(PermissionDeniedError):
            await client.commit({"open/a": {"x": 1}, "secret": {"x": 2}})
        assert not server.keys()

    run(main())


def test_what_was_written_offline_is_refused_piece_by_piece() -> None:
    """A bad write that waited does not take the good ones with it."""

    async def main() -> None:
        def rule(identity: Any, key: str, patch: Patch | None) -> bool:
            return patch is not None and "stolen" not in patch.fields

        ours, theirs = pair("client", "server")
        server, client = routed(ours, router=Router([Route("*", allow_write=rule)])), routed(theirs)
        await settle()
        theirs.disconnect()
        await client.write("a", {"x": 1})
        await client.write("b", {"x": 2})
        await client.write("b", {"stolen": 3})
        theirs.reconnect()
        await settle()
        assert {"a": {"x": 1}, "b": {"x": 2}} == server.snapshot()
        assert 1 == client.router.counts["refused"]

    run(main())


def test_a_rule_sees_who_asks_and_what_for() -> None:
    """Identity, key and patch, with deletions; for a read the patch is None."""

    async def main() -> None:
        seen: list[tuple[Any, str, Patch | None]] = []

        async def rule(identity: Any, key: str, patch: Patch | None) -> bool:
            await asyncio.sleep(0)
            seen.append((identity, key, patch))
            return True

        _, client = secured(Route("k*", allow_read=rule, allow_write=rule))
        await settle()
        await client.write("k", {"x": 1})
        await client.value("k").delete("x")
        await client.delete("k")
        await client.read("k2")
        deleted = Patch({"x": None}, frozenset({"x"}))
        assert [
            ("ann", "k", Patch({"x": 1})),
            ("ann", "k", deleted),
            ("ann", "k", Patch({}, frozenset(), True)),
            ("ann", "k2", None),
        ] == seen

    run(main())


def test_a_rule_that_raises_denies_and_is_reported() -> None:
    """A mistake does not open the door; the server's loop hears of it."""

    async def main() -> None:
        told: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        mistake = ZeroDivisionError()

        def rule(identity: Any, key: str, patch: Patch | None) -> bool:
            raise mistake

        _, client = secured(Route("*", allow_read=rule))
        with pytest.raises(PermissionDeniedError):
            await client.read("k")
        assert [mistake] == told

    run(main())


@pytest.mark.parametrize("verdict", [None, 1, "yes", [True], object()])
def test_only_true_allows(verdict: Any) -> None:
    """A rule that returns something else by mistake denies."""

    async def main() -> None:
        _, client = secured(Route("*", allow_read=lambda identity, key, patch: verdict))
        with pytest.raises(PermissionDeniedError):
            await client.read("k")

    run(main())


# --- In the middle --------------------------------------------------------------------------


def test_a_router_in_the_middle_passes_on_what_its_rules_allow() -> None:
    """What one end may not write, or the other may not read, does not pass."""

    async def main() -> None:
        ann_wire, at_ann = pair("ann", "middle")
        bob_wire, at_bob = pair("bob", "middle")
        ann_wire.identity, bob_wire.identity = "ann", "bob"
        routes = [
            Route("ann/*", allow_read=True, allow_write=lambda who, key, patch: who == "ann"),
            Route("private/*", allow_read=lambda who, key, patch: who == "ann", allow_write=True),
        ]
        middle = routed(ann_wire, bob_wire, router=Router(routes))
        ann, bob = routed(at_ann), routed(at_bob)
        await settle()
        await ann.write("ann/a", {"x": 1})
        await ann.write("private/a", {"x": 2})
        with pytest.raises(PermissionDeniedError):
            await bob.write("ann/a", {"x": "mine"})
        await settle()
        assert {"ann/a": {"x": 1}, "private/a": {"x": 2}} == middle.snapshot()
        assert {"x": 1} == ann.value("ann/a").snapshot()
        assert "private/a" not in bob.copy()

    run(main())


def test_a_lie_about_the_graph_does_not_spoil_what_waits_for_another() -> None:
    """Who proves to be somebody else gets an outbox of its own, whatever id it claims."""

    async def main() -> None:
        ann_wire, at_ann = pair("ann", "server")
        eve_wire, at_eve = pair("eve", "server")
        ann_wire.identity, eve_wire.identity = "ann", "eve"
        server = routed(ann_wire, eve_wire, router=Router([Route("*", allow_read=True)]))
        ann = routed(at_ann)
        eve = Stranger(at_eve)
        await settle()
        at_ann.disconnect()
        claimed = ann.router._courier.notes.graph_id
        eve.say(
            {
                "type": "hello",
                "id": 1,
                "graph": "-".join([claimed.hex()[a:b] for a, b in CUTS]),
                "session": AUTHOR,
            }
        )
        await settle()
        writing = server.write("k", {"x": 1})
        await settle()
        for push in eve.of("push"):
            eve.say({"type": "done", "id": push["id"]})
        await writing
        at_ann.reconnect()
        await settle()
        assert {"k": {"x": 1}} == ann.snapshot()

    run(main())


CUTS = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]


# --- Routes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("books/*", "books/momo", True),
        ("books/*", "books/", True),
        ("books/*", "books/a/b", True),
        ("books/*", "book", False),
        ("*", "", True),
        ("*", "anything at all", True),
        ("k", "k", True),
        ("k", "kk", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*/title", "books/title", True),
        ("*/title", "books/titles", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bc*c", "abc", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("**", "x", True),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, key: str, matches: bool) -> None:
    """Everything else stands for itself."""
    assert matches == Route(pattern).matches(key)


def test_the_first_route_that_matches_decides() -> None:
    """Later ones are not looked at; what none matches is as the default says."""

    async def main() -> None:
        routes = [Route("a*", allow_read=True), Route("*", allow_write=True)]
        rules = Rules(routes)
        assert await rules.allows("read", None, "a", None)
        assert not await rules.allows("write", None, "a", Patch({}))
        assert not await rules.allows("read", None, "b", None)
        assert await rules.allows("write", None, "b", Patch({}))

    run(main())


@pytest.mark.parametrize(
    ("routes", "default", "verdict"),
    [
        (None, None, True),
        ([], None, False),
        ([Route("a")], None, False),
        ([Route("a")], "allow", True),
        (None, "deny", False),
    ],
)
def test_who_names_routes_closes_the_rest(routes: Any, default: Any, verdict: bool) -> None:
    """Without routes all is open; with routes all else is closed, unless the default says so."""

    async def main() -> None:
        assert verdict is await Rules(routes, default).allows("read", None, "z", None)

    run(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Route(""),
        lambda: Route(7),  # type: ignore[arg-type]  # what the test is about
        lambda: Route("a", allow_read="yes"),  # type: ignore[arg-type]  # what the test is about
        lambda: Route("a", allow_write=None),  # type: ignore[arg-type]  # what the test is about
        lambda: Router(["books/*"]),  # type: ignore[list-item]  # what the test is about
        lambda: Router(default="perhaps"),  # type: ignore[arg-type]  # what the test is about
    ],
)
def test_wrong_routes_are_refused(make: Any) -> None:
    """A rule that is none would be one that nobody meant."""
    with pytest.raises(ConfigError):
        make()
