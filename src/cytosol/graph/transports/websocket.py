"""Connections over WebSocket (RFC 6455): one text message is one frame of the link.

Laws: binary messages, and texts longer than a frame may be, close the connection with a reason;
a side that reads slowly is written to slowly; nothing of the library's errors comes out.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

from cytosol.errors import GraphError
from cytosol.graph.transports.link import FRAME_BYTES_MAX, read_hello
from cytosol.graph.transports.reconnecting import (
    ReconnectingConnection,
    Unreachable,
    refusal,
)
from cytosol.graph.transports.serving import (
    HELLO_S,
    KEEP_S,
    Authenticate,
    Full,
    Request,
    ServerGroup,
    cannot_listen,
)

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.connection import Connection as Socket
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request as RawRequest
    from websockets.http11 import Response

__all__ = ["WebSocketClient", "WebSocketServer"]

TYPE: Final = "websocket"
OPEN_S: Final = 10.0  # for the connection and the handshake
CLOSE_S: Final = 2.0  # for the other side to close, too
QUEUE_MAX: Final = 16  # messages that are read ahead; then the other side has to wait
REASON_BYTES_MAX: Final = 123  # RFC 6455, 5.5.1: 125 with the code

GOING_AWAY: Final = 1001
UNSUPPORTED_DATA: Final = 1003
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013

# The library tells every refused handshake with its traceback: any stranger could fill the log.
_log = logging.getLogger("cytosol.websocket")
_log.addHandler(logging.NullHandler())
_log.propagate = False


class WebSocketClient(ReconnectingConnection):
    """A connection to a `WebSocketServer`, which is called until it answers.

    `url` begins with ws:// or wss://; path and query are shown to the server's `authenticate`.
    `id` is what this side calls the connection (by default the address without the query),
    `name` what the server calls this client: give one that stays the same after a restart.
    `headers` go with each call; a function is asked for them each time. `ssl` is for wss://
    servers whose certificates the system does not know.

    Raises GraphError for an address that is none, and if `websockets` is not installed.
    """

    TYPE = TYPE
    SCHEMES = ("ws", "wss")

    @staticmethod
    def _check_installed() -> None:
        _check_installed()

    async def _carry(self) -> str:
        socket = await self._connect()
        before = self.times_online
        reason = await _carry_over(socket, self.run(_texts(socket), socket.send))
        if socket.close_code == POLICY_VIOLATION and self.times_online == before:
            raise GraphError(f"{self._place} refused us: {socket.close_reason or reason}")
        return reason

    async def _connect(self) -> ClientConnection:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

        class Direct(connect):
            """The address that was asked for and no other: headers may hold secrets."""

            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc

        options: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        try:
            return await Direct(
                self._url,
                additional_headers=self._own_headers(),
                compression=None,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                max_size=FRAME_BYTES_MAX,
                max_queue=QUEUE_MAX,
                logger=_log,
                **options,
            )
        except InvalidStatus as error:
            raise refusal(self._place, TYPE, error.response.status_code) from None
        except tls.SSLCertVerificationError as error:
            raise GraphError(
                f"the certificate of {self._place} is not trusted ({error.verify_message}); "
                "give an `ssl` context that trusts it, if you do"
            ) from None
        except (OSError, EOFError) as error:
            raise Unreachable(f"{self._place} cannot be reached: {error}") from None
        except (InvalidHandshake, WebSocketException) as error:
            if isinstance(error.__cause__, EOFError | OSError):
                raise Unreachable(f"{self._place} hung up: {error.__cause__}") from None
            raise GraphError(f"{self._place} is no WebSocket server: {error}") from None


class WebSocketServer(ServerGroup):
    """A group of the clients that are connected to a port of this machine over WebSocket.

    `authenticate(request)` is asked about each client before it is let in: what it returns is
    the connection's `identity`; None or an exception refuses it. `origins` are the web sites
    whose pages may connect, like "https://example.org"; by default none. `ssl` is a server's
    context, for wss://. A client that is away stays a member for `keep` seconds.

    Raises GraphError if `websockets` is not installed.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        authenticate: Authenticate | None = None,
        *,
        origins: Iterable[str] = (),
        ssl: tls.SSLContext | None = None,
        keep: float = KEEP_S,
        hello_within: float = HELLO_S,
    ) -> None:
        _check_installed()
        super().__init__(TYPE, host, port, authenticate, origins, keep)
        self._ssl = ssl
        self._hello_within = hello_within
        self._server: Server | None = None
        # Between the request and the hello, which may never come.
        self._identities: WeakKeyDictionary[ServerConnection, Any] = WeakKeyDictionary()

    async def start(self) -> Self:
        """Open the socket and let clients in; raises GraphError if the port cannot be opened."""
        from websockets.asyncio.server import serve

        if self._server is not None:
            return self
        try:
            self._server = await serve(
                self._serve,
                self.host,
                self._port,
                process_request=self._judge,
                compression=None,
                server_header=None,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                max_size=FRAME_BYTES_MAX,
                max_queue=QUEUE_MAX,
                logger=_log,
                ssl=self._ssl,
            )
        except OSError as error:
            raise cannot_listen(self.host, self._port, error) from None
        self._bound = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Disconnect all clients and close the socket; they call again until somebody answers.

        What waited for a client is dropped. To end a client for good, `close` its connection.
        """
        server, self._server = self._server, None
        if server is not None:
            server.close(code=GOING_AWAY, reason="the server was closed")
            await server.wait_closed()
        self._forget_all()

    async def _judge(self, socket: ServerConnection, raw: RawRequest) -> Response | None:
        request = Request.of(raw.headers.raw_items(), raw.path, socket.remote_address)
        if self._is_foreign(request):
            return socket.respond(403, "pages of this site may not connect\n")
        is_welcome, identity = await self._identify(request)
        if not is_welcome:
            return socket.respond(401, "authentication failed\n")
        self._identities[socket] = identity
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        await _carry_over(socket, self._talk(socket))

    async def _talk(self, socket: ServerConnection) -> str:
        texts = _texts(socket)
        try:
            first = await asyncio.wait_for(anext(texts), self._hello_within)
        except StopAsyncIteration:
            return "the connection ended"
        except TimeoutError:
            return f"no hello came within {self._hello_within:g} seconds"
        try:
            connection = self._admit(read_hello(first), self._identities.pop(socket))
        except Full as error:
            raise _Close(TRY_AGAIN_LATER, str(error)) from None
        except GraphError as error:
            return str(error)
        return await connection.run(texts, socket.send, first)


class _Close(Exception):
    """The connection must be closed with this code (RFC 6455, 7.4) and reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


async def _texts(socket: Socket) -> AsyncIterator[str]:
    async for message in socket:
        if isinstance(message, bytes):
            raise _Close(UNSUPPORTED_DATA, "a binary message came; frames are texts")
        yield message


async def _carry_over(socket: Socket, carrying: Any) -> str:
    """Await what carries a link, then close the socket and return the reason."""
    from websockets.exceptions import ConnectionClosed

    code, reason = POLICY_VIOLATION, "cancelled"
    try:
        reason = await carrying
    except _Close as close:
        code, reason = close.code, close.reason
    except ConnectionClosed as closed:
        reason = str(closed)
    except asyncio.CancelledError:
        code, reason = GOING_AWAY, "the program is ending"
        raise
    finally:
        short = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        await socket.close(code, short)
    told = socket.close_reason
    return f"{reason}: {told}" if told and told not in reason else reason


def _check_installed() -> None:
    try:
        import websockets.asyncio.client  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise GraphError(
            "connections over WebSocket need the package websockets: install cytosol[websocket]"
        ) from error
