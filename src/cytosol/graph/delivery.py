"""What a peer has not acknowledged: kept, joined and handed out in parts. Data only, no I/O.

For each author an outbox knows an index: whatever our graph holds of that author up to there,
the peer has acknowledged, or it is in `pending` or on its way. After a restart, and when a peer
was away, the graph is searched for what lies above. What arrives late, below the index, is
remembered by the key of its node. So nothing is lost, and nothing is sent twice without a
reason; sending twice would do no harm (spec: graph, Offline).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cytosol.errors import ActionError
from cytosol.graph.clock import ZERO
from cytosol.graph.collection import NodeMap
from cytosol.graph.messages import parts_of
from cytosol.graph.node import Node, merge_node
from cytosol.limits import MESSAGE_PART_NODES
from cytosol.model.ids import OpId, format_id, parse_id

__all__ = ["Batch", "Outbox", "ids_of"]


@dataclass(slots=True, eq=False)
class Batch:
    """What one push carries.

    A unit is one write, or what cannot be divided: if it is refused, it stays refused. What was
    collected while the peer was away is divided, so that one bad field takes no others with it.
    """

    nodes: NodeMap
    is_unit: bool
    reply: asyncio.Future[None] | None = None
    is_sent: bool = False

    @property
    def size(self) -> int:
        """How many assignments and deletions it carries."""
        return sum(map(_size, self.nodes.nodes.values()))

    def answer(self, error: Exception | None = None) -> None:
        """Tell the writer who waits, if one does, how it went."""
        if self.reply is not None and not self.reply.done():
            if error is None:
                self.reply.set_result(None)
            else:
                self.reply.set_exception(error)

    def divided(self) -> Iterator[Batch]:
        """Yield the nodes one by one, or the fields of a single node."""
        if len(self.nodes) > 1:
            for _, node in self.nodes:
                yield Batch(NodeMap([node]), is_unit=_size(node) == 1)
            return
        for _, node in self.nodes:
            if node.made is not ZERO or node.gone is not ZERO:
                head = Node(node.key)
                head.made, head.gone = node.made, node.gone
                yield Batch(NodeMap([head]), is_unit=True)
            for field, entry in node.entries.items():
                piece = Node(node.key)
                piece.entries[field] = entry
                yield Batch(NodeMap([piece]), is_unit=True)


def _size(node: Node) -> int:
    return len(node.entries) + (node.made is not ZERO or node.gone is not ZERO)


def ids_of(node: Node) -> Iterator[OpId]:
    """Yield all ids of a node."""
    if node.made is not ZERO:
        yield node.made
    if node.gone is not ZERO:
        yield node.gone
    for _, stamp in node.entries.values():
        yield stamp


class Outbox:
    """What one peer must still get."""

    __slots__ = ("_ahead", "_looked_for", "is_complete", "pending", "remembered", "vector")

    def __init__(self) -> None:
        self.vector: dict[bytes, int] = {}
        self._ahead = self.vector  # another dict while the graph is searched
        self._looked_for: frozenset[str] = frozenset()
        self.pending = NodeMap()
        self.remembered: set[str] = set()
        """Nodes that are to be sent whole, whatever the vector says."""
        self.is_complete = False
        """Whether all changes come to `add` or `pass_over`: no search is needed."""

    def add(self, nodes: NodeMap) -> None:
        """Keep changes until they can be sent; of each field only the latest value."""
        for key, node in nodes:
            merge_node(self.pending.node(key), node)
        self.send(nodes)

    def send(self, nodes: NodeMap) -> None:
        """Count changes as being on their way."""
        if self.remembered:
            self.remembered.difference_update(nodes.keys())
        self.pass_over(nodes)

    def pass_over(self, nodes: NodeMap) -> None:
        """Count changes as known to the peer, or on their way to it."""
        if not self.is_complete:  # the vector must not jump over what was never looked for
            return
        ahead = self._ahead
        for node in nodes.nodes.values():
            for index, author in ids_of(node):
                if index > ahead.get(author, 0):
                    ahead[author] = index

    def remember_late(self, nodes: NodeMap) -> bool:
        """Remember the nodes with an id that a search would take for known; tell if there are."""
        vector, before = self.vector, len(self.remembered)
        for key, node in nodes:
            if any(index <= vector.get(author, 0) for index, author in ids_of(node)):
                self.remembered.add(key)
        return len(self.remembered) > before

    def begin_search(self) -> None:
        """Begin to search the graph; changes that happen meanwhile come to `add`."""
        self._ahead = dict(self.vector)
        self._looked_for = frozenset(self.remembered)
        self.is_complete = True

    def found(self, node: Node, on_their_way: NodeMap) -> None:
        """Keep of a node what the peer does not have."""
        missing = self._missing_of(node)
        sent = on_their_way.value(node.key)
        if missing is not None and sent is not None:
            for field, entry in sent.entries.items():
                if missing.entries.get(field) == entry:
                    del missing.entries[field]
        if missing is not None and _size(missing):
            merge_node(self.pending.node(node.key), missing)
        ahead = self._ahead
        for index, author in ids_of(node):
            if index > ahead.get(author, 0):
                ahead[author] = index

    def end_search(self) -> None:
        """Take over what was found: the vector now speaks of the whole graph."""
        self.vector = self._ahead
        self.remembered -= self._looked_for

    def rest(self) -> None:
        """Follow the graph no longer: the peer is away, or a search has failed.

        What waits is remembered by its keys, which costs next to nothing.
        """
        self._ahead = self.vector
        self.remembered.update(self.pending.keys())
        self.pending = NodeMap()
        self.is_complete = False

    def _missing_of(self, node: Node) -> Node | None:
        if node.key in self.remembered:
            return node.copy()
        get = self.vector.get
        entries = {
            field: entry
            for field, entry in node.entries.items()
            if entry[1][0] > get(entry[1][1], 0)
        }
        made = node.made is not ZERO and node.made[0] > get(node.made[1], 0)
        gone = node.gone is not ZERO and node.gone[0] > get(node.gone[1], 0)
        if not (entries or made or gone):
            return None
        missing = Node(node.key)
        missing.entries = entries
        missing.made = node.made if made else ZERO
        missing.gone = node.gone if gone else ZERO
        return missing

    def take(self) -> NodeMap:
        """Take out the next part that fits into a message."""
        nodes = self.pending.nodes
        part = next(parts_of(islice(nodes.values(), MESSAGE_PART_NODES)), NodeMap())
        for key, piece in part:
            rest = nodes[key]
            if len(piece.entries) == len(rest.entries):
                del nodes[key]
                continue
            rest.made = rest.gone = ZERO  # they went with the first piece
            for field in piece.entries:
                del rest.entries[field]
        for key in [key for key in islice(nodes, 1) if not _size(nodes[key])]:
            del nodes[key]
        return part

    def adopt(self, other: Outbox) -> None:
        """Take over what waits for a peer that has turned out to be this one."""
        for key, node in other.pending:
            merge_node(self.pending.node(key), node)

    @property
    def size(self) -> int:
        """How many entries a note about it has, but for what is pending."""
        return len(self.vector) + len(self.remembered)

    def to_json(self, on_their_way: Iterable[NodeMap]) -> dict[str, Any]:
        """Return what must survive a restart."""
        keys = {*self.remembered, *self.pending.keys()}
        for nodes in on_their_way:
            keys.update(nodes.keys())
        vector = {format_id(author): index for author, index in self.vector.items()}
        return {"known": vector, "waiting": sorted(keys)}

    @classmethod
    def from_json(cls, note: Any) -> Outbox:
        """Return the outbox of a note; an empty one if the note is not what we wrote."""
        outbox = cls()
        try:
            known = {parse_id(name): int(index) for name, index in note["known"].items()}
            outbox.remembered = {str(key) for key in note["waiting"]}
        except (ActionError, AttributeError, KeyError, TypeError, ValueError):
            return cls()  # everything is sent once more
        outbox.vector = outbox._ahead = known
        return outbox
