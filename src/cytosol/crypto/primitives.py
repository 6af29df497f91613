"""Thin names over the crypto library, so that one module knows it.

Messages are sealed as Monocypher's AEAD does (seed: Discovery): XChaCha20-Poly1305 without
associated data, MAC before ciphertext. The shared key is HChaCha20 over X25519, as in
Monocypher's `crypto_key_exchange`. libsodium has all but the order of MAC and ciphertext, and
its Python binding leaves out HChaCha20, which is therefore here in plain code: it runs once
per connection. The functions that seal and open are called below the binding, whose checks of what
is checked here take three times as long as they do; a test compares both.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b as _blake2b
from struct import Struct
from typing import Final

from nacl._sodium import ffi, lib
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from cytosol.errors import DecryptionError, RemoteProtocolError

__all__ = [
    "KEY_BYTES",
    "MAC_BYTES",
    "NONCE_BYTES",
    "blake2b",
    "check_public_key",
    "equal_secrets",
    "hchacha20",
    "open_sealed",
    "public_key_of",
    "seal",
    "shared_key",
    "x25519",
]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
MAC_BYTES: Final = 16

_CONSTANTS: Final = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)  # "expand 32-byte k"
_KEY_AND_INPUT = Struct("<12I")
_OUTPUT = Struct("<8I")
_QUARTERS: Final = (  # RFC 8439, 2.3: four columns, then four diagonals
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)

_FIELD_PRIME: Final = 2**255 - 19
_LOW_ORDER_POINTS: Final = frozenset(
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD_PRIME - 1,
        _FIELD_PRIME,  # 0 and 1 again, as numbers that are not reduced
        _FIELD_PRIME + 1,
    }
)


def check_public_key(public: bytes) -> None:
    """Raise RemoteProtocolError unless `public` is a usable X25519 key of 32 bytes.

    Refuses the points of low order (RFC 7748, section 7), among them all zeros: with such a key
    the shared secret would not depend on our own, and so be known to everyone.
    """
    if len(public) != KEY_BYTES:
        raise RemoteProtocolError(
            f"a public key has {KEY_BYTES} bytes, this one has {len(public)}; refuse the peer"
        )
    # X25519 ignores the top bit (RFC 7748, section 5).
    if int.from_bytes(public, "little") & (2**255 - 1) in _LOW_ORDER_POINTS:
        raise RemoteProtocolError(
            f"the public key {public.hex()} is weak: anyone could compute the keys made from it; "
            "refuse the peer"
        )


def public_key_of(secret: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of a secret key of 32 random bytes."""
    _check_length("a secret key", secret, KEY_BYTES)
    return crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes:
    """Return the shared point of our secret key and a peer's public key (RFC 7748).

    Raises RemoteProtocolError for a key of the wrong length or of low order.
    """
    _check_length("a secret key", secret, KEY_BYTES)
    check_public_key(public)
    return crypto_scalarmult(secret, public)


def hchacha20(key: bytes, data: bytes) -> bytes:
    """Derive 32 bytes from a key (32) and an input (16) (draft-irtf-cfrg-xchacha, 2.2)."""
    _check_length("a key", key, KEY_BYTES)
    _check_length("an HChaCha20 input", data, 16)
    state = [*_CONSTANTS, *_KEY_AND_INPUT.unpack(key + data)]
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            _quarter_round(state, a, b, c, d)
    return _OUTPUT.pack(*state[:4], *state[12:])


def _quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    """Mix four words (RFC 8439, 2.1)."""
    for target, source, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[target] = (state[target] + state[source]) & 0xFFFFFFFF
        word = state[mixed] ^ state[target]
        state[mixed] = (word << bits | word >> (32 - bits)) & 0xFFFFFFFF


def shared_key(secret: bytes, public: bytes) -> bytes:
    """Return the 32-byte message key of our secret key and a peer's public key.

    Both sides get the same key, so a frame can be reflected; the nonces stop that (see
    `cytosol.wire.framing`). Raises RemoteProtocolError as `x25519` does.
    """
    return hchacha20(x25519(secret, public), bytes(16))


def seal(key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Encrypt and authenticate: return the MAC (16 bytes), then the ciphertext.

    `nonce` has 24 bytes and must never be used twice with one key.
    """
    _check_length("a key", key, KEY_BYTES)
    _check_length("a nonce", nonce, NONCE_BYTES)
    length, null = len(plaintext), ffi.NULL
    sealed = ffi.new("unsigned char[]", length + MAC_BYTES)
    failed = lib.crypto_aead_xchacha20poly1305_ietf_encrypt(
        sealed, null, plaintext, length, null, 0, null, nonce, key
    )
    assert not failed, "it takes whatever fits into memory"
    view = ffi.buffer(sealed)
    return b"".join((view[length:], memoryview(view)[:length]))


def open_sealed(key: bytes, nonce: bytes, body: bytes) -> bytes:
    """Return the plaintext of what `seal` made; raise DecryptionError for anything else."""
    _check_length("a key", key, KEY_BYTES)
    _check_length("a nonce", nonce, NONCE_BYTES)
    if len(body) < MAC_BYTES:
        raise DecryptionError(
            f"a sealed message has at least {MAC_BYTES} bytes, this one has {len(body)}"
        )
    sealed = b"".join((memoryview(body)[MAC_BYTES:], body[:MAC_BYTES]))
    length, null = len(body) - MAC_BYTES, ffi.NULL
    plaintext = ffi.new("unsigned char[]", length or 1)
    if lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plaintext, null, null, sealed, len(sealed), null, 0, nonce, key
    ):
        raise DecryptionError(
            f"a message of {len(body)} bytes was not sealed with the key shared with this peer"
        )
    return bytes(ffi.buffer(plaintext, length))


def blake2b(data: bytes, *, size: int = 64, key: bytes = b"", label: bytes = b"") -> bytes:
    """Return the BLAKE2b digest of `size` bytes (RFC 7693).

    `key` (at most 64 bytes) makes it a MAC; `label` (at most 16) keeps different uses apart.
    """
    return _blake2b(data, digest_size=size, key=key, person=label).digest()


def equal_secrets(left: bytes, right: bytes) -> bool:
    """Compare in a time that does not depend on where the two differ."""
    return hmac.compare_digest(left, right)


def _check_length(what: str, value: bytes, length: int) -> None:
    """Refuse our own mistakes with a sentence; the value may be secret and is not shown."""
    if len(value) != length:
        raise ValueError(f"{what} has {length} bytes, not {len(value)}")
