"""The state hash covers the ids of all known ops, in order."""

from tests.oracle.fold import fold, state_hash
from tests.oracle.histories import ALICE, BOB, History, act

FIRST = "1cca2959-e698-4bf2-853b-2957a51a86cc"
SECOND = "ecdb8ebf-e896-45e9-8bf9-1cf99db583b0"


def op(index, author):
    """Return an op of which only the id matters."""
    return {"id": {"author": author, "index": index}}


def test_the_hash_of_nothing_is_64_zero_bytes():
    """StateHash(0)."""
    assert bytes(64) == fold([]).state_hash


def test_the_worked_values():
    """Three ids, and the digests that begin as written down."""
    ops = [op(1, FIRST), op(2, FIRST), op(2, SECOND)]
    begins = [state_hash(ops[:count])[:8].hex() for count in (1, 2, 3)]
    assert begins == ["9527ddc45851b0b1", "4cf31994320fd807", "e281305ea3c6f677"]


def test_the_hash_does_not_depend_on_the_order_of_arrival():
    """Ops are sorted by index, then by the author's bytes."""
    ops = [op(1, FIRST), op(2, FIRST), op(2, SECOND)]
    assert state_hash(ops) == state_hash(ops[::-1])


def test_a_transaction_is_one_step_and_a_failed_op_counts():
    """Only the ids are covered, whatever became of the ops."""
    history = History()
    history.transaction(act("Set", "a", payload=1), act("Set", "b", payload=2))
    history.do("Delete", {"author": BOB, "index": 9}, by=BOB)
    history.do("Set", "c", payload=1, origin={"author": ALICE, "index": 1})
    assert fold(history.ops).state_hash == state_hash([op(1, ALICE), op(2, BOB), op(3, ALICE)])
