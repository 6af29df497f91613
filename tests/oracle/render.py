"""Write histories as people read them, one line for each op, for the messages of failing tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.oracle.fold import Oracle, sort_ops
from tests.oracle.tree import canonical

__all__ = ["explain"]

PAYLOAD_CHARACTERS_MAX = 120


def explain(ops: Iterable[dict[str, Any]], *, result: bool = True) -> str:
    """Return a listing of a history in the order of the fold, one line per op.

    Authors become letters in the order of their bytes, told at the top; `A7+2` is what has
    number 2 of the op with index 7 of author A, `A9<B2+1` what the copy A9 made of B2+1.
    With `result`, the document and the failures follow.
    """
    ops = sort_ops(ops)
    authors = _Authors(ops)
    lines = [f"# {letter} = {author}" for author, letter in authors.letters.items()]
    lines += [_line(op, authors) for op in ops]
    if result:
        oracle = Oracle(ops)
        lines.append(f"= {canonical(oracle.document())}")
        for failure in oracle.failures:
            lines.append(
                f"! {authors.link(failure['id'])}: {failure['message']} at {failure['path']}"
            )
    return "\n".join(lines)


class _Authors:
    """Letters for the authors of a history."""

    def __init__(self, ops: list[dict[str, Any]]) -> None:
        self.letters: dict[str, str] = {}
        for number, author in enumerate(sorted({op["id"]["author"] for op in ops})):
            self.letters[author] = chr(65 + number) if number < 26 else f"P{number}."

    def link(self, link: dict[str, Any]) -> str:
        letter = self.letters.get(link["author"], link["author"][:8] + ".")
        offset = link.get("offset", 0)
        return f"{letter}{link['index']}" + (f"+{offset}" if offset else "")

    def name(self, name: dict[str, Any]) -> str:
        return "<".join(map(self.link, (name, *name.get("of", ()))))

    def path(self, path: list[dict[str, Any]]) -> str:
        text = ""
        for step in path:
            match step["type"]:
                case "Id":
                    text += self.name(step["query"])
                case "Key":
                    text += f".{step['query']}"
                case _:
                    text += f"[{step['query']}]"
        return text if path and path[0]["type"] == "Id" else "$" + text


def _line(op: dict[str, Any], authors: _Authors) -> str:
    line = f"{authors.link(op['id']):>6}  {_action(op, authors)}"
    if "origin" in op:
        line += f"  (origin {authors.name(op['origin'])})"
    if op.get("seen"):
        seen = " ".join(authors.link({"author": a, "index": i}) for a, i in op["seen"].items())
        line += f"  (seen {seen})"
    return line


def _action(action: dict[str, Any], authors: _Authors) -> str:
    kind = action["action"]
    if kind == "Transaction":
        return "Transaction " + "; ".join(_action(inner, authors) for inner in action["payload"])
    text = f"{kind} {authors.path(action['path'])}"
    if kind in ("Move", "Copy"):
        text += f" <- {authors.path(action['payload'])}"
    elif "payload" in action:
        payload = canonical(action["payload"])
        cut = len(payload) > PAYLOAD_CHARACTERS_MAX
        text += f" = {payload[:PAYLOAD_CHARACTERS_MAX]}{'...' if cut else ''}"
    if "beside" in action:
        text += f" {action.get('side', 'end')} {authors.name(action['beside'])}"
    if action.get("fill"):
        text += f" fill {action['fill']}"
    return text
