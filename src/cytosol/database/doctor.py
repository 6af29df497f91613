"""The doctor: collects what this device knows of itself, has the network probed, and judges.

Clock and random numbers are read here. The document's lock is not held while probes run.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.database.causes import Cause
from cytosol.database.diagnosis import DeviceSeen, Diagnosis, diagnose
from cytosol.errors import ActionError
from cytosol.model.ids import parse_id
from cytosol.model.json import brief
from cytosol.net.probes import Subject, examine_network
from cytosol.net.service import NetworkService
from cytosol.savestates.files import log_without_file

if TYPE_CHECKING:
    from cytosol.database.database import Database

__all__ = ["DOCTOR_WAIT_S", "FileFault", "examine", "examine_without_file", "file_faults"]

DOCTOR_WAIT_S: Final = 12.0  # every device sends a heartbeat a minute: 80 s hears them all
FREE_BYTES_MIN: Final = 256 * 1024  # less is as good as nothing: SQLite's log needs some

FileFault = tuple[Cause, str]


def examine(
    database: Database,
    *,
    wait_s: float = DOCTOR_WAIT_S,
    addresses: Sequence[str] = (),
    faults: Sequence[FileFault] = (),
    is_offline: bool = False,
) -> Diagnosis:
    """Examine an open database; `is_offline` if it was opened without the network on purpose.

    `faults` are added to those that its file shows.

    Raises ActionError for a wrong time or address, DatabaseClosedError.
    """
    named = _checked(wait_s, addresses)
    database._document.check_open()
    options, pairings, service = database._options, database._pairings, database._network
    count, wrong_s = pairings.wrong_codes()
    paired = pairings.paired()
    device = DeviceSeen(
        file_faults=(*faults, *file_faults(database._document.journal.path)),
        is_network_on=service is not None or is_offline,
        is_visible=options.visible_to_peers,
        is_sync_enabled=options.sync_enabled,
        wrong_codes=count,
        wrong_code_s=wrong_s,
        now_s=time.time(),
        latest_note_s=max(
            [each.since_s for each in paired.values()]
            + [each.since_s for each in pairings.refused().values()],
            default=0.0,
        ),
        paired=len(paired),
    )
    rows = [] if service is None else service.peers()
    subject = Subject(
        app_id=database._app,
        peer_id=database._identity.peer_id,
        keys=database._identity.key_pair,
        name=options.peer_name,
        paired=paired,
        refused={each: known.public_key for each, known in pairings.refused().items()},
        addresses={peer_id: pairings.addresses(peer_id) for peer_id in paired},
        connected=frozenset(parse_id(row["id"]) for row in rows if row["connected"]),
        named=named,
        gateway_port=service.gateway_port if isinstance(service, NetworkService) else 0,
        is_loopback_enough=options.loopback,
    )
    network = examine_network(subject, wait_s)
    if service is not None:
        # What could not be sent is seen by the probes, and by what it means.
        network.problems = tuple(
            each for each in service.problems() if not each.startswith("sending on ")
        )
    return diagnose(device, network)


def examine_without_file(
    app_id: bytes | None,
    faults: Sequence[FileFault],
    *,
    wait_s: float = DOCTOR_WAIT_S,
    addresses: Sequence[str] = (),
    loopback: bool = False,
) -> Diagnosis:
    """Examine the network under an identity made for it; without an app only this device.

    Raises ActionError for a wrong time or address.
    """
    named = _checked(wait_s, addresses)
    keys = make_key_pair(os.urandom(32))
    device = DeviceSeen(
        tuple(faults), has_identity=False, is_app_known=app_id is not None, now_s=time.time()
    )
    subject = Subject(
        app_id=os.urandom(16) if app_id is None else app_id,
        peer_id=peer_id_for_key(keys.public),
        keys=keys,
        name="Cytosol doctor",
        has_identity=False,
        named=named,
        is_loopback_enough=loopback,
    )
    return diagnose(device, examine_network(subject, 0.0 if app_id is None else wait_s))


def file_faults(path: str | os.PathLike[str] | None) -> list[FileFault]:
    """Return what is wrong with a file, as far as it shows without opening it."""
    if path is None:
        return []
    file = Path(path)
    if not file.exists():
        log = log_without_file(file)
        more = (
            ""
            if log is None
            else f", but its log '{log.name}' is there: put the file back beside it"
        )
        return [(Cause.FILE_MISSING, f"'{file}'{more}")]
    try:
        free = shutil.disk_usage(file.parent).free
    except OSError:
        return []
    return [(Cause.DISK_FULL, f"'{file.parent}'")] if free < FREE_BYTES_MIN else []


def _checked(wait_s: float, addresses: Sequence[str]) -> tuple[str, ...]:
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)) or not 0 <= wait_s <= 3600:
        raise ActionError(f"wait_s is a number of seconds, 0 to 3600, not {brief(wait_s)}")
    if isinstance(addresses, (str, bytes)) or not isinstance(addresses, Sequence):
        raise ActionError(f"addresses is a list of IPv4 addresses, not {brief(addresses)}")
    for address in addresses:
        try:
            if not isinstance(address, str):  # else 5 would be 0.0.0.5
                raise ValueError
            ipaddress.IPv4Address(address)
        except ValueError:
            raise ActionError(f"{brief(address)} is no IPv4 address such as 192.168.1.20") from None
    return tuple(addresses)
