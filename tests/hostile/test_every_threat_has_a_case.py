"""Threats, limits and the page that lists their cases are kept together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cytosol import limits
from tests.hostile.cases import (
    ATTACK_MODULES,
    LIMIT_SECTIONS,
    MODULES,
    NOT_REACHED,
    PAGE,
    THREATS,
    covered,
    is_attack,
    page,
)

ATTACKS_MIN = 67


def network_limits() -> list[str]:
    """Return the limits in the sections of `limits.py` that peers can reach."""
    names, section = [], ""
    for line in Path(limits.__file__).read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"# --- (.+?)(?: \(|:| -)", line):
            section = heading[1]
        elif (name := re.match(r"([A-Z_]+): Final", line)) and section in LIMIT_SECTIONS:
            names.append(name[1])
    return names


@pytest.mark.parametrize("threat", THREATS)
def test_every_threat_has_a_case(threat: str) -> None:
    """Of those that the threat model names."""
    assert covered()[threat]


def test_the_sections_of_limits_are_found() -> None:
    """Else the next test would look at nothing."""
    assert {"FRAME_BYTES_MAX", "VISIBLE_PEERS_MAX", "LAMPORT_MAX"} <= set(network_limits())


@pytest.mark.parametrize("name", network_limits())
def test_every_limit_of_the_network_has_a_case(name: str) -> None:
    """Or a reason why no message can reach it here."""
    assert (name in NOT_REACHED) != (name in covered())


def test_cases_name_threats_and_limits_that_there_are() -> None:
    """No case covers what does not exist."""
    for name in covered():
        assert name in THREATS or hasattr(limits, name), name


def test_there_are_67_attacks_on_a_real_process() -> None:
    """Each with its name, and one line that says which threat it plays."""
    attacks = {test for tests in covered().values() for test in tests if is_attack(test)}
    assert len(attacks) >= ATTACKS_MIN
    for test in attacks:
        assert re.match(r"[A-Z].+: .+", (test.__doc__ or "").splitlines()[0]), test.__name__


def test_every_attack_says_what_it_covers() -> None:
    """A test without a case would be missing from the page."""
    named = {test.__name__ for tests in covered().values() for test in tests}
    for module in ATTACK_MODULES:
        path = Path(__file__).parents[2] / f"{module.replace('.', '/')}.py"
        assert set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)) <= named


def test_the_page_is_up_to_date() -> None:
    """`python -m tests.hostile.cases` writes it."""
    assert len(MODULES) > len(ATTACK_MODULES)
    assert page() == PAGE.read_text(encoding="utf-8")
