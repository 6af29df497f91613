"""The driver with a machine that follows a script: every effect, every failure of the system."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cytosol.net import driver as driver_module
from cytosol.net.driver import Driver
from cytosol.net.runner import JOINED_BYTES_MAX
from cytosol.net.udp import DatagramSockets
from cytosol.protocol.effects import (
    Close,
    Connect,
    Emit,
    Listen,
    Send,
    SendDatagram,
    StopListening,
)
from cytosol.protocol.events import GraphTaken
from cytosol.protocol.inputs import (
    ListenFailed,
    Started,
    TcpAccepted,
    TcpClosed,
    TcpConnected,
    TcpData,
    TcpFailed,
    TcpListening,
    WallClock,
)

PATIENCE_S = 30.0


class ScriptMachine:
    """Notes inputs, and wants done what the test appends to `wanted`."""

    def __init__(self) -> None:
        self.wanted: list[Any] = []
        self.inputs: asyncio.Queue[Any] = asyncio.Queue()
        self.deadline: float | None = None
        self.on_timer: Callable[[float], None] = lambda now: None
        self.abandoned: list[int] = []

    def receive(self, event: Any, now: float) -> None:
        self.inputs.put_nowait(event)

    def handle_timer(self, now: float) -> None:
        self.deadline = None
        self.on_timer(now)

    def next_deadline(self) -> float | None:
        return self.deadline

    def take_effects(self) -> list[Any]:
        effects, self.wanted = self.wanted, []
        return effects

    def stop(self, now: float) -> None:
        self.inputs.put_nowait("stop")

    def local_changes(self, now: float) -> None:
        self.inputs.put_nowait("changes")

    def want(self, *effects: Any, now: float = 0.0) -> None:
        """A command that wants effects done."""
        self.wanted += effects

    def abandon(self, connection_id: int, reason: str, now: float) -> None:
        self.abandoned.append(connection_id)
        raise LookupError("and another mistake")

    def peers(self) -> list[Any]:
        return []

    async def next(self, kind: type) -> Any:
        """Return the next input, which must be of a kind."""
        event = await asyncio.wait_for(self.inputs.get(), PATIENCE_S)
        assert isinstance(event, kind), event
        return event


class Stage:
    """A driver with its machine, opened."""

    def __init__(self) -> None:
        self.machine = ScriptMachine()
        self.events: list[object] = []
        self.emit: Callable[[object], None] = self.events.append
        self.driver = Driver(
            self.machine,  # type: ignore[arg-type]  # as much of a machine as the driver needs
            0,
            lambda event: self.emit(event),
            loopback=True,
            admits=lambda data, ip_address, now: True,
        )

    async def open(self) -> int:
        port = await self.driver.open()
        await self.machine.next(WallClock)
        assert port == (await self.machine.next(Started)).gateway_port
        return port

    def want(self, *effects: Any) -> None:
        self.machine.wanted += effects
        self.driver._obey()


def play(scene: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Run a scene with an open driver, and close it."""

    async def work() -> None:
        stage = Stage()
        await stage.open()
        try:
            await scene(stage)
        finally:
            await stage.driver.close()
            await stage.driver.close()

    asyncio.run(work())


def test_streams_are_dialled_used_and_closed() -> None:
    """To our own gateway: both ends report."""

    async def scene(stage: Stage) -> None:
        machine = stage.machine
        port = stage.driver._gateway.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # open
        stage.want(Connect(1, "127.0.0.1", port))
        first = await machine.next(TcpAccepted | TcpConnected)  # type: ignore[arg-type]  # a union
        second = await machine.next(TcpAccepted | TcpConnected)  # type: ignore[arg-type]  # a union
        accepted = first if isinstance(first, TcpAccepted) else second
        assert (None, "127.0.0.1") == (accepted.listener_id, accepted.ip_address)
        stage.want(Send(1, b"hello"), Send(99, b"nobody"))
        assert TcpData(accepted.connection_id, b"hello") == await machine.next(TcpData)
        stage.want(Close(1, "enough"), Close(1, "again"), Close(99, "nobody"))
        closed = await machine.next(TcpClosed)
        assert accepted.connection_id == closed.connection_id

    play(scene)


def test_a_dial_that_fails_is_reported() -> None:
    """Refused at once, or hanging too long."""

    async def scene(stage: Stage) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            stage.want(Connect(1, "127.0.0.1", port))
            failed = await stage.machine.next(TcpFailed)
        assert 1 == failed.connection_id
        assert "127.0.0.1" in failed.reason

    play(scene)


def test_a_dial_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By time, or because the machine closes it."""
    monkeypatch.setattr(driver_module, "CONNECT_TIMEOUT_S", 0.01)

    async def scene(stage: Stage) -> None:
        async def hang(*args: Any, **kwargs: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
        stage.want(Connect(1, "192.0.2.1", 9))
        assert 1 == (await stage.machine.next(TcpFailed)).connection_id
        monkeypatch.setattr(driver_module, "CONNECT_TIMEOUT_S", 1_000.0)
        stage.want(Connect(2, "192.0.2.1", 9), Connect(3, "192.0.2.1", 9), Close(2, "never mind"))
        await asyncio.sleep(0)
        assert [3] == list(stage.driver._tasks)

    play(scene)


def test_listeners_open_accept_and_close() -> None:
    """On a fresh port; connections say which listener they came to."""

    async def scene(stage: Stage) -> None:
        machine = stage.machine
        stage.want(Listen(5))
        listening = await machine.next(TcpListening)
        assert 5 == listening.listener_id
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        assert 5 == (await machine.next(TcpAccepted)).listener_id
        stage.want(StopListening(5), StopListening(5))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", listening.port)
        writer.close()
        await machine.next(TcpClosed)
        # One that is not wanted any more before it is open, and one that stays to the end.
        stage.want(Listen(6), StopListening(6), Listen(7))
        assert 7 == (await machine.next(TcpListening)).listener_id
        assert [7] == list(stage.driver._listeners)

    play(scene)


def test_a_listener_that_cannot_open_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more descriptors, for one."""

    async def scene(stage: Stage) -> None:
        async def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_server", fail)
        stage.want(Listen(5))
        failed = await stage.machine.next(ListenFailed)
        assert 5 == failed.listener_id
        assert "Too many open files" in failed.reason

    play(scene)


def test_a_gateway_that_cannot_open_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error goes to who opens, and everything is closed again."""

    async def work() -> None:
        async def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_server", fail)
        stage = Stage()
        with pytest.raises(OSError, match="Too many open files"):
            await stage.driver.open()
        assert stage.driver._sockets._receiver is None

    asyncio.run(work())


def test_interfaces_that_cannot_be_read_at_the_start_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway is closed again."""

    async def work() -> None:
        async def fail(self: DatagramSockets, interfaces: object) -> bool:
            raise OSError("no interfaces")

        monkeypatch.setattr(DatagramSockets, "update", fail)
        stage = Stage()
        with pytest.raises(OSError, match="no interfaces"):
            await stage.driver.open()
        assert stage.driver._gateway is not None
        assert not stage.driver._gateway.is_serving()

    asyncio.run(work())


def test_timers_fire_and_stop() -> None:
    """The machine's deadline is the only timer there is."""

    async def scene(stage: Stage) -> None:
        fired = asyncio.Event()
        stage.machine.on_timer = lambda now: fired.set()
        stage.machine.deadline = asyncio.get_running_loop().time()
        stage.driver._obey()
        await asyncio.wait_for(fired.wait(), PATIENCE_S)
        assert stage.driver._timer is None
        stage.machine.deadline = asyncio.get_running_loop().time() + 1_000.0
        stage.driver._obey()
        assert stage.driver._timer is not None

    play(scene)


def test_a_timer_that_comes_early_is_left() -> None:
    """It looks again then; only an earlier deadline, or none at all, takes its place."""

    async def scene(stage: Stage) -> None:
        now = asyncio.get_running_loop().time()

        def timer_for(deadline: float | None) -> asyncio.TimerHandle | None:
            stage.machine.deadline = deadline
            stage.driver._obey()
            return stage.driver._timer

        first = timer_for(now + 1_000.0)
        assert first is timer_for(now + 2_000.0)
        earlier = timer_for(now + 500.0)
        assert earlier is not None
        assert earlier is not first
        assert earlier.when() == now + 500.0
        assert timer_for(None) is None

    play(scene)


def test_short_pieces_for_one_stream_are_sent_as_one() -> None:
    """In their order, and with nothing in between; long ones are not copied."""
    sent: list[Send] = []
    long = bytes(JOINED_BYTES_MAX)

    async def scene(stage: Stage) -> None:
        stage.driver._do = sent.append  # type: ignore[assignment,method-assign]
        stage.want(Send(1, b"a"), Send(1, b"b"), Send(2, b"c"), Emit(GraphTaken("p", (1, 1, 1))))
        stage.want(Send(1, b"d"), Send(1, long), Send(1, b"e"))

    play(scene)
    assert [Send(1, b"ab"), Send(2, b"c"), Send(1, b"d"), Send(1, long), Send(1, b"e")] == sent


def test_a_timer_that_fails_does_not_run_hot() -> None:
    """A mistake in it is noted, and the next time is a second later."""

    async def scene(stage: Stage) -> None:
        failed = asyncio.Event()

        def fail(now: float) -> None:
            stage.machine.deadline = now
            failed.set()
            raise ZeroDivisionError("a bug")

        stage.machine.on_timer = fail
        stage.machine.deadline = asyncio.get_running_loop().time()
        stage.driver._obey()
        await asyncio.wait_for(failed.wait(), PATIENCE_S)
        assert ["ZeroDivisionError: a bug"] == list(stage.driver.problems)
        timer = stage.driver._timer
        assert timer is not None
        assert timer.when() > asyncio.get_running_loop().time() + 0.5

    play(scene)


def test_mistakes_cost_a_connection_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """In taking an input, in abandoning its connection, in obeying, in the app's listener."""

    async def scene(stage: Stage) -> None:
        def fail(event: Any, now: float = 0.0) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(stage.machine, "receive", fail)
        stage.driver.feed(TcpData(4, b"x"))
        assert [4] == stage.machine.abandoned
        monkeypatch.undo()
        stage.emit = fail
        stage.want(Emit("event"), SendDatagram(b"x", ("127.0.0.1", 70_000)), Emit("event"))
        assert [
            "ZeroDivisionError: a bug",
            "LookupError: and another mistake",
            "a listener failed: ZeroDivisionError: a bug",
        ] == list(stage.driver.problems)[:3]
        assert "a listener failed" in stage.driver.problems[-1]
        assert {} == stage.driver.send_problems

    play(scene)


def test_commands_from_inside_events_wait_their_turn() -> None:
    """Effects of the command come after those under way."""

    async def scene(stage: Stage) -> None:
        told: list[object] = []

        def emit(event: object) -> None:
            told.append(event)
            if event == "first":
                stage.driver.command("want", Emit("third"))

        stage.emit = emit
        stage.machine.want = lambda effect, now: stage.machine.wanted.append(effect)  # type: ignore[method-assign,assignment]  # a command takes the time last
        stage.want(Emit("first"), Emit("second"))
        assert ["first", "second", "third"] == told
        stage.driver.local_changes()
        assert "changes" == await asyncio.wait_for(stage.machine.inputs.get(), PATIENCE_S)

    play(scene)


def test_messages_of_graphs_are_no_reason_to_list_the_peers() -> None:
    """There are many of them, and they change nothing there; commands about them never raise."""

    async def scene(stage: Stage) -> None:
        told: list[object] = []
        looks: list[int] = []

        def peers() -> list[Any]:
            looks.append(1)
            return []

        stage.emit = told.append
        stage.machine.peers = peers  # type: ignore[method-assign]  # counts
        taken = GraphTaken("a peer", (1, 1, 1))
        stage.want(Emit(taken))
        assert ([taken], []) == (told, looks)
        stage.want(Emit("another event"))
        assert [1] == looks
        stage.driver.graph_command("want", Emit(taken))
        stage.driver.graph_command("no such method")
        assert "no such method" in stage.driver.problems[-1]

    play(scene)


def test_closing_waits_a_little_for_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for ever for who does not read them; afterwards nothing is taken."""
    monkeypatch.setattr(driver_module, "FAREWELL_S", 0.05)

    async def work() -> None:
        stage = Stage()
        port = await stage.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        accepted = await stage.machine.next(TcpAccepted)
        writer.transport.pause_reading()
        for _ in range(100):
            stage.want(Send(accepted.connection_id, bytes(200_000)))
        stage.machine.deadline = asyncio.get_running_loop().time() + 1_000.0
        stage.driver._obey()
        await stage.driver.close()
        assert "stop" == await asyncio.wait_for(stage.machine.inputs.get(), PATIENCE_S)
        stage.driver.feed(TcpFailed(1, "late"))
        assert stage.machine.inputs.empty()
        writer.close()
        assert reader is not None

    asyncio.run(work())
