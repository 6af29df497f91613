"""Re-issue on top of an adopted history what the old one held and the new one has not seen.

Ops keep their content and carry `origin`, the id under which they were first known, so that of
several peers that re-issue one op only the first has an effect. What the old history had trimmed
comes as initialisations, sets and inserts (spec: document, Adoption).
"""

from __future__ import annotations

from collections.abc import Callable

from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place
from cytosol.model.ids import PeerId
from cytosol.model.op import Body, Kind, Name, Op, Side, Spot, map_names

__all__ = ["reissue"]


def reissue(old: Replica, new: Replica, digest: Callable[[Op], bytes]) -> int:
    """Merge into `new` what only `old` has, as ops of `new`'s author; return how many."""
    rows = old.rewind(0)
    content = _content(old, new.latest) if old.trim is not None else []
    if rows:
        old.reinsert(rows)
    renamed: dict[tuple[PeerId, int], tuple[PeerId, int]] = {}
    count = 0
    for body, made_as in content:
        _issue(new, body, 0, made_as)
        count += 1
    for row in range(len(old.log)):
        op = old.log.op(row)
        origin: Name | None = op.origin or Name(op.author, op.index)
        if op.index <= new.latest.get(op.author, 0) and op.author != new.author:
            theirs = new.op_at(op.index, op.author)
            if op.index <= new.trimmed.get(op.author, 0):
                continue
            if theirs is not None and digest(theirs) == digest(op):
                continue
            origin = None  # the id belongs to another content now

        def rename(name: Name) -> Name:
            moved = renamed.get((name.author, name.index))
            of = tuple(
                (*renamed.get((author, index), (author, index)), offset)
                for author, index, offset in name.of
            )
            if moved is None and of == name.of:
                return name
            author, index = moved or (name.author, name.index)
            return Name(author, index, name.offset, of)

        index = _issue(new, map_names(op.body, rename), op.timestamp, origin)
        if origin is None:
            renamed[op.author, op.index] = (new.author, index)
        count += 1
    return count


def _issue(replica: Replica, body: Body, timestamp: int, origin: Name | None) -> int:
    """Append an op of the replica's author, whether it succeeds or becomes a failure."""
    index = replica.clock + 1
    op = Op(
        index,
        replica.author,
        replica.latest.get(replica.author, 0),
        timestamp,
        body,
        replica.news(),
        origin,
    )
    replica.merge([op])
    replica.told()
    return index


def _content(old: Replica, seen: dict[PeerId, int]) -> list[tuple[Body, Name]]:
    """Return bodies that make those places of a base that `seen` does not cover."""
    bodies: list[tuple[Body, Name]] = []
    names, tree = old.names, old.tree
    todo: list[tuple[Place, Name | None]] = [(tree.root, None)]
    while todo:
        place, parent = todo.pop()
        value = place.value
        last: Name | None = None
        if type(value) is dict:
            slots: list[tuple[str | int, object, int]] = [
                (key, value[key], tree.code_at(place, key)) for key in sorted(value)
            ]
        else:
            assert place.sequence is not None
            positions = place.sequence.shown_codes()
            slots = [
                (position, item, tree.code_at(place, position))
                for position, item in zip(positions, value, strict=True)
            ]
        for index, (step, item, code) in enumerate(slots):
            name = names.name(code)
            below = place.places.get(step) if place.places is not None else None
            if seen.get(name.author, 0) < name.index:
                kind, payload = Kind.SET, item
                if type(item) is dict:
                    kind, payload = Kind.INIT_OBJECT, None
                elif type(item) is list:
                    kind, payload = Kind.INIT_ARRAY, None
                if isinstance(step, str):
                    bodies.append((Body(kind, parent, step, payload=payload), name))
                else:
                    side = Side.END if last is None else Side.AFTER
                    spot = Spot(index, last, side)
                    bodies.append((Body(kind, parent, None, spot, payload), name))
            if below is not None:
                todo.append((below, name))
            if not isinstance(step, str):
                last = names.name(step)
    return bodies
