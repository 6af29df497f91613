"""A network of our own to do harm to: hosts and switches in Linux network namespaces.

Everything lives in namespaces whose names begin with `cytosol-e2e-` and carry the id of the
process that made them; no interface, route or packet outside of them is touched. What a killed
run left behind is removed by the next one.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

PREFIX = "cytosol-e2e-"
NAMESPACES = Path("/run/netns")
COMMAND_S = 30.0

_labs = itertools.count(1)


def why_not() -> str | None:
    """Say why namespaces cannot be made here, None if nothing speaks against it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root: run the tests as root to include these"
    missing = [name for name in ("ip", "bridge") if shutil.which(name) is None]
    if missing:
        return f"'{missing[0]}' is missing: install the package iproute2 to include these tests"
    return None


@functools.cache
def why_not_here() -> str | None:
    """Say why root cannot make namespaces on this machine, as in many containers."""
    lab = Lab()
    try:
        with lab:
            Cable(lab.host("probe"), "eth0", lab.switch("probe-switch"), "10.77.0.1/24")
    except AssertionError as error:
        return f"this machine does not let root make network namespaces: {error}"
    return None


def needs_namespaces() -> list[pytest.MarkDecorator]:
    """Return the marks of a test module that makes network namespaces."""
    reason = why_not()
    return [pytest.mark.netns, pytest.mark.skipif(reason is not None, reason=str(reason))]


def run(*command: str) -> str:
    """Run a command, return what it prints; raises AssertionError with what it complains."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


class Namespace:
    """One network namespace: a host, or a switch."""

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> str:
        """Run `ip` on this namespace."""
        return run("ip", "-n", self.name, *arguments)

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs a command in this namespace."""
        return ["ip", "netns", "exec", self.name, *command]


class Switch(Namespace):
    """A bridge, to whose ports cables lead."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ip("link", "add", "br0", "type", "bridge")
        self.ip("link", "set", "br0", "up")
        self.ports = itertools.count(1)


class Cable:
    """A veth pair from an interface of a host to a port of a switch."""

    def __init__(self, host: Namespace, interface: str, switch: Switch, address: str) -> None:
        self.address = address.split("/")[0]
        self._host, self._interface, self._switch = host, interface, switch
        self._is_isolated = self._is_dropping = False
        self._port = f"port{next(switch.ports)}"
        peer = ("peer", "name", interface, "netns", host.name)
        switch.ip("link", "add", self._port, "type", "veth", *peer)
        switch.ip("link", "set", self._port, "master", "br0", "up")
        host.ip("addr", "add", address, "broadcast", "+", "dev", interface)
        host.ip("link", "set", interface, "up")

    def drop(self) -> None:
        """Drop every packet in both directions; neither side can notice anything but silence."""
        self._switch.ip("link", "set", self._port, "nomaster")
        self._is_dropping = True

    def deliver(self) -> None:
        """Let packets through again."""
        self._switch.ip("link", "set", self._port, "master", "br0")
        self._is_dropping = False
        if self._is_isolated:  # the bridge has forgotten it
            self.isolate()

    def pull(self) -> None:
        """Pull the cable out: the host's interface loses its carrier."""
        self._switch.ip("link", "set", self._port, "down")

    def put_back(self) -> None:
        """Put the cable in again."""
        self._switch.ip("link", "set", self._port, "up")

    def isolate(self, is_isolated: bool = True) -> None:
        """Drop all packets to and from the switch's other isolated ports, and no others."""
        self._is_isolated = is_isolated
        if self._is_dropping:
            return
        state = "on" if is_isolated else "off"
        command = ("bridge", "link", "set", "dev", self._port, "isolated", state)
        run(*self._switch.inside(*command))

    def block_broadcasts(self, *others: Cable) -> None:
        """Let no broadcast come to the host; it is told the hardware addresses of the others."""
        command = ("bridge", "link", "set", "dev", self._port, "bcast_flood", "off")
        run(*self._switch.inside(*command))
        for other in others:
            at = ("lladdr", other.hardware_address, "dev", self._interface, "nud", "permanent")
            self._host.ip("neigh", "replace", other.address, *at)

    @property
    def hardware_address(self) -> str:
        """The address of the host's interface on the wire."""
        found = json.loads(self._host.ip("-json", "link", "show", "dev", self._interface))
        return str(found[0]["address"])


class Lab:
    """All namespaces of one test; use it as a context manager."""

    def __init__(self) -> None:
        remove_stale()
        self._number = next(_labs)
        self._names: list[str] = []

    def host(self, name: str) -> Namespace:
        """Make a host without any interface but loopback."""
        return Namespace(self._name(name))

    def switch(self, name: str = "switch") -> Switch:
        """Make a switch without any cable."""
        return Switch(self._name(name))

    def _name(self, name: str) -> str:
        full = f"{PREFIX}{os.getpid()}-{self._number}-{name}"
        self._names.append(full)
        return full

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self._names:
            remove(name)


def remove(name: str) -> None:
    """Remove a namespace and with it its interfaces, if it is there."""
    if (NAMESPACES / name).exists():
        subprocess.run(
            ["ip", "netns", "del", name], capture_output=True, timeout=COMMAND_S, check=False
        )


def remove_stale() -> None:
    """Remove what test processes left that do not run any more."""
    for path in NAMESPACES.glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", owner).exists():
            remove(path.name)
