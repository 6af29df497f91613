"""A web application on a port of this machine, beside whatever else the program does.

Laws: signals, loggers and the event loop of the program are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import ssl as tls
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cytosol.graph.transports.serving import cannot_listen
from cytosol.limits import SERVED_MAX

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Hosted"]


class Hosted:
    """An application that is being served; made by `begin`."""

    def __init__(self, server: uvicorn.Server, serving: asyncio.Task[None], port: int) -> None:
        self.port = port
        self._server = server
        self._serving = serving

    @classmethod
    async def begin(
        cls, application: Any, host: str, port: int, ssl: tls.SSLContext | None
    ) -> Hosted:
        """Open the port and serve; raises GraphError if it cannot be opened."""
        listening = _listen(host, port)
        try:
            server, started = _uvicorn(application, ssl)
            serving = asyncio.get_running_loop().create_task(
                server.serve(sockets=[listening]), name="cytosol: serve HTTP"
            )
            await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        except BaseException:
            listening.close()
            raise
        return cls(server, serving, listening.getsockname()[1])

    async def end(self) -> None:
        """Answer what has been asked, and close the port."""
        self._server.should_exit = True
        await self._serving


def _listen(host: str, port: int) -> sockets.socket:
    try:
        family, kind, protocol, _, address = sockets.getaddrinfo(
            host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        )[0]
        listening = sockets.socket(family, kind, protocol)
        try:
            # A server that died must be able to come back on its port at once.
            listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise cannot_listen(host, port, error) from None
    return listening


def _uvicorn(
    application: Any, ssl: tls.SSLContext | None
) -> tuple[uvicorn.Server, asyncio.Future[None]]:
    """Return a server, and what is done when it serves."""
    import uvicorn

    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[sockets.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set_result(None)

    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # anybody could say to be anywhere
        server_header=False,
        limit_concurrency=4 * SERVED_MAX,
        timeout_graceful_shutdown=5,
    )
    config.load()
    config.ssl = ssl
    return Quiet(config), started
