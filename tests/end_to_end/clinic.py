"""Two paired devices on a switch of their own, one fault, and the doctor who is not told of it.

The doctor is the real command line, run as a process in the laptop's namespace. Firewalls are
nftables rules in the namespaces of hosts (`firewall`) and of the switch (`bridge`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.model.ids import parse_id
from cytosol.protocol.seams import PairedPeer
from tests.end_to_end.lab import Cable, Lab, Namespace, run
from tests.end_to_end.remote import APP_ID, Remote

DOCTOR_S = 120.0
PORT = 65154  # of the heartbeats of APP_ID
NET = "10.77.0"


def needs_nftables() -> pytest.MarkDecorator:
    """Return the mark of tests that set up firewalls."""
    reason = "'nft' is missing: install the package nftables to include these tests"
    return pytest.mark.skipif(shutil.which("nft") is None, reason=reason)


def rules(host: Namespace, family: str, hook: str, *lines: str) -> None:
    """Add rules to a chain of a namespace's firewall, which accepts what they do not drop."""
    chain = ["chain c {", f"type filter hook {hook} priority 0", *lines, "}"]
    text = "\n".join([f"table {family} {hook}_rules {{", *chain, "}", ""])
    done = subprocess.run(
        host.inside("nft", "-f", "-"), input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"


class Clinic:
    """A laptop with the file that is examined, and a phone that runs."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.switch = lab.switch()
        self.laptop, self.phone_host = lab.host("laptop"), lab.host("phone")
        self.cables = {
            "laptop": Cable(self.laptop, "eth0", self.switch, f"{NET}.1/24"),
            "phone": Cable(self.phone_host, "eth0", self.switch, f"{NET}.2/24"),
        }
        self.file = directory / "laptop.cytosol"
        self.phone_file = directory / "phone.cytosol"
        self.identities = {path.stem: identity_in(path) for path in (self.file, self.phone_file)}
        self._devices: list[Remote] = []
        self.phone: Remote | None = None
        self.before: list[str] = []
        """What a shell does in the doctor's namespace before it: mounts end with it."""

    def know(self, file: Path, other: str, **changes: Any) -> None:
        """Write into a file that it is paired with the other device."""
        peer_id, public_key = self.identities[other]
        with cytosol.open(file, app_id=APP_ID, network=False) as database:
            peer = PairedPeer(peer_id, other, public_key, 1_760_000_000.0)
            database._pairings.add(replace(peer, **changes), True)

    def know_address(self, ip_address: str, port: int) -> None:
        """Write into the laptop's file where the phone was last."""
        with cytosol.open(self.file, app_id=APP_ID, network=False) as database:
            database._pairings.remember_address(self.identities["phone"][0], ip_address, port)

    def pair(self) -> None:
        """Have each device know the other."""
        self.know(self.file, "phone")
        self.know(self.phone_file, "laptop")

    def start_phone(self, ip_address: str = f"{NET}.2", **options: Any) -> Remote:
        """Start the phone, and have the laptop know its address, as if they had just parted."""
        options = {"app_id": APP_ID, **options}
        self.phone = self.start("phone", self.phone_host, self.phone_file, **options)
        if self.phone_is_known():
            self.know_address(ip_address, self.phone.call("gateway_port"))
        return self.phone

    def phone_is_known(self) -> bool:
        """Tell whether the laptop's file has the phone as paired."""
        with cytosol.open(self.file, app_id=APP_ID, network=False) as database:
            return bool(database.query_once_meta("$.pairings[*]"))

    def start(self, name: str, host: Namespace, file: Path, **options: Any) -> Remote:
        """Start a device."""
        device = Remote(host, file, name, **options)
        self._devices.append(device)
        return device.start()

    def doctor(self, *arguments: str) -> dict[str, Any]:
        """Run the doctor on the laptop and return its report; its exit code must fit."""
        command = [sys.executable, "-m", "cytosol.cli", "doctor", "--json", *arguments]
        if self.before:
            lines = " && ".join([*self.before, 'exec "$@"'])
            command = ["sh", "-c", lines, "sh", *command]
        done = subprocess.run(
            self.laptop.inside(*command),
            capture_output=True,
            text=True,
            timeout=DOCTOR_S,
            check=False,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["healthy"] else 6), done.stderr
        return report

    def stop(self) -> None:
        """End what still runs."""
        for device in self._devices:
            device.stop_anyway()


def identity_in(file: Path) -> tuple[bytes, bytes]:
    """Return peer id and public key of a file, made if it is not there."""
    with cytosol.open(file, app_id=APP_ID, network=False) as database:
        return parse_id(database.peer_id), database._identity.key_pair.public


def forward(host: Namespace) -> None:
    """Make a host a router."""
    run(*host.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
