"""A key that the operating system's keyring keeps: nobody types it, and no file has it.

The only module that imports the package `keyring`, which the extra `keyring` installs. It
speaks to the Keychain of macOS, the Credential Locker of Windows, and the Secret Service or
KWallet of Linux desktops.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cytosol.errors import ActionError, SealError
from cytosol.model.json import brief
from cytosol.savestates.sealkeys import KEY_BYTES, Secret, key_secret

__all__ = ["KeyringKey"]


@dataclass(frozen=True, slots=True)
class KeyringKey:
    """Name a key in the operating system's keyring; one is made there for a new file.

    `name` tells the keys of one program apart, `service` is under what the keyring lists them.
    Without the key nobody opens the file: a backup of the file needs one of the keyring, too.
    """

    name: str
    service: str = "cytosol"

    def __post_init__(self) -> None:
        for word, value in (("name", self.name), ("service", self.service)):
            if type(value) is not str or not value or "\0" in value:
                raise ActionError(
                    f"the {word} of a key in the keyring is a text, not {brief(value)}"
                )

    def secret(self, is_new: bool, random_bytes: Callable[[int], bytes]) -> Secret:
        """Return the key; for a new file it is made if it is not there. Raises SealError."""
        text = self._ask("get_password", self.service, self.name)
        if text is None:
            if not is_new:
                raise SealError(
                    f"the keyring of this user holds no key {self.name!r} of {self.service!r}, "
                    "and without it the file cannot be opened: log in as the user who made it, or "
                    "restore the keyring"
                )
            text = base64.b64encode(random_bytes(KEY_BYTES)).decode("ascii")
            self._ask("set_password", self.service, self.name, text)
            if self._ask("get_password", self.service, self.name) != text:
                raise SealError("the keyring did not keep the key; nothing was sealed with it")
        try:
            return key_secret(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise SealError(
                f"what the keyring holds as {self.name!r} of {self.service!r} is no key of "
                "Cytosol; choose another name"
            ) from None

    def _ask(self, method: str, *arguments: str) -> Any:
        try:
            import keyring
            import keyring.errors
        except ModuleNotFoundError:
            raise SealError(
                "a key in the keyring needs the package 'keyring', which is not installed; install "
                "it with: pip install 'cytosol[keyring]'"
            ) from None
        try:
            return getattr(keyring, method)(*arguments)
        except keyring.errors.NoKeyringError:
            raise SealError(
                "this system has no keyring that can be used here (a server has none, and a "
                "desktop's is locked before login); use a passphrase"
            ) from None
        except keyring.errors.KeyringError as error:
            kind = type(error).__name__
            raise SealError(f"the keyring refused ({kind}); unlock it, then try again") from None
