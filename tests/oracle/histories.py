"""Write op histories by hand, in few words: a pen for tests.

Every method of `History` adds one op with the next index and returns the name of what it made,
which is also the way to speak about that place later: `history.set([], "box", {})`.
A target is a tuple: `("k",)` for a key of the root, `(name, "k")` for a key, `(name,)` for a
place, `(name, 0)` for an element (its index is for people only).
"""

from __future__ import annotations

from typing import Any

from tests.oracle.fold import Oracle, fold
from tests.oracle.invariants import check_invariants
from tests.oracle.render import explain

__all__ = ["ALICE", "BOB", "CAROL", "History", "act", "copied", "nth"]

ALICE = "0aaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
BOB = "0bbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
CAROL = "0ccccccc-cccc-4ccc-8ccc-cccccccccccc"

Name = dict[str, Any]
Target = tuple[Any, ...]


def nth(name: Name, offset: int) -> Name:
    """Return the name of what the same op made with number `offset`."""
    return {**name, "offset": offset}


def copied(copy: Name, name: Name) -> Name:
    """Return the name of the place that `copy` made of the place `name`."""
    head = {key: name[key] for key in ("author", "index", "offset") if key in name}
    return {**copy, "of": [head, *name.get("of", ())]}


def path_to(target: Target) -> list[dict[str, Any]]:
    """Return the compiled path of a target."""
    types = {dict: "Id", str: "Key", int: "Index"}
    return [{"type": types[type(step)], "query": step} for step in target]


def act(action: str, *target: Any, **rest: Any) -> dict[str, Any]:
    """Return an action without id: an inner one of a Transaction."""
    made: dict[str, Any] = {"action": action, "path": path_to(target)}
    if "source" in rest:
        rest["payload"] = path_to((rest.pop("source"),))
    for side in ("before", "after"):
        if side in rest:
            rest["beside"], rest["side"] = rest.pop(side), side
    return {**made, **rest}


class History:
    """A growing list of ops, by Alice unless told otherwise."""

    def __init__(self) -> None:
        self.ops: list[dict[str, Any]] = []
        self.index = 0

    def do(
        self,
        action: str,
        *target: Any,
        by: str = ALICE,
        index: int | None = None,
        **rest: Any,
    ) -> Name:
        """Add one op and return its own name, which is that of the first thing it made."""
        body = act(action, *target, **rest)
        return self.add(body, by=by, index=index)

    def transaction(
        self, *actions: dict[str, Any], by: str = ALICE, index: int | None = None, **rest: Any
    ) -> Name:
        """Add a Transaction of actions made with `act`."""
        body = {"action": "Transaction", "payload": list(actions), **rest}
        return self.add(body, by=by, index=index)

    def add(self, body: dict[str, Any], *, by: str, index: int | None) -> Name:
        """Add an op; with `index`, it is one that was made earlier, or at the same time."""
        index = self.index + 1 if index is None else index
        self.index = max(self.index, index)
        identity = {"author": by, "index": index}
        self.ops.append({**body, "id": identity, "timestamp": 1_600_000_000_000 + index})
        previous = 0
        for op in sorted(self.ops, key=lambda op: int(op["id"]["index"])):
            if op["id"]["author"] == by:
                op["previous"], previous = previous, op["id"]["index"]
        return {"author": by, "index": index}

    def fold(self, **limits: int) -> Oracle:
        """Fold the history, check that the tree is one, and return everything."""
        oracle = Oracle(self.ops, **limits)
        check_invariants(oracle)
        assert oracle.document() == fold(reversed(self.ops), **limits).document
        return oracle

    def document(self, **limits: int) -> dict[str, Any]:
        """Return the document, after asserting that no op failed."""
        oracle = self.fold(**limits)
        assert oracle.failures == [], explain(self.ops)
        return oracle.document()

    def failed(self, **limits: int) -> tuple[dict[str, Any], list[tuple[list[str | int], str]]]:
        """Return the document and the failures as pairs of path and message."""
        oracle = self.fold(**limits)
        failures = [(one["path"], one["message"]) for one in oracle.failures]
        return oracle.document(), failures
