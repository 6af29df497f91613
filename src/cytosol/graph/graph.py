"""The graph: nodes by their keys, and what reads and writes them.

Every method that returns an awaitable has begun when it returns: a write has its id and its
place in the queue, awaited or not. Without plugins, and with hooks that are plain functions,
it is even done. Wrong arguments raise at the call; what hooks, storage and router raise comes
to the one who awaits, else to the event loop's exception handler. Spec: graph; seed: API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MethodType
from typing import TYPE_CHECKING, Any, Self, cast

from cytosol.errors import ConfigError, GraphError
from cytosol.graph.actions import ReadNodes, Write
from cytosol.graph.announcing import Announcer
from cytosol.graph.awaiting import Done, Turns, begin, failed
from cytosol.graph.backing import Backing, MemoryBacking
from cytosol.graph.clock import Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.config import (
    Config,
    check_extensions,
    checked_network,
    checked_storage,
    is_router,
    merged_config,
)
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.events import Listeners, Subscription
from cytosol.graph.node import Delta, Node
from cytosol.graph.patches import checked_patch, patch_node, stamped_changes
from cytosol.graph.pointer import DELETED, checked_key
from cytosol.graph.query import engine_steps, query_steps
from cytosol.graph.reading import fetch, read_node_steps, read_nodes_steps
from cytosol.graph.storage import stream_of
from cytosol.graph.transports.authors import new_author
from cytosol.graph.writing import commit_branch_steps, commit_steps, push_steps, write_steps

if TYPE_CHECKING:
    from cytosol.graph.branch import Branch

__all__ = ["Graph"]


class Graph:
    """A graph that lives in memory and reaches the world through the plugins of its configs.

    Each config is a mapping with some of `hooks`, `storage`, `network`, `router`, `extend` and
    `engines`; later ones extend earlier ones. `author` is the 16 bytes that its assignments are
    signed with, random by default. Raises ConfigError. Seed: database(...configs).
    """

    _is_branch = False

    def __init__(self, *configs: Mapping[str, Any], author: bytes | None = None) -> None:
        clock = Clock(new_author() if author is None else author)
        self._setup(MemoryBacking(clock), merged_config(configs))

    @classmethod
    def _over(cls, backing: Backing, configs: tuple[object, ...] = ()) -> Self:
        """Return a graph that keeps its nodes in `backing`."""
        graph = cls.__new__(cls)
        graph._setup(backing, merged_config(configs))
        return graph

    def _setup(self, backing: Backing, config: Config) -> None:
        if config.router is not None and config.network is None:
            config = replace(config, network=ConnectionGroup())
        self._backing = backing
        self._config = config
        self._node = backing.node
        self._assign = getattr(backing, "assign", None)
        self._storage = config.storage
        self._loaded: set[str] | None = None if config.storage is None else set()
        self._listeners = Listeners("history", "update")
        self._node_extensions = dict(config.node_extensions)
        self._turns = Turns()
        self._storing: frozenset[str] = frozenset()
        """The nodes that a write is putting into a storage, and memory does not show yet."""
        self._running: set[asyncio.Task[Any]] = set()
        self._announce = Announcer(backing.node, self._listeners)
        """Tell the listeners what has changed."""
        self._is_closed = False
        hooks = config.hooks
        self._asks = config.storage is not None or config.router is not None
        self._is_write_plain = not (hooks.before_write or hooks.after_write or self._asks)
        self._is_read_plain = not (hooks.before_nodes or hooks.after_nodes)
        self._is_field_plain = not (hooks.before_field or hooks.after_field)
        backing.attach(self)
        check_extensions(config.node_extensions, Node, "node")
        check_extensions(config.graph_extensions, self, "graph")
        if "changes" in config.graph_extensions and not self._is_branch:
            raise ConfigError("`extend.graph` cannot add 'changes': every branch has that already")
        for name, function in config.graph_extensions.items():
            setattr(self, name, MethodType(function, self))
        self._router: Any = None
        self._router = self._made_router(config)

    def _made_router(self, config: Config) -> Any:
        router = config.router
        if router is None:
            return None
        if callable(router):
            router = router(self, config)
        elif callable(getattr(router, "attach", None)):
            router.attach(self, config)
        if not is_router(router):
            raise ConfigError(
                f"the router's function returned {router!r}, which is no router: return an object "
                "with methods push(action) and pull(action)"
            )
        return router

    # --- What is in memory ----------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock that gives this graph's assignments their ids."""
        return self._backing.clock

    @property
    def router(self) -> Any:
        """The router, as its config made it; None if there is none."""
        return self._router

    @property
    def network(self) -> ConnectionGroup | None:
        """All connections of the configs as one group; None if there are none."""
        return self._config.network

    def value(self, key: str) -> Node | None:
        """Return the node `key` if it is in memory and exists, else None. Asks no plugin."""
        node = self._node(key)
        return node if node is not None and node.exists else None

    def keys(self) -> list[str]:
        """Return the keys of the nodes in memory that exist."""
        return [key for key, _ in self]

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        """Yield (key, node) of the nodes in memory; `async for` reads the storage instead."""
        for key in list(self._backing.keys()):
            node = self.value(key)
            if node is not None:
                yield key, node

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Return True: an empty graph is still a graph, and not None."""
        return True

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.value(key) is not None

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return {key: {field: value}} of what is in memory, pointers as `{"edge": key}`."""
        return {key: node.snapshot() for key, node in self}

    def copy(self) -> NodeMap:
        """Return the state in memory as detached nodes, deletions included."""
        copied = NodeMap()
        for key in list(self._backing.keys()):
            node = self._node(key)
            if node is not None:
                copied.nodes[key] = node.copy()
        return copied

    def new(self) -> NodeMap:
        """Return an empty change set."""
        return NodeMap()

    def overlap(self, other: Graph | NodeMap) -> NodeMap:
        """Return the nodes and fields that both have, with the values of this graph."""
        return self.copy().overlap(other.copy())

    def to_json(self) -> dict[str, Any]:
        """Return the state in memory as JSON, in the form that NodeMap.from_json reads."""
        return self.copy().to_json()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} nodes in memory>"

    # --- Reading --------------------------------------------------------------------------

    def read(self, key: str, **options: Any) -> Awaitable[Node | None]:
        """Read (awaitable) one node; None if there is none.

        Options: `storage` and `network` instead of the configured ones (None for none),
        `force=True` to ask them although the node is cached; all others go to hooks and
        plugins. Seed: db.read.
        """
        if type(key) is not str:
            key = checked_key(key)
        if self._is_read_plain and not options:
            node = self._node(key)
            if node is not None:
                loaded = self._loaded
                if loaded is None or key in loaded:
                    return Done(node if node.exists else None)
            elif not self._asks:
                checked_key(key)
                return Done(None)
        return begin(read_node_steps(self, checked_key(key), options), self._running)

    def nodes(self, keys: Iterable[str], **options: Any) -> Awaitable[list[Node | None]]:
        """Read (awaitable) several nodes at once, in the order of `keys`. Seed: db.nodes."""
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
            raise GraphError(f"nodes() takes a list of keys, not {keys!r}; for one use read()")
        wanted = tuple([checked_key(key) for key in keys])
        if self._is_read_plain and not options and all(map(self._is_cached, wanted)):
            return Done([self.value(key) for key in wanted])
        return begin(read_nodes_steps(self, wanted, options), self._running)

    def __aiter__(self) -> AsyncIterator[Node]:
        """Stream every node of the storage, detached; memory and network are not asked.

        Raises GraphError without a storage, or if it does not support streaming.
        """
        return stream_of(self._storage)

    def query(self, query: Any, *, engine: str = "jsonpath", **options: Any) -> Awaitable[Any]:
        """Ask (awaitable) a query engine; the default one takes a JSONPath, `$` is the graph.

        JSONPath (RFC 9535 with Cytosol's extensions): fields of nodes are members, pointers are
        followed; the result is a list of values, nodes as Nodes. Option `vars` gives the
        variables of the path. A cyclic graph is safe: `..` visits each node once. Read hooks
        do not run. Raises PathSyntaxError, PathLimitError, GraphError for an unknown engine.
        """
        if engine == "jsonpath" and engine not in self._config.engines:
            return begin(query_steps(self, query, options), self._running)
        function = self._config.engines.get(engine)
        if function is None:
            known = ", ".join(f'"{name}"' for name in ("jsonpath", *self._config.engines))
            raise GraphError(f"there is no query engine {engine!r}; there are {known}")
        return begin(engine_steps(self, function, query, options), self._running)

    # --- Writing --------------------------------------------------------------------------

    def write(self, key: str, patch: Mapping[str, Any], **options: Any) -> Awaitable[Node | None]:
        """Assign (awaitable) the fields of `patch`, creating the node if need be; return it.

        Values are primitives or pointers (a Node, a Pointer, `{"edge": key}`); fields that are
        not named stay as they are. Raises GraphError for anything else, at once. Seed: db.write.
        """
        return self._write_values(checked_key(key), checked_patch(patch), options)

    def _write_values(
        self, key: str, values: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Awaitable[Node | None]:
        """Assign checked values."""
        clock = self._backing.clock
        since = clock.index
        stamp = clock.next()
        here = self._node(key)
        if (
            here is not None
            and self._assign is not None
            and self._is_write_plain
            and not options
            and self._turns.is_free
            and here._listeners is None
            and not self._listeners
            and self._assign(here, values, stamp)
        ):
            return Done(here)
        return self._change(patch_node(key, values, stamp, here), since, options)

    def _delete_field(
        self, key: str, field: str, options: Mapping[str, Any]
    ) -> Awaitable[Node | None]:
        """Delete a field, without making a node that does not exist."""
        since = self._backing.clock.index
        change = Node(key)
        change.entries = {field: (DELETED, self._backing.clock.next())}
        return self._change(change, since, options)

    def delete(self, key: str, **options: Any) -> Awaitable[None]:
        """Delete (awaitable) a node; what was written before stays hidden, wherever it is.

        A later write brings the node back, with the fields that are written then.
        """
        since = self._backing.clock.index
        change = Node(key)
        change.gone = self._backing.clock.next()
        return self._change(change, since, options, returns_node=False)

    def _change(
        self, change: Node, since: int, options: Mapping[str, Any], *, returns_node: bool = True
    ) -> Awaitable[Any]:
        """Write one node; return an awaitable of the node as it is then, or of None."""
        changes = NodeMap()
        changes.nodes[change.key] = change
        key = change.key if returns_node else None
        if self._is_write_plain and not options and self._turns.is_free:
            try:
                self._take_over(changes)
            except Exception as error:
                return failed(error)
            return Done(None if key is None else self._node(key))
        return begin(write_steps(self, key, changes, options, since), self._running)

    def commit(self, changes: Any, **options: Any) -> Awaitable[Write]:
        """Apply (awaitable) a set of changes, all or nothing; return what happened.

        `changes` is a branch, a NodeMap such as the `update` of an event, a Node, a Graph, or
        `{key: node or {field: value}}`. Assignments keep their ids, so that stale ones change
        nothing; plain values get one id. Seed: db.commit.
        """
        clock = self._backing.clock
        since = clock.index
        branch = None
        if isinstance(changes, Graph):
            branch = cast("Branch", changes) if changes._is_branch else None
            if branch is not None and not branch._turns.is_free:
                return begin(commit_branch_steps(self, branch, options, since), self._running)
            changes = changes.copy() if branch is None else branch.changes()
        given = stamped_changes(changes, clock, self._node)
        if self._is_write_plain and not options and self._turns.is_free:
            try:
                clock.observe(given.latest())
                settle = None if branch is None else branch._settling(given, self)
                delta = self._take_over(given, settle)
            except Exception as error:
                return failed(error)
            live = self._live(given.nodes)
            return Done(Write(delta.update, live, delta.history, None, self.network, {}))
        return begin(commit_steps(self, given.copy(), options, since, branch), self._running)

    def merge(self, changes: Any) -> Delta[NodeMap]:
        """Apply changes at once; return `update` and `history`.

        Raises GraphError if the graph has hooks for writes, a storage, a network or a router,
        which this would go behind: use `commit`.
        """
        self._check_open()
        if not self._is_write_plain or self._config.network is not None:
            raise GraphError(
                "merge() would go behind the plugins of this graph: use `await graph.commit(...)`"
            )
        if not self._turns.is_free:
            raise GraphError("another write is under way: use `await graph.commit(...)`")
        clock = self._backing.clock
        if isinstance(changes, Graph):
            changes = changes.copy()
        given = stamped_changes(changes, clock, self._node)
        clock.observe(given.latest())
        return self._take_over(given)

    def branch(self) -> Branch:
        """Return a private overlay: what is written to it stays there until it is committed.

        It reads through to this graph as it is now, and shares hooks, extensions and engines,
        but no storage, network or router. Seed: db.branch.
        """
        from cytosol.graph.branch import Branch

        return Branch(self)

    def rebase(self, other: Any) -> Any:
        """Return this graph's assignments as changes that win over those of `other`.

        Committing them to `other` puts this graph on top of it. A branch is rebased in place.
        """
        return self.copy().rebase(other)

    # --- Events ---------------------------------------------------------------------------

    def on(self, event: str, callback: Callable[[NodeMap], Any]) -> Subscription:
        """Call `callback(nodes)` on each "update" (what changed) or "history" (what was lost).

        Returns a Subscription; `cancel()` ends it. Raises GraphError for an unknown event.
        """
        return self._listeners.on(event, callback)

    def _heard(self, delta: Delta[NodeMap]) -> None:
        """Pass on a change that came past this graph, as when its document was edited."""
        self._announce(delta)
        if self._router is not None and delta.update.nodes and not self._is_closed:
            begin(push_steps(self, delta), self._running)

    # --- For the steps of reads and writes ------------------------------------------------

    async def _fetch(self, action: ReadNodes) -> None:
        """Load the nodes of `action.keys` into memory from where the action says."""
        await fetch(self, action)

    async def _prepare(self, changes: NodeMap) -> None:
        """Learn what must be known of nodes before they change; a branch asks its source."""

    def _take_over(
        self, changes: NodeMap, settle: Callable[[], None] | None = None
    ) -> Delta[NodeMap]:
        """Change memory, and tell the listeners; `settle` what has to be before they look."""
        delta = self._backing.apply(changes)
        if settle is not None:
            settle()
        self._announce(delta)
        return delta

    def _adopt(self, node: Node) -> None:
        """Make a node of a branch the member with its key, in the state of the present one."""
        member = self._node(node.key)
        if member is not None:
            node.entries, node.made, node.gone = member.entries, member.made, member.gone
            node._graph = self
            self._backing.adopt(node)

    def _load(self, nodes: NodeMap, *, is_news: bool = False) -> None:
        """Take over what was read from the storage, or, as news, from another graph."""
        backing = self._backing
        if not nodes.nodes:
            return
        if is_news:  # unlike what our storage held, branches made before must not see it
            for watcher in tuple(backing.watchers):
                for key in nodes.nodes:
                    watcher.remember(key, backing.node(key))
        delta = backing.load(nodes)
        if is_news:  # what our own storage holds has been announced when it was written
            self._announce(delta)

    def _is_cached(self, key: str) -> bool:
        """Tell whether memory has all that the configured storage has of the node."""
        return self._node(key) is not None and (self._loaded is None or key in self._loaded)

    def _live(self, keys: Iterable[str]) -> NodeMap:
        """Return the members of the graph with these keys."""
        live = NodeMap()
        live.nodes = {key: node for key in keys if (node := self._node(key)) is not None}
        return live

    def _resolved(
        self, options: Mapping[str, Any]
    ) -> tuple[Any, ConnectionGroup | None, dict[str, Any]]:
        """Return the storage and network of one call, and the other options."""
        rest = dict(options)
        config = self._config
        storage = checked_storage(rest.pop("storage")) if "storage" in rest else self._storage
        network = config.network
        if "network" in rest:
            network = rest.pop("network")
            network = None if network is None else checked_network(network)
        return storage, network, rest

    def _check_open(self) -> None:
        if self._is_closed:
            raise GraphError("this graph is closed; make a new one to go on")

    # --- The end --------------------------------------------------------------------------

    async def close(self) -> None:
        """Wait for what has begun, then close the router and the storage, if they can be.

        Connections stay open: they belong to whoever made them. Closing twice is fine; reads
        and writes raise GraphError afterwards.
        """
        if self._is_closed:
            return
        while self._running:
            await asyncio.wait(tuple(self._running))
        self._is_closed = True
        self._is_write_plain = self._is_read_plain = self._is_field_plain = False
        for plugin in (self._router, self._storage, self._backing):
            closing = getattr(plugin, "close", None)
            if callable(closing):
                result = closing()
                if hasattr(type(result), "__await__"):
                    await result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
