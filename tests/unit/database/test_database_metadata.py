"""Metadata through the public API: actions, config, failures, pairings, peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.model.op import Op
from cytosol.protocol.seams import PairedPeer
from tests.unit.database.databases import APP_ID, open_alone
from tests.unit.document.making import open_document

PEER = PairedPeer(b"\x07" * 16, "Phone", b"\x01" * 32)
MISSING = "path does not exist"
STRANGER = b"\xff" * 16  # after every id that is made here, in the order of ops


def failing_ops(db: cytosol.Database, count: int) -> list[Op]:
    """Return ops of a peer that add 1, 2, ... to what is deleted here meanwhile."""
    db.dispatch(cytosol.Set("$.gone", 0))
    other = open_document(author=STRANGER)
    ours = db._document.replica.log
    other.merge([ours.op(row) for row in range(len(ours))])
    for number in range(1, count + 1):
        other.dispatch(cytosol.Add("$.gone", number))
    theirs = other.replica.log
    db.dispatch(cytosol.Delete("$.gone"))
    return [op for op in map(theirs.op, range(len(theirs))) if op.author == STRANGER]


def with_failures(save_state: Any = None, count: int = 2, **options: Any) -> cytosol.Database:
    """Open a database and merge ops that fail."""
    db = open_alone(save_state, **options)
    db._document.merge(failing_ops(db, count))
    return db


def test_the_metadata_has_its_five_members() -> None:
    """Queried like the document."""
    with open_alone(peer_name="Laptop", min_history=3, max_history=10) as db:
        whole = db.query_once_meta("$")[0]
        assert ["actions", "config", "failures", "pairings", "peers"] == sorted(whole)
        assert [] == whole["peers"]
        config = whole["config"]
        assert (APP_ID, "Laptop", 3, 10, True, True, db.peer_id, db.peer_id) == tuple(
            config[name]
            for name in (
                "appId",
                "peerName",
                "minHistory",
                "maxHistory",
                "visibleToPeers",
                "syncEnabled",
                "peerId",
                "author",
            )
        )
        assert [] == db.query_once_meta("$.unknown")
        assert [] == db.query_once_meta("$.actions[5]")
        whole["config"]["peerName"] = "changed"
        assert ["Laptop"] == db.query_once_meta("$.config.peerName")


def test_actions_are_ops_with_id_and_timestamp() -> None:
    """A path that matched several places has become several."""
    with open_alone() as db:
        db.dispatch(cytosol.Set("$['a','b']", 1))
        first, second = db.query_once_meta("$.actions[*]")
        assert "Set" == first["action"] == second["action"]
        assert [{"author": db.peer_id, "index": 1}, {"author": db.peer_id, "index": 2}] == [
            first["id"],
            second["id"],
        ]
        assert type(first["timestamp"]) is int
        assert [["a"], ["b"]] == [
            [step["query"] for step in op["path"] if step["type"] == "Key"]
            for op in (first, second)
        ]


def test_subscribers_hear_of_every_part() -> None:
    """Actions with each write, the others when they change, once each."""
    with open_alone() as db:
        heard: dict[str, list[Any]] = {}
        for path in (
            "$.actions.length",
            "$.actions[*].payload",
            "$.config.syncEnabled",
            "$.failures[*].message",
            "$.pairings[*].name",
        ):
            heard[path] = []
            db.subscribe_meta(path, heard[path].append)
        db.dispatch(cytosol.Set("$.a", 1))
        db.dispatch(cytosol.Set("$.a", 2))
        db.dispatch(cytosol.SetSyncEnabled(False))
        db.dispatch({"action": "SetSyncEnabled", "payload": False})
        db._document.merge(failing_ops(db, 1))
        db._document.deliver()
        assert [[], [1], [1, 2], [1, 2, 0], [1, 2, 0, 1]] == heard["$.actions[*].payload"]
        assert [[True], [False]] == heard["$.config.syncEnabled"]
        assert [[], [MISSING]] == heard["$.failures[*].message"]
        assert [[]] == heard["$.pairings[*].name"]


def test_deltas_of_metadata_are_exact() -> None:
    """As with the document."""
    with open_alone() as db:
        heard: list[Any] = []
        db.subscribe_meta("$.actions[*].payload", lambda *change: heard.append(change), deltas=True)
        db.dispatch(cytosol.Set("$.a", 1))
        assert [([], None), ([1], [{"op": "add", "path": "/0", "value": 1}])] == heard


# --- Failures -------------------------------------------------------------------------------


def test_a_failed_op_of_a_peer_is_listed_with_its_payload() -> None:
    """Until it is dismissed."""
    with with_failures() as db:
        first, second = db.query_once_meta("$.failures[*]")
        assert (1, "Add", MISSING) == (
            first["payload"],
            first["action"],
            first["message"],
        )
        heard: list[Any] = []
        db.subscribe_meta("$.failures[*].payload", heard.append)
        db.dismiss_failures([first["id"]])
        assert [second] == db.query_once_meta("$.failures[*]")
        db.dismiss_failures([first["id"], second["id"]])
        assert [[1, 2], [2], []] == heard
        first["id"]["index"] = 7  # the caller's own


@pytest.mark.parametrize(
    "ids",
    [
        [7],
        [None],
        [{}],
        [{"index": 1}],
        [{"index": "1", "author": APP_ID}],
        [{"index": True, "author": APP_ID}],
        [{"index": 1, "author": "me"}],
        [{"index": 1, "author": None}],
    ],
)
def test_what_is_no_id_cannot_be_dismissed(ids: list[Any]) -> None:
    """And nothing is dismissed then."""
    with with_failures() as db:
        known = db.query_once_meta("$.failures[0].id")
        with pytest.raises(cytosol.ActionError, match="not the id of a failure"):
            db.dismiss_failures([*known, *ids])
        assert 2 == len(db.query_once_meta("$.failures[*]"))


def test_failures_survive_reopening_and_trimming(tmp_path: Path) -> None:
    """Dismissed ones stay dismissed, the others stay."""
    path = tmp_path / "a"
    with with_failures(path, 3, max_history=10) as db:
        db.dismiss_failures(db.query_once_meta("$.failures[1].id"))
    for _ in range(2):
        with open_alone(path, max_history=10) as db:
            assert [1, 3] == db.query_once_meta("$.failures[*].payload")
            for number in range(100):
                db.dispatch(cytosol.Set("$.n", number))
            assert [] == db.query_once_meta("$.actions[?@.action == 'Add']")
            assert [1, 3] == db.query_once_meta("$.failures[*].payload")
            db.check()
    with open_alone(path, max_history=10) as db:
        db.dismiss_failures(db.query_once_meta("$.failures[*].id"))
    with open_alone(path, max_history=10) as db:
        assert [] == db.query_once_meta("$.failures[*]")


# --- How much history is kept ----------------------------------------------------------------


def actions_kept(writes: int, paired: bool = False, **options: Any) -> int:
    """Return how many ops are listed after some writes."""
    with open_alone(**options) as db:
        if paired:
            db._pairings.add(PEER, True)
        for number in range(writes):
            db.dispatch(cytosol.Set("$.n", number))
        db.check()
        assert [writes - 1] == db.query_once("$.n")
        return len(db.query_once_meta("$.actions[*]"))


def test_history_is_trimmed_beyond_its_maximum() -> None:
    """About as many ops as wished are left."""
    assert 100 <= actions_kept(1_000, max_history=100) <= 180
    assert 100 <= actions_kept(1_000, max_history=100, paired=True) <= 180


def test_minus_one_keeps_everything() -> None:
    """As maximum, as minimum, and as both."""
    assert 400 == actions_kept(400, max_history=-1)
    assert 400 == actions_kept(400, min_history=-1, max_history=10)
    assert 400 == actions_kept(400, max_history=-1, paired=True)
    assert 400 == actions_kept(400)


def test_the_minimum_is_kept_in_any_case() -> None:
    """Also when it is greater than the maximum."""
    assert actions_kept(600, min_history=200, max_history=10) >= 200


def test_a_trimmed_file_reopens_with_the_same_hash(tmp_path: Path) -> None:
    """What was dropped is part of the state hash still."""
    path = tmp_path / "a"
    with open_alone(path, max_history=20) as db:
        for number in range(300):
            db.dispatch(cytosol.Set(f"$.k{number % 7}", number))
        expected = db.state_hash(), db.query_once("$")
        assert len(db.query_once_meta("$.actions[*]")) < 300
    with open_alone(path, max_history=20) as db:
        assert expected == (db.state_hash(), db.query_once("$"))
        db.check()
    with open_alone() as db:
        assert "00" * 64 == db.state_hash()
