"""Bring a JSON file into a document, as a few Transactions of manageable size.

Small parts are set whole, larger ones container by container, so that no op comes near the
limit of its payload and each record of a long list is a change of its own to other devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cytosol.cli.exits import NO_FILE, CommandError
from cytosol.cli.text import parse_json
from cytosol.crdt.actions import DataAction, Set
from cytosol.model.json import JsonValue, canonical_bytes, copy_json

__all__ = ["batches", "read_json_file"]

PART_BYTES: Final = 4 * 1024  # parts up to this size are set whole
BATCH_BYTES: Final = 256 * 1024  # of one Transaction
BATCH_ACTIONS: Final = 2_048


def read_json_file(file: Path) -> JsonValue:
    """Return the value in a JSON file; CommandError if there is none that we can store."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"there is no file '{file}'", NO_FILE) from None
    except OSError as error:
        raise CommandError(f"'{file}' cannot be read: {error.strerror}", NO_FILE) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError(f"'{file}' is not JSON: it is no UTF-8 text") from None
    value = parse_json(text, f"'{file}'")
    return copy_json(value, depth=2)


def batches(path: str, value: JsonValue) -> Iterator[tuple[list[DataAction], int]]:
    """Yield actions that put `value` at `path`, in batches, each with its bytes of JSON."""
    batch: list[DataAction] = []
    size = 0
    for action, action_bytes in _actions(path, value, is_root=path.strip() == "$"):
        if batch and (size + action_bytes > BATCH_BYTES or len(batch) >= BATCH_ACTIONS):
            yield batch, size
            batch, size = [], 0
        batch.append(action)
        size += action_bytes
    if batch:
        yield batch, size


def _actions(path: str, value: JsonValue, is_root: bool) -> Iterator[tuple[DataAction, int]]:
    if is_root and type(value) is not dict:
        raise CommandError("the root of a document is an object; give a path such as $.data")
    size = len(canonical_bytes(value))
    if not is_root and (size <= PART_BYTES or type(value) not in (dict, list)):
        yield Set(path, value), size
        return
    if not is_root:
        # What was there goes, so that importing again does not mix two versions.
        yield Set(path, type(value)()), 2
    if type(value) is dict:
        for key, item in value.items():
            yield from _actions(f"{path}[{_quoted(key)}]", item, False)
    else:
        for index, item in enumerate(value):
            yield from _actions(f"{path}[{index}]", item, False)


def _quoted(key: str) -> str:
    """Return a key as a name in a JSONPath (RFC 9535, 2.3.1.1)."""
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped) + "'"
