"""What the published strategies make is what their names say, and a schedule can be played."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import cytosol
from cytosol.model.json import copy_json, equal_json
from cytosol.testing import World, strategies
from cytosol.testing.strategies import Step

APP = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"

ALL_KINDS = {
    "Add", "Copy", "Delete", "InitArray", "InitObject", "InsertAfter", "InsertBefore",
    "InsertUnique", "Move", "Multiply", "Set", "Transaction",
}  # fmt: skip


@given(strategies.json_values() | strategies.documents() | strategies.scalars())
def test_every_value_may_stand_in_a_document(value: Any) -> None:
    """No value is refused when it is written."""
    assert equal_json(value, copy_json(value))


@given(st.lists(strategies.actions(), max_size=5))
def test_actions_are_well_formed(messages: list[dict[str, Any]]) -> None:
    """The document may refuse them, and is as before then; the dispatcher does not."""
    with cytosol.open(None, app_id=APP, peer_name="a", network=False) as db:
        for message in messages:
            before = db.get(), db.state_hash()
            failures = db.dispatch(message, return_failures=True)
            assert isinstance(failures, list), "a malformed one would have raised an ActionError"
            assert not failures or before == (db.get(), db.state_hash())


def kinds_in(strategy: st.SearchStrategy[dict[str, Any]]) -> set[str]:
    kinds = set()

    @settings(max_examples=60, database=None, phases=[Phase.generate], derandomize=True)
    @given(st.lists(strategy, min_size=10, max_size=10))
    def look(messages: list[dict[str, Any]]) -> None:
        kinds.update(message["action"] for message in messages)

    look()
    return kinds


def test_actions_can_do_everything() -> None:
    """Each kind is made; transactions only where they are wanted."""
    assert ALL_KINDS == kinds_in(strategies.actions())
    assert ALL_KINDS - {"Transaction"} == kinds_in(strategies.actions(transactions=False))


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(strategies.schedules(devices=2))
def test_devices_are_equal_after_any_story(schedule: list[Step]) -> None:
    """A small world of Hypothesis's own."""
    with World() as world:
        a, b = world.devices(2)
        strategies.play(world, schedule)
        world.heal()
        world.settle()
        assert a.document == b.document


def test_every_step_of_a_schedule_can_happen() -> None:
    """To devices that are up; one that is down only starts."""
    every = [
        Step("dispatch", 0, {"action": "Set", "path": "$.x", "payload": 1}),
        Step("dispatch", 0, {"action": "Set", "path": "$.x.y.z", "payload": 1}),
        Step("one_way", 0, 1),
        Step("partition", 1, 0),
        Step("partition", 1, 1),
        Step("run", 0, 5.0),
        Step("heal"),
        Step("clock", 1, 3600.0),
        Step("restart", 1),
        Step("crash", 1),
        Step("dispatch", 1, {"action": "Set", "path": "$.never", "payload": 1}),
        Step("start", 1),
        Step("cut_in_write", 0, 1),
        Step("dispatch", 0, {"action": "Set", "path": "$.last", "payload": 1}),
    ]
    with World(1) as world:
        a, b = world.devices(2)
        strategies.play(world, every)
        assert a.is_up
        assert b.is_up
        world.settle()
        assert 1 == b.document["x"]
        assert "never" not in b.document
