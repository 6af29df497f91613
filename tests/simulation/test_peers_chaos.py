"""Random lives of a few peers: once the faults stop, all are connected and equal again."""

from __future__ import annotations

import itertools
import os

import pytest

from cytosol.protocol.events import PeerConnected, PeerDisconnected
from tests.simulation.peer_world import PeerWorld, SimPeer

SEEDS = int(os.environ.get("PEER_CHAOS_SEEDS", "12"))


def step(world: PeerWorld, peers: list[SimPeer]) -> None:
    """Let one thing happen that happens to devices."""
    one, other = world.random.sample(peers, 2)
    match world.random.randrange(10):
        case 0 if one.is_up:
            one.crash(silently=world.random.random() < 0.5)
        case 1 if one.is_up:
            one.stop()
        case 2 | 3 if not one.is_up:
            one.restart()
        case 4:
            world.block(one, other)
        case 5 | 6:
            world.unblock(one, other)
        case 7 if one.is_up:
            one.command("set_visible", world.random.random() < 0.7)
        case 8 if one.is_up:
            one.command("set_sync_enabled", world.random.random() < 0.8)
        case _ if one.is_up:
            one.write()
        case _:
            pass


def check(peer: SimPeer) -> None:
    """Check what must hold for a peer at any time."""
    if not peer.is_up:
        return
    for other in peer.world.peers:
        told = [
            type(event)
            for event in peer.events
            if isinstance(event, PeerConnected | PeerDisconnected) and event.peer_id == other.id
        ]
        # Connected and disconnected take turns, so there was never a second connection.
        assert all(one is not two for one, two in itertools.pairwise(told))
        assert told[:1] in ([], [PeerConnected])
    assert len(peer.ends) <= 64


@pytest.mark.parametrize("seed", range(SEEDS))
def test_peers_recover_from_everything(seed: int) -> None:
    """Crashes, stops, partitions, losses, switches; then quiet: all connected, all equal.

    Replay one seed with `pytest tests/simulation/test_peers_chaos.py -k '[SEED]'`.
    """
    world = PeerWorld(seed)
    peers = [world.add_peer(name) for name in ("Alice", "Bob", "Carol", "Dave")]
    for peer in peers[1:]:
        world.pair(peers[0], peer)
    world.run(5.0)
    world.loss, world.duplicates = 0.3, 0.1
    for _ in range(60):
        step(world, peers)
        world.run(world.random.choice((0.01, 0.3, 2.0, 15.0)))
        for peer in peers:
            check(peer)
            if not peer.is_up:
                peer.events.clear()
    world.loss, world.duplicates = 0.0, 0.0
    world.blocked.clear()
    for peer in peers:
        if not peer.is_up:
            peer.events.clear()
            peer.restart()
        peer.command("set_visible", True)
        peer.command("set_sync_enabled", True)
    pairs = [(one, other) for one in peers for other in peers if one is not other]
    world.run_until(lambda: all(one.is_connected(other) for one, other in pairs), 300.0)
    world.run(10.0)
    for peer in peers:
        check(peer)
        assert peers[0].replica.counts == peer.replica.counts
