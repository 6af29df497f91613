"""Random histories: peers that write anything anywhere, and hear of each other late.

Everything follows from one seed, so a failing history is replayed with one command.
"""

from __future__ import annotations

import random

from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.errors import ActionError, FailureError
from cytosol.model.op import Op, op_from_json, op_to_json
from cytosol.testing.actions import RandomActions


class Peer:
    """A replica, its compiler, and what it has heard but not merged yet."""

    def __init__(self, author: bytes) -> None:
        self.replica = Replica(author)
        self.compiler = Compiler(self.replica)

    def ops(self) -> list[Op]:
        """Return all ops of the log."""
        return [self.replica.log.op(row) for row in range(len(self.replica.log))]


class History(RandomActions):
    """A world of peers, driven by one random generator."""

    def __init__(self, seed: int, peers: int = 3, crowded: bool = True) -> None:
        super().__init__(random.Random(seed))
        self.crowded = crowded
        self.peers = [Peer(self.random.randbytes(16)) for _ in range(peers)]
        self.clock = 1_000

    # --- what happens -------------------------------------------------------------------

    def write(self, peer: Peer) -> None:
        """Let a peer dispatch something; refusals are fine, and leave no trace."""
        self.clock += 1
        before = len(peer.replica.log), peer.replica.clock
        try:
            peer.compiler.dispatch(self.action(peer.replica.document), self.clock)
        except (FailureError, ActionError):
            assert before == (len(peer.replica.log), peer.replica.clock)

    def send(self, source: Peer, target: Peer) -> None:
        """Let a peer hear of some of what another one has, in any order and batching."""
        latest = target.replica.latest
        missing = [op for op in source.ops() if op.index > latest.get(op.author, 0)]
        if not missing:
            return
        if self.random.random() < 0.5:
            missing = missing[: self.random.randrange(1, len(missing) + 1)]
        batches = [missing]
        if self.random.random() < 0.3:
            self.random.shuffle(missing)
            cut = self.random.randrange(len(missing) + 1)
            batches = [missing[cut:], missing[:cut]]
        for batch in batches:
            wire = [op_from_json(op_to_json(op)) for op in batch]
            target.replica.merge(wire)

    def step(self) -> None:
        """Do one random thing."""
        peer = self.random.choice(self.peers)
        if self.random.random() < 0.75:
            self.write(peer)
        else:
            self.send(self.random.choice(self.peers), peer)

    def settle(self) -> None:
        """Let everybody hear of everything."""
        while len({tuple(sorted(p.replica.latest.items())) for p in self.peers}) > 1:
            for source in self.peers:
                for target in self.peers:
                    if source is not target:
                        self.send(source, target)
