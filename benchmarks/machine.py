"""Say on what machine, and with which versions, figures were taken."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

from benchmarks.measure import LIBRARIES

__all__ = ["describe_machine", "version_of"]


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_machine() -> str:
    """Return one paragraph: processor, cores, system, Python, library versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    libraries = ", ".join(
        f"{name} {version_of(name) or 'not installed'}"
        for name in (*LIBRARIES, "pycrdt-websocket", "websockets", "uvloop")
    )
    libraries += f", SQLite {sqlite3.sqlite_version}"
    return (
        f"{_processor()}, {cores} cores{load}; {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}; {libraries}."
    )


def _processor() -> str:
    """Return the processor's name as the system knows it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: what Python knows is less, but something
    return platform.processor() or platform.machine()
