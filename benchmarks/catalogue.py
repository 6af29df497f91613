"""The rows of the table: what they are called, their units, and the goals we have set.

Goals were set beside figures of the peers taken in one run on one machine. A goal in another
machine's microseconds says little, so each row also has the goal as a multiple of the best peer.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODULES", "ROWS", "TITLES", "Row", "rows_of", "takes_part", "workloads"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `against` names the row whose peers it is compared with when it has none of its own;
    `goal_ratio` is the goal divided by the best peer's figure of the day it was set. A row that
    is not `compared` only explains another one.
    """

    key: str
    what: str
    unit: str
    goal: float | None = None
    goal_ratio: float | None = None
    against: str | None = None
    compared: bool = True

    @property
    def workload(self) -> str:
        """The workload that yields this row."""
        return self.key.partition(".")[0]


MODULES = {
    "W1": "writing",
    "W2": "writing",
    "W3": "writing",
    "W4": "writing",
    "W5": "merging",
    "W6": "merging",
    "W7": "live",
    "W8": "saving",
    "W9": "reading",
    "W10": "watching",
    "W12": "memory",
    "W13": "network",
    "W14": "network",
    "W15": "saving",
    "W16": "opening",
    "W17": "graphs",
    "W18": "network",
    "W19": "network",
    "growth": "growth",
}

ONLY = {"pycrdt-websocket": ("W13", "W14", "W19"), "sqlite3": ("W15",)}
"""The workloads of peers that take part in few."""

OURS_ONLY = ("W17", "W18", "growth")

ROWS = (
    Row("W1", "100k single sets", "µs", 1.8, 0.97),
    Row("W1.hash", "… and the state hash folded", "µs", 2.2, 1.19, against="W1"),
    Row("W1.typed", "… as typed calls", "µs", 1.3, 0.70, against="W1"),
    Row("W1.typed_hash", "… as typed calls, and the hash", "µs", 1.7, 0.92, against="W1"),
    Row("W1.each", "… each committed by itself", "µs"),
    Row("W2", "10k sets in one transaction, each", "µs", 1.0, 0.94),
    Row("W3", "10k appends to a list", "µs", 1.8, 0.95),
    Row("W3.random", "10k inserts at random places of a list", "µs", 1.9, 1.0),
    Row("W4", "10k additions to a counter", "µs", 1.2, 1.0),
    Row("W5", "merge of 100k ops from a peer, each", "µs", 0.6, 0.97),
    Row("W5.hash", "… and the state hash folded", "µs", 1.0, 1.61, against="W5"),
    Row("W5.export", "… writing them for the peer, each", "µs"),
    Row("W5.bytes", "… bytes each", "B", 4.7, 1.0),
    Row("W5.zstd", "… bytes each, all packed with zstd", "B"),
    Row("W6", "10k + 10k concurrent ops, both ways", "ms", 33, 1.0),
    Row("W6.hash", "… and the state hashes folded", "ms", 50, 1.52, against="W6"),
    Row("W6.bytes", "… bytes, both ways", "kB", 120, 0.62),
    Row("W7", "live: 10k ops written, exported, applied, each", "µs", 5, 0.62),
    Row("W7.encrypted", "… and encrypted on the way", "µs", 10, 1.23, against="W7"),
    Row("W8", "100k ops: save and load", "ms", 65, 0.76),
    Row("W8.save", "… of which saving", "ms"),
    Row("W8.bytes", "… bytes saved, per op", "B"),
    Row("W9", "read one nested path", "ns", 300, 0.42),
    Row("W9.query", "… by a query", "ns", 1500, 2.1, against="W9"),
    Row("W9.whole", "read the whole document, 100k keys", "ms", 8, 0.095),
    Row(
        "W10",
        "write with 100 unrelated subscriptions, more than without",
        "µs",
        0.3,
        0.13,
        compared=False,
    ),
    Row("W10.whole", "… the write itself and that", "µs"),
    Row("W12", "memory: 100k keys", "MB", 20, 1.18),
    Row("W12.keys", "memory: 100k ops on 100 keys", "MB", 8, 1.19),
    Row("W13", "written at A, seen at B, written back, seen at A, p50", "µs", 250, 0.38),
    Row("W13.p99", "… p99", "µs"),
    Row("W13.uvloop", "… with uvloop, p50", "µs", 150, 0.23, against="W13"),
    Row("W14", "first sync of 100k ops over loopback", "s", 0.5),
    Row("W15", "durable write, multiples of a bare append + fsync", "×", 1.3),
    Row("W15.us", "… in microseconds", "µs", compared=False),
    Row("W15.bare", "… the bare append + fsync beside it", "µs", compared=False),
    Row("W15.shared", "… 8 writers at once, each write, multiples", "×"),
    Row("W16", "open a database of 1 million ops", "s", 2),
    Row("W16.bytes", "… its file, per op", "B"),
    Row("W16.peak", "… memory it takes at most", "MB"),
    Row("W16.times", "… in multiples of the document as dicts", "×", 3, compared=False),
    Row("W17", "graph: write one field of a node", "µs", 10),
    Row("W17.read", "… read a cached node", "µs", 2),
    Row("W17.commit", "… commit 1,000 nodes of 5 fields", "ms", 8),
    Row("W17.values", "… the same, given as plain values", "ms"),
    Row("W18", "graph over db.connections: written, seen, written back, seen, p50", "µs"),
    Row("W18.p99", "… p99", "µs"),
    Row("W19", "first sync of 1 million ops over loopback", "s"),
    Row("W19.peak", "… memory it takes at most at the receiver", "MB"),
    Row("W19.times", "… in multiples of the document as dicts", "×", 3, compared=False),
)

TITLES = {row.key: row for row in ROWS}


def workloads() -> list[str]:
    """Return the names of all workloads of the table, in order."""
    return [name for name in MODULES if name != "growth"]


def rows_of(workload: str) -> list[Row]:
    """Return the rows that a workload yields."""
    return [row for row in ROWS if row.workload == workload]


def takes_part(library: str, workload: str) -> bool:
    """Tell whether a library is asked for a workload at all."""
    if workload in OURS_ONLY:
        return library == "cytosol"
    return library not in ONLY or workload in ONLY[library]
