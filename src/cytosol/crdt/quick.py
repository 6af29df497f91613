"""The most frequent own writes in few steps: a primitive set, deleted, added to, or inserted.

Each repeats rules that `actions`, `compile` and `apply` have in general, for a plain path to a
place where nothing special stands. A property test compares both ways; whatever a function here
returns None or False for has not been touched and goes the general way, which also says what is
wrong.
"""

from __future__ import annotations

from array import array
from collections.abc import Container
from math import isfinite
from struct import pack
from typing import TYPE_CHECKING, Any, Final

from cytosol.crdt.actions import Add, Delete, InsertAfter, InsertBefore, Multiply, Set
from cytosol.crdt.calculate import calculate
from cytosol.crdt.late import FAR, LateInserts
from cytosol.crdt.log import NO_INDEX, Coded, Form, share_keys
from cytosol.crdt.names import AUTHOR_BITS, OFFSET_BITS
from cytosol.crdt.tree import MISSING, Place, Step
from cytosol.limits import INTEGER_MAX, INTEGER_MIN, PATH_LENGTH_MAX
from cytosol.model.op import ACTION_NAMES, Kind, Side
from cytosol.path import singular_steps
from cytosol.path.cache import remember

if TYPE_CHECKING:
    from cytosol.crdt.inner import InnerEffects
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
SET, ADD, DELETE = Kind.SET, Kind.ADD, Kind.DELETE

BY_TYPE: Final[dict[Any, Kind]] = {
    action: action.kind for action in (Set, Delete, Add, Multiply, InsertBefore, InsertAfter)
}
BY_NAME: Final[dict[Any, Kind]] = {
    ACTION_NAMES[kind]: kind for kind in BY_TYPE.values() if kind is not DELETE
}
INSERTS: Final = {kind: int(kind) for kind in (SET, Kind.INSERT_BEFORE, Kind.INSERT_AFTER)}
NUMBERS: Final = frozenset({int, float})
INSERT_AFTER: Final = int(Kind.INSERT_AFTER)
NEXT_OP: Final = 1 << AUTHOR_BITS << OFFSET_BITS  # from a name to the same one of our next op
LEFT_MAX: Final = 512  # rows that are left to be logged together
LEFT_FEW: Final = 8  # so many are logged one by one
LEFT_WIDTH: Final = 6  # time, name, form, payload, and what the log has in `acts` and `undos`
NO_VARIABLES: Final = ()

new_tuple = tuple.__new__  # makes a NamedTuple from all its fields in half the time

Known = tuple[Any, Place, int]
"""A container that is present: the native one, its Place, and what ops call it (0: the root)."""

Done = tuple[int, Form, Any, Any, Any]
"""Name, form and payload of what was done, and what the log has in `acts` and `undos` for it."""


class Quick:
    """Does what it can of the actions on one replica.

    `dispatch` logs what it does. Between `begin` and `settle`, when nothing else may look at the
    log or write, `write` leaves that to `settle`: many rows take less than half of the time then.
    Where inserts may lag, native lists show some of them only once `late` was settled.
    """

    __slots__ = (
        "_applier",
        "_arrays",
        "_code",
        "_lags",
        "_left",
        "_left_max",
        "_objects",
        "_quiet",
        "_replica",
        "_shape",
        "_touched",
        "_tree",
        "late",
    )

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._tree = replica.tree
        self._applier = replica.applier
        self._touched = replica.applier.mutator.touched
        self._shape = 0  # of the tree for which these were noted, by the beginnings of paths
        self._objects: dict[str, Known] = {}
        self._arrays: dict[str, Known] = {}
        self._left: list[Any] = []  # what is not logged yet; flat, so that no row is an object
        self._left_max = 0  # items; none without `begin`
        self._code = 0  # the first name of the next op that is left
        self._quiet: Container[Any] | None = None
        self._lags = False
        self.late = LateInserts()

    def dispatch(self, action: Any, now_ms: int, lags: bool = False) -> bool:
        """Log and apply what may be an action as one op, if it is plain enough.

        With `lags`, whoever looks at the document next has to settle what is `late`.
        """
        self._lags = lags
        replica = self._replica
        clock, number = replica.clock + 1, replica.number
        done = self._do(action, (clock << AUTHOR_BITS | number) << OFFSET_BITS)
        if done is None:
            return False
        name, form, payload, act, undone = done
        log, latest, author = replica.log, replica.latest, replica.author
        log.indexes.append(clock)
        log.numbers.append(number)
        log.previous.append(latest.get(author, 0))
        log.times.append(now_ms)
        log.names.append(name)
        log.steps.append(form)
        log.payloads.append(payload)
        log.acts.append(act)
        log.undos.append(undone)
        latest[author] = replica.clock = clock
        if replica.unsaid:
            replica.tell_news(clock)
        return True

    def run(self, actions: Any, start: int, inner: InnerEffects) -> int:
        """Apply the actions of a Transaction from one on, as long as they are plain enough.

        Returns which one is not, or how many there are.
        """
        self._lags = False
        do, first, base = self._do, inner.first, inner.base
        names, forms, payloads = inner.actions.names, inner.actions.forms, inner.actions.payloads
        acts, undos = inner.acts, inner.undos
        at = start
        for at in range(start, len(actions)):
            done = do(actions[at], first + base)
            if done is None:
                break
            name, form, payload, act, undone = done
            names.append(name)
            forms.append(form)
            payloads.append(payload)
            acts.append(act)
            undos.append(undone)
            if type(form) is str or type(form) is tuple:
                base += 1  # a primitive takes one number
        else:
            at = len(actions)
        inner.base = base
        return at

    # --- writing now, logging later -------------------------------------------------------

    def begin(self, room: int, quiet: Container[Any] | None) -> bool:
        """Let `write` leave up to so many rows to `settle`; False if that cannot be now.

        With `quiet` it writes to these containers only. What it touches is not noted, and inserts
        may lag.
        """
        replica = self._replica
        if room <= 0 or replica.unsaid:  # the next op has to tell what was seen of others
            return False
        self._left_max = min(room, LEFT_MAX) * LEFT_WIDTH
        self._quiet = quiet
        self._lags = True
        self._code = replica.next_code() << OFFSET_BITS
        self._forget_moved()
        return True

    def write(self, action: Any, now_ms: int) -> bool:
        """Do what may be an action as `dispatch` does, but do not log it yet."""
        left, code = self._left, self._code
        if len(left) >= self._left_max:
            return False
        # The most frequent of all first: what `_do` does, with as few calls as may be.
        if type(action) is dict:
            try:
                if len(action) != 3:
                    return self._leave(self._do(action, code), now_ms)
                kind = BY_NAME[action["action"]]
                path, payload = action["path"], action["payload"]
            except (KeyError, TypeError):  # it may be anything
                return False
        elif type(action) in BY_TYPE and action.vars is NO_VARIABLES:
            kind, path, payload = BY_TYPE[type(action)], action.path, action.payload
        else:
            return False
        if type(path) is not str or len(path) > PATH_LENGTH_MAX:
            return False
        if type(payload) is int:
            if not INTEGER_MIN <= payload <= INTEGER_MAX:
                return False
        elif not _is_plain(payload):
            return False
        beginning, _, key = path.rpartition(".")
        known = self._objects.get(beginning)
        if known is None or not key.isidentifier():
            beginning, _, text = path[:-1].rpartition("[")
            known = self._arrays.get(beginning)
            if known is None or path[-1] != "]" or not _is_index(text):
                return self._leave(self._do(action, code), now_ms)
            return self._leave(self._insert(kind, known, int(text), payload, code), now_ms)
        if kind is not SET:
            return self._leave(self._change(kind, known, key, payload), now_ms)
        container, up, name = known
        if self._quiet is not None and up not in self._quiet:
            return False
        old = container.get(key, MISSING)
        if old is MISSING:
            if key in up.codes or self._tree.made >= self._applier.places_max:
                return False
            up.codes[key] = code
            self._tree.made += 1
            old = CREATED
        elif type(old) is dict or type(old) is list:
            return False
        container[key] = payload
        left += (now_ms, name, key, payload, up, old)
        self._code = code + NEXT_OP
        return True

    def _leave(self, done: Done | None, now_ms: int) -> bool:
        """Leave what was done to `settle`, if anything was."""
        if done is None:
            return False
        self._touched.clear()
        self._left += (now_ms, *done)
        self._code += NEXT_OP
        return True

    def settle(self) -> None:
        """Log what `write` has done, which does nothing more until the next `begin`."""
        self._left_max = 0
        self._quiet = None
        left = self._left
        if not left:
            return
        log, latest, author = self._replica.log, self._replica.latest, self._replica.author
        rows, had, before = len(log.indexes), latest.get(author, 0), self._replica.clock
        try:
            self._log_left(left)
            left.clear()
        except BaseException:  # Ctrl-C: all of it is logged the next time
            if left:  # pragma: no branch - else it came when all was done
                log.shorten(rows)
                self._replica.clock = before
                latest[author] = had
            raise

    def _log_left(self, left: list[Any]) -> None:
        replica = self._replica
        log, latest, author, number = replica.log, replica.latest, replica.author, replica.number
        previous, before, count = latest.get(author, 0), replica.clock, len(left) // LEFT_WIDTH
        if count < LEFT_FEW:
            for row in range(count):
                index = before + row + 1
                now_ms, *rest = left[row * LEFT_WIDTH : (row + 1) * LEFT_WIDTH]
                log.append_applied(index, number, previous, now_ms, *rest)
                previous = index
        else:
            # An array takes numbers one by one three times as slowly.
            indexes = array("q", pack(f"{count}q", *range(before + 1, before + count + 1)))
            times, names, forms, *rest = (left[at::LEFT_WIDTH] for at in range(LEFT_WIDTH))
            log.extend_applied(
                indexes,
                array("H", (number,)) * count,
                array("q", (previous,)) + indexes[:-1],
                array("q", pack(f"{count}q", *times)),
                names,
                forms if CREATED in (rest[-1][0], rest[-1][-1]) else share_keys(forms),
                *rest,
            )
        latest[author] = replica.clock = before + count

    # --- one action -----------------------------------------------------------------------

    def _do(self, action: Any, code: int) -> Done | None:
        """Apply what may be an action, `code` being the name of what it makes."""
        if type(action) is dict:
            try:
                if len(action) == 3:
                    kind = BY_NAME[action["action"]]
                    path, payload = action["path"], action["payload"]
                elif len(action) == 2 and action["action"] == "Delete":
                    kind, path, payload = DELETE, action["path"], None
                else:
                    return None
            except (KeyError, TypeError):  # it may be anything
                return None
        elif type(action) in BY_TYPE and action.vars is NO_VARIABLES:
            kind, path, payload = BY_TYPE[type(action)], action.path, action.payload
        else:
            return None
        if type(path) is not str or len(path) > PATH_LENGTH_MAX:
            return None
        if type(payload) is int:
            if not INTEGER_MIN <= payload <= INTEGER_MAX:
                return None
        elif not _is_plain(payload):
            return None
        tree = self._tree
        if self._shape != tree.shape:
            self._forget_moved()
        beginning, _, key = path.rpartition(".")
        known = self._objects.get(beginning)
        if known is None or not key.isidentifier():
            beginning, _, text = path[:-1].rpartition("[")
            known = self._arrays.get(beginning)
            if known is not None and path[-1] == "]" and _is_index(text):
                return self._insert(kind, known, int(text), payload, code)
            aim = self._aim(path)
            if aim is None:
                return None
            known, step = aim
            if type(step) is int:
                return self._insert(kind, known, step, payload, code)
            key = step  # type: ignore[assignment]  # an object has keys only
        if kind is not SET:
            return self._change(kind, known, key, payload)
        container, up, name = known
        if self._quiet is not None and up not in self._quiet:
            return None
        old = container.get(key, MISSING)
        if old is MISSING:
            if key in up.codes or tree.made >= self._applier.places_max:
                return None
            up.codes[key] = code
            tree.made += 1
            old = CREATED
        elif type(old) is dict or type(old) is list:
            return None
        container[key] = payload
        self._touched.append((up, key))
        return name, key, payload, up, old

    def _change(self, kind: Kind, known: Known, key: str, payload: Any) -> Done | None:
        """Add to, multiply or delete what stands at a key of a present object."""
        container, up, _ = known
        if self._quiet is not None and up not in self._quiet:
            return None
        old = container.get(key, MISSING)
        result: int | float | None = None
        if kind is ADD and type(old) is int and type(payload) is int:
            result = old + payload
            if not INTEGER_MIN <= result <= INTEGER_MAX:
                return None
        elif kind is DELETE:
            if old is MISSING or type(old) is dict or type(old) is list:
                return None
        else:
            if kind in INSERTS or type(old) not in NUMBERS or type(payload) not in NUMBERS:
                return None
            result = calculate(kind, old, payload)
            if result is None:
                return None
        name = up.codes[key] if up.revived is None else self._tree.name_at(up, key)
        self._touched.append((up, key))
        if kind is DELETE:
            del container[key]
            body = new_tuple(Coded, (DELETE, name, None, 0, Side.END, 0, NO_INDEX, None, 0))
            undone = [(self._touched.append, (up, key)), (container.__setitem__, key, old)]
            return 0, None, body, [], undone
        container[key] = result
        return name, kind, payload, up, (key, old)

    def _insert(self, kind: Kind, known: Known, index: int, payload: Any, code: int) -> Done | None:
        """Insert into a present array, before or after an index or at its end."""
        value, up, name = known
        number, sequence, tree = INSERTS.get(kind), up.sequence, self._tree
        assert sequence is not None, "an array has its positions"
        length = sequence.shown
        if self._quiet is not None and up not in self._quiet:
            return None
        if number is None or index < 0 or tree.made >= self._applier.places_max:
            return None
        if index >= length:
            if kind is SET and index != length:
                return None
            index = length
        elif number == INSERT_AFTER:
            index += 1
        elif kind is SET:
            return None
        beside, side, at = sequence.insert_beside(index, code)
        if length < FAR or (length - at < FAR and not self.late):
            value.insert(at, payload)
        else:
            self.late.insert(value, at, payload, self._lags)
        tree.made += 1
        self._touched.append((up, None))
        return name, (number, beside, side, index), payload, up, INSERTED

    # --- where ----------------------------------------------------------------------------

    def _forget_moved(self) -> None:
        """Forget what was remembered of paths if containers may have come, gone or moved."""
        if self._shape != self._tree.shape:
            self._shape = self._tree.shape
            self._objects.clear()
            self._arrays.clear()

    def _aim(self, path: str) -> tuple[Known, Step] | None:
        """Return the container at a path but its last step, and that step; None if it is unclear.

        Indexes and simple names in quotes are read here, which is cheaper than reading all.
        """
        step: Step | None = None
        kind: type = dict
        if path[-1:] == "]":
            beginning, _, text = path[:-1].rpartition("[")
            if _is_index(text):
                step, kind = int(text), list
            elif text[:1] == text[-1:] and text[:1] in ("'", '"'):
                name = text[1:-1]
                step = name if name.replace("-", "").isalnum() else None
        else:
            beginning, dot, key = path.rpartition(".")
            if dot and key.isidentifier():
                step = key
        if step is None:
            steps = singular_steps(path)
            if not steps:
                return None
            step = steps[-1]
            known = self._look_up(steps[:-1], dict if type(step) is str else list)
        else:
            cache = self._objects if kind is dict else self._arrays
            known = cache.get(beginning)
            if known is None:
                known = self._remember(cache, beginning, kind)
        return None if known is None else (known, step)

    def _remember(self, cache: dict[str, Known], beginning: str, kind: type) -> Known | None:
        """Return the container at the beginning of a path, and remember it."""
        steps = singular_steps(beginning) if beginning != "" else ()
        if steps is None:
            return None
        known = self._look_up(steps, kind)
        # An index may mean another element at any time, and "" may be the beginning of anything.
        if known is not None and beginning and all(type(step) is str for step in steps):
            remember(cache, beginning, known)
        return known

    def _look_up(self, steps: tuple[Step, ...], kind: type) -> Known | None:
        """Return the container of a kind at these steps, or None if there is none."""
        place = self._tree.root
        for step in steps:
            value = place.value
            if isinstance(step, int):
                sequence = place.sequence  # there is one, too, where an array was replaced
                length = sequence.shown if sequence is not None and type(value) is list else 0
                if sequence is None or not -length <= step < length:
                    return None
                step = sequence.at(step % length)
            elif type(value) is not dict or step not in value:
                return None
            below = self._tree.place_at(place, step)
            if below is None or below.value is None:
                return None
            place = below
        if type(place.value) is not kind:
            return None
        return place.value, place, 0 if place.up is None else self._tree.name_of(place)


def _is_index(text: str) -> bool:
    """Tell whether a text in brackets is surely an index, counted from the start."""
    return (
        text.isdecimal() and text.isascii() and len(text) < 16 and (text[0] != "0" or text == "0")
    )


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
