"""Compile actions to ops against the document of the moment, and apply them all or none.

A path that matches several places is resolved before any effect and split into one op a place.
Each op then names its place by identity (seed: Store; docs/merging.md, Targets), so what
peers replay has no paths in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cytosol.crdt.actions import DataAction, ParsedAction, parse_action
from cytosol.crdt.apply import (
    INTO_ITSELF,
    NOT_A_NUMBER,
    NOT_AN_ARRAY,
    TRANSACTION_TOO_LARGE,
)
from cytosol.crdt.inner import InnerEffects
from cytosol.crdt.log import NO_INDEX, Act, Coded
from cytosol.crdt.mutate import PATH_MISSING, Failed
from cytosol.crdt.names import OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.quick import Quick
from cytosol.crdt.replica import Replica
from cytosol.crdt.tree import Place, Slot, Step
from cytosol.crdt.undo import Trail
from cytosol.errors import ActionError, FailureError
from cytosol.limits import ARRAY_FILL_MAX, COPY_CHAIN_MAX, TRANSACTION_OPS_MAX
from cytosol.model.json import JsonValue, brief, copy_json
from cytosol.model.op import ACTION_NAMES, WRITES, Kind, Side
from cytosol.path import Target, Variables, parse_path, singular_steps

__all__ = ["Compiler", "failure_json"]

NOT_AN_INDEX: Final = "not an array index"
BEFORE_START: Final = "index is before the start of the array"
SEVERAL_PLACES: Final = "path names more than one place"
NO_SOURCE: Final = "no source: path does not exist"
ROOT: Final = "the root cannot be replaced, moved or deleted"

Emit = Callable[[Coded], None]


class Aim(NamedTuple):
    """A place that an action will act on, found before any of the action's effects.

    `container` and `step` are key or position if the place exists; otherwise the key or the
    index at which it would be. `path` is for failures.
    """

    container: Place
    step: Step
    exists: bool
    path: tuple[Step, ...]


class Compiler:
    """Turns actions into own ops of one replica."""

    __slots__ = ("_replica", "_tree", "quick")

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._tree = replica.tree
        self.quick = Quick(replica)

    def dispatch(self, action: DataAction | Mapping[str, Any], now_ms: int) -> int:
        """Log and apply an action whole; return how many ops it became.

        Raises ActionError when it is malformed and FailureError when it cannot be applied;
        nothing has changed then.
        """
        return self.quick.dispatch(action, now_ms) or self.dispatch_any(action, now_ms)

    def dispatch_any(self, action: DataAction | Mapping[str, Any], now_ms: int) -> int:
        """Do the same the general way, as if there were no `quick`."""
        kind, path, payload, variables = parse_action(action)
        if kind is Kind.TRANSACTION:
            return self._transaction(payload, now_ms)
        replica = self._replica
        start = len(replica.log)
        failures: list[dict[str, JsonValue]] = []

        def emit(body: Coded) -> None:
            try:
                replica.perform(body, now_ms)
            except Failed as failed:
                failures.append(failure_json(failed))

        try:
            self._compile((kind, path, payload, variables), emit)
        except Failed as failed:
            failures.append(failure_json(failed))
        except BaseException:
            replica.take_back(start)
            raise
        if failures:
            replica.take_back(start)
            raise FailureError(failures)
        return len(replica.log) - start

    # --- transactions -------------------------------------------------------------------

    def _transaction(self, actions: Any, now_ms: int) -> int:
        if not isinstance(actions, (list, tuple)):
            raise ActionError("the payload of a Transaction is a list of actions")
        replica = self._replica
        row = replica.start_op(now_ms, Coded(Kind.TRANSACTION, index=NO_INDEX))
        inner = InnerEffects(replica.log.op_code(row))
        replica.log.acts[row] = replica.log.undos[row] = inner
        try:
            self._run(actions, inner)
        except BaseException as error:
            inner.undo(replica.applier.mutator.touched)
            replica.finder.forget(replica.log.op_code(row))
            replica.tree.note_undone()
            replica.drop_op(row)
            if isinstance(error, Failed):
                raise FailureError([failure_json(error)]) from None
            raise
        if not inner.acts:
            replica.drop_op(row)
            return 0
        body = Coded(Kind.TRANSACTION, index=NO_INDEX, payload=inner.actions)
        replica.log.payloads[row] = body
        replica.commit_op(row)
        return 1

    def _run(self, actions: Sequence[Any], inner: InnerEffects) -> None:
        """Apply inner actions one after the other; raises ActionError and Failed."""
        op_code = inner.first >> OFFSET_BITS
        applier, forget = self._replica.applier, self._replica.finder.forget

        def emit(body: Coded) -> None:
            trail: Trail = []
            acts: list[Act] = []
            inner.base = applier.apply_one(body, op_code, inner.base, trail, acts)
            inner.add(body, acts, trail)

        start = at = self.quick.run(actions, 0, inner)
        # What is malformed is refused before anything can fail; what was done cannot.
        parsed = [_parse_inner(action) for action in actions[start:]]
        while at < len(actions):
            forget(op_code)
            self._compile(parsed[at - start], emit)
            at = self.quick.run(actions, at + 1, inner)
        forget(op_code)
        if len(inner.acts) > TRANSACTION_OPS_MAX or inner.base > OFFSET_MASK:
            raise Failed(TRANSACTION_TOO_LARGE)  # as it would everywhere else

    # --- one action ---------------------------------------------------------------------

    def _compile(self, action: ParsedAction, emit: Emit) -> None:
        """Emit one body for each place of an action; raises ActionError and Failed."""
        kind, path, payload, variables = action
        if kind in WRITES:
            payload = copy_json(payload)
        elif kind is Kind.ADD or kind is Kind.MULTIPLY:
            payload = _number(kind, payload)
        elif kind is Kind.MOVE or kind is Kind.COPY:
            self._compile_transfer(kind, path, payload, variables, emit)
            return
        aim = None if variables else self._aim_singly(kind, path)
        if aim is not None:
            emit(self._body(kind, aim, payload))
            return
        targets = self._targets(path, variables)
        if len(targets) > 1 and kind in _REPLACING:
            targets = self._outermost(kind, targets)
        # All places are found before the first effect.
        for aim in [self._aim(kind, target) for target in targets]:
            if aim is not None:
                emit(self._body(kind, aim, payload))

    def _aim_singly(self, kind: Kind, path: str) -> Aim | None:
        """Find the place of a plain path the fast way; None leaves it to the general way."""
        steps = singular_steps(path)
        if not steps:
            return None
        place = self._tree.root
        last = len(steps) - 1
        for at, step in enumerate(steps):
            value = place.value
            if isinstance(step, int):
                if type(value) is not list or step < 0:
                    return None
                if step >= len(value):
                    creates = at == last and kind in _CREATING
                    return Aim(place, step, False, steps) if creates else None
                assert place.sequence is not None
                step = place.sequence.at(step)
            elif type(value) is not dict:
                return None
            elif step not in value:
                creates = at == last and kind in _CREATING and kind not in _INSERTING
                return Aim(place, step, False, steps) if creates else None
            if at == last:
                if kind in _INSERTING and isinstance(step, str):
                    return None
                return Aim(place, step, True, steps)
            places = place.places
            if places is None or step not in places:
                return None
            place = places[step]
        return None  # pragma: no cover - the loop returns at its last step

    def _targets(self, path: str, variables: Variables) -> list[Target]:
        return parse_path(path).bind(variables).targets(self._replica.document)

    def _outermost(self, kind: Kind, targets: list[Target]) -> list[Target]:
        """Drop the targets that lie inside of another one which the action takes away."""
        wanted = {Kind.INIT_OBJECT: dict, Kind.INIT_ARRAY: list}.get(kind)
        gone: set[tuple[Step, ...]] = set()
        for target in targets:
            if not target.exists:
                continue
            if wanted is None or type(self._value(target.location)) is not wanted:
                gone.add(target.location)
        return [
            target
            for target in targets
            if not any(target.location[:end] in gone for end in range(len(target.location)))
        ]

    def _value(self, location: tuple[Step, ...]) -> Any:
        value: Any = self._replica.document
        for step in location:
            value = value[step]
        return value

    def _aim(self, kind: Kind, target: Target) -> Aim | None:
        """Find the place of a target; raises Failed. None: the action does nothing there."""
        location = target.location
        if not location:
            if kind is Kind.INIT_OBJECT:
                return None
            raise Failed(_ROOT_MESSAGES.get(kind, ROOT))
        last = location[-1]
        if target.exists:
            if kind in (Kind.INSERT_BEFORE, Kind.INSERT_AFTER) and not isinstance(last, int):
                raise Failed(NOT_AN_INDEX, list(location))
            container, step = self._tree.slot(location)
            return Aim(container, step, True, location)
        assert target.missing is not None
        parent = location[:-1]
        value = self._value(parent) if target.missing == len(parent) else None
        if isinstance(last, int) and type(value) is list:
            if last < 0:
                raise Failed(BEFORE_START, list(location))
        elif not (isinstance(last, str) and type(value) is dict):
            reached = list(location[: target.missing + 1])
            inserting = kind in (Kind.INSERT_BEFORE, Kind.INSERT_AFTER)
            clash = inserting and target.missing == len(parent) and not isinstance(last, int)
            raise Failed(NOT_AN_INDEX if clash else PATH_MISSING, reached)
        elif kind in (Kind.INSERT_BEFORE, Kind.INSERT_AFTER):
            raise Failed(NOT_AN_INDEX, list(location))
        if kind is Kind.DELETE:
            return None
        if kind in (Kind.ADD, Kind.MULTIPLY, Kind.INSERT_UNIQUE):
            raise Failed(PATH_MISSING, list(location))
        return Aim(self._tree.container(parent), last, False, location)

    def _name(self, place: Place) -> int:
        return 0 if place.up is None else self._tree.name_of(place)

    def _body(self, kind: Kind, aim: Aim, payload: JsonValue) -> Coded:
        """Return the body of an action other than Move and Copy at one place; raises Failed."""
        container, step, exists, path = aim
        tree = self._tree
        is_new = not exists and kind not in _INSERTING
        if is_new and isinstance(step, int) and step < len(container.value):
            # An earlier place of the same action has filled it meanwhile.
            assert container.sequence is not None
            exists, step = True, container.sequence.at(step)
        if kind is Kind.INSERT_UNIQUE:
            array = tree.place_at(container, step)
            if array is None or type(array.value) is not list:
                raise Failed(NOT_AN_ARRAY, list(path))
            return self._element(kind, array, len(array.value), payload)._replace(index=0)
        if kind is Kind.INSERT_BEFORE or kind is Kind.INSERT_AFTER:
            length = len(container.value)
            if exists:
                assert container.sequence is not None
                assert isinstance(step, int)
                index = container.sequence.index_of(step) + (kind is Kind.INSERT_AFTER)
            else:
                index = length
            return self._element(kind, container, min(index, length), payload)
        if exists:
            if kind is Kind.SET and isinstance(step, str):
                name = self._name(container)
                return Coded(kind, name, step, index=NO_INDEX, payload=payload)
            if kind in (Kind.ADD, Kind.MULTIPLY):
                old = tree.content(container, step)
                if type(old) is not int and type(old) is not float:
                    raise Failed(NOT_A_NUMBER, list(path))
            name = tree.name_at(container, step)
            return Coded(kind, name, index=NO_INDEX, payload=payload)
        if isinstance(step, str):
            return Coded(kind, self._name(container), step, index=NO_INDEX, payload=payload)
        fill = max(0, step - len(container.value))
        if fill > ARRAY_FILL_MAX:
            raise Failed(f"more than {ARRAY_FILL_MAX} elements would be filled", list(path))
        body = self._element(kind, container, len(container.value), payload)
        return body._replace(fill=fill, index=step)

    def _element(self, kind: Kind, array: Place, index: int, payload: JsonValue = None) -> Coded:
        """Return a body that adds an element at an index of an array, 0 <= index <= length."""
        assert array.sequence is not None, "an array has its positions"
        new = self._replica.next_code() << OFFSET_BITS  # likely; only a hint
        beside, side = array.sequence.choose_beside(index, new)
        name = self._name(array)
        return Coded(kind, name, None, beside, Side(side), 0, index, payload)

    # --- moves and copies ---------------------------------------------------------------

    def _compile_transfer(
        self, kind: Kind, path: str, payload: Any, variables: Variables, emit: Emit
    ) -> None:
        if type(payload) is not str:
            name = ACTION_NAMES[kind]
            raise ActionError(f"the payload of {name} is the path of what to take, a string")
        destinations = self._targets(path, variables)
        sources = self._targets(payload, variables)
        if not destinations and kind is Kind.COPY:
            return
        if kind is Kind.MOVE and len(destinations) != 1:
            raise Failed(SEVERAL_PLACES if destinations else PATH_MISSING)
        if len(sources) != 1:
            raise Failed(SEVERAL_PLACES if sources else NO_SOURCE)
        source = sources[0]
        if not source.exists:
            raise Failed(NO_SOURCE, list(source.location))
        if not source.location:
            raise Failed(ROOT)
        if kind is Kind.MOVE:
            if destinations[0].location == source.location:
                return
            if destinations[0].location[: len(source.location)] == source.location:
                raise Failed(INTO_ITSELF, list(source.location))
        slot = self._tree.slot(source.location)
        taken: dict[str, Any] = {"source": self._tree.name_at(*slot)}
        if kind is Kind.COPY and self._is_often_copied(slot):
            # Names of copies of copies grow; what is set is called by the op alone.
            kind, taken = Kind.SET, {"payload": copy_json(self._tree.content(*slot))}
        # A destination on the way to the source covers it, so it comes last.
        targets = self._outermost(Kind.COPY if kind is Kind.SET else kind, destinations)
        targets.sort(key=lambda to: to.location == source.location[: len(to.location)])
        for aim in [self._aim(kind, target) for target in targets]:
            assert aim is not None, "only Delete and InitObject do nothing at a target"
            emit(self._transfer(kind, aim)._replace(**taken))

    def _is_often_copied(self, slot: Slot) -> bool:
        """Tell whether a copy would give long names to what is below a place."""
        tree = self._tree
        place = tree.place_at(*slot)
        if not tree.names.pairs or place is None or place.value is None:
            return False
        limit = COPY_CHAIN_MAX // 2
        lengths = (tree.names.chain_length(tree.name_at(*inner)) for inner in tree.below(place))
        return any(length >= limit for length in lengths)

    def _transfer(self, kind: Kind, aim: Aim) -> Coded:
        """Return the body of a Move or Copy to one place, without its source; raises Failed."""
        container, step, exists, path = aim
        if isinstance(step, str):
            return Coded(kind, self._name(container), step, index=NO_INDEX)
        if exists:
            assert container.sequence is not None
            return self._element(kind, container, container.sequence.index_of(step))
        length = len(container.value)
        fill = max(0, step - length)
        if fill > ARRAY_FILL_MAX:
            raise Failed(f"more than {ARRAY_FILL_MAX} elements would be filled", list(path))
        return self._element(kind, container, length)._replace(fill=fill, index=step)


_REPLACING = frozenset({Kind.SET, Kind.DELETE, Kind.INIT_OBJECT, Kind.INIT_ARRAY})
_INSERTING = frozenset({Kind.INSERT_BEFORE, Kind.INSERT_AFTER})
_CREATING = frozenset({Kind.SET, Kind.INIT_OBJECT, Kind.INIT_ARRAY}) | _INSERTING
_ROOT_MESSAGES: dict[Kind, str] = {
    Kind.INSERT_BEFORE: NOT_AN_INDEX,
    Kind.INSERT_AFTER: NOT_AN_INDEX,
    Kind.INSERT_UNIQUE: NOT_AN_ARRAY,
    Kind.ADD: NOT_A_NUMBER,
    Kind.MULTIPLY: NOT_A_NUMBER,
}


def _parse_inner(action: Any) -> ParsedAction:
    """Return an inner action of a Transaction; raises ActionError."""
    parsed = parse_action(action)
    if parsed[0] is Kind.TRANSACTION:
        raise ActionError("a Transaction cannot stand inside another one")
    return parsed


def _number(kind: Kind, payload: Any) -> int | float:
    number = copy_json(payload)
    if type(number) is not int and type(number) is not float:
        raise ActionError(
            f"the payload of {ACTION_NAMES[kind]} must be a number, not {brief(payload)}"
        )
    return number


def failure_json(failed: Failed) -> dict[str, JsonValue]:
    """Return a failure of a dispatch as the caller sees it."""
    return {"path": list(failed.path), "message": failed.message, "id": None}
