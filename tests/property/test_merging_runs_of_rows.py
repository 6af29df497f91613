"""Two runs of rows that commute become one in the order of their ids."""

from __future__ import annotations

import random

from cytosol.crdt.log import Log, Row
from cytosol.crdt.names import Names

AUTHORS = [b"c" * 16, b"a" * 16, b"b" * 16]


def run_of(chance: random.Random, authors: list[int], *, is_whole: bool) -> list[tuple[int, int]]:
    """Return index and author number of some rows in order, without gaps or with some."""
    first = chance.randrange(1, 20)
    indexes = range(first, first + chance.randrange(1, 20))
    idents = [(index, number) for index in indexes for number in authors]
    if not is_whole:
        idents = [ident for ident in idents if chance.random() < 0.7] or idents[:1]
    return sorted(idents, key=lambda ident: (ident[0], AUTHORS[ident[1]]))


def log_of(idents: list[tuple[int, int]]) -> Log:
    """Return a log with such rows, in which every column tells them apart."""
    table = Names()
    for author in AUTHORS:
        table.number(author)
    log = Log(table)
    for at, (index, number) in enumerate(idents):
        row: Row = (index, number, at, at, at, f"k{at}", at)
        log.append_applied(*row, at, at)
    return log


def test_runs_are_merged_as_all_rows_are_sorted() -> None:
    """Of one author each or of several, with gaps or without, wherever they overlap."""
    chance = random.Random(3)
    woven = 0
    for _ in range(600):
        numbers = chance.sample(range(3), 3)
        split = chance.choice([1, 1, 1, 2])
        is_whole = chance.random() < 0.7
        older = [(index, numbers[2]) for index in range(chance.randrange(3))]
        left = run_of(chance, numbers[:split], is_whole=is_whole)
        right = run_of(chance, numbers[split : split + 1], is_whole=is_whole)
        log, start, middle = log_of(older + left + right), len(older), len(older) + len(left)
        expected = sorted(range(len(log)), key=lambda row: (row >= start, log.key(row)))
        rows = [(*log.row(row), log.acts[row], log.undos[row]) for row in expected]
        whole = log_of(older + left + right)
        woven += whole._weave(start, middle)
        log.merge_from(start, middle)
        assert rows == [(*log.row(at), log.acts[at], log.undos[at]) for at in range(len(log))]
    assert 200 < woven < 500, "one of both ways was hardly taken"
