"""Pairing codes that were used: each is good for one attempt (spec: network, Pairing).

Who could try a code a second time, or has seen it on the screen, would have more than one guess.
Kept is a keyed hash and never the code, in memory only.
"""

from __future__ import annotations

from typing import Final

from cytosol.crypto.pake import normalise_code
from cytosol.crypto.primitives import blake2b
from cytosol.errors import PairingError
from cytosol.limits import USED_CODES_MAX

__all__ = ["UsedCodes"]

LABEL: Final = b"used codes"


class UsedCodes:
    """Remember which codes were shown for a pair request, the newest ones."""

    __slots__ = ("_hashes", "_key")

    def __init__(self, own_secret: bytes) -> None:
        self._key = blake2b(own_secret, size=32, label=LABEL)
        self._hashes: dict[bytes, None] = {}

    def __repr__(self) -> str:
        return f"<UsedCodes {len(self._hashes)}>"

    def use(self, code: str) -> bytes:
        """Use a code, and return its name here.

        Raises PairingError for one that was used, and for one that is too short or too long.
        """
        name = self._name(code)
        if name in self._hashes:
            raise PairingError(
                "this pairing code was used before, and each is good for one attempt; make a "
                "new one with `new_pairing_code()` and show that"
            )
        self._hashes[name] = None
        while len(self._hashes) > USED_CODES_MAX:
            del self._hashes[next(iter(self._hashes))]
        return name

    def give_back(self, name: bytes) -> None:
        """Let a code be used after all: nobody was asked for it."""
        self._hashes.pop(name, None)

    def _name(self, code: str) -> bytes:
        text = normalise_code(code).encode()
        return blake2b(text, size=32, key=self._key, label=LABEL)
