"""Two paired devices on a switch of their own, one fault or two, and a doctor who is not told.

The doctor is the real command line, run as a process in the laptop's namespace. Firewalls are
nftables rules in the namespaces of hosts and of the switch.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.database.database import Database
from cytosol.model.ids import PeerId, parse_id
from cytosol.protocol.seams import PairedPeer
from tests.end_to_end.lab import Cable, Lab, Namespace
from tests.end_to_end.remote import APP_ID, Remote

DOCTOR_S = 120.0
PORT = 65154  # of the heartbeats of APP_ID
LAPTOP, PHONE = "10.77.0.1", "10.77.0.2"
LONG_AGO = 1_760_000_000.0  # when the two were paired
OLD_PORT = 40_404  # where one listened when it ran last


def needs_nftables() -> pytest.MarkDecorator:
    """Return the mark of tests that set up firewalls."""
    reason = "'nft' is missing: install the package nftables to include these tests"
    return pytest.mark.skipif(shutil.which("nft") is None, reason=reason)


@dataclass(frozen=True)
class Fault:
    """What is wrong: in the laptop's file, in the network, on the phone; and what to ask for.

    `file` gets the laptop's open database, `network` the clinic before the phone starts. The
    phone does not run if `phone` is None. `before` are shell commands that the doctor's process
    runs first, in a mount namespace of its own; `{folder}` is that of the file.
    """

    file: Callable[[Database, Clinic], object] | None = None
    network: Callable[[Clinic], object] | None = None
    phone: dict[str, Any] | None = field(default_factory=dict)
    before: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    is_paired: bool = True
    is_known_to_phone: bool = True
    is_phone_new: bool = False  # it runs with another file, and is another device
    phone_address: str = PHONE
    """Where the laptop knows the phone to be."""


class Clinic:
    """A laptop with the file that is examined, and a phone."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.switch = lab.switch()
        self.laptop, self.phone = lab.host("laptop"), lab.host("phone")
        self.cables = {
            "laptop": Cable(self.laptop, "eth0", self.switch, f"{LAPTOP}/24"),
            "phone": Cable(self.phone, "eth0", self.switch, f"{PHONE}/24"),
        }
        self.directory = directory / "laptop"
        self.directory.mkdir(parents=True)
        self.file = self.directory / "laptop.cytosol"
        self.phone_file = directory / "phone.cytosol"
        self.identities = {path.stem: identity_in(path) for path in (self.file, self.phone_file)}
        self._devices: list[Remote] = []
        self._programs: list[subprocess.Popen[str]] = []

    def examine(self, faults: Sequence[Fault]) -> dict[str, Any]:
        """Set the faults up, have the doctor look, and return the report."""
        with offline(self.file) as database:
            if all(fault.is_paired for fault in faults):
                database._pairings.add(self.paired("phone"), True)
            for fault in faults:
                if fault.file is not None:
                    fault.file(database, self)
        with offline(self.phone_file) as database:
            if all(fault.is_paired and fault.is_known_to_phone for fault in faults):
                database._pairings.add(self.paired("laptop"), True)
                laptop_id = self.identities["laptop"][0]
                database._pairings.remember_address(laptop_id, LAPTOP, OLD_PORT)
        for fault in faults:
            if fault.network is not None:
                fault.network(self)
        self._start_phone(faults)
        before = [line for fault in faults for line in fault.before]
        arguments = [word for fault in faults for word in fault.arguments]
        return self.doctor(before, arguments)

    def paired(self, name: str, **changes: Any) -> PairedPeer:
        """Return what a device notes of the other one."""
        return replace(PairedPeer(self.identities[name][0], name, b"", LONG_AGO),
                       **{"public_key": self.identities[name][1], **changes})  # fmt: skip

    def _start_phone(self, faults: Sequence[Fault]) -> None:
        """Start the phone, and have the laptop know its address as if they had just parted."""
        port, address = OLD_PORT, PHONE
        options: dict[str, Any] = {}
        for fault in faults:
            options.update(fault.phone or {})
            address = fault.phone_address if fault.phone_address != PHONE else address
        if all(fault.phone is not None for fault in faults):
            is_new = any(fault.is_phone_new for fault in faults)
            file = self.phone_file.with_name("new.cytosol") if is_new else self.phone_file
            phone = self.start("phone", self.phone, file, **options)
            port = phone.call("gateway_port")
        if self.file.exists() and all(fault.is_paired for fault in faults):
            try:
                with offline(self.file) as database:
                    phone_id = self.identities["phone"][0]
                    database._pairings.remember_address(phone_id, address, port)
            except cytosol.DatabaseError:
                pass  # that is the fault

    def start(self, name: str, host: Namespace, file: Path, **options: Any) -> Remote:
        """Start a device."""
        device = Remote(host, file, name, **options)
        self._devices.append(device)
        return device.start()

    def program(self, host: Namespace, text: str) -> None:
        """Run a Python program on a host until the end; it says when it is ready."""
        program = subprocess.Popen(
            host.inside(sys.executable, "-c", text), stdout=subprocess.PIPE, text=True
        )
        self._programs.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"

    def doctor(self, before: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
        """Run the doctor on the laptop and return its report; its exit code must fit."""
        command = [sys.executable, "-m", "cytosol.cli", "doctor", str(self.file), "--json"]
        lines = " && ".join([*before, 'exec "$@"']).replace("{folder}", str(self.directory))
        done = subprocess.run(
            self.laptop.inside("sh", "-c", lines, "sh", *command, *arguments),
            capture_output=True,
            text=True,
            timeout=DOCTOR_S,
            check=False,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["healthy"] else 6), done.stderr
        return report

    def firewall(self, host: Namespace, hook: str, *lines: str, family: str = "inet") -> None:
        """Give a host, or the switch (family bridge), a chain of rules; it accepts the rest."""
        chain = ["chain c {", f"type filter hook {hook} priority 0", *lines, "}"]
        text = "\n".join([f"table {family} {hook}_{len(lines[0])} {{", *chain, "}", ""])
        command = host.inside("nft", "-f", "-")
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stderr}"

    def nat(self, host: Namespace, line: str) -> None:
        """Have a host send what comes in elsewhere."""
        text = "\n".join(
            ["table ip turn {", "chain c {", "type nat hook prerouting priority -100", line]
        )
        command = host.inside("nft", "-f", "-")
        subprocess.run(command, input=f"{text}\n}}\n}}\n", text=True, check=True)

    def stop(self) -> None:
        """End what still runs."""
        for device in self._devices:
            device.stop_anyway()
        for program in self._programs:
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()


def offline(file: Path) -> Database:
    """Open a file without the network."""
    return cytosol.open(file, app_id=APP_ID, network=False)


def identity_in(file: Path) -> tuple[PeerId, bytes]:
    """Return peer id and public key of a file, which is made if it is not there."""
    with offline(file) as database:
        return parse_id(database.peer_id), database._identity.key_pair.public
