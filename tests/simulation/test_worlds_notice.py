"""The worlds notice what goes wrong: each mistake here is put in, and must be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cytosol.crdt.replica import Replica
from cytosol.database.joins import PeerReplica
from cytosol.document.document import Document
from cytosol.document.history import History
from cytosol.errors import RemoteProtocolError
from cytosol.net.runner import MachineRunner
from cytosol.protocol.events import PeerConnected
from cytosol.protocol.peer import PeerMachine
from cytosol.testing import World, chaos
from cytosol.testing.chaos import run_world
from cytosol.testing.disk import VirtualSaveState
from cytosol.testing.soak import main

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_flushing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(VirtualSaveState, "_flush", lambda state, name: None)


def forget_a_delivery(patch: pytest.MonkeyPatch) -> None:
    deliver, calls = Document.deliver, iter(range(1 << 60))
    patch.setattr(
        Document, "deliver", lambda document: None if next(calls) % 50 == 49 else deliver(document)
    )


def trim_what_others_lack(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "_stable_rows", lambda history: len(history._replica.log))


def ignore_the_numbers_of_others(patch: pytest.MonkeyPatch) -> None:
    note = Replica.note_merged

    def note_only_latest(replica: Replica, latest: dict[bytes, int]) -> None:
        clock = replica.clock
        note(replica, latest)
        replica.clock = clock

    patch.setattr(Replica, "note_merged", note_only_latest)


def swallow_what_fails_to_merge(patch: pytest.MonkeyPatch) -> None:
    merge = PeerReplica.import_batch

    def merge_first(replica: PeerReplica, data: bytes, sender: bytes) -> bool:
        return merge(replica, data, sender) if sender[0] % 2 else True

    patch.setattr(PeerReplica, "import_batch", merge_first)


def tell_of_connections_twice(patch: pytest.MonkeyPatch) -> None:
    announce = MachineRunner._announce

    def announce_twice(runner: MachineRunner, event: object) -> None:
        announce(runner, event)
        if isinstance(event, PeerConnected):
            announce(runner, event)

    patch.setattr(MachineRunner, "_announce", announce_twice)


def fail_while_stopping(patch: pytest.MonkeyPatch) -> None:
    stop = PeerMachine.stop

    def stop_and_fail(machine: PeerMachine, now: float) -> None:
        stop(machine, now)
        raise ValueError("nobody is there any more to see this")

    patch.setattr(PeerMachine, "stop", stop_and_fail)


def refuse_a_batch_now_and_then(patch: pytest.MonkeyPatch) -> None:
    merge, calls = PeerReplica.import_batch, iter(range(1 << 60))

    def merge_most(replica: PeerReplica, data: bytes, sender: bytes) -> bool:
        if next(calls) % 50 == 49:
            raise RemoteProtocolError("this batch is not to our liking")
        return merge(replica, data, sender)

    patch.setattr(PeerReplica, "import_batch", merge_most)


def leave_streams_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chaos, "STREAMS_MAX", 0)


@pytest.mark.parametrize(
    ("plant", "climate", "hours", "complaint"),
    [
        (tell_of_connections_twice, "switches", 0.5, "was connected twice"),
        (leave_streams_open, "switches", 0.5, "device-1 has 2 streams"),
        (fail_while_stopping, "network", 0.5, "nobody is there any more to see this"),
        (refuse_a_batch_now_and_then, "network", 0.5, "a connection was ended: this batch is not"),
        (acknowledge_before_flushing, "disk", 0.5, "was told that its"),
        (forget_a_delivery, "network", 0.5, "the last callback for"),
        pytest.param(
            trim_what_others_lack, "network", 1.5, "additions of 1 make", marks=pytest.mark.long
        ),
        (ignore_the_numbers_of_others, "network", 0.5, "knew of a greater one"),
        (swallow_what_fails_to_merge, "network", 0.5, "differ after"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, climate: str, hours: float, complaint: str
) -> None:
    """Within 30 worlds; the complaint names it, with the command that replays it."""
    plant(monkeypatch)
    found = []
    for seed in range(30):
        try:
            run_world(seed, hours, climate)
        except AssertionError as error:
            found.append(str(error))
            if complaint in found[-1]:
                break
    assert any(complaint in each for each in found), found
    assert all("replay: python -m cytosol.testing.soak --seeds 1 --seed" in each for each in found)


def test_the_command_tells_which_seed_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its exit code is not zero."""

    def fail(chaos: Any, hours: float) -> None:
        raise AssertionError("something does not hold")

    monkeypatch.setattr(chaos.Chaos, "run", fail)
    assert 2 == main(["--seeds", "2", "--seed", "40"])
    printed = capsys.readouterr().out
    assert "FAILED seed 40 (short history), 0.0 s after the world began: something" in printed
    assert "replay: python -m cytosol.testing.soak --seeds 1 --seed 41 --hours 1\n" in printed


def test_a_world_that_cannot_settle_says_where_devices_differ() -> None:
    """A partition that nobody ends is such a case."""
    with World(1) as world:
        a, b = world.devices(2)
        world.partition(a, b)
        a.dispatch({"action": "Set", "path": "$.x", "payload": 1})
        with pytest.raises(AssertionError, match=r"at \$\['x'\] one has 1, the other nothing"):
            world.settle(30)
