"""Merging takes the greater id, whatever the order, and tells what it changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import GraphError
from cytosol.graph import Clock, Node, NodeMap
from cytosol.graph.node import merge_node
from cytosol.graph.pointer import DELETED
from cytosol.limits import NODE_FIELDS_MAX
from cytosol.model.ids import OpId
from tests.graph.graph_oracle import OracleGraph, graph_of, histories, values_of

A, B = b"a" * 16, b"b" * 16


def state_of(graph: NodeMap) -> dict[str, Any]:
    """Return the whole state; dicts compare without regard to the order of fields."""
    return {key: node.to_json() for key, node in graph if not node.is_blank}


@given(histories, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_what_the_oracle_says(history, random):
    """Assignments and deletions commute, all of them."""
    shuffled = history[:]
    random.shuffle(shuffled)
    graph = graph_of(shuffled)
    assert OracleGraph(set(history)).snapshot() == values_of(graph)
    assert state_of(graph_of(history)) == state_of(graph)


@given(histories, histories)
def test_merging_is_commutative(left, right):
    """Two replicas that merge each other show the same, and hold the same."""
    one, other = graph_of(left), graph_of(right)
    one.merge(graph_of(right))
    other.merge(graph_of(left))
    assert state_of(one) == state_of(other)
    assert OracleGraph(set(left)).merge(OracleGraph(set(right))).snapshot() == values_of(one)


@given(histories, histories, histories)
def test_merging_is_associative(first, second, third):
    """It does not matter who brought the news."""
    left = graph_of(first)
    left.merge(graph_of(second))
    left.merge(graph_of(third))
    middle = graph_of(second)
    middle.merge(graph_of(third))
    right = graph_of(first)
    right.merge(middle)
    assert state_of(left) == state_of(right)


@given(histories, histories)
def test_merging_twice_changes_nothing_more(base, news):
    """Idempotent: the second time neither update nor history has anything."""
    graph = graph_of(base)
    graph.merge(graph_of(news))
    before = state_of(graph)
    delta = graph.merge(graph_of(news))
    assert ({}, {}) == (delta.update.nodes, delta.history.nodes)
    assert before == state_of(graph)


@given(histories, histories)
def test_an_update_carries_all_that_changed(base, news):
    """Whoever merges the update instead of the news ends with the same state."""
    graph, follower = graph_of(base), graph_of(base)
    update = graph.merge(graph_of(news)).update
    delta = follower.merge(update)
    assert state_of(graph) == state_of(follower)
    assert state_of(update) == state_of(delta.update)


@given(histories, histories)
def test_an_update_carries_only_what_changed(base, news):
    """Each entry of the update is new in the graph, and every changed node is named."""
    before, graph = graph_of(base), graph_of(base)
    update = graph.merge(graph_of(news)).update
    for key, node in update:
        old = before.value(key) or Node(key)
        assert not node.is_blank
        for field, entry in node.entries.items():
            assert old.entries.get(field) != entry == graph[key].entries[field]
        assert node.made == node.new().made or node.made == graph[key].made > old.made
        assert node.gone == node.new().gone or node.gone == graph[key].gone > old.gone
    untouched = set(before.nodes) - set(update.nodes)
    assert state_of(before).keys() >= {key for key in untouched if not before[key].is_blank}
    for key in untouched:
        assert before[key].to_json() == graph[key].to_json()


@given(histories, histories)
def test_history_is_what_was_overwritten_and_nothing_else(base, news):
    """Every value that was there and is not any more, with its old id; stale news are not in it."""
    before, graph = graph_of(base), graph_of(base)
    history = graph.merge(graph_of(news)).history
    lost = {
        (key, field): entry
        for key, node in before
        for field, entry in node.entries.items()
        if graph[key].entries.get(field) != entry
    }
    told = {(key, f): entry for key, node in history for f, entry in node.entries.items()}
    assert lost.items() <= told.items()
    for (key, field), entry in told.items() - lost.items():  # written again after a deletion
        assert (DELETED, max(before.node(key).gone, graph[key].gone)) == entry or (
            entry == (DELETED, before[key].gone)
        )
        assert field in graph[key].entries


@given(histories, histories)
def test_committing_the_rebased_history_undoes_an_update(base, news):
    """What an update overwrote shows again; what it added stays."""
    before, graph = graph_of(base), graph_of(base)
    update, history = graph.merge(graph_of(news))
    clock = Clock(A)
    clock.raise_to(max(before.latest().index, graph.latest().index))
    graph.merge(history.rebase(graph, clock))
    for key, fields in values_of(before).items():
        assert graph[key].exists
        shown = dict(iter(graph[key]))
        assert fields.items() <= shown.items()
        added = shown.keys() - fields.keys()
        assert added <= update.value(key).entries.keys() if added else True


def test_a_late_write_stays_hidden_behind_a_deletion_that_is_newer():
    """The deletion hides in every field what has a smaller id, also what arrives later."""
    node = Node("k")
    deletion = Node("k")
    deletion.gone = OpId(5, A)
    merge_node(node, deletion)
    late = Node("k")
    late.entries["f"] = ("old", OpId(4, B))
    late.made = OpId(4, B)
    update, history = merge_node(node, late)
    assert update.is_blank
    assert history.is_blank
    assert node.value("f") is None
    assert not node.exists


def test_a_write_after_a_deletion_brings_back_that_field_only():
    """Field by field: the others stay deleted."""
    node = Node("k")
    node.merge({"a": 1, "b": 2})
    deletion = Node("k")
    deletion.gone = OpId(5, A)
    node.merge(deletion)
    again = Node("k")
    again.entries["a"] = (3, OpId(6, A))
    node.merge(again)
    assert {"a": 3} == node.snapshot()
    assert node.exists


def test_equal_indexes_are_decided_by_the_author():
    """Ids order by index, then by the bytes of the author."""
    one, other = Node("k"), Node("k")
    one.entries["f"] = ("of a", OpId(1, A))
    other.entries["f"] = ("of b", OpId(1, B))
    merge_node(one, other)
    assert one.value("f") == "of b"


def test_a_merge_that_would_make_a_node_too_large_changes_nothing():
    """The limit counts fields of both sides once, and no node of the set is merged."""
    clock = Clock(A)
    graph = NodeMap()
    full = graph.node("full")
    stamp = clock.next()
    for number in range(NODE_FIELDS_MAX):
        full.entries[str(number)] = (number, stamp)
    more = NodeMap()
    more.node("other").entries["f"] = (1, clock.next())
    more.node("full").entries["0"] = ("again", clock.next())
    assert graph.merge(more).update["full"].snapshot() == {"0": "again"}
    more.node("other").entries["g"] = (2, clock.next())
    more.node("full").entries["one too many"] = (1, clock.next())
    with pytest.raises(GraphError, match="65537 fields"):
        graph.merge(more)
    assert "g" not in graph["other"]
    assert NODE_FIELDS_MAX == len(full)
    with pytest.raises(GraphError, match="65537 fields"):
        merge_node(full, more["full"])
    deletion = Node("full")
    deletion.gone = clock.next()
    deletion.entries["fresh"] = (1, clock.next())
    merge_node(full, deletion)
    assert {"fresh": 1} == full.snapshot()
