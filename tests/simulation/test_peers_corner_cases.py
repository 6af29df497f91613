"""What happens seldom between whole peers: bad moments, lost answers, commands at odd times."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cytosol.crypto.keys import make_key_pair
from cytosol.crypto.pake import Role
from cytosol.errors import PairingError
from cytosol.limits import CALLS_WAITING_MAX, VISIBLE_PEERS_MAX
from cytosol.protocol.attempts import ATTEMPTS_MAX
from cytosol.protocol.connection import SYNC_CALLS_MAX
from cytosol.protocol.effects import Call, Close, Connect, Emit, Fail, Listen, SendDatagram
from cytosol.protocol.events import (
    PairCancelled,
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    PeersChanged,
    Unpaired,
)
from cytosol.protocol.inputs import (
    InterfacesChanged,
    ListenFailed,
    TcpAccepted,
    TcpConnected,
    TcpData,
    TcpFailed,
    TcpListening,
)
from cytosol.protocol.pairing import AttemptEnd
from cytosol.wire.fields import encode_base64
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.machine_fakes import TinySync
from tests.simulation.peer_machines import PeerWorld, SimPeer

CODE = "123456"


def connected_world(seed: int = 0) -> tuple[PeerWorld, SimPeer, SimPeer]:
    world = PeerWorld(seed)
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.pair(alice, bob)
    world.connect(alice, bob)
    return world, alice, bob


def with_raw(seed: int = 0) -> tuple[PeerWorld, SimPeer, RawPeer]:
    """Return a world with Alice and a raw peer that she sees."""
    world = PeerWorld(seed)
    alice, raw = world.add_peer("Alice"), RawPeer(world)
    raw.appear_to(alice)
    return world, alice, raw


def paired_with_raw(seed: int = 0) -> tuple[PeerWorld, SimPeer, RawPeer]:
    world, alice, raw = with_raw(seed)
    raw.pair_with(alice)
    return world, alice, raw


def ends(peer: SimPeer) -> list[str | None]:
    return [each.reason for each in peer.told(PairResponse)]


# --- Interfaces, visibility, stopping ------------------------------------------------------


def test_a_new_interface_brings_a_heartbeat_and_calls() -> None:
    """Who was out of reach is found at once when the network changes."""
    world, alice, bob = connected_world()
    world.block(alice, bob)
    world.run(400.0)
    world.unblock(alice, bob)
    alice.feed(InterfacesChanged(("10.0.0.1",)))
    since = world.now
    world.connect(alice, bob)
    assert world.now - since < 5.0


def test_changes_before_the_start_do_nothing() -> None:
    """A machine that has not started sends no heartbeat."""
    world, alice, bob = connected_world()
    alice.crash()
    alice.restart()
    alice.stop()
    sent: list[SendDatagram] = []
    world.spy = lambda peer, effect: sent.append(effect) if peer is alice else None
    alice.feed(InterfacesChanged(("10.0.0.1",)))
    alice.command("set_visible", False)
    alice.command("set_visible", True)
    assert [] == sent
    assert [] == alice.machine.take_effects()
    assert bob.is_up


def test_what_arrives_after_the_stop_is_closed() -> None:
    """No new connection is taken."""
    world, alice, _ = with_raw()
    alice.machine.stop(world.now)
    alice.machine.take_effects()
    alice.machine.receive(TcpAccepted(-99, None, "10.0.0.9"), world.now)
    (close,) = alice.machine.take_effects()
    assert isinstance(close, Close)


def test_stopping_takes_requests_and_callers_along() -> None:
    """Pair requests end, callers are closed, and prompts disappear."""
    world, alice, raw = with_raw()
    bob = world.add_peer("Bob")
    world.run(1.0)
    stream = raw.dial(alice)
    alice.command("request_pair", bob.id, CODE)
    bob.command("request_pair", alice.id, CODE)
    world.run(0.1)
    alice.stop()
    world.run(0.1)
    assert [AttemptEnd.CANCELLED.value] == ends(alice)
    assert not stream.is_open
    assert 1 == len(alice.told(PairCancelled)) == len(bob.told(PairCancelled))


def test_hiding_drops_answers_that_were_put_off() -> None:
    """Strangers who wait for an answer do not get it any more; paired devices do."""
    world = PeerWorld()
    alice = world.add_peer("Alice")
    world.run(10.0)
    strangers = [RawPeer(world, f"10.0.8.{number}") for number in range(3)]
    for stranger in strangers:
        stranger.appear_to(alice)
    friend = RawPeer(world, "10.0.8.99")
    friend.pair_with(alice)
    friend.appear_to(alice)
    answered: list[str] = []

    def spy(peer: SimPeer, effect: SendDatagram) -> None:
        if effect.address is not None:
            answered.append(effect.address[0])

    world.spy = spy
    alice.command("set_visible", False)
    alice.command("set_visible", False)
    alice.command("set_sync_enabled", False)
    alice.command("set_sync_enabled", False)
    world.run(20.0)
    assert {"10.0.8.99"} == set(answered)


def test_a_full_table_of_paired_devices_takes_no_strangers() -> None:
    """And takes one more paired device."""
    world = PeerWorld()
    alice = world.add_peer("Alice", sync_enabled=False)
    for number in range(VISIBLE_PEERS_MAX):
        friend = RawPeer(world, f"10.2.{number // 250}.{number % 250}")
        friend.pair_with(alice)
        friend.appear_to(alice)
    stranger, last = RawPeer(world), RawPeer(world)
    stranger.appear_to(alice)
    assert VISIBLE_PEERS_MAX == len(alice.machine.peers())
    last.pair_with(alice)
    last.appear_to(alice)
    assert VISIBLE_PEERS_MAX + 1 == len(alice.machine.peers())


def test_a_pinned_key_drops_who_claimed_the_id_before() -> None:
    """A device brought by another of ours is not who was visible under its id until now."""
    world, alice, raw = paired_with_raw()
    liar = RawPeer(world, "10.0.6.6")
    liar.peer_id = world.random_bytes(16)  # an id that certifies nothing
    liar.appear_to(alice)
    assert liar.id in [row["id"] for row in alice.machine.peers()]
    stream = raw.connect(alice)
    true_key = make_key_pair(world.random_bytes(32)).public
    entry = {"peerId": liar.id, "peerName": "Carol", "publicKey": encode_base64(true_key)}
    stream.send(method="osmosis.net.sharePeers", params=[entry])
    assert true_key == alice.pairings.paired()[liar.peer_id].public_key
    assert liar.id not in [row["id"] for row in alice.machine.peers()]


def test_the_list_of_peers_is_announced_at_most_ten_times_a_second() -> None:
    """A flood of heartbeats is not a flood of events."""
    world = PeerWorld()
    alice = world.add_peer("Alice")
    for number in range(100):
        RawPeer(world, f"10.0.8.{number}").appear_to(alice)
    world.run(0.5)
    assert 2 == len(alice.told(PeersChanged))


# --- Pairing -------------------------------------------------------------------------------


def test_requests_to_many_devices_are_bounded() -> None:
    """ATTEMPTS_MAX at once."""
    world = PeerWorld()
    alice = world.add_peer("Alice")
    raws = [RawPeer(world, f"10.0.8.{number}") for number in range(ATTEMPTS_MAX + 1)]
    for raw in raws:
        raw.appear_to(alice)
    for number, raw in enumerate(raws[:-1]):
        alice.command("request_pair", raw.id, f"{number:06d}")
    with pytest.raises(PairingError, match="wait for one to end"):
        alice.command("request_pair", raws[-1].id, CODE)


def test_a_device_that_cannot_be_reached_is_tried_a_few_times() -> None:
    """Then the app is told."""
    world, alice, raw = with_raw()
    alice.command("request_pair", raw.id, CODE)
    world.run(60.0)
    assert [AttemptEnd.UNREACHABLE.value] == ends(alice)


def test_a_request_may_be_taken_back_between_two_rounds() -> None:
    """While nothing is being dialled."""
    _, alice, raw = with_raw()
    raw.open_gateway()
    alice.command("request_pair", raw.id, CODE)
    stream = raw.take_caller(alice, greet=False)
    stream.close()
    alice.command("reject_pair", raw.id)
    assert [AttemptEnd.CANCELLED.value] == ends(alice)


def test_a_stream_lost_before_the_answer_ends_the_request() -> None:
    """The other side has withdrawn its prompt, so there is nothing to come back to."""
    _, alice, raw = with_raw()
    stream, _ = raw.be_asked(alice, CODE)
    stream.close()
    assert [AttemptEnd.LOST.value] == ends(alice)


def test_an_unanswered_proof_is_brought_again() -> None:
    """On a new stream, since the old one seems dead."""
    world, alice, raw = with_raw()
    stream, request = raw.be_asked(alice, CODE)
    raw.answer_rightly(alice, stream, request, CODE)
    world.run(5.0)
    assert not stream.is_open
    again = raw.take_caller(alice)
    assert "cytosol.net.confirmPair" == again.messages[-1]["method"]
    again.send(id=again.messages[-1]["id"], result={})
    assert [None] == ends(alice)
    assert raw.peer_id in alice.pairings.paired()


def test_a_request_ends_after_its_time_whatever_it_waits_for() -> None:
    """Two minutes and a little."""
    world, alice, raw = with_raw()
    stream, request = raw.be_asked(alice, CODE)
    world.run(118.0)
    raw.answer_rightly(alice, stream, request, CODE)
    stream.close()
    world.run(30.0)
    assert [AttemptEnd.TIMED_OUT.value] == ends(alice)
    assert {} == alice.pairings.paired()


def test_a_raw_requester_that_waits_is_refused_in_the_end() -> None:
    """103 after two minutes, and the prompt goes away."""
    world, alice, raw = with_raw()
    stream = raw.dial(alice)
    params = raw.params(
        stream,
        peerName="Raw",
        publicKey=encode_base64(raw.keys.public),
        pake=encode_base64(b"A" + b"\x07" * 32),
    )
    assert stream.call("osmosis.net.pair", params) is None
    world.run(120.0)
    stream.settle()
    answer = stream.answer()
    assert answer is not None
    assert 103 == answer["error"]["code"]
    assert 1 == len(alice.told(PairCancelled))


def crossing_requests() -> tuple[PeerWorld, SimPeer, RawPeer, RawStream, RawStream, dict[str, Any]]:
    """Return a world where Alice has asked the raw peer and is asked by it."""
    world, alice, raw = with_raw()
    own, request = raw.be_asked(alice, CODE)
    theirs = raw.dial(alice)
    pake = raw.begin_proof(Role.REQUESTER, "777777", alice)
    params = raw.params(
        theirs,
        peerName="Raw",
        publicKey=encode_base64(raw.keys.public),
        pake=encode_base64(pake.message),
    )
    theirs.call("osmosis.net.pair", params)
    assert 1 == len(alice.told(PairRequest))
    return world, alice, raw, own, theirs, request


def test_a_prompt_is_withdrawn_when_our_own_request_succeeds() -> None:
    """Its requester hears that we are paired already."""
    _, alice, raw, own, theirs, request = crossing_requests()
    raw.answer_rightly(alice, own, request, CODE)
    own.send(id=own.messages[-1]["id"], result={})
    theirs.settle()
    answer = theirs.answer()
    assert answer is not None
    assert 102 == answer["error"]["code"]
    assert 1 == len(alice.told(PairCancelled))
    assert [None] == ends(alice)


def test_a_proof_owed_is_forgiven_when_our_own_request_succeeds() -> None:
    """It does not count as a wrong code later."""
    world, alice, raw, own, _, request = crossing_requests()
    alice.command("accept_pair", raw.id, "777777")
    raw.answer_rightly(alice, own, request, CODE)
    own.send(id=own.messages[-1]["id"], result={})
    world.run(30.0)
    assert 0 == alice.pairings.wrong_codes()[0]
    assert [None] == ends(alice)


def test_pairing_while_syncing_is_off_pairs_without_connecting() -> None:
    """sync_enabled=False: discovery and pairing stay."""
    world = PeerWorld()
    alice = world.add_peer("Alice", sync_enabled=False)
    bob = world.add_peer("Bob", sync_enabled=False)
    world.pair(alice, bob)
    world.run(60.0)
    assert alice.is_paired(bob)
    assert bob.is_paired(alice)
    assert [] == alice.told(PeerConnected)
    alice.command("unpair", bob.id)
    assert 1 == len(alice.told(Unpaired))


def test_pairing_with_a_device_that_disappears_meanwhile() -> None:
    """A pairing that succeeds after the heartbeat has expired has no address to remember."""
    world, alice, raw = with_raw()
    world.run(100.0)
    stream, request = raw.be_asked(alice, CODE)
    world.run(100.0)
    raw.answer_rightly(alice, stream, request, CODE)
    stream.send(id=stream.messages[-1]["id"], result={})
    assert [None] == ends(alice)
    assert () == alice.pairings.addresses(raw.peer_id)


def test_paired_again_while_saying_farewell() -> None:
    """The old connection goes at once, and a new one comes."""
    world, alice, bob = connected_world()
    world.block(alice, bob)
    alice.command("unpair", bob.id)
    alice.feed(InterfacesChanged(("10.0.0.1",)))
    world.unblock(alice, bob)
    bob.crash(silently=True)
    bob.pairings.forget(alice.peer_id)
    bob.restart()
    world.pair(alice, bob)
    world.connect(alice, bob)


# --- Connections ---------------------------------------------------------------------------


def test_the_larger_id_yields_when_both_call() -> None:
    """Whose call is already on its way answers 204 if its id is the smaller one."""
    for seed in range(20):
        _, alice, raw = paired_with_raw(seed)
        raw.open_gateway()
        raw.appear_to(alice)
        own = raw.take_caller(alice) if alice.peer_id < raw.peer_id else None
        if own is None:
            continue
        assert "osmosis.net.connect" == own.messages[-1]["method"]
        theirs = raw.dial(alice)
        params = raw.params(theirs, publicKey=encode_base64(raw.keys.public))
        answer = theirs.call("osmosis.net.connect", params)
        assert answer is not None
        assert 204 == answer["error"]["code"]
        return
    raise AssertionError("no seed gave Alice the smaller id")


def test_the_smaller_id_wins_when_both_call() -> None:
    """Whose id is the larger one drops its own call and answers."""
    for seed in range(20):
        world, alice, raw = paired_with_raw(seed)
        if alice.peer_id < raw.peer_id:
            continue
        raw.open_gateway()
        raw.appear_to(alice)
        world.run(1.0)
        own = raw.take_caller(alice)
        raw.connect(alice)
        own.settle()
        assert not own.is_open
        assert 1 == alice.connections()
        return
    raise AssertionError("no seed gave Alice the larger id")


def test_a_listener_that_cannot_be_opened_refuses_the_call() -> None:
    """The caller is told to try later, and nothing is left behind."""
    world, alice, raw = paired_with_raw()
    stream = raw.dial(alice)
    params = raw.params(stream, publicKey=encode_base64(raw.keys.public))
    machine = alice.machine
    listen: list[Listen] = []
    obey = world._do

    def watched(peer: SimPeer, effect: Any) -> None:
        if isinstance(effect, Listen):
            listen.append(effect)
        else:
            obey(peer, effect)

    world._do = watched  # type: ignore[method-assign]  # listeners fail in this world
    assert stream.call("osmosis.net.connect", params) is None
    alice.feed(ListenFailed(listen[0].listener_id, "no ports left"))
    stream.settle()
    answer = stream.answer()
    assert answer is not None
    assert 204 == answer["error"]["code"]
    # Reports about listeners and connections that are not ours any more are harmless.
    alice.feed(ListenFailed(listen[0].listener_id, "again"))
    alice.feed(TcpListening(listen[0].listener_id, 5_000))
    alice.feed(TcpConnected(12_345))
    alice.feed(TcpData(12_345, b"x"))
    machine.receive(TcpAccepted(-77, listen[0].listener_id, "10.0.0.9"), world.now)
    assert [Close(-77, "nobody is expected here any more", abort=True)] == machine.take_effects()


def test_a_caller_that_leaves_before_its_answer_is_not_answered() -> None:
    """The port is opened in vain, and closed again."""
    world, alice, raw = paired_with_raw()
    stream = raw.dial(alice)
    params = raw.params(stream, publicKey=encode_base64(raw.keys.public))
    obey, held = world._do, []

    def hold(peer: SimPeer, effect: Any) -> None:
        if isinstance(effect, Listen):
            held.append(effect)
        else:
            obey(peer, effect)

    world._do = hold  # type: ignore[method-assign]  # listeners take their time in this world
    stream.send(method="osmosis.net.connect", params=params, id=1)
    stream.close()
    alice.feed(TcpListening(held[0].listener_id, 5_000))
    again = raw.dial(alice)
    params = raw.params(again, publicKey=encode_base64(raw.keys.public))
    again.send(method="osmosis.net.connect", params=params, id=1)
    again.close()
    alice.feed(ListenFailed(held[1].listener_id, "no ports left"))
    assert [] == alice.told(PeerConnected)


def offer(world: PeerWorld, alice: SimPeer, raw: RawPeer, port: int) -> Any:
    """Answer Alice's call with a port of the raw peer, and return the keys made for it."""
    raw.open_gateway()
    raw.appear_to(alice)
    world.run(1.0)
    stream = raw.take_caller(alice)
    call = stream.messages[-1]
    assert "osmosis.net.connect" == call["method"]
    keys = make_key_pair(world.random_bytes(32))
    stream.send(id=call["id"], result={"port": port, "publicKey": encode_base64(keys.public)})
    return keys, call["params"]["publicKey"]


def test_a_port_that_does_not_answer_is_tried_later() -> None:
    """A dial that fails, and one that hangs."""
    world, alice, raw = paired_with_raw()
    offer(world, alice, raw, 5_000)
    end = world.raw_hosts[raw.ip_address].pop(0)
    world.close_raw(end)
    world.run(0.1)
    assert [] == alice.told(PeerConnected)
    silent: list[Any] = []
    world.run_until(lambda: bool(world.raw_hosts[raw.ip_address]))
    stream = raw.take_caller(alice)
    call = stream.messages[-1]
    stream.send(id=call["id"], result={"port": 5_000, "publicKey": encode_base64(raw.keys.public)})
    silent.append(world.raw_hosts[raw.ip_address].pop(0))
    world.run(6.0)
    assert not silent[0].is_open
    world.run_until(lambda: bool(world.raw_hosts[raw.ip_address]))


def test_a_refused_dial_and_a_hanging_one_are_tried_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection service of the peer is gone before we come."""
    for hangs in (False, True):
        world, alice, raw = paired_with_raw()
        obey, dials = world._do, []

        def watch(
            peer: SimPeer,
            effect: Any,
            obey: Any = obey,
            dials: list[Connect] = dials,
        ) -> None:
            if isinstance(effect, Connect) and effect.port == 5_000:
                dials.append(effect)
            else:
                obey(peer, effect)

        monkeypatch.setattr(world, "_do", watch)
        offer(world, alice, raw, 5_000)
        assert 1 == len(dials)
        if not hangs:
            alice.feed(TcpFailed(dials[0].connection_id, "refused"))
        world.run_until(lambda: bool(world.raw_hosts[raw.ip_address]), 10.0)  # noqa: B023  # at once


def test_a_peer_that_does_not_answer_unpair_is_left_anyway() -> None:
    """After two seconds."""
    world, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    alice.command("unpair", raw.id)
    assert stream.is_open
    world.run(2.1)
    assert not stream.is_open
    assert 1 == len(alice.told(PeerDisconnected))


def test_two_farewells_may_cross() -> None:
    """Both unpair at once: each is told its own side, once."""
    world, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    alice.command("unpair", raw.id)
    answer = stream.call("osmosis.net.unpair", {})
    assert answer is not None
    assert {} == answer["result"]
    assert not stream.is_open
    assert 1 == len(alice.told(Unpaired))
    world.run(10.0)
    (refusal,) = alice.pairings.refused().values()
    assert raw.keys.public == refusal.public_key


def test_a_caller_from_another_address_than_its_heartbeats() -> None:
    """Nothing is remembered: its gateway may not be there."""
    _, alice, raw = paired_with_raw()
    raw.appear_to(alice)
    raw.ip_address = "10.0.9.77"
    raw.connect(alice)
    assert () == alice.pairings.addresses(raw.peer_id)


def test_a_call_that_leads_nowhere_leaves_the_connection() -> None:
    """A connected peer that asks for another connection and does not come keeps the first."""
    _, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    raw.ask_to_connect(alice)
    for _ in range(2):
        stream.settle(4.0)
        assert stream.call("cytosol.net.ping", {}) is not None
    assert stream.is_open
    assert 1 == len(alice.told(PeerConnected))


def test_switching_syncing_off_during_a_farewell_ends_it() -> None:
    """Everything is closed at once."""
    world, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    alice.command("unpair", raw.id)
    alice.command("set_sync_enabled", False)
    world.run(0.1)
    assert not stream.is_open


def test_a_peer_that_unpairs_in_the_same_breath_as_other_messages() -> None:
    """What it says afterwards is not heard."""
    world, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    friend = RawPeer(world, "10.0.9.2")
    entry = {
        "peerId": friend.id,
        "peerName": "Friend",
        "publicKey": encode_base64(friend.keys.public),
    }
    seal = stream.sealer.seal
    pieces = [
        {"jsonrpc": "2.0", "method": "osmosis.net.unpair", "params": {}, "id": 1},
        {"jsonrpc": "2.0", "method": "osmosis.net.unpair", "params": {}, "id": 2},
        {"jsonrpc": "2.0", "method": "osmosis.net.sharePeers", "params": [entry]},
    ]
    stream.send_bytes(b"".join(seal(json.dumps(piece).encode()) for piece in pieces))
    assert {} == alice.pairings.paired()
    assert 1 == len(alice.told(Unpaired))


def test_a_sync_machine_that_gives_up_ends_the_connection() -> None:
    """Fail closes it with the reason; events of the sync reach the app; calls are bounded."""
    world, alice, raw = paired_with_raw()
    stream = raw.connect(alice)
    sync: TinySync = alice.syncs[-1]
    sync._effects.append(Emit("progress"))
    for number in range(1, CALLS_WAITING_MAX + 1):
        sync._effects.append(Call(1_000 + number, "osmosis.sync.liveUpdate", {}, 5.0))
    alice.write()
    assert "progress" in alice.events
    refused = [call_id for call_id, _, message in sync.errors if "too many" in message]
    reserved = CALLS_WAITING_MAX - SYNC_CALLS_MAX  # for pings, the farewell, and graphs
    assert reserved <= len(refused) < reserved + 4
    world.run(6.0)
    assert 1_001 in [call_id for call_id, _, message in sync.errors]
    unknown = stream.call("osmosis.sync.unknown", {})
    assert unknown is not None
    assert -32601 == unknown["error"]["code"]
    sync._effects += [Fail("the peer makes no sense"), Emit("too late")]
    alice.write()
    assert [] == [event for event in alice.events if event == "too late"]
    assert ["the peer makes no sense"] == [each.reason for each in alice.told(PeerDisconnected)]


def test_a_replaced_connection_speaks_no_more() -> None:
    """What is still on the way from it is not taken as the peer's word."""
    world, alice, raw = paired_with_raw()
    first = raw.connect(alice)
    raw.connect(alice)
    first.send_bytes(b"")
    world.run(1.0)
    assert 1 == alice.connections()


def test_a_connection_that_lasted_is_tried_again_soon() -> None:
    """The pause after failures does not grow from one good connection to the next."""
    world, alice, raw = paired_with_raw()
    for _ in range(3):
        stream = raw.connect(alice)
        stream.stay(40.0)
        raw.open_gateway()
        raw.appear_to(alice)
        stream.close()
        since = world.now
        world.run_until(lambda: bool(world.raw_hosts[raw.ip_address]))
        assert world.now - since <= 1.25
        raw.take_caller(alice, greet=False).close()


def test_many_authentic_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four; the oldest goes."""
    monkeypatch.setattr(RawStream, "moment_s", 0.01)
    world = PeerWorld()
    alice = world.add_peer("Alice")
    streams = []
    for number in range(66):
        raw = RawPeer(world, f"10.0.8.{number}")
        raw.appear_to(alice)
        stream = raw.dial(alice)
        params = raw.params(stream, publicKey=encode_base64(raw.keys.public))
        stream.call("osmosis.net.connect", params)
        streams.append(stream)
    assert [False] * 2 + [True] * 64 == [stream.is_open for stream in streams]


def test_the_rest_of_a_piece_after_a_bad_request_is_dropped() -> None:
    """Two bad requests in one piece: one refusal, then the end; greetings are not for callers."""
    world, alice, raw = with_raw()
    stream = raw.dial(alice)
    seal = stream.sealer.seal
    pieces = [
        {
            "jsonrpc": "2.0",
            "method": "cytosol.net.hello",
            "params": {"challenge": encode_base64(stream.challenge)},
            "id": number,
        }
        for number in (1, 2)
    ]
    stream.send_bytes(b"".join(seal(json.dumps(piece).encode()) for piece in pieces))
    assert not stream.is_open
    assert [1] == [each["id"] for each in stream.messages if "error" in each]
    assert world.now > 0


def test_secrets_are_in_no_repr() -> None:
    """Nothing of a code or a key shows."""
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run(0.1)
    alice.command("request_pair", bob.id, "secret-code")
    world.run(0.1)
    attempt = alice.machine._attempts._attempts[bob.peer_id]
    prompt = bob.machine._prompt
    assert "<PairAttempt asked>" == repr(attempt)
    assert "<PairPrompt prompting>" == repr(prompt)
    for holder in (alice.keys, alice.machine._parts.links._around):
        assert repr(alice.keys.secret) not in repr(holder)
        assert alice.keys.secret.hex() not in repr(holder)


def test_a_driver_that_gives_up_a_connection_is_obeyed() -> None:
    """`abandon` closes it and the rest goes on."""
    world, alice, bob = connected_world()
    connection_id = next(iter(alice.ends))
    alice.machine.abandon(connection_id, "a bug", world.now)
    world.obey(alice)
    assert ["a bug"] == [each.reason for each in alice.told(PeerDisconnected)]
    world.connect(alice, bob)


def test_half_open_connections_at_a_listener_count_too() -> None:
    """Sixteen in all, whichever port they came to."""
    world, alice, raw = paired_with_raw()
    port, _, _ = raw.ask_to_connect(alice)
    ends = [
        world.dial_raw(alice, f"10.0.6.{number // 4}", port if number < 8 else None)
        for number in range(16)
    ]
    world.run(0.05)
    newcomer = world.dial_raw(alice, "10.0.7.1")
    world.run(0.05)
    assert newcomer.is_open
    assert [False] + [True] * 15 == [end.is_open for end in ends]


def test_peers_that_are_connected_but_no_longer_heard_are_listed() -> None:
    """The row then names the address of the connection, and no gateway."""
    world, alice, bob = connected_world()
    bob.command("set_visible", False)
    world.loss = 1.0
    world.run(200.0)
    (row,) = alice.machine.peers()
    assert (bob.id, True, None) == (row["id"], row["connected"], row["port"])
