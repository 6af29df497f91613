"""A long message on a slow link: its parts are progress, small talk is not."""

from __future__ import annotations

import json

import pytest

from cytosol.model.version import ZERO_HASH, StateSummary
from cytosol.protocol.events import PeerConnected, PeerDisconnected
from cytosol.protocol.sync import SyncMachine
from cytosol.wire.sync_messages import EndSessionParams, StateSummaryParams
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.peer_machines import PeerWorld, SimPeer

SESSION = "raw/1"


@pytest.fixture
def alice() -> SimPeer:
    alice = PeerWorld().add_peer("Alice", start=False)
    alice.sync_factory = SyncMachine
    alice.restart()
    return alice


@pytest.fixture
def stream(alice: SimPeer) -> RawStream:
    """A connection to Alice, on which a session waits for an update of the peer."""
    raw = RawPeer(alice.world)
    raw.pair_with(alice)
    stream = raw.connect(alice)
    theirs = StateSummary(ZERO_HASH, {raw.peer_id: 1})
    params = StateSummaryParams(SESSION, theirs).to_json()
    stream.send(method=StateSummaryParams.METHOD, params=params)
    for call in [each for each in stream.messages if "id" in each]:
        stream.send(id=call["id"], result={})
    return stream


def is_ended(stream: RawStream) -> bool:
    stream.settle()
    return any(
        each.get("method") == EndSessionParams.METHOD and each["params"]["session"] == SESSION
        for each in stream.messages
    )


def test_the_parts_of_a_long_message_keep_its_session_alive(
    alice: SimPeer, stream: RawStream
) -> None:
    """Nine seconds apart; ten without anything would end the session."""
    text = {"jsonrpc": "2.0", "method": "osmosis.sync.unknown", "params": {"x": "x" * 900}}
    frame = stream.sealer.seal(json.dumps(text).encode())
    for start in range(0, 600, 100):
        stream.send_bytes(frame[start : start + 100])
        alice.world.run(9.0)
        assert not is_ended(stream)
    assert [] == alice.told(PeerDisconnected)


def test_a_peer_that_talks_of_other_things_does_not_keep_a_session_alive(
    alice: SimPeer, stream: RawStream
) -> None:
    """It keeps the connection: a session is given up and begun anew, the connection stays."""
    for _ in range(4):
        assert not is_ended(stream)
        stream.call("cytosol.net.ping", {})
        alice.world.run(3.0)
    assert is_ended(stream)
    assert 1 == len(alice.told(PeerConnected))
    assert [] == alice.told(PeerDisconnected)
