"""The UDP sockets on loopback: sharing a port, answering, and errors that stop nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from cytosol.limits import HEARTBEAT_BYTES_MAX
from cytosol.net.interfaces import Interface
from cytosol.net.udp import AT_ONCE_MAX, DatagramSockets, _Socket

LOOPBACK = Interface("lo", "127.0.0.1", "127.255.255.255")
PATIENCE_S = 30.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port


def everything(data: bytes, ip_address: str, now: float) -> bool:
    """Admit all there is."""
    return True


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
        peers = [DatagramSockets(port, each, everything) for each in heard]
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


def test_what_is_not_admitted_is_not_handed_on() -> None:
    """Longer ones than heartbeats are cut after one byte more, so that their length shows."""

    async def work() -> None:
        heard = Heard()
        seen: list[tuple[int, str]] = []

        def admits(data: bytes, ip_address: str, now: float) -> bool:
            seen.append((len(data), ip_address))
            return len(data) <= HEARTBEAT_BYTES_MAX

        sockets = DatagramSockets(free_port(), heard, admits)
        await sockets.open()
        await sockets.update([LOOPBACK])
        sockets.broadcast(bytes(5_000))
        sockets.broadcast(bytes(HEARTBEAT_BYTES_MAX))
        data, _, _ = await heard.next()
        assert HEARTBEAT_BYTES_MAX == len(data)
        lengths = [HEARTBEAT_BYTES_MAX + 1, HEARTBEAT_BYTES_MAX]
        assert [(length, "127.0.0.1") for length in lengths] == seen
        sockets.close()

    run(work())


class Flooded:
    """A socket that always has one datagram more; it counts how many were read."""

    def __init__(self, closes_at: int = 0) -> None:
        self.reads = 0
        self.closes_at = closes_at
        self.is_closed = False

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        assert not self.is_closed
        self.reads += 1
        self.is_closed = self.reads == self.closes_at
        return b"x", ("192.0.2.1", 9)

    def fileno(self) -> int:
        return -1 if self.is_closed else 99


def test_a_flood_at_one_socket_lets_the_loop_go_on() -> None:
    """After so many datagrams others have their turn; the loop comes back if more is there."""

    async def work() -> None:
        admitted: list[bytes] = []
        sockets = DatagramSockets(
            free_port(), lambda data, *_: admitted.append(data), lambda *_: len(admitted) < 3
        )
        flooded: Any = Flooded()
        _Socket(sockets, flooded, "").read()
        assert (AT_ONCE_MAX, 3) == (flooded.reads, len(admitted))

    run(work())


def test_a_socket_that_is_closed_by_what_it_brought_is_not_read_on() -> None:
    """As by a heartbeat at which an app closes its database."""

    async def work() -> None:
        flooded: Any = Flooded(closes_at=2)
        _Socket(DatagramSockets(free_port(), lambda *_: None, everything), flooded, "").read()
        assert 2 == flooded.reads

    run(work())


def test_a_loop_that_cannot_watch_sockets_reads_them_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows."""

    async def work() -> None:
        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        heard = Heard()
        peer = DatagramSockets(free_port(), heard, everything)
        await peer.open()
        await peer.update([LOOPBACK])
        monkeypatch.undo()
        peer.broadcast(b"hello")
        assert b"hello" == (await heard.next())[0]
        peer.close()

    run(work())


def test_an_interface_that_went_away_is_closed_and_one_that_fails_is_noted() -> None:
    """Both are tried again whenever the interfaces are looked at."""

    async def work() -> None:
        sockets = DatagramSockets(free_port(), Heard(), everything)
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
        sockets = DatagramSockets(free_port(), heard, everything)
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

        class Refused:
            def recvfrom(self, size: int) -> None:
                raise PermissionError(1, "Operation not permitted")

        sender._sock, sock = Refused(), sender._sock  # type: ignore[assignment]  # read only
        sender.read()
        sender._sock = sock
        assert "not permitted" in sockets.problems["127.0.0.1"]
        for number in range(100):
            sockets.note_problem(str(number), OSError("x"))
        assert 64 == len(sockets.problems)
        sockets.close()

    run(work())


def test_the_interface_of_the_same_network_sends() -> None:
    """Loopback speaks to loopback only, and others by the longest fit or any."""

    async def work() -> None:
        sockets = DatagramSockets(free_port(), Heard(), everything)
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
            sockets = DatagramSockets(taken.getsockname()[1], Heard(), everything)
            with pytest.raises(OSError, match="in use"):
                await sockets.open()

    run(work())
