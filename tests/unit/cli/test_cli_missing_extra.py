"""Before the program runs: without the extra `cli` it says what to install; Ctrl-C ends it."""

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


@pytest.mark.parametrize("package", ["click", "rich", "cytosol.cli.commands"])
def test_ctrl_c_while_the_command_is_loaded_ends_it_quietly(package: str) -> None:
    """No traceback, and the exit code of every other Ctrl-C."""
    code = f"""
import sys
class Stop:
    def find_spec(self, name, *rest):
        if name == {package!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from cytosol.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (130, "", "") == (done.returncode, done.stdout, done.stderr)
