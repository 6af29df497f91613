"""What a router knows about each connection, and about the peer behind it.

A peer is a graph, known by the id in its hello; several connections may lead to one peer. Until
a connection has said hello, it counts as a peer of its own, without a name.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from cytosol.graph.collection import NodeMap
from cytosol.graph.connection import Connection
from cytosol.graph.delivery import Batch, Outbox
from cytosol.graph.messages import Hello, Pull, Push

__all__ = ["Asked", "Channel", "Peer", "Waiting"]

AUTHORS_A_WRITE: Final = 64  # in a note; so many cost about as much as a write itself


@dataclass(slots=True, eq=False)
class Peer:
    """One other graph, connected or away."""

    name: str | None = None  # of its note; None before the hello
    outbox: Outbox = field(default_factory=Outbox)
    channels: list[Channel] = field(default_factory=list)
    is_searching: bool = False
    unsaved: int = 0  # how many assignments it has acknowledged since its note was written

    @property
    def is_worth_a_note(self) -> bool:
        """Whether it has acknowledged enough since the last note for what a note costs.

        A note names every author there ever was. What an older one does not know is only sent
        once more after a crash.
        """
        return self.unsaved * AUTHORS_A_WRITE >= self.outbox.size

    def on_their_way(self) -> Iterator[NodeMap]:
        """Yield what was sent, or is about to be, and is not acknowledged."""
        for channel in self.channels:
            for batch in (*channel.in_flight.values(), *channel.units):
                yield batch.nodes

    @property
    def is_quiet(self) -> bool:
        """Whether the peer has acknowledged all there is."""
        waits = any(channel.in_flight or channel.units for channel in self.channels)
        return not waits and not len(self.outbox.pending) and not self.is_searching


@dataclass(slots=True, eq=False)
class Channel:
    """One connection and what is under way on it."""

    connection: Connection
    peer: Peer
    session: bytes | None = None  # of the peer, from its last hello that was worked on
    heard: bytes | None = None  # the same, from its last hello that has come
    seen: int = -1  # id of the last push that came in that session
    is_silent: bool = False  # it did not answer in time; nobody waits until it speaks
    is_held: bool = False  # what waits is not sent until the timer says so
    was_online: bool = False  # else it may only be about to connect for the first time
    has_events: bool = False  # it tells when it goes offline, and when it is back
    in_flight: dict[int, Batch] = field(default_factory=dict)
    units: deque[Batch] = field(default_factory=deque)
    asked: dict[int, Asked] = field(default_factory=dict)
    inbox: deque[Push | Pull | Hello] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None
    subscriptions: list[Any] = field(default_factory=list)

    @property
    def identity(self) -> Any:
        """What the server's `authenticate` returned for this connection, or None."""
        return getattr(self.connection, "identity", None)

    @property
    def is_offline(self) -> bool:
        """Whether the connection says that messages would only be kept."""
        return bool(getattr(self.connection, "offline", False))

    @property
    def is_gone(self) -> bool:
        """Whether the connection was there and is offline now: nobody can expect an answer."""
        return self.was_online and self.is_offline

    def waiting(self) -> tuple[int, ...]:
        """Return the ids of the pushes that were sent and not answered."""
        return tuple(number for number, batch in self.in_flight.items() if batch.is_sent)

    def release_writers(self) -> None:
        """Let nobody wait for this connection any more; what was sent stays under way."""
        for batch in (*self.in_flight.values(), *self.units):
            batch.answer()

    def release_readers(self) -> None:
        """Count all pulls as answered."""
        for number in list(self.asked):
            self.answered(number)

    def answered(self, number: int) -> None:
        """Take a pull from the list."""
        asked = self.asked.pop(number, None)
        if asked is not None:
            asked.waiting.leave(self, number)


class Waiting:
    """One `pull` that waits for the answers of several connections."""

    __slots__ = ("_open", "answers", "done", "refused")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.answers: dict[Channel, NodeMap] = {}
        self.refused: list[str] = []
        self.done = done
        self._open: set[tuple[int, int]] = set()

    def expect(self, channel: Channel, number: int) -> None:
        """Wait for one more answer."""
        self._open.add((id(channel), number))

    def leave(self, channel: Channel, number: int) -> None:
        """Do not wait for this answer any more."""
        self._open.discard((id(channel), number))
        if not self._open:
            self.finish()

    def begin(self) -> None:
        """Wait, now that all are asked; if nobody is expected to answer, not at all."""
        if not self._open:
            self.finish()

    def finish(self) -> None:
        """Wait no longer."""
        if not self.done.done():
            self.done.set_result(None)

    def waits_for(self, channel: Channel, number: int) -> bool:
        """Tell whether the answer is still missing."""
        return (id(channel), number) in self._open


@dataclass(slots=True, eq=False)
class Asked:
    """One pull that was sent on one connection."""

    waiting: Waiting
    keys: frozenset[str]
