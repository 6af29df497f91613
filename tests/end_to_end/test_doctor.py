"""The doctor names the fault that was set up in a network, or says that all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clinic import Clinic, needs_nftables, rules
from tests.end_to_end.lab import Lab, needs_namespaces

pytestmark = [*needs_namespaces(), needs_nftables()]

Fault = Callable[[Clinic], None]


@pytest.fixture
def clinic(lab: Lab, tmp_path: Path) -> Iterator[Clinic]:
    clinic = Clinic(lab, tmp_path)
    try:
        yield clinic
    finally:
        clinic.stop()


def healthy(clinic: Clinic) -> None:
    """Nothing is wrong: paired, running, one network."""
    clinic.pair()
    clinic.start_phone()


def broadcasts_lost(clinic: Clinic) -> None:
    """The switch drops broadcasts, as guest networks do."""
    healthy(clinic)
    clinic.cables["laptop"].block_broadcasts(clinic.cables["phone"])
    clinic.cables["phone"].block_broadcasts(clinic.cables["laptop"])


def udp_in_blocked(clinic: Clinic) -> None:
    """The laptop's firewall lets in only what it asked for itself."""
    healthy(clinic)
    rules(clinic.laptop, "inet", "input", "iif lo accept", "meta l4proto udp drop")


CASES: list[tuple[Fault, set[str]]] = [
    (healthy, set()),
    (broadcasts_lost, {"broadcasts_lost"}),
    (udp_in_blocked, {"udp_in_blocked"}),
]


@pytest.mark.parametrize(("fault", "codes"), CASES, ids=[fault.__name__ for fault, _ in CASES])
def test_the_fault_is_named(clinic: Clinic, fault: Fault, codes: set[str]) -> None:
    """And nothing else is."""
    fault(clinic)
    report = clinic.doctor(str(clinic.file))
    assert codes == set(report["codes"]), report
