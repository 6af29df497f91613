"""Checking a whole database: its file, who it is, whom it knows, and its document."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cytosol.crypto.keys import KeyPair, certifies
from cytosol.crypto.primitives import check_public_key, public_key_of
from cytosol.database.identity import Identity
from cytosol.database.pairings import PairingStore
from cytosol.document.checking import RESTORE, Progress, section
from cytosol.document.checkreport import CheckOutcome, CheckReport, CheckSection
from cytosol.document.document import Document
from cytosol.errors import ActionError, DatabaseCorruptError, RemoteProtocolError
from cytosol.limits import PAIRINGS_MAX
from cytosol.model.ids import format_id
from cytosol.model.json import brief
from cytosol.savestates.faults import os_fault
from cytosol.savestates.sqlitelog import count_unreadable

__all__ = ["check_database", "corrupt_error", "file_sections"]

_LEFT_OVER: Final = {
    "-new": "a write that a crash cut short left it; the next opening or write removes it",
    "-sealing": "(un)sealing was cut short; opening a sealed file removes it, and sealing again",
    "-journal": "the first opening was cut short and left it; the next opening removes it",
}


def check_database(
    document: Document, identity: Identity, pairings: PairingStore, progress: Progress
) -> CheckReport:
    """Check everything that an open database has; slow.

    Raises DatabaseClosedError, and ActionError for a `progress` that cannot be called.
    """
    if not callable(progress):
        raise ActionError(f"progress is a function of (what, share), not {brief(progress)}")
    path = document.journal.path
    sections: list[CheckSection] = []
    if path is not None and document.journal.is_one_file:
        sections += file_sections(Path(path), is_open=True)
    sections.append(section("identity", lambda: _check_identity(identity)))
    sections.append(section("pairings", lambda: _check_pairings(identity, pairings)))
    sections += document.check_sections(progress)
    progress("done", 1.0)
    return CheckReport("the database in memory" if path is None else path, tuple(sections))


def corrupt_error(report: CheckReport) -> DatabaseCorruptError:
    """Return the error for a report that found damage; it carries the report."""
    first, *rest = report.damaged
    more = f" (and {len(rest)} more: see the report)" if rest else ""
    advice = f". {first.advice[0].upper()}{first.advice[1:]}" if first.advice else ""
    error = DatabaseCorruptError(
        f"{report.subject} does not fit together: {first.detail}{more}{advice}"
    )
    error.report = report
    return error


def _check_identity(identity: Identity) -> str:
    keys: KeyPair = identity.key_pair
    if public_key_of(keys.secret) != keys.public:
        raise ActionError("the public key is not that of the private one")
    check_public_key(keys.public)
    if not certifies(identity.peer_id, keys.public):
        raise ActionError("the peer id was not made from the public key, so no device believes it")
    return f"the device {format_id(identity.peer_id)} has the key that its id was made from"


def _check_pairings(identity: Identity, pairings: PairingStore) -> str:
    paired, refused = pairings.paired(), pairings.refused()
    brought = [peer_id for peer_id, peer in paired.items() if peer.shared_by is not None]
    told = [peer_id for peer_id, refusal in refused.items() if refusal.told_by is not None]
    for what, by_others in (("paired", brought), ("refused", told)):
        if len(by_others) > PAIRINGS_MAX:
            raise ActionError(
                f"{len(by_others):,} devices that others have brought are {what}, and "
                f"{PAIRINGS_MAX:,} are allowed"
            )
    for what, peers in (("paired", paired.keys()), ("refused", refused.keys())):
        if identity.peer_id in peers:
            raise ActionError(f"this device itself is among the {what} ones")
    both = sorted(map(format_id, paired.keys() & refused.keys()))
    if both:
        raise ActionError(f"the device {both[0]} is paired and refused at once")
    keys = {peer_id: peer.public_key for peer_id, peer in paired.items()}
    refused_keys = {peer_id: refusal.public_key for peer_id, refusal in refused.items()}
    for peer_id, key in (*keys.items(), *refused_keys.items()):
        try:
            check_public_key(key)
        except RemoteProtocolError as error:
            raise ActionError(f"the key of {format_id(peer_id)} cannot be one: {error}") from None
    foreign = sum(not certifies(peer_id, key) for peer_id, key in keys.items())
    more = f", {foreign} of them with ids of another origin" if foreign else ""
    return f"{len(paired)} paired and {len(refused)} refused devices, with usable keys{more}"


def file_sections(path: Path, *, is_open: bool) -> Iterator[CheckSection]:
    """Look at a file from outside, and at what lies beside it; opens and changes nothing.

    Raises SaveError where the disk does not let us look.
    """
    try:
        yield from _file_sections(path, is_open)
    except OSError as error:
        raise os_fault(path, error) from error


def _file_sections(path: Path, is_open: bool) -> Iterator[CheckSection]:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        detail = "it was deleted or moved away while it was open, so that nothing is saved any more"
        advice = "copy what you need out of the open database, close it, and put the file back"
        if is_open:
            yield CheckSection("file", CheckOutcome.DAMAGED, detail, advice)
        return
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISREG(found.st_mode):
        detail = "it is a symbolic link, or no plain file; Cytosol opens neither"
        yield CheckSection("file", CheckOutcome.DAMAGED, detail, "give the name of the file itself")
        return
    yield _permissions(path, found)
    yield _beside(path)
    if is_open:
        yield _lock(path)
    elif (log := path.with_name(f"{path.name}-wal")).is_file():
        yield _log(path, log)


def _permissions(path: Path, found: os.stat_result) -> CheckSection:
    wrong = []
    if sys.platform != "win32":
        if found.st_uid != os.geteuid():
            wrong.append(f"it belongs to the user with the number {found.st_uid}")
        for each in (path, *_files_beside(path, ("-wal", "-lock"))):
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(os.lstat(each).st_mode)
                if mode & 0o077:
                    wrong.append(f"'{each.name}' had the mode {mode:04o}")
    if found.st_nlink > 1:
        wrong.append(f"it has {found.st_nlink} names (hard links)")
    if not wrong:
        return CheckSection("permissions", CheckOutcome.FINE, "a plain file, for its owner only")
    advice = "opening narrows modes to 0600; who could read it until then may have a copy"
    return CheckSection("permissions", CheckOutcome.NOTE, ", ".join(wrong), advice)


def _beside(path: Path) -> CheckSection:
    names = [each.name for each in _files_beside(path, tuple(_LEFT_OVER))]
    if not names:
        return CheckSection(
            "leftovers", CheckOutcome.FINE, "nothing beside it that a crash has left"
        )
    reasons = [reason for suffix, reason in _LEFT_OVER.items() if path.name + suffix in names]
    return CheckSection("leftovers", CheckOutcome.NOTE, ", ".join(names), "; ".join(reasons))


def _log(path: Path, log: Path) -> CheckSection:
    """Look for the end of SQLite's log, which a crash may have cut."""
    with log.open("rb") as frames, path.open("rb") as file:
        unreadable = count_unreadable(frames, file)
    size = log.stat().st_size
    if unreadable == 0:
        return CheckSection(
            "log", CheckOutcome.FINE, f"{size:,} bytes that opening takes into the file"
        )
    if unreadable == 1:
        detail = "its last transaction was cut short by a crash, before it was acknowledged"
        return CheckSection("log", CheckOutcome.NOTE, detail, "opening drops it")
    detail = f"it is damaged in the middle, and {unreadable} transactions after that are unreadable"
    return CheckSection("log", CheckOutcome.DAMAGED, detail, RESTORE)


def _lock(path: Path) -> CheckSection:
    """Look whether the lock that keeps others out is there, and names this process."""
    lock = path.with_name(f"{path.name}-lock")
    try:
        owner = lock.read_bytes().strip()
    except FileNotFoundError:
        detail = f"'{lock.name}' was deleted, so that another program could open the file, too"
        advice = "close the database, and open it again before anything else does"
        return CheckSection("lock", CheckOutcome.NOTE, detail, advice)
    if sys.platform != "win32" and owner != b"%d" % os.getpid():
        detail = "the lock names another process; this one may be a fork of it"
        return CheckSection("lock", CheckOutcome.NOTE, detail, "open the database after forking")
    return CheckSection("lock", CheckOutcome.FINE, "this process owns the file")


def _files_beside(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    beside = [path.with_name(path.name + suffix) for suffix in suffixes]
    return [each for each in beside if os.path.lexists(each)]
