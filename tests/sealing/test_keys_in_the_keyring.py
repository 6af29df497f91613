"""Keys that the operating system keeps; the keyring is a real backend of the package, in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

import cytosol
from cytosol import ActionError, KeyringKey, SealedSaveState, SealError, Set, SqliteSaveState
from tests.sealing.plaintext_search import find_words
from tests.unit.database.databases import open_alone


class MemoryKeyring(keyring.backend.KeyringBackend):
    """Keeps passwords as long as a test runs."""

    priority = 5  # type: ignore[assignment]  # a property of the class there

    def __init__(self) -> None:
        super().__init__()
        self.passwords: dict[tuple[str, str], str] = {}
        self.is_locked = False
        self.forgets = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked("a secret detail")
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if not self.forgets:
            self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.passwords[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    """A keyring of this test's own."""
    before = keyring.get_keyring()
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def sealed(path: Path, key: KeyringKey) -> SealedSaveState:
    return SealedSaveState(SqliteSaveState(path), key=key)


def test_a_new_file_gets_a_key_in_the_keyring(ring: MemoryKeyring, tmp_path: Path) -> None:
    """It is made once, found again by name, and stands in no file."""
    path, key = tmp_path / "notes", KeyringKey("my notes")
    with open_alone(sealed(path, key)) as db:
        db.dispatch(Set("$.title", "only here"))
    assert [("cytosol", "my notes")] == list(ring.passwords)
    with open_alone(sealed(path, key)) as db:
        assert ["only here"] == db.query_once("$.title")
    assert 1 == len(ring.passwords)
    secret = ring.passwords["cytosol", "my notes"]
    assert [] == find_words([path], ["only here", secret, "my notes"])
    assert secret not in repr(key)


def test_two_files_can_share_a_key(ring: MemoryKeyring, tmp_path: Path) -> None:
    """The key of the first is used for the second, which has a data key of its own."""
    for name in ("one", "two"):
        with open_alone(sealed(tmp_path / name, KeyringKey("both", "my app"))):
            pass
    assert [("my app", "both")] == list(ring.passwords)


def test_a_missing_key_is_told_and_not_made_anew(ring: MemoryKeyring, tmp_path: Path) -> None:
    """A new key could not open the file, and would only hide the loss."""
    path = tmp_path / "notes"
    with open_alone(sealed(path, KeyringKey("a"))):
        pass
    with pytest.raises(SealError, match="holds no key 'b' of 'cytosol'"):
        open_alone(sealed(path, KeyringKey("b")))
    assert [("cytosol", "a")] == list(ring.passwords)


def test_another_key_opens_nothing(ring: MemoryKeyring, tmp_path: Path) -> None:
    """And what is no key of ours is told."""
    path = tmp_path / "notes"
    for name in ("a", "b"):
        with open_alone(sealed(tmp_path / f"file {name}", KeyringKey(name))):
            pass
    with open_alone(sealed(path, KeyringKey("a"))):
        pass
    with pytest.raises(SealError, match="the key is not that of"):
        open_alone(sealed(path, KeyringKey("b")))
    for foreign in ("hunter2", "AAAA", "ü"):
        ring.passwords["cytosol", "b"] = foreign
        with pytest.raises(SealError, match="is no key of Cytosol") as caught:
            open_alone(sealed(path, KeyringKey("b")))
        assert foreign not in str(caught.value)


def test_a_keyring_that_refuses_is_told(ring: MemoryKeyring, tmp_path: Path) -> None:
    """A locked one, one that keeps nothing, and none at all: no file is sealed with no key."""
    path = tmp_path / "notes"
    ring.is_locked = True
    with pytest.raises(SealError, match=r"refused \(KeyringLocked\); unlock it"):
        open_alone(sealed(path, KeyringKey("a")))
    ring.is_locked, ring.forgets = False, True
    with pytest.raises(SealError, match="did not keep the key"):
        open_alone(sealed(path, KeyringKey("a")))
    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(SealError, match="no keyring that can be used here"):
        open_alone(sealed(path, KeyringKey("a")))
    with open_alone(path):
        pass  # nothing was sealed: it is a new file


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SealError, match=r"pip install 'cytosol\[keyring\]'"):
        open_alone(sealed(tmp_path / "notes", KeyringKey("a")))


def test_a_file_can_go_from_a_passphrase_to_the_keyring(
    ring: MemoryKeyring, tmp_path: Path
) -> None:
    """And from the keyring to another key of it."""
    path = tmp_path / "notes"
    with open_alone(path) as db:
        db.dispatch(Set("$.a", 1))
    cytosol.seal(path, key=KeyringKey("first"))
    cytosol.rekey(path, key=KeyringKey("first"), new_key=KeyringKey("second"))
    with pytest.raises(SealError):
        open_alone(sealed(path, KeyringKey("first")))
    cytosol.unseal(path, key=KeyringKey("second"))
    with open_alone(path) as db:
        assert [1] == db.query_once("$.a")


@pytest.mark.parametrize("name", ["", "a\0b", 7])
def test_a_key_has_a_name(name: object) -> None:
    """What is none is refused."""
    with pytest.raises(ActionError, match="the name of a key in the keyring is a text"):
        KeyringKey(name)  # type: ignore[arg-type]  # wrong on purpose
