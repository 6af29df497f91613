"""Alice, who must survive everything, and Mallory, who is driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.hostile.raw_peer import RawPeer
from tests.hostile.real_devices import Field
from tests.simulation.peer_machines import PeerWorld, SimPeer


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


class Kept:
    """The real devices, which serve one test after the other until one of them breaks."""

    def __init__(self) -> None:
        self.field: Field | None = None

    def get(self) -> Field:
        if self.field is None:
            self.field = Field()
        return self.field

    def stop(self) -> None:
        field, self.field = self.field, None
        if field is not None:
            field.stop()


@pytest.fixture(scope="session")
def kept_field() -> Iterator[Kept]:
    """Keep the real devices for all tests."""
    kept = Kept()
    yield kept
    kept.stop()


@pytest.fixture
def field(kept_field: Kept, record_property: Callable[[str, object], None]) -> Iterator[Field]:
    """Real devices under attack; afterwards everything must be as it was (see `Field`)."""
    field = kept_field.get()
    try:
        with field.under_attack() as figures:
            yield field
    except BaseException:
        kept_field.stop()
        raise
    record_property("attack", [figures.memory_bytes, figures.p99_s, figures.slow])


@pytest.fixture
def fresh_field(record_property: Callable[[str, object], None]) -> Iterator[Field]:
    """Real devices of its own for an attack that leaves something behind on purpose."""
    with Field() as field:
        with field.under_attack() as figures:
            yield field
        record_property("attack", [figures.memory_bytes, figures.p99_s, figures.slow])
