"""Run a suite under the shim of `shim.c`, and tell the shim what to do.

The shim is compiled with `cc` when a suite begins. The suite then runs once more as a child with
the shim loaded, so that the real library works on real files, and every call is seen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "FLUSHES",
    "LOOKS",
    "OPENS",
    "READS",
    "RENAMES",
    "ROOT",
    "TRUNCATES",
    "UNLINKS",
    "WRITES",
    "Call",
    "Shim",
    "has_compiler",
    "run_under_shim",
    "scratch",
]

ROOT: Final = Path(__file__).parents[2]
OPENS, READS, WRITES, FLUSHES, TRUNCATES, RENAMES, UNLINKS, LOOKS = (1 << bit for bit in range(8))
_SOURCE: Final = Path(__file__).with_name("shim.c")
_HEAD: Final = struct.Struct("=ciqI")


class Call(NamedTuple):
    """One thing that was done to a file of the folder.

    `kind` is `o`pened (offset 1: emptied), `c`losed, `w`ritten, `t`runcated, `f`lushed, `F`lush
    that failed, `s` and `S` the same for the folder, `r`enamed ("from/to"), `u`nlinked, `#` note.
    """

    kind: str
    file: int
    offset: int
    data: bytes


def has_compiler() -> bool:
    """Tell whether the shim can be used here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new empty folder, in memory where there is such a file system."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cytosol-", dir=parent) as folder:
        yield Path(os.path.realpath(folder))


def run_under_shim(module: str, main: Callable[[Sequence[str]], int]) -> int:
    """Call `main` with the arguments of the command line, in a process that has the shim."""
    arguments = sys.argv[1:]
    if _is_loaded():
        os.environ.pop("LD_PRELOAD")
        return main(arguments)
    if not has_compiler():
        print("these tests need Linux and a C compiler: install the package gcc", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="cytosol-shim-") as folder:
        library = Path(folder) / "shim.so"
        options = ["-O1", "-shared", "-fPIC", "-ldl", "-lpthread"]
        subprocess.run(["cc", str(_SOURCE), "-o", str(library), *options], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            environment.pop(name, None)  # it would only take time
        return subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False
        ).returncode


def _is_loaded() -> bool:
    return hasattr(ctypes.CDLL(None), "shim_watch")


class Shim:
    """The shim of this process, watching one folder."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(None)
        self._library.shim_records.restype = ctypes.c_void_p
        self._library.shim_records_length.restype = ctypes.c_size_t
        self._library.shim_calls.restype = ctypes.c_long
        self._library.shim_failures.restype = ctypes.c_long
        self._library.shim_failed_flushes.restype = ctypes.c_long
        self._library.shim_fail.argtypes = [ctypes.c_long, *[ctypes.c_int] * 4]
        self._library.shim_watch(os.fsencode(folder))

    def record(self) -> None:
        """Write down from now on what happens, beginning anew."""
        self._library.shim_record(1)

    def note(self, text: str) -> None:
        """Put a note among what is written down."""
        self._library.shim_note(text.encode())

    def stop(self) -> list[Call]:
        """Write nothing down any more; return what was."""
        self._library.shim_record(0)
        length = self._library.shim_records_length()
        data = ctypes.string_at(self._library.shim_records(), length) if length else b""
        calls = []
        at = 0
        while at < length:
            kind, file, offset, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size + size
            calls.append(Call(kind.decode(), file, offset, data[at - size : at]))
        return calls

    def fail(
        self, number: int, kinds: int, error: int, *, for_ever: bool = False, half: bool = False
    ) -> None:
        """Let the call with this number, from 1, fail: of those of the given kinds, from now on.

        `for_ever`: and all after it. `half`: a write writes half, and tells so, instead.
        """
        self._library.shim_fail(number, kinds, error, for_ever, half)

    def count(self, kinds: int) -> None:
        """Count the calls from now on, and let none of these kinds fail."""
        self._library.shim_fail(0, kinds, errno.EIO, 0, 0)

    def calls(self, kinds: int) -> int:
        """Return how many calls of these kinds came since `fail` or `count`."""
        return int(self._library.shim_calls(kinds))

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return int(self._library.shim_failures())

    @property
    def failed_flushes(self) -> int:
        """How many of those were flushes of files."""
        return int(self._library.shim_failed_flushes())
