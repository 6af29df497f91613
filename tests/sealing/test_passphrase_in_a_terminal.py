"""The passphrase is typed at a real terminal, which does not show it."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

import pytest

import cytosol
from tests.contract.savestate_kinds import CHEAP

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
PASSPHRASE = "Kartoffelsalat mit Gurken"
PATIENCE_S = 60.0


def in_a_terminal(arguments: list[str], typed: str) -> tuple[int, str]:
    """Run `cytosol` at a terminal, type a line when it asks; returns exit code and screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "cytosol.cli", *arguments])
    screen = b""
    is_typed = False
    deadline = time.monotonic() + PATIENCE_S
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        screen += piece
        if not is_typed and b"Passphrase of" in screen:
            is_typed = True
            os.write(terminal, typed.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), screen.decode()


@pytest.mark.parametrize(("typed", "code"), [(PASSPHRASE, 0), ("Nudelsalat", 7)])
def test_the_prompt_asks_and_shows_nothing(tmp_path: Path, typed: str, code: int) -> None:
    """The right passphrase opens the file, a wrong one does not, and neither is on the screen."""
    file = tmp_path / "notes.cytosol"
    state = cytosol.SealedSaveState(
        cytosol.SqliteSaveState(file), passphrase=PASSPHRASE, cost=CHEAP
    )
    with cytosol.open(state, app_id=APP_ID, network=False) as db:
        db.dispatch(cytosol.Set("$.dish", "soup"))
    found, screen = in_a_terminal(["query", str(file), "$.dish"], typed)
    assert code == found, screen
    assert ("soup" in screen) is (code == 0)
    assert typed not in screen
