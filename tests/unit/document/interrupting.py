"""Ctrl-C at a chosen place: wherever CPython may run a signal's handler in this package.

It looks for signals when a function begins, after a call, and when a loop goes round.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import cytosol

PACKAGE = str(Path(cytosol.__file__).parent)
LOOKS_AFTER = ("CALL", "JUMP_BACKWARD")


@cache
def stops_of(code: CodeType) -> frozenset[int]:
    """Return the offsets of instructions behind which CPython looks for signals."""
    found = dis.get_instructions(code)
    return frozenset(one.offset for one in found if one.opname.startswith(LOOKS_AFTER))


class CtrlC:
    """Raises KeyboardInterrupt, or what another handler might, at the place with a number."""

    def __init__(self, at: int, raises: type[BaseException] = KeyboardInterrupt) -> None:
        self.places = 0
        self.where = ""
        self.may_get_lost = False
        self._raises = raises
        self._at = at
        self._last: dict[FrameType, int] = {}

    def during(self, call: Callable[[], Any]) -> bool:
        """Call something; return whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._begin)
        try:
            call()
        except self._raises:
            return True
        finally:
            sys.settrace(before)
        return False

    def _begin(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self._pass(frame)
        return self._go_on

    def _go_on(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            last = self._last.get(frame)
            self._last[frame] = frame.f_lasti
            if last in stops_of(frame.f_code):
                self._pass(frame)
        elif event == "return":
            self._last.pop(frame, None)
        return self._go_on

    def _pass(self, frame: FrameType) -> None:
        self.places += 1
        if self.places == self._at + 1:
            # Python only reports what is raised in a generator that it closes, and goes on.
            self.may_get_lost = bool(frame.f_code.co_flags & inspect.CO_GENERATOR)
            self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            raise self._raises
