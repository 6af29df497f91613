"""Assignments that were first written elsewhere keep their ids: stale ones never win."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytosol.crdt.actions import Add, Delete, InitArray, InitObject, Set
from cytosol.document.assigning import Assignment, date_at
from cytosol.document.document import Document
from cytosol.errors import ActionError, DatabaseClosedError, FailureError, SaveError
from cytosol.limits import LAMPORT_LEAP_MAX
from cytosol.model.ids import OpId
from cytosol.savestates import InMemorySaveState
from cytosol.testing import World
from tests.oracle.fold import fold
from tests.simulation.forced_trimming import trim
from tests.unit.document.faulty_state import FaultyState
from tests.unit.document.making import AUTHOR, OTHER, make_document, open_document, reopened

FAR = b"\xee" * 16
FARTHER = b"\xfa" * 16


def written(ident: OpId, field: str, value: Any, node: str = "k") -> Assignment:
    """Return an assignment of one field of one node."""
    return Assignment(
        ident,
        [
            InitObject("$.graph"),
            InitObject(f"$.graph.{node}"),
            Set(f"$.graph.{node}.{field}", value),
        ],
    )


def date_of(document: Document, *steps: str) -> OpId:
    """Return the date of a place."""
    replica = document.replica
    replica.dates.catch_up(len(replica.log))
    place = replica.tree.root
    for step in steps[:-1]:
        below = replica.tree.place_at(place, step)
        assert below is not None
        place = below
    return date_at(replica, place, steps[-1])


def ops(document: Document) -> list[Any]:
    """Return the ops of the log."""
    log = document.replica.log
    return [log.op(row) for row in range(len(log))]


def exchange(one: Document, other: Document) -> None:
    """Let two documents know each other's ops."""
    ours, theirs = ops(one), ops(other)
    one.merge(theirs)
    other.merge(ours)


# --- one document -----------------------------------------------------------------------


def test_a_foreign_assignment_keeps_its_date() -> None:
    """The op has an id of ours; the place has the date under which it was written first."""
    document = open_document()
    assert document.assign([written(OpId(7, FAR), "f", 1)]) == 1
    assert document.query("$") == [{"graph": {"k": {"f": 1}}}]
    assert date_of(document, "graph", "k", "f") == OpId(7, FAR)
    (op,) = ops(document)
    assert op.author == AUTHOR
    assert (op.origin.index, op.origin.author) == (7, FAR)


def test_the_clock_moves_past_foreign_ids() -> None:
    """What is dispatched after that is newer."""
    document = open_document()
    document.assign([written(OpId(500, FAR), "f", 1)])
    document.dispatch(Set("$.graph.k.f", 2))
    assert date_of(document, "graph", "k", "f") > OpId(500, FAR)
    assert document.assign([written(OpId(500, FAR), "f", 1)]) == 0
    assert document.get(("graph", "k", "f"), None) == 2


def test_what_is_not_newer_is_not_even_logged() -> None:
    """Stale, equal and repeated assignments leave no op behind."""
    document = open_document()
    document.assign([written(OpId(10, FAR), "f", "new")])
    length = len(ops(document))
    assert document.assign([written(OpId(9, FARTHER), "f", "old")]) == 0
    assert document.assign([written(OpId(10, AUTHOR), "f", "smaller author")]) == 0
    assert document.assign([written(OpId(10, FAR), "f", "new")]) == 0
    assert len(ops(document)) == length
    assert document.get(("graph", "k", "f"), None) == "new"


def test_of_equal_numbers_the_greater_author_wins() -> None:
    """Ids compare by number, then by author."""
    document = open_document()
    document.assign([written(OpId(10, FAR), "f", "far")])
    assert document.assign([written(OpId(10, FARTHER), "f", "farther")]) == 1
    assert document.get(("graph", "k", "f"), None) == "farther"


def test_only_the_newer_part_of_an_assignment_is_applied() -> None:
    """One id can be too late for one field and news for another."""
    document = open_document()
    document.assign([written(OpId(10, FAR), "f", "new")])
    both = Assignment(
        OpId(5, FARTHER),
        [
            InitObject("$.graph"),
            InitObject("$.graph.k"),
            Set("$.graph.k.f", "old"),
            Set("$.graph.k.g", "news"),
        ],
    )
    assert document.assign([both]) == 1
    assert document.get(("graph", "k"), None) == {"f": "new", "g": "news"}
    assert date_of(document, "graph", "k", "g") == OpId(5, FARTHER)


def test_one_id_may_come_in_parts() -> None:
    """Another peer sends now this field of a write and later that one."""
    document = open_document()
    document.assign([written(OpId(5, FAR), "f", 1)])
    assert document.assign([written(OpId(5, FAR), "g", 2)]) == 1
    assert document.get(("graph", "k"), None) == {"f": 1, "g": 2}
    assert date_of(document, "graph", "k", "f") == date_of(document, "graph", "k", "g")


def test_an_own_id_that_was_reserved_becomes_the_id_of_the_op() -> None:
    """No origin is needed, and what was skipped is never used again."""
    document = open_document()
    document.assign([written(OpId(5, AUTHOR), "f", 1)])
    (op,) = ops(document)
    assert (op.id, op.origin) == (OpId(5, AUTHOR), None)
    document.dispatch(Set("$.x", 1))
    assert ops(document)[-1].index == 6


def test_an_own_id_that_came_too_late_is_kept_as_a_date() -> None:
    """It was reserved, and then something else was dispatched."""
    document = open_document()
    for value in range(3):
        document.dispatch(Set("$.x", value))
    document.assign([written(OpId(2, AUTHOR), "f", 1)])
    assert ops(document)[-1].index == 4
    assert date_of(document, "graph", "k", "f") == OpId(2, AUTHOR)


def test_several_ids_are_one_unit() -> None:
    """A failure of the last one undoes the first; the clock is where it was."""
    state = InMemorySaveState()
    document = open_document(state)
    document.dispatch(Set("$.list", [1]))
    before = document.query("$"), document.replica.clock, len(ops(document))
    bad = Assignment(OpId(40, FAR), [Set("$.list.f", 1)])
    with pytest.raises(FailureError, match="path does not exist"):
        document.assign([written(OpId(30, FAR), "f", 1), bad])
    assert (document.query("$"), document.replica.clock, len(ops(document))) == before
    document.check()
    assert document.assign([written(OpId(30, FAR), "f", 1)]) == 1


def test_what_the_fold_would_refuse_is_refused_here() -> None:
    """An Init of another kind that was assigned later stands in the way: nothing is logged."""
    document = open_document()
    document.assign([Assignment(OpId(50, FAR), [InitArray("$.graph")])])
    with pytest.raises(FailureError):
        document.assign([written(OpId(40, FAR), "f", 1)])
    assert len(ops(document)) == 1
    assert not document.replica.failures
    document.check()


def test_numbers_that_were_taken_back_can_be_used_by_other_ops() -> None:
    """No date of what never happened sticks to them."""
    document = open_document()
    document.dispatch(Set("$.list", [1]))
    with pytest.raises(FailureError):
        document.assign(
            [written(OpId(3, FAR), "f", 1), Assignment(OpId(4, FAR), [Set("$.list.f", 1)])]
        )
    document.dispatch(Set("$.graph", {"k": {"f": 2}}))
    assert date_of(document, "graph", "k", "f").author == AUTHOR


def test_a_foreign_deletion_spares_what_is_newer() -> None:
    """It removes the older field and cannot fail for the newer one."""
    document = open_document()
    document.assign([written(OpId(10, FAR), "f", 1), written(OpId(30, FAR), "g", 2)])
    gone = [
        Delete("$.graph.k.f"),
        Delete("$.graph.k.g"),
        Delete("$.graph.k"),
        Delete("$.graph.z.f"),
    ]
    assert document.assign([Assignment(OpId(20, FAR), gone)]) == 1
    assert document.get(("graph", "k"), None) == {"g": 2}
    assert document.assign([Assignment(OpId(20, FAR), gone)]) == 0


def test_a_container_with_newer_things_in_it_is_not_replaced() -> None:
    """Somebody dispatched below a field: what is older leaves it alone."""
    document = open_document()
    document.assign([written(OpId(10, FAR), "f", {"edge": "x"})])
    document.dispatch(Set("$.graph.k.f.edge", "y"))
    assert document.assign([written(OpId(11, FAR), "f", 1)]) == 0
    assert document.get(("graph", "k", "f"), None) == {"edge": "y"}


def test_a_node_may_be_made_without_fields() -> None:
    """Where there are only Inits they count."""
    document = open_document()
    inits = [InitObject("$.graph"), InitObject("$.graph.k")]
    assert document.assign([Assignment(OpId(4, FAR), inits)]) == 1
    assert document.assign([Assignment(OpId(3, FARTHER), inits)]) == 0
    assert document.query("$") == [{"graph": {"k": {}}}]


@pytest.mark.parametrize("key", ["a.b", "it's", 'say "so"', "back\\slash", "\n", "ключ", "$", "*"])
def test_any_key_can_be_named(key: str) -> None:
    """Whatever a path needs to be quoted."""
    document = open_document()
    path = f"$[{json.dumps(key, ensure_ascii=False)}]"
    document.assign([Assignment(OpId(4, FAR), [Set(path, 1)])])
    assert document.query("$") == [{key: 1}]


def test_nothing_to_assign_is_nothing() -> None:
    """An empty list, an empty assignment and a Delete of nothing become no op."""
    document = open_document()
    assert document.assign([]) == 0
    assert document.assign([Assignment(OpId(4, FAR), [])]) == 0
    assert document.assign([Assignment(OpId(4, FAR), [Delete("$.x")])]) == 0
    assert (ops(document), document.replica.clock) == ([], 0)


# --- what is refused --------------------------------------------------------------------


def test_an_id_too_far_ahead_is_refused() -> None:
    """Peers would refuse our ops after it; just below the limit all goes well at both."""
    document, other = open_document(), open_document(author=OTHER)
    document.dispatch(Set("$.x", 1))
    limit = 1 + LAMPORT_LEAP_MAX
    with pytest.raises(ActionError, match="clock is broken"):
        document.assign([written(OpId(limit, FAR), "f", 1)])
    assert document.replica.clock == 1
    document.assign([written(OpId(limit - 1, FAR), "f", 1)])
    other.merge(ops(document))
    assert other.query("$") == document.query("$")


@pytest.mark.parametrize(
    ("ident", "actions", "text"),
    [
        (OpId(0, FAR), [], "index"),
        (OpId(True, FAR), [], "index"),
        (OpId(1, b"short"), [], "16 bytes"),
        (OpId(1, FAR), [Add("$.a", 1)], "ADD"),
        (OpId(1, FAR), [Set("$.*", 1)], "by keys"),
        (OpId(1, FAR), [Set("$.a[0]", 1)], "by keys"),
        (OpId(1, FAR), [Set("$", 1)], "by keys"),
        (OpId(1, FAR), [Set("$[{0}]", 1, ["a"])], "by keys"),
        (OpId(1, FAR), [Set("$.a", float("nan"))], "nan"),
        (OpId(1, FAR), [{"action": "Sat"}], "not an action"),
    ],
)
def test_malformed_assignments_are_refused(ident: OpId, actions: list[Any], text: str) -> None:
    """Nothing has happened then."""
    document = open_document()
    with pytest.raises(ActionError, match=text):
        document.assign([written(OpId(1, FAR), "f", 1), Assignment(ident, actions)])
    assert (ops(document), document.query("$")) == ([], [{}])


def test_foreign_authors_leave_room_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document has a bound for its authors, and a graph must not use it up."""
    monkeypatch.setattr("cytosol.document.assigning.FOREIGN_AUTHORS_MAX", 2)
    document = open_document()
    document.assign([written(OpId(1, FAR), "f", 1)])
    with pytest.raises(ActionError, match="at most 2 authors"):
        document.assign([written(OpId(2, FARTHER), "f", 2)])
    assert document.assign([written(OpId(2, FAR), "f", 2)]) == 1


def test_a_closed_document_takes_nothing() -> None:
    """As with dispatch."""
    document = open_document()
    document.close()
    with pytest.raises(DatabaseClosedError):
        document.assign([written(OpId(1, FAR), "f", 1)])


# --- disk, callbacks, observers ---------------------------------------------------------


def test_assignments_are_durable_and_keep_their_dates_when_opened_again() -> None:
    """Also those that were trimmed."""
    state = InMemorySaveState()
    document = open_document(state)
    document.assign([written(OpId(7, FAR), "f", 1), written(OpId(9, FARTHER), "g", 2)])
    document = reopened(document, state)
    assert date_of(document, "graph", "k", "f") == OpId(7, FAR)
    document.history._trim_to(len(ops(document)))
    document = reopened(document, state)
    assert ops(document) == []
    assert date_of(document, "graph", "k", "g") == OpId(9, FARTHER)
    assert document.assign([written(OpId(8, FAR), "g", "stale")]) == 0
    assert document.assign([written(OpId(8, FAR), "f", "newer")]) == 1
    document.check()


def test_a_full_disk_takes_everything_back() -> None:
    """Document, clock and dates are as before, and the same can be tried again."""
    state = FaultyState()
    document = open_document(state)
    document.dispatch(Set("$.x", 1))
    state.fill()
    with pytest.raises(SaveError):
        document.assign([written(OpId(7, FAR), "f", 1), written(OpId(8, FAR), "g", 1)])
    assert document.query("$") == [{"x": 1}]
    state.refusal = None
    assert document.assign([written(OpId(7, FAR), "f", 1)]) == 1
    document.check()


def test_subscribers_hear_of_all_assignments_at_once() -> None:
    """One call with the finished document; the network is told once."""
    made = make_document()
    heard: list[Any] = []
    made.document.subscribe("$.graph", heard.append, (), False)
    made.document.assign([written(OpId(n, FAR), f"f{n}", n) for n in range(1, 4)])
    assert heard == [[], [{"k": {"f1": 1, "f2": 2, "f3": 3}}]]
    assert len(made.writes) == 1
    made.document.assign([written(OpId(1, FAR), "f1", 1)])
    assert (len(heard), len(made.writes)) == (2, 1)


class Observing:
    """Keeps what an observer hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def touch(self, locations: Any) -> None:
        """Note places."""
        self.heard.append(sorted(locations))

    def deliver(self) -> None:
        """Note that it is time to tell."""
        self.heard.append("deliver")


def test_observers_hear_where_something_changed() -> None:
    """By own writes, by merges, and after another history was taken over (the whole document)."""
    document, other = open_document(), open_document(author=OTHER)
    observing = Observing()
    document.observers = (observing,)
    document.assign([written(OpId(1, FAR), "f", 1)])
    assert ("graph", "k", "f") in observing.heard[0]
    assert observing.heard[1:] == ["deliver"]
    observing.heard.clear()
    other.dispatch(Set("$.x", 1))
    document.merge(ops(other))
    assert ("x",) in observing.heard[0]
    document.touch_everything()
    assert observing.heard[-1] == [()]


# --- peers ------------------------------------------------------------------------------

PLACES = [("k", "f"), ("k", "g"), ("m", "f")]
assignments = st.lists(
    st.tuples(
        st.integers(1, 6), st.sampled_from([FAR, FARTHER]), st.sampled_from(PLACES), st.booleans()
    ),
    min_size=1,
    max_size=8,
)


def some(entry: tuple[int, bytes, tuple[str, str], bool]) -> Assignment:
    """Return an assignment; the value follows from the id, as it does elsewhere, too."""
    index, author, (node, field), is_deletion = entry
    ident = OpId(index, author)
    if is_deletion:
        return Assignment(
            ident,
            [
                InitObject("$.graph"),
                InitObject(f"$.graph.{node}"),
                Delete(f"$.graph.{node}.{field}"),
                InitObject("$.deleted"),
                Set(f"$.deleted.{node}_{field}", True),
            ],
        )
    return written(ident, field, f"{index}-{author[0]}", node)


def one_of_each_id(entries: list[Any]) -> list[Any]:
    """Leave out what contradicts an earlier entry: one id says one thing about a place."""
    return list({(entry[0], entry[1], entry[2]): entry for entry in entries}.values())


@settings(max_examples=60, deadline=None)
@given(assignments, st.randoms(use_true_random=False), st.integers(0, 8))
def test_peers_that_get_the_same_in_different_orders_agree(
    entries: list[Any], random: Any, cut: int
) -> None:
    """Whatever came first and whatever they told each other meanwhile."""
    entries = one_of_each_id(entries)
    peers = [open_document(author=AUTHOR), open_document(author=OTHER)]
    orders = [random.sample(entries, len(entries)) for _ in peers]
    for document, order in zip(peers, orders, strict=True):
        for entry in order[:cut]:
            document.assign([some(entry)])
    exchange(*peers)
    for document, order in zip(peers, orders, strict=True):
        document.assign([some(entry) for entry in order[cut:]])
    exchange(*peers)
    one, other = peers
    assert one.query("$") == other.query("$")
    assert one.replica.state_hash() == other.replica.state_hash()
    assert not one.replica.failures
    visible: dict[tuple[str, str], Any] = {}
    for entry in sorted(entries):
        visible[entry[2]] = entry
    graph = one.get(("graph",), None)
    assert type(graph) is dict
    for (node, field), entry in visible.items():
        if not entry[3]:
            assert graph[node][field] == f"{entry[0]}-{entry[1][0]}"
            for document in peers:
                assert date_of(document, "graph", node, field) == OpId(entry[0], entry[1])
    for document in peers:
        document.check()


@settings(max_examples=40, deadline=None)
@given(assignments, assignments)
def test_the_oracle_folds_the_same_document(left: list[Any], right: list[Any]) -> None:
    """Ops made from foreign assignments mean what docs/merging.md says."""
    one, other = open_document(author=AUTHOR), open_document(author=OTHER)
    for document, entries in ((one, left), (other, right)):
        for entry in one_of_each_id(entries):
            document.assign([some(entry)])
        document.dispatch(InitObject("$.graph"))
        document.dispatch(InitObject("$.graph.k"))
        document.dispatch(Set("$.graph.k.f", "own"))
    exchange(one, other)
    folded = fold(one.history.actions())
    assert folded.document == one.replica.document == other.replica.document


@pytest.mark.parametrize("seed", range(4))
def test_foreign_assignments_survive_trimming_and_adoption(seed: int) -> None:
    """Devices that never met, one of which has trimmed all: greatest ids win everywhere."""
    chance = random.Random(seed)
    entries = [
        (index, chance.choice([FAR, FARTHER]), chance.choice(PLACES), False)
        for index in chance.sample(range(1, 60), 20)
    ]
    with World(seed) as world:
        devices = [world.device() for _ in range(3)]
        for entry in entries:
            for device in chance.sample(devices, chance.choice([1, 2])):
                device.db._document.assign([some(entry)])
                if chance.random() < 0.2:
                    trim(device, 5)
        for other in devices[1:]:
            world.pair(devices[0], other)
        world.settle()
        world.check()
        greatest = {entry[2]: entry for entry in sorted(entries)}
        for (node, field), entry in greatest.items():
            assert devices[0].document["graph"][node][field] == f"{entry[0]}-{entry[1][0]}"
        assert not any(device.failures for device in devices)
        for device in devices:
            device.check()


def test_two_devices_that_assign_the_same_keep_one(  # as two routers at one source do
) -> None:
    """The second op has the same origin and no effect, and nothing is sent a third time."""
    one, other = open_document(author=AUTHOR), open_document(author=OTHER)
    for document in (one, other):
        document.assign([written(OpId(5, FAR), "f", 1)])
    exchange(one, other)
    assert one.query("$") == other.query("$") == [{"graph": {"k": {"f": 1}}}]
    for document in itertools.chain([one, other], [one]):
        assert document.assign([written(OpId(5, FAR), "f", 1)]) == 0
