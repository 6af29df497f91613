"""Hooks: functions from an action to an action, called before and after each read and write.

They run one after another in the order of the configs; each gets what the one before returned,
and what the last one returns is what happens. One that raises cancels the call: nothing has
happened if it was called before, everything if after. Seed: Hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

from cytosol.errors import ConfigError, GraphError
from cytosol.graph.awaiting import Turns, outcome

__all__ = ["NO_HOOKS", "Hook", "Hooks", "hooks_of", "run_hooks", "turns_of_hook"]

Hook: TypeAlias = Callable[[Any], Any]
Action = TypeVar("Action")


@dataclass(frozen=True, slots=True)
class Hooks:
    """All hooks of a graph, each kind in the order in which they run."""

    before_write: tuple[Hook, ...] = ()
    before_nodes: tuple[Hook, ...] = ()
    before_field: tuple[Hook, ...] = ()
    after_write: tuple[Hook, ...] = ()
    after_nodes: tuple[Hook, ...] = ()
    after_field: tuple[Hook, ...] = ()

    def then(self, more: Hooks) -> Hooks:
        """Return these hooks with `more` behind them."""
        return Hooks(
            *(getattr(self, each.name) + getattr(more, each.name) for each in fields(Hooks))
        )


NO_HOOKS = Hooks()

# The name in a config -> the name here. The seed writes both `read.node` and `read.nodes`.
_READ_NAMES = {"nodes": "nodes", "node": "nodes", "field": "field"}


def hooks_of(config: object) -> Hooks:
    """Return the hooks of one config: `{"before" | "after": {"write": ..., "read": {...}}}`.

    Where one function may stand, a list of them may. Raises ConfigError for a name that is
    unknown and for what is no function: a misspelt hook must not go unnoticed.
    """
    found: dict[str, tuple[Hook, ...]] = {}
    for when, group in _members(config, "hooks", ("before", "after")):
        for name, entry in _members(group, f"hooks.{when}", ("write", "read")):
            if name == "write":
                found[f"{when}_write"] = _functions(entry, f"hooks.{when}.write")
                continue
            where = f"hooks.{when}.read"
            for what, inner in _members(entry, where, tuple(_READ_NAMES)):
                kind = f"{when}_{_READ_NAMES[what]}"
                found[kind] = found.get(kind, ()) + _functions(inner, f"{where}.{what}")
    return Hooks(**found)


def _members(group: object, where: str, known: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not isinstance(group, Mapping):
        raise ConfigError(
            f"`{where}` must be a mapping with {_listed(known)}, not {type(group).__name__}"
        )
    for name, entry in group.items():
        if name not in known:
            raise ConfigError(f"`{where}` has no place for {name!r}; it takes {_listed(known)}")
        yield name, entry


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _functions(entry: object, where: str) -> tuple[Hook, ...]:
    functions = tuple(entry) if isinstance(entry, (list, tuple)) else (entry,)
    for function in functions:
        if not callable(function):
            raise ConfigError(
                f"`{where}` must be a function or a list of functions, "
                f"not {type(function).__name__}"
            )
    return functions


# --- Running ------------------------------------------------------------------------------


class _Mark:
    """Hooks that are running: for which graph, and inside which others."""

    __slots__ = ("graph", "is_running", "outer", "turns")

    def __init__(self, graph: object, outer: _Mark | None) -> None:
        self.graph = graph
        self.outer = outer
        self.is_running = True
        self.turns = Turns()


_running: ContextVar[_Mark | None] = ContextVar("cytosol_graph_hook", default=None)


def turns_of_hook(graph: object) -> Turns | None:
    """Return the turns for what a hook writes to `graph` before a write to it; else None.

    A hook's writes cannot wait until the write is done that waits for the hook.
    """
    mark = _running.get()
    while mark is not None:
        if mark.graph is graph and mark.is_running:
            return mark.turns
        mark = mark.outer
    return None


@contextmanager
def _as_hook(mark: _Mark | None) -> Iterator[None]:
    token = _running.set(mark)
    try:
        yield
    finally:
        _running.reset(token)


async def run_hooks(
    hooks: Iterable[Hook],
    action: Action,
    where: str,
    checked: Callable[[Action], Action],
    graph: object = None,
) -> Action:
    """Call the hooks in order and return the last one's action.

    `checked` makes each result what the next hook may rely on. With `graph`, what hooks write
    to it goes ahead of the write that waits for them. Raises what a hook or `checked` raises,
    GraphError if a hook returns anything but an action of the same kind.
    """
    kind = type(action)
    mark = None if graph is None else _Mark(graph, _running.get())
    try:
        for hook in hooks:
            # The mark must not stay in the caller's context while nothing of the hook runs.
            with _as_hook(mark):
                result = hook(action)
            result = await outcome(_Marked(result, mark) if _waits(result) else result)
            if type(result) is not kind:
                raise _not_an_action(hook, where, kind.__name__, result)
            action = checked(result)
    except Exception:
        await _end(mark)
        raise
    finally:
        if mark is not None:  # also if all is cancelled
            mark.is_running = False
    await _end(mark)
    return action


async def _end(mark: _Mark | None) -> None:
    """Wait for what the hooks have written and not awaited; what they write later must queue."""
    if mark is not None:
        mark.is_running = False
        if not mark.turns.is_free:
            await mark.turns.take()


def _waits(result: object) -> bool:
    return hasattr(type(result), "__await__")


class _Marked:
    """Await something as a hook."""

    __slots__ = ("inner", "mark")

    def __init__(self, inner: Any, mark: _Mark | None) -> None:
        self.inner = inner
        self.mark = mark

    def __await__(self) -> Any:
        return self._run().__await__()

    async def _run(self) -> Any:
        with _as_hook(self.mark):
            return await self.inner


def _not_an_action(hook: Hook, where: str, kind: str, result: object) -> GraphError:
    name = getattr(hook, "__qualname__", None) or repr(hook)
    got = "nothing" if result is None else f"an object of type {type(result).__name__}"
    return GraphError(
        f"the hook {name} of `{where}` returned {got}: a hook must return the {kind} that shall "
        "happen, for example the one it was given or `dataclasses.replace(action, ...)`"
    )
