"""Calls and answers over one connection."""

from __future__ import annotations

import json
import math

import pytest

from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.limits import CALL_TIMEOUT_S, CALLS_WAITING_MAX
from cytosol.protocol.rpc import (
    CLOSED,
    TIMED_OUT,
    CallFailed,
    CallReturned,
    Notified,
    Requested,
    RpcMachine,
    Transmit,
)


@pytest.fixture
def rpc() -> RpcMachine:
    return RpcMachine(100)


def sent(rpc: RpcMachine) -> list[dict[str, object]]:
    """Return the messages that the machine wants to send."""
    return [json.loads(each.message) for each in rpc.take_effects() if isinstance(each, Transmit)]


def receive(rpc: RpcMachine, **message: object) -> list[object]:
    rpc.receive(json.dumps({"jsonrpc": "2.0", **message}).encode())
    return list(rpc.take_effects())


def test_ids_begin_where_they_are_told_and_go_up(rpc: RpcMachine) -> None:
    """So that no recorded answer fits another connection."""
    assert 100 == rpc.call("m", {"a": 1}, CALL_TIMEOUT_S, 0.0)
    assert 101 == rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    assert [100, 101] == [each["id"] for each in sent(rpc)]


def test_an_answer_finds_its_call(rpc: RpcMachine) -> None:
    """In any order, result or error."""
    first = rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    second = rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    rpc.take_effects()
    assert [CallReturned(second, 5)] == receive(rpc, id=second, result=5)
    error = {"code": 101, "message": "no"}
    assert [CallFailed(first, 101, "no")] == receive(rpc, id=first, error=error)
    assert rpc.next_deadline() is None


def test_a_call_may_wait_for_as_long_as_the_connection_lives(rpc: RpcMachine) -> None:
    """It costs nothing once it is answered, and fails when the connection ends."""
    patient = rpc.call("patient", None, math.inf, 0.0)
    other = rpc.call("other", None, math.inf, 0.0)
    assert rpc.next_deadline() is None
    rpc.handle_timer(1e9)
    rpc.take_effects()
    assert [CallReturned(patient, 1)] == receive(rpc, id=patient, result=1)
    rpc.fail_all("over")
    assert [CallFailed(other, CLOSED, "over")] == rpc.take_effects()


def test_calls_time_out_in_their_order(rpc: RpcMachine) -> None:
    """Each at its own time; a late answer is dropped."""
    slow = rpc.call("slow", None, 10.0, 0.0)
    fast = rpc.call("fast", None, 5.0, 0.0)
    answered = rpc.call("answered", None, 1.0, 0.0)
    rpc.take_effects()
    receive(rpc, id=answered, result=None)
    assert 5.0 == rpc.next_deadline()
    rpc.handle_timer(4.9)
    assert [] == rpc.take_effects()
    rpc.handle_timer(5.0)
    (failed,) = rpc.take_effects()
    assert isinstance(failed, CallFailed)
    assert (fast, TIMED_OUT) == (failed.call_id, failed.code)
    assert "fast" in failed.message
    assert [] == receive(rpc, id=fast, result=1)
    assert [] == receive(rpc, id=fast, error={"code": 1, "message": "late"})
    assert 10.0 == rpc.next_deadline()
    rpc.handle_timer(99.0)
    assert [slow] == [each.call_id for each in rpc.take_effects() if isinstance(each, CallFailed)]


@pytest.mark.parametrize("call_id", [99, 101, -1, "100", 2**63])
def test_an_answer_to_no_call_is_a_breach(rpc: RpcMachine, call_id: object) -> None:
    """Nobody answers what was not asked."""
    rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    with pytest.raises(RemoteProtocolError, match="never made"):
        receive(rpc, id=call_id, result=1)


def test_an_error_about_nothing_in_particular_is_ignored(rpc: RpcMachine) -> None:
    """The call it was about times out."""
    assert [] == receive(rpc, id=None, error={"code": -32700, "message": "what?"})


def test_requests_are_answered_once(rpc: RpcMachine) -> None:
    """With a result or an error, and never twice."""
    assert [Requested(1, "m", [2])] == receive(rpc, id=1, method="m", params=[2])
    assert [Requested("x", "n", None)] == receive(rpc, id="x", method="n")
    rpc.answer(1, {"ok": True})
    rpc.answer_error("x", -32601, "no n")
    assert [
        {"jsonrpc": "2.0", "result": {"ok": True}, "id": 1},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "no n"}, "id": "x"},
    ] == sent(rpc)
    with pytest.raises(LocalProtocolError, match="never made, or is answered"):
        rpc.answer(1, {})


def test_notifications_go_both_ways(rpc: RpcMachine) -> None:
    """Without ids."""
    assert [Notified("m", {"a": 1})] == receive(rpc, method="m", params={"a": 1})
    rpc.notify("m", {"a": 1})
    rpc.refuse(-32000, "what?")
    assert [
        {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}},
        {"jsonrpc": "2.0", "error": {"code": -32000, "message": "what?"}, "id": None},
    ] == sent(rpc)


def test_the_calls_that_wait_are_bounded(rpc: RpcMachine) -> None:
    """CALLS_WAITING_MAX on either side."""
    for _ in range(CALLS_WAITING_MAX):
        rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    with pytest.raises(LocalProtocolError, match="has to wait"):
        rpc.call("m", None, CALL_TIMEOUT_S, 0.0)


def test_the_end_of_the_connection_ends_all_calls(rpc: RpcMachine) -> None:
    """Their owners are told, and no time-out follows."""
    call_id = rpc.call("m", None, CALL_TIMEOUT_S, 0.0)
    rpc.take_effects()
    rpc.fail_all("gone")
    assert [CallFailed(call_id, CLOSED, "gone")] == rpc.take_effects()
    assert rpc.next_deadline() is None
