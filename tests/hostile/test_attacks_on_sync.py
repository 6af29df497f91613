"""Paired devices that lie about histories; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import os

import msgspec

from cytosol.limits import (
    LAMPORT_MAX,
    SAVE_POINTS_MAX,
    SESSION_LENGTH_MAX,
    WAITING_OPS_MAX,
)
from cytosol.model.ids import format_id
from cytosol.model.op import Body, Kind, Op
from cytosol.model.opcodec import encode_ops
from cytosol.model.packed import pack
from cytosol.wire.sync_messages import StateSummaryParams
from tests.hostile.cases import case
from tests.hostile.forged_ops import (
    SUMMARY,
    Author,
    author_id_of,
    author_of,
    columns,
    known_to,
    live,
    live_bytes,
    open_session,
    summary,
)
from tests.hostile.real_devices import Field, wait_until

PING = "cytosol.net.ping"


@case("forged histories")
def test_a_device_that_claims_to_hold_everything(field: Field) -> None:
    """Forged histories: numbers up to 2^53 for every author are believed of the liar only."""
    wire = field.paired().connect()
    victim, witness = field.victim.peer_id, field.witness.peer_id
    everything = {victim: LAMPORT_MAX, witness: LAMPORT_MAX, os.urandom(16): LAMPORT_MAX}
    session = open_session(wire, summary(latest=everything, state_hash=b"\xaa" * 64))
    answer = wire.call(
        "osmosis.sync.sessionUpdate",
        {"session": session, "last": True, "latest": {format_id(victim): LAMPORT_MAX}},
    )
    assert answer is None or "id" in answer
    wire.read_all()


@case("forged histories", "huge JSON")
def test_summaries_of_very_many_authors(field: Field) -> None:
    """Forged histories: 5,000 invented authors in each part of a summary."""
    invented = {os.urandom(16): 1 for _ in range(5_000)}
    digests = dict.fromkeys(invented, b"\x11" * 32)
    for changes in (
        {"latest": invented},
        {"latest": invented, "contents": digests, "refused": invented},
    ):
        wire = field.paired().connect()
        open_session(wire, summary(**changes))
        wire.read_all()


@case("forged histories", "call floods", "AUTHORS_MAX")
def test_updates_that_name_ever_more_authors(field: Field) -> None:
    """Forged histories: empty batches, and beside them 20,000 invented authors each time."""
    wire = field.paired().connect()
    for _ in range(20):
        latest = {format_id(os.urandom(16)): 1 for _ in range(20_000)}
        answer = wire.call("osmosis.sync.liveUpdate", {"batch": "", "latest": latest})
        if answer is None:
            break
    assert wire.is_closed


@case("forged histories", "WAITING_OP_BYTES_MAX")
def test_ops_that_wait_and_have_seen_very_much(field: Field) -> None:
    """Forged histories: each of 2,000 early ops builds on 1,000 others that nobody has."""
    mallory = field.paired()
    wire = mallory.connect()
    known_to(wire)
    invented = sorted(os.urandom(16) for _ in range(1_000))
    for start in range(0, 2_000, 200):
        ops = []
        for index in range(5_000 + start, 5_200 + start):
            seen = tuple((who, 1 + (index * 7 + at) % 1_000) for at, who in enumerate(invented))
            ops.append(Op(index, mallory.peer_id, index - 1, 0, Body(Kind.SET, None, "k"), seen))
        live(wire, ops)


@case("forged histories", "call floods", "SESSION_LENGTH_MAX")
def test_sessions_without_end(field: Field) -> None:
    """Forged histories: 100 sessions are opened and ended, with names of all lengths."""
    wire = field.paired().connect()
    for number in range(100):
        state = summary(latest={field.victim.peer_id: number + 1}, state_hash=b"\xbb" * 64)
        session = f"mallory/{number}".ljust(number % SESSION_LENGTH_MAX, "x")
        wire.send(method=SUMMARY, params=StateSummaryParams(session[:64], state).to_json())
        wire.send(method="osmosis.sync.endSession", params={"session": session[:64]})
    assert wire.call(PING, {}) is not None or wire.is_closed
    other = field.paired().connect()
    other.send(method=SUMMARY, params={"session": "x" * (SESSION_LENGTH_MAX + 1), "state": {}})
    other.wait_closed()


@case("forged histories", "malformed messages")
def test_messages_of_a_session_out_of_turn(field: Field) -> None:
    """Forged histories: updates, save points and snapshots that nobody is waiting for."""
    mallory = field.paired()
    wire = mallory.connect()
    for number in range(50):
        session = {"session": f"none/{number}"}
        for method, params in (
            ("osmosis.sync.sessionUpdate", {"last": False}),
            ("osmosis.sync.findLastSharedHistory", {"savePoints": []}),
            ("cytosol.sync.snapshot", {"offset": 2**40}),
        ):
            answer = wire.call(method, {**session, **params})
            assert answer is not None
            assert "error" in answer
    for _ in range(2):
        open_session(wire, summary())
    wire.read_all()


@case("forged histories", "SAVE_POINTS_MAX")
def test_save_points_that_nobody_has(field: Field) -> None:
    """Forged histories: a thousand invented save points, too many, and the same one again."""
    wire = field.paired().connect()
    session = open_session(wire, summary(latest={field.victim.peer_id: 1}))
    for count in (SAVE_POINTS_MAX, SAVE_POINTS_MAX + 1):
        points = [
            {"id": {"author": format_id(os.urandom(16)), "index": number + 1}, "hash": "ab" * 64}
            for number in range(count)
        ]
        answer = wire.call(
            "osmosis.sync.findLastSharedHistory", {"session": session, "savePoints": points}
        )
        assert answer is None or "error" in answer


@case("forged histories", "SYNC_PROGRESS_TIMEOUT_S")
def test_sessions_that_stop_in_the_middle(field: Field) -> None:
    """Forged histories: ten devices begin to sync and say no more; the witness does not wait."""
    wires = [field.paired().connect() for _ in range(10)]
    for wire in wires:
        open_session(wire, summary(latest={os.urandom(16): 7}))
    field.check_sync()
    for wire in wires:
        wire.close()


@case("forged histories", "call floods")
def test_a_session_asks_for_the_history_again_and_again(field: Field) -> None:
    """Forged histories: who holds nothing gets everything, each time, and holds nobody else up."""
    mallory = field.paired()
    for _ in range(4):
        wire = mallory.connect()
        open_session(wire, summary())
        wire.read_all()


# --- Batches ----------------------------------------------------------------------------------


@case("malformed messages")
def test_batches_of_garbage(field: Field) -> None:
    """Malformed batches: cut, changed and random bytes are refused, and nothing is merged."""
    mallory = field.paired()
    good = encode_ops([author_of(mallory, mallory.connect()).set("garbage", "x" * 600)])
    for batch in (b"", b"\x00", b"\x01", b"\x02", good[:-3], good + b"x", os.urandom(500)):
        wire = mallory.connect()
        answer = live_bytes(wire, batch)
        assert answer is None or batch == b""
    assert [] == field.victim.ask("query", path="$.garbage")


@case("compression bombs", "UNPACKED_BYTES_MAX")
def test_batches_that_unpack_to_very_much(field: Field) -> None:
    """Compression bombs: columns of millions of zeros, of names, of keys."""
    mallory = field.paired()
    millions = 2**24
    zeros = [0] * millions
    for bomb in (
        msgspec.msgpack.encode(columns(author=zeros)),
        msgspec.msgpack.encode(columns(seen=zeros)),
        msgspec.msgpack.encode(columns(what=[[]] * millions)),
        msgspec.msgpack.encode(columns(key=["k"] * (millions // 4))),
        msgspec.msgpack.encode(columns(kind=b"\x01" * millions)),
        b"\x91" * millions,
        bytes(millions),
    ):
        wire = mallory.connect()
        assert live_bytes(wire, b"\x02" + pack(bomb)) is None


@case("compression bombs", "exploding documents", "BATCH_OPS_MAX")
def test_batches_of_very_many_small_ops(field: Field) -> None:
    """Compression bombs: a few kilobytes that are half a million ops."""
    count = 2**19
    ops = columns(
        authors=[field.paired().peer_id],
        author=[0] * count,
        index=[1] * count,
        previous=[1] * count,
        time=[0] * count,
        kind=b"\x01" * count,
        form=b"\x00" * count,
        key=["small"] * count,
        payload=[0] * count,
    )
    wire = field.paired().connect()
    live_bytes(wire, b"\x02" + pack(msgspec.msgpack.encode(ops)))


# --- Numbers ----------------------------------------------------------------------------------


@case("Lamport poison", "LAMPORT_LEAP_MAX", "LAMPORT_MAX")
def test_numbers_that_freeze_the_clock(field: Field) -> None:
    """Lamport poison: more than 2^20 above the greatest is refused, wherever it ends."""
    mallory = field.paired()
    clock = field.victim.ask("clock")
    seen = known_to(mallory.connect())
    for step in (2**20 + 100_000, 2**40, LAMPORT_MAX - clock - 10):
        wire = mallory.connect()
        author = Author(mallory.peer_id, clock, seen=seen)
        assert live(wire, [author.op(Body(Kind.SET, None, "poison", payload=1), step=step)]) is None
    assert field.victim.ask("clock") < clock + 2**20
    assert [] == field.victim.ask("query", path="$.poison")


@case("Lamport poison", "LAMPORT_LEAP_MAX")
def test_a_chain_of_leaps(field: Field) -> None:
    """Lamport poison: leap by leap the clock moves on, and everybody still writes and syncs."""
    mallory = field.paired()
    wire = mallory.connect()
    author = author_of(mallory, wire)
    for _ in range(20):
        op = author.op(Body(Kind.SET, None, "leap", payload=author.clock), step=2**19)
        assert live(wire, [op]) is not None
    field.check_sync()


@case("waiting ops", "WAITING_OPS_MAX")
def test_ops_that_wait_for_others(field: Field) -> None:
    """Waiting ops: 10,000 that follow ops which never come; an honest early op is not kept out."""
    mallory = field.paired()
    wire = mallory.connect()
    clock = author_of(mallory, wire).clock
    for part in range(10):
        ops = [
            Author(mallory.peer_id, clock + 10 * number, clock - 1).set("never", number)
            for number in range(part * 1_000, part * 1_000 + 1_000)
        ]
        if live(wire, ops) is None:
            wire = mallory.connect()
    too_many = [
        Author(mallory.peer_id, clock + 10 * number, clock - 1).set("never", number)
        for number in range(WAITING_OPS_MAX + 1)
    ]
    live(wire, too_many)
    assert [] == field.victim.ask("query", path="$.never")
    friend = field.paired()
    through = friend.connect()
    author = author_of(friend, through)
    first = author.set("early", 1)
    second = author.set("early", 2)._replace(seen=first.seen)
    assert live(through, [second]) is not None
    assert live(through, [first]) is not None
    assert [2] == field.victim.ask("query", path="$.early")


@case("waiting ops", "WAITING_OP_BYTES_MAX")
def test_large_ops_that_wait(field: Field) -> None:
    """Waiting ops: 80 of a megabyte each, so that their number alone is no bound."""
    mallory = field.paired()
    wire = mallory.connect()
    clock = field.victim.ask("clock") + 1_000
    for number in range(80):
        author = Author(mallory.peer_id, clock + 10 * number, clock - 1)
        if live(wire, [author.set("never", f"{number}" + "x" * 2**20)]) is None:
            wire = mallory.connect()


# --- Somebody else's ids ----------------------------------------------------------------------


@case("foreign ids", "forged histories")
def test_ops_under_the_id_of_the_victim(field: Field) -> None:
    """Foreign ids: ops that the victim never made are kept, and it writes under a fresh id."""
    mallory = field.paired()
    wire = mallory.connect()
    before = author_id_of(field)
    previous = known_to(wire).get(before, 0)
    clock = max(field.victim.ask("clock"), previous) + 50
    live(wire, [Author(before, clock, previous).set("forged", True)])
    field.check_sync()
    field.victim.ask("check")


@case("foreign ids")
def test_ops_under_the_id_of_the_witness(field: Field) -> None:
    """Foreign ids: what the victim takes for the witness's reaches the witness, which goes on."""
    mallory = field.paired()
    wire = mallory.connect()
    author = field.witness.peer_id
    previous = known_to(wire).get(author, 0)
    clock = field.victim.ask("clock") + 50
    live(wire, [Author(author, clock, previous).set("forged", "by Mallory")])
    field.check_sync()
    field.witness.ask("check")


@case("two contents under one id")
def test_different_ops_under_one_id_for_different_devices(field: Field) -> None:
    """Two contents under one id: both devices notice, and in the end they hold the same."""
    mallory = field.paired(field.victim, field.witness)
    clock = max(field.victim.ask("clock"), field.witness.ask("clock")) + 500
    field.shout(mallory.heartbeat(), mallory.ip_address)
    for device, value in ((field.victim, "one"), (field.witness, "other")):
        wire = mallory.connect(device)
        author = Author(mallory.peer_id, clock)
        live(wire, [author.set("forked", value), author.set("more", value)])
        wire.close()
    field.check_sync()
    for path in ("$.forked", "$.more"):  # all is compared later: both are writing now
        wait_until(
            lambda path=path: (
                field.victim.ask("query", path=path) == field.witness.ask("query", path=path)
            ),
            f"both hold the same at {path}",
        )
    field.victim.ask("check")
    field.witness.ask("check")


@case("foreign ids", "forged histories")
def test_previous_ops_that_are_skipped(field: Field) -> None:
    """Foreign ids: an op that leaves out what its author made is refused, and so is a loop."""
    mallory = field.paired()
    wire = mallory.connect()
    author = author_of(mallory, wire)
    assert live(wire, [author.set("chain", 1), author.set("chain", 2)]) is not None
    skipping = Author(mallory.peer_id, author.clock + 5, author.clock - 1)
    live(wire, [skipping.set("chain", 3)])  # refused, or put off until the next adoption
    assert [2] == field.victim.ask("query", path="$.chain")


@case("forged histories")
def test_ops_that_have_seen_the_future(field: Field) -> None:
    """Forged histories: an op that has seen others that nobody made waits and holds nobody up."""
    mallory = field.paired()
    wire = mallory.connect()
    author = author_of(mallory, wire)
    op = author.set("future", 1)
    future = (os.urandom(16), author.clock - 5), (author_id_of(field), author.clock - 1)
    assert live(wire, [op._replace(seen=(*op.seen[1:], *future))]) is not None
    assert [] == field.victim.ask("query", path="$.future")
