"""Replay random histories and compare every peer with the oracle.

```text
python -m tests.property.replay SEED STEPS PEERS
```

`1000-1999` instead of a seed plays all of these; each that fails prints the line that replays it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from cytosol.model.op import op_to_json
from tests.oracle.fold import fold
from tests.oracle.render import explain
from tests.property.histories import History, Peer

__all__ = ["check_history", "check_seeds", "differences", "seeds_of"]


def as_text(value: Any) -> str:
    """Return JSON text that tells everything apart which documents tell apart."""
    return json.dumps(value, sort_keys=True)


def failures_of(peer: Peer) -> list[str]:
    """Return the failures of a peer as text, in order."""
    replica = peer.replica
    log = replica.log
    rows = sorted((log.find(code), *failure) for code, failure in replica.failures.items())
    return [f"{log.key(row)} {path} {message}" for row, path, message in rows]


def differences(history: History) -> list[str]:
    """Return what is wrong with a history in which everybody has heard of everything."""
    found = []
    for number, peer in enumerate(history.peers):
        try:
            peer.replica.check_invariants()
        except AssertionError as error:
            found.append(f"peer {number} breaks an invariant: {error}")
    ops = [op_to_json(op) for op in history.peers[0].ops()]
    folded = fold(ops)
    failed = [
        f"{(f['id']['index'], author_bytes(f['id']['author']))} {f['path']} {f['message']}"
        for f in folded.failures
    ]
    expected = as_text(folded.document)
    for number, peer in enumerate(history.peers):
        document = as_text(peer.replica.document)
        if expected != document:
            found.append(f"peer {number} holds {document}\ninstead of  {expected}")
        if folded.state_hash != peer.replica.state_hash():
            found.append(f"peer {number} has another state hash")
        if failed != failures_of(peer):
            found.append(f"peer {number} has the failures {failures_of(peer)}, not {failed}")
    return found


def author_bytes(text: str) -> bytes:
    """Return the bytes of an author in JSON form."""
    return bytes.fromhex(text.replace("-", ""))


def run(seed: int, steps: int, peers: int) -> tuple[History, list[str]]:
    """Run a history and return it with what is wrong."""
    history = History(seed, peers)
    try:
        for _ in range(steps):
            history.step()
        history.settle()
    except Exception as error:
        return history, [f"{type(error).__name__}: {error}"]
    return history, differences(history)


def check_history(seed: int, steps: int, peers: int) -> int:
    """Check one history and return how many ops it had; what fails is shortened first."""
    history, wrong = run(seed, steps, peers)
    if not wrong:
        return len(history.peers[0].ops())
    while steps > 1:
        shorter = next((n for n in (steps // 2, steps - 1) if run(seed, n, peers)[1]), None)
        if shorter is None:
            break
        steps = shorter
    history, wrong = run(seed, steps, peers)
    ops = {op.id: op_to_json(op) for peer in history.peers for op in peer.ops()}
    raise AssertionError(
        "\n".join(wrong)
        + f"\n\nReplay: python -m tests.property.replay {seed} {steps} {peers}\n\n"
        + explain(ops.values())
    )


def seeds_of(text: str) -> range:
    """Return what `7` or `1000-1999` on the command line means."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def check_seeds(check: Callable[[int], object], module: str, text: str) -> int:
    """Check the seeds that `text` names; print how to replay what fails; 1 if any did, or 0."""
    seeds = seeds_of(text)
    failed = 0
    for seed in seeds:
        try:
            check(seed)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}\nReplay: python -m {module} {seed}", flush=True)
    print(f"{len(seeds)} seeds: {failed or 'none'} of them failed")
    return 1 if failed else 0


def main(seeds: range, steps: int, peers: int) -> int:
    """Check histories; returns how many failed, at most 100."""
    ops = failed = 0
    for seed in seeds:
        try:
            ops += check_history(seed, steps, peers)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
    agree = f"{failed} of them failed" if failed else "all peers agree with the oracle"
    print(f"{len(seeds)} histories, {ops} ops: {agree}")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(seeds_of(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
