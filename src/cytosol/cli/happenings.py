"""Turn what a database tells of peers into lines for people and data for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cytosol
from cytosol.cli.screen import Screen
from cytosol.cli.text import bar, count_of, printable, size_text
from cytosol.model.json import JsonValue

__all__ = ["Happenings"]

_MEBIBYTE: Final = 1024 * 1024


class Happenings:
    """Watches a database; knows the waiting pair requests and gives every device a number.

    A number stays with its device until the program ends, so that what is on the screen still
    means the same when somebody types it.
    """

    def __init__(self, database: cytosol.Database, screen: Screen) -> None:
        self._database = database
        self._screen = screen
        self._numbers: dict[str, int] = {}
        self._visible: dict[str, str] = {}
        self._told: dict[str, int] = {}  # how far the sync with a device was, when last told
        self.requests: dict[str, str] = {}

    def watch(self) -> None:
        """Begin to tell what happens."""
        tellers: dict[str, Callable[[Any], None]] = {
            "pair_request": self._pair_request,
            "pair_cancelled": self._pair_cancelled,
            "pair_response": self._pair_response,
            "unpaired": self._unpaired,
            "peer_connected": self._peer_connected,
            "peer_disconnected": self._peer_disconnected,
            "sync_progress": self._sync_progress,
            "sync_failed": self._sync_failed,
            "history_adopted": self._history_adopted,
            "identity_renewed": self._identity_renewed,
            "callback_error": self._callback_error,
        }
        for name, teller in tellers.items():
            self._database.on(name, teller)
        self._database.subscribe_meta("$.peers[*]", self._peers_changed)

    def number_of(self, peer_id: str) -> int:
        """Return the number of a device, a new one for a device not met before."""
        return self._numbers.setdefault(peer_id, len(self._numbers) + 1)

    def id_of(self, number: int) -> str | None:
        """Return which device has a number."""
        return next((peer for peer, known in self._numbers.items() if known == number), None)

    def label(self, peer_id: str, name: str) -> str:
        """Return how a device is shown: its number and its name."""
        return f"{self.number_of(peer_id)} {printable(name)!r}"

    def _tell(self, name: str, event: Any, line: str, **data: Any) -> None:
        told = {"peerId": event.peer_id, "peerName": event.peer_name, **data}
        self._screen.event(name, line, told)

    def _peers_changed(self, peers: list[JsonValue]) -> None:
        now = {peer["id"]: peer["name"] for peer in peers}
        before, self._visible = self._visible, now
        for peer_id, name in now.items():
            if peer_id not in before:
                line = f"device {self.label(peer_id, name)} is there"
                self._screen.event("peer_visible", line, {"peerId": peer_id, "peerName": name})
        for peer_id, name in before.items():
            if peer_id not in now:
                line = f"device {self.label(peer_id, name)} is gone"
                self._screen.event("peer_gone", line, {"peerId": peer_id, "peerName": name})

    def _pair_request(self, event: cytosol.PairRequest) -> None:
        self.requests[event.peer_id] = event.peer_name
        who = self.label(event.peer_id, event.peer_name)
        line = f"device {who} asks to pair: type `accept CODE` with the code it shows, or `reject`"
        self._tell("pair_request", event, line)

    def _pair_cancelled(self, event: cytosol.PairCancelled) -> None:
        self.requests.pop(event.peer_id, None)
        who = self.label(event.peer_id, event.peer_name)
        self._tell("pair_cancelled", event, f"device {who} has taken its pair request back")

    def _pair_response(self, event: cytosol.PairResponse) -> None:
        self.requests.pop(event.peer_id, None)
        who = self.label(event.peer_id, event.peer_name)
        if event.accepted:
            line = f"paired with device {who}"
        else:
            line = f"not paired with device {who}: {printable(event.reason or 'refused')}"
        self._tell("pair_response", event, line, accepted=event.accepted, reason=event.reason)

    def _unpaired(self, event: cytosol.Unpaired) -> None:
        who = self.label(event.peer_id, event.peer_name)
        self._tell("unpaired", event, f"device {who} is not paired any more")

    def _peer_connected(self, event: cytosol.PeerConnected) -> None:
        who = self.label(event.peer_id, event.peer_name)
        self._tell("peer_connected", event, f"connected with device {who}")

    def _sync_progress(self, event: cytosol.SyncProgress) -> None:
        """Tell of a sync that takes more than one batch, each tenth of it once."""
        done = event.done
        step = event.received_bytes // _MEBIBYTE if done is None else int(done * 10)
        told = self._told.get(event.peer_id)
        if step == told or (told is None and done == 1):
            return
        self._told[event.peer_id] = step
        if done == 1:
            del self._told[event.peer_id]
        size = size_text(event.received_bytes)
        share = "" if done is None else f"{bar(done)} {done:4.0%}, "
        line = f"receiving from device {self.number_of(event.peer_id)}: {share}{size}"
        data = {"peerId": event.peer_id, "receivedBytes": event.received_bytes, "done": done}
        self._screen.event("sync_progress", line, data)

    def _sync_failed(self, event: cytosol.SyncFailed) -> None:
        self._told.pop(event.peer_id, None)
        line = f"cannot sync with device {self.number_of(event.peer_id)} now: "
        line += f"{printable(event.reason)}; it is tried again by itself"
        data = {"peerId": event.peer_id, "reason": event.reason}
        self._screen.event("sync_failed", line, data)

    def _peer_disconnected(self, event: cytosol.PeerDisconnected) -> None:
        self._told.pop(event.peer_id, None)
        who = self.label(event.peer_id, event.peer_name)
        line = f"not connected with device {who} any more: {printable(event.reason)}"
        self._tell("peer_disconnected", event, line, reason=event.reason)

    def _history_adopted(self, event: cytosol.HistoryAdopted) -> None:
        who = self.number_of(event.peer_id)
        if event.by_us:
            line = (
                f"took over the document of device {who} and put "
                f"{count_of(event.reissued, 'change')} of this device on top"
            )
            if event.failed:
                line += f", {event.failed} of which failed: see `meta $.failures`"
        else:
            line = f"device {who} took over our document"
        data = {"peerId": event.peer_id, "byUs": event.by_us}
        self._screen.event(
            "history_adopted", line, {**data, "reissued": event.reissued, "failed": event.failed}
        )

    def _identity_renewed(self, event: cytosol.IdentityRenewed) -> None:
        line = f"this device writes under a new id: {printable(event.reason)}"
        data = {"author": event.author, "reason": event.reason}
        self._screen.event("identity_renewed", line, data)

    def _callback_error(self, event: cytosol.CallbackError) -> None:
        line = f"an error of this program, please report it: {event.error!r}"
        self._screen.event("callback_error", line, {"message": repr(event.error)})
