"""Where the passphrase or key of a sealed file comes from: an option, the keyring, or a prompt.

What was typed is kept as long as the command runs, and shown nowhere.
"""

from __future__ import annotations

import codecs
import getpass
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

import click

from cytosol.cli.exits import NO_FILE, SEALED, CommandError
from cytosol.limits import PASSPHRASE_BYTES_MAX
from cytosol.savestates import SaveState
from cytosol.savestates.oskeyring import KeyringKey

__all__ = ["Given", "SecretArguments", "ask_new", "given", "read_passphrase", "secret_for"]


_GIVE: Final = (
    "give the option --passphrase-file or --keyring before the command: "
    "cytosol --passphrase-file NAME ..."
)
_GIVE_NEW: Final = "give the new one with --new-passphrase-file or --new-keyring, after the command"


class SecretArguments(TypedDict, total=False):
    """What `SealedSaveState` takes: one of the two."""

    passphrase: str
    key: KeyringKey


@dataclass
class Given:
    """What the options say, and the save states that were made for files in this run."""

    passphrase_file: Path | None = None
    keyring: str | None = None
    states: dict[tuple[Path, str], SaveState] = field(default_factory=dict)
    asked: dict[Path, str] = field(default_factory=dict, repr=False)

    @property
    def is_any(self) -> bool:
        """Whether the command line says where a secret is."""
        return self.passphrase_file is not None or self.keyring is not None


def given() -> Given:
    """Return what this run's command line says."""
    context = click.get_current_context(silent=True)
    found = None if context is None else context.find_root().obj
    return found if isinstance(found, Given) else Given()


def secret_for(file: Path) -> SecretArguments:
    """Return the secret of a sealed file; asks for the passphrase if no option tells it.

    Raises CommandError where nobody can be asked.
    """
    options = given()
    if options.passphrase_file is not None:
        return {"passphrase": read_passphrase(options.passphrase_file)}
    if options.keyring is not None:
        return {"key": KeyringKey(options.keyring)}
    if file not in options.asked:
        options.asked[file] = _ask(f"Passphrase of {file}: ", file)
    return {"passphrase": options.asked[file]}


def ask_new(file: Path, *, is_rekey: bool = False) -> SecretArguments:
    """Ask for a new passphrase, twice, since a typing error would lock everybody out."""
    advice = _GIVE_NEW if is_rekey else _GIVE
    first = _ask(f"New passphrase for {file}: ", file, advice)
    if _ask("The same once more: ", file, advice) != first:
        raise CommandError("the two passphrases differ; nothing was changed", SEALED)
    return {"passphrase": first}


def read_passphrase(source: Path) -> str:
    """Return the first line of a file that holds a passphrase; raises CommandError."""
    try:
        with source.open("rb") as stream:
            raw = stream.read(len(codecs.BOM_UTF8) + PASSPHRASE_BYTES_MAX + 3)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(
            f"the file of the passphrase cannot be read ({reason})", NO_FILE
        ) from None
    # Some editors put a byte order mark there, which nobody could type.
    line = raw.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise CommandError("the file of the passphrase holds no UTF-8 text", SEALED) from None
    if not text:
        raise CommandError("the file of the passphrase begins with an empty line", SEALED)
    return text


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _ask(question: str, file: Path, advice: str = _GIVE) -> str:
    if not _can_ask():
        text = f"'{file}' needs a passphrase, and nobody can be asked here; {advice}"
        raise CommandError(text, SEALED)
    try:
        text = getpass.getpass(question)
    except EOFError:
        text = ""
    if not text:
        raise CommandError("no passphrase was typed; nothing was opened", SEALED)
    return text
