"""Checking: does a document fit together, and is it what its file makes when read anew?

Everything that memory holds is compared with what the file says when its history is folded once
more from the base, so that neither a damaged file nor a mistake of ours stays hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import load_base
from cytosol.document.checkreport import CheckOutcome, CheckSection, number_of
from cytosol.document.journal import Journal
from cytosol.document.loading import ops_of
from cytosol.errors import ActionError, DatabaseCorruptError, RemoteProtocolError
from cytosol.limits import (
    AUTHORS_MAX,
    COPY_CHAIN_MAX,
    DEPTH_MAX,
    DOCUMENT_PLACES_MAX,
    FAILURES_KEPT_MAX,
)
from cytosol.model.ids import OpId, PeerId, format_id
from cytosol.model.json import JsonValue, count_places, equal_json
from cytosol.model.op import Op
from cytosol.model.version import ZERO_HASH, fold_hash

__all__ = ["RESTORE", "Progress", "check_document", "section"]

Progress = Callable[[str, float], None]
"""Is told what is looked at, and how much of the whole is done, from 0 to 1."""

RESTORE = (
    "keep a copy of the file, then restore a backup, or start with a new file and sync from "
    "another device; `cytosol check --salvage` writes what can still be read"
)
_REPORT = "keep a copy of the file and report it, then restore a backup or sync a new file"


class _MisfitError(Exception):
    """Say what does not fit."""


def section(name: str, look: Callable[[], str], advice: str = RESTORE) -> CheckSection:
    """Return the section for one look, which returns what it saw or raises what is wrong.

    Raises SaveError where the disk does not let us look.
    """
    try:
        return CheckSection(name, CheckOutcome.FINE, look())
    except AssertionError as error:  # an assertion says what ought to be true
        return CheckSection(name, CheckOutcome.DAMAGED, f"it does not hold that {error}", _REPORT)
    except DatabaseCorruptError as error:  # a disk that refuses to be read is no damage
        return CheckSection(name, CheckOutcome.DAMAGED, str(error))  # which says what to do
    except (_MisfitError, ActionError, RemoteProtocolError) as error:
        return CheckSection(name, CheckOutcome.DAMAGED, str(error), advice)


def check_document(
    replica: Replica, journal: Journal, progress: Progress
) -> Iterator[CheckSection]:
    """Check a replica, and that the journal makes the same one.

    Slow: reads everything and folds the history once more. Call it with the document's lock held.
    """
    journal.drain()
    progress("structures", 0.0)
    yield section("structures", lambda: _check_structures(replica))
    progress("save points", 0.1)
    yield section("save points", lambda: _check_save_points(replica))
    progress("limits", 0.15)
    yield section("limits", lambda: _check_limits(replica))
    if not journal.is_kept:
        yield CheckSection("file", CheckOutcome.NOT_CHECKED, "this database is kept in memory only")
        return
    progress("records", 0.2)
    records = section("records", lambda: _check_records(journal))
    yield records
    found = _Found(journal, replica.author)
    steps = (
        ("journal", 0.4, found.read),
        ("authors", 0.55, found.check_authors),
        ("fold", 0.6, lambda: found.compare(replica)),
    )
    is_good = records.outcome is CheckOutcome.FINE
    for name, done, look in steps:
        if not is_good:
            detail = "what it needs cannot be read"
            yield CheckSection(name, CheckOutcome.NOT_CHECKED, detail)
            continue
        progress(name, done)
        seen = section(name, look)
        is_good = seen.outcome is CheckOutcome.FINE
        yield seen


def _check_structures(replica: Replica) -> str:
    replica.check_invariants()
    names = replica.names
    numbers = [names.known_number(author) for author in names.authors]
    assert numbers == list(range(len(names.authors))), "authors and their numbers match one to one"
    pairs = {pair: ~at for at, pair in enumerate(names.pairs)}
    assert pairs == names.copies, "names of copies and their numbers match one to one"
    for code in replica.failures:
        assert replica.log.find(code) >= 0, "failed ops are in the log"
    return (
        f"names, places, positions and the log fit together: {number_of(len(replica.log), 'op')} "
        f"of {number_of(len(names.authors), 'author')}"
    )


def _check_save_points(replica: Replica) -> str:
    """Fold the hash over the ids from the base, and compare it at every save point."""
    replica.state_hash()
    points = replica.save_points.points()
    counts = [count for count, _ in points]
    assert counts == sorted(set(counts)), "save points are in order"
    start = replica.trimmed_count
    assert counts[0] == start, "the first save point is the base"
    state = replica.trim_hash if start else ZERO_HASH
    at = start
    for count, expected in points:
        state = fold_hash(state, (replica.log.key(row - start) for row in range(at, count)))
        assert state == expected, f"the hash after {count:,} ops is that of their ids"
        at = count
    assert replica.hash_at(len(replica.log)) == replica.state_hash(), "the last one is the state's"
    return f"{number_of(len(points), 'point')} with the hash that the ids before make"


def _check_limits(replica: Replica) -> str:
    places = count_places(replica.document)
    depth = _depth(replica.document)
    copies = [~at for at in range(len(replica.names.pairs))]
    longest = max(map(replica.names.chain_length, copies), default=0)
    for what, value, most in (
        ("values", places, DOCUMENT_PLACES_MAX),
        ("containers in each other", depth, DEPTH_MAX),
        ("authors", len(replica.names.authors), AUTHORS_MAX),
        ("copies of copies of one place", longest, COPY_CHAIN_MAX),
    ):
        if value > most:
            raise _MisfitError(f"there are {value:,} {what}, and {most:,} are allowed")
    return (
        f"{number_of(places, 'value')} of at most {DOCUMENT_PLACES_MAX:,}, {depth} of at most "
        f"{DEPTH_MAX} in each other"
    )


def _depth(document: JsonValue) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        level = [
            each
            for value in level
            for each in (value.values() if type(value) is dict else value)
            if type(each) is dict or type(each) is list
        ]
    return depth


def _check_records(journal: Journal) -> str:
    journal.check()
    counts = {"meta/": 0, "op/": 0, "base": 0}
    for key in journal.record_names():
        kind = next((kind for kind in counts if key.startswith(kind)), None)
        if kind is None:
            raise _MisfitError(f"nobody knows a record {key!r:.60}")
        counts[kind] += 1
    batches, metas = number_of(counts["op/"], "record"), counts["meta/"]
    base = "a base" if counts["base"] else "no base"
    size = journal.size_bytes()
    return f"all can be read: {batches} of ops, {base}, {metas} others, in {size:,} bytes"


class _Found:
    """What the file makes when it is read anew."""

    def __init__(self, journal: Journal, author: PeerId) -> None:
        self._journal = journal
        self._author = author
        self._ops: list[Op] = []
        self._start = Replica(author)

    def read(self) -> str:
        """Read base and ops, and every small record."""
        journal = self._journal
        for key in journal.record_names():
            if key.startswith("meta/"):
                journal.get_meta(key.removeprefix("meta/"))
        base = journal.load_base()
        if base is not None:
            self._start, _ = load_base(base, self._author, DOCUMENT_PLACES_MAX)
            self._start.check_invariants()
        for record in journal.load_batches():
            self._ops += ops_of(record)
        kept = journal.get_meta("failures") or []
        if type(kept) is not list or len(kept) > FAILURES_KEPT_MAX:
            raise _MisfitError("the list of kept failures is none, or too long")
        return f"the batches have no gap and hold {number_of(len(self._ops), 'op')}"

    def check_authors(self) -> str:
        """Check that each author's ops are a chain without gaps, from the base on."""
        latest = dict(self._start.latest)
        for op in sorted(self._ops, key=lambda op: op.id):
            have = latest.get(op.author, 0)
            if op.previous != have:
                raise _MisfitError(
                    f"the op {op.index} of {format_id(op.author)} follows its op {op.previous}, "
                    f"and the one before it here is {have}"
                )
            latest[op.author] = op.index
        return f"every op of {number_of(len(latest), 'author')} follows the one before it"

    def compare(self, replica: Replica) -> str:
        """Fold the ops, and compare what comes out with the replica in memory."""
        read = self._start
        read.merge(self._ops)
        if read.waiting:
            raise _MisfitError(f"{len(read.waiting):,} ops lack earlier ones")
        if read.state_hash() != replica.state_hash():
            raise _MisfitError("the file holds other ops than the memory")
        if read.latest != replica.latest:
            raise _MisfitError("the newest ops of the authors are not those in the file")
        if not equal_json(read.document, replica.document):
            raise _MisfitError("the ops in the file make another document")
        # Of what one of both has trimmed, a list is kept instead.
        after = max(each.trim or OpId(0, b"") for each in (read, replica))
        if _failures(read, after) != _failures(replica, after):
            raise _MisfitError("other ops fail when the file is folded")
        read.check_invariants()
        failed = number_of(len(read.failures), "failure")
        return f"the history in the file makes this document, this state hash and {failed}"


def _failures(replica: Replica, after: OpId) -> dict[Any, Any]:
    """Return the failures of later ops by ids, which mean the same in every replica."""
    log = replica.log
    failures = {log.key(log.find(code)): failure for code, failure in replica.failures.items()}
    return {key: failure for key, failure in failures.items() if key > after}
