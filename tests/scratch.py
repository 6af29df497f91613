"""Make a folder for the files of a test run, and print its path: `python -m tests.scratch`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["made"]

MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 3 << 30  # several times what a run has ever taken


def made() -> str:
    """Make a folder, in memory if there is room and programs may run there; return its path."""
    return tempfile.mkdtemp(prefix="cytosol-tests-", dir=MEMORY if _fits(MEMORY) else None)


def _fits(folder: Path) -> bool:
    if sys.platform != "linux" or not os.access(folder, os.W_OK):
        return False
    may_run = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    return may_run and shutil.disk_usage(folder).free >= ROOM_BYTES


if __name__ == "__main__":
    print(made())
