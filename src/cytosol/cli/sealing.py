"""Seal a database file, unseal it, and give it another passphrase or key."""

from __future__ import annotations

from pathlib import Path

import click

import cytosol
from cytosol.cli.exits import NO_FILE, OK, CommandError
from cytosol.cli.files import no_file
from cytosol.cli.secrets import SecretArguments, ask_new, given, read_passphrase, secret_for
from cytosol.savestates.files import log_without_file
from cytosol.savestates.oskeyring import KeyringKey

__all__ = ["rekey_file", "seal_file", "unseal_file"]


def seal_file(file: Path) -> int:
    """Encrypt a file with the secret of the options, or one that is typed twice."""
    _check_there(file)
    secret = secret_for(file) if given().is_any else ask_new(file)
    _tell(f"{file} is sealed", cytosol.seal(file, **secret))
    return OK


def unseal_file(file: Path) -> int:
    """Write a sealed file in the clear."""
    _check_there(file)
    cytosol.unseal(file, **secret_for(file))
    click.echo(f"{file} is not sealed any more: whoever gets it can read it", err=True)
    return OK


def rekey_file(
    file: Path, passphrase_file: Path | None, keyring: str | None, keep_data_key: bool
) -> int:
    """Seal a file anew."""
    _check_there(file)
    old = secret_for(file)
    new: SecretArguments
    if passphrase_file is not None:
        new = {"passphrase": read_passphrase(passphrase_file)}
    else:
        new = ask_new(file, is_rekey=True) if keyring is None else {"key": KeyringKey(keyring)}
    is_gone = cytosol.rekey(
        file,
        **old,
        new_passphrase=new.get("passphrase"),
        new_key=new.get("key"),
        keep_data_key=keep_data_key,
    )
    if keep_data_key:
        click.echo(
            f"{file} opens with the new secret only; but who knows the old one and has an old copy "
            "of the file can read what is in it now and later",
            err=True,
        )
    else:
        _tell(f"{file} is sealed anew", is_gone)
    return OK


def _check_there(file: Path) -> None:
    if log_without_file(file) is not None:
        raise no_file(file)
    if not file.exists() and not file.is_symlink():
        raise CommandError(f"there is no file '{file}'", NO_FILE)


def _tell(what: str, is_gone: bool) -> None:
    word = "were" if is_gone else "could not be"
    click.echo(
        f"{what}; the old bytes {word} written over. Copies, backups and snapshots of the old file "
        "stay as they are",
        err=True,
    )
