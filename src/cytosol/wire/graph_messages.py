"""The RPCs that carry what routers of graphs say between paired devices.

What the text means is not known here: it holds frames of a link, one a line, cut so small that
the sync of the document never has to wait long behind them. `channel` numbers the times that a side
has begun to listen on one connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cytosol.limits import GRAPH_PIECE_LENGTH_MAX, LAMPORT_MAX
from cytosol.model.json import JsonValue
from cytosol.wire.fields import Fields

__all__ = ["GraphListenParams", "GraphMessageParams"]


@dataclass(frozen=True, slots=True)
class GraphListenParams:
    """Say that a program listens to messages of graphs from now on; 0: that nobody does."""

    METHOD: ClassVar[str] = "cytosol.graph.listen"
    channel: int

    def to_json(self) -> JsonValue:
        return {"channel": self.channel}

    @classmethod
    def from_json(cls, value: JsonValue) -> GraphListenParams:
        return cls(Fields(value, cls.METHOD).number("channel", 0, LAMPORT_MAX))


@dataclass(frozen=True, slots=True)
class GraphMessageParams:
    """Bring a piece of some frames to the receiver's `channel`; `more` of the last one follows."""

    METHOD: ClassVar[str] = "cytosol.graph.message"
    channel: int
    text: str
    more: bool

    def to_json(self) -> JsonValue:
        return {"channel": self.channel, "text": self.text, "more": self.more}

    @classmethod
    def from_json(cls, value: JsonValue) -> GraphMessageParams:
        fields = Fields(value, cls.METHOD)
        return cls(
            fields.number("channel", 1, LAMPORT_MAX),
            fields.text("text", 0, GRAPH_PIECE_LENGTH_MAX),
            fields.flag("more"),
        )
