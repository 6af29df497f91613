"""Where a peer in the terminal writes: for people, for scripts, or as JSON lines.

Lines come from two threads, the one that reads commands and the one that calls back, so each is
written whole and at once. In a terminal what happens meanwhile is written above the prompt.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from cytosol.cli.exits import exit_code, sentence
from cytosol.cli.text import json_text
from cytosol.model.json import JsonValue

__all__ = ["JsonScreen", "PlainScreen", "Screen", "TerminalScreen"]

PROMPT = "cytosol> "


class Screen(Protocol):
    """Shows answers, errors and events, and reads commands."""

    def lines(self) -> Iterator[str]:
        """Yield the commands that somebody types, until there are no more."""

    def answer(self, lines: Sequence[str], data: JsonValue) -> None:
        """Show what a command returned: `lines` for people, `data` for programs."""

    def error(self, error: Exception) -> None:
        """Show why a command was refused."""

    def event(self, name: str, line: str, data: dict[str, Any]) -> None:
        """Show what happened meanwhile."""


_writing = threading.Lock()


def _write(text: str) -> None:
    # Whole lines: what is longer than a pipe holds is written in pieces, and the other thread's
    # line must not come between them. Nobody reads any more if it is broken: the end is near.
    with _writing, suppress(BrokenPipeError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()


class PlainScreen:
    """Lines of text: answers as they are, events behind `* `, errors behind `! `."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of stdin."""
        while line := sys.stdin.readline():
            yield line

    def answer(self, lines: Sequence[str], data: JsonValue) -> None:
        """Write the lines."""
        if lines:
            _write("\n".join(lines) + "\n")

    def error(self, error: Exception) -> None:
        """Write one line that begins with an exclamation mark."""
        _write(f"! {sentence(error)}\n")

    def event(self, name: str, line: str, data: dict[str, Any]) -> None:
        """Write one line that begins with an asterisk."""
        _write(f"* {line}\n")


class JsonScreen(PlainScreen):
    """One JSON object a line: `{"reply": ...}`, `{"error": ...}` or `{"event": ...}`."""

    def answer(self, lines: Sequence[str], data: JsonValue) -> None:
        """Write the data as the reply; there is exactly one reply or error for each command."""
        _write(json_text({"reply": data}) + "\n")

    def error(self, error: Exception) -> None:
        """Write the sentence and the exit code that it would have as a command of its own."""
        problem = {"message": sentence(error), "code": exit_code(error)}
        _write(json_text({"error": problem}) + "\n")

    def event(self, name: str, line: str, data: dict[str, Any]) -> None:
        """Write the name of the event and its data."""
        _write(json_text({"event": name, **data}) + "\n")


class TerminalScreen:
    """A prompt with editing and history, events written above it in colour."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._is_reading = False
        self._is_bar_above = False  # the prompt, so that it can be drawn anew in its place
        self._readline: Any = None
        with suppress(ImportError):  # Windows has none; the console there edits lines itself
            import readline

            self._readline = readline

    def lines(self) -> Iterator[str]:
        """Yield what is typed, until the end of input or Ctrl-C."""
        while True:
            self._is_reading = True
            try:
                line = input(PROMPT)
            except (EOFError, KeyboardInterrupt):
                _write("\n")
                return
            finally:
                self._is_reading = self._is_bar_above = False
            yield line

    def answer(self, lines: Sequence[str], data: JsonValue) -> None:
        """Print the lines."""
        for line in lines:
            self._print(Text(line))

    def error(self, error: Exception) -> None:
        """Print the sentence in red."""
        self._print(Text(sentence(error), style="red"))

    def event(self, name: str, line: str, data: dict[str, Any]) -> None:
        """Print what happened above the prompt, and leave what was typed so far in place."""
        style = "bold yellow" if name == "pair_request" else "cyan"
        text = Text(f"* {line}", style=style)
        is_bar = name == "sync_progress"
        if is_bar and self._is_bar_above:
            _write(f"\x1b7\x1b[A\r\x1b[K{self._rendered(text, end='')}\x1b8")
            return
        self._print(text)
        self._is_bar_above = is_bar and self._is_reading

    def _rendered(self, text: Text, end: str = "\n") -> str:
        with self._console.capture() as captured:
            self._console.print(text, end=end)
        return captured.get()

    def _print(self, text: Text) -> None:
        shown = self._rendered(text)
        self._is_bar_above = False
        if not self._is_reading:
            _write(shown)
            return
        typed = "" if self._readline is None else self._readline.get_line_buffer()
        _write(f"\r\x1b[K{shown}{PROMPT}{typed}")
