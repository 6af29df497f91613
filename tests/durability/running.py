"""Run a suite as a command, the way its replay line says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.durability.shim import ROOT, has_compiler

__all__ = ["needs_compiler", "run_suite"]

needs_compiler = pytest.mark.skipif(
    not has_compiler(), reason="the shim needs Linux and a C compiler (package gcc)"
)


def run_suite(name: str, *arguments: object) -> str:
    """Run `python -m tests.durability.NAME`; return what it prints, and fail if it does."""
    command = [sys.executable, "-m", f"tests.durability.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    print(done.stdout)
    return done.stdout
