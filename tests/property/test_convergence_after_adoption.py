"""Whoever adopts a base re-issues what only it had; all bases lead to the same document."""

from __future__ import annotations

import json
import random

import pytest

from cytosol.crdt.contents import Contents, digest_of
from cytosol.crdt.readopt import reissue
from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import Notes, load_base
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.packed import zstd
from tests.property.bases import ops_of, trim
from tests.property.histories import History, Peer


def copied(peer: Peer) -> Replica:
    """Return a replica of the same ops."""
    replica = Replica(b"\xff" * 16)
    replica.merge(peer.ops())
    return replica


def outcome(replica: Replica, since: int) -> tuple[str, list[str]]:
    """Return the document, and the failures among ops after an index."""
    failed = sorted(
        f"{replica.log.key(replica.log.find(code))} {path} {message}"
        for code, (path, message) in replica.failures.items()
        if code >> 16 > since
    )
    return json.dumps(replica.document, sort_keys=True), failed


@pytest.mark.parametrize("block", range(10))
def test_all_bases_lead_to_one_document(block: int) -> None:
    """One adopts the base of the other; a peer that trimmed nothing merges what that gives."""
    adopted = sum(adopt_once(seed) for seed in range(block * 30, block * 30 + 30))
    assert adopted > 10, "most of the histories can be trimmed"


def adopt_once(seed: int) -> bool:
    """Check one history; False if nothing in it could be trimmed."""
    history = History(seed, 2)
    chance = random.Random(seed)
    for _ in range(chance.randrange(5, 40)):
        history.step()
    history.settle()
    winner, loser = history.peers
    for _ in range(chance.randrange(5, 40)):
        history.write(chance.choice(history.peers))
    whole, theirs = copied(winner), copied(winner)
    ours = copied(loser)
    ours.renew_author(loser.replica.author)
    trimmed = trim(theirs, chance.randrange(1, len(theirs.log) + 2), Notes())
    if trimmed is None:
        return False
    base, ops = trimmed
    our_notes = Notes()
    if chance.random() < 0.5:
        trim(ours, chance.randrange(1, len(ours.log) + 2), our_notes)
    new, notes = load_base(base, b"\xee" * 16, DOCUMENT_PLACES_MAX)
    new.merge(ops)
    new.renew_author(b"\xee" * 16)
    since = new.clock
    reissue(ours, new)
    new.check_invariants()
    held = {op.id for op in ops}
    added = [op for op in ops_of(new) if op.id not in held]
    whole.merge(added)
    theirs.merge(added)
    expected = outcome(whole, since)
    assert expected == outcome(new, since), f"seed {seed}: the adopter differs"
    assert expected == outcome(theirs, since), f"seed {seed}: the winner differs"
    if chance.random() < 0.5 and trim(new, len(new.log), notes) is not None:
        assert expected[0] == outcome(new, since)[0], f"seed {seed}: trimming changed something"
    return True


def test_a_base_that_is_damaged_is_refused() -> None:
    """Any byte may be wrong: ActionError, or a base that holds together."""
    import msgspec

    from cytosol.errors import ActionError

    history = History(3, 2)
    for _ in range(80):
        history.step()
    history.settle()
    replica = copied(history.peers[0])
    failure = {"id": {"author": "11111111-1111-4111-8111-111111111111", "index": 1}}
    trimmed = trim(replica, len(replica.log), Notes([failure]))
    assert trimmed is not None
    base = trimmed[0]
    assert load_base(base, b"x" * 16, 100)[0].document == replica.document
    plain = zstd.decompress(base[1:])
    for seed in range(600):
        chance = random.Random(seed)
        columns = msgspec.msgpack.decode(plain, strict=False)
        at = columns
        step = chance.randrange(len(at))
        while isinstance(at[step], list) and at[step] and chance.random() < 0.85:
            at = at[step]
            step = chance.randrange(len(at))
        old = at[step]
        if isinstance(old, int):
            at[step] = chance.choice([old + 1, -1, 0, 2**24, 2**53, 255])
        elif isinstance(old, bytes):
            at[step] = old[: chance.randrange(len(old) + 1)]
        elif isinstance(old, dict):
            at[step] = chance.choice([{}, {0: [1, 2]}, {1: [0, 1, 2]}, {0: [0]}, {"a": 1}])
        else:
            at[step] = chance.choice([None, 1, [], {}, [[]]])
        data = base[:1] + zstd.compress(msgspec.msgpack.encode(columns))
        try:
            load_base(data, b"x" * 16, 100)[0].tree.check_invariants()
        except ActionError:
            continue
    for data in (b"", b"\x09", base[:1], base[:-3], base + b"x", base[:1] + zstd.compress(b"\xc1")):
        with pytest.raises(ActionError):
            load_base(data, b"x" * 16, 100)


def test_digests_tell_contents_apart_under_the_same_ids() -> None:
    """Folded from where they were asked for last, from the base, or from the beginning."""
    history = History(5, 2)
    for _ in range(60):
        history.step()
    history.settle()
    replica = copied(history.peers[0])
    contents = Contents()
    author, latest = max(replica.latest.items())
    mine = [op for op in history.peers[0].ops() if op.author == author]
    half = mine[len(mine) // 2].index
    contents.digest(replica, author, half)
    whole = contents.digest(replica, author, latest)
    assert whole == contents.digest(replica, author, latest)
    contents.forget()
    assert whole == contents.digest(replica, author, latest)
    assert digest_of(mine[0]) != digest_of(mine[0]._replace(timestamp=1))
    notes = Notes()
    assert trim(replica, len(replica.log), notes) is not None
    assert whole == notes.contents.digest(replica, author, latest)
