"""The router: sends writes to the connections, asks them for reads, and answers what they ask.

Writes go to all peers, reads ask all, what comes in is committed and goes on to the others, but
never back, and never again if it changed nothing: so there are no echoes, whatever the topology.
What a peer has not acknowledged is kept for it (`delivery`), also over our own restart where the
storage keeps notes. Rules say who may read and write what (`rules`); a refusal is the same
whether a key exists or not, and the graph is not asked before the rules are. What a peer sends
is checked first (`messages`); what is not as it must be is counted in `counts` and raised to
nobody. Spec: graph, Router and Offline; seed: Mytosis, Security.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from cytosol.errors import ConfigError, DatabaseError, GraphError, PermissionDeniedError
from cytosol.graph.actions import ReadNodes, Write
from cytosol.graph.awaiting import Done as Finished
from cytosol.graph.channels import Asked, Channel, Peer, Waiting
from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import Connection, ConnectionGroup, report
from cytosol.graph.courier import Cancellable, Courier, Timer
from cytosol.graph.messages import (
    BUSY,
    DENIED,
    NOT_RECEIVED,
    NOT_SAVED,
    RETRIED,
    Answer,
    Done,
    Hello,
    MalformedError,
    Problem,
    Pull,
    Push,
    check_ids,
    parse_message,
    parts_of,
)
from cytosol.graph.node import Node, merge_node
from cytosol.graph.notes import Notes
from cytosol.graph.rules import Route, Rules, patch_of
from cytosol.limits import (
    MESSAGE_NODES_MAX,
    PULL_TIMEOUT_S,
    REQUESTS_WAITING_MAX,
)
from cytosol.model.json import JsonValue

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["Router", "Timer"]


def loop_timer(seconds: float, callback: Callable[[], None]) -> Cancellable:
    """Use the event loop's timer."""
    return asyncio.get_running_loop().call_later(seconds, callback)


class Router:
    """The router of one graph: `Graph({"network": ..., "router": Router()})`.

    Without `routes` everybody may do everything. With routes, what no route matches is denied,
    unless `default` is "allow". `timeout` (seconds) bounds how long a read waits for
    connections that do not answer, and a write for those that do not acknowledge; both then go
    on without them. `counts` has, by name, what was refused or could not be done.
    """

    def __init__(
        self,
        routes: Iterable[Route] | None = None,
        *,
        default: Literal["allow", "deny"] | None = None,
        timeout: float = PULL_TIMEOUT_S,
        timer: Timer = loop_timer,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._rules = Rules(routes, default)
        self._timeout = timeout
        self._timer = timer
        self._graph: Graph
        self._made: Courier | None = None

    def __call__(self, graph: Graph, config: Any) -> Router:
        """Begin to route for `graph`. Raises ConfigError for a router that has a graph."""
        if self._made is not None:
            raise ConfigError("this router has a graph already: make a Router for each graph")
        notes = Notes(getattr(config.storage, "notes", None))
        wait = (self._timer, self._timeout)
        self._made = Courier(graph, notes, self._rules, self.counts, self._receive, wait)
        self._graph = graph
        self._made.follow(ConnectionGroup() if config.network is None else config.network)
        return self

    @property
    def _courier(self) -> Courier:
        if self._made is None:
            raise GraphError("this router has no graph yet: name it in the config of a Graph")
        return self._made

    # --- What the graph calls -----------------------------------------------------------

    def prepare(self, action: Write) -> Awaitable[None] | None:
        """Note, before a write is stored, what a search after a crash would take for known.

        These are ids below others of the same author that a peer has: of branches that are
        committed late, and of what came here by a detour. Called by graphs with a storage.
        """
        notes, nodes = self._courier.notes, action.update
        if not notes.is_kept:
            return None
        assert isinstance(nodes, NodeMap)
        origin = action.options.get("origin")
        skipped = origin.peer if isinstance(origin, Channel) else None
        others = [peer for peer in notes.peers.values() if peer is not skipped]
        late = [peer for peer in others if peer.outbox.remember_late(nodes)]
        return notes.save_now(late) if late else None

    def push(self, action: Write) -> Awaitable[None] | None:
        """Send what a write has changed; the awaitable ends when all peers online have it.

        Who does not acknowledge in time is not waited for, until it speaks again. It raises
        PermissionDeniedError if one of them refuses, GraphError if one cannot take it; the write
        stands here all the same.
        """
        nodes, origin = action.update, action.options.get("origin")
        assert isinstance(nodes, NodeMap)
        given = {origin.peer: nodes} if isinstance(origin, Channel) else {}
        replies = self._send(nodes, action.network, given, waits=not given)
        return self._acknowledged(replies) if replies else None

    def _send(
        self,
        nodes: NodeMap,
        network: Iterable[Connection] | None,
        given: Mapping[Peer, NodeMap],
        *,
        waits: bool,
    ) -> dict[asyncio.Future[None], Channel]:
        """Send each peer what it has not given us itself; return what a writer can wait for."""
        targets = self._courier.targets(network or ())
        replies: dict[asyncio.Future[None], Channel] = {}
        for peer in {**dict.fromkeys(self._courier.notes.peers.values()), **targets}:
            channel, lacking = targets.get(peer), nodes
            if peer in given:
                peer.outbox.pass_over(given[peer])
                lacking = _news(nodes, given[peer].value)
            if not lacking.nodes:
                continue
            if channel is not None:
                unit = self._courier.send_unit(channel, lacking, waits=waits)
                replies |= dict.fromkeys(unit, channel)
            elif not peer.channels and peer.outbox.remember_late(lacking):
                self._courier.save(peer)
        return replies

    async def _acknowledged(self, replies: dict[asyncio.Future[None], Channel]) -> None:
        def give_up() -> None:
            for reply, channel in replies.items():
                if not reply.done():
                    channel.is_silent = True  # else each of the next writes would wait as long
                    self.counts["timeouts"] += 1
                    reply.set_result(None)

        handle = self._timer(self._timeout, give_up)
        try:
            results = await asyncio.gather(*replies, return_exceptions=True)
        finally:
            handle.cancel()
        errors = [result for result in results if isinstance(result, Exception)]
        denied = [error for error in errors if isinstance(error, PermissionDeniedError)]
        for error in denied or errors:
            raise error

    def pull(self, action: ReadNodes) -> Awaitable[list[Node]]:
        """Ask all connections for nodes; the answers, merged, come when all have answered.

        Connections that have gone offline are not asked; one that was never online yet is: it
        may be about to connect. One that restarts before it has answered is asked again. Who does
        not answer in time is not waited for, neither then nor later, until it speaks again. Nobody
        is asked for what it may not read, as the question names the key; an answer counts as far
        as its sender may write it.
        What is news in the answers goes on to the other peers, as if it had been pushed here.
        Raises PermissionDeniedError if somebody refused and nobody else had all of the nodes.
        """
        targets = self._courier.targets(action.network or ()).values()
        channels = [channel for channel in targets if not channel.is_gone]
        if not channels or not action.keys:
            return Finished([])
        waiting = Waiting(asyncio.get_running_loop().create_future())
        keys = tuple(action.keys)
        if not self._rules.allow_all:
            return self._pulled_by_rules(waiting, action, channels)
        for channel in channels:
            self._ask(channel, waiting, keys)
        return self._pulled(waiting, action)

    async def _pulled_by_rules(
        self, waiting: Waiting, action: ReadNodes, channels: list[Channel]
    ) -> list[Node]:
        readable = []
        for channel in channels:
            who = channel.identity
            allows = self._rules.allows
            readable.append([key for key in action.keys if await allows("read", who, key)])
        # All at once: a first answer must not find that nobody else is asked.
        for channel, names in zip(channels, readable, strict=True):
            if self._courier.channels.get(channel.connection.id) is channel and not channel.is_gone:
                self._ask(channel, waiting, tuple(names))
        return await self._pulled(waiting, action)

    def _ask(self, channel: Channel, waiting: Waiting, keys: tuple[str, ...]) -> None:
        for start in range(0, len(keys), MESSAGE_NODES_MAX):
            self._ask_part(channel, waiting, keys[start : start + MESSAGE_NODES_MAX])

    def _ask_part(self, channel: Channel, waiting: Waiting, keys: tuple[str, ...]) -> None:
        number = self._courier.next_number()
        if len(channel.asked) >= REQUESTS_WAITING_MAX:  # the oldest has long been given up
            del channel.asked[next(iter(channel.asked))]
        channel.asked[number] = Asked(waiting, frozenset(keys))
        if not channel.is_silent:
            waiting.expect(channel, number)
        if not self._courier.send(channel, Pull(number, keys)):
            channel.answered(number)

    async def _pulled(self, waiting: Waiting, action: ReadNodes) -> list[Node]:
        def give_up() -> None:
            for channel in self._courier.channels.values():
                for number in [*channel.asked]:
                    if waiting.waits_for(channel, number):
                        channel.is_silent = True
                        self.counts["timeouts"] += 1
            waiting.finish()

        waiting.begin()
        handle = self._timer(self._timeout, give_up)
        try:
            await waiting.done
        finally:
            handle.cancel()
            for channel in self._courier.channels.values():
                for number, asked in [*channel.asked.items()]:
                    if asked.waiting is waiting:
                        del channel.asked[number]
        nodes = await self._believed(waiting)
        self._pass_on(nodes, waiting, action)
        if waiting.refused and any(key not in nodes for key in action.keys):
            raise _denied(waiting.refused, "reading", tuple(action.keys))
        return list(nodes.nodes.values())

    def _pass_on(self, nodes: NodeMap, waiting: Waiting, action: ReadNodes) -> None:
        """Send on what is news in answers: when it is pushed to us, too, it will be none."""
        news = _news(nodes, self._graph._node)
        if not news.nodes:
            return
        given: dict[Peer, NodeMap] = {}
        for channel, answers in waiting.answers.items():
            known = given.setdefault(channel.peer, NodeMap())
            for _, node in answers:
                known.add(node)
        self._send(news, action.network, given, waits=False)

    async def _believed(self, waiting: Waiting) -> NodeMap:
        """Merge the answers, without the nodes whose sender may not write what is new in them."""
        nodes = NodeMap()
        for channel, answers in waiting.answers.items():
            for key, node in answers:
                try:
                    here = None if self._rules.allow_all else self._graph._node(key)
                    news = node if here is None else merge_node(here.copy(), node).update
                    if (
                        self._rules.allow_all
                        or news.is_blank
                        or await self._allows("write", channel, [(key, patch_of(news))])
                    ):
                        nodes.add(node.copy())
                except GraphError:  # together they have more fields than a node may
                    self.counts["malformed"] += 1
        return nodes

    def close(self) -> Awaitable[None]:
        """Stop; what is not acknowledged is noted in the storage, where it keeps notes."""
        return self._courier.close()

    # --- Receiving ------------------------------------------------------------------------

    def _receive(self, channel: Channel, message: JsonValue) -> None:
        """Take in one message from outside; nothing is raised, whatever it is."""
        self._courier.start()
        try:
            parsed = parse_message(message)
        except MalformedError as error:
            self.counts["malformed"] += 1
            if error.id is not None and message["type"] in ("push", "pull"):
                self._courier.send(channel, Problem(error.id, str(error)))
            return
        channel.is_silent = False
        match parsed:
            case Done(number):
                self._courier.delivered(channel, number)
            case Problem(number, text):
                self._problem(channel, number, text)
            case Answer():
                self._answered(channel, parsed)
            case Push() | Pull() | Hello():
                self._queue(channel, parsed)

    def _queue(self, channel: Channel, message: Push | Pull | Hello) -> None:
        if isinstance(message, Hello):
            if channel.heard != message.session:
                channel.heard, channel.seen = message.session, -1
            for number in message.waiting:
                if number > channel.seen:
                    self._courier.send(channel, Problem(number, NOT_RECEIVED))
        if len(channel.inbox) >= REQUESTS_WAITING_MAX:
            self.counts["busy"] += 1
            self._courier.send(channel, Problem(message.id, BUSY))
            return
        if isinstance(message, Push):
            channel.seen = max(channel.seen, message.id)
        channel.inbox.append(message)
        if channel.worker is None:
            channel.worker = self._courier.spawn(self._work(channel))

    async def _work(self, channel: Channel) -> None:
        """Do what the peer asks, in order."""
        try:
            while channel.inbox:
                message = channel.inbox.popleft()
                try:
                    await self._do(channel, message)
                except Exception as error:  # the next one may do better
                    report(error, "a router could not do what a peer has asked")
        finally:
            channel.worker = None

    async def _do(self, channel: Channel, message: Push | Pull | Hello) -> None:
        match message:
            case Push():
                await self._commit(channel, message)
            case Pull():
                await self._serve(channel, message)
            case Hello():
                await self._courier.meet(channel, message)

    async def _commit(self, channel: Channel, push: Push) -> None:
        """Commit what a peer has pushed, if it may, and say how it went."""
        graph, nodes = self._graph, push.nodes
        patches = [(key, patch_of(node)) for key, node in nodes]
        if not (self._rules.allow_all or await self._allows("write", channel, patches)):
            self._courier.send(channel, Problem(push.id, DENIED))
            return
        try:
            check_ids(nodes, graph.clock)
            await graph.commit(nodes, origin=channel)
        except MalformedError as error:
            self.counts["malformed"] += 1
            self._courier.send(channel, Problem(push.id, str(error)))
        except (DatabaseError, OSError) as error:  # the disk: the peer tries again later
            report(error, "what a peer has sent could not be saved; it will send it again")
            self.counts["failed"] += 1
            self._courier.send(channel, Problem(push.id, NOT_SAVED))
        except Exception as error:  # a hook's no, or a mistake in one: the peer need not know more
            if not isinstance(error, GraphError):
                report(error, "what a peer has sent was refused by an error")
            self.counts["failed"] += 1
            self._courier.send(channel, Problem(push.id, "the write was refused"))
        else:
            self._courier.send(channel, Done(push.id))

    async def _allows(
        self, kind: Literal["read", "write"], channel: Channel, nodes: Iterable[tuple[str, Any]]
    ) -> bool:
        if await self._rules.allow(kind, channel.identity, nodes):
            return True
        self.counts["denied"] += 1
        return False

    async def _serve(self, channel: Channel, pull: Pull) -> None:
        """Answer a pull with what this graph and its storage have, deletions included."""
        graph = self._graph
        asked = [(key, None) for key in pull.keys]
        if not (self._rules.allow_all or await self._allows("read", channel, asked)):
            self._courier.send(channel, Problem(pull.id, DENIED))
            return
        try:
            await graph.nodes(pull.keys, network=None)
        except Exception as error:
            report(error, "what a peer has asked for could not be read")
            self.counts["failed"] += 1
            self._courier.send(channel, Problem(pull.id, "the nodes could not be read"))
            return
        nodes = [node for node in map(graph._node, pull.keys) if node is not None]
        parts = [*parts_of(nodes)] or [NodeMap()]
        for part in parts[:-1]:
            self._courier.send(channel, Answer(pull.id, part, more=True))
        self._courier.send(channel, Answer(pull.id, parts[-1]))

    def _answered(self, channel: Channel, answer: Answer) -> None:
        """Take in an answer, or a part of one; only what was asked for counts."""
        asked = channel.asked.get(answer.id)
        if asked is None:
            self.counts["unasked"] += 1  # or it came too late
            return
        try:
            check_ids(answer.nodes, self._graph.clock)
            for key, node in answer.nodes:
                if key in asked.keys:
                    asked.waiting.answers.setdefault(channel, NodeMap()).add(node)
                else:
                    self.counts["unasked"] += 1
        except GraphError:
            self.counts["malformed"] += 1
            channel.answered(answer.id)
            return
        if not answer.more:
            channel.answered(answer.id)

    def _problem(self, channel: Channel, number: int, text: str) -> None:
        """Take in a refusal of a push or of a pull."""
        asked = channel.asked.get(number)
        if asked is not None:
            if text == DENIED:
                asked.waiting.refused.append(channel.connection.id)
            channel.answered(number)
            return
        batch = channel.in_flight.pop(number, None)
        if batch is None:
            self.counts["unasked"] += 1
        elif text == NOT_RECEIVED:
            batch.is_sent = False
            channel.units.appendleft(batch)
            self._courier.flush(channel)
        elif text in RETRIED:
            self._courier.put_off(channel, batch)
        elif text == DENIED:
            name = channel.connection.id
            self._courier.refused(
                channel, batch, _denied([name], "writing", tuple(batch.nodes.keys()))
            )
        else:
            self._courier.refused(
                channel,
                batch,
                GraphError(
                    f"the connection {channel.connection.id!r} refused a write, which stands here "
                    f"all the same: {text}"
                ),
            )


def _news(nodes: NodeMap, known: Callable[[str], Node | None]) -> NodeMap:
    """Return what nodes have that is not known."""
    news = NodeMap()
    for key, node in nodes:
        here = known(key)
        update = node if here is None else merge_node(here.copy(), node).update
        if not update.is_blank:
            news.add(update)
    return news


def _denied(names: list[str], what: str, keys: tuple[str, ...]) -> PermissionDeniedError:
    """Return the error for a refusal: it is the same whether the keys exist or not."""
    shown = ", ".join(repr(key[:80]) for key in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    who = ", ".join(map(repr, names))
    return PermissionDeniedError(
        f"permission denied by {who} for {what} {shown}{more}: "
        "ask there for the right, or connect as somebody who has it"
    )
