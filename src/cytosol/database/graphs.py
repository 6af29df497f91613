"""The graph in a database: nodes and fields seen through the document (spec: graph).

Field `f` of node `k` is the JSON at `$.graph[k][f]`, its id is the date of that place. What was
deleted shows in the object beside, `$["graph/deleted"]`: it says how new something must be to be
seen again. So whatever the document does for its places, it does for the graph.

The nodes are copies of the document's state that follow it: an observer notes which ones have
changed, and they are read anew by whoever looks next. The document's lock is held for that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from cytosol.crdt.tree import Place
from cytosol.database.nodeplans import NodePlans
from cytosol.document.assigning import date_at
from cytosol.document.document import Document
from cytosol.document.interest import Location
from cytosol.errors import ActionError, ConfigError, GraphError
from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.collection import NodeMap
from cytosol.graph.config import merged_config
from cytosol.graph.graph import Graph
from cytosol.graph.node import Delta, Node, check_room, merge_node
from cytosol.graph.pointer import DELETED, checked_field, checked_key, checked_value
from cytosol.limits import LAMPORT_MAX, NODE_FIELDS_MAX
from cytosol.model.ids import OpId, parse_id
from cytosol.model.json import brief
from cytosol.path import parse_path

__all__ = ["DocumentBacking", "DocumentClock", "graph_in"]

MARKS: Final = "/deleted"
"""What the name of the object with the deletions adds to that of the graph."""

PRIMITIVES: Final = frozenset({str, int, float, bool, type(None)})


def graph_in(document: Document, path: str, configs: Sequence[Mapping[str, Any]]) -> Graph:
    """Return the graph at a path of a document; raises ConfigError, ActionError for a bad path."""
    config = merged_config(tuple(configs))
    if config.storage is not None:
        raise ConfigError(
            "a graph in a database is stored by the database; leave out `storage` from its configs"
        )
    document.check_open()
    query = parse_path(path).bind(())
    steps = query.prefix
    if not steps or query.steps != steps or not all(type(step) is str for step in steps):
        raise ConfigError(
            f"a graph stands at a path made of keys, such as '$.graph', not at {brief(path)}"
        )
    backing = DocumentBacking(document, tuple(map(str, steps)))
    return Graph._over(backing, tuple(configs))


class DocumentClock(Clock):
    """The clock of a document as its graphs see it: they share it with dispatched actions."""

    __slots__ = ("_document",)

    def __init__(self, document: Document) -> None:
        self._document = document

    @property
    def author(self) -> bytes:  # type: ignore[override]  # others only read it
        """Whose ids these are; the document may change that."""
        return self._document.replica.author

    @property
    def index(self) -> int:  # type: ignore[override]  # others only read it
        """The greatest index given or observed so far."""
        return self._document.replica.clock

    def next(self) -> OpId:
        """Return the next id, which nobody else gets."""
        return self._document.reserve_id()

    def observe(self, seen: OpId, trusted: bool = False) -> None:
        """Move past `seen`. Raises GraphError for one that paired devices could not follow."""
        self.raise_to(seen[0])

    def raise_to(self, index: int) -> None:
        """Move past `index`. Raises GraphError if that is too far, see LAMPORT_LEAP_MAX."""
        try:
            self._document.pass_by(index)
        except ActionError as error:
            raise GraphError(str(error)) from None


class DocumentBacking:
    """The nodes of a graph that is kept in a document; a Backing, and an Observer.

    Used from one thread at a time, that of the event loop if there is one; the document may
    change in any thread.
    """

    def __init__(self, document: Document, steps: tuple[str, ...]) -> None:
        self.clock: Clock = DocumentClock(document)
        self._watchers: WeakSet[Any] = WeakSet()
        self._document = document
        self._steps = steps
        self._marks = (*steps[:-1], steps[-1] + MARKS)
        self._nodes: dict[str, Node] = {}
        self._lost: dict[str, Node] = {}  # what was deleted behind the graph's back, and when
        self._dirty: set[str] = set()
        self._is_stale = False  # whether all nodes are dirty
        self._unheard: deque[Delta[NodeMap]] = deque()
        self._graph: Graph | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_applying = False

    # --- what a graph asks for ------------------------------------------------------------

    def attach(self, graph: Graph) -> None:
        """Read all nodes, as members of `graph`, and follow the document from now on."""
        self._graph = graph
        self._find_loop()
        with self._document.lock:
            self._is_stale = True
            self._changed()
            self._document.observers = (*self._document.observers, self)

    @property
    def watchers(self) -> WeakSet[Any]:
        """Who hears of nodes before they change: branches. From now on, so what was is past."""
        if self._dirty or self._is_stale:
            self._catch_up()
        return self._watchers

    def close(self) -> None:
        """Stop following the document."""
        with self._document.lock:
            rest = [each for each in self._document.observers if each is not self]
            self._document.observers = tuple(rest)

    def node(self, key: str) -> Node | None:
        """Return the node `key`, always the same object, or None."""
        if self._dirty or self._is_stale:
            self._catch_up()
        return self._nodes.get(key)

    def keys(self) -> Iterable[str]:
        """Return the keys of all nodes, also of deleted ones."""
        if self._dirty or self._is_stale:
            self._catch_up()
        return list(self._nodes)

    def load(self, nodes: NodeMap) -> Delta[NodeMap]:
        """Take over what another graph had."""
        return self.apply(nodes)

    def apply(self, changes: NodeMap) -> Delta[NodeMap]:
        """Write changes into the document as one unit, durable on return.

        Raises GraphError for ids too far ahead, FailureError if what stands at the path is in the
        way, SaveError, DatabaseClosedError; nothing has changed then.
        """
        document = self._document
        self._find_loop()
        self._is_applying = True
        try:
            with document.lock:
                document.check_open()
                self._collect()
                self._check_room(changes)
                plans = NodePlans(document.replica, self._steps, self._marks)
                assignments = plans.assignments(changes, self._nodes)
            try:
                document.assign(assignments)
            except ActionError as error:
                raise GraphError(str(error)) from None
            with document.lock:
                self._dirty.update(changes.nodes)  # a node that is only made anew changes no place
                return self._changed()
        finally:
            self._is_applying = False
            if self._dirty or self._is_stale or self._unheard:
                self._tell_soon()

    def adopt(self, node: Node) -> None:
        """Let `node` be the member with its key."""
        with self._document.lock:
            self._nodes[node.key] = node

    def _check_room(self, changes: NodeMap) -> None:
        for key, incoming in changes.nodes.items():
            node = self._nodes.get(key)
            present = 0 if node is None else len(node.entries)
            if present + len(incoming.entries) > NODE_FIELDS_MAX:
                check_room(node or Node(key), incoming)

    # --- what others change ---------------------------------------------------------------

    def touch(self, locations: Sequence[Location]) -> None:
        """Note which nodes have changed; the document's lock is held."""
        for root in (self._steps, self._marks):
            depth = len(root)
            for location in locations:
                if location[:depth] == root[: len(location)]:
                    if len(location) > depth:
                        self._dirty.add(str(location[depth]))
                    else:
                        self._is_stale = True

    def deliver(self) -> None:
        """Have the graph's listeners called for what has changed, in the graph's loop."""
        if (self._dirty or self._is_stale or self._unheard) and not self._is_applying:
            self._tell_soon()

    def _tell_soon(self) -> None:
        loop = self._loop
        if loop is None:
            self._tell()
            return
        with suppress(RuntimeError):  # the loop is closed: whoever looks next catches up
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        """Announce what changed behind the graph's back, and pass it on."""
        if self._is_applying:
            return
        graph = self._graph
        assert graph is not None, "a backing is attached before it is used"
        with self._document.lock:
            self._collect()
        while self._unheard:
            graph._heard(self._unheard.popleft())

    def _find_loop(self) -> None:
        """Remember the event loop that the graph is used in."""
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is not None and self._loop.is_closed():
                self._loop = None

    def _catch_up(self) -> None:
        """Read what has changed before somebody looks; listeners hear of it a little later."""
        with self._document.lock:
            self._collect()
        if self._unheard and not self._is_applying:
            self._find_loop()
            if self._loop is not None:
                self._tell_soon()

    def _collect(self) -> None:
        delta = self._changed()
        if delta.update.nodes or delta.history.nodes:
            self._unheard.append(delta)

    # --- reading the document, with its lock held -----------------------------------------

    def _changed(self) -> Delta[NodeMap]:
        """Read the nodes that have changed; return what is new in them, and what was before."""
        delta = Delta(NodeMap(), NodeMap())
        if not self._dirty and not self._is_stale:
            return delta
        replica = self._document.replica
        replica.dates.catch_up(len(replica.log))
        nodes, marks = self._place(self._steps), self._place(self._marks)
        keys = self._dirty
        if self._is_stale:
            keys = {*self._nodes, *_keys(nodes), *_keys(marks)}
        self._dirty, self._is_stale = set(), False
        for key in keys:
            if not _is_text(key):
                continue
            state = Node(key)
            is_there = _read_node(self._document, nodes, key, state)
            _read_marks(self._document, marks, key, state)
            self._note_lost(self._nodes.get(key), state, is_there)
            self._replace(key, state, delta)
        return delta

    def _replace(self, key: str, state: Node, delta: Delta[NodeMap]) -> None:
        node = self._nodes.get(key)
        before = node or Node(key)
        update, history = _difference(before, state)
        if update.is_blank and history.is_blank and before.made == state.made:
            return
        for watcher in tuple(self._watchers):
            watcher.remember(key, node)
        if node is None:
            node = self._nodes[key] = Node(key, self._graph)
        node.entries, node.made, node.gone = state.entries, state.made, state.gone
        if not update.is_blank:
            delta.update.nodes[key] = update
        if not history.is_blank:
            delta.history.nodes[key] = history

    def _note_lost(self, before: Node | None, state: Node, is_there: bool) -> None:
        """Date what was deleted by an action, of which the document remembers no date."""
        if before is None:
            return
        replica = self._document.replica
        now = OpId(replica.clock, replica.author)
        lost = self._lost.get(before.key) or Node(before.key)
        if is_there:
            lost.gone = ZERO
        elif before.made > state.gone:
            lost.gone = max(now, OpId(before.latest().index + 1, replica.author))
        for field, (value, stamp) in before.entries.items():
            if field not in state.entries and value is not DELETED and stamp > state.gone:
                lost.entries[field] = (DELETED, max(now, OpId(stamp.index + 1, replica.author)))
        for field in [field for field in lost.entries if field in state.entries]:
            del lost.entries[field]
        if lost.is_blank:
            self._lost.pop(before.key, None)
            return
        self._lost[before.key] = lost
        merge_node(state, lost)

    def _place(self, steps: tuple[str, ...]) -> Place | None:
        """Return the object that the document has at these steps."""
        place = self._document.replica.tree.root
        for step in steps:
            below = _below(self._document, place, step)
            if below is None:
                return None
            place = below
        return place

    def __repr__(self) -> str:
        return f"<DocumentBacking of {len(self._nodes)} nodes at {'/'.join(self._steps)}>"


def _below(document: Document, place: Place, step: str) -> Place | None:
    """Return the object at a key of an object."""
    if step not in place.value:
        return None
    below = document.replica.tree.place_at(place, step)
    return below if below is not None and type(below.value) is dict else None


def _keys(place: Place | None) -> list[str]:
    return [] if place is None else list(place.value)


def _is_text(key: str) -> bool:
    """Tell whether a node can have this key: the document has others, too."""
    try:
        checked_key(key)
    except GraphError:
        return False
    return True


def _read_node(document: Document, nodes: Place | None, key: str, state: Node) -> bool:
    """Read the fields that a node has in the document; tell whether it is there.

    What no field can hold is passed over.
    """
    place = None if nodes is None else _below(document, nodes, key)
    if nodes is None or place is None:
        return False
    replica = document.replica
    state.made = date_at(replica, nodes, key)
    for field, content in place.value.items():
        if type(content) in PRIMITIVES:
            state.entries[field] = (content, date_at(replica, place, field))
            continue
        with suppress(GraphError):
            pointer = checked_value(content, "")
            below = replica.tree.place_at(place, field)
            assert below is not None, "what is an object has a place"
            stamp = max(date_at(replica, place, field), date_at(replica, below, "edge"))
            state.entries[checked_field(field)] = (pointer, stamp)
    return True


def _read_marks(document: Document, marks: Place | None, key: str, state: Node) -> None:
    """Read what was deleted of a node, and drop what that hides."""
    place = None if marks is None else _below(document, marks, key)
    if place is None:
        return
    replica = document.replica
    deletions = Node(key)
    if "node" in place.value:
        deletions.gone = date_at(replica, place, "node")
    fields = _below(document, place, "fields")
    told: list[OpId] = []
    for field in _keys(fields):
        assert fields is not None, "it has keys"
        stamp = date_at(replica, fields, field)
        if stamp == state.made:
            told.append(_id_in(fields.value[field]))
        if stamp > deletions.gone:
            deletions.entries[field] = (DELETED, stamp)
    if told:  # the deletion of a field has made sure of the node: it was made before
        state.made = max(*told, *(entry[1] for entry in state.entries.values()), ZERO)
    for field, entry in list(state.entries.items()):
        deleted = deletions.entries.get(field)
        if deleted is not None and entry[1] == deleted[1]:
            del state.entries[field]  # of one id the deletion is what was said
    merge_node(state, deletions)


def _id_in(mark: Any) -> OpId:
    """Return when a node was made, as the mark of a field's deletion tells."""
    try:
        index, author = mark
        return OpId(int(index), parse_id(author)) if 0 < index <= LAMPORT_MAX else ZERO
    except (TypeError, ValueError):
        return ZERO


def _difference(before: Node, after: Node) -> Delta[Node]:
    """Return what a change of state brings, and what it overwrites."""
    update, history = before.new(), before.new()
    if after.gone != before.gone:
        update.gone = after.gone
    for field, entry in after.entries.items():
        old = before.entries.get(field)
        if old is None:
            update.entries[field] = entry
            if before.gone is not ZERO:
                history.entries[field] = (DELETED, before.gone)
        elif old[1] != entry[1] or old[0] != entry[0]:
            update.entries[field] = entry
            history.entries[field] = old
    for field, old in before.entries.items():
        if field not in after.entries:
            history.entries[field] = old
    # A node is made anew by each write; that is news only where there was none.
    if before.made is ZERO:
        update.made = after.made
    elif after.made is ZERO:
        history.made = before.made
    return Delta(update, history)
