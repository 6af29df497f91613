"""`cytosol run` driven as a script drives it, and as a person at a terminal does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

import pytest

CYTOSOL = [sys.executable, "-m", "cytosol.cli"]
LINE_S = 60.0


class Terminal:
    """A device whose output lines are waited for, with a deadline."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*CYTOSOL, "run", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        self._lines: Queue[str] = Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))

    def type(self, *lines: str) -> None:
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, words: str) -> str:
        """Return the next line with these words in it."""
        while True:
            try:
                line = self._lines.get(timeout=LINE_S)
            except Empty:
                raise AssertionError(f"no line with {words!r} came; seen: {self.seen}") from None
            self.seen.append(line)
            if words in line:
                return line

    def quit(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=LINE_S)

    def stop_anyway(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        with suppress(OSError):  # what it was sent and did not read
            self.process.stdin.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Terminal, Terminal]]:
    """Two devices of one app on the loopback interface, one with a readable file."""
    app_id = str(uuid.uuid4())
    devices = [
        Terminal(str(tmp_path / file), "--app-id", app_id, "--name", name, "--loopback", *more)
        for file, name, more in (
            ("laptop.cytosol", "Laptop", ["--relaxed"]),
            ("phone.json", "Phone", []),
        )
    ]
    yield devices[0], devices[1]
    for device in devices:
        device.stop_anyway()


def test_two_terminals_pair_sync_and_unpair(pair: tuple[Terminal, Terminal]) -> None:
    """What the prompt offers is enough to go from strangers to one document and back."""
    laptop, phone = pair
    for device in pair:
        device.type("wait peer", "peers")
    assert "1 'Phone'" in laptop.wait("new")
    assert "1 'Laptop'" in phone.wait("new")
    laptop.type("pair Phone")
    code = laptop.wait("the pairing code is").split("the pairing code is ")[1][:6]
    assert "asks to pair" in phone.wait("device 1 'Laptop'")
    phone.type(f"accept {code}")
    for device in pair:
        device.wait("* connected with device 1")
    phone.type("watch $.title")
    laptop.type('set $.title "Groceries"')
    phone.wait('* $.title is now ["Groceries"]')
    phone.type("hash")
    state_hash = phone.wait("")
    laptop.type("hash")
    laptop.wait(state_hash)
    laptop.type("sync off")
    phone.wait("not connected with device 1")
    laptop.type("sync on")
    phone.wait("* connected with device 1")
    phone.type("unpair 1")
    for device in pair:
        device.wait("is not paired any more")
    laptop.type("pairings")
    laptop.wait("no device is paired")
    assert [0, 0] == [device.quit() for device in pair]


def test_a_request_can_be_rejected(pair: tuple[Terminal, Terminal]) -> None:
    """The one who asked is told."""
    laptop, phone = pair
    laptop.type("wait peer", "pair 1")
    phone.wait("asks to pair")
    phone.type("requests", "reject", "requests")
    phone.wait("rejected")
    phone.wait("no device asks to pair")
    assert "rejected" in laptop.wait("not paired with device 1 'Phone'")


def run_script(file: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CYTOSOL, "run", str(file), *arguments],
        input=script,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LINE_S,
    )


def test_a_script_gets_the_same_lines_each_time(tmp_path: Path) -> None:
    """Only the first line differs, which tells the ids."""
    script = "set $.b [1]\nset $.a {}\nquery $\nnonsense\nquery $.b[0]\n"
    done = run_script(tmp_path / "a.cytosol", script, "--app-id", str(uuid.uuid4()), "--name", "A")
    ready, *lines = done.stdout.splitlines()
    assert ready.startswith("* 'A' ")
    assert [
        '{"b": [1], "a": {}}',
        "! there is no command 'nonsense'; type help for a list",
        "1",
    ] == lines
    assert (1, "") == (done.returncode, done.stderr)


def test_a_new_app_is_remembered_by_its_file(tmp_path: Path) -> None:
    """--new prints the id once; afterwards the file knows it."""
    file = tmp_path / "new.json"
    first = run_script(file, "set $.a 1\n", "--new", "--json")
    ready = json.loads(first.stdout.splitlines()[0])
    again = run_script(file, "query $.a\nnonsense\n", "--json")
    lines = [json.loads(line) for line in again.stdout.splitlines()]
    assert ready == lines[0]
    assert [{"reply": [1]}, 1] == [lines[1], lines[2]["error"]["code"]]
    assert (0, 1) == (first.returncode, again.returncode)


def test_a_new_app_shows_the_one_id_that_others_need(tmp_path: Path) -> None:
    """Beside the id of the device, people copied the wrong one."""
    file = tmp_path / "new.json"
    shown = run_script(file, "meta $.config.appId\n", "--new").stdout
    ready, app_id = shown.splitlines()
    assert ready.endswith(f"join it with: cytosol run FILE --app-id {json.loads(app_id)}")
    again = run_script(file, "meta $.config.peerId\n").stdout
    ready, peer_id = again.splitlines()
    assert ready.index(json.loads(app_id)) < ready.index(json.loads(peer_id))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_closes_the_file_in_order(tmp_path: Path, name: str) -> None:
    """The lock is gone, the change is there, and there is no traceback."""
    file = tmp_path / "a.cytosol"
    device = Terminal(str(file), "--app-id", str(uuid.uuid4()))
    device.type('set $.a "kept"', "query $.a")
    device.wait('"kept"')
    device.process.send_signal(getattr(signal, name))
    assert 130 == device.process.wait(timeout=LINE_S)
    assert [file] == list(tmp_path.iterdir())
    assert not any("Traceback" in line for line in device.seen)
    found = subprocess.run(
        [*CYTOSOL, "query", str(file), "$.a"], capture_output=True, text=True, timeout=LINE_S
    )
    assert '"kept"\n' == found.stdout, found.stderr


def test_output_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    """`cytosol query ... | head -1` is a normal thing to do."""
    file = tmp_path / "a.cytosol"
    script = f"set $.rows {json.dumps(['x' * 50] * 20_000)}\n"
    run_script(file, script, "--app-id", str(uuid.uuid4()))
    query = subprocess.Popen(
        [*CYTOSOL, "query", str(file), "$.rows[*]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert query.stdout is not None
    assert query.stderr is not None
    query.stdout.readline()
    query.stdout.close()
    assert "" == query.stderr.read()
    query.stderr.close()
    query.wait(timeout=LINE_S)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")
def test_a_person_at_a_terminal_gets_a_prompt(tmp_path: Path) -> None:
    """The prompt comes back after each answer, and an error does not set the exit code."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*CYTOSOL, "run", str(tmp_path / "a.cytosol"), "--new", "--name", "A"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"},
    )
    os.close(theirs)
    shown = ""

    def read_until(words: str) -> None:
        nonlocal shown
        while words not in shown:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                data = b""
            assert data, shown
            shown += data.decode("utf-8", "replace")
        shown = shown.split(words, 1)[1]

    guard = threading.Timer(LINE_S, process.kill)  # so that a missing prompt ends the test
    guard.start()
    try:
        read_until("cytosol> ")
        os.write(ours, b'set $.a "hi there"\n')
        read_until("cytosol> ")
        os.write(ours, b"watch $.a\n")
        read_until('"hi there"')
        read_until("cytosol> ")
        os.write(ours, b"nonsense\n")
        read_until("there is no command 'nonsense'")
        read_until("cytosol> ")
        os.write(ours, b"set $.a 2\n")
        read_until("$.a is now [2]")
        os.write(ours, b"quit\n")
        assert 0 == process.wait(timeout=LINE_S)
    finally:
        guard.cancel()
        process.kill()
        os.close(ours)
