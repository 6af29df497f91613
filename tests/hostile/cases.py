"""Which test stands for which threat and which limit of the network.

Every hostile test says with `@case(...)` what it covers: words of `THREATS`, and names of limits
of `cytosol.limits`. `docs/reference/hostile-cases.md` is made from it with
`python -m tests.hostile.cases`, and `test_every_threat_has_a_case.py` keeps all three together.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["ATTACK_MODULES", "LIMIT_SECTIONS", "MODULES", "THREATS", "case", "covered", "is_attack"]

Test = TypeVar("Test", bound=Callable[..., object])

THREATS: dict[str, str] = {
    # Those that a design for such a network has to name.
    "man in the middle": "Somebody sits between two devices that pair.",
    "wrong code": "Codes are guessed.",
    "replayed frames": "What was recorded is sent again.",
    "reflected frames": "What a device has sent is sent back to it.",
    "key swap": "Another key claims the id of a paired device.",
    "unpaired peer": "Somebody who is not paired asks for data.",
    "early confirmation": "A proof comes before its turn, or instead of another one.",
    "prompt flooding": "The user is asked to pair again and again.",
    "heartbeat spoofing": "Heartbeats pretend to come from others.",
    "heartbeat flooding": "Heartbeats of thousands of devices.",
    "answer storms": "Heartbeats that make a device send more than it got.",
    "oversize frames": "Frames that announce more than is taken.",
    "negative frames": "Frames that announce compression where it is not taken.",
    "tiny frames": "Frames without room for their MAC.",
    "truncated frames": "Frames that end early, or never.",
    "slow senders": "A byte now and then.",
    "half-open floods": "Connections that prove nothing.",
    "compression bombs": "A few bytes that unpack to very many.",
    "deep JSON": "Containers in containers in containers.",
    "huge JSON": "Very many values, or very long names.",
    "malformed messages": "What is no message of the protocol.",
    "nonces": "Nonces that do not count up, or that are ours.",
    "recorded requests": "A request to the gateway is recorded and sent again.",
    "call floods": "Calls, notifications and answers without end, or without reading.",
    "Lamport poison": "A number that would freeze everybody's clock.",
    "two contents under one id": "Different ops under the same id for different devices.",
    "foreign ids": "Ops under someone else's id.",
    "exploding documents": "Small ops that make very much.",
    "waiting ops": "Ops that wait for others that never come.",
    "forged histories": "Summaries, save points and snapshots that are not true.",
    "remote unpairing": "Devices are unpaired by tricks.",
    "coming back": "A device that was unpaired comes back.",
    "invented devices": "Pairings without end are shared.",
    "files": "Permissions, symbolic links, several processes on one file, damage.",
}

LIMIT_SECTIONS = ("The document", "Discovery", "Connections", "Pairing")
"""Sections of `limits.py` of which every limit that a peer can reach needs a case."""

NOT_REACHED: dict[str, str] = {
    "COMPRESS_ABOVE_BYTES": "a choice of ours, not a bound",
    "DOCUMENT_PLACES_MAX": "takes gigabytes; tests/oracle/test_fold_limits.py sets it lower",
    "CLAIMS_MAX": "tests/unit/document sets it lower; AUTHORS_MAX is reached first",
    "USED_CODES_MAX": "of codes that this device itself has shown",
    "FAILURES_KEPT_MAX": "tests/unit/document fails that often without a network",
}

ATTACK_MODULES = (
    "tests.hostile.test_attacks_on_discovery",
    "tests.hostile.test_attacks_on_the_gateway",
    "tests.hostile.test_attacks_on_pairing",
    "tests.hostile.test_attacks_on_connections",
    "tests.hostile.test_attacks_on_sync",
    "tests.hostile.test_attacks_by_ops",
    "tests.hostile.test_attacks_by_snapshots",
)
"""On real sockets, against a real process, with ceilings."""

MODULES = (
    *ATTACK_MODULES,
    "tests.hostile.test_hostile_heartbeats",
    "tests.hostile.test_hostile_gateway",
    "tests.hostile.test_hostile_pairing",
    "tests.hostile.test_hostile_connections",
    "tests.hostile.test_hostile_files_database",
)

PAGE = Path(__file__).parents[2] / "docs/reference/hostile-cases.md"


def case(*names: str) -> Callable[[Test], Test]:
    """Say which threats and limits a test covers."""

    def mark(test: Test) -> Test:
        test.covers = names  # type: ignore[attr-defined]  # an attribute of our own on a function
        return test

    return mark


def covered() -> dict[str, list[Callable[..., object]]]:
    """Return all tests that cover something, by threat or limit, in order."""
    found: dict[str, list[Callable[..., object]]] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for test in vars(module).values():
            if inspect.isfunction(test) and test.__module__ == name:
                for each in getattr(test, "covers", ()):
                    found.setdefault(each, []).append(test)
    return found


def is_attack(test: Callable[..., object]) -> bool:
    """Tell whether a test attacks a real process."""
    return test.__module__ in ATTACK_MODULES


def page() -> str:
    """Return the page that maps threats and limits to tests."""
    found = covered()
    tests = {test for each in found.values() for test in each}
    attacks = sum(map(is_attack, tests))
    lines = [
        "# Hostile cases",
        "",
        "Which test plays which attack. Made with `python -m tests.hostile.cases`; a test fails if",
        "a threat or a limit of the network has no case.",
        "",
        f"{attacks} **attacks** run over real sockets against a real process, which goes on",
        "writing, and syncing with an honest device, all the while. Each fails if the process",
        "takes more than 64 MiB for it, if an exception leaves the network's thread, or if both",
        "honest devices do not hold the same in the end. How long one in a hundred dispatches",
        "takes is printed, 50 ms at most on a quiet machine; a busy one explains up to ten times",
        f"that, and more fails. The other {len(tests) - attacks} tests play single messages in",
        "virtual time, or damage files.",
        "",
    ]
    for title, names in (
        ("Threats", list(THREATS)),
        ("Limits", [name for name in found if name not in THREATS]),
    ):
        lines += [f"## {title}", ""]
        for name in names:
            about = f": {THREATS[name]}" if name in THREATS else ""
            lines.append(f"**{name}**{about}" if about else f"**`{name}`**")
            lines.append("")
            for test in found.get(name, ()):
                kind = " (attack)" if is_attack(test) else ""
                doc = (test.__doc__ or "").strip().splitlines()[0]
                title_ = test.__name__.removeprefix("test_").replace("_", " ")
                lines.append(f"* {title_}{kind}: {doc}")
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the page, or tell with `--check` whether it is up to date."""
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == text else "the page is out of date")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    # As a module of the package, so that tests and this program share one registry.
    importlib.import_module("tests.hostile.cases").main()
