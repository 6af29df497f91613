"""Hypothesis strategies: JSON values, paths, actions, documents, and what happens in a world.

```python
from hypothesis import given
from cytosol.testing import World, strategies

@given(strategies.schedules(devices=2))
def test_my_app(schedule):
    with World() as world:
        world.devices(2)
        strategies.play(world, schedule)
        world.heal()
        world.settle()
```

A failing example is made smaller by Hypothesis, and printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cytosol.errors import ActionError, FailureError, SaveError
from cytosol.limits import INTEGER_MAX, INTEGER_MIN
from cytosol.testing.device import Device
from cytosol.testing.disk import PowerCut
from cytosol.testing.world import World

__all__ = [
    "Step",
    "actions",
    "documents",
    "json_values",
    "keys",
    "play",
    "scalars",
    "schedules",
]

FEW_KEYS: Final = ("a", "b", "c")


def keys() -> SearchStrategy[str]:
    """Any keys of objects: a few that meet again and again, and any other text."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    return st.one_of(st.sampled_from(FEW_KEYS), st.sampled_from(FEW_KEYS), text)


def scalars() -> SearchStrategy[Any]:
    """All JSON values without parts that a document may hold."""
    integers = st.integers(INTEGER_MIN, INTEGER_MAX)
    floats = st.floats(allow_nan=False, allow_infinity=False)
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    small = st.integers(-3, 3)
    return st.one_of(st.none(), st.booleans(), small, integers, floats, text)


def json_values(max_leaves: int = 10) -> SearchStrategy[Any]:
    """All JSON values that a document may hold, of a moderate size."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys(), inner, max_size=4),
        max_leaves=max_leaves,
    )


def documents(max_leaves: int = 20) -> SearchStrategy[dict[str, Any]]:
    """Whole documents."""
    return st.dictionaries(keys(), json_values(max_leaves), max_size=5)


def _paths() -> SearchStrategy[str]:
    """Paths to places that often exist: few keys, small indexes, a wildcard now and then."""
    step = st.one_of(
        st.sampled_from([f".{key}" for key in FEW_KEYS]),
        st.sampled_from([f".{key}" for key in FEW_KEYS]),
        st.integers(-1, 3).map(lambda index: f"[{index}]"),
        st.just("[*]"),
    )
    return st.lists(step, min_size=1, max_size=3).map(lambda steps: "$" + "".join(steps))


def actions(*, transactions: bool = True) -> SearchStrategy[dict[str, Any]]:
    """Messages for `dispatch`: well-formed, and often refused by the document at hand."""
    paths, values = _paths(), json_values(5)

    def message(name: str, payloads: SearchStrategy[Any] | None) -> SearchStrategy[dict[str, Any]]:
        fields: dict[str, SearchStrategy[Any]] = {"action": st.just(name), "path": paths}
        if payloads is not None:
            fields["payload"] = payloads
        return st.fixed_dictionaries(fields)

    single = st.one_of(
        *[message(name, values) for name in ("Set", "Set", "InsertUnique")],
        *[message(name, values) for name in ("InsertBefore", "InsertAfter")],
        *[message(name, None) for name in ("Delete", "InitObject", "InitArray")],
        *[message(name, st.integers(-3, 3)) for name in ("Add", "Multiply")],
        *[message(name, paths) for name in ("Move", "Copy")],
    )
    if not transactions:
        return single
    group = st.fixed_dictionaries(
        {"action": st.just("Transaction"), "payload": st.lists(single, min_size=1, max_size=4)}
    )
    return st.one_of(single, single, single, group)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens in a world: `what`, to the device of that number.

    `argument` is an action for "dispatch", a number of seconds for "run" and "clock", the number of
    another device for "partition" and "one_way", of writes for "cut_in_write", else None.
    """

    what: str
    device: int = 0
    argument: Any = None


def schedules(
    devices: int = 2, *, max_steps: int = 20, faults: bool = True
) -> SearchStrategy[list[Step]]:
    """What happens in a world of some devices: writes, time, and (with `faults`) what fails."""
    numbers = st.integers(0, devices - 1)

    def step(what: str, arguments: SearchStrategy[Any]) -> SearchStrategy[Step]:
        return st.builds(Step, st.just(what), numbers, arguments)

    nothing = st.none()
    steps = [
        step("dispatch", actions()),
        step("dispatch", actions()),
        step("dispatch", actions()),
        step("run", st.sampled_from([0.001, 0.1, 5.0, 60.0])),
    ]
    if faults:
        steps += [
            step("partition", numbers),
            step("one_way", numbers),
            step("heal", nothing),
            step("crash", nothing),
            step("start", nothing),
            step("restart", nothing),
            step("cut_in_write", st.integers(1, 4)),
            step("clock", st.sampled_from([-3600.0, 3600.0, 1e8])),
        ]
    return st.lists(st.one_of(steps), max_size=max_steps)


def play(world: World, schedule: Sequence[Step], devices: Sequence[Device] | None = None) -> None:
    """Let a schedule happen to some devices of a world (default: all), which are up afterwards.

    What the document or the disk refuses is passed over, and a device that is down does nothing.
    """
    chosen = list(world.all if devices is None else devices)
    for step in schedule:
        device = chosen[step.device % len(chosen)]
        if not device.is_up and step.what not in ("start", "run", "heal"):
            continue
        try:
            _STEPS[step.what](world, chosen, device, step.argument)
        except PowerCut as cut:
            world.died(cut)
        world.check()
    for device in chosen:
        if not device.has_real_files:
            device.virtual_disk.stay_powered()
        device.start()


def _dispatch(world: World, devices: list[Device], device: Device, argument: Any) -> None:
    with suppress(FailureError, ActionError, SaveError):
        device.dispatch(argument)


def _part(world: World, devices: list[Device], device: Device, argument: Any) -> None:
    other = devices[argument % len(devices)]
    if other is not device:
        world.partition(device, other)


def _part_one_way(world: World, devices: list[Device], device: Device, argument: Any) -> None:
    other = devices[argument % len(devices)]
    if other is not device:
        world.partition(device, other, one_way=True)


def _cut_in_write(world: World, devices: list[Device], device: Device, count: int) -> None:
    if device.has_real_files:  # whose writes nobody can cut
        device.crash()
    else:
        device.cut_power_at_write(count)


_STEPS: Final[dict[str, Callable[[World, list[Device], Device, Any], object]]] = {
    "dispatch": _dispatch,
    "partition": _part,
    "one_way": _part_one_way,
    "run": lambda world, devices, device, seconds: world.run(seconds),
    "heal": lambda world, devices, device, argument: world.heal(),
    "crash": lambda world, devices, device, argument: device.crash(),
    "start": lambda world, devices, device, argument: device.start(),
    "restart": lambda world, devices, device, argument: device.restart(),
    "cut_in_write": _cut_in_write,
    "clock": lambda world, devices, device, seconds: device.move_clock(seconds),
}
