"""Our own pair requests, one per device at most: routes their streams and reports their ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from cytosol.crypto.keys import KeyPair
from cytosol.errors import PairingError
from cytosol.model.ids import PeerId, format_id
from cytosol.protocol.discovery import VisiblePeer
from cytosol.protocol.effects import Close, Connect, Send
from cytosol.protocol.gateway_call import GatewayCall, Ping
from cytosol.protocol.machine import Machine, earliest
from cytosol.protocol.pairing import AttemptEnd, AttemptOver, PairAttempt
from cytosol.protocol.session import RandomBytes
from cytosol.protocol.used_codes import UsedCodes

__all__ = ["ATTEMPTS_MAX", "AttemptEnded", "Attempts"]

ATTEMPTS_MAX: Final = 16

# Refused before anybody there was asked for the code.
_NOBODY_ASKED: Final = (AttemptEnd.OVERLAPPING, AttemptEnd.ALREADY_PAIRED, AttemptEnd.PAUSED)


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """Say how a pair request of ours ended."""

    peer_id: PeerId
    peer_name: str
    public_key: bytes
    end: AttemptEnd


AttemptsEffect: TypeAlias = Connect | Send | Close | Ping | AttemptEnded


class Attempts(Machine[AttemptsEffect]):
    """Keep the pair requests that are under way; `visit` makes a visit to a gateway."""

    def __init__(
        self,
        *,
        app_id: bytes,
        own_id: PeerId,
        own_keys: KeyPair,
        own_name: str,
        visit: Callable[[PeerId, bytes, int], GatewayCall],
        random_bytes: RandomBytes,
    ) -> None:
        super().__init__()
        self._app_id = app_id
        self._own_id = own_id
        self._own_keys = own_keys
        self._own_name = own_name
        self._visit = visit
        self._random_bytes = random_bytes
        self._codes = UsedCodes(own_keys.secret)
        self._code_of: dict[PeerId, bytes] = {}  # its name among the used ones
        self._attempts: dict[PeerId, PairAttempt] = {}
        self._by_connection: dict[int, PairAttempt] = {}

    def __contains__(self, peer_id: PeerId) -> bool:
        return peer_id in self._attempts

    # --- Ours --------------------------------------------------------------------------

    def check_room(self, peer_id: PeerId) -> None:
        """Raise PairingError unless one more request, to this device, may begin."""
        if peer_id in self._attempts:
            raise PairingError(f"a pair request to {format_id(peer_id)} is already under way")
        if len(self._attempts) >= ATTEMPTS_MAX:
            raise PairingError(f"{ATTEMPTS_MAX} pair requests are under way; wait for one to end")

    def begin(self, peer: VisiblePeer, code: str, now: float) -> None:
        """Ask a visible device to pair.

        Raises PairingError for a code that is too short or too long, or was used before.
        """
        peer_id, peer_key = peer.peer_id, peer.public_key
        self._code_of[peer_id] = self._codes.use(code)
        attempt = PairAttempt(
            app_id=self._app_id,
            own_id=self._own_id,
            own_key=self._own_keys.public,
            own_name=self._own_name,
            peer_id=peer_id,
            peer_name=peer.name,
            peer_key=peer_key,
            code=code,
            visit=lambda rounds: self._visit(peer_id, peer_key, rounds),
            random_bytes=self._random_bytes,
            now=now,
        )
        self._attempts[peer_id] = attempt
        self._pump(attempt)

    def cancel(self, peer_id: PeerId, end: AttemptEnd, now: float) -> bool:
        """End the request to a device; False if there is none."""
        attempt = self._attempts.get(peer_id)
        if attempt is None:
            return False
        attempt.cancel(end, now)
        self._pump(attempt)
        return True

    def cancel_all(self, now: float) -> None:
        """Take all requests back: we stop."""
        for peer_id in list(self._attempts):
            self.cancel(peer_id, AttemptEnd.CANCELLED, now)

    # --- Inputs: each tells whether the connection belongs to a request -------------------

    def connected(self, connection_id: int, now: float) -> bool:
        """Take note that a dial succeeded."""
        attempt = self._by_connection.get(connection_id)
        if attempt is None:
            return False
        attempt.connected(now)
        self._pump(attempt)
        return True

    def receive(self, connection_id: int, data: bytes, now: float) -> bool:
        """Take bytes of a connection."""
        attempt = self._by_connection.get(connection_id)
        if attempt is None:
            return False
        attempt.receive(data, now)
        self._pump(attempt)
        return True

    def lost(self, connection_id: int, reason: str, now: float) -> bool:
        """Take note that a dial failed, or that a connection has ended."""
        attempt = self._by_connection.pop(connection_id, None)
        if attempt is None:
            return False
        attempt.lost(reason, now)
        self._pump(attempt)
        return True

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the first request wants attention."""
        return earliest(*(attempt.next_deadline() for attempt in self._attempts.values()))

    def handle_timer(self, now: float) -> None:
        """Give up what took too long."""
        for attempt in list(self._attempts.values()):
            attempt.handle_timer(now)
            self._pump(attempt)

    def _pump(self, attempt: PairAttempt) -> None:
        for effect in attempt.take_effects():
            match effect:
                case AttemptOver():
                    del self._attempts[attempt.peer_id]
                    code = self._code_of.pop(attempt.peer_id)
                    if not attempt.was_asked or effect.end in _NOBODY_ASKED:
                        self._codes.give_back(code)
                    name, key = attempt.peer_name, attempt.peer_key
                    self._do(AttemptEnded(attempt.peer_id, name, key, effect.end))
                case Connect():
                    self._by_connection[effect.connection_id] = attempt
                    self._do(effect)
                case Close():
                    self._by_connection.pop(effect.connection_id, None)
                    self._do(effect)
                case Send() | Ping():
                    self._do(effect)
                case _:
                    assert_never(effect)
