"""Random histories on fake replicas, joined by real machines, end equal and then are silent."""

from __future__ import annotations

import itertools

import pytest

from cytosol.protocol.events import SyncDone, SyncProgress
from tests.simulation.sync_machines import SyncWorld


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 40))]
)
def test_replicas_converge_through_lost_connections(seed: int) -> None:
    """Writes, trims, disconnects and reconnects in any order: all end equal, nothing is lost."""
    world = SyncWorld(2 + seed % 4, seed, delay_s=(0.001, 0.05, 0.5)[seed % 3])
    rnd = world.random
    written = set()
    peers = range(len(world.replicas))
    pairs = list(itertools.combinations(peers, 2))
    for number in range(120):
        what = rnd.random()
        if what < 0.6:
            text = f"{number} " + "x" * rnd.choice((1, 10, 1_000, 1_000, 100_000))
            written.add(text)
            world.write(rnd.choice(peers), text)
        elif what < 0.75:
            pair = rnd.choice(pairs)
            if pair not in world.machines:
                world.connect(*pair)
        elif what < 0.85:
            world.disconnect(*rnd.choice(pairs))
        elif what < 0.87:
            who = rnd.choice(peers)
            world.replicas[who].trim()
        if rnd.random() < 0.7:
            world.run(rnd.choice((0.001, 0.02, 0.3, 5.0)))
    world.connect_all()
    world.settle()
    world.check_equal()
    assert written == world.replicas[0].texts()


@pytest.mark.parametrize("seed", range(10))
def test_a_chain_relays_what_its_ends_write(seed: int) -> None:
    """A and C that never meet converge through B."""
    world = SyncWorld(3, seed)
    world.connect(0, 1)
    world.connect(1, 2)
    for number in range(20):
        world.write(number % 3, f"text {number}")
        world.run(0.005)
    world.settle()
    world.check_equal()
    assert {f"text {number}" for number in range(20)} == world.replicas[2].texts()


def test_many_writes_make_few_messages() -> None:
    """What is written while calls are on their way travels together in the next one."""
    world = SyncWorld(2, delay_s=0.1)
    world.connect(0, 1)
    world.settle()
    world.sent.clear()
    for number in range(300):
        world.write(0, f"text {number}")
    world.settle()
    world.check_equal()
    assert 3 == len(world.sent)


def test_a_peer_does_not_get_its_own_ops_back() -> None:
    """Between two peers, one live update a write is all that travels."""
    world = SyncWorld(2)
    world.connect(0, 1)
    world.settle()
    world.sent.clear()
    for number in range(10):
        world.write(number % 2, f"text {number}")
        world.settle()
    world.check_equal()
    assert ["osmosis.sync.liveUpdate"] * 10 == world.sent


def test_writes_during_a_full_sync_arrive_too() -> None:
    """Both sides keep writing while megabytes are exchanged, and nothing waits for the sync."""
    world = SyncWorld(2, delay_s=0.05)
    for number in range(40):
        world.replicas[number % 2].write(f"old {number} " + "x" * 100_000)
    world.connect(0, 1)
    for number in range(60):
        world.write(number % 2, f"new {number}")
        world.run(0.02)
    world.settle()
    world.check_equal()
    assert 100 == len(world.replicas[0].texts())


def test_a_full_sync_ends_although_the_writing_never_does() -> None:
    """Rounds are bounded: live sync takes over what is written all the while."""
    world = SyncWorld(2, delay_s=0.05)
    world.replicas[0].write("first")
    world.connect(0, 1)
    for number in range(400):
        world.write(number % 2, f"new {number}")
        world.run(0.01)
    done = [event for _, event in world.events if isinstance(event, SyncDone)]
    assert 2 == len(done)
    assert "osmosis.sync.liveUpdate" in world.sent
    world.settle()
    world.check_equal()


def test_memory_of_a_full_sync_is_bounded() -> None:
    """A large history leaves in a window of batches, however slow the network is."""
    world = SyncWorld(2, delay_s=1.0)
    for number in range(100):
        world.replicas[0].write(f"{number} " + "x" * 200_000)
    world.connect(0, 1)
    open_calls = peak = 0

    def count(method: str, value: object) -> object:
        nonlocal open_calls, peak
        open_calls += (method == "osmosis.sync.sessionUpdate") - (
            method == "result of osmosis.sync.sessionUpdate"
        )
        peak = max(peak, open_calls)
        return value

    world.tamper = count
    world.settle()
    world.check_equal()
    assert 5 == peak  # four of one side and the empty last one of the other


def test_a_first_sync_tells_how_far_it_is() -> None:
    """From the first batch to the last, and then that it is done; the giver is told of no batch."""
    world = SyncWorld(2, 1)
    for number in range(20):
        world.write(0, f"{number} " + "x" * 100_000)
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    progress = [
        event for who, event in world.events if who == 1 and isinstance(event, SyncProgress)
    ]
    shares = [event.done for event in progress]
    assert shares == sorted(set(shares), key=lambda share: share or 0.0)
    assert len(shares) > 3
    assert 1.0 == shares[-1]
    assert progress[-1].received_bytes > 2_000_000
    assert isinstance([event for who, event in world.events if who == 1][-1], SyncDone)
    given = [event for who, event in world.events if who == 0 and isinstance(event, SyncProgress)]
    assert {None} >= {event.done for event in given}
