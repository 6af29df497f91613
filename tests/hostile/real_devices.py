"""A victim and an honest witness in processes of their own, and attackers on real sockets.

```python
with Field() as field:
    with field.under_attack() as figures:
        stranger = field.stranger()
        stranger.dial().send_bytes(b"...")
    print(figures.p99_ms)
```

`under_attack` fails if the attack cost the victim more than the ceilings allow, if an exception
left its service, or if the two honest devices are no longer in sync when it is over. Nothing
here sleeps: whoever waits, waits for something, with a bound for tests that are broken.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.crypto.pake import Pake, Role
from cytosol.crypto.primitives import shared_key
from cytosol.errors import RemoteProtocolError
from cytosol.model.ids import format_id, parse_id
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION, GATEWAY, FrameReader, FramingLimits, Opener, Sealer
from cytosol.wire.heartbeat import Heartbeat, encode_heartbeat, heartbeat_port

MEMORY_BYTES_MAX = 64 * 1024 * 1024
P99_S_MAX = 0.050  # of processor time, on a machine as fast as `victim_process.UNIT_S` says
PATIENCE_S = 150.0  # a bound for a broken test, not a time that passes
QUIET_S = 0.25  # who has sent nothing for so long has nothing to say


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Ask until something is so; each question goes to another process and takes a moment."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"in {PATIENCE_S:.0f} seconds this did not come to be: {what}")
    return value


class Program:
    """One real device."""

    def __init__(self, name: str, app_id: bytes) -> None:
        options = {"name": name, "app_id": format_id(app_id)}
        self.name = name
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.victim_process", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        hello = self._read()
        self.id: str = hello["id"]
        self.peer_id = parse_id(self.id)
        self.key = bytes.fromhex(hello["key"])
        self.port: int = hello["port"]

    def ask(self, do: str, **parameters: Any) -> Any:
        """Give a command and return its result; an error in the device is one here."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **parameters}) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self.name} has died with code {self._process.wait()}"
        answer = json.loads(line)
        assert "error" not in answer, f"{self.name}: {answer['error']}"
        return answer["result"]

    def stop(self) -> None:
        """End the device."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} does not end") from None
        finally:
            self._process.stdout.close()


class Wire:
    """One stream to a device, with the keys to speak on it; also the keys to speak wrongly."""

    def __init__(
        self, sock: socket.socket, key: bytes, limits: FramingLimits, prefix: bytes
    ) -> None:
        self.sock = sock
        self.key = key
        self.prefix = prefix
        self.sealer = Sealer(key, prefix, limits)
        self._opener = Opener(key, prefix, limits)
        self._reader = FrameReader(limits)
        self.sent: list[bytes] = []
        self.raw = bytearray()  # everything that came
        self.messages: list[dict[str, Any]] = []
        self.challenge = b""
        self.is_closed = False
        self._calls = 1000

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, as far as the other side takes them."""
        with suppress(OSError):
            self.sock.sendall(data)

    def send_text(self, text: bytes) -> None:
        """Seal and send any plaintext."""
        frame = self.sealer.seal(text)
        self.sent.append(frame)
        self.send_bytes(frame)

    def send(self, **message: Any) -> None:
        """Send a JSON-RPC message."""
        self.send_text(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def call(self, method: str, params: Any, call_id: Any = None) -> dict[str, Any] | None:
        """Call and return the answer; None if the stream is closed instead."""
        if call_id is None:
            self._calls += 1
            call_id = self._calls
        self.send(method=method, params=params, id=call_id)
        return self.wait_for(
            lambda message: message.get("id") == call_id and "method" not in message
        )

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Return the first message like that; None if the stream is closed before one comes."""
        seen = 0
        end = time.monotonic() + PATIENCE_S
        while True:
            for message in self.messages[seen:]:
                if wanted(message):
                    return message
            seen = len(self.messages)
            if self.is_closed:
                return None
            assert time.monotonic() < end, f"nothing like that came; {seen} messages did"
            self.read(1.0)

    def wait_for_call(self, method: str) -> dict[str, Any] | None:
        """Return the first call or notification of this method, as `wait_for` does."""
        return self.wait_for(lambda message: message.get("method") == method)

    def read(self, timeout_s: float = QUIET_S) -> bool:
        """Take what comes next; tell whether anything did."""
        self.sock.settimeout(timeout_s)
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        self.raw += data
        try:
            for frame in self._reader.feed(data):
                self.messages.append(json.loads(self._opener.open(frame)))
        except RemoteProtocolError:
            self.messages.append({"unreadable": True})
        return True

    def read_all(self) -> None:
        """Take what comes until nothing does."""
        while not self.is_closed and self.read():
            pass

    def wait_closed(self) -> None:
        """Read until the other side closes; fail if it does not."""
        end = time.monotonic() + PATIENCE_S
        while not self.is_closed:
            assert time.monotonic() < end, "the stream is still open"
            self.read(1.0)

    def refusals(self) -> list[int]:
        """Return the codes of all errors that came."""
        return [each["error"]["code"] for each in self.messages if "error" in each]

    def close(self) -> None:
        """Close the stream."""
        self.sock.close()
        self.is_closed = True


class Attacker:
    """An identity without a program."""

    def __init__(self, field: Field, ip_address: str) -> None:
        self.field = field
        self.ip_address = ip_address
        self.keys: KeyPair = make_key_pair(os.urandom(32))
        self.peer_id = peer_id_for_key(self.keys.public)
        self.gateway_port = 40_000

    @property
    def id(self) -> str:
        return format_id(self.peer_id)

    def heartbeat(self, name: str = "Mallory", **changes: Any) -> bytes:
        """Return a heartbeat of this peer."""
        fields = {
            "app_id": self.field.app_id,
            "peer_id": self.peer_id,
            "public_key": self.keys.public,
            "port": self.gateway_port,
            "name": name,
            **changes,
        }
        return encode_heartbeat(Heartbeat(**fields))

    def appear(self) -> None:
        """Become visible to the victim."""
        path = f"$.peers[?@.id == '{self.id}'].id"

        def is_seen() -> bool:
            self.field.shout(self.heartbeat(), self.ip_address)
            return bool(self.field.victim.ask("meta", path=path))

        wait_until(is_seen, "the victim sees the attacker")

    def dial(self, *, claim: bytes | None = None, key: bytes | None = None) -> Wire:
        """Open a stream to the gateway, say who we are, and read the greeting if there is one."""
        victim = self.field.victim
        wire = Wire(
            self.field.connect_to(self.ip_address, victim.port),
            shared_key(self.keys.secret, victim.key) if key is None else key,
            GATEWAY,
            os.urandom(16),
        )
        wire.send_bytes(self.peer_id if claim is None else claim)
        hello = wire.wait_for(
            lambda each: each.get("method") == "cytosol.net.hello" or "unreadable" in each
        )
        if hello is not None and "params" in hello:
            wire.challenge = hello["params"]["challenge"]
        return wire

    def ask(self, wire: Wire, method: str, **params: Any) -> dict[str, Any] | None:
        """Call a method of the gateway with the challenge of the stream."""
        return wire.call(method, {"challenge": wire.challenge, **params})

    def ask_to_connect(self, device: Program | None = None) -> tuple[int, bytes]:
        """Call `connect`; return port and key of the connection."""
        device = self.field.victim if device is None else device
        wire = Wire(
            self.field.connect_to(self.ip_address, device.port),
            shared_key(self.keys.secret, device.key),
            GATEWAY,
            os.urandom(16),
        )
        wire.send_bytes(self.peer_id)
        hello = wire.wait_for_call("cytosol.net.hello")
        assert hello is not None
        wire.challenge = hello["params"]["challenge"]
        fresh = make_key_pair(os.urandom(32))
        answer = self.ask(wire, "osmosis.net.connect", publicKey=encode_base64(fresh.public))
        wire.close()
        assert answer is not None
        result = answer["result"]
        their_key = base64.b64decode(result["publicKey"])
        return result["port"], shared_key(fresh.secret, their_key)

    def connect(self, device: Program | None = None) -> Wire:
        """Connect as a paired device does, up to and including the first frame."""
        port, key = self.ask_to_connect(device)
        wire = Wire(self.field.connect_to(self.ip_address, port), key, CONNECTION, os.urandom(16))
        wire.send_bytes(self.peer_id)
        wire.send(method="osmosis.net.sharePeers", params=[])
        assert wire.wait_for_call("osmosis.net.sharePeers") is not None
        return wire

    def begin_proof(self, role: Role, code: str) -> Pake:
        """Return what proves to the victim that we know the code."""
        return Pake.start(
            role,
            code,
            os.urandom(32),
            app_id=self.field.app_id,
            own_id=self.peer_id,
            own_key=self.keys.public,
            peer_id=self.field.victim.peer_id,
        )


@dataclass
class Figures:
    """What an attack cost the victim."""

    memory_bytes: int = 0
    dispatches: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0
    slow: float = 1.0

    def __str__(self) -> str:
        return (
            f"memory +{self.memory_bytes / 2**20:.1f} MiB, dispatch p99 {self.p99_s * 1e3:.1f} ms, "
            f"longest {self.max_s * 1e3:.0f} ms of {self.dispatches}"
        )


class Field:
    """A victim, a witness that is paired with it, and who attacks them."""

    def __init__(self) -> None:
        self.app_id = os.urandom(16)
        self.heartbeat_port = heartbeat_port(self.app_id)
        self._numbers = iter(range(1, 250 * 250))
        self._attackers: list[Attacker] = []
        self._marks = 0
        self.victim = Program("Victim", self.app_id)
        self.witness = Program("Witness", self.app_id)
        self._pair()
        self.has_reconnected = False

    def __enter__(self) -> Field:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End both devices."""
        self.witness.stop()
        self.victim.stop()

    def _pair(self) -> None:
        victim, witness = self.victim, self.witness
        seen = f"$.peers[?@.id == '{witness.id}'].id"
        wait_until(lambda: victim.ask("meta", path=seen), "the devices see each other")
        payload = {"id": witness.id, "secret": "123456"}
        victim.ask("dispatch", action={"action": "RequestPair", "payload": payload})
        wait_until(lambda: witness.ask("prompts"), "the witness is asked")
        payload = {"id": victim.id, "secret": "123456"}
        witness.ask("dispatch", action={"action": "AcceptPair", "payload": payload})
        for one, other in ((victim, witness), (witness, victim)):
            wait_until(lambda one=one, other=other: self.knows(one, other), "they are connected")
            one.ask("friend", id=other.id)

    @staticmethod
    def knows(one: Program, other: Program) -> bool:
        """Tell whether a device is connected with another one."""
        path = f"$.peers[?@.id == '{other.id}' && @.connected == true].id"
        return bool(one.ask("meta", path=path))

    # --- Attackers ---------------------------------------------------------------------

    def stranger(self, *, heard: bool = True) -> Attacker:
        """Return a stranger with an address of its own, whom the victim has heard."""
        number = next(self._numbers)
        attacker = Attacker(self, f"127.9.{number // 250}.{number % 250 + 1}")
        if heard:
            attacker.appear()
        return attacker

    def paired(self, *devices: Program) -> Attacker:
        """Return a paired device that has gone mad; it is unpaired when the attack is over."""
        attacker = self.stranger(heard=False)
        for device in devices or (self.victim,):
            device.ask("pair", id=attacker.id, key=attacker.keys.public.hex())
        self._attackers.append(attacker)
        return attacker

    def connect_to(self, ip_address: str, port: int) -> socket.socket:
        """Open a stream to a device from an address."""
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((ip_address, 0))
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", port))
        return sock

    def shout(self, data: bytes, ip_address: str = "127.9.0.1") -> None:
        """Send a datagram to all devices of the app."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind((ip_address, 0))
            sock.sendto(data, ("127.255.255.255", self.heartbeat_port))

    # --- What must hold ----------------------------------------------------------------

    @contextmanager
    def under_attack(self, at_once: int = 1) -> Iterator[Figures]:
        """Let the victim be attacked inside, and check afterwards that it is as before.

        Several attacks at once may take as much memory as one after the other.
        """
        figures = Figures()
        self._attackers.clear()
        self.victim.ask("watch")
        self.witness.ask("watch")
        error = None
        try:
            yield figures
        except BaseException as raised:
            error = raised
        self.check_sync()
        seen = self.victim.ask("figures")
        others = self.witness.ask("figures")
        if error is not None:
            raise error
        for name in ("memory_bytes", "dispatches", "p50_s", "p99_s", "max_s", "slow"):
            setattr(figures, name, seen[name])
        assert [] == seen["problems"], "an exception that nobody declared"
        assert [] == others["problems"], "an exception that nobody declared, at the witness"
        self._unpair_all()
        self.check_equal()
        assert figures.memory_bytes <= at_once * MEMORY_BYTES_MAX, str(figures)
        # The figure is printed; only what no busy machine explains is a failure.
        assert figures.p99_s <= 10 * P99_S_MAX * figures.slow, str(figures)

    def check_sync(self) -> None:
        """Check that what each honest device writes comes to the other."""
        self._marks += 1
        for one, other in ((self.victim, self.witness), (self.witness, self.victim)):
            action = {"action": "Set", "path": f"$.from{one.name}", "payload": self._marks}
            one.ask("dispatch", action=action)
            wait_until(
                lambda one=one, other=other: (
                    [self._marks] == other.ask("query", path=f"$.from{one.name}")
                ),
                f"{other.name} gets what {one.name} writes",
            )

    def check_equal(self) -> None:
        """Check that both honest devices hold the same."""
        wait_until(
            lambda: self.victim.ask("state") == self.witness.ask("state"), "both hold the same"
        )

    def _unpair_all(self) -> None:
        for attacker in self._attackers:
            paired = f"$.pairings[?@.id == '{attacker.id}'].id"
            for device in (self.victim, self.witness):
                if device.ask("meta", path=paired):
                    # The refusal travels: the other one may be faster.
                    with suppress(AssertionError):
                        device.ask("dispatch", action={"action": "Unpair", "payload": attacker.id})
