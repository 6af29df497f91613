"""Salvage of files that were refused: it gives a part of what was written, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from cytosol.database.salvage import salvage_file
from cytosol.errors import DatabaseCorruptError, SealError
from cytosol.savestates.remains import read_remains
from cytosol.savestates.sealed import HEAD, open_remains
from cytosol.savestates.sealkeys import Secret
from tests.contract.savestate_kinds import secret_of
from tests.durability.subjects import Content, Records, Subject

__all__ = ["Written", "salvage"]


class Invented(AssertionError):
    """Say what nobody has written."""


class Written:
    """Everything that was ever written to one file, by key."""

    def __init__(self, last: Content) -> None:
        self.last = last
        self._values: dict[str, list[Any]] = defaultdict(list)
        self._additions = 0

    def add(self, step: Any) -> None:
        """Take down what one step of a subject writes."""
        if isinstance(step, tuple):
            for key, value in step[0]:
                self._values[key].append(value)
            return
        for action in step["payload"] if step["action"] == "Transaction" else [step]:
            key = action["path"].removeprefix("$.").partition("[")[0]
            payload = action.get("payload")
            self._values[key] += payload if isinstance(payload, list) else [payload]
            self._additions += key == "count"

    def check_records(self, records: dict[str, Any]) -> None:
        """Raise Invented for a record that was never put so."""
        for key, value in records.items():
            if value not in self._values[key]:
                raise Invented(f"the record {key} was never {value!r:.100}")

    def check_document(self, document: Any) -> None:
        """Raise Invented for a value that was never at its place."""
        for key, value in document.items():
            if key == "count":
                if not 0 < value <= self._additions:
                    raise Invented(f"of {self._additions} additions to a count it makes {value}")
                continue
            for each in value if key == "list" else [value]:
                if each not in self._values[key]:
                    raise Invented(f"$.{key} never held {each!r:.100}")


def salvage(subject: Subject, written: Written) -> str:
    """Salvage a file that was refused; tell whether "all", "some" or "nothing" came of it.

    Raises Invented. Whatever else it raises is nothing that salvage may raise.
    """
    secret = secret_of(subject.kind)
    try:
        if isinstance(subject, Records):
            found = _salvage_records(subject, secret)
        else:
            salvaged = salvage_file(subject.path, lambda: secret)
            json.dumps(salvaged.to_json(), allow_nan=False)
            found = salvaged.document
    except (DatabaseCorruptError, SealError):
        if not subject.kind.startswith("sealed"):
            raise
        return "nothing"  # its head is gone, and with it the key
    if subject.kind == "json":  # it has no checksums, because people may edit it
        pass
    elif isinstance(subject, Records):
        written.check_records(found)
    else:
        written.check_document(found)
    return "all" if found == written.last else "some" if found else "nothing"


def _salvage_records(subject: Records, secret: Secret) -> dict[str, Any]:
    remains = read_remains(subject.path, (HEAD,))
    if subject.kind.startswith("sealed"):
        remains = open_remains(remains, lambda is_new: secret, f"'{subject.path}'")
    return remains.records
