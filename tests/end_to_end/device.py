"""Run one database in this process, told what to do by JSON lines on standard input.

Each line in is `{"id": n, "do": command, ...}` and is answered by `{"id": n, "result": ...}` or
`{"id": n, "error": [kind, sentence]}`; `wait` and `wait_meta` are answered when what they
wait for is true. Events are lines `{"event": name, ...}`. The end of the input closes the database.
The one argument is an object with the file and the options of `cytosol.open`.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import cytosol

EVENTS = (
    "pair_request",
    "pair_response",
    "pair_cancelled",
    "unpaired",
    "peer_connected",
    "peer_disconnected",
    "identity_renewed",
    "history_adopted",
    "callback_error",
)


class Device:
    """The commands; each returns what is to be answered, `LATER` if it answers itself."""

    LATER = object()

    def __init__(self, database: cytosol.Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        for name in EVENTS:
            database.on(name, lambda event, name=name: self.announce(name, event))

    def say(self, message: dict[str, Any]) -> None:
        """Write one line, whole, whichever thread it comes from."""
        with self._lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def announce(self, name: str, event: Any) -> None:
        """Write an event down."""
        fields = {each.name: getattr(event, each.name) for each in dataclasses.fields(event)}
        self.say({"event": name, **{key: _plain(value) for key, value in fields.items()}})

    def obey(self, message: dict[str, Any]) -> None:
        """Do one command and answer it."""
        ident, name = message.pop("id"), message.pop("do")
        try:
            result = getattr(self, f"do_{name}")(ident, **message)
        except cytosol.CytosolError as error:
            self.say({"id": ident, "error": [type(error).__name__, str(error)]})
        else:
            if result is not self.LATER:
                self.say({"id": ident, "result": result})

    def do_dispatch(self, ident: int, action: dict[str, Any]) -> Any:
        """Dispatch an action of either kind."""
        return self._database.dispatch(action)

    def do_fill(self, ident: int, name: str, count: int, size: int) -> int:
        """Write `count` members into an object, an op each, and how far we are beside it."""
        self._database.dispatch(cytosol.InitObject(f"$.{name}"))
        for number in range(count):
            text = f"{number:08d}" + "x" * size
            self._database.dispatch(cytosol.Set(f"$.{name}.k{number}", text))
        return count

    def do_query(self, ident: int, path: str) -> Any:
        """Query the document."""
        return self._database.query_once(path)

    def do_meta(self, ident: int, path: str) -> Any:
        """Query the metadata."""
        return self._database.query_once_meta(path)

    def do_state(self, ident: int) -> list[str]:
        """Return the state hash and a digest of the whole document."""
        text = json.dumps(self._database.query_once("$"), sort_keys=True)
        return [self._database.state_hash(), hashlib.sha256(text.encode()).hexdigest()]

    def do_wait(self, ident: int, path: str, equals: Any) -> object:
        """Answer as soon as a query gives this list."""
        return self._wait(ident, self._database.subscribe, path, equals)

    def do_wait_meta(self, ident: int, path: str, equals: Any) -> object:
        """Answer as soon as a query of the metadata gives this list."""
        return self._wait(ident, self._database.subscribe_meta, path, equals)

    def _wait(self, ident: int, subscribe: Callable[..., Any], path: str, equals: Any) -> object:
        done = threading.Event()

        def look(values: list[Any]) -> None:
            if values == equals and not done.is_set():
                done.set()
                self.say({"id": ident, "result": values})

        subscribe(path, look)
        return self.LATER

    def do_die_at(self, ident: int, path: str) -> None:
        """Kill this process, as `kill -9` does, as soon as a query gives anything."""
        self._database.subscribe(
            path, lambda values: values and os.kill(os.getpid(), signal.SIGKILL)
        )

    def do_stop_at(self, ident: int, path: str) -> None:
        """Stand still, until SIGCONT comes, as soon as a query gives anything; say so before."""

        def stop(values: list[Any]) -> None:
            if values:
                subscription.cancel()
                self.say({"event": "standing still"})
                os.kill(os.getpid(), signal.SIGSTOP)

        subscription = self._database.subscribe(path, stop)

    def do_die_on(self, ident: int, event: str) -> None:
        """Kill this process, as `kill -9` does, as soon as an event comes."""
        self._database.on(event, lambda _: os.kill(os.getpid(), signal.SIGKILL))

    def do_inside(self, ident: int) -> dict[str, Any]:
        """Return what tells why a sync does not get on: for people who read a failure."""
        network, document = self._database._network, self._database._document
        with document.lock:
            summary = document.history.summary()
            return {
                "problems": [] if network is None else network.problems(),
                "log": len(document.replica.log),
                "waiting": len(document.replica.waiting),
                "latest": {key.hex()[:6]: index for key, index in summary.latest.items()},
                "trimmed": {key.hex()[:6]: index for key, index in summary.trimmed.items()},
                "trim": repr(summary.trim),
                "acknowledged": {
                    peer.hex()[:6]: {key.hex()[:6]: index for key, index in latest.items()}
                    for peer, latest in document.history._acks._counted.items()
                },
            }

    def do_gateway_port(self, ident: int) -> int:
        """Return the TCP port on which this device is called."""
        network = self._database._network
        return getattr(network, "gateway_port", 0)

    def do_doctor(self, ident: int, **options: Any) -> Any:
        """Ask the doctor of this very database; answers when it has finished."""
        return self._database.doctor(**options).to_json()

    def do_check(self, ident: int) -> None:
        """Check the document and its file."""
        self._database.check()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, bool, type(None))) else repr(value)


def main() -> None:
    """Open, obey until the input ends, close."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    options = json.loads(sys.argv[1])
    with cytosol.open(options.pop("file"), **options) as database:
        device = Device(database)
        device.say({"event": "ready", "peer_id": database.peer_id})
        for line in sys.stdin:
            device.obey(json.loads(line))


if __name__ == "__main__":
    main()
