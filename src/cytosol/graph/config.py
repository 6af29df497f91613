"""What a graph is made of besides its data: hooks, storage, network, router, extensions, engines.

Several configs become one: later ones extend earlier ones. Nothing that a config says is
dropped without a word (spec: graph, Config and plugins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from cytosol.errors import ConfigError, GraphError
from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.hooks import NO_HOOKS, Hooks, hooks_of

__all__ = [
    "Config",
    "check_extensions",
    "checked_network",
    "checked_storage",
    "is_router",
    "merged_config",
]

Engine: TypeAlias = Callable[..., Any]

KEYS = ("hooks", "storage", "network", "router", "extend", "engines")
# The seed calls graphs "root" and nodes "context".
EXTENDED = {"graph": "graph", "root": "graph", "node": "node", "context": "node"}


@dataclass(frozen=True, slots=True)
class Config:
    """All configs of a graph as one; `storage`, `network` and `router` are None for none."""

    hooks: Hooks = NO_HOOKS
    storage: Any = None
    network: ConnectionGroup | None = None
    router: Any = None
    graph_extensions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    node_extensions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    engines: Mapping[str, Engine] = field(default_factory=dict)

    def without_plugins(self) -> Config:
        """Return what a branch shares with its source: all but storage, network and router."""
        return replace(self, storage=None, network=None, router=None)


def merged_config(configs: tuple[object, ...]) -> Config:
    """Return the configs as one.

    Hooks append in order, networks join into one group that follows its parts, extensions and
    engines go by name and the later wins. Raises ConfigError for unknown keys, for what is no
    config, for a second storage and for a second router.
    """
    config = Config()
    for given in configs:
        config = _extended(config, given)
    return config


def _extended(config: Config, given: object) -> Config:
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"a config must be a mapping with some of {_listed(KEYS)}, not {type(given).__name__}"
        )
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"a config has no key {key!r}; the keys are {_listed(KEYS)}")
    if "hooks" in given:
        config = replace(config, hooks=config.hooks.then(hooks_of(given["hooks"])))
    for key, check in (("storage", _checked_storage), ("router", _checked_router)):
        if given.get(key) is not None:
            if getattr(config, key) is not None:
                raise ConfigError(
                    f"two configs name a {key}, and a graph takes one: leave out one of them, "
                    f"or write a {key} that uses both"
                )
            changed: dict[str, Any] = {key: check(given[key])}
            config = replace(config, **changed)
    if given.get("network") is not None:
        config = replace(config, network=_joined(config.network, given["network"]))
    if "extend" in given:
        config = _with_extensions(config, given["extend"])
    if "engines" in given:
        engines = _functions(given["engines"], "engines")
        config = replace(config, engines={**config.engines, **engines})
    return config


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _checked_storage(storage: object) -> object:
    missing = [name for name in ("read", "write") if not callable(getattr(storage, name, None))]
    if missing or isinstance(storage, type):
        what = f"the class {storage.__name__}" if isinstance(storage, type) else repr(storage)
        raise ConfigError(
            f"{what} is no storage: a storage is an object with methods read(action) and "
            "write(action), and remove(action) if it wants to hear of deleted nodes"
        )
    return storage


def checked_storage(storage: object) -> object:
    """Return `storage` if it is a storage or None. Raises ConfigError."""
    return None if storage is None else _checked_storage(storage)


def _checked_router(router: object) -> object:
    if not callable(router) and not is_router(router):
        raise ConfigError(
            f"{router!r} is no router: a router is an object with methods push(action) and "
            "pull(action), or a function `router(graph, config)` that returns one"
        )
    return router


def is_router(router: object) -> bool:
    """Tell whether `router` has what a router must have."""
    return all(callable(getattr(router, name, None)) for name in ("push", "pull"))


def _joined(group: ConnectionGroup | None, network: Any) -> ConnectionGroup:
    more = checked_network(network)
    return more if group is None else group.union(more)


def checked_network(network: Any) -> ConnectionGroup:
    """Return a group as it is, one connection as a group. Raises ConfigError for others."""
    if isinstance(network, (list, tuple)):
        raise ConfigError(
            "`network` is a connection or a ConnectionGroup: write ConnectionGroup(*connections)"
        )
    try:
        return ConnectionGroup.ensure(network)
    except GraphError as error:
        raise ConfigError(f"`network` cannot be used: {error}") from None


def _with_extensions(config: Config, extend: object) -> Config:
    if not isinstance(extend, Mapping):
        raise ConfigError(
            f"`extend` must be a mapping with `graph` and `node`, not {type(extend).__name__}"
        )
    for name, functions in extend.items():
        kind = EXTENDED.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ConfigError(f"`extend` has no place for {name!r}; it takes `graph` and `node`")
        slot = f"{kind}_extensions"
        added = _functions(functions, f"extend.{name}")
        changed: dict[str, Any] = {slot: {**getattr(config, slot), **added}}
        config = replace(config, **changed)
    return config


def _functions(given: object, where: str) -> dict[str, Callable[..., Any]]:
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"`{where}` must be a mapping from names to functions, not {type(given).__name__}"
        )
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise ConfigError(
                f"`{where}` must map names to functions; {name!r} is given {function!r}"
            )
    return dict(given)


def check_extensions(functions: Mapping[str, Any], target: object, where: str) -> None:
    """Raise ConfigError if an extension would hide what `target` has, or cannot be called."""
    for name in functions:
        if not name.isidentifier() or name.startswith("_"):
            raise ConfigError(
                f"`extend.{where}` cannot add {name!r}: it must be the name of a method that does "
                "not begin with an underscore"
            )
        if hasattr(target, name):
            raise ConfigError(
                f"`extend.{where}` cannot add {name!r}: every {where} has that already; "
                "choose another name"
            )
