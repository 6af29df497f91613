"""Say where the time of a workload goes: `python -m benchmarks.profile W1`, or `make profile W=W1`.

While our side of the workload does what is measured, the system signals after each millisecond of
CPU time, or as often as it can, and it is noted which function runs and which ones have called it.
What C code takes is counted for the Python function that called it. Where several threads work, as
in W13, signals would see only one of them: there cProfile runs in each thread, which makes short
functions look longer than they are, and what waits for a socket, a lock or a queue is left out.
Functions are known by their file, so that the layers of the architecture can be added up.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import device, measure, network
from benchmarks.catalogue import MODULES
from benchmarks.machine import describe_machine
from benchmarks.measure import Circumstances, cpu_s
from benchmarks.one import run_one
from benchmarks.shapes import SHAPES

__all__ = ["PROFILED", "Profile", "profiled", "publish", "table"]

PROFILED = ("W1", "W5", "W6", "W7", "W13", "W16")
SEVERAL_THREADS = ("W13", "W14", "W18", "W19")
EVERY_S = 0.001
SHOWN = 10
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "where-the-time-goes.md"
MARKERS = ("<!-- profiles: written by `make profile PUBLISH=yes` -->", "<!-- end of profiles -->")
WAITING = ("poll", "acquire", "get", "select", "run_forever", "sleep", "wait", "readline")
"""C functions in which a thread does nothing but wait."""

Function = tuple[str, str]
"""A file, as `place_of` names it, and a function in it."""


@dataclass(slots=True)
class Profile:
    """What each function took: itself, and with all that it called, in microseconds."""

    section: str
    own: Counter[Function] = field(default_factory=Counter)
    within: Counter[Function] = field(default_factory=Counter)

    def note(self, frame: FrameType | None) -> None:
        """Count a stack that was seen; `share_out` says later what that means."""
        stack = []
        while frame is not None:
            stack.append((place_of(frame.f_code.co_filename), frame.f_code.co_name))
            frame = frame.f_back
        self.own[stack[0]] += 1
        self.within.update(set(stack))

    def share_out(self, took_s: float) -> None:
        """Turn the counts into microseconds, as so much time was spent in all."""
        each_us = took_s * 1e6 / max(1, self.took_us)
        for counts in (self.own, self.within):
            for function in counts:
                counts[function] = round(counts[function] * each_us)

    def add_calls(self, calls: cProfile.Profile) -> None:
        """Add what cProfile has counted in one thread; C code counts for its callers."""
        stats: Any = pstats.Stats(calls)
        for (file, _, name), (_, _, own_s, within_s, callers) in stats.stats.items():
            if file != "~":
                function = (place_of(file), name)
                self.own[function] += round(own_s * 1e6)
                self.within[function] += round(within_s * 1e6)
            elif not is_waiting(name):
                for (caller_file, _, caller), (_, _, below_s, _) in callers.items():
                    if caller_file != "~":
                        self.own[place_of(caller_file), caller] += round(below_s * 1e6)

    @property
    def took_us(self) -> int:
        """What all functions took together."""
        return self.own.total()

    def by_layer(self) -> list[tuple[str, int]]:
        """Return the packages of ours, Python's own modules and other libraries, largest first."""
        layers: Counter[str] = Counter()
        for (place, _), count in self.own.items():
            layers[layer_of(place)] += count
        return layers.most_common()


def place_of(filename: str) -> str:
    """Return a file as short as it is clear: below the package, or its name."""
    for root in ("/cytosol/", "/benchmarks/"):
        _, found, below = filename.replace("\\", "/").rpartition(root)
        if found:
            return f"{root[1:]}{below}"
    return Path(filename).name


def layer_of(place: str) -> str:
    """Return the package that a file belongs to."""
    parts = place.split("/")
    if len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 else "Python and other libraries"


def is_waiting(name: str) -> bool:
    """Tell whether this C function, as cProfile names it, only waits."""
    return any(f"'{waiting}'" in name or f".{waiting}>" in name for waiting in WAITING)


@contextmanager
def watching_this_thread(profiles: list[Profile]) -> Iterator[None]:
    """Let each section be looked at by a signal after each millisecond of CPU time."""
    if not hasattr(signal, "setitimer"):
        raise SystemExit("Profiling needs timers that this system lacks: use Linux or macOS.")

    @contextmanager
    def look_on(section: str) -> Iterator[None]:
        profile = Profile(section)

        def look(_number: int, frame: FrameType | None) -> None:
            profile.note(frame)

        before = signal.signal(signal.SIGPROF, look)
        start = cpu_s()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            profile.share_out(cpu_s() - start)
            profiles.append(profile)

    measure.observer.append(look_on)
    try:
        yield
    finally:
        measure.observer.remove(look_on)


@contextmanager
def watching_all_threads(name: str, profiles: list[Profile]) -> Iterator[None]:
    """Let cProfile run in every thread that starts, and in this one."""
    of_threads: list[cProfile.Profile] = []
    run = threading.Thread.run

    def watched(thread: threading.Thread) -> None:
        calls = cProfile.Profile()
        of_threads.append(calls)
        calls.runcall(run, thread)

    threading.Thread.run = watched  # type: ignore[assignment,method-assign]  # put back below
    calls = cProfile.Profile()
    try:
        with calls:
            yield
    finally:
        threading.Thread.run = run  # type: ignore[method-assign]  # as above
        profile = Profile(name)
        for each in (calls, *of_threads):
            profile.add_calls(each)
        profiles.append(profile)


def profiled(workload: str, scale: float, shape: int = 1) -> list[Profile]:
    """Run our side of a workload and return a profile for each of its sections."""
    profiles: list[Profile] = []
    if workload in SEVERAL_THREADS:
        run_one("W1", "cytosol", 0.0001)  # what is imported does not count
        watching = watching_all_threads(workload, profiles)
    else:
        watching = watching_this_thread(profiles)
    with watching:
        if workload == "W16":
            open_here(scale, shape)
        elif workload == "W13":  # without uvloop, into which cProfile cannot see
            device.round_trips_us(max(10, round(network.ROUND_TRIPS * scale)), 0, uvloop=False)
        else:
            run_one(workload, "cytosol", scale, shape)
    return profiles


def open_here(scale: float, shape: int) -> None:
    """Make a file and open it, both in this process."""
    from benchmarks import opening

    with tempfile.TemporaryDirectory(prefix="cytosol-bench-") as directory:
        run = Circumstances(scale, shape, Path(directory), Path(directory))
        path = Path(directory) / "large.cytosol"
        opening.make_ours(path, run.writes(opening.OPS), shape)
        opening.open_ours(path, shape, run.count(opening.OPS))


def table(profile: Profile, shown: int = SHOWN) -> str:
    """Return a profile as Markdown: shares by layer, then by function."""
    all_us = max(1, profile.took_us)
    lines = [f"### {profile.section}", "", f"{profile.took_us / 1e6:.2f} s.", ""]
    lines += ["| layer | share |", "| --- | ---: |"]
    lines += [f"| {layer} | {share(took, all_us)} |" for layer, took in profile.by_layer()]
    lines += [
        "",
        "| function | file | itself | with what it calls |",
        "| --- | --- | ---: | ---: |",
    ]
    for key, took in profile.own.most_common(shown):
        place, name = key
        within = profile.within[key]  # with cProfile, waiting is in it, too
        shares = f"{share(took, all_us)} | {share(within, all_us) if within <= all_us else '–'}"
        lines.append(f"| `{name}` | {place} | {shares} |")
    return "\n".join([*lines, ""])


def share(count: int, of: int) -> str:
    """Return a share as per cent."""
    return f"{100 * count / of:.1f} %"


def publish(text: str, page: Path) -> None:
    """Put tables between the markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    page.write_text(f"{before}{MARKERS[0]}\n{text}{MARKERS[1]}{after}", encoding="utf-8")


def main() -> int:
    """Read the arguments, profile, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="W1", help=f"default: {PROFILED}")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--shape", type=int, choices=SHAPES, default=1)
    parser.add_argument("--shown", type=int, default=SHOWN, help="how many functions")
    parser.add_argument("--publish", action="store_true", help="also put it into docs/")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.workloads if name not in MODULES]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MODULES)}")
    if chosen.publish and chosen.workloads:
        parser.error("only all of them are published: leave out the workloads")
    tables = [f"{describe_machine()}\n"]
    for name in chosen.workloads or PROFILED:
        for profile in profiled(name, chosen.scale, chosen.shape):
            tables.append(table(profile, chosen.shown))
            print(tables[-1], flush=True)
    if chosen.publish:
        publish("\n".join(tables), PAGE)
        print(f"They are in {PAGE}, too.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
