"""Save states: where records lie when the program does not run.

A save state knows records only, under keys that others chose: bytes, or JSON where it
declares `text = True`. What the records mean is the journal's business (`document`), so a
new backend is one short file that passes `cytosol.testing.savestate_contract`.
"""

from __future__ import annotations

from cytosol.savestates.base import SaveState
from cytosol.savestates.jsonfile import JsonFileSaveState
from cytosol.savestates.memory import InMemorySaveState
from cytosol.savestates.sqlite import SqliteSaveState

__all__ = ["InMemorySaveState", "JsonFileSaveState", "SaveState", "SqliteSaveState"]
