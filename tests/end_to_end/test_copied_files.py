"""Database files that were copied or put back from a backup: all writes of all copies meet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.lab import needs_namespaces
from tests.end_to_end.network import Network
from tests.end_to_end.remote import Remote, pair, wait_equal
from tests.end_to_end.shipped import check_file, query_file

pytestmark = needs_namespaces()


def copy_files(source: Path, target: Path) -> None:
    """Copy a database with whatever SQLite keeps beside it, over what is there."""
    for suffix in ("", "-wal", "-shm"):
        old, new = Path(f"{source}{suffix}"), Path(f"{target}{suffix}")
        if old.exists():
            shutil.copyfile(old, new)  # into the same file, if there is one
        else:
            new.unlink(missing_ok=True)


def author_of(device: Remote) -> str:
    """Return the id under which a device writes."""
    return str(device.meta("$.config.author")[0])


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_copy_of_a_file_and_its_original_both_go_on_writing(network: Network, end: str) -> None:
    """Same identity, fresh author: what each of the two writes reaches everybody."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.dispatch("Set", "$.list", ["before"])
    phone.wait("$.list[*]", "before")
    laptop.close() if end == "close" else laptop.kill()
    check_file(laptop.file)
    copy_files(laptop.file, network.directory / "clone.cytosol")
    laptop.start()
    clone = network.device("clone")
    assert clone.peer_id == laptop.peer_id
    assert author_of(clone) != author_of(laptop)
    for device in (laptop, clone, phone):
        device.dispatch("InsertAfter", "$.list[0]", device.name)
        device.dispatch("Set", f"$.{device.name}", True)
    wait_equal(laptop, phone, clone)
    assert sorted(phone.query("$.list[*]")) == ["before", "clone", "laptop", "phone"]
    assert phone.query("$['laptop','phone','clone']") == [True, True, True]
    assert phone.meta("$.failures[*]") == []


def restored(network: Network) -> tuple[Remote, Remote]:
    """Return a laptop that lost its last writes to a backup, and a phone that has them."""
    laptop, phone = network.device("laptop"), network.device("phone")
    pair(laptop, phone)
    laptop.dispatch("Set", "$.list", ["before"])
    phone.wait("$.list[*]", "before")
    laptop.close()
    backup = network.directory / "backup"
    copy_files(laptop.file, backup)
    laptop.start()
    for number in range(3):
        laptop.dispatch("InsertAfter", "$.list[0]", f"lost {number}")
    laptop.dispatch("Set", "$.lost", True)
    phone.wait("$.lost", True)
    wait_equal(laptop, phone)
    laptop.close()
    copy_files(backup, laptop.file)
    assert query_file(laptop.file, "$.list[*]") == ["before"]
    check_file(laptop.file)
    return laptop, phone


def test_a_restored_backup_gets_back_what_it_had_lost(network: Network) -> None:
    """Others have what the backup lacks; the device then writes under a fresh id."""
    laptop, phone = restored(network)
    laptop.start()
    laptop.wait("$.lost", True)
    laptop.event("identity_renewed")
    laptop.dispatch("Set", "$.after", 1)
    phone.wait("$.after", 1)
    wait_equal(laptop, phone)
    assert len(phone.query("$.list[*]")) == 4


def test_writes_made_on_a_restored_backup_while_offline_are_kept_beside_the_lost_ones(
    network: Network,
) -> None:
    """The same ids stand for two contents then, and both are in the document in the end."""
    laptop, phone = restored(network)
    network.cables["laptop"].drop()
    laptop.start()
    for number in range(5):
        laptop.dispatch("InsertAfter", "$.list[0]", f"new {number}")
    laptop.dispatch("Set", "$.new", True)
    phone.dispatch("Set", "$.phone", True)
    network.cables["laptop"].deliver()
    laptop.wait("$.lost", True)
    phone.wait("$.new", True)
    wait_equal(laptop, phone)
    expected = ["before", *(f"lost {n}" for n in range(3)), *(f"new {n}" for n in range(5))]
    assert sorted(laptop.query("$.list[*]")) == expected
    assert laptop.query("$.phone") == [True]
    assert laptop.meta("$.failures[*]") == []
    for device in (laptop, phone):
        device.call("check")
    phone.dispatch("Set", "$.after", 1)
    laptop.wait("$.after", 1)
