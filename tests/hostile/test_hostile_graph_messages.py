"""A paired device that misuses the messages of graphs, and strangers who try to send some.

Whatever it does, it loses these messages and nothing else: the document goes on syncing over the
same connection, and what waits stays bounded.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cytosol.crypto.primitives import shared_key
from cytosol.limits import GRAPH_PIECE_LENGTH_MAX, GRAPH_PIECES_WAITING_MAX
from cytosol.protocol.effects import Fail
from cytosol.protocol.events import (
    GraphClosed,
    GraphOpened,
    GraphPiece,
    PeerConnected,
    PeerDisconnected,
)
from cytosol.wire.framing import CONNECTION
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.machine_fakes import TinySync
from tests.simulation.peer_machines import PeerWorld, SimPeer

LISTEN, MESSAGE = "cytosol.graph.listen", "cytosol.graph.message"


@pytest.fixture
def mallory(world: PeerWorld, alice: SimPeer) -> RawPeer:
    """A device that Alice is paired with, driven by hand; Alice's program listens."""
    mallory = RawPeer(world)
    mallory.pair_with(alice)
    alice.command("graph_listen", True)
    return mallory


def open_graph(alice: SimPeer, mallory: RawPeer) -> RawStream:
    """Connect, and listen on both sides."""
    stream = mallory.connect(alice)
    stream.send(method=LISTEN, params={"channel": 1})
    assert 1 == len(alice.told(GraphOpened))
    return stream


def piece(channel: int = 1, text: Any = "x", more: Any = False) -> dict[str, Any]:
    return {"channel": channel, "text": text, "more": more}


def check_document_syncs(world: PeerWorld, alice: SimPeer, stream: RawStream) -> None:
    """Check that Alice sends what she writes on this very connection, soon."""
    stream.settle()
    stream.messages.clear()
    alice.write()
    stream.settle()
    updates = [each for each in stream.messages if "osmosis.sync.liveUpdate" == each.get("method")]
    assert [alice.replica.counts[alice.peer_id]] == [
        each["params"]["counts"][alice.peer_id.hex()] for each in updates
    ]
    assert stream.is_open


def test_messages_travel_when_both_listen(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The tests below differ from this one in one point each."""
    stream = open_graph(alice, mallory)
    stream.send(method=MESSAGE, params=piece(), id=7)
    [told] = alice.told(GraphPiece)
    assert ("x", False, mallory.id) == (told.text, told.more, told.peer_id)
    assert stream.answer(7) is None
    alice.command("graph_taken", mallory.id, told.opening)
    stream.settle()
    answer = stream.answer(7)
    assert answer is not None
    assert {} == answer["result"]
    check_document_syncs(world, alice, stream)


def test_two_peers_exchange_pieces_over_reconnects(world: PeerWorld, alice: SimPeer) -> None:
    """Each connection is an opening of its own, and both sides are told when one ends."""
    bob = world.add_peer("Bob")
    for each in (alice, bob):
        each.command("graph_listen", True)
    world.pair(alice, bob)
    world.connect(alice, bob)
    world.run(1.0)
    for count in (1, 2):
        [*_, opened] = alice.told(GraphOpened, peer_id=bob.id)
        alice.command("graph_send", bob.id, opened.opening, f"text {count}", False)
        world.run(1.0)
        assert f"text {count}" == bob.told(GraphPiece)[-1].text
        alice.command("set_sync_enabled", False)
        world.run(1.0)
        assert count == len(alice.told(GraphClosed)) == len(bob.told(GraphClosed))
        alice.command("graph_send", bob.id, opened.opening, "too late", False)
        alice.command("set_sync_enabled", True)
        world.connect(alice, bob)
        world.run(1.0)
    assert ["text 1", "text 2"] == [each.text for each in bob.told(GraphPiece)]


def test_a_program_that_begins_to_listen_later_is_heard(world: PeerWorld, alice: SimPeer) -> None:
    """On a connection that is there already; and one that ceases is heard, too."""
    bob = world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    alice.command("graph_listen", True)
    world.run(1.0)
    assert [] == alice.told(GraphOpened)
    bob.command("graph_listen", True)
    world.run(1.0)
    assert 1 == len(alice.told(GraphOpened)) == len(bob.told(GraphOpened))
    bob.command("graph_listen", False)
    world.run(1.0)
    assert 1 == len(alice.told(GraphClosed)) == len(bob.told(GraphClosed))


def test_commands_for_a_device_without_a_link_do_nothing(alice: SimPeer, mallory: RawPeer) -> None:
    """The program may be a moment behind."""
    for name, *rest in (
        ("graph_send", (1, 1, 1), "x", False),
        ("graph_taken", (1, 1, 1)),
        ("graph_shut", (1, 1, 1)),
    ):
        alice.command(name, mallory.id, *rest)
    assert [] == alice.told(GraphOpened)


def test_a_device_that_does_not_know_the_methods_is_not_there(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """It never says that it listens, ignores that Alice does, and gets nothing."""
    stream = mallory.connect(alice)
    world.run(1.0)
    stream.settle()
    assert [] == alice.told(GraphOpened)
    assert [] == [each for each in stream.messages if MESSAGE == each.get("method")]
    check_document_syncs(world, alice, stream)


def test_a_device_that_refuses_the_method_is_not_there(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Error -32601 closes until it says again that it listens."""
    stream = open_graph(alice, mallory)
    [opened] = alice.told(GraphOpened)
    alice.command("graph_send", mallory.id, opened.opening, "hello", False)
    stream.settle()
    [call] = [each for each in stream.messages if MESSAGE == each.get("method")]
    stream.send(id=call["id"], error={"code": -32601, "message": "no such method"})
    assert 1 == len(alice.told(GraphClosed))
    check_document_syncs(world, alice, stream)


@pytest.mark.parametrize(
    "params",
    [
        [1],
        {},
        piece(channel=-1),
        piece(text=None),
        piece(text={"deep": [[[]]]}),
        piece(more="yes"),
        piece(text="x" * (GRAPH_PIECE_LENGTH_MAX + 1)),
        piece(text="\u0000" * (1 + 2 * GRAPH_PIECE_LENGTH_MAX)),
    ],
    ids=["list", "empty", "negative", "null", "object", "not a flag", "too long", "zeros"],
)
def test_garbage_ends_these_messages_and_no_more(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer, params: Any
) -> None:
    """A clean refusal; GRAPH_PIECE_LENGTH_MAX is a bound of the text."""
    stream = open_graph(alice, mallory)
    answer = stream.call(MESSAGE, params)
    assert answer is not None
    assert -32602 == answer["error"]["code"]
    assert 1 == len(alice.told(GraphClosed))
    assert [] == alice.told(GraphPiece)
    answer = stream.call(MESSAGE, piece(), 8)
    assert answer is not None
    assert 204 == answer["error"]["code"]
    check_document_syncs(world, alice, stream)


def test_pieces_that_are_not_taken_are_bounded(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """GRAPH_PIECES_WAITING_MAX, while Alice's program takes none; a flood gets refusals."""
    stream = open_graph(alice, mallory)
    frames = [
        stream.sealer.seal(
            json.dumps(
                {"jsonrpc": "2.0", "method": MESSAGE, "params": piece(), "id": number}
            ).encode()
        )
        for number in range(2_000)
    ]
    for start in range(0, len(frames), 500):
        stream.send_bytes(b"".join(frames[start : start + 500]))
    assert GRAPH_PIECES_WAITING_MAX == len(alice.told(GraphPiece))
    assert 1 == len(alice.told(GraphClosed))
    assert 2_000 == sum("error" in each for each in stream.messages)
    check_document_syncs(world, alice, stream)


def test_a_flood_between_openings_is_bounded(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Whoever listens anew and anew leaves no calls behind; the document goes on meanwhile."""
    stream = open_graph(alice, mallory)
    for count in range(200):
        stream.send(method=LISTEN, params={"channel": 2 + count})
        stream.send(method=MESSAGE, params=piece(), id=count)
        if count % 50 == 0:
            check_document_syncs(world, alice, stream)
    assert 200 == len(alice.told(GraphPiece))
    refused = alice.told(GraphClosed)
    assert len(refused) == len(alice.told(GraphOpened)) - 1
    check_document_syncs(world, alice, stream)


def test_a_device_that_takes_nothing_gets_no_more(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """It listens anew and anew and answers nothing: it is shut out, and syncs all the same."""
    stream = open_graph(alice, mallory)
    for count in range(200):
        stream.send(method=LISTEN, params={"channel": 2 + count})
        opening = alice.told(GraphOpened)[-1].opening
        alice.command("graph_send", mallory.id, opening, "x", False)
    stream.settle()
    sent = [each for each in stream.messages if MESSAGE == each.get("method")]
    assert 4 * GRAPH_PIECES_WAITING_MAX == len(sent)
    assert {"channel": 0} == [
        each["params"] for each in stream.messages if LISTEN == each.get("method")
    ][-1]
    check_document_syncs(world, alice, stream)


def test_a_connection_that_fails_at_once_opens_nothing(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The sync may find at its start that it cannot go on."""

    class FailingSync(TinySync):
        def start(self, now: float) -> None:
            self._effects.append(Fail("this does not work"))

    alice.sync_factory = FailingSync
    port, fresh, their_key = mallory.ask_to_connect(alice)
    stream = RawStream(
        world,
        world.dial_raw(alice, mallory.ip_address, port),
        shared_key(fresh.secret, their_key),
        CONNECTION,
        world.random_bytes(16),
    )
    stream.send_bytes(mallory.peer_id)
    stream.send(method="osmosis.net.sharePeers", params=[])
    assert not stream.is_open
    assert [] == [each for each in stream.messages if LISTEN == each.get("method")]


def test_a_newer_connection_ends_the_older_opening(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The end is told before the next one begins."""
    open_graph(alice, mallory)
    again = mallory.connect(alice)
    again.send(method=LISTEN, params={"channel": 1})
    kinds = (GraphOpened, GraphClosed)
    first, closed, second = [each for each in alice.events if isinstance(each, kinds)]
    assert first.opening == closed.opening != second.opening


def test_an_unpaired_device_sends_and_gets_nothing(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """From the moment on at which it is unpaired."""
    stream = open_graph(alice, mallory)
    [opened] = alice.told(GraphOpened)
    alice.command("unpair", mallory.id)
    assert 1 == len(alice.told(GraphClosed))
    stream.messages.clear()
    alice.command("graph_send", mallory.id, opened.opening, "secret", False)
    answer = stream.call(MESSAGE, piece())
    assert answer is None or "error" in answer
    stream.send(method=LISTEN, params={"channel": 2})
    assert [] == alice.told(GraphPiece)
    assert 1 == len(alice.told(GraphOpened))
    assert [] == [each for each in stream.messages if MESSAGE == each.get("method")]


def test_strangers_cannot_send_messages_at_the_gateway(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The method is one of connections, which strangers have not."""
    stranger = RawPeer(world, "10.0.9.7")
    stranger.appear_to(alice)
    stream = stranger.dial(alice)
    answer = stream.call(MESSAGE, stranger.params(stream, **piece()))
    assert answer is not None
    assert -32601 == answer["error"]["code"]
    stream.send(method=LISTEN, params=stranger.params(stream, channel=1))
    assert [] == alice.told(GraphPiece)
    assert [] == alice.told(GraphOpened)


def test_a_message_before_the_first_frame_is_not_read(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """A stranger at the port of a connection proves nothing by sealing with keys of its own."""
    port, _, _ = mallory.ask_to_connect(alice)
    stream = RawStream(
        world,
        world.dial_raw(alice, mallory.ip_address, port),
        world.random_bytes(32),
        CONNECTION,
        world.random_bytes(16),
    )
    stream.send_bytes(mallory.peer_id)
    stream.send(method=MESSAGE, params=piece(), id=1)
    assert not stream.is_open
    assert [] == alice.told(GraphPiece)
    assert [] == alice.told(PeerConnected)


def test_calls_that_wait_for_a_program_do_not_keep_a_dead_peer_alive(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """They have no time-out; the pings have."""
    stream = open_graph(alice, mallory)
    [opened] = alice.told(GraphOpened)
    alice.command("graph_send", mallory.id, opened.opening, "hello", False)
    world.run(20.0)
    assert not stream.is_open
    kinds = (GraphClosed, PeerDisconnected)
    assert [*kinds] == [type(each) for each in alice.events if isinstance(each, kinds)]


def test_the_rest_of_a_broken_stream_is_not_answered(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """A piece and then garbage in one go: the connection ends, and the opening with it."""
    stream = open_graph(alice, mallory)
    good = stream.sealer.seal(
        json.dumps({"jsonrpc": "2.0", "method": MESSAGE, "params": [], "id": 1}).encode()
    )
    stream.send_bytes(good + world.random_bytes(200))
    world.run(1.0)
    assert not stream.is_open
    assert 1 == len(alice.told(GraphClosed))
