"""Transactions as a `with` block: actions are collected, and done as one at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from cytosol.crdt.actions import DataAction, parse_action
from cytosol.database.network_actions import network_command
from cytosol.document.document import Document
from cytosol.document.picking import NOTHING, check_steps, pick
from cytosol.errors import ActionError
from cytosol.model.json import JsonValue, copy_json
from cytosol.path import Variables, parse_path

__all__ = ["TransactionContext"]


class TransactionContext:
    """Collects data actions; see `Database.transaction`."""

    def __init__(self, document: Document, commit: Callable[[Mapping[str, Any]], object]) -> None:
        self._document = document
        self._commit = commit
        self._actions: list[JsonValue] = []
        self._is_open = False

    def dispatch(self, action: DataAction | Mapping[str, Any]) -> None:
        """Add a data action. Raises ActionError for one that is malformed.

        Whether it can be applied is found out when the block ends, or when it reads.
        """
        self._check_open()
        if network_command(action) is not None:
            raise ActionError(
                "a transaction holds data actions only; dispatch network actions at the database"
            )
        _, path, _, variables = parse_action(action)
        if path:
            parse_path(path).bind(variables)
        message = action.to_message() if isinstance(action, DataAction) else dict(action)
        # The caller may change what it has passed before the block ends.
        self._actions.append(copy_json(message))

    def query_once(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Query the document as it would be after the actions so far.

        Raises FailureError if they cannot be applied.
        """
        self._check_open()
        found: list[JsonValue] = self._document.preview(
            self._actions, parse_path(path).bind(variables).values
        )
        return found

    def get(self, *steps: str | int, default: Any = None) -> JsonValue:
        """Read one place as it would be after the actions so far.

        Raises FailureError if they cannot be applied.
        """
        self._check_open()
        check_steps(steps)
        found = self._document.preview(self._actions, lambda document: pick(document, steps))
        return default if found is NOTHING else found

    def __enter__(self) -> TransactionContext:
        self._document.check_open()
        if self._is_open or self._actions:
            raise ActionError("a transaction is used once; call transaction() for another one")
        self._is_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        if kind is None and self._actions:
            self._commit({"action": "Transaction", "payload": self._actions})

    def _check_open(self) -> None:
        if not self._is_open:
            raise ActionError("this transaction is over: use it inside its `with` block")
