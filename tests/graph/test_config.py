"""Several configs become one, and nothing that they say is dropped without a word."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol import ConfigError, Graph, GraphError
from cytosol.graph import ConnectionGroup, MemoryStorage, Stream
from tests.graph.case_names import case_name
from tests.graph.running import run


class Wire:
    """A connection that leads nowhere."""

    type = "wire"

    def __init__(self, name: str) -> None:
        self.id = name
        self.sent: list[Any] = []
        self.messages: Stream[Any] = Stream(lambda emit: None)

    def send(self, message: Any) -> None:
        self.sent.append(message)


class Quiet:
    """A router that does nothing."""

    def push(self, action: Any) -> None: ...

    def pull(self, action: Any) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "mapping"),
        ([], "mapping"),
        ("hooks", "mapping"),
        ({"hook": {}}, "'hook'"),
        ({5: {}}, "5"),
        ({"hooks": None}, "hooks"),
        ({"hooks": {"befor": {}}}, "'befor'"),
        ({"hooks": {"before": None}}, "hooks.before"),
        ({"hooks": {"before": {"writes": print}}}, "'writes'"),
        ({"hooks": {"before": {"read": print}}}, "hooks.before.read"),
        ({"hooks": {"before": {"read": {"fields": print}}}}, "'fields'"),
        ({"hooks": {"after": {"write": "f"}}}, "hooks.after.write"),
        ({"hooks": {"after": {"write": [print, 5]}}}, "hooks.after.write"),
        ({"storage": object()}, "no storage"),
        ({"storage": MemoryStorage}, "no storage"),
        ({"router": 5}, "no router"),
        ({"router": lambda graph, config: None}, "no router"),
        ({"network": object()}, "network"),
        ({"network": [Wire("a")]}, "ConnectionGroup"),
        ({"extend": None}, "extend"),
        ({"extend": {"nodes": {}}}, "'nodes'"),
        ({"extend": {"graph": {"f": 5}}}, "'f'"),
        ({"extend": {"graph": {"read": print}}}, "'read'"),
        ({"extend": {"graph": {"_backing": print}}}, "_backing"),
        ({"extend": {"graph": {"not a name": print}}}, "not a name"),
        ({"extend": {"node": {"value": print}}}, "'value'"),
        ({"extend": {"node": {"key": print}}}, "'key'"),
        ({"engines": None}, "engines"),
        ({"engines": {"e": 5}}, "'e'"),
    ],
    ids=case_name,
)
def test_what_a_config_cannot_say_is_refused(config: Any, says: str) -> None:
    """With an error that names the place."""
    with pytest.raises(ConfigError, match=says):
        Graph(config)


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    """So that a slip of the pen is found at once."""
    with pytest.raises(ConfigError, match="`hooks`, `storage`, `network`, `router`, `extend`"):
        Graph({"storages": MemoryStorage()})


@pytest.mark.parametrize("key", ["storage", "router"])
def test_there_is_one_storage_and_one_router(key: str) -> None:
    """Also if the second is the same object; one config after them changes nothing."""
    plugin = MemoryStorage() if key == "storage" else Quiet()
    with pytest.raises(ConfigError, match=f"two configs name a {key}"):
        Graph({key: plugin}, {"hooks": {}}, {key: plugin})


def test_later_configs_keep_what_earlier_ones_named() -> None:
    """A config that says nothing about storage, network or router drops none of them."""

    async def story() -> None:
        storage, router, wire = MemoryStorage(), Quiet(), Wire("a")
        graph = Graph({"storage": storage, "router": router, "network": wire}, {}, {"extend": {}})
        await graph.write("n", {"a": 1})
        assert ["n"] == list(storage.records)
        assert graph.router is router
        assert graph.network is not None
        assert [wire] == list(graph.network)

    run(story())


def test_none_is_as_good_as_no_plugin() -> None:
    """As in a config that is built by a program."""
    graph = Graph({"storage": None, "router": None, "network": None}, {"storage": MemoryStorage()})
    assert graph.router is None
    assert graph.network is None


def test_networks_join_into_one_group_that_follows_them() -> None:
    """Single connections and groups; what a group gets later belongs to it, too."""
    group = ConnectionGroup(Wire("b"))
    graph = Graph({"network": Wire("a")}, {"network": group})
    assert graph.network is not None
    assert {"a", "b"} == {wire.id for wire in graph.network}
    group.add(Wire("c"))
    assert {"a", "b", "c"} == {wire.id for wire in graph.network}


def test_hooks_run_in_the_order_of_the_configs() -> None:
    """And in the order of a list."""

    async def story() -> None:
        seen: list[str] = []

        def hook(name: str) -> Any:
            return lambda action: (seen.append(name), action)[1]

        graph = Graph(
            {"hooks": {"before": {"write": [hook("a"), hook("b")]}}},
            {"hooks": {"before": {"write": hook("c")}, "after": {"write": hook("d")}}},
        )
        await graph.write("n", {})
        assert ["a", "b", "c", "d"] == seen

    run(story())


def test_extensions_and_engines_go_by_name_and_the_later_wins() -> None:
    """Under the seed's names, too."""

    async def story() -> None:
        graph: Any = Graph(
            {"extend": {"root": {"one": lambda g: "1a", "two": lambda g: "2a"}}},
            {"extend": {"graph": {"two": lambda g: "2b"}, "context": {"name": str}}},
            {"engines": {"e": lambda g, q: "first", "jsonpath": lambda g, q: "mine"}},
            {"engines": {"e": lambda g, q: "second"}},
        )
        assert ("1a", "2b") == (graph.one(), graph.two())
        node: Any = await graph.write("n", {})
        assert "n" == node.name()
        assert "second" == await graph.query("", engine="e")
        assert "mine" == await graph.query("$")

    run(story())


def test_what_no_extension_added_is_no_method() -> None:
    """The error says how fields are read."""

    async def story() -> None:
        node: Any = await Graph().write("n", {"name": "Ann"})
        with pytest.raises(AttributeError, match="name"):
            _ = node.name

    run(story())


def test_a_router_can_be_made_by_a_function() -> None:
    """It gets the graph and its config, whose network is a group even when there is none."""
    made: list[Any] = []

    def router(graph: Graph, config: Any) -> Quiet:
        made.append((graph, config.network, len(config.network)))
        return Quiet()

    graph: Any = Graph({"router": router})
    [(its_graph, network, count)] = made
    assert its_graph is graph
    assert isinstance(network, ConnectionGroup)
    assert 0 == count
    assert isinstance(graph.router, Quiet)


def test_merge_refuses_to_go_behind_plugins() -> None:
    """`commit` is there for that."""
    for config in (
        {"storage": MemoryStorage()},
        {"router": Quiet()},
        {"network": Wire("a")},
        {"hooks": {"before": {"write": lambda action: action}}},
        {"hooks": {"after": {"write": lambda action: action}}},
    ):
        graph = Graph(config)
        with pytest.raises(GraphError, match="commit"):
            graph.merge({"n": {"a": 1}})
        assert {} == graph.snapshot()


def test_configs_are_not_changed() -> None:
    """They can be shared between graphs."""

    async def story() -> None:
        engines: dict[str, Any] = {"e": lambda graph, query: query}
        hooks: list[Any] = [lambda action: action]
        config = {"engines": engines, "hooks": {"before": {"write": hooks}}}
        one, other = Graph(config, config), Graph(config)
        engines.clear()
        hooks.clear()
        assert "q" == await one.query("q", engine="e") == await other.query("q", engine="e")
        assert {"engines": {}, "hooks": {"before": {"write": []}}} == config

    run(story())
