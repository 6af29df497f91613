"""Tell whether a change at one place can change what a query selects.

The location of the change is walked step by step while the set of segments that may have
matched so far is kept, as an automaton does. Wherever exactness would be dear the answer is
True: a subscription then compares its result in vain, which is never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from cytosol.path.evaluate import (
    BoundComputed,
    BoundFilter,
    BoundIndex,
    BoundName,
    BoundSegment,
    BoundSelector,
    BoundSlice,
    BoundWildcard,
    Step,
)

__all__ = ["may_touch"]


def may_touch(segments: tuple[BoundSegment, ...], location: Sequence[Step]) -> bool:
    """Tell whether a change at `location`, or below it, may change what `segments` select.

    A change whose last step is an index may be an insertion or a deletion: it also moves the
    elements behind it.
    """
    end = len(segments)
    states = {0}
    for depth, step in enumerate(location):
        last = depth == len(location) - 1
        following: set[int] = set()
        for state in states:
            if state == end:
                return True  # the change is inside a value that is selected
            descendant, selectors = segments[state]
            if descendant:
                following.add(state)
            for selector in selectors:
                answer = _step(selector, step, last, location, depth)
                if answer is None:
                    return True
                if answer:
                    following.add(state + 1)
        if not following:
            return False
        states = following
    return True


def _step(
    selector: BoundSelector, step: Step, last: bool, location: Sequence[Step], depth: int
) -> bool | None:
    """Tell whether `selector` may select the child at `step`; None when all may change."""
    match selector:
        case BoundName():
            return selector.name == step
        case BoundWildcard():
            return True
        case BoundIndex():
            return _index(selector.index, step, last)
        case BoundSlice():
            return _slice(selector.slice, step, last)
        case BoundFilter():
            # Whether this child is selected depends on its own contents alone, and on the
            # absolute queries, which the caller looks at.
            rest = location[depth + 1 :]
            if selector.relatives is None or any(
                may_touch(relative, rest) for relative in selector.relatives
            ):
                return None
            return True
        case _:
            assert isinstance(selector, BoundComputed)
            return None  # `@` is the container itself, so that every child counts


def _index(index: int, step: Step, last: bool) -> bool | None:
    if isinstance(step, str):
        return False
    if last and (index < 0 or step < 0 or index >= step):
        return None
    return index == step or index < 0 or step < 0


def _slice(part: slice, step: Step, last: bool) -> bool | None:
    if isinstance(step, str) or part.step == 0:
        return False
    start, stop, stride = part.start or 0, part.stop, part.step or 1
    if step < 0 or start < 0 or stride < 0 or (stop is not None and stop < 0):
        return None if last else True
    if stop is not None and step >= stop:
        return False
    if last:
        return None
    return bool(step >= start and (step - start) % stride == 0)
