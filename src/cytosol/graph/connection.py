"""Connections to other graphs, groups of them, and the streams that their messages come in.

A connection is a plugin: anything with an `id`, a `type`, `send` and `messages` will do. What
callbacks raise is reported to the event loop (or logged, where none runs) and keeps nobody else
from a message.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from cytosol.errors import BroadcastError, GraphError
from cytosol.graph.events import Listeners, Subscription
from cytosol.limits import STREAM_WAITING_MAX
from cytosol.model.json import JsonValue

__all__ = [
    "Connection",
    "ConnectionGroup",
    "Stream",
    "StreamReader",
    "Subscription",
    "report",
]

T = TypeVar("T")
Emit: TypeAlias = Callable[[T], None]
Dispose: TypeAlias = Callable[[], object]

_log = logging.getLogger("cytosol")


class Stream(Generic[T]):
    """Values that come one after another: lazy, not remembered, ended once and for all.

    `publisher(emit)` is called when the first listener comes and may return a function, which is
    called when the last one has gone; the next first listener opens the stream again. What an
    `emit` of an earlier opening says is not heard. Seed: Network, "a message event stream".
    """

    def __init__(self, publisher: Callable[[Emit[T]], Dispose | None]) -> None:
        if not callable(publisher):
            raise GraphError(
                f"a Stream needs a function that takes `emit` and starts emitting, "
                f"not {publisher!r}"
            )
        self._publisher = publisher
        self._listening: list[Subscription] = []  # the subscriptions enter and leave it
        self._opening: _Opening | None = None
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Whether the stream has ended; nothing comes any more."""
        return self._is_complete

    def listen(self, callback: Callable[[T], object]) -> Subscription:
        """Call back with every value from now on; the same callback twice is called twice.

        The callback is a plain function; where things must be awaited, use `async for`. On a
        stream that is complete the subscription has already ended. Raises what the publisher
        raises when it cannot open.
        """
        _check_callback(callback)
        if self._is_complete:
            return Subscription([], callback)
        subscription = _Listening(self, callback)
        if self._opening is None:
            try:
                self._open()
            except BaseException:
                subscription.cancel()
                raise
        return subscription

    def complete(self) -> None:
        """End the stream for ever: nobody is called again, `async for` loops end."""
        if self._is_complete:
            return
        self._is_complete = True
        gone = tuple(self._listening)
        self._listening.clear()
        self._close()
        for subscription in gone:
            if isinstance(subscription.callback, _Inbox):
                subscription.callback.end(None)

    def __aiter__(self) -> StreamReader[T]:
        """Read the stream by `async for`; values are kept from now on."""
        return StreamReader(self)

    def _open(self) -> None:
        opening = self._opening = _Opening()

        def emit(value: T) -> None:
            if self._opening is opening:
                for subscription in tuple(self._listening):
                    if subscription in self._listening:  # not if another one has cancelled it
                        _call(subscription.callback, value)

        try:
            dispose = self._publisher(emit)
        except BaseException:
            if self._opening is opening:
                self._opening = None
            raise
        if dispose is not None and not callable(dispose):
            self._opening = None if self._opening is opening else self._opening
            raise GraphError(
                f"the publisher of a Stream must return a function that stops it, or None, "
                f"not {dispose!r}"
            )
        if self._opening is opening:
            opening.dispose = dispose
        elif dispose is not None:  # everybody left while it opened
            dispose()

    def _close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None and opening.dispose is not None:
            try:
                opening.dispose()
            except Exception as error:
                report(error, "a publisher of a Stream raised when it was stopped")

    def __repr__(self) -> str:
        state = "complete" if self._is_complete else "open" if self._opening else "not open"
        return f"<Stream, {state}, {len(self._listening)} listening>"


class _Listening(Subscription):
    """A subscription to a stream; the last one closes it."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream[T], callback: Callable[[T], object]) -> None:
        super().__init__(stream._listening, callback)
        self._stream = stream

    def cancel(self) -> None:
        """Stop listening; repeating it is harmless."""
        if self in self._stream._listening:
            super().cancel()
            if not self._stream._listening:
                self._stream._close()


class _Opening:
    """One time that a stream is open."""

    __slots__ = ("dispose",)

    def __init__(self) -> None:
        self.dispose: Dispose | None = None


class _Inbox(Generic[T]):
    """What one `async for` has not read yet; called as the callback of its subscription."""

    __slots__ = ("__weakref__", "error", "is_done", "values", "waiting")

    def __init__(self) -> None:
        self.values: deque[T] = deque()
        self.waiting: asyncio.Future[None] | None = None
        self.is_done = False
        self.error: GraphError | None = None

    def __call__(self, value: T) -> None:
        if self.is_done:
            return
        if len(self.values) >= STREAM_WAITING_MAX:
            self.end(
                GraphError(
                    f"this reader of a stream is {STREAM_WAITING_MAX} values behind and was "
                    "stopped: read faster, or listen with a callback"
                )
            )
            return
        self.values.append(value)
        self._wake()

    def end(self, error: GraphError | None) -> None:
        """Let the reader have what has come, and then no more."""
        self.is_done, self.error = True, error
        self._wake()

    def _wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class StreamReader(AsyncIterator[T]):
    """One `async for` over a stream; closed when it is dropped.

    Raises GraphError when the reader is 10,000 values behind; it has then read all before.
    """

    def __init__(self, stream: Stream[T]) -> None:
        self._inbox: _Inbox[T] = _Inbox()
        self._subscription = stream.listen(self._inbox)
        self._inbox.is_done = stream.is_complete

    def __aiter__(self) -> StreamReader[T]:
        return self

    async def __anext__(self) -> T:
        inbox = self._inbox
        while not inbox.values:
            if inbox.is_done:
                self.close()
                if inbox.error is not None:
                    error, inbox.error = inbox.error, None
                    raise error
                raise StopAsyncIteration
            if inbox.waiting is not None:
                raise GraphError("two tasks read from one reader; give each its own `async for`")
            inbox.waiting = asyncio.get_running_loop().create_future()
            try:
                await inbox.waiting
            finally:
                inbox.waiting = None
        return inbox.values.popleft()

    def close(self) -> None:
        """Stop listening; what has come can still be read."""
        self._subscription.cancel()
        self._inbox.end(self._inbox.error)

    def __del__(self) -> None:
        # A loop that was left by `break` must not go on listening. The stream holds the inbox,
        # not the reader, so this is called at once.
        if hasattr(self, "_subscription"):
            self._subscription.cancel()


@runtime_checkable
class Connection(Protocol):
    """What a network plugin must have to talk with one other graph.

    `id` is unique in its group and stays the same when the connection is made again; `type` is
    free ("websocket"). `send(message)` takes JSON and returns None or an awaitable. Optional:
    `offline` (true while messages would only be kept), `identity` (what the server's
    `authenticate` returned) and `close()`. Seed: Network.
    """

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def messages(self) -> Stream[JsonValue]: ...
    def send(self, message: JsonValue, /) -> Awaitable[object] | None: ...


class ConnectionGroup:
    """Connections by their ids, in the order in which they were added.

    `messages` is the stream of `(message, connection)` of all members, also of those that come
    later.
    """

    def __init__(self, *connections: Connection) -> None:
        self._members: dict[str, Connection] = {}
        self._events = Listeners("add", "remove")
        self.messages: Stream[tuple[JsonValue, Connection]] = Stream(self._publish)
        for connection in connections:
            self.add(connection)

    @classmethod
    def ensure(cls, network: Connection | ConnectionGroup) -> ConnectionGroup:
        """Return a group as it is, and a connection as a group of one."""
        return network if isinstance(network, ConnectionGroup) else ConnectionGroup(network)

    def add(self, connection: Connection) -> Connection:
        """Add a connection and return it; adding it again does nothing.

        Raises GraphError for something that is no connection, and if another connection of the
        group has the same id.
        """
        _check_connection(connection)
        member = self._members.get(connection.id)
        if member is connection:
            return connection
        if member is not None:
            raise GraphError(
                f"the group already has another connection with the id {connection.id!r}: "
                "remove that one first, or give this one another id"
            )
        self._members[connection.id] = connection
        self._announce("add", connection)
        return connection

    def remove(self, connection: Connection | str) -> Connection | None:
        """Take out the connection with this id and return it; None if there is none."""
        member = self._members.pop(_id_of(connection), None)
        if member is not None:
            self._announce("remove", member)
        return member

    def has(self, connection: Connection | str) -> bool:
        """Tell whether the group has a connection with this id."""
        return _id_of(connection) in self._members

    def get(self, connection_id: str) -> Connection | None:
        """Return the connection with this id, or None."""
        return self._members.get(connection_id)

    def filter(self, accept: Callable[[Connection], object]) -> ConnectionGroup:
        """Return a new group of the members that `accept` says yes to, as of now."""
        return ConnectionGroup(*[member for member in self if accept(member)])

    def of_type(self, type_name: str) -> ConnectionGroup:
        """Return a new group of the members of one type, as of now."""
        return self.filter(lambda member: member.type == type_name)

    def union(self, other: ConnectionGroup) -> ConnectionGroup:
        """Return a group of the members of both that follows what is added and removed later.

        Where both have an id, the connection that was there first stays, at the beginning the
        other's: clients choose their names, and none can push out who is connected. What is added
        to the union itself stays there.
        """
        return _Union(other, self)

    def send(self, message: JsonValue) -> Awaitable[None]:
        """Send to every member, in order; awaiting it waits for all of them.

        A member that fails keeps no other from the message. Raises BroadcastError when some
        failed: at once if none of the members needs to be awaited, else when awaited.
        """
        errors: dict[str, Exception] = {}
        pending: dict[str, asyncio.Future[object]] = {}
        members = list(self)
        for member in members:
            try:
                result = member.send(message)
                if result is not None:
                    pending[member.id] = asyncio.ensure_future(result)
            except Exception as error:
                errors[member.id] = error
        if pending:
            return asyncio.ensure_future(_gather(pending, errors, len(members)))
        if errors:
            raise BroadcastError(errors, len(members))
        return _DONE

    def on(self, event: str, callback: Callable[[Connection], object]) -> Subscription:
        """Call back with each connection that is added ("add") or taken out ("remove")."""
        _check_callback(callback)
        return self._events.on(event, callback)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._members.values()))  # members may come and go meanwhile

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection: object) -> bool:
        key = connection if isinstance(connection, str) else getattr(connection, "id", None)
        return isinstance(key, str) and key in self._members

    def __repr__(self) -> str:
        return f"<ConnectionGroup of {', '.join(self._members) or 'nobody'}>"

    def _announce(self, event: str, connection: Connection) -> None:
        for error in self._events.emit(event, connection):
            report(error, f"a callback for {event!r} of a group raised")

    def _publish(self, emit: Emit[tuple[JsonValue, Connection]]) -> Dispose:
        heard: dict[str, Subscription] = {}

        def follow(member: Connection) -> None:
            try:
                heard[member.id] = member.messages.listen(lambda m: emit((m, member)))
            except Exception as error:
                report(error, f"the messages of the connection {member.id!r} cannot be read")

        def leave(member: Connection) -> None:
            subscription = heard.pop(member.id, None)
            if subscription is not None:
                subscription.cancel()

        following = [self.on("add", follow), self.on("remove", leave)]
        for member in self:
            follow(member)

        def dispose() -> None:
            for subscription in (*following, *heard.values()):
                subscription.cancel()

        return dispose


class _Union(ConnectionGroup):
    """The members of two groups, who came first where both have an id; follows both."""

    def __init__(self, first: ConnectionGroup, second: ConnectionGroup) -> None:
        super().__init__()
        self._sources = (first, second)
        itself = weakref.ref(self)  # the sources must not keep every union alive

        def follow(connection: Connection) -> None:
            union = itself()
            if union is not None:
                union._follow(connection)

        self._staying: Subscription | None = None
        self._following = [
            source.on(event, follow) for source in self._sources for event in ("add", "remove")
        ]
        for source in self._sources:
            for member in source:
                self._follow(member)

    def on(self, event: str, callback: Callable[[Connection], object]) -> Subscription:
        """Call back as in any group; whoever listens need not hold the union itself."""
        subscription = super().on(event, callback)
        if self._staying is None:
            self._staying = self._sources[0].on("add", self._stay)
        return subscription

    def _stay(self, connection: Connection) -> None:
        """Keep the union alive by being a bound method that a source holds."""

    def _follow(self, connection: Connection) -> None:
        """Let a connection in or out that a source has got or lost."""
        if self._staying is not None and not self._events:
            self._staying.cancel()
            self._staying = None
        present = self.get(connection.id)
        held = [source.get(connection.id) for source in self._sources]
        if present is not None:
            if present is not connection or any(member is present for member in held):
                return
            self.remove(present)
        wanted = next((member for member in held if member is not None), None)
        if wanted is not None:
            self.add(wanted)

    def __del__(self) -> None:
        for subscription in getattr(self, "_following", ()):
            subscription.cancel()


class _Done:
    """An awaitable that is done; cheaper than a future, and needs no loop."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield  # makes this a generator, as awaiting demands


_DONE = _Done()


async def _gather(
    pending: dict[str, asyncio.Future[object]], errors: dict[str, Exception], count: int
) -> None:
    await asyncio.wait(pending.values())
    for name, future in pending.items():
        if future.cancelled():
            errors[name] = GraphError("sending was cancelled")
        elif isinstance(error := future.exception(), Exception):
            errors[name] = error
    if errors:
        raise BroadcastError(errors, count)


def report(error: Exception, what: str) -> None:
    """Tell the event loop's exception handler, or the log, of a mistake in a callback."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _log.error(what, exc_info=error)
    else:
        loop.call_exception_handler({"message": what, "exception": error})


def _call(callback: Callable[[T], object], value: T) -> None:
    try:
        callback(value)
    except Exception as error:
        report(error, "a callback of a stream raised; all others were called as well")


def _check_callback(callback: object) -> None:
    if not callable(callback):
        raise GraphError(f"a callback must be a function, not {callback!r}")
    if inspect.iscoroutinefunction(callback):
        raise GraphError(
            f"{callback!r} is an async function and would never run: give a plain function, "
            "or read messages by `async for`"
        )


def _check_connection(connection: object) -> None:
    wrong = [
        name
        for name, is_right in (
            ("id: a text that is not empty", lambda c: isinstance(c.id, str) and c.id),
            ("type: a text", lambda c: isinstance(c.type, str)),
            ("send: a function", lambda c: callable(c.send)),
            ("messages: a Stream", lambda c: callable(c.messages.listen)),
        )
        if not _holds(is_right, connection)
    ]
    if wrong:
        raise GraphError(f"{connection!r} is no connection; it lacks {', '.join(wrong)}")


def _holds(condition: Callable[[Any], object], connection: object) -> bool:
    try:
        return bool(condition(connection))
    except AttributeError:
        return False


def _id_of(connection: Connection | str) -> str:
    return connection if isinstance(connection, str) else connection.id
