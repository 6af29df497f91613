"""The pairing exchange: who knows the code is let in, and nobody else learns anything."""

from dataclasses import dataclass

import pytest

from cytosol.crypto.pake import CONFIRMATION_BYTES, MESSAGE_BYTES, Pake, Role, normalise_code
from cytosol.errors import LocalProtocolError, PairingError, RemoteProtocolError
from cytosol.limits import PAIRING_CODE_LENGTH_MAX, PAIRING_CODE_LENGTH_MIN

CODE = "123456"


@dataclass(frozen=True)
class Facts:
    """What one side believes about the attempt."""

    app_id: bytes = b"A" * 16
    requester_id: bytes = b"q" * 16
    responder_id: bytes = b"s" * 16
    requester_key: bytes = b"Q" * 32
    responder_key: bytes = b"S" * 32


HONEST = Facts()


def requester(code: str = CODE, facts: Facts = HONEST, random_byte: int = 1) -> Pake:
    """Begin as the device that shows the code."""
    return Pake.start(
        Role.REQUESTER,
        code,
        bytes([random_byte]) * 32,
        app_id=facts.app_id,
        own_id=facts.requester_id,
        own_key=facts.requester_key,
        peer_id=facts.responder_id,
    )


def responder(code: str = CODE, facts: Facts = HONEST, random_byte: int = 2) -> Pake:
    """Begin as the device on which the code is typed."""
    return Pake.start(
        Role.RESPONDER,
        code,
        bytes([random_byte]) * 32,
        app_id=facts.app_id,
        own_id=facts.responder_id,
        own_key=facts.responder_key,
        peer_id=facts.requester_id,
    )


def exchange(one: Pake, one_facts: Facts, two: Pake, two_facts: Facts) -> None:
    """Let a requester and a responder receive each other's message."""
    one.receive(two.message, one_facts.responder_key)
    two.receive(one.message, two_facts.requester_key)


def test_both_sides_prove_the_same_code() -> None:
    """The whole exchange, in the order of the protocol."""
    one, two = requester(), responder()
    two.receive(one.message, HONEST.requester_key)
    proof = two.confirmation()
    one.receive(two.message, HONEST.responder_key)
    assert one.check(proof)
    assert two.check(one.confirmation())


def test_messages_have_the_lengths_that_travel() -> None:
    """The wire checks exactly these."""
    one, two = requester(), responder()
    exchange(one, HONEST, two, HONEST)
    assert len(one.message) == len(two.message) == MESSAGE_BYTES
    assert len(two.confirmation()) == CONFIRMATION_BYTES


def test_the_same_random_bytes_give_the_same_exchange() -> None:
    """The package reads no randomness of its own, so the simulator can replay it."""
    assert requester().message == requester().message
    assert requester().message != requester(random_byte=3).message


def test_a_wrong_code_is_false_on_both_sides() -> None:
    """Neither side accepts, and no exception of the library escapes."""
    one, two = requester(), responder("123457")
    exchange(one, HONEST, two, HONEST)
    assert not one.check(two.confirmation())
    three, four = requester(), responder("123457")
    exchange(three, HONEST, four, HONEST)
    assert not four.check(b"\0" * CONFIRMATION_BYTES)


@pytest.mark.parametrize(
    "swapped",
    [
        Facts(app_id=b"B" * 16),
        Facts(requester_id=b"x" * 16),
        Facts(responder_id=b"x" * 16),
        Facts(requester_key=b"X" * 32),
        Facts(responder_key=b"X" * 32),
    ],
    ids=["app id", "requester's id", "responder's id", "requester's key", "responder's key"],
)
def test_man_in_the_middle_who_changes_a_fact_fails(swapped: Facts) -> None:
    """The right code does not help when the two sides believe different things."""
    one, two = requester(), responder(facts=swapped)
    exchange(one, HONEST, two, swapped)
    assert not one.check(two.confirmation())


def test_man_in_the_middle_gets_one_guess() -> None:
    """After a failed check neither side can be asked again."""
    one, two = requester(), responder("000000")
    exchange(one, HONEST, two, HONEST)
    assert not one.check(two.confirmation())
    with pytest.raises(LocalProtocolError):
        one.check(b"\0" * CONFIRMATION_BYTES)
    with pytest.raises(LocalProtocolError):
        one.confirmation()


def test_the_requester_proves_nothing_before_the_responder_did() -> None:
    """A responder that confirms early, or not at all, learns nothing."""
    one, two = requester(), responder()
    exchange(one, HONEST, two, HONEST)
    with pytest.raises(LocalProtocolError, match="check the responder's confirmation"):
        one.confirmation()


def test_nothing_can_be_proved_before_the_message_came() -> None:
    """There is nothing to prove yet."""
    with pytest.raises(LocalProtocolError):
        responder().confirmation()
    with pytest.raises(LocalProtocolError):
        requester().check(b"\0" * CONFIRMATION_BYTES)


def test_a_reflected_confirmation_is_wrong() -> None:
    """Each side's proof is labelled with its role."""
    one, two = requester(), responder()
    exchange(one, HONEST, two, HONEST)
    assert not two.check(two.confirmation())


def test_a_confirmation_of_another_length_is_wrong() -> None:
    """Also the empty one."""
    one, two = requester(), responder()
    exchange(one, HONEST, two, HONEST)
    assert not two.check(b"")


def test_a_second_message_is_our_own_mistake() -> None:
    """A SPAKE2 state used twice would leak the code."""
    one, two = requester(), responder()
    one.receive(two.message, HONEST.responder_key)
    with pytest.raises(LocalProtocolError, match="already received"):
        one.receive(two.message, HONEST.responder_key)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"B",
        b"B" + bytes(31),
        b"B" + bytes(33),
        b"B" + b"\1" + bytes(31),  # the identity
        b"B" + bytes(32),  # a point of low order
        b"B" + b"\xff" * 32,
        b"B" + b"\2" + bytes(31),  # not on the curve
        b"X" + bytes(32),
        b"A" + bytes(32),
    ],
)
def test_a_malformed_message_is_a_remote_error(message: bytes) -> None:
    """Whatever the library makes of it."""
    with pytest.raises(RemoteProtocolError):
        requester().receive(message, HONEST.responder_key)


def test_our_own_message_reflected_is_a_remote_error() -> None:
    """As it was, and under the other side's letter."""
    one = requester()
    with pytest.raises(RemoteProtocolError):
        one.receive(one.message, HONEST.responder_key)
    one = requester()
    with pytest.raises(RemoteProtocolError):
        one.receive(b"B" + one.message[1:], HONEST.responder_key)


def test_nothing_secret_is_shown() -> None:
    """Neither the code nor what follows from it."""
    one, two = requester(), responder()
    exchange(one, HONEST, two, HONEST)
    assert repr(one) == "<Pake requester>"
    assert repr(two) == "<Pake responder>"


def test_an_attempt_needs_32_random_bytes() -> None:
    """Fewer would be guessable."""
    with pytest.raises(ValueError, match="32 random bytes, not 1"):
        Pake.start(
            Role.REQUESTER,
            CODE,
            b"x",
            app_id=b"A" * 16,
            own_id=b"q" * 16,
            own_key=b"Q" * 32,
            peer_id=b"s" * 16,
        )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("123456", "123456"),
        ("  123456\n", "123456"),
        ("123 456", "123456"),
        ("123-456", "123456"),
        ("12 34-56", "123456"),
        ("１２３４５６", "123456"),
        ("correct horse", "correct horse"),
        (" correct-horse ", "correct-horse"),
        ("12345a", "12345a"),
        ("123-45a", "123-45a"),
        ("١٢٣٤٥٦", "١٢٣٤٥٦"),
    ],
)
def test_a_code_means_the_same_however_it_is_typed(typed: str, meant: str) -> None:
    """People group digits; words keep their spaces."""
    assert normalise_code(typed) == meant


def test_a_code_typed_differently_still_pairs() -> None:
    """Both sides normalise."""
    one, two = requester("123456"), responder(" 123 456 ")
    exchange(one, HONEST, two, HONEST)
    assert one.check(two.confirmation())


def test_a_short_code_is_refused() -> None:
    """PAIRING_CODE_LENGTH_MIN counts what is left after normalising."""
    assert len(normalise_code("1" * PAIRING_CODE_LENGTH_MIN)) == PAIRING_CODE_LENGTH_MIN
    with pytest.raises(PairingError, match="has 5 characters; it needs at least 6"):
        normalise_code(" 1-2-3-4-5 ")


def test_a_long_code_is_refused() -> None:
    """PAIRING_CODE_LENGTH_MAX."""
    assert len(normalise_code("a" * PAIRING_CODE_LENGTH_MAX)) == PAIRING_CODE_LENGTH_MAX
    with pytest.raises(PairingError, match="has 1025 characters; use at most 1024"):
        normalise_code("a" * (PAIRING_CODE_LENGTH_MAX + 1))


def test_a_code_that_is_not_text_is_refused() -> None:
    """A number would lose its leading zeros, a lone surrogate has no bytes."""
    with pytest.raises(PairingError, match="of type int"):
        normalise_code(123456)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(PairingError, match="lone surrogate"):
        normalise_code("12345\ud800")
