"""Two sessions joined by hand: identification, proof, calls, and every way to end."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.limits import GATEWAY_FRAME_BYTES_MAX
from cytosol.protocol.effects import Close, Send
from cytosol.protocol.rpc import CLOSED, CallFailed, CallReturned, Notified, Requested
from cytosol.protocol.session import Authenticated, Identified, Session, SessionClosed
from cytosol.wire.framing import GATEWAY

RANDOM = random.Random(7)
ALICE = make_key_pair(bytes([1]) * 32)
BOB = make_key_pair(bytes([2]) * 32)
ALICE_ID, BOB_ID = peer_id_for_key(ALICE.public), peer_id_for_key(BOB.public)


class Pair:
    """Bob calls Alice; what each told its owner is in `alice_told` and `bob_told`."""

    def __init__(self, known: bool = True) -> None:
        def keys_for_alice(claimed: bytes) -> tuple[bytes, bytes] | None:
            return (ALICE.secret, BOB.public) if known and claimed == BOB_ID else None

        settings: dict[str, Any] = {"limits": GATEWAY, "random_bytes": RANDOM.randbytes}
        self.alice = Session(1, own_id=ALICE_ID, keys_for=keys_for_alice, **settings)
        self.bob = Session(
            2,
            own_id=BOB_ID,
            keys_for=lambda _: (BOB.secret, ALICE.public),
            expected=ALICE_ID,
            **settings,
        )
        self.bob.open_to(ALICE_ID)
        self.alice_told: list[object] = []
        self.bob_told: list[object] = []

    def exchange(self) -> None:
        """Carry bytes until nobody sends any more."""
        for source, target, told in itertools.cycle(
            [
                (self.alice, self.bob, self.alice_told),
                (self.bob, self.alice, self.bob_told),
            ]
        ):
            data = b""
            for effect in source.take_effects():
                if isinstance(effect, Send):
                    data += effect.data
                else:
                    told.append(effect)
            if data:
                target.receive(data)
            elif not target._effects:
                return


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.exchange()
    return pair


def test_a_claim_is_no_proof(pair: Pair) -> None:
    """Identified by the id, authenticated by the first frame."""
    assert [Identified(BOB_ID)] == pair.alice_told
    assert BOB_ID == pair.alice.peer_id
    pair.bob.notify("hello", {})
    pair.exchange()
    assert [Identified(BOB_ID), Authenticated(BOB_ID), Notified("hello", {})] == pair.alice_told


def test_calls_are_answered(pair: Pair) -> None:
    """Both ways through the sealed frames."""
    call_id = pair.bob.call("m", {"a": 1}, 5.0, 0.0)
    pair.exchange()
    assert Requested(call_id, "m", {"a": 1}) == pair.alice_told[-1]
    pair.alice.answer(call_id, 7)
    pair.exchange()
    assert CallReturned(call_id, 7) == pair.bob_told[-1]
    second = pair.bob.call("m", {}, 5.0, 0.0)
    pair.exchange()
    pair.alice.answer_error(second, 1, "no")
    pair.exchange()
    assert CallFailed(second, 1, "no") == pair.bob_told[-1]


def test_closing_ends_calls_and_comes_last(pair: Pair) -> None:
    """Every call gets an end, then the session; a second close does nothing."""
    call_id = pair.bob.call("m", {}, 5.0, 0.0)
    pair.bob.take_effects()
    pair.bob.close("enough", abort=True)
    pair.bob.close("again")
    pair.bob.lost("again")
    assert [
        Close(2, "enough", True),
        CallFailed(call_id, CLOSED, "enough"),
        SessionClosed("enough"),
    ] == pair.bob.take_effects()
    pair.bob.receive(b"more")
    pair.bob.notify("m", {})
    assert [] == pair.bob.take_effects()


def test_an_unknown_caller_is_closed() -> None:
    """Its id has no key."""
    pair = Pair(known=False)
    pair.exchange()
    assert [f"{each}" for each in pair.alice_told if isinstance(each, Close)]
    assert pair.alice.is_closed


def test_an_id_may_come_in_pieces() -> None:
    """Nothing happens before all sixteen bytes are there."""
    pair = Pair()
    pair.alice.take_effects()
    pair.alice.receive(BOB_ID[:9])
    assert [] == pair.alice.take_effects()
    pair.alice.receive(BOB_ID[9:])
    assert [Identified(BOB_ID)] == pair.alice.take_effects()


def test_a_message_too_large_to_send_closes_the_session(pair: Pair) -> None:
    """The peer would refuse it, and miss it without knowing."""
    pair.bob.notify("m", {"x": "y" * GATEWAY_FRAME_BYTES_MAX})
    closed = pair.bob.take_effects()[-1]
    assert isinstance(closed, SessionClosed)
    assert "could not be sent" in closed.reason


def test_calls_that_cannot_be_sent_end_with_the_session(pair: Pair) -> None:
    """The owner of the call is told, and nothing more goes out."""
    call_id = pair.bob.call("m", {"x": "y" * GATEWAY_FRAME_BYTES_MAX}, 5.0, 0.0)
    effects = pair.bob.take_effects()
    assert [call_id] == [each.call_id for each in effects if isinstance(each, CallFailed)]
    assert [] == [each for each in effects if isinstance(each, Send)]


def test_a_broken_message_stops_the_rest_of_the_piece(pair: Pair) -> None:
    """What came after it in the same piece is not looked at."""
    channel = pair.bob._channel
    data = channel.seal(b"nonsense") + channel.seal(b'{"jsonrpc":"2.0","method":"m"}')
    pair.alice.receive(data)
    effects = pair.alice.take_effects()
    assert [] == [each for each in effects if isinstance(each, Notified)]
    assert isinstance(effects[-1], SessionClosed)


def test_a_refusal_that_cannot_be_sent_still_ends_the_session(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways to close at once end in one close."""
    from cytosol.errors import LocalProtocolError
    from cytosol.protocol.channel import Channel

    def fail(self: Channel, message: bytes) -> bytes:
        raise LocalProtocolError("too large")

    data = pair.bob._channel.seal(b"nonsense")
    monkeypatch.setattr(Channel, "seal", fail)
    pair.alice.receive(data)
    assert 1 == len([each for each in pair.alice.take_effects() if isinstance(each, Close)])


def test_sessions_give_up_calls_in_time(pair: Pair) -> None:
    """The deadline is that of the first call."""
    call_id = pair.bob.call("m", {}, 5.0, 10.0)
    assert 15.0 == pair.bob.next_deadline()
    pair.bob.take_effects()
    pair.bob.handle_timer(15.0)
    (failed,) = pair.bob.take_effects()
    assert isinstance(failed, CallFailed)
    assert call_id == failed.call_id
