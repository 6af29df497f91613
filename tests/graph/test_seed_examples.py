"""The examples of the Mytosis seed in Python, with its mistakes corrected."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cytosol import Graph, GraphError
from cytosol.graph import ConnectionGroup, Node, NodeMap, ReadNodes, Stream, Write
from cytosol.graph.transports.memory import pair
from tests.graph.running import run


def test_introduction_book_author_and_books() -> None:
    """Seed: Introduction. Edges are resolved, the mesh is walked in a circle."""

    async def story() -> None:
        db = Graph()
        book = await db.write("book", {"title": "Hitchhiker's Guide"})
        books = await db.write("books", {"book": book})
        author = await db.write("author", {"name": "Douglas Adams", "authored": books})
        await book.write("author", author)

        assert "Douglas Adams" == await (await book.read("author")).read("name")
        authored = await author.read("authored")
        assert book is await authored.read("book")
        assert {"title": "Hitchhiker's Guide", "author": {"edge": "author"}} == book.snapshot()
        assert ["Douglas Adams"] == await db.query("$.books.book.author.name")

    run(story())


def test_read_stats() -> None:
    """Seed: db.read. What cannot be found is None."""

    async def story() -> None:
        db = Graph()
        assert await db.read("stats") is None
        await db.write("stats", {"visits": 1})
        stats = await db.read("stats")
        assert {"visits": 1} == stats.snapshot()

    run(story())


def test_nodes_timeline_and_profile() -> None:
    """Seed: db.nodes."""

    async def story() -> None:
        db = Graph()
        user_id = "1e9f"
        await db.write(f"profile/{user_id}", {"name": "Ann"})
        timeline, profile = await db.nodes(["timeline", f"profile/{user_id}"])
        assert timeline is None
        assert {"name": "Ann"} == profile.snapshot()

    run(story())


def test_write_preferences() -> None:
    """Seed: db.write. Only the properties that change are declared."""

    async def story() -> None:
        db = Graph()
        await db.write("preferences", {"language": "en", "theme": "light"})
        db.write("preferences", {"notificationsDisabled": True, "theme": "dark"})
        preferences = await db.read("preferences")
        assert {
            "language": "en",
            "theme": "dark",
            "notificationsDisabled": True,
        } == preferences.snapshot()

    run(story())


def test_branch_with_two_writes() -> None:
    """Seed: db.branch and db.commit."""

    async def story() -> None:
        db = Graph()
        update = db.branch()

        # These writes won't affect `db`.
        await update.write("settings", {"bio": "It all started when...", "theme": "Monokai"})
        await update.write("contact", {"email": "ann@example.org"})
        assert {} == db.snapshot()

        # Write all the changes at once.
        updates: list[NodeMap] = []
        db.on("update", updates.append)
        await db.commit(update)
        assert [{"settings", "contact"}] == [set(delta.keys()) for delta in updates]
        assert {"bio": "It all started when...", "theme": "Monokai"} == db.snapshot()["settings"]

    run(story())


def test_commit_of_a_graph_made_by_hand() -> None:
    """Seed: db.commit. In the original: `new Graph()`, `new Node({uid})`."""

    async def story() -> None:
        db = Graph()
        graph, node = Graph(), Node("change")
        node.merge({"changes": "eh, probably"})
        graph.merge({"change": node})
        await db.commit(graph)
        assert {"change": {"changes": "eh, probably"}} == db.snapshot()

    run(story())


def test_events_roll_time_back_and_forth() -> None:
    """Seed: Events. "If you keep track of these deltas, you can roll time"."""

    async def story() -> None:
        db = Graph()
        await db.write("n", {"a": 1})
        updates: list[NodeMap] = []
        histories: list[NodeMap] = []
        db.on("update", updates.append)
        db.on("history", histories.append)
        await db.write("n", {"a": 2})
        await db.commit(histories[0].rebase(db))
        assert {"a": 1} == db.value("n").snapshot()
        await db.commit(updates[0].rebase(db))
        assert {"a": 2} == db.value("n").snapshot()

    run(story())


def test_node_read_weather() -> None:
    """Seed: node.read."""

    async def story() -> None:
        db = Graph()
        weather = await db.write("weather", {"temperature": 25})
        assert 25 == await weather.read("temperature")

    run(story())


def test_node_fields() -> None:
    """Seed: node.fields. Pointers are read in one request."""

    async def story() -> None:
        db = Graph()
        friends = await db.write("friends", {})
        user = await db.write("user", {"name": "Ann", "friends": friends})
        name, found = await user.fields(["name", "friends"])
        assert ("Ann", friends) == (name, found)

    run(story())


def test_node_write_company() -> None:
    """Seed: node.write."""

    async def story() -> None:
        db = Graph()
        company = await db.write("company", {})
        await company.write("phone", "456-123-8970")
        assert {"phone": "456-123-8970"} == company.snapshot()

    run(story())


def test_node_write_workplace() -> None:
    """Seed: node.write. The seed reads "company" where it has written "workplace"."""

    async def story() -> None:
        db = Graph()
        # Create two nodes...
        dave = await db.write("user", {"name": "dave"})
        company = await db.write("company", {"name": "Enterprise Inc."})
        # Link one to the other.
        await dave.write("workplace", company)
        workplace = await dave.read("workplace")
        assert "Enterprise Inc." == await workplace.read("name")

    run(story())


def test_node_events_usage() -> None:
    """Seed: node Events. The changes can be iterated."""

    async def story() -> None:
        db = Graph()
        await db.write("usage-stats", {"views": 1})
        usage = await db.read("usage-stats")
        printed: list[Any] = []
        usage.on("update", lambda changes: printed.append(("Fields changed:", *changes)))
        await db.write("usage-stats", {"views": 2, "likes": 1})
        assert [("Fields changed:", ("views", 2), ("likes", 1))] == printed

    run(story())


def test_streaming_everything_in_storage() -> None:
    """Seed: Streaming. Without a storage that streams there is an error."""

    async def story() -> None:
        db = Graph({"storage": StoragePlugin()})
        await db.write("n", {"a": 1})
        assert [("n", {"a": 1})] == [(str(node), node.snapshot()) async for node in db]
        with pytest.raises(GraphError):
            async for _ in Graph():
                pass

    run(story())


def test_several_configs() -> None:
    """Seed: "create presets, or groupings of plugins, and share them"."""

    async def story() -> None:
        storage = StoragePlugin()
        db: Any = Graph(
            {"storage": storage}, {"hooks": {}}, {"extend": {"root": {"size": lambda db: len(db)}}}
        )
        await db.write("n", {})
        assert 1 == db.size()
        assert ["n"] == list(storage.records)

    run(story())


def test_hook_with_a_prefix() -> None:
    """Seed: Hooks. The seed prefixes reads only; with writes it is whole."""

    async def story() -> None:
        def read_hook(read_action: ReadNodes) -> ReadNodes:
            return replace(read_action, keys=[f"my-prefix/{key}" for key in read_action.keys])

        def write_hook(write_action: Write) -> Write:
            patches = {f"my-prefix/{key}": node.snapshot() for key, node in write_action.update}
            return replace(write_action, update=patches)

        reads = {"hooks": {"before": {"read": {"nodes": read_hook}}}}
        db = Graph(reads)
        await db.write("my-prefix/key", {"a": 1})
        assert {"a": 1} == (await db.read("key")).snapshot()
        assert [None] == await db.nodes(["my-prefix/key"])

        both = Graph(reads, {"hooks": {"before": {"write": write_hook}}})
        await both.write("key", {"a": 1})
        assert {"a": 1} == (await both.read("key")).snapshot()
        assert ["my-prefix/key"] == both.keys()

    run(story())


def test_hook_that_delays() -> None:
    """Seed: Hooks. The whole pipeline pauses until the hook goes on."""

    async def story() -> None:
        second = asyncio.Event()  # the second that the seed waits for

        async def write_hook(write_action: Write) -> Write:
            await second.wait()
            return write_action

        db = Graph({"hooks": {"before": {"write": write_hook}}})
        writing = db.write("n", {"a": 1})
        assert await db.read("n") is None
        second.set()
        assert {"a": 1} == (await writing).snapshot()

    run(story())


def test_all_the_hooks_there_are() -> None:
    """Seed: Hooks, the last example, with `node` and `field` as it spells them."""

    async def story() -> None:
        seen: list[str] = []

        def hook(name: str) -> Any:
            return lambda action: (seen.append(name), action)[1]

        db = Graph(
            {
                "hooks": {
                    "before": {
                        "write": hook("before write"),
                        "read": {"nodes": hook("before nodes"), "field": hook("before field")},
                    },
                    "after": {
                        "write": hook("after write"),
                        "read": {"node": hook("after node"), "field": hook("after field")},
                    },
                }
            }
        )
        node = await db.write("n", {"a": 1})
        await db.read("n")
        await node.read("a")
        assert [
            "before write", "after write", "before nodes", "after node", "before field",
            "after field",
        ] == seen  # fmt: skip

    run(story())


class StoragePlugin:
    """Seed: Storage. "Writing a storage plugin will look a bit like this"."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    async def read(self, action: ReadNodes) -> list[Any]:
        """Read values."""
        return [self.records.get(key) for key in action.keys]

    async def write(self, action: Write) -> None:
        """Write a set of values."""
        assert action.graph is not None
        self.records.update(action.graph.to_json())

    async def remove(self, action: Write) -> None:
        """Hear of deleted nodes; what hides them is in `write` already."""

    async def __aiter__(self) -> Any:
        for record in self.records.values():
            yield record


def test_storage_plugin() -> None:
    """Seed: Storage. "The first read will attempt to pull from storage"."""

    async def story() -> None:
        storage = StoragePlugin()
        await Graph({"storage": storage}).write("n", {"a": 1})
        db = Graph({"storage": storage})
        node = await db.read("n")
        assert {"a": 1} == node.snapshot()
        storage.records.clear()
        assert node is await db.read("n")

    run(story())


class NetworkPlugin:
    """Seed: Network. A `send`, and a stream of messages; `wire` is `myNetworkInterface`."""

    type = "websocket"

    def __init__(self, name: str, wire: Wire) -> None:
        self.id = name
        self._wire = wire
        self.messages: Stream[Any] = Stream(wire.on_message)

    def send(self, message: Any) -> None:
        self._wire.sent.append(message)


class Wire:
    """Stands for some network interface with callbacks."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.callbacks: list[Any] = []

    def on_message(self, emit: Any) -> Any:
        self.callbacks.append(emit)
        return lambda: self.callbacks.remove(emit)


def test_network_plugin() -> None:
    """Seed: Network. Nobody uses it but a router."""

    async def story() -> None:
        wire = Wire()
        db = Graph({"network": NetworkPlugin("server", wire)})
        await db.write("n", {"a": 1})
        assert [] == wire.sent
        heard: list[Any] = []
        assert db.network is not None
        subscription = db.network.messages.listen(lambda pair: heard.append((pair[0], pair[1].id)))
        wire.callbacks[0]("hello")
        assert [("hello", "server")] == heard
        subscription.cancel()
        assert [] == wire.callbacks
        db.network.send("to all")
        assert ["to all"] == wire.sent

    run(story())


def test_router_plugin() -> None:
    """Seed: Router. `push` sends updates, `pull` asks, and incoming updates are committed."""

    async def story() -> None:
        def router(db: Graph, config: Any) -> Any:
            config.network.messages.listen(
                lambda pair: db.commit(NodeMap.from_json(pair[0]), network=None)
            )

            class Plugin:
                async def push(self, action: Write) -> None:
                    assert isinstance(action.update, NodeMap)
                    assert action.network is not None
                    action.network.send(action.update.to_json())

                async def pull(self, action: ReadNodes) -> list[Node]:
                    return [answered(key) for key in action.keys]

            return Plugin()

        def answered(key: str) -> Node:
            source = Graph()
            source.merge({key: {"answered": True}})
            return source.copy()[key]

        here, there = pair()
        one = Graph({"network": ConnectionGroup(here), "router": router})
        other = Graph({"network": there, "router": router})
        arrived = asyncio.Event()
        other.on("update", lambda delta: arrived.set())
        await one.write("n", {"a": 1})
        await arrived.wait()
        assert {"n": {"a": 1}} == other.snapshot()
        asked = await other.read("unknown")
        assert {"answered": True} == asked.snapshot()

    run(story())


def test_router_that_refuses() -> None:
    """Seed: Security. "pull() (or push()) should reject"."""

    async def story() -> None:
        class Refusing:
            async def push(self, action: Write) -> None:
                raise PermissionError("not yours")

            async def pull(self, action: ReadNodes) -> list[Node]:
                raise PermissionError("not yours")

        db = Graph({"router": Refusing()})
        with pytest.raises(PermissionError):
            await db.read("secret")
        with pytest.raises(PermissionError):
            await db.write("secret", {"a": 1})

    run(story())
