"""Pairing: prove to each other that both users know one short code, without sending it.

What travels is SPAKE2 (Abdalla, Pointcheval 2005; roles and group as in the library), then a
confirmation from each side. An eavesdropper learns nothing about the code, and whoever sits in
between has one guess per attempt. The confirmations are bound to the app, to both peer ids and
both public keys: who replaces a key on the way fails, however well he relays the rest.

```text
requester (shows the code)                        responder (its user types the code)
start()  -- message ---------------------------->
                                                  start(), receive(message, key)
         <---------- message, confirmation -------
receive(message, key), check(confirmation)
         -- confirmation ----------------------->
                                                  check(confirmation)
```

The library is pure Python and not constant-time; one use per attempt, on a local network, after
a person has typed a code, gives a clock nothing to average over.
"""

from __future__ import annotations

import enum
import itertools
import unicodedata
from collections.abc import Callable
from hashlib import shake_256
from typing import Any, Final

from cytosol.crypto.primitives import blake2b, equal_secrets
from cytosol.errors import LocalProtocolError, PairingError, RemoteProtocolError
from cytosol.limits import PAIRING_CODE_LENGTH_MAX, PAIRING_CODE_LENGTH_MIN
from cytosol.model.ids import PeerId

__all__ = [
    "CONFIRMATION_BYTES",
    "MESSAGE_BYTES",
    "RANDOM_BYTES",
    "Pake",
    "Role",
    "normalise_code",
]

MESSAGE_BYTES: Final = 33  # one letter for the role, one point of the Ed25519 group
CONFIRMATION_BYTES: Final = 32
RANDOM_BYTES: Final = 32


class Role(enum.Enum):
    """Which side of a pairing we are; the value labels that side's confirmation."""

    REQUESTER = b"requester"
    RESPONDER = b"responder"


def normalise_code(code: str) -> str:
    """Return a pairing code as both sides compare it, however it was typed.

    White space around it goes; inside a code of digits so do spaces and hyphens ("123 456");
    characters that only look different (full-width digits) become one (Unicode NFKC). Raises
    PairingError for a code that is too short, too long, or not text.
    """
    if not isinstance(code, str):
        raise PairingError(f"a pairing code is text, not a value of type {type(code).__name__}")
    text = unicodedata.normalize("NFKC", code).strip()
    compact = "".join(text.split()).replace("-", "")
    if compact.isascii() and compact.isdigit():
        text = compact
    if len(text) < PAIRING_CODE_LENGTH_MIN:
        raise PairingError(
            f"the pairing code has {len(text)} characters; it needs at least "
            f"{PAIRING_CODE_LENGTH_MIN}, so that it cannot be guessed"
        )
    if len(text) > PAIRING_CODE_LENGTH_MAX:
        raise PairingError(
            f"the pairing code has {len(text)} characters; use at most {PAIRING_CODE_LENGTH_MAX}"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PairingError(
            "the pairing code contains a lone surrogate, which is not a character; type it again"
        ) from None
    return text


class Pake:
    """One side of one pairing attempt; make a new one, with new random bytes, for every attempt.

    `message` (33 bytes) is what to send to the other side first.
    """

    __slots__ = ("_app_id", "_confirmations", "_ids", "_keys", "_role", "_spake", "message")

    def __init__(
        self, role: Role, spake: Any, app_id: bytes, ids: dict[Role, PeerId], own_key: bytes
    ) -> None:
        self._role = role
        self._spake = spake
        self._app_id = app_id
        self._ids = ids
        self._keys = {role: own_key}
        self._confirmations: dict[Role, bytes] = {}
        self.message: bytes = spake.start()

    @classmethod
    def start(
        cls,
        role: Role,
        code: str,
        random_bytes: bytes,
        *,
        app_id: bytes,
        own_id: PeerId,
        own_key: bytes,
        peer_id: PeerId,
    ) -> Pake:
        """Begin an attempt; the peer's key and message come later, with `receive`.

        `random_bytes` are 32 bytes never used before. Raises PairingError for a bad code.
        """
        if len(random_bytes) != RANDOM_BYTES:
            raise ValueError(
                f"a pairing takes {RANDOM_BYTES} random bytes, not {len(random_bytes)}"
            )
        # Imported late: it takes a tenth of a second, and most runs of a program pair nobody.
        import spake2

        ids = {role: own_id, _OTHER[role]: peer_id}
        side = spake2.SPAKE2_A if role is Role.REQUESTER else spake2.SPAKE2_B
        spake = side(
            normalise_code(code).encode(),
            idA=ids[Role.REQUESTER],
            idB=ids[Role.RESPONDER],
            entropy_f=_entropy(random_bytes),
        )
        return cls(role, spake, app_id, ids, own_key)

    def __repr__(self) -> str:
        return f"<Pake {self._role.name.lower()}>"

    def receive(self, message: bytes, peer_key: bytes) -> None:
        """Take the other side's message and its public key.

        A wrong code does not show here but in `check`. Raises RemoteProtocolError for a message
        that no honest peer sends: malformed, the identity, or our own one reflected.
        """
        if self._spake is None:
            raise LocalProtocolError("this pairing attempt has already received its message")
        spake, self._spake = self._spake, None
        if len(message) != MESSAGE_BYTES:
            raise RemoteProtocolError(
                f"a pairing message has {MESSAGE_BYTES} bytes, this one has {len(message)}"
            )
        try:
            key = spake.finish(message)
        except Exception as error:
            # The library has no common base for what it raises on bad points.
            raise RemoteProtocolError(
                f"a pairing message is not one of the other side ({type(error).__name__}); "
                "refuse the peer"
            ) from None
        self._keys[_OTHER[self._role]] = peer_key
        transcript = self._transcript(message)
        for role in Role:
            self._confirmations[role] = blake2b(
                transcript, size=CONFIRMATION_BYTES, key=key, label=role.value
            )

    def check(self, confirmation: bytes) -> bool:
        """Tell whether the other side has proved that it knows the code; never more than once."""
        expected = self._take_confirmation(_OTHER[self._role])
        if equal_secrets(confirmation, expected):
            return True
        self._confirmations.clear()  # whoever failed gets no proof from us
        return False

    def confirmation(self) -> bytes:
        """Return our proof (32 bytes). The requester gives it only after `check` was passed."""
        if self._role is Role.REQUESTER and Role.RESPONDER in self._confirmations:
            raise LocalProtocolError("check the responder's confirmation before giving ours")
        return self._take_confirmation(self._role)

    def _take_confirmation(self, role: Role) -> bytes:
        """Return a confirmation once, so that no attempt serves two guesses."""
        try:
            return self._confirmations.pop(role)
        except KeyError:
            raise LocalProtocolError(
                "this confirmation was already used, failed, or has no message to stand on"
            ) from None

    def _transcript(self, message: bytes) -> bytes:
        """Hash everything both sides must agree on, each part with its length."""
        messages = {self._role: self.message, _OTHER[self._role]: message}
        parts = [b"cytosol pairing 1", self._app_id]
        for role in Role:
            parts += [self._ids[role], self._keys[role], messages[role]]
        return blake2b(b"".join(len(part).to_bytes(8, "big") + part for part in parts))


_OTHER: Final = {Role.REQUESTER: Role.RESPONDER, Role.RESPONDER: Role.REQUESTER}


def _entropy(random_bytes: bytes) -> Callable[[int], bytes]:
    """Return a source such as the library expects, which depends on the given bytes only."""
    calls = itertools.count()

    def read(count: int) -> bytes:
        seed = b"cytosol pairing" + random_bytes + next(calls).to_bytes(8, "big")
        return shake_256(seed).digest(count)

    return read
