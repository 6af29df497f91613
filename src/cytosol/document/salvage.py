"""Put together again what is left of a damaged database: the document, as far as it goes.

Here nothing is refused. An op that lacks earlier ones is applied to what is there, and what cannot
be applied is listed with its payload. The result is for reading; it is no history that could be
merged with that of other devices.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import load_base
from cytosol.errors import ActionError, CytosolError
from cytosol.limits import DOCUMENT_PLACES_MAX
from cytosol.model.ids import format_id
from cytosol.model.json import JsonValue
from cytosol.model.op import Op, op_from_json, op_to_json
from cytosol.model.opcodec import decode_ops

__all__ = ["EXPECTED", "Salvaged", "salvage"]

EXPECTED = ("base", "meta/format", "meta/identity", "meta/pairings", "meta/author", "meta/failures")
"""Records that most databases have."""

_AUTHOR = bytes(15) + b"\1"  # writes nothing


@dataclass(slots=True)
class Salvaged:
    """A document, and in `problems` why it may not be all; `left_out` are ops that do not fit."""

    document: JsonValue = None
    ops: int = 0
    problems: list[str] = field(default_factory=list)
    failures: list[JsonValue] = field(default_factory=list)
    left_out: list[JsonValue] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def to_json(self) -> dict[str, JsonValue]:
        """Return all of it as JSON, the document first."""
        return {
            "document": self.document,
            "complete": not self.problems,
            "problems": list(self.problems),
            "ops": self.ops,
            "failures": list(self.failures),
            "leftOut": list(self.left_out),
        }


def salvage(records: Mapping[str, Any], *, text: bool, problems: list[str]) -> Salvaged:
    """Return what the records of a database make; they are bytes, or JSON where `text` is true."""
    found = Salvaged(problems=list(problems))
    ops = sorted(_ops(records, text, found), key=lambda op: op.id)
    found.ops = len(ops)
    replica = _base(records.get("base"), text, found)
    try:
        replica.merge(ops)
        lacking = len(replica.waiting)
    except CytosolError:
        lacking = len(ops)
    if lacking:
        found.problems.append(f"{lacking:,} ops lack earlier ones; all were applied as they are")
        replica = _base(records.get("base"), text, found)
        for op in ops:
            _force(replica, op, found)
    found.document = replica.document
    log = replica.log
    for code, (path, message) in sorted(replica.failures.items()):
        failed = op_to_json(log.op(log.find(code)))
        found.failures.append({"path": list(path), "message": message, "op": failed})
    return found


def _base(value: Any, text: bool, found: Salvaged) -> Replica:
    if value is None:
        return Replica(_AUTHOR)
    try:
        raw = base64.b64decode(value["snapshot"], validate=True) if text else value
        return load_base(raw, _AUTHOR, DOCUMENT_PLACES_MAX)[0]
    except (CytosolError, KeyError, TypeError, ValueError, RecursionError) as error:
        found.note(f"the base, which holds all older history, cannot be read: {error}")
        if text and isinstance(value, dict) and "document" in value and not found.left_out:
            found.left_out.append({"document before the ops": value["document"]})
    return Replica(_AUTHOR)


def _ops(records: Mapping[str, Any], text: bool, found: Salvaged) -> list[Op]:
    ops: dict[tuple[int, bytes], Op] = {}
    keys = sorted(key for key in records if key.startswith("op/"))
    expected = 1
    for key in keys:
        number = int(key[3:]) if key[3:].isdigit() else expected
        if number != expected:
            found.note(f"{number - expected:,} records of ops before {key} are missing")
        expected = number + 1
        for op in _decoded(key, records[key], text, found):
            ops.setdefault((op.index, op.author), op)
    return list(ops.values())


def _decoded(key: str, value: Any, text: bool, found: Salvaged) -> list[Op]:
    if not text:
        try:
            return decode_ops(value)
        except (ActionError, TypeError, ValueError) as error:
            found.problems.append(f"the record {key} cannot be decoded: {error}")
            return []
    ops = []
    for item in value if type(value) is list else []:
        try:
            ops.append(op_from_json(item))
        except (ActionError, TypeError, ValueError, KeyError) as error:
            found.problems.append(f"an op in the record {key} cannot be read: {error}")
            found.left_out.append(item)
    return ops


def _force(replica: Replica, op: Op, found: Salvaged) -> None:
    """Apply an op as if its author had made none that are missing."""
    have = replica.latest.get(op.author, 0)
    if op.index <= have:
        return
    seen = tuple(
        (author, min(index, replica.latest.get(author, 0)))
        for author, index in op.seen
        if replica.latest.get(author, 0)
    )
    try:
        replica.merge([op._replace(previous=have, seen=seen)])
    except CytosolError as error:
        who = f"the op {op.index} of {format_id(op.author)}"
        found.problems.append(f"{who} could not be applied: {error}")
        found.left_out.append(op_to_json(op))
