"""What HTTP clients and servers do with requests and answers that no honest side sends."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cytosol.errors import GraphError
from cytosol.graph.transports import http
from cytosol.graph.transports.http import HttpServer
from tests.graph.served import HTTP, run_clean, take, until

pytestmark = pytest.mark.filterwarnings("error")

HELLO = json.dumps({"hello": "stranger", "of": None, "seen": 0, "v": 1, "name": "stranger"})
SESSION = "Cytosol-Session"


@asynccontextmanager
async def stranger(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of plain HTTP."""
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        yield client


async def greeted(client: httpx.AsyncClient) -> dict[str, str]:
    """Begin a session by hand, and return the header that names it."""
    answer = await client.post("/messages", content=HELLO)
    assert 200 == answer.status_code
    assert "hello" in answer.json()
    return {SESSION: answer.headers[SESSION]}


def with_server(test: Callable[[HttpServer, httpx.AsyncClient], Any], **options: Any) -> None:
    """Run a test with a server and a stranger; an honest client gets through afterwards."""

    async def talk() -> None:
        async with HttpServer(**options) as server:
            async with stranger(server.port) as client:
                await test(server, client)
            async with HTTP.client(server.port, name="honest") as honest:
                honest.send("still here")
                assert "still here" == (await take(server.messages, 1))[0][0]

    run_clean(talk())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"garbage", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"n":1,"m":1}', "must be a hello"),
        (HELLO.encode() + b"\n" + HELLO.encode(), "after one hello"),
    ],
)
def test_a_session_begins_with_a_hello(body: bytes, why: str) -> None:
    """Anything else is refused with the reason, and nothing is kept."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        answer = await client.post("/messages", content=body)
        assert (400, True) == (answer.status_code, why in answer.text)
        assert SESSION not in answer.headers
        assert {} == server._sessions

    with_server(test)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"garbage", "not JSON"),
        (b'{"n":7,"m":1}', "out of order"),
        (b'{"a":5}', "only 0 were sent"),
        (HELLO.encode(), "after one hello"),
    ],
)
def test_bad_frames_end_the_session(body: bytes, why: str) -> None:
    """The reason is told; the session does not exist any more."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        session = await greeted(client)
        answer = await client.post("/messages", content=body, headers=session)
        assert (400, True) == (answer.status_code, why in answer.text)
        assert 404 == (await client.get("/messages", headers=session)).status_code
        assert server.get("stranger").offline

    with_server(test)


def test_sessions_are_secrets() -> None:
    """Who does not know one is told that there is none."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        await greeted(client)
        for guess in ("", "0" * 64, "\u00e9"):
            headers = {SESSION: guess.encode()}
            assert 404 == (await client.get("/messages", headers=headers)).status_code
            answer = await client.post("/messages", content=b'{"a":0}', headers=headers)
            assert 404 == answer.status_code
        assert 404 == (await client.get("/messages")).status_code
        assert 404 == (await client.get("/elsewhere")).status_code
        assert 405 == (await client.delete("/messages")).status_code

    with_server(test)


def test_bodies_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large, has too many frames, or is too slow is refused while it comes in."""
    monkeypatch.setattr(http, "BODY_BYTES_MAX", 1_000)
    monkeypatch.setattr(http, "BODY_FRAMES_MAX", 10)
    monkeypatch.setattr(http, "BODY_S", 0.05)

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        assert 413 == (await client.post("/messages", content=b"x" * 1_001)).status_code
        assert 413 == (await client.post("/messages", content=b"x\n" * 11)).status_code
        session = await greeted(client)
        answer = await client.post("/messages", content=b"x" * 1_001, headers=session)
        assert 413 == answer.status_code
        assert {} == server._sessions
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert b"HTTP/1.1 408" in await reader.readline()
        writer.close()
        await writer.wait_closed()

    with_server(test)


def test_a_get_without_news_ends_and_can_be_repeated() -> None:
    """Proxies do not like long silence."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        session = await greeted(client)
        for _ in range(2):
            assert 204 == (await client.get("/messages", headers=session)).status_code
        server.get("stranger").send("news")
        answer = await client.get("/messages", headers=session)
        assert (200, {"n": 1, "m": "news"}) == (answer.status_code, answer.json())

    with_server(test, poll_within=0.01)


def test_a_second_get_takes_the_place_of_the_first() -> None:
    """Frames go to one of them only, or they would come out of order."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        session = await greeted(client)
        first = asyncio.ensure_future(client.get("/messages", headers=session))
        while next(iter(server._sessions.values()))._poller is None:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(client.get("/messages", headers=session))
        assert 204 == (await first).status_code
        server.get("stranger").send("news")
        assert "news" == (await second).json()["m"]

    with_server(test)


def test_who_does_not_ask_is_away() -> None:
    """Nobody tells a server that a client has lost its power: it does not ask any more."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        await greeted(client)
        member = server.get("stranger")
        await until(lambda: member.offline)
        assert {} == server._sessions

    with_server(test, away_after=0.05)


def test_who_hangs_up_is_away() -> None:
    """A client that gives up its GET is gone, or about to begin another session."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        session = await greeted(client)
        asking = asyncio.ensure_future(client.get("/messages", headers=session))
        while next(iter(server._sessions.values()))._poller is None:
            await asyncio.sleep(0)
        member = server.get("stranger")
        asking.cancel()
        await until(lambda: member.offline)

    with_server(test)


def test_bytes_that_are_no_http_are_disconnected() -> None:
    """Whatever is sent to the port, the server goes on."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        for garbage in (b"\x16\x03\x01garbage\r\n\r\n", b"GET /\r\n\r\n", b"\n" * 9):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(garbage)
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()

    with_server(test)


def test_who_hangs_up_in_the_middle_of_a_body_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its session ends; nothing is logged that somebody would look into."""

    async def test(server: HttpServer, client: httpx.AsyncClient) -> None:
        session = await greeted(client)
        member = server.get("stranger")
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST /messages HTTP/1.1\r\nHost: h\r\n{SESSION}: {session[SESSION]}\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n".encode() + b"{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await until(lambda: member.offline)
        assert {} == server._sessions

    with_server(test)
    assert [] == caplog.records


# --- Servers that are none ---------------------------------------------------------------------


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """A port that gives these answers to the requests of each connection, then hangs up."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of an answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (response("200 OK", b"<html>"), r"is no http server of Cytosol \(status 200\)"),
        (response("404 Not Found"), r"is no http server of Cytosol \(status 404\)"),
        (response("302 Found", b"", "Location: http://127.0.0.1:1/"), r"status 302"),
        (response("503 Busy"), r"cannot serve us now \(status 503\)"),
        (response("429 Slower"), r"cannot serve us now \(status 429\)"),
        (response("400 Bad", b"no reason", "Cytosol-Refused: 1"), "refused us: no reason"),
        (response("200 OK", b"x", "Content-Encoding: gzip"), "compressed body"),
        (response("200 OK", b"x" * 2_000), "answered with more than"),
        (response("200 OK", b"garbage", f"{SESSION}: s"), "not JSON"),
        (b"SSH-2.0-OpenSSH\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
def test_a_client_says_what_is_wrong_with_an_answer(
    answer: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is for good is raised at once, what may pass when the delays are over."""
    monkeypatch.setattr(http, "BODY_BYTES_MAX", 1_000)

    async def talk() -> None:
        async with answering(answer) as port:
            client = HTTP.client(port, delays=lambda: [0.0])
            with pytest.raises(GraphError, match=why):
                await client.open()
            await client.close()

    run_clean(talk())


def test_a_token_in_the_address_is_in_no_error() -> None:
    """Addresses with secrets are shown without them."""

    async def talk() -> None:
        async with answering(response("401 No")) as port:
            client = HTTP.client(port, "/a/?token=secret")
            with pytest.raises(GraphError) as error:
                await client.open()
            assert "secret" not in f"{error.value}{client!r}{client.id}"
            await client.close()

    run_clean(talk())


def test_ssl_is_for_https_addresses() -> None:
    """Elsewhere it would be a mistake that nobody notices."""
    with pytest.raises(GraphError, match="such an address begins with https"):
        HTTP.client(1, ssl=ssl.create_default_context())
