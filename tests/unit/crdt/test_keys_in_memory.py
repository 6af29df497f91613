"""A log keeps one text for a key, however often it is written."""

from __future__ import annotations

from cytosol.crdt.actions import Add, Set
from cytosol.crdt.bulk import load_bulk
from cytosol.crdt.compile import Compiler
from cytosol.crdt.export import encode_rows
from cytosol.crdt.quick import Quick
from cytosol.crdt.replica import Replica
from cytosol.model.opcodec import unpack_columns

KEYS = [f"key_{number}" for number in range(20)]
TIMES = 6


def written() -> Replica:
    """Return a history in which some keys were written again and again."""
    replica = Replica(b"a" * 16)
    Compiler(replica).dispatch(Set("$.a", {}), 1)
    quick = Quick(replica)
    for at in range(TIMES):
        assert quick.begin(1000, None)
        for key in KEYS:
            assert quick.write(Set(f"$.a.{key}", at), 1)
            assert quick.write(Add(f"$.a.{key}", 1), 1)
        quick.settle()
    return replica


def texts_in(replica: Replica) -> int:
    """Return how many objects the keys in a log are."""
    return len({id(form) for form in replica.log.steps if type(form) is str})


def test_own_writes_share_their_keys() -> None:
    """Those that are logged together, but for the first ones, which share with the object."""
    replica = written()
    assert replica.document == {"a": dict.fromkeys(KEYS, TIMES)}
    assert len(KEYS) < texts_in(replica) <= 2 * len(KEYS) + 1
    # The forms of other ops stand where they stood.
    assert [Set, Add] * TIMES * len(KEYS) == [
        Set if type(form) is str else Add for form in replica.log.steps[1:]
    ]


def test_merged_writes_share_their_keys() -> None:
    """Those that come in one batch."""
    source, merged = written(), Replica(b"m" * 16)
    plain = Replica(b"p" * 16)
    plain.merge([source.log.op(0)])
    compiler = Compiler(plain)
    for at in range(TIMES):
        for key in KEYS:
            compiler.dispatch(Set(f"$.a.{key}", at), 1)
    merged.merge([plain.log.op(0)])
    for at in range(TIMES):
        start = 1 + at * len(KEYS)
        rows = range(start, start + len(KEYS))
        assert load_bulk(merged, unpack_columns(encode_rows(plain.log, rows)))
    assert merged.log.steps == plain.log.steps
    assert len(KEYS) < texts_in(merged) <= 2 * len(KEYS) + 1
    merged.check_invariants()
