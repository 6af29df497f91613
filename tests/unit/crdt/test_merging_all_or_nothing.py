"""A merge that fails, for whatever reason, leaves the history as it was."""

from __future__ import annotations

import json
import random

import pytest

from cytosol.crdt.find import Finder
from cytosol.crdt.replica import Replica
from cytosol.errors import RemoteProtocolError
from cytosol.model.op import Body, Kind, Name, Op
from tests.property.histories import History

THEM = b"t" * 16


def state(replica: Replica) -> tuple[object, ...]:
    """Return everything that must stay."""
    return (
        json.dumps(replica.document, sort_keys=True),
        dict(replica.latest),
        replica.clock,
        replica.state_hash(),
        dict(replica.failures),
        dict(replica.log.seen),
        dict(replica.log.origins),
        list(replica.names.authors),
        replica.news(),
    )


@pytest.mark.parametrize("seed", range(12))
def test_whatever_breaks_in_the_middle_nothing_has_changed(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same ops can be merged when it is mended."""
    history = History(seed, 3)
    for _ in range(40):
        history.step()
    one, other, _ = history.peers
    new = [op for op in other.ops() if op.index > one.replica.latest.get(op.author, 0)]
    before = state(one.replica)
    chance = random.Random(seed)
    patience = chance.randrange(1, 30)
    find = Finder.find

    def breaks(finder: Finder, code: int) -> object:
        nonlocal patience
        patience -= 1
        if not patience:
            raise MemoryError("no memory left")
        return find(finder, code)

    monkeypatch.setattr(Finder, "find", breaks)
    try:
        one.replica.merge(new)
    except MemoryError:
        monkeypatch.undo()
        assert state(one.replica) == before
        one.replica.check_invariants()
        one.replica.merge(new)
    monkeypatch.undo()
    one.replica.check_invariants()
    fresh = Replica(b"f" * 16)
    fresh.merge(one.ops())
    assert fresh.document == one.replica.document


def test_an_op_that_names_too_many_authors_leaves_no_trace() -> None:
    """The table of authors is as before, and others can write."""
    replica = Replica(b"u" * 16)
    authors = [number.to_bytes(16, "big") for number in range(1, 65_700)]
    deletions = tuple(Body(Kind.DELETE, Name(author, 1)) for author in authors)
    before = state(replica)
    later = Op(2, b"o" * 16, 0, 0, Body(Kind.SET, key="a", payload=2))
    with pytest.raises(RemoteProtocolError, match="at most"):
        replica.merge([Op(1, THEM, 0, 0, Body(Kind.TRANSACTION, payload=deletions)), later])
    assert state(replica) == before
    replica.merge([Op(1, THEM, 0, 0, Body(Kind.SET, key="a", payload=1))])
    assert replica.document == {"a": 1}


def test_an_op_that_broke_before_it_had_an_effect_is_taken_back_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nothing to undo in its row."""
    replica = Replica(b"u" * 16)
    replica.merge([Op(1, THEM, 0, 0, Body(Kind.SET, key="a", payload={}))])
    before = state(replica)

    def breaks(finder: Finder, code: int) -> object:
        raise MemoryError("no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(Finder, "find", breaks)
        with pytest.raises(MemoryError):
            replica.merge([Op(2, THEM, 1, 0, Body(Kind.SET, Name(THEM, 1), "b", payload=1))])
    assert state(replica) == before
    replica.check_invariants()


def test_numbers_beyond_the_last_one_of_an_op_find_nothing() -> None:
    """They do not run over into the numbers of another author."""
    last = Name(THEM, 1, 2**24 - 1)
    ops = [
        Op(1, THEM, 0, 0, Body(Kind.SET, key="a", payload={"x": 1})),
        Op(2, b"o" * 16, 0, 0, Body(Kind.SET, key="b", payload={"y": 1}), (), last),
        Op(3, THEM, 1, 0, Body(Kind.SET, Name(b"o" * 16, 2, 1), payload=9)),
    ]
    replica = Replica(b"u" * 16)
    replica.merge(ops)
    assert replica.document == {"a": {"x": 1}}
    assert [message for _, message in replica.failures.values()] == ["path does not exist"]
