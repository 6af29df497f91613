"""A program that writes to a database until it is killed, or until its disk is full.

Run as `python -m tests.hostile.database_writer KIND PATH COMMAND` by the tests of hostile files.
"""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import cytosol

APP_ID = "0f4d8b52-4f0c-4f0e-8a5e-3c1f5b0a9d77"
WRITERS = 3


def open_database(kind: str, path: Path) -> cytosol.Database:
    """Open a file without the network; histories are trimmed often."""
    state = cytosol.JsonFileSaveState(path) if kind == "json" else path
    return cytosol.open(state, app_id=APP_ID, network=False, max_history=64)


def write_until_killed(database: cytosol.Database) -> None:
    """Dispatch from several threads, telling each number that was acknowledged.

    Each step writes to three places: one Set that became two ops, and a Transaction.
    """
    lock = threading.Lock()

    def write(writer: int) -> None:
        start = database.get(f"left{writer}", default=0)
        assert isinstance(start, int)
        number = start
        while True:
            number += 1
            database.dispatch(cytosol.Set(f"$['left{writer}','right{writer}']", number))
            database.dispatch(
                cytosol.Transaction(
                    [
                        cytosol.Set(f"$.one{writer}", number),
                        cytosol.Set(f"$.two{writer}", [number]),
                    ]
                )
            )
            with lock:
                print(writer, number, flush=True)

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    threads[0].join()


def write_against_a_limit(database: cytosol.Database) -> None:
    """Write until files may grow no further, then go on after the limit was lifted."""
    database.dispatch(cytosol.Set("$.text", ""))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    saved = 0
    try:
        while saved < 10_000:
            database.dispatch(cytosol.Set(f"$.part{saved}", f"{saved}" * 500))
            saved += 1
    except cytosol.SaveError as error:
        print(f"SaveError: {error}")
    before = database.state_hash()
    for _ in range(3):
        try:
            database.dispatch(cytosol.Set("$.text", "refused" * 2_000))
            print("a write that cannot fit was taken")
        except cytosol.SaveError:
            pass
    assert before == database.state_hash(), "a refused write left a trace"
    assert [""] == database.query_once("$.text")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    database.dispatch(cytosol.Set("$.text", "saved"))
    database.check()
    print(saved)


def main(kind: str, path: str, command: str) -> None:
    """Do what the test asks for."""
    database = open_database(kind, Path(path))
    match command:
        case "write":
            write_until_killed(database)
        case "limit":
            write_against_a_limit(database)
            database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
