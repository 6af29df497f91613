"""The positions of one array, shown and hidden, in their order.

Positions never move and are never reused. They lie in blocks of at most some hundred, so that an
insert or a look-up costs about the same in a short and in a long array. A position
is *shown* if its element is not empty; the native list of the document holds the shown ones only.

When an array is replaced by another value all its positions are hidden at once: `buried` keeps
the old sequence behind the new one, and the two are joined only if an op wants a
place among the old ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from itertools import accumulate, filterfalse, islice

from cytosol.crdt.names import OFFSET_MASK
from cytosol.model.op import Side

__all__ = ["Sequence"]

BLOCK_MAX = 512
_OP_MASK = ~OFFSET_MASK  # as if it were the first place of its op, which is all that one can guess
_END, _AFTER, _BEFORE = map(int, (Side.END, Side.AFTER, Side.BEFORE))
INDEX_ABOVE = 64  # from this many positions on, a look-up by code goes through a dict


class Block:
    """A run of neighbouring positions, and how many of them are shown."""

    __slots__ = ("codes", "shown")

    def __init__(self, codes: list[int], shown: int) -> None:
        self.codes = codes
        self.shown = shown


class Sequence:
    """Positions by code; every mutation has its exact inverse."""

    __slots__ = ("_blocks", "_heads", "_home", "_starts", "hidden", "older", "shown", "size")

    def __init__(self, older: Sequence | None = None) -> None:
        self._blocks: list[Block] = [Block([], 0)]
        self._starts: list[int] = [0]
        """How many shown positions stand before the first blocks, as far as anybody asked."""
        self._home: dict[int, Block] | None = None
        self._heads: dict[int, int | None] | None = None
        self.hidden: set[int] = set()
        self.older = older
        self.shown = 0
        self.size = 0

    # --- looking ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[int]:
        """Yield every position, hidden ones and those of buried sequences included."""
        if self.older is not None:
            yield from self.older
        for block in self._blocks:
            yield from block.codes

    def shown_codes(self) -> list[int]:
        """Return the shown positions in order."""
        if not self.hidden:
            return [code for block in self._blocks for code in block.codes]
        hidden = self.hidden
        return [code for block in self._blocks for code in block.codes if code not in hidden]

    def at(self, index: int) -> int:
        """Return the shown position with this index, 0 <= index < shown."""
        number, rest = self._locate(index)
        block = self._blocks[number]
        if block.shown == len(block.codes):
            return block.codes[rest]
        shown = filterfalse(self.hidden.__contains__, block.codes)
        return next(islice(shown, rest, None))

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the number of a block, and the index in it, 0 <= index < shown."""
        if index >= self.shown:
            raise IndexError("no such shown position")
        starts = self._starts
        number = bisect_right(starts, index) - 1
        rest = index - starts[number]
        if number == len(starts) - 1:  # nobody has asked for more yet
            blocks = self._blocks
            while rest >= blocks[number].shown:
                rest -= blocks[number].shown
                number += 1
                starts.append(index - rest)
        return number, rest

    def _start(self, number: int) -> int:
        """Return how many shown positions stand before a block."""
        starts = self._starts
        for block in self._blocks[len(starts) - 1 : number]:
            starts.append(starts[-1] + block.shown)
        return starts[number]

    def last(self) -> int | None:
        """Return the last shown position."""
        block = self._blocks[-1]
        if block.codes and block.codes[-1] not in self.hidden:
            return block.codes[-1]
        return self.at(self.shown - 1) if self.shown else None

    def has(self, code: int) -> bool:
        """Tell whether this is one of the positions, buried ones included."""
        return self._block_of(code) is not None or (self.older is not None and self.older.has(code))

    def is_shown(self, code: int) -> bool:
        """Tell whether this position is shown."""
        return code not in self.hidden and self._block_of(code) is not None

    def index_of(self, code: int) -> int:
        """Return how many shown positions stand before this one (0 for an unknown one)."""
        home = self._block_of(code)
        if home is None:
            return 0
        index = self._start(self._blocks.index(home))
        return index + self._shown_before(home, home.codes.index(code))

    def _shown_before(self, block: Block, at: int) -> int:
        """Return how many of the first positions of a block are shown."""
        if block.shown == len(block.codes):
            return at
        hidden = self.hidden
        return sum(1 for code in block.codes[:at] if code not in hidden)

    def head(self, code: int) -> int | None:
        """Return the position after which this one was inserted here, None if not known."""
        return None if self._heads is None else self._heads.get(code)

    def note_head(self, code: int, left: int | None) -> None:
        """Note after which position a new one in the middle stands; a hint, never a rule."""
        if self._heads is None:
            self._heads = {}
        self._heads[code] = left

    def choose_beside(self, index: int, new: int) -> tuple[int, int]:
        """Choose the neighbour of a new shown position with this index, and the Side of it.

        See docs/merging.md, last section.
        """
        if not self.shown:
            return 0, _END
        if index == self.shown:
            last = self.last()
            assert last is not None, "something is shown"
            return last, _AFTER
        right = self.at(index)
        if not index:
            self.note_head(new, None)
            return right, _BEFORE
        left = self.at(index - 1)
        self.note_head(new, left)
        return (right, _BEFORE) if self.head(right) == left else (left, _AFTER)

    def _block_of(self, code: int) -> Block | None:
        if self._home is not None:
            return self._home.get(code)
        if self.size > INDEX_ABOVE:
            self._home = {c: block for block in self._blocks for c in block.codes}
            return self._home.get(code)
        for block in self._blocks:
            if code in block.codes:
                return block
        return None

    # --- changing -----------------------------------------------------------------------

    def append(self, code: int) -> None:
        """Add a shown position at the end."""
        block = self._blocks[-1]
        if len(block.codes) >= BLOCK_MAX:
            block = Block([], 0)
            self._blocks.append(block)
        block.codes.append(code)
        block.shown += 1
        self.shown += 1
        self.size += 1
        if self._home is not None:
            self._home[code] = block

    def insert(self, codes: SequenceOf[int], beside: int | None, after: bool) -> int:
        """Add shown positions together, beside a position of this sequence or at the end.

        Returns the index of the first of them among the shown ones.
        """
        home = None
        if beside is not None:
            last = self._blocks[-1].codes
            if not (after and last and last[-1] == beside):  # else it goes to the end
                home = self._block_of(beside)
        if home is None:
            index = self.shown
            for code in codes:
                self.append(code)
            return index
        at = home.codes.index(beside) + after  # type: ignore[arg-type]  # not None: has a home
        count = len(codes)
        home.codes[at:at] = codes
        home.shown += count
        self.shown += count
        self.size += count
        if self._home is not None:
            for code in codes:
                self._home[code] = home
        number = self._blocks.index(home)
        del self._starts[number + 1 :]
        index = self._start(number) + self._shown_before(home, at)
        if len(home.codes) > BLOCK_MAX:
            self._split(home)
        return index

    def insert_at(self, index: int, code: int) -> bool:
        """Add a shown position with this index, 0 <= index <= shown, if that says all.

        False, and nothing is done, where hidden ones stand between the neighbours.
        """
        if index == self.shown:
            last = self._blocks[-1].codes
            if index and last[-1] in self.hidden:
                return False
            self.append(code)
            return True
        number, rest = self._locate(index)
        block = self._blocks[number]
        if block.shown != len(block.codes) or (
            not rest and number and self._blocks[number - 1].codes[-1] in self.hidden
        ):
            return False
        self._insert_into(number, rest, code)
        return True

    def insert_beside(self, index: int, code: int) -> tuple[int, int, int]:
        """Add a shown position with this index beside the neighbour that `choose_beside` chooses.

        Returns that neighbour, the Side of it, and the index.
        """
        if index == self.shown:
            block = self._blocks[-1]
            codes = block.codes
            if codes and len(codes) < BLOCK_MAX and codes[-1] not in self.hidden:
                beside = codes[-1]
                codes.append(code)
                block.shown += 1
                self.shown += 1
                self.size += 1
                if self._home is not None:
                    self._home[code] = block
                return beside, _AFTER, index
        elif index:
            number, rest = self._locate(index)
            block = self._blocks[number]
            codes = block.codes
            if rest and block.shown == len(codes):  # most often: both are in one block
                left, right = codes[rest - 1], codes[rest]
                if self._heads is None:
                    self._heads = {}
                self._heads[code & _OP_MASK] = left
                self._insert_into(number, rest, code)
                if self._heads.get(right) == left:
                    return right, _BEFORE, index
                return left, _AFTER, index
        beside, side = self.choose_beside(index, code & _OP_MASK)
        if not self.insert_at(index, code):
            index = self.insert((code,), beside or None, side == _AFTER)
        return beside, side, index

    def _insert_into(self, number: int, at: int, code: int) -> None:
        """Add a shown position to a block that shows all it has."""
        block = self._blocks[number]
        block.codes.insert(at, code)
        block.shown += 1
        self.shown += 1
        self.size += 1
        del self._starts[number + 1 :]
        if self._home is not None:
            self._home[code] = block
        if len(block.codes) > BLOCK_MAX:
            self._split(block)

    def _changed(self, block: Block) -> None:
        """Forget where the blocks after this one start."""
        del self._starts[self._blocks.index(block) + 1 :]

    def _split(self, block: Block) -> None:
        where = self._blocks.index(block) + 1
        codes, size = block.codes, BLOCK_MAX // 2
        parts = [codes[start : start + size] for start in range(0, len(codes), size)]
        block.codes = parts[0]
        block.shown = self._count_shown(parts[0])
        for part in parts[1:]:
            new = Block(part, self._count_shown(part))
            self._blocks.insert(where, new)
            where += 1
            if self._home is not None:
                for code in part:
                    self._home[code] = new
        self._changed(block)

    def _count_shown(self, codes: list[int]) -> int:
        if not self.hidden:
            return len(codes)
        return sum(1 for code in codes if code not in self.hidden)

    def remove(self, code: int) -> None:
        """Forget a position again (the inverse of `append` and `insert`)."""
        block = self._block_of(code)
        assert block is not None, "only positions that were added are removed"
        if block.codes[-1] == code:
            block.codes.pop()
        else:
            block.codes.remove(code)
        self._changed(block)
        self.size -= 1
        if code in self.hidden:
            self.hidden.remove(code)
        else:
            block.shown -= 1
            self.shown -= 1
        if self._home is not None:
            del self._home[code]
        if not block.codes and len(self._blocks) > 1:
            number = self._blocks.index(block)
            del self._blocks[number]
            del self._starts[max(1, number) :]

    def hide(self, code: int) -> None:
        """Hide a shown position."""
        block = self._block_of(code)
        assert block is not None, "only known positions are hidden"
        self._changed(block)
        self.hidden.add(code)
        block.shown -= 1
        self.shown -= 1

    def show(self, code: int) -> int:
        """Show a hidden position again and return its index."""
        block = self._block_of(code)
        assert block is not None, "only known positions are shown"
        self._changed(block)
        self.hidden.remove(code)
        block.shown += 1
        self.shown += 1
        return self.index_of(code)

    def joined(self) -> Sequence:
        """Return one sequence with the buried positions, hidden, before the others."""
        whole = Sequence()
        for code in self:
            whole.append(code)
        shown = set(self.shown_codes())
        for code in self:
            if code not in shown:
                whole.hide(code)
        return whole

    def check_invariants(self) -> None:
        """Raise AssertionError if the counts and the index disagree with the blocks."""
        codes = [code for block in self._blocks for code in block.codes]
        assert len(codes) == len(set(codes)) == self.size, "positions are unique and counted"
        assert self.hidden <= set(codes), "only positions are hidden"
        assert self.shown == len(codes) - len(self.hidden), "shown positions are counted"
        starts = list(accumulate((block.shown for block in self._blocks), initial=0))
        assert self._starts == starts[: len(self._starts)], "starts count what stands before"
        assert len(self._starts) <= len(self._blocks), "and are those of blocks"
        for block in self._blocks:
            assert block.shown == self._count_shown(block.codes), "blocks count what they show"
            assert len(block.codes) <= 2 * BLOCK_MAX, "blocks stay small"
        if self._home is not None:
            assert set(self._home) == set(codes), "the index knows exactly the positions"
            for code, block in self._home.items():
                assert code in block.codes, "the index leads to the right block"
