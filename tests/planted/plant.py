"""Plant bugs into copies of the package and see whether their suites notice.

```text
python -m tests.planted.plant [PART OF A NAME ...]
```

A copy of `src` goes before the installed package on the path, so the tests that run are the very
ones of this repository. A suite has noticed if a test failed; that it cannot be collected, or
finds no test, does not count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.planted.bugs import BUGS, Bug

__all__ = ["ROOT", "is_noticed", "planted_text"]

ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1  # pytest's exit code, also for a suite that was stopped by its first failure


def planted_text(bug: Bug) -> str:
    """Return the file of a bug with the bug in it."""
    text = (ROOT / "src" / "cytosol" / bug.file).read_text("utf-8")
    assert text.count(bug.code) == 1, f"{bug.name}: look for its code in {bug.file} again"
    return text.replace(bug.code, bug.instead)


def is_noticed(bug: Bug) -> tuple[bool, str]:
    """Run a bug's suite on a copy with the bug; return whether a test failed, and its output."""
    with tempfile.TemporaryDirectory(prefix="cytosol-planted-") as directory:
        source = Path(directory, "src")
        shutil.copytree(
            ROOT / "src" / "cytosol",
            source / "cytosol",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (source / "cytosol" / bug.file).write_text(planted_text(bug), "utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-m", "not long"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist", *bug.suite.split()]
        environment = {
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_PROFILE": "quick",
            "SHORTEN": "no",
        }
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    return done.returncode == TESTS_FAILED, done.stdout + done.stderr


def main(parts: list[str]) -> int:
    """Plant the bugs that are named, or all, and print who was noticed and how fast."""
    bugs = [bug for bug in BUGS if not parts or any(part in bug.name for part in parts)]
    missed = 0
    for bug in bugs:
        start = time.perf_counter()
        noticed, output = is_noticed(bug)
        seconds = time.perf_counter() - start
        missed += not noticed
        print(f"{'noticed' if noticed else 'MISSED '} {seconds:5.1f} s  {bug.name}", flush=True)
        if not noticed:
            print("\n".join(f"    {line}" for line in output.splitlines()[-4:]), flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
