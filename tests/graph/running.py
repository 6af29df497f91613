"""Run one coroutine of a test in a loop of its own, and let nothing that failed go unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_S = 30.0  # a test that hangs fails


def run(coroutine: Coroutine[Any, Any, T], patience_s: float = PATIENCE_S) -> T:
    """Return what `coroutine` returns; fail if an error was left to the loop's handler."""
    unseen: list[dict[str, Any]] = []

    async def guarded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        return await asyncio.wait_for(coroutine, patience_s)

    result = asyncio.run(guarded())
    assert not unseen, f"errors that nobody awaited: {unseen}"
    return result
