"""Key pairs, and peer ids that certify the key they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from cytosol.crypto.primitives import KEY_BYTES, blake2b, equal_secrets, public_key_of
from cytosol.model.ids import PeerId

__all__ = ["KeyPair", "certifies", "make_key_pair", "peer_id_for_key"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair: `public` and `secret`, 32 bytes each; the secret is never shown."""

    public: bytes
    secret: bytes = field(repr=False)


def make_key_pair(random_bytes: bytes) -> KeyPair:
    """Make a key pair from 32 bytes of the system's generator (or from a stored secret)."""
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key pair is made from {KEY_BYTES} bytes, not {len(random_bytes)}")
    return KeyPair(public_key_of(random_bytes), random_bytes)


def peer_id_for_key(public: bytes) -> PeerId:
    """Return the 16-byte peer id that certifies a public key: nobody else can claim both.

    It is the BLAKE2b digest of the key, shaped as a UUID of version 8 (RFC 9562, 5.8).
    """
    digest = bytearray(blake2b(public, size=16, label=b"cytosol peer id"))
    digest[6] = digest[6] & 0x0F | 0x80  # version 8: custom
    digest[8] = digest[8] & 0x3F | 0x80  # the variant of RFC 9562
    return bytes(digest)


def certifies(peer_id: PeerId, public: bytes) -> bool:
    """Tell whether `peer_id` was made from this public key; ids of other origin never were."""
    return equal_secrets(peer_id, peer_id_for_key(public))
