"""From a passphrase or a stored key to the keys of one sealed file, and back to nothing.

A random data key encrypts the records. The head of the file holds it wrapped by a key that
Argon2id makes from the passphrase, so that another passphrase needs another head only. What
deriving costs stands in the head, too, which anybody may have written: it is bounded before
memory is taken. Random bytes are arguments.

Argon2id is RFC 9106, the cipher XChaCha20-Poly1305, the keyed hash BLAKE2b.
"""

from __future__ import annotations

import base64
import binascii
import json
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NoReturn

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
)
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as NaclRuntimeError

from cytosol.errors import ActionError, SealError
from cytosol.limits import (
    PASSPHRASE_BYTES_MAX,
    SEAL_HEAD_BYTES_MAX,
    SEAL_MEMORY_BYTES_MAX,
    SEAL_PASSES_MAX,
)
from cytosol.model.json import brief

__all__ = [
    "KEY_BYTES",
    "NONCE_BYTES",
    "SALT_BYTES",
    "DataKeys",
    "HeadError",
    "SealCost",
    "Secret",
    "decrypt",
    "encrypt",
    "head_check",
    "key_secret",
    "make_head",
    "open_head",
    "passphrase_secret",
]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
SALT_BYTES: Final = 16
_FORMAT: Final = 1
_MEMORY_BYTES_MIN: Final = 8_192  # the least that libsodium takes
_HEAD_LABEL: Final = b"cytosol seal head "


class HeadError(ValueError):
    """Say that the head of a sealed file is damaged, or asks for more than is allowed."""


@dataclass(frozen=True, slots=True)
class SealCost:
    """What one try of a passphrase costs: `passes` of Argon2id over `memory_bytes`.

    The default is libsodium's "moderate", about half a second. Raises ActionError beyond
    SEAL_PASSES_MAX or SEAL_MEMORY_BYTES_MAX.
    """

    passes: int = 3
    memory_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if type(self.passes) is not int or not 1 <= self.passes <= SEAL_PASSES_MAX:
            raise ActionError(f"passes are 1 to {SEAL_PASSES_MAX}, not {brief(self.passes)}")
        lowest, highest = _MEMORY_BYTES_MIN, SEAL_MEMORY_BYTES_MAX
        if type(self.memory_bytes) is not int or not lowest <= self.memory_bytes <= highest:
            raise ActionError(
                f"memory_bytes are {lowest:,} to {highest:,}, not {brief(self.memory_bytes)}"
            )


class Secret:
    """A passphrase or a key: never shown, never copied to a file by accident.

    Remembers the last key that was derived from it, because that takes half a second.
    """

    __slots__ = ("_last", "_value", "is_key")

    def __init__(self, value: bytes, *, is_key: bool) -> None:
        self._value = value
        self.is_key: Final = is_key
        self._last: tuple[tuple[bytes, SealCost | None], bytes] | None = None

    def wrapping_key(self, salt: bytes, cost: SealCost | None) -> bytes:
        """Return the key that wraps the data key, of a head with this salt and cost."""
        if self._last is None or self._last[0] != (salt, cost):
            self._last = (salt, cost), self._derive(salt, cost)
        return self._last[1]

    def _derive(self, salt: bytes, cost: SealCost | None) -> bytes:
        if cost is None:
            person = b"seal key"
            return blake2b(salt, key=self._value, digest_size=KEY_BYTES, person=person).digest()
        passes, memory = cost.passes, cost.memory_bytes
        try:
            return crypto_pwhash_alg(
                KEY_BYTES, self._value, salt, passes, memory, crypto_pwhash_ALG_ARGON2ID13
            )
        except NaclRuntimeError:
            raise SealError(
                f"making the key from the passphrase takes {memory:,} bytes of memory, which this "
                "machine does not have free now; nothing was opened: close other programs"
            ) from None

    def __repr__(self) -> str:
        return "<a key>" if self.is_key else "<a passphrase>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or pickled; make the save state where it is used")


def passphrase_secret(passphrase: str | bytes) -> Secret:
    """Return the secret for a passphrase: text in Unicode's form NFC, as UTF-8, or bytes.

    Keyboards and systems write one character in several ways, and all mean the same. Raises
    ActionError for an empty or overlong one; no message repeats it.
    """
    if isinstance(passphrase, str):
        try:
            value = unicodedata.normalize("NFC", passphrase).encode()
        except UnicodeEncodeError:
            raise ActionError("the passphrase is no Unicode text: it holds a surrogate") from None
    elif isinstance(passphrase, bytes):
        value = passphrase
    else:
        kind = type(passphrase).__name__
        raise ActionError(f"the passphrase is a string or bytes, not {kind}")
    if not value:
        raise ActionError("the passphrase is empty; choose one of several words")
    if len(value) > PASSPHRASE_BYTES_MAX:
        raise ActionError(
            f"the passphrase takes {len(value):,} bytes, and {PASSPHRASE_BYTES_MAX:,} are allowed"
        )
    return Secret(value, is_key=False)


def key_secret(key: bytes) -> Secret:
    """Return the secret for 32 random bytes that are kept elsewhere; raises ActionError."""
    if type(key) is not bytes or len(key) != KEY_BYTES:
        size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise ActionError(f"the key of a sealed file is {KEY_BYTES} random bytes, not {size}")
    return Secret(key, is_key=True)


class DataKeys:
    """The keys of an open file, made from its data key: for records, names, and the whole."""

    __slots__ = ("data", "names", "records", "whole")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.records = _subkey(data, b"records")
        self.names = _subkey(data, b"names")
        self.whole = _subkey(data, b"whole")

    def __repr__(self) -> str:
        return "<data keys>"


def _subkey(data: bytes, use: bytes) -> bytes:
    return blake2b(key=data, digest_size=KEY_BYTES, person=b"seal " + use).digest()


def encrypt(plain: bytes, label: bytes, nonce: bytes, key: bytes) -> bytes:
    """Return nonce and ciphertext; `label` says where it belongs, and is authenticated."""
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, label, nonce, key)


def decrypt(sealed: bytes, label: bytes, key: bytes) -> bytes:
    """Return what was encrypted for this place; raises ValueError for anything else."""
    nonce = sealed[:NONCE_BYTES]
    if len(nonce) < NONCE_BYTES:
        raise ValueError("it is too short")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[NONCE_BYTES:], label, nonce, key)
    except CryptoError:
        raise ValueError("it is not what was written there") from None


def make_head(
    secret: Secret, cost: SealCost, data_key: bytes, salt: bytes, nonce: bytes
) -> dict[str, Any]:
    """Return the head of a file, JSON that holds the data key wrapped by the secret."""
    how: dict[str, Any] = {"from": "key"}
    if not secret.is_key:
        how = {
            "from": "passphrase",
            "kdf": "argon2id",
            "passes": cost.passes,
            "memoryBytes": cost.memory_bytes,
        }
    how["salt"] = _text(salt)
    wrapping = secret.wrapping_key(salt, None if secret.is_key else cost)
    wrapped = encrypt(data_key, _head_label(how), nonce, wrapping)
    head = {"format": _FORMAT, "key": how, "wrapped": _text(wrapped)}
    return {**head, "check": head_check(head)}


def head_check(head: dict[str, Any]) -> str:
    """Return the checksum of a head, which tells damage from a wrong passphrase.

    It proves nothing against somebody who writes a head on purpose.
    """
    kept = {name: value for name, value in head.items() if name != "check"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def open_head(head: Any, secret: Secret, name: str) -> bytes:
    """Return the data key in the head of the file `name`.

    Raises HeadError for a damaged head, before deriving anything, and SealError for a secret of
    the wrong kind or value.
    """
    how, salt, cost, wrapped = _parse_head(head)
    if secret.is_key != (cost is None):
        words = ("a passphrase", "a key")
        needed, given = words if secret.is_key else words[::-1]
        raise SealError(f"{name} is sealed with {needed}, not {given}; nothing was opened")
    try:
        return decrypt(wrapped, _head_label(how), secret.wrapping_key(salt, cost))
    except ValueError:
        word, advice = "passphrase", "try again, and mind capitals and the keyboard's language"
        if secret.is_key:
            word, advice = "key", "get the key that the file was sealed with"
        raise SealError(
            f"the {word} is not that of {name} (or the head of the file is damaged); nothing was "
            f"opened: {advice}"
        ) from None


def _parse_head(head: Any) -> tuple[dict[str, Any], bytes, SealCost | None, bytes]:
    try:
        if head["format"] != _FORMAT:
            raise HeadError(f"it has the format {head['format']!r:.40}; update Cytosol")
        if head["check"] != head_check(head):
            raise HeadError("its checksum is wrong")
        how = head["key"]
        salt, wrapped = _bytes(how["salt"]), _bytes(head["wrapped"])
        if len(salt) != SALT_BYTES or len(wrapped) != NONCE_BYTES + KEY_BYTES + 16:
            raise HeadError("its sizes are wrong")
        if how["from"] == "key":
            return how, salt, None, wrapped
        if how["from"] != "passphrase" or how["kdf"] != "argon2id":
            raise HeadError("it names a way to make the key that is not known")
        return how, salt, SealCost(how["passes"], how["memoryBytes"]), wrapped
    except (KeyError, TypeError):
        raise HeadError("it is incomplete") from None
    except ActionError as error:
        raise HeadError(str(error)) from None


def _head_label(how: dict[str, Any]) -> bytes:
    return _HEAD_LABEL + json.dumps(how, sort_keys=True, separators=(",", ":")).encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(text: Any) -> bytes:
    if type(text) is not str or len(text) > SEAL_HEAD_BYTES_MAX:
        raise HeadError("it is incomplete")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise HeadError("it is incomplete") from None
