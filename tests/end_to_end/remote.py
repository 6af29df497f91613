"""The tests' side of `device.py`: one process in one namespace, and what it says.

All waiting is for a condition, with a deadline far beyond what a busy machine needs; a deadline
that passes tells what the device knew at that time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.end_to_end.lab import Namespace

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
PROGRAM = Path(__file__).with_name("device.py")
DEADLINE_S = 120.0


class RefusedError(Exception):
    """A command that the device refused: the error's class and its sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(f"{kind}: {sentence}")
        self.kind = kind


class Remote:
    """A device: a file, a host to run on, and the process while it runs."""

    def __init__(self, host: Namespace, file: Path, name: str, **options: Any) -> None:
        self.host = host
        self.file = file
        self.name = name
        self.options = options
        self.peer_id = ""
        self.events: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._has_ended = False
        self._errors = file.with_name(f"{name}.stderr")

    # --- Life --------------------------------------------------------------------------

    def start(self) -> Remote:
        """Start the process and wait until its database is open."""
        assert self._process is None, f"{self.name} runs already"
        options = {"file": str(self.file), "app_id": APP_ID, "peer_name": self.name}
        command = self.host.inside(
            sys.executable, str(PROGRAM), json.dumps({**options, **self.options})
        )
        self.events.clear()
        self._has_ended = False
        with self._errors.open("a") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self.peer_id = self.event("ready")["peer_id"]
        return self

    def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self.died()

    def go_on(self) -> None:
        """Let a process go on that stands still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def died(self) -> None:
        """Wait until the process was killed by somebody."""
        assert self._process is not None
        assert self._process.wait(DEADLINE_S) == -signal.SIGKILL, self.tell("did not die")
        self._forget()

    def close(self) -> None:
        """Have the database closed and the process end well; harmless when it does not run."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        try:
            process.stdin.close()
            code = process.wait(DEADLINE_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
            raise
        assert code == 0, self.tell(f"ended with exit code {code}")

    def stop_anyway(self) -> None:
        """End the process at the end of a test, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # what it was sent and did not read
            self._process.stdin.close()
        self._process = None

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                with self._changed:
                    if "event" in message:
                        self.events.append(message)
                    else:
                        self._answers[message["id"]] = message
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = self._has_ended or process is self._process
            self._changed.notify_all()

    # --- Talking -----------------------------------------------------------------------

    def ask(self, what: str, **arguments: Any) -> int:
        """Send a command; return the number of its answer."""
        assert self._process is not None, f"{self.name} does not run"
        assert self._process.stdin is not None
        self._last_id += 1
        message = {"id": self._last_id, "do": what, **arguments}
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return self._last_id

    def answer(self, number: int, told: str, deadline: float = DEADLINE_S) -> Any:
        """Wait for an answer; raises RefusedError for one that is a refusal."""
        self._until(lambda: number in self._answers, told, deadline)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RefusedError(*answer["error"])
        return answer["result"]

    def call(self, what: str, **arguments: Any) -> Any:
        """Send a command and return its result."""
        return self.answer(self.ask(what, **arguments), f"{what} was not answered")

    def dispatch(self, action: str, path_or_payload: Any, *payload: Any) -> None:
        """Dispatch an action: its name and payload, or its name, path and payload."""
        message: dict[str, Any] = {"action": action}
        if payload:
            message.update(path=path_or_payload, payload=payload[0])
        elif isinstance(path_or_payload, str) and path_or_payload.startswith("$"):
            message["path"] = path_or_payload
        else:
            message["payload"] = path_or_payload
        self.call("dispatch", action=message)

    def query(self, path: str) -> Any:
        """Query the document."""
        return self.call("query", path=path)

    def meta(self, path: str) -> Any:
        """Query the metadata."""
        return self.call("meta", path=path)

    def state(self) -> list[str]:
        """Return the state hash and a digest of the document."""
        return list(self.call("state"))

    # --- Waiting -----------------------------------------------------------------------

    def wait(self, path: str, *equals: Any, deadline: float = DEADLINE_S) -> None:
        """Wait until a query gives exactly these values."""
        number = self.ask("wait", path=path, equals=list(equals))
        self.answer(number, f"{path} never became {list(equals)!r}"[:300], deadline)

    def wait_meta(self, path: str, *equals: Any, deadline: float = DEADLINE_S) -> None:
        """Wait until a query of the metadata gives exactly these values."""
        number = self.ask("wait_meta", path=path, equals=list(equals))
        self.answer(number, f"metadata {path} never became {list(equals)!r}", deadline)

    def wait_connected(self, other: Remote, deadline: float = DEADLINE_S) -> None:
        """Wait until the other device is connected."""
        path = f"$.peers[?@.id == '{other.peer_id}'].connected"
        self.wait_meta(path, True, deadline=deadline)

    def wait_visible(self, other: Remote, deadline: float = DEADLINE_S) -> None:
        """Wait until the other device's heartbeats were heard."""
        path = f"$.peers[?@.id == '{other.peer_id}'].id"
        self.wait_meta(path, other.peer_id, deadline=deadline)

    def event(self, name: str, deadline: float = DEADLINE_S, **fields: Any) -> dict[str, Any]:
        """Wait for an event, take it off the list and return it."""

        def first() -> dict[str, Any] | None:
            for event in self.events:
                if event["event"] == name and fields.items() <= event.items():
                    return event
            return None

        self._until(lambda: first() is not None, f"no event {name} {fields}", deadline)
        event = first()
        assert event is not None
        self.events.remove(event)
        return event

    def _until(self, is_true: Callable[[], bool], told: str, deadline: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: is_true() or self._has_ended, deadline)
            if is_true():
                return
        raise AssertionError(self.tell(told))

    def tell(self, told: str) -> str:
        """Return a failure with everything that the device knows."""
        lines = [f"{self.name} ({self.peer_id}): {told}"]
        lines += [f"  event {event}" for event in self.events[-20:]]
        if self._has_ended or self._process is None:
            lines.append("  the process has ended")
        else:
            for what, path in (("meta", "$.peers"), ("meta", "$.pairings"), ("inside", None)):
                arguments = {} if path is None else {"path": path}
                number = self.ask(what, **arguments)
                with self._changed:
                    self._changed.wait_for(lambda number=number: number in self._answers, 5.0)
                answer = self._answers.pop(number, {}).get("result", "no answer")
                lines.append(f"  {path or what}: {answer}")
            if "no answer" in lines[-1]:
                self._process.send_signal(signal.SIGUSR1)
                time.sleep(0.5)  # for the stacks of its threads to be written
        lines.append(self._errors.read_text()[-6000:])
        return "\n".join(lines)


def wait_equal(*devices: Remote, deadline: float = DEADLINE_S) -> None:
    """Wait until all devices have equal documents and equal state hashes.

    No subscription tells of a hash, so it is asked for until it fits.
    """
    end = time.monotonic() + deadline
    states = [device.state() for device in devices]
    while states.count(states[0]) != len(states):
        if time.monotonic() > end:
            documents = [device.query("$") for device in devices]
            told = "\n".join(device.tell("differs from the others") for device in devices)
            raise AssertionError(f"{states}\n{str(documents)[:3000]}\n{told}")
        time.sleep(0.02)
        states = [device.state() for device in devices]


def wait_trimmed(device: Remote, deadline: float = DEADLINE_S) -> None:
    """Wait until a device has dropped a part of its history."""
    end = time.monotonic() + deadline
    while device.call("inside")["trim"] == "None":
        assert time.monotonic() < end, device.tell("has not trimmed anything")
        time.sleep(0.02)


def pair(first: Remote, second: Remote, code: str | None = None) -> None:
    """Pair two devices that may not even have heard of each other yet, and wait for both."""
    first.wait_visible(second)
    code = code or os.urandom(4).hex()  # each is good for one attempt
    first.dispatch("RequestPair", {"id": second.peer_id, "secret": code})
    second.event("pair_request", peer_id=first.peer_id)
    second.dispatch("AcceptPair", {"id": first.peer_id, "secret": code})
    for one, other in ((first, second), (second, first)):
        response = one.event("pair_response", peer_id=other.peer_id)
        assert response["accepted"], response
        one.wait_connected(other)
