"""Things that begin when they are called, and can be awaited or not.

Reads, writes and commits take effect when they are called (spec: graph, API). Their steps are
coroutines that run at once, in the caller, for as long as nothing must be waited for. At the
first `await become_task()` the rest moves into a task of its own, so that nothing written by
others ever runs inside the caller's task, where a timeout would hit the wrong one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, Generic, TypeVar

from cytosol.errors import GraphError

__all__ = [
    "Begun",
    "Done",
    "Turns",
    "become_task",
    "begin",
    "failed",
    "is_awaitable",
    "outcome",
]

T = TypeVar("T")

_MOVE: Final = object()


class Done(Generic[T]):
    """An awaitable that is done: `value` is the result. Needs no event loop."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, T]:
        return self.value
        yield  # makes this a generator, as awaiting demands


class Begun(Generic[T]):
    """An awaitable whose task goes on when the one who waits for it is cancelled."""

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.shield(self.task).__await__()


def is_awaitable(value: object) -> bool:
    """Tell whether `value` must be awaited: a coroutine, a future or the like."""
    return hasattr(type(value), "__await__")


@coroutine
def become_task() -> Generator[Any, None, None]:
    """Go on in a task of one's own; do this before awaiting what others have written."""
    yield _MOVE


async def outcome(value: Any) -> Any:
    """Return what a plugin's method returned, awaited if it must be."""
    if type(value) is Done:  # known to be done: no task is needed for that
        return value.value
    if is_awaitable(value):
        await become_task()
        return await value
    return value


def begin(steps: Coroutine[Any, Any, T], running: set[asyncio.Task[Any]]) -> Awaitable[T]:
    """Run `steps` as far as they go at once, the rest in a task that `running` keeps alive.

    Whatever they raise comes to the one who awaits the result. Nobody does: then the event
    loop's exception handler hears of it. Without an event loop errors are raised here.
    """
    try:
        steps.send(None)  # they stop nowhere but in become_task
    except StopIteration as stop:
        return Done(stop.value)
    except Exception as error:
        return failed(error)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        steps.throw(_no_loop())
        raise AssertionError("steps must not go on after an error") from None
    task = loop.create_task(_carry_on(steps))
    running.add(task)
    task.add_done_callback(running.discard)
    task.add_done_callback(lambda _: steps.close())  # one cancelled before it began never ran
    return Begun(task)


def failed(error: Exception) -> Awaitable[Any]:
    """Return an awaitable that raises `error`; raise it here where there is no event loop."""
    try:
        failed = asyncio.get_running_loop().create_future()
    except RuntimeError:
        raise error from None
    failed.set_exception(error)
    return failed


def _no_loop() -> GraphError:
    return GraphError(
        "this graph has plugins or hooks that must be awaited: use it inside a running event loop, "
        "for example in a function that `asyncio.run` runs"
    )


async def _carry_on(steps: Coroutine[Any, Any, T]) -> T:
    return await _resume(steps)


@coroutine
def _resume(steps: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Drive steps that have begun; inside the task, moving into a task means nothing."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            waited = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answer = error = None
        if waited is not _MOVE:
            try:
                answer = yield waited
            except BaseException as raised:
                error = raised


class Turns:
    """Let one at a time, in the order of their coming."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_free(self) -> bool:
        """Whether nobody has the turn, and so nobody waits."""
        return not self._taken

    async def take(self) -> None:
        """Take the turn when all who came before have had theirs."""
        if not self._taken:
            self._taken = True
            return
        try:
            turn = asyncio.get_running_loop().create_future()
        except RuntimeError:
            raise _no_loop() from None
        self._waiting.append(turn)
        try:
            await become_task()
            await turn
        except BaseException:
            if not turn.cancel() and not turn.cancelled():  # it was our turn already
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
