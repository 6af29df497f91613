"""Key pairs keep their secret, and ids certify keys."""

import uuid

import pytest

from cytosol.crypto.keys import KeyPair, certifies, make_key_pair, peer_id_for_key


def test_a_key_pair_follows_from_its_random_bytes() -> None:
    """The same bytes make the same pair, so a stored secret is enough."""
    pair = make_key_pair(b"\1" * 32)
    assert pair == KeyPair(pair.public, b"\1" * 32)
    assert pair.public.hex() == "a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209"


def test_a_key_pair_does_not_show_its_secret() -> None:
    """Neither as bytes nor as hex."""
    pair = make_key_pair(b"SECRETSECRETSECRETSECRETSECRETSE")
    assert "SECRET" not in repr(pair)
    assert "secret" not in str(pair)


def test_a_key_pair_needs_32_bytes() -> None:
    """Fewer would be guessable."""
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        make_key_pair(bytes(16))


def test_an_id_is_a_uuid_of_version_8() -> None:
    """RFC 9562, 5.8: custom version, standard variant."""
    for number in range(32):
        peer_id = uuid.UUID(bytes=peer_id_for_key(make_key_pair(bytes([number]) * 32).public))
        assert peer_id.version == 8
        assert peer_id.variant == uuid.RFC_4122


def test_an_id_certifies_its_key_and_no_other() -> None:
    """Whoever claims the id with another key does not match."""
    one, two = make_key_pair(b"\1" * 32).public, make_key_pair(b"\2" * 32).public
    assert certifies(peer_id_for_key(one), one)
    assert not certifies(peer_id_for_key(one), two)
    assert not certifies(bytes(16), one)


def test_the_id_of_a_key_never_changes() -> None:
    """Devices keep their ids over releases."""
    public = make_key_pair(b"\1" * 32).public
    expected = uuid.UUID("efb04218-e43a-8e45-9250-3b7ae8f96621")
    assert expected.bytes == peer_id_for_key(public)
