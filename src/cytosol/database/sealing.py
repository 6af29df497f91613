"""Sealed files: the public save state, and sealing, unsealing and rekeying of whole files.

The system's random generator is read here and handed down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cytosol.errors import ActionError, SealError
from cytosol.savestates import SaveState
from cytosol.savestates.conversion import convert_file
from cytosol.savestates.kinds import save_state_at
from cytosol.savestates.oskeyring import KeyringKey
from cytosol.savestates.sealed import SealedRecords, is_sealed
from cytosol.savestates.sealkeys import SealCost, Secret, key_secret, passphrase_secret

__all__ = ["SealedSaveState", "rekey", "seal", "secret_of", "unseal"]

Key = bytes | KeyringKey
AskSecret = Callable[[bool], Secret]


class SealedSaveState(SealedRecords):
    """Keep records in another save state, encrypted: whoever finds the file reads nothing in it.

    Give either a `passphrase` (a string, or bytes), or a `key`: 32 random bytes that you keep, or
    a `KeyringKey`. `cost` says what one try of the passphrase costs, for a file that is made.

    Raises ActionError for anything else; `open` raises SealError for a wrong passphrase or key,
    and for a file that is not sealed.
    """

    def __init__(
        self,
        inner: SaveState,
        *,
        passphrase: str | bytes | None = None,
        key: Key | None = None,
        cost: SealCost | None = None,
    ) -> None:
        super().__init__(inner, secret_of(passphrase, key), os.urandom, cost)


def seal(
    file: str | os.PathLike[str],
    *,
    passphrase: str | bytes | None = None,
    key: Key | None = None,
    cost: SealCost | None = None,
) -> bool:
    """Encrypt a database file that is closed; from then on it opens as a SealedSaveState.

    The records are written into a new file, read back and compared before it takes the name, then
    the old bytes are written over. Returns whether that worked; disks and file systems may keep
    copies all the same. Raises SealError for a file that is sealed already, and what opening
    raises; the file is left as it is then.
    """
    ask = secret_of(passphrase, key)
    plain = _existing(file)

    def check(source: SaveState) -> None:
        if is_sealed(source):
            raise SealError(f"'{source.path}' is sealed already; to change the secret, rekey it")

    return _convert(plain, lambda path: _sealed(plain, path, ask, cost), check)


def unseal(
    file: str | os.PathLike[str],
    *,
    passphrase: str | bytes | None = None,
    key: Key | None = None,
) -> bool:
    """Turn a sealed file into one that everybody can read who gets it; the reverse of `seal`."""
    inner = _existing(file)
    sealed = SealedRecords(inner, secret_of(passphrase, key), os.urandom)
    return _convert(sealed, lambda path: _like(inner, path))


def rekey(
    file: str | os.PathLike[str],
    *,
    passphrase: str | bytes | None = None,
    key: Key | None = None,
    new_passphrase: str | bytes | None = None,
    new_key: Key | None = None,
    cost: SealCost | None = None,
    keep_data_key: bool = False,
) -> bool:
    """Seal a file anew, with another passphrase or key, and all records encrypted anew.

    With `keep_data_key` only the head of the file is written, which takes no time, but whoever
    knows the old passphrase and has an old copy of the file could still read it, also what is
    written later. Returns whether the old bytes could be written over. Raises as `seal` does.
    """
    new_ask = secret_of(new_passphrase, new_key)
    inner = _existing(file)
    sealed = SealedRecords(inner, secret_of(passphrase, key), os.urandom)
    if not keep_data_key:
        return _convert(sealed, lambda path: _sealed(inner, path, new_ask, cost))
    sealed.open()
    try:
        sealed.change_secret(new_ask(True), cost)
    finally:
        sealed.close()
    return False


def secret_of(passphrase: str | bytes | None = None, key: Key | None = None) -> AskSecret:
    """Return what asks for the secret; what is wrong with it is said before any file is touched."""
    if (passphrase is None) == (key is None):
        raise ActionError("a sealed file has a passphrase or a key: give one of them")
    if isinstance(key, KeyringKey):
        return lambda is_new: key.secret(is_new, os.urandom)
    secret = key_secret(key) if key is not None else passphrase_secret(passphrase or "")
    return lambda is_new: secret


def _existing(file: str | os.PathLike[str]) -> SaveState:
    path = Path(os.path.abspath(file))
    if not path.exists() and not path.is_symlink():
        raise ActionError(f"there is no file '{path}'; give the name of a database file")
    return save_state_at(path)


def _convert(
    source: SaveState,
    target_at: Callable[[Path], SaveState],
    check: Callable[[SaveState], None] = lambda source: None,
) -> bool:
    return convert_file(source, target_at, _moved_home, check)


def _like(state: SaveState, path: Path) -> SaveState:
    """Return a closed save state of the same kind for another file."""
    made: SaveState = type(state)(path)  # type: ignore[call-arg]  # both kinds of files take a path
    return made


def _sealed(like: SaveState, path: Path, ask: AskSecret, cost: SealCost | None) -> SealedRecords:
    return SealedRecords(_like(like, path), ask, os.urandom, cost)


def _moved_home(source: SaveState, fresh: Path) -> list[tuple[str, Any]]:
    """Let the new file be at home where the old one was; a copy stays one (see `identity`)."""
    home = source.get("meta/home")
    assert source.path is not None
    if source.text or home is None:
        return []
    is_home = msgspec.json.decode(home) == os.lstat(source.path).st_ino
    # The inode of the original may be free by now, and the new file get it: 0 is nobody's.
    return [("meta/home", msgspec.json.encode(os.lstat(fresh).st_ino if is_home else 0))]
