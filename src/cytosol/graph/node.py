"""A node: fields, each with the id of its last assignment; and how two states of one merge.

Data only, no I/O. A node is detached (a patch, a delta) or a member of a graph.

Laws: the greater id wins, field by field; the deletion of a node hides, in every field, what
has a smaller id, also what arrives later. Merging is commutative, associative and idempotent
(spec: graph, One clock, one id, two views). To keep the state canonical, what a deletion hides
is dropped: in `entries` every id is greater than `gone`, and `made` is too, or it is ZERO.
Entries are immutable tuples, shared freely between nodes and deltas.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from cytosol.errors import ActionError, GraphError
from cytosol.graph.clock import ZERO, Clock
from cytosol.graph.events import Listeners, Subscription
from cytosol.graph.pointer import (
    DELETED,
    Target,
    Value,
    checked_field,
    checked_key,
    checked_value,
    value_to_json,
)
from cytosol.limits import LAMPORT_MAX, NODE_FIELDS_MAX
from cytosol.model.ids import OpId, format_id, parse_id

if TYPE_CHECKING:
    from cytosol.graph.graph import Graph

__all__ = ["UNSTAMPED", "Delta", "Entry", "Node", "blank_node", "merge_node"]

Entry: TypeAlias = tuple[Value, OpId]
"""A value, or DELETED, and the id of the assignment that put it there."""

UNSTAMPED = b""
"""The author of what was merged from plain values into a detached node: `commit` gives it an id."""

T = TypeVar("T")


class Delta(NamedTuple, Generic[T]):
    """What a merge changed (`update`) and what it overwrote (`history`, only that)."""

    update: T
    history: T


class Node(Target):
    """A map from field to (value, id). Detached without a `graph`, else its member.

    Raises GraphError for a `key` that is not a non-empty text.
    """

    __slots__ = ("__weakref__", "_graph", "_listeners", "entries", "gone", "key", "made")

    key: str
    entries: dict[str, Entry]
    made: OpId
    gone: OpId

    def __init__(self, key: str, graph: Graph | None = None) -> None:
        self.key = checked_key(key)
        self.entries = {}
        self.made = ZERO
        self.gone = ZERO
        self._graph = graph
        self._listeners: Listeners | None = None

    # --- Reading what is in memory --------------------------------------------------------

    def value(self, field: str) -> Value:
        """Return the value of `field`, a Pointer for a pointer, None where there is none."""
        entry = self.entries.get(field)
        return None if entry is None or entry[0] is DELETED else entry[0]

    def state(self, field: str) -> OpId | None:
        """Return the id of the last assignment to `field`, its deletion included, or None."""
        entry = self.entries.get(field)
        return None if entry is None else entry[1]

    @property
    def exists(self) -> bool:
        """Tell whether the node has a field, or was written empty and not deleted since."""
        return self.made > self.gone or len(self) > 0

    @property
    def is_blank(self) -> bool:
        """Tell whether the node carries no assignment at all, not even a deletion."""
        return not self.entries and self.made is ZERO and self.gone is ZERO

    def snapshot(self) -> dict[str, Any]:
        """Return a fresh dict of the fields, pointers as `{"edge": key}`."""
        return {field: value_to_json(value) for field, value in self}

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        """Yield (field, value) of all fields there are, in the order of their first writing."""
        for field, entry in list(self.entries.items()):
            if entry[0] is not DELETED:
                yield field, entry[0]

    def __len__(self) -> int:
        """Count the fields, deleted ones left out."""
        return sum(entry[0] is not DELETED for entry in self.entries.values())

    def __bool__(self) -> bool:
        """Return True: a node without fields is still a node, and not None."""
        return True

    def __contains__(self, field: object) -> bool:
        entry = self.entries.get(field)  # type: ignore[call-overload]  # any object may be asked for
        return entry is not None and entry[0] is not DELETED

    def __str__(self) -> str:
        return self.key

    def __repr__(self) -> str:
        return f"<Node {self.key!r} {sorted(field for field, _ in self)}>"

    # --- Deltas ---------------------------------------------------------------------------

    def new(self) -> Node:
        """Return a detached, blank node of the same key."""
        return blank_node(self.key)

    def copy(self) -> Node:
        """Return a detached node of the same state."""
        copied = blank_node(self.key)
        copied.entries = self.entries.copy()
        copied.made = self.made
        copied.gone = self.gone
        return copied

    def overlap(self, other: Node) -> Node:
        """Return the fields of this node that `other` has too, with the values of this one."""
        common = blank_node(self.key)
        theirs = other.entries
        common.entries = {f: entry for f, entry in self.entries.items() if f in theirs}
        return common

    def latest(self) -> OpId:
        """Return the greatest id in this node, ZERO for a blank one."""
        latest = max(self.made, self.gone)
        for _, stamp in self.entries.values():
            if stamp is not latest and stamp > latest:  # the fields of one write share their id
                latest = stamp
        return latest

    def merge(self, other: Node | Mapping[str, Any]) -> Delta[Node]:
        """Take the greater id of each field; return what changed and what was overwritten.

        Plain values are a patch: they win here, and `commit` gives them an id. In a graph this
        is `Graph.merge`, which raises GraphError if the graph has plugins: use `commit`.
        """
        if self._graph is not None:
            merged = self._graph.merge({self.key: other})
            return Delta(
                merged.update.value(self.key) or self.new(),
                merged.history.value(self.key) or self.new(),
            )
        incoming = other if isinstance(other, Node) else self._patch(other)
        delta = merge_node(self, incoming)
        errors: list[Exception] = []
        if not delta.history.is_blank:
            errors += self._emit("history", delta.history)
        if not delta.update.is_blank:
            errors += self._emit("update", delta.update)
        if errors:
            raise errors[0]
        return delta

    def _patch(self, values: Mapping[str, Any]) -> Node:
        """Return plain values as unstamped assignments, just above those of this node."""
        if not isinstance(values, Mapping):
            raise GraphError(
                f"a node can be merged with a node or a mapping, not {type(values).__name__}"
            )
        patch = blank_node(self.key)
        stamp = OpId(self.latest()[0] + 1, UNSTAMPED)
        patch.made = ZERO if self.exists else stamp
        for field, value in values.items():
            name = checked_field(field)
            patch.entries[name] = (checked_value(value, f"{self.key!r}.{name!r}"), stamp)
        return patch

    def rebase(self, target: Node, clock: Clock) -> Node:
        """Return the assignments of this node with ids that win over those of `target`.

        An id that wins already is kept. Nothing of `target` is in the result.
        """
        clock.observe(target.latest())
        return self._on_top(target, Restamp(clock))

    def _on_top(self, target: Node | None, restamp: Restamp) -> Node:
        """Do the work of `rebase`; all nodes of one change set share a `restamp`."""
        top = blank_node(self.key)
        floor = ZERO if target is None else target.gone
        if self.gone is not ZERO:
            top.gone = self.gone
            if target is not None and target._outlives(self.gone):
                top.gone = restamp.deletion()
            floor = max(floor, top.gone)
        theirs = {} if target is None else target.entries
        for field, entry in self.entries.items():
            other = theirs.get(field)
            if entry[1] <= floor or (other is not None and entry[1] <= other[1]):
                entry = (entry[0], restamp.assignment())
            top.entries[field] = entry
        if self.made is not ZERO:
            top.made = self.made if self.made > floor else restamp.assignment()
        return top

    def _outlives(self, gone: OpId) -> bool:
        """Tell whether something of this node would be there after a deletion with this id."""
        return self.made > gone or any(
            entry[1] > gone and entry[0] is not DELETED for entry in self.entries.values()
        )

    # --- Events ---------------------------------------------------------------------------

    def on(self, event: str, callback: Callable[[Node], Any]) -> Subscription:
        """Call `callback(delta)` on each "update" (what changed) or "history" (what was lost).

        Returns a Subscription; `cancel()` ends it. Raises GraphError for an unknown event.
        """
        if self._listeners is None:
            self._listeners = Listeners("history", "update")
        return self._listeners.on(event, callback)

    def _emit(self, event: str, delta: Node) -> list[Exception]:
        return [] if self._listeners is None else self._listeners.emit(event, delta)

    # --- JSON -----------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the whole state: {"key", "made"?, "gone"?, "fields": {name: [value, i, author]}}.

        A deleted field is [null, i, author, true]. Raises GraphError for plain values that have
        no id yet: commit them first.
        """
        fields: dict[str, list[Any]] = {}
        state: dict[str, Any] = {"key": self.key}
        try:
            if self.made is not ZERO:
                state["made"] = [self.made[0], format_id(self.made[1])]
            if self.gone is not ZERO:
                state["gone"] = [self.gone[0], format_id(self.gone[1])]
            for field, (value, (index, author)) in self.entries.items():
                if value is DELETED:
                    fields[field] = [None, index, format_id(author), True]
                else:
                    fields[field] = [value_to_json(value), index, format_id(author)]
        except ValueError:  # the author is not 16 bytes
            raise GraphError(
                f"the node {self.key!r} has plain values without an id; commit it first"
            ) from None
        state["fields"] = fields
        return state

    @staticmethod
    def from_json(state: Any, where: str = "the node") -> Node:
        """Return the detached node that `to_json` wrote. Raises GraphError for all else."""
        if not isinstance(state, dict):
            raise GraphError(f"{where} must be an object, not {type(state).__name__}")
        node = Node(state.get("key"))  # type: ignore[arg-type]  # checked there
        where = f"{where} {node.key[:80]!r}"
        fields = state.get("fields")
        if not isinstance(fields, dict):
            raise GraphError(f'{where} must have "fields", an object')
        if len(fields) > NODE_FIELDS_MAX:
            raise GraphError(f"{where} has {len(fields)} fields; {NODE_FIELDS_MAX} are allowed")
        if "gone" in state:
            node.gone = _id_from_json(state["gone"], f'{where}, "gone"')
        if "made" in state:
            made = _id_from_json(state["made"], f'{where}, "made"')
            node.made = made if made > node.gone else ZERO
        gone = node.gone
        for name, item in fields.items():
            entry = _entry_from_json(item, f"{where}, field {checked_field(name)[:80]!r}")
            if entry[1] > gone:
                node.entries[name] = entry
        return node

    # --- What needs the graph -------------------------------------------------------------

    def read(self, field: str, **options: Any) -> Awaitable[Any]:
        """Return (awaitable) the value of `field`, the node itself for a pointer, or None."""
        graph = self._member("read")
        reading: Awaitable[Any] = _members().read_field(graph, self, field, options)
        return reading

    def fields(self, fields: Iterable[str], **options: Any) -> Awaitable[list[Any]]:
        """Return (awaitable) the values of several fields; pointers are read all at once."""
        graph = self._member("read")
        reading: Awaitable[list[Any]] = _members().read_fields(graph, self, fields, options)
        return reading

    def write(self, field: str, value: Any, **options: Any) -> Awaitable[Any]:
        """Assign `value`, a primitive or a node to point to, as `Graph.write` does."""
        graph = self._member("written")
        writing: Awaitable[Any] = _members().write_field(graph, self, field, value, options)
        return writing

    def delete(self, field: str, **options: Any) -> Awaitable[Any]:
        """Delete `field`; a later write brings it back."""
        graph = self._member("written")
        writing: Awaitable[Any] = _members().delete_field(graph, self, field, options)
        return writing

    def _member(self, what: str) -> Graph:
        if self._graph is None:
            raise GraphError(
                f"the node {self.key!r} is in no graph and cannot be {what} through one; "
                "use value() and merge(), or take the node from a graph"
            )
        return self._graph

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the state, detached."""
        state = (self.made, self.gone)
        return _restored, (self.key, self.entries, *[None if s is ZERO else s for s in state])

    def __getattr__(self, name: str) -> Any:
        """Find a method that a config added (`extend: {"node": {name: function}}`)."""
        if not name.startswith("_") and self._graph is not None:
            function = self._graph._node_extensions.get(name)
            if function is not None:
                return MethodType(function, self)
        raise AttributeError(f"a node has no method {name!r}; for its fields use value({name!r})")


class Restamp:
    """The two ids that one rebase gives: deletions get the first, all else the second.

    What was written after a deletion must stay above it, hence two.
    """

    __slots__ = ("_clock", "_ids")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids: tuple[OpId, OpId] | None = None

    def deletion(self) -> OpId:
        """Return the id of the deletions."""
        if self._ids is None:
            self._ids = (self._clock.next(), self._clock.next())
        return self._ids[0]

    def assignment(self) -> OpId:
        """Return the id of the assignments."""
        self.deletion()
        assert self._ids is not None
        return self._ids[1]


def merge_node(target: Node, incoming: Node) -> Delta[Node]:
    """Merge `incoming` into `target`, whose fields take the greater id each; the fast path.

    Keys and events are the caller's business. Raises GraphError, and changes nothing, if the
    node would have more than NODE_FIELDS_MAX fields.
    """
    key = target.key
    update = blank_node(key)
    history = blank_node(key)
    if len(target.entries) + len(incoming.entries) > NODE_FIELDS_MAX:
        check_room(target, incoming)
    if incoming.gone > target.gone:
        _bury(target, incoming.gone, update, history)
    update.entries, past = merge_fields(target, incoming)
    for field, entry in past.items():
        history.entries.setdefault(field, entry)  # what a deletion has just hidden comes first
    if target.made < incoming.made > target.gone:
        target.made = update.made = incoming.made
    return Delta(update, history)


def merge_fields(target: Node, incoming: Node) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Take over the greater ids; return the entries that are new and those they replace.

    `target.gone` must be the greater one already.
    """
    new: dict[str, Entry] = {}
    past: dict[str, Entry] = {}
    entries = target.entries
    gone = target.gone
    find = entries.get
    for field, entry in incoming.entries.items():
        old = find(field)
        if old is None:
            if entry[1] > gone:
                new[field] = entry
                if gone is not ZERO:
                    past[field] = (DELETED, gone)
        elif entry[1] > old[1]:
            past[field] = old
            new[field] = entry
    entries.update(new)
    return new, past


def _bury(target: Node, gone: OpId, update: Node, history: Node) -> None:
    """Take over a deletion of the whole node: drop what it hides, into `history`."""
    target.gone = update.gone = gone
    hidden = {field: entry for field, entry in target.entries.items() if entry[1] <= gone}
    if hidden:
        history.entries.update(hidden)
        for field in hidden:
            del target.entries[field]
    if ZERO < target.made <= gone:
        history.made = target.made
        target.made = ZERO


def check_room(target: Node, incoming: Node) -> None:
    """Raise GraphError if `target` would have too many fields after the merge."""
    gone = max(target.gone, incoming.gone)
    fields = {
        field
        for node in (target, incoming)
        for field, entry in node.entries.items()
        if entry[1] > gone
    }
    if len(fields) > NODE_FIELDS_MAX:
        raise GraphError(
            f"the node {target.key!r} would have {len(fields)} fields, deleted ones included; "
            f"{NODE_FIELDS_MAX} are allowed: spread them over several nodes"
        )


def blank_node(key: str) -> Node:
    """Return a detached node without checking its key once more."""
    node = object.__new__(Node)
    node.key = key
    node.entries = {}
    node.made = node.gone = ZERO
    node._graph = node._listeners = None
    return node


def _restored(key: str, entries: dict[str, Entry], made: OpId | None, gone: OpId | None) -> Node:
    node = blank_node(key)
    node.entries = entries
    node.made = made or ZERO
    node.gone = gone or ZERO
    return node


def _entry_from_json(item: Any, where: str) -> Entry:
    if not isinstance(item, list) or not 3 <= len(item) <= 4:
        raise GraphError(f"{where} must be [value, index, author]")
    stamp = _id_from_json(item[1:3], where)
    if len(item) == 3:
        return checked_value(item[0], where), stamp
    if item[3] is not True or item[0] is not None:
        raise GraphError(f"{where}, deleted, must be [null, index, author, true]")
    return DELETED, stamp


def _id_from_json(item: Any, where: str) -> OpId:
    if isinstance(item, list) and len(item) == 2:
        index, author = item
        if (
            type(index) is int
            and 1 <= index <= LAMPORT_MAX
            and isinstance(author, str)
            and len(author) == 36
        ):
            try:
                return OpId(index, parse_id(author))
            except ActionError:
                pass
    raise GraphError(f"{where} has no id [index from 1 to 2^53 - 1, author as a UUID]")


_loaded: Any = None


def _members() -> Any:
    """Return the module of what members of a graph can do, which imports this one."""
    global _loaded
    if _loaded is None:
        from cytosol.graph import members

        _loaded = members
    return _loaded
