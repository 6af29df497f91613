"""The commands of `cytosol run`, given to a database without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.cli import prompt as prompt_module
from cytosol.cli.exits import exit_code, sentence
from cytosol.cli.happenings import Happenings
from cytosol.cli.prompt import HELP, Prompt, split_path
from tests.unit.document.faulty_state import FULL, FaultyState

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
OTHER = "11111111-2222-4333-8444-555555555555"
THIRD = "11111111-9999-4333-8444-555555555555"


class Recorder:
    """A screen that only remembers."""

    def __init__(self) -> None:
        self.lines_shown: list[str] = []
        self.replies: list[Any] = []
        self.errors: list[tuple[int, str]] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def lines(self) -> Iterator[str]:
        return iter(())

    def answer(self, lines: Sequence[str], data: Any) -> None:
        self.lines_shown += lines
        self.replies.append(data)

    def error(self, error: Exception) -> None:
        self.errors.append((exit_code(error), sentence(error)))

    def event(self, name: str, line: str, data: dict[str, Any]) -> None:
        self.events.append((name, line, data))


@pytest.fixture
def database() -> Iterator[cytosol.Database]:
    with cytosol.open(None, app_id=APP_ID, network=False) as opened:
        yield opened


def obey(database: cytosol.Database, *lines: str) -> Recorder:
    screen = Recorder()
    is_good = Prompt(database, screen).run(lines)
    assert is_good == (not screen.errors)
    return screen


def test_the_document_can_be_changed_and_read(database: cytosol.Database) -> None:
    """Every value of a query is one line of JSON."""
    screen = obey(
        database,
        'set $.list ["b"]\n',
        'dispatch {"action": "InsertBefore", "path": "$.list[0]", "payload": "a"}',
        "query $.list[*]",
        "delete $.list[1]",
        "get $.list",
        "meta $.config.appId",
    )
    assert ['"a"', '"b"', '["a"]', f'"{APP_ID}"'] == screen.lines_shown
    assert [None, None, ["a", "b"], None, [["a"]], [APP_ID]] == screen.replies


def test_a_watched_path_is_shown_when_it_changes(database: cytosol.Database) -> None:
    """The list at the beginning is the answer, later ones are events; unwatch ends them."""
    screen = obey(
        database, "set $.n 1", "watch $.n", "set $.n 2", "set $.other 1", "unwatch", "set $.n 3"
    )
    assert [None, [1], None, None, None, None] == screen.replies
    assert [("changed", "$.n is now [2]", {"path": "$.n", "values": [2]})] == screen.events


def test_quit_ends_and_comments_are_skipped(database: cytosol.Database) -> None:
    """A script may explain itself."""
    screen = obey(database, "# a remark", "", "set $.a 1", "quit", "set $.a 2")
    assert [None] == screen.replies
    assert [1] == database.query_once("$.a")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("frobnicate", 1, "there is no command 'frobnicate'"),
        ("set", 1, "set PATH JSON"),
        ("set $.a", 1, "set PATH JSON"),
        ("set $.a hello", 1, "double quotes"),
        ("set $.a.b 1", 1, "path does not exist"),
        ("query", 1, "query PATH"),
        ("query $[", 1, "at character"),
        ("dispatch {", 1, "not JSON"),
        ("dispatch 1", 1, "an action is an object"),
        ("sync maybe", 1, "say on or off"),
        ("unwatch $.a", 1, "is not watched"),
        ("accept", 1, "accept CODE"),
        ("accept 123456", 1, "no device asks to pair"),
        ("reject", 1, "no device asks to pair"),
        ("pair", 1, "say which visible device"),
        ("pair 7", 1, "there is no visible device called '7'"),
        ("unpair " + "9" * 5000, 1, "there is no paired device"),
        ("import", 1, "import FILE"),
        ("import /nowhere/data.json", 4, "there is no file"),
        ("\x1b[2J", 1, "\\u001b[2J"),
    ],
)
def test_a_bad_command_is_answered_and_the_next_one_obeyed(
    database: cytosol.Database, line: str, code: int, words: str
) -> None:
    """An error ends neither the program nor the connection with other devices."""
    screen = obey(database, line, "set $.after true")
    [(found, message)] = screen.errors
    assert code == found
    assert words in message
    assert "\x1b" not in message
    assert [True] == database.query_once("$.after")


def test_a_path_is_watched_once(database: cytosol.Database) -> None:
    """Twice would print everything twice."""
    screen = obey(database, "watch $.a", "watch $.a")
    assert [(1, "$.a is watched already")] == screen.errors


@pytest.mark.parametrize(
    ("text", "path", "rest"),
    [
        ("$.a 1", "$.a", "1"),
        ("$.a", "$.a", ""),
        ("$['a b'].c  [1, 2]", "$['a b'].c", "[1, 2]"),
        ('$["it\'s ]"] "x"', '$["it\'s ]"]', '"x"'),
        ("$['\\' ] '] 1", "$['\\' ] ']", "1"),
        ("$[?@.a == 'b' && (@.c > 1)].d  null", "$[?@.a == 'b' && (@.c > 1)].d", "null"),
        ("$[ 'unclosed 1", "$[ 'unclosed 1", ""),
    ],
)
def test_a_path_ends_at_white_space_outside_brackets(text: str, path: str, rest: str) -> None:
    """Paths may contain spaces, in names and in filters."""
    assert (path, rest) == split_path(text)


def test_an_import_that_the_disk_interrupts_tells_what_is_in(tmp_path: Path) -> None:
    """Each Transaction is saved or not; the ones before stay, and importing again replaces them."""
    file = tmp_path / "rows.json"
    rows = list(range(5_000))
    file.write_text(json.dumps({"rows": rows, "more": rows}))
    state = FaultyState()
    with cytosol.open(state, app_id=APP_ID, network=False) as database:
        state.fill()
        screen = obey(database, f"import {file}")
        assert (4, FULL) == screen.errors[0]
        state.free()

        class FillsUp(Recorder):
            def event(self, name: str, line: str, data: dict[str, Any]) -> None:
                state.fill()

        screen = FillsUp()
        assert not Prompt(database, screen).run([f"import {file}"])
        ((code, sentence),) = screen.errors
        assert 4 == code
        assert f"only a part of '{file}' is in the document" in sentence
        assert re.search(r"[0-9.]+ KiB of [0-9.]+ KiB: ", sentence)
        assert sentence.endswith("then import it again, which replaces the part")
        assert 0 < len(database.query_once("$.rows[*]")) < len(rows)
        state.free()
        assert not obey(database, f"import {file}").errors
        assert [{"rows": rows, "more": rows}] == database.query_once("$")


def test_a_file_is_imported_with_progress(database: cytosol.Database, tmp_path: Path) -> None:
    """Long imports tell how far they are."""
    file = tmp_path / "my data.json"
    rows = [{"text": "x" * 200} for _ in range(4_000)]
    file.write_text(json.dumps(rows))
    screen = obey(database, f"import {file} $.rows")
    assert [{"values": 8_001, "bytes": len(json.dumps(rows)) - 4_000 * 2 + 1}] == screen.replies
    shares = [event[2]["done"] / event[2]["total"] for event in screen.events]
    assert shares == sorted(shares)
    assert len(shares) > 1
    assert [rows] == database.query_once("$.rows")


def test_stats_hash_and_check_tell_of_the_document(database: cytosol.Database) -> None:
    """What `cytosol check` reports can be asked for while the device runs."""
    screen = obey(database, "set $.a [1, 2]", "hash", "stats", "check")
    _, state_hash, stats, is_good = screen.replies
    assert database.state_hash() == state_hash == stats["stateHash"]
    assert (4, 1, True) == (stats["values"], stats["ops"], is_good)


def test_switches_show_in_the_configuration(database: cytosol.Database) -> None:
    """Sync and visibility can be switched off and on."""
    screen = obey(
        database, "sync off", "visible off", "meta $.config['syncEnabled','visibleToPeers']"
    )
    assert [False, False] == screen.replies[-1]


def test_wait_returns_what_it_waited_for(database: cytosol.Database) -> None:
    """A script can wait for a value, or for any value."""
    screen = obey(database, "set $.a 1", "wait $.a", "wait $.a 1.0")
    assert [None, [1], [1]] == screen.replies


@pytest.mark.parametrize("line", ["wait $.a 2", "wait $.b", "wait peer", "wait connection"])
def test_wait_gives_up(
    database: cytosol.Database, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not come is an error after the time is over."""
    monkeypatch.setattr(prompt_module, "WAIT_S", -1.0)
    screen = obey(database, "set $.a 1", line)
    assert "in vain" in screen.errors[0][1]


def test_help_names_every_command(database: cytosol.Database) -> None:
    """What is listed works, and what works is listed."""
    shown = obey(database, "help").lines_shown
    assert len(HELP) == len(shown)
    for usage, text in HELP:
        assert any(line.startswith(usage) and line.endswith(text) for line in shown)


def test_devices_are_named_in_several_ways(database: cytosol.Database) -> None:
    """A number stays; an id may be cut short while it is clear; a name must be whole."""
    prompt = Prompt(database, Recorder())
    prompt._happenings.number_of(OTHER)
    prompt._happenings.number_of(THIRD)
    known = {OTHER: "Phone", THIRD: "Tablet"}
    for who in ("1", OTHER, OTHER.upper(), "11111111-2", "Phone"):
        assert OTHER == prompt._find(who, known, "device")
    with pytest.raises(prompt_module.CommandError, match="means 2 devices"):
        prompt._find("1111", known, "device")
    with pytest.raises(prompt_module.CommandError, match="no device called 'Pho'"):
        prompt._find("Pho", known, "device")
    with pytest.raises(prompt_module.CommandError, match="no device called '1'"):
        prompt._find("1", {THIRD: "Tablet"}, "device")


class Announcer:
    """Stands in for a database whose network has news."""

    def __init__(self) -> None:
        self._callbacks: dict[str, Any] = {}
        self._tell_peers: Any = None

    def on(self, name: str, callback: Any) -> None:
        self._callbacks[name] = callback

    def subscribe_meta(self, path: str, callback: Any) -> None:
        callback([])
        self._tell_peers = callback

    def tell(self, name: str, event: Any) -> None:
        self._callbacks[name](event)

    def tell_peers(self, **names: str) -> None:
        self._tell_peers([{"id": {"a": OTHER, "b": THIRD}[k], "name": n} for k, n in names.items()])


@pytest.fixture
def announcer() -> Announcer:
    return Announcer()


def test_events_are_told_in_sentences(announcer: Announcer) -> None:
    """Names come from other devices and lose their control characters."""
    screen = Recorder()
    Happenings(announcer, screen).watch()  # type: ignore[arg-type]  # it has what is used
    name = "Ev\x1b[31mil"
    for kind, event in (
        ("pair_request", cytosol.PairRequest(OTHER, name)),
        ("pair_cancelled", cytosol.PairCancelled(OTHER, name)),
        ("pair_response", cytosol.PairResponse(OTHER, name, True)),
        ("pair_response", cytosol.PairResponse(OTHER, name, False, "the code is wrong")),
        ("peer_connected", cytosol.PeerConnected(OTHER, name)),
        ("peer_disconnected", cytosol.PeerDisconnected(OTHER, name, "gone")),
        ("unpaired", cytosol.Unpaired(OTHER, name)),
        ("history_adopted", cytosol.HistoryAdopted(OTHER, True, 3, 1)),
        ("history_adopted", cytosol.HistoryAdopted(OTHER, False, 0, 0)),
        ("identity_renewed", cytosol.IdentityRenewed(OTHER, "a copy")),
        ("callback_error", cytosol.CallbackError(ValueError("oops"))),
    ):
        announcer.tell(kind, event)
        assert kind == screen.events[-1][0]
    assert all(line.isprintable() for _, line, _ in screen.events)
    assert "type `accept CODE`" in screen.events[0][1]
    assert "not paired" in screen.events[3][1]
    assert "3 changes" in screen.events[7][1]


def test_devices_that_come_and_go_are_told_once(announcer: Announcer) -> None:
    """Only what is new is told, and a device keeps its number."""
    screen = Recorder()
    Happenings(announcer, screen).watch()  # type: ignore[arg-type]  # it has what is used
    announcer.tell_peers(a="Phone")
    announcer.tell_peers(a="Phone", b="Tablet")
    announcer.tell_peers(b="Tablet")
    announcer.tell_peers(a="Phone", b="Tablet")
    assert [
        "device 1 'Phone' is there",
        "device 2 'Tablet' is there",
        "device 1 'Phone' is gone",
        "device 1 'Phone' is there",
    ] == [line for _, line, _ in screen.events]


def test_waiting_requests_come_and_go(announcer: Announcer) -> None:
    """One request needs no name; several do; a cancelled one cannot be accepted."""
    prompt = Prompt(announcer, Recorder())  # type: ignore[arg-type]  # it has what is used
    prompt._happenings.watch()
    announcer.tell("pair_request", cytosol.PairRequest(OTHER, "Phone"))
    assert OTHER == prompt._find_asking("")
    announcer.tell("pair_request", cytosol.PairRequest(THIRD, "Tablet"))
    assert THIRD == prompt._find_asking("2")
    with pytest.raises(prompt_module.CommandError, match="say which one"):
        prompt._find_asking("")
    announcer.tell("pair_cancelled", cytosol.PairCancelled(OTHER, "Phone"))
    assert THIRD == prompt._find_asking("")
