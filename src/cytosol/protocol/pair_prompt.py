"""Pairing, the side whose user types the code: prompt, answer, check the proof, store.

One prompt at a time, few prompts a minute, one guess a prompt. A proof that does not come is a
wrong try like a wrong one: else the other side could test a guess with our proof and hang up
(spec: network, Pairing).

```text
free --pair--> prompting --accept--> awaiting proof --right proof--> free
                  |  rejected, timed out, withdrawn       |  wrong or none: counted
                  v                                       v
                 free                                    free
```
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from cytosol.crypto.pake import RANDOM_BYTES, Pake, Role, normalise_code
from cytosol.crypto.primitives import equal_secrets
from cytosol.errors import PairingError, RemoteProtocolError
from cytosol.limits import PAIRING_TIMEOUT_S
from cytosol.model.ids import PeerId, format_id
from cytosol.model.json import JsonValue
from cytosol.protocol.effects import Emit
from cytosol.protocol.events import PairCancelled, PairRequest, PairResponse
from cytosol.protocol.gateway import GatewayRequest, GatewayRequestId
from cytosol.protocol.lockout import Lockout
from cytosol.protocol.machine import Machine, Transitions, next_state
from cytosol.protocol.seams import PairingsSeam
from cytosol.protocol.session import RandomBytes
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import ConfirmPairParams, Done, PairParams, PairResult

__all__ = ["GatewayAnswer", "GatewayRefusal", "PairPrompt", "ProofAccepted"]

PROOF_TIMEOUT_S: Final = 10.0
PROOF_AFTER_LOSS_S: Final = 4.0  # the other side comes back at once, if it wants to
PROMPTS_MAX: Final = 5  # in PROMPTS_WINDOW_S: a prompt that comes again and again is a nuisance
PROMPTS_WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """Answer a request at our gateway."""

    request_id: GatewayRequestId
    result: JsonValue


@dataclass(frozen=True, slots=True)
class GatewayRefusal:
    """Refuse a request at our gateway; `close` sends the caller away."""

    request_id: GatewayRequestId
    code: ErrorCode
    message: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class ProofAccepted:
    """Say that a peer has proved that it knows the code: store it before answering."""

    peer_id: PeerId
    peer_name: str
    public_key: bytes


PromptEffect: TypeAlias = GatewayAnswer | GatewayRefusal | ProofAccepted | Emit


class _State(enum.Enum):
    FREE = "nobody asks to be paired"
    PROMPTING = "the user is being asked for the code"
    AWAITING_PROOF = "the other side has to prove that it knows the code"


class _Step(enum.Enum):
    PROMPT = "a pair request"
    ANSWER = "the user's answer"
    END = "the end of a pair request"


_TRANSITIONS: Final[Transitions[_State, _Step]] = {
    (_State.FREE, _Step.PROMPT): _State.PROMPTING,
    (_State.PROMPTING, _Step.ANSWER): _State.AWAITING_PROOF,
    (_State.PROMPTING, _Step.END): _State.FREE,
    (_State.AWAITING_PROOF, _Step.END): _State.FREE,
}


class PairPrompt(Machine[PromptEffect]):
    """Keep the one prompt there may be."""

    def __init__(
        self,
        *,
        app_id: bytes,
        own_id: PeerId,
        own_key: bytes,
        own_name: str,
        pairings: PairingsSeam,
        lockout: Lockout,
        random_bytes: RandomBytes,
    ) -> None:
        super().__init__()
        self._app_id = app_id
        self._own_id = own_id
        self._own_key = own_key
        self._own_name = own_name
        self._pairings = pairings
        self._lockout = lockout
        self._random_bytes = random_bytes
        self._state = _State.FREE
        self._request: GatewayRequest | None = None
        self._pake: Pake | None = None
        self._deadline: float | None = None
        self._prompted_at: deque[float] = deque(maxlen=PROMPTS_MAX)
        self._proofs: dict[PeerId, tuple[bytes, float]] = {}  # accepted ones, and until when

    def __repr__(self) -> str:
        return f"<PairPrompt {self._state.name.lower()}>"

    # --- The app -----------------------------------------------------------------------

    def accept(self, peer_id: PeerId, code: str, now: float) -> None:
        """Answer the prompt with the code that the user typed.

        Raises PairingError when this device has not asked, or for a code of the wrong length;
        the prompt then stays.
        """
        request = self._waiting_request(peer_id)
        params = request.params
        assert isinstance(params, PairParams)
        pake = Pake.start(
            Role.RESPONDER,
            normalise_code(code),
            self._random_bytes(RANDOM_BYTES),
            app_id=self._app_id,
            own_id=self._own_id,
            own_key=self._own_key,
            peer_id=peer_id,
        )
        try:
            pake.receive(params.pake, request.public_key)
        except RemoteProtocolError as error:
            self._refuse(request, ErrorCode.INVALID_PARAMS, str(error), close=True)
            self._cancel()
            raise PairingError(
                f"{params.peer_name!r} sent a pair request that cannot be answered; start again"
            ) from error
        self._pake = pake
        self._step(_Step.ANSWER)
        self._deadline = now + PROOF_TIMEOUT_S
        result = PairResult(self._own_name, self._own_key, pake.message, pake.confirmation())
        self._do(GatewayAnswer(request.request_id, result.to_json()))

    def reject(self, peer_id: PeerId) -> None:
        """Answer the prompt with no. Raises PairingError when this device has not asked."""
        request = self._waiting_request(peer_id)
        self._refuse(request, ErrorCode.PAIRING_REJECTED, "the user rejected the request")
        self._free()

    def _waiting_request(self, peer_id: PeerId) -> GatewayRequest:
        request = self._request
        if self._state is _State.PROMPTING and request is not None and request.peer_id == peer_id:
            return request
        raise PairingError(
            f"no pair request of {format_id(peer_id)} waits for an answer; it was withdrawn, "
            "answered, or never came"
        )

    # --- The network -------------------------------------------------------------------

    def receive_pair(self, request: GatewayRequest, now: float) -> None:
        """Take a request to pair: prompt the user, or say why not."""
        params = request.params
        assert isinstance(params, PairParams)
        if params.public_key != request.public_key:
            # The key that is proved by this stream, and no other, may be paired.
            message = "the request names another key than the heartbeat"
            self._refuse(request, ErrorCode.INVALID_PARAMS, message, close=True)
        elif request.peer_id in self._pairings.paired():
            self._refuse(request, ErrorCode.ALREADY_PAIRED, "these devices are already paired")
        elif self._state is not _State.FREE:
            message = "another pair request is being answered"
            self._refuse(request, ErrorCode.PAIRING_OVERLAPS, message)
        elif self._lockout.pause_left_s(now) or self._is_nuisance(now):
            self._refuse(request, ErrorCode.PAIRING_PAUSED, "pairing is paused; try again later")
        else:
            self._step(_Step.PROMPT)
            self._request = request
            self._deadline = now + PAIRING_TIMEOUT_S
            self._prompted_at.append(now)
            self._do(Emit(PairRequest(format_id(request.peer_id), params.peer_name)))

    def receive_confirm(self, request: GatewayRequest, now: float) -> None:
        """Take the other side's proof: right, wrong, repeated, or out of turn."""
        params = request.params
        assert isinstance(params, ConfirmPairParams)
        proof, until = self._proofs.get(request.peer_id, (b"", now))
        if now < until and equal_secrets(proof, params.confirm):
            self._do(GatewayAnswer(request.request_id, Done().to_json()))
            return
        waiting, pake = self._request, self._pake
        if (
            self._state is not _State.AWAITING_PROOF
            or waiting is None
            or pake is None
            or waiting.peer_id != request.peer_id
            or waiting.public_key != request.public_key
        ):
            message = "there is nothing to confirm"
            self._refuse(request, ErrorCode.WRONG_CODE, message, close=True)
            return
        if not pake.check(params.confirm):
            self._refuse(request, ErrorCode.WRONG_CODE, "the code is wrong", close=True)
            self._wrong("the code is wrong", now)
            return
        assert isinstance(waiting.params, PairParams)
        name = waiting.params.peer_name
        self._remember_proof(request.peer_id, params.confirm, now)
        self._free()
        self._lockout.right_code()
        self._do(ProofAccepted(request.peer_id, name, request.public_key))
        self._do(GatewayAnswer(request.request_id, Done().to_json()))
        self._do(Emit(PairResponse(format_id(request.peer_id), name, True)))

    def caller_lost(self, connection_id: int, now: float) -> None:
        """Withdraw the prompt of a caller who is gone; one who owes a proof may come back."""
        request = self._request
        if request is None or request.request_id.connection_id != connection_id:
            return
        if self._state is _State.PROMPTING:
            self._cancel()
        else:
            assert self._deadline is not None
            self._deadline = min(self._deadline, now + PROOF_AFTER_LOSS_S)

    def paired_otherwise(self, peer_id: PeerId) -> None:
        """Withdraw the prompt of a peer that has just been paired in another way."""
        request = self._request
        if request is not None and request.peer_id == peer_id:
            if self._state is _State.PROMPTING:
                self._refuse(request, ErrorCode.ALREADY_PAIRED, "these devices are already paired")
                self._cancel()
            else:
                self._free()

    def forget_proof(self, peer_id: PeerId) -> None:
        """Confirm nothing again to a peer that was unpaired."""
        self._proofs.pop(peer_id, None)

    # --- Timer -------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the prompt, or the wait for the proof, is over."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Give up a prompt that nobody answers; count a proof that did not come as wrong."""
        if self._deadline is None or now < self._deadline:
            return
        if self._state is _State.PROMPTING:
            assert self._request is not None
            message = "nobody answered the request in time"
            self._refuse(self._request, ErrorCode.PAIRING_REJECTED, message)
            self._cancel()
        else:
            self._wrong("the code is wrong, or the other device has broken off", now)

    # --- Inside ------------------------------------------------------------------------

    def _step(self, step: _Step) -> None:
        self._state = next_state(_TRANSITIONS, self._state, step, from_peer=False)

    def _free(self) -> None:
        self._step(_Step.END)
        self._request = None
        self._pake = None
        self._deadline = None

    def _cancel(self) -> None:
        """End the prompt so that the app takes it off the screen."""
        request = self._request
        assert request is not None
        assert isinstance(request.params, PairParams)
        self._free()
        self._do(Emit(PairCancelled(format_id(request.peer_id), request.params.peer_name)))

    def _wrong(self, reason: str, now: float) -> None:
        """Count the try, whoever failed it: the other side may have tested a guess."""
        request = self._request
        assert request is not None
        assert isinstance(request.params, PairParams)
        self._lockout.wrong_code(now)
        self._free()
        name = request.params.peer_name
        self._do(Emit(PairResponse(format_id(request.peer_id), name, False, reason)))

    def _refuse(
        self, request: GatewayRequest, code: ErrorCode, message: str, *, close: bool = False
    ) -> None:
        self._do(GatewayRefusal(request.request_id, code, message, close))

    def _is_nuisance(self, now: float) -> bool:
        full = len(self._prompted_at) == PROMPTS_MAX
        return full and now < self._prompted_at[0] + PROMPTS_WINDOW_S

    def _remember_proof(self, peer_id: PeerId, proof: bytes, now: float) -> None:
        """Keep an accepted proof, so that a repeated confirmation gets the same answer.

        There are only ever few, since there are few prompts a minute.
        """
        self._proofs = {
            each: kept for each, kept in self._proofs.items() if now < kept[1] and each != peer_id
        }
        self._proofs[peer_id] = proof, now + PAIRING_TIMEOUT_S
