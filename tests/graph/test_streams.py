"""Streams: lazy, not remembered, and no listener can spoil the message for another."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cytosol.errors import GraphError
from cytosol.graph.connection import Stream
from cytosol.limits import STREAM_WAITING_MAX
from tests.graph.running import run


class Source:
    """A publisher whose emissions a test makes by hand, and which counts."""

    def __init__(self) -> None:
        self.emit: Callable[[Any], None] = lambda value: None
        self.opened = 0
        self.closed = 0

    def __call__(self, emit: Callable[[Any], None]) -> Callable[[], None]:
        self.opened += 1
        self.emit = emit

        def dispose() -> None:
            self.closed += 1

        return dispose


def test_a_stream_is_open_while_somebody_listens() -> None:
    """The first listener opens it, the last one closes it, the next one opens it again."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    assert 0 == source.opened
    one = stream.listen(heard.append)
    two = stream.listen(heard.append)
    one.cancel()
    assert (1, 0) == (source.opened, source.closed)
    source.emit(1)
    two.cancel()
    assert (1, 1) == (source.opened, source.closed)
    stream.listen(heard.append)
    source.emit(2)
    assert (2, 1) == (source.opened, source.closed)
    assert [1, 2] == heard


def test_every_listener_gets_every_value_in_the_order_of_listening() -> None:
    """Listeners are called one after another."""
    source, heard = Source(), []
    stream: Stream[str] = Stream(source)
    stream.listen(lambda value: heard.append(f"first {value}"))
    stream.listen(lambda value: heard.append(f"second {value}"))
    source.emit("a")
    assert ["first a", "second a"] == heard


def test_a_listener_that_raises_keeps_nobody_from_the_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it raised is logged where no loop runs, and the emitter does not see it."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)

    def broken(value: int) -> None:
        raise RuntimeError("boom")

    stream.listen(broken)
    stream.listen(heard.append)
    with caplog.at_level(logging.ERROR, "cytosol"):
        source.emit(1)
    assert [1] == heard
    assert "a callback of a stream raised" in caplog.text
    assert "boom" in caplog.text


def test_what_a_listener_raises_reaches_the_handler_of_the_loop() -> None:
    """An app finds its mistakes where it finds all others of asyncio."""

    async def main() -> list[Any]:
        seen: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        source = Source()
        stream: Stream[int] = Stream(source)
        stream.listen(lambda value: 1 // value)
        source.emit(0)
        return seen

    [error] = run(main())
    assert isinstance(error, ZeroDivisionError)


def test_the_same_callback_twice_is_two_subscriptions() -> None:
    """Each has its own end."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    one = stream.listen(heard.append)
    stream.listen(heard.append)
    source.emit(1)
    one.cancel()
    source.emit(2)
    assert [1, 1, 2] == heard


def test_cancelling_twice_is_harmless() -> None:
    """The publisher is stopped once."""
    source = Source()
    stream: Stream[int] = Stream(source)
    subscription = stream.listen(print)
    subscription.cancel()
    subscription.cancel()
    assert 1 == source.closed


def test_cancelling_twice_does_not_end_another_subscription() -> None:
    """Also if both have the same callback."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    one = stream.listen(heard.append)
    stream.listen(heard.append)
    one.cancel()
    one.cancel()
    source.emit(1)
    assert [1] == heard


def test_a_listener_cancelled_by_another_one_does_not_get_the_value() -> None:
    """From the moment of `cancel` on, a callback is not called."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    stream.listen(lambda value: later.cancel())
    later = stream.listen(heard.append)
    source.emit(1)
    assert [] == heard


def test_a_listener_that_comes_during_a_value_gets_the_next_one() -> None:
    """And it does not open the stream again."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    stream.listen(lambda value: value == 1 and stream.listen(heard.append))
    source.emit(1)
    source.emit(2)
    assert [2] == heard
    assert 1 == source.opened


def test_values_emitted_while_the_stream_opens_reach_the_first_listener() -> None:
    """A listener that comes then does not open it a second time."""
    opened, heard = [], []

    def publisher(emit: Callable[[int], None]) -> None:
        opened.append(1)
        emit(1)

    stream: Stream[int] = Stream(publisher)

    def callback(value: int) -> None:
        heard.append(value)
        stream.listen(heard.append)

    stream.listen(callback)
    assert ([1], [1]) == (opened, heard)


def test_leaving_while_the_stream_opens_stops_the_publisher() -> None:
    """Its dispose function is known only after the last listener has gone."""
    closed = []

    def publisher(emit: Callable[[int], None]) -> Callable[[], None]:
        emit(1)
        return lambda: closed.append(1)

    stream: Stream[int] = Stream(publisher)
    stream.listen(lambda value: stream.complete())
    assert [1] == closed


def test_what_an_earlier_opening_emits_is_not_heard() -> None:
    """A publisher that cannot be stopped does not double values when it is opened again."""
    emitters: list[Callable[[int], None]] = []
    stream: Stream[int] = Stream(emitters.append)
    stream.listen(print).cancel()
    heard: list[int] = []
    stream.listen(heard.append)
    for emit in emitters:
        emit(1)
    assert [1] == heard


def test_emitting_to_nobody_is_harmless() -> None:
    """A publisher need not know whether somebody listens."""
    source = Source()
    stream: Stream[int] = Stream(source)
    stream.listen(print).cancel()
    source.emit(1)
    assert "<Stream, not open, 0 listening>" == repr(stream)


def test_a_publisher_that_cannot_open_tells_the_listener() -> None:
    """The stream stays closed, and the next listener tries again."""
    attempts = []

    def publisher(emit: Callable[[int], None]) -> None:
        attempts.append(1)
        raise OSError("no such thing")

    stream: Stream[int] = Stream(publisher)
    for _ in range(2):
        with pytest.raises(OSError, match="no such thing"):
            stream.listen(print)
    assert 2 == len(attempts)
    assert "0 listening" in repr(stream)


def test_a_publisher_that_cannot_be_stopped_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Who cancels cannot do anything about it."""

    def dispose() -> None:
        raise RuntimeError("stuck")

    stream: Stream[int] = Stream(lambda emit: dispose)
    stream.listen(print).cancel()
    assert "raised when it was stopped" in caplog.text


def test_a_complete_stream_stays_complete() -> None:
    """Nobody is called any more, the publisher is stopped once and never opened again."""
    source, heard = Source(), []
    stream: Stream[int] = Stream(source)
    subscription = stream.listen(heard.append)
    assert not stream.is_complete
    stream.complete()
    stream.complete()
    source.emit(1)
    subscription.cancel()
    stream.listen(heard.append).cancel()
    source.emit(2)
    assert stream.is_complete
    assert ([], 1, 1) == (heard, source.opened, source.closed)
    assert "<Stream, complete, 0 listening>" == repr(stream)


@pytest.mark.parametrize("wrong", [None, "X", 5])
def test_a_stream_needs_a_publisher(wrong: Any) -> None:
    """The error names what was given."""
    with pytest.raises(GraphError, match=f"not {wrong!r}"):
        Stream(wrong)


def test_a_publisher_returns_a_function_or_nothing() -> None:
    """Another thing is a mistake that would show only much later."""
    stream: Stream[int] = Stream(lambda emit: 5)  # type: ignore[arg-type,return-value]  # wrong
    with pytest.raises(GraphError, match="not 5"):
        stream.listen(print)


def test_callbacks_are_plain_functions() -> None:
    """An async function would be called and never run."""
    stream: Stream[int] = Stream(lambda emit: None)

    async def callback(value: int) -> None: ...

    with pytest.raises(GraphError, match="async function and would never run"):
        stream.listen(callback)
    with pytest.raises(GraphError, match="must be a function, not 5"):
        stream.listen(5)  # type: ignore[arg-type]  # that is the point


# --- async for --------------------------------------------------------------------------------


def test_a_stream_can_be_read_by_async_for() -> None:
    """Values that come faster than they are read wait; completing ends the loop."""

    async def main() -> list[int]:
        source, heard = Source(), []
        stream: Stream[int] = Stream(source)
        values = aiter(stream)
        source.emit(1)
        source.emit(2)
        asyncio.get_running_loop().call_soon(source.emit, 3)
        async for value in values:
            heard.append(value)
            if value == 3:
                stream.complete()
        return heard

    assert [1, 2, 3] == run(main())


def test_leaving_the_loop_stops_listening() -> None:
    """`break` closes the stream at once."""

    async def main() -> int:
        source = Source()
        stream: Stream[int] = Stream(source)
        asyncio.get_running_loop().call_soon(source_emit := lambda: source.emit(1))
        async for _ in stream:
            break
        source_emit()
        gc.collect()
        return source.closed

    assert 1 == run(main())


def test_a_complete_stream_reads_as_empty() -> None:
    """The loop ends before it begins."""

    async def main() -> list[int]:
        stream: Stream[int] = Stream(lambda emit: None)
        stream.complete()
        return [value async for value in stream]

    assert [] == run(main())


def test_a_cancelled_reader_can_go_on() -> None:
    """A timeout around one step loses no value."""

    async def main() -> int:
        source = Source()
        reader = aiter(Stream(source))
        step = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        source.emit(7)
        return await anext(reader)

    assert 7 == run(main())


def test_a_closed_reader_ends_also_while_it_waits() -> None:
    """What had come can still be read."""

    async def main() -> list[int]:
        source = Source()
        reader = aiter(Stream(source))
        source.emit(1)
        asyncio.get_running_loop().call_soon(reader.close)
        return [value async for value in reader]

    assert [1] == run(main())


def test_a_reader_that_falls_too_far_behind_is_told() -> None:
    """STREAM_WAITING_MAX values wait; they are read before the error."""

    async def main() -> int:
        source = Source()
        reader = aiter(Stream(source))
        for number in range(STREAM_WAITING_MAX + 2):
            source.emit(number)
        for number in range(STREAM_WAITING_MAX):
            assert number == await anext(reader)
        with pytest.raises(GraphError, match="10000 values behind"):
            await anext(reader)
        assert [] == [value async for value in reader]
        return source.closed

    assert 1 == run(main())


def test_two_tasks_cannot_share_a_reader() -> None:
    """Each would get some of the values."""

    async def main() -> None:
        reader = aiter(Stream(Source()))
        first = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        with pytest.raises(GraphError, match="two tasks read from one reader"):
            await anext(reader)
        reader.close()
        with pytest.raises(StopAsyncIteration):
            await first

    run(main())
