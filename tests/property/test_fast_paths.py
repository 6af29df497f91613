"""Fast paths repeat rules that stand elsewhere: here both are held against each other."""

from __future__ import annotations

import contextlib
import random
from contextlib import suppress
from typing import Any

import pytest

from cytosol.crdt import export as export_module
from cytosol.crdt.actions import (
    Add,
    Copy,
    DataAction,
    Delete,
    InitObject,
    InsertAfter,
    InsertBefore,
    Move,
    Multiply,
    Set,
    Transaction,
)
from cytosol.crdt.bulk import load_bulk, merge_bulk
from cytosol.crdt.compile import Compiler
from cytosol.crdt.contents import Contents, digest_after
from cytosol.crdt.export import (
    PLAIN_RUN,
    encode_rows,
    missing_rows,
    row_size,
    starts_plain_run,
)
from cytosol.crdt.inner import InnerEffects
from cytosol.crdt.log import Log
from cytosol.crdt.names import OFFSET_BITS
from cytosol.crdt.quick import Quick
from cytosol.crdt.replica import Replica
from cytosol.crdt.single import merge_single
from cytosol.errors import ActionError, FailureError
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Op, op_to_json
from cytosol.model.opcodec import decode_columns, decode_ops, encode_ops, unpack_columns
from cytosol.model.singlecodec import SINGLE, decode_single
from tests.oracle.fold import fold
from tests.property.histories import History, Peer

PRIMITIVES: list[Any] = [0, 1, -7, 2**63, 1.5, -0.0, True, False, None, "", "x", "ü", "x" * 2000]


def plain_set(chance: random.Random) -> DataAction:
    """Return a Set of a primitive at one of a few keys."""
    parent = chance.choice(["$.a", "$.b", "$", "$.a.inner"])
    return Set(f"{parent}.k{chance.randrange(30)}", chance.choice(PRIMITIVES))


class PlainHistory(History):
    """A history of mostly plain writes, whose peers send batches of columns."""

    def __init__(self, seed: int, plain: float) -> None:
        super().__init__(seed, 3)
        self.plain = plain
        self.in_bulk = 0

    def action(self, document: Any, nested: bool = False) -> DataAction:
        """Return a plain write, or now and then anything."""
        if self.random.random() < self.plain:
            return plain_set(self.random)
        return super().action(document, nested)

    def send(self, source: Peer, target: Peer) -> None:
        """Send a prefix of what is missing, as one batch."""
        latest = target.replica.latest
        missing = [op for op in source.ops() if op.index > latest.get(op.author, 0)]
        if self.random.random() < 0.5:
            missing = missing[: self.random.randrange(len(missing) + 1)]
        columns = unpack_columns(encode_ops(missing))
        if merge_bulk(target.replica, columns):
            self.in_bulk += 1
        else:
            target.replica.merge(decode_columns(columns))


def play(seed: int, plain: float, steps: int = 70) -> PlainHistory:
    """Return a history in which everybody has heard of everything."""
    history = PlainHistory(seed, plain)
    first = history.peers[0].compiler
    first.dispatch(Set("$.a", {"inner": {}}), 1)
    first.dispatch(Set("$.b", {}), 1)
    for _ in range(steps):
        history.step()
    history.settle()
    return history


@pytest.mark.parametrize("plain", [0.5, 0.9, 0.97, 1.0])
def test_merging_in_bulk_gives_what_the_oracle_says(plain: float) -> None:
    """Batches merged column by column leave the same document, hash and way back."""
    in_bulk = 0
    for seed in range(40):
        history = play(seed, plain)
        in_bulk += history.in_bulk
        folded = fold([op_to_json(op) for op in history.peers[0].ops()])
        for peer in history.peers:
            replica = peer.replica
            expected = canonical_bytes(folded.document), folded.state_hash
            assert expected == (canonical_bytes(replica.document), replica.state_hash()), seed
            replica.check_invariants()
            rows = replica.rewind(0)
            assert replica.document == {}, seed
            replica.reinsert(rows)
            assert expected[0] == canonical_bytes(replica.document), seed
            replica.check_invariants()
    assert in_bulk > (20 if plain > 0.9 else 0), "the fast way was hardly taken"


class LiveHistory(PlainHistory):
    """A history whose peers send every op by itself, to two replicas of each receiver.

    The one that the peer goes on writing in takes single writes the fast way, its twin never.
    """

    def __init__(self, seed: int, plain: float) -> None:
        super().__init__(seed, plain)
        self.twins = {peer.replica.author: Replica(peer.replica.author) for peer in self.peers}
        self.one_by_one = 0

    def write(self, peer: Peer) -> None:
        """Let a peer write, and its twin have the same ops."""
        start = len(peer.replica.log)
        super().write(peer)
        self.copy_own(peer, start)

    def copy_own(self, peer: Peer, start: int) -> None:
        """Give the twin of a peer the peer's own ops from a row on."""
        ops = peer.ops()[start:]
        if ops:
            twin = self.twins[peer.replica.author]
            twin.merge(ops)
            twin.told()

    def send(self, source: Peer, target: Peer) -> None:
        """Send a prefix of what is missing, each op as a batch of its own."""
        replica, log = target.replica, source.replica.log
        twin = self.twins[replica.author]
        latest = dict(replica.latest)
        rows = [
            row
            for row in range(len(log))
            if log.indexes[row] > latest.get(log.table.authors[log.numbers[row]], 0)
        ]
        if self.random.random() < 0.5:
            rows = rows[: self.random.randrange(len(rows) + 1)]
        for row in rows:
            batch = encode_rows(log, [row])
            assert decode_ops(batch) == [log.op(row)]
            if batch[:1] == SINGLE and merge_single(replica, decode_single(batch)):
                self.one_by_one += 1
            else:
                replica.merge(decode_ops(batch))
            twin.merge(decode_ops(batch))
            assert (replica.latest, replica.clock, replica.news()) == (
                twin.latest,
                twin.clock,
                twin.news(),
            )


@pytest.mark.parametrize("plain", [0.5, 0.9, 1.0])
def test_single_writes_are_merged_as_all_others(plain: float) -> None:
    """Whatever came before: the same rows, document, hash, news and way back."""
    one_by_one = 0
    for seed in range(25):
        history = LiveHistory(seed, plain)
        first = history.peers[0]
        first.compiler.dispatch(Set("$.a", {"inner": {}}), 1)
        first.compiler.dispatch(Set("$.b", {}), 1)
        history.copy_own(first, 0)
        for _ in range(70):
            history.step()
        history.settle()
        one_by_one += history.one_by_one
        for peer in history.peers:
            replica, twin = peer.replica, history.twins[peer.replica.author]
            assert peer.ops() == [twin.log.op(row) for row in range(len(twin.log))], seed
            assert canonical_bytes(replica.document) == canonical_bytes(twin.document), seed
            assert replica.state_hash() == twin.state_hash(), seed
            replica.check_invariants()
            rows = replica.rewind(0)
            assert replica.document == {}, seed
            replica.reinsert(rows)
            assert canonical_bytes(replica.document) == canonical_bytes(twin.document), seed
    assert one_by_one > 100, "the fast way was hardly taken"


def any_quick_action(chance: random.Random) -> Any:
    """Return an action such as the quick ways are for, or one that only looks like it."""
    index = chance.randrange(12)
    value = chance.choice([*PRIMITIVES, 2**70, float("nan"), "\ud800", [1], {"x": 1}])
    number = chance.choice([1, -3, 0.5, 2**62, True, "1"])
    key = chance.choice(["k1", "k2", "k 3", "k-4", "5", "ü", "a.b", "x[0", "it's", ""])
    parent = chance.choice(
        ["$", "$.a", "$['a']", "$.a['inner']", "$.rows[0]", "$.rows[1]", "$.new", ""]
    )
    place = chance.choice([f"{parent}['{key}']", f'{parent}["{key}"]', f"{parent}.{key}"])
    element = chance.choice(["$.list", "$['list']", "$.rows"]) + f"[{index}]"
    action = chance.choice(
        [
            plain_set(chance),
            Set(place, value),
            Set(key, value),
            Add(chance.choice(["$.a.n", "$.list[0]", "$.a.k1", "$.rows[1].n", place]), number),
            Multiply(chance.choice(["$.a.n", "$.a.k2", "$.rows[0].n", element]), number),
            Set(element, value),
            InsertBefore(chance.choice([element, f"$.list[0{index}]", place]), value),
            InsertAfter(chance.choice([element, "$.list[-1]", "$.list[²]"]), value),
            Delete(chance.choice([element, "$.list[1]", place])),
            Set(place, value, chance.choice([None, [], {"v": 1}])),
        ]
    )
    if chance.random() < 0.5:
        return action
    message = action.to_message()
    if chance.random() < 0.1:
        message |= chance.choice([{"more": 1}, {"path": None}, {"action": "set"}, {"payload": b""}])
    return message


def quick_transaction(chance: random.Random) -> Any:
    """Return a Transaction of such actions, most of which can be done."""
    while True:
        actions = [any_quick_action(chance) for _ in range(chance.randrange(1, 6))]
        if chance.random() < 0.5:
            actions.insert(0, chance.choice([InitObject("$.a"), Set("$.new", {}), Delete("$.new")]))
            actions.insert(1, InsertAfter("$.list[0]", {"n": 0}))
        plain = [one for one in actions if type(one) is not dict]
        if plain or chance.random() < 0.1:
            return Transaction(plain if plain and chance.random() < 0.8 else actions)


def test_quick_writes_log_and_do_what_the_general_way_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same actions with and without the quick ways give the same ops and documents."""
    for seed in range(60):
        chance = random.Random(seed)
        actions: list[Any] = [
            Set("$.a", {"inner": {}, "n": 1}),
            Set("$.list", [1, 2]),
            Set("$.rows", [{}, {"n": 5}]),
            *(any_quick_action(chance) for _ in range(60)),
            *(quick_transaction(chance) for _ in range(20)),
        ]
        quick, slow = Replica(b"a" * 16), Replica(b"a" * 16)
        ways = [Compiler(quick), Compiler(slow)]
        refusals: list[list[str]] = [[], []]
        for now, action in enumerate(actions):
            for way, (compiler, refused) in enumerate(zip(ways, refusals, strict=True)):
                with monkeypatch.context() as patch:
                    if way:
                        patch.setattr(Quick, "dispatch", lambda *_: False)
                        patch.setattr(Quick, "run", lambda _, actions, start, inner: start)
                    try:
                        compiler.dispatch(action, now)
                    except ValueError as error:
                        refused.append(str(error))
                    except Exception as error:
                        refused.append(f"{type(error).__name__}: {error}")
        assert refusals[0] == refusals[1], seed
        ops = [[r.log.op(row) for row in range(len(r.log))] for r in (quick, slow)]
        assert ops[0] == ops[1], seed
        assert canonical_bytes(quick.document) == canonical_bytes(slow.document), seed
        quick.check_invariants()
        quick.take_back(0)
        assert quick.document == {}, seed


def test_names_of_an_own_transaction_find_what_they_do_at_a_peer() -> None:
    """Kept as columns by who made it, and as objects by who merged it: the same places."""
    kept = 0
    for seed in range(60):
        chance = random.Random(seed)
        own, peer = Replica(b"a" * 16), Replica(b"b" * 16)
        compiler = Compiler(own)
        compiler.dispatch(Set("$.a", {"inner": {}, "n": 1}), 1)
        compiler.dispatch(Set("$.list", [1, 2]), 1)
        for _ in range(10):
            # Where a dispatch is refused, the next one is tried.
            with contextlib.suppress(FailureError, ActionError):
                compiler.dispatch(quick_transaction(chance), 1)
        peer.merge([own.log.op(row) for row in range(len(own.log))])
        for row in range(len(own.log)):
            inner, acts = own.log.acts[row], peer.log.acts[row]
            if type(inner) is not InnerEffects:
                continue
            kept += 1
            assert [r.log.body(row) for r in (own, peer)] == [own.log.body(row)] * 2, seed
            assert [own.tree.path(*slot) for slot in inner.slots()] == [
                peer.tree.path(act.up, act.step) for act in acts
            ], seed
            for offset in range(inner.base + 2):
                found = [
                    r.finder.find((r.log.op_code(row) << OFFSET_BITS) + offset) for r in (own, peer)
                ]
                paths = [
                    None if slot is None else (r.tree.path(slot[0], slot[1]), slot[2])
                    for r, slot in zip((own, peer), found, strict=True)
                ]
                assert paths[0] == paths[1], (seed, row, offset)
    assert kept > 100, "few Transactions were kept as columns"


def test_rows_are_exported_as_their_ops_are_encoded() -> None:
    """Columns of the log and the ops they stand for give one batch."""
    for seed in range(30):
        peer = play(seed, 0.6).peers[0]
        rows = range(len(peer.replica.log))
        assert peer.ops() == decode_ops(encode_rows(peer.replica.log, rows))
        some = random.Random(seed).sample(rows, len(rows) // 2)
        chosen = [peer.ops()[row] for row in some]
        assert chosen == decode_ops(encode_rows(peer.replica.log, some))


@pytest.mark.parametrize("plain", [0.9, 1.0])
def test_loading_in_bulk_makes_what_merging_does(plain: float) -> None:
    """The same batches make the same replica, and only nobody hears of it."""
    loaded_in_bulk = 0
    for seed in range(20):
        ops = play(seed, plain).peers[0].ops()
        merged, loaded = Replica(b"m" * 16), Replica(b"l" * 16)
        for start in range(0, len(ops), 8):
            batch = ops[start : start + 8]
            merged.merge(batch)
            loaded.applier.mutator.touched.clear()
            if load_bulk(loaded, unpack_columns(encode_ops(batch))):
                loaded_in_bulk += 1
                assert [] == loaded.applier.mutator.touched
            else:
                loaded.merge(batch)
        assert canonical_bytes(merged.document) == canonical_bytes(loaded.document), seed
        assert merged.state_hash() == loaded.state_hash(), seed
        loaded.check_invariants()
    assert loaded_in_bulk > 20, "the fast way was hardly taken"


def test_a_long_run_of_plain_writes_is_a_batch_of_its_own() -> None:
    """So it is merged column by column, whatever comes before it."""
    replica = Replica(b"a" * 16)
    compiler = Compiler(replica)
    for name in ("a", "b"):
        compiler.dispatch(Set(f"$.{name}", {}), 1)
        compiler.dispatch(Set(f"$.{name}.n", 1), 1)
    compiler.dispatch(Add("$.a.n", 1), 1)
    for at in range(PLAIN_RUN):
        compiler.dispatch(Set(f"$.a.k{at}", at), 1)
    starts = [row for row in range(len(replica.log)) if starts_plain_run(replica.log, row)]
    assert [5] == starts


@pytest.mark.parametrize("known", [1000, 20, 3])
def test_long_runs_at_one_object_are_merged_and_taken_back(known: int) -> None:
    """Keys that are new, that are there, and that a run writes several times."""
    written, merged = Replica(b"w" * 16), Replica(b"m" * 16)
    compiler = Compiler(written)
    compiler.dispatch(Set("$.a", {"k0": "old"}), 1)
    merged.merge([written.log.op(0)])
    before = canonical_bytes(merged.document)
    number = 0
    for _ in range(4):
        start = len(written.log)
        for _ in range(20):
            compiler.dispatch(Set(f"$.a.k{number % known}", PRIMITIVES[number % 13]), 1)
            number += 1
        rows = range(start, len(written.log))
        assert 20 == len(merge_bulk(merged, unpack_columns(encode_rows(written.log, rows))))
        assert canonical_bytes(written.document) == canonical_bytes(merged.document)
    merged.check_invariants()
    merged.rewind(1)
    assert before == canonical_bytes(merged.document)


class ManyObjects:
    """Writers who set primitives at keys of many objects in turn, and exchange whole batches.

    Each has a twin that takes the ops of the same batches one by one.
    """

    def __init__(self, seed: int, plain: float = 1.0) -> None:
        self.random = random.Random(seed)
        self.plain = plain
        self.in_bulk = 0
        self.objects = self.random.choice([2, 12, 40])
        self.keys = self.random.choice([2, 30])
        self.writers = [Replica(bytes((65 + number,)) * 16) for number in range(3)]
        self.twins = [Replica(replica.author) for replica in self.writers]
        self.collided = 0
        first = Compiler(self.writers[0])
        for number in range(self.objects):
            first.dispatch(Set(f"$.o{number}", {"k0": 0}), 1)
        makers = ops_of(self.writers[0])
        for replica in (*self.writers[1:], *self.twins):
            replica.merge(makers)

    def write(self, writer: int) -> None:
        """Set some keys, of one object after the other or of many in turn."""
        replica, chance = self.writers[writer], self.random
        compiler, start = Compiler(replica), len(replica.log)
        path = "$"
        for _ in range(chance.randrange(4, 30)):
            if chance.random() < 0.6:
                path = chance.choice(["$", *(f"$.o{at}" for at in range(self.objects))])
            key = f"{path}.k{chance.randrange(self.keys)}"
            is_plain = chance.random() < self.plain
            other = chance.choice([path, f"$.o{chance.randrange(self.objects)}"])
            value = Set(key, any_value(chance))
            with suppress(ActionError, FailureError):  # the object may be gone
                compiler.dispatch(value if is_plain else any_other_action(chance, key, other), 1)
        self.twins[writer].merge(ops_of(replica)[start:])
        self.twins[writer].told()

    def send(self, source: int, target: int) -> None:
        """Let one have what it lacks of another, as one batch."""
        log, replica, twin = self.writers[source].log, self.writers[target], self.twins[target]
        after = dict(replica.latest)
        rows = missing_rows(log, range(len(log)), after, 1 << 20)
        if len(rows) < 4:
            return
        batch = encode_rows(log, rows)
        assert [log.op(row) for row in rows] == decode_ops(batch)
        if replica.log.key(len(replica.log) - 1) > log.key(rows[0]):
            self.collided += 1
        merged = merge_bulk(replica, unpack_columns(batch))
        self.in_bulk += len(merged)
        assert len(merged) == len(rows) or (self.plain < 1 and not merged)
        if not merged:
            replica.merge(decode_ops(batch))
        twin.merge(decode_ops(batch))
        self.check(target)

    def check(self, target: int) -> None:
        """Compare one with its twin as it is, and as it was after some op."""
        replica, twin = self.writers[target], self.twins[target]
        assert ops_of(replica) == ops_of(twin)
        assert replica.state_hash() == twin.state_hash()
        assert replica.failures == twin.failures
        assert (replica.news(), replica.clock) == (twin.news(), twin.clock)
        replica.check_invariants()
        row = self.random.randrange(len(replica.log))
        taken = [each.rewind(row) for each in (replica, twin)]
        assert canonical_bytes(replica.document) == canonical_bytes(twin.document)
        replica.tree.check_invariants()
        for each, rows in zip((replica, twin), taken, strict=True):
            each.reinsert(rows)
        assert canonical_bytes(replica.document) == canonical_bytes(twin.document)


def any_other_action(chance: random.Random, key: str, other: str) -> DataAction:
    """Return an action that is no plain write, at a key or about another place."""
    return chance.choice(
        [
            Set(key, chance.choice([{}, [1], {"k1": {"k2": 1}}, [[]], "x" * 100_001])),
            Delete(key),
            Delete(other),
            InitObject(other),
            InitObject(key),
            Add(key, 2),
            Multiply(key, 0.5),
            Set(f"{key}[0]", 1),
            InsertAfter(f"{key}[0]", {"k1": 1}),
            Set(f"{key}.k1", 1),
            Copy(key, other),
            Move(key, other),
            Transaction([Set(key, 1), Add(key, 1)]),
            Transaction([InitObject(key), Set(f"{key}.k1", 1), Set(f"{key}.k2", 2)]),
        ]
    )


def any_value(chance: random.Random) -> Any:
    """Return a primitive of any kind."""
    return chance.choice([*PRIMITIVES, chance.random(), chance.randrange(10**6)])


def ops_of(replica: Replica) -> list[Op]:
    """Return all ops of a replica."""
    return [replica.log.op(row) for row in range(len(replica.log))]


def test_batches_that_write_to_many_objects_are_merged_as_their_ops_are() -> None:
    """In whatever order they come, also where several have written to the same keys."""
    collided = 0
    for seed in range(20):
        history = ManyObjects(seed)
        for _ in range(12):
            writer, *others = history.random.sample(range(3), 3)
            history.write(writer)
            history.send(writer, history.random.choice(others))
        collided += history.collided
    assert collided > 50, "hardly any batch came after later ops"


@pytest.mark.parametrize("plain", [0.7, 0.97])
def test_batches_with_other_ops_among_the_writes_are_merged_as_their_ops_are(plain: float) -> None:
    """Whatever these ops put, remove or move where the writes go; also if some of it fails."""
    in_bulk = 0
    for seed in range(15):
        history = ManyObjects(seed, plain)
        for _ in range(12):
            writer, *others = history.random.sample(range(3), 3)
            history.write(writer)
            history.send(writer, history.random.choice(others))
            if history.random.random() < 0.5:
                history.send(others[0], others[1])
        in_bulk += history.in_bulk
    assert in_bulk > 500, "the fast way was hardly taken"


def test_a_batch_that_breaks_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it does: neither ops nor names, nor what they have seen."""
    source = Replica(b"s" * 16)
    compiler = Compiler(source)
    compiler.dispatch(Set("$.a", {}), 1)
    source.merge([Op(2, b"t" * 16, 0, 1, Body(Kind.SET, key="t", payload=1))])
    for number in range(60):
        compiler.dispatch(Set(f"$.a.k{number % 40}", number), 1)
        if number % 20 == 10:
            compiler.dispatch(Set("$.b", {"n": number}), 1)
    batch = encode_rows(source.log, range(1, len(source.log)))
    apply_row = Replica._apply_row
    for failing in range(1, 4):
        replica = Replica(b"r" * 16)
        replica.merge([source.log.op(0)])
        before = (
            canonical_bytes(replica.document),
            replica.latest.copy(),
            len(replica.names.authors),
        )
        calls = 0

        def broken(replica: Replica, row: int, failing: int = failing) -> None:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise MemoryError
            apply_row(replica, row)

        with monkeypatch.context() as patch:
            patch.setattr(Replica, "_apply_row", broken)
            with pytest.raises(MemoryError):
                merge_bulk(replica, unpack_columns(batch))
        after = canonical_bytes(replica.document), replica.latest, len(replica.names.authors)
        assert before == after
        assert not replica.log.seen
        replica.check_invariants()
        assert len(merge_bulk(replica, unpack_columns(batch))) == len(source.log) - 1
        assert canonical_bytes(source.document) == canonical_bytes(replica.document)


def test_between_two_writes_of_one_batch_to_a_key_the_first_is_found() -> None:
    """Also if the key was there before, and the op that looks is merged later."""
    written, merged, late = (Replica(name * 16) for name in (b"w", b"m", b"z"))
    Compiler(written).dispatch(Set("$.k", "old"), 1)
    for replica in (merged, late):
        replica.merge([written.log.op(0)])
    for number in range(20):
        Compiler(written).dispatch(Set("$.k", number), 1)
    Compiler(late).dispatch(Copy("$.copy", "$.k"), 1)
    assert 20 == len(merge_bulk(merged, unpack_columns(encode_rows(written.log, range(1, 21)))))
    merged.merge([late.log.op(1)])
    assert {"k": 19, "copy": 0} == merged.document


def plainly_missing(log: Log, rows: range, after: dict[bytes, int], max_bytes: int) -> list[int]:
    """Return what `missing_rows` does, row by row."""
    taken: list[int] = []
    size = 0
    for row in rows:
        author, index = log.table.authors[log.numbers[row]], log.indexes[row]
        known = after.get(author, 0)
        if index <= known:
            continue
        if log.previous[row] > known or (taken and starts_plain_run(log, row)):
            break
        taken.append(row)
        after[author] = index
        size += row_size(log, row)
        if size >= max_bytes:
            break
    return taken


@pytest.mark.parametrize("plain", [0.5, 0.95, 1.0])
def test_missing_rows_are_found_by_stretches_as_one_by_one(
    plain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a peer holds and however large a batch may be: the same rows, and their ops."""
    monkeypatch.setattr(export_module, "STRETCH", 4)
    monkeypatch.setattr(export_module, "PLAIN_RUN", 6)
    for seed in range(20):
        chance = random.Random(seed)
        replica = play(seed, plain, 120).peers[0].replica
        log = replica.log
        for _ in range(20):
            held = {
                author: chance.choice([0, index, chance.randrange(index + 1)])
                for author, index in replica.latest.items()
            }
            rows = range(chance.randrange(len(log)), len(log))
            max_bytes = chance.choice([1, 100, 1_000, 100_000])
            after, expected = dict(held), dict(held)
            found = missing_rows(log, rows, after, max_bytes)
            assert plainly_missing(log, rows, expected, max_bytes) == list(found), seed
            assert expected == after, seed
            if found:
                assert [log.op(row) for row in found] == decode_ops(encode_rows(log, found)), seed


@pytest.mark.parametrize("plain", [0.5, 0.9, 1.0])
def test_digests_over_columns_are_those_over_the_ops(plain: float) -> None:
    """Of every author, at every op, whatever was asked for before."""
    for seed in range(10):
        for peer in play(seed, plain, 50).peers:
            replica, contents = peer.replica, Contents()
            last: dict[bytes, bytes] = {}
            expected = []
            for op in peer.ops():
                last[op.author] = digest_after(op, last.get(op.author, b""))
                expected.append((op.author, op.index, last[op.author]))
            assert last == {
                author: Contents().digest(replica, author, replica.latest[author])
                for author in replica.latest
            }
            random.Random(seed).shuffle(expected)
            for author, index, digest in expected:
                assert digest == contents.digest(replica, author, index)
