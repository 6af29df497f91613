"""I-Regexp (RFC 9485) in time linear in the text: a Thompson automaton, determinised lazily.

A pattern is compiled to states that read one character, fork, assert an end, or match. Sets of
them become states of a deterministic automaton when a text first needs them; moves are
remembered up to PATTERN_CELLS_MAX and then forgotten all at once. Every new move costs at
most one look at each state, and is paid from the caller's budget, so that no pattern and no
text can hang the process.

`^` and `$` outside of brackets assert the start and the end of the text: the mapping of
RFC 9485, 5, leaves them alone, and so do the tests that JSONPath implementations share. Write
`\\^` or `[$]` for the signs themselves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Final

from cytosol import limits
from cytosol.errors import PathLimitError
from cytosol.path.iregexp_syntax import (
    Alternatives,
    Assertion,
    CharSet,
    Node,
    NotIRegexp,
    Repeat,
    Sequence,
    parse_pattern,
)

__all__ = ["Pattern", "compile_pattern"]

Spend = Callable[[int], None]

_FORK: Final = 0
_READ: Final = 1
_AT_START: Final = 2
_AT_END: Final = 3
_MATCH: Final = 4

_patterns: dict[str, Pattern | None] = {}


def compile_pattern(text: str, spend: Spend) -> Pattern | None:
    """Return the automaton of a pattern, or None if `text` is not an I-Regexp.

    `spend` is told the number of states that were built. Raises PathLimitError when the
    pattern is too long or needs too many states.
    """
    try:
        return _patterns[text]
    except KeyError:
        pass
    if len(text) > limits.PATTERN_LENGTH_MAX:
        raise PathLimitError(
            f"a pattern of match() or search() has {len(text)} characters, "
            f"more than {limits.PATTERN_LENGTH_MAX}"
        )
    spend(len(text))
    try:
        pattern = Pattern(parse_pattern(text))
    except NotIRegexp:
        pattern = None
    if pattern is not None:
        spend(pattern.states_count)
        if pattern.states_count > limits.PATTERN_CACHED_STATES_MAX:
            return pattern
    if len(_patterns) >= limits.PATTERN_CACHE_MAX:
        _patterns.clear()
    _patterns[text] = pattern
    return pattern


class _State:
    """A state of the deterministic automaton: a set of Thompson states."""

    __slots__ = ("accepts", "accepts_at_end", "members", "moves")

    def __init__(self, members: tuple[int, ...], accepts: bool, accepts_at_end: bool) -> None:
        self.members = members
        self.accepts = accepts
        self.accepts_at_end = accepts_at_end
        self.moves: dict[str, _State] = {}


class Pattern:
    """A compiled pattern; safe to share between threads, which at worst repeat work."""

    __slots__ = ("_cells", "_kinds", "_next", "_other", "_sets", "_start", "_starts", "_states")

    def __init__(self, node: Node) -> None:
        self._kinds = [_MATCH]
        self._next = [0]
        self._other = [0]
        self._sets: list[CharSet] = [CharSet((), (), False)]
        self._start = self._emit(node, 0)
        self._states: dict[tuple[bool, tuple[int, ...]], _State] = {}
        self._starts: dict[bool, _State] = {}
        self._cells = 0

    @property
    def states_count(self) -> int:
        """How many Thompson states there are."""
        return len(self._kinds)

    def test(self, text: str, search: bool, spend: Spend) -> bool:
        """Tell whether the whole of `text` matches, or with `search` any part of it."""
        spend(1 + len(text) // 8)
        state = self._starts.get(search) or self._start_state(search)
        if search:
            for character in text:
                if state.accepts:
                    return True
                state = state.moves.get(character) or self._move(state, character, True, spend)
        else:
            for character in text:
                if not state.members:
                    return False
                state = state.moves.get(character) or self._move(state, character, False, spend)
        return state.accepts_at_end

    # --- Determinising ------------------------------------------------------------------

    def _start_state(self, search: bool) -> _State:
        members = self._closure((self._start,), at_start=True, at_end=False)
        at_end = self._closure((self._start,), at_start=True, at_end=True)
        state = _State(tuple(sorted(members)), 0 in members, 0 in at_end)
        self._starts[search] = state
        return state

    def _move(self, state: _State, character: str, search: bool, spend: Spend) -> _State:
        """Find, and remember, where `character` leads."""
        kinds, sets, nexts = self._kinds, self._sets, self._next
        category = unicodedata.category(character)
        cost = len(state.members)
        held: dict[int, bool] = {}  # repeats share their sets: ask each set once
        targets = []
        for member in state.members:
            if kinds[member] == _READ:
                chars = sets[member]
                holds = held.get(id(chars))
                if holds is None:
                    holds = held[id(chars)] = chars.holds(character, category)
                    cost += len(chars.ranges) + len(chars.categories)
                if holds:
                    targets.append(nexts[member])
        if search:
            targets.append(self._start)
        members = self._closure(targets, at_start=False, at_end=False)
        spend(cost + 2 * len(members))
        key = (search, tuple(sorted(members)))
        found = self._states.get(key)
        if found is None:
            at_end = self._closure(members, at_start=False, at_end=True)
            found = _State(key[1], 0 in members, 0 in at_end)
            self._cells += 8 + len(members)
            if self._cells > limits.PATTERN_CELLS_MAX:
                self._forget()
            self._states[key] = found
        self._cells += 1
        if self._cells > limits.PATTERN_CELLS_MAX:
            self._forget()
        else:
            state.moves[character] = found
        return found

    def _forget(self) -> None:
        """Drop all states, so that a hostile pattern cannot fill memory."""
        self._states = {}
        self._starts = {}
        self._cells = 0

    def _closure(self, seeds: Iterable[int], *, at_start: bool, at_end: bool) -> set[int]:
        """Follow all that needs no character; keep what reads, waits for the end, or matches."""
        kinds, nexts, others = self._kinds, self._next, self._other
        seen = set(seeds)
        waiting = list(seen)
        kept = set()
        while waiting:
            member = waiting.pop()
            kind = kinds[member]
            if kind == _FORK:
                following: tuple[int, ...] = (nexts[member], others[member])
            elif (kind == _AT_START and at_start) or (kind == _AT_END and at_end):
                following = (nexts[member],)
            else:
                if kind != _AT_START:
                    kept.add(member)
                continue
            for target in following:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return kept

    # --- Building: each part is emitted before what follows it, from the end ----------------

    def _add(self, kind: int, following: int, other: int = 0, chars: CharSet | None = None) -> int:
        number = len(self._kinds)
        if number >= limits.PATTERN_STATES_MAX:
            raise PathLimitError(
                f"a pattern of match() or search() needs more than {limits.PATTERN_STATES_MAX} "
                "states; repeat less"
            )
        self._kinds.append(kind)
        self._next.append(following)
        self._other.append(other)
        self._sets.append(self._sets[0] if chars is None else chars)
        return number

    def _emit(self, node: Node, following: int) -> int:
        """Add the states of `node`, which lead to `following`; return the first."""
        match node:
            case CharSet():
                return self._add(_READ, following, chars=node)
            case Assertion():
                return self._add(_AT_END if node.end else _AT_START, following)
            case Sequence():
                for part in reversed(node.parts):
                    following = self._emit(part, following)
                return following
            case Alternatives():
                first = self._emit(node.branches[-1], following)
                for branch in reversed(node.branches[:-1]):
                    first = self._add(_FORK, self._emit(branch, following), first)
                return first
            case _:
                assert isinstance(node, Repeat)
                return self._emit_repeat(node, following)

    def _emit_repeat(self, node: Repeat, following: int) -> int:
        end = following
        if node.most is None:
            following = self._add(_FORK, end, end)
            self._next[following] = self._emit(node.node, following)
        else:
            for _ in range(node.most - node.least):
                following = self._add(_FORK, self._emit(node.node, following), end)
        for _ in range(node.least):
            following = self._emit(node.node, following)
        return following
