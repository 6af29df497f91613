"""Which save state a file is of, told by what it holds; a name decides for one that is new."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from cytosol.savestates.base import SaveState
from cytosol.savestates.jsonfile import JsonFileSaveState
from cytosol.savestates.sqlite import SqliteSaveState

__all__ = ["save_state_at"]

_SQLITE_HEAD: Final = b"SQLite format 3\0"


def save_state_at(path: Path, durability: Literal["full", "relaxed"] = "full") -> SaveState:
    """Return a closed save state for a file: readable JSON or SQLite; touches nothing.

    What cannot be read counts by its name, and opening it says what is wrong.
    """
    return JsonFileSaveState(path) if _is_json(path) else SqliteSaveState(path, durability)


def _is_json(path: Path) -> bool:
    is_named_json = path.suffix.lower() == ".json"
    if not path.is_file():  # opening a pipe would wait for somebody
        return is_named_json
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_SQLITE_HEAD))
    except OSError:
        return is_named_json
    if is_named_json:
        return head != _SQLITE_HEAD
    return head.lstrip().startswith(b"{")
