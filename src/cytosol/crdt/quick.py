"""The most frequent own writes in few steps: a primitive set, added to, or inserted.

Each repeats rules that `actions`, `compile` and `apply` have in general, for a plain path to a
place where nothing special stands. A property test compares both ways; whatever a function here
returns False for has not been touched and goes the general way, which also says what is wrong.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from cytosol.crdt.actions import Add, InsertAfter, InsertBefore, Multiply, ParsedAction, Set
from cytosol.crdt.calculate import calculate
from cytosol.crdt.log import NO_INDEX, Act, Coded, Form, coded_of
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.tree import MISSING, Place, Step
from cytosol.crdt.undo import Trail
from cytosol.limits import INTEGER_MAX, INTEGER_MIN, PATH_LENGTH_MAX
from cytosol.model.json import JsonValue
from cytosol.model.op import ACTION_NAMES, Kind, Side
from cytosol.path import singular_steps
from cytosol.path.cache import remember

if TYPE_CHECKING:
    from cytosol.crdt.replica import Replica

__all__ = ["CREATED", "INSERTED", "PRIMITIVES", "Quick", "undo_quick"]

CREATED: Final[Any] = object()
"""In the log's `undos`: a `Set` made a key that was not known."""

INSERTED: Final[Any] = object()
"""In the log's `undos`: a value was inserted."""

PRIMITIVES: Final = frozenset({str, int, bool, float, type(None)})

TEXT_MAX: Final = 100_000
"""Longer texts go the general way, which measures them exactly."""

# Looked up once: a member of an enum costs more than a global.
SET, ADD, MULTIPLY, INSERT_AFTER = Kind.SET, Kind.ADD, Kind.MULTIPLY, Kind.INSERT_AFTER

BY_TYPE: Final[dict[Any, Kind]] = {
    action: action.kind for action in (Set, Add, Multiply, InsertBefore, InsertAfter)
}
BY_NAME: Final[dict[Any, Kind]] = {ACTION_NAMES[kind]: kind for kind in BY_TYPE.values()}
KINDS: Final = frozenset(BY_TYPE.values())

new_tuple = tuple.__new__  # makes a NamedTuple from all its fields in half the time

Done = tuple[int, Form, Place, Any]
"""Name and form of what was done (see `Log`), the Place around it, and what undoing it needs."""


class Quick:
    """Does what it can of the actions on one replica."""

    __slots__ = ("_applier", "_parents", "_replica", "_touched", "_tree")

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._tree = replica.tree
        self._applier = replica.applier
        self._touched = replica.applier.mutator.touched
        self._parents: dict[str, tuple[int, Place]] = {}

    def dispatch(self, action: Any, now_ms: int) -> bool:
        """Log and apply what may be an action as one op, if it is plain enough."""
        if type(action) is dict:
            if len(action) != 3:
                return False
            try:
                kind = BY_NAME[action["action"]]
                path, payload = action["path"], action["payload"]
            except (KeyError, TypeError):  # it may be anything
                return False
        elif type(action) in BY_TYPE and type(action.vars) is tuple and not action.vars:
            kind, path, payload = BY_TYPE[type(action)], action.path, action.payload
        else:
            return False
        if type(path) is not str:
            return False
        replica = self._replica
        clock, number = replica.clock + 1, replica.number
        done = self._do(kind, path, payload, (clock << AUTHOR_BITS | number) << OFFSET_BITS)
        if done is None:
            return False
        name, form, up, undone = done
        log, latest, author = replica.log, replica.latest, replica.author
        log.indexes.append(clock)
        log.numbers.append(number)
        log.previous.append(latest.get(author, 0))
        log.times.append(now_ms)
        log.names.append(name)
        log.steps.append(form)
        log.payloads.append(payload)
        log.acts.append(up)
        log.undos.append(undone)
        latest[author] = replica.clock = clock
        if replica.unsaid:
            replica.tell_news(clock)
        return True

    def part(self, action: ParsedAction, code: int, trail: Trail, acts: list[Act]) -> Coded | None:
        """Apply an action inside of a Transaction, if it is plain enough; return its body.

        `code` is the next name of the op. What `apply_one` leaves is left on trail and acts.
        """
        kind, path, payload, variables = action
        if kind not in KINDS or variables != ():
            return None
        done = self._do(kind, path, payload, code)
        if done is None:
            return None
        name, form, up, undone = done
        trail.append((undo_quick, self._touched, code, form, up, undone))
        if type(form) is str:
            acts.append(new_tuple(Act, (code & OFFSET_MASK, 0, up, form, payload, None)))
            return new_tuple(Coded, (SET, name, form, 0, Side.END, 0, NO_INDEX, payload, 0))
        if undone is INSERTED:
            acts.append(new_tuple(Act, (code & OFFSET_MASK, 0, up, code, payload, None)))
        return coded_of(name, form, payload)

    def _do(self, kind: Kind, path: str, payload: Any, code: int) -> Done | None:
        """Apply an action, `code` being the name of what it makes."""
        if type(payload) is int:
            if not INTEGER_MIN <= payload <= INTEGER_MAX:
                return None
        elif not _is_plain(payload):
            return None
        if len(path) > PATH_LENGTH_MAX:
            return None
        beginning, dot, key = path.rpartition(".")
        known = self._parents.get(beginning)
        up: Place | None
        step: Any
        if dot and known is not None and known[0] == self._tree.shape and key.isidentifier():
            up, step = known[1], key
        else:
            up, step = self._aim(path)
        if up is None:
            return None
        if type(step) is int:
            return self._insert(kind, up, step, payload, code)
        if kind is SET:
            return self._set(up, step, payload, code)
        return self._calculate(kind, up, step, payload)

    # --- where ----------------------------------------------------------------------------

    def _aim(self, path: str) -> tuple[Place | None, Step]:
        """Return the container at a path but its last step, and that step; None if it is unclear.

        Indexes and simple names in quotes are read here, which is cheaper than reading all.
        """
        beginning, dot, key = path.rpartition(".")
        if dot and key.isidentifier():
            return self._parent(beginning), key
        if path[-1:] == "]":
            beginning, _, text = path[:-1].rpartition("[")
            if text.isdecimal() and text.isascii() and len(text) < 16:
                if text[0] != "0" or text == "0":
                    return self._parent(beginning), int(text)
            elif text[:1] == text[-1:] and text[0:1] in ("'", '"'):
                name = text[1:-1]
                if name.replace("-", "").isalnum():
                    return self._parent(beginning), name
        steps = singular_steps(path)
        return (self._walk(steps[:-1]), steps[-1]) if steps else (None, "")

    def _parent(self, beginning: str) -> Place | None:
        """Return the container at the beginning of a path, None if there is none."""
        known = self._parents.get(beginning)
        if known is not None and known[0] == self._tree.shape:
            return known[1]
        steps = singular_steps(beginning) if beginning != "" else ()
        if steps is None:
            return None
        place = self._walk(steps)
        # An index may mean another element at any time.
        if place is not None and all(type(step) is str for step in steps):
            remember(self._parents, beginning, (self._tree.shape, place))
        return place

    def _walk(self, steps: tuple[Step, ...]) -> Place | None:
        """Return the container at these steps, or None if there is none."""
        place = self._tree.root
        for step in steps:
            value = place.value
            if isinstance(step, int):
                if type(value) is not list or not -len(value) <= step < len(value):
                    return None
                assert place.sequence is not None
                step = place.sequence.at(step % len(value))
            elif type(value) is not dict or step not in value:
                return None
            below = self._tree.place_at(place, step)
            if below is None or below.value is None:
                return None
            place = below
        return place

    # --- what -----------------------------------------------------------------------------

    def _set(self, up: Place, key: str, payload: JsonValue, code: int) -> Done | None:
        """Set a key of a present object."""
        container = up.value
        if type(container) is not dict:
            return None
        old = container.get(key, MISSING)
        if old is MISSING:
            tree = self._tree
            if key in up.codes or tree.made >= self._applier.places_max:
                return None
            up.codes[key] = code
            tree.made += 1
            old = CREATED
        elif type(old) is dict or type(old) is list:
            return None
        container[key] = payload
        self._touched.append((up, key))
        name = up.code
        if up.up is None or up.up.revived is not None:
            name = self._name(up)
        return name, key, up, old

    def _calculate(self, kind: Kind, up: Place, key: str, payload: Any) -> Done | None:
        """Add to, or multiply, the number at a key of a present object."""
        container = up.value
        if type(container) is not dict or not (kind is ADD or kind is MULTIPLY):
            return None
        old = container.get(key)
        if type(payload) is not int and type(payload) is not float:
            return None
        if type(old) is not int and type(old) is not float:
            return None
        result = calculate(kind, old, payload)
        if result is None:
            return None
        container[key] = result
        self._touched.append((up, key))
        name = up.codes[key] if up.revived is None else self._tree.name_at(up, key)
        return name, kind, up, (key, old)

    def _insert(self, kind: Kind, up: Place, index: int, payload: Any, code: int) -> Done | None:
        """Insert into a present array, before or after an index or at its end."""
        value, sequence, tree = up.value, up.sequence, self._tree
        if type(value) is not list or sequence is None or tree.made >= self._applier.places_max:
            return None
        length = len(value)
        if index < 0 or kind is ADD or kind is MULTIPLY or (kind is SET and index != length):
            return None
        index = length if index >= length else index + (kind is INSERT_AFTER)
        beside, side, at = sequence.insert_beside(index, code, code & ~OFFSET_MASK)
        value.insert(at, payload)
        tree.made += 1
        self._touched.append((up, None))
        return self._name(up), (int(kind), beside, side, index), up, INSERTED

    def _name(self, up: Place) -> int:
        """Return what ops call a container; 0 for the root."""
        if up.up is None:
            return 0
        return up.code if up.up.revived is None else self._tree.name_of(up)


def _is_plain(payload: Any) -> bool:
    """Tell whether a payload other than an integer is a primitive that can be stored as it is."""
    kind = type(payload)
    if kind is str:
        return len(payload) <= TEXT_MAX and (payload.isascii() or _is_text(payload))
    if kind is float:
        return isfinite(payload)
    return payload is None or kind is bool


def _is_text(payload: str) -> bool:
    try:
        payload.encode()
    except UnicodeEncodeError:
        return False
    return True


def undo_quick(
    touched: list[tuple[Place, Step | None]], code: int, form: Form, up: Place, undone: Any
) -> None:
    """Take back what was done in few steps; `code` is the first name that it could give."""
    if type(form) is str:
        touched.append((up, form))
        if undone is CREATED:
            del up.value[form]
            del up.codes[form]
        else:
            up.value[form] = undone
    elif undone is INSERTED:
        sequence = up.sequence
        assert sequence is not None, "an array has its positions"
        touched.append((up, None))
        del up.value[sequence.index_of(code)]
        sequence.remove(code)
    else:
        key, old = undone
        touched.append((up, key))
        up.value[key] = old
