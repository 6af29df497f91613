"""The save states that the contract is held against, and a program that uses one.

Run as `python -m tests.contract.savestate_kinds KIND PATH COMMAND` by the contract tests.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from cytosol.errors import DatabaseError, SaveError
from cytosol.savestates import (
    InMemorySaveState,
    JsonFileSaveState,
    SaveState,
    SqliteSaveState,
)
from cytosol.savestates.sealed import SealedRecords
from cytosol.savestates.sealkeys import SealCost, Secret, key_secret, passphrase_secret
from cytosol.testing.savestate_contract import check_whole, commit_number, value_of

CHEAP = SealCost(passes=1, memory_bytes=8_192)
PASSPHRASE = "käse & brot"
KEY = b"\7" * 32


def seal(inner: SaveState) -> SealedRecords:
    """Return a sealed save state around another one, quick to open."""
    return SealedRecords(inner, lambda _: passphrase_secret(PASSPHRASE), os.urandom, CHEAP)


def seal_with_key(inner: SaveState) -> SealedRecords:
    """Return a save state that is sealed with a key."""
    return SealedRecords(inner, lambda _: key_secret(KEY), os.urandom)


FILE_KINDS: dict[str, Callable[[Path], SaveState]] = {
    "sqlite": SqliteSaveState,
    "sqlite-relaxed": lambda path: SqliteSaveState(path, durability="relaxed"),
    "json": JsonFileSaveState,
    "sealed-sqlite": lambda path: seal(SqliteSaveState(path)),
    "sealed-json": lambda path: seal_with_key(JsonFileSaveState(path)),
}
KINDS = ["memory", "sealed-memory", *FILE_KINDS]


def make(kind: str, path: Path) -> SaveState:
    """Return a closed save state of the kind."""
    match kind:
        case "memory":
            return InMemorySaveState()
        case "sealed-memory":
            return seal(InMemorySaveState())
    return FILE_KINDS[kind](path)


def secret_of(kind: str) -> Secret:
    """Return what opens a sealed save state of the kind; for others it does not matter."""
    return key_secret(KEY) if kind == "sealed-json" else passphrase_secret(PASSPHRASE)


def write_against_a_limit(state: SaveState) -> None:
    """Commit until files may grow no further, then go on after the limit is lifted."""
    commit_number(state, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        state.commit([(f"big/{n}", value_of(state, "y" * 10_000)) for n in range(50)])
    except SaveError as error:
        print(error)
    assert [] == list(state.scan("big/"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    commit_number(state, 2)
    print(check_whole(state))


def main(kind: str, path: str, command: str) -> None:
    """Do what the contract test asks for."""
    state = make(kind, Path(path))
    try:
        state.open()
    except DatabaseError as error:
        print(f"{type(error).__name__}: {error}")
        return
    match command:
        case "hold":
            print("open", flush=True)
            sys.stdin.readline()
            state.close()
        case "limit":
            write_against_a_limit(state)
            state.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
