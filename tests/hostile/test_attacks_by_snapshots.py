"""Forged histories that a device is made to adopt; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Any

import msgspec

from cytosol.limits import LAMPORT_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX
from cytosol.model.ids import format_id
from tests.hostile.cases import case
from tests.hostile.forged_ops import (
    SNAPSHOT,
    chunk,
    claim_base,
    honest_base,
    open_session,
    serve,
    snapshot_of,
)
from tests.hostile.real_devices import Attacker, Field, Wire, wait_until


def be_adopted(attacker: Attacker, **changes: Any) -> Wire:
    """Make the victim ask for our snapshot."""
    wire = attacker.connect()
    open_session(wire, claim_base(attacker, **changes))
    return wire


def offer(attacker: Attacker, snapshot: bytes) -> Wire:
    """Let the victim fetch a whole snapshot."""
    wire = be_adopted(attacker)
    digest = blake2b(snapshot).digest()
    step = 2**20
    serve(
        wire,
        [
            chunk(len(snapshot), at, digest, snapshot[at : at + step])
            for at in range(0, len(snapshot), step)
        ],
    )
    return wire


@case("forged histories", "SNAPSHOT_BYTES_MAX")
def test_snapshots_of_impossible_sizes(field: Field) -> None:
    """Forged histories: nothing, more than 2^30 bytes, and less than was sent."""
    mallory = field.paired()
    for answer in (
        chunk(0, 0, bytes(64), b""),
        chunk(SNAPSHOT_BYTES_MAX + 1, 0, bytes(64), b"x"),
        chunk(LAMPORT_MAX, 0, bytes(64), b"x"),
        chunk(1, 0, bytes(64), b"xx"),
        chunk(10, 7, bytes(64), b"xxx"),
        {"total": -1, "offset": 0, "hash": "", "data": "?"},
        {},
    ):
        wire = be_adopted(mallory)
        serve(wire, [answer, answer, answer])
        wire.close()


@case("forged histories", "SNAPSHOT_CHUNK_BYTES_MAX")
def test_chunks_that_do_not_fit(field: Field) -> None:
    """Forged histories: chunks that are too large, overlap, skip, or come from another snapshot."""
    mallory = field.paired()
    large = bytes(SNAPSHOT_CHUNK_BYTES_MAX + 1)
    for answers in (
        [chunk(2**24, 0, b"a" * 64, large)],
        [chunk(100, 0, b"a" * 64, b"x" * 10), chunk(100, 5, b"a" * 64, b"x" * 10)],
        [chunk(100, 0, b"a" * 64, b"x" * 10), chunk(100, 50, b"a" * 64, b"x" * 10)],
        [chunk(100, 0, b"a" * 64, b"x" * 10), chunk(100, 10, b"b" * 64, b"x" * 10)],
        [chunk(100, 0, b"a" * 64, b"x" * 10), chunk(90, 10, b"a" * 64, b"x" * 10)],
    ):
        wire = be_adopted(mallory)
        serve(wire, answers)
        wire.close()


@case("forged histories")
def test_a_snapshot_with_another_hash(field: Field) -> None:
    """Forged histories: what does not have the hash that it announced is not adopted."""
    mallory = field.paired()
    before = field.victim.ask("query", path="$.fromWitness")
    for _ in range(3):
        wire = be_adopted(mallory)
        serve(wire, [chunk(1_000, 0, os.urandom(64), os.urandom(1_000))])
        wire.wait_closed()
    assert before == field.victim.ask("query", path="$.fromWitness")


@case("forged histories", "slow senders", "SNAPSHOT_BYTES_MAX")
def test_a_snapshot_that_drips(field: Field) -> None:
    """Forged histories: a byte at a time of 2^30 keeps nobody else busy."""
    wire = be_adopted(field.paired())
    digest = os.urandom(64)
    serve(wire, [chunk(SNAPSHOT_BYTES_MAX, at, digest, b"x") for at in range(300)])
    field.check_sync()
    wire.close()


@case("forged histories", "SNAPSHOT_BYTES_MAX")
def test_a_snapshot_that_never_ends(field: Field) -> None:
    """Forged histories: memory grows with what has come, not with the 2^30 that were announced."""
    wire = be_adopted(field.paired())
    digest, step = os.urandom(64), 2**20
    serve(wire, [chunk(SNAPSHOT_BYTES_MAX, n * step, digest, bytes(step)) for n in range(16)])
    wire.close()


@case("forged histories", "SNAPSHOT_BYTES_MAX")
def test_snapshots_of_several_devices_that_never_end(field: Field) -> None:
    """Forged histories: what devices have sent that are away is kept of one of them only."""
    step = 2**20
    for _ in range(8):
        wire = be_adopted(field.paired())
        digest = os.urandom(64)
        serve(wire, [chunk(SNAPSHOT_BYTES_MAX, n * step, digest, bytes(step)) for n in range(12)])
        wire.close()


@case("forged histories", "malformed messages")
def test_a_snapshot_that_is_garbage(field: Field) -> None:
    """Forged histories: random bytes, empty parts, wrong versions, bases that are no bases."""
    mallory = field.paired()
    for snapshot in (
        b"\x00",
        bytes(4),
        b"\xff" * 100,
        os.urandom(5_000),
        snapshot_of(b"\xc0"),
        snapshot_of(msgspec.msgpack.encode([{}] * 16)),
        snapshot_of(
            msgspec.msgpack.encode([{}, [], [], [], [], {}, {}, [1, b""], b"", 1] + [[]] * 6)
        ),
    ):
        offer(mallory, snapshot).wait_closed()


@case("compression bombs", "forged histories")
def test_a_base_that_unpacks_to_very_much(field: Field) -> None:
    """Compression bombs: kilobytes that are millions of places, names, failures, or zeros."""
    mallory = field.paired()
    base = honest_base(mallory.peer_id, {"a": 1})

    def changed(**fields: Any) -> bytes:
        forged = msgspec.structs.replace(base, **fields)
        return snapshot_of(forged)

    millions = 2**23
    for snapshot in (
        changed(author=[0] * millions),
        changed(failures=[0] * millions),
        changed(latest=[(b"x" * 16, 1)] * (millions // 16)),
        snapshot_of(b"\x91" * millions),
        snapshot_of(bytes(millions)),
    ):
        offer(mallory, snapshot).wait_closed()


@case("deep JSON", "forged histories")
def test_a_base_that_is_too_deep(field: Field) -> None:
    """Deep JSON: documents, failures and chains of names in a base are bounded as elsewhere."""
    mallory = field.paired()
    base = honest_base(mallory.peer_id, {"a": 1})
    deep: Any = 0
    for _ in range(400):
        deep = [deep]
    ident = {"index": 1, "author": format_id(mallory.peer_id)}
    for fields in (
        {"document": {"a": deep}},
        {"document": {"a": 1, "b": deep}},
        {"failures": [{"id": ident, "payload": deep, "path": [], "message": "x"}]},
        {"failures": [{"id": ident, "payload": b"bytes", "path": 7, "message": None}]},
        {"chain": {0: [0, 1, 0] * 5_000}},
        {"position": {0: [0, 1, 0] * 5_000}},
        {"stamps": {0: [[0, 1]] * 50}},
        {"origins": [([0, 1, 0] * 100, [0, 1, 0])]},
    ):
        wire = offer(mallory, snapshot_of(msgspec.structs.replace(base, **fields)))
        wire.close()
    field.check_sync()


@case("forged histories", "Lamport poison", "LAMPORT_MAX")
def test_a_base_at_the_end_of_all_numbers(field: Field) -> None:
    """Lamport poison: a base beyond half of all numbers is refused, so that the clock goes on."""
    mallory = field.paired()
    base = honest_base(mallory.peer_id, {"a": 1})
    for index in (LAMPORT_MAX, LAMPORT_MAX // 2 + 1, 0, -1):
        forged = msgspec.structs.replace(base, trim=(index, mallory.peer_id))
        offer(mallory, snapshot_of(forged)).wait_closed()
    assert field.victim.ask("clock") < 2**40


@case("forged histories", "Lamport poison")
def test_a_base_far_ahead(fresh_field: Field) -> None:
    """Lamport poison: a base at half of all numbers is adopted, and both go on writing above it."""
    field = fresh_field
    mallory = field.paired()
    base = honest_base(mallory.peer_id, {"a": 1})
    index = LAMPORT_MAX // 2
    forged = msgspec.structs.replace(
        base, trim=(index, mallory.peer_id), latest=[(mallory.peer_id, index)]
    )
    offer(mallory, snapshot_of(forged)).close()
    field.check_sync()
    field.victim.ask("check")
    field.witness.ask("check")


@case("forged histories", "foreign ids")
def test_a_base_that_claims_what_it_does_not_have(field: Field) -> None:
    """Forged histories: who claims to hold everything deletes, as ops could, and wedges nobody."""
    mallory = field.paired()
    field.check_sync()
    base = honest_base(mallory.peer_id, {"claimed": 1})
    clock = field.victim.ask("clock") + 10_000
    authors = (field.victim.peer_id, field.witness.peer_id, mallory.peer_id)
    forged = msgspec.structs.replace(
        base,
        trim=(clock, mallory.peer_id),
        latest=[(author, clock) for author in authors],
        contents=[(author, b"d" * 32) for author in authors],
    )
    offer(mallory, snapshot_of(msgspec.structs.replace(forged, contents=[]))).wait_closed()
    assert [] == field.victim.ask("query", path="$.claimed")
    offer(mallory, snapshot_of(forged)).close()
    wait_until(lambda: field.victim.ask("query", path="$.claimed") == [1], "the base is adopted")
    field.check_sync()
    field.victim.ask("check")
    field.witness.ask("check")


@case("forged histories")
def test_an_honest_base_is_adopted_and_nothing_is_lost(field: Field) -> None:
    """Forged histories: what only the victim had is issued again, and reaches the witness."""
    action = {"action": "Set", "path": "$.mine", "payload": "kept"}
    field.victim.ask("dispatch", action=action)
    mallory = field.paired()
    base = honest_base(mallory.peer_id, {"theirs": [1, 2]})
    clock = field.victim.ask("clock") + 10_000
    forged = msgspec.structs.replace(
        base, trim=(clock, mallory.peer_id), latest=[(mallory.peer_id, clock)]
    )
    offer(mallory, snapshot_of(forged)).close()
    field.check_sync()
    for device in (field.victim, field.witness):
        assert ["kept"] == device.ask("query", path="$.mine")
        assert [[1, 2]] == device.ask("query", path="$.theirs")
        device.ask("check")


@case("forged histories", "call floods")
def test_bases_one_after_the_other(field: Field) -> None:
    """Forged histories: five greater bases in a row do not wear anything out."""
    action = {"action": "Set", "path": "$.mine", "payload": "kept"}
    field.victim.ask("dispatch", action=action)
    for number in range(5):
        mallory = field.paired()
        base = honest_base(mallory.peer_id, {f"theirs{number}": number})
        clock = field.victim.ask("clock") + 6_000
        forged = msgspec.structs.replace(
            base, trim=(clock, mallory.peer_id), latest=[(mallory.peer_id, clock)]
        )
        offer(mallory, snapshot_of(forged)).close()
    field.check_sync()
    assert ["kept"] == field.witness.ask("query", path="$.mine")


@case("forged histories")
def test_the_victim_serves_its_own_base_to_nobody(field: Field) -> None:
    """Forged histories: chunks of the victim's snapshot at offsets that are none."""
    field.victim.ask("trim")
    wire = field.paired().connect()
    session = open_session(wire, claim_base(field.paired(), trim=(1, b"\x00" * 16), trimmed={}))
    for offset in (0, 2**52, 10**9, 1):
        answer = wire.call(SNAPSHOT, {"session": session, "offset": offset})
        if answer is None:
            break
    wire.close()
