"""The most frequent own writes in few steps: a primitive set, added to, or inserted.

Each repeats a rule that `apply` has in general, for the case in which the compiler has just found
the place and nothing special stands there. A property test compares both ways; whatever a
function here returns False for has not been touched and goes the general way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cytosol.crdt.calculate import calculate
from cytosol.crdt.log import Act, Coded
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.tree import MISSING, Place, Step
from cytosol.crdt.undo import uninsert
from cytosol.model.json import JsonValue
from cytosol.model.op import Side

if TYPE_CHECKING:
    from cytosol.crdt.replica import Replica

__all__ = ["CREATED", "PRIMITIVES", "quick_add", "quick_insert", "quick_set"]

CREATED: Final[Any] = object()
"""In the log's `undos`: a `Set` made a key that was not known."""

PRIMITIVES: Final = frozenset({str, int, bool, float, type(None)})


def quick_set(replica: Replica, up: Place, key: str, payload: JsonValue, now_ms: int) -> bool:
    """Log and apply an own `Set` of a primitive at a key of a present object."""
    container = up.value
    old = container.get(key, MISSING)
    tree = replica.tree
    if old is MISSING:
        if key in up.codes or tree.made >= replica.applier.places_max:
            return False
    elif type(old) is dict or type(old) is list:
        return False
    name = 0
    if up.up is not None:
        name = up.code if up.up.revived is None else tree.name_of(up)
    clock = replica.clock + 1
    number = replica.number
    if old is MISSING:
        up.codes[key] = (clock << AUTHOR_BITS | number) << OFFSET_BITS
        tree.made += 1
        old = CREATED
    container[key] = payload
    # What `log_own` does, without its calls: this is the hottest path of all.
    log, latest, author = replica.log, replica.latest, replica.author
    log.indexes.append(clock)
    log.numbers.append(number)
    log.previous.append(latest.get(author, 0))
    log.times.append(now_ms)
    log.names.append(name)
    log.steps.append(key)
    log.payloads.append(payload)
    log.acts.append(up)
    log.undos.append(old)
    latest[author] = replica.clock = clock
    if replica.has_news:
        replica.tell_news(clock)
    replica.applier.mutator.touched.append((up, key))
    return True


def quick_add(replica: Replica, body: Coded, up: Place, step: Step, now_ms: int) -> bool:
    """Log and apply an own `Add` or `Multiply` of what stands at a key of a present object."""
    if not isinstance(step, str):
        return False
    container = up.value
    old = container[step]
    result = calculate(body.kind, old, body.payload)
    if result is None:
        return False
    container[step] = result
    mutator = replica.applier.mutator
    mutator.touched.append((up, step))
    undo = [(container.__setitem__, step, old), (mutator.touched.append, (up, step))]
    replica.log_own(replica.clock + 1, now_ms, 0, None, body, [], undo)
    return True


def quick_insert(replica: Replica, body: Coded, array: Place, index: int, now_ms: int) -> bool:
    """Log and apply an own insert of one primitive into a present array, at an index."""
    sequence = array.sequence
    tree = replica.tree
    if body.fill or sequence is None or tree.made >= replica.applier.places_max:
        return False
    clock = replica.clock + 1
    code = (clock << AUTHOR_BITS | replica.number) << OFFSET_BITS
    codes = (code,)
    value = array.value
    if sequence.hidden:
        index = sequence.insert(codes, body.beside or None, body.side is Side.AFTER)
    else:
        sequence.insert_at(index, code)
    value.insert(index, body.payload)
    tree.made += 1
    touched = replica.applier.mutator.touched
    touched.append((array, None))
    undo = [(uninsert, sequence, codes, value, index), (touched.append, (array, None))]
    act = Act(0, 0, array, code, body.payload)
    replica.log_own(clock, now_ms, 0, None, body, [act], undo)
    return True
