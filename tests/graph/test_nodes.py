"""A node holds primitives and pointers under any name, and survives hostile JSON."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import GraphError
from cytosol.graph import Clock, Graph, Node, NodeMap, Pointer
from cytosol.graph.clock import ZERO
from cytosol.graph.pointer import DELETED, checked_field, checked_key, checked_value
from cytosol.limits import CLOCK_LEAP_MAX, LAMPORT_MAX, NODE_FIELDS_MAX, NODE_KEY_BYTES_MAX
from cytosol.model.ids import OpId
from tests.graph.graph_oracle import graph_of, histories

A = b"a" * 16
UUID_A = "61616161-6161-6161-6161-616161616161"

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.one_of(
    st.sampled_from(["__proto__", "toString", "constructor", "__class__", "key", "a/b~*", "\0"]),
    texts.filter(bool),
)
primitives = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
hostile = st.recursive(
    st.one_of(
        primitives,
        st.sampled_from([float("nan"), float("inf"), 2**70, "\ud800", UUID_A, "key", 2**53]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(
            st.one_of(st.sampled_from(["key", "fields", "made", "gone", "edge", "f"]), texts),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


# --- Values and keys --------------------------------------------------------------------------


@given(keys, st.dictionaries(texts, primitives))
def test_a_node_holds_any_primitive_under_any_name(key, fields):
    """Names that mean something to Python or JavaScript are names like all others."""
    node = Node(key)
    node.merge(fields)
    assert key == str(node)
    assert fields == node.snapshot()
    assert fields == dict(iter(node))
    assert len(fields) == len(node)
    for field, value in fields.items():
        assert field in node
        assert (type(value), value) == (type(node.value(field)), node.value(field))


def test_a_node_or_an_edge_becomes_a_pointer():
    """All three ways to write a pointer store the same."""
    node = Node("book")
    node.merge({"a": Node("author"), "b": Pointer("author"), "c": {"edge": "author"}})
    assert [Pointer("author")] * 3 == [node.value(field) for field in "abc"]
    assert {"edge": "author"} == node.snapshot()["a"]


def test_subclasses_of_primitives_are_stored_plain():
    """What is read is what JSON would have brought."""

    class Colour(enum.StrEnum):
        RED = "röd"

    class Size(enum.IntEnum):
        BIG = 3

    class Ratio(float):
        pass

    class Edge(dict[str, str]):
        pass

    class Link(Pointer):
        pass

    given_values = [Colour.RED, Size.BIG, Ratio(0.5), Edge(edge="k"), Link("k")]
    stored = [checked_value(value, "f") for value in given_values]
    assert ["röd", 3, 0.5, Pointer("k"), Pointer("k")] == stored
    assert [str, int, float, Pointer, Pointer] == [type(value) for value in stored]


@pytest.mark.parametrize(
    "value",
    [
        *([], ["a"], {}, {"edge": 1}, {"edge": ""}, {"edge": "k", "more": 1}, {"name": "x"}),
        *({"edge": "\ud800"}, {1, 2}, b"bytes", object(), DELETED, Pointer, 1j),
        *(float("nan"), float("inf"), 2**64, -(2**63) - 1, "\ud800", "a\udfff"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused_with_the_name_of_the_field(value):
    """Nodes cannot contain other nodes; nothing is changed."""
    node = Node("k")
    with pytest.raises(GraphError, match=r"'k'\.'title'"):
        node.merge({"fine": 1, "title": value})
    assert node.is_blank


def test_a_list_is_refused_with_advice():
    """The error says what to do instead."""
    with pytest.raises(GraphError, match=r"cannot be a list: nodes cannot contain.* a pointer"):
        checked_value([1], "'k'.'tags'")


@pytest.mark.parametrize("key", ["", "\ud800", 5, None, b"k", ["k"], "ä" * NODE_KEY_BYTES_MAX])
def test_what_is_no_key_is_refused(key):
    """A key is a non-empty text of at most 64 KiB."""
    with pytest.raises(GraphError, match="the key of a node must"):
        Node(key)


def test_keys_and_names_reach_up_to_the_limit():
    """64 KiB of UTF-8, not of characters."""
    for text in ("k" * NODE_KEY_BYTES_MAX, "ä" * (NODE_KEY_BYTES_MAX // 2)):
        assert text == checked_key(text) == checked_field(text)
        with pytest.raises(GraphError, match="longer than 65536 bytes"):
            checked_key(text + "k")
        with pytest.raises(GraphError, match="longer than 65536 bytes"):
            checked_field(text + "k")


def test_a_name_of_a_field_is_any_text():
    """Also the empty one, as in JSON; a number is not one."""
    assert checked_field("") == ""
    with pytest.raises(GraphError, match="the name of a field must be a str, not int"):
        Node("k").merge({5: "x"})  # type: ignore[dict-item]  # that is the test


# --- Nodes ------------------------------------------------------------------------------------


def test_a_blank_node_does_not_exist_and_is_still_true():
    """`if node:` asks for None, not for fields."""
    node = Node("k")
    assert node
    assert not node.exists
    assert node.is_blank
    assert node.value("f") is None
    assert node.state("f") is None
    assert "f" not in node
    assert len(node) == 0


def test_a_node_merged_with_no_values_exists():
    """A node written empty exists."""
    node = Node("k")
    node.merge({})
    assert node.exists
    assert {} == node.snapshot()


def test_snapshots_are_fresh_dicts():
    """Changing one changes nothing else."""
    node = Node("k")
    node.merge({"f": 1, "p": Pointer("q")})
    shot = node.snapshot()
    shot["f"] = 2
    shot["p"]["edge"] = "elsewhere"
    assert {"f": 1, "p": {"edge": "q"}} == node.snapshot()


def test_repr_shows_names_but_no_values():
    """Logs hold no data of the user."""
    node = Node("k")
    node.merge({"password": "secret"})
    assert "<Node 'k' ['password']>" == repr(node)
    assert "secret" not in repr(NodeMap([node]))


def test_plain_values_merged_twice_win_each_time():
    """The later patch of a detached node is the newer one."""
    node = Node("k")
    node.merge({"f": 1})
    update, history = node.merge({"f": 2})
    assert {"f": 2} == node.snapshot() == update.snapshot()
    assert {"f": 1} == history.snapshot()


def test_a_patch_must_be_a_mapping():
    """And the error says so."""
    with pytest.raises(GraphError, match="a node or a mapping, not list"):
        Node("k").merge([("f", 1)])  # type: ignore[arg-type]  # that is the test


def test_overlap_keeps_own_values_of_common_fields():
    """As in the seed's base library."""
    one, other = Node("k"), Node("k")
    one.merge({"a": 1, "b": 2})
    other.merge({"b": 3, "c": 4})
    assert {"b": 2} == one.overlap(other).snapshot()
    graph, second = NodeMap([one, Node("only here")]), NodeMap([other])
    assert {"k": {"b": 2}} == graph.overlap(second).snapshot()


def test_new_and_copy_are_detached():
    """A copy shares nothing that changes."""
    node = Node("k")
    node.merge({"a": 1})
    copied = node.copy()
    copied.merge({"a": 2})
    assert ("k", True) == (node.new().key, node.new().is_blank)
    assert {"a": 1} == node.snapshot()
    graph = NodeMap([node])
    graph.copy()["k"].merge({"a": 3})
    assert {"a": 1} == node.snapshot()
    assert len(graph.new()) == 0


def test_iteration_survives_a_merge_in_between():
    """A callback may change what is being read."""
    node = Node("k")
    node.merge({"a": 1, "b": 2})
    seen = []
    for field, _ in node:
        seen.append(field)
        node.merge({f"{field}+": 1})
    assert ["a", "b"] == seen


def test_events_tell_history_first_and_only_what_there_is():
    """No history event where nothing was overwritten, no event where nothing changed."""
    node = Node("k")
    heard: list[tuple[str, dict[str, Any]]] = []
    for event in ("update", "history"):
        node.on(event, lambda delta, event=event: heard.append((event, delta.snapshot())))
    node.merge({"f": 1})
    node.merge({"f": 2})
    node.merge(Node("k"))
    assert [("update", {"f": 1}), ("history", {"f": 1}), ("update", {"f": 2})] == heard


def test_a_raising_callback_does_not_silence_the_others():
    """Its error comes out after all were called, and the merge stands."""
    node = Node("k")
    heard = []
    node.on("update", lambda _: 1 // 0)
    node.on("update", heard.append)
    with pytest.raises(ZeroDivisionError):
        node.merge({"f": 1})
    assert 1 == node.value("f") == heard[0].value("f")


def test_a_cancelled_callback_is_not_called():
    """Not even by the event that is under way; cancelling twice is harmless."""
    node = Node("k")
    heard: list[Node] = []
    node.on("update", lambda _: subscription.cancel())
    subscription = node.on("update", heard.append)
    node.merge({"f": 1})
    subscription.cancel()
    assert [] == heard


@pytest.mark.parametrize("event", ["change", None, ["update"]])
def test_unknown_events_are_refused(event):
    """With the known ones in the text."""
    with pytest.raises(GraphError, match='"history" and "update"'):
        Node("k").on(event, print)


def test_a_callback_must_be_callable():
    """At registration, not at the first event."""
    with pytest.raises(GraphError, match="must be callable"):
        Node("k").on("update", None)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("call", ["read", "fields", "write", "delete"])
def test_a_detached_node_cannot_reach_a_graph(call):
    """It says what to use instead."""
    node = Node("k")
    arguments = {"read": ("f",), "fields": (["f"],), "write": ("f", 1), "delete": ("f",)}[call]
    with pytest.raises(GraphError, match="is in no graph"):
        getattr(node, call)(*arguments)


def test_an_unknown_method_is_an_attribute_error():
    """With a hint for those who look for a field; copies and pickles ask for such names too."""
    node = Node("k")
    with pytest.raises(AttributeError, match=r"value\('title'\)"):
        _ = node.title
    with pytest.raises(AttributeError):
        _ = node._hidden
    with pytest.raises(AttributeError):
        _ = object.__new__(Node)._graph


def test_the_mark_of_a_deleted_field_stays_one_object():
    """Copies and pickles compare by identity."""
    assert DELETED is copy.deepcopy(DELETED) is pickle.loads(pickle.dumps(DELETED))
    assert "DELETED" == repr(DELETED)


@given(histories)
def test_copies_and_pickles_of_nodes_hold_the_whole_state(history):
    """Blank ones stay blank, so that nothing is told that was never said."""
    graph = graph_of(history)
    graph.node("blank")
    for again in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert graph.to_json() == again.to_json()
        assert again["blank"].is_blank


def test_merging_into_a_node_of_a_graph_is_merging_into_the_graph():
    """Both the node and the graph tell what has changed."""
    graph = Graph()
    graph.write("k", {"f": 1})
    node = graph.value("k")
    assert node is not None
    heard: list[Any] = []
    graph.on("update", lambda nodes: heard.append(nodes.snapshot()))
    update, history = node.merge({"f": 2})
    assert ({"f": 2}, {"f": 1}) == (update.snapshot(), history.snapshot())
    assert [{"k": {"f": 2}}] == heard
    update, history = node.merge(Node("k"))
    assert update.is_blank
    assert history.is_blank


def test_a_pointer_has_a_json_form():
    """The one that snapshots show."""
    assert {"edge": "k"} == Pointer("k").to_json() == checked_value(Pointer("k"), "f").to_json()


# --- Rebase and stamps ------------------------------------------------------------------------


def test_rebase_gives_new_ids_only_where_the_target_would_win():
    """Own assignments on top, nothing of the target in the result."""
    clock = Clock(A)
    own, target = Node("k"), Node("k")
    first = clock.next()
    own.entries["loses"] = ("own", first)
    own.entries["alone"] = ("own", first)
    target.entries["loses"] = ("theirs", clock.next())
    target.entries["theirs"] = ("theirs", clock.next())
    target.entries["wins"] = ("theirs", clock.next())
    winner = clock.next()
    own.entries["wins"] = ("own", winner)
    top = own.rebase(target, clock)
    assert {"loses": "own", "alone": "own", "wins": "own"} == top.snapshot()
    assert (first, winner) == (top.state("alone"), top.state("wins"))
    target.merge(top)
    assert {"loses": "own", "theirs": "theirs", "wins": "own", "alone": "own"} == target.snapshot()


def test_a_rebased_deletion_stays_below_what_was_written_after_it():
    """Delete, write again, rebase: the old fields go, the new one stays."""
    clock = Clock(A)
    own, target = Node("k"), Node("k")
    own.gone = clock.next()
    stamp = clock.next()
    own.entries["new"] = (1, stamp)
    own.made = stamp
    target.entries["old"] = (2, clock.next())
    target.merge(own.rebase(target, clock))
    assert {"new": 1} == target.snapshot()
    assert target.exists


def test_a_rebased_write_comes_back_over_a_deletion_of_the_target():
    """The field shows again, and the node that was made."""
    clock = Clock(A)
    own, target = Node("k"), Node("k")
    own.entries["f"] = (1, clock.next())
    own.made = OpId(1, A)
    target.gone = clock.next()
    target.merge(own.rebase(target, clock))
    assert {"f": 1} == target.snapshot()
    assert target.made > target.gone


def test_a_deletion_that_nothing_outlives_keeps_its_id():
    """Rebasing twice, or on a target that was deleted as well, asks for no new ids."""
    clock = Clock(A)
    own, target = Node("k"), Node("k")
    target.entries["f"] = (DELETED, OpId(9, A))
    target.gone = OpId(8, A)
    own.gone = OpId(3, A)
    clock.raise_to(9)
    assert OpId(3, A) == own.rebase(target, clock).gone
    assert 9 == clock.index


def test_sets_are_rebased_with_one_new_id():
    """What was one write stays one write."""
    clock = Clock(A)
    own = NodeMap()
    own.merge({"k": {"f": 1}, "q": {"f": 1}})
    target = NodeMap()
    for key in "kq":
        target.node(key).entries["f"] = (0, clock.next())
    top = own.rebase(target, clock)
    assert 1 == len({top[key].state("f") for key in "kq"})
    target.merge(top)
    assert {"k": {"f": 1}, "q": {"f": 1}} == target.snapshot()


def test_a_rebase_needs_a_clock():
    """A detached set has none."""
    with pytest.raises(GraphError, match="clock"):
        NodeMap().rebase(NodeMap())


def test_plain_values_get_one_id_when_they_are_committed():
    """All of a change set at once; what has an id keeps it, and the given set stays as it was."""
    clock = Clock(A)
    changes = NodeMap()
    changes.merge({"k": {"f": 1}, "empty": {}})
    changes.node("other").entries["f"] = (1, clock.next())
    changes["k"].entries["had one"] = (2, OpId(1, A))
    stamped = changes.stamped(clock)
    stamp = OpId(2, A)
    assert stamp == stamped["k"].state("f") == stamped["k"].made == stamped["empty"].made
    assert OpId(1, A) == stamped["k"].state("had one")
    assert stamped["other"] is changes["other"]
    assert stamp != changes["k"].state("f")
    assert stamped is stamped.stamped(clock)


def test_plain_values_cannot_be_sent_without_an_id():
    """They would get another one at each receiver."""
    with pytest.raises(GraphError, match="commit it first"):
        NodeMap.of({"k": {"f": 1}}).to_json()


# --- Change sets ------------------------------------------------------------------------------


def test_change_sets_are_made_of_what_has_keys():
    """A set, a node, nodes by key, or plain values by key."""
    node = Node("k")
    node.merge({"f": 1})
    assert {"k": {"f": 1}} == NodeMap.of(node).snapshot()
    assert {"k": {"f": 1}, "q": {}} == NodeMap.of({"k": node, "q": {}}).snapshot()
    same = NodeMap([node])
    assert same is NodeMap.of(same)


@pytest.mark.parametrize("changes", [None, [Node("k")], "k", 5])
def test_anything_else_is_no_change_set(changes):
    """The error lists what would be one."""
    with pytest.raises(GraphError, match="pass a NodeMap"):
        NodeMap.of(changes)


def test_a_node_must_stand_under_its_own_key():
    """Else it would be written somewhere else than it says."""
    with pytest.raises(GraphError, match="'k' stands under the key 'q'"):
        NodeMap.of({"q": Node("k")})


def test_a_change_set_can_be_used_like_a_mapping():
    """Keys in their order; iteration yields pairs, as in the seed's base library."""
    graph = NodeMap([Node("b"), Node("a"), Node("b")])
    assert ["b", "a"] == list(graph.keys()) == [key for key, _ in graph]
    assert dict(graph) == dict(graph.items()) == graph.nodes
    assert 2 == len(graph)
    assert "a" in graph
    assert graph.value("c") is None
    assert graph.node("a") is graph["a"]
    assert ZERO == graph.latest() == NodeMap().latest()


def test_adding_a_node_twice_merges_it():
    """The set keeps the first object."""
    one, other = Node("k"), Node("k")
    one.merge({"a": 1})
    other.merge({"b": 2})
    graph = NodeMap()
    assert one is graph.add(one) is graph.add(other)
    assert {"k": {"a": 1, "b": 2}} == graph.snapshot()


def test_merging_blank_nodes_makes_none():
    """Nothing was said about them."""
    graph = NodeMap()
    graph.merge(NodeMap([Node("k")]))
    assert 0 == len(graph)


# --- JSON -------------------------------------------------------------------------------------


@given(histories)
def test_json_brings_back_the_whole_state(history):
    """Deletions included, through real JSON text."""
    graph = graph_of(history)
    text = json.dumps(graph.to_json())
    again = NodeMap.from_json(json.loads(text))
    assert graph.to_json() == again.to_json()
    assert graph.snapshot() == again.snapshot()


def test_the_form_is_the_documented_one():
    """Key, ids and fields; a deleted field is marked by a fourth member."""
    node = Node("k")
    stamp = OpId(7, A)
    node.made = stamp
    node.gone = OpId(2, A)
    node.entries = {"f": (1, stamp), "p": (Pointer("q"), stamp), "d": (DELETED, stamp)}
    assert {
        "key": "k",
        "made": [7, UUID_A],
        "gone": [2, UUID_A],
        "fields": {
            "f": [1, 7, UUID_A],
            "p": [{"edge": "q"}, 7, UUID_A],
            "d": [None, 7, UUID_A, True],
        },
    } == node.to_json()
    assert {"key": "k", "fields": {}} == Node("k").to_json()


def test_json_that_a_deletion_hides_is_dropped():
    """The state stays canonical whoever wrote it."""
    state = {
        "key": "k",
        "gone": [5, UUID_A],
        "made": [4, UUID_A],
        "fields": {"old": [1, 5, UUID_A], "new": [2, 6, UUID_A]},
    }
    node = Node.from_json(state)
    assert {"new": 2} == node.snapshot()
    assert {"key", "gone", "fields"} == node.to_json().keys()
    assert list(node.entries) == ["new"]


@given(hostile)
def test_hostile_json_is_a_node_or_a_graph_error(state):
    """Never another exception."""
    for parse in (Node.from_json, NodeMap.from_json):
        try:
            parsed = parse(state)
        except GraphError:
            continue
        assert parsed.to_json() == parse(parsed.to_json()).to_json()


@given(histories.filter(bool), st.data())
def test_json_with_one_part_replaced_is_a_node_or_a_graph_error(history, data):
    """Also where nearly all is right."""
    state = graph_of(history).to_json()
    place: Any = {"": state}
    step: Any = ""
    while isinstance(place[step], dict | list) and place[step] and data.draw(st.booleans()):
        place = place[step]
        step = data.draw(
            st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))
        )
    place[step] = data.draw(hostile)
    try:
        parsed = NodeMap.from_json(state)
    except GraphError:
        return
    assert parsed.to_json() == NodeMap.from_json(parsed.to_json()).to_json()


VALID = {"key": "k", "fields": {"f": [1, 1, UUID_A]}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": ""}, "must not be empty"),
        ({"key": 5}, "must be a str"),
        ({"fields": None}, '"fields", an object'),
        ({"fields": []}, '"fields", an object'),
        ({"made": None}, '"made" has no id'),
        ({"gone": [1]}, '"gone" has no id'),
        ({"gone": [0, UUID_A]}, "has no id"),
        ({"gone": [True, UUID_A]}, "has no id"),
        ({"gone": [1.0, UUID_A]}, "has no id"),
        ({"gone": [LAMPORT_MAX + 1, UUID_A]}, "has no id"),
        ({"gone": [1, "{" + UUID_A[1:-1] + "}"]}, "has no id"),
        ({"gone": [1, "x" * 36]}, "has no id"),
        ({"gone": [1, UUID_A * 1000]}, "has no id"),
        ({"gone": [1, ["x"]]}, "has no id"),
        ({"fields": {"f": 1}}, r"'f' must be \[value, index, author\]"),
        ({"fields": {"f": [1, 1]}}, r"must be \[value"),
        ({"fields": {"f": [1, 1, UUID_A, True, 1]}}, r"must be \[value"),
        ({"fields": {"f": [1, 1, UUID_A, True]}}, "deleted, must be"),
        ({"fields": {"f": [None, 1, UUID_A, 1]}}, "deleted, must be"),
        ({"fields": {"f": [[], 1, UUID_A]}}, "'f' cannot be a list"),
        ({"fields": {"\ud800": [1, 1, UUID_A]}}, "lone surrogate"),
        ({"fields": {"k" * (NODE_KEY_BYTES_MAX + 1): [1, 1, UUID_A]}}, "longer than"),
        ({"fields": dict.fromkeys(map(str, range(NODE_FIELDS_MAX + 1)))}, "65537 fields"),
    ],
    ids=lambda item: item if isinstance(item, str) else None,
)
def test_bad_node_json_is_refused_with_the_reason(change, says):
    """The text names the node and the part."""
    assert {"f": 1} == Node.from_json(VALID).snapshot()
    with pytest.raises(GraphError, match=says):
        Node.from_json(VALID | change)
    with pytest.raises(GraphError, match=says):
        NodeMap.from_json({"k": VALID | change})


def test_a_set_refuses_nodes_under_another_key():
    """And what is no object at all."""
    with pytest.raises(GraphError, match="'k' under another key"):
        NodeMap.from_json({"q": VALID})
    with pytest.raises(GraphError, match="the graph must be an object of nodes, not list"):
        NodeMap.from_json([VALID])
    with pytest.raises(GraphError, match="the message, the node must be an object, not NoneType"):
        NodeMap.from_json({"k": None}, "the message")


# --- The clock --------------------------------------------------------------------------------


def test_a_clock_gives_rising_ids_above_all_it_has_seen():
    """In the name of its author."""
    clock = Clock(A)
    assert OpId(1, A) == clock.next()
    clock.observe(OpId(41, b"b" * 16))
    assert OpId(42, A) == clock.next()
    clock.observe(OpId(7, b"b" * 16))
    clock.raise_to(7)
    assert OpId(43, A) == clock.next()


def test_no_id_of_another_brings_the_clock_to_its_end():
    """A leap is bounded; what our own storage holds is believed."""
    clock = Clock(A)
    clock.observe(OpId(CLOCK_LEAP_MAX, A))
    with pytest.raises(GraphError, match="no honest writer is that far ahead"):
        clock.observe(OpId(2 * CLOCK_LEAP_MAX + 1, A))
    assert CLOCK_LEAP_MAX == clock.index
    clock.raise_to(LAMPORT_MAX - 1)
    assert LAMPORT_MAX == clock.next().index
    with pytest.raises(GraphError, match="at its end"):
        clock.next()
    with pytest.raises(GraphError, match="no honest writer"):
        clock.observe(OpId(LAMPORT_MAX + 1, A))
    clock.raise_to(LAMPORT_MAX + 1)
    assert LAMPORT_MAX == clock.index


def test_an_author_is_sixteen_bytes():
    """As everywhere."""
    with pytest.raises(GraphError, match="16 bytes, not 1"):
        Clock(b"a")
