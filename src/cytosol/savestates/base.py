"""What every save state can do, and what it promises.

The promises, which the contract tests hold every backend to:

* A batch is atomic: after a crash at any moment all of it is there, or nothing.
* When `commit` returns, the batch survives a crash of the program and, unless the backend
  was told otherwise, of the machine. When it raises, nothing of the batch is visible; only
  after a crash or a reopening may a batch be there that was never acknowledged.
* What is read is what was written, or DatabaseCorruptError.
* One owner at a time, in this process and among all processes.
* Methods may be called from several threads; commits of several threads share a write.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from cytosol.errors import DatabaseClosedError, DatabaseError

__all__ = ["Batch", "SaveState", "Value", "closed_error", "make_batch"]

Value: TypeAlias = Any
"""bytes, or a JSON value where the save state declares `text = True`."""

_Stored = TypeVar("_Stored")


@dataclass(slots=True, eq=False)
class Batch:
    """Changes that take effect together: prefixes are deleted first, then keys, then puts."""

    puts: list[tuple[str, Any]]
    deletes: list[str]
    delete_prefixes: tuple[str, ...]
    done: bool = False
    error: DatabaseError | None = None

    def apply_to(self, records: MutableMapping[str, _Stored]) -> None:
        """Make the changes in a mapping, for backends that keep their records in one."""
        if self.delete_prefixes:
            for key in [key for key in records if key.startswith(self.delete_prefixes)]:
                del records[key]
        for key in self.deletes:
            records.pop(key, None)
        records.update(self.puts)


def make_batch(
    puts: Iterable[tuple[str, Value]],
    deletes: Iterable[str],
    delete_prefixes: Iterable[str],
    *,
    text: bool,
) -> Batch:
    """Collect a batch, so that whatever is wrong with it is found before anything changes.

    Raises TypeError for a key that is not ASCII text and for a value that is not bytes (where
    `text` is true, the backend checks values when it encodes them).
    """
    batch = Batch(list(puts), list(deletes), tuple(delete_prefixes))
    for key, value in batch.puts:
        if not (type(key) is str and key.isascii() and key):
            raise TypeError(f"the key {key!r} of a record must be a non-empty ASCII string")
        if not text and type(value) is not bytes:
            raise TypeError(f"the record {key!r} must be bytes, not {type(value).__name__}")
    return batch


def closed_error(name: object) -> DatabaseClosedError:
    """Return the error for using a save state that is not open."""
    return DatabaseClosedError(f"{name} is closed; open the database again to use it")


class SaveState(ABC):
    """Keep records under string keys; the base of every backend.

    Keys are non-empty ASCII strings such as "meta/peer" or "op/0000000000000001". `path` is the
    file, None where there is none. A save state is made closed; the database opens it.
    """

    text: bool = False
    """True: values are JSON values, and a file of them is for people to read; else bytes."""

    path: Path | None = None

    is_one_file: bool = False
    """True: `path` is one plain file, with a lock by `FileLock` beside it."""

    @abstractmethod
    def open(self) -> None:
        """Become the owner, repair what a crash left behind, and make the records readable.

        Raises DatabaseLockedError if someone else is the owner, DatabaseCorruptError if the
        file is damaged or not ours (it is left as it is), SaveError if the disk refuses.
        """

    @abstractmethod
    def get(self, key: str) -> Value | None:
        """Return the value under `key`, the caller's own; None if there is no such record."""

    @abstractmethod
    def scan(self, prefix: str) -> Iterator[tuple[str, Value]]:
        """Yield the records whose keys begin with `prefix` ("" is all), in code point order.

        What is committed meanwhile may be among them or not.
        """

    @abstractmethod
    def commit(
        self,
        puts: Iterable[tuple[str, Value]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one atomic batch; on return it is durable as promised.

        Deletions come first, so that a batch can replace all records below a prefix; of two
        puts of one key the later counts. Raises SaveError if the disk refuses: then nothing
        of the batch is visible, and once the error says "reopen" every further commit raises.
        A KeyboardInterrupt may come before the batch is there or after it: then `get` tells.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file; closing twice is fine. Afterwards everything but `open` raises
        DatabaseClosedError.

        Raises SaveError, with the file released, if committed batches stay where opening the
        file would not find them.
        """

    @abstractmethod
    def size_bytes(self) -> int:
        """Return how many bytes the records take where they lie."""

    def check(self) -> None:
        """Read everything; raises DatabaseCorruptError at the first damage found."""
        for _ in self.scan(""):
            pass
