"""Choose how hard Hypothesis tries: HYPOTHESIS_PROFILE is `quick` (the default) or `check`.

With CI=true it tries the same inputs each time, so that the verdict on a change is about the
change; everywhere else it looks at new ones.
"""

import gc
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No deadline and no complaint about slow inputs: the machine may be busy with something else,
# and a test that depends on its speed fails for reasons nobody can replay.
settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    print_blob=True,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("check", settings.get_profile("quick"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# A shell has what it runs in the background ignore Ctrl-C, and programs inherit that; some tests
# interrupt programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let the garbage collector look at nothing that lives as long as the tests run.

    Some tests collect garbage to see what is left behind: ten times faster without thousands of
    tests and all modules to go through each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what attacks on a real process have cost it at most (tests/hostile)."""
    costs = [
        cost
        for report in terminalreporter.stats.get("", [])  # setups and teardowns
        for name, cost in report.user_properties
        if name == "attack"
    ]
    if costs:
        memory, p99_s = max(cost[0] for cost in costs), max(cost[1] / cost[2] for cost in costs)
        terminalreporter.write_line(
            f"{len(costs)} attacks on a real process: at most +{memory / 2**20:.1f} MiB of memory, "
            f"and a p99 of {p99_s * 1e3:.1f} ms of local dispatches"
        )
