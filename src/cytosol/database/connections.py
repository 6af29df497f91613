"""Paired devices as connections of the graph: a router that talks over the local network.

One connection for each paired device, with a link that lives as long as the pairing; openings of
the encrypted connection (`cytosol.protocol.graph_channel`) carry it. Laws: links are touched in
one event loop only, that of the program; the network's thread puts what comes into a queue with
a bound and wakes that loop; nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from cytosol.errors import GraphError
from cytosol.graph.connection import Connection, ConnectionGroup, Emit, report
from cytosol.graph.transports.link import Link
from cytosol.graph.transports.linked import Attachment, LinkedConnection
from cytosol.graph.transports.pieces import Assembler
from cytosol.limits import GRAPH_PIECE_LENGTH_MAX, GRAPH_PIECES_WAITING_MAX
from cytosol.model.json import JsonValue
from cytosol.protocol.events import (
    GraphClosed,
    GraphEvent,
    GraphOpened,
    GraphPiece,
    GraphTaken,
    Opening,
)

__all__ = ["DeviceConnection", "DeviceGroup"]

TYPE: Final = "cytosol"
LINK_ID_BYTES: Final = 32  # who knows a link id can take the link over
EVENTS_WAITING_MAX: Final = 4 * GRAPH_PIECES_WAITING_MAX
"""Of one device; only one that begins anew and anew reaches it, and loses what waits."""


class DeviceGroup(ConnectionGroup):
    """The paired devices, as connections of the type "cytosol"; ids and identities are peer ids.

    A device is a member from when it is paired until it is unpaired. It is online while it is
    connected and a program listens on both sides: one that has used its group in an event loop.
    That loop, the first one that uses the group, is the one that gets the messages; when it does
    not run any more, the next one does.

    A connection that is closed, on either side, or taken out by `remove` leaves the group, and a
    new one joins it when the devices connect anew.
    """

    def __init__(
        self,
        paired: Callable[[], Iterable[str]],
        tell: Callable[..., None],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`paired()` gives the ids of the paired devices; `tell(name, ...)` reaches the network.

        Both may be called from any thread, and `tell` must not wait.
        """
        super().__init__()
        self._paired = paired
        self._tell = tell
        self._random_bytes = random_bytes
        self._lock = threading.RLock()  # over home and its queue; no callback runs under it
        self._members_lock = threading.RLock()  # while no loop says which thread is the one
        self._home: _Home | None = None
        self._is_closed = False
        self._openings: dict[str, Opening] = {}
        self._left_at: dict[str, int | None] = {}  # who has left, and on which connection
        self.on("remove", self._forget)

    # --- For the database, from any thread -------------------------------------------------

    def visit(self) -> None:
        """Take note that the app asks for the group: perhaps in an event loop, to use it."""
        loop, home = _running_loop(), self._home
        if home is None or not home.loop.is_running():
            if loop is not None:
                self._move_to(loop, home)
            else:
                with self._members_lock:
                    self._follow_pairings()

    def receive(self, event: GraphEvent) -> None:
        """Take what the network tells; returns at once."""
        with self._lock:
            home = self._home
            if home is not None:
                home.put(event)
        if home is not None:
            self._wake(home)

    def pairings_changed(self) -> None:
        """Let members come and go; returns at once."""
        with self._lock:
            home = self._home
            if home is not None:
                home.has_other_pairings = True
        if home is not None:
            self._wake(home)

    def close(self) -> None:
        """End all connections: the database is closed. What waits in them is dropped."""
        with self._lock:
            home, self._home = self._home, None
            self._is_closed = True
        if home is None or home.loop is _running_loop() or not home.loop.is_running():
            self._end_all()
        else:
            home.call(self._end_all)

    # --- In the loop of the app ------------------------------------------------------------

    def enter(self, *, in_loop: bool = True) -> None:
        """Make the running loop the one of the group, if no other one is.

        Raises GraphError if another one runs, and, with `in_loop`, if none does.
        """
        loop, home = _running_loop(), self._home
        if self._is_closed or (home is not None and home.loop is loop):
            return
        if home is not None and home.loop.is_running():
            raise GraphError(
                "the connections of a database belong to the event loop in which they were used "
                "first, and that one is still running: use them there"
            )
        if loop is not None:
            self._move_to(loop, home)
        elif in_loop:
            raise GraphError(
                "messages to paired devices need an event loop that runs: call this inside of "
                "`asyncio.run`"
            )

    def _move_to(self, loop: asyncio.AbstractEventLoop, before: _Home | None) -> None:
        with self._lock:
            if self._is_closed or self._home is not before:
                return
            self._home = _Home(loop)
            if before is not None:
                self._tell("graph_listen", False)  # so that the other sides begin anew, too
            self._tell("graph_listen", True)
        for connection in self._devices():
            connection.detach()
        self._openings.clear()
        self._follow_pairings()

    def _wake(self, home: _Home) -> None:
        """Have the loop work off what has come; without the loop nobody listens any more."""
        if home.wake(self._work) or self._home is not home:
            return
        with self._lock:
            if self._home is home:
                self._home = None
                self._tell("graph_listen", False)

    def _work(self, home: _Home) -> None:
        with self._lock:
            if self._home is not home:
                return
            events, has_other_pairings = home.take()
        if has_other_pairings:
            self._follow_pairings()
        for event in events:
            try:
                self._obey(event)
            except Exception as error:  # the next one may do better
                report(error, "a message of a paired device could not be handled")

    def _obey(self, event: GraphEvent) -> None:
        peer_id, opening = event.peer_id, event.opening
        match event:
            case GraphOpened():
                self._opened(peer_id, opening)
            case GraphClosed() if self._openings.get(peer_id) == opening:
                del self._openings[peer_id]
                self._detach(peer_id)
            case GraphPiece():
                talk = self._talk_in(peer_id, opening)
                if talk is not None:
                    talk.receive(event.text, event.more)
                self._tell("graph_taken", peer_id, opening)
            case GraphTaken():
                talk = self._talk_in(peer_id, opening)
                if talk is not None:
                    talk.taken()

    def _opened(self, peer_id: str, opening: Opening) -> None:
        self._detach(peer_id)
        self._openings[peer_id] = opening
        if peer_id in self._left_at and self._left_at[peer_id] != opening[0]:
            del self._left_at[peer_id]
        self._follow_pairings()
        connection = self.get(peer_id)
        if isinstance(connection, DeviceConnection):
            connection.talk = Talk(connection, opening, self._tell, self.remove)

    def _talk_in(self, peer_id: str, opening: Opening) -> Talk | None:
        connection = self.get(peer_id)
        talk = connection.talk if isinstance(connection, DeviceConnection) else None
        return talk if talk is not None and talk.opening == opening else None

    def _detach(self, peer_id: str) -> None:
        connection = self.get(peer_id)
        if isinstance(connection, DeviceConnection):
            connection.detach()

    def _follow_pairings(self) -> None:
        paired = set() if self._is_closed else set(self._paired())
        for connection in self._devices():
            if connection.id not in paired:
                self.remove(connection)
        self._left_at = {key: at for key, at in self._left_at.items() if key in paired}
        for peer_id in sorted(paired):
            if peer_id not in self and peer_id not in self._left_at:
                link = Link(self._random_bytes(LINK_ID_BYTES).hex())
                self.add(DeviceConnection(peer_id, link, self))

    def _forget(self, connection: Connection) -> None:
        if isinstance(connection, DeviceConnection):
            opening = self._openings.get(connection.id)
            self._left_at[connection.id] = None if opening is None else opening[0]
            connection.end("the connection was taken out of its group")

    def _end_all(self) -> None:
        for connection in self._devices():
            connection.end("the database was closed")
            self.remove(connection)

    def _devices(self) -> list[DeviceConnection]:
        return [member for member in self if isinstance(member, DeviceConnection)]


class DeviceConnection(LinkedConnection):
    """The connection to one paired device; `id` and `identity` are its peer id.

    `problem` is why nothing is taken from the device until it connects anew, None if there is
    no such reason.
    """

    def __init__(self, peer_id: str, link: Link, group: DeviceGroup) -> None:
        super().__init__(peer_id, TYPE, link, identity=peer_id)
        self._group = group
        self.talk: Talk | None = None
        self.problem: str | None = None

    def send(self, message: JsonValue) -> None:
        """Send a message, now or when the device is back; in the event loop of the group.

        Raises GraphError if no loop runs, or another one than that of the group, if the message
        is not JSON or larger than 16 MiB, if 10,000 messages or 64 MiB wait to be acknowledged,
        or if the connection was closed.
        """
        self._group.enter()
        super().send(message)

    def close(self, reason: str = "closed") -> Awaitable[object] | None:
        """Leave the group on both sides; what was sent before still goes out, if it is online.

        When the devices connect anew, new connections join the groups.
        """
        self._group.enter(in_loop=False)
        if self.offline:
            self._group.remove(self)
            return None
        return super().close(reason)

    def detach(self) -> None:
        """Wait for the next opening."""
        talk, self.talk = self.talk, None
        if talk is not None:
            talk.lost()

    def end(self, reason: str) -> None:
        """End for good without a word to the device; what has come can still be read."""
        self.detach()
        self.link.end(reason)
        if not self.link.has_messages:
            self.messages.complete()

    def _publish(self, emit: Emit[JsonValue]) -> Callable[[], None]:
        self._group.enter(in_loop=False)
        return super()._publish(emit)


class Talk:
    """One opening, as what carries the link of a connection."""

    def __init__(
        self,
        connection: DeviceConnection,
        opening: Opening,
        tell: Callable[..., None],
        leave: Callable[[DeviceConnection], object],
    ) -> None:
        self.opening = opening
        self._connection = connection
        self._tell = tell
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._pieces: Iterator[tuple[str, bool]] = iter(())
        self._long_frame: str | None = None  # it did not fit any more
        self._waiting_count = 0  # pieces that the device has not taken
        self._is_due = False
        self._is_over = False
        self._assembler = Assembler()
        self._is_inside_frame = False
        connection.problem = None
        self._attachment: Attachment = connection.attach(self._wake, self._drop)

    def receive(self, text: str, more: bool) -> None:
        """Take in a piece; whatever it is, nothing is raised."""
        if self._is_over:
            return
        piece: str | bytes = text
        if more or self._is_inside_frame:
            piece = (b"\x00" if more else b"\x01") + text.encode()
        self._is_inside_frame = more
        try:
            lines = self._assembler.feed(piece)
        except GraphError as error:
            self._attachment.lost()
            self._drop(str(error))
            return
        if isinstance(lines, bytes):
            lines = lines.decode()
        for frame in [] if lines is None else lines.split("\n"):
            self._attachment.receive(frame)

    def taken(self) -> None:
        """Go on: the device has taken a piece."""
        self._waiting_count -= 1
        self._pump()

    def lost(self) -> None:
        """Take note that the opening is over."""
        self._is_over = True
        self._attachment.lost()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Send as long as the device keeps pace."""
        self._is_due = False
        while not self._is_over and self._waiting_count < GRAPH_PIECES_WAITING_MAX:
            piece = next(self._pieces, None)
            if piece is None:
                lines = self._next_lines()
                if not lines:
                    break
                self._pieces = _cut(lines)
                continue
            self._waiting_count += 1
            self._tell("graph_send", self._connection.id, self.opening, *piece)
        else:
            return
        if self._connection.link.ended is not None:  # our goodbye is out
            self._leave(self._connection)

    def _next_lines(self) -> str:
        """Return the next frames, one a line: as many as fit into one piece, or a long one."""
        lines: list[str] = []
        length = 0
        while length < GRAPH_PIECE_LENGTH_MAX:
            frame = self._attachment.next_frame() if self._long_frame is None else self._long_frame
            self._long_frame = None
            if frame is None:
                break
            if lines and length + len(frame) > GRAPH_PIECE_LENGTH_MAX:
                self._long_frame = frame
                break
            lines.append(frame)
            length += len(frame) + 1
        return "\n".join(lines)

    def _drop(self, reason: str) -> None:
        """End the opening: either side has said goodbye, or the device broke the rules."""
        self._is_over = True
        if self._connection.link.ended is not None:
            self._leave(self._connection)
        else:
            self._connection.problem = reason
        self._tell("graph_shut", self._connection.id, self.opening)


class _Home:
    """The event loop of a group, and what has come for it from the network's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.has_other_pairings = False
        self._events: dict[str, deque[GraphEvent]] = {}
        self._is_due = False

    def put(self, event: GraphEvent) -> None:
        """Keep an event until the loop has time; the caller holds the group's lock."""
        events = self._events.setdefault(event.peer_id, deque())
        if isinstance(event, GraphOpened) and len(events) >= EVENTS_WAITING_MAX:
            events.clear()  # all of them are about openings that are over
        events.append(event)

    def take(self) -> tuple[list[GraphEvent], bool]:
        """Return what waits, and whether pairings have changed, and forget both."""
        events = [event for each in self._events.values() for event in each]
        has_other_pairings = self.has_other_pairings
        self._events.clear()
        self.has_other_pairings = self._is_due = False
        return events, has_other_pairings

    def wake(self, work: Callable[[_Home], None]) -> bool:
        """Have `work` called in the loop; False if the loop is closed."""
        if self._is_due:
            return not self.loop.is_closed()
        self._is_due = True
        return self.call(lambda: work(self))

    def call(self, function: Callable[[], None]) -> bool:
        """Have a function called in the loop; False if the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _cut(lines: str) -> Iterator[tuple[str, bool]]:
    """Cut frames into pieces, each with whether more follow."""
    for start in range(0, len(lines), GRAPH_PIECE_LENGTH_MAX):
        end = start + GRAPH_PIECE_LENGTH_MAX
        yield lines[start:end], end < len(lines)
