"""The runner: hands a machine what happens, and has done what it asks for, wherever it runs.

The driver does that with sockets and a loop, the simulated world with a network and a clock of
its own; what both need stands here, so that the same code runs in both. A mistake of ours in the
machine must not take the service down: it costs the connection that met it, and is noted for the
doctor (law: no exception leaves the service).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from cytosol.crypto.keys import KeyPair
from cytosol.protocol.effects import (
    Close,
    Connect,
    Effect,
    Emit,
    Listen,
    Send,
    SendDatagram,
    StopListening,
)
from cytosol.protocol.events import GraphEvent
from cytosol.protocol.inputs import Input
from cytosol.protocol.parts import Identity, PeerOptions, SyncFactory
from cytosol.protocol.peer import PeerMachine
from cytosol.protocol.seams import PairingsSeam, ReplicaSeam
from cytosol.protocol.session import RandomBytes
from cytosol.protocol.sync import SyncMachine
from cytosol.wire.heartbeat import clean_peer_name

__all__ = ["COMMANDS", "RESCAN_S", "MachineRunner", "NetworkEffect", "make_machine"]

COMMANDS: Final = frozenset(
    {"request_pair", "accept_pair", "reject_pair", "unpair", "set_visible", "set_sync_enabled"}
)
RESCAN_S: Final = 10.0  # interfaces come and go; the wall clock is looked at as well
PROBLEMS_MAX: Final = 100
PAUSE_AFTER_MISTAKE_S: Final = 1.0  # a timer that fails each time must not keep us busy
JOINED_BYTES_MAX: Final = 16 * 1024  # copying longer ones would cost more than sending them apart

NetworkEffect: TypeAlias = SendDatagram | Connect | Listen | StopListening | Send | Close


def make_machine(
    *,
    app_id: bytes,
    peer_id: bytes,
    peer_name: str,
    key_pair: KeyPair,
    replica: ReplicaSeam,
    pairings: PairingsSeam,
    visible_to_peers: bool,
    sync_enabled: bool,
    trust_shared_peers: bool,
    random_bytes: RandomBytes,
    sync_factory: SyncFactory = SyncMachine,
) -> PeerMachine:
    """Return the peer machine of a database."""
    return PeerMachine(
        Identity(peer_id, key_pair),
        replica,
        pairings,
        sync_factory,
        PeerOptions(
            app_id, clean_peer_name(peer_name), visible_to_peers, sync_enabled, trust_shared_peers
        ),
        random_bytes,
    )


class MachineRunner(ABC):
    """Run one peer machine; who extends it brings the time and does the effects."""

    def __init__(self, machine: PeerMachine, emit: Callable[[object], None]) -> None:
        self._machine = machine
        self._emit = emit
        self._is_obeying = False
        self._is_closed = False
        self._not_before = 0.0
        self.peers: list[dict[str, Any]] = []
        self.problems: deque[str] = deque(maxlen=PROBLEMS_MAX)
        """What went wrong lately that ought not to happen, for the doctor."""

    @abstractmethod
    def _now(self) -> float:
        """Return the time in seconds, by a clock that never goes back."""

    @abstractmethod
    def _call_at(self, deadline: float | None) -> None:
        """Have `_due` called then and not at any other time; None: not at all."""

    @abstractmethod
    def _do(self, effect: NetworkEffect) -> None:
        """Do what the machine asks the network for."""

    # --- Inputs ------------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        """Hand an input to the machine and do what it asks for."""
        connection_id = getattr(event, "connection_id", None)
        self._guard(lambda now: self._machine.receive(event, now), connection_id)

    def command(self, name: str, *args: Any) -> None:
        """Call a command of the machine; what it raises about the app's request is raised."""
        try:
            getattr(self._machine, name)(*args, self._now())
        finally:
            self._obey()

    def local_changes(self) -> None:
        """Send on what is new in the replica."""
        self._guard(self._machine.local_changes, None)

    def graph_command(self, name: str, *args: Any) -> None:
        """Call one of the machine's methods about messages of graphs; nothing is raised."""
        self._guard(lambda now: getattr(self._machine, name)(*args, now), None)

    def _due(self) -> None:
        """Let the machine do what has become due."""
        self._guard(self._machine.handle_timer, None)

    def _stop(self) -> None:
        """Let the machine say goodbye; nothing is handed to it afterwards."""
        self._guard(self._machine.stop, None)
        self._is_closed = True

    def _guard(self, step: Callable[[float], None], connection_id: int | None) -> None:
        """Take a step of the machine; a mistake in it costs one connection and no more."""
        if self._is_closed:
            return
        now = self._now()
        try:
            step(now)
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")
            self._not_before = now + PAUSE_AFTER_MISTAKE_S
            if connection_id is not None:
                reason = "an error inside this program; see the doctor"
                try:
                    self._machine.abandon(connection_id, reason, now)
                except Exception as second:
                    self.problems.append(f"{type(second).__name__}: {second}")
        self._obey()

    # --- Effects -----------------------------------------------------------------------

    def _obey(self) -> None:
        """Do what the machine asks for, in order.

        An app's callback may give us a command while we are at it; its effects wait their turn.
        """
        if self._is_obeying:
            return
        self._is_obeying = True
        try:
            while effects := self._machine.take_effects():
                for effect in _joined(effects):
                    try:
                        self._obey_one(effect)
                    except Exception as error:
                        self.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self._is_obeying = False
        deadline = None if self._is_closed else self._machine.next_deadline()
        self._call_at(None if deadline is None else max(deadline, self._not_before))

    def _obey_one(self, effect: Effect) -> None:
        if isinstance(effect, Emit):
            self._announce(effect.event)
        else:
            self._do(effect)

    def _announce(self, event: object) -> None:
        """Hand an event to the app; what the app does wrong there is not our end."""
        if not isinstance(event, GraphEvent):  # of these there are many, and they change nothing
            self.peers = self._machine.peers()  # whoever looks on hearing this sees it there
        try:
            self._emit(event)
        except Exception as error:
            self.problems.append(f"a listener failed: {type(error).__name__}: {error}")


def _joined(effects: Sequence[Effect]) -> Iterator[Effect]:
    """Yield the effects, short pieces for one stream that follow each other as one."""
    waiting: Send | None = None
    for effect in effects:
        if (
            waiting is not None
            and isinstance(effect, Send)
            and effect.connection_id == waiting.connection_id
            and len(waiting.data) + len(effect.data) <= JOINED_BYTES_MAX
        ):
            waiting = Send(waiting.connection_id, waiting.data + effect.data)
            continue
        if waiting is not None:
            yield waiting
        waiting = effect if isinstance(effect, Send) else None
        if waiting is None:
            yield effect
    if waiting is not None:
        yield waiting
