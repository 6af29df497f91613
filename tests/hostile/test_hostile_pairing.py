"""What pairing must withstand: guessing, men in the middle, early proofs, floods of prompts."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crypto.pake import Role
from cytosol.errors import PairingError
from cytosol.protocol.events import PairCancelled, PairRequest, PairResponse
from cytosol.protocol.pairing import AttemptEnd
from cytosol.wire.fields import encode_base64
from cytosol.wire.messages import PairResult
from tests.hostile.cases import case
from tests.hostile.raw_peer import RawPeer, RawStream
from tests.simulation.peer_machines import PeerWorld, SimPeer

CODE = "246810"


class Requester:
    """A raw requester: asks, and goes on as the test wants."""

    def __init__(self, mallory: RawPeer, alice: SimPeer, code: str) -> None:
        self.mallory, self.alice = mallory, alice
        self.pake = mallory.begin_proof(Role.REQUESTER, code, alice)
        self.stream: RawStream = mallory.dial(alice)
        self.ask()

    def ask(self, call_id: int = 7, **changes: Any) -> dict[str, Any] | None:
        params = {
            "peerName": "Mallory",
            "publicKey": encode_base64(self.mallory.keys.public),
            "pake": encode_base64(self.pake.message),
            **changes,
        }
        params = self.mallory.params(self.stream, **params)
        return self.stream.call("osmosis.net.pair", params, call_id)

    def result(self) -> PairResult:
        self.stream.settle()
        answer = self.stream.answer(7)
        assert answer is not None
        return PairResult.from_json(answer["result"])

    def confirm(self, proof: bytes, call_id: int = 8) -> dict[str, Any] | None:
        params = self.mallory.params(self.stream, confirm=encode_base64(proof))
        return self.stream.call("cytosol.net.confirmPair", params, call_id)

    def prove(self) -> bytes:
        """Return the right proof, after checking Alice's."""
        result = self.result()
        self.pake.receive(result.pake, self.alice.keys.public)
        assert self.pake.check(result.confirm)
        return self.pake.confirmation()


def refusal(answer: dict[str, Any] | None) -> int:
    assert answer is not None
    code = answer["error"]["code"]
    assert isinstance(code, int)
    return code


def test_a_raw_requester_with_the_right_code_is_paired(alice: SimPeer, mallory: RawPeer) -> None:
    """The tests below differ from this one in one point each."""
    requester = Requester(mallory, alice, CODE)
    alice.command("accept_pair", mallory.id, CODE)
    proof = requester.prove()
    assert mallory.peer_id not in alice.pairings.paired()
    answer = requester.confirm(proof)
    assert answer is not None
    assert {} == answer["result"]
    assert mallory.keys.public == alice.pairings.paired()[mallory.peer_id].public_key


@case("replayed frames", "PAIRING_TIMEOUT_S")
def test_a_confirmation_may_be_repeated(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """For two minutes, also on another stream; a different one may not."""
    requester = Requester(mallory, alice, CODE)
    alice.command("accept_pair", mallory.id, CODE)
    proof = requester.prove()
    requester.confirm(proof)
    requester.stream.close()
    requester.stream = mallory.dial(alice)
    answer = requester.confirm(proof)
    assert answer is not None
    assert {} == answer["result"]
    assert 105 == refusal(requester.confirm(bytes(32), 9))
    assert not requester.stream.is_open
    world.run(121.0)
    requester.stream = mallory.dial(alice)
    assert 105 == refusal(requester.confirm(proof, 10))


def test_a_confirmation_survives_a_lost_stream(alice: SimPeer, mallory: RawPeer) -> None:
    """Who lost the stream between answer and proof may bring the proof on a new one."""
    requester = Requester(mallory, alice, CODE)
    alice.command("accept_pair", mallory.id, CODE)
    proof = requester.prove()
    requester.stream.close()
    requester.stream = mallory.dial(alice)
    answer = requester.confirm(proof)
    assert answer is not None
    assert {} == answer["result"]


@case("wrong code")
def test_a_wrong_code_is_one_guess(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """Alice's proof does not fit, ours is refused, and no second one is looked at."""
    requester = Requester(mallory, alice, "111111")
    alice.command("accept_pair", mallory.id, CODE)
    result = requester.result()
    requester.pake.receive(result.pake, alice.keys.public)
    assert not requester.pake.check(result.confirm)
    assert 105 == refusal(requester.confirm(world.random_bytes(32)))
    assert not requester.stream.is_open
    requester.stream = mallory.dial(alice)
    assert 105 == refusal(requester.confirm(world.random_bytes(32)))
    assert [False] == [each.accepted for each in alice.told(PairResponse)]
    assert {} == alice.pairings.paired()
    assert 1 == alice.pairings.wrong_codes()[0]


@case("wrong code")
def test_a_proof_that_does_not_come_is_a_wrong_try(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Else a guess could be tested with Alice's proof, for free."""
    Requester(mallory, alice, "111111")
    alice.command("accept_pair", mallory.id, CODE)
    world.run(11.0)
    assert 1 == alice.pairings.wrong_codes()[0]
    assert [False] == [each.accepted for each in alice.told(PairResponse)]


@case("wrong code")
def test_hanging_up_is_a_wrong_try(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """It counts a little sooner."""
    requester = Requester(mallory, alice, "111111")
    alice.command("accept_pair", mallory.id, CODE)
    requester.stream.close()
    world.run(5.0)
    assert 1 == alice.pairings.wrong_codes()[0]


def try_wrong_code(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    world.run(30.0)
    mallory.appear_to(alice)
    requester = Requester(mallory, alice, "111111")
    assert alice.told(PairRequest)
    alice.command("accept_pair", mallory.id, CODE)
    requester.confirm(bytes(32))


@case("wrong code", "WRONG_CODES_PAUSE_AT", "WRONG_CODES_PAUSE_S")
def test_three_wrong_codes_pause_pairing_across_restarts(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Five minutes: nobody is prompted, and a restart does not help."""
    for _ in range(3):
        try_wrong_code(world, alice, mallory)
    alice.crash()
    alice.restart()
    mallory.appear_to(alice)
    prompts = len(alice.told(PairRequest))
    requester = Requester(mallory, alice, CODE)
    assert 104 == refusal(requester.stream.answer(7))
    with pytest.raises(PairingError, match=r"paused for \d+ s"):
        alice.command("request_pair", mallory.id, CODE)
    assert prompts == len(alice.told(PairRequest))
    world.run(301.0)
    mallory.appear_to(alice)
    Requester(mallory, alice, CODE)
    assert prompts + 1 == len(alice.told(PairRequest))


@case("wrong code", "WRONG_CODES_STOP_AT")
def test_ten_wrong_codes_stop_pairing_until_the_app_calls(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """However long one waits."""
    for _ in range(10):
        world.run(301.0)
        try_wrong_code(world, alice, mallory)
    world.run(100_000.0)
    mallory.appear_to(alice)
    assert 104 == refusal(Requester(mallory, alice, CODE).stream.answer(7))
    bob = world.add_peer("Bob")
    world.pair(alice, bob)
    assert alice.is_paired(bob)
    mallory.appear_to(alice)
    prompts = len(alice.told(PairRequest))
    Requester(mallory, alice, CODE)
    assert prompts + 1 == len(alice.told(PairRequest))


@case("wrong code", "WRONG_CODES_PAUSE_S")
def test_a_clock_set_back_does_not_lengthen_the_pause(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The pause is five minutes from when the error is seen."""
    for _ in range(3):
        try_wrong_code(world, alice, mallory)
    alice.crash()
    world.clock_error[alice] = -86_400.0
    alice.restart()
    mallory.appear_to(alice)
    assert 104 == refusal(Requester(mallory, alice, CODE).stream.answer(7))
    world.run(301.0)
    mallory.appear_to(alice)
    Requester(mallory, alice, CODE)
    assert 4 == len(alice.told(PairRequest))


@case("prompt flooding")
def test_one_prompt_at_a_time(world: PeerWorld, alice: SimPeer, mallory: RawPeer) -> None:
    """A second request, from anybody, is told to wait."""
    requester = Requester(mallory, alice, CODE)
    assert 101 == refusal(requester.ask(9))
    other = RawPeer(world, "10.0.9.2")
    other.appear_to(alice)
    assert 101 == refusal(Requester(other, alice, CODE).stream.answer(7))
    assert 1 == len(alice.told(PairRequest))


@case("prompt flooding")
def test_prompts_do_not_come_again_and_again(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Five in a minute, whoever asks; each withdrawn one disappears."""
    for _ in range(20):
        other = RawPeer(world, "10.0.9.2")
        other.appear_to(alice)
        Requester(other, alice, CODE).stream.close()
    assert 5 == len(alice.told(PairRequest)) == len(alice.told(PairCancelled))
    world.run(60.0)
    mallory.appear_to(alice)
    Requester(mallory, alice, CODE)
    assert 6 == len(alice.told(PairRequest))


@case("key swap")
def test_the_key_in_the_request_must_be_the_proved_one(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Nobody can have another key pinned than the one he speaks with."""
    requester = Requester(mallory, alice, CODE)
    requester.stream.close()
    requester.stream = mallory.dial(alice)
    stolen = encode_base64(world.add_peer("Bob").keys.public)
    assert -32602 == refusal(requester.ask(9, publicKey=stolen))
    assert not requester.stream.is_open


@case("key swap")
def test_who_is_paired_cannot_be_paired_again(alice: SimPeer, mallory: RawPeer) -> None:
    """102, without a prompt."""
    mallory.pair_with(alice)
    assert 102 == refusal(Requester(mallory, alice, CODE).stream.answer(7))
    assert [] == alice.told(PairRequest)


@case("early confirmation")
def test_a_confirmation_out_of_turn_is_refused(alice: SimPeer, mallory: RawPeer) -> None:
    """Before anything was asked, and before the user has typed."""
    requester = Requester(mallory, alice, CODE)
    assert 105 == refusal(requester.confirm(bytes(32)))
    assert not requester.stream.is_open
    assert 1 == len(alice.told(PairCancelled))
    assert 0 == alice.pairings.wrong_codes()[0]


@case("early confirmation")
def test_nobody_breaks_off_the_pairing_of_others(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Who owes no proof and says that there is none ends and counts nothing."""
    bob = RawPeer(world, "10.0.9.2")
    bob.appear_to(alice)
    requester = Requester(bob, alice, CODE)
    alice.command("accept_pair", bob.id, CODE)
    intruder = mallory.dial(alice)
    params = mallory.params(intruder, confirm=encode_base64(bytes(32)))
    assert 105 == refusal(intruder.call("cytosol.net.confirmPair", params))
    assert 0 == alice.pairings.wrong_codes()[0]
    assert [] == alice.told(PairResponse)
    answer = requester.confirm(requester.prove())
    assert answer is not None
    assert {} == answer["result"]
    assert [bob.peer_id] == list(alice.pairings.paired())


@case("wrong code")
def test_a_broken_pairing_message_is_told_to_the_app(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """The user's code is not spent on it, and the prompt goes away."""
    requester = Requester(mallory, alice, CODE)
    requester.stream.close()
    requester.stream = mallory.dial(alice)
    requester.ask(9, pake=encode_base64(b"A" + bytes(32)))
    with pytest.raises(PairingError, match="start again"):
        alice.command("accept_pair", mallory.id, CODE)
    world.run(0.1)
    assert not requester.stream.is_open
    assert 2 == len(alice.told(PairCancelled))


@case("wrong code", "PAIRING_CODE_LENGTH_MIN")
def test_a_short_code_leaves_the_prompt(alice: SimPeer, mallory: RawPeer) -> None:
    """The user may type again."""
    Requester(mallory, alice, CODE)
    with pytest.raises(PairingError, match="at least 6"):
        alice.command("accept_pair", mallory.id, "123")
    alice.command("accept_pair", mallory.id, CODE)


@case("man in the middle")
def test_a_man_in_the_middle_fails(world: PeerWorld, alice: SimPeer) -> None:
    """Mallory relays everything between Bob, who shows a code, and Alice, who types it.

    Both users do all as they should, but think of Mallory as the other one. The proofs are bound
    to ids and keys, so Bob refuses Alice's, and nobody is paired with anybody.
    """
    bob = world.add_peer("Bob")
    to_alice, to_bob = RawPeer(world, "10.0.9.1"), RawPeer(world, "10.0.9.2")
    to_alice.appear_to(alice)
    to_bob.appear_to(bob)
    requester = Requester(to_alice, alice, CODE)
    from_bob, request = to_bob.be_asked(bob, CODE)
    requester.stream.close()
    requester.stream = to_alice.dial(alice)
    requester.ask(pake=request["params"]["pake"])
    alice.command("accept_pair", to_alice.id, CODE)
    result = requester.result()
    relayed = PairResult("Alice", to_bob.keys.public, result.pake, result.confirm)
    from_bob.send(id=request["id"], result=relayed.to_json())
    assert [AttemptEnd.WRONG_CODE.value] == [each.reason for each in bob.told(PairResponse)]
    assert 105 == refusal(requester.confirm(result.confirm))
    assert {} == alice.pairings.paired()
    assert {} == bob.pairings.paired()


@case("early confirmation", "wrong code")
def test_a_responder_that_confirms_early_fails(
    world: PeerWorld, alice: SimPeer, mallory: RawPeer
) -> None:
    """Without the code there is no proof, whatever it sends; Alice gives nothing away."""
    stream, request = mallory.be_asked(alice, CODE)
    pake = mallory.begin_proof(Role.RESPONDER, "000000", alice)
    result = PairResult("Early", mallory.keys.public, pake.message, world.random_bytes(32))
    stream.send(id=request["id"], result=result.to_json())
    assert [AttemptEnd.WRONG_CODE.value] == [each.reason for each in alice.told(PairResponse)]
    stream.settle()
    proofs = [each["params"]["confirm"] for each in stream.messages if "confirm" in str(each)]
    assert [encode_base64(bytes(32))] == proofs
    assert not stream.is_open
    assert {} == alice.pairings.paired()
    assert 1 == alice.pairings.wrong_codes()[0]


@case("wrong code", "malformed messages")
@pytest.mark.parametrize(
    "change",
    [
        {"publicKey": encode_base64(b"\x09" * 32)},
        {"publicKey": encode_base64(bytes(32))},
        {"pake": encode_base64(b"B" + bytes(32))},
        {"pake": "?"},
        {"confirm": None},
    ],
)
def test_a_responder_that_breaks_the_protocol_is_refused(
    alice: SimPeer, mallory: RawPeer, change: dict[str, Any]
) -> None:
    """Another key, a bad point, a missing proof: the app is told, nothing is stored."""
    stream, request = mallory.be_asked(alice, CODE)
    good = PairResult("Raw", mallory.keys.public, b"B" + b"\x07" * 32, bytes(32)).to_json()
    stream.send(id=request["id"], result={**good, **change})
    assert [AttemptEnd.BROKEN.value] == [each.reason for each in alice.told(PairResponse)]
    assert {} == alice.pairings.paired()
    assert not stream.is_open


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (101, AttemptEnd.OVERLAPPING),
        (102, AttemptEnd.ALREADY_PAIRED),
        (103, AttemptEnd.REJECTED),
        (104, AttemptEnd.PAUSED),
        (999, AttemptEnd.BROKEN),
    ],
)
def test_the_app_hears_why_it_was_refused(
    alice: SimPeer, mallory: RawPeer, code: int, end: AttemptEnd
) -> None:
    """Each code of the table has its sentence."""
    stream, request = mallory.be_asked(alice, CODE)
    stream.send(id=request["id"], error={"code": code, "message": "no"})
    (response,) = alice.told(PairResponse)
    assert (False, end.value) == (response.accepted, response.reason)


def test_a_responder_that_hangs_up_after_our_proof_is_visited_again(
    alice: SimPeer, mallory: RawPeer
) -> None:
    """It may have stored us: the same proof is brought again until it is answered."""
    stream, request = mallory.be_asked(alice, CODE)
    mallory.answer_rightly(alice, stream, request, CODE)
    proof = stream.messages[-1]
    assert "cytosol.net.confirmPair" == proof["method"]
    stream.close()
    assert {} == alice.pairings.paired()
    again = mallory.take_caller(alice)
    assert proof["params"]["confirm"] == again.messages[-1]["params"]["confirm"]
    again.send(id=again.messages[-1]["id"], result={})
    assert [True] == [each.accepted for each in alice.told(PairResponse)]
    assert mallory.keys.public == alice.pairings.paired()[mallory.peer_id].public_key


@case("coming back", "recorded requests")
def test_a_paired_device_may_unpair_and_its_old_proof_is_void(
    alice: SimPeer, mallory: RawPeer
) -> None:
    """After Unpair an accepted confirmation confirms nothing any more."""
    requester = Requester(mallory, alice, CODE)
    alice.command("accept_pair", mallory.id, CODE)
    proof = requester.prove()
    requester.confirm(proof)
    alice.command("unpair", mallory.id)
    requester.stream = mallory.dial(alice)
    assert 105 == refusal(requester.confirm(proof, 9))
    assert {} == alice.pairings.paired()
