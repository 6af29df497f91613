"""How many inputs each target gets of a total: cheap parsers many, whole files few."""

from __future__ import annotations

from tests.fuzz import data_targets, text_targets, wire_targets
from tests.fuzz.target import BLOCK, TARGETS

__all__ = ["CHECK_TOTAL", "QUICK_TOTAL", "SHARES", "blocks_of"]

CHECK_TOTAL = 3_700_000
QUICK_TOTAL = CHECK_TOTAL // 5

SHARES: dict[str, float] = {
    "heartbeats": 300,
    "RPC messages": 160,
    "RPC params": 40,
    "RPC results": 40,
    "streams of the gateway": 40,
    "streams of connections": 30,
    "compressed messages": 60,
    "sealed bodies": 60,
    "pairing messages": 0.5,
    "paths": 60,
    "variables": 25,
    "patterns": 30,
    "op batches": 60,
    "op columns": 15,
    "single writes": 15,
    "ops as JSON": 25,
    "ops merged": 4,
    "bases": 30,
    "bases by their parts": 4,
    "JSON files": 8,
    "records": 3,
    "SQLite logs": 30,
}

MODULES = (data_targets, text_targets, wire_targets)
"""Imported for the targets that they register."""


def blocks_of(name: str, total: int) -> int:
    """Return how many blocks of a total are a target's; one at least, and never fewer in all."""
    assert TARGETS.keys() == SHARES.keys(), "every target has its share"
    return max(1, -(-round(total * SHARES[name] / sum(SHARES.values())) // BLOCK))
