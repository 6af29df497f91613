"""What the servers of all transports share: whom they let in, and who is a member meanwhile.

Laws: a request is judged before anything is kept for it; who is refused learns only that; what
`authenticate` raises never reaches the other side; a client that was let in as somebody is
never taken for somebody else.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from cytosol.errors import CytosolError, GraphError
from cytosol.graph.connection import Connection, ConnectionGroup, report
from cytosol.graph.transports.link import Hello, Link, encode_message
from cytosol.graph.transports.linked import LinkedConnection
from cytosol.limits import SERVED_MAX
from cytosol.model.json import JsonValue

__all__ = ["Authenticate", "Full", "Request", "ServedConnection", "ServerGroup"]

KEEP_S: Final = 300.0  # a client that is away so long has to be told everything anew
HELLO_S: Final = 10.0  # for a client to say who it is, once it is connected


@dataclass(frozen=True, slots=True)
class Request:
    """What a client said before it was let in.

    `headers` have lower-case names, of several with one name the last; `path` is without the
    query; `query` holds the last value of each name; `remote` is "host port" of the other end
    of the socket, which may be a proxy's, "" if the system does not tell.
    """

    headers: Mapping[str, str]
    path: str
    query: Mapping[str, str]
    remote: str

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str]], target: str, remote: object) -> Request:
        """Make a request of headers, the target of the request line and a socket's name."""
        path, _, query = target.partition("?")
        return cls(
            headers={name.lower(): value for name, value in headers},
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            remote=f"{remote[0]} {remote[1]}" if isinstance(remote, tuple | list) else "",
        )


class Full(GraphError):
    """Say that the server can have no more clients now; that may pass."""


Authenticate = Callable[[Request], Any]


class ServedConnection(LinkedConnection):
    """A server's connection to one client; it outlives the sockets under it."""

    def __init__(
        self, connection_id: str, type_name: str, hello: Hello, identity: Any, group: ServerGroup
    ) -> None:
        super().__init__(connection_id, type_name, Link(secrets.token_hex(32)), identity)
        self.link_id = hello.link_id
        self._group = group
        self._leaving: asyncio.TimerHandle | None = None
        self.on("offline", lambda _: self._left())
        self.on("online", lambda _: self._stay())

    def send(self, message: JsonValue) -> None:
        """Send a message, now or when the client is back.

        Raises GraphError if it is not JSON or larger than 16 MiB, if the connection was closed,
        and if the client is away, or so slow, that 10,000 messages or 64 MiB wait for it: then
        it is also taken out of the group, and can come back as a new client.
        """
        encoded = encode_message(message)
        try:
            self.link.send_encoded(encoded)
        except GraphError as error:
            if self.link.ended is None:
                self.expel(f"the client was too slow, or away for too long: {error}")
            raise
        if self._attachment is not None:
            self._attachment.wake()

    def close(self, reason: str = "closed") -> Awaitable[object] | None:
        """Say goodbye to the client, for good, and take the connection out of its group."""
        super().close(reason)
        if self.offline:
            self._group.remove(self)
        return None

    def expel(self, reason: str) -> None:
        """Drop the client and forget what waits for it; it may come back as a new one."""
        if self._attachment is not None:
            self._attachment._end(reason)
        self._group.remove(self)

    def forget(self) -> None:
        """Free what the connection holds; the group calls this when it has lost it."""
        self._stay()
        super().close("the connection was taken out of its group")

    def _left(self) -> None:
        """Wait for the client to come back, for a while, unless it said goodbye."""
        if not self._group.has(self):
            return
        if self.link.ended is not None:
            self._group.remove(self)
            return
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(self._group.keep, self._group.remove, self)

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None


class ServerGroup(ConnectionGroup):
    """The clients of one server; subclasses open the sockets.

    A client is a member from its first hello until it says goodbye, was taken out by `remove`
    (which disconnects it), or was away for `keep` seconds. Its `id` is the name that it goes by;
    where `authenticate` returned a text or a number, that (with `%2F` for `/`) and a slash stand
    before it, so that nobody can take the name of another user's client. Clients without a name
    get a random id.
    """

    def __init__(
        self,
        type_name: str,
        host: str,
        port: int,
        authenticate: Authenticate | None,
        origins: Iterable[str],
        keep: float,
    ) -> None:
        super().__init__()
        if not (isinstance(port, int) and 0 <= port <= 65_535):
            raise GraphError(f"a port is a number from 0 (any) to 65535, not {port!r}")
        if authenticate is not None and not callable(authenticate):
            raise GraphError(f"authenticate must be a function of a request, not {authenticate!r}")
        self.type = type_name
        self.host = host
        self.keep = keep
        self._port = port
        self._bound: int | None = None
        self._authenticate = authenticate
        self._origins = frozenset(origins)
        self._served: dict[str, ServedConnection] = {}
        self.on("remove", self._forget)

    @property
    def port(self) -> int:
        """Return the port that is listened on; raises GraphError before `start`."""
        if self._bound is None:
            raise GraphError(f"the {self.type} server has no port yet: `await server.start()`")
        return self._bound

    async def start(self) -> Self:
        """Open the socket and let clients in; raises GraphError if the port cannot be opened."""
        raise NotImplementedError

    async def close(self) -> None:
        """Disconnect all clients and close the socket; clients go on calling until they reach
        the next server on this port. What waited for a client is dropped.
        """
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _is_foreign(self, request: Request) -> bool:
        """Tell whether a page of some web site made the request, without our leave.

        Browsers let every page call servers on this machine and in this network.
        """
        origin = request.headers.get("origin")
        return origin is not None and origin not in self._origins

    async def _identify(self, request: Request) -> tuple[bool, Any]:
        """Ask `authenticate`; return whether the request is let in, and as whom.

        None or an exception is a no; one that is not ours is also reported, as a mistake.
        """
        if self._authenticate is None:
            return True, None
        try:
            identity = self._authenticate(request)
            if inspect.isawaitable(identity):
                identity = await identity
        except CytosolError:
            return False, None
        except Exception as error:
            report(error, "`authenticate` raised; the request was refused")
            return False, None
        return identity is not None, identity

    def _admit(self, hello: Hello, identity: Any) -> ServedConnection:
        """Return the connection of the client that greets; raises GraphError if it cannot be."""
        known = self._served.get(hello.link_id)
        if known is not None:
            if known.identity != identity:
                raise GraphError("this link belongs to another user")
            return known
        name = self._id_for(hello.name, identity)
        member = self.get(name)
        if member is not None:
            if not isinstance(member, ServedConnection) or member.identity != identity:
                raise GraphError("another client goes by this name: choose another `name`")
            member.expel("the client has started anew")
        self._make_room()
        connection = ServedConnection(name, self.type, hello, identity, self)
        self._served[hello.link_id] = connection
        self.add(connection)
        return connection

    def _id_for(self, name: str, identity: Any) -> str:
        name = name or secrets.token_hex(8)
        if not isinstance(identity, str | int):
            return name
        # The first slash must be ours: "a" who calls itself "b/c" is not "a/b" who is called "c".
        user = str(identity).replace("%", "%25").replace("/", "%2F")
        return f"{user}/{name}"

    def _make_room(self) -> None:
        if len(self._served) >= SERVED_MAX:
            away = next((client for client in self._served.values() if client.offline), None)
            if away is None:
                raise Full(f"the server has all the {SERVED_MAX} clients it can have")
            away.expel("the server is full")

    def _forget(self, connection: Connection) -> None:
        if isinstance(connection, ServedConnection):
            self._served.pop(connection.link_id, None)
            connection.forget()

    def _forget_all(self) -> None:
        self._bound = None
        for connection in tuple(self._served.values()):
            self.remove(connection)


def cannot_listen(host: str, port: int, error: OSError) -> GraphError:
    """Say why a server cannot be started."""
    return GraphError(
        f"port {port} of {host!r} cannot be opened ({error.strerror or error}); "
        "choose another one, or 0 for any that is free"
    )
