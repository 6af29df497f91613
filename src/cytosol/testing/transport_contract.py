"""What the connections of a graph's network plugin promise, as tests that its author runs.

```python
from contextlib import asynccontextmanager
from cytosol.testing.transport_contract import TransportContract

class TestMyTransport(TransportContract):
    @asynccontextmanager
    async def pair(self):
        a, b = ...          # two connections, each the other's other side
        yield a, b
```

`pair` opens two connections that are online (or will be soon) and closes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from cytosol.graph import Connection, ConnectionGroup, Graph, Router
from cytosol.model.json import JsonValue

__all__ = ["TransportContract"]

MESSAGES: tuple[JsonValue, ...] = (
    {},
    {"n": 1, "x": -0.5, "yes": True, "none": None, "text": 'ü 😀 "quoted" \n \u0000'},
    [1, [2, [3, {"deep": [[]]}]]],
    "only text",
    0,
    None,
    {"big": "y" * 200_000},
    {"integers": [2**63, -(2**63), 2**53 + 1]},
)


class TransportContract:
    """The promises of a connection (`cytosol.graph.Connection`); say how to open a `pair`."""

    patience_s: ClassVar[float] = 30.0
    """When a test that hangs fails."""

    def pair(self) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        """Open two connections that are each other's other side."""
        raise NotImplementedError("say in a subclass how to open a pair of connections")

    def _run(self, story: Callable[[Any, Any], Awaitable[None]]) -> None:
        """Tell a story with a pair; fails for errors that nobody awaited, too."""
        unseen: list[dict[str, Any]] = []

        async def told() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: unseen.append(context))
            async with asyncio.timeout(self.patience_s), self.pair() as (a, b):
                await story(a, b)

        asyncio.run(told())
        assert not unseen, f"errors that nobody awaited: {unseen}"

    def test_a_connection_has_what_a_graph_needs(self) -> None:
        """An id, a type, `messages` and `send`; ids are texts and differ in one group."""

        async def story(a: Any, b: Any) -> None:
            for side in (a, b):
                assert isinstance(side, Connection)
                assert isinstance(side.id, str)
                assert side.id
                assert isinstance(side.type, str)
            assert a.id == a.id, "an id stays the same"

        self._run(story)

    def test_messages_arrive_as_they_were_sent(self) -> None:
        """All kinds of JSON, large ones too, in both directions."""

        async def story(a: Any, b: Any) -> None:
            for source, target in ((a, b), (b, a)):
                inbox = Inbox(target)
                for message in MESSAGES:
                    await sent(source, message)
                assert list(MESSAGES) == await inbox.take(len(MESSAGES))

        self._run(story)

    def test_messages_keep_their_order(self) -> None:
        """A thousand of them, each once, while the other side talks as well."""

        async def story(a: Any, b: Any) -> None:
            at_a, at_b = Inbox(a), Inbox(b)
            for number in range(1_000):
                await sent(a, {"n": number})
                await sent(b, {"n": -number})
            assert [{"n": number} for number in range(1_000)] == await at_b.take(1_000)
            assert [{"n": -number} for number in range(1_000)] == await at_a.take(1_000)

        self._run(story)

    def test_what_is_sent_is_a_copy(self) -> None:
        """Nobody can change a message after it was sent."""

        async def story(a: Any, b: Any) -> None:
            inbox = Inbox(b)
            message = {"list": [1]}
            sending = a.send(message)
            message["list"].append(2)
            if sending is not None:
                await sending
            assert [{"list": [1]}] == await inbox.take(1)

        self._run(story)

    def test_all_listeners_hear_a_message_until_they_stop(self) -> None:
        """And one that fails keeps nobody else from it."""

        async def story(a: Any, b: Any) -> None:
            first, second = Inbox(b), Inbox(b)
            await sent(a, 1)
            assert [1] == await first.take(1) == await second.take(1)
            second.subscription.cancel()
            await sent(a, 2)
            assert [2] == await first.take(1)
            assert [] == second.heard

        self._run(story)

    def test_a_group_knows_from_whom_a_message_came(self) -> None:
        """The connection works in a ConnectionGroup."""

        async def story(a: Any, b: Any) -> None:
            group = ConnectionGroup(b)
            inbox = Inbox(group)
            await sent(a, "hello")
            [(message, connection)] = await inbox.take(1)
            assert "hello" == message
            assert connection is b

        self._run(story)

    def test_a_graph_syncs_over_it(self) -> None:
        """A router on each side, a node written on one and read on the other."""

        async def story(a: Any, b: Any) -> None:
            server = Graph({"network": a, "router": Router()})
            client = Graph({"network": b, "router": Router()})
            await server.write("book", {"title": "Emma"})
            node = await client.read("book", force=True)
            assert node is not None
            assert {"title": "Emma"} == node.snapshot()
            await client.close()
            await server.close()

        self._run(story)


async def sent(connection: Any, message: JsonValue) -> None:
    """Send a message, and wait if there is something to wait for."""
    sending = connection.send(message)
    if sending is not None:
        await sending


class Inbox:
    """What a connection receives, in order."""

    def __init__(self, source: Any) -> None:
        self.heard: list[Any] = []
        self._news = asyncio.Event()
        self.subscription = source.messages.listen(self._hear)

    def _hear(self, message: Any) -> None:
        self.heard.append(message)
        self._news.set()

    async def take(self, count: int) -> list[Any]:
        """Wait for so many messages and take them out."""
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken
