"""The thread that owns an event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import types

import pytest

from cytosol.errors import NetworkError
from cytosol.net import background
from cytosol.net.background import BackgroundLoop


def test_work_runs_in_the_other_thread() -> None:
    """Coroutines, calls and posts; errors come back to who called."""
    loop = BackgroundLoop("test-loop")
    loop.start()
    try:

        async def who() -> str:
            return threading.current_thread().name

        assert "test-loop" == loop.run(who())
        assert "test-loop" == loop.call(lambda: threading.current_thread().name)
        assert loop.call(lambda: loop.call(lambda: loop.is_current))
        assert not loop.is_current
        with pytest.raises(ZeroDivisionError):
            loop.call(lambda: 1 // 0)
        posted = threading.Event()
        loop.post(posted.set)
        assert posted.wait(30.0)
    finally:
        loop.stop()
    loop.post(posted.clear)
    loop.stop()
    assert posted.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="signals go to threads on POSIX only")
def test_an_interrupt_that_wakes_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that comes just before the caller begins to wait: here another thread gets it."""
    monkeypatch.setattr(background, "SIGNAL_CHECK_S", 0.01)
    loop = BackgroundLoop("test-loop")
    loop.start()

    working: list[asyncio.Task[None]] = []

    async def interrupt() -> None:
        task = asyncio.current_task()
        assert task is not None
        working.append(task)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        await asyncio.sleep(30.0)

    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run(interrupt())
        assert not working[0].done(), "the interrupt was noticed only when all was over"
        loop.call(working[0].cancel)
        loop.run(asyncio.sleep(0))
    finally:
        loop.stop()


def test_a_call_into_a_loop_that_stops_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(background, "ALIVE_CHECK_S", 0.01)
    loop = BackgroundLoop("test-loop")
    loop.start()
    caller_waits = threading.Event()

    def hold() -> None:
        caller_waits.wait(30.0)
        loop._loop.stop()

    loop.post(hold)
    post = loop._loop.call_soon_threadsafe

    def notice(callback: object, *args: object) -> object:
        handle = post(lambda: None)  # the call itself is lost on the way
        caller_waits.set()
        return handle

    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", notice)
    with pytest.raises(NetworkError, match="stopped meanwhile"):
        loop.call(lambda: None)
    monkeypatch.undo()
    loop.stop()


def test_posting_to_a_broken_loop_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a closed loop is silent."""
    loop = BackgroundLoop("test-loop")

    def fail(callback: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", fail)
    with pytest.raises(RuntimeError, match="something else"):
        loop.post(lambda: None)
    loop._loop.close()


def test_uvloop_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does without where it is not."""
    fake = types.ModuleType("uvloop")
    made = asyncio.new_event_loop()
    fake.new_event_loop = lambda: made  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "uvloop", fake)
    assert made is background._new_loop()
    made.close()
    monkeypatch.setitem(sys.modules, "uvloop", None)
    plain = background._new_loop()
    assert isinstance(plain, asyncio.AbstractEventLoop)
    plain.close()
