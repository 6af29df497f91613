"""Every exception that Cytosol raises on purpose; anything else that escapes is a bug.

```text
CytosolError
├── ActionError               an action is malformed: nothing was applied, nothing logged
│   └── PathSyntaxError       a path is not JSONPath; says where
├── MissingVariableError      a path names a variable that was not given   (also an ActionError)
├── PathLimitError            a query took more steps than any sane document needs
├── FailureError              an action is well-formed but cannot be applied; see `.failures`
├── DatabaseError
│   ├── DatabaseLockedError   another process, or another `open`, owns this file
│   ├── DatabaseCorruptError  the file is damaged, or not a Cytosol file
│   ├── DatabaseClosedError   the database was closed
│   ├── SealError             a sealed file, and the passphrase or key for it is missing or wrong
│   └── SaveError             the disk refused, or somebody took the file away
├── GraphError                a graph, or what is plugged into it, cannot do what was asked
│   ├── ConfigError           the configs of a graph do not fit together
│   ├── PermissionDeniedError a rule of the other side refused the request
│   └── BroadcastError        some connections of a group did not take a message; see `.errors`
└── NetworkError
    ├── NetworkUnavailableError   no socket could be opened
    ├── PairingError              pairing cannot start or go on
    ├── PeerTimeoutError          a peer did not answer, or did not appear, in time
    └── ProtocolError
        ├── LocalProtocolError    we misused our own protocol machine
        └── RemoteProtocolError   a peer sent what no honest peer sends; see `.code`
            ├── DecryptionError   a message was not sealed with the key we share
            └── FrameError        a frame breaks the framing: answer, then close
```

Failures of ops are data, not errors: they stand in `$.failures` of the metadata.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ActionError",
    "BroadcastError",
    "ConfigError",
    "CytosolError",
    "DatabaseClosedError",
    "DatabaseCorruptError",
    "DatabaseError",
    "DatabaseLockedError",
    "DecryptionError",
    "FailureError",
    "FrameError",
    "GraphError",
    "LocalProtocolError",
    "MissingVariableError",
    "NetworkError",
    "NetworkUnavailableError",
    "PairingError",
    "PathLimitError",
    "PathSyntaxError",
    "PeerTimeoutError",
    "PermissionDeniedError",
    "ProtocolError",
    "RemoteProtocolError",
    "SaveError",
    "SealError",
]


class CytosolError(Exception):
    """Base of every exception that Cytosol raises on purpose."""


class ActionError(CytosolError, ValueError):
    """Say that an action is malformed: unknown kind, bad path, or a payload of the wrong type."""


class PathSyntaxError(ActionError):
    """Say that `path` is not a JSONPath, and at which character (`position`, from 0) it fails."""

    def __init__(self, message: str, path: str, position: int) -> None:
        super().__init__(f"{message} at character {position + 1} of the path {path!r}")
        self.path = path
        self.position = position


class MissingVariableError(ActionError):
    """Say that a path names the variable `name`, which was not given."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the path uses the variable {{{name}}}, which was not given; "
            "pass it in `variables` (for an action: in `vars`)"
        )
        self.name = name


class PathLimitError(CytosolError):
    """Say that evaluating a path took more steps than allowed; narrow the path."""


class FailureError(CytosolError):
    """Say that an action could not be applied; nothing has changed.

    `failures` is a list of `{"path": [...], "message": str, "id": None}`.
    """

    def __init__(self, failures: list[dict[str, Any]]) -> None:
        first = failures[0]
        where = "".join(f"[{step!r}]" for step in first["path"])
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(f"{first['message']} at ${where}{more}; nothing was changed")
        self.failures = failures


class DatabaseError(CytosolError):
    """Base of what can go wrong with a database file."""


class DatabaseLockedError(DatabaseError):
    """Say that another process, or another `open` in this one, owns the file."""


class DatabaseCorruptError(DatabaseError):
    """Say that the file is damaged or is not a Cytosol file; it was left as it is.

    `report` is what `Database.check` has found, None when nobody asked for a check.
    """

    report: Any = None


class DatabaseClosedError(DatabaseError):
    """Say that the database was closed."""


class SaveError(DatabaseError):
    """Say that a write could not be saved: nothing of it was acknowledged.

    The disk is full, read-only or failing; or the open file was deleted, replaced or edited.
    """


class SealError(DatabaseError):
    """Say that a sealed file cannot be opened with what was given, or that a file is not sealed.

    The passphrase or key is missing, wrong, or given for a file that needs none; nothing was
    opened and nothing has changed.
    """


class GraphError(CytosolError):
    """Say that a graph, or what is plugged into it, cannot do what was asked."""


class ConfigError(GraphError):
    """Say that the configs of a graph do not fit together."""


class PermissionDeniedError(GraphError):
    """Say that a rule of the other side refused the request; it says nothing about the data."""


class BroadcastError(GraphError):
    """Say which connections of a group did not take a message; all others got it.

    `errors` maps the ids of these connections to what each of them raised.
    """

    def __init__(self, errors: dict[str, Exception], count: int) -> None:
        reasons = "; ".join(f"{name}: {error}" for name, error in errors.items())
        super().__init__(
            f"{len(errors)} of {count} connections did not take the message: {reasons}"
        )
        self.errors = errors


class NetworkError(CytosolError):
    """Base of what can go wrong on the network."""


class NetworkUnavailableError(NetworkError):
    """Say that no socket could be opened."""


class PairingError(NetworkError):
    """Say that pairing cannot start or go on, and why."""


class PeerTimeoutError(NetworkError, TimeoutError):
    """Say that a peer did not answer, or did not appear, in time."""


class ProtocolError(NetworkError):
    """Base of protocol violations."""


class LocalProtocolError(ProtocolError):
    """Say that this program misused one of its own protocol machines: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """Say that a peer sent what no honest peer sends; its connection is closed.

    `code` is the JSON-RPC error code to answer with, None where no answer is due.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class DecryptionError(RemoteProtocolError):
    """Say that a message was not sealed with the key that we share with the peer."""


class FrameError(RemoteProtocolError):
    """Say that a frame breaks the framing; answer with `code`, then close the connection."""
