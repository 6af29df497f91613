"""W13, W14, W18 and W19: two processes over loopback. Wall time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from benchmarks import connections, device, served, sockets
from benchmarks.measure import Circumstances, Measured, Unable, median_of, percentile, workload
from benchmarks.opening import document_mb
from benchmarks.resident import Peak

ROUND_TRIPS = 600
WARM_UP = 100
OPS = 100_000
MANY_OPS = 1_000_000

Side = Callable[[Circumstances], Measured]


def round_trip_figures(name: str, times: list[float]) -> Measured:
    """Return p50 and p99."""
    return {name: median_of(times), f"{name}.p99": percentile(times, 99)}


def sync_figures(run: Circumstances, took_s: float, peak: Peak) -> Measured:
    """Return the rows of W19."""
    document = document_mb(run.shape, run.count(MANY_OPS))
    at_most = peak.at_most_mb()
    return {"W19": took_s, "W19.peak": at_most, "W19.times": at_most / document}


@workload("W13", "cytosol")
def _cytosol_round_trips(run: Circumstances) -> Measured:
    count, warm_up = run.count(ROUND_TRIPS), run.count(WARM_UP)
    times = device.round_trips_us(count, warm_up, uvloop=False, shape=run.shape)
    measured = round_trip_figures("W13", times)
    if importlib.util.find_spec("uvloop") is not None:
        times = device.round_trips_us(count, warm_up, uvloop=True, shape=run.shape)
        measured["W13.uvloop"] = median_of(times)
    return measured


@workload("W14", "cytosol")
def _cytosol_first_sync(run: Circumstances) -> Measured:
    return {"W14": device.first_sync(run.count(OPS), run.shape)[0]}


@workload("W18", "cytosol")
def _cytosol_connections(run: Circumstances) -> Measured:
    count, warm_up = run.count(ROUND_TRIPS), run.count(WARM_UP)
    return round_trip_figures("W18", connections.round_trips_us(count, warm_up, run.shape))


@workload("W19", "cytosol")
def _cytosol_sync_of_many(run: Circumstances) -> Measured:
    return sync_figures(run, *device.first_sync(run.count(MANY_OPS), run.shape))


def check_websockets() -> None:
    """Raise Unable if the peers have nothing to send with."""
    if importlib.util.find_spec("websockets") is None:
        raise Unable("the library websockets is not installed")


def _round_trips_of(times: Callable[[int, int, int], list[float]]) -> Side:
    def side(run: Circumstances) -> Measured:
        check_websockets()
        count, warm_up = run.count(ROUND_TRIPS), run.count(WARM_UP)
        return round_trip_figures("W13", times(count, warm_up, run.shape))

    return side


def _first_sync_of(sync: Callable[[int, int], tuple[float, Peak]]) -> Side:
    def side(run: Circumstances) -> Measured:
        check_websockets()
        return {"W14": sync(run.count(OPS), run.shape)[0]}

    return side


def _sync_of_many(sync: Callable[[int, int], tuple[float, Peak]]) -> Side:
    def side(run: Circumstances) -> Measured:
        check_websockets()
        return sync_figures(run, *sync(run.count(MANY_OPS), run.shape))

    return side


def _register(
    library: str,
    times: Callable[[int, int, int], list[float]],
    sync: Callable[[int, int], tuple[float, Peak]],
) -> None:
    workload("W13", library)(_round_trips_of(times))
    workload("W14", library)(_first_sync_of(sync))
    workload("W19", library)(_sync_of_many(sync))


_register("pycrdt-websocket", served.round_trips_us, served.first_sync)
for _library in sockets.SIDES:
    _register(
        _library,
        lambda count, warm_up, shape, library=_library: sockets.round_trips_us(  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
            library, count, warm_up, shape
        ),
        lambda ops, shape, library=_library: sockets.first_sync(library, ops, shape),  # type: ignore[misc]  # as above
    )
