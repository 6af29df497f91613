"""Tell ops apart that have one id, and know one op by all its names.

A restored backup or a clone goes on under an author id whose numbers were used before. What is
issued again of such a branch needs an origin other than its id: a *pseudonym*. It follows from what
the op says, so that whoever holds the op calls it alike, whether it was issued again since or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import blake2b

import msgspec

from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind, Name, Op

__all__ = ["Content", "Known", "content"]

MARK = b"twin"
STEM_BYTES = 14
PSEUDONYMS_MAX = 1 << 12
"""So many an author has for all its ops, since a document cannot know many authors."""

Content = tuple[bytes, int, bytes]
"""What tells an op from its twins: the stem of its author's pseudonyms, its number, a digest."""

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def content(op: Op) -> Content | None:
    """Return what tells an op from its twins, as it was written or issued again as a whole.

    None for a part, and for what a base holds of an op: these do not say what the op said.
    """
    name = op.origin or Name(op.author, op.index)
    if op.origin is not None and (name.of or name.offset or not op.timestamp):
        return None
    return _content(name, op)


def _content(name: Name, op: Op) -> Content:
    body = op.body
    bodies = body.payload if body.kind is Kind.TRANSACTION else (body,)
    # Whoever issues an op again changes names only, and leaves out deletions of what is gone.
    said = [(one.kind, one.payload) for one in bodies if one.kind is not Kind.DELETE]
    text = _encode((op.timestamp, said))
    return _stem(name.author), name.index, blake2b(text, digest_size=16).digest()


@lru_cache(4_096)
def _stem(author: PeerId) -> bytes:
    """Return how the pseudonyms of an author begin; all of them, and their author, have one."""
    if author.startswith(MARK):
        return author[:STEM_BYTES]
    return MARK + blake2b(author, digest_size=STEM_BYTES - len(MARK)).digest()


def _pseudonyms(said: Content) -> Iterator[Name]:
    """Yield the pseudonyms that an op may have, the one that it should have first."""
    stem, index, digest = said
    first = int.from_bytes(digest, "big")
    for number in range(first, first + PSEUDONYMS_MAX):
        yield Name(stem + (number % PSEUDONYMS_MAX).to_bytes(2, "big"), index)


class Known:
    """What a history calls the ops that it holds, as they were written or issued again."""

    def __init__(self, replica: Replica, of: Collection[Op]) -> None:
        self._replica = replica
        self._issued: dict[Content, Name] = {}
        self._written: dict[Content, Name] = {}
        wanted = {op.index if op.origin is None else op.origin.index for op in of}
        log, names = replica.log, replica.names
        for origin, first in replica.tree.origins.items():
            if origin >= 0 and origin >> (OFFSET_BITS + AUTHOR_BITS) in wanted:
                said = self._said_by(first)
                if said is not None:
                    self._issued[said] = names.name(origin)
        if any(op.origin is not None for op in of):
            for row, index in enumerate(log.indexes):
                if index in wanted and log.op_code(row) not in log.origins:
                    op = log.op(row)
                    name = Name(op.author, op.index)
                    self._written[_content(name, op)] = name

    def name(self, op: Op, said: Content) -> Name | None:
        """Return what the history calls an op of another one, if it has it.

        What was written there under the same id, on top of something else, is not that op.
        """
        name = self._issued.get(said)
        return self._written.get(said) if name is None and op.origin is not None else name

    def has_another(self, name: Name, said: Content) -> bool:
        """Tell whether another op stands under a name, as far as that is known."""
        written = self._replica.op_at(name.index, name.author)
        there = self._issued_at(name) if written is None else content(written)
        return there is not None and there != said

    def pseudonym(self, said: Content) -> Name:
        """Return an op's first pseudonym under which there is no other op."""
        free = (name for name in _pseudonyms(said) if not self.has_another(name, said))
        return next(free, next(_pseudonyms(said)))

    def has_twin(self, op: Op) -> bool:
        """Tell whether what was issued again under the id of an op is another one."""
        if op.origin is not None or not self._issued:
            return False
        name = Name(op.author, op.index)
        return self.has_another(name, _content(name, op))

    def calls_alike(self, op: Op) -> bool:
        """Tell whether an op can stand under its name: no other one does, nor itself elsewhere."""
        if not self._issued and op.origin is None:
            return True
        said, name = content(op), op.origin or Name(op.author, op.index)
        if said is None:
            return True
        return self.name(op, said) in (None, name) and not self.has_another(name, said)

    def _issued_at(self, name: Name) -> Content | None:
        replica = self._replica
        if replica.names.known_number(name.author) is None:
            return None
        first = replica.tree.origins.get(replica.names.code(name))
        return None if first is None else self._said_by(first)

    def _said_by(self, first: int) -> Content | None:
        """Return what an op says that was issued again, by the first name that it gave."""
        log = self._replica.log
        row = log.find(first >> OFFSET_BITS)
        return None if row < 0 else content(log.op(row))
