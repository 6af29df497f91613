"""The gateway, asked about callers that are gone."""

from __future__ import annotations

from cytosol.crypto.keys import make_key_pair, peer_id_for_key
from cytosol.protocol.gateway import GatewayMachine, GatewayRequestId
from cytosol.protocol.half_open import HalfOpenTable


def test_callers_that_are_gone_are_not_answered() -> None:
    """An answer may come long after its caller has left."""
    keys = make_key_pair(bytes([1]) * 32)
    gateway = GatewayMachine(
        own_id=peer_id_for_key(keys.public),
        own_secret=keys.secret,
        key_of=lambda _: None,
        half_open=HalfOpenTable(),
        random_bytes=bytes,
    )
    gateway.answer(GatewayRequestId(-1, 1), {}, 0.0)
    gateway.answer_error(GatewayRequestId(-1, 1), 1, "no", 0.0)
    gateway.close(-1, "gone", 0.0)
    assert [] == gateway.take_effects()
    assert -1 not in gateway
