"""Whoever takes a stranger's history brings along all that it holds, however it came about.

Replay one: `python -m tests.property.test_what_survives_an_adoption SEED`, or many: `0-9999`.
"""

from __future__ import annotations

import random
import sys

import pytest

from cytosol.crdt.compile import Compiler
from cytosol.crdt.readopt import reissue
from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import Notes, load_base
from cytosol.errors import ActionError, FailureError
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.op import Op
from cytosol.testing.actions import RandomActions
from tests.property.bases import ops_of, trim
from tests.property.replay import as_text, check_seeds


def written(chance: random.Random, root: str) -> Replica:
    """Return the history of a device that wrote at and below one key, and met nobody."""
    replica = Replica(chance.randbytes(16))
    compiler = Compiler(replica)
    actions = RandomActions(chance, f"$.{root}")
    for now_ms in range(chance.randrange(1, 30)):
        try:
            compiler.dispatch(actions.action(replica.document.get(root)), now_ms)
        except (FailureError, ActionError):
            continue
    return replica


def trimmed(replica: Replica, count: int) -> tuple[bytes | None, list[Op]]:
    """Trim a history; return its base, if anything could go, and the ops on top."""
    return trim(replica, count, Notes()) or (None, ops_of(replica))


def opened(base: bytes | None, held: list[Op], author: bytes) -> Replica:
    """Return a device that begins with this history."""
    replica = Replica(author)
    if base is not None:
        replica, _ = load_base(base, author, DOCUMENT_PLACES_MAX)
    replica.merge(held)
    replica.renew_author(author)
    return replica


def check_survival(seed: int) -> None:
    """Let two devices with one history, trimmed alike, take the history of a third, and meet."""
    chance = random.Random(seed)
    ours, theirs = written(chance, "ours"), written(chance, "theirs")
    expected = as_text({**ours.document, **theirs.document})
    known = theirs.latest
    held = ops_of(ours)
    history = trimmed(theirs, chance.randrange(40))
    cut = chance.randrange(40)
    adopted = []
    for author in (b"\x01" * 16, b"\x02" * 16):
        old = opened(None, held, ours.author)
        old = opened(*trimmed(old, cut), ours.author)
        new = opened(*history, author)
        reissue(old, new)
        new.check_invariants()
        assert expected == as_text(new.document), f"seed {seed}: what one brought along"
        adopted.append(new)
    first, second = adopted
    first.merge([op for op in ops_of(second) if op.index > known.get(op.author, 0)])
    first.check_invariants()
    assert expected == as_text(first.document), f"seed {seed}: what both brought along"


@pytest.mark.parametrize(
    "block", [0, 1, *(pytest.param(block, marks=pytest.mark.long) for block in range(2, 10))]
)
def test_what_a_device_holds_survives_an_adoption(block: int) -> None:
    """Values, elements, what was moved and copied: all, once, and in its order."""
    for seed in range(block * 100, block * 100 + 100):
        check_survival(seed)


if __name__ == "__main__":
    sys.exit(check_seeds(check_survival, __spec__.name, sys.argv[1]))
