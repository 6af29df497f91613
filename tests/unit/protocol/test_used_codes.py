"""Each pairing code is good for one attempt, on the side that shows it."""

from __future__ import annotations

import pytest

from cytosol.errors import PairingError
from cytosol.limits import USED_CODES_MAX
from cytosol.protocol.events import PairResponse
from cytosol.protocol.used_codes import UsedCodes
from tests.simulation.peer_machines import PeerWorld, SimPeer


def used_codes() -> UsedCodes:
    return UsedCodes(b"k" * 32)


def test_a_code_is_not_used_twice_however_it_is_written() -> None:
    """The error says what to do, and does not say the code."""
    codes = used_codes()
    codes.use("123456")
    with pytest.raises(PairingError, match=r"new_pairing_code\(\)") as caught:
        codes.use(" 123-456 ")
    assert "123" not in str(caught.value)
    codes.use("123457")


def test_a_code_that_nobody_was_asked_for_may_be_used_again() -> None:
    """It was given back."""
    codes = used_codes()
    codes.give_back(codes.use("123456"))
    assert "<UsedCodes 0>" == repr(codes)
    codes.use("123456")
    assert "<UsedCodes 1>" == repr(codes)


def test_the_code_itself_is_not_kept() -> None:
    """Not in the repr either."""
    codes = used_codes()
    codes.use("hunter-two")
    assert "<UsedCodes 1>" == repr(codes)
    assert b"hunter-two" not in b"".join(codes._hashes)


def test_the_newest_codes_are_remembered() -> None:
    """USED_CODES_MAX of them."""
    codes = used_codes()
    for number in range(USED_CODES_MAX + 1):
        codes.use(f"{number:06d}")
    codes.use("000000")
    with pytest.raises(PairingError):
        codes.use(f"{USED_CODES_MAX:06d}")


def two_peers() -> tuple[PeerWorld, SimPeer, SimPeer]:
    world = PeerWorld()
    alice, bob = world.add_peer("Alice"), world.add_peer("Bob")
    world.run_until(lambda: alice.sees(bob))
    return world, alice, bob


@pytest.mark.parametrize("answer", ["wrong", "right", "rejected", "none", "taken back"])
def test_a_code_that_somebody_was_asked_for_is_used(answer: str) -> None:
    """Whatever became of it."""
    world, alice, bob = two_peers()
    alice.command("request_pair", bob.id, "123456")
    world.run(1.0)
    if answer == "taken back":
        alice.command("reject_pair", bob.id)
    elif answer == "rejected":
        bob.command("reject_pair", alice.id)
    elif answer != "none":
        bob.command("accept_pair", alice.id, "123456" if answer == "right" else "654321")
    world.run(130.0)
    if answer == "right":
        alice.command("unpair", bob.id)
        world.run(1.0)
    with pytest.raises(PairingError, match="was used before"):
        alice.command("request_pair", bob.id, "123456")
    alice.command("request_pair", bob.id, "123457")


def test_a_code_is_shown_for_one_device_only() -> None:
    """Also while the first one is being asked."""
    world, alice, bob = two_peers()
    carol = world.add_peer("Carol")
    world.run_until(lambda: alice.sees(carol))
    alice.command("request_pair", bob.id, "123456")
    with pytest.raises(PairingError, match="was used before"):
        alice.command("request_pair", carol.id, "123456")


def test_a_code_for_a_device_that_was_not_reached_may_be_used_again() -> None:
    """Nobody was asked."""
    world, alice, bob = two_peers()
    bob.crash(silently=True)
    for attempt in range(2):
        alice.command("request_pair", bob.id, "123456")
        world.run(100.0)
        assert attempt + 1 == len(alice.told(PairResponse))


def test_a_code_for_a_device_that_was_busy_may_be_used_again() -> None:
    """Its user was being asked for another one."""
    world, alice, bob = two_peers()
    carol = world.add_peer("Carol")
    world.run_until(lambda: carol.sees(bob))
    carol.command("request_pair", bob.id, "999999")
    world.run(1.0)
    for attempt in range(2):
        alice.command("request_pair", bob.id, "123456")
        world.run(1.0)
        assert attempt + 1 == len(alice.told(PairResponse))
