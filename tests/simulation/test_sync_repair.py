"""Differences and disturbances that a sync has to end, or to report without wearing anyone out."""

from __future__ import annotations

from typing import Any

from cytosol.limits import SYNC_PROGRESS_TIMEOUT_S
from cytosol.protocol.effects import Call
from cytosol.protocol.events import SyncDone, SyncFailed
from cytosol.protocol.sync import RETRY_MAX_S, STUCK_RETRY_S
from tests.simulation.sync_machines import SyncWorld

FIND = "osmosis.sync.findLastSharedHistory"
LIVE = "osmosis.sync.liveUpdate"
UPDATE = "osmosis.sync.sessionUpdate"


def connected_world() -> SyncWorld:
    """Return two peers that hold the same twenty ops and have been synced."""
    world = SyncWorld(2)
    for number in range(20):
        world.replicas[number % 2].write(f"text {number}")
    world.connect(0, 1)
    world.settle()
    world.sent.clear()
    world.events.clear()
    return world


def stuck_reasons(world: SyncWorld) -> list[str]:
    """Return the reasons of all SyncFailed events."""
    return [event.reason for _, event in world.events if isinstance(event, SyncFailed)]


def test_equal_numbers_with_other_hashes_are_repaired_from_a_shared_save_point() -> None:
    """A hole in one replica is found by the hash and filled, without sending all of history."""
    world = connected_world()
    victim = world.replicas[1]
    first, *_ = victim.ops[victim.own_id]
    author = world.replicas[0].own_id
    hole = sorted(victim.ops[author])[-2]
    del victim.ops[author][hole]
    world.write(0, "one more")
    world.settle()
    world.check_equal()
    assert FIND in world.sent
    assert [] == stuck_reasons(world)
    assert first in victim.ops[victim.own_id]


def test_histories_without_a_shared_save_point_are_sent_whole() -> None:
    """With a hole near the beginning no save point is shared, and everything is exchanged."""
    world = connected_world()
    author = world.replicas[0].own_id
    del world.replicas[1].ops[author][min(world.replicas[1].ops[author])]
    world.write(1, "one more")
    world.settle()
    world.check_equal()
    assert FIND in world.sent


def test_hashes_that_stay_different_are_reported_and_seldom_tried_again() -> None:
    """Three repairs, then SyncFailed and a pause; what is written goes on travelling."""
    world = connected_world()
    lie = "ab" * 64

    def tamper(method: str, value: Any) -> Any:
        if method == "osmosis.sync.stateSummary":
            value["state"]["hash"] = lie
        elif method == "result of " + LIVE:
            value["hash"] = lie
        return value

    world.tamper = tamper
    world.write(0, "a difference")
    world.run(STUCK_RETRY_S / 2)
    assert 3 == world.sent.count(FIND)
    assert 2 == len(stuck_reasons(world))
    assert "their state hashes differ" in stuck_reasons(world)[0]
    world.write(0, "live in spite of it")
    world.run(1.0)
    assert "live in spite of it" in world.replicas[1].texts()
    assert 3 == world.sent.count(FIND)
    world.tamper = None
    world.write(1, "and now the hashes are equal")
    world.settle()
    world.check_equal()
    assert 2 == len(stuck_reasons(world))


def test_a_lost_live_update_is_repaired_by_the_next_exchange() -> None:
    """A call without an answer makes a full sync, which brings what was lost."""
    world = connected_world()
    machine = world.machines[0, 1]
    world.replicas[0].write("lost")
    machine.local_changes(world.now)
    (call,) = machine.take_effects()
    assert isinstance(call, Call)
    machine.receive_error(call.call_id, -32004, "no answer in time", world.now)
    world._obey(0, 1)
    world.settle()
    world.check_equal()
    assert "lost" in world.replicas[1].texts()


def test_a_full_disk_at_the_peer_pauses_and_does_not_end_the_connection() -> None:
    """Refused for a while, with growing pauses; then everything arrives."""
    world = connected_world()
    world.replicas[1].disk_is_full = True
    world.write(0, "kept")
    world.run(300.0)
    assert [] == world.failures
    assert len(world.sent) < 80
    assert any("disk is full" in reason for reason in stuck_reasons(world))
    world.replicas[1].disk_is_full = False
    world.run(2 * RETRY_MAX_S)
    world.settle()
    world.check_equal()
    assert "kept" in world.replicas[1].texts()


def test_a_session_without_progress_is_given_up_and_tried_again() -> None:
    """One side goes silent in the middle of a session and comes back later."""
    world = SyncWorld(2)
    world.replicas[0].write("text")
    silent = True

    original = world._send

    def send(a: int, b: int, act: Any) -> None:
        if not silent or a == 1:
            original(a, b, act)

    world._send = send  # type: ignore[method-assign]  # a link that loses one direction
    world.connect(0, 1)
    world.run(4 * SYNC_PROGRESS_TIMEOUT_S)
    assert {"text"} != world.replicas[1].texts()
    assert 1 < world.sent.count("osmosis.sync.stateSummary") < 12
    silent = False
    world.settle()
    world.check_equal()
    assert {"text"} == world.replicas[1].texts()


def test_the_smaller_peer_opens_if_the_greater_one_does_not() -> None:
    """After a few seconds without a session the other side opens one."""
    world = SyncWorld(2)
    world.replicas[0].write("text")
    world.connect(0, 1)
    world.machines[1, 0]._session = None  # it forgot
    world._queue.clear()
    world.settle()
    world.check_equal()
    assert {"text"} == world.replicas[1].texts()


def test_both_sides_may_find_a_difference_at_once() -> None:
    """Two sessions cross; that of the greater id stands and one is enough."""
    world = connected_world()
    for a, b in ((0, 1), (1, 0)):
        world.machines[a, b]._open(world.now)
        world._obey(a, b)
    world.settle()
    world.check_equal()
    done = [who for who, event in world.events if isinstance(event, SyncDone)]
    assert [0, 1] == sorted(done)


def test_an_adopted_base_with_less_in_it_makes_a_full_sync() -> None:
    """A replica that holds less than before has been replaced; live sync does not go on blindly."""
    world = connected_world()
    replica = world.replicas[1]
    del replica.ops[replica.own_id][max(replica.ops[replica.own_id])]
    world.changed(1)
    world.settle()
    world.check_equal()
    assert "osmosis.sync.stateSummary" in world.sent


def test_a_peer_that_says_less_than_before_makes_a_full_sync() -> None:
    """The same, seen from the other side."""
    world = connected_world()
    replica = world.replicas[1]
    del replica.ops[replica.own_id][max(replica.ops[replica.own_id])]
    world.write(0, "a reason to talk")
    world.settle()
    world.check_equal()
    assert "osmosis.sync.stateSummary" in world.sent


def test_a_peer_that_does_not_take_in_what_it_confirms_makes_a_full_sync() -> None:
    """An answer that does not cover what was sent is no answer."""
    world = connected_world()

    def tamper(method: str, value: Any) -> Any:
        if method == LIVE:
            world.tamper = None
            value["batch"] = "W10="  # an empty list
            value.pop("latest")
        return value

    world.tamper = tamper
    world.write(0, "swallowed")
    world.settle()
    world.check_equal()
    assert "osmosis.sync.stateSummary" in world.sent
    assert "swallowed" in world.replicas[1].texts()
