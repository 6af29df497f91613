"""What clients and servers of all transports have in common: real sockets on the loopback."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cytosol.errors import BroadcastError, GraphError, PermissionDeniedError
from cytosol.graph.transports import serving
from cytosol.graph.transports.reconnecting import DELAY_FIRST_S, DELAY_MAX_S, jittered
from cytosol.graph.transports.serving import Request
from cytosol.limits import LINK_MESSAGE_BYTES_MAX, LINK_UNACKNOWLEDGED_MAX
from tests.graph.served import KINDS, Kind, Wire, at_once, event, run_clean, take, until

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name),
]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# --- Messages -------------------------------------------------------------------------------------


def test_messages_go_both_ways_in_order(kind: Kind) -> None:
    """Each side gets what the other sends, and knows who it is."""

    async def talk() -> None:
        async with kind.server() as server, kind.client(server.port, name="laptop") as client:
            for number in range(100):
                client.send({"number": number, "text": "\u2028\n\U0001f600"})
            heard = await take(server.messages, 100)
            there = server.get("laptop")
            assert [message["number"] for message, _ in heard] == list(range(100))
            assert all(connection is there for _, connection in heard)
            assert "\u2028\n\U0001f600" == heard[0][0]["text"]
            for number in range(100):
                there.send(number)
            assert list(range(100)) == await take(client.messages, 100)
            assert (kind.name, kind.name) == (client.type, there.type)
            assert (False, False, None) == (client.offline, there.offline, client.problem)

    run_clean(talk())


def test_messages_that_were_sent_before_open_arrive(kind: Kind) -> None:
    """A client can be used before there is a connection."""

    async def talk() -> None:
        async with kind.server() as server:
            client = kind.client(server.port)
            client.send("early")
            assert client.offline
            async with client:
                assert "early" == (await take(server.messages, 1))[0][0]

    run_clean(talk())


def test_one_broadcast_reaches_all_clients(kind: Kind) -> None:
    """A server is a group: it sends to all, and hears from all."""

    async def talk() -> None:
        async with kind.server() as server:
            clients = [kind.client(server.port, name=f"client {n}") for n in range(10)]
            for client in clients:
                await client.open()
            await server.send("to all")
            assert 10 * [["to all"]] == [await take(client.messages, 1) for client in clients]
            for number, client in enumerate(clients):
                client.send(number)
            heard = {(c.id, m) for m, c in await take(server.messages, 10)}
            assert {(f"client {n}", n) for n in range(10)} == heard
            for client in clients:
                await client.close()
            await until(lambda: not len(server))

    run_clean(talk())


def test_large_messages_pass_and_too_large_ones_do_not(kind: Kind) -> None:
    """16 MiB of JSON are a message, one byte more is refused where it is sent."""

    async def talk() -> None:
        async with kind.server() as server, kind.client(server.port) as client:
            largest = "x" * (LINK_MESSAGE_BYTES_MAX - 2)
            with pytest.raises(GraphError, match=r"16777217 bytes, 16777216 are allowed"):
                client.send(largest + "x")
            client.send(largest)
            [(message, connection)] = await take(server.messages, 1)
            assert message == largest
            connection.send(largest)
            assert [largest] == await take(client.messages, 1)

    run_clean(talk())


# --- Connections that break -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_cut_wires_lose_and_double_nothing(kind: Kind, seed: int) -> None:
    """Connections are cut at random bytes; all messages of both sides come once, in order."""
    rng = random.Random(seed)

    async def talk() -> None:
        async with kind.server() as server, Wire(server.port) as wire:
            there: list[Any] = []
            here: list[Any] = []
            client = kind.client(wire.port, name="laptop")
            server.messages.listen(lambda pair: there.append(pair[0]))
            client.messages.listen(here.append)
            await client.open()
            for number in range(300):
                if number % 10 == 0:
                    wire.cut_after(rng.randrange(1, 3_000))
                client.send(number)
                server.get("laptop").send([number])
                if number % 3 == 0:
                    await asyncio.sleep(0)
            await until(lambda: wire.cuts)
            wire.cut_after(None)
            wire.cut()
            await until(lambda: len(there) >= 300 and len(here) >= 300)
            await client.close()
            assert list(range(300)) == there
            assert [[number] for number in range(300)] == here

    run_clean(talk())


def test_a_server_that_comes_back_gets_what_was_sent_meanwhile(kind: Kind) -> None:
    """The client calls until the server is back on its port, and then goes on."""

    async def talk() -> None:
        async with kind.server() as first:
            port = first.port
            client = await kind.client(port, name="laptop").open()
            client.send("before")
            assert "before" == (await take(first.messages, 1))[0][0]
            await until(lambda: client.link.unacknowledged == 0)
        await until(lambda: client.offline)
        client.send("meanwhile")
        restarted = asyncio.ensure_future(event(client, "restart"))
        async with kind.server(port=port) as second:
            client.send("later")
            heard = [message for message, _ in await take(second.messages, 2)]
            assert ["meanwhile", "later"] == heard
            await restarted
            await client.close()

    run_clean(talk())


def test_a_client_waits_for_a_server_that_is_not_there_yet(kind: Kind) -> None:
    """`open` goes on until somebody answers, and `problem` tells why it takes so long."""

    async def talk() -> None:
        port = free_port()
        client = kind.client(port)
        opening = asyncio.ensure_future(client.open())
        await until(lambda: client.problem)
        assert "cannot be reached" in str(client.problem)
        assert not opening.done()
        async with kind.server(port=port):
            await opening
            assert client.problem is None
            await client.close()

    run_clean(talk())


def test_open_can_be_given_up_and_goes_on(kind: Kind) -> None:
    """A caller that does not want to wait loses nothing."""

    async def talk() -> None:
        port = free_port()
        client = kind.client(port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.open(), 0.01)
        async with kind.server(port=port):
            await client.open()
            await client.close()

    run_clean(talk())


def test_a_client_gives_up_when_its_delays_end(kind: Kind) -> None:
    """Who hands in three delays gets four attempts."""

    async def talk() -> None:
        client = kind.client(free_port(), delays=lambda: [0.0, 0.0, 0.0])
        with pytest.raises(GraphError, match="cannot be reached"):
            await client.open()
        await client.close()

    run_clean(talk())


def test_delays_grow_and_are_never_in_step(kind: Kind) -> None:
    """The bound doubles up to half a minute; the delay is anything below it."""
    for _ in range(20):
        bound = DELAY_FIRST_S
        for _, delay in zip(range(12), jittered(), strict=False):
            assert 0 <= delay < bound
            bound = min(DELAY_MAX_S, 2 * bound)
    assert len({next(iter(jittered())) for _ in range(20)}) > 10


def test_a_client_that_comes_back_is_the_same_member(kind: Kind) -> None:
    """While it is away it stays in the group, offline, and messages wait for it."""

    async def talk() -> None:
        async with kind.server(**soon_away(kind)) as server, Wire(server.port) as wire:
            client = await kind.client(wire.port, name="laptop").open()
            member = server.get("laptop")
            wire.target = free_port()
            wire.cut()
            await until(lambda: member.offline)
            member.send("while you were away")
            assert "laptop" in server
            wire.target = server.port
            assert ["while you were away"] == await take(client.messages, 1)
            assert member is server.get("laptop")
            await client.close()

    run_clean(talk())


def test_a_client_that_stays_away_is_forgotten(kind: Kind) -> None:
    """After `keep` seconds the server lets go of it; when it comes back it is a new member."""

    async def talk() -> None:
        async with (
            kind.server(keep=0.0, **soon_away(kind)) as server,
            Wire(server.port) as wire,
        ):
            client = await kind.client(wire.port, name="laptop").open()
            member = server.get("laptop")
            removed = asyncio.ensure_future(event(server, "remove"))
            await asyncio.sleep(0)
            wire.target = free_port()
            wire.cut()
            assert member is await removed
            wire.target = server.port
            client.send("again")
            assert "again" == (await take(server.messages, 1))[0][0]
            await client.close()

    run_clean(talk())


# --- Goodbyes -------------------------------------------------------------------------------------


def test_closing_a_client_sends_what_was_sent_and_ends_its_membership(kind: Kind) -> None:
    """A goodbye is for good: the server need not wait for this client."""

    async def talk() -> None:
        async with kind.server() as server:
            client = await kind.client(server.port, name="laptop").open()
            heard: list[Any] = []
            server.messages.listen(lambda pair: heard.append(pair[0]))
            for number in range(1_000):
                client.send(number)
            await client.close()
            await until(lambda: "laptop" not in server)
            assert list(range(1_000)) == heard
            with pytest.raises(GraphError, match="the link has ended"):
                client.send("late")
            with pytest.raises(GraphError, match="make a new one"):
                await client.open()

    run_clean(talk())


def test_a_server_can_end_a_connection_for_good(kind: Kind) -> None:
    """The client gets what was sent before, its stream ends, and it does not call again."""

    async def talk() -> None:
        async with kind.server() as server:
            client = await kind.client(server.port, name="laptop").open()
            member = server.get("laptop")
            member.send("last words")
            member.close("you talk too much")
            assert ["last words"] == [message async for message in client.messages]
            await until(lambda: client.problem)
            assert "you talk too much" in str(client.problem)
            await until(lambda: "laptop" not in server)
            await client.close()

    run_clean(talk())


def test_taking_a_connection_out_of_the_group_disconnects_it(kind: Kind) -> None:
    """Nobody can talk to a server that does not know them any more."""

    async def talk() -> None:
        async with kind.server() as server:
            client = await kind.client(server.port, name="laptop").open()
            server.remove("laptop")
            await until(lambda: client.problem)
            assert "taken out" in str(client.problem)
            await client.close()

    run_clean(talk())


def test_clients_can_be_closed_at_any_time(kind: Kind) -> None:
    """Never opened, while calling, twice: nothing is left, and who waits in `open` is told."""

    async def talk() -> None:
        await kind.client(1).close()
        calling = kind.client(free_port())
        opening = asyncio.ensure_future(calling.open())
        await until(lambda: calling.problem)
        await asyncio.gather(calling.close(), calling.close())
        with pytest.raises(GraphError, match="was closed"):
            await opening
        async with kind.server() as server:
            client = await kind.client(server.port).open()
            await asyncio.gather(client.close(), client.close())
            await client.close()

    run_clean(talk())


def test_servers_can_be_started_and_closed_again(kind: Kind) -> None:
    """Starting twice and closing twice are harmless; a closed server has no port."""

    async def talk() -> None:
        server = kind.server()
        with pytest.raises(GraphError, match="has no port yet"):
            _ = server.port
        await server.close()
        for _ in range(2):
            await server.start()
            assert await server.start() is server
            async with kind.client(server.port) as client:
                client.send("hello")
                await take(server.messages, 1)
            await server.close()
            await server.close()
            assert 0 == len(server)

    run_clean(talk())


def test_a_server_that_closes_leaves_its_clients_calling(kind: Kind) -> None:
    """Closing a server is no goodbye: its streams end, its clients wait for the next one."""

    async def talk() -> None:
        server = await kind.server().start()
        client = await kind.client(server.port, name="laptop").open()
        member = server.get("laptop")
        await server.close()
        assert [] == [message async for message in member.messages]
        await until(lambda: client.offline and client.problem)
        assert client.link.ended is None
        client.send("still there")
        await client.close()

    run_clean(talk())


def test_a_port_that_is_taken_is_named(kind: Kind) -> None:
    """The error says which port, why, and what to do."""

    async def talk() -> None:
        async with kind.server() as server:
            port = server.port
            with pytest.raises(GraphError, match=rf"port {port} of '127.0.0.1' cannot be opened"):
                await kind.server(port=port).start()
        with pytest.raises(GraphError, match="cannot be opened"):
            await kind.server(host="no such host.invalid").start()

    run_clean(talk())


@pytest.mark.parametrize("port", [-1, 65_536, "80", None])
def test_a_port_must_be_a_port(kind: Kind, port: Any) -> None:
    """Nonsense is refused when the server is made."""
    with pytest.raises(GraphError, match="a port is a number from 0"):
        kind.server(port=port)


# --- Who is let in --------------------------------------------------------------------------------


def test_authenticate_sees_the_request_and_names_the_identity(kind: Kind) -> None:
    """Headers, path, query and the remote address are there; the answer stays with the member."""
    seen: list[Request] = []

    async def authenticate(request: Request) -> dict[str, str]:
        seen.append(request)
        return {"user": request.headers["x-user"]}

    async def talk() -> None:
        async with (
            kind.server(authenticate=authenticate) as server,
            kind.client(server.port, "/room?color=red", name="laptop", headers={"X-User": "alice"}),
        ):
            assert {"user": "alice"} == server.get("laptop").identity
            [request] = seen
            assert request.path.startswith("/room")
            assert {"color": "red"} == request.query
            assert request.remote.startswith("127.0.0.1 ")

    run_clean(talk())


def refuse_by_error(_: Request) -> None:
    """Refuse as a program does that knows Cytosol."""
    raise PermissionDeniedError("the secret reason")


@pytest.mark.parametrize("authenticate", [lambda _: None, refuse_by_error])
def test_who_is_refused_is_told_at_open(kind: Kind, authenticate: Any) -> None:
    """The client learns that it was refused, not why, and stops calling."""

    async def talk() -> None:
        async with kind.server(authenticate=authenticate) as server:
            client = kind.client(server.port, "/?token=secret", name="laptop")
            with pytest.raises(GraphError, match=r"refused the authentication \(401\)") as error:
                await client.open()
            assert "secret" not in str(error.value) + client.id
            assert 0 == len(server)
            await client.close()

    run_clean(talk())


def test_an_authenticate_with_a_mistake_lets_nobody_in(kind: Kind) -> None:
    """The error is reported where the server runs, and nobody is let in."""

    def broken(request: Request) -> str:
        return request.headers["x-token"]

    async def talk() -> None:
        loop = asyncio.get_running_loop()
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with kind.server(authenticate=broken) as server:
            client = kind.client(server.port)
            with pytest.raises(GraphError, match="401"):
                await client.open()
            await client.close()
        assert [KeyError] == [type(error) for error in reported]

    run_clean(talk())


def test_a_client_that_was_let_in_once_goes_on_calling(kind: Kind) -> None:
    """A token that has run out is not the end: headers are asked for anew at each call."""
    tokens = ["good", "stale", "good"]

    def authenticate(request: Request) -> str | None:
        return "alice" if request.headers["x-token"] == "good" else None

    async def talk() -> None:
        async with kind.server(authenticate=authenticate) as server, Wire(server.port) as wire:
            headers = lambda: {"X-Token": tokens.pop(0)}  # noqa: E731  # a name for the reader
            async with kind.client(wire.port, name="laptop", headers=headers) as client:
                problems: list[Any] = []
                client.on("offline", lambda _: problems.append(client.problem))
                wire.cut()
                await until(lambda: tokens == ["good"] and client.problem)
                await until(lambda: tokens == [] and not client.offline)
                client.send("back")
                assert "back" == (await take(server.messages, 1))[0][0]

    run_clean(talk())


def test_a_web_page_may_not_connect_unless_its_site_is_named(kind: Kind) -> None:
    """Browsers let any page call a server on this machine; the Origin header tells."""

    async def talk() -> None:
        async with kind.server(origins=["https://good.example"]) as server:
            page = kind.client(server.port, headers={"Origin": "https://evil.example"})
            with pytest.raises(GraphError, match=r"does not let us in \(403\)"):
                await page.open()
            await page.close()
            headers = {"Origin": "https://good.example"}
            async with kind.client(server.port, headers=headers):
                assert 1 == len(server)

    run_clean(talk())


def test_nobody_takes_over_the_link_of_another_user(kind: Kind) -> None:
    """A link id that leaked is of no use to who is somebody else."""

    async def talk() -> None:
        async with kind.server(authenticate=lambda request: request.headers["x-user"]) as server:
            alice = await kind.client(server.port, name="pc", headers={"X-User": "alice"}).open()
            eve = kind.client(server.port, name="pc", headers={"X-User": "eve"})
            eve.link.link_id = alice.link.link_id
            eve.start()
            await until(lambda: eve.problem)
            assert "belongs to another user" in str(eve.problem)
            assert (["alice/pc"], False) == ([c.id for c in server], alice.offline)
            await eve.close()
            await alice.close()

    run_clean(talk())


def test_names_are_those_of_one_user(kind: Kind) -> None:
    """Two users may have clients of one name; where users have no names, the first has it."""

    async def talk() -> None:
        by_name = lambda request: request.headers["x-user"]  # noqa: E731  # as above
        async with kind.server(authenticate=by_name) as server:
            for user in ("alice", "eve"):
                await kind.client(server.port, name="pc", headers={"X-User": user}).open()
            assert ["alice/pc", "eve/pc"] == [connection.id for connection in server]
        by_record = lambda request: {"user": request.headers["x-user"]}  # noqa: E731
        async with kind.server(authenticate=by_record) as server:
            alice = kind.client(server.port, name="pc", headers={"X-User": "alice"})
            await alice.open()
            eve = kind.client(server.port, name="pc", headers={"X-User": "eve"})
            eve.start()
            await until(lambda: eve.problem)
            assert "another client goes by this name" in str(eve.problem)
            await eve.close()
            await alice.close()

    async def close_all() -> None:
        try:
            await talk()
        finally:
            for client in made:
                await client.close()

    made: list[Any] = []
    original = type(kind).client

    def remembering(self: Kind, *arguments: Any, **options: Any) -> Any:
        made.append(original(self, *arguments, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(kind), "client", remembering)
        run_clean(close_all())


def test_a_client_that_starts_anew_replaces_its_predecessor(kind: Kind) -> None:
    """A program that crashed and is back under its name is not taken for a second one."""

    async def talk() -> None:
        async with kind.server() as server:
            old = await kind.client(server.port, name="laptop", delays=list).open()
            member = server.get("laptop")
            new = await kind.client(server.port, name="laptop").open()
            assert member is not server.get("laptop")
            assert ["laptop"] == [connection.id for connection in server]
            await until(lambda: old.offline)
            await old.close()
            await new.close()

    run_clean(talk())


def test_a_full_server_lets_go_of_who_is_away(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses newcomers while all its clients are there."""
    monkeypatch.setattr(serving, "SERVED_MAX", 1)

    async def talk() -> None:
        async with kind.server() as server, Wire(server.port) as wire:
            first = await kind.client(wire.port, name="first").open()
            second = kind.client(server.port, name="second")
            second.start()
            await until(lambda: second.problem)
            assert any(word in str(second.problem) for word in ("all the 1 clients", "503"))
            wire.target = free_port()
            wire.cut()
            await second.open()
            assert ["second"] == [connection.id for connection in server]
            await first.close()
            await second.close()

    run_clean(talk())


# --- Slow readers, wrong addresses, missing packages ----------------------------------------------


def test_a_client_that_does_not_read_is_dropped(kind: Kind) -> None:
    """What waits for one client has a bound; the sender is told, and others go on."""

    async def talk() -> None:
        async with kind.server() as server:
            slow = await kind.client(server.port, name="slow", delays=list).open()
            good = await kind.client(server.port, name="good").open()
            for number in range(LINK_UNACKNOWLEDGED_MAX):
                server.get("slow").send(number)
            with pytest.raises(BroadcastError, match=r"slow: nothing more can be sent: 10000"):
                await server.send("one too many")
            assert ["one too many"] == await take(good.messages, 1)
            assert ["good"] == [connection.id for connection in server]
            await until(lambda: slow.offline)
            await slow.close()
            await good.close()

    run_clean(talk())


def test_what_a_client_sends_while_it_is_away_has_a_bound(kind: Kind) -> None:
    """The caller is told instead of memory being filled."""
    client = kind.client(1)
    for number in range(LINK_UNACKNOWLEDGED_MAX):
        client.send(number)
    with pytest.raises(GraphError, match="nothing more can be sent: 10000 messages"):
        client.send("one too many")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (None, "must be a text like"),
        (b"SCHEME://host", "must be a text like"),
        ("", "must begin with"),
        ("host:80", "must begin with"),
        ("ftp://host", "must begin with"),
        ("SCHEME://", "must begin with"),
        ("SCHEME:///path", "must begin with"),
        ("SCHEME://host:port", "is no address"),
        ("SCHEME://host:70000", "is no address"),
        ("SCHEME://[::1", "is no address"),
        ("SCHEME://user:password@host", "cannot hold a password"),
        ("SCHEME://host/#part", "cannot hold a password or a #fragment"),
    ],
)
def test_wrong_addresses_are_refused_at_once(kind: Kind, url: Any, why: str) -> None:
    """The error shows what an address looks like."""
    if isinstance(url, str):
        url = url.replace("SCHEME", kind.scheme)
    with pytest.raises(GraphError, match=why):
        kind.client_class(url)


def test_the_address_of_the_other_transport_is_refused(kind: Kind) -> None:
    """A WebSocket client does not call an http:// address, and the other way round."""
    other = next(other for other in KINDS if other is not kind)
    with pytest.raises(GraphError, match=rf"must begin with {kind.scheme}://"):
        kind.client_class(f"{other.scheme}://host")


def test_a_server_of_another_transport_is_no_server(kind: Kind) -> None:
    """A client that reached the wrong port says so, and stops."""
    other = next(other for other in KINDS if other is not kind)

    async def talk() -> None:
        async with other.server() as server:
            client = kind.client(server.port, delays=list)
            with pytest.raises(GraphError, match=r"is no (http|websocket) server|ended|reached"):
                await client.open()
            await client.close()

    run_clean(talk())


def test_a_missing_package_is_named(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did not install the extra is told what to install."""
    for name in ("websockets.asyncio.client", "httpx", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    for make in (lambda: kind.client(1), kind.server):
        with pytest.raises(GraphError, match=rf"install cytosol\[{kind.name}\]"):
            make()


# --- Encryption -----------------------------------------------------------------------------------


def test_connections_can_be_encrypted(kind: Kind, tmp_path: Path) -> None:
    """A certificate that is not trusted ends the calling; with the right one all goes as usual."""
    server_side, client_side = certificate(tmp_path)

    async def talk() -> None:
        async with kind.server(ssl=server_side) as server:
            url = f"{kind.scheme}s://localhost:{server.port}"
            stranger = kind.client_class(url, delays=at_once)
            with pytest.raises(GraphError, match=r"certificate of .* is not trusted"):
                await stranger.open()
            await stranger.close()
            async with kind.client_class(url, ssl=client_side, delays=at_once) as client:
                client.send("sealed")
                assert "sealed" == (await take(server.messages, 1))[0][0]

    run_clean(talk())


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate of its own, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(pem)
    return server_side, ssl.create_default_context(cafile=str(pem))


# --- Used above -------------------------------------------------------------------------------


def soon_away(kind: Kind) -> dict[str, Any]:
    """Return the options of a server that does not wait long for who was cut off between GETs."""
    return {"away_after": 0.5} if kind.name == "http" else {}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
