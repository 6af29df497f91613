"""What the virtual world does to real databases, one thing at a time."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cytosol import DatabaseClosedError, PairResponse, SaveError, Set
from cytosol.testing import Conditions, PowerCut, World
from cytosol.testing.pytest_plugin import (
    cytosol_seed,  # noqa: F401  # a fixture that pytest finds by its name
    cytosol_world,  # noqa: F401  # a fixture that pytest finds by its name
)


def test_devices_are_equal_after_a_partition(cytosol_world: World) -> None:  # noqa: F811  # the fixture
    """Both sides write meanwhile, and nothing is lost."""
    a, b = cytosol_world.devices(2)
    cytosol_world.partition(a, b)
    a.dispatch(Set("$.x", 1))
    b.dispatch(Set("$.y", 2))
    cytosol_world.run(60)
    assert {"x": 1} == a.document
    assert not a.is_connected(b)
    cytosol_world.heal()
    cytosol_world.settle()
    assert {"x": 1, "y": 2} == a.document == b.document


def test_what_was_acknowledged_outlives_a_power_cut(cytosol_world: World) -> None:  # noqa: F811  # the fixture
    """And the other device hears of it from the restarted one."""
    a, b = cytosol_world.devices(2)
    cytosol_world.partition(a, b)
    a.dispatch(Set("$.x", 1))
    a.crash()
    with pytest.raises(DatabaseClosedError, match="device-1 is down"):
        a.dispatch(Set("$.x", 2))
    a.start()
    assert {"x": 1} == a.document
    cytosol_world.heal()
    cytosol_world.settle()
    assert {"x": 1} == b.document


@pytest.mark.parametrize("seed", range(10))
def test_a_write_that_a_power_cut_interrupts_is_there_whole_or_not_at_all(seed: int) -> None:
    """The log on the disk is torn at any byte."""
    with World(seed) as world:
        a = world.device()
        a.dispatch(Set("$.x", 1))
        a.cut_power_at_write(1 + seed % 2)
        with pytest.raises(PowerCut):
            a.dispatch(Set("$.text", "y" * 2_000))
        assert not a.is_up
        a.start()
        assert a.document in ({"x": 1}, {"x": 1, "text": "y" * 2_000})
        a.check()


def test_a_full_disk_refuses_and_changes_nothing(cytosol_world: World) -> None:  # noqa: F811  # the fixture
    """Until there is space again."""
    a = cytosol_world.device()
    a.fill_disk(10)
    with pytest.raises(SaveError, match="full"):
        a.dispatch(Set("$.x", 1))
    assert {} == a.document
    a.free_disk()
    a.dispatch(Set("$.x", 2))
    a.restart()
    assert {"x": 2} == a.document


def history(seed: int) -> tuple[Any, ...]:
    with World(seed) as world:
        a, b = world.devices(2)
        world.conditions.loss = 0.3
        a.dispatch(Set("$.x", 1))
        world.run(100)
        return world.network.fingerprint, world.clock.events, a.peer_id, b.state_hash()


def test_a_seed_makes_one_history() -> None:
    """Equal seeds equal ones, different seeds different ones."""
    assert history(1) == history(1) != history(2)


def test_a_callback_that_raises_fails_the_test() -> None:
    """The database goes on and reports it; the test of an app must not pass all the same."""
    with World() as world:
        a, _ = world.devices(2, app=lambda db: db.subscribe("$.x", lambda values: values[0]))
        with pytest.raises(
            AssertionError, match="a callback of the app on device-1 raised IndexError"
        ):
            world.settle()
        for device in world.all:
            assert device.callback_errors
            device.callback_errors.clear()
        a.dispatch(Set("$.x", 1))
        world.settle()


def test_pairing_with_a_device_that_came_back_elsewhere_is_asked_again() -> None:
    """It still shows where it was, until its next heartbeat arrives."""
    with World() as world:
        a, b = world.device(), world.device()
        world.run_until(lambda: a.sees(b))
        refused: list[PairResponse] = []
        a.on("pair_response", refused.append)
        world.partition(a, b)
        b.restart()
        world.run(10)
        world.network.heal()
        world.pair(a, b)
        assert [False] == [response.accepted for response in refused]


def test_what_does_not_happen_is_named_with_its_reason() -> None:
    """A stranger sees that it is the partition, and not the database."""
    with World() as world:
        a, b = world.device("A"), world.device("B")
        world.partition(a, b)
        with pytest.raises(
            AssertionError, match=r"that A asks B to pair within 120 .*: heal\(\) ends it"
        ):
            world.pair(a, b)
        world.heal()
        world.pair(a, b)
        world.partition(a)
        a.dispatch(Set("$.x", 1))
        with pytest.raises(AssertionError, match=r"A and B differ .*: heal\(\) ends it"):
            world.settle(5)
        world.heal()
        world.conditions.loss = 1.0
        with pytest.raises(AssertionError, match="of all packets 100% get lost"):
            world.settle(5)


def test_what_is_no_device_is_told() -> None:
    """Names, devices of other worlds, and a device and itself."""
    with World() as world:
        a, b = world.devices(2)
        with pytest.raises(TypeError, match="not their names"):
            world.partition("device-1", b)  # type: ignore[arg-type]
        with World() as elsewhere, pytest.raises(ValueError, match="two different devices"):
            world.pair(a, elsewhere.device())
        with pytest.raises(ValueError, match="two different devices"):
            world.pair(a, a)


@pytest.mark.parametrize(
    ("name", "value", "error", "sentence"),
    [
        ("loss", 30, ValueError, "loss is a fraction from 0 to 1 (0.3 loses 30 % of all packets)"),
        ("loss", -0.1, ValueError, "loss is a fraction from 0 to 1"),
        ("loss", float("nan"), ValueError, "loss is a fraction from 0 to 1"),
        ("loss", "0.3", TypeError, "loss is a fraction from 0 to 1"),
        ("loss", True, TypeError, "loss is a fraction from 0 to 1"),
        ("duplicates", 1.5, ValueError, "duplicates is a fraction from 0 to 1"),
        ("delay_s", -1, ValueError, "delay_s is a number of seconds, 0 or more, not -1"),
        ("delay_s", None, TypeError, "delay_s is a number of seconds"),
        ("jitter_s", float("inf"), ValueError, "jitter_s is a number of seconds"),
        ("broadcast", 0, TypeError, "broadcast is True or False, not 0"),
        ("losses", 0.3, AttributeError, "there are loss, duplicates, delay_s, jitter_s and broad"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(
    name: str, value: Any, error: type[Exception], sentence: str
) -> None:
    """Set or given when they are made; what was set before stands."""
    conditions = Conditions(loss=0.2)
    with pytest.raises(error, match=re.escape(sentence)):
        setattr(conditions, name, value)
    assert Conditions(loss=0.2) == conditions
    if error is not AttributeError:
        with pytest.raises(error, match=re.escape(sentence)):
            Conditions(**{name: value})


def test_conditions_go_to_the_ends_of_what_makes_sense() -> None:
    """Nothing arrives, and all of it twice; at once, or after hours."""
    conditions = Conditions(loss=1, duplicates=1.0, delay_s=0, jitter_s=7_200, broadcast=False)
    assert (1, 1, 0, 7_200) == (
        conditions.loss,
        conditions.duplicates,
        conditions.delay_s,
        conditions.jitter_s,
    )
