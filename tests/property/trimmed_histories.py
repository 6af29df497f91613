"""Random histories that are trimmed and adopted, held against the oracle after every step.

Every peer is a real document with a real seam to each other peer. Beside it stands its *shadow*:
all ops of the history it stands on, also those that it has trimmed. A peer that adopts another
one's history goes on with the other's shadow and what it re-issues on top. Whenever something
has happened to a peer, the oracle folds its shadow from zero, knowing nothing of bases, and
document, failures and state hash have to be the same.

Each step has a generator of its own, so that steps can be left out and the others stay as they
are. What fails is replayed, with as few steps as are needed, by

```text
python -m tests.property.trimmed_histories SEED PEERS STEPS [NUMBER ...]
```

`1000-1999` instead of a seed plays all of these, and says of each that fails how to replay it.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from cytosol.crdt.retention import clean_cut
from cytosol.database.joins import PeerReplica
from cytosol.document.document import Document
from cytosol.errors import ActionError, FailureError
from cytosol.model.ids import OpId, format_id
from cytosol.model.op import op_to_json
from cytosol.model.opcodec import decode_ops, encode_ops
from cytosol.protocol.seams import Relation
from tests.oracle.fold import fold
from tests.oracle.render import explain
from tests.property.histories import History
from tests.property.replay import as_text, seeds_of

__all__ = ["Trimmed", "check_trimmed_history"]

NEVER = 1 << 62
BATCH_BYTES = 1 << 20
MEETING_ROUNDS_MAX = 8
SETTLING_ROUNDS_MAX = 24
WRITES_CHECKED = 0.25  # whoever hears, meets, trims or adopts is checked always


class Wrong(Exception):
    """Something is not as it should be; says what."""


class Shadowed:
    """A document and what the oracle knows of it."""

    def __init__(self, history: Trimmed, number: int) -> None:
        self.number = number
        self.ident = history.draw(16)
        self.shadow: dict[OpId, dict[str, Any]] = {}
        self.events: list[object] = []
        self.carried: set[str] = set()
        """Failures that were trimmed out of a history which was given up since then."""
        self.base_carried: set[str] = set()
        """Those of them that whoever adopts our base gets."""
        self.document = Document(
            None,
            now_ms=history.now_ms,
            random_bytes=history.draw,
            report=self._report,
            max_history=-1,
        )
        self.document.journal.open()
        self.document.load(self.ident)

    def _report(self, error: Exception) -> None:
        raise error

    def pair(self, others: Iterable[Shadowed]) -> None:
        """Know all others as paired."""
        self.document.history.set_paired({other.ident for other in others if other is not self})
        self.hold_back()

    def hold_back(self) -> None:
        """Trim only when the history says so: the shadow has to see each op before it goes."""
        self.document.history.check_at = NEVER

    def seam(self, other: Shadowed) -> PeerReplica:
        """Return the document as another peer's sync sees it."""
        return PeerReplica(self.document, other.ident, lambda: None, self.events.append)

    def note(self) -> None:
        """Let the shadow hold what has come into the log."""
        self.hold_back()
        log = self.document.replica.log
        for row in range(len(log)):
            index, author = log.key(row)
            self.shadow.setdefault(OpId(index, author), op_to_json(log.op(row)))

    # --- what has to hold ---------------------------------------------------------------

    def check(self) -> None:
        """Raise Wrong, unless this is what the oracle makes of the shadow."""
        replica = self.document.replica
        try:
            replica.check_invariants()
        except AssertionError as error:
            raise Wrong(f"peer {self.number} breaks an invariant: {error}") from error
        folded = fold(self.shadow.values())
        held, expected = as_text(replica.document), as_text(folded.document)
        if held != expected:
            raise Wrong(f"peer {self.number} holds {held}\ninstead of  {expected}")
        if replica.state_hash() != folded.state_hash:
            raise Wrong(f"peer {self.number} has another state hash than its ops")
        failed = {as_text(failure) for failure in folded.failures}
        listed = self.failures()
        if listed != failed | self.carried:
            raise Wrong(
                f"peer {self.number} has too many failures {sorted(listed - failed)}\n"
                f"and lacks {sorted((failed | self.carried) - listed)}"
            )

    def failures(self) -> set[str]:
        """Return the failures that the document lists, without payloads, as text."""
        listed: Any = self.document.history.failures()
        keys = ("path", "message", "id")
        return {as_text({key: failure[key] for key in keys}) for failure in listed}

    def trimmed_failures(self) -> set[str]:
        """Return those whose ops are gone."""
        replica = self.document.replica
        in_log = {
            as_text({"author": format_id(author), "index": index})
            for index, author in map(replica.log.key, range(len(replica.log)))
        }
        listed: Any = self.document.history.failures()
        keys = ("path", "message", "id")
        return {
            as_text({key: failure[key] for key in keys})
            for failure in listed
            if as_text(failure["id"]) not in in_log
        }


class Trimmed:
    """A world of peers that write, meet, trim while others are away, and adopt."""

    def __init__(self, seed: int, peers: int) -> None:
        self.seed = seed
        self.pen = History(seed, 0)
        self.random = self.pen.random
        self.begin("peers")
        self.only_clean = self.random.random() < 0.25
        self.clock = 1_000
        self.trims = self.adoptions = 0
        self.is_settling = False
        self.told: list[str] = []
        self.peers = [Shadowed(self, number) for number in range(peers)]
        for peer in self.peers:
            peer.pair(self.peers)

    def now_ms(self) -> int:
        """Return a time that goes on by itself."""
        self.clock += 1
        return self.clock

    def draw(self, count: int) -> bytes:
        """Return random bytes."""
        return self.random.randbytes(count)

    def begin(self, step: object) -> None:
        """Start the random numbers of a step, which do not depend on earlier steps."""
        self.random = self.pen.random = random.Random(f"{self.seed} {step}")

    def tell(self, text: str) -> None:
        """Remember what happened, for who reads of a failure."""
        self.told.append(text)

    # --- what happens -------------------------------------------------------------------

    def step(self, number: int) -> None:
        """Do one random thing and hold who was concerned against the oracle."""
        self.begin(number)
        one, other = self.random.sample(self.peers, 2)
        pick = self.random.randrange(100)
        writes, hears, meets = (45, 52, 82) if self.only_clean else (62, 74, 84)
        if pick < writes:
            self.write(number, one)
        elif pick < hears:
            self.hear(number, one, other)
        elif pick < meets:
            self.meet(number, one, other)
        else:
            self.trim(number, one)

    def write(self, number: int, peer: Shadowed) -> None:
        """Let a peer write anything; refusals are fine."""
        replica = peer.document.replica
        before = len(replica.log)
        try:
            peer.document.dispatch(self.pen.action(replica.document))
        except (FailureError, ActionError):
            return
        if len(replica.log) > before:
            self.tell(f"{number}: peer {peer.number} writes {replica.log.op(before).index}")
            peer.note()
            if self.random.random() < WRITES_CHECKED:
                peer.check()

    def hear(self, number: int, target: Shadowed, source: Shadowed) -> None:
        """Let some of what one has come to another without asking, maybe in a bad order."""
        self.tell(f"{number}: peer {target.number} hears of peer {source.number}")
        batch = source.document.history.export_missing(
            target.document.history.latest(), BATCH_BYTES
        )
        if batch is None:
            return
        ops = decode_ops(batch[0])
        if self.random.random() < 0.5:
            ops = ops[: self.random.randrange(1, len(ops) + 1)]
        batches = [ops]
        if self.random.random() < 0.3:
            self.random.shuffle(ops)
            cut = self.random.randrange(1, len(ops) + 1)
            batches = [ops[cut:], ops[:cut]]
        for some in filter(None, batches):
            target.seam(source).import_batch(encode_ops(some), source.ident)
        target.note()
        target.check()

    def meet(self, number: int | str, one: Shadowed, other: Shadowed) -> None:
        """Let two peers do what a full sync does, until they have the same history."""
        self.tell(f"{number}: peers {one.number} and {other.number} meet")
        ours, theirs = one.seam(other), other.seam(one)
        for _ in range(MEETING_ROUNDS_MAX):
            our = ours.summary()
            their = theirs.summary(our.latest)
            ours.note_latest(their.latest)
            theirs.note_latest(our.latest)
            relation, mirrored = ours.relation(their), theirs.relation(our)
            if (relation is Relation.WE_ADOPT) != (mirrored is Relation.THEY_ADOPT) or (
                relation is Relation.MERGE
            ) != (mirrored is Relation.MERGE):
                raise Wrong(f"one wants {relation}, the other {mirrored}")
            if relation is Relation.WE_ADOPT:
                self.adopt(number, one, other)
            elif relation is Relation.THEY_ADOPT:
                self.adopt(number, other, one)
            elif (our.latest, our.state_hash) == (their.latest, their.state_hash):
                break
            else:
                self.exchange(one, other)
                self.exchange(other, one)

    def exchange(self, target: Shadowed, source: Shadowed) -> None:
        """Send all that one lacks and the other has."""
        batch = source.document.history.export_missing(
            target.document.history.latest(), BATCH_BYTES
        )
        if batch is not None:
            target.seam(source).import_batch(batch[0], source.ident)
            target.note()
            if not self.is_settling:
                target.check()

    def adopt(self, number: int | str, loser: Shadowed, winner: Shadowed) -> None:
        """Let one take the other's history for its own and re-issue on top what only it had."""
        if self.only_clean:
            raise Wrong("nothing went that anybody lacks, and yet one has to adopt")
        self.adoptions += 1
        kept = loser.trimmed_failures()
        loser.seam(winner).adopt(winner.seam(loser).snapshot(), winner.ident)
        loser.shadow = dict(winner.shadow)
        loser.note()
        loser.base_carried = set(winner.base_carried)
        loser.carried = kept | loser.base_carried
        added = len(loser.shadow) - len(winner.shadow)
        self.tell(
            f"{number}: peer {loser.number} adopts the history of peer {winner.number} "
            f"and re-issues {added}"
        )
        loser.check()

    def trim(self, number: int, peer: Shadowed) -> None:
        """Let a peer forget: what everybody has, or more than that."""
        history, replica = peer.document.history, peer.document.replica
        before = len(replica.log)
        pick = self.random.randrange(3)
        if self.only_clean or pick == 0:
            count = history._stable_rows()
            if self.random.random() < 0.5:
                count = self.random.randrange(count + 1)
        elif pick == 1:
            count = self.random.randrange(before + 1)
        else:
            count = before - self.random.randrange(4, 20)
        count = clean_cut(replica, count)
        if count <= 0:
            return
        history._trim_to(count)
        self.trims += 1
        self.tell(f"{number}: peer {peer.number} trims {count} of {before}")
        peer.base_carried = set(peer.carried)
        peer.note()
        peer.check()

    def settle(self) -> None:
        """Let everybody meet everybody until all are equal, and check what that is."""
        self.begin("settle")
        self.is_settling = True
        for _ in range(SETTLING_ROUNDS_MAX):
            for at, one in enumerate(self.peers):
                for other in self.peers[at + 1 :]:
                    self.meet("settle", one, other)
            if len({self.state(peer) for peer in self.peers}) == 1:
                break
        else:
            raise Wrong("the peers do not become equal, however often they meet")
        first = self.peers[0]
        for peer in self.peers:
            peer.check()
            if peer.shadow != first.shadow:
                raise Wrong(f"peers 0 and {peer.number} are equal, but not their ops")

    def state(self, peer: Shadowed) -> tuple[bytes, str]:
        """Return what has to be the same at all peers in the end."""
        replica = peer.document.replica
        return replica.state_hash(), as_text(replica.document)


def run(seed: int, peers: int, steps: Sequence[int]) -> tuple[Trimmed, str]:
    """Run some steps of a history; return it with what is wrong, or an empty text."""
    history = Trimmed(seed, peers)
    try:
        for number in steps:
            history.step(number)
        history.settle()
    except Wrong as error:
        return history, str(error)
    except Exception as error:
        return history, f"{type(error).__name__}: {error}"
    return history, ""


def shortened(seed: int, peers: int, steps: Sequence[int], wrong: str) -> list[int]:
    """Return few of the steps with which a history still fails, in about the same way.

    That takes a while: SHORTEN=no in the environment says that nobody is going to read it.
    """
    kept = list(steps)
    if os.environ.get("SHORTEN") == "no":
        return kept
    kind = wrong.split()[:1]
    size = len(kept) // 2
    while size:
        at = 0
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if run(seed, peers, fewer)[1].split()[:1] == kind:
                kept = fewer
            else:
                at += size
        size //= 2
    return kept


def check_trimmed_history(seed: int, peers: int, steps: Sequence[int]) -> Trimmed:
    """Check one history and return it; what fails is shortened first."""
    history, wrong = run(seed, peers, steps)
    if not wrong:
        return history
    steps = shortened(seed, peers, steps, wrong)
    history, wrong = run(seed, peers, steps)
    numbers = " ".join(map(str, steps))
    parts = [
        wrong,
        f"Replay: python -m tests.property.trimmed_histories {seed} {peers} 0 {numbers}",
        "\n".join(history.told),
    ]
    for peer in history.peers:
        parts.append(f"The ops of peer {peer.number}:\n{explain(peer.shadow.values())}")
    raise AssertionError("\n\n".join(parts))


def main(seeds: range, peers: int, steps: Sequence[int]) -> int:
    """Check histories; returns how many failed, at most 100."""
    trims = adoptions = failed = 0
    for seed in seeds:
        try:
            done = check_trimmed_history(seed, peers, steps)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
        else:
            trims += done.trims
            adoptions += done.adoptions
    agree = f"{failed} of them failed" if failed else "all peers agree with the oracle"
    print(f"{len(seeds)} histories, {trims} trims, {adoptions} adoptions: {agree}")
    return min(failed, 100)


if __name__ == "__main__":
    count, *numbers = map(int, sys.argv[3:])
    sys.exit(main(seeds_of(sys.argv[1]), int(sys.argv[2]), numbers or range(count)))
