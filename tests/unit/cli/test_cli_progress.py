"""How far an opening or a first sync is, as the command line shows it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import cytosol
from cytosol.cli.happenings import Happenings
from cytosol.cli.progress import LARGE_BYTES, opening_bar
from cytosol.cli.screen import TerminalScreen
from tests.unit.cli.test_cli_prompt import Announcer, Recorder

OTHER = "11111111-2222-4333-8444-555555555555"
THIRD = "11111111-9999-4333-8444-555555555555"


def on_a_terminal() -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(file=shown, force_terminal=True, width=80), shown


# --- Opening --------------------------------------------------------------------------------


def test_the_opening_of_a_large_file_has_a_bar(tmp_path: Path) -> None:
    """It names the file and goes away in the end."""
    file = tmp_path / "notes.cytosol"
    file.write_bytes(bytes(LARGE_BYTES))
    console, shown = on_a_terminal()
    with opening_bar(file, console) as progress:
        assert progress is not None
        assert "" == shown.getvalue()  # a passphrase may be asked for first
        progress("history", 0.5)
        progress("done", 1.0)
    assert "opening notes.cytosol" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[2K")


def test_a_small_file_has_no_bar(tmp_path: Path) -> None:
    """It is open before anybody could read one."""
    file = tmp_path / "notes.cytosol"
    file.write_bytes(bytes(LARGE_BYTES - 1))
    console, shown = on_a_terminal()
    with opening_bar(file, console) as progress:
        assert progress is None
    assert "" == shown.getvalue()


def test_nobody_looks_at_a_pipe(tmp_path: Path) -> None:
    """What reads the output of a command sees no bar."""
    file = tmp_path / "notes.cytosol"
    file.write_bytes(bytes(LARGE_BYTES))
    with opening_bar(file, Console(file=io.StringIO())) as progress:
        assert progress is None


# --- A first sync ---------------------------------------------------------------------------


def told(*events: tuple[str, float | None, int]) -> list[tuple[str, str, dict[str, Any]]]:
    announcer, screen = Announcer(), Recorder()
    Happenings(announcer, screen).watch()  # type: ignore[arg-type]  # it has what is used
    for peer_id, done, size in events:
        announcer.tell("sync_progress", cytosol.SyncProgress(peer_id, size, done))
    return screen.events


def test_a_sync_that_does_not_get_on_is_told_of() -> None:
    """As on a device whose disk is full: nobody would see it otherwise."""
    announcer, screen = Announcer(), Recorder()
    Happenings(announcer, screen).watch()  # type: ignore[arg-type]  # it has what is used
    announcer.tell("sync_failed", cytosol.SyncFailed(OTHER, "the disk is full"))
    ((name, line, data),) = screen.events
    assert "sync_failed" == name
    assert "cannot sync with device 1 now: the disk is full; it is tried again by itself" == line
    assert {"peerId": OTHER, "reason": "the disk is full"} == data


def test_a_long_sync_is_told_of_at_each_tenth() -> None:
    """With a bar for people and the numbers for programs."""
    events = told(*((OTHER, step / 100, step * 1024) for step in range(1, 101)))
    assert ["sync_progress"] * 11 == [name for name, _, _ in events]
    assert "receiving from device 1: ###.......  30%, 30.0 KiB" == events[3][1]
    assert "receiving from device 1: ########## 100%, 100.0 KiB" == events[-1][1]
    assert {"peerId": OTHER, "receivedBytes": 102_400, "done": 1.0} == events[-1][2]


def test_a_sync_of_one_batch_is_not_told_of() -> None:
    """It is over as soon as it is seen, each time that a device comes back."""
    assert [] == told((OTHER, 1.0, 90), (THIRD, 1.0, 90), (OTHER, 1.0, 90))


def test_where_nobody_knows_the_part_each_mebibyte_is_told() -> None:
    """As in a repair."""
    events = told(*((OTHER, None, size * 256 * 1024) for size in range(1, 9)))
    assert ["256.0 KiB", "1.0 MiB", "2.0 MiB"] == [line.split(": ")[1] for _, line, _ in events]


def test_a_lost_connection_begins_anew() -> None:
    """The next sync tells of the same tenths again."""
    announcer, screen = Announcer(), Recorder()
    Happenings(announcer, screen).watch()  # type: ignore[arg-type]  # it has what is used
    for _ in range(2):
        announcer.tell("sync_progress", cytosol.SyncProgress(OTHER, 90, 0.5))
        announcer.tell("peer_disconnected", cytosol.PeerDisconnected(OTHER, "Phone", "gone"))
    names = [name for name, _, _ in screen.events]
    assert ["sync_progress", "peer_disconnected"] * 2 == names


def test_the_bar_of_a_terminal_stays_in_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is drawn anew above the prompt; after another line, or a command, below that."""
    screen = TerminalScreen()

    def typed(prompt: str) -> str:
        screen.event("sync_progress", "a tenth", {})
        screen.event("sync_progress", "two tenths", {})
        screen.event("peer_visible", "a device", {})
        screen.event("sync_progress", "three tenths", {})
        return "stats"

    monkeypatch.setattr("builtins.input", typed)
    assert "stats" == next(iter(screen.lines()))
    screen.event("sync_progress", "four tenths", {})
    shown = capsys.readouterr().out
    assert "\x1b7\x1b[A\r\x1b[K* two tenths\x1b8" in shown
    for line in ("a tenth", "a device", "three tenths"):
        assert f"\r\x1b[K* {line}\ncytosol> " in shown
    assert shown.endswith("* four tenths\n")
