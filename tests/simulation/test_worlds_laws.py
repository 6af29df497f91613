"""Merging in any order, equal within three rounds, no dispatch that waits: held by every world.

The first part shows that the checkers look at something, the second that they notice mistakes.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

import cytosol
from cytosol import Add, Delete, InitArray, InsertAfter, Set
from cytosol.crdt.replica import Replica
from cytosol.testing import World
from cytosol.testing.chaos import run_world
from cytosol.testing.device import Device
from cytosol.testing.host import VirtualService
from cytosol.testing.laws import MIXED_MAX, Moments, check_merging
from tests.simulation.forced_trimming import trim


@pytest.fixture
def world() -> Iterator[World]:
    with World(1) as world:
        yield world


def written(world: World) -> tuple[Device, Moments]:
    """Return a device of two that have both written, with moments of it."""
    a, b = world.devices(2)
    moments = Moments(random.Random(1))
    a.dispatch(InitArray("$.list"))
    a.dispatch(Set("$.n", 0))
    world.settle()
    world.partition(a, b)
    for number in range(8):
        for device in (a, b):
            device.dispatch(InsertAfter("$.list[0]", f"{device.name} {number}"))
            device.dispatch(Add("$.n", 1))
            device.dispatch(Set("$.x", f"{device.name} {number}"))
            moments.look([a, b])
    world.heal()
    world.settle()
    return a, moments


# --- Merging ----------------------------------------------------------------------------------


def test_what_was_held_at_any_three_moments_joins_to_the_same(world: World) -> None:
    """In whatever order, and also if some of it comes again."""
    device, moments = written(world)
    assert 3 == check_merging(device, random.Random(1), moments.held)
    assert 0 == check_merging(device, random.Random(1)), "there are no moments to join"


def test_the_history_after_a_trim_obeys_the_laws_too() -> None:
    """What is merged then stands on a base."""
    with World(1) as world:
        device = world.device(max_history=16)
        moments = Moments(random.Random(1))
        for number in range(200):
            device.dispatch(Set("$.x", number))
            moments.look([device])
        assert device.db._document.replica.trimmed_count > 100
        assert 3 == check_merging(device, random.Random(1), moments.held)


def test_a_moment_whose_history_was_replaced_is_passed_over(world: World) -> None:
    """It is no state of what is left."""
    device, _ = written(world)
    latest = dict(device.db._document.replica.latest)
    gaps = [{author: index for author, index in latest.items() if author != one} for one in latest]
    assert 0 == check_merging(device, random.Random(1), [*gaps, *gaps])


def test_long_histories_are_mixed_in_parts(world: World) -> None:
    """So that no replica has to forget what came too early."""
    device = world.device()
    for number in range(MIXED_MAX + 500):
        device.dispatch(Set("$.x", number))
    assert 0 == check_merging(device, random.Random(1))


def test_a_device_may_have_given_its_whole_history_up_before_it_restarts() -> None:
    """What it had acknowledged was overwritten by itself and is trimmed; the winner knows no id."""
    with World(7) as world:
        laptop, winner = world.device("laptop"), world.device("winner")
        laptop.dispatch(Set("$.small", 1))
        laptop.dispatch(Delete("$.small"))
        trim(laptop, 100)
        for number in range(50):
            winner.dispatch(Set("$.count", number))
        trim(winner, 100)
        world.pair(laptop, winner)
        world.settle()
        replica = laptop.db._document.replica
        assert replica.author not in replica.latest, "it has adopted, and issued nothing again"
        laptop.crash()
        laptop.start()
        assert {"count": 49} == laptop.document


def test_moments_of_devices_that_are_down_are_none(world: World) -> None:
    """And of many some are kept."""
    device = world.device()
    moments = Moments(random.Random(1))
    device.stop()
    moments.look([device])
    assert [] == moments.held
    device.start()
    for _ in range(100):
        moments.look([device])
    assert 12 == len(moments.held)


def test_merging_in_the_order_of_arrival_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what a history must not depend on."""
    device, moments = written(world)
    monkeypatch.setattr(
        Replica,
        "_merged",
        lambda replica, left, right: sorted(left + right, key=lambda row: row[0]),
    )
    with pytest.raises(AssertionError, match=r"the history of device-1, .* makes another"):
        check_merging(device, random.Random(1), moments.held)


def test_counting_twice_what_comes_twice_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds one again for an op that is there already."""
    device, _ = written(world)
    merge = Replica.merge

    def merge_and_add(replica: Replica, ops: object) -> object:
        new = merge(replica, ops)  # type: ignore[arg-type]  # as it came
        if not new and "n" in replica.document:
            replica.document["n"] += 1  # type: ignore[operator]  # a number
        return new

    monkeypatch.setattr(Replica, "merge", merge_and_add)
    with pytest.raises(AssertionError, match="given once more makes another document"):
        check_merging(device, random.Random(1))


# --- Rounds -----------------------------------------------------------------------------------


def test_a_partition_costs_one_round(world: World) -> None:
    """And what is written while all are connected costs none."""
    a, b = world.devices(2)
    world.run(60.0)
    a.dispatch(Set("$.x", 1))
    world.settle()
    assert 0 == world.last_rounds
    world.partition(a, b)
    world.run(60.0)
    a.dispatch(Set("$.x", 2))
    b.dispatch(Set("$.y", 2))
    world.heal()
    world.settle()
    assert 1 == world.last_rounds


def test_more_than_three_rounds_are_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless packets get lost: then nobody promises anything."""
    a, b = world.devices(2)
    monkeypatch.setattr("cytosol.testing.world.ROUNDS_MAX", 0)
    for loss in (0.01, 0.0):
        world.partition(a, b)
        world.run(60.0)
        a.dispatch(Set("$.x", loss))
        world.heal()
        world.conditions.loss = loss
        if loss:
            world.settle()
    with pytest.raises(AssertionError, match="devices needed 1 rounds of a full sync"):
        world.settle()


# --- Dispatching ------------------------------------------------------------------------------


def send_at_once(service: VirtualService) -> None:
    service._driver.local_changes()


def wait_for_the_others(service: VirtualService) -> None:
    while service._clock.step(service._clock.now + 1.0):
        pass


@pytest.mark.parametrize("mistake", [send_at_once, wait_for_the_others])
def test_a_dispatch_that_uses_the_network_is_noticed(
    monkeypatch: pytest.MonkeyPatch, mistake: object
) -> None:
    """In a world nothing happens on the network, and no time passes, while somebody writes."""
    monkeypatch.setattr(VirtualService, "local_changes", mistake)
    with pytest.raises(AssertionError, match="a dispatch waits for the network, or uses it"):
        run_world(0, 0.1)


def test_a_real_database_is_written_while_its_network_stands_still() -> None:
    """Its thread may be busy for as long as it likes: nobody who writes waits for it."""
    app_id = "7e0b9e6c-4b9c-4f0e-8a55-2f0a2f3f7a10"
    go_on, is_busy = threading.Event(), threading.Event()

    def be_busy() -> None:
        is_busy.set()
        go_on.wait()

    with cytosol.open(None, app_id=app_id, peer_name="busy", loopback=True) as db:
        db._network._loop.post(be_busy)  # type: ignore[union-attr]  # the real one
        try:
            assert is_busy.wait(60)
            writer = threading.Thread(
                target=lambda: [db.dispatch(Set("$.x", n)) for n in range(50)]
            )
            writer.daemon = True
            writer.start()
            writer.join(60)
            assert not writer.is_alive(), "a dispatch waits for the network's thread"
            assert 49 == db.get("x")
        finally:
            go_on.set()
