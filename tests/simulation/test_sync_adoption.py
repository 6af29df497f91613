"""A peer that lacks trimmed history adopts a snapshot, however often it is cut off."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.protocol.events import SyncDone, SyncFailed, SyncProgress
from tests.simulation.sync_machines import SyncWorld, peer

MEGABYTE = "x" * 1_000_000


def trimmed_world(megabytes: int = 5) -> SyncWorld:
    """Return two peers that have not met: the first has trimmed all it wrote, the other wrote."""
    world = SyncWorld(2)
    for number in range(megabytes):
        world.replicas[0].write(f"{number} {MEGABYTE}")
    world.replicas[0].trim()
    world.replicas[1].write("mine")
    return world


def chunk_offsets(world: SyncWorld) -> list[int]:
    """Return a list to which the offset of each chunk asked for from now on is added."""
    offsets: list[int] = []

    def note(method: str, value: Any) -> Any:
        if method == "cytosol.sync.snapshot":
            offsets.append(value["offset"])
        return value

    world.tamper = note
    return offsets


def test_a_newcomer_adopts_and_keeps_what_it_wrote() -> None:
    """The base travels in chunks, then the rest is merged as always."""
    world = trimmed_world()
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    assert 1 == world.replicas[1].adopted
    assert 0 == world.replicas[0].adopted
    assert "mine" in world.replicas[0].texts()
    progress = [event for who, event in world.events if who == 1]
    chunks = [event for event in progress if isinstance(event, SyncProgress)][:5]
    size = chunks[-1].received_bytes
    assert [each.received_bytes / size for each in chunks] == [each.done for each in chunks]
    assert 1.0 == chunks[-1].done
    assert isinstance(progress[-1], SyncDone)


def test_a_fetch_goes_on_where_a_lost_connection_stopped_it() -> None:
    """Five connections, each lost after a while: no chunk travels twice."""
    world = trimmed_world(megabytes=12)
    offsets = chunk_offsets(world)
    while not world.replicas[1].adopted:
        world.connect(0, 1)
        before = len(offsets)
        while not world.replicas[1].adopted and len(offsets) < before + 4:
            world.step()
        world.disconnect(0, 1)
    assert sorted(offsets) == offsets
    assert 13 <= len(offsets) <= 20  # the chunk on its way is lost, those before are not
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    assert 0 == len(world.caches[1])


def test_a_fetch_starts_again_when_the_snapshot_has_changed_meanwhile() -> None:
    """Chunks of another snapshot are thrown away; the new one comes whole."""
    world = trimmed_world()
    offsets = chunk_offsets(world)
    world.connect(0, 1)
    while len(offsets) < 3:
        world.step()
    world.disconnect(0, 1)
    world.replicas[0].write("newer")
    world.replicas[0].trim()
    offsets.clear()
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    assert [2_097_152, 0] == offsets[:2]
    assert 1 == world.replicas[1].adopted


def test_a_fetch_starts_again_when_the_new_snapshot_is_shorter() -> None:
    """The server answers an offset beyond the end with the first chunk."""
    world = trimmed_world()
    world.caches[1].begin(peer(1), bytes(64)).extend(bytes(9_000_000))
    offsets = chunk_offsets(world)
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    assert [9_000_000, 1_048_576] == offsets[:2]


def test_a_snapshot_that_cannot_be_saved_is_kept_and_tried_again() -> None:
    """With a full disk nothing is lost and nothing travels twice; once there is room, it adopts."""
    world = trimmed_world()
    world.replicas[1].disk_is_full = True
    offsets = chunk_offsets(world)
    world.connect(0, 1)
    world.run(30.0)
    assert 5 < len(offsets) < 20
    assert 1 == offsets.count(0)
    stuck = [event for _, event in world.events if isinstance(event, SyncFailed)]
    assert any("disk is full" in event.reason for event in stuck)
    world.replicas[1].disk_is_full = False
    world.settle()
    world.check_equal()


@pytest.mark.parametrize("trims", [(True, True), (True, False), (False, True)])
def test_two_devices_that_were_both_used_before_they_met(trims: tuple[bool, bool]) -> None:
    """Whoever trimmed, exactly one adopts, and both end with what both wrote."""
    world = SyncWorld(2)
    for who, number in ((0, 3), (1, 5)):
        for text in range(number):
            world.replicas[who].write(f"{who} {text}")
        if trims[who]:
            world.replicas[who].trim()
    world.connect(0, 1)
    world.settle()
    world.check_equal()
    assert 8 == len(world.replicas[0].texts())
    assert 1 == world.replicas[0].adopted + world.replicas[1].adopted


def test_a_peer_behind_our_trim_point_adopts_while_connected() -> None:
    """Live sync notices that what the peer lacks was trimmed, and asks for a full sync."""
    world = SyncWorld(2)
    world.connect(0, 1)
    world.settle()
    world.replicas[0].write("gone")
    world.replicas[0].trim()
    world.changed(0)
    world.settle()
    world.check_equal()
    assert 1 == world.replicas[1].adopted
