"""Without the extra `cli` the command says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_package_is_named_with_the_cure(package: str) -> None:
    """One sentence on stderr, exit code 1, no traceback."""
    code = f"import sys; sys.modules[{package!r}] = None\nfrom cytosol.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert 1 == done.returncode
    assert "" == done.stdout
    assert 1 == done.stderr.count("\n")
    assert package in done.stderr
    assert "pip install 'cytosol[cli]'" in done.stderr


def test_the_library_needs_neither() -> None:
    """An app that embeds the database does not pay for the command line."""
    code = "import cytosol, sys; print('click' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "False False\n" == done.stdout
