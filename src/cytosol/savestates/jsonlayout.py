"""How records lie in a readable JSON file.

```json
{
  "cytosol": 1,
  "records": {
    "meta/peer": ...,
    "op/0000000000000001": ...
  }
}
```

Keys are sorted, and a record is written alike each time, so that versions of the file
compare well line by line.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from cytosol.savestates.faults import foreign_error, newer_error, unreadable_error

__all__ = ["encode_file", "encode_value", "parse_records"]

_VERSION: Final = 1


def parse_records(path: Path, data: bytes) -> dict[str, bytes]:
    """Return the records in the content of the file `path`, each encoded as it stands there.

    Raises DatabaseCorruptError that says at which line and column reading ended.
    """
    try:
        content = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_make_object,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        detail = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise unreadable_error(path, detail) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        detail = f"no UTF-8 text at line {line}, column {column}"
        raise unreadable_error(path, detail) from None
    except (ValueError, RecursionError) as error:
        raise unreadable_error(path, str(error)) from None
    if not isinstance(content, dict) or "cytosol" not in content:
        raise foreign_error(path, 'it is no JSON object with a member "cytosol"')
    if content["cytosol"] != _VERSION:
        raise newer_error(path, content["cytosol"])
    records = content.get("records")
    if not isinstance(records, dict):
        raise unreadable_error(path, 'its member "records" is not an object')
    try:
        return {key: encode_value(value) for key, value in records.items()}
    except (ValueError, RecursionError) as error:  # half a surrogate pair, written as an escape
        raise unreadable_error(path, str(error)) from None


def encode_value(value: Any) -> bytes:
    """Return a record as it stands in the file: indented, but for its first line.

    Raises TypeError or ValueError for what is not JSON.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return msgspec.json.format(text.encode(), indent=2).replace(b"\n", b"\n    ")


def encode_file(records: dict[str, bytes]) -> bytes:
    """Return the content of the file; `json.dumps` with an indent would be ten times slower."""
    lines = [b'    "%b": %b' % (_key(key), records[key]) for key in sorted(records)]
    body = b"{\n%b\n  }" % b",\n".join(lines) if lines else b"{}"
    return b'{\n  "cytosol": %d,\n  "records": %b\n}\n' % (_VERSION, body)


def _make_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member that stands twice: one of the two would vanish at the next commit."""
    made = dict(members)
    if len(made) < len(members):
        names = Counter(name for name, _ in members)
        twice = next(name for name in names if names[name] > 1)
        raise ValueError(f"an object names the member {twice!r:.80} twice")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _key(key: str) -> bytes:
    return json.dumps(key)[1:-1].encode()
