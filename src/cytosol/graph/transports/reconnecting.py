"""A connection that calls a server, and calls again whenever the connection is lost.

Laws: nothing but `close`, a goodbye of the server and a refusal of the first call ends the
calling; attempts are never in step with those of other clients; `close` leaves no task.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl as tls
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

from cytosol.errors import GraphError
from cytosol.graph.connection import report
from cytosol.graph.transports.link import Link
from cytosol.graph.transports.linked import LinkedConnection

__all__ = ["Delays", "Headers", "ReconnectingConnection", "Unreachable", "jittered"]

Delays = Callable[[], Iterable[float]]
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]

DELAY_FIRST_S: Final = 0.25  # a server that restarts is back in about a second
DELAY_MAX_S: Final = 30.0  # who comes home should not wait longer
STABLE_S: Final = 10.0  # a connection that held so long starts the delays anew
GOODBYE_S: Final = 5.0  # for what was sent before `close`
_FINE: Final = 2**20


class Unreachable(GraphError):
    """Say that an attempt failed in a way that may pass: no network, no server, too busy."""


def jittered() -> Iterator[float]:
    """Yield the seconds before each next attempt: up to a bound that doubles, at random.

    Many clients lose a server in one moment; they must not come back in one moment too.
    """
    bound = DELAY_FIRST_S
    while True:
        yield bound * secrets.randbelow(_FINE) / _FINE
        bound = min(DELAY_MAX_S, bound * 2)


class ReconnectingConnection(LinkedConnection):
    """The client's side of a transport; subclasses say how one connection is made and used.

    `url` begins with one of `SCHEMES`, the second of which is the encrypted one. `id` is what this
    side calls the connection (by default the address without the query), `name` what the server
    calls this client. `headers` go with each attempt, `ssl` is for certificates that the system
    does not know. Raises GraphError for what cannot be, and if a library is not installed.

    `send` and `messages` may be used before `open`. `problem` is why it is offline, None while
    it is online or was never opened. `delays()` gives the seconds to wait before each next
    attempt; when they end, no further attempt is made.
    """

    TYPE: ClassVar[str]
    SCHEMES: ClassVar[tuple[str, str]]

    def __init__(
        self,
        url: str,
        id: str | None = None,
        *,
        name: str = "",
        headers: Headers | None = None,
        ssl: tls.SSLContext | None = None,
        delays: Delays = jittered,
    ) -> None:
        self._check_installed()
        check_url(url, self.SCHEMES, self.TYPE)
        if not (headers is None or callable(headers) or isinstance(headers, Mapping)):
            raise GraphError(
                f"`headers` must be a mapping of names to texts or a function, not {headers!r}"
            )
        shown = urlsplit(url)
        self._url = url
        # What a query holds may be secret, an id and an error text are shown to everybody.
        self._place = f"{shown.scheme}://{shown.hostname}:{shown.port or 'default'}{shown.path}"
        if ssl is not None and shown.scheme != self.SCHEMES[1]:
            raise GraphError(
                f"`ssl` was given for {self._place}: such an address begins with {self.SCHEMES[1]}"
            )
        self._headers = headers
        self._ssl = ssl
        self._delays = delays
        self._calling: asyncio.Task[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.problem: GraphError | None = None
        self.times_online = 0
        # 256 bits: who knows a link id can take the link over.
        super().__init__(id or self._place, self.TYPE, Link(secrets.token_hex(32), name))
        self.on("online", lambda _: self._came_online())

    async def open(self) -> Self:
        """Start calling the server, wait until it has answered, and return the connection.

        It waits as long as the server cannot be reached; bound that by `asyncio.timeout`, and
        the calling goes on in the background. Raises GraphError, and calls no more, if the
        server refuses us, is no such server, or its certificate is not trusted.
        """
        if not self.offline:
            return self
        self.start()
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._opening)
        return self

    def start(self) -> None:
        """Start calling the server in the background, also after refusals; see `problem`."""
        if self.link.ended is not None or self._closing is not None:
            raise GraphError(
                f"the connection to {self._place} has ended ({self.link.ended or 'closed'}); "
                "make a new one"
            )
        if self._calling is None or self._calling.done():
            self._calling = asyncio.get_running_loop().create_task(
                self._call(), name=f"cytosol: call {self._place}"
            )

    def close(self, reason: str = "closed") -> Awaitable[object]:
        """End the connection for good and return an awaitable of its being gone.

        What was sent before goes out first if the server is there and takes it in time.
        """
        super().close(reason)
        if self._calling is None:
            return _Nothing()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._stop(self._calling))
        return self._closing

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @staticmethod
    def _check_installed() -> None:
        """Raise GraphError with the extra to install if a library is not there."""
        raise NotImplementedError

    async def _carry(self) -> str:
        """Make one connection, carry the link over it, and return why it ended.

        Raises Unreachable for what may pass, GraphError for a refusal; leaves nothing behind.
        """
        raise NotImplementedError

    def _own_headers(self) -> dict[str, str]:
        """Return the caller's headers; those of a function are asked for at each attempt."""
        headers = self._headers() if callable(self._headers) else self._headers
        return dict(headers or {})

    async def _call(self) -> None:
        delays = iter(self._delays())
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                reason = await self._carry()
                self.problem = Unreachable(f"the connection to {self._place} ended: {reason}")
            except Unreachable as error:
                self.problem = error
            except GraphError as error:
                self.problem = error
                if self._fail_opening(error):
                    return
            except Exception as error:
                report(error, f"connecting to {self._place} failed in an unforeseen way")
                self.problem = Unreachable(f"connecting to {self._place} failed: {error!r}")
            if self.link.ended is not None:
                self.problem = GraphError(f"{self._place}: {self.link.ended}")
                self._deliver()  # completes `messages` when all has been read
                break
            if loop.time() - began >= STABLE_S:
                delays = iter(self._delays())
            delay = next(delays, None)
            if delay is None:
                break
            await asyncio.sleep(delay)
        self._fail_opening(self.problem)

    def _came_online(self) -> None:
        self.problem = None
        self.times_online += 1
        if self._opening is not None and not self._opening.done():
            self._opening.set_result(None)

    def _fail_opening(self, error: GraphError) -> bool:
        """Hand an error to who waits in `open`; return whether somebody did."""
        if self._opening is None or self._opening.done():
            return False
        self._opening.set_exception(error)
        return True

    async def _stop(self, calling: asyncio.Task[None]) -> None:
        if not self.offline:
            await asyncio.wait({calling}, timeout=GOODBYE_S)
        calling.cancel()
        await asyncio.wait({calling})
        self._fail_opening(GraphError(f"the connection to {self._place} was closed"))
        if self._opening is not None and not self._opening.cancelled():
            self._opening.exception()  # somebody who was cancelled in `open` does not ask


class _Nothing:
    """An awaitable that is done, and needs no loop."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield  # makes this a generator, as awaiting demands


def check_url(url: str, schemes: tuple[str, str], type_name: str) -> None:
    """Raise GraphError if `url` is not an address with one of the schemes and a host."""
    example = f'"{schemes[0]}://example.org:8080"'
    if not isinstance(url, str):
        raise GraphError(
            f"the address of a {type_name} server must be a text like {example}, not {url!r}"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number, or none of a port
    except ValueError as error:
        raise GraphError(f"{url!r} is no address of a {type_name} server: {error}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise GraphError(
            f"{url!r} is no address of a {type_name} server: it must begin with "
            f"{schemes[0]}:// or {schemes[1]}:// and a host, like {example}"
        )
    if parts.username is not None or parts.fragment:
        raise GraphError(
            f"the address of a {type_name} server cannot hold a password or a #fragment; "
            "send a password in `headers`"
        )


def refusal(place: str, type_name: str, status: int) -> GraphError:
    """Say what an HTTP status means that came instead of a connection."""
    if status == 401:
        return GraphError(
            f"{place} refused the authentication (401); check what `headers` and the address say"
        )
    if status == 403:
        return GraphError(f"{place} does not let us in (403)")
    if status == 429 or status >= 500:
        return Unreachable(f"{place} cannot serve us now (status {status})")
    return GraphError(f"{place} is no {type_name} server of Cytosol (status {status})")
