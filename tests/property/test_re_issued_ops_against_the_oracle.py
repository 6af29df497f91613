"""Ops with origins, nonsense among them, are merged as the plain fold has it.

Replay one: `python -m tests.property.test_re_issued_ops_against_the_oracle SEED`, or many: `0-999`.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cytosol.crdt.replica import Replica
from cytosol.model.op import op_from_json
from tests.oracle.fold import fold
from tests.oracle.histories import nth
from tests.oracle.test_fold_random_histories import LOST, Scribbler
from tests.oracle.tree import numbers_taken
from tests.property.replay import as_text, check_seeds

OPS = 60


class Reissuer(Scribbler):
    """Issues two lost ops again, whole and in parts, beside all the rest."""

    def any_name(self) -> dict[str, Any]:
        """Return a name that some op may have given: one of its numbers."""
        if not self.history.ops or self.random.random() < 0.2:
            return self.origin()
        op = self.random.choice(self.history.ops)
        inner = op["payload"] if op["action"] == "Transaction" else [op]
        count = sum(map(numbers_taken, inner))
        return nth(op["id"], self.random.randrange(count)) if count else dict(op["id"])

    def origin(self) -> dict[str, Any]:
        """Return the id of an op that was lost, or of a part of it."""
        name = super().origin() if self.history.ops else {"author": ""}
        if name["author"] in LOST and self.random.random() < 0.4:
            return name
        lost = {"author": LOST[0], "index": self.random.choice([900, 901])}
        offset = self.random.choice([0, 0, 1, 2, 3])
        return nth(lost, offset) if offset else lost


def as_devices_do(ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let whoever issues an op again say the same, and parts be what bases hold."""
    said: dict[str, dict[str, Any]] = {}
    text = as_text(ops)
    changed = []
    for op in ops:
        origin = op.get("origin")
        if origin is None:
            changed.append(op)
            continue
        is_part = origin.get("offset", 0) > 0
        is_value = op["action"] in ("Set", "InitObject", "InitArray") and "fill" not in op
        if is_part and not is_value:
            op = {key: value for key, value in op.items() if key != "origin"}
        elif as_text(origin) in said and as_text({**op["id"], "offset": 0})[:-3] in text:
            continue  # others call what it made by numbers which it would not have any more
        else:
            op = {**said.setdefault(as_text(origin), op), "id": op["id"]}
        changed.append(op)
    return changed


def check_merging(seed: int) -> None:
    """Compare document and failures of a replica with those of the plain fold."""
    ops = as_devices_do(Reissuer(seed, re_issued=0.5).write(OPS))
    last: dict[str, int] = {}
    replica = Replica(b"\xff" * 16)
    for op in ops:
        author = op["id"]["author"]
        replica.merge([op_from_json({**op, "previous": last.get(author, 0)})])
        last[author] = op["id"]["index"]
    replica.check_invariants()
    folded = fold(ops)
    failed = sorted(as_text(each) for each in replica.failures.values())
    expected = sorted(as_text((each["path"], each["message"])) for each in folded.failures)
    assert as_text(folded.document) == as_text(replica.document), f"seed {seed}"
    assert expected == failed, f"seed {seed}"


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(block, marks=pytest.mark.long) for block in range(1, 10))]
)
def test_re_issued_ops_are_merged_as_the_page_says(block: int) -> None:
    """Wholes and parts of one op, in any order, and beside the op itself."""
    for seed in range(block * 40, block * 40 + 40):
        check_merging(seed)


if __name__ == "__main__":
    sys.exit(check_seeds(check_merging, __spec__.name, sys.argv[1]))
