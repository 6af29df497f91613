"""The table of all RPCs: what each takes and gives, and where it may be called."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cytosol.errors import RemoteProtocolError
from cytosol.model.json import JsonValue
from cytosol.wire import graph_messages as graph
from cytosol.wire import messages as net
from cytosol.wire import sync_messages as sync
from cytosol.wire.jsonrpc import ErrorCode

__all__ = ["METHODS", "Body", "Method", "Place", "parse_params", "parse_result"]


class Body(Protocol):
    """The params or the result of an RPC."""

    def to_json(self) -> JsonValue:
        """Return it as it travels."""


class Params(Body, Protocol):
    """The params of an RPC, which know its name."""

    METHOD: str


class _Parser(Protocol):
    def from_json(self, value: JsonValue) -> Body: ...


class Place(enum.Enum):
    """Which of the two kinds of streams."""

    GATEWAY = "gateway"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Method:
    """One row: `result` is None for a notification."""

    name: str
    place: Place
    params: _Parser
    result: _Parser | None


_ROWS: Final = (
    (Place.GATEWAY, net.HelloParams, None),
    (Place.GATEWAY, net.PairParams, net.PairResult),
    (Place.GATEWAY, net.ConfirmPairParams, net.Done),
    (Place.GATEWAY, net.ConnectParams, net.ConnectResult),
    (Place.CONNECTION, net.SharePeersParams, None),
    (Place.CONNECTION, net.UnpairParams, net.Done),
    (Place.CONNECTION, sync.StateSummaryParams, net.Done),
    (Place.CONNECTION, sync.SessionUpdateParams, net.Done),
    (Place.CONNECTION, sync.FindLastSharedHistoryParams, sync.FindLastSharedHistoryResult),
    (Place.CONNECTION, sync.EndSessionParams, net.Done),
    (Place.CONNECTION, sync.LiveUpdateParams, sync.LiveUpdateResult),
    (Place.CONNECTION, sync.SnapshotParams, sync.SnapshotResult),
    (Place.CONNECTION, graph.GraphListenParams, None),
    (Place.CONNECTION, graph.GraphMessageParams, net.Done),
)

METHODS: Final[Mapping[str, Method]] = {
    params.METHOD: Method(params.METHOD, place, params, result) for place, params, result in _ROWS
}


def parse_params(method: str, params: JsonValue, place: Place) -> Body:
    """Return the typed params of a call that arrived at `place`.

    Raises RemoteProtocolError: -32601 for a method that is unknown or not for this place,
    -32602 for bad params.
    """
    row = METHODS.get(method)
    if row is None or row.place is not place:
        raise RemoteProtocolError(
            f"there is no method {method!r} on a {place.value}", ErrorCode.METHOD_NOT_FOUND
        )
    return row.params.from_json(params)


def parse_result(method: str, result: JsonValue) -> Body:
    """Return the typed result of a call that we made; `method` is one that has a result.

    Raises RemoteProtocolError (-32602) for a bad result.
    """
    parser = METHODS[method].result
    if parser is None:
        raise ValueError(f"{method} is a notification and has no result")
    return parser.from_json(result)
