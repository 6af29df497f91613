"""One local network as most people have it: hosts on one switch, a device on each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.end_to_end.lab import Cable, Lab, Namespace
from tests.end_to_end.remote import Remote


class Network:
    """Hosts with the addresses 10.77.0.1, 10.77.0.2 ..., in namespaces of their own."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.switch = lab.switch()
        self.cables: dict[str, Cable] = {}
        self._devices: list[Remote] = []

    def host(self, name: str) -> Namespace:
        """Make a host and plug it in."""
        host = self.lab.host(name)
        address = f"10.77.0.{len(self.cables) + 1}/24"
        self.cables[name] = Cable(host, "eth0", self.switch, address)
        return host

    def device(self, name: str, host: Namespace | None = None, **options: Any) -> Remote:
        """Start a device on a host, by default a new one of the same name."""
        file = self.directory / f"{name}.cytosol"
        device = Remote(host or self.host(name), file, name, **options)
        self._devices.append(device)
        return device.start()

    def tell_failure(self) -> str:
        """Return what all devices know, to be read after a failure."""
        return "\n".join(device.tell("at the end") for device in self._devices)

    def stop(self) -> None:
        """End what still runs."""
        for device in self._devices:
            device.stop_anyway()
