"""Merge one plain write that comes after all that is here, as live sync brings it.

It repeats, for that case, what `Admission` checks and `Replica` does with every op. A property
test compares both ways; whatever is refused here has not been touched and goes the general way.
"""

from __future__ import annotations

from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.plain import find_object
from cytosol.crdt.quick import CREATED
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import MISSING, Place
from cytosol.limits import LAMPORT_LEAP_MAX
from cytosol.model.singlecodec import Single

__all__ = ["merge_single"]


def merge_single(replica: Replica, single: Single) -> bool:
    """Merge a write of another author whose earlier ones are here; False if it is not as simple."""
    author, index = single.author, single.index
    clock, latest, log = replica.clock, replica.latest, replica.log
    previous = single.previous
    if not clock < index <= clock + LAMPORT_LEAP_MAX or not previous:
        return False
    if latest.get(author) != previous or author == replica.author:
        return False
    if replica.waiting or log.origins or replica.tree.origins:
        return False  # it may let others follow, or be silenced by one that stands for it
    if replica.trim is not None and previous <= replica.trimmed.get(author, 0):
        return False  # made before its author knew all of the base, perhaps
    for other, known in single.seen:
        if latest.get(other, 0) < known:
            return False
    code = 0
    up = replica.tree.root
    if single.place is not None:
        maker, made_at, offset = single.place
        maker_number = replica.names.known_number(maker or author)
        if maker_number is None:
            return False
        code = (made_at << AUTHOR_BITS | maker_number) << OFFSET_BITS | offset
        found = _object(replica, code)
        if found is None:
            return False
        up = found
    key, payload, container, tree = single.key, single.payload, up.value, replica.tree
    number = replica.names.number(author)
    op_code = index << AUTHOR_BITS | number
    old = container.get(key, MISSING)
    if old is MISSING:
        if key in up.codes or tree.made >= replica.applier.places_max:
            return False
        up.codes[key] = op_code << OFFSET_BITS
        tree.made += 1
        old = CREATED
    elif type(old) is dict or type(old) is list:
        return False
    container[key] = payload
    log.append_applied(index, number, previous, single.time, code, key, payload, up, old)
    if single.seen:
        log.seen[op_code] = tuple(single.seen)
    replica.note_write(author, index)
    replica.applier.mutator.touched.append((up, key))
    return True


def _object(replica: Replica, code: int) -> Place | None:
    """Return the present object with a name, None if there is none."""
    log = replica.log
    # Mostly it is where the newest op has written: nothing has happened to it since.
    if (
        log.names
        and log.names[-1] == code
        and type(log.steps[-1]) is str
        and type(log.undos[-1]) is not list
    ):
        newest: Place = log.acts[-1]
        return newest
    return find_object(replica, code)
