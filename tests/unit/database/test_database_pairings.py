"""Paired and refused devices, and the identity, in the save state."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.database import pairings
from cytosol.database.pairings import ADDRESSES_MAX, PairingStore
from cytosol.document.journal import Journal
from cytosol.limits import PAIRINGS_MAX
from cytosol.model.ids import format_id
from cytosol.net.service import NetworkService
from cytosol.protocol.seams import PairedPeer, Refusal
from tests.unit.database.databases import APP_ID, open_alone
from tests.unit.document.faulty_state import FaultyState

KEY = b"\x01" * 32


def peer(number: int, since_s: float = 0.0) -> PairedPeer:
    """Return a peer."""
    return PairedPeer(number.to_bytes(16, "big"), f"Peer {number}", KEY, since_s)


class Store:
    """A store on a faulty disk, and how often it has told of a change."""

    def __init__(self) -> None:
        self.state = FaultyState()
        self.journal = Journal(self.state, threading.RLock(), lambda ids: None)
        self.journal.open()
        self.changes = 0
        self.store = PairingStore(self.journal, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def read_again(self) -> PairingStore:
        """Return a store with what was saved."""
        store = PairingStore(self.journal, lambda: None)
        store.load()
        return store


def refusal(since_s: float, told_by: int | None = None) -> Refusal:
    """Return a refusal, made here or told by a peer."""
    return Refusal(KEY, since_s, 5, None if told_by is None else peer(told_by).peer_id)


def test_a_refusal_stays_until_paired_by_hand() -> None:
    """What others bring does not lift it."""
    made = Store()
    store = made.store
    store.add(peer(1, 5.0), True)
    store.refuse({peer(1).peer_id: refusal(7.0)})
    assert {} == store.paired()
    assert {peer(1).peer_id: refusal(7.0)} == store.refused()
    store.add(peer(1), False)
    assert {} == made.read_again().paired()
    store.add(peer(1, 9.0), True)
    assert {peer(1).peer_id: peer(1, 9.0)} == made.read_again().paired()
    assert {} == made.read_again().refused()
    assert 3 == made.changes


def test_who_brought_a_device_and_who_refused_it_is_kept() -> None:
    """The metadata tell the one."""
    made = Store()
    brought = dataclasses.replace(peer(1), shared_by=peer(2).peer_id)
    made.store.add(brought, False)
    made.store.add(dataclasses.replace(peer(2, 3.0), lifted_ms=17), True)
    made.store.refuse({peer(3).peer_id: refusal(7.0, 2)})
    again = made.read_again()
    assert made.store._known == again._known
    rows: list[Any] = again.listed()
    assert [format_id(peer(2).peer_id), None] == [row["sharedBy"] for row in rows]


def test_pairings_of_older_files_are_read() -> None:
    """They do not say who brought a device, nor which refusal is meant."""
    made = Store()
    made.store.add(peer(1, 5.0), True)
    made.store.refuse({peer(2).peer_id: Refusal(KEY, 7.0)})
    record: Any = made.journal.get_meta("pairings")
    for list_name, names in (("paired", ("lifted", "sharedBy")), ("refused", ("stamp", "toldBy"))):
        for name in names:
            del record[list_name][0][name]
    made.journal.put_meta(pairings=record)
    assert made.store._known == made.read_again()._known


def test_a_pairing_that_was_forgotten_is_not_refused() -> None:
    """The other side has ended it, which is no will of ours."""
    made = Store()
    made.store.add(peer(1), True)
    made.store.remember_address(peer(1).peer_id, "10.0.0.1", 2000)
    made.store.forget(peer(1).peer_id)
    again = made.read_again()
    assert ({}, {}, ()) == (again.paired(), again.refused(), again.addresses(peer(1).peer_id))


def test_many_refusals_are_one_write() -> None:
    """And others are forgotten with it; addresses of who is refused, too."""
    made = Store()
    store = made.store
    store.add(peer(1), True)
    store.remember_address(peer(1).peer_id, "10.0.0.1", 2000)
    store.refuse({peer(number).peer_id: refusal(1.0, 9) for number in range(2, 5)})
    store.refuse({peer(1).peer_id: refusal(2.0, 9)}, [peer(2).peer_id, peer(3).peer_id])
    again = made.read_again()
    assert {peer(4).peer_id, peer(1).peer_id} == set(again.refused())
    assert ({}, ()) == (again.paired(), again.addresses(peer(1).peer_id))
    assert 3 == made.changes


def test_pairings_that_others_bring_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user does by hand always counts."""
    assert 1_024 == PAIRINGS_MAX
    most = 8  # of which each would be written a thousand times
    monkeypatch.setattr(pairings, "PAIRINGS_MAX", most)
    made = Store()
    store = made.store
    for number in range(most + 1):
        store.add(peer(number), False)
    assert most == len(store.paired())
    store.add(peer(5_000), True)
    assert peer(5_000).peer_id in store.paired()


def test_the_latest_addresses_are_kept_newest_first() -> None:
    """A few, each once."""
    made = Store()
    for port in (1, 2, 3, 4, 5, 6, 4, 4):
        made.store.remember_address(peer(1).peer_id, "10.0.0.1", 5000 + port)
    found = made.read_again().addresses(peer(1).peer_id)
    assert [5004, 5006, 5005, 5003][:ADDRESSES_MAX] == [port for _, port in found]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.add(peer(2), True),
        lambda store: store.forget(peer(1).peer_id),
        lambda store: store.refuse({peer(1).peer_id: refusal(1.0)}),
        lambda store: store.set_wrong_codes(0, 0.0),
    ],
)
def test_a_refused_change_changes_nothing(change: Any) -> None:
    """Memory and file agree whatever the disk says."""
    made = Store()
    store = made.store
    store.add(peer(1), True)
    store.set_wrong_codes(2, 50.0)
    known, changes = store._known, made.changes
    made.state.fill()
    with pytest.raises(cytosol.SaveError):
        change(store)
    assert known is store._known
    assert known == made.read_again()._known
    assert changes == made.changes


def test_a_full_disk_grants_no_more_guesses() -> None:
    """A wrong code counts in any case; an address that is not saved is no error."""
    made = Store()
    made.state.fill()
    with pytest.raises(cytosol.SaveError):
        made.store.set_wrong_codes(3, 50.0)
    assert (3, 50.0) == made.store.wrong_codes()
    made.store.remember_address(peer(1).peer_id, "10.0.0.1", 5000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identity", None),
        ("identity", []),
        ("identity", {"secretKey": 7}),
        ("identity", {"secretKey": "AAAA", "peerId": APP_ID, "appId": APP_ID}),
        ("author", 7),
        ("author", "me"),
        ("pairings", []),
        ("pairings", {"paired": 7}),
        ("pairings", {"paired": [{}], "refused": [], "addresses": {}, "wrongCodes": [0, 0]}),
        ("pairings", {"paired": [], "refused": [], "addresses": [], "wrongCodes": [0, 0]}),
        ("pairings", {"paired": [], "refused": [], "addresses": {}, "wrongCodes": []}),
        (
            "pairings",
            {
                "paired": [{"id": APP_ID, "name": "x", "publicKey": "AAAA", "since": 0}],
                "refused": [],
                "addresses": {},
                "wrongCodes": [0, 0],
            },
        ),
    ],
)
def test_damaged_records_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    """No new identity takes the place of one that cannot be read."""
    path = tmp_path / "a.json"
    with open_alone(cytosol.JsonFileSaveState(path)) as db:
        db.dispatch(cytosol.Set("$.a", 1))
    content = json.loads(path.read_text(encoding="utf-8"))
    if value is None:
        del content["records"][f"meta/{name}"]
    else:
        content["records"][f"meta/{name}"] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(cytosol.DatabaseCorruptError, match="nothing was changed"):
            open_alone(cytosol.JsonFileSaveState(path))
    assert before == path.read_bytes()


def test_an_error_does_not_quote_the_secret_key(tmp_path: Path) -> None:
    """Also if only half of it can be read."""
    path = tmp_path / "a.json"
    open_alone(cytosol.JsonFileSaveState(path)).close()
    content = json.loads(path.read_text(encoding="utf-8"))
    secret = content["records"]["meta/identity"]["secretKey"]
    content["records"]["meta/identity"]["secretKey"] = secret[:-5] + "!"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(cytosol.DatabaseCorruptError) as caught:
        open_alone(cytosol.JsonFileSaveState(path))
    assert secret[:20] not in str(caught.value)
    assert base64.b64decode(secret)  # it was a key


def test_a_network_that_cannot_start_gives_the_file_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says why, no thread stays, and the file opens without the network."""

    def refuse(service: NetworkService) -> None:
        raise cytosol.NetworkUnavailableError("the sockets could not be opened: port in use")

    monkeypatch.setattr(NetworkService, "start", refuse)
    before = set(threading.enumerate())
    with pytest.raises(cytosol.NetworkUnavailableError, match="port in use"):
        open_alone(tmp_path / "a", network=True)
    assert before == set(threading.enumerate())
    open_alone(tmp_path / "a").close()
