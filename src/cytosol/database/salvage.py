"""Salvage: read what is left of a damaged database file, and change nothing in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cytosol.document.salvage import EXPECTED, Salvaged, salvage
from cytosol.savestates.remains import read_remains
from cytosol.savestates.sealed import HEAD, open_remains
from cytosol.savestates.sealkeys import Secret

__all__ = ["salvage_file"]


def salvage_file(path: Path, ask: Callable[[], Secret]) -> Salvaged:
    """Return the document that what is left of a file makes, and what is missing.

    `ask` returns the passphrase or key of a sealed file. Raises DatabaseLockedError for a file in
    use, SaveError for one that cannot be read, SealError for a wrong secret, and
    DatabaseCorruptError for a sealed file without its head.
    """
    remains = read_remains(path, (*EXPECTED, HEAD, "sealed/whole"))
    if any(key.startswith("sealed/") for key in remains.records):
        remains = open_remains(remains, lambda is_new: ask(), f"'{path}'")
    if not remains.records:
        remains.problems.append("no record could be read")
    return salvage(remains.records, text=remains.text, problems=remains.problems)
