"""W13 and W14: two processes over loopback. Wall time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from benchmarks import device, sockets
from benchmarks.measure import Circumstances, Measured, Unable, median_of, percentile, workload

ROUND_TRIPS = 600
WARM_UP = 100
OPS = 100_000


def round_trip_figures(times: list[float]) -> Measured:
    """Return p50 and p99."""
    return {"W13": median_of(times), "W13.p99": percentile(times, 99)}


@workload("W13", "cytosol")
def _cytosol_round_trips(run: Circumstances) -> Measured:
    count = run.count(ROUND_TRIPS)
    measured = round_trip_figures(device.round_trips_us(count, WARM_UP, uvloop=False))
    if importlib.util.find_spec("uvloop") is not None:
        measured["W13.uvloop"] = median_of(device.round_trips_us(count, WARM_UP, uvloop=True))
    return measured


@workload("W14", "cytosol")
def _cytosol_first_sync(run: Circumstances) -> Measured:
    return {"W14": device.first_sync_s(run.count(OPS))}


def check_websockets() -> None:
    """Raise Unable if the peers have nothing to send with."""
    if importlib.util.find_spec("websockets") is None:
        raise Unable("the library websockets is not installed")


def _peers_round_trips(library: str) -> Callable[[Circumstances], Measured]:
    def side(run: Circumstances) -> Measured:
        check_websockets()
        count = run.count(ROUND_TRIPS)
        return round_trip_figures(sockets.round_trips_us(library, count, WARM_UP))

    return side


def _peers_first_sync(library: str) -> Callable[[Circumstances], Measured]:
    def side(run: Circumstances) -> Measured:
        check_websockets()
        return {"W14": sockets.first_sync_s(library, run.count(OPS))}

    return side


for _library in sockets.SIDES:
    workload("W13", _library)(_peers_round_trips(_library))
    workload("W14", _library)(_peers_first_sync(_library))
