"""Pairing, the side that shows a code: ask, check the answer, prove ourselves, store.

The code never travels and each attempt is one guess. We give our proof only after the other side
has given a right one, and we store only when it has said that it stored (spec: network,
Pairing). A reply lost on the way is asked for again, because a confirmation is idempotent. To an
answer with a wrong proof we say at once that there is none from us, so that its user need not wait.

```text
visiting --greeted--> asked --right answer--> confirming --reply--> over
                        |                      (lost: visiting again with the same proof)
                        +----wrong answer---> over, with no proof
```
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from cytosol.crypto.pake import CONFIRMATION_BYTES, RANDOM_BYTES, Pake, Role
from cytosol.errors import RemoteProtocolError
from cytosol.limits import CALL_TIMEOUT_S, PAIRING_TIMEOUT_S
from cytosol.model.ids import PeerId
from cytosol.protocol.effects import Close, Connect, Send
from cytosol.protocol.gateway_call import GatewayCall, Greeted, Ping, VisitOver
from cytosol.protocol.machine import Machine, Transitions, earliest, next_state
from cytosol.protocol.rpc import CLOSED, TIMED_OUT, CallFailed, CallReturned
from cytosol.protocol.session import RandomBytes
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import ConfirmPairParams, PairParams, PairResult

__all__ = ["AttemptEnd", "AttemptOver", "PairAttempt"]


_NO_PROOF: Final = bytes(CONFIRMATION_BYTES)  # fits no code, and tells nothing about ours


class AttemptEnd(enum.Enum):
    """How an attempt ended; the value is the sentence for the user."""

    PAIRED = "the devices are paired"
    WRONG_CODE = "the code that was typed on the other device is wrong"
    REJECTED = "the other device rejected the request, or nobody answered it in time"
    OVERLAPPING = "the other device is busy with another pair request; try again in a moment"
    ALREADY_PAIRED = (
        "the other device says that it is already paired with this one; unpair it there first"
    )
    PAUSED = "pairing is paused on the other device after too many attempts; try again later"
    UNREACHABLE = "the other device could not be reached"
    LOST = "the connection to the other device was lost"
    TIMED_OUT = "the other device did not answer in time"
    BROKEN = "the other device broke the pairing protocol, or somebody in between did"
    CANCELLED = "the request was taken back"
    SUPERSEDED = "the devices were paired by the other device's request"


_REFUSALS: Final = {
    ErrorCode.PAIRING_OVERLAPS: AttemptEnd.OVERLAPPING,
    ErrorCode.ALREADY_PAIRED: AttemptEnd.ALREADY_PAIRED,
    ErrorCode.PAIRING_REJECTED: AttemptEnd.REJECTED,
    ErrorCode.PAIRING_PAUSED: AttemptEnd.PAUSED,
    ErrorCode.WRONG_CODE: AttemptEnd.WRONG_CODE,
    TIMED_OUT: AttemptEnd.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class AttemptOver:
    """Say how the attempt ended; its last effect."""

    end: AttemptEnd


AttemptEffect: TypeAlias = Connect | Send | Close | Ping | AttemptOver


class _State(enum.Enum):
    VISITING = "the other device is being reached"
    ASKED = "the other device was asked"
    CONFIRMING = "our proof was sent"
    VISITING_AGAIN = "the other device is being reached again"
    OVER = "the attempt is over"


class _Step(enum.Enum):
    ASK = "asking"
    CONFIRM = "confirming"
    LOSE = "losing the connection"
    END = "ending the attempt"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.VISITING, _Step.ASK): _State.ASKED,
    (_State.ASKED, _Step.CONFIRM): _State.CONFIRMING,
    (_State.CONFIRMING, _Step.LOSE): _State.VISITING_AGAIN,
    (_State.VISITING_AGAIN, _Step.CONFIRM): _State.CONFIRMING,
    **{(state, _Step.END): _State.OVER for state in _State if state is not _State.OVER},
}


class PairAttempt(Machine[AttemptEffect]):
    """One attempt to pair with one device; `visit` makes a fresh visit to its gateway."""

    def __init__(
        self,
        *,
        app_id: bytes,
        own_id: PeerId,
        own_key: bytes,
        own_name: str,
        peer_id: PeerId,
        peer_name: str,
        peer_key: bytes,
        code: str,
        visit: Callable[[int], GatewayCall],
        random_bytes: RandomBytes,
        now: float,
    ) -> None:
        """Begin; raises PairingError for a code that is too short or too long."""
        super().__init__()
        self.peer_id = peer_id
        self.peer_name = peer_name
        self.peer_key = peer_key
        self.was_asked = False  # whether the other device has got our request
        self._own_key = own_key
        self._own_name = own_name
        self._pake = Pake.start(
            Role.REQUESTER,
            code,
            random_bytes(RANDOM_BYTES),
            app_id=app_id,
            own_id=own_id,
            own_key=own_key,
            peer_id=peer_id,
        )
        self._visit_for = visit
        self._state = _State.VISITING
        self._challenge = b""
        self._confirmation = b""
        self._deadline = now + PAIRING_TIMEOUT_S + CALL_TIMEOUT_S
        self._visit = visit(4)  # rounds: we may not be known there yet
        self._visit.start(now)
        self._pump(now)

    def __repr__(self) -> str:
        return f"<PairAttempt {self._state.name.lower()}>"

    # --- Inputs ------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Take note that the dial succeeded."""
        self._visit.connected(now)
        self._pump(now)

    def receive(self, data: bytes, now: float) -> None:
        """Take the next piece of the stream."""
        self._visit.receive(data, now)
        self._pump(now)

    def lost(self, reason: str, now: float) -> None:
        """Take note that the dial failed, or that the stream has ended."""
        self._visit.lost(reason, now)
        self._pump(now)

    def cancel(self, end: AttemptEnd, now: float) -> None:
        """Take the request back: the app wants so, or the pairing has come about otherwise."""
        self._end(end, now)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the attempt, or something in it, times out."""
        return earliest(self._deadline, self._visit.next_deadline())

    def handle_timer(self, now: float) -> None:
        """Give up what took too long."""
        if now >= self._deadline:
            self._end(AttemptEnd.TIMED_OUT, now)
            return
        self._visit.handle_timer(now)
        self._pump(now)

    # --- Inside ------------------------------------------------------------------------

    def _step(self, step: _Step) -> None:
        self._state = next_state(_TRANSITIONS, self._state, step, from_peer=False)

    def _pump(self, now: float) -> None:
        visit = self._visit
        while effects := visit.take_effects():
            for effect in effects:
                match effect:
                    case Connect() | Send() | Close() | Ping():
                        self._do(effect)
                    case _ if self._state is _State.OVER or visit is not self._visit:
                        pass
                    case Greeted():
                        self._greeted(effect.challenge, now)
                    case CallReturned():
                        self._returned(effect, now)
                    case CallFailed():
                        self._failed(effect, now)
                    case VisitOver():
                        self._visit_over(now)
                    case _:
                        assert_never(effect)

    def _greeted(self, challenge: bytes, now: float) -> None:
        self._challenge = challenge
        if self._state is _State.VISITING_AGAIN:
            self._confirm(now)
            return
        self._step(_Step.ASK)
        self.was_asked = True
        params = PairParams(challenge, self._own_name, self._own_key, self._pake.message)
        self._visit.call(PairParams.METHOD, params.to_json(), PAIRING_TIMEOUT_S, now)

    def _confirm(self, now: float) -> None:
        self._step(_Step.CONFIRM)
        self._send_proof(self._confirmation, now)

    def _send_proof(self, proof: bytes, now: float) -> None:
        params = ConfirmPairParams(self._challenge, proof)
        self._visit.call(ConfirmPairParams.METHOD, params.to_json(), CALL_TIMEOUT_S, now)

    def _returned(self, call: CallReturned, now: float) -> None:
        if self._state is _State.CONFIRMING:
            self._end(AttemptEnd.PAIRED, now)
            return
        try:
            result = PairResult.from_json(call.result)
            if result.public_key != self.peer_key:
                raise RemoteProtocolError("the answer names another key than the heartbeat")
            self._pake.receive(result.pake, result.public_key)
        except RemoteProtocolError:
            self._end(AttemptEnd.BROKEN, now)
            return
        if not self._pake.check(result.confirm):
            self._send_proof(_NO_PROOF, now)
            self._end(AttemptEnd.WRONG_CODE, now)
            return
        self._confirmation = self._pake.confirmation()
        self._confirm(now)

    def _failed(self, call: CallFailed, now: float) -> None:
        """A call was refused, or was not answered; a lost stream is `_visit_over`'s."""
        if self._state is _State.CONFIRMING and call.code == TIMED_OUT:
            self._visit.close("no reply to the confirmation")
        elif call.code != CLOSED:
            self._end(_REFUSALS.get(call.code, AttemptEnd.BROKEN), now)

    def _visit_over(self, now: float) -> None:
        """Go back with the same proof if we had given it; it may have been stored there."""
        if self._state is not _State.CONFIRMING:
            was_asked = self._state is _State.ASKED
            self._end(AttemptEnd.LOST if was_asked else AttemptEnd.UNREACHABLE, now)
            return
        self._step(_Step.LOSE)
        self._visit = self._visit_for(8)
        self._visit.start(now)
        self._pump(now)

    def _end(self, end: AttemptEnd, now: float) -> None:
        self._step(_Step.END)
        self._visit.close(end.value)
        self._pump(now)
        self._do(AttemptOver(end))
