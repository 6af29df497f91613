"""Look at a database file with the command line that users have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND_S = 120.0


def check_file(file: Path) -> None:
    """Have `cytosol check` look at a file; raises AssertionError with what it complains about."""
    _cytosol("check", str(file))


def query_file(file: Path, path: str) -> Any:
    """Return what `cytosol query` finds in a file."""
    return json.loads(_cytosol("query", "--json", str(file), path))


def _cytosol(command: str, *arguments: str) -> str:
    line = [str(Path(sys.executable).with_name("cytosol")), command, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
