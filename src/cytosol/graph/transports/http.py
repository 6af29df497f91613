"""Connections over plain HTTP, for networks that let nothing else through.

```text
POST .../messages                              the hello of a client, one line
    200, Cytosol-Session: SECRET               the hello of the server; a session has begun
    400, Cytosol-Refused: 1                    the text tells why
POST .../messages, Cytosol-Session: SECRET     frames of the client, in order
    204                                        taken
GET  .../messages, Cytosol-Session: SECRET     "what is there for me?"
    200                                        frames of the server
    204                                        nothing came for 25 seconds: ask again
400 a session was ended, the text tells why    401, 403 not let in
404 no such session: begin anew                413, 503 too large, too busy
```

Bodies are frames, one a line (JSON has no line breaks in it). The client has one POST and one
GET on their way at a time, so that frames stay in order. A session is one connection to the
link: when anything fails, the client begins another one with a hello, and the link sends again
what was on its way.

Laws: nobody's body is read before it is known who sends it; bodies and batches have bounds on
both sides; a GET that was given up takes no frames with it for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl as tls
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from cytosol.errors import GraphError
from cytosol.graph.transports.hosting import Hosted
from cytosol.graph.transports.link import FRAME_BYTES_MAX, read_hello
from cytosol.graph.transports.linked import Attachment
from cytosol.graph.transports.reconnecting import (
    ReconnectingConnection,
    Unreachable,
    refusal,
)
from cytosol.graph.transports.serving import (
    KEEP_S,
    Authenticate,
    Full,
    Request,
    ServedConnection,
    ServerGroup,
)

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request as RawRequest
    from starlette.responses import Response

__all__ = ["HttpClient", "HttpServer"]

TYPE: Final = "http"
SESSION: Final = "Cytosol-Session"
REFUSED: Final = "Cytosol-Refused"
MEDIA_TYPE: Final = "application/x-ndjson"

POLL_S: Final = 25.0  # proxies give up on silence after 30 seconds and more
AWAY_S: Final = 15.0  # without a GET: the client is gone
BODY_S: Final = 60.0  # for a body to come in whole
CONNECT_S: Final = 10.0
BATCH_BYTES: Final = 1024 * 1024  # a body ends with the frame that goes beyond this
BODY_BYTES_MAX: Final = FRAME_BYTES_MAX + BATCH_BYTES + 1
BODY_FRAMES_MAX: Final = 10_000
REASON_BYTES_MAX: Final = 1_024


class HttpClient(ReconnectingConnection):
    """A connection to an `HttpServer`, which is called until it answers.

    `url` begins with http:// or https://; its query is shown to the server's `authenticate`.
    `id` is what this side calls the connection (by default the address without the query),
    `name` what the server calls this client: give one that stays the same after a restart.
    `headers` go with each request; a function is asked for them whenever a session begins.
    `ssl` is for https:// servers whose certificates the system does not know.

    Raises GraphError for an address that is none, and if `httpx` is not installed.
    """

    TYPE = TYPE
    SCHEMES = ("http", "https")

    @staticmethod
    def _check_installed() -> None:
        _check_installed("httpx")

    @property
    def _messages_url(self) -> str:
        parts = urlsplit(self._url)
        path = parts.path.rstrip("/") + "/messages"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    async def _carry(self) -> str:
        import httpx

        timeout = httpx.Timeout(POLL_S + AWAY_S, connect=CONNECT_S)
        # Not compressed: what a few bytes unpack to has no bound.
        headers = {**self._own_headers(), "Accept-Encoding": "identity"}
        try:
            async with httpx.AsyncClient(
                headers=headers,
                timeout=timeout,
                follow_redirects=False,  # headers may hold secrets of this server
                # Reading the certificates of the world takes longer than all the rest.
                verify=self._ssl or self._url.startswith("https"),
            ) as http:
                return await self._talk(http)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._failure(error) from None

    async def _talk(self, http: httpx.AsyncClient) -> str:
        """Begin a session and keep it; return why it ended."""
        waking = asyncio.Event()
        dropped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        attachment = self.attach(waking.set, dropped.set_result)
        tasks: list[asyncio.Future[Any]] = []
        try:
            hello = _batch(attachment)
            async with self._request(http, "POST", hello) as (answer, body):
                session = answer.headers.get(SESSION, "")
                if answer.status_code != 200 or not session:
                    if answer.status_code == 400 and REFUSED in answer.headers:
                        raise GraphError(f"{self._place} refused us: {_reason(body)}")
                    raise refusal(self._place, TYPE, answer.status_code)
            http.headers[SESSION] = session
            for frame in _frames(body):
                attachment.receive(frame)
            tasks = [
                asyncio.ensure_future(self._post(http, attachment, waking)),
                asyncio.ensure_future(self._poll(http, attachment)),
            ]
            await asyncio.wait([*tasks, dropped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            attachment.lost()
            over = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if dropped.done():
            return dropped.result()
        for task in over:
            task.result()
        return self.link.ended or "the session ended"

    async def _post(
        self, http: httpx.AsyncClient, attachment: Attachment, waking: asyncio.Event
    ) -> None:
        while self.link.ended is None:
            waking.clear()
            while body := _batch(attachment):
                async with self._request(http, "POST", body) as (answer, reason):
                    if answer.status_code != 204:
                        raise self._ended(answer.status_code, reason)
            if self.link.ended is None:
                await waking.wait()

    async def _poll(self, http: httpx.AsyncClient, attachment: Attachment) -> None:
        while True:
            async with self._request(http, "GET", b"") as (answer, body):
                if answer.status_code not in (200, 204):
                    raise self._ended(answer.status_code, body)
            for frame in _frames(body):
                attachment.receive(frame)

    @contextlib.asynccontextmanager
    async def _request(
        self, http: httpx.AsyncClient, method: str, body: bytes
    ) -> AsyncIterator[tuple[httpx.Response, bytes]]:
        """Make a request and read its answer, which must not be too large."""
        headers = {"Content-Type": MEDIA_TYPE} if body else {}
        async with http.stream(
            method, self._messages_url, content=body or None, headers=headers
        ) as answer:
            if "content-encoding" in answer.headers:
                raise Unreachable(f"{self._place} answered with a compressed body")
            parts, size = [], 0
            async for part in answer.aiter_raw():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise Unreachable(f"{self._place} answered with more than {size} bytes")
                parts.append(part)
            yield answer, b"".join(parts)

    def _ended(self, status: int, body: bytes) -> GraphError:
        if status in (400, 408, 413):
            return Unreachable(f"{self._place} ended the session: {_reason(body)}")
        if status == 404:
            return Unreachable(f"{self._place} does not know the session: it was restarted")
        return Unreachable(f"{self._place} ended the session (status {status})")

    def _failure(self, error: Exception) -> GraphError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, tls.SSLCertVerificationError):
                return GraphError(
                    f"the certificate of {self._place} is not trusted ({cause.verify_message}); "
                    "give an `ssl` context that trusts it, if you do"
                )
            cause = cause.__cause__ or cause.__context__
        return Unreachable(f"{self._place} cannot be reached: {error or type(error).__name__}")


class HttpServer(ServerGroup):
    """A group of the clients that are connected to a port of this machine over HTTP.

    `authenticate(request)` is asked about each client when a session begins: what it returns is
    the connection's `identity`; None or an exception refuses it. `origins` are the web sites
    whose pages may connect; by default none. `ssl` is a server's context, for https://. A client
    that is away stays a member for `keep` seconds; a GET is answered after `poll_within`.

    Raises GraphError if `starlette` or `uvicorn` is not installed.
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
        poll_within: float = POLL_S,
        away_after: float = AWAY_S,
    ) -> None:
        _check_installed("starlette", "uvicorn")
        super().__init__(TYPE, host, port, authenticate, origins, keep)
        self._ssl = ssl
        self._poll_within = poll_within
        self._away_after = away_after
        self._sessions: dict[str, _Session] = {}
        self._running: Hosted | None = None

    async def start(self) -> Self:
        """Open the socket and let clients in; raises GraphError if the port cannot be opened."""
        if self._running is not None:
            return self
        application = self._application()
        self._running = await Hosted.begin(application, self.host, self._port, self._ssl)
        self._bound = self._running.port
        return self

    async def close(self) -> None:
        """Disconnect all clients and close the socket; they call again until somebody answers.

        What waited for a client is dropped. To end a client for good, `close` its connection.
        """
        running, self._running = self._running, None
        if running is not None:
            for session in tuple(self._sessions.values()):
                session.end("the server was closed")
            await running.end()
        self._forget_all()

    def _application(self) -> Any:
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/{above:path}messages", self._posted, methods=["POST"]),
                Route("/{above:path}messages", self._polled, methods=["GET"]),
            ]
        )

    async def _posted(self, raw: RawRequest) -> Response:
        secret = raw.headers.get(SESSION)
        if secret is None:
            return await self._began(raw)
        session = self._sessions.get(secret)
        if session is None:
            return _answer(404, "there is no such session\n")
        try:
            for frame in await _body(raw):
                session.attachment.receive(frame)
        except _BadBody as error:
            session.end(error.reason)
            return _answer(error.status, error.reason)
        return _answer(204) if session.ended is None else _answer(400, session.ended)

    async def _began(self, raw: RawRequest) -> Response:
        """Let a client in, or not, and answer its hello with ours."""
        # As it was sent: `raw.url` would be made with the Host header, which may be anything.
        target = f"{raw.scope['raw_path'].decode()}?{raw.scope['query_string'].decode('latin-1')}"
        remote = (raw.client.host, raw.client.port) if raw.client else None
        request = Request.of(raw.headers.items(), target, remote)
        if self._is_foreign(request):
            return _answer(403, "pages of this site may not connect\n")
        is_welcome, identity = await self._identify(request)
        if not is_welcome:
            return _answer(401, "authentication failed\n")
        try:
            frames = await _body(raw)
            if self._running is None:
                return _answer(503, "the server is being closed\n")
            hello = read_hello(frames[0] if frames else b"")
            session = _Session(self, self._admit(hello, identity))
        except _BadBody as error:
            return _answer(error.status, error.reason)
        except Full as error:
            return _answer(503, str(error))
        except GraphError as error:
            return _answer(400, str(error), {REFUSED: "1"})
        for frame in frames:
            session.attachment.receive(frame)
        if session.ended is not None:
            return _answer(400, session.ended, {REFUSED: "1"})
        return _answer(200, _batch(session.attachment), {SESSION: session.secret})

    async def _polled(self, raw: RawRequest) -> Response:
        session = self._sessions.get(raw.headers.get(SESSION, ""))
        if session is None:
            return _answer(404, "there is no such session\n")
        body = await session.poll(raw, self._poll_within)
        if session.ended is not None and not body:
            return _answer(400, session.ended)
        return _answer(200, body) if body else _answer(204)


class _Session:
    """One connection of a client: what its requests have in common."""

    def __init__(self, server: HttpServer, connection: ServedConnection) -> None:
        self.secret = secrets.token_hex(32)
        self.ended: str | None = None
        self._server = server
        self._waking = asyncio.Event()
        self._poller: object = None
        self._timer: asyncio.TimerHandle | None = None
        server._sessions[self.secret] = self
        self._expect_poll()
        self._link = connection.link
        self.attachment = connection.attach(self._waking.set, self._drop)

    def end(self, reason: str) -> None:
        """End the session; the client may come back with another one."""
        self.attachment.lost()
        self._drop(reason)

    async def poll(self, raw: RawRequest, within: float) -> bytes:
        """Return what there is to send as soon as there is something, b"" if nothing comes."""
        self._poller = poller = object()
        self._waking.set()  # another GET, if there is one, gives way
        self._expect_poll(now=False)
        leaving = asyncio.ensure_future(_hung_up(raw))
        try:
            async with asyncio.timeout(within):
                while self._poller is poller and self.ended is None and not leaving.done():
                    self._waking.clear()
                    if body := _batch(self.attachment):
                        if self._link.ended is not None:  # our goodbye is in the body
                            self.end(self._link.ended)
                        return body
                    waking = asyncio.ensure_future(self._waking.wait())
                    try:
                        await asyncio.wait({waking, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        waking.cancel()
        except TimeoutError:
            pass
        finally:
            if leaving.done():  # who gives up a GET begins another session, or none
                self.end("the client hung up")
            leaving.cancel()
            if self._poller is poller:
                self._expect_poll()
        return b""

    def _drop(self, reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            self._server._sessions.pop(self.secret, None)
            self._expect_poll(now=False)
            self._waking.set()

    def _expect_poll(self, now: bool = True) -> None:
        """Give the client a while to ask, or stop waiting for it because it does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if now and self.ended is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                self._server._away_after, self.end, "the client did not ask for messages"
            )


async def _hung_up(raw: RawRequest) -> None:
    """Return when the client has closed the connection that it made the request over."""
    while (await raw.receive())["type"] != "http.disconnect":
        pass


class _BadBody(Exception):
    """A body that cannot be taken; `status` and `reason` are the answer."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason


async def _body(raw: RawRequest) -> list[bytes]:
    """Return the frames in a body; raises _BadBody."""
    from starlette.requests import ClientDisconnect

    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in raw.stream():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise _BadBody(413, f"a body has more than {BODY_BYTES_MAX} bytes")
                parts.append(part)
    except TimeoutError:
        raise _BadBody(408, f"a body took more than {BODY_S:g} seconds") from None
    except ClientDisconnect:  # nobody hears the answer
        raise _BadBody(400, "the client hung up before its body had come in whole") from None
    frames = list(_frames(b"".join(parts)))
    if len(frames) > BODY_FRAMES_MAX:
        raise _BadBody(413, f"a body holds more than {BODY_FRAMES_MAX} frames")
    return frames


def _frames(body: bytes) -> Iterator[bytes]:
    return (line for line in body.split(b"\n") if line)


def _reason(body: bytes) -> str:
    return body[:REASON_BYTES_MAX].decode(errors="replace").strip()


def _batch(attachment: Attachment) -> bytes:
    """Return the frames that may go now, as a body; b"" if there are none."""
    lines: list[bytes] = []
    size = 0
    while size < BATCH_BYTES and len(lines) < BODY_FRAMES_MAX:
        frame = attachment.next_frame()
        if frame is None:
            break
        lines.append(frame.encode())
        size += len(lines[-1]) + 1
    return b"\n".join(lines)


def _answer(
    status: int, body: str | bytes = b"", headers: dict[str, str] | None = None
) -> Response:
    from starlette.responses import Response

    kind = MEDIA_TYPE if isinstance(body, bytes) else "text/plain"
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body or None, status, headers, media_type=kind if body else None)


def _check_installed(*names: str) -> None:
    try:
        for name in names:
            __import__(name)
    except ImportError as error:
        raise GraphError(
            f"connections over HTTP need the package {error.name}: install cytosol[http]"
        ) from error
