"""Devices of a world may have real files: SQLite or JSON, written by the same code as anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import cytosol
from cytosol import Set
from cytosol.savestates import JsonFileSaveState, SqliteSaveState
from cytosol.testing import World
from cytosol.testing.chaos import CLIMATES, files_of, replay_command, run_world
from cytosol.testing.device import Device
from cytosol.testing.files import FILE_KINDS, FileKind, RealFiles
from cytosol.testing.soak import main
from cytosol.testing.strategies import Step, play

every_kind = pytest.mark.parametrize("kind", FILE_KINDS)


def folder_of(device: Device) -> Path:
    assert isinstance(device.disk, RealFiles)
    return device.disk.folder


@every_kind
def test_what_a_device_wrote_is_in_a_real_file(kind: FileKind) -> None:
    """Anybody can open it with `cytosol.open`; the world removes it when it ends."""
    with World(1, files=kind) as world:
        device = world.device()
        device.dispatch(Set("$.x", 1))
        device.stop()
        [file] = folder_of(device).iterdir()
        state = JsonFileSaveState(file) if kind == "json" else SqliteSaveState(file)
        with cytosol.open(state, app_id=world.app_id, network=False) as db:
            assert 1 == db.get("x")
        assert {"x": 1} == device.start().document
    assert not file.exists()


@every_kind
@pytest.mark.parametrize("power", [True, False])
def test_a_program_that_dies_leaves_its_file_as_it_was(kind: FileKind, power: bool) -> None:
    """With the log of SQLite beside it, which nobody has brought into the file."""
    with World(1, files=kind) as world:
        device = world.device()
        device.dispatch(Set("$.x", 1))
        device.crash(power=power)
        names = {path.name for path in folder_of(device).iterdir()}
        sqlite = {"database.sqlite", "database.sqlite-wal"}
        assert names == ({"database.json"} if kind == "json" else sqlite)
        author = device.start().query_once_meta("$.config.author")
        assert {"x": 1} == device.document
        device.check()
        assert [device.peer_id] == author, "it was no copy"


@every_kind
def test_a_backup_is_put_back_unnoticed(kind: FileKind) -> None:
    """And the other device brings back what is not in it."""
    with World(1, files=kind) as world:
        a, b = world.devices(2)
        a.dispatch(Set("$.x", 1))
        backup = a.backup()
        a.dispatch(Set("$.y", 2))
        world.settle()
        world.partition(a, b)
        a.restore(backup)
        assert {"x": 1} == a.document
        world.heal()
        world.settle()
        assert {"x": 1, "y": 2} == a.document == b.document


def test_a_clone_of_a_sqlite_file_notices_that_it_is_one() -> None:
    """It writes under an author id of its own from the start."""
    with World(1, files="sqlite") as world:
        device = world.device()
        twin = device.clone()
        assert device.peer_id == twin.peer_id
        assert device.query_once_meta("$.config.author") != twin.query_once_meta("$.config.author")


def test_real_files_have_no_faults_of_the_disk() -> None:
    """Who asks for one is told; a schedule lets the program die instead."""
    with World(1, files="sqlite") as world:
        a, _b = world.devices(2)
        with pytest.raises(ValueError, match="device-1 has real files, whose disk does not fail"):
            a.fill_disk()
        with pytest.raises(ValueError, match="make it without `files`"):
            a.cut_power_at_write()
        a.free_disk()
        a.mend_disk()
        play(world, [Step("cut_in_write", 0, 1)])
        assert a.is_up
        assert a.has_real_files


def test_every_fifth_world_has_real_files_of_all_kinds_in_all_climates() -> None:
    """And the line that replays such a world names them."""
    real = {seed: files for seed in range(300) if (files := files_of(seed)) is not None}
    assert 60 == len(real)
    pairs = {(seed % len(CLIMATES), files) for seed, files in real.items()}
    assert len(CLIMATES) * len(FILE_KINDS) == len(pairs)
    assert replay_command(8, 1.0).endswith("--seed 8 --hours 1 --files json")
    assert replay_command(7, 1.0).endswith("--seed 7 --hours 1")
    assert replay_command(8, 1.0, files="virtual").endswith("--files virtual")


def test_equal_seeds_make_equal_worlds_of_real_files() -> None:
    """Whatever the system calls them, and wherever they lie."""
    assert run_world(3, 0.2) == run_world(3, 0.2)
    assert run_world(3, 0.2, files="virtual").files is None


def test_the_command_takes_the_kind_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    """For all its worlds."""
    arguments = ["--seeds", "1", "--hours", "0.1", "--seed", "7", "--climate", "disk"]
    assert 0 == main([*arguments, "--files", "relaxed"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 7 (disk, relaxed files): ")
    assert "1 worlds with real files" in lines[1]
