"""The doctor names the fault that was set up in a network, or says that all is well.

A case takes seconds in which hardly anything happens, so that several run at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.end_to_end.clinic import Clinic, Fault, needs_nftables
from tests.end_to_end.faults import FAULTS
from tests.end_to_end.lab import Lab, needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import pair

pytestmark = [*needs_namespaces(), needs_nftables()]

AT_A_TIME: Final = 7

HEALTHY: Final = ("healthy",)
PAIRS: Final = (
    "broadcasts_lost + pairing_paused",
    "udp_in_blocked + pairing_stopped",
    "port_taken + peer_sync_off",
    "route_into_tunnel + clock_wrong",
    "mtu_black_hole + broadcasts_lost",
    "peer_tcp_blocked + netmask_mismatch",
    "tcp_in_blocked + broadcasts_lost",
    "no_carrier + disk_full",
    "interface_down + file_of_other_app",
    "broadcast_blocked + peer_tcp_refused",
    "clone + pairing_paused",
    "packet_loss + clock_wrong",
    "address_conflict + pairing_paused",
    "other_version + clock_wrong",
)
# Those that most people meet, and that take few seconds.
QUICK: Final = (
    *HEALTHY,
    "no_carrier",
    "route_into_tunnel",
    "port_taken",
    "udp_in_blocked",
    "not_paired",
    "peer_sync_off",
    "netmask_mismatch",
    "peer_tcp_refused",
    "mtu_black_hole",
    "file_in_use",
    "broadcasts_lost + pairing_paused",
    "interface_down + file_of_other_app",
)


def examine(lab: Lab, directory: Path, faults: Sequence[Fault]) -> dict[str, Any]:
    """Return what the doctor reports of a fresh clinic with some faults."""
    directory.mkdir()
    clinic = Clinic(lab, directory)
    try:
        return clinic.examine(faults)
    finally:
        clinic.stop()


def reports(directory: Path, cases: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """Return the doctor's reports for cases such as `healthy` or `clone + no_carrier`."""

    def run(case: str) -> dict[str, Any]:
        faults = [FAULTS[name] for name in causes(case)]
        try:
            with Lab() as lab:
                return examine(lab, directory / case.replace(" ", ""), faults)
        except AssertionError as error:  # the others are to be told as well
            return {"codes": ["not examined"], "error": str(error)}

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(cases, pool.map(run, cases), strict=True))


def causes(case: str) -> list[str]:
    """Return the names of the causes that have to be named in a case."""
    return [] if case in HEALTHY else case.split(" + ")


def assert_named(directory: Path, cases: Sequence[str]) -> None:
    """Exactly what is wrong is named in each case, and nothing else."""
    wrong = {
        case: report
        for case, report in reports(directory, cases).items()
        if set(causes(case)) != set(report["codes"])
    }
    told = [f"{case}: {report['codes']}, {report}" for case, report in wrong.items()]
    assert not wrong, "\n".join(told)


def test_common_faults_are_named(lab: Lab, tmp_path: Path) -> None:
    """A healthy network is called healthy, the usual faults by their names."""
    assert_named(tmp_path, QUICK)


@pytest.mark.long
def test_a_running_app_asks_its_own_doctor(network: Network) -> None:
    """Connected all is well, and stays so; what the app switches off itself is named."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    assert [] == laptop.call("doctor")["codes"]
    assert [] == phone.call("doctor")["codes"]
    assert [] == [each for each in laptop.events if each["event"] == "peer_disconnected"]
    laptop.dispatch("Set", "$.still", "in sync")
    phone.wait("$.still", "in sync")
    laptop.dispatch("SetVisibleToPeers", False)
    assert ["hidden"] == laptop.call("doctor")["codes"]
    laptop.dispatch("SetSyncEnabled", False)
    assert ["hidden", "sync_off"] == laptop.call("doctor")["codes"]
    assert ["peer_sync_off"] == phone.call("doctor")["codes"]


def test_an_app_without_the_network_is_told_so(network: Network) -> None:
    """It finds the others all the same, and is not paired with any."""
    laptop = network.device("laptop", network=False)
    network.device("phone")
    assert ["network_off", "not_paired"] == laptop.call("doctor")["codes"]


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_every_fault_is_named(lab: Lab, tmp_path: Path, part: int) -> None:
    """One at a time, each of those that a lab can have."""
    assert len(FAULTS) >= 40
    assert_named(tmp_path, [*HEALTHY, *FAULTS][part::4])


@pytest.mark.long
def test_pairs_of_faults_are_named(lab: Lab, tmp_path: Path) -> None:
    """Neither of two faults hides the other."""
    assert_named(tmp_path, PAIRS)
