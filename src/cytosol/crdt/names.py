"""Names as integers: what the log and the tree use instead of Name tuples.

A name without links is `((index << 16 | author number) << 24) | offset`, where authors are
numbered in the order in which this replica met them. A name of something that a Copy made is
a negative number, an entry in a table of pairs (link, name of the place copied). Integers are
small, cost the garbage collector nothing, and the next offset is the next integer.
"""

from __future__ import annotations

from cytosol.errors import RemoteProtocolError
from cytosol.limits import AUTHORS_MAX, COPY_CHAIN_MAX
from cytosol.model.ids import PeerId
from cytosol.model.op import Name

__all__ = ["OFFSET_BITS", "OFFSET_MASK", "Names"]

AUTHOR_BITS = 16
OFFSET_BITS = 24
OFFSET_MASK = (1 << OFFSET_BITS) - 1
AUTHOR_MASK = (1 << AUTHOR_BITS) - 1


class Names:
    """The authors of one replica by number, and its names of copied places."""

    __slots__ = ("_number", "authors", "copies", "pairs")

    def __init__(self) -> None:
        self.authors: list[PeerId] = []
        self._number: dict[PeerId, int] = {}
        self.pairs: list[tuple[int, int]] = []
        self.copies: dict[tuple[int, int], int] = {}

    def number(self, author: PeerId) -> int:
        """Return the author's number, a new one if need be; raises RemoteProtocolError if full."""
        found = self._number.get(author)
        if found is None:
            if len(self.authors) >= AUTHORS_MAX:
                raise RemoteProtocolError(f"a document has at most {AUTHORS_MAX} authors")
            found = self._number[author] = len(self.authors)
            self.authors.append(author)
        return found

    def known_number(self, author: PeerId) -> int | None:
        """Return the author's number, or None if this replica never met it."""
        return self._number.get(author)

    def forget_authors(self, count: int) -> None:
        """Keep the first `count` authors: nothing uses the names of the others any more."""
        for author in self.authors[count:]:
            del self._number[author]
        del self.authors[count:]

    def op_code(self, index: int, author: PeerId) -> int:
        """Return the op's part of its names: `name >> OFFSET_BITS`."""
        return index << AUTHOR_BITS | self.number(author)

    def order(self, code: int) -> tuple[int, PeerId, int]:
        """Return index, author and offset of a name (of its first link), which order it."""
        while code < 0:
            code = self.pairs[~code][0]
        op = code >> OFFSET_BITS
        return op >> AUTHOR_BITS, self.authors[op & AUTHOR_MASK], code & OFFSET_MASK

    def copied(self, link: int, source: int) -> int:
        """Return the name of what the copy `link` made of the place named `source`."""
        found = self.copies.get((link, source))
        if found is None:
            self.pairs.append((link, source))
            found = self.copies[link, source] = ~(len(self.pairs) - 1)
        return found

    def code(self, name: Name) -> int:
        """Return the integer of a name."""
        code = self._simple(name.author, name.index, name.offset)
        if not name.of:
            return code
        source = self._simple(*name.of[-1])
        for link in reversed(name.of[:-1]):
            source = self.copied(self._simple(*link), source)
        return self.copied(code, source)

    def _simple(self, author: PeerId, index: int, offset: int) -> int:
        return (index << AUTHOR_BITS | self.number(author)) << OFFSET_BITS | offset

    def name(self, code: int) -> Name:
        """Return the name of an integer."""
        links = []
        while code < 0:
            link, code = self.pairs[~code]
            links.append(self._link(link))
        links.append(self._link(code))
        author, index, offset = links[0]
        return Name(author, index, offset, tuple(links[1:]))

    def chain_length(self, code: int) -> int:
        """Return how many copies of copies a name goes through."""
        length = 0
        while code < 0:
            code = self.pairs[~code][1]
            length += 1
        return length

    def is_too_long(self, code: int) -> bool:
        """Tell whether a copy of the place named by `code` could not be named any more."""
        return self.chain_length(code) >= COPY_CHAIN_MAX

    def _link(self, code: int) -> tuple[PeerId, int, int]:
        op = code >> OFFSET_BITS
        return self.authors[op & AUTHOR_MASK], op >> AUTHOR_BITS, code & OFFSET_MASK
