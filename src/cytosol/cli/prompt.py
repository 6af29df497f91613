"""The commands of a peer in the terminal, one method each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import cytosol
from cytosol.cli.exits import CommandError, exit_code
from cytosol.cli.happenings import Happenings
from cytosol.cli.imports import batches, read_json_file
from cytosol.cli.screen import Screen
from cytosol.cli.text import count_of, json_text, parse_json, printable, size_text
from cytosol.database.report import describe
from cytosol.errors import CytosolError
from cytosol.model.json import JsonValue, canonical_bytes, count_places, equal_json

__all__ = ["Prompt", "split_path"]

Answer = tuple[list[str], JsonValue]

ID_LENGTH_MIN: Final = 4  # of the beginning of an id: fewer digits are a number
WAIT_S: Final = 30.0
WAIT_STEP_S: Final = 0.02

HELP: Final = (
    ("peers", "list the devices that are there"),
    ("pairings", "list the paired devices"),
    ("requests", "list the devices that ask to pair"),
    ("pair DEVICE", "ask a device to pair, and show the code to type there"),
    ("accept CODE [DEVICE]", "accept a pair request with the code that the device shows"),
    ("reject [DEVICE]", "reject a pair request"),
    ("unpair DEVICE", "end a pairing, on both sides"),
    ("query PATH", "print what a JSONPath selects, one value a line (also: get)"),
    ("meta PATH", "the same for the metadata: $.peers, $.pairings, $.failures ..."),
    ("set PATH JSON", "put a value at a place"),
    ("delete PATH", "remove what a path selects"),
    ("dispatch JSON", "do any action"),
    ("import FILE [PATH]", "put the content of a JSON file at a place, or at the root"),
    ("watch PATH", "print what a path selects whenever it changes"),
    ("unwatch [PATH]", "stop that"),
    ("wait PATH [JSON]", "wait until a path selects something, or a given value"),
    ("wait peer|request|connection", "wait until there is one (for scripts)"),
    ("sync on|off", "connect to paired devices, or pause"),
    ("visible on|off", "be seen by devices that are not paired, or not"),
    ("hash", "print the state hash: equal hashes, equal documents"),
    ("stats", "print how much there is"),
    ("check", "check the document and the file"),
    ("quit", "close the file and end"),
)


class Prompt:
    """Obeys commands; a device is named by its number, its id, the id's beginning or its name."""

    def __init__(self, database: cytosol.Database, screen: Screen) -> None:
        self._database = database
        self._screen = screen
        self._happenings = Happenings(database, screen)
        self._watched: dict[str, cytosol.Subscription] = {}
        self._commands: dict[str, Callable[[str], Answer]] = {
            name.partition(" ")[0]: getattr(self, f"_{name.partition(' ')[0]}")
            for name, _ in HELP
            if name != "quit"
        }
        self._commands.update(get=self._query, help=self._help)

    def run(self, lines: Iterable[str]) -> bool:
        """Obey commands until there are no more, or until `quit`; True if none was refused."""
        self._happenings.watch()
        is_good = True
        for line in lines:
            name, _, rest = line.strip().partition(" ")
            if name in ("quit", "exit"):
                break
            if name and not name.startswith("#"):
                is_good = self._obey(name, rest.strip()) and is_good
        return is_good

    def _obey(self, name: str, rest: str) -> bool:
        try:
            command = self._commands.get(name)
            if command is None:
                raise CommandError(f"there is no command {printable(name)!r}; type help for a list")
            answer = command(rest)
        except (CommandError, CytosolError) as error:
            self._screen.error(error)
            return False
        self._screen.answer(*answer)
        return True

    def _help(self, rest: str) -> Answer:
        return [f"{usage:30}{text}" for usage, text in HELP], [usage for usage, _ in HELP]

    # --- devices ------------------------------------------------------------------------

    def _peers(self, rest: str) -> Answer:
        peers = self._database.query_once_meta("$.peers[*]")
        lines = []
        for peer in peers:
            state = "connected" if peer["connected"] else "paired" if peer["paired"] else "new"
            lines.append(f"{self._label(peer)}  {peer['id']}  {peer['ipAddress']}  {state}")
        return lines or ["no other device is there"], self._numbered(peers)

    def _pairings(self, rest: str) -> Answer:
        pairings = self._database.query_once_meta("$.pairings[*]")
        lines = [f"{self._label(peer)}  {peer['id']}" for peer in pairings]
        return lines or ["no device is paired"], self._numbered(pairings)

    def _requests(self, rest: str) -> Answer:
        asking = [{"id": ident, "name": name} for ident, name in self._asking().items()]
        lines = [f"{self._label(peer)}  {peer['id']}" for peer in asking]
        return lines or ["no device asks to pair"], self._numbered(asking)

    def _label(self, peer: JsonValue) -> str:
        return self._happenings.label(peer["id"], peer["name"])

    def _numbered(self, peers: list[JsonValue]) -> JsonValue:
        return [{"number": self._happenings.number_of(peer["id"]), **peer} for peer in peers]

    def _asking(self) -> dict[str, str]:
        return dict(self._happenings.requests)

    def _pair(self, rest: str) -> Answer:
        peer_id = self._find(rest, self._known("peers"), "visible device")
        code = cytosol.new_pairing_code()
        self._database.dispatch(cytosol.RequestPair(peer_id, code))
        lines = [f"the pairing code is {code}: type it on the other device"]
        return lines, {"peerId": peer_id, "code": code}

    def _accept(self, rest: str) -> Answer:
        code, _, who = rest.partition(" ")
        if not code:
            raise CommandError("accept needs the code that the other device shows: accept CODE")
        peer_id = self._find_asking(who)
        self._database.dispatch(cytosol.AcceptPair(peer_id, code))
        return [], {"peerId": peer_id}

    def _reject(self, rest: str) -> Answer:
        peer_id = self._find_asking(rest)
        self._database.dispatch(cytosol.RejectPair(peer_id))
        self._happenings.requests.pop(peer_id, None)
        return ["rejected"], {"peerId": peer_id}

    def _unpair(self, rest: str) -> Answer:
        peer_id = self._find(rest, self._known("pairings"), "paired device")
        self._database.dispatch(cytosol.Unpair(peer_id))
        return [], {"peerId": peer_id}

    def _known(self, what: str) -> dict[str, str]:
        found = self._database.query_once_meta(f"$.{what}[*]")
        return {peer["id"]: peer["name"] for peer in found}

    def _find_asking(self, who: str) -> str:
        asking = self._asking()
        if who.strip():
            return self._find(who.strip(), asking, "device that asks to pair")
        if len(asking) == 1:
            return next(iter(asking))
        if not asking:
            raise CommandError("no device asks to pair")
        raise CommandError("several devices ask to pair; say which one, see requests")

    def _find(self, who: str, known: dict[str, str], what: str) -> str:
        """Return the id of a device by its number, its id or the beginning of it, or its name."""
        if not who:
            raise CommandError(f"say which {what}: its number, its id or its name")
        if who.isascii() and who.isdigit() and len(who) < 9:
            numbered = self._happenings.id_of(int(who))
            if numbered in known:
                return str(numbered)
        found = [ident for ident, name in known.items() if name == who]
        if not found and len(who) >= ID_LENGTH_MIN:
            found = [ident for ident in known if ident.startswith(who.lower())]
        if not found:
            raise CommandError(f"there is no {what} called {printable(who)!r}; see peers")
        if len(found) > 1:
            raise CommandError(f"{printable(who)!r} means {len(found)} devices; give the number")
        return found[0]

    # --- the document -------------------------------------------------------------------

    def _query(self, rest: str) -> Answer:
        values = self._database.query_once(_needed(rest, "query PATH"))
        return [json_text(value) for value in values], values

    def _meta(self, rest: str) -> Answer:
        values = self._database.query_once_meta(_needed(rest, "meta PATH"))
        return [json_text(value) for value in values], values

    def _set(self, rest: str) -> Answer:
        path, text = split_path(_needed(rest, "set PATH JSON"))
        if not text:
            raise CommandError("set needs a path and a value: set PATH JSON")
        self._database.dispatch(cytosol.Set(path, parse_json(text, "the value")))
        return [], None

    def _delete(self, rest: str) -> Answer:
        self._database.dispatch(cytosol.Delete(_needed(rest, "delete PATH")))
        return [], None

    def _dispatch(self, rest: str) -> Answer:
        action = parse_json(_needed(rest, "dispatch JSON"), "the action")
        self._database.dispatch(action)
        return [], None

    def _import(self, rest: str) -> Answer:
        name, path = _needed(rest, "import FILE [PATH]"), "$"
        before, _, last = name.rpartition(" ")
        if before and last.startswith("$"):
            name, path = before.strip(), last
        file = Path(name).expanduser()
        value = read_json_file(file)
        total, done = len(canonical_bytes(value)), 0
        for actions, size in batches(path, value):
            try:
                self._database.dispatch(cytosol.Transaction(actions))
            except CytosolError as error:
                if not done:
                    raise
                raise CommandError(
                    f"only a part of '{file}' is in the document, {size_text(done)} of "
                    f"{size_text(total)}: {error}; then import it again, which replaces the part",
                    exit_code(error),
                ) from error
            done += size
            if done < total * 0.99:
                line = f"importing: {100 * done // total} %"
                self._screen.event("progress", line, {"done": done, "total": total})
        count = count_places(value)
        return [f"imported {count_of(count, 'value')}"], {"values": count, "bytes": total}

    def _watch(self, rest: str) -> Answer:
        path = _needed(rest, "watch PATH")
        if path in self._watched:
            raise CommandError(f"{path} is watched already")
        first: list[list[JsonValue]] = []

        def show(values: list[JsonValue]) -> None:
            if not first:  # comes before `subscribe` returns: it is the answer
                first.append(values)
                return
            line = f"{path} is now {json_text(values)}"
            self._screen.event("changed", line, {"path": path, "values": values})

        self._watched[path] = self._database.subscribe(path, show)
        return [json_text(value) for value in first[0]], first[0]

    def _unwatch(self, rest: str) -> Answer:
        if rest and rest not in self._watched:
            raise CommandError(f"{rest} is not watched")
        for path in [rest] if rest else list(self._watched):
            self._watched.pop(path).cancel()
        return [], None

    # --- the rest -----------------------------------------------------------------------

    def _wait(self, rest: str) -> Answer:
        word = _needed(rest, "wait PATH [JSON]")
        path, text = split_path(word)
        wanted = [parse_json(text, "the value")] if text else None
        meta = self._database.query_once_meta

        def look() -> list[Any]:
            if word == "peer":
                return meta("$.peers[*]")
            if word == "connection":
                return meta("$.peers[?@.connected == true]")
            if word == "request":
                return list(self._asking())
            values = self._database.query_once(path)
            return values if wanted is None or equal_json(values, wanted) else []

        deadline = time.monotonic() + WAIT_S
        while not (found := look()):
            if time.monotonic() > deadline:
                raise CommandError(f"waited {WAIT_S:.0f} s in vain for {word}")
            time.sleep(WAIT_STEP_S)
        return [], found

    def _sync(self, rest: str) -> Answer:
        self._database.dispatch(cytosol.SetSyncEnabled(_switch(rest, "sync")))
        return [], None

    def _visible(self, rest: str) -> Answer:
        self._database.dispatch(cytosol.SetVisibleToPeers(_switch(rest, "visible")))
        return [], None

    def _hash(self, rest: str) -> Answer:
        state_hash = self._database.state_hash()
        return [state_hash], state_hash

    def _stats(self, rest: str) -> Answer:
        report = describe(self._database).to_json()
        return [f"{name}: {json_text(value)}" for name, value in report.items()], report

    def _check(self, rest: str) -> Answer:
        report = self._database.check()
        return [*str(report).split("\n"), "everything fits together"], True


def _needed(rest: str, usage: str) -> str:
    if not rest:
        raise CommandError(f"something is missing; use it so: {usage}")
    return rest


def _switch(rest: str, name: str) -> bool:
    if rest not in ("on", "off"):
        raise CommandError(f"say on or off: {name} on")
    return rest == "on"


def split_path(text: str) -> tuple[str, str]:
    """Return the JSONPath that a text begins with, and what follows it.

    A path ends at white space outside its brackets and strings.
    """
    depth, quote, is_escaped = 0, "", False
    for position, character in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif quote:
            is_escaped = character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character.isspace() and depth <= 0:
            return text[:position], text[position:].strip()
    return text, ""
