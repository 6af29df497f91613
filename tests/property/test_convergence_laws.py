"""What merging must obey whatever the history: orders, batches, rewinding, round trips."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from cytosol.crdt.actions import Add, InitArray, InsertAfter, InsertBefore, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.errors import ActionError, RemoteProtocolError
from cytosol.model.op import Name, Op, map_names, op_from_json, op_to_json
from cytosol.model.opcodec import decode_ops, encode_ops
from tests.oracle.fold import fold
from tests.property.histories import History, Peer

SEEDS = range(12)


def ops_of(seed: int, steps: int = 60) -> list[Op]:
    """Return all ops of a random history."""
    history = History(seed, 3)
    for _ in range(steps):
        history.step()
    history.settle()
    return history.peers[0].ops()


def state(replica: Replica) -> tuple[str, bytes, list[tuple[Any, ...]]]:
    """Return all that peers must agree on."""
    failures = sorted(
        (replica.log.key(replica.log.find(code)), str(path), message)
        for code, (path, message) in replica.failures.items()
    )
    return json.dumps(replica.document, sort_keys=True), replica.state_hash(), failures


def merged(*batches: list[Op]) -> Replica:
    """Return a new replica that has merged some batches."""
    replica = Replica(bytes(16))
    for batch in batches:
        replica.merge(batch)
    replica.check_invariants()
    return replica


@pytest.mark.parametrize("seed", SEEDS)
def test_order_batches_and_repetition_do_not_matter(seed: int) -> None:
    """Merge is commutative, associative and idempotent."""
    ops = ops_of(seed)
    chance = random.Random(seed)
    expected = state(merged(ops))
    for _ in range(5):
        shuffled = [*ops, *chance.sample(ops, len(ops) // 3)]
        chance.shuffle(shuffled)
        cuts = sorted(chance.sample(range(len(shuffled) + 1), 3))
        parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
        assert expected == state(merged(*parts))
        assert expected == state(merged(*reversed(parts), ops))


@pytest.mark.parametrize("seed", SEEDS)
def test_rewinding_restores_the_beginning_exactly(seed: int) -> None:
    """All ops taken back leave nothing; put in again they make the same document."""
    replica = merged(ops_of(seed))
    before = state(replica)
    for start in (len(replica.log) * 2 // 3, len(replica.log) // 2, 0):
        rows = replica.rewind(start)
        replica.tree.check_invariants()
        if not start:
            assert replica.document == {}
            assert replica.tree.root.codes == {}
            assert replica.failures == {}
        replica.reinsert(rows)
        replica.check_invariants()
        assert before == state(replica)


@pytest.mark.parametrize("seed", SEEDS)
def test_dropping_the_newest_ops_leaves_the_others(seed: int) -> None:
    """What the disk refused is as if it had never been."""
    ops = ops_of(seed)
    author = ops[-1].author
    kept = [op for op in ops if op.author != author]
    if any(seen == author for op in kept for seen, _ in op.seen):
        kept = ops[:-1]
    replica = merged(ops)
    replica.drop_ops({(op.index, op.author) for op in ops} - {(o.index, o.author) for o in kept})
    replica.check_invariants()
    assert state(merged(kept)) == state(replica)
    replica.drop_ops(set())


@pytest.mark.parametrize("seed", SEEDS)
def test_ops_survive_both_of_their_forms(seed: int) -> None:
    """The compact form and JSON carry everything that an op says."""
    ops = ops_of(seed)
    assert ops == decode_ops(encode_ops(ops))
    assert ops == [op_from_json(json.loads(json.dumps(op_to_json(op)))) for op in ops]


def test_concurrent_additions_add_up() -> None:
    """`k` peers that add 1 at the same time add `k`."""
    peers = [Peer(bytes([number]) * 16) for number in range(5)]
    peers[0].compiler.dispatch(Set("$.n", 0), 1)
    for peer in peers[1:]:
        peer.replica.merge(peers[0].ops())
    for peer in peers:
        for _ in range(3):
            peer.compiler.dispatch(Add("$.n", 1), 1)
    for peer in peers:
        for other in peers:
            peer.replica.merge(other.ops())
        assert {"n": 15} == peer.replica.document


@pytest.mark.parametrize("backwards", [False, True])
def test_runs_typed_at_the_same_time_do_not_interleave(backwards: bool) -> None:
    """In either direction every run stays whole."""
    peers = [Peer(bytes([number + 1]) * 16) for number in range(3)]
    peers[0].compiler.dispatch(Set("$.text", ["<", ">"]), 1)
    for peer in peers[1:]:
        peer.replica.merge(peers[0].ops())
    for name, peer in zip("abc", peers, strict=True):
        for number in range(6):
            action: Any = InsertBefore("$.text[1]", f"{name}{number}")
            if not backwards and number:
                action = InsertAfter(f"$.text[{number}]", f"{name}{number}")
            peer.compiler.dispatch(action, 1)
    for peer in peers:
        for other in peers:
            peer.replica.merge(other.ops())
    text = peers[0].replica.document["text"]
    assert text == peers[1].replica.document["text"] == peers[2].replica.document["text"]
    runs = [item[0] for item in text[1:-1]]
    changes = sum(one != other for one, other in itertools.pairwise(runs))
    assert 2 == changes
    numbers = [int(item[1:]) for item in text[1:-1]]
    run = list(range(6))
    assert 3 * (run[::-1] if backwards else run) == numbers


class Mutilator:
    """Makes of honest ops such as nobody honest sends."""

    def __init__(self, seed: int, ops: list[Op]) -> None:
        self.random = random.Random(seed)
        self.ops = ops

    def name(self, name: Name) -> Name:
        """Return another name: near, far, of nothing, or of a copy."""
        pick = self.random.randrange(7)
        other = self.random.choice(self.ops)
        if pick == 0:
            return Name(other.author, other.index, self.random.choice([0, 1, 2, 5, 2**24 - 1]))
        if pick == 1:
            link = (other.author, other.index, self.random.randrange(3))
            return Name(name.author, name.index, name.offset, (link, *name.of[:2]))
        if pick == 2:
            return Name(self.random.randbytes(16), self.random.randrange(2**53), 0)
        if pick == 3:
            return name._replace(offset=name.offset + 1)
        return name

    def op(self, op: Op) -> Op:
        """Return an op with something wrong."""
        pick = self.random.randrange(9)
        body = map_names(op.body, self.name)
        if pick == 0 and body.spot is not None:
            body = body._replace(spot=body.spot._replace(fill=self.random.choice([3, 65_537])))
        if pick == 1:
            return op._replace(body=body, previous=self.random.randrange(op.index))
        if pick == 2:
            return op._replace(body=body, index=op.index + self.random.choice([1, 2**20, 2**52]))
        if pick == 3:
            return op._replace(body=body, seen=((self.random.choice(self.ops).author, 1),))
        if pick == 4:
            return op._replace(body=body, origin=self.name(Name(op.author, op.index)))
        if pick == 5:
            return op._replace(body=body, author=self.random.choice(self.ops).author)
        return op._replace(body=body)


@pytest.mark.parametrize("seed", range(60))
def test_hostile_ops_are_refused_or_fail_as_the_oracle_says(seed: int) -> None:
    """Only RemoteProtocolError comes out, invariants hold, and what is merged folds alike."""
    honest = ops_of(seed % 15, 40)
    mutilator = Mutilator(seed, honest)
    replica = Replica(bytes(16))
    for op in honest:
        bad = mutilator.op(op) if mutilator.random.random() < 0.4 else op
        try:
            (bad,) = decode_ops(encode_ops([bad]))
        except (ActionError, ValueError, OverflowError):
            continue
        try:
            replica.merge([bad])
        except RemoteProtocolError:
            continue
    replica.check_invariants()
    ops = [replica.log.op(row) for row in range(len(replica.log))]
    assert state(merged(ops)) == state(replica)
    folded = fold(op_to_json(op) for op in ops)
    assert folded.document == replica.document
    assert [f["message"] for f in folded.failures] == [
        replica.failures[code][1] for code in sorted(replica.failures, key=replica.log.find)
    ]


def test_a_dispatch_that_fails_uses_no_number() -> None:
    """Nothing is logged, and the next op follows the last one that succeeded."""
    replica = Replica(b"a" * 16)
    compiler = Compiler(replica)
    compiler.dispatch(InitArray("$.list"), 1)
    with pytest.raises(ActionError):
        compiler.dispatch({"action": "Set", "path": "$.x"}, 1)
    compiler.dispatch(Set("$.x", 1), 1)
    assert [1, 2] == list(replica.log.indexes)
