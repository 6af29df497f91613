"""The primitives give the values that other implementations give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt, crypto_scalarmult
from nacl.exceptions import RuntimeError as SodiumError

from cytosol.crypto.primitives import (
    blake2b,
    check_public_key,
    equal_secrets,
    hchacha20,
    open_sealed,
    public_key_of,
    seal,
    shared_key,
    x25519,
)
from cytosol.errors import DecryptionError, RemoteProtocolError

KEY = bytes.fromhex("5c473e682845f716fcefb486fbdcf9a87cd79af7db438e2a7d218c82e2741c01")
NONCE = bytes(range(24))
TEXT = b'{"jsonrpc":"2.0","method":"x","id":0}'
BODY = bytes.fromhex(
    "2bff450101ff8caf75fc3dc5a6d88f423b5809e032884ca4fac22728d44a70c7059a266490358600"
    "fa3897f48d30bbe3e2be0233e0"
)

_PRIME = 2**255 - 19
WEAK_KEYS = {
    "zero": bytes(32),
    "one": b"\1" + bytes(31),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8 again": bytes.fromhex(
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"
    ),
    "minus one": (_PRIME - 1).to_bytes(32, "little"),
    "the prime": _PRIME.to_bytes(32, "little"),
    "the prime and one": (_PRIME + 1).to_bytes(32, "little"),
    "zero with the top bit": (1 << 255).to_bytes(32, "little"),
}


def test_shared_key_is_the_worked_value() -> None:
    """Secrets 01 x32 and 02 x32 give the same key on both sides (spec: network)."""
    one, two = b"\1" * 32, b"\2" * 32
    assert shared_key(one, public_key_of(two)) == KEY
    assert shared_key(two, public_key_of(one)) == KEY


def test_sealed_message_is_the_worked_value() -> None:
    """MAC, then ciphertext, as Monocypher writes them (spec: network)."""
    assert seal(KEY, NONCE, TEXT) == BODY
    assert open_sealed(KEY, NONCE, BODY) == TEXT


def test_hchacha20_is_the_value_of_its_draft() -> None:
    """draft-irtf-cfrg-xchacha, 2.2.1."""
    data = bytes.fromhex("000000090000004a0000000031415927")
    expected = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    assert hchacha20(bytes(range(32)), data).hex() == expected


def test_x25519_is_the_value_of_its_rfc() -> None:
    """RFC 7748, section 5.2, first vector."""
    secret = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    public = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    expected = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert x25519(secret, public).hex() == expected


@pytest.mark.parametrize("public", WEAK_KEYS.values(), ids=WEAK_KEYS)
def test_weak_public_keys_are_refused(public: bytes) -> None:
    """The library would refuse them too, but without saying why."""
    with pytest.raises(SodiumError):
        crypto_scalarmult(b"\1" * 32, public)
    with pytest.raises(RemoteProtocolError, match="is weak"):
        shared_key(b"\1" * 32, public)


def test_public_key_of_another_length_is_refused() -> None:
    """Lengths come from the network too."""
    with pytest.raises(RemoteProtocolError, match="has 31"):
        check_public_key(b"\x09" + bytes(30))


@pytest.mark.parametrize("place", [0, 15, 16, len(BODY) - 1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    """In the MAC and in the ciphertext."""
    broken = bytearray(BODY)
    broken[place] ^= 1
    with pytest.raises(DecryptionError, match="not sealed with the key"):
        open_sealed(KEY, NONCE, bytes(broken))


def test_another_nonce_is_noticed() -> None:
    """The nonce is authenticated by being used."""
    with pytest.raises(DecryptionError):
        open_sealed(KEY, bytes(24), BODY)


def test_what_is_shorter_than_a_mac_is_refused() -> None:
    """The library must not be asked for a message of negative length."""
    with pytest.raises(DecryptionError, match="at least 16"):
        open_sealed(KEY, NONCE, bytes(15))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.binary())
def test_the_binding_of_the_library_seals_alike(key: bytes, nonce: bytes, text: bytes) -> None:
    """It puts the MAC behind; what is sealed opens again."""
    theirs = crypto_aead_xchacha20poly1305_ietf_encrypt(text, None, nonce, key)
    body = seal(key, nonce, text)
    assert theirs == body[16:] + body[:16]
    assert text == open_sealed(key, nonce, body)


def test_the_empty_message_can_be_sealed() -> None:
    """Its body is the MAC alone."""
    body = seal(KEY, NONCE, b"")
    assert len(body) == 16
    assert open_sealed(KEY, NONCE, body) == b""


def test_our_own_mistakes_with_lengths_are_errors() -> None:
    """The values may be secret, so the sentence shows their lengths only."""
    with pytest.raises(ValueError, match="a secret key has 32 bytes, not 3"):
        public_key_of(b"abc")
    with pytest.raises(ValueError, match="a nonce has 24 bytes, not 3"):
        seal(KEY, b"abc", b"")
    with pytest.raises(ValueError, match="an HChaCha20 input has 16 bytes, not 3"):
        hchacha20(KEY, b"abc")


def test_blake2b_is_the_value_of_its_rfc() -> None:
    """RFC 7693, appendix A."""
    assert blake2b(b"abc").hex().startswith("ba80a53f981c4d0d6a2797b69f12f6e9")


def test_blake2b_labels_and_keys_keep_uses_apart() -> None:
    """The same data gives unrelated digests."""
    digests = {blake2b(b"abc", size=32), blake2b(b"abc", size=32, key=b"k")}
    digests.add(blake2b(b"abc", size=32, label=b"l"))
    assert len(digests) == 3


def test_secrets_are_compared() -> None:
    """Equal only if every byte is, and the length."""
    assert equal_secrets(b"abc", b"abc")
    assert not equal_secrets(b"abc", b"abd")
    assert not equal_secrets(b"abc", b"ab")
