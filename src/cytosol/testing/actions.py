"""Random values, paths and actions, for histories in which anything may happen.

Everything follows from the random generator that is handed in. Places are often ones that exist
or nearly do, so that concurrent actions meet.
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

__all__ = ["KEYS", "RandomActions"]

KEYS = ["a", "b", "c", "d"]


class RandomActions:
    """Makes actions at or below `root`; the methods take the value that stands there now."""

    def __init__(self, chance: random.Random, root: str = "$") -> None:
        self.random = chance
        self.root = root

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
        text, value = self.root, document
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

    def containers(self, document: Any, kind: type, text: str | None = None) -> list[str]:
        """Return the paths of all containers of a kind."""
        text = self.root if text is None else text
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
        """Return a random action; with `nested` one that may stand in a Transaction."""
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
            arrays = self.containers(document, list) or [f"{self.root}.a"]
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
