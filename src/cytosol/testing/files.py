"""Real files for the devices of a world, where a virtual disk would not do: in SQLite or JSON.

They are what an app has on a real machine, written by the same code. What only a virtual disk can
do, losing what was not flushed and being full, cannot happen to them here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from cytosol.savestates import JsonFileSaveState, SaveState, SqliteSaveState

__all__ = ["FILE_KINDS", "FileKind", "RealFiles"]

FileKind = Literal["sqlite", "json", "relaxed"]
"""SQLite, a readable JSON file, SQLite with `durability="relaxed"`."""

FILE_KINDS: Final[tuple[FileKind, ...]] = ("sqlite", "json", "relaxed")


class RealFiles:
    """A folder with one database; `new_folder` makes more of them, for copies."""

    def __init__(self, kind: FileKind, new_folder: Callable[[], Path]) -> None:
        self.kind = kind
        self.folder = new_folder()
        self._new_folder = new_folder
        self._state: SaveState | None = None

    def save_state(self) -> SaveState:
        """Return a save state of the file."""
        if self.kind == "json":
            self._state = JsonFileSaveState(self.folder / "database.json")
        else:
            durability: Literal["full", "relaxed"] = "full" if self.kind == "sqlite" else "relaxed"
            self._state = SqliteSaveState(self.folder / "database.sqlite", durability)
        return self._state

    def let_go(self) -> None:
        """Leave the files as the system has them now, and nobody who owns them.

        A program that is killed closes nothing. But somebody has to in this process, so the files
        are put back afterwards as they were.
        """
        state, self._state = self._state, None
        if state is not None:
            left = self._read()
            state.close()
            self._write(left)

    def copy(self) -> RealFiles:
        """Return copies of the files in another folder."""
        copy = RealFiles(self.kind, self._new_folder)
        copy._write(self._read())
        return copy

    def put_back(self, backup: RealFiles) -> None:
        """Write what a copy has over these files, so that they stay the same ones."""
        self._write(backup._read())

    def _read(self) -> dict[str, bytes]:
        """Return all files but the lock, which says nothing once its owner is gone."""
        return {
            path.name: path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if not path.name.endswith("-lock")
        }

    def _write(self, files: dict[str, bytes]) -> None:
        for path in self.folder.iterdir():
            if path.name not in files:
                path.unlink()
        for name, data in files.items():
            path = self.folder / name
            with path.open("r+b" if path.exists() else "wb") as file:
                file.truncate()
                file.write(data)
