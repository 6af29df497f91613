"""Opening, reopening and closing: arguments, files, identity and secrets."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import cytosol
from cytosol.protocol.seams import PairedPeer, Refusal
from tests.unit.database.databases import APP_ID, open_alone

OTHER_APP = "11111111-2222-4333-8444-555555555555"
PEER = PairedPeer(b"\x07" * 16, "Phone", b"\x01" * 32, 12.5, 12_000)
BROUGHT = PairedPeer(b"\x09" * 16, "Tablet", b"\x03" * 32, shared_by=PEER.peer_id)
REFUSED = {
    b"\x08" * 16: Refusal(b"\x02" * 32, 3.5, 3_400, PEER.peer_id),
    b"\x0a" * 16: Refusal(b"\x04" * 32, 4.5, 4_500),
}


# --- Arguments ------------------------------------------------------------------------------


def test_the_signature_is_the_documented_one() -> None:
    """Names, order and defaults of `cytosol.open`."""
    parameters = inspect.signature(cytosol.open).parameters
    defaults = {
        "app_id": inspect.Parameter.empty,
        "peer_name": None,
        "min_history": 0,
        "max_history": 32_768,
        "visible_to_peers": True,
        "sync_enabled": True,
        "network": True,
        "trust_shared_peers": True,
        "loopback": False,
        "durability": "full",
        "progress": None,
    }
    assert ["save_state", *defaults] == list(parameters)
    assert defaults == {name: parameters[name].default for name in defaults}


@pytest.mark.parametrize(
    ("save_state", "options", "sentence"),
    [
        (None, {"app_id": None}, "app_id is a UUID"),
        (None, {"progress": 1}, "progress is a function"),
        (None, {"app_id": "notes"}, "not a UUID"),
        (None, {"app_id": APP_ID + "0"}, "not a UUID"),
        (None, {"peer_name": 7}, "peer_name"),
        (None, {"peer_name": "  "}, "peer_name"),
        (None, {"min_history": -2}, "min_history"),
        (None, {"min_history": 1.0}, "min_history"),
        (None, {"max_history": "all"}, "max_history"),
        (None, {"max_history": True}, "max_history"),
        (None, {"durability": "some"}, "'full' or 'relaxed'"),
        (None, {"network": 1}, "network is True or False"),
        (None, {"loopback": None}, "loopback is True or False"),
        (None, {"visible_to_peers": "yes"}, "visible_to_peers"),
        (7, {}, "save_state"),
        (b"file", {}, "save_state"),
        ("", {}, "name of a file"),
        ("a\0b", {}, "name of a file"),
        (cytosol.SqliteSaveState, {}, "save_state"),
    ],
)
def test_a_wrong_argument_is_named(save_state: Any, options: dict[str, Any], sentence: str) -> None:
    """Before any file or socket is opened."""
    with pytest.raises(cytosol.ActionError, match=sentence):
        open_alone(save_state, **options)


def test_a_wrong_argument_touches_no_file(tmp_path: Path) -> None:
    """Nothing is made that would have to be removed."""
    with pytest.raises(cytosol.ActionError):
        open_alone(tmp_path / "a", peer_name=7)
    assert [] == list(tmp_path.iterdir())


def test_an_app_id_is_one_in_any_case_of_letters(tmp_path: Path) -> None:
    """Opening with the same id in capitals is opening with the same id."""
    with open_alone(tmp_path / "a") as database:
        database.dispatch({"action": "Set", "path": "$.kept", "payload": True})
    with open_alone(tmp_path / "a", app_id=APP_ID.upper()) as database:
        assert [True] == database.query_once("$.kept")


# --- No network -----------------------------------------------------------------------------


def test_without_the_network_there_are_no_sockets_and_no_threads(tmp_path: Path) -> None:
    """Opening, writing and subscribing all happen in the caller's thread."""
    process = psutil.Process()
    before = set(threading.enumerate()), process.net_connections("all")
    with open_alone(tmp_path / "a") as db:
        db.subscribe("$", print)
        db.dispatch(cytosol.Set("$.a", 1))
        db.dispatch(cytosol.SetSyncEnabled(False))
        assert before == (set(threading.enumerate()), process.net_connections("all"))


def test_a_network_that_does_not_start_leaves_the_file_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is closed again, and can be opened without the network."""

    def fail(self: cytosol.Database) -> None:
        raise cytosol.NetworkUnavailableError("no socket could be opened")

    monkeypatch.setattr(cytosol.Database, "_start_network", fail)
    path = tmp_path / "notes.cytosol"
    with pytest.raises(cytosol.NetworkUnavailableError):
        cytosol.open(path, app_id=APP_ID)
    assert [path] == list(tmp_path.iterdir())
    cytosol.open(path, app_id=APP_ID, network=False).close()


def test_pairing_without_the_network_is_refused() -> None:
    """With a sentence that says how to get it."""
    with open_alone() as db:
        for action in (
            cytosol.RequestPair(OTHER_APP, "123456"),
            cytosol.AcceptPair(OTHER_APP, "123456"),
            cytosol.RejectPair(OTHER_APP),
            cytosol.Unpair(OTHER_APP),
        ):
            with pytest.raises(cytosol.NetworkError, match="open it with the network"):
                db.dispatch(action)


# --- Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["notes.cytosol", "notes.json"])
def test_a_reopened_database_is_the_same(tmp_path: Path, name: str) -> None:
    """Document, identity, pairings, refused peers, addresses and wrong codes."""

    def state() -> cytosol.SaveState:
        path = tmp_path / name
        return (cytosol.JsonFileSaveState if name.endswith("json") else cytosol.SqliteSaveState)(
            path
        )

    with open_alone(state()) as db:
        db.dispatch(cytosol.Set("$.a", [1, {"b": None}]))
        db._pairings.add(PEER, True)
        db._pairings.add(BROUGHT, False)
        db._pairings.remember_address(PEER.peer_id, "192.168.0.7", 5000)
        db._pairings.refuse(REFUSED)
        db._pairings.set_wrong_codes(2, 99.5)
        before = (db.peer_id, db.query_once_meta("$"), db.query_once("$"), db.state_hash())
    for _ in range(2):
        with open_alone(state()) as db:
            after = (db.peer_id, db.query_once_meta("$"), db.query_once("$"), db.state_hash())
            assert before == after
            assert [PEER, BROUGHT] == [*db._pairings.paired().values()]
            assert REFUSED == db._pairings.refused()
            assert (("192.168.0.7", 5000),) == db._pairings.addresses(PEER.peer_id)
            assert (2, 99.5) == db._pairings.wrong_codes()
            db.check()


def test_opening_tells_how_far_it_is(tmp_path: Path) -> None:
    """It only grows, has a hundred steps at most, and ends with 1."""
    path = tmp_path / "notes"
    with open_alone(path) as db:
        for number in range(200):
            db.dispatch(cytosol.Set("$.text", f"{number}" * 500))
    told: list[tuple[str, float]] = []
    with open_alone(path, progress=lambda what, done: told.append((what, done))) as db:
        assert "199" * 500 == db.get("text")
    parts = [done for _, done in told]
    assert [("history", 0.0), ("done", 1.0)] == [told[0], told[-1]]
    assert {"history"} == {what for what, _ in told[:-1]}
    assert parts == sorted(parts)
    assert 50 < len(parts) <= 102
    assert parts[-2] > 0.7


@pytest.mark.parametrize("state", [None, cytosol.JsonFileSaveState])
def test_what_is_read_as_a_whole_tells_of_its_beginning_and_end(tmp_path: Path, state: Any) -> None:
    """There is nothing to tell in between."""
    told: list[tuple[str, float]] = []
    save_state = state and state(tmp_path / "notes.json")
    for _ in range(2):
        options = {"progress": lambda what, done: told.append((what, done))}
        with cytosol.open(save_state, app_id=APP_ID, network=False, **options) as db:
            db.dispatch(cytosol.Set("$.n", 1))
    assert [("history", 0.0), ("done", 1.0)] * 2 == told


def test_what_progress_raises_ends_the_opening(tmp_path: Path) -> None:
    """The file is free afterwards, and whole."""

    def give_up(what: str, done: float) -> None:
        raise KeyboardInterrupt

    with open_alone(tmp_path / "notes") as db:
        db.dispatch(cytosol.Set("$.n", 1))
    with pytest.raises(KeyboardInterrupt):
        open_alone(tmp_path / "notes", progress=give_up)
    with open_alone(tmp_path / "notes") as db:
        assert 1 == db.get("n")


def test_a_file_has_one_owner_in_a_process(tmp_path: Path) -> None:
    """A second opening gets a clear error, and the first goes on."""
    path = tmp_path / "a"
    with open_alone(path) as db:
        for _ in range(2):
            with pytest.raises(cytosol.DatabaseLockedError, match="already open in this program"):
                open_alone(path)
        db.dispatch(cytosol.Set("$.a", 1))
    with open_alone(str(path)) as db:
        assert [1] == db.query_once("$.a")


def test_a_file_has_one_owner_among_processes(tmp_path: Path) -> None:
    """The error names the process that has it."""
    path = tmp_path / "a"
    with open_alone(path):
        code = (
            "import cytosol, sys\n"
            "try:\n"
            "    cytosol.open(sys.argv[1], app_id=sys.argv[2], network=False)\n"
            "except cytosol.DatabaseLockedError as error:\n"
            "    print(error)\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", code, path, APP_ID], capture_output=True, text=True, check=True
        )
    assert f"the process with id {os.getpid()}" in result.stdout


def test_a_file_of_another_app_is_refused(tmp_path: Path) -> None:
    """Nothing is changed, and its own app opens it again."""
    path = tmp_path / "a"
    with open_alone(path) as db:
        db.dispatch(cytosol.Set("$.a", 1))
    with pytest.raises(cytosol.DatabaseError, match=f"belongs to the app {APP_ID}"):
        open_alone(path, app_id=OTHER_APP)
    with open_alone(path) as db:
        assert [1] == db.query_once("$.a")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
@pytest.mark.parametrize("name", ["notes.cytosol", "notes.json"])
def test_only_the_owner_can_read_the_files(tmp_path: Path, name: str) -> None:
    """They hold the device's secret key."""
    path = tmp_path / name
    state: Any = cytosol.JsonFileSaveState(path) if name.endswith("json") else path
    with open_alone(state) as db:
        db.dispatch(cytosol.Set("$.a", 1))
        assert {0o600} == {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}


def test_a_traceback_can_show_a_database_that_did_not_open(tmp_path: Path) -> None:
    """Reporters of crashes print the locals, and must not fail at ours."""
    path = tmp_path / "notes.cytosol"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(cytosol.DatabaseCorruptError) as caught:
        cytosol.open(path, app_id=APP_ID, network=False)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert f"<cytosol.Database {path}, not open>" in "".join(shown.format())


def test_in_memory_the_identity_is_new_each_time() -> None:
    """Nothing is shared between two databases in memory."""
    with open_alone() as one, open_alone(None) as two:
        assert one.peer_id != two.peer_id


# --- Copies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [cytosol.SqliteSaveState, cytosol.JsonFileSaveState])
@pytest.mark.parametrize("place", ["b", "folder/a"])
def test_a_copied_file_writes_under_a_fresh_author_id(
    tmp_path: Path, kind: Any, place: str
) -> None:
    """Key, peer id and pairings stay; the event waits for the first listener."""
    path, copy = tmp_path / "a", tmp_path / place
    copy.parent.mkdir(exist_ok=True)
    with open_alone(kind(path)) as db:
        db.dispatch(cytosol.Set("$.a", 1))
        db._pairings.add(PEER, True)
        peer_id, author = db.peer_id, db.query_once_meta("$.config.author")
    shutil.copyfile(path, copy)
    heard: list[Any] = []
    with open_alone(kind(copy)) as db:
        listener = db.on("identity_renewed", heard.append)
        assert [cytosol.IdentityRenewed] == [type(event) for event in heard]
        assert "copy" in heard[0].reason
        fresh = db.query_once_meta("$.config.author")
        assert [heard[0].author] == fresh != author
        assert peer_id == db.peer_id
        assert 1 == len(db.query_once_meta("$.pairings[*]"))
        listener.cancel()
        db.on("identity_renewed", heard.append)
        assert 1 == len(heard)  # told once
        db.dispatch(cytosol.Set("$.b", 2))
        assert fresh == [db.query_once_meta("$.actions[*].id.author")[-1]]
    for each, expected in ((copy, fresh), (path, author)):
        with open_alone(kind(each)) as db:
            db.on("identity_renewed", heard.append)
            assert expected == db.query_once_meta("$.config.author")
            db.check()
    assert 1 == len(heard)


def test_a_json_file_that_is_put_back_under_its_name_is_no_copy(tmp_path: Path) -> None:
    """It is written anew with each change, and its folder may be moved."""
    (tmp_path / "folder").mkdir()
    for folder in ("folder", "moved"):
        heard: list[Any] = []
        for number in range(3):
            with open_alone(cytosol.JsonFileSaveState(tmp_path / folder / "a.json")) as db:
                db.on("identity_renewed", heard.append)
                db.dispatch(cytosol.Set("$.a", number))
        assert [] == heard
        if folder == "folder":
            (tmp_path / "folder").rename(tmp_path / "moved")


def test_a_file_that_was_only_renamed_is_no_copy(tmp_path: Path) -> None:
    """It lies where it was."""
    path = tmp_path / "a"
    open_alone(path).close()
    path.rename(tmp_path / "b")
    heard: list[Any] = []
    with open_alone(tmp_path / "b") as db:
        db.on("identity_renewed", heard.append)
    assert [] == heard


# --- Secrets --------------------------------------------------------------------------------


def test_nothing_shows_the_secret_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither metadata nor a repr nor the log."""
    caplog.set_level(logging.DEBUG)
    state = cytosol.JsonFileSaveState(tmp_path / "a.json")
    with open_alone(state) as db:
        db.dispatch(cytosol.Set("$.a", 1))
        secret = db._identity.key_pair.secret
        text = base64.b64encode(secret).decode()
        assert text in (tmp_path / "a.json").read_text()
        shown = [json.dumps(db.query_once_meta("$")), caplog.text]
        parts: list[Any] = [db, db._identity, db._identity.key_pair, db._pairings, db._document]
        shown += [repr(part) for part in (*parts, *vars(db).values(), *db._document.__dict__)]
        for form in (text, secret.hex(), repr(secret)[2:-1]):
            assert not any(form in each for each in shown)
        assert "publicKey" in db.query_once_meta("$.config")[0]
        assert not {"privateKey", "secretKey"} & set(db.query_once_meta("$.config")[0])
    for action in (cytosol.RequestPair(OTHER_APP, "987654"), cytosol.AcceptPair("x", "987654")):
        assert "987654" not in repr(action)


def test_the_code_is_not_in_an_error() -> None:
    """Whatever else is wrong with the action."""
    with open_alone() as db:
        for payload in (
            {"id": OTHER_APP, "secret": "987654"},
            {"id": "nobody", "secret": "987654"},
            {"secret": "987654"},
            {"uuid": None, "secret": "987654"},
            {"id": OTHER_APP, "secret": ["987654"]},
        ):
            for extra in ({}, {"vars": {}}):
                with pytest.raises((cytosol.ActionError, cytosol.NetworkError)) as caught:
                    db.dispatch({"action": "RequestPair", "payload": payload, **extra})
                assert "987654" not in str(caught.value)


@pytest.mark.parametrize(
    "action",
    ["RequestPair", "AcceptPair", "RejectPair", "Unpair", "SetVisibleToPeers", "SetSyncEnabled"],
)
@pytest.mark.parametrize("payload", ["987654", ["987654"], {"id": "987654", "secret": 987654}])
def test_a_payload_in_the_wrong_place_is_not_in_an_error(action: str, payload: Any) -> None:
    """It may be a code."""
    with open_alone() as db:
        with pytest.raises(cytosol.ActionError) as caught:
            db.dispatch({"action": action, "payload": payload})
        assert action in str(caught.value)
        assert "987654" not in str(caught.value)


# --- Closing --------------------------------------------------------------------------------


async def first(db: cytosol.Database) -> object:
    """Return the first list of a watch."""
    async for values in db.watch("$"):
        return values
    return None


@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.dispatch(cytosol.Set("$.a", 1)),
        lambda db: db.dispatch(cytosol.Set("$.a", 1), return_failures=True),
        lambda db: db.dispatch(cytosol.SetSyncEnabled(True)),
        lambda db: db.dispatch(cytosol.Unpair(OTHER_APP)),
        lambda db: db.query_once("$"),
        lambda db: db.query_once_meta("$"),
        lambda db: db.get("a"),
        lambda db: db.subscribe("$", print),
        lambda db: db.subscribe_meta("$", print),
        lambda db: db.on("unpaired", print),
        lambda db: db.transaction(),
        lambda db: db.dismiss_failures([]),
        lambda db: db.state_hash(),
        lambda db: db.check(),
        lambda db: asyncio.run(first(db)),
        lambda db: asyncio.run(db.wait_for_peer(OTHER_APP)),
    ],
)
def test_after_closing_everything_says_so(call: Callable[[cytosol.Database], Any]) -> None:
    """Instead of doing something to a file that belongs to somebody else by now."""
    db = open_alone()
    db.close()
    db.close()
    with pytest.raises(cytosol.DatabaseClosedError, match="open it again"):
        call(db)
    assert db.peer_id in repr(db)


def test_closing_in_a_transaction_loses_the_transaction() -> None:
    """It cannot be done any more, and says so."""
    db = open_alone()

    def do() -> None:
        with db.transaction() as t:
            t.dispatch(cytosol.Set("$.a", 1))
            db.close()

    with pytest.raises(cytosol.DatabaseClosedError):
        do()


def test_writers_meet_a_closing_database(tmp_path: Path) -> None:
    """What was acknowledged is there; what came too late says so."""
    path = tmp_path / "a"
    db = open_alone(path)
    db.dispatch(cytosol.Set("$.n", 0))
    done: list[int] = []
    started = threading.Barrier(4)

    def write() -> None:
        count = 0
        started.wait()
        try:
            while True:
                db.dispatch(cytosol.Add("$.n", 1))
                count += 1
        except cytosol.DatabaseClosedError:
            done.append(count)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    db.close()
    for thread in threads:
        thread.join(30)
    assert 3 == len(done)
    with open_alone(path) as db:
        assert [sum(done)] == db.query_once("$.n")


def test_a_list_that_is_watched_ends_when_the_database_closes() -> None:
    """`async for` goes on behind the loop instead of waiting for ever."""

    async def main() -> list[Any]:
        db = open_alone()
        seen = []
        async for values in db.watch("$.a"):
            seen.append(values)
            if len(seen) < 3:
                db.dispatch(cytosol.Set("$.a", len(seen)))
            else:
                db.close()
        return seen

    assert [[], [1], [2]] == asyncio.run(asyncio.wait_for(main(), 30))


def test_watching_hears_of_writes_in_other_threads() -> None:
    """Every list, in order, and nothing after the loop was left."""

    async def main() -> list[Any]:
        with open_alone() as db:
            thread = threading.Thread(
                target=lambda: [db.dispatch(cytosol.Set("$.a", n)) for n in range(20)]
            )
            seen: list[Any] = []
            stream = db.watch("$.{k}", {"k": "a"})
            async for values in stream:
                seen += values
                if not values:
                    thread.start()
                if values == [19]:
                    break
            await stream.aclose()  # type: ignore[attr-defined]  # it is an async generator
            thread.join()
            assert 0 == len(db._document.subscriptions)
            return seen

    assert list(range(20)) == asyncio.run(asyncio.wait_for(main(), 30))


def test_waiting_for_a_peer_without_the_network_is_refused() -> None:
    """It would never end."""

    async def main(peer_id: str) -> None:
        with open_alone() as db:
            await db.wait_for_peer(peer_id)

    with pytest.raises(cytosol.NetworkError, match="network=False"):
        asyncio.run(main(OTHER_APP))
    with pytest.raises(cytosol.ActionError, match="not a UUID"):
        asyncio.run(main("laptop"))
