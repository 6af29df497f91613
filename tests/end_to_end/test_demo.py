"""`cytosol demo` as a user runs it: real processes, real sockets on the loopback interface."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cytosol.cli import demo as demo_module
from cytosol.cli.demo_peer import DemoPeer

DEMO = [sys.executable, "-m", "cytosol.cli", "demo"]
DEMO_S = 120.0  # much more than it takes, for machines with other things to do


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=DEMO_S
    )


def test_the_demo_goes_from_strangers_to_equal_documents() -> None:
    """Every step that the demo promises is shown, and the exit code says that all held."""
    done = demo()
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "" == done.stderr
    for step in (
        "find each other by broadcast",
        "wrong code is tried on the phone, and refused",
        "right code pairs them",
        "imports library.json, 7,8",
        "Both change things, live",
        "cut off from each other",
        "the same list and the same object",
        "meet again",
        "Equal documents, equal state hashes",
    ):
        assert step in done.stdout
    hashes = re.findall(r"[0-9a-f]{128}", done.stdout)
    assert 2 == len(hashes)
    assert hashes[0] == hashes[1]


def test_the_demo_imports_the_file_of_the_user(tmp_path: Path) -> None:
    """A large file is taken as it is."""
    file = tmp_path / "my measurements.json"
    file.write_text(json.dumps([{"t": t, "v": t / 7} for t in range(2_000)]))
    done = demo(str(file))
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "my measurements.json, 6,001 values" in done.stdout
    assert "library.json" not in done.stdout


def test_a_small_file_gets_the_sample_as_company(tmp_path: Path) -> None:
    """The demo shows at least 5,000 values, whatever it is given."""
    file = tmp_path / "small.json"
    file.write_text('{"a": 1}')
    done = demo(str(file))
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "small.json, 2 values" in done.stdout
    assert "imports library.json" in done.stdout


@pytest.mark.parametrize(("content", "words"), [(None, "there is no file"), ("{", "not JSON")])
def test_a_bad_file_is_refused_before_anything_starts(
    tmp_path: Path, content: str | None, words: str
) -> None:
    """The sentence is on stderr and the exit code is 1."""
    file = tmp_path / "bad.json"
    if content is not None:
        file.write_text(content)
    done = demo(str(file))
    assert 1 == done.returncode
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "processes start" not in done.stdout


def test_two_demos_side_by_side_do_not_meet() -> None:
    """Each demo has an app id of its own."""
    both = [
        subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [each.communicate(timeout=DEMO_S)[0] for each in both]
    assert [0, 0] == [each.returncode for each in both], outputs


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in another way")
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_the_devices_of_a_demo_die_with_it(how: str) -> None:
    """However the demo ends, no process is left over."""
    with subprocess.Popen([*DEMO], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Two processes start" in process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert 2 == len(children)
        getattr(process, how)()
        process.wait(timeout=DEMO_S)
    _, alive = psutil.wait_procs(children, timeout=DEMO_S)
    assert [] == alive


def test_a_step_that_does_not_hold_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and what went wrong is told, when a device lacks what it should have."""
    monkeypatch.setattr(demo_module, "_PHONE_EDITS", [])
    assert 1 == demo_module.run_demo(None)
    shown = capsys.readouterr()
    assert "the demo did not succeed: Phone knows what it cannot know" in shown.err
    assert "Equal documents" not in shown.out


def test_a_device_that_dies_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not waited for for ever, and the other one is stopped."""
    wait_ready = DemoPeer.wait_ready

    async def wait_and_kill(peer: DemoPeer) -> None:
        await wait_ready(peer)
        if peer.name == "Phone":
            peer._process.kill()

    monkeypatch.setattr(DemoPeer, "wait_ready", wait_and_kill)
    assert 1 == demo_module.run_demo(None)
    assert "the process of Phone has ended" in capsys.readouterr().err
    assert [] == psutil.Process().children(recursive=True)
