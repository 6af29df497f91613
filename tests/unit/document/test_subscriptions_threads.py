"""Subscriptions in several threads at once: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cytosol.document.subscriptions import Subscription, Subscriptions
from cytosol.path import parse_path

PATIENCE_S = 30  # for what comes at once unless something hangs


class World:
    """A counter with subscriptions on it, and threads that count."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"n": 0}
        self.lock = threading.RLock()
        self.reported: list[Exception] = []
        self.subscriptions = Subscriptions(
            lambda query: query.values(self.document), self.reported.append, self.lock
        )

    def subscribe(self, callback: Callable[..., None]) -> Subscription:
        return self.subscriptions.subscribe(parse_path("$.n").bind(), callback)

    def count(self) -> None:
        with self.lock:
            self.document["n"] += 1
            self.subscriptions.touch([("n",)])
        self.subscriptions.deliver()


def run(*jobs: Callable[[], None]) -> None:
    """Run every job in a thread of its own, all starting together, and wait for them."""
    barrier = threading.Barrier(len(jobs))
    errors: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            barrier.wait(PATIENCE_S)
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    assert [] == errors


def test_writers_in_many_threads_are_told_in_order_and_one_at_a_time() -> None:
    """Every value once, in the order of the writes, no two calls at the same time."""
    world = World()
    seen: list[int] = []
    inside = threading.Lock()

    def callback(values: list[int]) -> None:
        assert inside.acquire(blocking=False), "two calls at the same time"
        seen.append(values[0])
        inside.release()

    world.subscribe(callback)

    def write() -> None:
        for _ in range(200):
            world.count()

    run(write, write, write, write)
    assert list(range(801)) == seen
    assert [] == world.reported


def test_a_writer_does_not_wait_for_a_callback_in_another_thread() -> None:
    """Its delivery is left to the thread that is delivering, which goes on with it."""
    world = World()
    seen: list[tuple[int, int]] = []
    begun, written = threading.Event(), threading.Event()

    def callback(values: list[int]) -> None:
        if values == [1]:
            begun.set()
            assert written.wait(PATIENCE_S)
        seen.append((values[0], threading.get_ident()))

    world.subscribe(callback)
    idents: list[int] = []

    def slow() -> None:
        idents.append(threading.get_ident())
        world.count()

    def quick() -> None:
        assert begun.wait(PATIENCE_S)
        world.count()
        assert [0] == [value for value, _ in seen], "the callback was called meanwhile"
        written.set()

    run(slow, quick)
    assert [(1, idents[0]), (2, idents[0])] == seen[1:]
    assert [] == world.reported


def test_changes_during_the_first_call_wait_until_it_is_over() -> None:
    """Another thread delivers to the others, but not to the one that is just beginning."""
    world = World()
    calls: list[tuple[str, int]] = []
    begun, written = threading.Event(), threading.Event()
    world.subscribe(lambda values: calls.append(("other", values[0])))

    def slow(values: list[int]) -> None:
        if values == [0]:
            begun.set()
            assert written.wait(PATIENCE_S)
        calls.append(("new", values[0]))

    def write() -> None:
        assert begun.wait(PATIENCE_S)
        world.count()
        world.count()
        written.set()

    run(lambda: world.subscribe(slow), write)
    expected = [("other", 0), ("other", 1), ("other", 2), ("new", 0), ("new", 1), ("new", 2)]
    assert expected == calls
    assert [] == world.reported


def test_cancelling_while_the_callback_runs_elsewhere_ends_it() -> None:
    """The call that runs may finish; the one queued behind it is not made."""
    world = World()
    seen: list[int] = []
    begun, cancelled = threading.Event(), threading.Event()

    def callback(values: list[int]) -> None:
        if values == [1]:
            begun.set()
            assert cancelled.wait(PATIENCE_S)
        seen.append(values[0])

    subscription = world.subscribe(callback)

    def cancel() -> None:
        assert begun.wait(PATIENCE_S)
        world.count()
        subscription.cancel()
        cancelled.set()

    run(world.count, cancel)
    assert [0, 1] == seen
    assert [] == world.reported


def test_subscribing_and_cancelling_amid_writes_misses_nothing() -> None:
    """Whoever subscribes sees a gap-free run of values, begun with the current one."""
    world = World()
    runs: list[list[int]] = []

    def write() -> None:
        for _ in range(300):
            world.count()

    def come_and_go() -> None:
        for turn in range(60):
            seen: list[int] = []
            runs.append(seen)
            subscription = world.subscribe(lambda values, seen=seen: seen.append(values[0]))
            world.count()
            if turn % 3:
                subscription.cancel()

    run(write, come_and_go, come_and_go)
    world.subscriptions.deliver()
    assert [] == world.reported
    assert 40 == len(world.subscriptions)
    for seen in runs:
        assert list(range(seen[0], seen[0] + len(seen))) == seen
    assert 40 <= sum(seen[-1] == world.document["n"] for seen in runs)


def test_a_cancelled_subscription_stays_silent_under_writes() -> None:
    """Once `cancel` has returned between two writes, no call begins."""
    world = World()
    silent: list[bool] = []
    late: list[list[int]] = []

    def callback(values: list[int]) -> None:
        if silent:
            late.append(values)

    subscription = world.subscribe(callback)
    halfway = threading.Barrier(3)

    def write() -> None:
        for _ in range(100):
            world.count()
        halfway.wait(PATIENCE_S)
        halfway.wait(PATIENCE_S)
        for _ in range(100):
            world.count()

    def cancel() -> None:
        halfway.wait(PATIENCE_S)
        subscription.cancel()
        silent.append(True)
        halfway.wait(PATIENCE_S)

    run(write, write, cancel)
    assert [] == late
