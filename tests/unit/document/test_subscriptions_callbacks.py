"""What a subscription's callback is told, and when."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from cytosol.document.subscriptions import Subscription, Subscriptions
from cytosol.errors import PathLimitError, PathSyntaxError
from cytosol.path import Query, parse_path
from tests.unit.document.interrupting import CtrlC


class World:
    """A plain document with subscriptions on it, and writers that tell them."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.lock = threading.RLock()
        self.reported: list[Exception] = []
        self.reads = 0
        self.subscriptions = Subscriptions(self.read, self.report, self.lock)

    def read(self, query: Query) -> list[Any]:
        assert self.lock._is_owned()  # type: ignore[attr-defined]  # RLock's own, for Condition
        self.reads += 1
        return query.values(self.document)

    def report(self, error: Exception) -> None:
        assert not self.lock._is_owned()  # type: ignore[attr-defined]  # RLock's own
        self.reported.append(error)

    def subscribe(
        self, path: str, callback: Callable[..., None], deltas: bool = False
    ) -> Subscription:
        return self.subscriptions.subscribe(parse_path(path).bind(), callback, deltas)

    def write(self, *steps: Any, deliver: bool = True) -> None:
        """Set the last of `steps` at the place that the others name."""
        *way, last, value = steps
        with self.lock:
            parent: Any = self.document
            for step in way:
                parent = parent[step]
            parent[last] = value
            self.subscriptions.touch([(*way, last)])
        if deliver:
            self.subscriptions.deliver()


def test_the_first_call_comes_before_subscribe_returns() -> None:
    """The callback gets the current list, also an empty one."""
    world = World({"a": 1})
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    world.subscribe("$.nothing", seen.append)
    assert [[1], []] == seen


def test_a_change_is_told_once_and_other_changes_not_at_all() -> None:
    """Only what the query selects counts."""
    world = World({"a": 1, "b": {"c": 1}})
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    world.write("b", "c", 2)
    world.write("a", 3)
    assert [[1], [3]] == seen


def test_an_unrelated_write_reads_nothing_among_ten_thousand_subscriptions() -> None:
    """A subscription costs nothing when an unrelated place is written."""
    world = World({"notes": [{"title": "old"} for _ in range(10_000)], "other": 0})
    told: list[int] = []
    for at in range(10_000):
        world.subscribe(f"$.notes[{at}].title", lambda _, at=at: told.append(at))
    world.reads = 0
    told.clear()
    world.write("other", 1)
    world.write("notes", 17, "text", "x")
    assert 0 == world.reads
    world.write("notes", 17, "title", "new")
    assert (1, [17]) == (world.reads, told)


def test_a_touched_array_concerns_what_lies_in_it() -> None:
    """An insertion is told as the array's own place, and moves the elements behind it."""
    world = World({"list": ["a", "b"]})
    seen: list[Any] = []
    world.subscribe("$.list[1]", seen.append)
    with world.lock:
        world.document["list"].insert(0, "new")
        world.subscriptions.touch([("list",)])
    world.subscriptions.deliver()
    assert [["b"], ["a"]] == seen


def test_several_places_of_one_dispatch_make_one_call() -> None:
    """Subscribers see a transaction once, whole."""
    world = World({"a": 1, "b": 1})
    seen: list[Any] = []
    world.subscribe("$.*", seen.append)
    with world.lock:
        world.document.update(a=2, b=3)
        world.subscriptions.touch([("a",), ("b",), ("a",)])
    world.subscriptions.deliver()
    assert [[1, 1], [2, 3]] == seen


def test_each_dispatch_has_its_own_list_also_when_delivered_late() -> None:
    """What a callback gets is the list of its dispatch, not the newest."""
    world = World({"a": [0]})
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    world.write("a", 0, 1, deliver=False)
    world.write("a", 0, 2, deliver=False)
    assert [[[0]]] == seen
    world.subscriptions.deliver()
    assert [[[0]], [[1]], [[2]]] == seen


def test_callbacks_are_called_in_the_order_of_their_subscriptions() -> None:
    """All of one dispatch before any of the next, each time in the same order."""
    world = World({"a": {"b": 0}})
    seen: list[tuple[str, Any]] = []
    for path in ["$.a.b", "$..b", "$.a", "$.a.b"]:
        world.subscribe(path, lambda values, path=path: seen.append((path, values)))
    seen.clear()
    world.write("a", "b", 1, deliver=False)
    world.write("a", "b", 2)
    assert [
        (path, values)
        for value in (1, 2)
        for path, values in [
            ("$.a.b", [value]),
            ("$..b", [value]),
            ("$.a", [{"b": value}]),
            ("$.a.b", [value]),
        ]
    ] == seen


@pytest.mark.parametrize(
    ("old", "new", "is_told"),
    [
        (1, 1.0, False),
        (1, True, True),
        (0, False, True),
        ([0], [False], True),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1.0}, False),
        ({"x": 1}, {"x": 1, "y": None}, True),
        (None, None, False),
        ("a", "a", False),
        ([1, 2], [2, 1], True),
        (2**64 - 1, float(2**64), True),
    ],
)
def test_a_change_is_one_of_json_values(old: Any, new: Any, is_told: bool) -> None:
    """Numbers compare by value, booleans apart, members without order."""
    world = World({"a": old})
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    world.write("a", new)
    world.write("a", new)
    assert 1 + is_told == len(seen)


def test_a_value_that_comes_and_goes_is_told_both_times() -> None:
    """Appearing, null, and vanishing are three different lists."""
    world = World({})
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    world.write("a", None)
    with world.lock:
        del world.document["a"]
        world.subscriptions.touch([("a",)])
    world.subscriptions.deliver()
    assert [[], [None], []] == seen


def test_what_a_callback_gets_is_its_own() -> None:
    """Changing a list changes neither the document, nor what others get, nor later calls."""
    world = World({"a": {"b": [1]}})
    seen: list[Any] = []

    def spoil(values: list[Any], patch: Any = None) -> None:
        values[0]["b"].append("spoilt")
        for operation in patch or []:
            operation["value"].append("spoilt")
        values.clear()

    world.subscribe("$.a", spoil)
    world.subscribe("$.a", spoil, deltas=True)
    world.subscribe("$.a", lambda values, patch: seen.append((values, patch)), deltas=True)
    world.write("a", "b", [[2], 1])
    assert {"a": {"b": [[2], 1]}} == world.document
    assert [
        ([{"b": [1]}], None),
        ([{"b": [[2], 1]}], [{"op": "add", "path": "/0/b/0", "value": [2]}]),
    ] == seen
    assert [] == world.reported


def test_the_patch_shares_nothing_with_the_list() -> None:
    """A callback may keep one and change the other."""
    world = World({"a": {}})
    calls: list[Any] = []
    world.subscribe("$.a", lambda *call: calls.append(call), deltas=True)
    world.write("a", "b", [1])
    values, patch = calls[1]
    values[0]["b"].append(2)
    assert [{"op": "add", "path": "/0/b", "value": [1]}] == patch


def test_touch_all_tells_whatever_has_changed() -> None:
    """After a whole document was replaced, those with the same list stay quiet."""
    world = World({"a": 1, "b": 1})
    seen: list[Any] = []
    world.subscribe("$.a", lambda values: seen.append(("a", values)))
    world.subscribe("$.b", lambda values: seen.append(("b", values)))
    seen.clear()
    with world.lock:
        world.document.update(b=2)
        world.subscriptions.touch_all()
    world.subscriptions.deliver()
    assert [("b", [2])] == seen


def test_the_root_itself_can_be_touched() -> None:
    """The place `()` concerns every subscription, at whatever depth."""
    world = World({"a": {"b": [1]}})
    seen: list[Any] = []
    world.subscribe("$.a.b[0]", seen.append)
    world.subscribe("$", seen.append)
    with world.lock:
        world.document["a"]["b"] = [2]
        world.subscriptions.touch([()])
    world.subscriptions.deliver()
    assert [[2], [{"a": {"b": [2]}}]] == seen[2:]


def test_a_filter_that_looks_elsewhere_is_told_of_changes_there() -> None:
    """A query with `$` inside an expression is concerned by that place as well."""
    world = World({"limit": 1, "items": [{"n": 1}, {"n": 2}], "rest": 0})
    seen: list[Any] = []
    world.subscribe("$.items[?@.n > $.limit].n", seen.append)
    world.write("limit", 0)
    world.reads = 0
    world.write("rest", 1)
    assert [[2], [1, 2]] == seen
    assert 0 == world.reads


# --- Cancelling ---------------------------------------------------------------------------


def test_a_cancelled_subscription_is_never_called_again() -> None:
    """Neither for later changes nor for one that was queued already."""
    world = World({"a": 0})
    seen: list[Any] = []
    subscription = world.subscribe("$.a", seen.append)
    world.write("a", 1, deliver=False)
    subscription.cancel()
    subscription.cancel()
    world.subscriptions.deliver()
    world.write("a", 2)
    assert [[0]] == seen
    assert 0 == len(world.subscriptions)
    assert not world.subscriptions


def test_cancelling_one_leaves_the_others() -> None:
    """Subscriptions on the same place, above and below it go on."""
    world = World({"a": {"b": 0}})
    seen: list[str] = []
    kept = ["$", "$.a", "$.a.b", "$.a.b.c"]
    for path in kept:
        world.subscribe(path, lambda _, path=path: seen.append(path))
    for path in ["$", "$.a", "$.a.b", "$.a.b.c", "$.a.b.d", "$.e"]:
        world.subscribe(path, lambda _: seen.append("cancelled")).cancel()
    seen.clear()
    world.write("a", "b", {"c": 1})
    assert kept == seen
    assert 4 == len(world.subscriptions)


def test_a_callback_may_cancel_its_own_subscription() -> None:
    """After that it is not called, although another change was queued."""
    world = World({"a": 0})
    seen: list[Any] = []
    subscriptions: list[Subscription] = []

    def once(values: list[Any]) -> None:
        seen.append(values)
        if subscriptions:
            subscriptions[0].cancel()

    subscriptions.append(world.subscribe("$.a", once))
    world.write("a", 1, deliver=False)
    world.write("a", 2)
    assert [[0], [1]] == seen


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_one_that_is_cancelled_while_lists_are_read_leaves_the_others(cancelled: int) -> None:
    """The garbage collector may run a finalizer at any moment, and that may cancel."""
    world = World({"a": 1})
    told: list[Any] = []
    subscriptions = [
        world.subscribe("$.a", lambda values, who=who: told.append((who, values)))
        for who in range(3)
    ]
    read = world.subscriptions._read

    def reading(query: Query) -> list[Any]:
        subscriptions[cancelled].cancel()
        return read(query)

    world.subscriptions._read = reading
    told.clear()
    world.write("a", 2)
    assert [(who, [2]) for who in range(3) if who != cancelled] == told
    assert 2 == len(world.subscriptions)
    world.subscriptions.touch_all()
    assert [(who, [2]) for who in range(3) if who != cancelled] == told


def test_ctrl_c_while_lists_are_read_lets_later_ones_be_cancelled() -> None:
    """Wherever it comes."""
    for at in range(200):
        world = World({"a": 1})
        world.subscribe("$.a", lambda values: None)
        if not CtrlC(at).during(lambda world=world: world.write("a", 2)):
            break
        world.write("a", 3)
        world.subscribe("$.b", lambda values: None).cancel()
        assert 1 == len(world.subscriptions)
    assert at > 20


def test_a_subscription_ends_with_its_with_block() -> None:
    """A subscription is a context manager, and shows no data when printed."""
    world = World({"secret": 0})
    seen: list[Any] = []
    with world.subscribe("$.secret", seen.append) as subscription:
        world.write("secret", 1)
        assert "<Subscription, active>" == repr(subscription)
    world.write("secret", 2)
    assert [[0], [1]] == seen
    assert "<Subscription, cancelled>" == repr(subscription)


def test_a_cancelled_subscription_lets_go_of_its_callback() -> None:
    """The callback, and what it holds, can be collected."""
    world = World({"a": 0})

    class Window:
        def show(self, values: list[Any]) -> None:
            self.values = values

    window = Window()
    subscription = world.subscribe("$.a", window.show)
    there = weakref.ref(window)
    del window
    subscription.cancel()
    gc.collect()
    assert there() is None


# --- Callbacks that act -------------------------------------------------------------------


def test_a_callback_may_write_and_everybody_still_sees_the_order() -> None:
    """A write inside a callback is told after what was due before it."""
    world = World({"a": 0})
    seen: list[tuple[str, Any]] = []

    def push(values: list[Any]) -> None:
        seen.append(("first", values))
        if 0 < values[0] < 3:
            world.write("a", values[0] + 1)

    world.subscribe("$.a", push)
    world.subscribe("$.a", lambda values: seen.append(("second", values)))
    seen.clear()
    world.write("a", 1)
    assert [(who, [value]) for value in (1, 2, 3) for who in ("first", "second")] == seen


def test_a_callback_may_subscribe() -> None:
    """The new subscription's first call is made at once, later ones in their turn."""
    world = World({"a": 0})
    seen: list[Any] = []
    inner: list[Subscription] = []

    def outer(values: list[Any]) -> None:
        if values == [1]:
            inner.append(world.subscribe("$.a", seen.append))
            world.write("a", 2)

    world.subscribe("$.a", outer)
    world.write("a", 1)
    assert [[1], [2]] == seen


def test_a_first_call_that_writes_is_over_before_the_next_call() -> None:
    """Changes made in the first call are told after it, once per dispatch."""
    world = World({"a": 0})
    seen: list[Any] = []

    def callback(values: list[Any]) -> None:
        seen.append(("begin", values))
        if values == [0]:
            world.write("a", 1)
            world.write("a", 2)
        seen.append(("end", values))

    world.subscribe("$.a", callback)
    assert [(when, [value]) for value in (0, 1, 2) for when in ("begin", "end")] == seen


# --- Callbacks that fail ------------------------------------------------------------------


def test_an_exception_is_reported_and_nothing_else_suffers() -> None:
    """Neither the writer, nor the others, nor the subscription itself."""
    world = World({"a": 0})
    seen: list[Any] = []
    errors = [ValueError("first"), ValueError("second")]

    def fail(values: list[Any]) -> None:
        raise errors[values[0]]

    world.subscribe("$.a", fail)
    world.subscribe("$.a", seen.append)
    world.write("a", 1)
    assert errors == world.reported
    assert [[0], [1]] == seen


def test_a_keyboard_interrupt_leaves_the_rest_for_later() -> None:
    """It goes to whoever delivers; what was due behind it is not lost."""
    world = World({"a": 0})
    seen: list[Any] = []

    def interrupt(values: list[Any]) -> None:
        if values == [1]:
            raise KeyboardInterrupt

    world.subscribe("$.a", interrupt)
    world.subscribe("$.a", seen.append)
    with pytest.raises(KeyboardInterrupt):
        world.write("a", 1)
    assert [[0]] == seen
    world.subscriptions.deliver()
    assert [[0], [1]] == seen


def test_a_keyboard_interrupt_in_the_first_call_ends_the_subscription() -> None:
    """The caller never gets the subscription, so nobody could cancel it."""
    world = World({"a": 0})
    seen: list[Any] = []

    def interrupt(values: list[Any]) -> None:
        seen.append(values)
        world.write("a", 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.subscribe("$.a", interrupt)
    world.write("a", 2)
    assert [[0]] == seen
    assert 0 == len(world.subscriptions)


def test_a_query_that_fails_at_first_raises_and_is_not_registered() -> None:
    """Whoever subscribes hears at once that the query is too dear."""
    world = World({"a": 0})

    def fail(query: Query) -> list[Any]:
        raise PathLimitError("too many steps")

    subscriptions = Subscriptions(fail, world.report, world.lock)
    with pytest.raises(PathLimitError):
        subscriptions.subscribe(parse_path("$..a").bind(), lambda _: None)
    assert 0 == len(subscriptions)
    with pytest.raises(PathSyntaxError):
        world.subscribe("$[", lambda _: None)


def test_a_query_that_fails_later_is_reported_and_does_not_fail_the_write() -> None:
    """When it works again, the subscription goes on."""
    world = World({"a": 0})
    failures: list[Exception] = []
    error = PathLimitError("too many steps")

    def read(query: Query) -> list[Any]:
        if failures:
            raise failures[0]
        return world.read(query)

    world.subscriptions = Subscriptions(read, world.report, world.lock)
    seen: list[Any] = []
    world.subscribe("$.a", seen.append)
    failures.append(error)
    world.write("a", 1)
    failures.clear()
    world.write("a", 2)
    assert [error] == world.reported
    assert [[0], [2]] == seen
