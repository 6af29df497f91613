"""A router with permissions in front of a server: over real sockets, with who has signed in."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.errors import GraphError, PermissionDeniedError
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.rules import Patch, Route
from cytosol.graph.transports.http import HttpClient, HttpServer
from cytosol.graph.transports.serving import Request
from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer
from tests.graph.running import run

KINDS = [(WebSocketServer, WebSocketClient, "ws"), (HttpServer, HttpClient, "http")]


def who(request: Request) -> str | None:
    """Sign in with a word that the server knows."""
    return {"word-of-ann": "ann", "word-of-bob": "bob"}.get(
        request.headers.get("authorization", "")
    )


def own_page(identity: Any, key: str, patch: Patch | None) -> bool:
    """Everybody owns the page of their name."""
    return key == f"pages/{identity}"


@pytest.mark.parametrize(("server_kind", "client_kind", "scheme"), KINDS, ids=["websocket", "http"])
def test_the_server_lets_everybody_do_what_the_rules_say_and_no_more(
    server_kind: Any, client_kind: Any, scheme: str
) -> None:
    """Both directions of each right, and what is refused looks alike whether it exists or not."""

    async def main() -> None:
        routes = [
            Route("pages/*", allow_read=True, allow_write=own_page),
            Route("diary/*", allow_read=lambda identity, key, patch: key == f"diary/{identity}"),
        ]
        async with server_kind(authenticate=who) as server:
            home = Graph({"network": server, "router": Router(routes)})
            url = f"{scheme}://127.0.0.1:{server.port}"
            ann_line = client_kind(url, name="a", headers={"authorization": "word-of-ann"})
            bob_line = client_kind(url, name="b", headers={"authorization": "word-of-bob"})
            async with ann_line, bob_line, home:
                ann = Graph({"network": ann_line, "router": Router()})
                bob = Graph({"network": bob_line, "router": Router()})
                async with ann, bob:
                    await home.write("diary/ann", {"day": "good"})
                    await ann.write("pages/ann", {"title": "Ann"})
                    assert (await bob.read("pages/ann")).snapshot() == {"title": "Ann"}
                    assert (await ann.read("diary/ann")).snapshot() == {"day": "good"}
                    refusals = []
                    for key in ("diary/ann", "diary/nobody"):
                        with pytest.raises(PermissionDeniedError) as refusal:
                            await bob.read(key)
                        refusals.append(str(refusal.value).replace(key, "KEY"))
                    assert refusals[0] == refusals[1], "nobody learns what exists"
                    with pytest.raises(PermissionDeniedError):
                        await bob.write("pages/ann", {"title": "Bob was here"})
                    with pytest.raises(PermissionDeniedError):
                        await bob.write("diary/bob", {"day": "mine"})
                    assert home.snapshot() == {
                        "diary/ann": {"day": "good"},
                        "pages/ann": {"title": "Ann"},
                    }

    run(main())


@pytest.mark.parametrize(("server_kind", "client_kind", "scheme"), KINDS, ids=["websocket", "http"])
def test_who_does_not_sign_in_does_not_come_in(
    server_kind: Any, client_kind: Any, scheme: str
) -> None:
    """The connection itself is refused, with words."""

    async def main() -> None:
        async with server_kind(authenticate=who) as server:
            url = f"{scheme}://127.0.0.1:{server.port}"
            stranger = client_kind(url, headers={"authorization": "a guess"})
            with pytest.raises(GraphError, match="401"):
                await stranger.open()
            await stranger.close()
            assert not list(server)

    run(main())
