"""Open the database files that are named on the command line.

A tool must not create what it was asked to look at, and it finds the app id in the file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cytosol
from cytosol.cli.exits import NO_FILE, CommandError
from cytosol.cli.progress import opening_bar
from cytosol.cli.secrets import given, secret_for
from cytosol.database.report import stored_app_id
from cytosol.errors import SaveError
from cytosol.savestates import SaveState
from cytosol.savestates.files import beside, file_size, log_without_file
from cytosol.savestates.kinds import save_state_at
from cytosol.savestates.sealed import is_sealed

__all__ = [
    "advising",
    "existing_save_state",
    "find_app_id",
    "no_file",
    "open_offline",
    "save_state_for",
]


def save_state_for(file: Path, durability: Literal["full", "relaxed"] = "full") -> SaveState:
    """Return a closed save state: readable JSON for a name in .json, else SQLite.

    A file that is sealed, or is new while the command line has a passphrase or key, gets a
    SealedSaveState, always the same one: its passphrase is asked for once. Raises CommandError,
    and what opening raises: whether a file is sealed stands in it.
    """
    options = given()
    if (file, durability) not in options.states:
        plain = save_state_at(file, durability)
        if options.is_any or (file_size(file) > 0 and _holds_seal(plain)):
            options.states[file, durability] = cytosol.SealedSaveState(plain, **secret_for(file))
        else:
            options.states[file, durability] = plain
    return options.states[file, durability]


def _holds_seal(plain: SaveState) -> bool:
    plain.open()
    try:
        return is_sealed(plain)
    finally:
        plain.close()


def existing_save_state(file: Path) -> SaveState:
    """Return a closed save state of a file that is there; CommandError if it is not."""
    if not file.exists() and not file.is_symlink():
        raise no_file(file)
    return save_state_for(file)


def no_file(file: Path) -> CommandError:
    """Return the error for a file that is not there; its log may be, with changes in it."""
    name = shlex.quote(str(file))
    log = log_without_file(file)
    if log is None:
        command = f"cytosol run {name} --new"
        text = f"there is no file '{file}'; to begin a document there, type: {command}"
    else:
        command = f"cytosol check {name} --salvage OUT.json"
        text = (
            f"there is no file '{file}', but its log '{log.name}' is there, with changes that may "
            "be nowhere else: put the file back beside it, if it was moved or renamed; or write "
            f"down what the log holds, with: {command}"
        )
    return CommandError(text, NO_FILE)


@contextmanager
def advising(file: Path) -> Iterator[None]:
    """Say what to do about a file on media that cannot be written, such as a mounted backup.

    Opening takes a lock and settles the log, so that it needs to write.
    """
    try:
        yield
    except SaveError as error:
        if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
            raise
        raise CommandError(
            f"{error}; or copy '{file.name}', and '{file.name}-wal' if there is one, to a folder "
            "that can be written, and look at the copy",
            NO_FILE,
        ) from error


def find_app_id(file: Path) -> str | None:
    """Return the app id in a file, None if there is no file or no database in it yet.

    Raises CommandError for a file of which the log is left: nothing must begin there.
    """
    if log_without_file(file) is not None:
        raise no_file(file)
    if not file.exists() and not file.is_symlink():
        return None
    return None if _is_empty(file) else stored_app_id(save_state_for(file))


def _is_empty(file: Path) -> bool:
    """Tell whether a file is there and holds nothing: opening would make a database of it."""
    is_plain = file.is_file() and not file.is_symlink()
    return is_plain and not (file_size(file) or file_size(beside(file, "-wal")))


def open_offline(file: Path) -> cytosol.Database:
    """Open an existing file without the network, and without ever trimming its history.

    Raises CommandError if it is not there or empty, and what `cytosol.open` raises.
    """
    with advising(file):
        state = existing_save_state(file)
        app_id = None if _is_empty(file) else stored_app_id(state)
    if app_id is None:
        raise CommandError(
            f"'{file}' holds no document yet; an app, or `cytosol run`, has to begin it"
        )
    # How much history to keep is for the app to say: a tool keeps all.
    with opening_bar(file) as progress:
        return cytosol.open(
            state,
            app_id=app_id,
            network=False,
            min_history=-1,
            max_history=-1,
            progress=progress,
        )
