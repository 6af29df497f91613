"""Alice, who must survive everything, and Mallory, who is driven by hand."""

from __future__ import annotations

import pytest

from tests.hostile.raw_peer import RawPeer
from tests.simulation.peer_world import PeerWorld, SimPeer


@pytest.fixture
def world() -> PeerWorld:
    """A world with one peer, Alice."""
    world = PeerWorld()
    world.add_peer("Alice")
    return world


@pytest.fixture
def alice(world: PeerWorld) -> SimPeer:
    return world.peers[0]


@pytest.fixture
def mallory(world: PeerWorld, alice: SimPeer) -> RawPeer:
    """A stranger whom Alice has heard."""
    mallory = RawPeer(world)
    mallory.appear_to(alice)
    return mallory
