"""Random histories: peers that write anything anywhere, and hear of each other late.

Everything follows from one seed, so a failing history is replayed with one command.
"""

from __future__ import annotations

import random
from typing import Any

from cytosol.crdt.actions import (
    Add,
    Copy,
    DataAction,
    Delete,
    InitArray,
    InitObject,
    InsertAfter,
    InsertBefore,
    InsertUnique,
    Move,
    Multiply,
    Set,
    Transaction,
)
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.errors import ActionError, FailureError
from cytosol.model.op import Op, op_from_json, op_to_json

KEYS = ["a", "b", "c", "d"]


class Peer:
    """A replica, its compiler, and what it has heard but not merged yet."""

    def __init__(self, author: bytes) -> None:
        self.replica = Replica(author)
        self.compiler = Compiler(self.replica)

    def ops(self) -> list[Op]:
        """Return all ops of the log."""
        return [self.replica.log.op(row) for row in range(len(self.replica.log))]


class History:
    """A world of peers, driven by one random generator."""

    def __init__(self, seed: int, peers: int = 3, crowded: bool = True) -> None:
        self.random = random.Random(seed)
        self.crowded = crowded
        self.peers = [Peer(self.random.randbytes(16)) for _ in range(peers)]
        self.clock = 1_000

    # --- random values and places -------------------------------------------------------

    def value(self, depth: int = 0) -> Any:
        """Return a random JSON value, often a small container."""
        pick = self.random.randrange(10)
        if pick < 3 or depth > 2:
            return self.random.choice([0, 1, 2, -5, 1.5, "x", "y", True, False, None])
        if pick < 7:
            keys = self.random.sample(KEYS, self.random.randrange(4))
            return {key: self.value(depth + 1) for key in keys}
        return [self.value(depth + 1) for _ in range(self.random.randrange(4))]

    def path(self, document: Any) -> str:
        """Return a random path, mostly to something that exists or nearly does."""
        text, value = "$", document
        for _ in range(self.random.randrange(1, 5)):
            if type(value) is dict:
                key = self.random.choice([*value, self.random.choice(KEYS)])
                text += f".{key}"
                value = value.get(key)
            elif type(value) is list:
                index = self.random.randrange(-1, len(value) + 2)
                text += f"[{index}]"
                value = value[index] if -len(value) <= index < len(value) else None
            else:
                break
        return text

    def containers(self, document: Any, kind: type, text: str = "$") -> list[str]:
        """Return the paths of all containers of a kind."""
        found = [text] if type(document) is kind else []
        if type(document) is dict:
            for key, item in document.items():
                found += self.containers(item, kind, f"{text}.{key}")
        elif type(document) is list:
            for index, item in enumerate(document):
                found += self.containers(item, kind, f"{text}[{index}]")
        return found

    def element(self, document: Any) -> str:
        """Return a path to an element of a random array, or any path if there is none."""
        arrays = self.containers(document, list)
        if not arrays:
            return self.path(document)
        return f"{self.random.choice(arrays)}[{self.random.randrange(5)}]"

    def action(self, document: Any, nested: bool = False) -> DataAction:
        """Return a random action."""
        pick = self.random.randrange(26)
        if pick < 5:
            return Set(self.path(document), self.value())
        if pick < 7:
            return Set(self.element(document), self.value())
        if pick < 10:
            return Delete(self.path(document))
        if pick < 11:
            return Delete(f"{self.path(document)}[*]")
        if pick < 12:
            return InitObject(self.path(document))
        if pick < 13:
            return InitArray(self.path(document))
        if pick < 15:
            kind = InsertBefore if pick == 13 else InsertAfter
            return kind(self.element(document), self.value())
        if pick < 17:
            arrays = self.containers(document, list) or ["$.a"]
            return InsertUnique(self.random.choice(arrays), self.value())
        if pick < 18:
            return Add(self.path(document), self.random.choice([1, 2, -1, 0.5]))
        if pick < 19:
            return Multiply(self.path(document), self.random.choice([2, 3, -1, 0.5]))
        if pick < 22:
            target = self.path(document) if pick == 19 else self.element(document)
            return Move(target, self.path(document))
        if pick < 24 or nested:
            return Copy(self.path(document), self.path(document))
        inner = [self.action(document, True) for _ in range(self.random.randrange(1, 5))]
        return Transaction(inner)

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
