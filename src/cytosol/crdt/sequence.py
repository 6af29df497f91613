"""The positions of one array, shown and hidden, in their order.

Positions never move and are never reused. They lie in blocks of at most some hundred, and where
there are many blocks, these in groups, so that an insert or a look-up costs about the same in a
short and in a long array.

A position is *shown* if its element is not empty; the native list of the document holds the shown
ones only.

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

BLOCK_MAX = 512  # positions of a block
GROUP_MAX = 64  # blocks of a group
_OP_MASK = ~OFFSET_MASK  # as if it were the first place of its op, which is all that one can guess
_END, _AFTER, _BEFORE = map(int, (Side.END, Side.AFTER, Side.BEFORE))
INDEX_ABOVE = 64  # from this many positions on, a look-up by code goes through a dict


_NOTHING_HIDDEN: set[int] = set()  # of every sequence until it hides something; never changed


class Block:
    """A run of neighbouring positions, and how many of them are shown.

    `group` is None as long as the sequence has no groups.
    """

    __slots__ = ("codes", "group", "shown")

    def __init__(self, codes: list[int], shown: int, group: Group | None) -> None:
        self.codes = codes
        self.shown = shown
        self.group = group


class Run:
    """Neighbouring blocks, and how many positions they show.

    `starts` tells how many of these stand before the first blocks, as far as anybody asked.
    """

    __slots__ = ("blocks", "shown", "starts")

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.starts = [0]
        self.shown = 0


class Group(Run):
    """A run of some of the blocks of a long sequence; `number` tells how many are before it."""

    __slots__ = ("number",)

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__(blocks)
        self.number = 0
        for block in blocks:
            block.group = self
            self.shown += block.shown


class Sequence(Run):
    """Positions by code; every mutation has its exact inverse.

    It is a run of all its blocks, until they are so many that they are divided among groups.
    """

    __slots__ = ("_firsts", "_groups", "_heads", "_home", "_last", "hidden", "older", "size")

    def __init__(self, older: Sequence | None = None) -> None:
        self._last = Block([], 0, None)
        self.blocks = [self._last]
        self.starts = [0]
        self.shown = 0
        self.size = 0
        self._groups: list[Group] | None = None
        self._firsts: list[int] = self.starts
        """With groups: how many shown positions stand before the first ones, as `starts` does."""
        self._home: dict[int, Block] | None = None
        self._heads: dict[int, int | None] | None = None
        self.hidden = _NOTHING_HIDDEN
        self.older = older

    # --- looking ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[int]:
        """Yield every position, hidden ones and those of buried sequences included."""
        if self.older is not None:
            yield from self.older
        for block in self._blocks():
            yield from block.codes

    def _blocks(self) -> Iterator[Block]:
        """Yield the blocks of all groups."""
        if self._groups is None:
            yield from self.blocks
        else:
            for group in self._groups:
                yield from group.blocks

    def shown_codes(self) -> list[int]:
        """Return the shown positions in order."""
        if not self.hidden:
            return [code for block in self._blocks() for code in block.codes]
        hidden = self.hidden
        return [code for block in self._blocks() for code in block.codes if code not in hidden]

    def at(self, index: int) -> int:
        """Return the shown position with this index, 0 <= index < shown."""
        run, number, rest = self._locate(index)
        block = run.blocks[number]
        if block.shown == len(block.codes):
            return block.codes[rest]
        shown = filterfalse(self.hidden.__contains__, block.codes)
        return next(islice(shown, rest, None))

    def _locate(self, index: int) -> tuple[Run, int, int]:
        """Return a run, the number of a block of it, and the index in that.

        0 <= index < shown.
        """
        if index >= self.shown:
            raise IndexError("no such shown position")
        run: Run = self
        if self._groups is not None:
            run, index = self._group_at(index)
        starts = run.starts
        number = bisect_right(starts, index) - 1
        rest = index - starts[number]
        if number == len(starts) - 1:  # nobody has asked for more yet
            blocks = run.blocks
            while rest >= blocks[number].shown:
                rest -= blocks[number].shown
                number += 1
                starts.append(index - rest)
        return run, number, rest

    def _group_at(self, index: int) -> tuple[Group, int]:
        """Return the group that shows the position with this index, and the index in it."""
        groups, firsts = self._groups, self._firsts
        assert groups is not None, "a long sequence has groups"
        number = bisect_right(firsts, index) - 1
        rest = index - firsts[number]
        if number == len(firsts) - 1:
            while rest >= groups[number].shown:
                rest -= groups[number].shown
                number += 1
                firsts.append(index - rest)
        return groups[number], rest

    def _start(self, run: Run, number: int) -> int:
        """Return how many shown positions stand before a block."""
        starts = run.starts
        for block in run.blocks[len(starts) - 1 : number]:
            starts.append(starts[-1] + block.shown)
        if not isinstance(run, Group):
            return starts[number]
        assert self._groups is not None, "a group is one of these"
        firsts = self._firsts
        for group in self._groups[len(firsts) - 1 : run.number]:
            firsts.append(firsts[-1] + group.shown)
        return firsts[run.number] + starts[number]

    def last(self) -> int | None:
        """Return the last shown position."""
        codes = self._last.codes
        if codes and codes[-1] not in self.hidden:
            return codes[-1]
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
        run: Run = home.group or self
        index = self._start(run, run.blocks.index(home))
        return index + self._shown_before(home, home.codes.index(code))

    def _shown_before(self, block: Block, at: int) -> int:
        """Return how many of the first positions of a block are shown."""
        if block.shown == len(block.codes):
            return at
        return self._count_shown(block.codes[:at])

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
            self._home = {c: block for block in self._blocks() for c in block.codes}
            return self._home.get(code)
        for block in self._blocks():
            if code in block.codes:
                return block
        return None

    # --- changing -----------------------------------------------------------------------

    def append(self, code: int) -> None:
        """Add a shown position at the end."""
        block = self._last
        if len(block.codes) >= BLOCK_MAX:
            block = self._add_block()
        block.codes.append(code)
        block.shown += 1
        if block.group is not None:
            block.group.shown += 1
        self.shown += 1
        self.size += 1
        if self._home is not None:
            self._home[code] = block

    def _add_block(self) -> Block:
        """Add an empty block at the end and return it."""
        groups = self._groups
        if groups is None and len(self.blocks) >= GROUP_MAX:
            groups = self._divide()
        if groups is None:
            self._last = Block([], 0, None)
            self.blocks.append(self._last)
            return self._last
        if len(groups[-1].blocks) >= GROUP_MAX:
            groups.append(Group([]))
            groups[-1].number = len(groups) - 1
        self._last = Block([], 0, groups[-1])
        groups[-1].blocks.append(self._last)
        return self._last

    def _divide(self) -> list[Group]:
        """Make all blocks one group, the first, and return the groups."""
        self._groups = [Group(self.blocks)]
        self._firsts = [0]
        self.blocks, self.starts = [], [0]
        return self._groups

    def insert(self, codes: SequenceOf[int], beside: int | None, after: bool) -> int:
        """Add shown positions together, beside a position of this sequence or at the end.

        Returns the index of the first of them among the shown ones.
        """
        home = None
        if beside is not None:
            last = self._last.codes
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
        if home.group is not None:
            home.group.shown += count
        self.shown += count
        self.size += count
        if self._home is not None:
            for code in codes:
                self._home[code] = home
        index = self._start(*self._changed(home)) + self._shown_before(home, at)
        if len(home.codes) > BLOCK_MAX:
            self._split(home)
        return index

    def insert_at(self, index: int, code: int) -> bool:
        """Add a shown position with this index, 0 <= index <= shown, if that says all.

        False, and nothing is done, where hidden ones stand between the neighbours.
        """
        if index == self.shown:
            if index and self._last.codes[-1] in self.hidden:
                return False
            self.append(code)
            return True
        run, number, rest = self._locate(index)
        block = run.blocks[number]
        if block.shown != len(block.codes) or (not rest and self._is_after_hidden(run, number)):
            return False
        self._insert_into(run, number, rest, code)
        return True

    def _is_after_hidden(self, run: Run, number: int) -> bool:
        """Tell whether a hidden position stands right before a block."""
        if not number:
            if not isinstance(run, Group) or not run.number:
                return False
            assert self._groups is not None, "a group is one of these"
            run = self._groups[run.number - 1]
        return run.blocks[number - 1].codes[-1] in self.hidden

    def insert_beside(self, index: int, code: int) -> tuple[int, int, int]:
        """Add a shown position with this index beside the neighbour that `choose_beside` chooses.

        Returns that neighbour, the Side of it, and the index.
        """
        if index == self.shown:
            block = self._last
            codes = block.codes
            if codes and len(codes) < BLOCK_MAX and codes[-1] not in self.hidden:
                beside = codes[-1]
                codes.append(code)
                block.shown += 1
                if block.group is not None:
                    block.group.shown += 1
                self.shown += 1
                self.size += 1
                if self._home is not None:
                    self._home[code] = block
                return beside, _AFTER, index
        elif index:
            run, number, rest = self._locate(index)
            codes = run.blocks[number].codes
            if rest and run.blocks[number].shown == len(codes):  # most often: both are in one block
                left, right = codes[rest - 1], codes[rest]
                if self._heads is None:
                    self._heads = {}
                self._heads[code & _OP_MASK] = left
                self._insert_into(run, number, rest, code)
                if self._heads.get(right) == left:
                    return right, _BEFORE, index
                return left, _AFTER, index
        beside, side = self.choose_beside(index, code & _OP_MASK)
        if not self.insert_at(index, code):
            index = self.insert((code,), beside or None, side == _AFTER)
        return beside, side, index

    def _insert_into(self, run: Run, number: int, at: int, code: int) -> None:
        """Add a shown position to a block that shows all it has."""
        block = run.blocks[number]
        block.codes.insert(at, code)
        block.shown += 1
        self.shown += 1
        self.size += 1
        del run.starts[number + 1 :]
        if block.group is not None:
            block.group.shown += 1
            del self._firsts[block.group.number + 1 :]
        if self._home is not None:
            self._home[code] = block
        if len(block.codes) > BLOCK_MAX:
            self._split(block)

    def _changed(self, block: Block) -> tuple[Run, int]:
        """Forget where the blocks after this one start; return its run and its number there."""
        run: Run = self
        if block.group is not None:
            run = block.group
            del self._firsts[block.group.number + 1 :]
        number = run.blocks.index(block)
        del run.starts[number + 1 :]
        return run, number

    def _split(self, block: Block) -> None:
        """Make several blocks of one that has become too large."""
        run, number = self._changed(block)
        codes, size = block.codes, BLOCK_MAX // 2
        parts = [codes[start : start + size] for start in range(0, len(codes), size)]
        block.codes = parts[0]
        block.shown = self._count_shown(parts[0])
        added = [Block(part, self._count_shown(part), block.group) for part in parts[1:]]
        run.blocks[number + 1 : number + 1] = added
        if self._home is not None:
            for new in added:
                self._home.update(dict.fromkeys(new.codes, new))
        if block is self._last:
            self._last = added[-1]
        if len(run.blocks) > GROUP_MAX:
            self._split_group(block.group or self._divide()[0])

    def _split_group(self, group: Group) -> None:
        """Make several groups of one that has become too large."""
        blocks, size, groups = group.blocks, GROUP_MAX // 2, self._groups
        assert groups is not None, "a group is one of these"
        parts = (blocks[start : start + size] for start in range(0, len(blocks), size))
        groups[group.number : group.number + 1] = map(Group, parts)
        self._number_groups(groups)

    def _number_groups(self, groups: list[Group]) -> None:
        for number, group in enumerate(groups):
            group.number = number

    def _count_shown(self, codes: list[int]) -> int:
        return len(codes) - len(self.hidden.intersection(codes)) if self.hidden else len(codes)

    def remove(self, code: int) -> None:
        """Forget a position again (the inverse of `append` and `insert`)."""
        block = self._block_of(code)
        assert block is not None, "only positions that were added are removed"
        if block.codes[-1] == code:
            block.codes.pop()
        else:
            block.codes.remove(code)
        run, number = self._changed(block)
        self.size -= 1
        if code in self.hidden:
            self.hidden.remove(code)
        else:
            self._count(block, -1)
        if self._home is not None:
            del self._home[code]
        if not block.codes:
            self._drop(run, number)

    def _drop(self, run: Run, number: int) -> None:
        """Take an empty block away, and a group that has no other, but not the last of all."""
        groups = self._groups
        if len(run.blocks) > 1:
            del run.blocks[number]
            del run.starts[max(1, number) :]
        elif groups is not None and len(groups) > 1:
            assert isinstance(run, Group), "where there are groups, blocks are in them"
            del groups[run.number]
            del self._firsts[max(1, run.number) :]
            self._number_groups(groups)
        else:
            return
        self._last = (self if groups is None else groups[-1]).blocks[-1]

    def _count(self, block: Block, more: int) -> None:
        """Note that so many more positions of a block are shown."""
        block.shown += more
        self.shown += more
        if block.group is not None:
            block.group.shown += more

    def hide(self, code: int) -> None:
        """Hide a shown position."""
        block = self._block_of(code)
        assert block is not None, "only known positions are hidden"
        self._changed(block)
        if self.hidden:
            self.hidden.add(code)
        else:
            self.hidden = {code}
        self._count(block, -1)

    def show(self, code: int) -> int:
        """Show a hidden position again and return its index."""
        block = self._block_of(code)
        assert block is not None, "only known positions are shown"
        self._changed(block)
        self.hidden.remove(code)
        self._count(block, 1)
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
        codes = [code for block in self._blocks() for code in block.codes]
        assert len(codes) == len(set(codes)) == self.size, "positions are unique and counted"
        assert self.hidden <= set(codes), "only positions are hidden"
        assert self.shown == len(codes) - len(self.hidden), "shown positions are counted"
        runs: list[Run] = [self]
        if self._groups is not None:
            assert not self.blocks, "blocks are in one run only"
            runs = [*self._groups]
            assert [g.number for g in self._groups] == list(range(len(runs))), "groups are numbered"
            _check_starts(self._firsts, [run.shown for run in runs])
        for run in runs:
            assert 0 < len(run.blocks) <= GROUP_MAX, "runs stay small, and none is empty"
            shown = [block.shown for block in run.blocks]
            assert run.shown == sum(shown), "runs count what they show"
            _check_starts(run.starts, shown)
            for block in run.blocks:
                assert (block.group or self) is run, "blocks know their group"
                assert block.shown == self._count_shown(block.codes), "blocks count what they show"
                assert len(block.codes) <= 2 * BLOCK_MAX, "blocks stay small"
        assert self._last is runs[-1].blocks[-1], "the last block is known"
        if self._home is not None:
            assert set(self._home) == set(codes), "the index knows exactly the positions"
            for code, block in self._home.items():
                assert code in block.codes, "the index leads to the right block"


def _check_starts(starts: list[int], shown: list[int]) -> None:
    whole = list(accumulate(shown, initial=0))
    assert starts == whole[: len(starts)], "starts count what stands before"
    assert len(starts) <= len(shown), "and are those of blocks or groups"
