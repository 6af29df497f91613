"""The UDP sockets on loopback: sharing a port, answering, and errors that stop nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from cytosol.limits import HEARTBEAT_BYTES_MAX
from cytosol.net.interfaces import Interface
from cytosol.net.udp import DatagramSockets

LOOPBACK = Interface("lo", "127.0.0.1", "127.255.255.255")
PATIENCE_S = 30.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port


class Heard:
    """Collects datagrams and tells when one has come."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[bytes, tuple[str, int], str]] = asyncio.Queue()

    def __call__(self, data: bytes, address: tuple[str, int], own: str) -> None:
        self.queue.put_nowait((data, address, own))

    async def next(self) -> tuple[bytes, tuple[str, int], str]:
        return await asyncio.wait_for(self.queue.get(), PATIENCE_S)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_broadcasts_reach_all_who_share_the_port_and_answers_reach_one() -> None:
    """Senders have ports of their own, which is why an answer finds its peer."""

    async def work() -> None:
        port = free_port()
        heard = [Heard(), Heard()]
        peers = [DatagramSockets(port, each) for each in heard]
        for peer in peers:
            await peer.open()
            assert await peer.update([LOOPBACK])
            assert not await peer.update([LOOPBACK])
        peers[0].broadcast(b"hello")
        data, address, own = await heard[1].next()
        assert (b"hello", "127.0.0.1", "") == (data, address[0], own)
        assert (b"hello", address, "") == await heard[0].next()
        assert port != address[1]
        peers[1].send(b"answer", address)
        data, _, own = await heard[0].next()
        assert (b"answer", "127.0.0.1") == (data, own)
        assert heard[1].queue.empty()
        for peer in peers:
            assert {} == peer.problems
            peer.close()
            peer.close()

    run(work())


def test_what_is_too_long_for_a_heartbeat_is_dropped() -> None:
    """It is not even handed on."""

    async def work() -> None:
        heard = Heard()
        sockets = DatagramSockets(free_port(), heard)
        await sockets.open()
        await sockets.update([LOOPBACK])
        sockets.broadcast(bytes(HEARTBEAT_BYTES_MAX + 1))
        sockets.broadcast(bytes(HEARTBEAT_BYTES_MAX))
        data, _, _ = await heard.next()
        assert HEARTBEAT_BYTES_MAX == len(data)
        sockets.close()

    run(work())


def test_an_interface_that_went_away_is_closed_and_one_that_fails_is_noted() -> None:
    """Both are tried again whenever the interfaces are looked at."""

    async def work() -> None:
        sockets = DatagramSockets(free_port(), Heard())
        await sockets.open()
        foreign = Interface("gone0", "192.0.2.1", "192.0.2.255")
        assert await sockets.update([LOOPBACK, foreign])
        assert ["192.0.2.1"] == list(sockets.problems)
        assert not await sockets.update([LOOPBACK, foreign])
        assert not await sockets.update([foreign])
        assert await sockets.update([LOOPBACK])
        sockets.close()

    run(work())


def test_send_errors_are_noted_and_forgotten_when_it_works_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ENETUNREACH and the like never stop the loop."""

    async def work() -> None:
        heard = Heard()
        sockets = DatagramSockets(free_port(), heard)
        await sockets.open()
        await sockets.update([LOOPBACK])
        sender = next(iter(sockets._senders.values()))

        class Failing:
            def sendto(self, data: bytes, address: tuple[str, int]) -> None:
                raise OSError(101, "Network is unreachable")

            def close(self) -> None:
                sender.close()

        sockets._senders[LOOPBACK] = Failing()  # type: ignore[assignment]  # it only sends
        sockets.broadcast(b"x")
        assert "unreachable" in sockets.problems["127.0.0.1"]
        sockets._senders[LOOPBACK] = sender
        sockets.broadcast(b"y")
        assert {} == sockets.problems
        endpoint = sender.get_protocol()
        endpoint.error_received(PermissionError(1, "Operation not permitted"))
        assert "not permitted" in sockets.problems["127.0.0.1"]
        for number in range(100):
            sockets.note_problem(str(number), OSError("x"))
        assert 64 == len(sockets.problems)
        sockets.close()

    run(work())


def test_the_interface_of_the_same_network_sends() -> None:
    """Loopback speaks to loopback only, and others by the longest fit or any."""

    async def work() -> None:
        sockets = DatagramSockets(free_port(), Heard())
        await sockets.open()
        one, two = (
            Interface("a", "10.0.1.5", "10.0.1.255"),
            Interface("b", "10.0.2.5", "10.0.2.255"),
        )
        senders: dict[Interface, Any] = {LOOPBACK: "lo", one: "a", two: "b"}
        sockets._senders = senders
        assert "lo" == sockets._sender_for("127.0.0.1")
        assert "a" == sockets._sender_for("10.0.1.77")
        assert "b" == sockets._sender_for("10.0.2.77")
        assert sockets._sender_for("8.8.8.8") in ("a", "b")
        assert sockets._sender_for("no address") in ("a", "b")
        sockets._senders = {}
        assert sockets._receiver is sockets._sender_for("10.0.1.77")
        sockets.close()
        sockets.send(b"x", ("127.0.0.1", 9))

    run(work())


def test_a_taken_port_is_an_error_and_leaves_no_socket() -> None:
    """Another program that does not share it."""

    async def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("", 0))
            sockets = DatagramSockets(taken.getsockname()[1], Heard())
            with pytest.raises(OSError, match="in use"):
                await sockets.open()

    run(work())
