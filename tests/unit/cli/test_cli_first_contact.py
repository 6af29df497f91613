"""What a newcomer sees who types the bare command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cytosol
from cytosol.cli.commands import program


def test_the_bare_command_shows_its_help() -> None:
    """On several lines, and as no error."""
    shown = CliRunner().invoke(program, [], standalone_mode=True)
    assert 0 == shown.exit_code
    assert shown.output.startswith("Usage: ")
    assert any(line.strip().startswith("demo") for line in shown.output.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is full")
def test_an_output_that_takes_nothing_is_told_in_one_sentence(tmp_path: Path) -> None:
    """As for a full disk elsewhere, without a traceback."""
    file = tmp_path / "notes"
    with cytosol.open(file, app_id="82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80", network=False) as db:
        db.dispatch(cytosol.Set("$.a", 1))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cytosol.cli", "query", str(file), "$"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert 4 == done.returncode
    assert done.stderr.startswith("cytosol: the input or the output failed (No space left")
    assert 1 == len(done.stderr.splitlines())
