"""Attacks on pairing, on a real process; tests/hostile/cases.py has the rules."""

from __future__ import annotations

import os

import pytest

from cytosol.crypto.pake import Role
from cytosol.limits import WRONG_CODES_PAUSE_AT
from cytosol.wire.fields import encode_base64
from tests.hostile.cases import case
from tests.hostile.real_devices import Attacker, Field, Wire

PAIR, CONFIRM = "osmosis.net.pair", "cytosol.net.confirmPair"
BAD_POINTS = [b"A" + bytes(32), b"A" + b"\xff" * 32, b"B" + b"\x09" * 32, b"S" * 33]


def pair_params(
    attacker: Attacker, wire: Wire, point: bytes, **changes: object
) -> dict[str, object]:
    """Return the params of a pair request."""
    return {
        "challenge": wire.challenge,
        "peerName": "Mallory",
        "publicKey": encode_base64(attacker.keys.public),
        "pake": encode_base64(point),
        **changes,
    }


@case("prompt flooding")
def test_requests_to_pair_come_again_and_again(field: Field) -> None:
    """Prompt flooding: 40 requests of 8 strangers disturb the user a few times at most."""
    before = field.victim.ask("prompts")
    for _ in range(8):
        stranger = field.stranger()
        pake = stranger.begin_proof(Role.REQUESTER, "000000").message
        for _ in range(5):
            wire = stranger.dial()
            wire.send(method=PAIR, params=pair_params(stranger, wire, pake), id=1)
            wire.close()
    assert field.victim.ask("prompts") - before <= 6


@case("early confirmation", "wrong code")
def test_proofs_before_their_turn(field: Field) -> None:
    """Early confirmation: who was not asked for a proof proves nothing, and it counts nothing."""
    stranger = field.stranger()
    for proof in (bytes(32), os.urandom(32), b"\xff" * 32) * 3:
        wire = stranger.dial()
        answer = stranger.ask(wire, CONFIRM, confirm=encode_base64(proof))
        assert answer is not None
        assert 105 == answer["error"]["code"]
        wire.wait_closed()
    assert [] == field.victim.ask("meta", path=f"$.pairings[?@.id == '{stranger.id}']")


@case("wrong code", "PAIRING_CODE_LENGTH_MIN", "PAIRING_CODE_LENGTH_MAX")
def test_pairing_messages_that_are_no_points(field: Field) -> None:
    """Wrong code: points of small order, of no curve, of other roles; names of kilobytes."""
    stranger = field.stranger()
    for point in BAD_POINTS:
        wire = stranger.dial()
        name = "N" * 50_000 if point is BAD_POINTS[-1] else "Mallory"
        wire.send(method=PAIR, params=pair_params(stranger, wire, point, peerName=name), id=1)
        wire.read()
        wire.close()
    for secret in ("1" * 5, "1" * 1_025):
        action = {"action": "AcceptPair", "payload": {"id": stranger.id, "secret": secret}}
        with pytest.raises(AssertionError, match="PairingError"):
            field.victim.ask("dispatch", action=action)


@case("wrong code", "early confirmation")
def test_requests_with_fields_missing_or_of_other_types(field: Field) -> None:
    """Malformed pairing: each is refused as such, and nobody is asked."""
    stranger = field.stranger()
    before = field.victim.ask("prompts")
    for change in (
        {"publicKey": encode_base64(os.urandom(32))},
        {"publicKey": None},
        {"pake": "?"},
        {"pake": encode_base64(b"")},
        {"peerName": 7},
        {"peerName": ["x"] * 1_000},
        {"challenge": encode_base64(bytes(16))},
    ):
        wire = stranger.dial()
        answer = wire.call(PAIR, pair_params(stranger, wire, b"A" + os.urandom(32), **change))
        assert answer is not None
        assert "error" in answer
    assert before == field.victim.ask("prompts")


@case("man in the middle", "wrong code", "WRONG_CODES_PAUSE_AT", "WRONG_CODES_PAUSE_S")
def test_codes_are_guessed(fresh_field: Field) -> None:
    """Wrong code: three guesses that the user falls for, then nobody is asked any more."""
    field = fresh_field
    for number in range(WRONG_CODES_PAUSE_AT):
        stranger = field.stranger()
        wire = stranger.dial()
        pake = stranger.begin_proof(Role.REQUESTER, f"{number:06d}")
        wire.send(method=PAIR, params=pair_params(stranger, wire, pake.message), id=1)
        while not field.victim.ask("prompts") > 1 * number:
            pass
        payload = {"id": stranger.id, "secret": "987654"}
        field.victim.ask("dispatch", action={"action": "AcceptPair", "payload": payload})
        assert wire.wait_for(lambda message: message.get("id") == 1) is not None
        answer = stranger.ask(wire, CONFIRM, confirm=encode_base64(bytes(32)))
        assert answer is not None
        assert 105 == answer["error"]["code"]
    stranger = field.stranger()
    wire = stranger.dial()
    pake = stranger.begin_proof(Role.REQUESTER, "987654")
    answer = wire.call(PAIR, pair_params(stranger, wire, pake.message))
    assert answer is not None
    assert 104 == answer["error"]["code"]
