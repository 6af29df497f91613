"""Network actions: what a caller dispatches about peers instead of data.

They are not part of the history (seed: Network Actions). The seed spells the key of a peer's id
`id` in one place and `uuid` in another; both are understood.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from cytosol.errors import ActionError
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import JsonValue

__all__ = [
    "NETWORK_ACTIONS",
    "AcceptPair",
    "NetworkAction",
    "RejectPair",
    "RequestPair",
    "SetSyncEnabled",
    "SetVisibleToPeers",
    "Unpair",
    "network_command",
    "new_pairing_code",
]

COMMANDS: Final[dict[Any, str]] = {
    "RequestPair": "request_pair",
    "AcceptPair": "accept_pair",
    "RejectPair": "reject_pair",
    "Unpair": "unpair",
    "SetVisibleToPeers": "set_visible",
    "SetSyncEnabled": "set_sync_enabled",
}


class NetworkAction:
    """Base of the typed network actions."""

    __slots__ = ("payload",)

    payload: JsonValue

    def to_message(self) -> dict[str, JsonValue]:
        """Return the message that means the same."""
        return {"action": type(self).__name__, "payload": self.payload}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # a payload may hold a pairing code


class _WithCode(NetworkAction):
    __slots__ = ()

    def __init__(self, id: str, secret: str) -> None:
        self.payload = {"id": id, "secret": secret}


class _WithId(NetworkAction):
    __slots__ = ()

    def __init__(self, id: str) -> None:
        self.payload = id


class _WithFlag(NetworkAction):
    __slots__ = ()

    def __init__(self, enabled: bool) -> None:
        self.payload = enabled


class RequestPair(_WithCode):
    """Ask the visible peer `id` to pair; show `secret`, the pairing code, to the user."""

    __slots__ = ()


class AcceptPair(_WithCode):
    """Accept the pair request of peer `id` with the code that its user reads out."""

    __slots__ = ()


class RejectPair(_WithId):
    """Reject the pair request of peer `id`."""

    __slots__ = ()


class Unpair(_WithId):
    """End the pairing with `id` on both sides; only a new pairing by hand lifts it."""

    __slots__ = ()


class SetVisibleToPeers(_WithFlag):
    """Show this device to strangers on the network, or hide it; paired devices still meet."""

    __slots__ = ()


class SetSyncEnabled(_WithFlag):
    """Connect to paired devices and sync, or pause; discovery and pairing go on."""

    __slots__ = ()


NETWORK_ACTIONS: tuple[type[NetworkAction], ...] = (
    RequestPair,
    AcceptPair,
    RejectPair,
    Unpair,
    SetVisibleToPeers,
    SetSyncEnabled,
)


def network_command(action: object) -> tuple[str, tuple[Any, ...]] | None:
    """Return command and arguments of a network action, None if it is not one.

    Raises ActionError for one that is malformed.
    """
    message = action.to_message() if isinstance(action, NetworkAction) else action
    if not isinstance(message, Mapping):
        return None
    name = message.get("action")
    command = COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        return None
    if set(message) != {"action", "payload"}:
        raise ActionError(f"the action {name} has exactly the members action and payload")
    payload = message["payload"]
    if command in ("set_visible", "set_sync_enabled"):
        if type(payload) is not bool:
            raise ActionError(f"the payload of {name} is true or false, and nothing else")
        return command, (payload,)
    if command in ("reject_pair", "unpair"):
        return command, (_peer_id(name, payload),)
    if not isinstance(payload, Mapping) or type(payload.get("secret")) is not str:
        raise ActionError(
            f"the payload of {name} is an object with the peer's `id` and the pairing code "
            "as `secret`, both strings"
        )
    return command, (_peer_id(name, payload), payload["secret"])


def _peer_id(name: str | None, payload: Any) -> str:
    if isinstance(payload, Mapping):
        payload = payload.get("id", payload.get("uuid"))
    if type(payload) is not str:
        raise ActionError(f"the action {name} needs a peer's id, a UUID as in `$.peers`")
    try:
        return format_id(parse_id(payload))
    except ActionError:
        # What was given may be a pairing code in the wrong place: it must not be shown.
        raise ActionError(f"the id in the action {name} is not a UUID as in `$.peers`") from None


def new_pairing_code() -> str:
    """Return a fresh pairing code: six digits from the system's generator."""
    return f"{secrets.randbelow(1_000_000):06d}"
