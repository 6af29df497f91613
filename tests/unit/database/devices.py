"""Devices of one app that meet over the loopback interface, on real sockets."""

from __future__ import annotations

from typing import Any

import cytosol
from tests.unit.database.databases import Heard, new_app_id

CODE = "314159"


class Device:
    """A database and what it hears."""

    def __init__(self, app_id: str, name: str, save_state: Any = None, **options: Any) -> None:
        self.db = cytosol.open(
            save_state, **{"app_id": app_id, "peer_name": name, "loopback": True, **options}
        )
        self.heard = {
            name: Heard()
            for name in (
                "pair_request",
                "pair_response",
                "pair_cancelled",
                "unpaired",
                "peer_connected",
                "peer_disconnected",
                "callback_error",
            )
        }
        for event, heard in self.heard.items():
            self.db.on(event, heard)

    def until_meta(self, path: str, wanted: list[Any]) -> None:
        """Wait until a query of the metadata gives a list."""
        heard = Heard()
        with self.db.subscribe_meta(path, heard):
            heard.wait_for(wanted)

    def until(self, path: str, wanted: list[Any]) -> None:
        """Wait until a query gives a list."""
        heard = Heard()
        with self.db.subscribe(path, heard):
            heard.wait_for(wanted)


class Devices:
    """Makes devices of one app, and closes them."""

    def __init__(self) -> None:
        self.app_id = new_app_id()
        self.all: list[Device] = []

    def make(self, name: str, save_state: Any = None, **options: Any) -> Device:
        """Open one more device."""
        device = Device(self.app_id, name, save_state, **options)
        self.all.append(device)
        return device

    def close(self) -> None:
        """Close all; their callbacks must not have failed."""
        for device in self.all:
            device.db.close()
        for device in self.all:
            assert [] == device.heard["callback_error"].calls


def pair(asks: Device, answers: Device) -> None:
    """Pair two devices by hand and wait until they are connected."""
    asks.until_meta(f"$.peers[?@.id == '{answers.db.peer_id}'].paired", [False])
    code = cytosol.new_pairing_code()  # each is good for one attempt
    asks.db.dispatch(cytosol.RequestPair(answers.db.peer_id, code))
    request = answers.heard["pair_request"].wait_for_one()
    assert asks.db.peer_id == request.peer_id
    answers.db.dispatch(cytosol.AcceptPair(request.peer_id, code))
    for device, other in ((asks, answers), (answers, asks)):
        response = device.heard["pair_response"].wait_for_one()
        assert (other.db.peer_id, True, None) == (
            response.peer_id,
            response.accepted,
            response.reason,
        )
        device.until_meta(f"$.peers[?@.id == '{other.db.peer_id}'].connected", [True])
