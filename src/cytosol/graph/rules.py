"""Who may read and write what: routes by key pattern with rules, for the router.

A rule is `True`, `False` or a function of `(identity, key, patch)`, plain or async: `identity` is
what the server's `authenticate` returned for the connection (None where nobody asked), `patch`
is None for reading. Only `True` allows; whatever else comes back denies, and so does a rule that
raises. Rules are asked before the graph is, so that a refusal cannot tell what is in it (seed:
Mytosis, Security; spec: graph, Router).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cytosol.errors import ConfigError
from cytosol.graph.connection import report
from cytosol.graph.node import Node
from cytosol.graph.pointer import DELETED

__all__ = ["Kind", "Patch", "Route", "Rule", "Rules", "patch_of"]

Kind: TypeAlias = Literal["read", "write"]
Identity: TypeAlias = Any
"""Whatever `authenticate` returned; None where there was no authentication."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What somebody asks to write to one node.

    `fields` has every field that is touched, with its new value; None for one that is to be
    deleted, which `deletes` names. `deletes_node` tells that the whole node is to be deleted:
    a rule that looks at fields only must look at this, too.
    """

    fields: Mapping[str, Any]
    deletes: frozenset[str] = frozenset()
    deletes_node: bool = False


Rule: TypeAlias = bool | Callable[[Identity, str, Patch | None], bool | Awaitable[bool]]


def patch_of(node: Node) -> Patch:
    """Return what a detached node asks for."""
    fields, deletes = {}, []
    for field, (value, _) in node.entries.items():
        if value is DELETED:
            deletes.append(field)
            value = None
        fields[field] = value
    return Patch(fields, frozenset(deletes), bool(node.gone.index))


@dataclass(frozen=True, slots=True)
class Route:
    """The rules for all keys that match `pattern`; what is not allowed is denied.

    `*` in a pattern stands for any text, also for none and also across `/`; everything else
    stands for itself. Raises ConfigError for a rule that is neither a bool nor a function.
    """

    pattern: str
    allow_read: Rule = False
    allow_write: Rule = False

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str) or not self.pattern:
            raise ConfigError(
                f'the pattern of a route is a text such as "books/*", not {self.pattern!r}'
            )
        for name in ("allow_read", "allow_write"):
            rule = getattr(self, name)
            if not isinstance(rule, bool) and not callable(rule):
                raise ConfigError(
                    f"`{name}` of the route {self.pattern!r} must be True, False or a function "
                    f"of (identity, key, patch), not {rule!r}"
                )

    def matches(self, key: str) -> bool:
        """Tell whether the route is for `key`; in linear time for all practical patterns."""
        first, *others = self.pattern.split("*")
        if not others:
            return key == first
        last = others.pop()
        end = len(key) - len(last)
        if not key.startswith(first) or not key.endswith(last) or end < len(first):
            return False
        at = len(first)
        for part in others:  # the leftmost place is always as good as any other
            at = key.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


class Rules:
    """Routes in the order in which they are tried: the first that matches decides."""

    __slots__ = ("_default", "_routes", "allow_all")

    def __init__(
        self, routes: Iterable[Route] | None = None, default: Literal["allow", "deny"] | None = None
    ) -> None:
        self._routes = tuple(routes or ())
        for route in self._routes:
            if not isinstance(route, Route):
                raise ConfigError(f"routes must be Route objects, not {route!r}")
        if default is None:  # who names routes means to keep the rest closed
            default = "allow" if routes is None else "deny"
        if default not in ("allow", "deny"):
            raise ConfigError(f'the default of routes is "allow" or "deny", not {default!r}')
        self._default = default == "allow"
        self.allow_all = self._default and not self._routes
        """Whether there is nothing to ask."""

    async def allow(
        self, kind: Kind, identity: Identity, nodes: Iterable[tuple[str, Patch | None]]
    ) -> bool:
        """Tell whether all of `nodes` are allowed; every one is looked at, whatever comes out."""
        verdict = True
        for key, patch in nodes:
            verdict &= await self.allows(kind, identity, key, patch)
        return verdict

    async def allows(
        self, kind: Kind, identity: Identity, key: str, patch: Patch | None = None
    ) -> bool:
        """Tell whether one node is allowed to be read, or written as `patch` says."""
        route = next((route for route in self._routes if route.matches(key)), None)
        if route is None:
            return self._default
        rule = route.allow_read if kind == "read" else route.allow_write
        if isinstance(rule, bool):
            return rule
        try:
            verdict = rule(identity, key, patch)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:  # a mistake in a rule must not open the door
            report(error, f"a rule of the route {route.pattern!r} raised, which denies")
            return False
        return verdict is True
