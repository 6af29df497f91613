"""The courier: greets peers, and brings them what they have not acknowledged, in a window.

It sends and never commits: what comes in is the router's business. A write goes as one push, if
the connection is free; while it is not, writes are joined in the peer's outbox, so that a peer
that was away gets the latest of each field once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from cytosol.errors import GraphError
from cytosol.graph.awaiting import is_awaitable
from cytosol.graph.channels import Channel, Peer
from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import Connection, ConnectionGroup, report
from cytosol.graph.delivery import Batch
from cytosol.graph.messages import Hello, Message, Pull, Push, parts_of
from cytosol.graph.node import Node, merge_node
from cytosol.graph.notes import Notes
from cytosol.graph.rules import Rules
from cytosol.graph.transports.authors import new_author
from cytosol.limits import LINK_MESSAGE_BYTES_MAX, PUSHES_WAITING_MAX, REQUESTS_WAITING_MAX
from cytosol.model.json import JsonValue

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["Cancellable", "Courier", "Timer"]

SEARCHED_AT_ONCE = 1_000  # nodes; then the event loop has its turn


class Cancellable(Protocol):
    """What a timer returns."""

    def cancel(self) -> object: ...


Timer: TypeAlias = Callable[[float, Callable[[], None]], Cancellable]
"""`timer(seconds, callback)`: call back later, once, unless it is cancelled."""


class Courier:
    """The connections of one router, and what is under way on them."""

    def __init__(
        self,
        graph: Graph,
        notes: Notes,
        rules: Rules,
        counts: Counter[str],
        receive: Callable[[Channel, JsonValue], None],
        wait: tuple[Timer, float],
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.notes = notes
        self._graph = graph
        self._rules = rules
        self.counts = counts
        self._receive = receive
        self._timer, self._timeout = wait
        self._subscriptions: list[Any] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unstarted: list[Coroutine[Any, Any, None]] = []
        self._retry: Cancellable | None = None
        self._session = new_author()
        self._number = int.from_bytes(self._session[:6])  # see `messages`
        self._is_closed = False

    def follow(self, network: ConnectionGroup) -> None:
        """Open all connections of a group, and those that come later."""
        self._subscriptions += [network.on("add", self.open), network.on("remove", self._left)]
        for connection in network:
            self.open(connection)

    def close(self) -> Awaitable[None]:
        """Stop; what is not acknowledged is noted in the storage, where it keeps notes."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription.cancel()
        peers = {channel.peer for channel in self.channels.values()}
        for channel in [*self.channels.values()]:
            self._shut(channel)
        if self._retry is not None:
            self._retry.cancel()
        for steps in self._unstarted:
            steps.close()
        for task in self._tasks:
            task.cancel()
        self.notes.stop()
        return self.notes.save_now(peers)

    # --- Connections --------------------------------------------------------------------

    def open(self, connection: Connection) -> Channel:
        """Begin to listen to a connection, and greet it."""
        channel = self.channels.get(connection.id)
        if channel is not None:
            if channel.connection is connection:
                return channel
            self._shut(channel)
        channel = Channel(connection, Peer())
        channel.peer.channels.append(channel)
        channel.peer.outbox.is_complete = True  # its search comes when we know who it is
        channel.was_online = not channel.is_offline
        self.channels[connection.id] = channel
        on = getattr(connection, "on", None)
        if callable(on):
            channel.has_events = True
            channel.subscriptions += [
                on("online", lambda _: self._came_online(channel)),
                on("offline", lambda _: self._went_offline(channel)),
            ]
        channel.subscriptions.append(
            connection.messages.listen(lambda message: self._receive(channel, message))
        )
        self.spawn(self._greet(channel))
        return channel

    def _left(self, connection: Connection) -> None:
        channel = self.channels.get(connection.id)
        if channel is not None and channel.connection is connection:
            self._shut(channel)

    def _shut(self, channel: Channel) -> None:
        """Forget a connection; what it has not delivered waits for the peer to come back."""
        del self.channels[channel.connection.id]
        for subscription in channel.subscriptions:
            subscription.cancel()
        self._went_offline(channel)
        peer = channel.peer
        for batch in (*channel.in_flight.values(), *channel.units):
            peer.outbox.add(batch.nodes)
        channel.in_flight.clear()
        channel.units.clear()
        channel.inbox.clear()
        if channel.worker is not None:
            channel.worker.cancel()
        peer.channels.remove(channel)
        if not peer.channels:
            peer.outbox.rest()
            self.save(peer)

    def _came_online(self, channel: Channel) -> None:
        channel.was_online = True
        self.flush(channel)

    def _went_offline(self, channel: Channel) -> None:
        channel.release_writers()
        channel.release_readers()

    def targets(self, connections: Iterable[Connection]) -> dict[Peer, Channel]:
        """Return one connection for each peer, one that is online if there is any."""
        self.start()
        targets: dict[Peer, Channel] = {}
        for connection in connections:
            channel = self.open(connection)
            chosen = targets.setdefault(channel.peer, channel)
            if chosen.is_offline and not channel.is_offline:
                targets[channel.peer] = channel
        return targets

    def spawn(self, steps: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run steps in a task; where no event loop runs yet, as soon as one does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._unstarted.append(steps)
            return None
        task = loop.create_task(self._guarded(steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: steps.close())  # it may be cancelled before it begins
        return task

    def start(self) -> None:
        if self._unstarted:
            unstarted, self._unstarted = self._unstarted, []
            for steps in unstarted:
                self.spawn(steps)

    async def _guarded(self, steps: Coroutine[Any, Any, None]) -> None:
        try:
            await steps
        except Exception as error:  # nobody waits for these
            report(error, "a router failed in the background")

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def send(self, channel: Channel, message: Message) -> bool:
        """Send a message; tell whether the connection took it."""
        try:
            sent = channel.connection.send(message.to_json())
        except Exception:  # the plugin's: a connection that fails is one that is away
            self.counts["unsent"] += 1
            return False
        if sent is not None and is_awaitable(sent):
            self.spawn(self._finish_sending(channel, message, sent))
        return True

    async def _finish_sending(
        self, channel: Channel, message: Message, sent: Awaitable[object]
    ) -> None:
        try:
            await sent
        except Exception:
            self.counts["unsent"] += 1
            batch = channel.in_flight.pop(message.id, None)
            if batch is not None:
                self.put_off(channel, batch)
            channel.answered(message.id)

    # --- Delivering -----------------------------------------------------------------------

    def send_unit(
        self, channel: Channel, nodes: NodeMap, *, waits: bool
    ) -> list[asyncio.Future[None]]:
        """Send one write, or keep it for later; return what the writer can wait for."""
        outbox = channel.peer.outbox
        is_away = channel.is_offline and channel.has_events
        if is_away or channel.is_held or len(channel.units) >= REQUESTS_WAITING_MAX:
            outbox.add(nodes)
            return []
        waits = waits and channel.session is not None
        waits = waits and not (channel.is_offline or channel.is_silent)
        outbox.send(nodes)
        replies = []
        for part in parts_of(nodes.nodes.values()):
            batch = Batch(part, is_unit=True)
            if waits:
                batch.reply = asyncio.get_running_loop().create_future()
                replies.append(batch.reply)
            channel.units.append(batch)
        self.flush(channel)
        return replies

    def flush(self, channel: Channel) -> None:
        """Send what waits, as far as the window is open."""
        peer = channel.peer
        if self.channels.get(channel.connection.id) is not channel:
            return
        if channel.is_offline and channel.has_events:
            return
        while len(channel.in_flight) < PUSHES_WAITING_MAX:
            if channel.units:
                batch = channel.units.popleft()
            elif len(peer.outbox.pending) and not (channel.is_held or peer.is_searching):
                batch = Batch(peer.outbox.take(), is_unit=False)
            else:
                break
            number = self.next_number()
            channel.in_flight[number] = batch
            if self._rules.allow_all:
                self._transmit(channel, number, batch)
            else:
                self.spawn(self._transmit_allowed(channel, number, batch))
        if peer.is_quiet and peer.is_worth_a_note:
            self.save(peer)

    async def _transmit_allowed(self, channel: Channel, number: int, batch: Batch) -> None:
        """Send what the peer may read; what it may not counts as delivered."""
        allowed = NodeMap()
        for key, node in batch.nodes:
            if await self._rules.allows("read", channel.identity, key, None):
                allowed.add(node)
        if channel.in_flight.get(number) is not batch:
            return
        if len(allowed) < len(batch.nodes):
            self.counts["withheld"] += len(batch.nodes) - len(allowed)
            batch.nodes = allowed
        if len(allowed):
            self._transmit(channel, number, batch)
        else:
            self.delivered(channel, number)

    def _transmit(self, channel: Channel, number: int, batch: Batch) -> None:
        batch.is_sent = True
        push = Push(number, batch.nodes)
        if self.send(channel, push) or channel.in_flight.pop(number, None) is None:
            return
        if not channel.is_offline and _is_too_large(push):
            self.counts["too large"] += 1
            self.refused(
                channel,
                batch,
                GraphError(
                    f"a write is too large to be sent: {LINK_MESSAGE_BYTES_MAX} bytes are allowed; "
                    "it stands here, but other graphs do not get it"
                ),
            )
        else:
            self.put_off(channel, batch)

    def put_off(self, channel: Channel, batch: Batch) -> None:
        """Keep a batch for the next try; its writer need not wait for that."""
        batch.answer()
        channel.peer.outbox.add(batch.nodes)
        channel.is_held = True
        self._ring_later()

    def _ring_later(self) -> None:
        if self._retry is None and not self._is_closed:
            self._retry = self._timer(self._timeout, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        for channel in [*self.channels.values()]:
            channel.is_held = False
            if channel.session is not None and not channel.peer.outbox.is_complete:
                self.spawn(self._search(channel.peer))
            self.flush(channel)

    def delivered(self, channel: Channel, number: int) -> None:
        batch = channel.in_flight.pop(number, None)
        if batch is None:
            self.counts["unasked"] += 1
            return
        batch.answer()
        channel.peer.unsaved += batch.size
        self.flush(channel)

    def refused(self, channel: Channel, batch: Batch, error: GraphError) -> None:
        """Let the writer know; of what was collected, find out which part was refused."""
        pieces = [] if batch.is_unit else [*batch.divided()]
        if len(pieces) > 1:
            channel.units.extendleft(reversed(pieces))
            self.flush(channel)
            return
        self.counts["refused"] += 1
        batch.answer(error)
        self.flush(channel)

    def save(self, peer: Peer) -> None:
        if self.notes.is_kept and peer.name is not None and not self._is_closed:
            self.spawn(self.notes.save(peer))

    # --- Who is there ---------------------------------------------------------------------

    async def _greet(self, channel: Channel, *, is_reply: bool = False) -> None:
        await self.notes.ready()
        waiting = channel.waiting() if is_reply else ()
        number, graph_id = self.next_number(), self.notes.graph_id
        self.send(channel, Hello(number, graph_id, self._session, is_reply, waiting))

    async def meet(self, channel: Channel, hello: Hello) -> None:
        """Learn which graph is behind a connection, and send it what it does not have."""
        await self.notes.ready()
        peer = await self.notes.peer_of(hello.graph, channel.identity)
        if self.channels.get(channel.connection.id) is not channel:
            return
        if channel.peer is not peer:
            self._change_peer(channel, peer)
        if channel.session not in (None, hello.session):  # what was asked of the last one is lost
            for number, asked in [*channel.asked.items()]:
                self.send(channel, Pull(number, tuple(asked.keys)))
        channel.session = hello.session
        if not hello.is_reply:
            await self._greet(channel, is_reply=True)
        if not peer.outbox.is_complete:
            await self._search(peer)
        self.flush(channel)

    def _change_peer(self, channel: Channel, peer: Peer) -> None:
        """Give a connection to the peer that has turned out to be behind it."""
        before, channel.peer = channel.peer, peer
        before.channels.remove(channel)
        peer.channels.append(channel)
        if before.name is None:
            if not peer.outbox.is_complete:
                peer.outbox.adopt(before.outbox)
        else:  # what is under way was for the one who was there, and the new one gets its own
            for batch in (*channel.in_flight.values(), *channel.units):
                batch.answer()
                before.outbox.add(batch.nodes)
            channel.in_flight.clear()
            channel.units.clear()
            if not before.channels:
                before.outbox.rest()

    async def _search(self, peer: Peer) -> None:
        """Find what the peer has not acknowledged; again, if it went and came back meanwhile."""
        if peer.is_searching:
            return
        peer.is_searching = True
        try:
            while peer.channels and not peer.outbox.is_complete:
                await self._look_through(peer)
        except BaseException:
            peer.outbox.rest()
            self._ring_later()
            raise
        finally:
            peer.is_searching = False
        for channel in peer.channels:
            self.flush(channel)

    async def _look_through(self, peer: Peer) -> None:
        """Look at all nodes, in memory and in the storage."""
        graph, outbox = self._graph, peer.outbox
        on_their_way = NodeMap()
        for nodes in peer.on_their_way():
            for key, node in nodes:
                merge_node(on_their_way.node(key), node)
        outbox.begin_search()
        for count, key in enumerate([*graph._backing.keys()]):
            here = graph._node(key)
            if here is not None:
                outbox.found(here, on_their_way)
            if count % SEARCHED_AT_ONCE == SEARCHED_AT_ONCE - 1:
                await asyncio.sleep(0)
        if hasattr(graph._storage, "__aiter__"):
            async for item in graph._storage:  # deletions too, which the graph leaves out
                if item is not None:
                    node = item if isinstance(item, Node) else Node.from_json(item)
                    outbox.found(node, on_their_way)
        elif outbox.remembered and graph._storage is not None:
            keys = sorted(outbox.remembered)
            await graph.nodes(keys, network=None)
            for each in filter(None, map(graph._node, keys)):
                outbox.found(each, on_their_way)
        if outbox.is_complete:  # nobody has put it to rest meanwhile
            outbox.end_search()
            peer.unsaved += outbox.size  # it was as much work


def _is_too_large(message: Push) -> bool:
    try:
        return len(msgspec.json.encode(message.to_json())) > LINK_MESSAGE_BYTES_MAX
    except (TypeError, ValueError):
        return False
