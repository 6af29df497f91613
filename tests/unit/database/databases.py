"""Databases for tests: without the network unless a test wants it."""

from __future__ import annotations

import threading
import uuid
from typing import Any, TypeVar

import cytosol

APP_ID = "7d9f0c7e-5a52-4a6b-9d9f-1f3f6b0e2c11"

T = TypeVar("T")


def open_alone(save_state: Any = None, **options: Any) -> cytosol.Database:
    """Open a database that has no network."""
    return cytosol.open(save_state, **{"app_id": APP_ID, "network": False, **options})


def new_app_id() -> str:
    """Return an app id that nobody else uses, so that tests do not meet each other."""
    return str(uuid.uuid4())


class Heard:
    """A callback that keeps what it hears and lets a test wait for it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, value: Any) -> None:
        with self._changed:
            self.calls.append(value)
            self._changed.notify_all()

    def wait_for(self, wanted: Any, timeout_s: float = 30.0) -> None:
        """Return as soon as the last thing heard is `wanted`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls[-1:] == [wanted], timeout_s):
                raise AssertionError(f"{wanted!r} was not heard; last were {self.calls[-3:]!r}")

    def wait_for_one(self, timeout_s: float = 30.0) -> Any:
        """Return the first thing heard."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self.calls), timeout_s):
                raise AssertionError("nothing was heard")
            return self.calls[0]
